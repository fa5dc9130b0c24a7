// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "./Court.sol";

/// @dev Anybody calls anything at any time; most calls are refused, and those that are not must keep the books. One-leaf models.
contract Crowd is Court {
    using Builder for *;

    mapping(uint32 round => bytes32) public finalHash;
    mapping(uint32 round => uint256) public proposals;
    mapping(uint32 round => uint256) public refutations;
    mapping(uint32 round => mapping(address member => bytes28)) public committed;
    /// @dev Words of the model that a round's proposal comes to, if a vector of words at all.
    mapping(uint32 round => int256) internal _model;
    mapping(uint32 round => int256) internal _claimed;
    bool public broken;
    address[] internal accounts;
    int256 internal constant STEP = 5;

    function setUp() public override {
        super.setUp();
        accounts = members;
        accounts.push(SPONSOR);
        accounts.push(AGGREGATOR);
        accounts.push(RIVAL);
        Parameters memory p = parameters();
        (p.dimension, p.leafWords, p.genesis, p.slots, p.quorum) = (8, 8, _root(0, 4), 4, 1);
        vm.startPrank(SPONSOR);
        id = ledger.createTask(p);
        ledger.admit(id, members);
        vm.stopPrank();
    }

    function at() external view returns (Ledger, bytes32, address[] memory) {
        return (ledger, id, accounts);
    }

    function _who(uint8 seed) internal view returns (address) {
        return accounts[seed % accounts.length];
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

    function wait(uint16 time) external {
        vm.warp(block.timestamp + time % 130);
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
            if (committed[number][member] != 0) broken = true;
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
    function _top() internal view returns (SumNode memory top) {
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
        (bytes32 sumRoot, bytes32 nextRoot) = (_top().digest(), _root(base + STEP + lie, 4));
        if (anything) sumRoot = ROOT;
        vm.prank(_who(who));
        try ledger.propose(id, number, anything ? count % 5 : 3, sumRoot, nextRoot, adopt) {
            proposals[number] += 1;
            _model[number] = base + STEP + lie;
            _claimed[number] = anything ? type(int256).min : int256(lie);
        } catch {}
    }

    /// @dev Accuses the next model, whether it is false or not.
    function refute(uint8 who, uint8 back) external {
        uint32 number = _recent(back);
        int256 base = _model[ledger.round(id, number).parent];
        Opening memory old = _flat(base, 4);
        Opening memory total = _flat(6 * STEP, 8);
        Opening memory following = _flat(_model[number], 4);
        SumNode memory top = _top();
        vm.prank(_who(who));
        try ledger.refuteNext(id, number, top, 3, old, total, following) {
            refutations[number] += 1;
            if (_claimed[number] == 0 || _claimed[number] == type(int256).min) broken = true;
        } catch {}
    }

    function void(uint8 back) external {
        try ledger.void(id, _recent(back)) {} catch {}
    }

    function finalise(uint8 back) external {
        uint32 number = _recent(back);
        try ledger.finalise(id, number) {
            finalHash[number] = keccak256(abi.encode(ledger.round(id, number)));
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
        bytes4[] memory s = new bytes4[](14);
        (s[0], s[1], s[2]) = (Crowd.wait.selector, Crowd.deposit.selector, Crowd.withdraw.selector);
        // Twice as often as the rest, for what comes first in a round.
        (s[3], s[4], s[5], s[6]) =
        (Crowd.open.selector, Crowd.open.selector, Crowd.everyone.selector, Crowd.propose.selector);
        (s[7], s[8], s[9]) = (Crowd.propose.selector, Crowd.commit.selector, Crowd.batch.selector);
        (s[10], s[11]) = (Crowd.exclude.selector, Crowd.refute.selector);
        (s[12], s[13]) = (Crowd.void.selector, Crowd.finalise.selector);
        chosen = new FuzzSelector[](1);
        chosen[0] = FuzzSelector(address(crowd), s);
    }

    function targetContracts() public view returns (address[] memory) {
        return _targets;
    }

    /// At every moment: all of the below.
    function invariant_all_holds() public view {
        _books_balance();
        _rounds_hold();
        _the_task_can_go_on();
        _commitments_hold();
    }

    /// The contract holds exactly what its accounts have free and locked and what was slashed, and locks one bond per proposal.
    function _books_balance() internal view {
        (Ledger ledger, bytes32 id, address[] memory accounts) = crowd.at();
        uint256 free;
        uint256 locked;
        for (uint256 i; i < accounts.length; ++i) {
            (uint256 f, uint256 l) = ledger.balance(accounts[i]);
            free += f;
            locked += l;
        }
        require(address(ledger).balance == free + locked + ledger.slashed(), "books");
        uint256 proposed;
        uint256 refuted;
        uint32 opened = ledger.task(id).opened;
        for (uint32 n = 1; n <= opened; ++n) {
            if (ledger.round(id, n).phase == Phase.Proposed) proposed += 1;
            refuted += crowd.refutations(n);
        }
        require(locked == proposed * 0.001 ether, "bonds");
        require(ledger.slashed() == refuted * 0.0005 ether, "slashed");
    }

    /// A final round never changes, stands on a final one and is the only one of its height; each proposal but the last was refuted.
    function _rounds_hold() internal view {
        (Ledger ledger, bytes32 id,) = crowd.at();
        uint32 opened = ledger.task(id).opened;
        uint256 flying;
        uint256 heights;
        for (uint32 n = 1; n <= opened; ++n) {
            RoundView memory r = ledger.round(id, n);
            bool proposed = r.phase == Phase.Proposed || r.phase == Phase.Final;
            require(crowd.proposals(n) <= crowd.refutations(n) + 1, "two proposals");
            require(!proposed || crowd.proposals(n) == crowd.refutations(n) + 1, "no proposal");
            require(r.attempt == crowd.refutations(n), "attempts");
            if (r.phase == Phase.Final) {
                require(keccak256(abi.encode(r)) == crowd.finalHash(n), "final round changed");
                RoundView memory parent = ledger.round(id, r.parent);
                require(parent.phase == Phase.Final && parent.height + 1 == r.height, "parent");
                require(heights & (1 << r.height) == 0, "two final rounds of a height");
                heights |= 1 << r.height;
            } else if (r.phase != Phase.Void) {
                flying += 1;
            }
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
            require(n == t.pending || r.phase == Phase.Proposed || r.phase == Phase.Final, "void branch");
            require(r.parent < n && r.parentAttempt == ledger.round(id, r.parent).attempt, "refuted parent");
            n = r.parent;
        }
    }

    /// While its slot holds a round, a commitment is what it was, or excluded. Nobody is refuted who told the truth.
    function _commitments_hold() internal view {
        (Ledger ledger, bytes32 id, address[] memory accounts) = crowd.at();
        require(!crowd.broken(), "committed twice, or refuted without a lie");
        uint32 opened = ledger.task(id).opened;
        for (uint32 n = opened > 3 ? opened - 3 : 1; n <= opened; ++n) {
            for (uint256 i; i < 3; ++i) {
                (bool held, bytes28 digest) = ledger.commitment(id, n, accounts[i]);
                bytes28 kept = crowd.committed(n, accounts[i]);
                require(held ? digest == 0 || digest == kept : kept == 0, "changed");
            }
        }
    }
}
