// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Accused, Claim, Entry, Opening, Placed, Signed, Sought, SumNode} from "./Evidence.sol";

/// @notice A task's immutable parameters, in the order in which they are hashed into its id.
/// @param sponsor Creates the task and admits its members.
/// @param layout Digest of the tensors' names, shapes and dtypes.
/// @param genesis Root of the first global model.
/// @param dimension Words of the model.
/// @param scale Fixed point: a float x is the word rint(x * 2**scale).
/// @param leafWords Words per Merkle leaf.
/// @param fanIn Children per node of the sum tree.
/// @param rule How updates become an aggregate: 0 is the weighted mean.
/// @param rounds How many rounds the model is trained for.
/// @param quorum Members that a proposal needs.
/// @param maxWeight Largest weight of one member.
/// @param maxMembers Members that can be admitted.
/// @param slots Rounds in flight; the sponsor prepays as many storage slots per member.
/// @param commitWindow Seconds to commit.
/// @param challengeWindow Seconds between a proposal and its finality.
/// @param bond Wei that stand behind a proposal.
/// @param bounty Percent of a refuted proposal's bond that the challenger gets; the rest is lost.
/// @param settlement A `Settlement`: what makes a proposal final.
/// @param voting A `Voting`: what a validator's vote weighs.
/// @param voteQuorum Percent of a round's voting weight that settles its proposal.
/// @param revealWindow Seconds to reveal what was demanded or reported as withheld.
/// @param stake Least wei of a validator with a vote.
/// @param scorer Sets the quality of validators; zero unless votes weigh that.
/// @param memberStake Least wei that a member must have at stake to be admitted.
/// @param revealFee Wei that whoever demands data pays to whoever reveals them.
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
    uint8 bounty;
    uint8 settlement;
    uint8 voting;
    uint8 voteQuorum;
    uint32 revealWindow;
    uint96 stake;
    address scorer;
    uint96 memberStake;
    uint96 revealFee;
    bytes32 salt;
}

/// @notice What was shown to be wrong with a proposal.
enum Fault {
    None,
    Sum,
    Next,
    Tree,
    Vector,
    Entry,
    Order,
    Omission,
    Batch,
    Hidden
}

/// @notice What makes a proposal final: its window's end; or a quorum of votes before it; nothing but such a quorum; nothing but a proof
/// of every leaf on the ledger itself (which is enough in the other three, too).
enum Settlement {
    Window,
    Early,
    Quorum,
    Proven
}

/// @notice What a validator's vote weighs: one; its stake in gwei; or the quality that the task's scorer gave it.
enum Voting {
    Equal,
    Stake,
    Quality
}

/// @notice Where a round stands. `Void` is for good: it was built on a refuted proposal, or lapsed itself.
enum Phase {
    None,
    Open,
    Proposed,
    Final,
    Void
}

/// @notice What anyone can read of a round. Rounds are numbered as they are opened, and never reused.
/// @param height Rounds below it on its branch: after a refuted proposal, a height is done again under a new number.
/// @param attempt Its refuted proposals.
/// @param parentAttempt Its parent's, when it was opened.
/// @param adopted Whether the proposal answers for the round's batch.
struct RoundView {
    Phase phase;
    uint32 parent;
    uint32 height;
    uint16 attempt;
    uint16 parentAttempt;
    uint40 commitDeadline;
    uint40 finalAt;
    uint32 excluded;
    uint32 count;
    uint32 batchCount;
    bytes32 batchRoot;
    bytes32 sumRoot;
    bytes32 nextRoot;
    address proposer;
    bool adopted;
}

/// @notice How a round's proposal stands.
/// @param electorate Weight of all validators when the round was opened.
/// @param votes Weight of those who attested the proposal of `attempt`.
/// @param demands How many demands are unanswered.
/// @param bonded Whether the proposer's bond can still be lost.
/// @param settled How many leaves the ledger itself has aggregated.
struct BallotView {
    uint64 electorate;
    uint64 votes;
    uint16 attempt;
    uint16 demands;
    bool bonded;
    uint32 settled;
}

