// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Entry, Opening, Placed, Signed, SumNode} from "../src/interfaces/Evidence.sol";
import {Builder} from "./Builder.sol";
import "./Fixture.sol";

/// @dev Whole transactions: 21,000, calldata, execution from cold storage; at least the calldata floor of EIP-7623.
/// Forge runs a test as one transaction, so storage that the test touched is warm; each measured call therefore comes
/// first in its test, after a set-up that Forge commits, and the Python conformance tests compare with real receipts.
abstract contract Metered is Fixture {
    function _gas(bytes memory data) internal returns (uint256) {
        (bool ok,) = address(ledger).call(data);
        require(ok, "refused");
        uint256 tokens;
        for (uint256 i; i < data.length; ++i) {
            tokens += data[i] == 0 ? 1 : 4;
        }
        uint256 used = 21_000 + 4 * tokens + vm.lastCallGas().gasTotalUsed;
        uint256 floor = 21_000 + 10 * tokens;
        return used > floor ? used : floor;
    }
}

contract GasTest is Metered {
    function setUp() public override {
        super.setUp();
        _open(1);
        for (uint256 i; i < 2; ++i) {
            _commit(i, 1);
        }
    }

    /// A direct commitment costs at most 35,000 gas.
    function test_gas_commit() public {
        bytes memory data = abi.encodeCall(ledger.commit, (id, 1, 1000, keccak256("root")));
        vm.prank(members[2]);
        require(_gas(data) <= 35_000, "commit");
    }

    /// A batch costs at most 80,000 gas, whatever it holds.
    function test_gas_batch() public {
        bytes memory data = abi.encodeCall(ledger.commitBatch, (id, 1, keccak256("root"), 3));
        vm.prank(AGGREGATOR);
        require(_gas(data) <= 80_000, "batch");
    }

    /// A proposal costs at most 120,000 gas.
    function test_gas_propose() public {
        vm.warp(1101);
        bytes memory data = abi.encodeCall(ledger.propose, (id, 1, 2, keccak256("sum"), keccak256("next"), false));
        vm.prank(AGGREGATOR);
        require(_gas(data) <= 120_000, "propose");
    }
}

