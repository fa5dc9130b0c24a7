// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Entry, Opening} from "../src/interfaces/Evidence.sol";
import "./Fixture.sol";

contract Spendthrift {
    Ledger internal immutable LEDGER;

    constructor(Ledger ledger) payable {
        LEDGER = ledger;
        ledger.deposit{value: msg.value}();
    }

    function take(uint256 amount) external {
        LEDGER.withdraw(amount);
    }
}

contract Thief {
    Ledger internal immutable LEDGER;
    uint256 public taken;

    constructor(Ledger ledger) payable {
        LEDGER = ledger;
        ledger.deposit{value: msg.value}();
    }

    function take(uint256 amount) external {
        LEDGER.withdraw(amount);
    }

    receive() external payable {
        taken += msg.value;
        try LEDGER.withdraw(msg.value) {} catch {}
    }
}

contract LedgerTest is Fixture {
    /* TASKS */

    /// The task's id binds chain, contract and every parameter, as the specification hashes them.
    function test_task_id_is_the_specified_hash() public {
        bytes32 tag = sha256("tallystick/task/1");
        require(id == sha256(abi.encode(tag, block.chainid, address(ledger), parameters())), "id");
        TaskView memory t = ledger.task(id);
        require(t.members == 3 && t.opened == 0 && t.head == 0 && t.parameters.bond == BOND, "task");
        RoundView memory genesis = ledger.round(id, 0);
        require(genesis.phase == Phase.Final && genesis.nextRoot == bytes32(uint256(2)), "genesis");
        vm.chainId(99);
        vm.prank(SPONSOR);
        require(ledger.createTask(parameters()) != id, "replayed on another chain");
    }

    /// Only the sponsor named in the parameters creates a task, and only once.
    function test_create_refuses_others_and_twins() public {
        vm.expectRevert(NotSponsor.selector);
        ledger.createTask(parameters());
        vm.expectRevert(abi.encodeWithSelector(TaskExists.selector, id));
        vm.prank(SPONSOR);
        ledger.createTask(parameters());
    }

    function _refused(Parameters memory p, string memory name) internal {
        vm.expectRevert(abi.encodeWithSelector(InvalidTask.selector, name));
        vm.prank(SPONSOR);
        ledger.createTask(p);
    }

    /// Parameters that could overflow, divide by nothing or be had for free are refused by name, at both ends.
    function test_unsafe_parameters_are_refused_by_name() public {
        Parameters memory p = parameters();
        p.layout = 0;
        _refused(p, "layout");
        p = parameters();
        p.genesis = 0;
        _refused(p, "genesis");
        p = parameters();
        p.dimension = 0;
        _refused(p, "dimension");
        p.dimension = 2 ** 40 + 1;
        _refused(p, "dimension");
        p = parameters();
        p.scale = 31;
        _refused(p, "scale");
        p = parameters();
        p.leafWords = 7;
        _refused(p, "leafWords");
        p.leafWords = 4097;
        _refused(p, "leafWords");
        p = parameters();
        p.fanIn = 1;
        _refused(p, "fanIn");
        p.fanIn = 17;
        _refused(p, "fanIn");
        p = parameters();
        p.rule = 1;
        _refused(p, "rule");
        p = parameters();
        p.rounds = 0;
        _refused(p, "rounds");
        p = parameters();
        p.maxMembers = 0;
        _refused(p, "maxMembers");
        p = parameters();
        p.quorum = 0;
        _refused(p, "quorum");
        p.quorum = 4;
        _refused(p, "quorum");
        p = parameters();
        p.maxWeight = 0;
        _refused(p, "maxWeight");
        p.maxWeight = type(uint32).max / 3 + 1;
        _refused(p, "maxWeight");
        p = parameters();
        p.slots = 1;
        _refused(p, "slots");
        p.slots = 65;
        _refused(p, "slots");
        p = parameters();
        p.commitWindow = 0;
        _refused(p, "commitWindow");
        p.commitWindow = 365 days + 1;
        _refused(p, "commitWindow");
        p = parameters();
        p.challengeWindow = 1;
        _refused(p, "challengeWindow");
        p.challengeWindow = 365 days + 1;
        _refused(p, "challengeWindow");
        p = parameters();
        p.bond = BOND - 1;
        _refused(p, "bond");
        p.bond = 2 ** 96;
        _refused(p, "bond");
        p = parameters();
        p.bounty = 9;
        _refused(p, "bounty");
        p.bounty = 91;
        _refused(p, "bounty");
        _voting_parameters_are_refused_by_name();
    }

    function _voting_parameters_are_refused_by_name() internal {
        Parameters memory p = parameters();
        p.settlement = 4;
        _refused(p, "settlement");
        p = parameters();
        p.voting = 3;
        _refused(p, "voting");
        p = parameters();
        p.voteQuorum = 50;
        _refused(p, "voteQuorum");
        p.voteQuorum = 101;
        _refused(p, "voteQuorum");
        p = parameters();
        p.revealWindow = 1;
        _refused(p, "revealWindow");
        p.revealWindow = 365 days + 1;
        _refused(p, "revealWindow");
        p = parameters();
        p.stake = STAKE - 1;
        _refused(p, "stake");
        p.stake = 1e25 + 1;
        _refused(p, "stake");
        p = parameters();
        p.scorer = SCORER;
        _refused(p, "scorer");
        (p.voting, p.scorer) = (2, address(0));
        _refused(p, "scorer");
        p = parameters();
        p.memberStake = 1e25 + 1;
        _refused(p, "memberStake");
        p = parameters();
        p.revealFee = FEE - 1;
        _refused(p, "revealFee");
        p.revealFee = 1e25 + 1;
        _refused(p, "revealFee");
    }

    /// Members are admitted by the sponsor, once each, up to the maximum.
    function test_admit_refuses() public {
        require(ledger.isMember(id, members[0]) && !ledger.isMember(id, RIVAL), "member");
        address[] memory one = new address[](1);
        one[0] = RIVAL;
        vm.expectRevert(NotSponsor.selector);
        ledger.admit(id, one);
        vm.expectRevert(TooManyMembers.selector);
        vm.prank(SPONSOR);
        ledger.admit(id, one);
        one[0] = members[0];
        vm.expectRevert(abi.encodeWithSelector(AlreadyAdmitted.selector, members[0]));
        vm.prank(SPONSOR);
        ledger.admit(id, one);
        one[0] = address(0);
        vm.expectRevert(InvalidMember.selector);
        vm.prank(SPONSOR);
        ledger.admit(id, one);
    }

    /// What is asked of a task that does not exist is refused by its id.
    function test_unknown_task_is_refused_everywhere() public {
        bytes memory refusal = abi.encodeWithSelector(UnknownTask.selector, ROOT);
        vm.expectRevert(refusal);
        ledger.task(ROOT);
        vm.expectRevert(refusal);
        ledger.round(ROOT, 0);
        vm.expectRevert(refusal);
        ledger.isMember(ROOT, SPONSOR);
        vm.expectRevert(refusal);
        ledger.commitment(ROOT, 1, SPONSOR);
        vm.expectRevert(refusal);
        ledger.admit(ROOT, members);
        vm.expectRevert(refusal);
        ledger.open(ROOT, 1);
        vm.expectRevert(refusal);
        ledger.commitBatch(ROOT, 1, ROOT, 1);
        vm.expectRevert(refusal);
        ledger.exclude(ROOT, 1, SPONSOR, 1, ROOT, 1, "", 0, new bytes32[](0));
        vm.expectRevert(refusal);
        ledger.propose(ROOT, 1, 1, ROOT, ROOT, false, 0, 0);
        vm.expectRevert(refusal);
        ledger.finalise(ROOT, 1);
        vm.expectRevert(abi.encodeWithSelector(RoundNotOpen.selector, 1));
        ledger.commit(ROOT, 1, 1, ROOT);
        vm.expectRevert(abi.encodeWithSelector(NotProposed.selector, 1));
        ledger.attest(ROOT, 1, ROOT, ROOT);
        Sought memory s;
        bytes[] memory calls = new bytes[](15);
        calls[0] = abi.encodeCall(ledger.release, (ROOT, 1));
        calls[1] = abi.encodeCall(ledger.lapse, (ROOT, 1));
        calls[2] = abi.encodeCall(ledger.stake, (ROOT, 1));
        calls[3] = abi.encodeCall(ledger.unstake, ROOT);
        calls[4] = abi.encodeCall(ledger.grade, (ROOT, members, new uint32[](0)));
        calls[5] = abi.encodeCall(ledger.slash, (ROOT, 1, RIVAL));
        calls[6] = abi.encodeCall(ledger.witness, (ROOT, 1, RIVAL));
        calls[7] = abi.encodeCall(ledger.demand, (ROOT, 1, s));
        calls[8] = abi.encodeCall(ledger.reveal, (ROOT, 1, ROOT, 0, ""));
        calls[9] = abi.encodeCall(ledger.expire, (ROOT, 1, ROOT, 0));
        calls[10] = abi.encodeCall(ledger.settleRoster, (ROOT, 1, members, new Entry[](0)));
        Opening memory o;
        calls[11] = abi.encodeCall(ledger.settleLeaf, (ROOT, 1, 0, new Entry[](0), new Opening[](0), o, o));
        calls[12] = abi.encodeCall(ledger.ballot, (ROOT, 1));
        calls[13] = abi.encodeCall(ledger.stakeOf, (ROOT, RIVAL));
        calls[14] = abi.encodeCall(ledger.attested, (ROOT, 1, RIVAL));
        for (uint256 i; i < calls.length; ++i) {
            _refused(RIVAL, calls[i], refusal);
        }
    }

    /* MONEY */

    /// What went in comes out, and no more.
    function test_withdraw_pays_free_balance_only() public {
        vm.expectRevert(abi.encodeWithSelector(InsufficientBalance.selector, 2 * BOND, 2 * BOND + 1));
        vm.prank(RIVAL);
        ledger.withdraw(2 * BOND + 1);
        vm.prank(RIVAL);
        ledger.withdraw(BOND);
        (uint256 free, uint256 locked) = ledger.balance(RIVAL);
        require(free == BOND && locked == 0 && RIVAL.balance == BOND, "balance");
    }

    /// An account that refuses its payment keeps its balance here.
    function test_withdraw_to_an_account_that_refuses() public {
        Spendthrift account = new Spendthrift{value: 1 ether}(ledger);
        vm.expectRevert(TransferFailed.selector);
        account.take(1 ether);
        (uint256 free,) = ledger.balance(address(account));
        require(free == 1 ether, "kept");
    }

    /// A thief that re-enters gets what it put in, once.
    function test_reentrancy_gains_nothing() public {
        Thief thief = new Thief{value: 1 ether}(ledger);
        thief.take(1 ether);
        require(thief.taken() == 1 ether && address(ledger).balance == 4 * BOND, "stolen");
    }

    /* ROUNDS */

    /// A full round ends final, on the proposed model, with the proposer's bond back.
    function test_a_round_goes_from_open_to_final() public {
        vm.expectEmit(true, true, true, true);
        emit Opened(id, 1, 0, 1, 1100);
        _open(1);
        vm.expectEmit(true, true, true, true);
        emit Committed(id, members[0], 1, 7, ROOT);
        _commit(0, 1);
        _commit(1, 1);
        _commit(2, 1);
        vm.expectEmit(true, true, true, true);
        emit Proposed(id, 1, AGGREGATOR, 3, ROOT, OTHER, 1050, false);
        _propose(1, 3);
        (uint256 free, uint256 locked) = ledger.balance(AGGREGATOR);
        require(free == BOND && locked == BOND, "bond is locked");
        vm.warp(1049);
        vm.expectRevert(abi.encodeWithSelector(WindowOpen.selector, 1050));
        ledger.finalise(id, 1);
        vm.warp(1050);
        vm.expectEmit(true, true, true, true);
        emit Finalised(id, 1, OTHER);
        ledger.finalise(id, 1);
        (free, locked) = ledger.balance(AGGREGATOR);
        require(free == 2 * BOND && locked == 0, "bond is free");
        RoundView memory r = ledger.round(id, 1);
        require(r.phase == Phase.Final && r.nextRoot == OTHER && r.sumRoot == ROOT && r.count == 3, "round");
        require(r.proposer == AGGREGATOR && r.finalAt == 1050 && r.commitDeadline == 1100 && r.parent == 0, "round");
        vm.expectRevert(abi.encodeWithSelector(NotProposed.selector, 1));
        ledger.finalise(id, 1);
    }

    /// Rounds open in order, by bonded aggregators, while slots last.
    function test_open_refuses() public {
        vm.expectRevert(abi.encodeWithSelector(NotBonded.selector, address(this)));
        ledger.open(id, 1);
        vm.expectRevert(abi.encodeWithSelector(WrongRound.selector, 1));
        _open(2);
        vm.expectRevert(abi.encodeWithSelector(WrongRound.selector, 1));
        _open(0);
        _open(1);
        vm.expectRevert(abi.encodeWithSelector(WrongRound.selector, 1));
        _open(2);
        for (uint256 i; i < 3; ++i) {
            _commit(i, 1);
        }
        _propose(1, 3);
        vm.expectRevert(abi.encodeWithSelector(WrongRound.selector, 2));
        _open(1);
        _play(2);
        vm.expectRevert(abi.encodeWithSelector(SlotsFull.selector, 1));
        vm.prank(RIVAL);
        ledger.open(id, 3);
        vm.warp(2000);
        vm.expectRevert(abi.encodeWithSelector(ParentNotFinal.selector, 1));
        ledger.finalise(id, 2);
        ledger.finalise(id, 1);
        vm.prank(RIVAL);
        ledger.open(id, 3);
    }

    /// No round opens beyond the last of the task.
    function test_rounds_are_limited() public {
        for (uint32 number = 1; number <= 9; ++number) {
            _play(number);
            vm.warp(1000 + 50 * uint256(number));
            ledger.finalise(id, number);
        }
        vm.expectRevert(abi.encodeWithSelector(WrongRound.selector, 10));
        _open(10);
    }

    /// A round that too few joined gets another window, after a whole window of grace.
    function test_a_stalled_round_is_extended() public {
        _open(1);
        _commit(0, 1);
        vm.warp(1200);
        vm.expectRevert(abi.encodeWithSelector(CommitsOpen.selector, 1200));
        _open(1);
        vm.warp(1201);
        _open(1);
        _commit(1, 1);
        require(ledger.round(id, 1).commitDeadline == 1301, "deadline");
    }

    /// A commitment needs an open round, a root, a fair weight and a member that has none.
    function test_commit_refuses() public {
        vm.expectRevert(abi.encodeWithSelector(RoundNotOpen.selector, 1));
        _commit(0, 1);
        _open(1);
        vm.expectRevert(InvalidCommitment.selector);
        vm.prank(members[0]);
        ledger.commit(id, 1, 7, 0);
        vm.expectRevert(InvalidCommitment.selector);
        vm.prank(members[0]);
        ledger.commit(id, 1, 0, ROOT);
        vm.expectRevert(InvalidCommitment.selector);
        vm.prank(members[0]);
        ledger.commit(id, 1, 1001, ROOT);
        vm.expectRevert(abi.encodeWithSelector(NotMember.selector, RIVAL));
        vm.prank(RIVAL);
        ledger.commit(id, 1, 7, ROOT);
        _commit(0, 1);
        vm.expectRevert(abi.encodeWithSelector(AlreadyCommitted.selector, members[0]));
        _commit(0, 1);
        vm.warp(1101);
        vm.expectRevert(abi.encodeWithSelector(CommitsClosed.selector, 1100));
        _commit(1, 1);
    }

    /// What is kept of a commitment is the specified digest, for as long as its slot holds the round.
    function test_commitment_is_the_specified_digest() public {
        _play(1);
        bytes32 tag = sha256("tallystick/commitment/1");
        bytes32 digest =
            sha256(abi.encode(tag, block.chainid, address(ledger), id, uint256(1), members[0], ROOT, uint256(7)));
        (bool held, bytes28 found) = ledger.commitment(id, 1, members[0]);
        require(held && found == bytes28(digest), "digest");
        (held, found) = ledger.commitment(id, 2, members[0]);
        require(!held && found == 0, "other round");
        (held,) = ledger.commitment(id, 0, members[0]);
        require(!held, "genesis");
    }

    /// A batch is posted once, in time, by a bonded aggregator, over at most all members.
    function test_batch_refuses() public {
        vm.expectRevert(abi.encodeWithSelector(RoundNotOpen.selector, 1));
        vm.prank(AGGREGATOR);
        ledger.commitBatch(id, 1, ROOT, 3);
        _open(1);
        vm.expectRevert(abi.encodeWithSelector(NotBonded.selector, address(this)));
        ledger.commitBatch(id, 1, ROOT, 3);
        vm.startPrank(AGGREGATOR);
        vm.expectRevert(InvalidCommitment.selector);
        ledger.commitBatch(id, 1, 0, 3);
        vm.expectRevert(InvalidCommitment.selector);
        ledger.commitBatch(id, 1, ROOT, 0);
        vm.expectRevert(InvalidCommitment.selector);
        ledger.commitBatch(id, 1, ROOT, 4);
        vm.expectEmit(true, true, true, true);
        emit Batched(id, 1, ROOT, 3);
        ledger.commitBatch(id, 1, ROOT, 3);
        vm.expectRevert(abi.encodeWithSelector(AlreadyBatched.selector, 1));
        ledger.commitBatch(id, 1, ROOT, 3);
        vm.warp(1101);
        vm.expectRevert(abi.encodeWithSelector(CommitsClosed.selector, 1100));
        ledger.commitBatch(id, 1, ROOT, 3);
        vm.stopPrank();
    }

    /// A member is left out only under its own commitment, once, with a reason, by a bonded aggregator.
    function test_exclude_refuses() public {
        vm.expectRevert(abi.encodeWithSelector(RoundNotOpen.selector, 1));
        _exclude(AGGREGATOR, members[0], 7, ROOT, 1);
        _open(1);
        _commit(0, 1);
        vm.expectRevert(abi.encodeWithSelector(NotBonded.selector, members[1]));
        _exclude(members[1], members[0], 7, ROOT, 1);
        vm.expectRevert(abi.encodeWithSelector(InvalidReason.selector, 0));
        _exclude(AGGREGATOR, members[0], 7, ROOT, 0);
        vm.expectRevert(abi.encodeWithSelector(InvalidReason.selector, 10));
        _exclude(AGGREGATOR, members[0], 7, ROOT, 10);
        vm.expectRevert(abi.encodeWithSelector(NotCommitted.selector, members[0]));
        _exclude(AGGREGATOR, members[0], 8, ROOT, 1);
        vm.expectRevert(abi.encodeWithSelector(NotCommitted.selector, members[1]));
        _exclude(AGGREGATOR, members[1], 7, ROOT, 1);
        vm.expectEmit(true, true, true, true);
        emit Excluded(id, 1, members[0], 2, 0);
        _exclude(AGGREGATOR, members[0], 7, ROOT, 2);
        vm.expectRevert(abi.encodeWithSelector(AlreadyExcluded.selector, members[0]));
        _exclude(AGGREGATOR, members[0], 7, ROOT, 2);
        vm.expectRevert(abi.encodeWithSelector(AlreadyCommitted.selector, members[0]));
        _commit(0, 1);
        (bool held, bytes28 digest) = ledger.commitment(id, 1, members[0]);
        require(held && digest == 0 && ledger.round(id, 1).excluded == 1, "excluded");
    }

    /// An entry of a batch is left out by its Merkle path, does not close the round early, and must be a member's.
    function test_exclude_from_a_batch() public {
        (bytes32 root, bytes32[] memory leaves) = _batch();
        _open(1);
        vm.prank(AGGREGATOR);
        ledger.commitBatch(id, 1, root, 3);
        bytes32[] memory path = new bytes32[](2);
        path[0] = leaves[0];
        path[1] = leaves[2];
        vm.startPrank(AGGREGATOR);
        vm.expectRevert(abi.encodeWithSelector(NotCommitted.selector, members[1]));
        ledger.exclude(id, 1, members[1], 7, ROOT, 1, "", 2, path);
        ledger.exclude(id, 1, members[1], 7, ROOT, 1, "", 1, path);
        vm.expectRevert(abi.encodeWithSelector(AlreadyExcluded.selector, members[1]));
        ledger.exclude(id, 1, members[1], 7, ROOT, 1, "", 1, path);
        vm.expectRevert(abi.encodeWithSelector(CommitsOpen.selector, 1100));
        ledger.propose(id, 1, 2, ROOT, OTHER, false, 0, 0);
        vm.warp(1101);
        ledger.propose(id, 1, 2, ROOT, OTHER, false, 0, 0);
        vm.stopPrank();
    }

    /// Forged entries of a batch can neither close a round early nor wedge it.
    function test_forged_batch_entries_shut_nobody_out() public {
        (bytes32 root, bytes32[] memory leaves) = _batch();
        _open(1);
        vm.startPrank(AGGREGATOR);
        ledger.commitBatch(id, 1, root, 3);
        bytes32[] memory path = new bytes32[](1);
        path[0] = Merkle.nodeHash(leaves[0], leaves[1]);
        ledger.exclude(id, 1, members[2], 7, ROOT, 1, "", 2, path);
        vm.stopPrank();
        for (uint256 i; i < 3; ++i) {
            _commit(i, 1);
        }
        _propose(1, 3);
    }

    /// Nobody proposes while a member may still commit, below the quorum, without roots or without a bond.
    function test_propose_refuses() public {
        vm.expectRevert(abi.encodeWithSelector(RoundNotOpen.selector, 1));
        _propose(1, 3);
        _open(1);
        _commit(0, 1);
        _commit(1, 1);
        vm.warp(1100);
        vm.expectRevert(abi.encodeWithSelector(CommitsOpen.selector, 1100));
        _propose(1, 2);
        vm.warp(1101);
        vm.expectRevert(InvalidProposal.selector);
        _propose(1, 1);
        vm.expectRevert(InvalidProposal.selector);
        _propose(1, 4);
        vm.expectRevert(InvalidProposal.selector);
        vm.prank(AGGREGATOR);
        ledger.propose(id, 1, 2, 0, OTHER, false, 0, 0);
        vm.expectRevert(InvalidProposal.selector);
        vm.prank(AGGREGATOR);
        ledger.propose(id, 1, 2, ROOT, 0, false, 0, 0);
        vm.expectRevert(NoBatch.selector);
        vm.prank(AGGREGATOR);
        ledger.propose(id, 1, 2, ROOT, OTHER, true, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(NotBonded.selector, members[0]));
        vm.prank(members[0]);
        ledger.propose(id, 1, 2, ROOT, OTHER, false, 0, 0);
        _propose(1, 2);
    }

    /// Attack: a proposal is brought to a chain that does not hold what its author saw, to make it false there.
    function test_propose_binds_to_the_chain_that_was_seen() public {
        _open(1);
        for (uint256 i; i < 3; ++i) {
            _commit(i, 1);
        }
        vm.roll(1000);
        bytes32 seenHash = blockhash(999);
        require(seenHash != 0, "the newest block has a hash");
        uint256[4] memory others = [uint256(998), 1000, 743, 1001];
        for (uint256 i; i < others.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(Reorganised.selector, others[i]));
            vm.prank(AGGREGATOR);
            ledger.propose(id, 1, 3, ROOT, OTHER, false, others[i], seenHash);
        }
        vm.expectRevert(abi.encodeWithSelector(Reorganised.selector, 999));
        vm.prank(AGGREGATOR);
        ledger.propose(id, 1, 3, ROOT, OTHER, false, 999, ~seenHash);
        vm.prank(AGGREGATOR);
        ledger.propose(id, 1, 3, ROOT, OTHER, false, 999, seenHash);
    }

    /* FUZZ */

    /// Whatever a member commits to is kept as its digest and cannot be changed.
    function testFuzz_commitments_bind(uint32 weight, bytes32 root, uint32 weight2, bytes32 root2) public {
        weight = uint32(1 + weight % 1000);
        vm.assume(root != 0 && root2 != 0 && (root != root2 || weight != weight2));
        _open(1);
        vm.prank(members[0]);
        ledger.commit(id, 1, weight, root);
        (, bytes28 before) = ledger.commitment(id, 1, members[0]);
        weight2 = uint32(1 + weight2 % 1000);
        vm.expectRevert(abi.encodeWithSelector(AlreadyCommitted.selector, members[0]));
        vm.prank(members[0]);
        ledger.commit(id, 1, weight2, root2);
        (, bytes28 later) = ledger.commitment(id, 1, members[0]);
        require(before == later && before != 0, "changed");
        if (root != root2 || weight != weight2) {
            vm.expectRevert(abi.encodeWithSelector(NotCommitted.selector, members[0]));
            _exclude(AGGREGATOR, members[0], weight2, root2, 1);
        }
    }

    /// A path shows its leaf at its index, and nothing else anywhere.
    function testFuzz_merkle(uint256 seed, uint8 size, uint8 at, uint8 wrong) public view {
        uint256 count = 1 + size % 33;
        uint256 index = at % count;
        bytes32[] memory leaves = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            leaves[i] = keccak256(abi.encode(seed, i));
        }
        (bytes32 root, bytes32[] memory path) = _tree(leaves, index);
        require(this.included(root, leaves[index], index, count, path), "honest");
        require(!this.included(root, keccak256("x"), index, count, path), "other leaf");
        require(!this.included(root, leaves[index], count, count, path), "beyond");
        uint256 other = wrong % count;
        if (other != index) require(!this.included(root, leaves[index], other, count, path), "other index");
        bytes32[] memory longer = new bytes32[](path.length + 1);
        for (uint256 i; i < path.length; ++i) {
            longer[i] = path[i];
        }
        require(!this.included(root, leaves[index], index, count, longer), "longer path");
    }

    function included(bytes32 root, bytes32 leaf, uint256 index, uint256 count, bytes32[] calldata path)
        external
        pure
        returns (bool)
    {
        return Merkle.isIncluded(root, leaf, index, count, path);
    }

    function _tree(bytes32[] memory level, uint256 index) internal pure returns (bytes32, bytes32[] memory path) {
        bytes32[] memory found = new bytes32[](8);
        uint256 length;
        while (level.length > 1) {
            if (index ^ 1 < level.length) found[length++] = level[index ^ 1];
            bytes32[] memory next = new bytes32[]((level.length + 1) / 2);
            for (uint256 i; i < next.length; ++i) {
                next[i] = 2 * i + 1 < level.length ? Merkle.nodeHash(level[2 * i], level[2 * i + 1]) : level[2 * i];
            }
            level = next;
            index /= 2;
        }
        path = new bytes32[](length);
        for (uint256 i; i < length; ++i) {
            path[i] = found[i];
        }
        return (level[0], path);
    }
}
