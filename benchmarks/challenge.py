"""Gas of a challenge, on the real contract: `python -m benchmarks.challenge`.

A proposal over N members and a model of 1M words claims a sum that is one too large. What lies off the path to the lie is random:
a challenge opens only the path, so its price is that of a whole round with as many members. Words are random too, and random
bytes are the dearest: the sums of a real model are mostly small, and so full of cheap zeros.
"""

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import replace

from tallystick import keys, ledger, merkle
from tallystick.encoding import default_fan_in, default_leaf_words
from tallystick.fraud import Opening
from tallystick.ledger import address_of
from tallystick.protocol import (
    MIN_BOND,
    Admit,
    CreateTask,
    Deposit,
    Open,
    Parameters,
    Propose,
    RefuteNext,
    RefuteSum,
    TaskCreated,
)
from tallystick.sumtree import Entry, SumNode, shape, widths

from .record import Figure, save

WORDS, LIMIT = 1_000_000, 350_000
LEAF, FAN_IN = default_leaf_words(WORDS), default_fan_in(WORDS)
MEMBERS = (10, 100, 1_000, 10_000)
SLOTS = 2


def vector(rng: random.Random, word: int, word_bytes: int) -> tuple[bytes, Opening]:
    """Root of a vector that starts with `word`, and the opening of its first leaf; the rest is random."""
    data = word.to_bytes(word_bytes, "little", signed=True) + rng.randbytes((LEAF - 1) * word_bytes)
    leaves = -(-WORDS // LEAF)
    path = tuple(rng.randbytes(32) for _ in range((leaves - 1).bit_length()))
    root = merkle.leaf_hash(data)
    for sibling in path:
        root = merkle.node_hash(root, sibling)
    return root, Opening(data, path)


def grown(
    rng: random.Random, members: int, first: SumNode | None, level: int, root: bytes
) -> SumNode:
    """The first node of a level over the first one below, with random siblings."""
    count, children = shape(members, FAN_IN, level, 0)
    below = () if first is None else (first.digest,)
    others = tuple(rng.randbytes(32) for _ in range(children - len(below)))
    return SumNode(count, count * 500, root, below + others)


def lies(members: int, task: bytes) -> dict[str, tuple[Propose, RefuteSum | RefuteNext]]:
    """False proposals of round 1 and what refutes them: a sum just above the roster, one above that, a next model."""
    rng = random.Random(members)
    depth = len(widths(members, FAN_IN))
    found: dict[str, tuple[Propose, RefuteSum | RefuteNext]] = {}

    words = [rng.randrange(-(2**31), 2**31) for _ in range(FAN_IN)]
    parts = [vector(rng, word, 4) for word in words]
    entries = tuple(Entry(rng.randbytes(20), 500, root) for root, _ in parts)
    root, opening = vector(rng, 500 * sum(words) + 1, 8)
    low = SumNode(FAN_IN, 500 * FAN_IN, root, tuple(entry.digest for entry in entries))
    path = [low]
    for level in range(2, depth + 1):
        path.insert(0, grown(rng, members, path[0], level, rng.randbytes(32)))
    claim = Propose(task, 1, members, path[0].digest, rng.randbytes(32))
    found["sum above the roster"] = (
        claim,
        RefuteSum(task, 1, tuple(path), 0, 0, opening, (), entries, tuple(o for _, o in parts)),
    )

    width = shape(members, FAN_IN, 2, 0)[1]
    words = [rng.randrange(-(2**60), 2**60) for _ in range(width)]
    sums = [vector(rng, word, 8) for word in words]
    nodes = tuple(
        replace(grown(rng, members, None, 1, root), weight=rng.randrange(2**31)) for root, _ in sums
    )
    root, opening = vector(rng, sum(words) + 1, 8)
    count = shape(members, FAN_IN, 2, 0)[0]
    path = [SumNode(count, 500 * count, root, tuple(node.digest for node in nodes))]
    for level in range(3, depth + 1):
        path.insert(0, grown(rng, members, path[0], level, rng.randbytes(32)))
    claim = Propose(task, 1, members, path[0].digest, rng.randbytes(32))
    found["sum of sums"] = (
        claim,
        RefuteSum(task, 1, tuple(path), 0, 0, opening, nodes, (), tuple(o for _, o in sums)),
    )
    return found


def measure(members: int) -> dict[str, int]:
    """Gas of each challenge in a task of so many members."""
    chain = ledger.open("embedded:")
    sponsor, liar, validator = (keys.demo(7, who, 0) for who in ("sponsor", "aggregator", "validator"))  # fmt: skip
    base_root, base = vector(random.Random(0), 1000, 4)
    parameters = Parameters(
        sponsor=address_of(sponsor), layout=b"\x01" * 32, genesis=base_root, dimension=WORDS, scale=24,
        leaf_words=LEAF, fan_in=FAN_IN, rule=0, rounds=9, quorum=1, max_weight=100_000,
        max_members=members, slots=SLOTS, commit_window=100, challenge_window=100, bond=MIN_BOND,
        bounty=50, salt=bytes(32),
    )  # fmt: skip
    (created,) = chain.send(sponsor, CreateTask(parameters))[0].events
    assert isinstance(created, TaskCreated)
    task = created.task
    rng = random.Random(members)
    for start in range(0, members, 250):
        some = tuple(rng.randbytes(20) for _ in range(min(250, members - start)))
        chain.send(sponsor, Admit(task, some))
    chain.send(liar, Deposit(9 * MIN_BOND))
    chain.send(liar, Open(task, 1))
    found = {}
    claims = lies(members, task)
    top_root, total = vector(rng, 500 * members, 8)
    top = grown(rng, members, None, len(widths(members, FAN_IN)), top_root)
    next_root, following = vector(rng, 1002, 4)
    claims["next model"] = (
        Propose(task, 1, members, top.digest, next_root),
        RefuteNext(task, 1, top, 0, base, total, following),
    )
    for name, (claim, refutation) in claims.items():
        chain.wait(chain.round(task, 1).commit_deadline + 1)
        chain.send(liar, claim)
        found[name] = chain.send(validator, refutation)[0].gas
    chain.close()
    return found


def main() -> int:
    """Save and print the table; 1 if a challenge is dearer than the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="not with 10,000 members")
    quick = parser.parse_args().quick
    rows = {}
    for members in MEMBERS[:-1] if quick else MEMBERS:
        rows[members] = measure(members)
        print(f"  {members:,} members: {rows[members]}", flush=True)
    names = list(next(iter(rows.values())))
    lines = ["| members | " + " | ".join(names) + " |", "| ---: |" + " ---: |" * len(names)]
    lines += [
        f"| {members:,} | " + " | ".join(f"{row[name]:,}" for name in names) + " |"
        for members, row in rows.items()
    ]
    worst = max(gas for row in rows.values() for gas in row.values())
    figures = [Figure("dearest challenge", f"{worst:,} gas", f"≤ {LIMIT:,}", worst <= LIMIT)]
    about = (
        f"Gas of one whole transaction that refutes a proposal over a model of {WORDS:,} words (leaves of {LEAF}, fan-in {FAN_IN}), as the "
        "receipt reports it (Prague, EIP-7623's calldata floor included), with random words: the dearest there are. It grows with the "
        "logarithm of the members, by the nodes on the path."
    )
    return int(
        not save("challenge", "Gas of a challenge", about, "\n".join(lines), rows, figures, quick)
    )


if __name__ == "__main__":
    sys.exit(main())
