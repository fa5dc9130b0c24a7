"""The dishonest aggregator of the fault matrix, a process of its own: `python villain.py LEDGER STORE TASK LIE`.

It opens round 1, waits until everybody has committed and uploaded, proposes its LIE, and opens the next round upon it:

    sum:LEVEL       the partial sums of a node of that level of the tree (1 is above the members), carried up to the top
    next            one word of the next model
    omission        a member that committed is not in the roster
    weight          a member counts with another weight than it committed to
    hide:LEVEL      as sum:LEVEL, and nothing of it is published, nor revealed when it is demanded
    lazy            as next, and a validator attests it that has not looked
    replay:WHAT     a member's signature from another round, task, chain or contract, in a batch that it adopts

Or it is member 2, which trains nothing:

    copy            it commits to what member 1 committed to, in every round
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import work  # noqa: E402

from court import SIZE, Court  # noqa: E402
from tallystick import keys, ledger, store  # noqa: E402
from tallystick.commitment import typed_data  # noqa: E402
from tallystick.encoding import Words  # noqa: E402
from tallystick.errors import Refused  # noqa: E402
from tallystick.ledger import address_of  # noqa: E402
from tallystick.protocol import Attest, Commit, Committed, Open, Propose  # noqa: E402
from tallystick.roles import sponsor  # noqa: E402
from tallystick.roles.batch import make_batch, roster  # noqa: E402
from tallystick.sumtree import Entry  # noqa: E402

SEED = 11


class Villain(Court):
    """Takes the chair of a court that others have set up."""

    def __init__(self, url: str, kept: str, task: str) -> None:
        self.ledger, self.store = ledger.open(url), store.open(kept)
        self.task, self.number = bytes.fromhex(task), 1
        self.parameters = self.ledger.task(self.task).parameters
        self.liar = keys.demo(SEED, "villain", 0)
        self.members = self.ledger.task(self.task).members

    def gather(self) -> list[Entry]:
        """Everybody's commitments, once their updates are there."""
        while True:
            found = roster(self.ledger, self.store, self.task, self.number).entries
            if len(found) == self.members and all(self.store.has(e.root) for e in found):
                return sorted(found, key=lambda entry: entry.member)
            time.sleep(0.05)

    def propose(
        self, size: int, top: bytes, following: bytes, adopt: bool = False, key: object = None
    ) -> None:
        current = self.ledger.round(self.task, self.number)
        while size < self.members and self.ledger.now() <= current.commit_deadline:
            time.sleep(0.05)
        self.ledger.send(self.liar, Propose(self.task, self.number, size, top, following, adopt))

    def replayed(self, entry: Entry, what: str) -> bytes:
        """The signature that a member gave for the same update elsewhere."""
        signer = next(
            key for key in (keys.demo(SEED, "member", k) for k in range(9))
            if address_of(key) == entry.member
        )  # fmt: skip
        chain_id, contract, task, number = (
            self.ledger.chain_id, self.ledger.contract, self.task, self.number,
        )  # fmt: skip
        place = {
            "round": (chain_id, contract, task, number + 1),
            "task": (chain_id, contract, task[::-1], number),
            "chain": (chain_id + 1, contract, task, number),
            "contract": (chain_id, contract[::-1], task, number),
        }[what]
        data = typed_data(*place, entry.member, entry.root, entry.weight)
        return bytes(signer.sign_typed_data(full_message=data).signature)

    def copy(self) -> None:
        """Commit to what member 1 committed to, as member 2, until the task is complete."""
        victim, thief = (keys.demo(SEED, "member", k) for k in (1, 2))
        done: set[int] = set()
        while len(done) < self.parameters.rounds:
            for _, event in self.ledger.events(self.task):
                is_new = isinstance(event, Committed) and event.round not in done
                if is_new and event.member == address_of(victim):
                    call = Commit(self.task, event.round, work.weight(2), event.root)
                    self.ledger.send(thief, call)
                    done.add(event.round)
            time.sleep(0.05)

    def tell(self, kind: str, detail: str, right: list[Entry]) -> None:
        """Propose the lie."""
        if kind in ("sum", "hide"):

            def alter(level: int, index: int, sums: np.ndarray) -> np.ndarray:
                return sums + (np.arange(SIZE) == 7) * ((level, index) == (int(detail), 0))

            claim = self.claim(right, alter_sums=alter, publish=kind == "sum")
            words: Words = claim.next_words(self.base())
            following = self.publish(words) if kind == "sum" else self.root(words)
            self.propose(len(right), claim.top, following)
        elif kind in ("next", "lazy"):
            claim = self.claim(right, publish=False)
            false: Words = claim.next_words(self.base())
            false[9] += 1
            self.propose(len(right), claim.top, self.publish(false))
            if kind == "lazy":
                attest = Attest(self.task, self.number, claim.top, self.root(false))
                self.ledger.send(keys.demo(SEED, "villain", 1), attest)
        elif kind == "omission":
            self.lie([right[0], *right[2:]])
        elif kind == "weight":
            self.lie([right[0], replace(right[1], weight=right[1].weight + 5), *right[2:]])
        elif kind == "replay":
            batch = make_batch({entry: self.replayed(entry, detail) for entry in right})
            self.post(batch)
            self.lie(right, adopt=True)


def main(url: str, kept: str, task: str, lie: str) -> None:
    villain = Villain(url, kept, task)
    if lie == "copy":
        villain.copy()
        return
    sponsor.bond(villain.ledger, villain.liar, villain.task, 2)
    if lie == "lazy":
        lazy = keys.demo(SEED, "villain", 1)
        sponsor.stake(villain.ledger, lazy, villain.task, villain.parameters.stake)
    villain.ledger.send(villain.liar, Open(villain.task, villain.number))
    kind, _, detail = lie.partition(":")
    villain.tell(kind, detail, villain.gather())
    with suppress(Refused):  # Refuted already.
        villain.ledger.send(villain.liar, Open(villain.task, villain.number + 1))


if __name__ == "__main__":
    main(*sys.argv[1:])
