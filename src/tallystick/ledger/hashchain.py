"""A ledger without an EVM: signed calls in SQLite blocks, sealed by SHA-256 proof of work, run by the specification.

The work makes a rewritten history cost as much as the first one; it brings no consensus among strangers. A block's body
is value (32 bytes) | signature (65) | calldata, the signature being over H(tag | parent | time | value | calldata). Its hash
is H(parent | number | time | body | nonce), numbers in 8 big-endian bytes, with `difficulty` leading zero bits.
"""

from __future__ import annotations

import time as clock
from collections.abc import Iterator
from hashlib import sha256

from eth_account import Account
from eth_typing import Hash32

from .. import protocol
from ..errors import InvalidParameter, JournalMismatch, Refused
from ..protocol import (
    ZERO_ROOT,
    Address,
    Balance,
    Ballot,
    Call,
    Event,
    Round,
    Standing,
    State,
    TaskId,
    TaskView,
)
from . import Cursor, Head, Receipt, Signer, address_of, contract
from .author import commitment_author
from .journal import Journal, Row

TAG = sha256(b"tallystick/hashchain/1").digest()
CHAIN_ID = 0
"""No EVM chain has this id, so that nothing signed here means anything there."""
DEFAULT_DIFFICULTY = 10


class HashchainLedger:
    """See `ledger.Ledger`. `difficulty` is in bits; each costs twice the work of the one before."""

    def __init__(self, path: str, wall: bool = False, difficulty: int = DEFAULT_DIFFICULTY) -> None:
        self.url = f"hashchain:{path}?difficulty={difficulty}" + ("&clock=wall" if wall else "")
        self.chain_id = CHAIN_ID
        self.difficulty = difficulty
        self._wall = wall
        self._genesis = sha256(TAG + bytes([difficulty])).digest()
        self.contract: Address = self._genesis[:20]
        self._not_before = 0
        self._begin()
        self._journal = Journal(path, f"hashchain-{difficulty}")
        self._catch_up()

    def now(self) -> int:
        self._catch_up()
        return max(self._time, self._not_before, int(clock.time()) if self._wall else 0)

    def wait(self, until: int) -> None:
        if self._wall:
            while (left := until - clock.time()) > 0:
                clock.sleep(min(left, 1.0))
        else:
            self._not_before = max(self._not_before, until)

    def send(self, signer: Signer, *calls: Call) -> list[Receipt]:
        return [self._send(signer, call) for call in calls]

    def task(self, task: TaskId) -> TaskView:
        self._catch_up()
        return protocol.get_task_view(self._state, task)

    def round(self, task: TaskId, number: int) -> Round:
        self._catch_up()
        return protocol.get_round(self._state, task, number)

    def commitment(self, task: TaskId, number: int, member: Address) -> bytes | None:
        self._catch_up()
        return protocol.get_commitment(self._state, task, number, member)

    def balance(self, account: Address) -> Balance:
        self._catch_up()
        return protocol.get_balance(self._state, account)

    def is_member(self, task: TaskId, account: Address) -> bool:
        self._catch_up()
        return protocol.is_member(self._state, task, account)

    def excluders(self, task: TaskId, number: int, member: Address) -> tuple[Address, Address]:
        self._catch_up()
        return protocol.get_excluders(self._state, task, number, member)

    def ballot(self, task: TaskId, number: int) -> Ballot:
        self._catch_up()
        return protocol.get_ballot(self._state, task, number)

    def standing(self, task: TaskId, account: Address) -> Standing:
        self._catch_up()
        return protocol.get_standing(self._state, task, account)

    def attested(self, task: TaskId, number: int, account: Address) -> int | None:
        self._catch_up()
        return protocol.get_attested(self._state, task, number, account)

    def events(self, task: TaskId, since: Cursor | None = None) -> Iterator[tuple[Cursor, Event]]:
        self._catch_up()
        after = since.number if since else 0
        for cursor, event in list(self._events):
            if cursor.number > after and getattr(event, "task", None) == task:
                yield cursor, event

    def head(self) -> Head:
        self._catch_up()
        return self._head

    def close(self) -> None:
        self._journal.close()

    def _send(self, signer: Signer, call: Call) -> Receipt:
        data, value = contract.encode_call(call), contract.value_of(call)
        executed = False
        try:
            with self._journal.writing():
                self._catch_up()
                time = max(self._time + 1, self._not_before, int(clock.time()) if self._wall else 0)
                events = protocol.process(self._state, call, address_of(signer), time)
                executed = True
                signed = _signed(self._head.hash, time, value, data)
                signature = bytes(signer.unsafe_sign_hash(Hash32(signed)).signature)
                body = value.to_bytes(32, "big") + signature + data
                number = self._head.number + 1
                nonce, sealed = _seal(
                    _preimage(self._head.hash, number, time, body), self.difficulty
                )
                self._journal.append(Row(number, time, body, nonce + sealed))
        except BaseException:
            if executed:
                self._begin()  # Memory is ahead of the journal: replay it when next asked.
            raise
        self._accept(Head(number, sealed), time, events)
        return Receipt(call, sealed, number, 0, events)

    def _accept(self, head: Head, time: int, events: tuple[Event, ...]) -> None:
        self._head, self._time = head, time
        self._hashes.append(head.hash)
        self._events += [(head, event) for event in events]

    def _begin(self) -> None:
        self._head, self._time = Head(0, self._genesis), 0
        self._hashes = [self._genesis]
        self._state = State(CHAIN_ID, self.contract, commitment_author, self._block_hash)
        self._events: list[tuple[Cursor, Event]] = []

    def _block_hash(self, number: int) -> bytes:
        newest = self._head.number
        return self._hashes[number] if max(0, newest - 255) <= number <= newest else ZERO_ROOT

    def _catch_up(self) -> None:
        for row in self._journal.rows(self._head.number):
            where = f"{self._journal.path}: row {row.number}"
            nonce, sealed = row.seal[:8], row.seal[8:]
            try:
                preimage = _preimage(self._head.hash, row.number, row.time, row.body)
            except OverflowError:
                raise JournalMismatch(f"{where} has an impossible time {row.time}.") from None
            actual = sha256(preimage + nonce).digest()
            if actual != sealed or len(row.seal) != 40:
                raise JournalMismatch(
                    f"{where} was changed, moved, or follows a row that was: its time, body, nonce or parent do not hash to "
                    f"its seal {sealed.hex()}."
                )
            if not _is_sealed(sealed, self.difficulty):
                raise JournalMismatch(
                    f"{where} lacks the proof of work of {self.difficulty} bits: {sealed.hex()}."
                )
            value, signature, data = row.body[:32], row.body[32:97], row.body[97:]
            signed = _signed(self._head.hash, row.time, int.from_bytes(value, "big"), data)
            try:
                sender = bytes.fromhex(Account._recover_hash(signed, signature=signature)[2:])
                call = contract.decode_call(data, int.from_bytes(value, "big"))
                if row.time <= self._time:
                    raise InvalidParameter(f"its time {row.time} is not after its parent's")
                events = protocol.process(self._state, call, sender, row.time)
            except (Refused, InvalidParameter) as error:
                raise JournalMismatch(f"{where} breaks the rules: {error}") from error
            except Exception as error:
                raise JournalMismatch(f"{where} has a bad signature: {error}") from error
            self._accept(Head(row.number, sealed), row.time, events)


def _signed(parent: bytes, time: int, value: int, data: bytes) -> bytes:
    return sha256(
        TAG + parent + time.to_bytes(8, "big") + value.to_bytes(32, "big") + data
    ).digest()


def _preimage(parent: bytes, number: int, time: int, body: bytes) -> bytes:
    return parent + number.to_bytes(8, "big") + time.to_bytes(8, "big") + body


def _is_sealed(digest: bytes, difficulty: int) -> bool:
    return int.from_bytes(digest, "big") >> (256 - difficulty) == 0


def _seal(preimage: bytes, difficulty: int) -> tuple[bytes, bytes]:
    begun = sha256(preimage)
    for attempt in range(1 << 62):
        nonce = attempt.to_bytes(8, "big")
        trial = begun.copy()
        trial.update(nonce)
        digest = trial.digest()
        if _is_sealed(digest, difficulty):
            return nonce, digest
    raise AssertionError("unreachable")
