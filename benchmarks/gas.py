"""Gas of every call, on the real contract: `python -m benchmarks.gas`.

Whole transactions, as a receipt reports them (Prague, EIP-7623 calldata floor included). Each figure is the dearest of
all its occurrences in a run of several rounds, so that the first use of a slot cannot hide behind the later ones.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict

from tallystick import keys, ledger, merkle
from tallystick.commitment import SIGNATURE_BYTES, entry_bytes
from tallystick.fraud import Sought, Vector
from tallystick.protocol import (
    MIN_BOND,
    Admit,
    Attest,
    Call,
    Commit,
    CommitBatch,
    CreateTask,
    Demand,
    Deposit,
    Exclude,
    Finalise,
    Open,
    Parameters,
    Propose,
    Reason,
    Release,
    Reveal,
    Settlement,
    Stake,
    TaskCreated,
    Unstake,
    Withdraw,
)

from .record import Figure, save

LIMITS = {
    "commit": 35_000,
    "propose": 120_000,
    "attest": 60_000,
    "finalise": 80_000,
    "finalise by votes": 80_000,
    "commit batch of 10": 80_000,
    "commit batch of 1000": 80_000,
}
ROUNDS = 6
HEIGHT, PIECES = 14, 123
"""Levels of the Merkle tree over 1,000,000 words in leaves of 64, and how many digests seven levels below the top."""
SIGNATURE = b"\x1b" * SIGNATURE_BYTES
"""Whose it is costs nothing where nobody disputes it."""


def measure(members: int, batched: bool, rounds: int) -> dict[str, int]:
    """Dearest gas of each kind of call in a task of `members` over several rounds."""
    chain = ledger.open("embedded:")
    sponsor, aggregator = keys.demo(7, "sponsor", 0), keys.demo(7, "aggregator", 0)
    accounts = sorted(
        (keys.demo(7, "member", k) for k in range(members)),
        key=lambda account: bytes.fromhex(account.address[2:]),
    )
    addresses = [bytes.fromhex(account.address[2:]) for account in accounts]
    spent: dict[str, int] = defaultdict(int)

    def send(signer: object, call: Call, name: str) -> ledger.Receipt:
        (receipt,) = chain.send(signer, call)  # type: ignore[arg-type]
        spent[name] = max(spent[name], receipt.gas)
        return receipt

    parameters = Parameters(
        sponsor=bytes.fromhex(sponsor.address[2:]), layout=b"\x01" * 32, genesis=b"\x02" * 32,
        dimension=1_000_000, scale=24, leaf_words=64, fan_in=4, rule=0, rounds=rounds, quorum=1,
        max_weight=100_000, max_members=members, slots=4, commit_window=100, challenge_window=100,
        bond=MIN_BOND, bounty=50, settlement=Settlement.EARLY, reveal_window=50,
    )  # fmt: skip
    created = send(sponsor, CreateTask(parameters), "create task").events[0]
    assert isinstance(created, TaskCreated)
    task = created.task
    for start in range(0, members, 100):
        batch = tuple(addresses[start : start + 100])
        gas = send(sponsor, Admit(task, batch), "admit").gas
        spent["admit, per member"] = max(spent["admit, per member"], gas // len(batch))
    send(aggregator, Deposit(4 * MIN_BOND), "deposit")
    validators = [keys.demo(7, "validator", k) for k in range(2)]
    for validator in validators:
        send(validator, Deposit(parameters.stake + rounds * parameters.reveal_fee), "deposit")
        send(validator, Stake(task, parameters.stake), "stake")
    for number in range(1, rounds + 1):
        send(aggregator, Open(task, number), "open")
        excluded = 0
        if batched:
            hashes = [
                merkle.leaf_hash(entry_bytes(address, 569, bytes([number]) * 32) + SIGNATURE)
                for address in addresses
            ]
            name = f"commit batch of {members}"
            send(aggregator, CommitBatch(task, number, merkle.root_of(hashes), members), name)
        else:
            for k, account in enumerate(accounts):
                root = merkle.leaf_hash(bytes([number, k % 256]))
                send(account, Commit(task, number, 569, root), "commit")
                if k == 0 and members > 1:
                    left_out = Exclude(task, number, addresses[0], 569, root, Reason.WITHHELD)
                    send(aggregator, left_out, "exclude")
                    excluded = 1
        digests = [merkle.leaf_hash(bytes([number, k])) for k in range(PIECES)]
        root = merkle.root_of(digests)
        seen, roots = chain.head(), (b"\x03" * 32, root)
        proposal = Propose(
            task, number, members - excluded, *roots, batched, seen.number, seen.hash
        )
        send(aggregator, proposal, "propose")
        sought = Sought(Vector.NEXT, (), 0, (), HEIGHT, 0, root, ())
        send(validators[0], Demand(task, number, sought), "demand")
        shown = Reveal(task, number, root, PIECES, b"".join(digests))
        send(aggregator, shown, f"reveal {PIECES} digests")
        for validator in validators:
            send(validator, Attest(task, number, b"\x03" * 32, root), "attest")
        if number % 2:
            send(sponsor, Finalise(task, number), "finalise by votes")
            chain.wait(chain.round(task, number).final_at)
            send(sponsor, Release(task, number), "release")
        else:
            chain.wait(chain.round(task, number).final_at)
            send(sponsor, Finalise(task, number), "finalise")
    for validator in validators:
        send(validator, Unstake(task), "unstake")
    send(aggregator, Withdraw(MIN_BOND), "withdraw")
    chain.close()
    return dict(spent)


def main() -> int:
    """Save and print the table; 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two rounds")
    quick = parser.parse_args().quick
    rounds = 2 if quick else ROUNDS
    direct, ten, thousand = (
        measure(10, False, rounds), measure(10, True, rounds), measure(1000, True, rounds)
    )  # fmt: skip
    table = direct | {k: v for k, v in (ten | thousand).items() if k.startswith("commit batch")}
    lines = ["| call | gas | limit |", "| --- | ---: | ---: |"]
    for name, gas in table.items():
        lines.append(
            f"| {name} | {gas:,} | {format(LIMITS[name], ',') if name in LIMITS else ''} |"
        )
    figures = [
        Figure(name, f"{table[name]:,} gas", f"≤ {limit:,}", table[name] <= limit)
        for name, limit in LIMITS.items()
    ]
    about = (
        "Gas of whole transactions as receipts report it, on the contract in the embedded EVM (Prague rules), each the dearest "
        f"of its occurrences in {rounds} rounds. Tasks have 4 slots, which admission prepays; 10 members commit directly, 10 and 1,000 in batches. "
        "Two validators attest; a model of 1,000,000 words is demanded at its root."
    )
    return int(not save("gas", "Gas of every call", about, "\n".join(lines), table, figures, quick))


if __name__ == "__main__":
    sys.exit(main())
