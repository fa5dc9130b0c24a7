"""Any JSON-RPC node. One writer per process and account, explicit nonces, EIP-1559 fees, and no transaction twice.

A transaction is signed once; what is retried is the sending of the same bytes, which a node that has them answers with
"already known". A call is simulated before it is signed, so that a refusal costs nothing and says why.
"""

from __future__ import annotations

import threading
import time as clock
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from eth_account.datastructures import SignedTransaction
from hexbytes import HexBytes
from requests.exceptions import RequestException
from web3 import HTTPProvider, Web3
from web3.exceptions import TransactionNotFound, Web3RPCError
from web3.types import LogReceipt, RPCEndpoint, TxReceipt

from ..errors import InvalidParameter, LedgerUnavailable
from ..protocol import Address, Balance, Ballot, Call, Event, Round, Standing, TaskId, TaskView
from . import Cursor, Head, Receipt, Signer, address_of, contract
from .networks import Network, recorded_contract

POLL = 0.05
ATTEMPTS = 6
RECEIPT_TIMEOUT = 600
LOG_SPAN = 5_000
GAS_MARGIN = 1.25
ANVIL_CHAIN_ID = 31337


class EthereumLedger:
    """See `ledger.Ledger`. `network.contract` may be None only for `deploy`."""

    def __init__(self, network: Network, deployed: bool = True) -> None:
        self.url = network.url
        self._shown = _without_secrets(network.url)
        self._web3 = Web3(
            HTTPProvider(
                network.url,
                exception_retry_configuration=None,
                cache_allowed_requests=True,
                cacheable_requests={RPCEndpoint("eth_chainId")},
            )
        )
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
        return int(self._ask(lambda: self._web3.eth.get_block("pending"))["timestamp"])

    def wait(self, until: int) -> None:
        # A node that mines on demand has no block until somebody sends: go by the machine's clock then.
        while self.now() < until and clock.time() < until:
            clock.sleep(min(max(until - clock.time(), POLL), 1.0))

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
            block = self._ask(lambda: self._web3.eth.get_block(since.number))
            if bytes(block["hash"]) != since.hash:
                raise LedgerUnavailable(
                    f"block {since.number} of chain {self.chain_id} is another one now (a reorganisation). "
                    "Read the events again from the start."
                )
            start = since.number + 1
        newest = int(self._ask(lambda: self._web3.eth.block_number))
        for first in range(start, newest + 1, LOG_SPAN):
            last = min(first + LOG_SPAN - 1, newest)
            for log in self._logs(task, first, last):
                event = contract.decode_event([bytes(t) for t in log["topics"]], bytes(log["data"]))
                if event is not None:
                    yield Cursor(int(log["blockNumber"]), bytes(log["blockHash"])), event

    def head(self) -> Head:
        block = self._ask(lambda: self._web3.eth.get_block("latest"))
        return Head(int(block["number"]), bytes(block["hash"]))

    def close(self) -> None:
        """Nothing is held open."""

    def _logs(self, task: TaskId, first: int, last: int) -> list[LogReceipt]:
        return list(
            self._ask(
                lambda: self._web3.eth.get_logs(
                    {
                        "address": _checksum(self.contract),
                        "fromBlock": first,
                        "toBlock": last,
                        "topics": [None, "0x" + task.hex()],
                    }
                )
            )
        )

    def _view(self, name: str, *arguments: Any) -> bytes:
        return self._call(None, 0, contract.encode_view(name, *arguments))

    def _call(
        self, sender: Address | None, value: int, data: bytes, block: Any = "latest"
    ) -> bytes:
        message: dict[str, Any] = {"to": _checksum(self.contract), "data": data, "value": value}
        if sender is not None:
            message["from"] = _checksum(sender)
        return bytes(self._ask(lambda: self._web3.eth.call(message, block)))  # type: ignore[arg-type]

    def _sign(
        self, signer: Signer, to: Address | None, value: int, data: bytes
    ) -> SignedTransaction:
        account = address_of(signer)
        message: dict[str, Any] = {"from": signer.address, "data": data, "value": value}
        if to is not None:
            message["to"] = _checksum(to)
        gas = int(self._ask(lambda: self._web3.eth.estimate_gas(message, "pending")))  # type: ignore[arg-type]
        tip = int(self._ask(lambda: self._web3.eth.max_priority_fee))
        base = int(self._ask(lambda: self._web3.eth.get_block("latest")).get("baseFeePerGas", 0))
        pending = int(
            self._ask(lambda: self._web3.eth.get_transaction_count(_checksum(account), "pending"))
        )
        nonce = max(pending, self._nonces.get(account, 0))
        self._nonces[account] = nonce + 1
        message |= {
            "chainId": self.chain_id,
            "nonce": nonce,
            "gas": int(gas * GAS_MARGIN),
            "maxFeePerGas": 2 * base + tip,
            "maxPriorityFeePerGas": tip,
            "type": 2,
        }
        del message["from"]
        return signer.sign_transaction(message)

    def _push(self, signed: SignedTransaction) -> None:
        try:
            self._ask(lambda: self._web3.eth.send_raw_transaction(signed.raw_transaction))
        except LedgerUnavailable as error:
            said = str(error).lower()
            if "already known" in said or "already imported" in said or self._found(signed.hash):
                return
            raise

    def _settle(self, signed: SignedTransaction) -> TxReceipt:
        self._push(signed)
        return self._await(signed)

    def _await(self, signed: SignedTransaction) -> TxReceipt:
        deadline, again = clock.monotonic() + RECEIPT_TIMEOUT, clock.monotonic() + 15
        while clock.monotonic() < deadline:
            receipt = self._found(signed.hash)
            if receipt is not None:
                return receipt
            if clock.monotonic() > again:
                self._push(signed)
                again = clock.monotonic() + 15
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
                receipt["blockNumber"],
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

    def _ask(self, question: Any) -> Any:
        """Ask the node, again if the connection fails; decode a revert; explain everything else."""
        for attempt in range(ATTEMPTS):
            try:
                return question()
            except TransactionNotFound:
                raise
            except (RequestException, ConnectionError, TimeoutError) as error:
                if attempt == ATTEMPTS - 1:
                    raise LedgerUnavailable(
                        f"no answer from {self._shown} ({type(error).__name__}). "
                        "Is the node running, and the URL right?"
                    ) from None
                clock.sleep(0.1 * 2**attempt)
            except Exception as error:
                data = _revert_data(error)
                if data:
                    raise contract.decode_refusal(data) from None
                raise LedgerUnavailable(f"{self._shown} answered: {_said(error)}") from None
        raise AssertionError("unreachable")


def _checksum(address: Address) -> Any:
    return Web3.to_checksum_address("0x" + address.hex())


def _revert_data(error: Exception) -> bytes:
    candidates: list[Any] = [getattr(error, "data", None)]
    if isinstance(error, Web3RPCError) and error.rpc_response:
        candidates.append(error.rpc_response.get("error", {}).get("data"))
    for candidate in candidates:
        data = candidate.get("data") if isinstance(candidate, dict) else candidate
        if isinstance(data, str) and data.startswith("0x") and len(data) >= 10:
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
