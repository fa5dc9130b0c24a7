// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title Merkle trees over SHA-256 in the shape of RFC 6962.
library Merkle {
    /// @notice Hash of a leaf: H(0x00 | data).
    function leafHash(bytes memory data) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x00), data));
    }

    /// @notice Hash of an inner node: H(0x01 | left | right).
    function nodeHash(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x01), left, right));
    }

    /// @notice Root over digests of one level, in order: 32 bytes each, at least two.
    function rootOf(bytes calldata digests) internal pure returns (bytes32) {
        uint256 width = (digests.length / 32 + 1) / 2;
        bytes32[] memory level = new bytes32[](width);
        for (uint256 i; i < width; ++i) {
            bytes calldata pair = digests[64 * i:];
            level[i] = pair.length >= 64 ? sha256(bytes.concat(hex"01", pair[:64])) : bytes32(pair);
        }
        while (width > 1) {
            uint256 next = (width + 1) / 2;
            for (uint256 i; i < next; ++i) {
                level[i] = 2 * i + 1 < width ? nodeHash(level[2 * i], level[2 * i + 1]) : level[2 * i];
            }
            width = next;
        }
        return level[0];
    }

    /// @notice Whether `path` shows leaf hash `leaf` at `index` of `count` under `root` (RFC 9162, section 2.1.3.2).
    function isIncluded(bytes32 root, bytes32 leaf, uint256 index, uint256 count, bytes32[] calldata path)
        internal
        pure
        returns (bool)
    {
        if (index >= count) return false;
        uint256 last = count - 1;
        for (uint256 i; i < path.length; ++i) {
            if (last == 0) return false;
            if (index & 1 == 1 || index == last) {
                leaf = nodeHash(path[i], leaf);
                while (index & 1 == 0 && index != 0) {
                    index >>= 1;
                    last >>= 1;
                }
            } else {
                leaf = nodeHash(leaf, path[i]);
            }
            index >>= 1;
            last >>= 1;
        }
        return last == 0 && leaf == root;
    }
}
