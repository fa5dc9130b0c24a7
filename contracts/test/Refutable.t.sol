// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "./Court.sol";

/// @dev Random rounds: what is true is never refuted, and what is false always is.
contract RefutableTest is Court {
    using Builder for *;

    struct Case {
        uint256 seed;
        Tally t;
        bool adopt;
        Signed[] batch;
    }

    /// @dev 1 to 9 members, fan-in 2 to 4, 1 to 40 words; half of the rounds committed to directly, half in a batch.
    function _case(uint256 seed) internal returns (Case memory c) {
        c.seed = seed;
        c.t = _scene(seed, 1 + _pick(c, 1, 9), 2 + _pick(c, 2, 3), 1 + _pick(c, 3, 40));
        c.adopt = _pick(c, 4, 2) == 0;
        if (c.adopt) {
            c.batch = _signAll(c.t.roster);
            _commitBatch(c.batch);
        } else {
            _commitAll(c.t.roster);
        }
    }

    /// @dev Choice number `what`, below `bound`.
    function _pick(Case memory c, uint256 what, uint256 bound) internal pure returns (uint256) {
        return _random(c.seed, what) % bound;
    }

    /// @dev What in the batch tells about an account: its entry, else its neighbours.
    function _nearInBatch(Case memory c, address account) internal pure returns (Signed[] memory) {
        if (!c.adopt) return new Signed[](0);
        uint256 after_;
        while (after_ < c.batch.length && c.batch[after_].entry.member < account) ++after_;
        if (after_ == c.batch.length) return _list(c.batch[after_ - 1]);
        if (after_ == 0 || c.batch[after_].entry.member == account) return _list(c.batch[after_]);
        return _list(c.batch[after_ - 1], c.batch[after_]);
    }

    /// @dev True evidence of kind `kind` about random places.
    function _evidence(Case memory c, uint256 kind) internal view returns (bytes memory) {
        Tally memory t = c.t;
        uint256 level = 1 + _pick(c, 20 + kind, t.nodes.length);
        uint256 index = _pick(c, 30 + kind, t.nodes[level - 1].length);
        uint256 word = _pick(c, 40 + kind, t.base.length);
        uint256 who = _pick(c, 50 + kind, t.roster.length);
        if (kind == 0) return _sum(t, level, index, word);
        if (kind == 1) return _next(t, word);
        if (kind == 2) return _tree(t, level, index);
        if (kind == 3) return _vector(_anyVector(c, level, index, who));
        if (kind == 4) return _entry(t.placed(who), _nearInBatch(c, t.roster[who].account));
        if (kind == 5) return _order(t, who, who + 1 < t.roster.length ? who + 1 : who);
        if (kind == 6) {
            Placed[] memory near = who > 0 ? _list(t.placed(who - 1), t.placed(who)) : _list(t.placed(who));
            Signed[] memory signed = c.adopt ? _list(c.batch[who]) : new Signed[](0);
            return _omission(t.roster[_pick(c, 60, t.roster.length)].entry(), signed, near);
        }
        if (!c.adopt) return _batch(new Signed[](0));
        return _batch(who > 0 ? _list(c.batch[who - 1], c.batch[who]) : _list(c.batch[who]));
    }

    function _anyVector(Case memory c, uint256 level, uint256 index, uint256 who)
        internal
        pure
        returns (Accused memory a)
    {
        uint256 vector = _pick(c, 61, c.adopt ? 4 : 3);
        Tree memory tree = vector == 0
            ? c.t.vectors[level - 1][index]
            : vector == 1 ? c.t.roster[who].update : vector == 2 ? c.t.nextTree : c.batch.batch();
        uint256 height = _pick(c, 62, tree.levels.length);
        a = _accused(tree, height, _pick(c, 63, tree.levels[height].length));
        a.vector = uint8(vector);
        if (vector == 0) (a.path, a.index) = (c.t.path(level, index), uint32(index));
        if (vector == 1) {
            (a.path, a.index, a.entries) = (c.t.path(1, who / c.t.fanIn), uint32(who), new Entry[](1));
            a.entries[0] = c.t.roster[who].entry();
        }
    }

    /// Whatever is said of an honest proposal, with true evidence or with one bit of it changed, its proposer keeps the bond.
    function testFuzz_honest_proposals_stand(uint256 seed) public {
        Case memory c = _case(seed);
        c.t.combine();
        _proposeTally(c.t, c.adopt);
        for (uint256 kind; kind < 8; ++kind) {
            bytes memory call = _evidence(c, kind);
            bytes4 refusal = bytes4(_refusal(call));
            require(refusal == NotRefuted.selector || refusal == InvalidProof.selector, "refusal");
            uint256 at = 68 + _pick(c, 70 + kind, call.length - 68);
            call[at] = bytes1(uint8(call[at]) ^ uint8(1 << _pick(c, 80 + kind, 8)));
            _refusal(call);
        }
        (, uint256 locked) = ledger.balance(AGGREGATOR);
        require(locked == BOND && ledger.slashed() == 0, "slashed");
    }

    /// @dev The tree of a vector of the round, and where to look in it.
    function _anyTree(Case memory c, uint256 kind, uint256 level, uint256 index, uint256 who)
        internal
        pure
        returns (Tree memory tree, Sought memory s)
    {
        uint256 vector = _pick(c, 61 + kind, c.adopt ? 4 : 3);
        tree = vector == 0
            ? c.t.vectors[level - 1][index]
            : vector == 1 ? c.t.roster[who].update : vector == 2 ? c.t.nextTree : c.batch.batch();
        // One in four from above the root, which is a place too.
        uint256 top = tree.levels.length - 1;
        uint256 height =
            _pick(c, 62 + kind, 4) == 0 ? top + _pick(c, 63 + kind, 41 - top) : _pick(c, 63 + kind, top + 1);
        s = _sought(tree, height, _pick(c, 64 + kind, tree.levels[height < top ? height : top].length));
        s.vector = uint8(vector);
        if (vector == 0) (s.path, s.index) = (c.t.path(level, index), uint32(index));
        if (vector == 1) {
            (s.path, s.index, s.entries) = (c.t.path(1, who / c.t.fanIn), uint32(who), new Entry[](1));
            s.entries[0] = c.t.roster[who].entry();
        }
    }

    /// @dev A node of the sum tree, or an entry of the roster at level 0, and its bytes.
    function _anyDocument(Case memory c, uint256 level, uint256 index, uint256 who, bool entry)
        internal
        pure
        returns (Sought memory s, bytes memory data)
    {
        if (entry) (level, index) = (0, who);
        data = entry ? _document(c.t.roster[who].entry()) : _document(c.t.nodes[level - 1][index]);
        (s.vector, s.index, s.digest) = (uint8(Vector.Tree), uint32(index), Merkle.leafHash(data));
        if (level < c.t.nodes.length) s.path = c.t.path(level + 1, index / c.t.fanIn);
    }

    function _tries(bytes memory call) internal returns (bool ok, bytes memory reason) {
        vm.prank(RIVAL);
        (ok, reason) = address(ledger).call(call);
    }

    /// @dev Reveals whatever of the tree has that digest, as an honest proposer would.
    function _finds(Tree memory tree, Sought memory s) internal returns (bool ok) {
        for (uint256 height; height < tree.levels.length + 7 && !ok; ++height) {
            uint256 level = height < tree.levels.length ? height : tree.levels.length - 1;
            if (height >= 7 && height - 7 >= tree.levels.length) break;
            for (uint256 i; i < tree.levels[level].length && !ok; ++i) {
                if (tree.levels[level][i] != s.digest) continue;
                bytes memory data = _answer(tree, height, i);
                uint32 pieces = height == 0 ? 0 : uint32(data.length / 32);
                (ok,) = _tries(abi.encodeCall(ledger.reveal, (id, 1, s.digest, pieces, data)));
            }
        }
    }

    /// Whatever is demanded of an honest proposal, its tree has the answer, also to a demand with one bit changed; and whoever answers
    /// is never struck out.
    function testFuzz_honest_proposals_answer(uint256 seed) public {
        Case memory c = _case(seed);
        c.t.combine();
        _proposeTally(c.t, c.adopt);
        for (uint256 kind; kind < 4; ++kind) {
            uint256 level = 1 + _pick(c, 20 + kind, c.t.nodes.length);
            uint256 index = _pick(c, 30 + kind, c.t.nodes[level - 1].length);
            uint256 who = _pick(c, 50 + kind, c.t.roster.length);
            Tree memory tree;
            Sought memory s;
            bytes memory data;
            if (kind == 0) (s, data) = _anyDocument(c, level, index, who, _pick(c, 60, 2) == 0);
            else (tree, s) = _anyTree(c, 10 * kind, level, index, who);
            bytes memory call = abi.encodeCall(ledger.demand, (id, 1, s));
            (bool ok, bytes memory reason) = _tries(call);
            if (ok) {
                uint32 pieces = s.path.length == 0 ? NODE : DOCUMENT;
                if (kind == 0) (ok,) = _tries(abi.encodeCall(ledger.reveal, (id, 1, s.digest, pieces, data)));
                else ok = _finds(tree, s);
                require(ok, "an honest proposal has no answer");
            } else {
                bytes memory single = abi.encodeWithSelector(InvalidProof.selector, "height");
                require(keccak256(reason) == keccak256(single), "refused");
            }
            uint256 place = 68 + _pick(c, 70 + kind, call.length - 68);
            call[place] = bytes1(uint8(call[place]) ^ uint8(1 << _pick(c, 80 + kind, 8)));
            (ok,) = _tries(call);
            if (!ok) continue;
            if (kind == 0) {
                (ok,) = _tries(abi.encodeCall(ledger.reveal, (id, 1, s.digest, NODE, data)));
                if (!ok) (ok,) = _tries(abi.encodeCall(ledger.reveal, (id, 1, s.digest, DOCUMENT, data)));
            } else {
                ok = _finds(tree, s);
            }
            require(ok, "an honest proposal has no answer to a changed demand");
        }
        vm.warp(vm.getBlockTimestamp() + 50);
        ledger.finalise(id, 1);
        (uint256 free,) = ledger.balance(AGGREGATOR);
        require(free == 2 * BOND && ledger.slashed() == 0, "slashed");
    }

    /// One wrong word, in any node's sums or in the next model, is refuted.
    /// forge-config: ci.fuzz.runs = 3500
    function testFuzz_wrong_words_are_refuted(uint256 seed) public {
        Case memory c = _case(seed);
        c.t.combine();
        uint256 level = 1 + _pick(c, 5, c.t.nodes.length + 1);
        uint256 index = level > c.t.nodes.length ? 0 : _pick(c, 6, c.t.nodes[level - 1].length);
        uint256 word = _pick(c, 7, c.t.base.length);
        c.t.combine(Lie(level, index, word, int256(int32(uint32(_random(seed, 8)) | 1))));
        _proposeTally(c.t, c.adopt);
        bool next = level > c.t.nodes.length;
        _refutes(next ? _next(c.t, word) : _sum(c.t, level, index, word), next ? Fault.Next : Fault.Sum);
    }

    /// One wrong weight or count, in any node, is refuted.
    /// forge-config: ci.fuzz.runs = 3500
    function testFuzz_wrong_nodes_are_refuted(uint256 seed) public {
        Case memory c = _case(seed);
        c.t.combine();
        uint256 level = 1 + _pick(c, 5, c.t.nodes.length);
        uint256 index = _pick(c, 6, c.t.nodes[level - 1].length);
        SumNode memory node = c.t.nodes[level - 1][index];
        if (_pick(c, 7, 2) == 0) node.weight ^= uint64(_random(seed, 8)) | 1;
        else node.count ^= uint32(_random(seed, 8)) | 1;
        c.t.relink(level);
        _proposeTally(c.t, c.adopt);
        _refutes(_tree(c.t, level, index), Fault.Tree);
    }

    /// One change of the roster is refuted: a weight, an update, a stranger, one left out, one twice, two exchanged.
    /// forge-config: ci.fuzz.runs = 3500
    function testFuzz_wrong_rosters_are_refuted(uint256 seed) public {
        Case memory c = _case(seed);
        Tally memory t = c.t;
        uint256 who = _pick(c, 5, t.roster.length);
        uint256 beside = who == 0 ? 1 : who - 1;
        uint256 kind = _pick(c, 6, t.roster.length > 1 ? 6 : 3);
        Member memory m = t.roster[who];
        if (kind == 0) {
            m.weight ^= uint32(_random(seed, 7)) % 4096 | 1;
        } else if (kind == 1) {
            _set(m, 0, m.words[0] == 1 ? int256(2) : int256(1));
        } else if (kind == 2) {
            m.account = address(uint160(m.account) ^ 1);
        } else if (kind == 3) {
            t.roster = t.roster.without(who);
        } else if (kind == 4) {
            t.roster[beside] = m;
        } else {
            t.roster.swap(who, beside);
        }
        if (_noWeight(t)) return;
        t.combine();
        _proposeTally(t, c.adopt);
        if (kind < 3) {
            _refutes(_entry(t.placed(who), _nearInBatch(c, m.account)), Fault.Entry);
        } else if (kind == 3) {
            Signed[] memory signed = c.adopt ? _list(c.batch[who]) : new Signed[](0);
            _refutes(_omission(m.entry(), signed, _near(t, m.account)), Fault.Omission);
        } else {
            uint256 left = who == 0 ? 0 : beside;
            _refutes(_order(t, left, left + 1), Fault.Order);
        }
    }

    function _noWeight(Tally memory t) internal pure returns (bool) {
        for (uint256 i; i < t.roster.length; ++i) {
            if (t.roster[i].weight > 0) return false;
        }
        return true;
    }
}
