"""Keys stay where they are put, and a bad keystore is explained."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick import keys
from tallystick.errors import InvalidKey


def test_a_key_comes_back(tmp_path: Path) -> None:
    """What was made can be loaded with its passphrase, and with no other."""
    path = tmp_path / "key.json"
    made = keys.new(path, "right")
    assert keys.load(path, "right").address == made.address
    assert keys.address(path) == made.address.lower()
    with pytest.raises(InvalidKey, match="does not open") as refused:
        keys.load(path, "wrong")
    assert made.key.hex() not in str(refused.value)
    with pytest.raises(InvalidKey, match="not overwritten"):
        keys.new(path, "right")


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "not JSON"), ("[]", "lacks"), ('{"crypto": {}, "address": "00"}', "no usable keystore")],
)
def test_no_keystore(tmp_path: Path, text: str, said: str) -> None:
    """A file that is no keystore is called that."""
    path = tmp_path / "key.json"
    path.write_text(text)
    with pytest.raises(InvalidKey, match=said):
        keys.load(path, "x")


def test_from_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names keystore and passphrase file; what is missing is said by its variable."""
    path = tmp_path / "key.json"
    made = keys.new(path, "right")
    monkeypatch.delenv(keys.ENV_KEYSTORE, raising=False)
    with pytest.raises(InvalidKey, match=keys.ENV_KEYSTORE):
        keys.from_environment()
    monkeypatch.setenv(keys.ENV_KEYSTORE, str(path))
    with pytest.raises(InvalidKey, match=keys.ENV_PASSPHRASE_FILE):
        keys.from_environment()
    secret = tmp_path / "secret"
    secret.write_text("right\n")
    monkeypatch.setenv(keys.ENV_PASSPHRASE_FILE, str(secret))
    assert keys.from_environment().address == made.address


def test_demo_keys_follow_from_the_seed() -> None:
    """The same seed, role and index give the same key; any other gives another."""
    found = {
        keys.demo(s, r, i).address for s in (1, 2) for r in ("member", "sponsor") for i in (0, 1)
    }
    assert len(found) == 8
    assert keys.demo(1, "member", 0).address == keys.demo(1, "member", 0).address
