// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "./Court.sol";

/// @dev Anybody calls anything at any time; most calls are refused, and those that are not must keep the books. One-leaf models.
contract Crowd is Court {
    using Builder for *;

    mapping(uint32 round => bytes32) public finalHash;
    mapping(uint32 round => uint256) public proposals;
    mapping(uint32 round => uint256) public refutations;
    /// @dev Whether a round's proposal was struck out after votes or a proof had made it final.
    mapping(uint32 round => bool) public late;
    mapping(uint32 round => mapping(address member => bytes28)) public committed;
    /// @dev Words of the model that a round's proposal comes to, if a vector of words at all.
    mapping(uint32 round => int256) internal _model;
    mapping(uint32 round => int256) internal _claimed;
    /// @dev Until when a demand can be answered; zero if there is none. By digest and pieces.
    mapping(uint32 round => mapping(bytes32 key => uint256)) internal _deadlines;
    /// @dev Demands whose fee is locked.
    uint256 public demands;
    /// @dev What the forfeited stakes left to nobody.
    uint256 public forfeited;
    string public broken;
    mapping(uint8 settlement => mapping(uint8 voting => bool)) internal _founded;
    address[] internal accounts;
    int256 internal constant STEP = 5;

    function setUp() public override {
        super.setUp();
        accounts = members;
        accounts.push(SPONSOR);
        accounts.push(AGGREGATOR);
        accounts.push(RIVAL);
        _found(Settlement.Early, Voting.Equal);
    }

    /// @dev A task whose members are its first validators.
    function _found(Settlement settlement, Voting voting) internal {
        _founded[uint8(settlement)][uint8(voting)] = true;
        Parameters memory p = _setting(settlement, voting);
        (p.dimension, p.leafWords, p.genesis, p.slots, p.quorum) = (8, 8, _root(0, 4), 4, 1);
        p.salt = bytes32(uint256(8));
        _create(p);
        uint32[] memory qualities = new uint32[](3);
        (qualities[0], qualities[1], qualities[2]) = (1, 2, 3);
        if (voting == Voting.Quality) _does(SCORER, abi.encodeCall(ledger.grade, (id, members, qualities)));
        for (uint256 i; i < 3; ++i) {
            _stake(members[i], STAKE);
        }
    }

    function at() external view returns (Ledger, bytes32, address[] memory) {
        return (ledger, id, accounts);
    }

    function _who(uint8 seed) internal view returns (address) {
        return accounts[seed % accounts.length];
    }

    function _break(bool when, string memory why) internal {
        if (when) broken = why;
    }

    /// @dev Opens eight words of one value, the only leaf of their vector.
    function _flat(int256 value, uint256 wordBytes) internal pure returns (Opening memory o) {
        bytes memory word = new bytes(wordBytes);
        for (uint256 i; i < wordBytes; ++i) {
            word[i] = bytes1(uint8(uint256(value) >> (8 * i)));
        }
        word = bytes.concat(word, word);
        word = bytes.concat(word, word);
        o.data = bytes.concat(word, word);
    }

    function _root(int256 value, uint256 wordBytes) internal pure returns (bytes32) {
        return sha256(bytes.concat(hex"00", _flat(value, wordBytes).data));
    }

    /// @dev One of the newest rounds.
    function _recent(uint8 back) internal view returns (uint32) {
        uint32 opened = ledger.task(id).opened;
        return opened > back % 5 ? opened - back % 5 : opened;
    }

    /// @dev What of a round never changes once it is final.
    function frozen(RoundView memory r) public pure returns (bytes32) {
        (r.attempt, r.finalAt) = (0, 0);
        return keccak256(abi.encode(r));
    }

    /// @dev Before the first round: another task in the place of the one that is there.
    function begin(uint8 settlement, uint8 voting) external {
        (settlement, voting) = (settlement % 4, voting % 3);
        if (ledger.task(id).opened != 0 || _founded[settlement][voting]) return;
        for (uint256 i; i < accounts.length; ++i) {
            vm.prank(accounts[i]);
            try ledger.unstake(id) {} catch {}
        }
        _found(Settlement(settlement), Voting(voting));
    }

    function wait(uint16 time) external {
        vm.warp(vm.getBlockTimestamp() + time % 130);
    }

    function deposit(uint8 who, uint64 amount) external {
        _deposit(_who(who), amount % (3 * BOND));
    }

    function withdraw(uint8 who, uint64 amount) external {
        vm.prank(_who(who));
        try ledger.withdraw(amount % BOND) {} catch {}
    }

    function open(uint8 who) external {
        TaskView memory t = ledger.task(id);
        vm.prank(_who(who));
        try ledger.open(id, t.pending == 0 ? t.opened + 1 : t.pending) {} catch {}
    }

    function commit(uint8 who, uint32 weight, bytes32 root) external {
        uint32 number = ledger.task(id).opened;
        address member = _who(who);
        vm.prank(member);
        try ledger.commit(id, number, weight % 1002, root) {
            (, bytes28 digest) = ledger.commitment(id, number, member);
            _break(committed[number][member] != 0, "committed twice");
            committed[number][member] = digest;
        } catch {}
    }

    /// @dev All members commit to the same update, so that sums are easy.
    function everyone() external {
        bytes32 root = _root(STEP, 4);
        for (uint8 i; i < 3; ++i) {
            this.commit(i, 2, root);
        }
    }

    function batch(uint8 who, bytes32 root, uint32 count) external {
        uint32 number = ledger.task(id).opened;
        vm.prank(_who(who));
        try ledger.commitBatch(id, number, root, count % 5) {} catch {}
    }

    function exclude(uint8 who, uint8 member, bool right, bytes32 root) external {
        uint32 number = ledger.task(id).opened;
        if (right) root = _root(STEP, 4);
        vm.prank(_who(who));
        try ledger.exclude(id, number, _who(member), 2, root, 1, "", 0, new bytes32[](0)) {} catch {}
    }

    /// @dev The top of a tree over the three members, who did as `everyone` does.
    function _summit() internal view returns (SumNode memory top) {
        top = SumNode(3, 6, _root(6 * STEP, 8), new bytes32[](3));
        for (uint256 i; i < 3; ++i) {
            top.children[i] = Entry(members[i], 2, _root(STEP, 4)).digest();
        }
    }

    /// @dev The true next model, or one that is off by `lie`; or anything at all.
    function propose(uint8 who, int8 lie, uint32 count, bool anything, bool adopt) external {
        uint32 number = ledger.task(id).pending;
        int256 base = _model[ledger.round(id, number).parent];
        if (lie % 3 == 0) lie = 0;
        (bytes32 sumRoot, bytes32 nextRoot) = (_summit().digest(), _root(base + STEP + lie, 4));
        if (anything) sumRoot = ROOT;
        vm.prank(_who(who));
        try ledger.propose(id, number, anything ? count % 5 : 3, sumRoot, nextRoot, adopt, 0, 0) {
            proposals[number] += 1;
            _model[number] = base + STEP + lie;
            _claimed[number] = anything ? type(int256).min : int256(lie);
        } catch {}
    }

    function _struck(uint32 number) internal {
        refutations[number] += 1;
        if (ledger.round(id, number).phase == Phase.Final) late[number] = true;
    }

    /// @dev Accuses the next model, whether it is false or not.
    function refute(uint8 who, uint8 back) external {
        uint32 number = _recent(back);
        int256 base = _model[ledger.round(id, number).parent];
        Opening memory old = _flat(base, 4);
        Opening memory total = _flat(6 * STEP, 8);
        Opening memory following = _flat(_model[number], 4);
        SumNode memory top = _summit();
        vm.prank(_who(who));
        try ledger.refuteNext(id, number, top, 3, old, total, following) {
            _struck(number);
            _break(_claimed[number] == 0 || _claimed[number] == type(int256).min, "refuted without a lie");
        } catch {}
    }

    /// @dev A whole round up to its proposal, and perhaps its votes.
    function play(int8 lie, bool votes) external {
        _deposit(AGGREGATOR, 2 * BOND);
        this.open(4);
        this.everyone();
        this.propose(4, lie, 3, false, false);
        if (votes) this.acclaim();
    }

    /// @dev Finds a lie, and makes all who attested it pay.
    function punish(uint8 who, uint8 back) external {
        this.refute(who, back);
        for (uint8 i; i < 3; ++i) {
            this.slash(who, i, back);
        }
    }

    /// @dev After its time to answer, a member's update is nowhere to be had.
    function testify(uint8 whom, uint8 back) external {
        for (uint8 i; i < 3; ++i) {
            this.witness(i, whom, back);
        }
    }

    function void(uint8 back) external {
        try ledger.void(id, _recent(back)) {} catch {}
    }

    function finalise(uint8 back) external {
        uint32 number = _recent(back);
        try ledger.finalise(id, number) {
            _break(finalHash[number] != 0, "final twice");
            finalHash[number] = frozen(ledger.round(id, number));
        } catch {}
    }

    function release(uint8 back) external {
        try ledger.release(id, _recent(back)) {} catch {}
    }

    function lapse(uint8 back) external {
        try ledger.lapse(id, _recent(back)) {} catch {}
    }

    /* VOTES */

    function stake(uint8 who, uint64 amount) external {
        address account = _who(who);
        _deposit(account, amount % (2 * STAKE));
        vm.prank(account);
        try ledger.stake(id, amount % (2 * STAKE)) {} catch {}
    }

    function unstake(uint8 who) external {
        address account = _who(who);
        bool bound;
        uint32 opened = ledger.task(id).opened;
        for (uint32 n = opened > 3 ? opened - 3 : 1; n <= opened; ++n) {
            (bool held, uint16 attempt) = ledger.attested(id, n, account);
            bound = bound || (held && (ledger.ballot(id, n).bonded || attempt != ledger.round(id, n).attempt));
        }
        vm.prank(account);
        try ledger.unstake(id) {
            _break(bound, "unstaked in doubt");
        } catch {}
    }

    function grade(uint8 who, uint8 quality) external {
        address[] memory one = new address[](1);
        uint32[] memory qualities = new uint32[](1);
        (one[0], qualities[0]) = (_who(who), quality % 8);
        vm.prank(SCORER);
        try ledger.grade(id, one, qualities) {} catch {}
    }

    function attest(uint8 who, uint8 back) external {
        uint32 number = _recent(back);
        RoundView memory r = ledger.round(id, number);
        vm.prank(_who(who));
        try ledger.attest(id, number, r.sumRoot, r.nextRoot) {} catch {}
    }

    /// @dev All members vote for the newest proposal.
    function acclaim() external {
        for (uint8 i; i < 3; ++i) {
            this.attest(i, 0);
        }
    }

    function slash(uint8 who, uint8 whom, uint8 back) external {
        (uint32 number, address account) = (_recent(back), _who(whom));
        (bool held, uint16 attempt) = ledger.attested(id, number, account);
        uint256 lost = ledger.stakeOf(id, account).stake;
        vm.prank(_who(who));
        try ledger.slash(id, number, account) {
            _break(!held || attempt == ledger.round(id, number).attempt, "slashed without a lie");
            forfeited += lost - lost / 2;
        } catch {}
    }

    function witness(uint8 who, uint8 whom, uint8 back) external {
        address member = _who(whom);
        uint256 had = ledger.stakeOf(id, member).stake;
        vm.prank(_who(who));
        try ledger.witness(id, _recent(back), member) {
            if (ledger.stakeOf(id, member).stake == 0) forfeited += had - had / 2;
        } catch {}
    }

    /* AVAILABILITY */

    /// @dev Something under a round's proposal, how many pieces answer for it, and what a proposer that did as `everyone` does answers.
    function _part(uint32 number, uint8 kind)
        internal
        view
        returns (Sought memory s, uint32 pieces, bytes memory data)
    {
        uint8 what = kind % 5;
        SumNode memory top = _summit();
        s.path = new SumNode[](1);
        s.path[0] = top;
        s.index = kind % 3;
        Entry memory e = Entry(members[s.index], 2, _root(STEP, 4));
        if (what == 0) {
            s = _top(number);
            (pieces, data) = (NODE, _document(top));
        } else if (what == 1) {
            (s.vector, s.digest, pieces, data) = (uint8(Vector.Tree), e.digest(), DOCUMENT, _document(e));
        } else if (what == 2) {
            (s.vector, s.index, data) = (uint8(Vector.Sums), 0, _flat(6 * STEP, 8).data);
        } else if (what == 3) {
            (s.vector, s.entries, data) = (uint8(Vector.Update), new Entry[](1), _flat(STEP, 4).data);
            s.entries[0] = e;
        } else {
            (s.vector, data) = (uint8(Vector.Next), _flat(_model[number], 4).data);
        }
        if (what > 1) s.digest = Merkle.leafHash(data);
    }

    function _key(bytes32 digest, uint32 pieces) internal pure returns (bytes32) {
        return keccak256(abi.encode(digest, pieces));
    }

    function demand(uint8 who, uint8 back, uint8 kind) external {
        uint32 number = _recent(back);
        (Sought memory s, uint32 pieces,) = _part(number, kind);
        vm.prank(_who(who));
        try ledger.demand(id, number, s) {
            demands += 1;
            _deadlines[number][_key(s.digest, pieces)] = vm.getBlockTimestamp() + 30;
        } catch {}
    }

    /// @dev An honest proposal always has an answer.
    function reveal(uint8 who, uint8 back, uint8 kind) external {
        uint32 number = _recent(back);
        (Sought memory s, uint32 pieces, bytes memory data) = _part(number, kind);
        bytes32 key = _key(s.digest, pieces);
        if (_deadlines[number][key] == 0) return;
        vm.prank(_who(who));
        try ledger.reveal(id, number, s.digest, pieces, data) {
            demands -= 1;
            _deadlines[number][key] = 0;
        } catch (bytes memory reason) {
            bool gone = bytes4(reason) == NotDemanded.selector;
            _break(_claimed[number] != type(int256).min && !gone, "an honest answer is refused");
        }
    }

    function expire(uint8 who, uint8 back, uint8 kind) external {
        uint32 number = _recent(back);
        (Sought memory s, uint32 pieces,) = _part(number, kind);
        bytes32 key = _key(s.digest, pieces);
        uint256 attempt = ledger.round(id, number).attempt;
        vm.prank(_who(who));
        try ledger.expire(id, number, s.digest, pieces) {
            demands -= 1;
            if (ledger.round(id, number).attempt != attempt) {
                _struck(number);
                _break(vm.getBlockTimestamp() <= _deadlines[number][key], "struck out in time to answer");
            }
            _break(_deadlines[number][key] == 0, "struck out with an answer");
            _deadlines[number][key] = 0;
        } catch {}
    }

    /* SETTLEMENT */

    function settle(uint8 back) external {
        uint32 number = _recent(back);
        Entry[] memory entries = new Entry[](3);
        Opening[] memory parts = new Opening[](3);
        for (uint256 i; i < 3; ++i) {
            (entries[i], parts[i]) = (Entry(members[i], 2, _root(STEP, 4)), _flat(STEP, 4));
        }
        Opening memory base = _flat(_model[ledger.round(id, number).parent], 4);
        Opening memory following = _flat(_model[number], 4);
        try ledger.settleRoster(id, number, members, entries) {} catch {}
        try ledger.settleLeaf(id, number, 0, entries, parts, base, following) {
            bool lie = _claimed[number] != 0 && _claimed[number] != type(int256).min;
            _break(lie, "a lie is proven");
        } catch {}
    }
}

