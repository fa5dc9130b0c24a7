"""The real contract on a real EVM (py-evm, Prague rules) in this process, made durable by a journal.

A row is one block with one raw signed transaction; its seal is the block's hash, which commits to the whole state. Opening
replays the rows in order and compares every hash. Row 1 deploys the contract from a key that anyone can derive; the same key
is the faucet that gives new accounts gas money, so that a demo needs none. A transaction that would revert is refused
and leaves no row.
"""

from __future__ import annotations

import time as clock
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from eth.abc import ComputationAPI
from eth.chains.base import MiningChain
from eth.constants import BLANK_ROOT_HASH, CREATE_CONTRACT_ADDRESS, ZERO_ADDRESS, ZERO_HASH32
from eth.db.atomic import AtomicDB
from eth.vm.forks.prague import PragueVM
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak
from eth_typing import Address as Canonical
from eth_typing import BlockNumber
from rlp import encode as rlp_encode

from ..errors import JournalMismatch, LedgerUnavailable, Refused
from ..protocol import Address, Balance, Ballot, Call, Event, Round, Standing, TaskId, TaskView
from . import Cursor, Head, Receipt, Signer, address_of, contract
from .journal import Journal, Row

CHAIN_ID = 7411
GAS_LIMIT = 60_000_000
MAX_FEE = 10**10
FAUCET: LocalAccount = Account.from_key(sha256(b"tallystick/embedded-faucet/1").digest())
FAUCET_GIFT = 10**21
GAS_MONEY = GAS_LIMIT * MAX_FEE


class _Chain(MiningChain):
    chain_id = CHAIN_ID
    vm_configuration = ((BlockNumber(0), PragueVM),)


