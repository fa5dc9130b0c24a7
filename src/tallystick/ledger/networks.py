"""Networks by name, and where the contract lies on each.

`tallystick.toml` (in this folder, or named by TALLYSTICK_CONFIG) has one table per network:

    [network.local]
    url = "http://127.0.0.1:8545"
    chain_id = 31337
    contract = "0x…"          # optional: `tallystick deploy` records it

`${NAME}` in a url stands for an environment variable, so that no key of an RPC provider needs to be written down.
Deployed addresses are recorded per chain id in `deployments.json` under TALLYSTICK_HOME (default ~/.tallystick).
"""

from __future__ import annotations

import json
import os
import re
import secrets
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from ..errors import InvalidParameter, StoreUnavailable
from ..protocol import Address


@dataclass(frozen=True)
class Network:
    """A node's URL; the chain it must be on and the contract there, where known."""

    url: str
    chain_id: int | None = None
    contract: Address | None = None


def resolve(name: str) -> Network:
    """A network from a URL (`?contract=0x…&chain_id=N`) or a name. Raises `InvalidParameter` naming what is wrong."""
    if name.startswith(("http://", "https://")):
        parts = urlsplit(name)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        table: dict[str, object] = {
            key: options.pop(key) for key in ("contract", "chain_id") if key in options
        }
        query = "&".join(f"{key}={value}" for key, value in options.items())
        shown = f"{parts.scheme}://{parts.hostname}"  # The rest may hold a provider's key.
        return _network(table | {"url": urlunsplit(parts._replace(query=query))}, shown)
    tables = _tables()
    if name not in tables:
        known = ", ".join(sorted(tables)) or "none"
        raise InvalidParameter(
            f"no ledger answers to {name!r}. Use embedded:PATH, hashchain:PATH, http(s)://…, or a network of "
            f"{config()} (it has: {known})."
        )
    return _network(tables[name], name)


def recorded_contract(chain_id: int) -> Address | None:
    """Where this machine last deployed the contract on a chain."""
    found = _deployments().get(str(chain_id))
    return _address(found, "deployments.json") if found else None


def record_contract(chain_id: int, contract: Address) -> Path:
    """Remember where the contract lies on a chain; returns the file."""
    path = _home() / "deployments.json"
    recorded = _deployments() | {str(chain_id): "0x" + contract.hex()}
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
        temporary.rename(path)
    except OSError as error:
        raise StoreUnavailable(f"cannot write {path}: {error.strerror}.") from error
    return path


def _home() -> Path:
    return Path(os.environ.get("TALLYSTICK_HOME", "~/.tallystick")).expanduser()


def config() -> Path:
    """The file of networks; it may not exist."""
    return Path(os.environ.get("TALLYSTICK_CONFIG", "tallystick.toml"))


def _tables() -> dict[str, dict[str, object]]:
    path = config()
    if not path.exists():
        return {}
    try:
        tables = tomllib.loads(path.read_text()).get("network", {})
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InvalidParameter(f"cannot read {path}: {error}.") from error
    if not isinstance(tables, dict) or not all(isinstance(each, dict) for each in tables.values()):
        raise InvalidParameter(f"{path} needs one table per network, as in [network.local].")
    return dict(tables)


def _deployments() -> dict[str, str]:
    path = _home() / "deployments.json"
    try:
        found = json.loads(path.read_text()) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise InvalidParameter(
            f"cannot read {path}: {error}. Delete it to start afresh."
        ) from error
    return dict(found)


def _network(table: dict[str, object], name: str) -> Network:
    url = str(table.get("url", ""))
    for variable in re.findall(r"\$\{(\w+)\}", url):
        if variable not in os.environ:
            raise InvalidParameter(f"network {name!r} needs the environment variable {variable}.")
        url = url.replace(f"${{{variable}}}", os.environ[variable])
    if not url.startswith(("http://", "https://")):
        raise InvalidParameter(f"network {name!r} has no http(s) url.")
    chain_id = table.get("chain_id")
    if chain_id is not None and not str(chain_id).isdecimal():
        raise InvalidParameter(f"network {name!r} has chain_id {chain_id!r}, not a number.")
    contract = table.get("contract")
    return Network(
        url,
        int(str(chain_id)) if chain_id is not None else None,
        _address(str(contract), name) if contract else None,
    )


def _address(text: str, where: str) -> Address:
    if not re.fullmatch(r"0x[0-9a-fA-F]{40}", text):
        raise InvalidParameter(f"{where} names contract {text!r}, which is no address.")
    return bytes.fromhex(text[2:])
