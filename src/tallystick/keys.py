"""Keys come from keystore files, the environment, or (demos only) a seed. They are never printed or logged."""

from __future__ import annotations

import json
import os
import secrets
from hashlib import sha256
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount

from .errors import InvalidKey, StoreUnavailable

ENV_KEYSTORE = "TALLYSTICK_KEYSTORE"
ENV_PASSPHRASE = "TALLYSTICK_PASSPHRASE"
ENV_PASSPHRASE_FILE = "TALLYSTICK_PASSPHRASE_FILE"


def demo(seed: int, role: str, index: int) -> LocalAccount:
    """A key that anyone can derive: H("tallystick/demo-key/1" | seed, 8 bytes | role | index, 4 bytes). Worthless."""
    material = (
        b"tallystick/demo-key/1"
        + seed.to_bytes(8, "big")
        + role.encode()
        + index.to_bytes(4, "big")
    )
    account: LocalAccount = Account.from_key(sha256(material).digest())
    return account


def new(path: Path, passphrase: str) -> LocalAccount:
    """Make a key and write it to a new keystore (version 3, scrypt), readable by its owner only.

    Raises `InvalidKey` if the passphrase is empty or the file exists, `StoreUnavailable` if it cannot be written.
    """
    if not passphrase:
        raise InvalidKey(
            f"a keystore needs a passphrase. Set {ENV_PASSPHRASE} or {ENV_PASSPHRASE_FILE}."
        )
    account: LocalAccount = Account.create(secrets.token_hex(32))
    text = json.dumps(Account.encrypt(account.key, passphrase))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError:
        raise InvalidKey(f"{path} exists and is not overwritten. Choose another file.") from None
    except OSError as error:
        raise StoreUnavailable(
            f"cannot write {path}: {error.strerror}. Check the folder."
        ) from error
    return account


def address(path: Path) -> str:
    """The account of a keystore, without its passphrase."""
    return "0x" + str(_read(path)["address"]).removeprefix("0x").lower()


def load(path: Path, passphrase: str) -> LocalAccount:
    """The account in a keystore. Raises `InvalidKey` for a file that is none, or a wrong passphrase."""
    document = _read(path)
    try:
        account: LocalAccount = Account.from_key(Account.decrypt(document, passphrase))
    except ValueError:
        raise InvalidKey(f"the passphrase does not open {path}. Check it and try again.") from None
    except Exception as error:
        raise InvalidKey(f"{path} is no usable keystore: {type(error).__name__}.") from None
    return account


def passphrase_from_environment() -> str | None:
    """The passphrase from the environment, or from the file that the environment names; None if neither is set."""
    if ENV_PASSPHRASE in os.environ:
        return os.environ[ENV_PASSPHRASE]
    if ENV_PASSPHRASE_FILE in os.environ:
        path = Path(os.environ[ENV_PASSPHRASE_FILE])
        try:
            return path.read_text().rstrip("\n")
        except OSError as error:
            raise InvalidKey(
                f"cannot read {path}, named by {ENV_PASSPHRASE_FILE}: {error.strerror}."
            ) from None
    return None


def from_environment() -> LocalAccount:
    """The account of the keystore that the environment names. Raises `InvalidKey`, saying which variable to set."""
    if ENV_KEYSTORE not in os.environ:
        raise InvalidKey(
            f"no key: set {ENV_KEYSTORE} to a keystore file (tallystick keys new makes one)."
        )
    passphrase = passphrase_from_environment()
    if passphrase is None:
        raise InvalidKey(f"no passphrase: set {ENV_PASSPHRASE_FILE} or {ENV_PASSPHRASE}.")
    return load(Path(os.environ[ENV_KEYSTORE]), passphrase)


def _read(path: Path) -> dict[str, object]:
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise InvalidKey(f"cannot read {path}: {error.strerror}. Check the path.") from None
    except ValueError:
        raise InvalidKey(f"{path} is no keystore: it is not JSON.") from None
    if not isinstance(document, dict) or "crypto" not in document or "address" not in document:
        raise InvalidKey(f"{path} is no keystore: it lacks a crypto section or an address.")
    return document
