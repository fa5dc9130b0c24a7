// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "./Court.sol";

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

    /// @dev Keeps a figure in `snapshots/calls.json`.
    function _measure(string memory what, uint256 limit, bytes memory data) internal {
        uint256 gas = _gas(data);
        vm.snapshotValue("calls", what, gas);
        require(gas <= limit, what);
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
        _measure("commit", 35_000, data);
    }

    /// A batch costs at most 80,000 gas, whatever it holds.
    function test_gas_batch() public {
        bytes memory data = abi.encodeCall(ledger.commitBatch, (id, 1, keccak256("root"), 3));
        vm.prank(AGGREGATOR);
        _measure("commitBatch", 80_000, data);
    }

    /// A proposal costs at most 120,000 gas.
    function test_gas_propose() public {
        vm.warp(1101);
        vm.roll(1000);
        bytes memory data =
            abi.encodeCall(ledger.propose, (id, 1, 2, keccak256("sum"), keccak256("next"), false, 999, blockhash(999)));
        vm.prank(AGGREGATOR);
        _measure("propose", 120_000, data);
    }
}

/// @dev Two validators and three rounds in a ring of two slots: round 3 is proposed, and Alice's slot still holds round 1.
abstract contract Voted is Metered {
    address internal constant ALICE = address(0x3001);
    address internal constant BOB = address(0x3002);

    function setUp() public virtual override {
        super.setUp();
        _create(_setting(Settlement.Early, Voting.Equal));
        _deposit(NOBODY, STAKE);
        _stake(ALICE, STAKE);
        _stake(BOB, STAKE);
        for (uint32 number = 1; number <= 3; ++number) {
            _play(number);
            if (number == 1) _attest(ALICE, 1);
            if (number == 3) break;
            vm.warp(1000 + 50 * number);
            ledger.finalise(id, number);
        }
    }
}

contract VoteGasTest is Voted {
    function _attestation() internal view returns (bytes memory) {
        return abi.encodeCall(ledger.attest, (id, 3, ROOT, OTHER));
    }

    /// A validator's first vote costs at most 60,000 gas, for its slots were paid for with its stake.
    function test_gas_attest_first() public {
        bytes memory data = _attestation();
        vm.prank(BOB);
        _measure("attest, first", 60_000, data);
    }

    /// A vote that takes the place of an older one, whose round is past doubt, costs at most 60,000 gas.
    function test_gas_attest_over_an_older_one() public {
        bytes memory data = _attestation();
        vm.prank(ALICE);
        _measure("attest, over an older one", 60_000, data);
    }

    /// A stake with two slots costs at most 150,000 gas.
    function test_gas_stake() public {
        bytes memory data = abi.encodeCall(ledger.stake, (id, STAKE));
        vm.prank(NOBODY);
        _measure("stake, 2 slots", 150_000, data);
    }

    /// To take a stake back costs at most 100,000 gas.
    function test_gas_unstake() public {
        bytes memory data = abi.encodeCall(ledger.unstake, id);
        vm.prank(BOB);
        _measure("unstake, 2 slots", 100_000, data);
    }

    /// A proposal is final for at most 80,000 gas, the bond freed.
    function test_gas_finalise() public {
        vm.warp(1150);
        _measure("finalise", 80_000, abi.encodeCall(ledger.finalise, (id, 3)));
    }
}

/// @dev Both validators have voted for round 3.
contract EarlyGasTest is Voted {
    function setUp() public override {
        super.setUp();
        _attest(ALICE, 3);
        _attest(BOB, 3);
    }

    /// A proposal that votes settle is final for at most 80,000 gas.
    function test_gas_finalise_early() public {
        _measure("finalise, early", 80_000, abi.encodeCall(ledger.finalise, (id, 3)));
    }
}

/// @dev Alice has voted for a proposal that was struck out.
contract SlashGasTest is Voted {
    function setUp() public override {
        super.setUp();
        _attest(ALICE, 3);
        _hide(3);
    }

    /// To slash who attested a lie costs at most 120,000 gas.
    function test_gas_slash() public {
        bytes memory data = abi.encodeCall(ledger.slash, (id, 3, ALICE));
        vm.prank(NOBODY);
        _measure("slash", 120_000, data);
    }
}