/// @dev Challenges at a million parameters. Only what the evidence touches is made: two paths of the sum tree, to the neighbours
/// of one place in the roster, and the first leaf of each vector on the left one. All else is hashes of nothing. No byte of a leaf is
/// zero, for such cost most.
contract ChallengeGasTest is Metered {
    uint256 internal constant DIMENSION = 1_000_000;
    uint256 internal constant LEAF_WORDS = 64;
    uint256 internal constant FAN_IN = 4;
    uint256 internal constant LIMIT = 350_000;
    address internal constant OMITTED = address(0x1111111111111111111111111111111111111111);

    struct Vec {
        bytes32 root;
        Opening first;
    }

    mapping(uint256 count => bytes32) internal _tasks;
    uint256 internal _salt;

    function setUp() public override {
        super.setUp();
        for (uint256 count = 10; count <= 10_000; count *= 10) {
            _deposit(AGGREGATOR, BOND);
            _tasks[count] = _task(count);
        }
    }

    /* FABRICATION */

    function _fresh() internal returns (bytes32) {
        return keccak256(abi.encode(++_salt)) | bytes32(type(uint256).max / 255);
    }

    function _vector(uint256 wordBytes) internal returns (Vec memory v) {
        uint256 leaves = (DIMENSION + LEAF_WORDS - 1) / LEAF_WORDS;
        uint256 height;
        while (1 << height < leaves) ++height;
        v.first.path = new bytes32[](height);
        for (uint256 i; i < LEAF_WORDS * wordBytes / 32; ++i) {
            v.first.data = bytes.concat(v.first.data, _fresh());
        }
        v.root = Merkle.leafHash(v.first.data);
        for (uint256 i; i < height; ++i) {
            v.first.path[i] = _fresh();
            v.root = Merkle.nodeHash(v.root, v.first.path[i]);
        }
    }

    /// @dev All that a test accuses with; the same whenever it is made anew.
    struct Evidence {
        uint256 depth;
        Vec base;
        Vec next;
        SumNode[] left;
        SumNode[] right;
        Vec[] totals;
        SumNode[] nodes;
        Entry[] entries;
        Entry beside;
        Opening besidePart;
        Opening[] nodeParts;
        Opening[] entryParts;
    }

    function _make(uint256 count) internal returns (Evidence memory e) {
        _salt = count << 128;
        for (uint256 width = count; width > 1; width = (width + FAN_IN - 1) / FAN_IN) {
            ++e.depth;
        }
        (e.base, e.next) = (_vector(4), _vector(4));
        (e.left, e.right, e.totals) = (new SumNode[](e.depth), new SumNode[](e.depth), new Vec[](e.depth));
        (e.nodes, e.entries) = (new SumNode[](FAN_IN), new Entry[](FAN_IN));
        (e.nodeParts, e.entryParts) = (new Opening[](FAN_IN), new Opening[](FAN_IN));
        for (uint256 i; i < FAN_IN; ++i) {
            Vec memory update = _vector(4);
            e.entries[i] = Entry(address(uint160(OMITTED) - 1), 0x01010101, update.root);
            e.entryParts[i] = update.first;
        }
        e.beside = Entry(address(uint160(OMITTED) + 1), 0x01010101, _fresh());
        (bytes32 below, bytes32 beside) = (Builder.digest(e.entries[FAN_IN - 1]), Builder.digest(e.beside));
        for (uint256 level = 1; level <= e.depth; ++level) {
            uint256 at = e.depth - level;
            e.totals[at] = _vector(8);
            SumNode memory l = _node(e.totals[at].root);
            Vec memory other = _vector(8);
            SumNode memory r = _node(other.root);
            if (level == 1) e.besidePart = other.first;
            for (uint256 i; level <= 2 && i < FAN_IN; ++i) {
                if (level == 1) l.children[i] = Builder.digest(e.entries[i]);
                else l.children[i] = _child(e, i);
            }
            // The two paths part at the top.
            l.children[level == e.depth ? 0 : FAN_IN - 1] = below;
            if (level == e.depth) l.children[1] = beside;
            else r.children[0] = beside;
            (e.left[at], e.right[at]) = (l, level == e.depth ? l : r);
            (below, beside) = (Builder.digest(l), Builder.digest(r));
        }
    }

    /// @dev Child `i` of the node at level 2, of which one is the path's.
    function _child(Evidence memory e, uint256 i) internal returns (bytes32) {
        bool isTop = e.depth == 2;
        if (i == (isTop ? 0 : FAN_IN - 1)) {
            (e.nodes[i], e.nodeParts[i]) = (e.left[e.depth - 1], e.totals[e.depth - 1].first);
        } else if (isTop && i == 1) {
            (e.nodes[i], e.nodeParts[i]) = (e.right[e.depth - 1], e.besidePart);
        } else {
            Vec memory vec = _vector(8);
            (e.nodes[i], e.nodeParts[i]) = (_node(vec.root), vec.first);
        }
        return Builder.digest(e.nodes[i]);
    }

    function _node(bytes32 vectorRoot) internal returns (SumNode memory node) {
        node = SumNode(0x01010101, 0x0101010101010101, vectorRoot, new bytes32[](FAN_IN));
        for (uint256 i; i < FAN_IN; ++i) {
            node.children[i] = _fresh();
        }
    }

    /// @dev A task of `count` members and one more, which is left out, with a false proposal in round 1.
    function _task(uint256 count) internal returns (bytes32 made) {
        Evidence memory e = _make(count);
        Parameters memory p = parameters();
        (p.dimension, p.leafWords, p.fanIn, p.maxMembers) =
        (uint64(DIMENSION), uint32(LEAF_WORDS), uint8(FAN_IN), uint32(count + 1));
        (p.genesis, p.salt) = (e.base.root, bytes32(count));
        address[] memory all = new address[](count + 1);
        for (uint256 i; i < count; ++i) {
            all[i] = address(uint160(0x9000 + i));
        }
        all[count] = OMITTED;
        vm.warp(1000);
        vm.startPrank(SPONSOR);
        made = ledger.createTask(p);
        ledger.admit(made, all);
        vm.stopPrank();
        vm.prank(AGGREGATOR);
        ledger.open(made, 1);
        vm.prank(OMITTED);
        ledger.commit(made, 1, 7, ROOT);
        vm.warp(1101);
        bytes32 sumRoot = Builder.digest(e.left[0]);
        vm.prank(AGGREGATOR);
        ledger.propose(made, 1, uint32(count), sumRoot, e.next.root, false);
    }

    /* FIGURES */

    function _record(string memory what, uint256 count, bytes memory data) internal {
        uint256 gas = _gas(data);
        vm.snapshotValue("challenge", string.concat(what, ", ", vm.toString(count), " members"), gas);
        require(gas <= LIMIT, what);
    }

    function _refuteSum(uint256 count, uint256 level) internal {
        Evidence memory e = _make(count);
        uint256 steps = e.depth - level + 1;
        SumNode[] memory path = new SumNode[](steps);
        uint256 index = steps == 1 ? 0 : FAN_IN ** (steps - 2) - 1;
        for (uint256 i; i < steps; ++i) {
            path[i] = e.left[i];
        }
        bool low = level == 1;
        bytes memory data = abi.encodeCall(
            ledger.refuteSum,
            (
                _tasks[count],
                1,
                path,
                uint32(index),
                1,
                e.totals[steps - 1].first,
                low ? new SumNode[](0) : e.nodes,
                low ? e.entries : new Entry[](0),
                low ? e.entryParts : e.nodeParts
            )
        );
        _record(low ? "refuteSum at level 1" : "refuteSum at level 2", count, data);
    }

    function _refuteNext(uint256 count) internal {
        Evidence memory e = _make(count);
        _record(
            "refuteNext",
            count,
            abi.encodeCall(
                ledger.refuteNext, (_tasks[count], 1, e.left[0], 1, e.base.first, e.totals[0].first, e.next.first)
            )
        );
    }

    function _refuteOmission(uint256 count) internal {
        Evidence memory e = _make(count);
        uint256 place = FAN_IN ** (e.depth - 1);
        Placed[] memory near = new Placed[](2);
        near[0] = Placed(e.left, uint32(place - 1), e.entries[FAN_IN - 1]);
        near[1] = Placed(e.right, uint32(place), e.beside);
        bytes memory data =
            abi.encodeCall(ledger.refuteOmission, (_tasks[count], 1, Entry(OMITTED, 7, ROOT), new Signed[](0), near));
        _record("refuteOmission", count, data);
    }

    /// A wrong sum above the roster, of 10 members' million words, is refuted for at most 350,000 gas.
    function test_gas_refute_sum_at_level_1_of_10() public {
        _refuteSum(10, 1);
    }

    /// A wrong sum of 10 members further up costs as little.
    function test_gas_refute_sum_at_level_2_of_10() public {
        _refuteSum(10, 2);
    }

    /// A wrong next model of 10 members costs as little.
    function test_gas_refute_next_of_10() public {
        _refuteNext(10);
    }

    /// A member omitted from 10 costs as little, wherever it should stand.
    function test_gas_refute_omission_from_10() public {
        _refuteOmission(10);
    }

    /// A wrong sum above the roster, of 100 members' million words, is refuted for at most 350,000 gas.
    function test_gas_refute_sum_at_level_1_of_100() public {
        _refuteSum(100, 1);
    }

    /// A wrong sum of 100 members further up costs as little.
    function test_gas_refute_sum_at_level_2_of_100() public {
        _refuteSum(100, 2);
    }

    /// A wrong next model of 100 members costs as little.
    function test_gas_refute_next_of_100() public {
        _refuteNext(100);
    }

    /// A member omitted from 100 costs as little, wherever it should stand.
    function test_gas_refute_omission_from_100() public {
        _refuteOmission(100);
    }

    /// A wrong sum above the roster, of 1,000 members' million words, is refuted for at most 350,000 gas.
    function test_gas_refute_sum_at_level_1_of_1000() public {
        _refuteSum(1_000, 1);
    }

    /// A wrong sum of 1,000 members further up costs as little.
    function test_gas_refute_sum_at_level_2_of_1000() public {
        _refuteSum(1_000, 2);
    }

    /// A wrong next model of 1,000 members costs as little.
    function test_gas_refute_next_of_1000() public {
        _refuteNext(1_000);
    }

    /// A member omitted from 1,000 costs as little, wherever it should stand.
    function test_gas_refute_omission_from_1000() public {
        _refuteOmission(1_000);
    }

    /// A wrong sum above the roster, of 10,000 members' million words, is refuted for at most 350,000 gas.
    function test_gas_refute_sum_at_level_1_of_10000() public {
        _refuteSum(10_000, 1);
    }

    /// A wrong sum of 10,000 members further up costs as little.
    function test_gas_refute_sum_at_level_2_of_10000() public {
        _refuteSum(10_000, 2);
    }

    /// A wrong next model of 10,000 members costs as little.
    function test_gas_refute_next_of_10000() public {
        _refuteNext(10_000);
    }

    /// A member omitted from 10,000 costs as little, wherever it should stand.
    function test_gas_refute_omission_from_10000() public {
        _refuteOmission(10_000);
    }
}
