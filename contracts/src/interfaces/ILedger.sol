// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @notice A task's immutable parameters, in the order in which they are hashed into its id.
/// @param sponsor Creates the task and admits its members.
/// @param layout Digest of the tensors' names, shapes and dtypes.
/// @param genesis Root of the first global model.
/// @param dimension Words of the model.
/// @param scale Fixed point: a float x is the word rint(x * 2**scale).
/// @param leafWords Words per Merkle leaf.
/// @param fanIn Children per node of the sum tree.
/// @param rule How updates become an aggregate: 0 is the weighted mean.
/// @param rounds How many rounds may be opened.
/// @param quorum Members that a proposal needs.
/// @param maxWeight Largest weight of one member.
/// @param maxMembers Members that can be admitted.
/// @param slots Rounds in flight; the sponsor prepays as many storage slots per member.
/// @param commitWindow Seconds to commit.
/// @param challengeWindow Seconds between a proposal and its finality.
/// @param bond Wei that stand behind a proposal.
/// @param salt Tells apart tasks that are otherwise equal.
struct Parameters {
    address sponsor;
    bytes32 layout;
    bytes32 genesis;
    uint64 dimension;
    uint8 scale;
    uint32 leafWords;
    uint8 fanIn;
    uint8 rule;
    uint32 rounds;
    uint32 quorum;
    uint32 maxWeight;
    uint32 maxMembers;
    uint8 slots;
    uint32 commitWindow;
    uint32 challengeWindow;
    uint128 bond;
    bytes32 salt;
}

/// @notice Where a round stands. `Void` is for rounds built on a refuted one.
enum Phase {
    None,
    Open,
    Proposed,
    Final,
    Void
}

/// @notice What anyone can read of a round.
struct RoundView {
    Phase phase;
    uint32 parent;
    uint40 commitDeadline;
    uint40 finalAt;
    uint32 excluded;
    uint32 count;
    uint32 batchCount;
    bytes32 batchRoot;
    bytes32 sumRoot;
    bytes32 nextRoot;
    address proposer;
}

/// @notice What anyone can read of a task.
struct TaskView {
    Parameters parameters;
    uint32 members;
    uint32 opened;
    uint32 head;
}

/// @title What happens on the ledger.
interface ILedgerEvents {
    /// @notice A sponsor created a task.
    event TaskCreated(bytes32 indexed task, Parameters parameters);
    /// @notice A sponsor admitted a member.
    event Admitted(bytes32 indexed task, address indexed member);
    /// @notice An account added wei to its balance here.
    event Deposited(address indexed account, uint256 amount);
    /// @notice An account took wei out.
    event Withdrawn(address indexed account, uint256 amount);
    /// @notice A round accepts commitments until `commitDeadline`. It builds on round `parent`.
    event Opened(bytes32 indexed task, uint32 round, uint32 parent, uint40 commitDeadline);
    /// @notice A member committed to its update.
    event Committed(bytes32 indexed task, address indexed member, uint32 round, uint32 weight, bytes32 root);
    /// @notice An aggregator posted the commitments of `count` members under one root.
    event Batched(bytes32 indexed task, uint32 round, bytes32 root, uint32 count);
    /// @notice A committed member is left out of a round.
    event Excluded(bytes32 indexed task, uint32 round, address indexed member, uint8 reason);
    /// @notice An aggregator claims a round's sums and the next model, and answers for it with its bond.
    event Proposed(
        bytes32 indexed task,
        uint32 round,
        address indexed proposer,
        uint32 count,
        bytes32 sumRoot,
        bytes32 nextRoot,
        uint40 finalAt
    );
    /// @notice A round's model can no longer change.
    event Finalised(bytes32 indexed task, uint32 round, bytes32 nextRoot);
}

/// @title The ledger of Tallystick: who committed to what, when, and who answers for an aggregate.
/// @notice The same machine as `src/tallystick/protocol.py`, check by check and in the same order.
interface ILedger is ILedgerEvents {
    /// @notice Create a task. The caller is its sponsor.
    /// @return id The task's id: SHA-256 of chain, contract and parameters.
    function createTask(Parameters calldata parameters) external returns (bytes32 id);

    /// @notice Admit members and prepay their commitment slots. Sponsor only.
    function admit(bytes32 id, address[] calldata members) external;

    /// @notice Add wei to the caller's balance on this ledger.
    function deposit() external payable;

    /// @notice Take free wei out of the caller's balance.
    function withdraw(uint256 amount) external;

    /// @notice Open the next round on the newest proposed model, or give a round that stalled without a quorum another
    /// commit window. Bonded aggregators only.
    function open(bytes32 id, uint32 number) external;

    /// @notice Commit to the update with Merkle root `root`, before sending it. Members only, once a round.
    function commit(bytes32 id, uint32 number, uint32 weight, bytes32 root) external;

    /// @notice Post the Merkle root of `count` roster entries whose members signed them (EIP-712). Bonded aggregators only,
    /// once a round. A member in a batch may commit directly as well, and then the direct commitment counts.
    function commitBatch(bytes32 id, uint32 number, bytes32 root, uint32 count) external;

    /// @notice Leave a committed member out of a round, for a reason on the record. Bonded aggregators only.
    /// @param index Position of the member's entry in the batch; unused for a direct commitment.
    /// @param path Merkle path of the entry in the batch; unused for a direct commitment.
    function exclude(
        bytes32 id,
        uint32 number,
        address member,
        uint32 weight,
        bytes32 root,
        uint8 reason,
        uint32 index,
        bytes32[] calldata path
    ) external;

    /// @notice Claim a round's sum tree over `count` members and the next model. Locks the caller's bond.
    function propose(bytes32 id, uint32 number, uint32 count, bytes32 sumRoot, bytes32 nextRoot) external;

    /// @notice Finalise a proposal whose window has passed, and free its bond.
    function finalise(bytes32 id, uint32 number) external;

    /// @notice A task's parameters and progress. Reverts for an unknown task.
    function task(bytes32 id) external view returns (TaskView memory);

    /// @notice A round; all zeros if it was never opened. Reverts for an unknown task.
    function round(bytes32 id, uint32 number) external view returns (RoundView memory);

    /// @notice First 28 bytes of the digest that a member committed to in a round, while its slot holds that round.
    /// Zero for a commitment that was excluded.
    function commitment(bytes32 id, uint32 number, address member) external view returns (bool held, bytes28 digest);

    /// @notice An account's wei here: free to withdraw, and locked as bonds.
    function balance(address account) external view returns (uint256 free, uint256 locked);

    /// @notice Whether the sponsor admitted the account.
    function isMember(bytes32 id, address account) external view returns (bool);
}
