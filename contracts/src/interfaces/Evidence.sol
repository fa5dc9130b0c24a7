// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @notice One member of a roster.
/// @param root Merkle root of its update.
struct Entry {
    address member;
    uint32 weight;
    bytes32 root;
}

/// @notice An inner node of the sum tree.
/// @param count Members below it.
/// @param weight Their weight.
/// @param vectorRoot Merkle root of their summed words.
/// @param children Digests of its children.
struct SumNode {
    uint32 count;
    uint64 weight;
    bytes32 vectorRoot;
    bytes32[] children;
}

/// @notice A leaf of a vector: the bytes of its words, and its audit path.
struct Opening {
    bytes data;
    bytes32[] path;
}

/// @notice Roster entry `index` of a proposal, with the nodes from the top of the sum tree down to the one above it.
struct Placed {
    SumNode[] path;
    uint32 index;
    Entry entry;
}

/// @notice Entry `index` of a batch: the entry, its member's EIP-712 signature, its audit path.
struct Signed {
    Entry entry;
    bytes signature;
    uint32 index;
    bytes32[] path;
}

/// @notice Which Merkle tree is accused of its shape, or has something sought in it; `Tree` is the sum tree itself.
enum Vector {
    Sums,
    Update,
    Next,
    Batch,
    Tree
}

/// @notice A node of a vector's Merkle tree that should not be there.
/// @param vector A `Vector`.
/// @param path For sums and updates: the sum tree's nodes from the top down to the one accused, or to the one above the entry.
/// @param index Of that node on its level, or of the entry in the roster.
/// @param entries The entry whose update is accused.
/// @param height Levels of the Merkle node above the leaves.
/// @param position Number of the Merkle node on its level.
/// @param inner Whether it hashes two digests, and not a leaf's bytes.
/// @param data What it hashes.
/// @param siblings Its audit path.
struct Accused {
    uint8 vector;
    SumNode[] path;
    uint32 index;
    Entry[] entries;
    uint8 height;
    uint64 position;
    bool inner;
    bytes data;
    bytes32[] siblings;
}

/// @notice Something that a proposal commits to and that nobody published.
/// @param vector A `Vector`.
/// @param path Of the sum tree itself: its nodes from the top down to the parent of what is sought. Else as in `Accused`.
/// @param index Of what is sought on its level of the sum tree. Else as in `Accused`.
/// @param entries As in `Accused`.
/// @param height Levels of the Merkle node above the leaves.
/// @param position Number of the Merkle node on its level.
/// @param digest Hash of what is sought.
/// @param siblings Audit path of the Merkle node.
struct Sought {
    uint8 vector;
    SumNode[] path;
    uint32 index;
    Entry[] entries;
    uint8 height;
    uint64 position;
    bytes32 digest;
    bytes32[] siblings;
}

/// @notice What a proposal claims, with what the task says about its shape.
/// @param baseRoot Root of the model that the round started from.
/// @param batchRoot Root of the adopted batch, and `batchCount` its entries; zero without one.
struct Claim {
    uint256 count;
    bytes32 sumRoot;
    bytes32 nextRoot;
    bytes32 baseRoot;
    bytes32 batchRoot;
    uint256 batchCount;
    uint256 dimension;
    uint256 leafWords;
    uint256 fanIn;
    uint256 maxWeight;
    address proposer;
}
