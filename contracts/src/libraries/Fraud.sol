// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Merkle} from "./Merkle.sol";
import {Accused, Claim, Entry, Opening, Placed, Signed, Sought, SumNode, Vector} from "../interfaces/Evidence.sol";
import {InvalidProof} from "./Errors.sol";

/// @title What makes a proposal false, as predicates over a few leaves and nodes that were committed to.
/// @notice The same predicates as `src/tallystick/fraud.py` over the sum tree of `src/tallystick/sumtree.py`, check by check and in
/// the same order. Each looks at one place, so that its price does not grow with members or parameters. Evidence that does not stand
/// under the roots reverts with `InvalidProof`, which names the part.
library Fraud {
    uint256 internal constant UPDATE_BYTES = 4;
    uint256 internal constant SUM_BYTES = 8;
    uint256 internal constant SIGNATURE_BYTES = 65;
    uint256 internal constant SIGNED_ENTRY_BYTES = 121;
    uint256 internal constant MAX_HEIGHT = 40;
    /// @dev Levels of a Merkle tree that one revealed piece spans: 128 digests, 4 KiB.
    uint256 internal constant STEP = 7;
    /// @dev In the place of a number of digests: the answer is a node or an entry of the sum tree, well formed.
    uint256 internal constant DOCUMENT = type(uint32).max;
    /// @dev The same for its top, which nothing but a node can be.
    uint256 internal constant NODE = type(uint32).max - 1;

    /* PREDICATES */

    /// @notice Whether word `word` of the path's last node is not the sum of its children's, each times its weight at level 1.
    function isWrongSum(
        Claim memory c,
        SumNode[] calldata path,
        uint256 index,
        uint256 word,
        Opening calldata total,
        SumNode[] calldata nodes,
        Entry[] calldata entries,
        Opening[] calldata parts
    ) internal pure returns (bool) {
        uint256 level = _locate(c, path, index, 1);
        SumNode calldata node = path[path.length - 1];
        _checkChildren(level, node, nodes, entries);
        if (parts.length != node.children.length) revert InvalidProof("parts");
        int256 expected;
        for (uint256 i; i < parts.length; ++i) {
            if (level == 1) {
                expected += int256(uint256(entries[i].weight))
                * _openWord(c, entries[i].root, parts[i], word, UPDATE_BYTES);
            } else {
                expected += _openWord(c, nodes[i].vectorRoot, parts[i], word, SUM_BYTES);
            }
        }
        return _openWord(c, node.vectorRoot, total, word, SUM_BYTES) != expected;
    }

    /// @notice Whether word `word` of the next model is not the base's plus the rounded mean, held at the ends of int32.
    function isWrongNext(
        Claim memory c,
        SumNode calldata top,
        uint256 word,
        Opening calldata base,
        Opening calldata total,
        Opening calldata following
    ) internal pure returns (bool) {
        if (digest(top) != c.sumRoot) revert InvalidProof("path");
        int256 old = _openWord(c, c.baseRoot, base, word, UPDATE_BYTES);
        int256 sum = _openWord(c, top.vectorRoot, total, word, SUM_BYTES);
        int256 found = _openWord(c, c.nextRoot, following, word, UPDATE_BYTES);
        int256 weight = int256(uint256(top.weight));
        if (weight == 0) return true;
        return found != _next(old, sum, weight);
    }

    /// @notice Whether the path's last node has a count or children that no tree over this roster has there, or not their weight.
    function isWrongTree(
        Claim memory c,
        SumNode[] calldata path,
        uint256 index,
        SumNode[] calldata nodes,
        Entry[] calldata entries
    ) internal pure returns (bool) {
        uint256 level = _locate(c, path, index, 0);
        if (level == 0) return true;
        SumNode calldata node = path[path.length - 1];
        (uint256 count, uint256 children) = _shape(c, level, index);
        if (node.count != count || node.children.length != children) return true;
        _checkChildren(level, node, nodes, entries);
        uint256 weight;
        for (uint256 i; i < children; ++i) {
            weight += level == 1 ? entries[i].weight : nodes[i].weight;
        }
        return node.weight != weight;
    }

    /// @notice Whether a vector's Merkle tree has a leaf of the wrong length or in an inner place, or an inner node in a leaf's place.
    function isWrongVector(Claim memory c, Accused calldata a) internal pure returns (bool) {
        (bytes32 root, uint256 words, uint256 leafWords, uint256 wordBytes) =
            _vector(c, a.vector, a.path, a.index, a.entries);
        uint256 height = a.height;
        if (height > MAX_HEIGHT || (a.inner && a.data.length != 64)) revert InvalidProof("data");
        bytes32 hashed = a.inner ? Merkle.nodeHash(bytes32(a.data[:32]), bytes32(a.data[32:])) : Merkle.leafHash(a.data);
        uint256 leaves = (words + leafWords - 1) / leafWords;
        if (!Merkle.isIncluded(root, hashed, a.position, _width(leaves, height), a.siblings)) {
            revert InvalidProof("leaf");
        }
        uint256 first = uint256(a.position) << height;
        if (height > 0 && leaves - first > 1) return !a.inner;
        uint256 left = words - first * leafWords;
        return a.inner || a.data.length != wordBytes * (left < leafWords ? left : leafWords);
    }

    /// @notice Whether a roster entry stands where a node should be.
    function isWrongPlace(Claim memory c, Placed calldata placed) internal pure returns (bool) {
        return _level(c, placed.path, placed.index, placed.entry) > 1;
    }

    /// @notice Whether two neighbours of the roster are not in ascending order.
    function isUnordered(Claim memory c, Placed calldata left, Placed calldata right) internal pure returns (bool) {
        _checkPlaced(c, left);
        _checkPlaced(c, right);
        _checkNeighbours(left.index, right.index);
        return left.entry.member >= right.entry.member;
    }

    /// @notice Whether a member is not in the roster, by its two neighbours there (one at either end).
    function isAbsent(Claim memory c, address member, Placed[] calldata near) internal pure returns (bool) {
        for (uint256 i; i < near.length; ++i) {
            _checkPlaced(c, near[i]);
        }
        Placed calldata last = near[_last(near.length)];
        return
            _isBetween(member, near[0].entry.member, near[0].index, last.entry.member, last.index, near.length, c.count);
    }

    /// @notice Whether a batch holds no such entry, by the member's other entry or its two neighbours there (one at either end).
    function isAbsentFromBatch(Claim memory c, Entry calldata entry, Signed[] calldata near)
        internal
        pure
        returns (bool)
    {
        for (uint256 i; i < near.length; ++i) {
            checkSigned(c, near[i]);
        }
        Signed calldata last = near[_last(near.length)];
        Entry calldata first = near[0].entry;
        if (near.length == 1 && first.member == entry.member) return digest(first) != digest(entry);
        return
            _isBetween(
                entry.member, first.member, near[0].index, last.entry.member, last.index, near.length, c.batchCount
            );
    }

    /// @notice Whether two neighbours of the batch are not in ascending order.
    function isBatchUnordered(Claim memory c, Signed calldata left, Signed calldata right)
        internal
        pure
        returns (bool)
    {
        checkSigned(c, left);
        checkSigned(c, right);
        _checkNeighbours(left.index, right.index);
        return left.entry.member >= right.entry.member;
    }

    /// @notice Reverts unless the batch holds the entry with that signature.
    function checkSigned(Claim memory c, Signed calldata s) internal pure {
        bytes32 leaf = entryLeaf(s.entry, s.signature);
        if (
            s.signature.length != SIGNATURE_BYTES
                || !Merkle.isIncluded(c.batchRoot, leaf, s.index, c.batchCount, s.path)
        ) revert InvalidProof("batch");
    }

    /// @notice How many digests answer for what is sought: none where it is a leaf, `DOCUMENT` where it is a node or an entry of the
    /// sum tree, `NODE` its top. Reverts where it is not there.
    function checkSought(Claim memory c, Sought calldata s) internal pure returns (uint256 pieces) {
        if (s.vector == uint8(Vector.Tree)) {
            bytes32 found = c.sumRoot;
            if (s.path.length != 0) {
                _locate(c, s.path, s.index / c.fanIn, 1);
                found = _child(s.path[s.path.length - 1], s.index % c.fanIn);
            }
            if (found != s.digest) revert InvalidProof("node");
            return s.path.length == 0 ? NODE : DOCUMENT;
        }
        (bytes32 root, uint256 words, uint256 leafWords,) = _vector(c, s.vector, s.path, s.index, s.entries);
        uint256 height = s.height;
        if (height > MAX_HEIGHT) revert InvalidProof("data");
        uint256 leaves = (words + leafWords - 1) / leafWords;
        if (!Merkle.isIncluded(root, s.digest, s.position, _width(leaves, height), s.siblings)) {
            revert InvalidProof("leaf");
        }
        if (height == 0) return 0;
        uint256 step = height < STEP ? height : STEP;
        pieces = _width(leaves, height - step) - (uint256(s.position) << step);
        if (pieces > 1 << step) pieces = 1 << step;
        if (pieces == 1) revert InvalidProof("height");
    }

    /// @notice Whether bytes are those of a node of the sum tree or, unless `nodeOnly`, of an entry.
    function isDocument(bytes calldata data, bool nodeOnly) internal pure returns (bool) {
        if (data.length == 57) return data[0] == 0x02 && !nodeOnly;
        return data.length >= 45 && data[0] == 0x03 && (data.length - 45) % 32 == 0;
    }

    /// @notice Whether a leaf of the next model is the base's plus the rounded mean of the entries' updates, word by word.
    function isRightLeaf(
        Claim memory c,
        uint256 leaf,
        Entry[] calldata entries,
        Opening[] calldata parts,
        Opening calldata base,
        Opening calldata following
    ) internal pure returns (bool) {
        if (parts.length != entries.length) revert InvalidProof("parts");
        _checkLeaf(c, c.baseRoot, base, leaf, UPDATE_BYTES);
        _checkLeaf(c, c.nextRoot, following, leaf, UPDATE_BYTES);
        int256[] memory sums = new int256[](base.data.length / UPDATE_BYTES);
        int256 total;
        for (uint256 i; i < entries.length; ++i) {
            _checkLeaf(c, entries[i].root, parts[i], leaf, UPDATE_BYTES);
            int256 weight = int256(uint256(entries[i].weight));
            bytes calldata data = parts[i].data;
            for (uint256 j; j < sums.length; ++j) {
                sums[j] += weight * _word(data, j * UPDATE_BYTES, UPDATE_BYTES);
            }
            total += weight;
        }
        for (uint256 j; j < sums.length; ++j) {
            int256 old = _word(base.data, j * UPDATE_BYTES, UPDATE_BYTES);
            if (_word(following.data, j * UPDATE_BYTES, UPDATE_BYTES) != _next(old, sums[j], total)) return false;
        }
        return true;
    }

    /* HASHES */

    /// @notice Digest of a roster entry: H(0x00 | 0x02 | member | weight | root).
    function digest(Entry calldata e) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes2(0x0002), e.member, e.weight, e.root));
    }

    /// @notice Digest of a node: H(0x00 | 0x03 | count | weight | vectorRoot | children).
    function digest(SumNode calldata n) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes2(0x0003), n.count, n.weight, n.vectorRoot, n.children));
    }

    /// @notice Leaf of a batch: H(0x00 | member | weight | root | signature).
    function entryLeaf(Entry calldata e, bytes calldata signature) internal pure returns (bytes32) {
        return Merkle.leafHash(abi.encodePacked(e.member, e.weight, e.root, signature));
    }

    /* INTERNAL */

    /// @dev Level of the last node of a path that starts at the top and ends at node `index` of its level.
    function _locate(Claim memory c, SumNode[] calldata path, uint256 index, uint256 lowest)
        private
        pure
        returns (uint256 level)
    {
        uint256 steps = path.length;
        level = _depth(c) + 1;
        if (steps == 0 || level < lowest + steps) revert InvalidProof("path");
        level -= steps;
        uint256 place = c.fanIn ** (steps - 1);
        if (index >= place) revert InvalidProof("path");
        bytes32 expected = c.sumRoot;
        for (uint256 i; i < steps; ++i) {
            if (digest(path[i]) != expected) revert InvalidProof("path");
            place /= c.fanIn;
            if (place != 0) expected = _child(path[i], (index / place) % c.fanIn);
        }
    }

    function _child(SumNode calldata node, uint256 position) private pure returns (bytes32) {
        if (position >= node.children.length) revert InvalidProof("path");
        return node.children[position];
    }

    /// @dev Levels of nodes above the roster.
    function _depth(Claim memory c) private pure returns (uint256 levels) {
        uint256 width = c.count;
        do {
            width = (width + c.fanIn - 1) / c.fanIn;
            ++levels;
        } while (width > 1);
    }

    /// @dev How many members and children node `index` of `level` must have.
    function _shape(Claim memory c, uint256 level, uint256 index)
        private
        pure
        returns (uint256 count, uint256 children)
    {
        (uint256 last, uint256 below, uint256 held) = (0, c.count, 1);
        for (uint256 i; i < level; ++i) {
            (last, below, held) = (below, (below + c.fanIn - 1) / c.fanIn, held * c.fanIn);
        }
        if (index >= below) revert InvalidProof("node");
        (count, children) = (c.count - index * held, last - index * c.fanIn);
        if (count > held) count = held;
        if (children > c.fanIn) children = c.fanIn;
    }

    function _level(Claim memory c, SumNode[] calldata path, uint256 index, Entry calldata entry)
        private
        pure
        returns (uint256 level)
    {
        level = _locate(c, path, index / c.fanIn, 1);
        if (_child(path[path.length - 1], index % c.fanIn) != digest(entry)) revert InvalidProof("entry");
    }

    function _checkPlaced(Claim memory c, SumNode[] calldata path, uint256 index, Entry calldata entry) private pure {
        if (_level(c, path, index, entry) != 1) revert InvalidProof("entry");
    }

    function _checkPlaced(Claim memory c, Placed calldata p) private pure {
        _checkPlaced(c, p.path, p.index, p.entry);
    }

    function _checkChildren(uint256 level, SumNode calldata node, SumNode[] calldata nodes, Entry[] calldata entries)
        private
        pure
    {
        uint256 given = level == 1 ? entries.length : nodes.length;
        if (given != node.children.length) revert InvalidProof("children");
        for (uint256 i; i < given; ++i) {
            bytes32 found = level == 1 ? digest(entries[i]) : digest(nodes[i]);
            if (found != node.children[i]) revert InvalidProof("children");
        }
    }

    function _checkNeighbours(uint256 left, uint256 right) private pure {
        if (right != left + 1) revert InvalidProof("neighbours");
    }

    /// @dev Index of the last of one or two neighbours.
    function _last(uint256 given) private pure returns (uint256) {
        if (given == 0 || given > 2) revert InvalidProof("neighbours");
        return given - 1;
    }

    /// @dev Whether one or two sorted neighbours leave no place for a member among `count`.
    function _isBetween(
        address member,
        address lower,
        uint256 left,
        address upper,
        uint256 right,
        uint256 given,
        uint256 count
    ) private pure returns (bool) {
        if (given == 1) return (left == 0 && member < lower) || (left + 1 == count && member > lower);
        _checkNeighbours(left, right);
        return lower < member && member < upper;
    }

    /// @dev One word of the next model: the base's plus the rounded mean, held at the ends of int32.
    function _next(int256 old, int256 sum, int256 weight) private pure returns (int256 right) {
        int256 dividend = sum + weight / 2;
        int256 mean = dividend / weight;
        if (dividend % weight < 0) mean -= 1;
        right = old + mean;
        if (right < type(int32).min) right = type(int32).min;
        if (right > type(int32).max) right = type(int32).max;
    }

    /// @dev Merkle nodes `height` levels above that many leaves.
    function _width(uint256 leaves, uint256 height) private pure returns (uint256) {
        return (leaves + (1 << height) - 1) >> height;
    }

    /// @dev Reverts unless an opened leaf has the right length and stands under the root.
    function _checkLeaf(Claim memory c, bytes32 root, Opening calldata o, uint256 leaf, uint256 wordBytes)
        private
        pure
    {
        uint256 first = leaf * c.leafWords;
        if (first >= c.dimension) revert InvalidProof("leaf");
        uint256 left = c.dimension - first;
        if (o.data.length != wordBytes * (left < c.leafWords ? left : c.leafWords)) revert InvalidProof("leaf");
        uint256 leaves = (c.dimension + c.leafWords - 1) / c.leafWords;
        if (!Merkle.isIncluded(root, Merkle.leafHash(o.data), leaf, leaves, o.path)) revert InvalidProof("leaf");
    }

    /// @dev The word at an offset, little-endian and signed.
    function _word(bytes calldata data, uint256 offset, uint256 wordBytes) private pure returns (int256) {
        if (wordBytes == UPDATE_BYTES) {
            uint256 four = uint256(uint32(bytes4(data[offset:offset + 4])));
            return int256(int32(uint32(_swap(four, 4))));
        }
        uint256 eight = uint256(uint64(bytes8(data[offset:offset + 8])));
        return int256(int64(uint64(_swap(eight, 8))));
    }

    /// @dev Bytes in the other order: pairs, then pairs of pairs, and for eight of them halves.
    function _swap(uint256 x, uint256 count) private pure returns (uint256) {
        x = ((x & 0x00FF00FF00FF00FF) << 8) | ((x >> 8) & 0x00FF00FF00FF00FF);
        x = ((x & 0x0000FFFF0000FFFF) << 16) | ((x >> 16) & 0x0000FFFF0000FFFF);
        return count == 4 ? x : ((x & 0xFFFFFFFF) << 32) | (x >> 32);
    }

    /// @dev One word of an opened leaf.
    function _openWord(Claim memory c, bytes32 root, Opening calldata o, uint256 word, uint256 wordBytes)
        private
        pure
        returns (int256)
    {
        // The last leaf may be short.
        if (word >= c.dimension) revert InvalidProof("leaf");
        _checkLeaf(c, root, o, word / c.leafWords, wordBytes);
        return _word(o.data, (word % c.leafWords) * wordBytes, wordBytes);
    }

    /// @dev Root, words, words per leaf and bytes per word of the vector that is accused, or in which something is sought.
    function _vector(Claim memory c, uint8 vector, SumNode[] calldata path, uint256 index, Entry[] calldata entries)
        private
        pure
        returns (bytes32, uint256, uint256, uint256)
    {
        if (vector == uint8(Vector.Batch)) return (c.batchRoot, c.batchCount, 1, SIGNED_ENTRY_BYTES);
        if (vector == uint8(Vector.Next)) return (c.nextRoot, c.dimension, c.leafWords, UPDATE_BYTES);
        if (vector == uint8(Vector.Update)) {
            if (entries.length != 1) revert InvalidProof("entry");
            _checkPlaced(c, path, index, entries[0]);
            return (entries[0].root, c.dimension, c.leafWords, UPDATE_BYTES);
        }
        if (vector != uint8(Vector.Sums)) revert InvalidProof("vector");
        _locate(c, path, index, 1);
        return (path[path.length - 1].vectorRoot, c.dimension, c.leafWords, SUM_BYTES);
    }
}
