// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Accused, Claim, Entry, Opening, Placed, Signed, Sought, SumNode} from "./interfaces/Evidence.sol";
import {ILedger, Parameters, RoundView, Settlement, Voting} from "./interfaces/ILedger.sol";
import {Fraud} from "./libraries/Fraud.sol";
import {Merkle} from "./libraries/Merkle.sol";
import "./libraries/Errors.sol";

/// @title Referee
/// @notice Judges for the ledger that calls: whether evidence shows a fault, whether an answer is one, whether parameters are within
/// bounds. No state, no money; a contract of its own because of EIP-170's limit. The functions are `ILedger`'s of the same names, whose
/// calldata the ledger hands on.
contract Referee {
    uint256 internal constant MAX_TOTAL_WEIGHT = type(uint32).max;
    uint256 internal constant MAX_WINDOW = 365 days;
    uint256 internal constant MIN_BOND = 0.001 ether;
    uint256 internal constant MAX_SLOTS = 64;
    uint256 internal constant MIN_CHALLENGE_WINDOW = 2;
    uint256 internal constant MIN_BOUNTY = 10;
    uint256 internal constant MAX_BOUNTY = 90;
    uint256 internal constant MIN_VOTE_QUORUM = 51;
    uint256 internal constant MIN_REVEAL_WINDOW = 2;
    uint256 internal constant MIN_REVEAL_FEE = 0.0001 ether;
    uint256 internal constant MAX_STAKE = 1e25;
    uint256 internal constant OPAQUE_RULES = 128;
    /// @dev SHA-256 of "tallystick/commitment/1".
    bytes32 internal constant COMMITMENT_TAG = 0x0dcc99f45be9c8fd2ed904c3b11d0a85982ab3234f7cad8fc2e0e9006cddf3c6;
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

    /// @notice See `ILedger.demand`: how many pieces answer for what is sought.
    function demand(bytes32 id, uint32 number, Sought calldata sought) external view returns (uint256) {
        return Fraud.checkSought(_claim(id, number), sought);
    }

    /// @notice See `ILedger.settleRoster`.
    function settleRoster(bytes32 id, uint32 number, address[] calldata people, Entry[] calldata entries)
        external
        view
        returns (bool)
    {
        Claim memory c = _claim(id, number);
        if (people.length != ILedger(msg.sender).task(id).members || entries.length != c.count) {
            revert InvalidProof("people");
        }
        uint256 counted;
        for (uint256 i; i < people.length; ++i) {
            address member = people[i];
            // Only the ledger that calls is asked.
            // slither-disable-next-line calls-loop
            if ((i != 0 && people[i - 1] >= member) || !ILedger(msg.sender).isMember(id, member)) {
                revert InvalidProof("people");
            }
            // The batch counts for nothing here.
            // slither-disable-next-line calls-loop,unused-return
            (bytes28 held, address excluder,) = ILedger(msg.sender).standing(id, number, member);
            if (counted < entries.length && entries[counted].member == member) {
                if (held != _digest(id, number, entries[counted]) || excluder == c.proposer) {
                    revert InvalidProof("entry");
                }
                ++counted;
            } else if (held != 0 && excluder == address(0)) {
                revert InvalidProof("entry");
            }
        }
        return counted == entries.length;
    }

    /// @notice See `ILedger.settleLeaf`.
    function settleLeaf(
        bytes32 id,
        uint32 number,
        uint32 leaf,
        Entry[] calldata entries,
        Opening[] calldata parts,
        Opening calldata base,
        Opening calldata following
    ) external view returns (bool) {
        return Fraud.isRightLeaf(_claim(id, number), leaf, entries, parts, base, following);
    }

    /// @notice See `ILedger.createTask`: reverts for the first parameter that is out of bounds.
    function createTask(Parameters calldata p) external pure returns (uint256) {
        if (p.layout == 0) revert InvalidTask("layout");
        if (p.genesis == 0) revert InvalidTask("genesis");
        if (p.dimension == 0 || p.dimension > 2 ** 40) revert InvalidTask("dimension");
        if (p.scale > 30) revert InvalidTask("scale");
        if (p.leafWords < 8 || p.leafWords > 4096) revert InvalidTask("leafWords");
        if (p.fanIn < 2 || p.fanIn > 16) revert InvalidTask("fanIn");
        if (p.rule != 0 && p.rule < OPAQUE_RULES) revert InvalidTask("rule");
        if (p.rounds == 0) revert InvalidTask("rounds");
        if (p.maxMembers == 0) revert InvalidTask("maxMembers");
        if (p.quorum == 0 || p.quorum > p.maxMembers) revert InvalidTask("quorum");
        if (p.maxWeight == 0 || uint256(p.maxWeight) * p.maxMembers > MAX_TOTAL_WEIGHT) {
            revert InvalidTask("maxWeight");
        }
        if (p.slots < 2 || p.slots > MAX_SLOTS) revert InvalidTask("slots");
        if (p.commitWindow == 0 || p.commitWindow > MAX_WINDOW) revert InvalidTask("commitWindow");
        if (p.challengeWindow < MIN_CHALLENGE_WINDOW || p.challengeWindow > MAX_WINDOW) {
            revert InvalidTask("challengeWindow");
        }
        if (p.bond < MIN_BOND || p.bond >= 2 ** 96) revert InvalidTask("bond");
        if (p.bounty < MIN_BOUNTY || p.bounty > MAX_BOUNTY) revert InvalidTask("bounty");
        if (
            p.settlement > uint8(Settlement.Proven)
                || (p.rule >= OPAQUE_RULES && p.settlement != uint8(Settlement.Quorum))
        ) revert InvalidTask("settlement");
        if (p.voting > uint8(Voting.Quality)) revert InvalidTask("voting");
        if (p.voteQuorum < MIN_VOTE_QUORUM || p.voteQuorum > 100) revert InvalidTask("voteQuorum");
        if (p.revealWindow < MIN_REVEAL_WINDOW || p.revealWindow > MAX_WINDOW) revert InvalidTask("revealWindow");
        if (p.stake < MIN_BOND || p.stake > MAX_STAKE) revert InvalidTask("stake");
        if ((p.scorer != address(0)) != (p.voting == uint8(Voting.Quality))) revert InvalidTask("scorer");
        if (p.memberStake > MAX_STAKE) revert InvalidTask("memberStake");
        if (p.revealFee < MIN_REVEAL_FEE || p.revealFee > MAX_STAKE) revert InvalidTask("revealFee");
        return 1;
    }

    /// @notice See `ILedger.exclude`: whether the round's batch holds the entry.
    function exclude(
        bytes32 id,
        uint32 number,
        address member,
        uint32 weight,
        bytes32 root,
        uint8,
        bytes calldata signature,
        uint32 index,
        bytes32[] calldata path
    ) external view returns (bool) {
        RoundView memory r = ILedger(msg.sender).round(id, number);
        bytes32 leaf = Merkle.leafHash(abi.encodePacked(member, weight, root, signature));
        return Merkle.isIncluded(r.batchRoot, leaf, index, r.batchCount, path);
    }

    /// @notice See `ILedger.reveal`.
    function reveal(bytes32, uint32, bytes32 digest, uint32 pieces, bytes calldata data) external pure returns (bool) {
        if (pieces >= Fraud.NODE && !Fraud.isDocument(data, pieces == Fraud.NODE)) return false;
        if (pieces == 0 || pieces >= Fraud.NODE) return Merkle.leafHash(data) == digest;
        return data.length == 32 * uint256(pieces) && Merkle.rootOf(data) == digest;
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
        return
            bytes28(
                sha256(abi.encode(COMMITMENT_TAG, block.chainid, msg.sender, id, number, e.member, e.root, e.weight))
            );
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
