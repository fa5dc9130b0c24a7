// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Ledger} from "../../src/Ledger.sol";
import {Fault, Phase, Standing} from "../../src/interfaces/ILedger.sol";

interface Assume {
    function assume(bool condition) external pure;
}

/// @dev That no call makes or loses money, for all bonds, bounties, stakes and fees. See `Proofs.sol`.
contract MoneyProof is Ledger {
    Assume internal constant vm = Assume(address(uint160(uint256(keccak256("hevm cheat code")))));
    bytes32 internal constant ID = bytes32(uint256(1));
    address internal constant PAYER = address(0x11);
    address internal constant PAID = address(0x12);

    /// @dev The payer has this much locked, and both so little that no sum overflows.
    function _set(uint128 free, uint128 locked, uint128 had, uint8 bounty) internal {
        vm.assume(free < 2 ** 100 && locked < 2 ** 100 && had < 2 ** 100);
        vm.assume(bounty >= 10 && bounty <= 90);
        _tasks[ID].parameters.bounty = bounty;
        _balances[PAYER] = Balance(free, locked);
        _balances[PAID] = Balance(had, 0);
    }

    function _total() internal view returns (uint256) {
        return uint256(_balances[PAYER].free) + _balances[PAYER].locked + _balances[PAID].free + _balances[PAID].locked
            + slashed;
    }

    /// To strike a proposal out moves the bond, the whole bond and nothing but the bond; part of it to the winner, and part to nobody.
    function check_strike_conserves(uint128 bond, uint8 bounty, uint128 free, uint128 locked, uint128 had, bool early)
        external
    {
        _set(free, locked, had, bounty);
        vm.assume(bond >= 10 ** 15 && bond < 2 ** 96 && bond <= locked);
        _tasks[ID].parameters.bond = bond;
        Round storage r = _rounds[ID][1];
        (r.proposer, r.bonded, r.phase) = (PAYER, true, early ? Phase.Final : Phase.Proposed);
        uint256 before = _total();
        _strike(ID, 1, PAID, Fault.Sum);
        assert(_total() == before);
        assert(_balances[PAYER].free == free && _balances[PAYER].locked == locked - bond);
        assert(!r.bonded && r.attempt == 1 && r.phase == (early ? Phase.Final : Phase.Open));
    }

    /// To free a bond moves it from locked to free.
    function check_release_conserves(uint128 bond, uint128 free, uint128 locked) external {
        _set(free, locked, 0, 10);
        vm.assume(bond <= locked);
        _tasks[ID].parameters.bond = bond;
        Round storage r = _rounds[ID][1];
        (r.proposer, r.bonded, r.demands) = (PAYER, true, 3);
        _releaseBond(_tasks[ID], r);
        assert(_balances[PAYER].free == free + bond && _balances[PAYER].locked == locked - bond);
        assert(!r.bonded && r.demands == 0);
    }

    /// A forfeited stake goes in part to whoever showed the lie, and in part to nobody; the vote goes with it.
    function check_forfeit_conserves(uint96 amount, uint8 bounty, uint128 free, uint128 locked, uint128 had) external {
        _set(free, locked, had, bounty);
        vm.assume(amount >= 10 ** 15 && amount <= MAX_STAKE && amount <= locked);
        _tasks[ID].parameters.stake = 10 ** 15;
        _tasks[ID].votes = 5;
        _validators[ID][PAYER].standing = Standing(amount, 1, 0, 0);
        uint256 before = _total();
        _forfeit(ID, _tasks[ID], 1, PAYER, PAID);
        assert(_total() == before);
        assert(_balances[PAYER].free == free && _balances[PAYER].locked == locked - amount);
        assert(_balances[PAID].free > had && _tasks[ID].votes == 4);
        assert(_validators[ID][PAYER].standing.stake == 0 && _validators[ID][PAYER].standing.weight == 0);
    }

    /// A fee goes from whoever demanded to whoever answered, or back.
    function check_fee_conserves(uint96 fee, uint128 free, uint128 locked, uint128 had, bool back) external {
        _set(free, locked, had, 10);
        vm.assume(fee <= locked);
        _tasks[ID].parameters.revealFee = fee;
        uint256 before = _total();
        _payFee(_tasks[ID], PAYER, back ? PAYER : PAID);
        assert(_total() == before && _balances[PAYER].locked == locked - fee);
        assert(_balances[back ? PAYER : PAID].free == (back ? free : had) + fee);
    }

    /// A proposal is settled early by exactly the quorum of votes: with `votes` of `electorate` if and only if that many percent.
    function check_quorum(uint64 electorate, uint64 votes, uint8 quorum, uint8 settlement, uint40 finalAt) external {
        vm.assume(quorum >= 51 && quorum <= 100 && settlement < 4 && votes <= electorate);
        (_tasks[ID].parameters.settlement, _tasks[ID].parameters.voteQuorum) = (settlement, quorum);
        (_tasks[ID].parameters.dimension, _tasks[ID].parameters.leafWords) = (8, 8);
        Round storage r = _rounds[ID][1];
        (r.finalAt, r.ballot.electorate, r.ballot.votes) = (finalAt, electorate, votes);
        bool voted = electorate != 0 && uint256(votes) * 100 >= uint256(electorate) * quorum;
        bool passed = block.timestamp >= finalAt;
        bool expected = settlement == 0 ? passed : settlement == 1 ? passed || voted : settlement == 2 ? voted : false;
        assert(_isSettled(_tasks[ID], r) == expected);
    }
}
