"""Any JSON-RPC node. One writer per process and account, explicit nonces, EIP-1559 fees, and no transaction twice.

A transaction is signed once; what is retried is the sending of the same bytes, which a node that has them answers with
"already known". A call is simulated before it is signed, so that a refusal costs nothing and says why.

Behind a URL there may be several nodes, some of them behind the others. What belongs together is therefore asked in one request
(a JSON-RPC batch), with the number of the newest block: a node that is behind what this process has seen is not believed.
"""

from __future__ import annotations

import logging
import threading
import time as clock
from collections.abc import Iterator
from json import JSONDecodeError
from typing import Any
from urllib.parse import urlsplit

from eth_account.datastructures import SignedTransaction
from hexbytes import HexBytes
from requests.exceptions import HTTPError, RequestException
from web3 import HTTPProvider, Web3
from web3.exceptions import TransactionNotFound, Web3RPCError
from web3.types import RPCEndpoint, RPCResponse, TxReceipt

from ..errors import InvalidParameter, LedgerUnavailable, TallystickError
from ..protocol import Address, Balance, Ballot, Call, Event, Round, Standing, TaskId, TaskView
from . import Cursor, Head, Receipt, Signer, address_of, contract
from .networks import Network, recorded_contract

log = logging.getLogger("tallystick")

Question = tuple[str, list[Any]]
"""A JSON-RPC method and its parameters."""

POLL = 0.05
ATTEMPTS = 6
RECEIPT_TIMEOUT = 600
LOG_SPAN = 5_000
LAG = 60.0
"""Seconds after which a chain that is shorter than it was is believed: no node is behind for so long, but a test chain can be cut."""
GAS_MARGIN = 1.25
ANVIL_CHAIN_ID = 31337


