"""Merkle trees are RFC 6962's, and a path shows one leaf at one place and nothing else."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick import merkle


def naive_root(leaves: list[bytes]) -> bytes:
    """The recursive definition of RFC 6962, section 2.1."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    cut = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + naive_root(leaves[:cut]) + naive_root(leaves[cut:])).digest()


def naive_path(leaves: list[bytes], index: int) -> list[bytes]:
    """The recursive definition of RFC 6962, section 2.1.1."""
    if len(leaves) <= 1:
        return []
    cut = 1 << (len(leaves) - 1).bit_length() - 1
    if index < cut:
        return [*naive_path(leaves[:cut], index), naive_root(leaves[cut:])]
    return [*naive_path(leaves[cut:], index - cut), naive_root(leaves[:cut])]


def test_known_roots() -> None:
    """The certificate-transparency reference tree has its published roots."""
    leaves = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")]  # fmt: skip
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    assert (
        merkle.root_of([]).hex()
        == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    assert (
        merkle.root_of(hashes[:1]).hex()
        == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )
    assert (
        merkle.root_of(hashes).hex()
        == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    )


@pytest.mark.parametrize("count", range(1, 41))
def test_roots_and_paths_are_the_recursive_ones(count: int) -> None:
    """For every size and place, root and path equal the recursive definition, and the path is accepted there only."""
    leaves = [bytes([k]) * (k % 5) for k in range(count)]
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    root = merkle.root_of(hashes)
    assert root == naive_root(leaves)
    for index in range(count):
        path = merkle.path(hashes, index)
        assert list(path) == naive_path(leaves, index)
        assert merkle.paths(hashes)[index] == path
        for place in range(count + 1):
            shown = merkle.is_included(root, hashes[index], place, count, path)
            assert shown == (place == index)


@given(data=st.binary(max_size=3000), leaf_bytes=st.integers(1, 500))
def test_data_is_cut_into_leaves(data: bytes, leaf_bytes: int) -> None:
    """The root of bytes is the root of their pieces, the last of which may be short."""
    pieces = [data[k : k + leaf_bytes] for k in range(0, len(data), leaf_bytes)]
    assert merkle.root(data, leaf_bytes) == naive_root(pieces)


ATTACKS = (
    "node_passed_off_as_leaf", "truncated_path", "extended_path", "sides_swapped",
    "path_of_another_index", "leaf_count_one_less", "leaf_count_one_more", "other_leaf",
    "negative_index",
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("count", [2, 3, 5, 8, 13])
def test_forged_paths_are_refused(attack: str, count: int) -> None:
    """None of the known ways to forge a path of a tree is accepted."""
    hashes = [merkle.leaf_hash(bytes([k])) for k in range(count)]
    root, index = merkle.root_of(hashes), count - 1
    leaf, path, claimed = hashes[index], merkle.path(hashes, index), count
    match attack:
        case "node_passed_off_as_leaf":
            # The data of a leaf that spells out a node must not hash like that node.
            leaf, path, index, claimed = merkle.leaf_hash(hashes[0] + hashes[1]), (), 0, 1
            root = merkle.node_hash(hashes[0], hashes[1])
        case "truncated_path":
            path = path[:-1]
        case "extended_path":
            path = (*path, bytes(32))
        case "sides_swapped":
            leaf, path = path[0], (leaf, *path[1:])
        case "path_of_another_index":
            path = merkle.path(hashes, 0) if count > 2 else (bytes(32),)
        case "leaf_count_one_less":
            claimed = count - 1
        case "leaf_count_one_more" if count in (2, 8):
            claimed = count + 1
        case "leaf_count_one_more":
            index, leaf, path, claimed = count, hashes[0], merkle.path(hashes, 0), count + 1
        case "other_leaf":
            leaf = merkle.leaf_hash(b"other")
        case "negative_index":
            index = -1
    assert not merkle.is_included(root, leaf, index, claimed, path)


def test_one_flipped_bit_is_found() -> None:
    """From a damaged leaf and its right hash, the right leaf is found again; two flips are not."""
    leaf = bytes(range(200))
    digest = merkle.leaf_hash(leaf)
    damaged = bytearray(leaf)
    damaged[77] ^= 16
    assert merkle.repair(bytes(damaged), digest) == leaf
    damaged[3] ^= 1
    assert merkle.repair(bytes(damaged), digest) is None
    assert merkle.repair(leaf, digest) == leaf
