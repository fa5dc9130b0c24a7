// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Entry, Opening, Placed, Signed, SumNode} from "../src/interfaces/Evidence.sol";

/// @dev A Merkle tree with all of its levels: `levels[0]` are the hashes of `leaves`.
struct Tree {
    bytes[] leaves;
    bytes32[][] levels;
}

struct Member {
    uint256 key;
    address account;
    uint32 weight;
    int256[] words;
    Tree update;
}

/// @dev A lie in one word: of the sums of node `index` of `level` (1 is above the roster), or of the next model if `level` is
/// one more than the sum tree has. None at level 0. All that builds on it follows from it, so that it is false in one place only.
struct Lie {
    uint256 level;
    uint256 index;
    uint256 word;
    int256 delta;
}

/// @dev What an aggregator computes in a round. `nodes[0]`, `sums[0]` and `vectors[0]` are of level 1.
struct Tally {
    uint256 fanIn;
    uint256 leafWords;
    int256[] base;
    Tree baseTree;
    Member[] roster;
    SumNode[][] nodes;
    int256[][][] sums;
    Tree[][] vectors;
    int256[] next;
    Tree nextTree;
}

/// @title An aggregator, written from the formats and apart from the contract.
library Builder {
    /* TREES */

    function tree(bytes[] memory leaves) internal pure returns (Tree memory t) {
        t.leaves = leaves;
        bytes32[] memory hashes = new bytes32[](leaves.length);
        for (uint256 i; i < leaves.length; ++i) {
            hashes[i] = sha256(abi.encodePacked(hex"00", leaves[i]));
        }
        rehash(t, hashes);
    }

    /// @dev Pairs from the left; a last node without a partner goes up as it is. That is the shape of RFC 6962.
    function rehash(Tree memory t, bytes32[] memory hashes) internal pure {
        uint256 height = 1;
        while (1 << (height - 1) < hashes.length) {
            ++height;
        }
        t.levels = new bytes32[][](height);
        t.levels[0] = hashes;
        for (uint256 l = 1; l < height; ++l) {
            bytes32[] memory below = t.levels[l - 1];
            bytes32[] memory level = new bytes32[]((below.length + 1) / 2);
            for (uint256 i; i < level.length; ++i) {
                level[i] = 2 * i + 1 < below.length
                    ? sha256(abi.encodePacked(hex"01", below[2 * i], below[2 * i + 1]))
                    : below[2 * i];
            }
            t.levels[l] = level;
        }
    }

    function root(Tree memory t) internal pure returns (bytes32) {
        return t.levels[t.levels.length - 1][0];
    }

    function auditPath(Tree memory t, uint256 index) internal pure returns (bytes32[] memory) {
        return auditPath(t, 0, index);
    }

    /// @dev Of node `index` at `height` levels above the leaves.
    function auditPath(Tree memory t, uint256 height, uint256 index) internal pure returns (bytes32[] memory path) {
        path = new bytes32[](t.levels.length);
        uint256 steps;
        for (uint256 l = height; l + 1 < t.levels.length; ++l) {
            uint256 sibling = index ^ 1;
            if (sibling < t.levels[l].length) path[steps++] = t.levels[l][sibling];
            index >>= 1;
        }
        assembly {
            mstore(path, steps)
        }
    }

    function open(Tree memory t, uint256 leaf) internal pure returns (Opening memory) {
        return Opening(t.leaves[leaf], auditPath(t, leaf));
    }

    /// @dev Words in little-endian bytes, cut into leaves.
    function vector(int256[] memory words, uint256 leafWords, uint256 wordBytes) internal pure returns (Tree memory) {
        bytes[] memory leaves = new bytes[]((words.length + leafWords - 1) / leafWords);
        for (uint256 i; i < leaves.length; ++i) {
            uint256 first = i * leafWords;
            uint256 length = words.length - first < leafWords ? words.length - first : leafWords;
            bytes memory data = new bytes(length * wordBytes);
            for (uint256 j; j < data.length; ++j) {
                data[j] = bytes1(uint8(uint256(words[first + j / wordBytes]) >> (8 * (j % wordBytes))));
            }
            leaves[i] = data;
        }
        return tree(leaves);
    }

    /* SUM TREE */

    function entry(Member memory m) internal pure returns (Entry memory) {
        return Entry(m.account, m.weight, root(m.update));
    }

    function digest(Entry memory e) internal pure returns (bytes32) {
        return sha256(bytes.concat(hex"0002", bytes20(e.member), bytes4(e.weight), e.root));
    }

    function digest(SumNode memory n) internal pure returns (bytes32) {
        bytes memory children;
        for (uint256 i; i < n.children.length; ++i) {
            children = bytes.concat(children, n.children[i]);
        }
        return sha256(bytes.concat(hex"0003", bytes4(n.count), bytes8(n.weight), n.vectorRoot, children));
    }

    function top(Tally memory t) internal pure returns (SumNode memory) {
        return t.nodes[t.nodes.length - 1][0];
    }

    function sumRoot(Tally memory t) internal pure returns (bytes32) {
        return digest(top(t));
    }

    function combine(Tally memory t) internal pure {
        combine(t, Lie(0, 0, 0, 0));
    }

    function combine(Tally memory t, Lie memory lie) internal pure {
        uint256 width = t.roster.length;
        uint256 depth;
        do {
            width = (width + t.fanIn - 1) / t.fanIn;
            ++depth;
        } while (width > 1);
        t.nodes = new SumNode[][](depth);
        t.sums = new int256[][][](depth);
        t.vectors = new Tree[][](depth);
        for (uint256 l; l < depth; ++l) {
            _level(t, l, lie);
        }
        follow(t);
        if (lie.level == depth + 1) {
            t.next[lie.word] = int32(t.next[lie.word] + lie.delta);
            t.nextTree = vector(t.next, t.leafWords, 4);
        }
    }

    function _level(Tally memory t, uint256 l, Lie memory lie) private pure {
        uint256 below = l == 0 ? t.roster.length : t.nodes[l - 1].length;
        uint256 width = (below + t.fanIn - 1) / t.fanIn;
        t.nodes[l] = new SumNode[](width);
        t.sums[l] = new int256[][](width);
        t.vectors[l] = new Tree[](width);
        for (uint256 i; i < width; ++i) {
            int256[] memory sums = _node(t, l, i, below);
            if (lie.level == l + 1 && lie.index == i) sums[lie.word] = int64(sums[lie.word] + lie.delta);
            Tree memory sumTree = vector(sums, t.leafWords, 8);
            (t.sums[l][i], t.vectors[l][i], t.nodes[l][i].vectorRoot) = (sums, sumTree, root(sumTree));
        }
    }

    /// @dev Count, weight and children of node `i` above level `l`, which is `below` wide; its sums.
    function _node(Tally memory t, uint256 l, uint256 i, uint256 below) private pure returns (int256[] memory sums) {
        SumNode memory node = t.nodes[l][i];
        uint256 first = i * t.fanIn;
        node.children = new bytes32[](below - first < t.fanIn ? below - first : t.fanIn);
        sums = new int256[](t.base.length);
        for (uint256 j; j < node.children.length; ++j) {
            if (l == 0) {
                Member memory m = t.roster[first + j];
                (node.count, node.weight) = (node.count + 1, node.weight + m.weight);
                node.children[j] = digest(entry(m));
                _add(sums, m.words, int256(uint256(m.weight)));
            } else {
                SumNode memory child = t.nodes[l - 1][first + j];
                (node.count, node.weight) = (node.count + child.count, node.weight + child.weight);
                node.children[j] = digest(child);
                _add(sums, t.sums[l - 1][first + j], 1);
            }
        }
    }

    function _add(int256[] memory sums, int256[] memory part, int256 factor) private pure {
        for (uint256 w; w < sums.length; ++w) {
            sums[w] += factor * part[w];
        }
    }

    /// @dev The next model, from the sums at the top.
    function follow(Tally memory t) internal pure {
        int256 weight = int256(uint256(top(t).weight));
        int256[] memory sums = t.sums[t.sums.length - 1][0];
        t.next = new int256[](sums.length);
        for (uint256 w; w < sums.length; ++w) {
            int256 dividend = sums[w] + weight / 2;
            int256 remainder = ((dividend % weight) + weight) % weight;
            int256 word = t.base[w] + (dividend - remainder) / weight;
            t.next[w] = word < type(int32).min
                ? int256(type(int32).min)
                : word > type(int32).max ? int256(type(int32).max) : word;
        }
        t.nextTree = vector(t.next, t.leafWords, 4);
    }

    /// @dev After nodes of `level` were changed: their digests go into their parents, and so on to the top.
    function relink(Tally memory t, uint256 level) internal pure {
        for (uint256 l = level; l < t.nodes.length; ++l) {
            for (uint256 i; i < t.nodes[l - 1].length; ++i) {
                t.nodes[l][i / t.fanIn].children[i % t.fanIn] = digest(t.nodes[l - 1][i]);
            }
        }
    }

    /* EVIDENCE */

    /// @dev From the top down to node `index` of `level`.
    function path(Tally memory t, uint256 level, uint256 index) internal pure returns (SumNode[] memory found) {
        uint256 steps = t.nodes.length - level + 1;
        found = new SumNode[](steps);
        for (uint256 l = level; l <= t.nodes.length; ++l) {
            found[--steps] = t.nodes[l - 1][index];
            index /= t.fanIn;
        }
    }

    function placed(Tally memory t, uint256 index) internal pure returns (Placed memory) {
        return Placed(path(t, 1, index / t.fanIn), uint32(index), entry(t.roster[index]));
    }

    function openSum(Tally memory t, uint256 level, uint256 index, uint256 word)
        internal
        pure
        returns (Opening memory)
    {
        return open(t.vectors[level - 1][index], word / t.leafWords);
    }

    function nodesBelow(Tally memory t, uint256 level, uint256 index) internal pure returns (SumNode[] memory found) {
        if (level == 1) return found;
        found = new SumNode[](t.nodes[level - 1][index].children.length);
        for (uint256 i; i < found.length; ++i) {
            found[i] = t.nodes[level - 2][index * t.fanIn + i];
        }
    }

    function entriesBelow(Tally memory t, uint256 level, uint256 index) internal pure returns (Entry[] memory found) {
        if (level > 1) return found;
        found = new Entry[](t.nodes[0][index].children.length);
        for (uint256 i; i < found.length; ++i) {
            found[i] = entry(t.roster[index * t.fanIn + i]);
        }
    }

    function parts(Tally memory t, uint256 level, uint256 index, uint256 word)
        internal
        pure
        returns (Opening[] memory found)
    {
        found = new Opening[](t.nodes[level - 1][index].children.length);
        for (uint256 i; i < found.length; ++i) {
            uint256 child = index * t.fanIn + i;
            Tree memory below = level == 1 ? t.roster[child].update : t.vectors[level - 2][child];
            found[i] = open(below, word / t.leafWords);
        }
    }

    /* ROSTERS */

    function without(Member[] memory all, uint256 index) internal pure returns (Member[] memory kept) {
        kept = new Member[](all.length - 1);
        for (uint256 i; i < kept.length; ++i) {
            kept[i] = all[i < index ? i : i + 1];
        }
    }

    /// @dev Puts a member in at `index`.
    function with(Member[] memory all, uint256 index, Member memory one) internal pure returns (Member[] memory more) {
        more = new Member[](all.length + 1);
        for (uint256 i; i < more.length; ++i) {
            more[i] = i < index ? all[i] : i == index ? one : all[i - 1];
        }
    }

    function swap(Member[] memory all, uint256 left, uint256 right) internal pure {
        (all[left], all[right]) = (all[right], all[left]);
    }

    /// @dev The leaves of a batch: entry and signature.
    function batch(Signed[] memory all) internal pure returns (Tree memory t) {
        bytes[] memory leaves = new bytes[](all.length);
        for (uint256 i; i < all.length; ++i) {
            Entry memory e = all[i].entry;
            leaves[i] = bytes.concat(bytes20(e.member), bytes4(e.weight), e.root, all[i].signature);
        }
        t = tree(leaves);
        for (uint256 i; i < all.length; ++i) {
            (all[i].index, all[i].path) = (uint32(i), auditPath(t, i));
        }
    }
}