class EthereumLedger:
    """See `ledger.Ledger`. `network.contract` may be None only for `deploy`."""

    def __init__(self, network: Network, deployed: bool = True) -> None:
        self.url = network.url
        self._shown = _without_secrets(network.url)
        self._provider = HTTPProvider(
            network.url,
            exception_retry_configuration=None,
            cache_allowed_requests=True,
            cacheable_requests={RPCEndpoint("eth_chainId")},
        )
        self._web3 = Web3(self._provider)
        self._seen, self._behind = 0, 0.0
        self.chain_id = int(self._ask(lambda: self._web3.eth.chain_id))
        if network.chain_id is not None and network.chain_id != self.chain_id:
            raise InvalidParameter(
                f"{self._shown} is on chain {self.chain_id}, not {network.chain_id}. Check the URL."
            )
        self._nonces: dict[Address, int] = {}
        self._writing = threading.Lock()
        if not deployed:
            self.contract: Address = bytes(20)
            return
        found = network.contract or recorded_contract(self.chain_id)
        if found is None:
            raise InvalidParameter(
                f"no contract is known on chain {self.chain_id}. Run tallystick deploy --ledger {self._shown}, "
                "or add ?contract=0x… to the URL."
            )
        self.contract = found
        if not self._ask(lambda: self._web3.eth.get_code(_checksum(found))):
            raise InvalidParameter(
                f"there is no contract at 0x{found.hex()} on chain {self.chain_id} ({self._shown}). "
                "Check the address and the chain; on a fresh local node, deploy again."
            )
        self.url = f"{network.url}{'&' if '?' in network.url else '?'}contract=0x{found.hex()}"

    def deploy(self, signer: Signer) -> Address:
        """Deploy the contract, wait for its receipt, and use it from now on."""
        signed = self._sign(signer, None, 0, contract.bytecode())
        receipt = self._settle(signed)
        address = receipt["contractAddress"]
        if receipt["status"] != 1 or address is None:
            raise LedgerUnavailable(
                f"deployment {signed.hash.to_0x_hex()} failed on chain {self.chain_id}."
            )
        self.contract = bytes.fromhex(address[2:])
        return self.contract

    def give(self, account: Address, amount: int = 10**20) -> bool:
        """On a local anvil, make sure an account has wei to play with; elsewhere do nothing and return False."""
        if self.chain_id != ANVIL_CHAIN_ID:
            return False
        held = int(self._ask(lambda: self._web3.eth.get_balance(_checksum(account))))
        if held < amount // 2:
            method: Any = "anvil_setBalance"
            self._ask(
                lambda: self._web3.provider.make_request(
                    method, [_checksum(account), hex(held + amount)]
                )
            )
        return True

    def now(self) -> int:
        # The block being made: a node that mines on demand has no new one until somebody sends.
        return int(self._block("pending")["timestamp"], 16)

    def wait(self, until: int) -> None:
        # A node that mines on demand may have no block until somebody sends: go by how long this machine has waited then. What its
        # clock says does not matter.
        now = self.now()
        deadline = clock.monotonic() + until - now
        while now < until and clock.monotonic() < deadline:
            clock.sleep(min(max(deadline - clock.monotonic(), POLL), 1.0))
            now = self.now()

    def send(self, signer: Signer, *calls: Call) -> list[Receipt]:
        sent: list[tuple[Call, SignedTransaction]] = []
        with self._writing:
            try:
                for call in calls:
                    data, value = contract.encode_call(call), contract.value_of(call)
                    signed = self._sign(signer, self.contract, value, data)
                    self._push(signed)
                    sent.append((call, signed))
                return [self._receipt(signer, call, signed) for call, signed in sent]
            finally:
                # Asked afresh next time: a reorganisation may have taken transactions back.
                self._nonces.clear()

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
        """Events after `since`. If `since` is no longer on the chain (a reorganisation), raises `LedgerUnavailable`:
        the reader goes back to an older cursor, or to none, and reads again."""
        start = 0
        if since is not None:
            self._see_again(since)
            start = since.number + 1
        newest = self.head()
        for first in range(start, newest.number + 1, LOG_SPAN):
            last = min(first + LOG_SPAN - 1, newest.number)
            for found in self._logs(task, first, last, newest):
                event = contract.decode_event(
                    [bytes.fromhex(topic[2:]) for topic in found["topics"]],
                    bytes.fromhex(found["data"][2:]),
                )
                if event is not None:
                    yield (
                        Cursor(
                            int(found["blockNumber"], 16), bytes.fromhex(found["blockHash"][2:])
                        ),
                        event,
                    )

    def head(self) -> Head:
        block = self._block("latest")
        return Head(int(block["number"], 16), bytes.fromhex(block["hash"][2:]))

    def close(self) -> None:
        """Nothing is held open."""

    def _block(self, tag: str) -> dict[str, Any]:
        (block,) = self._together(("eth_getBlockByNumber", [tag, False]))
        if block is None:
            raise LedgerUnavailable(f"{self._shown} has no {tag} block. Ask another node.")
        return dict(block)

    def _logs(self, task: TaskId, first: int, last: int, newest: Head) -> list[dict[str, Any]]:
        """A task's logs in some blocks, of the chain whose head is `newest`.

        A node that does not have a block yet leaves its logs out and says nothing: so it is asked for the head as well.
        """
        wanted = {
            "address": _checksum(self.contract),
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "topics": [None, "0x" + task.hex()],
        }
        head = ("eth_getBlockByNumber", [hex(newest.number), False])
        logs, block = self._together(("eth_getLogs", [wanted]), head)
        self._check_block(newest, block)
        return list(logs)

    def _see_again(self, cursor: Cursor) -> None:
        (block,) = self._together(("eth_getBlockByNumber", [hex(cursor.number), False]))
        self._check_block(cursor, block)

    def _check_block(self, expected: Head, found: dict[str, Any] | None) -> None:
        if found is None or bytes.fromhex(found["hash"][2:]) != expected.hash:
            raise LedgerUnavailable(
                f"block {expected.number} of chain {self.chain_id} is another one now (a reorganisation). "
                "Read the events again from the start."
            )

    def _view(self, name: str, *arguments: Any) -> bytes:
        return self._call(None, 0, contract.encode_view(name, *arguments))

    def _call(
        self, sender: Address | None, value: int, data: bytes, block: str = "latest"
    ) -> bytes:
        (found,) = self._together(("eth_call", [self._message(sender, value, data), block]))
        return bytes.fromhex(found[2:])

    def _message(self, sender: Address | None, value: int, data: bytes) -> dict[str, str]:
        message = {"data": "0x" + data.hex(), "value": hex(value)}
        if self.contract != bytes(20):
            message["to"] = _checksum(self.contract)
        if sender is not None:
            message["from"] = _checksum(sender)
        return message

    def _sign(
        self, signer: Signer, to: Address | None, value: int, data: bytes
    ) -> SignedTransaction:
        account = address_of(signer)
        tip = int(self._ask(lambda: self._web3.eth.max_priority_fee))
        gas, block, count = self._together(
            ("eth_estimateGas", [self._message(account, value, data), "pending"]),
            ("eth_getBlockByNumber", ["latest", False]),
            ("eth_getTransactionCount", [_checksum(account), "pending"]),
        )
        base, pending = int(block.get("baseFeePerGas", "0x0"), 16), int(count, 16)
        nonce = max(pending, self._nonces.get(account, 0))
        self._nonces[account] = nonce + 1
        message: dict[str, Any] = {
            "data": data,
            "value": value,
            "chainId": self.chain_id,
            "nonce": nonce,
            "gas": int(int(gas, 16) * GAS_MARGIN),
            "maxFeePerGas": 2 * base + tip,
            "maxPriorityFeePerGas": tip,
            "type": 2,
        }
        if to is not None:
            message["to"] = _checksum(to)
        return signer.sign_transaction(message)

    def _push(self, signed: SignedTransaction) -> None:
        try:
            self._ask(lambda: self._web3.eth.send_raw_transaction(signed.raw_transaction))
        except LedgerUnavailable as error:
            said = str(error).lower()
            if "already known" in said or "already imported" in said:
                return
            # A nonce that is used may be by this very transaction, sent twice on its way, and its receipt a moment late.
            for attempt in range(ATTEMPTS if "nonce" in said else 1):
                if self._found(signed.hash):
                    return
                clock.sleep(0.05 * 2**attempt)
            raise

    def _settle(self, signed: SignedTransaction) -> TxReceipt:
        self._push(signed)
        return self._await(signed)

    def _await(self, signed: SignedTransaction) -> TxReceipt:
        """The receipt of a transaction that is on its way: trouble with the node is waited out, for it may well be in a block."""
        deadline, again = clock.monotonic() + RECEIPT_TIMEOUT, clock.monotonic() + 15
        while clock.monotonic() < deadline:
            try:
                receipt = self._found(signed.hash)
                if receipt is not None:
                    self._seen = max(self._seen, int(receipt["blockNumber"]))
                    return receipt
                if clock.monotonic() > again:
                    again = clock.monotonic() + 15
                    self._push(signed)
            except LedgerUnavailable as error:
                log.warning("waiting for %s: %s", signed.hash.to_0x_hex(), error)
                clock.sleep(1)
            clock.sleep(POLL)
        raise LedgerUnavailable(
            f"transaction {signed.hash.to_0x_hex()} is in no block after {RECEIPT_TIMEOUT} s ({self._shown}). "
            "It may still come; run again later, nothing is sent twice."
        )

    def _found(self, digest: HexBytes) -> TxReceipt | None:
        try:
            found: TxReceipt = self._ask(lambda: self._web3.eth.get_transaction_receipt(digest))
        except TransactionNotFound:
            return None
        return found

    def _receipt(self, signer: Signer, call: Call, signed: SignedTransaction) -> Receipt:
        receipt = self._await(signed)
        if receipt["status"] != 1:
            # It passed the simulation and failed in its block: ask again there for the reason.
            self._call(
                address_of(signer), contract.value_of(call), contract.encode_call(call),
                hex(receipt["blockNumber"]),
            )  # fmt: skip
            raise LedgerUnavailable(
                f"transaction {signed.hash.to_0x_hex()} failed without a reason."
            )
        decoded = [
            contract.decode_event([bytes(t) for t in log["topics"]], bytes(log["data"]))
            for log in receipt["logs"]
        ]
        events = tuple(event for event in decoded if event is not None)
        return Receipt(
            call, bytes(signed.hash), int(receipt["blockNumber"]), int(receipt["gasUsed"]), events
        )

    def _together(self, *questions: Question) -> list[Any]:
        """One node's answers at one moment, no earlier than what this process has seen before."""
        for attempt in range(2 * ATTEMPTS):
            number, *answers = self._ask(lambda: self._batch(("eth_blockNumber", []), *questions))
            if self._is_news(int(self._result(number), 16)):
                return [self._result(answer) for answer in answers]
            clock.sleep(min(0.5, 0.05 * 2**attempt))
        raise LedgerUnavailable(
            f"{self._shown} does not show block {self._seen}, which it showed before: a node there is behind, or the "
            f"chain was cut. Wait, or use another node; after {LAG:.0f} s the shorter chain is believed."
        )

    def _is_news(self, number: int) -> bool:
        if number < self._seen:
            self._behind = self._behind or clock.monotonic()
            if clock.monotonic() - self._behind < LAG:
                return False
            log.warning("chain %d was cut from %d to %d blocks", self.chain_id, self._seen, number)
        self._seen, self._behind = number, 0.0
        return True

    def _batch(self, *questions: Question) -> list[RPCResponse]:
        asked = [(RPCEndpoint(method), parameters) for method, parameters in questions]
        answers = self._provider.make_batch_request(asked)
        if isinstance(answers, dict):
            raise Web3RPCError("not a list", rpc_response=answers)
        if len(answers) != len(questions):
            raise Web3RPCError(f"{len(answers)} answers to {len(questions)} questions")
        return answers

    def _result(self, answer: RPCResponse) -> Any:
        """What a node answered, or what its error stands for."""
        if "error" in answer:
            raise _explained(Web3RPCError("refused", rpc_response=answer), self._shown)
        return answer["result"]

    def _ask(self, question: Any) -> Any:
        """Ask the node, again if no whole answer comes; decode a revert; explain everything else."""
        for attempt in range(ATTEMPTS):
            try:
                return question()
            except TransactionNotFound:
                raise
            except (
                RequestException, ConnectionError, TimeoutError, JSONDecodeError, UnicodeDecodeError,
            ) as error:  # fmt: skip
                if attempt == ATTEMPTS - 1:
                    raise LedgerUnavailable(
                        f"no answer from {self._shown} ({_trouble(error)}). "
                        "Is the node running, and the URL right?"
                    ) from None
                clock.sleep(0.1 * 2**attempt)
            except Exception as error:
                raise _explained(error, self._shown) from None
        raise AssertionError("unreachable")