/// @notice An account's stake in a task (wei), the weight of its vote, the quality that the scorer gave it.
/// @param since It votes in rounds opened after this one.
struct Standing {
    uint96 stake;
    uint64 weight;
    uint32 quality;
    uint32 since;
}

/// @notice What anyone can read of a task.
/// @param opened Newest round opened.
/// @param head Newest round proposed that builds on nothing refuted.
/// @param pending Round that awaits a proposal; zero if none does.
/// @param votes Weight of all validators now.
struct TaskView {
    Parameters parameters;
    uint32 members;
    uint32 opened;
    uint32 head;
    uint32 pending;
    uint64 votes;
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
    event Opened(bytes32 indexed task, uint32 round, uint32 parent, uint32 height, uint40 commitDeadline);
    /// @notice A member committed to its update.
    event Committed(bytes32 indexed task, address indexed member, uint32 round, uint32 weight, bytes32 root);
    /// @notice An aggregator posted the commitments of `count` members under one root.
    event Batched(bytes32 indexed task, uint32 round, bytes32 root, uint32 count);
    /// @notice A committed member is left out of a round; as withheld, with the time until which it can publish its update.
    event Excluded(bytes32 indexed task, uint32 round, address indexed member, uint8 reason, uint40 deadline);
    /// @notice An aggregator claims a round's sums and the next model, and answers for it with its bond.
    event Proposed(
        bytes32 indexed task,
        uint32 round,
        address indexed proposer,
        uint32 count,
        bytes32 sumRoot,
        bytes32 nextRoot,
        uint40 finalAt,
        bool adopted
    );
    /// @notice A round's model can no longer change.
    event Finalised(bytes32 indexed task, uint32 round, bytes32 nextRoot);
    /// @notice A proposal was shown to be false: its proposer lost the bond, and `challenger` got `bounty` of it.
    event Refuted(
        bytes32 indexed task,
        uint32 round,
        address indexed proposer,
        address indexed challenger,
        uint8 fault,
        uint256 bounty
    );
    /// @notice A round that builds on a refuted or lapsed proposal is void, for good.
    event Voided(bytes32 indexed task, uint32 round);
    /// @notice A proposal was not settled before its window passed: the round is void, for good.
    event Lapsed(bytes32 indexed task, uint32 round);
    /// @notice The bond behind a round that was final early is free.
    event Released(bytes32 indexed task, uint32 round);
    /// @notice An account put wei at stake in a task.
    event Staked(bytes32 indexed task, address indexed account, uint256 amount);
    /// @notice An account took its stake back.
    event Unstaked(bytes32 indexed task, address indexed account, uint256 amount);
    /// @notice The scorer set what an account's vote weighs.
    event Graded(bytes32 indexed task, address indexed account, uint32 quality);
    /// @notice A validator answers with its stake for a proposal.
    event Attested(bytes32 indexed task, uint32 round, address indexed validator, uint64 weight, bytes32 nextRoot);
    /// @notice An account lost its stake for what it did in a round; `by` got `bounty` of it.
    event Slashed(
        bytes32 indexed task, uint32 round, address indexed account, address indexed by, uint256 amount, uint256 bounty
    );
    /// @notice A validator could not get the update of a member who was excluded as withheld.
    event Witnessed(
        bytes32 indexed task, uint32 round, address indexed member, address indexed validator, uint64 weight
    );
    /// @notice Somebody asks for data of a proposal, to be revealed until `deadline`.
    event Demanded(
        bytes32 indexed task, uint32 round, address indexed demander, bytes32 digest, uint32 pieces, uint40 deadline
    );
    /// @notice Demanded data.
    event Revealed(
        bytes32 indexed task, uint32 round, bytes32 digest, uint32 pieces, address indexed revealer, bytes data
    );
    /// @notice A demand is over: nobody answered it in time, or its proposal is gone.
    event Expired(bytes32 indexed task, uint32 round, bytes32 digest, uint32 pieces, address indexed demander);
    /// @notice The ledger itself has checked a proposal's roster.
    event RosterSettled(bytes32 indexed task, uint32 round);
    /// @notice The ledger itself has aggregated a leaf of a proposal's model.
    event LeafSettled(bytes32 indexed task, uint32 round, uint32 leaf);
}

