// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "./Court.sol";

/// @dev One lie a test, named by the attack, and the one call that ends it.
contract ChallengeTest is Court {
    using Builder for *;

    /* SUMS AND MODEL */

    /// One wrong word above the roster is refuted by that node and its members' leaves, and nothing else is.
    function test_wrong_sum_at_level_1() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.combine(Lie(1, 1, 13, 1));
        _proposeTally(t, false);
        _stands(_sum(t, 1, 1, 12));
        _stands(_sum(t, 1, 0, 13));
        _stands(_sum(t, 2, 0, 13));
        _stands(_next(t, 13));
        _refutes(_sum(t, 1, 1, 13), Fault.Sum);
    }

    /// One wrong word at any upper node is refuted by that node and its children's leaves, also at a node with one child.
    function test_wrong_sum_at_upper_levels() public {
        for (uint256 level = 2; level <= 3; ++level) {
            for (uint256 index; index < 4 - level; ++index) {
                Tally memory t = _scene(level * 10 + index, 5, 2, 20);
                _commitAll(t.roster);
                t.combine(Lie(level, index, 19, -1));
                _proposeTally(t, false);
                _stands(_sum(t, level, index, 18));
                _refutes(_sum(t, level, index, 19), Fault.Sum);
                vm.warp(1000);
                _deposit(AGGREGATOR, BOND);
            }
        }
    }

    /// A next model that is off by one step of one weight is refuted by three leaves.
    function test_wrong_next() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.combine(Lie(4, 0, 7, 1));
        _proposeTally(t, false);
        _stands(_next(t, 6));
        _refutes(_next(t, 7), Fault.Next);
    }

    /// The mean is rounded down after half the weight was added: rounding toward zero is refuted, for negative sums too.
    function test_next_rounded_toward_zero() public {
        Tally memory t = _draw(7, 2, 2, 8);
        (t.roster[0].weight, t.roster[1].weight, t.base[3]) = (1, 1, 0);
        _set(t.roster[0], 3, -6);
        _set(t.roster[1], 3, -1);
        _start(t);
        _commitAll(t.roster);
        t.combine();
        require(t.next[3] == -3, "floor(-3.5 + 0.5)");
        t.next[3] = -2;
        t.nextTree = Builder.vector(t.next, LEAF_WORDS, 4);
        _proposeTally(t, false);
        _refutes(_next(t, 3), Fault.Next);
    }

    /// A word that would leave int32 is held at its end: neither a wrap nor another end is accepted.
    function test_next_not_clamped() public {
        for (uint256 i; i < 2; ++i) {
            Tally memory t = _draw(i, 1, 2, 8);
            int256 end = i == 0 ? int256(type(int32).max) : int256(type(int32).min);
            t.base[2] = end;
            _set(t.roster[0], 2, end);
            _start(t);
            _commitAll(t.roster);
            t.combine();
            require(t.next[2] == end, "clamped");
            t.next[2] = int32(2 * end);
            t.nextTree = Builder.vector(t.next, LEAF_WORDS, 4);
            _proposeTally(t, false);
            _refutes(_next(t, 2), Fault.Next);
            vm.warp(1000);
            _deposit(AGGREGATOR, BOND);
        }
    }

    /// A tree without weight has no mean, so no next model follows from it.
    function test_next_of_no_weight() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.combine();
        t.top().weight = 0;
        _proposeTally(t, false);
        _refutes(_next(t, 0), Fault.Next);
    }

    /* TREE */

    /// A node's weight is the sum of its children's: at level 1, above, and at the top.
    function test_wrong_weight() public {
        for (uint256 level = 1; level <= 3; ++level) {
            Tally memory t = _scene(level, 5, 2, 20);
            _commitAll(t.roster);
            t.combine();
            t.nodes[level - 1][0].weight += 1;
            t.relink(level);
            _proposeTally(t, false);
            if (level > 1) _stands(_tree(t, level - 1, 0));
            _refutes(_tree(t, level, 0), Fault.Tree);
            vm.warp(1000);
            _deposit(AGGREGATOR, BOND);
        }
    }

    /// A node's count follows from the proposal's and its place; no children are needed to show it.
    function test_wrong_count() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.combine();
        t.nodes[0][2].count = 2;
        t.relink(1);
        _proposeTally(t, false);
        SumNode[] memory path = t.path(1, 2);
        bytes memory call = abi.encodeCall(ledger.refuteTree, (id, 1, path, 2, new SumNode[](0), new Entry[](0)));
        _refutes(call, Fault.Tree);
    }

    /// A proposal for more members than its tree holds is refuted at the top.
    function test_count_beyond_the_tree() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.roster = t.roster.without(4);
        t.combine();
        _proposeTally(t, 5, false);
        SumNode[] memory path = new SumNode[](1);
        path[0] = t.top();
        bytes memory call = abi.encodeCall(ledger.refuteTree, (id, 1, path, 0, new SumNode[](0), new Entry[](0)));
        _refutes(call, Fault.Tree);
    }

    /// A node with a child more than the shape has there is refuted, so that nobody hides a member behind the others.
    function test_too_many_children() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.combine();
        SumNode memory node = t.nodes[0][1];
        bytes32[] memory children = new bytes32[](3);
        (children[0], children[1], children[2]) = (node.children[0], node.children[1], t.roster[4].entry().digest());
        node.children = children;
        t.relink(1);
        _proposeTally(t, false);
        _refutes(_tree(t, 1, 1), Fault.Tree);
    }

    /// A node without the children that its place has is refuted.
    function test_too_few_children() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.combine();
        t.nodes[1][0].children = new bytes32[](0);
        t.nodes[2][0].children[0] = t.nodes[1][0].digest();
        _proposeTally(t, false);
        SumNode[] memory path = t.path(2, 0);
        bytes memory call = abi.encodeCall(ledger.refuteTree, (id, 1, path, 0, new SumNode[](0), new Entry[](0)));
        _refutes(call, Fault.Tree);
    }

    /// A roster entry where a node should be is refuted as out of place.
    function test_entry_in_a_nodes_place() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.combine();
        t.nodes[1][0].children[1] = t.roster[2].entry().digest();
        t.nodes[2][0].children[0] = t.nodes[1][0].digest();
        _proposeTally(t, false);
        Placed memory placed = Placed(t.path(2, 0), 1, t.roster[2].entry());
        _invalid(abi.encodeCall(ledger.refuteOrder, (id, 1, t.placed(0), placed)), "entry");
        _refutes(_entry(placed, new Signed[](0)), Fault.Entry);
    }

    /// A node where a roster entry should be is refuted as out of place.
    function test_node_in_an_entrys_place() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.combine();
        t.nodes[0][0].children[1] = t.nodes[0][1].digest();
        t.relink(1);
        _proposeTally(t, false);
        SumNode[] memory path = new SumNode[](4);
        (path[0], path[1], path[2], path[3]) = (t.nodes[2][0], t.nodes[1][0], t.nodes[0][0], t.nodes[0][1]);
        bytes memory call = abi.encodeCall(ledger.refuteTree, (id, 1, path, 1, new SumNode[](0), new Entry[](0)));
        _refutes(call, Fault.Tree);
    }

    /* VECTORS */

    function _withBytes(bytes memory data, uint256 length) internal pure returns (bytes memory cut) {
        cut = new bytes(length);
        for (uint256 i; i < length && i < data.length; ++i) {
            cut[i] = data[i];
        }
    }

    /// @dev A next model whose leaf `leaf` has `length` bytes.
    function _malformed(uint256 leaf, uint256 length) internal returns (Tally memory t) {
        t = _scene();
        _commitAll(t.roster);
        t.combine();
        bytes[] memory leaves = t.nextTree.leaves;
        leaves[leaf] = _withBytes(leaves[leaf], length);
        t.nextTree = leaves.tree();
        _proposeTally(t, false);
    }

    function _accusedNext(Tree memory tree, uint256 height, uint256 position) internal view returns (bytes memory) {
        Accused memory a = _accused(tree, height, position);
        a.vector = uint8(Vector.Next);
        return _vector(a);
    }

    /// A leaf that is too long is refuted by itself; the word it hides could be opened by nobody.
    function test_vector_leaf_too_long() public {
        Tally memory t = _malformed(1, 33);
        _invalid(_next(t, 8), "leaf");
        _stands(_accusedNext(t.nextTree, 0, 0));
        _refutes(_accusedNext(t.nextTree, 0, 1), Fault.Vector);
    }

    /// A leaf that is too short is refuted by itself.
    function test_vector_leaf_too_short() public {
        Tally memory t = _malformed(0, 28);
        _refutes(_accusedNext(t.nextTree, 0, 0), Fault.Vector);
    }

    /// The last leaf holds the words that are left, no more.
    function test_vector_last_leaf_too_long() public {
        Tally memory t = _malformed(2, 32);
        _stands(_accusedNext(t.nextTree, 1, 0));
        _refutes(_accusedNext(t.nextTree, 1, 1), Fault.Vector);
    }

    /// A leaf in an inner node's place hides the leaves that should be below it, and is refuted.
    function test_leaf_in_an_inner_place() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.combine();
        bytes[] memory leaves = new bytes[](2);
        (leaves[0], leaves[1]) = (t.nextTree.leaves[0], t.nextTree.leaves[2]);
        t.nextTree = leaves.tree();
        _proposeTally(t, false);
        Accused memory a = _accused(t.nextTree, 0, 0);
        (a.vector, a.height) = (uint8(Vector.Next), 1);
        _refutes(_vector(a), Fault.Vector);
    }

    /// An inner node in a leaf's place makes the tree deeper than its words are, and is refuted.
    function test_inner_node_in_a_leafs_place() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.combine();
        bytes32[] memory hashes = t.nextTree.levels[0];
        bytes memory data = abi.encodePacked(hashes[0], hashes[1]);
        hashes[1] = sha256(abi.encodePacked(hex"01", data));
        t.nextTree.rehash(hashes);
        _proposeTally(t, false);
        Accused memory a = _accused(t.nextTree, 0, 1);
        (a.vector, a.inner, a.data) = (uint8(Vector.Next), true, data);
        _refutes(_vector(a), Fault.Vector);
    }

    /// The partial sums of every node must be a vector as well.
    function test_malformed_sums() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.combine();
        bytes[] memory leaves = t.vectors[0][1].leaves;
        leaves[0] = _withBytes(leaves[0], 65);
        t.vectors[0][1] = leaves.tree();
        t.nodes[0][1].vectorRoot = t.vectors[0][1].root();
        t.relink(1);
        _proposeTally(t, false);
        Accused memory a = _accused(t.vectors[0][1], 0, 0);
        (a.path, a.index) = (t.path(1, 1), 1);
        _refutes(_vector(a), Fault.Vector);
    }

    /// A committed update that is no vector must be excluded; whoever adds it up is refuted.
    function test_malformed_update() public {
        Tally memory t = _scene();
        bytes[] memory leaves = t.roster[3].update.leaves;
        leaves[2] = _withBytes(leaves[2], 15);
        t.roster[3].update = leaves.tree();
        _commitAll(t.roster);
        t.combine();
        _proposeTally(t, false);
        Accused memory a = _accused(t.roster[3].update, 0, 2);
        (a.vector, a.path, a.index, a.entries) = (uint8(Vector.Update), t.path(1, 1), 3, new Entry[](1));
        a.entries[0] = t.roster[3].entry();
        _refutes(_vector(a), Fault.Vector);
    }

    /* ROSTER */

    /// An update that its member did not commit to is refuted.
    function test_foreign_entry() public {
        Tally memory t = _scene();
        _commitAll(t.roster.without(2));
        t.combine();
        _proposeTally(t, false);
        _stands(_entry(t, 1));
        _refutes(_entry(t, 2), Fault.Entry);
    }

    /// An update under a member's name that is not the committed one is refuted.
    function test_swapped_update() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        (t.roster[1].words, t.roster[1].update) = (t.roster[0].words, t.roster[0].update);
        t.combine();
        _proposeTally(t, false);
        _refutes(_entry(t, 1), Fault.Entry);
    }

    /// A weight that its member did not commit to is refuted, and so is one that no member may have.
    function test_forged_weight() public {
        for (uint256 i; i < 3; ++i) {
            Tally memory t = _scene(i, 5, 2, 20);
            _commitAll(t.roster);
            t.roster[4].weight = i == 0 ? t.roster[4].weight - 1 : i == 1 ? 0 : MAX_WEIGHT + 1;
            t.combine();
            _proposeTally(t, false);
            _refutes(_entry(t, 4), Fault.Entry);
            vm.warp(1000);
            _deposit(AGGREGATOR, BOND);
        }
    }

    /// Whoever excludes a member cannot add up its update all the same.
    function test_excluded_member_kept() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        Entry memory e = t.roster[0].entry();
        _exclude(AGGREGATOR, e.member, e.weight, e.root, 1);
        t.roster = t.roster.without(1);
        t.combine();
        _proposeTally(t, false);
        _refutes(_entry(t, 0), Fault.Entry);
    }

    /// An account that the sponsor did not admit has no place in a roster.
    function test_non_member() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        Member memory stranger = _member(99, 20);
        stranger.account = address(type(uint160).max);
        t.roster = t.roster.without(4).with(4, stranger);
        t.combine();
        _proposeTally(t, false);
        _refutes(_entry(t, 4), Fault.Entry);
    }

    /// A member counted twice is refuted by its two entries.
    function test_member_twice() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.roster = t.roster.without(0).with(3, t.roster[3]);
        t.combine();
        _proposeTally(t, false);
        require(t.roster[2].account == t.roster[3].account, "twice");
        _stands(_order(t, 1, 2));
        _refutes(_order(t, 2, 3), Fault.Order);
    }

    /// A roster out of order, in which a member could not be found, is refuted by two neighbours.
    function test_unordered_roster() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.roster.swap(0, 4);
        t.combine();
        _proposeTally(t, false);
        _invalid(_order(t, 0, 2), "neighbours");
        _refutes(_order(t, 0, 1), Fault.Order);
    }

    /// A member left out is missed where it should stand: at the left end, in the middle, at the right end.
    function test_omitted_member() public {
        for (uint256 gone; gone < 5; gone += 2) {
            Tally memory t = _scene(gone, 5, 2, 20);
            _commitAll(t.roster);
            Member memory missed = t.roster[gone];
            t.roster = t.roster.without(gone);
            t.combine();
            _proposeTally(t, false);
            _refutes(_omission(missed, _near(t, missed.account)), Fault.Omission);
            vm.warp(1000);
            _deposit(AGGREGATOR, BOND);
        }
    }

    /// A member that the roster holds is not missing, whichever neighbours are shown.
    function test_present_member_is_not_omitted() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.combine();
        _proposeTally(t, false);
        for (uint256 i; i < 5; ++i) {
            for (uint256 j; j < 5; ++j) {
                _stands(_omission(t.roster[i], _list(t.placed(j))));
                if (j > 0) _stands(_omission(t.roster[i], _list(t.placed(j - 1), t.placed(j))));
            }
        }
        _invalid(_omission(t.roster[0], new Placed[](0)), "neighbours");
        _invalid(_omission(t.roster[2], _list(t.placed(1), t.placed(3))), "neighbours");
    }

    /// A member that committed to nothing, to something else, or is excluded, is not missing.
    function test_omission_needs_a_commitment() public {
        Tally memory t = _scene();
        _commitAll(t.roster.without(2));
        Member memory silent = t.roster[2];
        Entry memory e = t.roster[4].entry();
        _exclude(AGGREGATOR, e.member, e.weight, e.root, 1);
        Member memory excluded = t.roster[4];
        t.roster = t.roster.without(4).without(2);
        t.combine();
        _proposeTally(t, false);
        _invalid(_omission(silent, _near(t, silent.account)), "commitment");
        _invalid(_omission(excluded, _near(t, excluded.account)), "commitment");
        t.roster[0].weight -= 1;
        _invalid(_omission(t.roster[0], new Placed[](0)), "commitment");
    }
}
