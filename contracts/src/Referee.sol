// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Accused, Claim, Entry, Opening, Placed, Signed, SumNode} from "./interfaces/Evidence.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {Fraud} from "./libraries/Fraud.sol";
import "./libraries/Errors.sol";

/// @title Referee
/// @notice Judges evidence against a proposal: each function answers whether it shows a fault, for the ledger that calls. No state,
/// no money; a contract of its own because of EIP-170's limit. The functions are `ILedger`'s of the same names, whose calldata the
/// ledger hands on.
contract Referee {
    bytes32 internal constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant COMMITMENT_TYPE =
        keccak256("Commitment(bytes32 task,uint32 round,address member,bytes32 root,uint32 weight)");

    /// @notice See `ILedger.refuteSum`.
    function refuteSum(
        bytes32 id,
        uint32 number,
        SumNode[] calldata path,
        uint32 index,
        uint64 word,
        Opening calldata total,
        SumNode[] calldata nodes,
        Entry[] calldata entries,
        Opening[] calldata parts
    ) external view returns (bool) {
        return Fraud.isWrongSum(_claim(id, number), path, index, word, total, nodes, entries, parts);
    }

    /// @notice See `ILedger.refuteNext`.
    function refuteNext(
        bytes32 id,
        uint32 number,
        SumNode calldata top,
        uint64 word,
        Opening calldata base,
        Opening calldata total,
        Opening calldata following
    ) external view returns (bool) {
        return Fraud.isWrongNext(_claim(id, number), top, word, base, total, following);
    }

    /// @notice See `ILedger.refuteTree`.
    function refuteTree(
        bytes32 id,
        uint32 number,
        SumNode[] calldata path,
        uint32 index,
        SumNode[] calldata nodes,
        Entry[] calldata entries
    ) external view returns (bool) {
        return Fraud.isWrongTree(_claim(id, number), path, index, nodes, entries);
    }

    /// @notice See `ILedger.refuteVector`.
    function refuteVector(bytes32 id, uint32 number, Accused calldata accused) external view returns (bool) {
        return Fraud.isWrongVector(_claim(id, number), accused);
    }

    /// @notice See `ILedger.refuteEntry`: an entry is neither the member's direct commitment nor in the adopted batch, or the proposer
    /// itself excluded it.
    function refuteEntry(bytes32 id, uint32 number, Placed calldata placed, Signed[] calldata batch)
        external
        view
        returns (bool)
    {
        Claim memory c = _claim(id, number);
        Entry calldata entry = placed.entry;
        if (Fraud.isWrongPlace(c, placed)) return true;
        if (!_isEligible(c, id, entry)) return true;
        (bytes28 digest, address excluder, address batchExcluder) =
            ILedger(msg.sender).standing(id, number, entry.member);
        if (excluder == c.proposer) return true;
        if (digest == _digest(id, number, entry)) return false;
        if (c.batchCount == 0 || batchExcluder == c.proposer) return true;
        return Fraud.isAbsentFromBatch(c, entry, batch);
    }

    /// @notice See `ILedger.refuteOrder`.
    function refuteOrder(bytes32 id, uint32 number, Placed calldata left, Placed calldata right)
        external
        view
        returns (bool)
    {
        return Fraud.isUnordered(_claim(id, number), left, right);
    }

    /// @notice See `ILedger.refuteOmission`.
    function refuteOmission(
        bytes32 id,
        uint32 number,
        Entry calldata entry,
        Signed[] calldata batch,
        Placed[] calldata neighbours
    ) external view returns (bool) {
        Claim memory c = _claim(id, number);
        (bytes28 digest, address excluder, address batchExcluder) =
            ILedger(msg.sender).standing(id, number, entry.member);
        if (batch.length == 0) {
            if (digest != _digest(id, number, entry) || excluder != address(0)) revert InvalidProof("commitment");
        } else {
            if (digest != 0 || batchExcluder != address(0)) revert InvalidProof("commitment");
            if (batch.length != 1 || Fraud.digest(batch[0].entry) != Fraud.digest(entry)) revert InvalidProof("batch");
            Fraud.checkSigned(c, batch[0]);
        }
        return Fraud.isAbsent(c, entry.member, neighbours);
    }

    /// @notice See `ILedger.refuteBatch`.
    function refuteBatch(bytes32 id, uint32 number, Signed[] calldata entries) external view returns (bool) {
        Claim memory c = _claim(id, number);
        if (entries.length == 2) return Fraud.isBatchUnordered(c, entries[0], entries[1]);
        if (entries.length != 1) revert InvalidProof("batch");
        Fraud.checkSigned(c, entries[0]);
        Entry calldata entry = entries[0].entry;
        return _author(id, number, entry, entries[0].signature) != entry.member || !_isEligible(c, id, entry);
    }

    function _claim(bytes32 id, uint32 number) internal view returns (Claim memory) {
        return ILedger(msg.sender).claim(id, number);
    }

    /// @dev Whether an entry is a member's, with a weight that the task allows.
    function _isEligible(Claim memory c, bytes32 id, Entry calldata entry) internal view returns (bool) {
        return ILedger(msg.sender).isMember(id, entry.member) && entry.weight != 0 && entry.weight <= c.maxWeight;
    }

    /// @dev What the ledger's slot holds of an entry's direct commitment.
    function _digest(bytes32 id, uint32 number, Entry calldata e) internal view returns (bytes28) {
        bytes32 tag = sha256("tallystick/commitment/1");
        return bytes28(sha256(abi.encode(tag, block.chainid, msg.sender, id, number, e.member, e.root, e.weight)));
    }

    /// @dev Who signed an entry of a batch (EIP-712); zero for what is no signature.
    function _author(bytes32 id, uint32 number, Entry calldata e, bytes calldata signature)
        internal
        view
        returns (address)
    {
        bytes32 domain =
            keccak256(abi.encode(DOMAIN_TYPE, keccak256("Tallystick"), keccak256("1"), block.chainid, msg.sender));
        bytes32 message = keccak256(abi.encode(COMMITMENT_TYPE, id, number, e.member, e.root, e.weight));
        bytes32 signed = keccak256(abi.encodePacked(hex"1901", domain, message));
        return ecrecover(signed, uint8(signature[64]), bytes32(signature[:32]), bytes32(signature[32:64]));
    }
}
