// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Claim, Entry, Opening, SumNode} from "../../src/interfaces/Evidence.sol";
import {Fraud} from "../../src/libraries/Fraud.sol";
import {Merkle} from "../../src/libraries/Merkle.sol";
import {Builder} from "../Builder.sol";

interface Assume {
    function assume(bool condition) external pure;
}

/// @dev Properties for all words and weights, and not only for those that a fuzzer draws: `tools/check.sh` has halmos prove each `check_`
/// function. Models of one word; SHA-256 is a function of which nothing is known but that equal bytes have equal digests.
contract ArithmeticProof {
    Assume internal constant vm = Assume(address(uint160(uint256(keccak256("hevm cheat code")))));

    function isWrongNext(
        Claim memory c,
        SumNode calldata top,
        Opening calldata base,
        Opening calldata total,
        Opening calldata following
    ) external pure returns (bool) {
        return Fraud.isWrongNext(c, top, 0, base, total, following);
    }

    function isWrongSum(
        Claim memory c,
        SumNode[] calldata path,
        Opening calldata total,
        SumNode[] calldata nodes,
        Entry[] calldata entries,
        Opening[] calldata parts
    ) external pure returns (bool) {
        return Fraud.isWrongSum(c, path, path.length == 1 ? 0 : 1, 0, total, nodes, entries, parts);
    }

    function isRightLeaf(
        Claim memory c,
        Entry[] calldata entries,
        Opening[] calldata parts,
        Opening calldata base,
        Opening calldata following
    ) external pure returns (bool) {
        return Fraud.isRightLeaf(c, 0, entries, parts, base, following);
    }

    /// @dev A word as the only leaf of its vector.
    function _update(int32 word) internal pure returns (Opening memory o) {
        uint32 w = uint32(word);
        o.data = abi.encodePacked(uint8(w), uint8(w >> 8), uint8(w >> 16), uint8(w >> 24));
    }

    function _sum(int64 word) internal pure returns (Opening memory o) {
        uint64 w = uint64(word);
        o.data = bytes.concat(
            abi.encodePacked(uint8(w), uint8(w >> 8), uint8(w >> 16), uint8(w >> 24)),
            abi.encodePacked(uint8(w >> 32), uint8(w >> 40), uint8(w >> 48), uint8(w >> 56))
        );
    }

    function _root(Opening memory o) internal pure returns (bytes32) {
        return Merkle.leafHash(o.data);
    }

    function _claim(uint256 count) internal pure returns (Claim memory c) {
        (c.count, c.dimension, c.leafWords, c.fanIn) = (count, 1, 1, 2);
    }

    /// @dev floor((sum + weight / 2) / weight), for a weight above zero.
    function _mean(int256 sum, int256 weight) internal pure returns (int256 mean) {
        int256 dividend = sum + weight / 2;
        mean = dividend / weight;
        if (dividend % weight < 0) mean -= 1;
    }

    function _clamped(int256 word) internal pure returns (int32) {
        if (word < type(int32).min) return type(int32).min;
        if (word > type(int32).max) return type(int32).max;
        return int32(word);
    }

    /// An honest next model is never refuted, whatever its base, sum and weight are.
    function check_honest_next_stands(int32 base, int64 sum, uint32 weight) external view {
        vm.assume(weight != 0);
        SumNode memory top = SumNode(2, weight, _root(_sum(sum)), new bytes32[](2));
        Claim memory c = _claim(2);
        Opening memory following = _update(_clamped(int256(base) + _mean(sum, int256(uint256(weight)))));
        (c.sumRoot, c.baseRoot, c.nextRoot) = (Builder.digest(top), _root(_update(base)), _root(following));
        assert(!this.isWrongNext(c, top, _update(base), _sum(sum), following));
    }

    /// Any other next model always is.
    function check_other_next_falls(int32 base, int64 sum, uint32 weight, int32 other) external view {
        vm.assume(weight != 0);
        vm.assume(other != _clamped(int256(base) + _mean(sum, int256(uint256(weight)))));
        SumNode memory top = SumNode(2, weight, _root(_sum(sum)), new bytes32[](2));
        Claim memory c = _claim(2);
        Opening memory following = _update(other);
        (c.sumRoot, c.baseRoot, c.nextRoot) = (Builder.digest(top), _root(_update(base)), _root(following));
        assert(this.isWrongNext(c, top, _update(base), _sum(sum), following));
    }

    /// @dev A node over two roster entries.
    function _node(int32[2] memory words, uint32[2] memory weights, int64 sum)
        internal
        pure
        returns (SumNode memory node, Entry[] memory entries, Opening[] memory parts)
    {
        (entries, parts) = (new Entry[](2), new Opening[](2));
        node = SumNode(2, uint64(weights[0]) + weights[1], _root(_sum(sum)), new bytes32[](2));
        for (uint256 i; i < 2; ++i) {
            parts[i] = _update(words[i]);
            entries[i] = Entry(address(uint160(i + 1)), weights[i], _root(parts[i]));
            node.children[i] = Builder.digest(entries[i]);
        }
    }

    function _judge(int32[2] memory words, uint32[2] memory weights, int64 sum) internal view returns (bool) {
        (SumNode memory node, Entry[] memory entries, Opening[] memory parts) = _node(words, weights, sum);
        Claim memory c = _claim(2);
        c.sumRoot = Builder.digest(node);
        SumNode[] memory path = new SumNode[](1);
        path[0] = node;
        return this.isWrongSum(c, path, _sum(sum), new SumNode[](0), entries, parts);
    }

    /// An honest weighted sum of two updates that fits its eight bytes is never refuted.
    function check_honest_sum_stands(int32[2] memory words, uint32[2] memory weights) external view {
        int256 sum = int256(words[0]) * int256(uint256(weights[0])) + int256(words[1]) * int256(uint256(weights[1]));
        vm.assume(sum == int64(sum));
        assert(!_judge(words, weights, int64(sum)));
    }

    /// Any other sum always is.
    function check_other_sum_falls(int32[2] memory words, uint32[2] memory weights, int64 other) external view {
        int256 sum = int256(words[0]) * int256(uint256(weights[0])) + int256(words[1]) * int256(uint256(weights[1]));
        vm.assume(other != sum);
        assert(_judge(words, weights, other));
    }

    /// A node above others whose sum is its children's is never refuted, and any other is.
    function check_sum_of_nodes(int64 left, int64 right, int64 claimed) external view {
        int256 sum = int256(left) + right;
        SumNode[] memory nodes = new SumNode[](2);
        Opening[] memory parts = new Opening[](2);
        (parts[0], parts[1]) = (_sum(left), _sum(right));
        SumNode memory top = SumNode(4, 4, _root(_sum(claimed)), new bytes32[](2));
        for (uint256 i; i < 2; ++i) {
            nodes[i] = SumNode(2, 2, _root(parts[i]), new bytes32[](2));
            top.children[i] = Builder.digest(nodes[i]);
        }
        Claim memory c = _claim(4);
        c.sumRoot = Builder.digest(top);
        SumNode[] memory path = new SumNode[](1);
        path[0] = top;
        assert(this.isWrongSum(c, path, _sum(claimed), nodes, new Entry[](0), parts) == (claimed != sum));
    }

    /// @dev Whether the ledger settles a leaf of two updates' mean, and what that mean is.
    function _settle(int32 base, int32[2] memory words, uint32[2] memory weights, int32 following, bool honest)
        internal
        view
        returns (bool settled, int32 mean)
    {
        int256 weight = int256(uint256(weights[0])) + int256(uint256(weights[1]));
        vm.assume(weight != 0);
        int256 sum = int256(uint256(weights[0])) * words[0] + int256(uint256(weights[1])) * words[1];
        mean = _clamped(int256(base) + _mean(sum, weight));
        if (honest) following = mean;
        (, Entry[] memory entries, Opening[] memory parts) = _node(words, weights, 0);
        Claim memory c = _claim(2);
        (c.baseRoot, c.nextRoot) = (_root(_update(base)), _root(_update(following)));
        settled = this.isRightLeaf(c, entries, parts, _update(base), _update(following));
    }

    /// The ledger settles an honest leaf.
    function check_honest_leaf_is_settled(int32 base, int32[2] memory words, uint32[2] memory weights) external view {
        (bool settled,) = _settle(base, words, weights, 0, true);
        assert(settled);
    }

    /// And no other.
    function check_other_leaf_is_not_settled(
        int32 base,
        int32[2] memory words,
        uint32[2] memory weights,
        int32 following
    ) external view {
        (bool settled, int32 mean) = _settle(base, words, weights, following, false);
        vm.assume(following != mean);
        assert(!settled);
    }
}