/// @title The ledger of Tallystick: who committed to what, when, and who answers for an aggregate.
/// @notice The same machine as `src/tallystick/protocol/`, check by check and in the same order.
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
    /// once a round. A member in a batch may commit directly as well, and then a roster may hold either.
    function commitBatch(bytes32 id, uint32 number, bytes32 root, uint32 count) external;

    /// @notice Leave a committed member out of a round, for a reason on the record. Bonded aggregators only. Every proposal may then do
    /// without the member; the caller's own must, and no other, so that nobody can make a proposal false that is on its way.
    /// @param signature The member's in the batch; unused for a direct commitment.
    /// @param index Position of the member's entry in the batch; unused for a direct commitment.
    /// @param path Merkle path of the entry in the batch; unused for a direct commitment.
    function exclude(
        bytes32 id,
        uint32 number,
        address member,
        uint32 weight,
        bytes32 root,
        uint8 reason,
        bytes calldata signature,
        uint32 index,
        bytes32[] calldata path
    ) external;

    /// @notice Claim a round's sum tree over `count` members and the next model. Locks the caller's bond.
    /// @param adopt Whether to answer for the round's batch too: that it is sorted, and that its members signed it. Without, it
    /// counts for nothing. Direct commitments always count.
    /// @param seen Number of a block that the proposer saw, one of the last 256.
    /// @param seenHash Its hash: on a chain that does not hold it, a reorganised one, the proposal reverts instead of being false of
    /// commitments that are not there. Zero: of no block.
    function propose(
        bytes32 id,
        uint32 number,
        uint32 count,
        bytes32 sumRoot,
        bytes32 nextRoot,
        bool adopt,
        uint256 seen,
        bytes32 seenHash
    ) external;

    /// @notice Finalise a proposal that is settled. Its bond is free if its window has passed; else `release` frees it then.
    function finalise(bytes32 id, uint32 number) external;

    /// @notice Free the bond of a round that became final before its window had passed, once it has.
    function release(bytes32 id, uint32 number) external;

    /// @notice Void a proposal that was not settled before its window passed, where the task asks for votes or a proof. Its bond is free.
    function lapse(bytes32 id, uint32 number) external;

    /// @notice Show that a node of the sum tree is not the sum of its children in one word.
    /// @param path Nodes from the top down to the accused one, which is number `index` of its level.
    /// @param total Opens the node's leaf that holds the word.
    /// @param nodes Its children, above level 1.
    /// @param entries Its children, at level 1.
    /// @param parts Open the children's leaves.
    function refuteSum(
        bytes32 id,
        uint32 number,
        SumNode[] calldata path,
        uint32 index,
        uint64 word,
        Opening calldata total,
        SumNode[] calldata nodes,
        Entry[] calldata entries,
        Opening[] calldata parts
    ) external;

    /// @notice Show that one word of the next model is not the base's plus the rounded mean.
    /// @param top Top of the sum tree.
    function refuteNext(
        bytes32 id,
        uint32 number,
        SumNode calldata top,
        uint64 word,
        Opening calldata base,
        Opening calldata total,
        Opening calldata following
    ) external;

    /// @notice Show that a node of the sum tree has the wrong count, number of children, or weight, or is in an entry's place.
    function refuteTree(
        bytes32 id,
        uint32 number,
        SumNode[] calldata path,
        uint32 index,
        SumNode[] calldata nodes,
        Entry[] calldata entries
    ) external;

    /// @notice Show that a vector is no Merkle tree of the right number of right leaves.
    function refuteVector(bytes32 id, uint32 number, Accused calldata accused) external;

    /// @notice Show that a roster entry was not committed.
    /// @param batch Its neighbours in an adopted batch, or the member's other entry there; empty where that is not needed.
    function refuteEntry(bytes32 id, uint32 number, Placed calldata placed, Signed[] calldata batch) external;

    /// @notice Show that two neighbours of the roster are not in ascending order.
    function refuteOrder(bytes32 id, uint32 number, Placed calldata left, Placed calldata right) external;

    /// @notice Show that a commitment is not in the roster, by its neighbours there.
    /// @param batch The entry in the adopted batch; empty for a direct commitment.
    function refuteOmission(
        bytes32 id,
        uint32 number,
        Entry calldata entry,
        Signed[] calldata batch,
        Placed[] calldata neighbours
    ) external;

    /// @notice Show that an adopted batch has an entry that no member signed, or two neighbours out of order.
    function refuteBatch(bytes32 id, uint32 number, Signed[] calldata entries) external;

    /// @notice Void a round that builds on a refuted proposal, and free its proposer's bond.
    function void(bytes32 id, uint32 number) external;

    /// @notice Put free wei at stake in a task: to vote as a validator in rounds opened from now on, or to be admitted as a member.
    function stake(bytes32 id, uint256 amount) external;

    /// @notice Take one's whole stake back, once nothing that one attested can be refuted any more.
    function unstake(bytes32 id) external;

    /// @notice Set what validators' votes weigh. The task's scorer only.
    function grade(bytes32 id, address[] calldata accounts, uint32[] calldata qualities) external;

    /// @notice Answer with one's stake for a proposal that one has recomputed. The roots say which.
    function attest(bytes32 id, uint32 number, bytes32 sumRoot, bytes32 nextRoot) external;

    /// @notice Take the stake of a validator that attested a proposal which was refuted, for the bounty's share of it.
    function slash(bytes32 id, uint32 number, address account) external;

    /// @notice Say, as a validator, that the update of a member who was excluded as withheld is still nowhere to be had. A quorum takes
    /// the member's stake; the bounty's share goes to whoever excluded it.
    function witness(bytes32 id, uint32 number, address member) external;

    /// @notice Ask for something that a proposal commits to and nobody published. Locks the fee of whoever reveals it.
    function demand(bytes32 id, uint32 number, Sought calldata sought) external;

    /// @notice Answer a demand, for its fee.
    /// @param pieces Zero for a leaf, whose bytes `data` are; 2^32 - 1 for a node or an entry of the sum tree, 2^32 - 2 for its top; else how many digests of a
    /// Merkle tree they are.
    function reveal(bytes32 id, uint32 number, bytes32 digest, uint32 pieces, bytes calldata data) external;

    /// @notice End a demand that nobody answered in time: the proposal is struck out, and its demander paid.
    function expire(bytes32 id, uint32 number, bytes32 digest, uint32 pieces) external;

    /// @notice Show the whole roster of a proposal.
    /// @param people All members of the task, in ascending order.
    /// @param entries Those who count; by direct commitments only.
    function settleRoster(bytes32 id, uint32 number, address[] calldata people, Entry[] calldata entries) external;

    /// @notice Have the ledger aggregate one leaf of the model itself.
    /// @param entries The roster that `settleRoster` has shown.
    /// @param parts Open the leaf in each entry's update.
    function settleLeaf(
        bytes32 id,
        uint32 number,
        uint32 leaf,
        Entry[] calldata entries,
        Opening[] calldata parts,
        Opening calldata base,
        Opening calldata following
    ) external;

    /// @notice How a round's proposal stands.
    function ballot(bytes32 id, uint32 number) external view returns (BallotView memory);

    /// @notice An account's stake in a task.
    function stakeOf(bytes32 id, address account) external view returns (Standing memory);

    /// @notice Which attempt's proposal of a round a validator attested, while its slot holds that round.
    function attested(bytes32 id, uint32 number, address validator) external view returns (bool held, uint16 attempt);

    /// @notice What a proposal claims, for the referee. Reverts unless the round holds a proposal that could be refuted.
    function claim(bytes32 id, uint32 number) external view returns (Claim memory);

    /// @notice What the referee needs to know of a member in a round: the first 28 bytes of the digest that it committed to directly
    /// (zero if it did not), and who excluded that and its entry in the batch (zero if nobody did).
    function standing(bytes32 id, uint32 number, address member)
        external
        view
        returns (bytes28 digest, address excluder, address batchExcluder);

    /// @notice Wei of refuted bonds that went to nobody.
    function slashed() external view returns (uint256);

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