def _explained(error: Exception, shown: str) -> TallystickError:
    """The refusal in a node's error, or what it says."""
    data = _revert_data(error)
    return (
        contract.decode_refusal(data)
        if data
        else LedgerUnavailable(f"{shown} answered: {_said(error)}")
    )


def _trouble(error: Exception) -> str:
    """What kept an answer from coming, without the URL, which may hold a provider's key."""
    if isinstance(error, HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code} {error.response.reason}"
    return type(error).__name__


def _checksum(address: Address) -> Any:
    return Web3.to_checksum_address("0x" + address.hex())


def _revert_data(error: Exception) -> bytes:
    candidates: list[Any] = [getattr(error, "data", None)]
    if isinstance(error, Web3RPCError) and error.rpc_response:
        candidates.append(error.rpc_response.get("error", {}).get("data"))
    for candidate in candidates:
        data = candidate.get("data") if isinstance(candidate, dict) else candidate
        data = data.removeprefix("Reverted ") if isinstance(data, str) else ""  # As some nodes say.
        if data.startswith("0x") and len(data) >= 10:
            return bytes.fromhex(data[2:])
    return b""


def _said(error: Exception) -> str:
    if isinstance(error, Web3RPCError) and error.rpc_response:
        return str(error.rpc_response.get("error", {}).get("message", error))
    return f"{type(error).__name__}: {error}"


def _without_secrets(url: str) -> str:
    """Scheme and host only: provider URLs carry keys in their paths."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
