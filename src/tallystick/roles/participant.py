"""The participant: checks the model it is given, commits to its update, and only then lets go of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import cast

import numpy as np

from .. import merkle
from ..commitment import entry_bytes
from ..encoding import Arrays, Layout, Words, as_bytes, update_of
from ..errors import InvalidWeight, Mismatch, ModelMismatch, NotMember, Refused, RoundNotOpen
from ..ledger import Ledger, Signer, address_of
from ..protocol import DIGEST_BYTES, Commit, Committed, Parameters, Phase
from ..store import Kind, Store
from ..sumtree import Entry
from .receipt import Place, Receipt, sign_commitment, sign_reply


class _LastChecked:
    """The words that were last hashed in this process: members that share it are given the same model."""

    def __init__(self) -> None:
        self._held: tuple[int, bytes, Words] | None = None

    def root(self, words: Words, leaf_words: int) -> bytes:
        held = self._held
        if held and held[0] == leaf_words and np.array_equal(held[2], words):
            return held[1]
        root = merkle.root(as_bytes(words), 4 * leaf_words)
        self._held = leaf_words, root, words.copy()
        return root


_last_checked = _LastChecked()


class CommitmentMismatch(Mismatch):
    """The member committed to another update of this round, and no longer has it."""


class Participant:
    """One member of one task.

    `store` is the member's own: an update lies there before it is committed, so that a crash between the two loses
    nothing.
    """

    def __init__(self, ledger: Ledger, store: Store, signer: Signer, task: bytes) -> None:
        self.ledger = ledger
        self.store = store
        self.task = task
        self.member = address_of(signer)
        self._signer = signer

    @cached_property
    def parameters(self) -> Parameters:
        """The task's immutable parameters, from the ledger."""
        return self.ledger.task(self.task).parameters

    def check_layout(self, layout: Layout) -> None:
        """Raise `ModelMismatch` unless this is the layout the task was created with."""
        if layout.digest != self.parameters.layout:
            raise ModelMismatch(
                f"the layout received has digest {layout.digest.hex()} where task {self.task.hex()} was created "
                f"with {self.parameters.layout.hex()}. Do not train; ask the aggregator which model it sent."
            )

    def check_base(self, round: int, words: Words) -> None:
        """Raise `ModelMismatch` unless `words` (int32[d]) is the model that an open round starts from."""
        current = self.ledger.round(self.task, round)
        if current.phase != Phase.OPEN:
            raise RoundNotOpen(round)
        self._check_model(words, self.ledger.round(self.task, current.parent).next_root, round)

    def check_proposed(self, round: int, words: Words) -> None:
        """Raise `ModelMismatch` unless `words` (int32[d]) is the model that came out of a round."""
        self._check_model(words, self.ledger.round(self.task, round).next_root, round)

    def update(self, arrays: Arrays, base: Words, layout: Layout) -> Words:
        """The update (int32[d]) from the base model's words to trained arrays; raises as `encoding.update_of`."""
        return update_of(arrays, base, layout, self.parameters.scale)

    def commit(self, round: int, update: Words, weight: int, node: int) -> tuple[Receipt, Words]:
        """Commit on the ledger, once: a second call for the round finds the first commitment and returns its update.

        Raises `InvalidWeight`, what the ledger refuses, or `CommitmentMismatch` where an earlier commitment's update is
        no longer in the store.
        """
        self._check_weight(weight)
        place = self._place(round)
        root = self.store.put(Kind.UPDATE, update, self.parameters.leaf_words)
        transaction, gas = b"", 0
        try:
            sent = self.ledger.send(self._signer, Commit(self.task, round, weight, root))[0]
            transaction, gas = sent.transaction, sent.gas
        except Refused:
            held = self.ledger.commitment(self.task, round, self.member)
            if held is None:
                raise
            if held != place.digest(self.member, root, weight)[:DIGEST_BYTES]:
                weight, root, update = self._pending(round)
        return self._receipt(place, root, weight, node, transaction=transaction, gas=gas), update

    def sign(self, round: int, update: Words, weight: int, node: int) -> Receipt:
        """Keep the update and sign its commitment for the aggregator to batch; nothing of it leaves yet."""
        self._check_weight(weight)
        place = self._place(round)
        root = self.store.put(Kind.UPDATE, update, self.parameters.leaf_words)
        signed = sign_commitment(self._signer, place, root, weight)
        return self._receipt(place, root, weight, node, commitment=signed)

    def release(
        self,
        round: int,
        entry: Entry,
        signature: bytes,
        index: int,
        path: Sequence[bytes],
        node: int,
    ) -> tuple[Receipt, Words]:
        """The update of a batched commitment, once the ledger holds the batch with this entry and its signature in it."""
        batch = self.ledger.round(self.task, round)
        leaf = merkle.leaf_hash(entry_bytes(self.member, entry.weight, entry.root) + signature)
        if entry.member != self.member or not merkle.is_included(
            batch.batch_root, leaf, index, batch.batch_count, path
        ):
            raise CommitmentMismatch(
                f"the ledger's batch of round {round} does not hold this member's commitment. "
                "Do not send the update; ask the aggregator to post the batch first."
            )
        update = self._stored(entry.root)
        return self._receipt(self._place(round), entry.root, entry.weight, node), update

    def _stored(self, root: bytes) -> Words:
        p = self.parameters
        return cast(Words, self.store.get(root, Kind.UPDATE, p.leaf_words, p.dimension))

    def _check_model(self, words: Words, expected: bytes, round: int) -> None:
        root = _last_checked.root(words, self.parameters.leaf_words)
        if root != expected:
            raise ModelMismatch(
                f"the global model received for round {round} has root {root.hex()} where the ledger says "
                f"{expected.hex()}. Do not train on it; ask the aggregator, or fetch the model from the store."
            )

    def _check_weight(self, weight: int) -> None:
        if not 1 <= weight <= self.parameters.max_weight:
            raise InvalidWeight(
                f"a weight of {weight} is outside 1..{self.parameters.max_weight}. "
                "Count examples in larger units, or ask the sponsor for a task with a larger maxWeight."
            )

    def _place(self, round: int) -> Place:
        return Place(self.ledger.chain_id, self.ledger.contract, self.task, round)

    def _receipt(
        self,
        place: Place,
        root: bytes,
        weight: int,
        node: int,
        *,
        commitment: bytes = b"",
        transaction: bytes = b"",
        gas: int = 0,
    ) -> Receipt:
        signature = sign_reply(self._signer, place, root, weight, node)
        return Receipt(
            self.task,
            place.round,
            self.member,
            root,
            weight,
            signature,
            commitment,
            transaction,
            gas,
        )

    def _pending(self, round: int) -> tuple[int, bytes, Words]:
        """Weight, root and update of this round's commitment, which was made before a restart."""
        for _, event in self.ledger.events(self.task, None):
            if isinstance(event, Committed) and (event.member, event.round) == (self.member, round):
                if self.store.has(event.root):
                    update = self._stored(event.root)
                    return event.weight, event.root, update
                raise CommitmentMismatch(
                    f"this member committed to update {event.root.hex()} in round {round} and its store "
                    f"{self.store.url} has lost it. Restore the blob, or sit this round out."
                )
        raise NotMember(self.member)
