// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "./Court.sol";

/// @dev What comes after a refutation: money, rounds that are void, the round done again. And what refutes nobody.
contract RecoveryTest is Court {
    using Builder for *;

    function _lie() internal returns (Tally memory t) {
        t = _scene();
        _commitAll(t.roster);
        t.combine(Lie(1, 0, 0, 1));
        _proposeTally(t, false);
    }

    function _call(bytes memory call) internal {
        vm.prank(RIVAL);
        (bool ok,) = address(ledger).call(call);
        require(ok, "refused");
    }

    /// @dev Opens a round on the newest proposal and proposes something for it, over members 0 and 1.
    function _build(Tally memory t, uint32 number, uint32 count) internal {
        _deposit(AGGREGATOR, 2 * BOND);
        _open(number);
        for (uint256 i; i < count; ++i) {
            vm.prank(t.roster[i].account);
            ledger.commit(id, number, 1, ROOT);
        }
        vm.warp(block.timestamp + 101);
        _propose(number, count);
    }

    /// Both parts of the bond are where they belong, and the challenger can take its part home.
    function test_bounty_is_paid() public {
        Tally memory t = _lie();
        _refutes(_sum(t, 1, 0, 0), Fault.Sum);
        vm.prank(RIVAL);
        ledger.withdraw(2 * BOND + BOUNTY);
        require(RIVAL.balance == 2 * BOND + BOUNTY && ledger.slashed() == BOND - BOUNTY, "paid");
        require(address(ledger).balance == 4 * BOND - 2 * BOND - BOUNTY, "kept");
    }

    /// After a lie the round takes another proposal at once, but no late commitment, and the true one becomes final.
    function test_round_is_done_again() public {
        Tally memory t = _scene();
        _commitAll(t.roster.without(4));
        Member memory late = t.roster[4];
        t.roster = t.roster.without(4);
        t.combine(Lie(1, 0, 0, 1));
        _proposeTally(t, false);
        bytes memory call = _sum(t, 1, 0, 0);
        _refutes(call, Fault.Sum);
        require(bytes4(_refusal(call)) == NotProposed.selector, "twice");
        vm.expectRevert(abi.encodeWithSelector(CommitsClosed.selector, 1100));
        vm.prank(late.account);
        ledger.commit(id, 1, 1, ROOT);
        t.combine();
        (bytes32 sumRoot, bytes32 nextRoot) = (t.sumRoot(), t.nextTree.root());
        vm.prank(RIVAL);
        ledger.propose(id, 1, 4, sumRoot, nextRoot, false, 0, 0);
        _stands(_sum(t, 1, 0, 0));
        vm.warp(1151);
        ledger.finalise(id, 1);
        RoundView memory r = ledger.round(id, 1);
        require(r.phase == Phase.Final && r.nextRoot == nextRoot && r.attempt == 1 && r.proposer == RIVAL, "final");
        require(bytes4(_refusal(call)) == NotProposed.selector, "a final round is refuted");
    }

    /// Members whom a false count would have locked out have the rest of their window.
    function test_false_count_locks_nobody_out() public {
        Tally memory t = _scene();
        _commitAll(t.roster.without(4));
        Member memory late = t.roster[4];
        t.roster = t.roster.without(4).with(0, t.roster[0]);
        t.combine();
        (bytes32 sumRoot, bytes32 nextRoot) = (t.sumRoot(), t.nextTree.root());
        vm.prank(AGGREGATOR);
        ledger.propose(id, 1, 5, sumRoot, nextRoot, false, 0, 0);
        _refutes(_order(t, 0, 1), Fault.Order);
        Entry memory e = late.entry();
        vm.prank(e.member);
        ledger.commit(id, 1, e.weight, e.root);
        require(ledger.round(id, 1).commitDeadline == 1100, "deadline");
    }

    /// Refuted after its window, the round's window is over by then, so that a proposal needs not wait.
    function test_refuted_late() public {
        Tally memory t = _lie();
        vm.warp(5000);
        _refutes(_sum(t, 1, 0, 0), Fault.Sum);
        require(ledger.round(id, 1).commitDeadline == 4999, "deadline");
        _deposit(AGGREGATOR, BOND);
        _propose(1, 5);
    }

    /// What was built on a lie is void: it can be neither refuted, finalised nor proposed, and its bonds are free again.
    function test_children_of_a_lie_are_void() public {
        Tally memory t = _lie();
        _build(t, 2, 2);
        _build(t, 3, 2);
        _open(4);
        (, uint256 locked) = ledger.balance(AGGREGATOR);
        require(locked == 3 * BOND, "locked");
        vm.expectRevert(NotVoid.selector);
        ledger.void(id, 2);
        _call(_sum(t, 1, 0, 0));
        require(ledger.task(id).head == 0 && ledger.task(id).pending == 1, "task");
        vm.expectRevert(abi.encodeWithSelector(RoundVoid.selector, 4));
        vm.prank(AGGREGATOR);
        ledger.propose(id, 4, 2, ROOT, OTHER, false, 0, 0);
        vm.warp(9000);
        vm.expectRevert(abi.encodeWithSelector(RoundVoid.selector, 2));
        ledger.finalise(id, 2);
        vm.expectRevert(NotVoid.selector);
        ledger.void(id, 1);
        vm.expectRevert(NotVoid.selector);
        ledger.void(id, 5);
        for (uint32 n = 2; n <= 4; ++n) {
            vm.expectEmit(true, true, true, true);
            emit Voided(id, n);
            ledger.void(id, n);
            require(ledger.round(id, n).phase == Phase.Void, "void");
        }
        vm.expectRevert(NotVoid.selector);
        ledger.void(id, 2);
        (, locked) = ledger.balance(AGGREGATOR);
        require(locked == 0, "freed");
    }

    /// A lie that stands on a lie dies with it: refuting it as well would point the task at a void branch, for good.
    function test_grandchildren_of_a_lie_are_void() public {
        Tally memory t = _lie();
        _build(t, 2, 2);
        _build(t, 3, 5);
        _call(_sum(t, 1, 0, 0));
        bytes memory lie = abi.encodeCall(
            ledger.refuteVector,
            (id, 3, Accused(2, new SumNode[](0), 0, new Entry[](0), 0, 0, false, "", new bytes32[](0)))
        );
        require(keccak256(_refusal(lie)) == keccak256(abi.encodeWithSelector(RoundVoid.selector, 3)), "grandchild");
        require(ledger.task(id).pending == 1 && ledger.task(id).head == 0, "task");
        vm.warp(9000);
        vm.expectRevert(abi.encodeWithSelector(RoundVoid.selector, 3));
        ledger.finalise(id, 3);
        ledger.void(id, 3);
        ledger.void(id, 2);
        t.combine();
        _proposeTally(t, false);
        _open(4);
        require(ledger.round(id, 4).height == 2 && ledger.round(id, 4).parent == 1, "goes on");
    }

    /// The same false next model, proposed as two rounds, can be refuted from the newest to the oldest.
    function test_lies_are_refuted_newest_first() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.combine(Lie(4, 0, 0, 1));
        _proposeTally(t, false);
        vm.warp(1102);
        _build(t, 2, 5);
        bytes32[] memory none = new bytes32[](0);
        Accused memory a = Accused(uint8(Vector.Next), new SumNode[](0), 0, new Entry[](0), 0, 0, false, "", none);
        bytes memory call = abi.encodeCall(ledger.refuteVector, (id, 2, a));
        require(keccak256(_refusal(call)) == keccak256(abi.encodeWithSelector(InvalidProof.selector, "leaf")), "leaf");
        _call(_next(t, 0));
        require(bytes4(_refusal(call)) == RoundVoid.selector, "void");
    }

    /// A round that was never opened, or awaits its proposal, has none to refute; and there is no unknown task.
    function test_nothing_to_refute() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.combine();
        bytes memory call = _sum(t, 1, 0, 0);
        require(bytes4(_refusal(call)) == NotProposed.selector, "open");
        id = ROOT;
        require(bytes4(_refusal(_sum(t, 1, 0, 0))) == UnknownTask.selector, "task");
        vm.expectRevert(abi.encodeWithSelector(UnknownTask.selector, ROOT));
        ledger.void(ROOT, 1);
    }

    /// Another aggregator's exclusion, made just before an honest proposal, cannot make a lie of it.
    function test_exclusion_ahead_of_a_proposal_refutes_nobody() public {
        Tally memory t = _scene();
        _commitAll(t.roster.without(4));
        t.roster = t.roster.without(4);
        t.combine();
        Entry memory e = t.roster[1].entry();
        vm.warp(1101);
        _exclude(RIVAL, e.member, e.weight, e.root, 1);
        _proposeTally(t, false);
        _stands(_entry(t, 1));
    }

    /// Nor can another aggregator's exclusion of an entry of the batch.
    function test_batch_exclusion_ahead_of_a_proposal_refutes_nobody() public {
        Tally memory t = _scene();
        Signed[] memory batch = _signAll(t.roster);
        _commitBatch(batch);
        t.combine();
        Entry memory e = batch[3].entry;
        vm.prank(RIVAL);
        ledger.exclude(id, 1, e.member, e.weight, e.root, 2, batch[3].signature, 3, batch[3].path);
        _proposeTally(t, true);
        _stands(_entry(t.placed(3), _list(batch[3])));
    }
}
