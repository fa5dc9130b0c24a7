"""The store keeps blobs whole, finds any damage and says where it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick import store
from tallystick.blob import HEADER_BYTES, DamagedLeaf, Kind
from tallystick.errors import (
    BlobUnavailable,
    InvalidBlob,
    InvalidParameter,
    InvalidTensor,
    RootMismatch,
    StoreUnavailable,
)

WORDS = np.arange(-500, 500, dtype=np.int32)


@pytest.fixture
def shelf(tmp_path: Path) -> store.Store:
    return store.open(f"file:{tmp_path}/store")


def test_words_come_back_as_they_went_in(shelf: store.Store) -> None:
    """What is read equals what was written, and its name is its root."""
    root = shelf.put(Kind.UPDATE, WORDS, 64)
    assert np.array_equal(shelf.get(root, Kind.UPDATE, 64, 1000), WORDS)
    assert shelf.has(root) and list(shelf.roots()) == [root]
    assert shelf.document(shelf.put(Kind.DOCUMENT, b"{}" * 2000)) == b"{}" * 2000


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 2**31), bit=st.integers(0, 7))
def test_any_single_flipped_bit_is_found(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    """No bit of a stored file, header and hash table included, can change unseen."""
    shelf = store.open(str(tmp_path_factory.mktemp("s")))
    root = shelf.put(Kind.UPDATE, WORDS, 64)
    path = shelf.path(root)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises((InvalidBlob, RootMismatch)):
        shelf.get(root, Kind.UPDATE, 64, 1000)


def test_damage_names_its_leaf(shelf: store.Store) -> None:
    """A reader learns which leaf was changed, not only that something was."""
    root = shelf.put(Kind.UPDATE, WORDS, 64)
    path = shelf.path(root)
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES + 4 * (3 * 64 + 5)] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedLeaf, match="leaf 3") as caught:
        shelf.get(root, Kind.UPDATE, 64, 1000)
    assert caught.value.leaf == 3
    assert shelf.put(Kind.UPDATE, WORDS, 64) == root
    assert np.array_equal(shelf.get(root, Kind.UPDATE, 64, 1000), WORDS), "putting again repairs"


def test_words_of_another_root_are_not_kept(shelf: store.Store) -> None:
    """Who is sent words under a root keeps them only if they hash to it."""
    before = set(shelf.roots())
    with pytest.raises(RootMismatch, match=bytes(32).hex()):
        shelf.put(Kind.UPDATE, WORDS + 1, 8, bytes(32))
    assert set(shelf.roots()) == before
    root = shelf.put(Kind.UPDATE, WORDS + 1, 8)
    assert shelf.put(Kind.UPDATE, WORDS + 1, 8, root) == root


@pytest.mark.parametrize("place", [0, 40, -1])
def test_putting_a_damaged_blob_again_repairs_it(shelf: store.Store, place: int) -> None:
    """What is damaged, be it header, words or table, is written again by whoever has the words."""
    root = shelf.put(Kind.UPDATE, WORDS, 8)
    good = bytearray(shelf.path(root).read_bytes())
    bad = good.copy()
    bad[place] ^= 1
    shelf.path(root).write_bytes(bad)
    assert shelf.put(Kind.UPDATE, WORDS, 8, root) == root
    assert shelf.path(root).read_bytes() == good


@pytest.mark.parametrize("cut", [0, 10, HEADER_BYTES, HEADER_BYTES + 100, -1])
def test_a_truncated_blob_is_refused(shelf: store.Store, cut: int) -> None:
    """Half a file is called truncated, not read."""
    root = shelf.put(Kind.MODEL, WORDS, 64)
    path = shelf.path(root)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InvalidBlob, match="truncated"):
        shelf.get(root, Kind.MODEL)


def test_another_kind_size_or_file_is_refused(shelf: store.Store) -> None:
    """A blob of another task or kind cannot stand in, even with its right root; a model and an update may be the same words."""
    root = shelf.put(Kind.UPDATE, WORDS, 64)
    with pytest.raises(InvalidBlob, match="not a document"):
        shelf.get(root, Kind.DOCUMENT)
    assert shelf.put(Kind.MODEL, WORDS, 64) == root
    for kind in (Kind.MODEL, Kind.UPDATE):
        np.testing.assert_array_equal(shelf.get(root, kind), WORDS)
    with pytest.raises(InvalidBlob, match="of 999 words"):
        shelf.get(root, Kind.UPDATE, 64, 999)
    other = shelf.put(Kind.UPDATE, WORDS[::-1].copy(), 64)
    shelf.path(root).write_bytes(shelf.path(other).read_bytes())
    with pytest.raises(RootMismatch, match="another blob"):
        shelf.get(root, Kind.UPDATE)


def test_a_missing_blob_is_named(shelf: store.Store) -> None:
    """A reader is told which root is missing and where it looked."""
    with pytest.raises(BlobUnavailable, match="00" * 32):
        shelf.get(bytes(32), Kind.MODEL)


def test_a_full_disk_loses_nothing(shelf: store.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves no half blob and keeps what was there."""
    kept = shelf.put(Kind.MODEL, WORDS, 64)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match="Free some space"):
        shelf.put(Kind.MODEL, WORDS + 1, 64)
    monkeypatch.undo()
    assert list(shelf.roots()) == [kept]
    assert not list(shelf.path(kept).parent.parent.rglob("*.part"))


def test_wrong_payloads_are_refused(shelf: store.Store) -> None:
    """Only flat vectors of the kind's own dtype become blobs."""
    with pytest.raises(InvalidTensor):
        shelf.put(Kind.MODEL, WORDS.astype(np.int64), 64)
    with pytest.raises(InvalidTensor):
        shelf.put(Kind.MODEL, WORDS.reshape(10, 100), 64)
    with pytest.raises(InvalidTensor):
        shelf.put(Kind.MODEL, b"words", 64)


def test_an_unknown_scheme_is_refused() -> None:
    """A URL that no backend answers to is named with what would work."""
    with pytest.raises(InvalidParameter, match="file:FOLDER"):
        store.open("gopher:somewhere")
