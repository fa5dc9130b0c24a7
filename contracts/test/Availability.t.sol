// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "./Court.sol";

/// @dev Whoever asks gets what a proposal commits to, or the proposal is struck out.
contract AvailabilityTest is Court {
    using Builder for *;

    uint256 internal constant PROPOSED = 1101;
    uint256 internal constant FINAL = PROPOSED + 50;

    /// @dev Five members in a tree of three levels, three leaves a vector, proposed truthfully.
    function _proposed(Settlement settlement) internal returns (Tally memory t) {
        t = _draw(7, 5, 2, 20);
        Parameters memory p = _shaped(t);
        p.settlement = uint8(settlement);
        _found(t, p);
        _open(1);
        _commitAll(t.roster);
        t.combine();
        _proposeTally(t, false);
    }

    function _proposed() internal returns (Tally memory) {
        return _proposed(Settlement.Window);
    }

    function _demand(uint32 number, Sought memory s) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.demand, (id, number, s));
    }

    function _demand(Sought memory s) internal view returns (bytes memory) {
        return _demand(1, s);
    }

    function _reveal(bytes32 digest, uint256 pieces, bytes memory data) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.reveal, (id, 1, digest, uint32(pieces), data));
    }

    function _expire(bytes32 digest, uint256 pieces) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.expire, (id, 1, digest, uint32(pieces)));
    }

    function _late(bytes4 what, uint256 when) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(what, when);
    }

    /// @dev Demanded by the rival, revealed by nobody's account, which gets the fee.
    function _answers(Sought memory s, uint256 pieces, bytes memory data) internal {
        (uint256 had, uint256 locked) = ledger.balance(RIVAL);
        (uint256 before,) = ledger.balance(NOBODY);
        vm.expectEmit(true, true, true, true);
        emit Demanded(id, 1, RIVAL, s.digest, uint32(pieces), uint40(vm.getBlockTimestamp() + 30));
        _does(RIVAL, _demand(s));
        _holds(RIVAL, had - FEE, locked + FEE);
        vm.expectEmit(true, true, true, true);
        emit Revealed(id, 1, s.digest, uint32(pieces), NOBODY, data);
        _does(NOBODY, _reveal(s.digest, pieces, data));
        _holds(RIVAL, had - FEE, locked);
        _holds(NOBODY, before + FEE, 0);
        require(ledger.ballot(id, 1).demands == 0, "demands");
    }

    function _treeAt(Tally memory t, uint256 level, uint256 index) internal pure returns (Sought memory s) {
        s.vector = uint8(Vector.Tree);
        s.index = uint32(index);
        bool leaf = level == 0;
        s.digest = leaf ? t.roster[index].entry().digest() : t.nodes[level - 1][index].digest();
        if (level < t.nodes.length) s.path = t.path(level + 1, index / t.fanIn);
    }

    /* DEMANDS */

    /// The sum tree's top, its nodes and its entries can be had, each for the fee.
    function test_demand_of_the_sum_tree() public {
        Tally memory t = _proposed();
        _answers(_treeAt(t, 3, 0), NODE, _document(t.top()));
        _answers(_treeAt(t, 2, 1), DOCUMENT, _document(t.nodes[1][1]));
        _answers(_treeAt(t, 1, 2), DOCUMENT, _document(t.nodes[0][2]));
        _answers(_treeAt(t, 0, 3), DOCUMENT, _document(t.roster[3].entry()));
    }

    /// Leaves and inner digests of sums can be had.
    function test_demand_of_sums() public {
        Tally memory t = _proposed();
        Tree memory tree = t.vectors[0][1];
        for (uint256 height; height < 3; ++height) {
            Sought memory s = _sought(tree, height, 0);
            (s.vector, s.path, s.index) = (uint8(Vector.Sums), t.path(1, 1), 1);
            _answers(s, height == 0 ? 0 : height + 1, _answer(tree, height, 0));
        }
    }

    /// Leaves and inner digests of a member's update can be had.
    function test_demand_of_an_update() public {
        Tally memory t = _proposed();
        Tree memory tree = t.roster[3].update;
        for (uint256 height; height < 3; ++height) {
            Sought memory s = _sought(tree, height, 0);
            (s.vector, s.path, s.index, s.entries) = (uint8(Vector.Update), t.path(1, 1), 3, new Entry[](1));
            s.entries[0] = t.roster[3].entry();
            _answers(s, height == 0 ? 0 : height + 1, _answer(tree, height, 0));
        }
    }

    function _following(Tree memory tree, uint256 height, uint256 position) internal pure returns (Sought memory s) {
        s = _sought(tree, height, position);
        s.vector = uint8(Vector.Next);
    }

    /// Leaves and inner digests of the next model can be had, also from far above its root.
    function test_demand_of_the_next_model() public {
        Tally memory t = _proposed();
        for (uint256 leaf; leaf < 3; ++leaf) {
            _answers(_following(t.nextTree, 0, leaf), 0, t.nextTree.leaves[leaf]);
        }
        _answers(_following(t.nextTree, 1, 0), 2, _answer(t.nextTree, 1, 0));
        _answers(_following(t.nextTree, 2, 0), 3, _answer(t.nextTree, 2, 0));
        Sought memory s = _following(t.nextTree, 8, 0);
        _answers(s, 2, _answer(t.nextTree, 8, 0));
    }

    /// Leaves and inner digests of an adopted batch can be had, signatures and all.
    function test_demand_of_a_batch() public {
        Tally memory t = _scene();
        Signed[] memory batch = _signAll(t.roster);
        _commitBatch(batch);
        t.combine();
        _proposeTally(t, true);
        Tree memory tree = batch.batch();
        for (uint256 height; height < 4; ++height) {
            Sought memory s = _sought(tree, height, 0);
            s.vector = uint8(Vector.Batch);
            uint256 pieces = height == 3 ? 5 : height == 0 ? 0 : 1 << height;
            _answers(s, pieces, _answer(tree, height, 0));
        }
    }

    /// @dev A proposal whose next model is a tree over that many leaves; nothing else of it is there.
    function _large(uint256 leaves) internal returns (Tree memory tree) {
        bytes32[] memory hashes = new bytes32[](leaves);
        for (uint256 i; i < leaves; ++i) {
            hashes[i] = keccak256(abi.encode(i));
        }
        tree.rehash(hashes);
        Parameters memory p = parameters();
        (p.dimension, p.leafWords) = (uint64(leaves * 8), 8);
        _create(p);
        _open(1);
        for (uint256 i; i < 3; ++i) {
            _commit(i, 1);
        }
        vm.warp(PROPOSED);
        bytes32 nextRoot = tree.root();
        vm.prank(AGGREGATOR);
        ledger.propose(id, 1, 3, ROOT, nextRoot, false, 0, 0);
    }

    /// One answer spans seven levels: 128 digests, fewer at the right edge.
    function test_demand_of_128_digests() public {
        Tree memory tree = _large(300);
        _answers(_following(tree, 9, 0), 75, _answer(tree, 9, 0));
        _answers(_following(tree, 8, 0), 128, _answer(tree, 8, 0));
        _answers(_following(tree, 8, 1), 22, _answer(tree, 8, 1));
        _answers(_following(tree, 7, 1), 128, _answer(tree, 7, 1));
        _answers(_following(tree, 7, 2), 44, _answer(tree, 7, 2));
    }

    function _another(Sought memory s, string memory part) internal {
        _invalid(_demand(s), part);
    }

    /// What is not there cannot be demanded: another digest, place, path, height or tree.
    function test_demand_of_what_is_not_there() public {
        Tally memory t = _proposed();
        Sought memory s = _following(t.nextTree, 0, 1);
        s.digest = ROOT;
        _another(s, "leaf");
        s = _following(t.nextTree, 0, 1);
        s.position = 0;
        _another(s, "leaf");
        s.position = 3;
        _another(s, "leaf");
        s = _following(t.nextTree, 0, 1);
        s.siblings = new bytes32[](0);
        _another(s, "leaf");
        s = _following(t.nextTree, 0, 1);
        s.height = 1;
        _another(s, "leaf");
        s.height = 41;
        _another(s, "data");
        s = _following(t.nextTree, 0, 1);
        s.vector = uint8(Vector.Batch);
        _another(s, "leaf");
        s.vector = 5;
        _another(s, "vector");
        s.vector = uint8(Vector.Sums);
        _another(s, "path");
        s.vector = uint8(Vector.Update);
        _another(s, "entry");
        s = _treeAt(t, 1, 2);
        s.digest = ROOT;
        _another(s, "node");
        s = _treeAt(t, 1, 2);
        s.index = 1;
        _another(s, "path");
        s = _treeAt(t, 1, 2);
        s.index = 3;
        _another(s, "path");
        s = _treeAt(t, 3, 0);
        s.digest = ROOT;
        _another(s, "node");
    }

    /// A node with one child has its child's digest; whoever wants that must say so, or no answer would be right.
    function test_demand_of_a_node_with_one_child() public {
        Tally memory t = _proposed();
        _another(_following(t.nextTree, 1, 1), "height");
        _another(_following(t.nextTree, 40, 0), "height");
        Tree memory tree = _large(129);
        _another(_following(tree, 7, 1), "height");
        _answers(_following(tree, 8, 0), 65, _answer(tree, 8, 0));
    }

    /// Nobody demands without a fee, twice, after the window, or of what is no proposal.
    function test_demand_refuses() public {
        Tally memory t = _proposed();
        Sought memory s = _following(t.nextTree, 0, 0);
        bytes memory call = _demand(s);
        _refused(NOBODY, call, abi.encodeWithSelector(InsufficientBalance.selector, 0, FEE));
        _does(RIVAL, call);
        _deposit(NOBODY, FEE);
        _refused(NOBODY, call, abi.encodeWithSelector(AlreadyDemanded.selector, s.digest));
        _refused(NOBODY, _demand(2, s), abi.encodeWithSelector(NotProposed.selector, 2));
        vm.warp(FINAL);
        _refused(NOBODY, call, _late(WindowPassed.selector, FINAL));
        _deposit(AGGREGATOR, BOND);
        _open(2);
        _refused(NOBODY, _demand(2, s), abi.encodeWithSelector(NotProposed.selector, 2));
        _holds(NOBODY, FEE, 0);
    }

    /// What is built on a lie is struck out with it: nothing of it can be demanded.
    function test_demand_of_a_void_proposal() public {
        _play(1);
        _play(2);
        Sought memory s = _top(2);
        _hide(1);
        _refused(RIVAL, _demand(2, s), abi.encodeWithSelector(RoundVoid.selector, 2));
    }

    /* ANSWERS */

    /// An answer must have the digest, and exactly as many bytes.
    function test_reveal_of_something_else() public {
        Tally memory t = _proposed();
        Sought memory leaf = _following(t.nextTree, 0, 0);
        Sought memory node = _following(t.nextTree, 2, 0);
        bytes memory data = _answer(t.nextTree, 2, 0);
        bytes memory refusal = abi.encodeWithSelector(NotDemanded.selector, leaf.digest);
        _refused(NOBODY, _reveal(leaf.digest, 0, t.nextTree.leaves[0]), refusal);
        _does(RIVAL, _demand(leaf));
        _does(RIVAL, _demand(node));
        require(ledger.ballot(id, 1).demands == 2, "demands");
        _refused(NOBODY, _reveal(leaf.digest, 2, data), refusal);
        _invalid(_reveal(leaf.digest, 0, t.nextTree.leaves[1]), "data");
        _invalid(_reveal(leaf.digest, 0, bytes.concat(t.nextTree.leaves[0], hex"00")), "data");
        _invalid(_reveal(leaf.digest, 0, ""), "data");
        _invalid(_reveal(node.digest, 3, bytes.concat(data, hex"00")), "data");
        _invalid(_reveal(node.digest, 3, bytes.concat(data, ROOT)), "data");
        _invalid(_reveal(node.digest, 3, ""), "data");
        // Two digests one level further up have the same root, and are not what was asked for.
        _invalid(_reveal(node.digest, 3, _answer(t.nextTree, 8, 0)), "data");
        data[95] = bytes1(uint8(data[95]) ^ 1);
        _invalid(_reveal(node.digest, 3, data), "data");
        _holds(RIVAL, 2 * BOND - 2 * FEE, 2 * FEE);
        _does(NOBODY, _reveal(leaf.digest, 0, t.nextTree.leaves[0]));
        _refused(NOBODY, _reveal(leaf.digest, 0, t.nextTree.leaves[0]), refusal);
        require(ledger.ballot(id, 1).demands == 1, "demands");
    }

    /// @dev A proposal whose sum tree has this root, and nothing behind it.
    function _rooted(bytes32 sumRoot) internal {
        _create(_setting(Settlement.Window, Voting.Equal));
        _open(1);
        for (uint256 i; i < 3; ++i) {
            _commit(i, 1);
        }
        vm.prank(AGGREGATOR);
        ledger.propose(id, 1, 3, sumRoot, OTHER, false, 0, 0);
    }

    /// Bytes with the right hash that are no node are no answer for the top of the sum tree: not even those of an entry.
    function test_reveal_of_a_top_that_is_no_node() public {
        bytes[] memory tops = new bytes[](4);
        tops[0] = _document(Entry(NOBODY, 7, ROOT));
        tops[1] = "no node at all";
        tops[2] = bytes.concat(hex"04", new bytes(44));
        tops[3] = bytes.concat(hex"03", new bytes(45));
        for (uint256 i; i < tops.length; ++i) {
            bytes32 digest = Merkle.leafHash(tops[i]);
            vm.warp(1000 + i);
            ledger = new Ledger();
            _deposit(AGGREGATOR, BOND);
            _deposit(RIVAL, FEE);
            _rooted(digest);
            _does(RIVAL, _demand(_top(1)));
            _invalid(_reveal(digest, NODE, tops[i]), "data");
        }
    }

    /// Below the top, entries and nodes are answers, and other bytes are not.
    function test_reveal_of_a_child_that_is_no_document() public {
        bytes[] memory children = new bytes[](4);
        children[0] = _document(Entry(NOBODY, 7, ROOT));
        children[1] = bytes.concat(hex"03", new bytes(44));
        children[2] = bytes.concat(hex"03", new bytes(56));
        children[3] = "neither";
        SumNode memory top = SumNode(3, 21, ROOT, new bytes32[](4));
        for (uint256 i; i < 4; ++i) {
            top.children[i] = Merkle.leafHash(children[i]);
        }
        _rooted(top.digest());
        for (uint256 i; i < 4; ++i) {
            Sought memory s;
            (s.vector, s.index, s.digest) = (uint8(Vector.Tree), uint32(i), top.children[i]);
            s.path = new SumNode[](1);
            s.path[0] = top;
            if (i < 2) {
                _answers(s, DOCUMENT, children[i]);
            } else {
                _does(RIVAL, _demand(s));
                _invalid(_reveal(s.digest, DOCUMENT, children[i]), "data");
            }
        }
    }

    /// An answer leaves the window as it is, or gives a whole reveal window more to make use of it.
    function test_reveal_keeps_the_window_open() public {
        Tally memory t = _proposed();
        Sought memory s = _following(t.nextTree, 0, 0);
        _answers(s, 0, t.nextTree.leaves[0]);
        require(ledger.round(id, 1).finalAt == FINAL, "window");
        vm.warp(FINAL - 1);
        _answers(s, 0, t.nextTree.leaves[0]);
        require(ledger.round(id, 1).finalAt == FINAL + 29, "window");
        vm.warp(FINAL + 28);
        vm.expectRevert(_late(WindowOpen.selector, FINAL + 29));
        ledger.finalise(id, 1);
        _does(RIVAL, _demand(s));
    }

    /// An honest proposer that answers late is not struck out, so long as nobody called its time.
    function test_reveal_late() public {
        Tally memory t = _proposed();
        Sought memory s = _following(t.nextTree, 0, 0);
        _does(RIVAL, _demand(s));
        vm.warp(PROPOSED + 1000);
        _does(AGGREGATOR, _reveal(s.digest, 0, t.nextTree.leaves[0]));
        _holds(AGGREGATOR, BOND + FEE, BOND);
        require(ledger.round(id, 1).finalAt == PROPOSED + 1030, "window");
        _refused(RIVAL, _expire(s.digest, 0), abi.encodeWithSelector(NotDemanded.selector, s.digest));
    }

    /// Whoever demands and answers itself gets its fee back, and gains nothing.
    function test_reveal_to_oneself() public {
        Tally memory t = _proposed();
        Sought memory s = _following(t.nextTree, 0, 0);
        _does(RIVAL, _demand(s));
        _does(RIVAL, _reveal(s.digest, 0, t.nextTree.leaves[0]));
        _holds(RIVAL, 2 * BOND, 0);
    }

    /// Nothing becomes final, lapses or is released while a demand is open.
    function test_nothing_becomes_final_while_a_demand_is_open() public {
        Tally memory t = _proposed();
        Sought memory s = _following(t.nextTree, 0, 0);
        _does(RIVAL, _demand(s));
        vm.warp(FINAL);
        vm.expectRevert(abi.encodeWithSelector(DemandsOpen.selector, 1));
        ledger.finalise(id, 1);
        _does(NOBODY, _reveal(s.digest, 0, t.nextTree.leaves[0]));
        vm.warp(FINAL + 30);
        ledger.finalise(id, 1);
        vm.warp(1000);
        _deposit(AGGREGATOR, BOND);
        t = _proposed(Settlement.Quorum);
        _does(RIVAL, _demand(s));
        vm.warp(FINAL);
        vm.expectRevert(abi.encodeWithSelector(DemandsOpen.selector, 1));
        ledger.lapse(id, 1);
        _does(NOBODY, _reveal(s.digest, 0, t.nextTree.leaves[0]));
        vm.warp(FINAL + 30);
        ledger.lapse(id, 1);
        _holds(AGGREGATOR, 3 * BOND, 0);
    }

    /// @dev The same, final early by its only validator's vote.
    function _proposedEarly() internal returns (Tally memory t) {
        t = _draw(7, 5, 2, 20);
        Parameters memory p = _shaped(t);
        p.settlement = uint8(Settlement.Early);
        _found(t, p);
        _stake(SCORER, STAKE);
        _open(1);
        _commitAll(t.roster);
        t.combine();
        _proposeTally(t, false);
        _attest(SCORER, 1);
    }

    /// Nor is a round final early with a demand open; one that is can still be asked, and keeps its bond until it has answered.
    function test_demand_of_an_early_final_round() public {
        Tally memory t = _proposedEarly();
        Sought memory s = _following(t.nextTree, 0, 0);
        bytes memory answer = _reveal(s.digest, 0, t.nextTree.leaves[0]);
        _does(RIVAL, _demand(s));
        vm.expectRevert(abi.encodeWithSelector(DemandsOpen.selector, 1));
        ledger.finalise(id, 1);
        _does(NOBODY, answer);
        ledger.finalise(id, 1);
        vm.warp(FINAL - 1);
        _does(RIVAL, _demand(s));
        vm.warp(FINAL);
        vm.expectRevert(abi.encodeWithSelector(DemandsOpen.selector, 1));
        ledger.release(id, 1);
        _does(NOBODY, answer);
        vm.expectRevert(_late(WindowOpen.selector, FINAL + 30));
        ledger.release(id, 1);
        vm.warp(FINAL + 30);
        ledger.release(id, 1);
        _holds(AGGREGATOR, 2 * BOND, 0);
    }

    /// A round that is final early stays so if its proposer hides something; the bond and the attesters' stakes are gone.
    function test_hidden_after_early_finality() public {
        Tally memory t = _proposedEarly();
        ledger.finalise(id, 1);
        Sought memory s = _following(t.nextTree, 0, 0);
        _does(RIVAL, _demand(s));
        vm.warp(PROPOSED + 31);
        _does(RIVAL, _expire(s.digest, 0));
        RoundView memory r = ledger.round(id, 1);
        require(r.phase == Phase.Final && r.attempt == 1 && !ledger.ballot(id, 1).bonded, "round");
        _holds(AGGREGATOR, BOND, 0);
        _does(RIVAL, abi.encodeCall(ledger.slash, (id, 1, SCORER)));
        _holds(RIVAL, 2 * BOND + BOUNTY + STAKE / 2, 0);
    }

    /* SILENCE */

    /// Nobody is struck out before its time to answer has passed.
    function test_expire_too_early() public {
        Tally memory t = _proposed();
        Sought memory s = _following(t.nextTree, 2, 0);
        bytes memory refusal = abi.encodeWithSelector(NotDemanded.selector, s.digest);
        _refused(RIVAL, _expire(s.digest, 3), refusal);
        _does(RIVAL, _demand(s));
        _refused(RIVAL, _expire(s.digest, 2), refusal);
        vm.warp(PROPOSED + 30);
        _refused(RIVAL, _expire(s.digest, 3), _late(RevealOpen.selector, PROPOSED + 30));
    }

    /// Who hides what it committed to is struck out: fee and bounty go to the demander, whoever calls its time.
    function test_expire_strikes_out() public {
        Tally memory t = _proposed();
        Sought memory s = _following(t.nextTree, 2, 0);
        _does(RIVAL, _demand(s));
        vm.warp(PROPOSED + 31);
        vm.expectEmit(true, true, true, true);
        emit Expired(id, 1, s.digest, 3, RIVAL);
        vm.expectEmit(true, true, true, true);
        emit Refuted(id, 1, AGGREGATOR, RIVAL, uint8(Fault.Hidden), BOUNTY);
        _does(NOBODY, _expire(s.digest, 3));
        _holds(RIVAL, 2 * BOND + BOUNTY, 0);
        _holds(NOBODY, 0, 0);
        _holds(AGGREGATOR, BOND, 0);
        require(ledger.slashed() == BOND - BOUNTY, "slashed");
        RoundView memory r = ledger.round(id, 1);
        require(r.phase == Phase.Open && r.attempt == 1 && r.commitDeadline == PROPOSED + 30, "round");
        require(ledger.task(id).pending == 1 && ledger.ballot(id, 1).demands == 0, "task");
        _refused(RIVAL, _expire(s.digest, 3), abi.encodeWithSelector(NotDemanded.selector, s.digest));
    }

    /// Demands of a proposal that is gone are nobody's to answer, cost no other proposal anything, and get their fee back.
    function test_stale_demands_are_refunded() public {
        Tally memory t = _proposed();
        Sought memory s = _following(t.nextTree, 2, 0);
        Sought memory other = _following(t.nextTree, 0, 0);
        _does(RIVAL, _demand(s));
        _does(RIVAL, _demand(other));
        vm.warp(PROPOSED + 31);
        _does(RIVAL, _expire(s.digest, 3));
        _holds(RIVAL, 2 * BOND + BOUNTY - FEE, FEE);
        bytes memory refusal = abi.encodeWithSelector(NotDemanded.selector, other.digest);
        _refused(NOBODY, _reveal(other.digest, 0, t.nextTree.leaves[0]), refusal);
        _proposeTally(t, false);
        _refused(NOBODY, _reveal(other.digest, 0, t.nextTree.leaves[0]), refusal);
        _refused(RIVAL, _demand(other), abi.encodeWithSelector(AlreadyDemanded.selector, other.digest));
        vm.expectEmit(true, true, true, true);
        emit Expired(id, 1, other.digest, 0, RIVAL);
        _does(NOBODY, _expire(other.digest, 0));
        _holds(RIVAL, 2 * BOND + BOUNTY, 0);
        _holds(AGGREGATOR, 0, BOND);
        require(ledger.round(id, 1).phase == Phase.Proposed && ledger.round(id, 1).attempt == 1, "struck out");
        _answers(other, 0, t.nextTree.leaves[0]);
    }

    /// A demand of what was built on a lie is refunded, at once, before and after the round is declared void.
    function test_demands_of_a_void_proposal_are_refunded() public {
        for (uint256 i; i < 2; ++i) {
            Parameters memory p = parameters();
            p.salt = bytes32(i + 1);
            vm.warp(1000);
            _create(p);
            _deposit(AGGREGATOR, 2 * BOND);
            _play(1);
            _play(2);
            Sought memory s = _top(1);
            bytes memory demand = _demand(2, _top(2));
            _does(RIVAL, _demand(1, s));
            if (i == 0) _deposit(NOBODY, FEE);
            vm.warp(1031);
            _does(NOBODY, demand);
            _does(RIVAL, _expire(s.digest, NODE));
            if (i == 1) ledger.void(id, 2);
            uint256 lost = ledger.slashed();
            _does(RIVAL, abi.encodeCall(ledger.expire, (id, 2, s.digest, NODE)));
            _holds(NOBODY, FEE, 0);
            require(ledger.slashed() == lost && ledger.round(id, 2).attempt == 0, "struck out");
        }
    }
}
