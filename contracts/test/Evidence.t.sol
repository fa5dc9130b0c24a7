// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "./Court.sol";

/// @dev Evidence that does not stand under the proposal's roots is refused, and the part that does not is named.
contract EvidenceTest is Court {
    using Builder for *;

    function _honest() internal returns (Tally memory t) {
        t = _scene();
        _commitAll(t.roster);
        t.combine();
        _proposeTally(t, false);
    }

    struct Sum {
        SumNode[] path;
        uint32 index;
        uint64 word;
        Opening total;
        SumNode[] nodes;
        Entry[] entries;
        Opening[] parts;
    }

    /// @dev Evidence about word 9 of node 1 at level 1 or 2; a copy, to be tampered with.
    function _fair(Tally memory t, uint256 level) internal pure returns (Sum memory s) {
        s.path = t.path(level, 1);
        (s.index, s.word, s.total) = (1, 9, t.openSum(level, 1, 9));
        (s.nodes, s.entries, s.parts) = (t.nodesBelow(level, 1), t.entriesBelow(level, 1), t.parts(level, 1, 9));
        return abi.decode(abi.encode(s), (Sum));
    }

    function _call(Sum memory s) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.refuteSum, (id, 1, s.path, s.index, s.word, s.total, s.nodes, s.entries, s.parts));
    }

    /// A path is that of the node it claims: all of it, in order, and of this tree.
    function test_tampered_path() public {
        Tally memory t = _honest();
        Sum memory s = _fair(t, 1);
        _stands(_call(s));
        s.index = 0;
        _invalid(_call(s), "path");
        s.index = 4;
        _invalid(_call(s), "path");
        s = _fair(t, 1);
        s.path[2].weight += 1;
        _invalid(_call(s), "path");
        s = _fair(t, 1);
        s.path[0].vectorRoot = 0;
        _invalid(_call(s), "path");
        s = _fair(t, 1);
        s.path = new SumNode[](0);
        _invalid(_call(s), "path");
        s.path = new SumNode[](4);
        (s.path[0], s.path[1], s.path[2]) = (t.nodes[2][0], t.nodes[1][0], t.nodes[0][0]);
        _invalid(_call(s), "path");
        s = _fair(t, 1);
        s.index = 3;
        s.path = t.path(1, 2);
        _invalid(_call(s), "path");
    }

    /// Children are all of the node's, in order, with an opening each.
    function test_tampered_children() public {
        Tally memory t = _honest();
        for (uint256 level = 1; level <= 2; ++level) {
            Sum memory s = _fair(t, level);
            _stands(_call(s));
            (s.nodes, s.entries) = (new SumNode[](0), new Entry[](0));
            _invalid(_call(s), "children");
            s = _fair(t, level);
            if (level == 1) s.entries[0].weight += 1;
            else s.nodes[0].weight += 1;
            _invalid(_call(s), "children");
            s = _fair(t, level);
            s.parts = new Opening[](3);
            _invalid(_call(s), "parts");
        }
    }

    /// A leaf has its length and its place under its root, and the word lies in the model.
    function test_tampered_leaf() public {
        Tally memory t = _honest();
        Sum memory s = _fair(t, 1);
        s.word = 20;
        _invalid(_call(s), "leaf");
        s.word = 8 + 9;
        _invalid(_call(s), "leaf");
        s = _fair(t, 1);
        s.total.data[3] ^= 0x01;
        _invalid(_call(s), "leaf");
        s = _fair(t, 1);
        s.total.path[0] = 0;
        _invalid(_call(s), "leaf");
        s = _fair(t, 1);
        s.total.path = new bytes32[](5);
        _invalid(_call(s), "leaf");
        s = _fair(t, 1);
        s.parts[1].data = new bytes(28);
        _invalid(_call(s), "leaf");
        s.parts[1] = _fair(t, 1).parts[0];
        _invalid(_call(s), "leaf");
    }

    /// A next model is judged by the top of this tree, the model it builds on, and its own leaf.
    function test_tampered_next() public {
        Tally memory t = _honest();
        _invalid(_next(t, 3, t.nextTree.open(0), t.nextTree.open(0)), "leaf");
        _invalid(_next(t, 3, t.baseTree.open(0), t.baseTree.open(0)), "leaf");
        _invalid(_next(t, 3, t.baseTree.open(0), t.nextTree.open(1)), "leaf");
        t.top().weight += 1;
        _invalid(_next(t, 3), "path");
    }

    /// A node's weight is judged by its children, and no node beyond the tree's shape by itself.
    function test_tampered_tree() public {
        Tally memory t = _honest();
        SumNode[] memory path = t.path(1, 1);
        bytes memory call = abi.encodeCall(ledger.refuteTree, (id, 1, path, 1, new SumNode[](0), new Entry[](0)));
        _invalid(call, "children");
        path[2].count += 1;
        call = abi.encodeCall(ledger.refuteTree, (id, 1, path, 1, new SumNode[](0), new Entry[](0)));
        _invalid(call, "path");
    }

    /// A node where the tree should have none is its parent's fault, and is judged there.
    function test_node_beyond_the_tree() public {
        Tally memory t = _scene();
        _commitAll(t.roster);
        t.combine();
        bytes32[] memory children = new bytes32[](2);
        (children[0], children[1]) = (t.nodes[0][2].digest(), t.nodes[0][0].digest());
        t.nodes[1][1].children = children;
        t.nodes[2][0].children[1] = t.nodes[1][1].digest();
        _proposeTally(t, false);
        SumNode[] memory path = new SumNode[](3);
        (path[0], path[1], path[2]) = (t.nodes[2][0], t.nodes[1][1], t.nodes[0][0]);
        _invalid(abi.encodeCall(ledger.refuteTree, (id, 1, path, 3, t.nodesBelow(1, 0), t.entriesBelow(1, 0))), "node");
        path = t.path(2, 1);
        _refutes(abi.encodeCall(ledger.refuteTree, (id, 1, path, 1, new SumNode[](0), new Entry[](0))), Fault.Tree);
    }

    /// What is accused of its shape is one of the proposal's vectors, in its place, by its data.
    function test_tampered_accusation() public {
        Tally memory t = _honest();
        Accused memory a = _accused(t.nextTree, 0, 1);
        a.vector = uint8(Vector.Next);
        _stands(_vector(a));
        a.position = 0;
        _invalid(_vector(a), "leaf");
        (a.position, a.height) = (1, 1);
        _invalid(_vector(a), "leaf");
        a.height = 41;
        _invalid(_vector(a), "data");
        (a.height, a.inner) = (0, true);
        _invalid(_vector(a), "data");
        (a.inner, a.vector) = (false, uint8(Vector.Batch));
        _invalid(_vector(a), "leaf");
        a.vector = 4;
        _invalid(_vector(a), "vector");
        a.vector = uint8(Vector.Sums);
        _invalid(_vector(a), "path");
        a.vector = uint8(Vector.Update);
        _invalid(_vector(a), "entry");
        a.entries = new Entry[](1);
        a.entries[0] = t.roster[0].entry();
        a.path = t.path(1, 0);
        _invalid(_vector(a), "leaf");
        a.index = 1;
        _invalid(_vector(a), "entry");
    }

    /// A roster entry stands where it is said to, and neighbours beside each other.
    function test_tampered_entry() public {
        Tally memory t = _honest();
        Placed memory placed = t.placed(2);
        placed.entry.weight += 1;
        _invalid(_entry(placed, new Signed[](0)), "entry");
        placed = t.placed(2);
        placed.index = 3;
        _invalid(_entry(placed, new Signed[](0)), "entry");
        placed = t.placed(4);
        placed.index = 5;
        _invalid(_entry(placed, new Signed[](0)), "path");
        _invalid(_order(t, 2, 1), "neighbours");
        _invalid(_order(t, 2, 2), "neighbours");
    }
}