contract Invariants {
    Crowd internal crowd;
    address[] internal _targets;

    function setUp() public {
        crowd = new Crowd();
        crowd.setUp();
        _targets.push(address(crowd));
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function targetSelectors() public view returns (FuzzSelector[] memory chosen) {
        bytes4[] memory s = new bytes4[](35);
        (s[0], s[1], s[2]) = (Crowd.wait.selector, Crowd.deposit.selector, Crowd.withdraw.selector);
        // Twice as often as the rest, for what comes first in a round.
        (s[3], s[4], s[5], s[6]) =
        (Crowd.open.selector, Crowd.open.selector, Crowd.everyone.selector, Crowd.propose.selector);
        (s[7], s[8], s[9]) = (Crowd.propose.selector, Crowd.commit.selector, Crowd.batch.selector);
        (s[10], s[11]) = (Crowd.exclude.selector, Crowd.refute.selector);
        (s[12], s[13], s[14]) = (Crowd.void.selector, Crowd.finalise.selector, Crowd.finalise.selector);
        (s[15], s[16], s[17]) = (Crowd.stake.selector, Crowd.unstake.selector, Crowd.grade.selector);
        (s[18], s[19], s[20]) = (Crowd.attest.selector, Crowd.acclaim.selector, Crowd.slash.selector);
        (s[21], s[22], s[23]) = (Crowd.witness.selector, Crowd.demand.selector, Crowd.demand.selector);
        (s[24], s[25], s[26]) = (Crowd.reveal.selector, Crowd.expire.selector, Crowd.release.selector);
        (s[27], s[28], s[29]) = (Crowd.lapse.selector, Crowd.settle.selector, Crowd.begin.selector);
        (s[30], s[31], s[32]) = (Crowd.everyone.selector, Crowd.play.selector, Crowd.play.selector);
        (s[33], s[34]) = (Crowd.punish.selector, Crowd.testify.selector);
        chosen = new FuzzSelector[](1);
        chosen[0] = FuzzSelector(address(crowd), s);
    }

    function targetContracts() public view returns (address[] memory) {
        return _targets;
    }

    /// At every moment: all of the below.
    function invariant_all_holds() public view {
        require(bytes(crowd.broken()).length == 0, crowd.broken());
        _books_balance();
        _rounds_hold();
        _the_task_can_go_on();
        _commitments_hold();
    }

    /// The contract holds exactly what its accounts have free and locked and what was slashed; it locks one bond for each proposal that
    /// can be refuted, the stakes, and one fee for each demand.
    function _books_balance() internal view {
        (Ledger ledger, bytes32 id, address[] memory accounts) = crowd.at();
        uint256 free;
        uint256 locked;
        uint256 owed = crowd.demands() * 0.0001 ether;
        uint256 votes;
        for (uint256 i; i < accounts.length; ++i) {
            (uint256 f, uint256 l) = ledger.balance(accounts[i]);
            Standing memory s = ledger.stakeOf(id, accounts[i]);
            (free, locked, owed, votes) = (free + f, locked + l, owed + s.stake, votes + s.weight);
        }
        require(address(ledger).balance == free + locked + ledger.slashed(), "books");
        require(ledger.task(id).votes == votes, "votes");
        uint256 lost = crowd.forfeited();
        uint32 opened = ledger.task(id).opened;
        for (uint32 n = 1; n <= opened; ++n) {
            BallotView memory b = ledger.ballot(id, n);
            require(b.votes <= b.electorate, "more votes than voters");
            if (b.bonded) owed += 0.001 ether;
            lost += crowd.refutations(n) * 0.0005 ether;
        }
        require(locked == owed, "locked");
        require(ledger.slashed() == lost, "slashed");
    }

    /// A final round never changes, stands on a final one and is the only one of its height; each proposal but the last was refuted.
    function _rounds_hold() internal view {
        (Ledger ledger, bytes32 id,) = crowd.at();
        uint32 opened = ledger.task(id).opened;
        uint256 flying;
        uint256 heights;
        for (uint32 n = 1; n <= opened; ++n) {
            RoundView memory r = ledger.round(id, n);
            bool bonded = ledger.ballot(id, n).bonded;
            bool proposed = r.phase == Phase.Proposed || r.phase == Phase.Final;
            require(crowd.proposals(n) <= crowd.refutations(n) + 1, "two proposals");
            require(!proposed || crowd.proposals(n) == crowd.refutations(n) + (crowd.late(n) ? 0 : 1), "no proposal");
            require(r.attempt == crowd.refutations(n), "attempts");
            require(bonded == (r.phase == Phase.Proposed) || r.phase == Phase.Final, "bonded");
            if (r.phase == Phase.Final) {
                require(crowd.frozen(r) == crowd.finalHash(n), "final round changed");
                RoundView memory parent = ledger.round(id, r.parent);
                require(parent.phase == Phase.Final && parent.height + 1 == r.height, "parent");
                require(heights & (1 << r.height) == 0, "two final rounds of a height");
                heights |= 1 << r.height;
            }
            if (bonded || r.phase == Phase.Open) flying += 1;
        }
        require(flying <= 4, "slots");
    }

    /// The task goes on from its head, or awaits a proposal on it; from there every round down to a final one is true to its parent.
    function _the_task_can_go_on() internal view {
        (Ledger ledger, bytes32 id,) = crowd.at();
        TaskView memory t = ledger.task(id);
        if (t.pending != 0) {
            RoundView memory r = ledger.round(id, t.pending);
            require(r.phase == Phase.Open && r.parent == t.head, "pending");
        }
        for (uint32 n = t.pending == 0 ? t.head : t.pending; n != 0;) {
            RoundView memory r = ledger.round(id, n);
            RoundView memory parent = ledger.round(id, r.parent);
            require(n == t.pending || r.phase == Phase.Proposed || r.phase == Phase.Final, "void branch");
            // What was final before it was struck out is still what its children were built on.
            require(r.parentAttempt == parent.attempt || parent.phase == Phase.Final, "refuted parent");
            require(r.parent < n, "order");
            n = r.parent;
        }
    }

    /// While its slot holds a round, a commitment is what it was, or excluded; and a slot holds its round while a bond depends on it.
    function _commitments_hold() internal view {
        (Ledger ledger, bytes32 id, address[] memory accounts) = crowd.at();
        uint32 opened = ledger.task(id).opened;
        for (uint32 n = opened > 5 ? opened - 5 : 1; n <= opened; ++n) {
            if (n + 4 <= opened && !ledger.ballot(id, n).bonded) continue;
            for (uint256 i; i < 3; ++i) {
                (bool held, bytes28 digest) = ledger.commitment(id, n, accounts[i]);
                bytes28 kept = crowd.committed(n, accounts[i]);
                require(held ? digest == 0 || digest == kept : kept == 0, "changed");
            }
        }
    }
}