/// @dev Of a next model of 256 leaves, the rival demanded the left 128 leaves' digests.
contract RevealGasTest is Metered {
    using Builder for *;

    function _following() internal pure returns (Tree memory tree) {
        bytes32[] memory hashes = new bytes32[](256);
        for (uint256 i; i < hashes.length; ++i) {
            hashes[i] = keccak256(abi.encode(i)) | bytes32(type(uint256).max / 255);
        }
        tree.rehash(hashes);
    }

    function setUp() public override {
        super.setUp();
        Tree memory tree = _following();
        Parameters memory p = parameters();
        (p.dimension, p.leafWords) = (256 * 64, 64);
        _create(p);
        _open(1);
        for (uint256 i; i < 3; ++i) {
            _commit(i, 1);
        }
        bytes32 nextRoot = tree.root();
        vm.prank(AGGREGATOR);
        ledger.propose(id, 1, 3, ROOT, nextRoot, false, 0, 0);
        Sought memory s;
        (s.vector, s.height, s.digest) = (uint8(Vector.Next), 7, tree.levels[7][0]);
        s.siblings = tree.auditPath(7, 0);
        vm.prank(RIVAL);
        ledger.demand(id, 1, s);
    }

    /// 128 digests are revealed for at most 500,000 gas.
    function test_gas_reveal_128_digests() public {
        Tree memory tree = _following();
        bytes memory answer;
        for (uint256 i; i < 128; ++i) {
            answer = bytes.concat(answer, tree.levels[0][i]);
        }
        bytes memory data = abi.encodeCall(ledger.reveal, (id, 1, tree.levels[7][0], 128, answer));
        vm.prank(NOBODY);
        _measure("reveal, 128 digests", 500_000, data);
    }

    /// To strike out who did not answer costs at most 130,000 gas.
    function test_gas_expire() public {
        bytes memory data = abi.encodeCall(ledger.expire, (id, 1, _following().levels[7][0], 128));
        vm.warp(1031);
        vm.prank(NOBODY);
        _measure("expire", 130_000, data);
    }
}

/// @dev A model small enough for the ledger: ten members, 31 words in one leaf.
abstract contract Small is Court, Metered {
    using Builder for *;

    function _small() internal view returns (Tally memory t) {
        t = _draw(7, 10, 4, 31);
        t.leafWords = 31;
        t.baseTree = Builder.vector(t.base, 31, 4);
        for (uint256 i; i < 10; ++i) {
            t.roster[i].update = Builder.vector(t.roster[i].words, 31, 4);
        }
        t.combine();
    }

    function setUp() public virtual override {
        super.setUp();
        Tally memory t = _small();
        Parameters memory p = _shaped(t);
        (p.leafWords, p.genesis, p.settlement) = (31, Builder.vector(t.base, 31, 4).root(), uint8(Settlement.Proven));
        _found(t, p);
        _open(1);
        _commitAll(t.roster);
        _proposeTally(t, false);
    }

    function _settleRoster() internal view returns (bytes memory) {
        Tally memory t = _small();
        address[] memory people = new address[](10);
        for (uint256 i; i < 10; ++i) {
            people[i] = t.roster[i].account;
        }
        return abi.encodeCall(ledger.settleRoster, (id, 1, people, _entries(t)));
    }

    function _entries(Tally memory t) internal pure returns (Entry[] memory entries) {
        entries = new Entry[](10);
        for (uint256 i; i < 10; ++i) {
            entries[i] = t.roster[i].entry();
        }
    }
}

contract RosterGasTest is Small {
    /// Ten members are gone through for at most 400,000 gas.
    function test_gas_settle_roster_of_10() public {
        _measure("settleRoster, 10 members", 400_000, _settleRoster());
    }
}

contract LeafGasTest is Small {
    using Builder for *;

    function setUp() public override {
        super.setUp();
        _does(NOBODY, _settleRoster());
    }

    /// A leaf of 31 words is aggregated over ten members for at most 1,000,000 gas.
    function test_gas_settle_leaf_of_10() public {
        Tally memory t = _small();
        Opening[] memory parts = new Opening[](10);
        for (uint256 i; i < 10; ++i) {
            parts[i] = t.roster[i].update.open(0);
        }
        Opening memory base = t.baseTree.open(0);
        bytes memory data = abi.encodeCall(ledger.settleLeaf, (id, 1, 0, _entries(t), parts, base, t.nextTree.open(0)));
        _measure("settleLeaf, 10 members, 31 words", 1_000_000, data);
    }
}

/// @dev Challenges at a million parameters. Only what the evidence touches is made: two paths of the sum tree, to the neighbours
/// of one place in the roster, and the first leaf of each vector on the left one. All else is hashes of nothing. No byte of a leaf is
/// zero, for such cost most.
contract ChallengeGasTest is Metered {
    uint256 internal constant DIMENSION = 1_000_000;
    uint256 internal constant LEAF_WORDS = 128;
    uint256 internal constant FAN_IN = 3;
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
        ledger.propose(made, 1, uint32(count), sumRoot, e.next.root, false, 0, 0);
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

    /// Any of a million words is demanded for at most 150,000 gas.
    function test_gas_demand() public {
        Vec memory following = _make(10).next;
        Sought memory s;
        (s.vector, s.digest) = (uint8(Vector.Next), Merkle.leafHash(following.first.data));
        s.siblings = following.first.path;
        bytes memory data = abi.encodeCall(ledger.demand, (_tasks[10], 1, s));
        vm.prank(RIVAL);
        _measure("demand, a leaf of a million words", 150_000, data);
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
