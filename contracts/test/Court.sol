// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Accused, Entry, Opening, Placed, Signed, SumNode} from "../src/interfaces/Evidence.sol";
import {Builder, Lie, Member, Tally, Tree} from "./Builder.sol";
import "./Fixture.sol";

/// @dev Rounds with real vectors, and the calls that accuse them. The aggregator proposes, the rival challenges.
abstract contract Court is Fixture {
    using Builder for *;

    uint32 internal constant MAX_WEIGHT = type(uint32).max / 10;
    uint256 internal constant LEAF_WORDS = 8;
    uint256 internal constant BOUNTY = uint256(BOND) * 50 / 100;

    /* ROUNDS */

    function _random(uint256 seed, uint256 what) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, what)));
    }

    /// @dev int32 words; one in four is an extreme.
    function _words(uint256 seed, uint256 count) internal pure returns (int256[] memory words) {
        words = new int256[](count);
        for (uint256 i; i < count; ++i) {
            uint256 r = _random(seed, i);
            words[i] = r % 4 > 0
                ? int256(int32(uint32(r >> 8)))
                : r & 64 == 0 ? int256(type(int32).min) : int256(type(int32).max);
        }
    }

    function _member(uint256 seed, uint256 dimension) internal view returns (Member memory m) {
        m.key = (_random(seed, 1) >> 8) + 1;
        m.account = vm.addr(m.key);
        uint256 r = _random(seed, 2);
        m.weight = r % 8 == 0 ? MAX_WEIGHT : r % 8 == 1 ? 1 : uint32((r >> 8) % MAX_WEIGHT) + 1;
        m.words = _words(_random(seed, 3), dimension);
        m.update = Builder.vector(m.words, LEAF_WORDS, 4);
    }

    /// @dev In ascending order.
    function _roster(uint256 seed, uint256 count, uint256 dimension) internal view returns (Member[] memory all) {
        all = new Member[](count);
        for (uint256 i; i < count; ++i) {
            all[i] = _member(_random(seed, i), dimension);
            for (uint256 j = i; j > 0 && all[j - 1].account > all[j].account; --j) {
                Builder.swap(all, j - 1, j);
            }
        }
    }

    function _draw(uint256 seed, uint256 count, uint256 fanIn, uint256 dimension)
        internal
        view
        returns (Tally memory t)
    {
        t.fanIn = fanIn;
        t.leafWords = LEAF_WORDS;
        t.base = _words(_random(seed, 11), dimension);
        t.roster = _roster(seed, count, dimension);
    }

    /// @dev A task for these members' vectors.
    function _shaped(Tally memory t) internal pure returns (Parameters memory p) {
        t.baseTree = Builder.vector(t.base, LEAF_WORDS, 4);
        p = parameters();
        p.genesis = t.baseTree.root();
        p.dimension = uint64(t.base.length);
        p.leafWords = uint32(LEAF_WORDS);
        p.fanIn = uint8(t.fanIn);
        p.quorum = 1;
        p.maxWeight = MAX_WEIGHT;
        p.maxMembers = 10;
        p.slots = 4;
    }

    /// @dev Creates a task with these members.
    function _found(Tally memory t, Parameters memory p) internal {
        address[] memory accounts = new address[](t.roster.length);
        for (uint256 i; i < accounts.length; ++i) {
            accounts[i] = t.roster[i].account;
        }
        vm.startPrank(SPONSOR);
        id = ledger.createTask(p);
        ledger.admit(id, accounts);
        vm.stopPrank();
    }

    /// @dev A task with these members, and its first round open.
    function _start(Tally memory t) internal {
        _found(t, _shaped(t));
        _open(1);
    }

    function _scene(uint256 seed, uint256 count, uint256 fanIn, uint256 dimension) internal returns (Tally memory t) {
        t = _draw(seed, count, fanIn, dimension);
        _start(t);
    }

    /// @dev Five members in a tree of three levels, three leaves a vector.
    function _scene() internal returns (Tally memory) {
        return _scene(7, 5, 2, 20);
    }

    /// @dev Changes word `word` of a member's update.
    function _set(Member memory m, uint256 word, int256 value) internal pure {
        m.words[word] = value;
        m.update = Builder.vector(m.words, LEAF_WORDS, 4);
    }

    function _commitAll(Member[] memory all) internal {
        for (uint256 i; i < all.length; ++i) {
            Entry memory e = all[i].entry();
            vm.prank(e.member);
            ledger.commit(id, 1, e.weight, e.root);
        }
    }

    function _sign(Member memory m, uint32 number) internal view returns (bytes memory) {
        bytes32 kind = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        bytes32 domain =
            keccak256(abi.encode(kind, keccak256("Tallystick"), keccak256("1"), block.chainid, address(ledger)));
        kind = keccak256("Commitment(bytes32 task,uint32 round,address member,bytes32 root,uint32 weight)");
        bytes32 said = keccak256(abi.encode(kind, id, number, m.account, m.update.root(), m.weight));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(m.key, keccak256(abi.encodePacked(hex"1901", domain, said)));
        return abi.encodePacked(r, s, v);
    }

    function _signAll(Member[] memory all) internal view returns (Signed[] memory batch) {
        batch = new Signed[](all.length);
        for (uint256 i; i < all.length; ++i) {
            (batch[i].entry, batch[i].signature) = (all[i].entry(), _sign(all[i], 1));
        }
    }

    /// @dev Places the entries in their tree and posts its root.
    function _commitBatch(Signed[] memory batch) internal {
        bytes32 root = batch.batch().root();
        vm.prank(AGGREGATOR);
        ledger.commitBatch(id, 1, root, uint32(batch.length));
    }

    function _proposeTally(Tally memory t, bool adopt) internal {
        _proposeTally(t, uint32(t.roster.length), adopt);
    }

    function _proposeTally(Tally memory t, uint32 count, bool adopt) internal {
        vm.warp(1101);
        (bytes32 sumRoot, bytes32 nextRoot) = (t.sumRoot(), t.nextTree.root());
        vm.prank(AGGREGATOR);
        ledger.propose(id, 1, count, sumRoot, nextRoot, adopt, 0, 0);
    }

    /* CALLS */

    function _sum(Tally memory t, uint256 level, uint256 index, uint256 word) internal view returns (bytes memory) {
        return _sum(t, level, index, word, t.openSum(level, index, word));
    }

    function _sum(Tally memory t, uint256 level, uint256 index, uint256 word, Opening memory total)
        internal
        view
        returns (bytes memory)
    {
        SumNode[] memory path = t.path(level, index);
        SumNode[] memory nodes = t.nodesBelow(level, index);
        Entry[] memory entries = t.entriesBelow(level, index);
        Opening[] memory parts = t.parts(level, index, word);
        return
            abi.encodeCall(ledger.refuteSum, (id, 1, path, uint32(index), uint64(word), total, nodes, entries, parts));
    }

    function _next(Tally memory t, uint256 word) internal view returns (bytes memory) {
        uint256 leaf = word / t.leafWords;
        return _next(t, word, t.baseTree.open(leaf), t.nextTree.open(leaf));
    }

    function _next(Tally memory t, uint256 word, Opening memory base, Opening memory following)
        internal
        view
        returns (bytes memory)
    {
        Opening memory total = t.openSum(t.nodes.length, 0, word);
        return abi.encodeCall(ledger.refuteNext, (id, 1, t.top(), uint64(word), base, total, following));
    }

    function _tree(Tally memory t, uint256 level, uint256 index) internal view returns (bytes memory) {
        return abi.encodeCall(
            ledger.refuteTree,
            (id, 1, t.path(level, index), uint32(index), t.nodesBelow(level, index), t.entriesBelow(level, index))
        );
    }

    function _vector(Accused memory a) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.refuteVector, (id, 1, a));
    }

    /// @dev Accuses the leaf or inner node at `position`, `height` levels above the leaves.
    function _accused(Tree memory t, uint256 height, uint256 position) internal pure returns (Accused memory a) {
        a.height = uint8(height);
        a.position = uint64(position);
        a.siblings = t.auditPath(height, position);
        while (height > 0 && 2 * position + 1 >= t.levels[height - 1].length) {
            // A last node without a partner is what it was below.
            (height, position) = (height - 1, 2 * position);
        }
        a.inner = height > 0;
        a.data = a.inner
            ? abi.encodePacked(t.levels[height - 1][2 * position], t.levels[height - 1][2 * position + 1])
            : t.leaves[position];
    }

    function _entry(Placed memory placed, Signed[] memory near) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.refuteEntry, (id, 1, placed, near));
    }

    function _entry(Tally memory t, uint256 index) internal view returns (bytes memory) {
        return _entry(t.placed(index), new Signed[](0));
    }

    function _order(Tally memory t, uint256 left, uint256 right) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.refuteOrder, (id, 1, t.placed(left), t.placed(right)));
    }

    function _omission(Entry memory gone, Signed[] memory batch, Placed[] memory near)
        internal
        view
        returns (bytes memory)
    {
        return abi.encodeCall(ledger.refuteOmission, (id, 1, gone, batch, near));
    }

    function _omission(Member memory gone, Placed[] memory near) internal view returns (bytes memory) {
        return _omission(gone.entry(), new Signed[](0), near);
    }

    function _batch(Signed[] memory entries) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.refuteBatch, (id, 1, entries));
    }

    function _list(Signed memory one) internal pure returns (Signed[] memory all) {
        all = new Signed[](1);
        all[0] = one;
    }

    function _list(Signed memory one, Signed memory two) internal pure returns (Signed[] memory all) {
        all = new Signed[](2);
        (all[0], all[1]) = (one, two);
    }

    function _list(Placed memory one) internal pure returns (Placed[] memory all) {
        all = new Placed[](1);
        all[0] = one;
    }

    function _list(Placed memory one, Placed memory two) internal pure returns (Placed[] memory all) {
        all = new Placed[](2);
        (all[0], all[1]) = (one, two);
    }

    /// @dev The neighbours in the roster between which member `account` would stand.
    function _near(Tally memory t, address account) internal pure returns (Placed[] memory) {
        uint256 after_;
        while (after_ < t.roster.length && t.roster[after_].account < account) ++after_;
        if (after_ == 0) return _list(t.placed(0));
        if (after_ == t.roster.length) return _list(t.placed(after_ - 1));
        return _list(t.placed(after_ - 1), t.placed(after_));
    }

    /* VERDICTS */

    /// @dev The proposal is struck out, its proposer loses the bond, the challenger gets its part, the round is open again.
    function _refutes(bytes memory call, Fault fault) internal {
        uint256 lost = ledger.slashed();
        (uint256 had,) = ledger.balance(RIVAL);
        vm.expectEmit(true, true, true, true);
        emit Refuted(id, 1, AGGREGATOR, RIVAL, uint8(fault), BOUNTY);
        vm.prank(RIVAL);
        (bool ok,) = address(ledger).call(call);
        require(ok, "a lie stands");
        (uint256 free, uint256 locked) = ledger.balance(AGGREGATOR);
        require(free == BOND && locked == 0, "the liar keeps its bond");
        (free,) = ledger.balance(RIVAL);
        require(free == had + BOUNTY && ledger.slashed() == lost + BOND - BOUNTY, "bounty");
        RoundView memory r = ledger.round(id, 1);
        require(r.phase == Phase.Open && r.attempt == 1 && ledger.task(id).pending == 1, "round");
    }

    function _refusal(bytes memory call) internal returns (bytes memory reason) {
        bool ok;
        vm.prank(RIVAL);
        (ok, reason) = address(ledger).call(call);
        require(!ok, "refuted");
    }

    /// @dev The evidence holds and shows no fault.
    function _stands(bytes memory call) internal {
        require(bytes4(_refusal(call)) == NotRefuted.selector, "not refused as true");
    }

    /// @dev The evidence is refused for one part of it.
    function _invalid(bytes memory call, string memory part) internal {
        require(
            keccak256(_refusal(call)) == keccak256(abi.encodeWithSelector(InvalidProof.selector, part)),
            string.concat("not refused for its ", part)
        );
    }

    /* AVAILABILITY */

    /// @dev Asks for the node at `position`, `height` levels above the leaves.
    function _sought(Tree memory t, uint256 height, uint256 position) internal pure returns (Sought memory s) {
        (s.height, s.position) = (uint8(height), uint64(position));
        s.digest = t.levels[height < t.levels.length ? height : t.levels.length - 1][position];
        s.siblings = t.auditPath(height, position);
    }

    /// @dev What answers for that node: a leaf, or the digests of a level below.
    function _answer(Tree memory t, uint256 height, uint256 position) internal pure returns (bytes memory data) {
        if (height == 0) return t.leaves[position];
        uint256 step = height < 7 ? height : 7;
        bytes32[] memory below = t.levels[height - step];
        uint256 first = position << step;
        uint256 pieces = below.length - first;
        if (pieces > 1 << step) pieces = 1 << step;
        data = new bytes(32 * pieces);
        for (uint256 i; i < pieces; ++i) {
            bytes32 digest = below[first + i];
            assembly {
                mstore(add(add(data, 32), mul(i, 32)), digest)
            }
        }
    }

    /// @dev The bytes behind a digest of the sum tree.
    function _document(Entry memory e) internal pure returns (bytes memory) {
        return bytes.concat(hex"02", bytes20(e.member), bytes4(e.weight), e.root);
    }

    function _document(SumNode memory n) internal pure returns (bytes memory data) {
        data = bytes.concat(hex"03", bytes4(n.count), bytes8(n.weight), n.vectorRoot);
        for (uint256 i; i < n.children.length; ++i) {
            data = bytes.concat(data, n.children[i]);
        }
    }
}
