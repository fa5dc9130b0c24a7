// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "./Court.sol";

/// @dev Validators answer with their stakes: whose vote counts, for how much, and who pays for a lie.
contract VotesTest is Court {
    using Builder for *;

    address internal constant ALICE = address(0x3001);
    address internal constant BOB = address(0x3002);
    address internal constant CAROL = address(0x3003);
    uint256 internal constant MAX_STAKE = 1e25;

    /// @dev Three validators with the least stake.
    function _begin(Settlement settlement, Voting voting) internal {
        _create(_setting(settlement, voting));
        _stake(ALICE, STAKE);
        _stake(BOB, STAKE);
        _stake(CAROL, STAKE);
    }

    function _standing(address account, uint256 stake, uint256 weight, uint256 quality, uint256 since) internal view {
        Standing memory s = ledger.stakeOf(id, account);
        require(s.stake == stake, "stake");
        require(s.weight == weight, "weight");
        require(s.quality == quality, "quality");
        require(s.since == since, "since");
    }

    function _votes(uint32 number, uint256 votes) internal view {
        require(ledger.ballot(id, number).votes == votes, "votes");
    }

    function _attestation(uint32 number) internal view returns (bytes memory) {
        RoundView memory r = ledger.round(id, number);
        return abi.encodeCall(ledger.attest, (id, number, r.sumRoot, r.nextRoot));
    }

    function _unstake() internal view returns (bytes memory) {
        return abi.encodeCall(ledger.unstake, id);
    }

    function _slash(uint32 number, address account) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.slash, (id, number, account));
    }

    /* STAKES */

    /// A stake is more than nothing, at most ten million ether in all, and paid from what is free.
    function test_stake_refuses() public {
        bytes memory refusal = abi.encodeWithSelector(InvalidStake.selector);
        _refused(ALICE, abi.encodeCall(ledger.stake, (id, 0)), refusal);
        _refused(ALICE, abi.encodeCall(ledger.stake, (id, MAX_STAKE + 1)), refusal);
        _refused(ALICE, abi.encodeCall(ledger.stake, (id, type(uint256).max)), refusal);
        refusal = abi.encodeWithSelector(InsufficientBalance.selector, 0, STAKE);
        _refused(ALICE, abi.encodeCall(ledger.stake, (id, STAKE)), refusal);
        _stake(ALICE, MAX_STAKE);
        _deposit(ALICE, 1);
        _refused(ALICE, abi.encodeCall(ledger.stake, (id, 1)), abi.encodeWithSelector(InvalidStake.selector));
        _holds(ALICE, 1, MAX_STAKE);
    }

    /// A stake is locked, adds up, and weighs nothing below the task's least stake.
    function test_stake_locks_and_adds_up() public {
        _deposit(ALICE, STAKE);
        vm.expectEmit(true, true, true, true);
        emit Staked(id, ALICE, STAKE - 1);
        vm.prank(ALICE);
        ledger.stake(id, STAKE - 1);
        _holds(ALICE, 1, STAKE - 1);
        _standing(ALICE, STAKE - 1, 0, 0, 0);
        require(ledger.task(id).votes == 0, "no vote");
        vm.prank(ALICE);
        ledger.stake(id, 1);
        _holds(ALICE, 0, STAKE);
        _standing(ALICE, STAKE, 1, 0, 0);
        require(ledger.task(id).votes == 1, "a vote");
    }

    /// A locked stake can be neither withdrawn nor used as a bond or another stake.
    function test_stake_is_spent_once() public {
        _stake(ALICE, STAKE);
        bytes memory refusal = abi.encodeWithSelector(InsufficientBalance.selector, 0, 1);
        _refused(ALICE, abi.encodeCall(ledger.withdraw, (1)), refusal);
        _refused(ALICE, abi.encodeCall(ledger.stake, (id, 1)), refusal);
        _refused(ALICE, abi.encodeCall(ledger.open, (id, 1)), abi.encodeWithSelector(NotBonded.selector, ALICE));
    }

    /// Equal votes weigh one, others the stake in gwei, others the scorer's quality.
    function test_votes_weigh_what_the_task_says() public {
        _begin(Settlement.Early, Voting.Stake);
        _stake(ALICE, 1 gwei + 999_999_999);
        _standing(ALICE, STAKE + 2 gwei - 1, 1_000_001, 0, 0);
        require(ledger.task(id).votes == 3_000_001, "votes");
        _begin(Settlement.Early, Voting.Quality);
        _standing(ALICE, STAKE, 0, 0, 0);
        _grade(ALICE, 17);
        _standing(ALICE, STAKE, 17, 17, 0);
        require(ledger.task(id).votes == 17, "votes");
    }

    function _grade(address account, uint32 quality) internal {
        address[] memory accounts = new address[](1);
        uint32[] memory qualities = new uint32[](1);
        (accounts[0], qualities[0]) = (account, quality);
        vm.expectEmit(true, true, true, true);
        emit Graded(id, account, quality);
        vm.prank(SCORER);
        ledger.grade(id, accounts, qualities);
    }

    /// Only the scorer grades, one quality an account.
    function test_grade_refuses() public {
        address[] memory accounts = new address[](2);
        bytes memory call = abi.encodeCall(ledger.grade, (id, accounts, new uint32[](2)));
        _refused(SPONSOR, call, abi.encodeWithSelector(NotScorer.selector));
        _begin(Settlement.Early, Voting.Quality);
        call = abi.encodeCall(ledger.grade, (id, accounts, new uint32[](2)));
        _refused(SPONSOR, call, abi.encodeWithSelector(NotScorer.selector));
        call = abi.encodeCall(ledger.grade, (id, accounts, new uint32[](1)));
        _refused(SCORER, call, abi.encodeWithSelector(InvalidGrades.selector));
    }

    /// Whoever is graded before it stakes, votes once it has staked enough; without a stake, quality weighs nothing.
    function test_quality_without_stake_weighs_nothing() public {
        _create(_setting(Settlement.Early, Voting.Quality));
        _grade(ALICE, 5);
        _standing(ALICE, 0, 0, 5, 0);
        _stake(ALICE, STAKE);
        _standing(ALICE, STAKE, 5, 5, 0);
        _does(ALICE, _unstake());
        _standing(ALICE, 0, 0, 5, 0);
        require(ledger.task(id).votes == 0, "votes");
    }

    /// A scorer cannot outweigh a round that is open: a new quality counts in rounds opened later.
    function test_grades_do_not_reach_open_rounds() public {
        _begin(Settlement.Early, Voting.Quality);
        _grade(ALICE, 1);
        _play(1);
        _grade(ALICE, 1000);
        require(ledger.ballot(id, 1).electorate == 1, "electorate");
        _refused(ALICE, _attestation(1), abi.encodeWithSelector(NotValidator.selector, ALICE));
        _play(2);
        require(ledger.ballot(id, 2).electorate == 1000, "electorate");
        _attest(ALICE, 2);
        _votes(2, 1000);
    }

    /// A grade that changes nothing takes no vote away.
    function test_same_grade_keeps_the_vote() public {
        _begin(Settlement.Early, Voting.Quality);
        _grade(ALICE, 4);
        _play(1);
        _grade(ALICE, 4);
        _attest(ALICE, 1);
        _votes(1, 4);
    }

    /// The whole stake comes back, and the vote goes.
    function test_unstake_returns_the_stake() public {
        _begin(Settlement.Early, Voting.Equal);
        vm.expectEmit(true, true, true, true);
        emit Unstaked(id, ALICE, STAKE);
        vm.prank(ALICE);
        ledger.unstake(id);
        _holds(ALICE, STAKE, 0);
        _standing(ALICE, 0, 0, 0, 0);
        require(ledger.task(id).votes == 2, "votes");
        _refused(ALICE, _unstake(), abi.encodeWithSelector(NotStaked.selector, ALICE));
    }

    /// What answers for an attested proposal stays until that can no longer be refuted.
    function test_stake_cannot_leave_before_the_window_passes() public {
        _begin(Settlement.Window, Voting.Equal);
        _play(1);
        _attest(ALICE, 1);
        _refused(ALICE, _unstake(), abi.encodeWithSelector(StakeLocked.selector, 1));
        vm.warp(1050);
        _refused(ALICE, _unstake(), abi.encodeWithSelector(StakeLocked.selector, 1));
        ledger.finalise(id, 1);
        _does(ALICE, _unstake());
        _holds(ALICE, STAKE, 0);
    }

    /// Early finality lets nobody go: the proposal can still be refuted.
    function test_stake_cannot_leave_a_round_that_was_final_early() public {
        _begin(Settlement.Early, Voting.Equal);
        _play(1);
        _attest(ALICE, 1);
        _attest(BOB, 1);
        _attest(CAROL, 1);
        ledger.finalise(id, 1);
        _refused(ALICE, _unstake(), abi.encodeWithSelector(StakeLocked.selector, 1));
        vm.warp(1050);
        ledger.release(id, 1);
        _does(ALICE, _unstake());
    }

    /// The stake behind a lie never leaves, not even once the round has a true proposal that is final.
    function test_stake_behind_a_lie_never_leaves() public {
        _begin(Settlement.Window, Voting.Equal);
        _play(1);
        _attest(ALICE, 1);
        _hide(1);
        _refused(ALICE, _unstake(), abi.encodeWithSelector(StakeLocked.selector, 1));
        vm.warp(2000);
        _deposit(AGGREGATOR, BOND);
        _propose(1, 3);
        vm.warp(2050);
        ledger.finalise(id, 1);
        _refused(ALICE, _unstake(), abi.encodeWithSelector(StakeLocked.selector, 1));
        _does(RIVAL, _slash(1, ALICE));
        _refused(ALICE, _unstake(), abi.encodeWithSelector(NotStaked.selector, ALICE));
    }

    /// What was attested of a round that is void is no lie; once that is said, the stake is free.
    function test_stake_behind_a_void_round_is_free() public {
        _begin(Settlement.Window, Voting.Equal);
        _play(1);
        _play(2);
        _attest(ALICE, 2);
        _hide(1);
        _refused(ALICE, _unstake(), abi.encodeWithSelector(StakeLocked.selector, 2));
        ledger.void(id, 2);
        _refused(RIVAL, _slash(2, ALICE), abi.encodeWithSelector(NotSlashable.selector, ALICE));
        _does(ALICE, _unstake());
        _holds(ALICE, STAKE, 0);
    }

    /* MEMBERS */

    /// Where members need a stake, nobody is admitted with less.
    function test_admit_needs_the_member_stake() public {
        Parameters memory p = _setting(Settlement.Window, Voting.Equal);
        p.memberStake = 2 * STAKE;
        vm.startPrank(SPONSOR);
        id = ledger.createTask(p);
        vm.stopPrank();
        for (uint256 i; i < 3; ++i) {
            bytes memory refusal = abi.encodeWithSelector(NotStaked.selector, members[i]);
            _refused(SPONSOR, abi.encodeCall(ledger.admit, (id, members)), refusal);
            _stake(members[i], 2 * STAKE - 1);
            _refused(SPONSOR, abi.encodeCall(ledger.admit, (id, members)), refusal);
            _stake(members[i], 1);
        }
        _does(SPONSOR, abi.encodeCall(ledger.admit, (id, members)));
        require(ledger.task(id).members == 3, "admitted");
    }

    /// @dev A task of one round whose members have a stake.
    function _withMembersStaked() internal {
        Parameters memory p = _setting(Settlement.Window, Voting.Equal);
        (p.memberStake, p.rounds) = (STAKE, 1);
        vm.prank(SPONSOR);
        id = ledger.createTask(p);
        for (uint256 i; i < 3; ++i) {
            _stake(members[i], STAKE);
        }
        vm.prank(SPONSOR);
        ledger.admit(id, members);
        _stake(ALICE, STAKE);
    }

    /// A member's stake stays until the task's last round is final; a validator's that is no member does not.
    function test_member_stake_stays_until_the_task_is_complete() public {
        _withMembersStaked();
        _refused(members[0], _unstake(), abi.encodeWithSelector(StakeLocked.selector, 0));
        _does(ALICE, _unstake());
        _play(1);
        _refused(members[0], _unstake(), abi.encodeWithSelector(StakeLocked.selector, 1));
        vm.warp(1050);
        ledger.finalise(id, 1);
        _does(members[0], _unstake());
        _holds(members[0], STAKE, 0);
    }

    /// Where members need no stake, what one has at stake as a validator is free before the task is complete.
    function test_validating_member_may_leave() public {
        _stake(members[0], STAKE);
        _open(1);
        _does(members[0], _unstake());
    }

    /* ATTESTATIONS */

    /// A vote is counted once, with its weight, and says so.
    function test_attest_counts() public {
        _begin(Settlement.Early, Voting.Stake);
        _play(1);
        vm.expectEmit(true, true, true, true);
        emit Attested(id, 1, ALICE, 1_000_000, OTHER);
        _attest(ALICE, 1);
        _votes(1, 1_000_000);
        (bool held, uint16 attempt) = ledger.attested(id, 1, ALICE);
        require(held && attempt == 0, "held");
        (held,) = ledger.attested(id, 3, ALICE);
        require(!held, "another round of the same slot");
        (held,) = ledger.attested(id, 1, BOB);
        require(!held, "another validator");
        (held,) = ledger.attested(id, 0, BOB);
        require(!held, "genesis");
        _refused(ALICE, _attestation(1), abi.encodeWithSelector(AlreadyAttested.selector, ALICE));
        _votes(1, 1_000_000);
        require(ledger.ballot(id, 1).electorate == 3_000_000, "electorate");
    }

    /// There is nothing to attest in a round that is not proposed, or is final.
    function test_attest_needs_a_proposal() public {
        _begin(Settlement.Window, Voting.Equal);
        bytes memory refusal = abi.encodeWithSelector(NotProposed.selector, 1);
        _refused(ALICE, abi.encodeCall(ledger.attest, (id, 1, bytes32(0), bytes32(0))), refusal);
        _open(1);
        _refused(ALICE, abi.encodeCall(ledger.attest, (id, 1, bytes32(0), bytes32(0))), refusal);
        for (uint256 i; i < 3; ++i) {
            _commit(i, 1);
        }
        _propose(1, 3);
        vm.warp(1050);
        ledger.finalise(id, 1);
        _refused(ALICE, _attestation(1), refusal);
    }

    /// A vote names the roots, so that a reorganisation or another attempt cannot turn it into one for something else.
    function test_attest_of_other_roots() public {
        _begin(Settlement.Window, Voting.Equal);
        _play(1);
        bytes memory refusal = abi.encodeWithSelector(InvalidAttestation.selector);
        _refused(ALICE, abi.encodeCall(ledger.attest, (id, 1, ROOT, ROOT)), refusal);
        _refused(ALICE, abi.encodeCall(ledger.attest, (id, 1, OTHER, OTHER)), refusal);
        bytes memory call = _attestation(1);
        _hide(1);
        vm.warp(2000);
        vm.prank(RIVAL);
        ledger.propose(id, 1, 3, OTHER, ROOT, false, 0, 0);
        _refused(ALICE, call, refusal);
    }

    /// A vote bought once the round is open, or too small a stake, counts for nothing there.
    function test_vote_bought_after_the_round_was_opened() public {
        _begin(Settlement.Early, Voting.Equal);
        _open(1);
        _stake(NOBODY, 100 * STAKE);
        for (uint256 i; i < 3; ++i) {
            _commit(i, 1);
        }
        _propose(1, 3);
        require(ledger.ballot(id, 1).electorate == 3, "electorate");
        _refused(NOBODY, _attestation(1), abi.encodeWithSelector(NotValidator.selector, NOBODY));
        _refused(RIVAL, _attestation(1), abi.encodeWithSelector(NotValidator.selector, RIVAL));
        _play(2);
        require(ledger.ballot(id, 2).electorate == 4, "electorate");
        _attest(NOBODY, 2);
    }

    /// Who leaves and comes back, or raises its stake, cannot vote twice or with more than was counted at the opening.
    function test_stake_raised_after_the_round_was_opened() public {
        _begin(Settlement.Early, Voting.Stake);
        _play(1);
        _stake(ALICE, STAKE);
        _refused(ALICE, _attestation(1), abi.encodeWithSelector(NotValidator.selector, ALICE));
        _does(BOB, _unstake());
        _does(BOB, abi.encodeCall(ledger.stake, (id, STAKE)));
        _refused(BOB, _attestation(1), abi.encodeWithSelector(NotValidator.selector, BOB));
        _attest(CAROL, 1);
        _votes(1, 1_000_000);
    }

    /// A slot of the ring is used again once what it held is past doubt.
    function test_ring_slot_is_used_again() public {
        _begin(Settlement.Window, Voting.Equal);
        _play(1);
        _attest(ALICE, 1);
        vm.warp(1050);
        ledger.finalise(id, 1);
        _play(2);
        _play(3);
        _attest(ALICE, 3);
        (bool held,) = ledger.attested(id, 1, ALICE);
        require(!held, "overwritten");
        (held,) = ledger.attested(id, 3, ALICE);
        require(held, "held");
        _refused(RIVAL, _slash(1, ALICE), abi.encodeWithSelector(NotSlashable.selector, ALICE));
    }

    /// Who attested a lie cannot write over the record of it.
    function test_record_of_a_lie_cannot_be_written_over() public {
        _begin(Settlement.Window, Voting.Equal);
        _play(1);
        _attest(ALICE, 1);
        _hide(1);
        vm.warp(2000);
        _deposit(AGGREGATOR, 4 * BOND);
        _propose(1, 3);
        _refused(ALICE, _attestation(1), abi.encodeWithSelector(AlreadyAttested.selector, ALICE));
        vm.warp(2050);
        ledger.finalise(id, 1);
        _play(2);
        _play(3);
        _refused(ALICE, _attestation(3), abi.encodeWithSelector(StakeLocked.selector, 1));
        _does(RIVAL, _slash(1, ALICE));
    }

    /// Votes for a proposal that was struck out are no votes for the next.
    function test_votes_for_a_lie_do_not_count_for_the_next() public {
        _begin(Settlement.Early, Voting.Equal);
        _play(1);
        _attest(ALICE, 1);
        _attest(BOB, 1);
        _hide(1);
        _votes(1, 0);
        vm.warp(2000);
        vm.prank(RIVAL);
        ledger.propose(id, 1, 3, OTHER, ROOT, false, 0, 0);
        _votes(1, 0);
        _attest(CAROL, 1);
        _votes(1, 1);
        (bool held, uint16 attempt) = ledger.attested(id, 1, CAROL);
        require(held && attempt == 1, "of the second attempt");
        vm.expectRevert(abi.encodeWithSelector(WindowOpen.selector, 2050));
        ledger.finalise(id, 1);
    }

    /* SLASHES */

    /// Who attested a lie loses the whole stake: the bounty's share goes to whoever says so, the rest to nobody.
    function test_attester_of_a_lie_is_slashed() public {
        _begin(Settlement.Window, Voting.Equal);
        _stake(ALICE, 3);
        _play(1);
        _attest(ALICE, 1);
        bytes memory refusal = abi.encodeWithSelector(NotSlashable.selector, ALICE);
        _refused(RIVAL, _slash(1, ALICE), refusal);
        _hide(1);
        _holds(RIVAL, 2 * BOND + BOND / 2, 0);
        require(ledger.slashed() == BOND / 2, "bond");
        vm.expectEmit(true, true, true, true);
        emit Slashed(id, 1, ALICE, NOBODY, STAKE + 3, STAKE / 2 + 1);
        vm.prank(NOBODY);
        ledger.slash(id, 1, ALICE);
        _holds(ALICE, 0, 0);
        _holds(NOBODY, STAKE / 2 + 1, 0);
        require(ledger.slashed() == BOND / 2 + STAKE / 2 + 2, "stake");
        _standing(ALICE, 0, 0, 0, 1);
        require(ledger.task(id).votes == 2, "votes");
        _refused(RIVAL, _slash(1, ALICE), refusal);
        _refused(RIVAL, _slash(1, BOB), abi.encodeWithSelector(NotSlashable.selector, BOB));
        _refused(RIVAL, _slash(0, ALICE), refusal);
        _refused(RIVAL, _slash(7, ALICE), refusal);
    }

    /// Votes that made a lie final do not save those who gave them; the round stays what it is.
    function test_lie_that_votes_made_final() public {
        Tally memory t = _draw(7, 5, 2, 20);
        Parameters memory p = _shaped(t);
        p.settlement = uint8(Settlement.Early);
        _found(t, p);
        _stake(ALICE, STAKE);
        _open(1);
        _commitAll(t.roster);
        t.combine(Lie(1, 0, 0, 1));
        _proposeTally(t, false);
        _attest(ALICE, 1);
        ledger.finalise(id, 1);
        RoundView memory before = ledger.round(id, 1);
        bytes memory call = _sum(t, 1, 0, 0);
        vm.expectEmit(true, true, true, true);
        emit Refuted(id, 1, AGGREGATOR, RIVAL, uint8(Fault.Sum), BOUNTY);
        _does(RIVAL, call);
        RoundView memory r = ledger.round(id, 1);
        require(r.attempt == 1 && before.attempt == 0, "attempt");
        r.attempt = 0;
        require(keccak256(abi.encode(r)) == keccak256(abi.encode(before)), "a final round changed");
        require(ledger.task(id).head == 1 && ledger.task(id).pending == 0, "task");
        require(!ledger.ballot(id, 1).bonded && ledger.ballot(id, 1).votes == 0, "ballot");
        _holds(AGGREGATOR, BOND, 0);
        _holds(RIVAL, 2 * BOND + BOUNTY, 0);
        _refused(RIVAL, call, abi.encodeWithSelector(NotProposed.selector, 1));
        vm.warp(9000);
        _refused(RIVAL, abi.encodeCall(ledger.release, (id, 1)), abi.encodeWithSelector(NotProposed.selector, 1));
        _does(RIVAL, _slash(1, ALICE));
        _holds(ALICE, 0, 0);
        _holds(RIVAL, 2 * BOND + BOUNTY + STAKE / 2, 0);
        require(ledger.slashed() == BOND - BOUNTY + STAKE / 2, "slashed");
        _open(2);
        require(ledger.round(id, 2).parent == 1 && ledger.round(id, 2).parentAttempt == 1, "goes on");
    }

    /// Who has nothing left is slashed no more; what it stakes again answers for its other lie.
    function test_second_lie_is_answered_for_by_the_next_stake() public {
        _begin(Settlement.Early, Voting.Equal);
        _play(1);
        _attest(ALICE, 1);
        _attest(BOB, 1);
        _attest(CAROL, 1);
        ledger.finalise(id, 1);
        _play(2);
        _attest(ALICE, 2);
        _hide(1);
        _deposit(RIVAL, BOND);
        _hide(2);
        _does(NOBODY, _slash(1, ALICE));
        bytes memory refusal = abi.encodeWithSelector(NotSlashable.selector, ALICE);
        _refused(NOBODY, _slash(2, ALICE), refusal);
        _stake(ALICE, STAKE);
        _refused(ALICE, _unstake(), abi.encodeWithSelector(StakeLocked.selector, 2));
        _does(NOBODY, _slash(2, ALICE));
        _holds(NOBODY, STAKE, 0);
        _holds(ALICE, 0, 0);
        _stake(ALICE, STAKE);
        _does(ALICE, _unstake());
    }

    /// To slash oneself through another account loses all but the bounty's share.
    function test_slashing_oneself_loses() public {
        _begin(Settlement.Window, Voting.Equal);
        _play(1);
        _attest(ALICE, 1);
        _hide(1);
        _does(ALICE, _slash(1, ALICE));
        _holds(ALICE, STAKE / 2, 0);
    }

    /* WITNESSES */

    function _witness(uint32 number, address member) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.witness, (id, number, member));
    }

    /// @dev Four votes, of which three make a quorum; member 0 is excluded as withheld. The window to reveal closes at 1030.
    function _withheld() internal {
        _withMembersStaked();
        _open(1);
        _commit(0, 1);
        _commit(1, 1);
        _exclude(AGGREGATOR, members[0], 7, ROOT, 1);
    }

    /// Only of who was excluded as withheld, after its time to reveal and before a second such time, by validators, once each.
    function test_witness_refuses() public {
        _withheld();
        _exclude(AGGREGATOR, members[1], 7, ROOT, 2);
        _refused(ALICE, _witness(1, members[1]), abi.encodeWithSelector(NotReported.selector, members[1]));
        _refused(ALICE, _witness(1, members[2]), abi.encodeWithSelector(NotReported.selector, members[2]));
        _refused(ALICE, _witness(2, members[0]), abi.encodeWithSelector(NotReported.selector, members[0]));
        bytes memory call = _witness(1, members[0]);
        vm.warp(1030);
        _refused(ALICE, call, abi.encodeWithSelector(RevealOpen.selector, 1030));
        vm.warp(1031);
        _refused(NOBODY, call, abi.encodeWithSelector(NotValidator.selector, NOBODY));
        _stake(NOBODY, STAKE);
        _refused(NOBODY, call, abi.encodeWithSelector(NotValidator.selector, NOBODY));
        vm.expectEmit(true, true, true, true);
        emit Witnessed(id, 1, members[0], ALICE, 1);
        _does(ALICE, call);
        _refused(ALICE, call, abi.encodeWithSelector(AlreadyAttested.selector, ALICE));
        vm.warp(1060);
        _does(members[1], call);
        vm.warp(1061);
        _refused(members[2], call, abi.encodeWithSelector(RevealClosed.selector, 1060));
        _holds(members[0], 0, STAKE);
    }

    /// A quorum takes the stake of a member that sent nothing, once; whoever excluded it gets the bounty's share.
    function test_member_that_withheld_loses_its_stake() public {
        _withheld();
        vm.warp(1031);
        bytes memory call = _witness(1, members[0]);
        _does(ALICE, call);
        _does(members[1], call);
        _holds(members[0], 0, STAKE);
        vm.expectEmit(true, true, true, true);
        emit Slashed(id, 1, members[0], AGGREGATOR, STAKE, STAKE / 2);
        _does(members[2], call);
        _holds(members[0], 0, 0);
        _holds(AGGREGATOR, 2 * BOND + STAKE / 2, 0);
        require(ledger.slashed() == STAKE / 2 && ledger.task(id).votes == 3, "slashed");
        _stake(members[0], STAKE);
        _refused(members[0], call, abi.encodeWithSelector(NotValidator.selector, members[0]));
        _holds(members[0], 0, STAKE);
        require(ledger.slashed() == STAKE / 2, "slashed twice");
    }

    /// What comes after the quorum takes nothing more, even of a new stake.
    function test_witness_after_the_quorum() public {
        _withMembersStaked();
        _stake(BOB, STAKE);
        _open(1);
        _commit(0, 1);
        _exclude(AGGREGATOR, members[0], 7, ROOT, 1);
        vm.warp(1031);
        bytes memory call = _witness(1, members[0]);
        _does(ALICE, call);
        _does(BOB, call);
        _does(members[1], call);
        _holds(members[0], 0, STAKE);
        _does(members[2], call);
        _holds(members[0], 0, 0);
        _stake(members[0], STAKE);
        _refused(members[0], call, abi.encodeWithSelector(NotValidator.selector, members[0]));
        _holds(members[0], 0, STAKE);
    }

    /// Of a member without a stake, a quorum takes nothing.
    function test_witness_of_a_member_without_a_stake() public {
        _begin(Settlement.Window, Voting.Equal);
        _open(1);
        _commit(0, 1);
        _exclude(AGGREGATOR, members[0], 7, ROOT, 1);
        vm.warp(1031);
        _does(ALICE, _witness(1, members[0]));
        _does(BOB, _witness(1, members[0]));
        _does(CAROL, _witness(1, members[0]));
        _stake(NOBODY, STAKE);
        _holds(members[0], 0, 0);
        require(ledger.slashed() == 0, "slashed");
    }

    /// Whoever excluded a member's entry of the batch gets the bounty's share, where it committed nothing directly.
    function test_witness_of_a_batch_entry() public {
        _withMembersStaked();
        _open(1);
        (bytes32 root, bytes32[] memory leaves) = _batch();
        bytes32[] memory path = new bytes32[](2);
        (path[0], path[1]) = (leaves[0], leaves[2]);
        vm.prank(AGGREGATOR);
        ledger.commitBatch(id, 1, root, 3);
        vm.prank(RIVAL);
        ledger.exclude(id, 1, members[1], 7, ROOT, 1, "", 1, path);
        vm.warp(1031);
        _does(ALICE, _witness(1, members[1]));
        _does(members[0], _witness(1, members[1]));
        _does(members[2], _witness(1, members[1]));
        _holds(members[1], 0, 0);
        _holds(RIVAL, 2 * BOND + STAKE / 2, 0);
    }
}
