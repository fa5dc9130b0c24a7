// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "./Fixture.sol";

/// @dev Anybody calls anything at any time; most calls are refused, and those that are not must keep the books.
contract Crowd is Fixture {
    mapping(uint32 round => bytes32) public finalHash;
    mapping(uint32 round => uint256) public proposals;
    mapping(uint32 round => mapping(address member => bytes28)) public committed;
    bool public broken;
    address[] internal accounts;

    function setUp() public override {
        super.setUp();
        accounts = members;
        accounts.push(SPONSOR);
        accounts.push(AGGREGATOR);
        accounts.push(RIVAL);
    }

    function at() external view returns (Ledger, bytes32, address[] memory) {
        return (ledger, id, accounts);
    }

    function _who(uint8 seed) internal view returns (address) {
        return accounts[seed % accounts.length];
    }

    function wait(uint16 time) external {
        vm.warp(block.timestamp + time % 130);
    }

    function deposit(uint8 who, uint64 amount) external {
        _deposit(_who(who), amount % (3 * BOND));
    }

    function withdraw(uint8 who, uint64 amount) external {
        vm.prank(_who(who));
        try ledger.withdraw(amount % (3 * BOND)) {} catch {}
    }

    function open(uint8 who) external {
        TaskView memory t = ledger.task(id);
        vm.prank(_who(who));
        try ledger.open(id, t.opened + (t.head == t.opened ? 1 : 0)) {} catch {}
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

    function everyone(uint32 weight, bytes32 root) external {
        for (uint8 i; i < 3; ++i) {
            this.commit(i, weight, root);
        }
    }

    function batch(uint8 who, bytes32 root, uint32 count) external {
        uint32 number = ledger.task(id).opened;
        vm.prank(_who(who));
        try ledger.commitBatch(id, number, root, count % 5) {} catch {}
    }

    function exclude(uint8 who, uint8 member, uint32 weight, bytes32 root) external {
        uint32 number = ledger.task(id).opened;
        vm.prank(_who(who));
        try ledger.exclude(id, number, _who(member), weight, root, 1, "", 0, new bytes32[](0)) {} catch {}
    }

    function propose(uint8 who, uint32 count, bytes32 root) external {
        uint32 number = ledger.task(id).opened;
        vm.prank(_who(who));
        try ledger.propose(id, number, count % 5, root, root, false) {
            proposals[number] += 1;
        } catch {}
    }

    function finalise(uint8 back) external {
        uint32 opened = ledger.task(id).opened;
        uint32 number = opened > back % 3 ? opened - back % 3 : 0;
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
        bytes4[] memory s = new bytes4[](10);
        (s[0], s[1], s[2], s[3]) =
        (Crowd.wait.selector, Crowd.deposit.selector, Crowd.withdraw.selector, Crowd.open.selector);
        (s[4], s[5], s[6]) = (Crowd.commit.selector, Crowd.everyone.selector, Crowd.batch.selector);
        (s[7], s[8], s[9]) = (Crowd.exclude.selector, Crowd.propose.selector, Crowd.finalise.selector);
        chosen = new FuzzSelector[](1);
        chosen[0] = FuzzSelector(address(crowd), s);
    }

    function targetContracts() public view returns (address[] memory) {
        return _targets;
    }

    /// The contract holds exactly what its accounts have free and locked, and locks one bond per open proposal.
    function invariant_books_balance() public view {
        (Ledger ledger, bytes32 id, address[] memory accounts) = crowd.at();
        uint256 free;
        uint256 locked;
        for (uint256 i; i < accounts.length; ++i) {
            (uint256 f, uint256 l) = ledger.balance(accounts[i]);
            free += f;
            locked += l;
        }
        require(address(ledger).balance == free + locked, "books");
        uint256 pending;
        uint32 opened = ledger.task(id).opened;
        for (uint32 n = 1; n <= opened; ++n) {
            if (ledger.round(id, n).phase == Phase.Proposed) pending += 1;
        }
        require(locked == pending * 0.001 ether, "bonds");
    }

    /// A final round never changes and stands on a final one; no round is proposed twice; slots hold all in flight.
    function invariant_rounds_hold() public view {
        (Ledger ledger, bytes32 id,) = crowd.at();
        uint32 opened = ledger.task(id).opened;
        uint256 flying;
        for (uint32 n = 1; n <= opened; ++n) {
            RoundView memory r = ledger.round(id, n);
            require(crowd.proposals(n) <= 1, "two proposals");
            if (r.phase == Phase.Final) {
                require(keccak256(abi.encode(r)) == crowd.finalHash(n), "final round changed");
                require(ledger.round(id, r.parent).phase == Phase.Final, "parent");
            } else {
                flying += 1;
            }
        }
        require(flying <= 2, "slots");
    }

    /// While its slot holds a round, a commitment is what it was, or excluded.
    function invariant_commitments_hold() public view {
        (Ledger ledger, bytes32 id, address[] memory accounts) = crowd.at();
        require(!crowd.broken(), "committed twice");
        uint32 opened = ledger.task(id).opened;
        for (uint32 n = opened > 1 ? opened - 1 : 1; n <= opened; ++n) {
            for (uint256 i; i < 3; ++i) {
                (bool held, bytes28 digest) = ledger.commitment(id, n, accounts[i]);
                bytes28 kept = crowd.committed(n, accounts[i]);
                require(held ? digest == 0 || digest == kept : kept == 0, "changed");
            }
        }
    }
}
