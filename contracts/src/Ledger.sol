// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Accused, Claim, Entry, Opening, Placed, Signed, Sought, SumNode} from "./interfaces/Evidence.sol";
import {
    BallotView,
    Fault,
    ILedger,
    Parameters,
    Phase,
    RoundView,
    Settlement,
    Standing,
    TaskView,
    Voting
} from "./interfaces/ILedger.sol";
import {Referee} from "./Referee.sol";
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
        uint64 votes;
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
        bool bonded;
        uint16 demands;
        bytes32 batchRoot;
        bytes32 sumRoot;
        bytes32 nextRoot;
        Ballot ballot;
    }

    /// @dev `votes` and `settled` are of the proposal of `attempt`.
    struct Ballot {
        uint64 electorate;
        uint64 votes;
        uint16 attempt;
        uint32 settled;
    }

    struct Balance {
        uint128 free;
        uint128 locked;
    }

    /// @dev Who excluded a member, and until when it can reveal what was reported as withheld (zero for other reasons).
    struct Exclusion {
        address by;
        uint40 deadline;
    }

    /// @dev A proposal that a validator attested.
    struct Attestation {
        uint32 round;
        uint16 attempt;
    }

    struct Validator {
        Standing standing;
        /// @dev attested[round % slots]; prepaid, with round 0, when the stake is made.
        Attestation[64] attested;
    }

    struct Witnesses {
        uint64 weight;
        mapping(address validator => bool) heard;
    }

    struct Demanding {
        address demander;
        uint16 attempt;
        uint40 deadline;
    }

    /* CONSTANTS */

    /// @dev SHA-256 of "tallystick/task/1".
    bytes32 internal constant TASK_TAG = 0x46f53105258c1d616dd2ded2fe81326170cee8b3e78d5f1268b8fc43891595ff;
    /// @dev SHA-256 of "tallystick/commitment/1".
    bytes32 internal constant COMMITMENT_TAG = 0x0dcc99f45be9c8fd2ed904c3b11d0a85982ab3234f7cad8fc2e0e9006cddf3c6;

    uint256 internal constant MAX_STAKE = 1e25;
    /// @dev Rules from here on are known to validators only: this contract cannot tell their sums from others.
    uint256 internal constant OPAQUE_RULES = 128;
    uint8 internal constant WITHHELD = 1;
    uint8 internal constant LAST_REASON = 9;

    /// @dev Fills the slots of a new validator, with round 0.
    uint16 internal constant UNATTESTED = type(uint16).max;
    /// @dev Fills the slots of a new member: not zero, and of no round.
    bytes32 internal constant UNUSED = bytes32(uint256(1));

    /// @dev Judges evidence; has no state. In capitals like a constant, which it is once it is created.
    // slither-disable-next-line naming-convention
    Referee internal immutable REFEREE = new Referee();

    /* STORAGE */

    mapping(bytes32 task => Task) internal _tasks;
    mapping(bytes32 task => mapping(uint32 number => Round)) internal _rounds;
    /// @dev slot[round % slots] = round << 224 | first 28 bytes of the commitment's digest.
    mapping(bytes32 task => mapping(address member => bytes32[64])) internal _slots;
    /// @dev Who excluded a member: [0] its entry in the batch, [1] its direct commitment.
    mapping(bytes32 task => mapping(uint32 number => mapping(address member => Exclusion[2]))) internal _excluders;
    /// @dev The rounds that build on nothing refuted, by height, up to the task's `tip`.
    mapping(bytes32 task => mapping(uint32 height => uint32 number)) internal _branch;
    mapping(address account => Balance) internal _balances;
    mapping(bytes32 task => mapping(address account => Validator)) internal _validators;
    mapping(bytes32 task => mapping(uint32 number => mapping(address member => Witnesses))) internal _witnessed;
    /// @dev By a hash of what is demanded.
    mapping(bytes32 task => mapping(uint32 number => mapping(bytes32 key => Demanding))) internal _demands;
    /// @dev Hash of the roster that was shown, and bits of the leaves that were aggregated (word 0 holds leaves 0 to 255).
    mapping(bytes32 task => mapping(uint32 number => mapping(uint16 attempt => bytes32))) internal _rosters;
    mapping(bytes32 task => mapping(uint32 number => mapping(uint16 attempt => mapping(uint256 word => uint256))))
        internal _settled;

    /// @inheritdoc ILedger
    uint256 public slashed;

    /* TASKS */

    /// @inheritdoc ILedger
    function createTask(Parameters calldata p) external returns (bytes32 id) {
        if (p.sponsor != msg.sender) revert NotSponsor();
        // Reverts for a parameter out of bounds.
        _ask();
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
        (uint256 slots, uint256 memberStake) = (t.parameters.slots, t.parameters.memberStake);

        for (uint256 i; i < members.length; ++i) {
            address member = members[i];
            if (member == address(0)) revert InvalidMember();
            bytes32[64] storage own = _slots[id][member];
            if (own[0] != 0) revert AlreadyAdmitted(member);
            if (_validators[id][member].standing.stake < memberStake) revert NotStaked(member);
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
            // Past doubt, and not only final: evidence against it is held to the slots that this one takes over.
            Round storage oldest = _rounds[id][number - slots];
            if (oldest.phase == Phase.Open || oldest.bonded) revert SlotsFull(number - slots);
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
        if (t.votes != 0) r.ballot.electorate = t.votes;
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
        bytes calldata,
        uint32,
        bytes32[] calldata
    ) external {
        Task storage t = _task(id);
        Round storage r = _rounds[id][number];
        if (r.phase != Phase.Open) revert RoundNotOpen(number);
        _checkBonded(t.parameters.bond);
        if (reason == 0 || reason > LAST_REASON) revert InvalidReason(reason);

        bytes32 held = _slots[id][member][number % r.slots];
        uint256 direct = _roundOf(held) == number ? 1 : 0;
        Exclusion storage exclusion = _excluders[id][number][member][direct];
        if (exclusion.by != address(0)) revert AlreadyExcluded(member);
        exclusion.by = msg.sender;
        uint40 deadline = reason == WITHHELD ? uint40(block.timestamp + t.parameters.revealWindow) : 0;
        if (deadline != 0) exclusion.deadline = deadline;
        if (direct == 1) {
            if (held != _held(number, _digest(id, number, member, weight, root))) revert NotCommitted(member);
            // Only these are counted, for only they cannot be forged: see the specification.
            r.excluded += 1;
        } else {
            if (held == 0 || _ask() == 0) revert NotCommitted(member);
        }

        emit Excluded(id, number, member, reason, deadline);
    }

    /// @inheritdoc ILedger
    function propose(
        bytes32 id,
        uint32 number,
        uint32 count,
        bytes32 sumRoot,
        bytes32 nextRoot,
        bool adopt,
        uint256 seen,
        bytes32 seenHash
    ) external {
        Task storage t = _task(id);
        Parameters storage p = t.parameters;
        Round storage r = _rounds[id][number];
        if (r.phase != Phase.Open) revert RoundNotOpen(number);
        if (number != t.pending) revert RoundVoid(number);
        uint256 members = t.members;
        uint256 settled = uint256(count) + r.excluded;
        if (block.timestamp <= r.commitDeadline && settled != members) revert CommitsOpen(r.commitDeadline);
        if (sumRoot == 0 || nextRoot == 0 || count < p.quorum || count > members) revert InvalidProposal();
        if (adopt && r.batchCount == 0) revert NoBatch();
        if (seenHash != 0 && blockhash(seen) != seenHash) revert Reorganised(seen);
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
        r.bonded = true;
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
        _checkProposed(id, number, r);
        uint40 finalAt = r.finalAt;
        if (!_isSettled(t, r)) {
            if (block.timestamp < finalAt) revert WindowOpen(finalAt);
            revert NotSettled(number);
        }
        if (r.demands != 0) revert DemandsOpen(number);
        if (_rounds[id][r.parent].phase != Phase.Final) revert ParentNotFinal(r.parent);

        r.phase = Phase.Final;
        if (block.timestamp >= finalAt) _releaseBond(t, r);

        emit Finalised(id, number, r.nextRoot);
    }

    /// @inheritdoc ILedger
    function release(bytes32 id, uint32 number) external {
        Task storage t = _task(id);
        Round storage r = _rounds[id][number];
        if (r.phase != Phase.Final || !r.bonded) revert NotProposed(number);
        if (block.timestamp < r.finalAt) revert WindowOpen(r.finalAt);
        if (r.demands != 0) revert DemandsOpen(number);

        _releaseBond(t, r);

        emit Released(id, number);
    }

    /// @inheritdoc ILedger
    function lapse(bytes32 id, uint32 number) external {
        Task storage t = _task(id);
        Round storage r = _rounds[id][number];
        _checkProposed(id, number, r);
        if (block.timestamp < r.finalAt) revert WindowOpen(r.finalAt);
        if (_isSettled(t, r)) revert AlreadySettled(number);
        if (r.demands != 0) revert DemandsOpen(number);

        r.phase = Phase.Void;
        _releaseBond(t, r);
        t.head = r.parent;
        t.pending = 0;
        t.tip = r.height - 1;

        emit Lapsed(id, number);
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

    /* VOTES */

    /// @inheritdoc ILedger
    function stake(bytes32 id, uint256 amount) external {
        Task storage t = _task(id);
        Validator storage v = _validators[id][msg.sender];
        // Not `stake + amount > MAX_STAKE`, which could overflow.
        if (amount == 0 || amount > MAX_STAKE - v.standing.stake) revert InvalidStake();
        uint256 total = v.standing.stake + amount;
        uint256 free = _balances[msg.sender].free;
        if (free < amount) revert InsufficientBalance(free, amount);

        _balances[msg.sender].free = uint128(free - amount);
        _balances[msg.sender].locked += uint128(amount);
        if (v.attested[0].round == 0 && v.attested[0].attempt == 0) {
            uint256 slots = t.parameters.slots;
            for (uint256 i; i < slots; ++i) {
                // Not zero, and of no round: so that to attest writes over what is paid for.
                if (v.attested[i].round == 0) v.attested[i].attempt = UNATTESTED;
            }
        }
        _weigh(t, v, total, v.standing.quality);

        emit Staked(id, msg.sender, amount);
    }

    /// @inheritdoc ILedger
    function unstake(bytes32 id) external {
        Task storage t = _task(id);
        Validator storage v = _validators[id][msg.sender];
        uint256 amount = v.standing.stake;
        if (amount == 0) revert NotStaked(msg.sender);
        if (t.parameters.memberStake != 0 && isMember(id, msg.sender)) {
            Round storage head = _rounds[id][t.head];
            if (head.phase != Phase.Final || head.height != t.parameters.rounds) revert StakeLocked(t.head);
        }
        uint256 slots = t.parameters.slots;
        for (uint256 i; i < slots; ++i) {
            _checkReleased(id, v.attested[i]);
        }

        _weigh(t, v, 0, v.standing.quality);
        _balances[msg.sender].locked -= uint128(amount);
        _balances[msg.sender].free += uint128(amount);

        emit Unstaked(id, msg.sender, amount);
    }

    /// @inheritdoc ILedger
    function grade(bytes32 id, address[] calldata accounts, uint32[] calldata qualities) external {
        Task storage t = _task(id);
        if (msg.sender != t.parameters.scorer) revert NotScorer();
        if (accounts.length != qualities.length) revert InvalidGrades();

        for (uint256 i; i < accounts.length; ++i) {
            Validator storage v = _validators[id][accounts[i]];
            _weigh(t, v, v.standing.stake, qualities[i]);
            emit Graded(id, accounts[i], qualities[i]);
        }
    }

    /// @inheritdoc ILedger
    function attest(bytes32 id, uint32 number, bytes32 sumRoot, bytes32 nextRoot) external {
        Round storage r = _rounds[id][number];
        if (r.phase != Phase.Proposed) revert NotProposed(number);
        if (r.sumRoot != sumRoot || r.nextRoot != nextRoot) revert InvalidAttestation();
        Validator storage v = _validators[id][msg.sender];
        uint64 weight = _vote(v, number);
        Attestation storage a = v.attested[number % r.slots];
        if (a.round == number) revert AlreadyAttested(msg.sender);
        _checkReleased(id, a);
        uint16 attempt = r.attempt;

        (a.round, a.attempt) = (number, attempt);
        _current(r).votes += weight;

        emit Attested(id, number, msg.sender, weight, nextRoot);
    }

    /// @inheritdoc ILedger
    function slash(bytes32 id, uint32 number, address account) external {
        Task storage t = _task(id);
        Validator storage v = _validators[id][account];
        Attestation storage a = v.attested[number % t.parameters.slots];
        if (a.round != number || number == 0 || a.attempt == _rounds[id][number].attempt || v.standing.stake == 0) {
            revert NotSlashable(account);
        }

        (a.round, a.attempt) = (0, UNATTESTED);
        _forfeit(id, t, number, account, msg.sender);
    }

    /// @inheritdoc ILedger
    function witness(bytes32 id, uint32 number, address member) external {
        Task storage t = _task(id);
        Exclusion[2] storage exclusions = _excluders[id][number][member];
        Exclusion memory exclusion = exclusions[exclusions[1].deadline == 0 ? 0 : 1];
        uint40 deadline = exclusion.deadline;
        if (deadline == 0) revert NotReported(member);
        if (block.timestamp <= deadline) revert RevealOpen(deadline);
        uint40 closes = deadline + t.parameters.revealWindow;
        if (block.timestamp > closes) revert RevealClosed(closes);
        uint64 weight = _vote(_validators[id][msg.sender], number);
        Witnesses storage said = _witnessed[id][number][member];
        if (said.heard[msg.sender]) revert AlreadyAttested(msg.sender);

        said.heard[msg.sender] = true;
        (uint256 before, uint256 now_) = (said.weight, uint256(said.weight) + weight);
        said.weight = uint64(now_);
        emit Witnessed(id, number, member, msg.sender, weight);

        uint256 enough = uint256(_rounds[id][number].ballot.electorate) * t.parameters.voteQuorum;
        if (before * 100 < enough && enough <= now_ * 100 && _validators[id][member].standing.stake != 0) {
            _forfeit(id, t, number, member, exclusion.by);
        }
    }

    /* AVAILABILITY */

    /// @inheritdoc ILedger
    function demand(bytes32 id, uint32 number, Sought calldata sought) external {
        uint32 pieces = uint32(_ask());
        Task storage t = _tasks[id];
        Round storage r = _rounds[id][number];
        if (block.timestamp >= r.finalAt) revert WindowPassed(r.finalAt);
        Demanding storage d = _demands[id][number][_key(sought.digest, pieces)];
        if (d.demander != address(0)) revert AlreadyDemanded(sought.digest);
        uint128 fee = t.parameters.revealFee;
        uint256 free = _balances[msg.sender].free;
        if (free < fee) revert InsufficientBalance(free, fee);

        _balances[msg.sender].free = uint128(free - fee);
        _balances[msg.sender].locked += fee;
        uint40 deadline = uint40(block.timestamp + t.parameters.revealWindow);
        (d.demander, d.attempt, d.deadline) = (msg.sender, r.attempt, deadline);
        r.demands += 1;

        emit Demanded(id, number, msg.sender, sought.digest, pieces, deadline);
    }

    /// @inheritdoc ILedger
    function reveal(bytes32 id, uint32 number, bytes32 digest, uint32 pieces, bytes calldata data) external {
        Task storage t = _task(id);
        Round storage r = _rounds[id][number];
        bytes32 key = _key(digest, pieces);
        Demanding memory d = _demands[id][number][key];
        if (d.demander == address(0) || _isStale(id, number, d)) revert NotDemanded(digest);
        if (_ask() == 0) revert InvalidProof("data");

        delete _demands[id][number][key];
        _payFee(t, d.demander, msg.sender);
        r.demands -= 1;
        uint40 later = uint40(block.timestamp + t.parameters.revealWindow);
        if (r.finalAt < later) r.finalAt = later;

        emit Revealed(id, number, digest, pieces, msg.sender, data);
    }

    /// @inheritdoc ILedger
    function expire(bytes32 id, uint32 number, bytes32 digest, uint32 pieces) external {
        Task storage t = _task(id);
        bytes32 key = _key(digest, pieces);
        Demanding memory d = _demands[id][number][key];
        if (d.demander == address(0)) revert NotDemanded(digest);
        bool stale = _isStale(id, number, d);
        if (!stale && block.timestamp <= d.deadline) revert RevealOpen(d.deadline);

        delete _demands[id][number][key];
        _payFee(t, d.demander, d.demander);
        emit Expired(id, number, digest, pieces, d.demander);

        if (!stale) _strike(id, number, d.demander, Fault.Hidden);
    }

    /* SETTLEMENT */

    /// @inheritdoc ILedger
    function settleRoster(bytes32 id, uint32 number, address[] calldata, Entry[] calldata entries) external {
        if (_task(id).parameters.rule >= OPAQUE_RULES) revert InvalidProof("rule");
        uint16 attempt = _rounds[id][number].attempt;
        if (_rosters[id][number][attempt] != 0) revert AlreadySettled(number);
        if (_ask() == 0) revert InvalidProof("entry");

        _rosters[id][number][attempt] = keccak256(abi.encode(entries));

        emit RosterSettled(id, number);
    }

    /// @inheritdoc ILedger
    function settleLeaf(
        bytes32 id,
        uint32 number,
        uint32 leaf,
        Entry[] calldata entries,
        Opening[] calldata,
        Opening calldata,
        Opening calldata
    ) external {
        _task(id);
        Round storage r = _rounds[id][number];
        uint16 attempt = r.attempt;
        if (_rosters[id][number][attempt] != keccak256(abi.encode(entries))) revert InvalidProof("entries");
        uint256 bit = 1 << (leaf % 256);
        uint256 done = _settled[id][number][attempt][leaf / 256];
        if (done & bit != 0) revert AlreadySettled(number);
        if (_ask() == 0) revert InvalidProof("following");

        _settled[id][number][attempt][leaf / 256] = done | bit;
        _current(r).settled += 1;

        emit LeafSettled(id, number, leaf);
    }

    /* VIEWS */

    /// @inheritdoc ILedger
    function task(bytes32 id) external view returns (TaskView memory) {
        Task storage t = _task(id);
        return TaskView(t.parameters, t.members, t.opened, t.head, t.pending, t.votes);
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
        if (held && _excluders[id][number][member][1].by == address(0)) digest = bytes28(slot << 32);
    }

    /// @inheritdoc ILedger
    function claim(bytes32 id, uint32 number) external view returns (Claim memory c) {
        Parameters storage p = _task(id).parameters;
        Round storage r = _rounds[id][number];
        if (!r.bonded) revert NotProposed(number);
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
        Exclusion[2] storage exclusions = _excluders[id][number][member];
        (batchExcluder, excluder) = (exclusions[0].by, exclusions[1].by);
    }

    /// @inheritdoc ILedger
    function ballot(bytes32 id, uint32 number) external view returns (BallotView memory) {
        _task(id);
        Round storage r = _rounds[id][number];
        Ballot memory b = r.ballot;
        if (b.attempt != r.attempt) (b.votes, b.settled) = (0, 0);
        return BallotView(b.electorate, b.votes, r.attempt, r.demands, r.bonded, b.settled);
    }

    /// @inheritdoc ILedger
    function stakeOf(bytes32 id, address account) external view returns (Standing memory) {
        _task(id);
        return _validators[id][account].standing;
    }

    /// @inheritdoc ILedger
    function attested(bytes32 id, uint32 number, address validator) external view returns (bool held, uint16 attempt) {
        Attestation storage a = _validators[id][validator].attested[number % _task(id).parameters.slots];
        held = number > 0 && a.round == number;
        if (held) attempt = a.attempt;
    }

    /// @inheritdoc ILedger
    function balance(address account) external view returns (uint256 free, uint256 locked) {
        Balance storage held = _balances[account];
        return (held.free, held.locked);
    }

    /// @inheritdoc ILedger
    function isMember(bytes32 id, address account) public view returns (bool) {
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

    function _checkProposed(bytes32 id, uint32 number, Round storage r) internal view {
        if (r.phase != Phase.Proposed) revert NotProposed(number);
        if (_isVoid(id, number)) revert RoundVoid(number);
    }

    /// @dev Whether a proposal has all that its task asks for to be final.
    function _isSettled(Task storage t, Round storage r) internal view returns (bool) {
        Ballot memory b = r.ballot;
        if (b.attempt != r.attempt) (b.votes, b.settled) = (0, 0);
        if (b.settled == (t.parameters.dimension + t.parameters.leafWords - 1) / t.parameters.leafWords) return true;
        uint256 enough = uint256(b.electorate) * t.parameters.voteQuorum;
        bool voted = enough != 0 && enough <= uint256(b.votes) * 100;
        uint8 settlement = t.parameters.settlement;
        if (settlement == uint8(Settlement.Quorum)) return voted;
        if (settlement == uint8(Settlement.Proven)) return false;
        return block.timestamp >= r.finalAt || (voted && settlement == uint8(Settlement.Early));
    }

    /// @dev What was said of the round's proposal that stands now.
    function _current(Round storage r) internal returns (Ballot storage b) {
        b = r.ballot;
        if (b.attempt != r.attempt) (b.attempt, b.votes, b.settled) = (r.attempt, 0, 0);
    }

    /// @dev What an account's vote weighs in a round.
    function _vote(Validator storage v, uint32 number) internal view returns (uint64 weight) {
        weight = v.standing.weight;
        if (weight == 0 || v.standing.since >= number) revert NotValidator(msg.sender);
    }

    /// @dev Reverts if what was attested was refuted, or still can be.
    function _checkReleased(bytes32 id, Attestation storage a) internal view {
        uint32 number = a.round;
        if (number == 0) return;
        Round storage r = _rounds[id][number];
        if (r.attempt != a.attempt || (r.bonded && r.phase != Phase.Void)) revert StakeLocked(number);
    }

    /// @dev Note an account's stake and quality, and from which round on its vote has the new weight.
    function _weigh(Task storage t, Validator storage v, uint256 amount, uint32 quality) internal {
        Standing memory s = v.standing;
        uint64 weight;
        if (amount >= t.parameters.stake) {
            uint8 voting = t.parameters.voting;
            if (voting == uint8(Voting.Equal)) weight = 1;
            else if (voting == uint8(Voting.Stake)) weight = uint64(amount / 1 gwei);
            else weight = quality;
        }
        if (weight != s.weight) {
            s.since = t.opened;
            t.votes = t.votes - s.weight + weight;
        }
        v.standing = Standing(uint96(amount), weight, quality, s.since);
    }

    /// @dev An account loses its whole stake in a task; the bounty's share of it goes to `by`.
    function _forfeit(bytes32 id, Task storage t, uint32 number, address account, address by) internal {
        Validator storage v = _validators[id][account];
        uint128 amount = v.standing.stake;
        uint128 bounty = uint128(uint256(amount) * t.parameters.bounty / 100);
        _weigh(t, v, 0, v.standing.quality);
        _balances[account].locked -= amount;
        _balances[by].free += bounty;
        slashed += amount - bounty;

        emit Slashed(id, number, account, by, amount, bounty);
    }

    function _key(bytes32 digest, uint32 pieces) internal pure returns (bytes32) {
        return keccak256(abi.encode(digest, pieces));
    }

    /// @dev Whether the proposal that a demand was about is gone, or past doubt.
    function _isStale(bytes32 id, uint32 number, Demanding memory d) internal view returns (bool) {
        Round storage r = _rounds[id][number];
        return d.attempt != r.attempt || !r.bonded || _isVoid(id, number);
    }

    function _payFee(Task storage t, address from, address to) internal {
        uint128 fee = t.parameters.revealFee;
        _balances[from].locked -= fee;
        _balances[to].free += fee;
    }

    function _releaseBond(Task storage t, Round storage r) internal {
        r.bonded = false;
        r.demands = 0;
        uint128 bond = t.parameters.bond;
        Balance storage held = _balances[r.proposer];
        held.free += bond;
        held.locked -= bond;
    }

    /// @dev The referee's answer to this call's own calldata; what it reverts with, this reverts with.
    function _ask() internal view returns (uint256) {
        (bool answered, bytes memory answer) = address(REFEREE).staticcall(msg.data);
        if (answered) return abi.decode(answer, (uint256));
        // Solidity cannot revert with given bytes otherwise.
        // slither-disable-next-line assembly
        assembly ("memory-safe") {
            revert(add(answer, 32), mload(answer))
        }
    }

    function _refute(bytes32 id, uint32 number, Fault fault) internal {
        if ((fault == Fault.Sum || fault == Fault.Next) && _tasks[id].parameters.rule >= OPAQUE_RULES) {
            revert InvalidProof("rule");
        }
        if (_ask() == 0) revert NotRefuted();
        _strike(id, number, msg.sender, fault);
    }

    /// @dev Strike out a false proposal: its bond goes in part to the winner, and the round awaits another proposal. Commitments
    /// stay what they were, and a new commit window takes as long as after any deadline. What votes have made final stays what it is.
    function _strike(bytes32 id, uint32 number, address winner, Fault fault) internal {
        Task storage t = _tasks[id];
        Round storage r = _rounds[id][number];
        uint128 bond = t.parameters.bond;
        uint128 bounty = uint128(uint256(bond) * t.parameters.bounty / 100);
        address proposer = r.proposer;

        _balances[proposer].locked -= bond;
        _balances[winner].free += bounty;
        slashed += bond - bounty;
        r.bonded = false;
        r.demands = 0;
        r.attempt += 1;
        if (r.phase == Phase.Proposed) {
            r.phase = Phase.Open;
            if (r.commitDeadline < block.timestamp - 1) r.commitDeadline = uint40(block.timestamp - 1);
            t.pending = number;
            t.head = r.parent;
            t.tip = r.height;
        }

        emit Refuted(id, number, proposer, winner, uint8(fault), bounty);
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
}