class EmbeddedLedger:
    """See `ledger.Ledger`."""

    def __init__(self, path: str, wall: bool = False) -> None:
        self.url = f"embedded:{path}" + ("?clock=wall" if wall else "")
        self.chain_id = CHAIN_ID
        self._wall = wall
        self._not_before = 0
        self._journal = Journal(path, "embedded-prague")
        self._begin()
        self._catch_up()
        if self._head.number == 0:
            with self._journal.writing():
                self._catch_up()
                if self._head.number == 0:
                    self._mine(self._sign(FAUCET, CREATE_CONTRACT_ADDRESS, 0, contract.bytecode()))
        self.contract: Address = _created(address_of(FAUCET), 0)

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
        return contract.decode_task(self._view("task", task))

    def round(self, task: TaskId, number: int) -> Round:
        return contract.decode_round(self._view("round", task, number))

    def commitment(self, task: TaskId, number: int, member: Address) -> bytes | None:
        return contract.decode_commitment(self._view("commitment", task, number, member))

    def balance(self, account: Address) -> Balance:
        return contract.decode_balance(self._view("balance", account))

    def is_member(self, task: TaskId, account: Address) -> bool:
        return contract.decode_flag("isMember", self._view("isMember", task, account))

    def excluders(self, task: TaskId, number: int, member: Address) -> tuple[Address, Address]:
        return contract.decode_excluders(self._view("standing", task, number, member))

    def ballot(self, task: TaskId, number: int) -> Ballot:
        return contract.decode_ballot(self._view("ballot", task, number))

    def standing(self, task: TaskId, account: Address) -> Standing:
        return contract.decode_standing(self._view("stakeOf", task, account))

    def attested(self, task: TaskId, number: int, account: Address) -> int | None:
        return contract.decode_attested(self._view("attested", task, number, account))

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
        account = address_of(signer)
        try:
            self._catch_up()
            if self._is_poor(account, value):
                with self._journal.writing():
                    self._catch_up()
                    if self._is_poor(account, value):
                        gift = max(FAUCET_GIFT, GAS_MONEY + value)
                        self._mine(self._sign(FAUCET, account, gift, b""))
            with self._journal.writing():
                self._catch_up()
                raw = self._sign(signer, self.contract, value, data)
                gas, events = self._mine(raw)
        except Refused:
            raise
        except BaseException:
            self._begin()  # Memory may be ahead of the journal: replay it when next asked.
            raise
        return Receipt(call, bytes(keccak(raw)), self._head.number, gas, events)

    def _is_poor(self, account: bytes, value: int) -> bool:
        return self._newest.state.get_balance(Canonical(account)) < GAS_MONEY + value

    def _begin(self) -> None:
        parameters: dict[str, Any] = {
            "coinbase": ZERO_ADDRESS,
            "difficulty": 0,
            "extra_data": b"tallystick",
            "gas_limit": GAS_LIMIT,
            "mix_hash": ZERO_HASH32,
            "nonce": bytes(8),
            "receipt_root": BLANK_ROOT_HASH,
            "timestamp": 0,
            "transaction_root": BLANK_ROOT_HASH,
        }
        wealth = {"balance": 2**200, "nonce": 0, "code": b"", "storage": {}}
        state = {address_of(FAUCET): wealth}
        chain = _Chain.from_genesis(AtomicDB(), parameters, state)  # type: ignore[arg-type]
        assert isinstance(chain, _Chain)
        self._chain = chain
        self._newest = chain.get_vm()
        """The machine on the newest block; a new one for each block, so that views of one block share what they read."""
        genesis = chain.get_canonical_block_header_by_number(BlockNumber(0))
        self._parent = genesis
        self._head, self._time = Head(0, bytes(genesis.hash)), 0
        self._events: list[tuple[Cursor, Event]] = []

    def _sign(self, signer: Signer, to: bytes, value: int, data: bytes) -> bytes:
        state = self._newest.state
        signed = signer.sign_transaction(
            {
                "type": 2,
                "chainId": CHAIN_ID,
                "nonce": state.get_nonce(Canonical(address_of(signer))),
                "to": to,
                "value": value,
                "data": data,
                "gas": GAS_LIMIT // 2,
                "maxFeePerGas": MAX_FEE,
                "maxPriorityFeePerGas": 0,
            }
        )
        return bytes(signed.raw_transaction)

    def _mine(self, raw: bytes) -> tuple[int, tuple[Event, ...]]:
        """Execute a new transaction and write its row. Raises what the contract said if it reverts."""
        time = max(self._time + 1, self._not_before, int(clock.time()) if self._wall else 0)
        gas, events, block = self._execute(raw, time)
        self._journal.append(Row(block.number, time, raw, bytes(block.hash)))
        self._accept(block, events)
        return gas, events

    def _execute(self, raw: bytes, time: int) -> tuple[int, tuple[Event, ...], Any]:
        chain = self._chain
        header = chain.create_header_from_parent(
            self._parent, timestamp=time, gas_limit=GAS_LIMIT, extra_data=b""
        )
        vm = chain.get_vm(header)
        transaction = vm.get_transaction_builder().decode(raw)
        filled, receipts, computations = vm.apply_all_transactions([transaction], header)
        if computations[0].is_error:
            raise _refusal(computations[0])
        block = vm.set_block_transactions_and_withdrawals(
            vm.get_block(), filled, [transaction], receipts
        )
        mined = vm.mine_block(block).block
        logs = [(list(log.topics), log.data) for log in receipts[0].logs]
        decoded = [
            contract.decode_event([int(t).to_bytes(32, "big") for t in topics], data)
            for topics, data in logs
        ]
        events = tuple(event for event in decoded if event is not None)
        return int(receipts[0].gas_used), events, mined

    def _accept(self, block: Any, events: tuple[Event, ...]) -> None:
        self._chain.persist_block(block, perform_validation=False)  # Mining validated it.
        self._parent = block.header
        self._chain.header = self._chain.create_header_from_parent(block.header)
        self._newest = self._chain.get_vm()
        self._head, self._time = Head(block.number, bytes(block.hash)), int(block.header.timestamp)
        self._events += [(self._head, event) for event in events]

    def _catch_up(self) -> None:
        for row in self._journal.rows(self._head.number):
            where = f"{self._journal.path}: row {row.number}"
            if row.time <= self._time:
                raise JournalMismatch(f"{where}: its time {row.time} is not after its parent's.")
            try:
                _, events, block = self._execute(row.body, row.time)
            except Exception as error:
                raise JournalMismatch(f"{where} does not execute: {error}") from error
            if bytes(block.hash) != row.seal:
                raise JournalMismatch(
                    f"{where} was changed, moved, or follows a row that was: executing it gives block "
                    f"{bytes(block.hash).hex()}, not {row.seal.hex()}."
                )
            self._accept(block, events)

    def _view(self, name: str, *arguments: Any) -> bytes:
        self._catch_up()
        computation = self._newest.execute_bytecode(
            origin=ZERO_ADDRESS,
            gas_price=0,
            gas=GAS_LIMIT,
            to=Canonical(self.contract),
            sender=ZERO_ADDRESS,
            value=0,
            data=contract.encode_view(name, *arguments),
            code=self._newest.state.get_code(Canonical(self.contract)),
        )
        if computation.is_error:
            raise _refusal(computation)
        return bytes(computation.output)


def _refusal(computation: ComputationAPI) -> Exception:
    if computation.output:
        return contract.decode_refusal(bytes(computation.output))
    return LedgerUnavailable(f"the transaction failed without a reason: {computation.error!r}.")


def _created(sender: bytes, nonce: int) -> Address:
    """Address of the contract that `sender` creates with `nonce` (Yellow Paper, section 7)."""
    return bytes(keccak(rlp_encode([sender, nonce])))[12:]
