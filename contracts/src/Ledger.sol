// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Accused, Claim, Entry, Opening, Placed, Signed, SumNode} from "./interfaces/Evidence.sol";
import {Fault, ILedger, Parameters, Phase, RoundView, TaskView} from "./interfaces/ILedger.sol";
import {Referee} from "./Referee.sol";
import {Merkle} from "./libraries/Merkle.sol";
import "./libraries/Errors.sol";

/// @title Ledger
/// @notice See `ILedger`. No owner, no upgrade, no fee.
contract Ledger is ILedger {
    /* TYPES */

    struct Task {
        Parameters parameters;
        uint32 members;
        uint32 opened;
        uint32 head;
        uint32 pending;
        uint32 tip;
    }

    /// @dev The first slot, down to `batchCount`, holds all that a commitment needs to read.
    struct Round {
        Phase phase;
        uint8 slots;
        uint32 parent;
        uint40 commitDeadline;
        uint40 finalAt;
        uint32 maxWeight;
        uint32 excluded;
        uint32 count;
        uint32 batchCount;
        address proposer;
        uint32 height;
        uint16 attempt;
        uint16 parentAttempt;
        bool adopted;
        bytes32 batchRoot;
        bytes32 sumRoot;
        bytes32 nextRoot;
    }

    struct Balance {
        uint128 free;
        uint128 locked;
    }

    /* CONSTANTS */

    bytes32 public constant TASK_TAG = sha256("tallystick/task/1");
    bytes32 public constant COMMITMENT_TAG = sha256("tallystick/commitment/1");

    uint256 internal constant MAX_TOTAL_WEIGHT = type(uint32).max;
    uint256 internal constant MAX_WINDOW = 365 days;
    uint256 internal constant MIN_BOND = 0.001 ether;
    uint256 internal constant MAX_SLOTS = 64;
    uint256 internal constant MIN_CHALLENGE_WINDOW = 2;
    uint256 internal constant MIN_BOUNTY = 10;
    uint256 internal constant MAX_BOUNTY = 90;
    uint8 internal constant LAST_REASON = 9;

    /// @dev Fills the slots of a new member: not zero, and of no round.
    bytes32 internal constant UNUSED = bytes32(uint256(1));

    /// @dev Judges evidence; has no state.
    // slither-disable-next-line naming-convention
    Referee internal immutable REFEREE = new Referee();

    /* STORAGE */

    mapping(bytes32 task => Task) internal _tasks;
    mapping(bytes32 task => mapping(uint32 number => Round)) internal _rounds;
    /// @dev slot[round % slots] = round << 224 | first 28 bytes of the commitment's digest.
    mapping(bytes32 task => mapping(address member => bytes32[64])) internal _slots;
    /// @dev Who excluded a member: [0] its entry in the batch, [1] its direct commitment.
    mapping(bytes32 task => mapping(uint32 number => mapping(address member => address[2]))) internal _excluders;
    /// @dev The rounds that build on nothing refuted, by height, up to the task's `tip`.
    mapping(bytes32 task => mapping(uint32 height => uint32 number)) internal _branch;
    mapping(address account => Balance) internal _balances;

    /// @inheritdoc ILedger
    uint256 public slashed;

    /* TASKS */

    /// @inheritdoc ILedger
    function createTask(Parameters calldata p) external returns (bytes32 id) {
        if (p.sponsor != msg.sender) revert NotSponsor();
        _checkParameters(p);
        id = sha256(abi.encode(TASK_TAG, block.chainid, address(this), p));
        if (_tasks[id].parameters.sponsor != address(0)) revert TaskExists(id);

        _tasks[id].parameters = p;
        Round storage genesis = _rounds[id][0];
        genesis.phase = Phase.Final;
        genesis.nextRoot = p.genesis;

        emit TaskCreated(id, p);
    }

    /// @inheritdoc ILedger
    function admit(bytes32 id, address[] calldata members) external {
        Task storage t = _task(id);
        if (t.parameters.sponsor != msg.sender) revert NotSponsor();
        uint256 slots = t.parameters.slots;

        for (uint256 i; i < members.length; ++i) {
            address member = members[i];
            if (member == address(0)) revert InvalidMember();
            bytes32[64] storage own = _slots[id][member];
            if (own[0] != 0) revert AlreadyAdmitted(member);
            for (uint256 j; j < slots; ++j) {
                own[j] = UNUSED;
            }
            emit Admitted(id, member);
        }

        uint256 total = t.members + members.length;
        if (total > t.parameters.maxMembers) revert TooManyMembers();
        t.members = uint32(total);
    }

    /* MONEY */

    /// @inheritdoc ILedger
    function deposit() external payable {
        _balances[msg.sender].free += uint128(msg.value);
        emit Deposited(msg.sender, msg.value);
    }

    /// @inheritdoc ILedger
    function withdraw(uint256 amount) external {
        uint256 free = _balances[msg.sender].free;
        if (free < amount) revert InsufficientBalance(free, amount);

        _balances[msg.sender].free = uint128(free - amount);
        emit Withdrawn(msg.sender, amount);

        (bool paid,) = msg.sender.call{value: amount}("");
        if (!paid) revert TransferFailed();
    }

    /* ROUNDS */

    /// @inheritdoc ILedger
    function open(bytes32 id, uint32 number) external {
        Task storage t = _task(id);
        Parameters storage p = t.parameters;
        _checkBonded(p.bond);
        uint256 commitWindow = p.commitWindow;
        uint40 deadline = uint40(block.timestamp + commitWindow);
        (uint32 pending, uint32 head) = (t.pending, t.head);

        if (pending != 0) {
            if (number != pending) revert WrongRound(pending);
            Round storage stalled = _rounds[id][number];
            uint256 extendable = stalled.commitDeadline + commitWindow;
            if (block.timestamp <= extendable) revert CommitsOpen(uint40(extendable));
            stalled.commitDeadline = deadline;
            emit Opened(id, number, stalled.parent, stalled.height, deadline);
            return;
        }

        Round storage below = _rounds[id][head];
        uint32 height = below.height;
        if (number != uint256(t.opened) + 1 || height >= p.rounds) {
            revert WrongRound(t.opened + 1);
        }
        uint8 slots = p.slots;
        if (number > slots) {
            Phase oldest = _rounds[id][number - slots].phase;
            if (oldest != Phase.Final && oldest != Phase.Void) revert SlotsFull(number - slots);
        }

        Round storage r = _rounds[id][number];
        r.phase = Phase.Open;
        r.slots = slots;
        r.parent = head;
        r.commitDeadline = deadline;
        r.maxWeight = p.maxWeight;
        r.height = height + 1;
        r.parentAttempt = below.attempt;
        t.opened = number;
        t.pending = number;
        t.tip = height + 1;
        _branch[id][height + 1] = number;

        emit Opened(id, number, head, height + 1, deadline);
    }

    /// @inheritdoc ILedger
    function commit(bytes32 id, uint32 number, uint32 weight, bytes32 root) external {
        Round storage r = _rounds[id][number];
        if (r.phase != Phase.Open) revert RoundNotOpen(number);
        if (block.timestamp > r.commitDeadline) revert CommitsClosed(r.commitDeadline);
        if (root == 0 || weight == 0 || weight > r.maxWeight) revert InvalidCommitment();
        bytes32[64] storage own = _slots[id][msg.sender];
        uint256 slot = number % r.slots;
        bytes32 held = own[slot];
        if (held == 0) revert NotMember(msg.sender);
        if (_roundOf(held) == number) revert AlreadyCommitted(msg.sender);

        own[slot] = _held(number, _digest(id, number, msg.sender, weight, root));

        emit Committed(id, msg.sender, number, weight, root);
    }

    /// @inheritdoc ILedger
    function commitBatch(bytes32 id, uint32 number, bytes32 root, uint32 count) external {
        Task storage t = _task(id);
        Round storage r = _rounds[id][number];
        if (r.phase != Phase.Open) revert RoundNotOpen(number);
        if (block.timestamp > r.commitDeadline) revert CommitsClosed(r.commitDeadline);
        _checkBonded(t.parameters.bond);
        if (r.batchCount != 0) revert AlreadyBatched(number);
        if (root == 0 || count == 0 || count > t.members) revert InvalidCommitment();

        r.batchRoot = root;
        r.batchCount = count;

        emit Batched(id, number, root, count);
    }

    /// @inheritdoc ILedger
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
    ) external {
        Task storage t = _task(id);
        Round storage r = _rounds[id][number];
        if (r.phase != Phase.Open) revert RoundNotOpen(number);
        _checkBonded(t.parameters.bond);
        if (reason == 0 || reason > LAST_REASON) revert InvalidReason(reason);

        bytes32 held = _slots[id][member][number % r.slots];
        uint256 direct = _roundOf(held) == number ? 1 : 0;
        address[2] storage excluders = _excluders[id][number][member];
        if (excluders[direct] != address(0)) revert AlreadyExcluded(member);
        excluders[direct] = msg.sender;
        if (direct == 1) {
            if (held != _held(number, _digest(id, number, member, weight, root))) revert NotCommitted(member);
            // Only these are counted, for only they cannot be forged: see the specification.
            r.excluded += 1;
        } else {
            bytes32 entry = Merkle.leafHash(abi.encodePacked(member, weight, root, signature));
            if (held == 0 || !Merkle.isIncluded(r.batchRoot, entry, index, r.batchCount, path)) {
                revert NotCommitted(member);
            }
        }

        emit Excluded(id, number, member, reason);
    }

    /// @inheritdoc ILedger
    function propose(bytes32 id, uint32 number, uint32 count, bytes32 sumRoot, bytes32 nextRoot, bool adopt) external {
        Task storage t = _task(id);
        Parameters storage p = t.parameters;
        Round storage r = _rounds[id][number];
        if (r.phase != Phase.Open) revert RoundNotOpen(number);
        if (number != t.pending) revert RoundVoid(number);
        uint256 members = t.members;
        uint256 settled = uint256(count) + r.excluded;
        if (block.timestamp <= r.commitDeadline && settled != members) revert CommitsOpen(r.commitDeadline);
        if (sumRoot == 0 || nextRoot == 0 || count < p.quorum || settled > members) revert InvalidProposal();
        if (adopt && r.batchCount == 0) revert NoBatch();
        uint128 bond = p.bond;
        _checkBonded(bond);

        _balances[msg.sender].free -= bond;
        _balances[msg.sender].locked += bond;
        uint40 finalAt = uint40(block.timestamp + p.challengeWindow);
        r.phase = Phase.Proposed;
        r.count = count;
        r.finalAt = finalAt;
        r.proposer = msg.sender;
        r.adopted = adopt;
        r.sumRoot = sumRoot;
        r.nextRoot = nextRoot;
        t.head = number;
        t.pending = 0;

        emit Proposed(id, number, msg.sender, count, sumRoot, nextRoot, finalAt, adopt);
    }

    /// @inheritdoc ILedger
    function finalise(bytes32 id, uint32 number) external {
        Task storage t = _task(id);
        Round storage r = _rounds[id][number];
        if (r.phase != Phase.Proposed) revert NotProposed(number);
        if (_isVoid(id, number)) revert RoundVoid(number);
        if (block.timestamp < r.finalAt) revert WindowOpen(r.finalAt);
        if (_rounds[id][r.parent].phase != Phase.Final) revert ParentNotFinal(r.parent);

        r.phase = Phase.Final;
        _releaseBond(t, r);

        emit Finalised(id, number, r.nextRoot);
    }

    /* CHALLENGES */

    // Each hands its calldata to the referee's function of the same signature, and acts on the answer.

    /// @inheritdoc ILedger
    function refuteSum(
        bytes32 id,
        uint32 number,
        SumNode[] calldata,
        uint32,
        uint64,
        Opening calldata,
        SumNode[] calldata,
        Entry[] calldata,
        Opening[] calldata
    ) external {
        _refute(id, number, Fault.Sum);
    }

    /// @inheritdoc ILedger
    function refuteNext(
        bytes32 id,
        uint32 number,
        SumNode calldata,
        uint64,
        Opening calldata,
        Opening calldata,
        Opening calldata
    ) external {
        _refute(id, number, Fault.Next);
    }

    /// @inheritdoc ILedger
    function refuteTree(bytes32 id, uint32 number, SumNode[] calldata, uint32, SumNode[] calldata, Entry[] calldata)
        external
    {
        _refute(id, number, Fault.Tree);
    }

    /// @inheritdoc ILedger
    function refuteVector(bytes32 id, uint32 number, Accused calldata) external {
        _refute(id, number, Fault.Vector);
    }

    /// @inheritdoc ILedger
    function refuteEntry(bytes32 id, uint32 number, Placed calldata, Signed[] calldata) external {
        _refute(id, number, Fault.Entry);
    }

    /// @inheritdoc ILedger
    function refuteOrder(bytes32 id, uint32 number, Placed calldata, Placed calldata) external {
        _refute(id, number, Fault.Order);
    }

    /// @inheritdoc ILedger
    function refuteOmission(bytes32 id, uint32 number, Entry calldata, Signed[] calldata, Placed[] calldata) external {
        _refute(id, number, Fault.Omission);
    }

    /// @inheritdoc ILedger
    function refuteBatch(bytes32 id, uint32 number, Signed[] calldata) external {
        _refute(id, number, Fault.Batch);
    }

    /// @inheritdoc ILedger
    function void(bytes32 id, uint32 number) external {
        Task storage t = _task(id);
        Round storage r = _rounds[id][number];
        Phase phase = r.phase;
        if ((phase != Phase.Open && phase != Phase.Proposed) || !_isVoid(id, number)) revert NotVoid();

        r.phase = Phase.Void;
        if (phase == Phase.Proposed) _releaseBond(t, r);

        emit Voided(id, number);
    }

    /* VIEWS */

    /// @inheritdoc ILedger
    function task(bytes32 id) external view returns (TaskView memory) {
        Task storage t = _task(id);
        return TaskView(t.parameters, t.members, t.opened, t.head, t.pending);
    }

    /// @inheritdoc ILedger
    function round(bytes32 id, uint32 number) external view returns (RoundView memory) {
        _task(id);
        Round storage r = _rounds[id][number];
        return RoundView({
            phase: r.phase,
            parent: r.parent,
            height: r.height,
            attempt: r.attempt,
            parentAttempt: r.parentAttempt,
            commitDeadline: r.commitDeadline,
            finalAt: r.finalAt,
            excluded: r.excluded,
            count: r.count,
            batchCount: r.batchCount,
            batchRoot: r.batchRoot,
            sumRoot: r.sumRoot,
            nextRoot: r.nextRoot,
            proposer: r.proposer,
            adopted: r.adopted
        });
    }

    /// @inheritdoc ILedger
    function commitment(bytes32 id, uint32 number, address member) external view returns (bool held, bytes28 digest) {
        bytes32 slot = _slots[id][member][number % _task(id).parameters.slots];
        held = number > 0 && _roundOf(slot) == number;
        if (held && _excluders[id][number][member][1] == address(0)) digest = bytes28(slot << 32);
    }

    /// @inheritdoc ILedger
    function claim(bytes32 id, uint32 number) external view returns (Claim memory c) {
        Parameters storage p = _task(id).parameters;
        Round storage r = _rounds[id][number];
        if (r.phase != Phase.Proposed) revert NotProposed(number);
        if (_isVoid(id, number)) revert RoundVoid(number);
        c.count = r.count;
        c.sumRoot = r.sumRoot;
        c.nextRoot = r.nextRoot;
        c.baseRoot = _rounds[id][r.parent].nextRoot;
        if (r.adopted) (c.batchRoot, c.batchCount) = (r.batchRoot, r.batchCount);
        c.dimension = p.dimension;
        c.leafWords = p.leafWords;
        c.fanIn = p.fanIn;
        c.maxWeight = p.maxWeight;
        c.proposer = r.proposer;
    }

    /// @inheritdoc ILedger
    function standing(bytes32 id, uint32 number, address member)
        external
        view
        returns (bytes28 digest, address excluder, address batchExcluder)
    {
        bytes32 slot = _slots[id][member][number % _task(id).parameters.slots];
        if (_roundOf(slot) == number) digest = bytes28(slot << 32);
        (batchExcluder, excluder) = (_excluders[id][number][member][0], _excluders[id][number][member][1]);
    }

    /// @inheritdoc ILedger
    function balance(address account) external view returns (uint256 free, uint256 locked) {
        Balance storage held = _balances[account];
        return (held.free, held.locked);
    }

    /// @inheritdoc ILedger
    function isMember(bytes32 id, address account) external view returns (bool) {
        _task(id);
        return _slots[id][account][0] != 0;
    }

    /* INTERNAL */

    function _task(bytes32 id) internal view returns (Task storage t) {
        t = _tasks[id];
        if (t.parameters.sponsor == address(0)) revert UnknownTask(id);
    }

    /// @dev Whether a proposal that a round builds on, at any height below it, is refuted.
    function _isVoid(bytes32 id, uint32 number) internal view returns (bool) {
        uint32 height = _rounds[id][number].height;
        return height > _tasks[id].tip || _branch[id][height] != number;
    }

    function _releaseBond(Task storage t, Round storage r) internal {
        uint128 bond = t.parameters.bond;
        Balance storage held = _balances[r.proposer];
        held.free += bond;
        held.locked -= bond;
    }

    /// @dev The referee's answer to this call's own calldata; what it reverts with, this reverts with.
    function _isFalse() internal view returns (bool) {
        (bool answered, bytes memory answer) = address(REFEREE).staticcall(msg.data);
        if (answered) return abi.decode(answer, (bool));
        // Solidity cannot revert with given bytes otherwise.
        // slither-disable-next-line assembly
        assembly ("memory-safe") {
            revert(add(answer, 32), mload(answer))
        }
    }

    /// @dev Strike out a false proposal: its bond goes in part to the caller, and the round awaits another proposal. Commitments
    /// stay what they were, and a new commit window takes as long as after any deadline.
    function _refute(bytes32 id, uint32 number, Fault fault) internal {
        if (!_isFalse()) revert NotRefuted();
        Task storage t = _tasks[id];
        Round storage r = _rounds[id][number];
        uint128 bond = t.parameters.bond;
        uint128 bounty = uint128(uint256(bond) * t.parameters.bounty / 100);
        address proposer = r.proposer;

        _balances[proposer].locked -= bond;
        _balances[msg.sender].free += bounty;
        slashed += bond - bounty;
        r.phase = Phase.Open;
        r.attempt += 1;
        if (r.commitDeadline < block.timestamp - 1) r.commitDeadline = uint40(block.timestamp - 1);
        t.pending = number;
        t.head = r.parent;
        t.tip = r.height;

        emit Refuted(id, number, proposer, msg.sender, uint8(fault), bounty);
    }

    function _checkBonded(uint256 bond) internal view {
        if (_balances[msg.sender].free < bond) revert NotBonded(msg.sender);
    }

    function _digest(bytes32 id, uint32 number, address member, uint32 weight, bytes32 root)
        internal
        view
        returns (bytes32)
    {
        return sha256(abi.encode(COMMITMENT_TAG, block.chainid, address(this), id, number, member, root, weight));
    }

    function _held(uint32 number, bytes32 digest) internal pure returns (bytes32) {
        return bytes32(uint256(number) << 224) | (digest >> 32);
    }

    function _roundOf(bytes32 held) internal pure returns (uint32) {
        return uint32(uint256(held) >> 224);
    }

    function _checkParameters(Parameters calldata p) internal pure {
        if (p.layout == 0) revert InvalidTask("layout");
        if (p.genesis == 0) revert InvalidTask("genesis");
        if (p.dimension == 0 || p.dimension > 2 ** 40) revert InvalidTask("dimension");
        if (p.scale > 30) revert InvalidTask("scale");
        if (p.leafWords < 8 || p.leafWords > 4096) revert InvalidTask("leafWords");
        if (p.fanIn < 2 || p.fanIn > 16) revert InvalidTask("fanIn");
        if (p.rule != 0) revert InvalidTask("rule");
        if (p.rounds == 0) revert InvalidTask("rounds");
        if (p.maxMembers == 0) revert InvalidTask("maxMembers");
        if (p.quorum == 0 || p.quorum > p.maxMembers) revert InvalidTask("quorum");
        if (p.maxWeight == 0 || uint256(p.maxWeight) * p.maxMembers > MAX_TOTAL_WEIGHT) {
            revert InvalidTask("maxWeight");
        }
        if (p.slots < 2 || p.slots > MAX_SLOTS) revert InvalidTask("slots");
        if (p.commitWindow == 0 || p.commitWindow > MAX_WINDOW) revert InvalidTask("commitWindow");
        if (p.challengeWindow < MIN_CHALLENGE_WINDOW || p.challengeWindow > MAX_WINDOW) {
            revert InvalidTask("challengeWindow");
        }
        if (p.bond < MIN_BOND || p.bond >= 2 ** 96) revert InvalidTask("bond");
        if (p.bounty < MIN_BOUNTY || p.bounty > MAX_BOUNTY) revert InvalidTask("bounty");
    }
}
