"""Ledgers behind one protocol: `open(url)`.

    embedded:PATH[?clock=wall]                 the real contract in this process, journalled in SQLite ('' = in memory)
    http(s)://HOST[:PORT][?contract=0x…]       any JSON-RPC node; or the NAME of a network in tallystick.toml
    hashchain:PATH[?difficulty=BITS&clock=wall]  SQLite blocks sealed by proof of work, running the specification

Several processes of one machine may open the same `embedded:` or `hashchain:` file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl

from eth_account.signers.local import LocalAccount

from ..errors import InvalidParameter
from ..protocol import Address, Balance, Ballot, Call, Event, Round, Standing, TaskId, TaskView

Signer = LocalAccount

__all__ = ["Cursor", "Head", "Ledger", "Receipt", "Signer", "address_of", "existing", "open"]


@dataclass(frozen=True)
class Head:
    """A block: its number and hash."""

    number: int
    hash: bytes


Cursor = Head
"""How far a reader of events has come."""


@dataclass(frozen=True)
class Receipt:
    """What became of a call: transaction hash (32 bytes), block, gas of the whole transaction, events."""

    call: Call
    transaction: bytes
    block: int
    gas: int
    events: tuple[Event, ...]


class Ledger(Protocol):
    """A place where the protocol runs. Reads see the newest block; writes return when they are in one."""

    url: str
    chain_id: int
    contract: Address

    def now(self) -> int:
        """The chain's time, in seconds."""
        ...

    def wait(self, until: int) -> None:
        """Return when the next block's time can be `until`: a virtual clock jumps, a real one is waited for."""
        ...

    def send(self, signer: Signer, *calls: Call) -> list[Receipt]:
        """Make calls in order and wait until they are in blocks.

        Raises a `Refused` of errors.py if the rules refuse one (those before it have happened), or
        `LedgerUnavailable`. Never executes a call twice.
        """
        ...

    def task(self, task: TaskId) -> TaskView:
        """A task, or `UnknownTask`."""
        ...

    def round(self, task: TaskId, number: int) -> Round:
        """A round; all zeros if it was never opened."""
        ...

    def commitment(self, task: TaskId, number: int, member: Address) -> bytes | None:
        """First 28 bytes of a member's direct commitment, zeros if excluded, None if there is none."""
        ...

    def balance(self, account: Address) -> Balance:
        """An account's wei on the ledger."""
        ...

    def is_member(self, task: TaskId, account: Address) -> bool:
        """Whether the account was admitted."""
        ...

    def excluders(self, task: TaskId, number: int, member: Address) -> tuple[Address, Address]:
        """Who excluded a member's direct commitment to a round, and its entry in the batch; zeros for nobody."""
        ...

    def ballot(self, task: TaskId, number: int) -> Ballot:
        """How a round's proposal stands: votes, demands, bond, leaves that the ledger itself has aggregated."""
        ...

    def standing(self, task: TaskId, account: Address) -> Standing:
        """An account's stake in a task, and what its vote weighs."""
        ...

    def attested(self, task: TaskId, number: int, account: Address) -> int | None:
        """Which attempt's proposal of a round a validator attested; None if none, or if its slot holds another round."""
        ...

    def events(self, task: TaskId, since: Cursor | None = None) -> Iterator[tuple[Cursor, Event]]:
        """A task's events in order, after `since`, each with the block it is in."""
        ...

    def head(self) -> Head:
        """The newest block."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


def address_of(signer: Signer) -> Address:
    """A signer's account as 20 bytes."""
    return bytes.fromhex(signer.address[2:])


def open(url: str) -> Ledger:
    """Open a ledger. Raises `InvalidParameter` for a URL that nothing answers to, `LedgerUnavailable` or
    `JournalMismatch` where the ledger itself is at fault."""
    scheme, _, rest = url.partition(":")
    if scheme in ("embedded", "hashchain"):
        path, _, query = rest.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        clock = options.pop("clock", "virtual")
        if clock not in ("virtual", "wall"):
            raise InvalidParameter(f"clock={clock} in {url!r}. Use clock=virtual or clock=wall.")
        if scheme == "embedded":
            from .embedded import EmbeddedLedger

            _no_more(options, url)
            return EmbeddedLedger(path, clock == "wall")
        from .hashchain import DEFAULT_DIFFICULTY, HashchainLedger

        difficulty = options.pop("difficulty", str(DEFAULT_DIFFICULTY))
        _no_more(options, url)
        if not difficulty.isdecimal() or int(difficulty) > 40:
            raise InvalidParameter(f"difficulty={difficulty} in {url!r}. Use 0 to 40 bits.")
        return HashchainLedger(path, clock == "wall", int(difficulty))
    from .ethereum import EthereumLedger
    from .networks import resolve

    return EthereumLedger(resolve(url))


def existing(url: str) -> Ledger:
    """Open a ledger that is there. Opening a journal that is not would make an empty one: `InvalidParameter`."""
    scheme, _, rest = url.partition(":")
    path = rest.partition("?")[0]
    if scheme in ("embedded", "hashchain") and path and not Path(path).is_file():
        raise InvalidParameter(f"there is no ledger {path}. Check the path.")
    return open(url)


def _no_more(options: dict[str, str], url: str) -> None:
    if options:
        raise InvalidParameter(f"{url!r} has an unknown option {next(iter(options))!r}.")
