"""Evidence against a false proposal: finds the first lie and builds the one call that refutes it.

What is honest can be recomputed by anybody from the ledger and the members' updates. What is false only its author knows, so
its nodes and vectors are looked for in the store under the roots that the proposal committed to.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np

from .. import merkle
from ..aggregation import Combined, Sums
from ..blob import DOCUMENT_LEAF
from ..encoding import Words, as_bytes
from ..errors import InvalidProof, TallystickError
from ..fraud import Opening, Placed, Signed
from ..protocol import (
    Parameters,
    Refutation,
    RefuteBatch,
    RefuteEntry,
    RefuteNext,
    RefuteOmission,
    RefuteOrder,
    RefuteSum,
    RefuteTree,
    Round,
)
from ..store import Kind, Store
from ..sumtree import Entry, SumNode, parse, shape, widths
from .batch import Batch


class Hidden(TallystickError):
    """A proposal commits to something that is not in the store."""


@dataclass(frozen=True)
class Lie:
    """A refutation, and in words what it shows: `leaf`, `claimed` and `right` where it is about a number."""

    call: Refutation
    said: str
    word: int | None = None
    claimed: int | None = None
    right: int | None = None


@dataclass(frozen=True)
class Case:
    """One proposal and what it should have been.

    `entries` is the right roster in order, `updates` (int32[d] each) go with it, `base` is the model (int32[d]) it starts from,
    `truth` what they come to. `committed` holds every entry that anybody committed in the round. `batch` is the one adopted.
    """

    task: bytes
    number: int
    round: Round
    parameters: Parameters
    store: Store
    base: Words
    entries: tuple[Entry, ...]
    updates: Sequence[Words]
    truth: Combined
    committed: tuple[Entry, ...]
    batch: Batch | None

    @cached_property
    def levels(self) -> list[list[SumNode]]:
        """The claimed tree, from the level above the roster up. Raises `Hidden`, or `InvalidProof` for bytes that are no node."""
        found = [[self._node(self.round.sum_root)]]
        for _ in widths(self.round.count, self.parameters.fan_in)[1:]:
            found.insert(0, [self._node(digest) for node in found[0] for digest in node.children])
        return found

    @cached_property
    def roster(self) -> list[Entry]:
        """The claimed roster; raises as `levels`."""
        known = {entry.digest: entry for entry in (*self.committed, *self.entries)}
        return [
            known.get(digest) or cast(Entry, self._document(digest, Entry))
            for node in self.levels[0]
            for digest in node.children
        ]

    @cached_property
    def _honest(self) -> Mapping[bytes, SumNode]:
        return {node.digest: node for level in self.truth.tree.levels for node in level}

    def _node(self, digest: bytes) -> SumNode:
        return self._honest.get(digest) or cast(SumNode, self._document(digest, SumNode))

    def _document(self, digest: bytes, kind: type[Entry | SumNode]) -> Entry | SumNode:
        try:
            found = parse(self.store.get(digest, Kind.DOCUMENT, DOCUMENT_LEAF).tobytes())
        except InvalidProof:
            raise Hidden(f"{digest.hex()} is no node of a sum tree") from None
        except TallystickError as error:
            raise Hidden(
                f"node {digest.hex()} of the sum tree is not to be had: {error}"
            ) from error
        if not isinstance(found, kind):
            raise Hidden(f"{digest.hex()} is no {kind.__name__}")
        return found

    def path(self, level: int, index: int) -> tuple[SumNode, ...]:
        """Claimed nodes from the top down to node `index` of `level` (1 is the one above the roster)."""
        found = [self.levels[level - 1][index]]
        for nodes in self.levels[level:]:
            index //= self.parameters.fan_in
            found.append(nodes[index])
        return tuple(found[::-1])

    def placed(self, index: int) -> Placed:
        """Roster entry `index` in its place."""
        return Placed(self.path(1, index // self.parameters.fan_in), index, self.roster[index])

    def sums(self, level: int, index: int) -> Sums:
        """The right partial sums (int64[d]) of a node."""
        width = self.parameters.fan_in**level
        group = slice(index * width, (index + 1) * width)
        total = np.zeros(self.base.shape, np.int64)
        for entry, update in zip(self.entries[group], self.updates[group], strict=True):
            total += update * np.int64(entry.weight)
        return total

    def open(self, words: Words | Sums, word: int) -> Opening:
        """The leaf of a vector that holds a word."""
        size = self.parameters.leaf_words * words.itemsize
        data = as_bytes(words)
        leaf = word // self.parameters.leaf_words
        hashes = merkle.leaf_hashes(data, size)
        return Opening(bytes(data[leaf * size : (leaf + 1) * size]), merkle.path(hashes, leaf))

    def vector(self, root: bytes, kind: Kind) -> Words | Sums:
        """A claimed vector, or `Hidden`."""
        p = self.parameters
        try:
            return cast(Words, self.store.get(root, kind, p.leaf_words, p.dimension))
        except TallystickError as error:
            raise Hidden(
                f"{kind.name.lower()} vector {root.hex()} is not to be had: {error}"
            ) from error


def find_lie(case: Case) -> Lie | None:
    """The first lie in a proposal, or None if there is none. Raises `Hidden` where what it commits to is not to be had."""
    claimed = (case.round.count, case.round.sum_root, case.round.next_root)
    if claimed == (len(case.entries), case.truth.tree.root, case.truth.next_root):
        return None
    return _wrong_tree(case) or _wrong_roster(case) or _wrong_sums(case) or _wrong_next(case)


def find_false_batch(
    task: bytes, number: int, batch: Batch, is_false: Sequence[bool]
) -> Lie | None:
    """A lie in an adopted batch: an entry for which `is_false`, or two neighbours out of order."""
    signed = [_signed(batch, index) for index in range(len(batch.roster))]
    for each, false in zip(signed, is_false, strict=True):
        if false:
            said = f"the batch has an entry that 0x{each.entry.member.hex()} did not sign"
            return Lie(RefuteBatch(task, number, (each,)), said)
    for left, right in itertools.pairwise(signed):
        if left.entry.member >= right.entry.member:
            return Lie(RefuteBatch(task, number, (left, right)), "the batch is not in order")
    return None


def _signed(batch: Batch, index: int) -> Signed:
    entry = batch.roster[index]
    path = merkle.path(merkle.leaf_hashes(batch.data, len(batch.data) // len(batch.roster)), index)
    return Signed(entry, batch.signatures[index], index, path)


def _wrong_tree(case: Case) -> Lie | None:
    """A node with a count or number of children that it cannot have; top down, for what is below hangs in the air."""
    count, fan_in = case.round.count, case.parameters.fan_in
    top = case._node(case.round.sum_root)
    levels = [[top]]
    for level in range(len(widths(count, fan_in)), 0, -1):
        for index, node in enumerate(levels[0]):
            if (node.count, len(node.children)) != shape(count, fan_in, level, index):
                path, place = [node], index
                for nodes in levels[1:]:
                    place //= fan_in
                    path.insert(0, nodes[place])
                call = RefuteTree(case.task, case.number, tuple(path), index, (), ())
                return Lie(
                    call, f"node {index} of level {level} says it holds {node.count} members"
                )
        if level > 1:
            levels.insert(0, [case._node(digest) for node in levels[0] for digest in node.children])
    return None


def _wrong_roster(case: Case) -> Lie | None:
    roster, right = case.roster, set(case.entries)
    for index, entry in enumerate(roster):
        if entry not in right:
            near = _neighbours_in_batch(case, entry)
            call = RefuteEntry(case.task, case.number, case.placed(index), near)
            return Lie(call, f"nobody committed to weight {entry.weight} of 0x{entry.member.hex()}")
    for index in range(len(roster) - 1):
        if roster[index].member >= roster[index + 1].member:
            call_order = RefuteOrder(
                case.task, case.number, case.placed(index), case.placed(index + 1)
            )
            return Lie(call_order, f"roster entries {index} and {index + 1} are not in order")
    here = set(roster)
    for entry in case.entries:
        if entry not in here:
            after = next((i for i, e in enumerate(roster) if e.member > entry.member), len(roster))
            near_by = [i for i in (after - 1, after) if 0 <= i < len(roster)]
            position = case.batch.positions.get(entry.member) if case.batch else None
            direct = position is None or position.entry != entry
            call_omission = RefuteOmission(
                case.task,
                case.number,
                entry,
                () if direct or case.batch is None else (_signed(case.batch, position.index),),  # type: ignore[union-attr]
                tuple(case.placed(i) for i in near_by),
            )
            return Lie(call_omission, f"0x{entry.member.hex()} committed and was left out")
    return None


def _neighbours_in_batch(case: Case, entry: Entry) -> tuple[Signed, ...]:
    """What shows that an adopted batch has no such entry."""
    if case.batch is None or not case.round.adopted:
        return ()
    roster = case.batch.roster
    after = next((i for i, e in enumerate(roster) if e.member >= entry.member), len(roster))
    if after < len(roster) and roster[after].member == entry.member:
        return (_signed(case.batch, after),)
    return tuple(_signed(case.batch, i) for i in (after - 1, after) if 0 <= i < len(roster))


def _wrong_sums(case: Case) -> Lie | None:
    """The lowest node whose weight or sums are not those of its children, which are right."""
    fan_in = case.parameters.fan_in
    for number, (claimed, right) in enumerate(
        zip(case.levels, case.truth.tree.levels, strict=True), 1
    ):
        for index, (node, honest) in enumerate(zip(claimed, right, strict=True)):
            if node == honest:
                continue
            span = slice(index * fan_in, (index + 1) * fan_in)
            nodes = () if number == 1 else tuple(case.levels[number - 2][span])
            entries = tuple(case.roster[span]) if number == 1 else ()
            path = case.path(number, index)
            if node.weight != honest.weight:
                call = RefuteTree(case.task, case.number, path, index, nodes, entries)
                said = f"node {index} of level {number} claims a weight of {node.weight}, its children have {honest.weight}"
                return Lie(call, said)
            if node.vector_root == honest.vector_root:
                continue
            false, true = case.vector(node.vector_root, Kind.SUMS), case.sums(number, index)
            word = int(np.flatnonzero(false != true)[0])
            children = range(span.start, span.start + len(node.children))
            parts = [
                case.updates[child] if number == 1 else case.sums(number - 1, child)
                for child in children
            ]
            call_sum = RefuteSum(
                case.task,
                case.number,
                path,
                index,
                word,
                case.open(false, word),
                nodes,
                entries,
                tuple(case.open(part, word) for part in parts),
            )
            said = f"node {index} of level {number} is not the sum of its children"
            return Lie(call_sum, said, word, int(false[word]), int(true[word]))
    return None


def _wrong_next(case: Case) -> Lie | None:
    if case.round.next_root == case.truth.next_root:
        return None
    false, true = case.vector(case.round.next_root, Kind.MODEL), case.truth.next_words
    word = int(np.flatnonzero(false != true)[0])
    top = case.levels[-1][0]
    total = case.sums(len(case.levels), 0)
    call = RefuteNext(
        case.task,
        case.number,
        top,
        word,
        case.open(case.base, word),
        case.open(total, word),
        case.open(cast(Words, false), word),
    )
    said = "the next model is not the last one plus the mean of the updates"
    return Lie(call, said, word, int(false[word]), int(true[word]))
