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

    /// @notice Root over digests of one level, in order: 32 bytes each, at least one.
    function rootOf(bytes calldata digests) internal pure returns (bytes32) {
        uint256 width = digests.length / 32;
        bytes32[] memory level = new bytes32[](width);
        for (uint256 i; i < width; ++i) {
            level[i] = bytes32(digests[32 * i:32 * i + 32]);
        }
        while (width > 1) {
            for (uint256 i; i < width / 2; ++i) {
                level[i] = nodeHash(level[2 * i], level[2 * i + 1]);
            }
            if (width % 2 == 1) level[width / 2] = level[width - 1];
            width = (width + 1) / 2;
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
