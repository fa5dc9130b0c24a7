// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Ledger} from "../src/Ledger.sol";
import {Sought, Vector} from "../src/interfaces/Evidence.sol";
import {
    BallotView,
    Fault,
    ILedger,
    ILedgerEvents,
    Parameters,
    Phase,
    RoundView,
    Settlement,
    Standing,
    TaskView,
    Voting
} from "../src/interfaces/ILedger.sol";
import {Merkle} from "../src/libraries/Merkle.sol";
import "../src/libraries/Errors.sol";
import {Vm} from "./Vm.sol";

/// @dev A ledger with one task of three members and two bonded aggregators.
abstract contract Fixture is ILedgerEvents {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    address internal constant SPONSOR = address(0x1001);
    address internal constant AGGREGATOR = address(0x1002);
    address internal constant RIVAL = address(0x1003);
    address internal constant SCORER = address(0x1004);
    address internal constant NOBODY = address(0x1005);
    bytes32 internal constant ROOT = bytes32(uint256(5));
    bytes32 internal constant OTHER = bytes32(uint256(6));
    uint128 internal constant BOND = 0.001 ether;
    uint96 internal constant STAKE = 0.001 ether;
    uint96 internal constant FEE = 0.0001 ether;
    /// @dev Pieces of an answer that is a node or entry of the sum tree, or its top.
    uint32 internal constant DOCUMENT = type(uint32).max;
    uint32 internal constant NODE = type(uint32).max - 1;

    Ledger internal ledger;
    bytes32 internal id;
    address[] internal members;

    function setUp() public virtual {
        vm.warp(1000);
        ledger = new Ledger();
        members.push(address(0x2001));
        members.push(address(0x2002));
        members.push(address(0x2003));
        vm.startPrank(SPONSOR);
        id = ledger.createTask(parameters());
        ledger.admit(id, members);
        vm.stopPrank();
        _deposit(AGGREGATOR, 2 * BOND);
        _deposit(RIVAL, 2 * BOND);
    }

    function parameters() internal pure returns (Parameters memory) {
        return Parameters({
            sponsor: SPONSOR,
            layout: bytes32(uint256(1)),
            genesis: bytes32(uint256(2)),
            dimension: 31,
            scale: 24,
            leafWords: 256,
            fanIn: 4,
            rule: 0,
            rounds: 9,
            quorum: 2,
            maxWeight: 1000,
            maxMembers: 3,
            slots: 2,
            commitWindow: 100,
            challengeWindow: 50,
            bond: BOND,
            bounty: 50,
            settlement: 0,
            voting: 0,
            voteQuorum: 67,
            revealWindow: 30,
            stake: STAKE,
            scorer: address(0),
            memberStake: 0,
            revealFee: FEE,
            salt: 0
        });
    }

    function _deposit(address account, uint256 amount) internal {
        vm.deal(account, account.balance + amount);
        vm.prank(account);
        ledger.deposit{value: amount}();
    }

    function _open(uint32 number) internal {
        vm.prank(AGGREGATOR);
        ledger.open(id, number);
    }

    function _commit(uint256 who, uint32 number) internal {
        vm.prank(members[who]);
        ledger.commit(id, number, 7, ROOT);
    }

    function _propose(uint32 number, uint32 count) internal {
        vm.prank(AGGREGATOR);
        ledger.propose(id, number, count, ROOT, OTHER, false, 0, 0);
    }

    function _play(uint32 number) internal {
        _open(number);
        for (uint256 i; i < 3; ++i) {
            _commit(i, number);
        }
        _propose(number, 3);
    }

    function _batch() internal view returns (bytes32 root, bytes32[] memory leaves) {
        leaves = new bytes32[](3);
        for (uint256 i; i < 3; ++i) {
            leaves[i] = Merkle.leafHash(abi.encodePacked(members[i], uint32(7), ROOT));
        }
        root = Merkle.nodeHash(Merkle.nodeHash(leaves[0], leaves[1]), leaves[2]);
    }

    function _exclude(address by, address member, uint32 weight, bytes32 root, uint8 reason) internal {
        vm.prank(by);
        ledger.exclude(id, 1, member, weight, root, reason, "", 0, new bytes32[](0));
    }

    /// @dev Another task, with the same members.
    function _create(Parameters memory p) internal {
        vm.startPrank(SPONSOR);
        id = ledger.createTask(p);
        ledger.admit(id, members);
        vm.stopPrank();
    }

    function _setting(Settlement settlement, Voting voting) internal pure returns (Parameters memory p) {
        p = parameters();
        (p.settlement, p.voting) = (uint8(settlement), uint8(voting));
        if (voting == Voting.Quality) p.scorer = SCORER;
        p.salt = ROOT;
    }

    function _stake(address who, uint256 amount) internal {
        _deposit(who, amount);
        vm.prank(who);
        ledger.stake(id, amount);
    }

    function _attest(address who, uint32 number) internal {
        RoundView memory r = ledger.round(id, number);
        vm.prank(who);
        ledger.attest(id, number, r.sumRoot, r.nextRoot);
    }

    /// @dev The top of a proposal's sum tree, as something to be demanded.
    function _top(uint32 number) internal view returns (Sought memory s) {
        s.vector = uint8(Vector.Tree);
        s.digest = ledger.round(id, number).sumRoot;
    }

    /// @dev Has a proposal struck out by the rival, for data that nobody reveals.
    function _hide(uint32 number) internal {
        Sought memory s = _top(number);
        vm.prank(RIVAL);
        ledger.demand(id, number, s);
        vm.warp(vm.getBlockTimestamp() + 31);
        ledger.expire(id, number, s.digest, NODE);
    }

    function _does(address by, bytes memory call) internal {
        vm.prank(by);
        (bool ok,) = address(ledger).call(call);
        require(ok, "refused");
    }

    function _refused(address by, bytes memory call, bytes memory reason) internal {
        vm.prank(by);
        (bool ok, bytes memory found) = address(ledger).call(call);
        require(!ok, "accepted");
        require(keccak256(found) == keccak256(reason), "refused for another reason");
    }

    function _holds(address account, uint256 free, uint256 locked) internal view {
        (uint256 f, uint256 l) = ledger.balance(account);
        require(f == free, "free");
        require(l == locked, "locked");
    }
}
