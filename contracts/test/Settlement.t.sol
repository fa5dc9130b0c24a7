// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "./Court.sol";

/// @dev What makes a proposal final: its window, votes, or the ledger's own arithmetic.
contract SettlementTest is Court {
    using Builder for *;

    address internal constant ALICE = address(0x3001);
    address internal constant BOB = address(0x3002);

    function _finalise(uint32 number) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.finalise, (id, number));
    }

    function _lapse(uint32 number) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.lapse, (id, number));
    }

    function _release(uint32 number) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.release, (id, number));
    }

    function _phase(uint32 number) internal view returns (Phase) {
        return ledger.round(id, number).phase;
    }

    /* VOTES */

    /// @dev Round 1 proposed, in a task where Alice has 67 percent of the votes less what Bob has more; in wei.
    function _election(Settlement settlement, uint256 less) internal {
        _create(_setting(settlement, Voting.Stake));
        _stake(ALICE, 67 * uint256(STAKE) - less);
        _stake(BOB, 33 * uint256(STAKE) + less);
        _play(1);
        _attest(ALICE, 1);
    }

    /// A proposal is final early with exactly the quorum of votes.
    function test_early_with_exactly_the_quorum() public {
        _election(Settlement.Early, 0);
        vm.expectEmit(true, true, true, true);
        emit Finalised(id, 1, OTHER);
        ledger.finalise(id, 1);
        require(_phase(1) == Phase.Final && ledger.ballot(id, 1).bonded, "final");
    }

    /// And not with one gwei of votes less.
    function test_early_with_one_vote_less() public {
        _election(Settlement.Early, 1 gwei);
        _refused(NOBODY, _finalise(1), abi.encodeWithSelector(WindowOpen.selector, 1050));
        _attest(BOB, 1);
        ledger.finalise(id, 1);
    }

    /// Where there were no validators, no votes settle anything.
    function test_no_electorate_settles_nothing() public {
        _create(_setting(Settlement.Early, Voting.Equal));
        _play(1);
        _refused(NOBODY, _finalise(1), abi.encodeWithSelector(WindowOpen.selector, 1050));
        vm.warp(1050);
        ledger.finalise(id, 1);
        _create(_setting(Settlement.Quorum, Voting.Equal));
        _play(1);
        vm.warp(2000);
        _refused(NOBODY, _finalise(1), abi.encodeWithSelector(NotSettled.selector, 1));
    }

    /// Votes make nothing final early where the task does not say so.
    function test_votes_in_a_task_of_windows() public {
        _election(Settlement.Window, 0);
        _attest(BOB, 1);
        _refused(NOBODY, _finalise(1), abi.encodeWithSelector(WindowOpen.selector, 1050));
    }

    /// The bond behind a round that is final early is free at the end of its window, and not before.
    function test_release_waits_for_the_window() public {
        _election(Settlement.Early, 0);
        _refused(NOBODY, _release(1), abi.encodeWithSelector(NotProposed.selector, 1));
        ledger.finalise(id, 1);
        _holds(AGGREGATOR, BOND, BOND);
        vm.warp(1049);
        _refused(NOBODY, _release(1), abi.encodeWithSelector(WindowOpen.selector, 1050));
        vm.warp(1050);
        vm.expectEmit(true, true, true, true);
        emit Released(id, 1);
        ledger.release(id, 1);
        _holds(AGGREGATOR, 2 * BOND, 0);
        require(_phase(1) == Phase.Final && !ledger.ballot(id, 1).bonded, "released");
        _refused(NOBODY, _release(1), abi.encodeWithSelector(NotProposed.selector, 1));
    }

    /// After its window, a proposal's bond is free with its finality.
    function test_nothing_to_release_after_the_window() public {
        _election(Settlement.Early, 0);
        vm.warp(1050);
        ledger.finalise(id, 1);
        _holds(AGGREGATOR, 2 * BOND, 0);
        _refused(NOBODY, _release(1), abi.encodeWithSelector(NotProposed.selector, 1));
    }

    /// Early or not, nothing is final on what is not.
    function test_early_waits_for_the_parent() public {
        _election(Settlement.Early, 1 gwei);
        _play(2);
        _attest(ALICE, 2);
        _attest(BOB, 2);
        _refused(NOBODY, _finalise(2), abi.encodeWithSelector(ParentNotFinal.selector, 1));
        _attest(BOB, 1);
        ledger.finalise(id, 1);
        ledger.finalise(id, 2);
    }

    /// A round that is final early keeps its members' slots while it can be refuted: were they used again, an honest proposer could
    /// not show what was committed, and would lose its bond, and its attesters their stakes.
    function test_slots_of_an_early_final_round_are_kept() public {
        Tally memory t = _draw(7, 5, 2, 20);
        Parameters memory p = _shaped(t);
        (p.settlement, p.slots) = (uint8(Settlement.Early), 2);
        _found(t, p);
        _stake(ALICE, STAKE);
        _open(1);
        _commitAll(t.roster);
        t.combine();
        _proposeTally(t, false);
        _attest(ALICE, 1);
        ledger.finalise(id, 1);
        _deposit(AGGREGATOR, 4 * BOND);
        _open(2);
        vm.warp(1150);
        for (uint256 i; i < 5; ++i) {
            vm.prank(t.roster[i].account);
            ledger.commit(id, 2, 1, ROOT);
        }
        _propose(2, 5);
        _attest(ALICE, 2);
        ledger.finalise(id, 2);
        bytes memory call = abi.encodeCall(ledger.open, (id, 3));
        _refused(AGGREGATOR, call, abi.encodeWithSelector(SlotsFull.selector, 1));
        _stands(_entry(t, 0));
        vm.warp(1151);
        _refused(AGGREGATOR, call, abi.encodeWithSelector(SlotsFull.selector, 1));
        ledger.release(id, 1);
        _does(AGGREGATOR, call);
        vm.prank(t.roster[0].account);
        ledger.commit(id, 3, 1, ROOT);
        require(bytes4(_refusal(_entry(t, 0))) == NotProposed.selector, "an honest proposal is refuted");
    }

    /// Where votes must settle a proposal, time does not.
    function test_quorum_is_never_final_by_time() public {
        _election(Settlement.Quorum, 1 gwei);
        _refused(NOBODY, _finalise(1), abi.encodeWithSelector(WindowOpen.selector, 1050));
        vm.warp(1050);
        _refused(NOBODY, _finalise(1), abi.encodeWithSelector(NotSettled.selector, 1));
        _attest(BOB, 1);
        ledger.finalise(id, 1);
        _holds(AGGREGATOR, 2 * BOND, 0);
    }

    /// A proposal that votes did not settle lapses: nobody lied, so the bond is free, and its height is done again.
    function test_lapse() public {
        _election(Settlement.Quorum, 1 gwei);
        _deposit(AGGREGATOR, 2 * BOND);
        _play(2);
        vm.warp(1050);
        _refused(NOBODY, _lapse(3), abi.encodeWithSelector(NotProposed.selector, 3));
        vm.expectEmit(true, true, true, true);
        emit Lapsed(id, 1);
        ledger.lapse(id, 1);
        _holds(AGGREGATOR, 3 * BOND, BOND);
        require(_phase(1) == Phase.Void && !ledger.ballot(id, 1).bonded, "void");
        require(ledger.task(id).head == 0 && ledger.task(id).pending == 0, "task");
        _refused(NOBODY, _lapse(1), abi.encodeWithSelector(NotProposed.selector, 1));
        _refused(NOBODY, _lapse(2), abi.encodeWithSelector(RoundVoid.selector, 2));
        _refused(NOBODY, _finalise(2), abi.encodeWithSelector(RoundVoid.selector, 2));
        ledger.void(id, 2);
        _holds(AGGREGATOR, 4 * BOND, 0);
        _play(3);
        require(ledger.round(id, 3).height == 1 && ledger.round(id, 3).parent == 0, "done again");
        _attest(ALICE, 3);
        _attest(BOB, 3);
        ledger.finalise(id, 3);
    }

    /// A round that awaits its proposal on one that lapses is void too.
    function test_lapse_below_a_pending_round() public {
        _election(Settlement.Quorum, 1 gwei);
        _open(2);
        vm.warp(1050);
        ledger.lapse(id, 1);
        require(ledger.task(id).pending == 0, "pending");
        bytes memory call = abi.encodeCall(ledger.propose, (id, 2, 3, ROOT, OTHER, false, 0, 0));
        _refused(AGGREGATOR, call, abi.encodeWithSelector(RoundVoid.selector, 2));
        ledger.void(id, 2);
        _open(3);
        require(ledger.round(id, 3).height == 1, "done again");
        vm.prank(ALICE);
        ledger.unstake(id);
    }

    /// Only a proposal lapses, after its window, and only where it is not settled.
    function test_lapse_refuses() public {
        _election(Settlement.Quorum, 0);
        _refused(NOBODY, _lapse(2), abi.encodeWithSelector(NotProposed.selector, 2));
        _refused(NOBODY, _lapse(1), abi.encodeWithSelector(WindowOpen.selector, 1050));
        vm.warp(1050);
        _refused(NOBODY, _lapse(1), abi.encodeWithSelector(AlreadySettled.selector, 1));
        ledger.finalise(id, 1);
        _refused(NOBODY, _lapse(1), abi.encodeWithSelector(NotProposed.selector, 1));
        _create(_setting(Settlement.Window, Voting.Equal));
        _play(1);
        vm.warp(1100);
        _refused(NOBODY, _lapse(1), abi.encodeWithSelector(AlreadySettled.selector, 1));
    }

    /* OPAQUE RULES */

    /// What only validators can recompute, only their votes can settle.
    function test_opaque_rules_need_a_quorum() public {
        for (uint8 settlement; settlement < 4; ++settlement) {
            Parameters memory p = parameters();
            (p.rule, p.settlement) = (128, settlement);
            if (settlement == uint8(Settlement.Quorum)) {
                _create(p);
                continue;
            }
            vm.expectRevert(abi.encodeWithSelector(InvalidTask.selector, "settlement"));
            vm.prank(SPONSOR);
            ledger.createTask(p);
        }
        Parameters memory transparent = parameters();
        transparent.rule = 127;
        vm.expectRevert(abi.encodeWithSelector(InvalidTask.selector, "rule"));
        vm.prank(SPONSOR);
        ledger.createTask(transparent);
    }

    /// Under a rule that it does not know, the ledger neither judges sums nor makes any; shapes and rosters it does judge.
    function test_opaque_rules_refuse_arithmetic() public {
        Tally memory t = _draw(7, 5, 2, 20);
        Parameters memory p = _shaped(t);
        (p.rule, p.settlement) = (255, uint8(Settlement.Quorum));
        _found(t, p);
        _open(1);
        _commitAll(t.roster);
        t.combine(Lie(1, 0, 0, 1));
        _proposeTally(t, false);
        _invalid(_sum(t, 1, 0, 0), "rule");
        _invalid(_next(t, 0), "rule");
        _invalid(_roster(t), "rule");
        _stands(_tree(t, 1, 0));
        _stands(_entry(t, 0));
    }

    /* PROOF */

    function _accounts(Member[] memory all) internal pure returns (address[] memory people) {
        people = new address[](all.length);
        for (uint256 i; i < people.length; ++i) {
            people[i] = all[i].account;
        }
    }

    function _entries(Member[] memory all) internal pure returns (Entry[] memory entries) {
        entries = new Entry[](all.length);
        for (uint256 i; i < entries.length; ++i) {
            entries[i] = all[i].entry();
        }
    }

    function _roster(address[] memory people, Entry[] memory entries) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.settleRoster, (id, 1, people, entries));
    }

    function _roster(Tally memory t) internal view returns (bytes memory) {
        return _roster(_accounts(t.roster), _entries(t.roster));
    }

    function _parts(Tally memory t, uint256 leaf) internal pure returns (Opening[] memory parts) {
        parts = new Opening[](t.roster.length);
        for (uint256 i; i < parts.length; ++i) {
            parts[i] = t.roster[i].update.open(leaf);
        }
    }

    function _leaf(Tally memory t, uint256 leaf) internal view returns (bytes memory) {
        return _leaf(t, leaf, _entries(t.roster), _parts(t, leaf));
    }

    function _leaf(Tally memory t, uint256 leaf, Entry[] memory entries, Opening[] memory parts)
        internal
        view
        returns (bytes memory)
    {
        return _leaf(leaf, entries, parts, t.baseTree.open(leaf), t.nextTree.open(leaf));
    }

    function _leaf(
        uint256 leaf,
        Entry[] memory entries,
        Opening[] memory parts,
        Opening memory base,
        Opening memory following
    ) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.settleLeaf, (id, 1, uint32(leaf), entries, parts, base, following));
    }

    /// @dev Five members, three leaves, a task that only the ledger's own proof settles. All have committed.
    function _provable(Settlement settlement) internal returns (Tally memory t) {
        t = _draw(7, 5, 2, 20);
        Parameters memory p = _shaped(t);
        p.settlement = uint8(settlement);
        _found(t, p);
        _open(1);
        _commitAll(t.roster);
    }

    function _provable() internal returns (Tally memory t) {
        t = _provable(Settlement.Proven);
        t.combine();
        _proposeTally(t, false);
    }

    /// A proposal whose every leaf the ledger has aggregated itself is final at once, whatever else the task asks for.
    function test_proof_is_final_at_once() public {
        for (uint256 i; i < 4; ++i) {
            vm.warp(1000);
            Tally memory t = _provable(Settlement(i));
            t.combine();
            _proposeTally(t, false);
            vm.expectEmit(true, true, true, true);
            emit RosterSettled(id, 1);
            _does(NOBODY, _roster(t));
            for (uint256 leaf; leaf < 3; ++leaf) {
                _refused(NOBODY, _finalise(1), abi.encodeWithSelector(WindowOpen.selector, 1151));
                vm.expectEmit(true, true, true, true);
                emit LeafSettled(id, 1, uint32(leaf));
                _does(NOBODY, _leaf(t, leaf));
                require(ledger.ballot(id, 1).settled == leaf + 1, "settled");
            }
            ledger.finalise(id, 1);
            require(_phase(1) == Phase.Final && ledger.ballot(id, 1).bonded, "final");
            bytes memory twice = _leaf(t, 0);
            _refused(NOBODY, twice, abi.encodeWithSelector(AlreadySettled.selector, 1));
            vm.warp(1151);
            ledger.release(id, 1);
            _refused(NOBODY, twice, abi.encodeWithSelector(AlreadySettled.selector, 1));
            _refused(NOBODY, _roster(t), abi.encodeWithSelector(AlreadySettled.selector, 1));
        }
    }

    /// Where a proof must settle a proposal, neither time nor votes do.
    function test_proven_is_never_final_otherwise() public {
        _election(Settlement.Proven, 0);
        _attest(BOB, 1);
        _refused(NOBODY, _finalise(1), abi.encodeWithSelector(WindowOpen.selector, 1050));
        vm.warp(1050);
        _refused(NOBODY, _finalise(1), abi.encodeWithSelector(NotSettled.selector, 1));
        _does(NOBODY, _lapse(1));
        require(_phase(1) == Phase.Void, "void");
    }

    /// A proposal that is proven does not lapse, and may be proven late.
    function test_proven_late() public {
        Tally memory t = _provable();
        vm.warp(2000);
        _does(NOBODY, _roster(t));
        for (uint256 leaf; leaf < 3; ++leaf) {
            _does(NOBODY, _leaf(t, leaf));
        }
        _refused(NOBODY, _lapse(1), abi.encodeWithSelector(AlreadySettled.selector, 1));
        ledger.finalise(id, 1);
        _holds(AGGREGATOR, 2 * BOND, 0);
    }

    /// All members are gone through, each once and in order, and as many entries as the proposal counts.
    function test_roster_of_other_people() public {
        Tally memory t = _provable();
        Entry[] memory entries = _entries(t.roster);
        _invalid(_roster(_accounts(t.roster.without(2)), entries), "people");
        _invalid(_roster(_accounts(t.roster.with(2, t.roster[2])), entries), "people");
        _invalid(_roster(_accounts(t.roster), _entries(t.roster.without(2))), "people");
        address[] memory people = _accounts(t.roster);
        (people[1], people[2]) = (people[2], people[1]);
        _invalid(_roster(people, entries), "entry");
        people = _accounts(t.roster);
        people[4] = people[2];
        _invalid(_roster(people, entries), "people");
        people = _accounts(t.roster);
        people[1] = people[0];
        _invalid(_roster(people, entries), "people");
        people[1] = address(uint160(people[0]) + 1);
        _invalid(_roster(people, entries), "people");
    }

    /// A member that committed and was not excluded cannot be left out.
    function test_roster_without_a_member() public {
        Tally memory t = _provable(Settlement.Proven);
        address[] memory people = _accounts(t.roster);
        t.roster = t.roster.without(3);
        t.combine();
        _proposeTally(t, false);
        _invalid(_roster(people, _entries(t.roster)), "entry");
    }

    /// A member that did not commit is left out, and cannot be put in.
    function test_roster_with_a_member_that_did_not_commit() public {
        for (uint256 put; put < 2; ++put) {
            vm.warp(1000);
            Tally memory t = _draw(7 + put, 5, 2, 20);
            _found(t, _shaped(t));
            _open(1);
            _commitAll(t.roster.without(3));
            address[] memory people = _accounts(t.roster);
            if (put == 0) t.roster = t.roster.without(3);
            t.combine();
            _proposeTally(t, false);
            if (put == 0) _does(NOBODY, _roster(people, _entries(t.roster)));
            else _invalid(_roster(people, _entries(t.roster)), "entry");
        }
    }

    /// Whom the proposer excluded it cannot count; whom another excluded it may count or not.
    function test_roster_with_the_excluded() public {
        for (uint256 i; i < 4; ++i) {
            vm.warp(1000);
            Tally memory t = _scene(7 + i, 6, 2, 20);
            address[] memory people = _accounts(t.roster);
            // One that did not commit makes room for the one that is excluded and counted all the same.
            t.roster = t.roster.without(5);
            _commitAll(t.roster);
            Entry memory e = t.roster[2].entry();
            (bool own, bool counted) = (i < 2, i % 2 == 0);
            _exclude(own ? AGGREGATOR : RIVAL, e.member, e.weight, e.root, 2);
            if (!counted) t.roster = t.roster.without(2);
            t.combine();
            _proposeTally(t, false);
            if (own && counted) _invalid(_roster(people, _entries(t.roster)), "entry");
            else _does(NOBODY, _roster(people, _entries(t.roster)));
            _deposit(AGGREGATOR, BOND);
        }
    }

    /// An entry must be what was committed, and one that only a batch holds is none.
    function test_roster_with_another_entry() public {
        Tally memory t = _provable();
        Entry[] memory entries = _entries(t.roster);
        entries[1].weight += 1;
        _invalid(_roster(_accounts(t.roster), entries), "entry");
        entries = _entries(t.roster);
        entries[1].root = ROOT;
        _invalid(_roster(_accounts(t.roster), entries), "entry");
        entries = _entries(t.roster);
        entries[4].member = NOBODY;
        _invalid(_roster(_accounts(t.roster), entries), "entry");
        vm.warp(1000);
        t = _scene(8, 5, 2, 20);
        _commitBatch(_signAll(t.roster));
        t.combine();
        _proposeTally(t, true);
        _invalid(_roster(t), "entry");
    }

    /// A roster is settled once a proposal, while it can be refuted.
    function test_roster_twice() public {
        Tally memory t = _provable(Settlement.Proven);
        t.combine();
        _refused(NOBODY, _roster(t), abi.encodeWithSelector(NotProposed.selector, 1));
        _refused(NOBODY, _leaf(t, 0), abi.encodeWithSelector(InvalidProof.selector, "entries"));
        _proposeTally(t, false);
        _does(NOBODY, _roster(t));
        _refused(NOBODY, _roster(t), abi.encodeWithSelector(AlreadySettled.selector, 1));
    }

    /// A leaf is aggregated over the settled roster only, once, from what its members committed to.
    function test_leaf_refuses() public {
        Tally memory t = _provable();
        _invalid(_leaf(t, 0), "entries");
        _does(NOBODY, _roster(t));
        Entry[] memory entries = _entries(t.roster);
        entries[0].weight -= 1;
        _invalid(_leaf(t, 0, entries, _parts(t, 0)), "entries");
        entries = _entries(t.roster);
        _invalid(_leaf(t, 0, entries, new Opening[](4)), "parts");
        Opening[] memory parts = _parts(t, 0);
        (parts[0], parts[1]) = (parts[1], parts[0]);
        _invalid(_leaf(t, 0, entries, parts), "leaf");
        parts = _parts(t, 0);
        _invalid(_leaf(0, entries, parts, t.nextTree.open(0), t.nextTree.open(0)), "leaf");
        _invalid(_leaf(0, entries, parts, t.baseTree.open(0), t.baseTree.open(0)), "leaf");
        _invalid(_leaf(3, entries, parts, t.baseTree.open(0), t.nextTree.open(0)), "leaf");
        _does(NOBODY, _leaf(t, 0));
        _refused(NOBODY, _leaf(t, 0), abi.encodeWithSelector(AlreadySettled.selector, 1));
        require(ledger.ballot(id, 1).settled == 1, "settled");
    }

    /// A leaf that is not the mean is refused in any word; so a lie is never proven.
    function test_wrong_leaf() public {
        Tally memory t = _provable(Settlement.Proven);
        t.combine(Lie(4, 0, 19, 1));
        _proposeTally(t, false);
        _does(NOBODY, _roster(t));
        _does(NOBODY, _leaf(t, 0));
        _does(NOBODY, _leaf(t, 1));
        _invalid(_leaf(t, 2), "following");
        _refused(NOBODY, _finalise(1), abi.encodeWithSelector(WindowOpen.selector, 1151));
    }

    /// What was settled of a round that is past doubt stays; the rest cannot be settled any more.
    function test_leaf_after_the_window() public {
        Tally memory t = _provable(Settlement.Window);
        t.combine();
        _proposeTally(t, false);
        _does(NOBODY, _roster(t));
        vm.warp(1151);
        ledger.finalise(id, 1);
        _refused(NOBODY, _leaf(t, 0), abi.encodeWithSelector(NotProposed.selector, 1));
    }

    /// What was settled of a proposal that was struck out counts for nothing in the next.
    function test_leaves_of_a_lie_do_not_count_for_the_next() public {
        Tally memory t = _provable(Settlement.Proven);
        t.combine(Lie(4, 0, 19, 1));
        _proposeTally(t, false);
        _does(NOBODY, _roster(t));
        _does(NOBODY, _leaf(t, 0));
        _does(NOBODY, _leaf(t, 1));
        _refutes(_next(t, 19), Fault.Next);
        require(ledger.ballot(id, 1).settled == 0, "settled");
        t.combine();
        _proposeTally(t, false);
        _invalid(_leaf(t, 0), "entries");
        _does(NOBODY, _roster(t));
        _does(NOBODY, _leaf(t, 2));
        require(ledger.ballot(id, 1).settled == 1, "settled");
        _refused(NOBODY, _finalise(1), abi.encodeWithSelector(WindowOpen.selector, 1151));
        _does(NOBODY, _leaf(t, 0));
        _does(NOBODY, _leaf(t, 1));
        ledger.finalise(id, 1);
    }

    /// Leaves 0 and 256 are told apart.
    function test_more_leaves_than_bits_in_a_word() public {
        Tally memory t = _scene(9, 1, 2, 257 * LEAF_WORDS);
        _commitAll(t.roster);
        t.combine();
        _proposeTally(t, false);
        _does(NOBODY, _roster(t));
        _does(NOBODY, _leaf(t, 0));
        _does(NOBODY, _leaf(t, 256));
        _refused(NOBODY, _leaf(t, 0), abi.encodeWithSelector(AlreadySettled.selector, 1));
        _refused(NOBODY, _leaf(t, 256), abi.encodeWithSelector(AlreadySettled.selector, 1));
        require(ledger.ballot(id, 1).settled == 2, "settled");
    }
}
