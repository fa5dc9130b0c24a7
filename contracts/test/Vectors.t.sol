// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Ledger} from "../src/Ledger.sol";
import {Parameters} from "../src/interfaces/ILedger.sol";
import {Merkle} from "../src/libraries/Merkle.sol";
import {Vm} from "./Vm.sol";

contract OpenLedger is Ledger {
    function digest(bytes32 id, uint32 number, address member, uint32 weight, bytes32 root)
        external
        view
        returns (bytes32)
    {
        return _digest(id, number, member, weight, root);
    }
}

/// @dev The vectors that the Python package is held to (see ../vectors/README.md), as the contract sees them.
contract VectorsTest {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    string internal merkle = vm.readFile("../vectors/merkle.json");
    string internal commitment = vm.readFile("../vectors/commitment.json");

    /// Every path of the vectors shows its leaf at its place.
    function test_vectors_paths() public view {
        string memory json = merkle;
        uint256 i;
        for (; vm.keyExistsJson(json, _case("valid", i)); ++i) {
            string memory place = _case("valid", i);
            bytes32 leaf = Merkle.leafHash(vm.parseJsonBytes(json, _key(place, "data")));
            _check(leaf == vm.parseJsonBytes32(json, _key(place, "leaf")), json, place);
            _check(_isIncluded(json, place), json, place);
        }
        require(i > 30, "no vectors read");
    }

    /// Every forged path of the vectors is refused.
    function test_vectors_forgedPaths() public view {
        string memory json = merkle;
        uint256 i;
        for (; vm.keyExistsJson(json, _case("negatives", i)); ++i) {
            _check(!_isIncluded(json, _case("negatives", i)), json, _case("negatives", i));
        }
        require(i > 20, "no vectors read");
    }

    /// A task gets the id of the vectors.
    function test_vectors_taskIds() public {
        string memory json = commitment;
        uint256 i;
        for (; vm.keyExistsJson(json, _case("tasks", i)); ++i) {
            string memory place = _case("tasks", i);
            OpenLedger ledger = _ledger(json, place);
            Parameters memory p = _parameters(json, _key(place, "parameters"));
            vm.prank(p.sponsor);
            _check(ledger.createTask(p) == vm.parseJsonBytes32(json, _key(place, "task")), json, place);
        }
        require(i >= 4, "no vectors read");
    }

    /// A commitment has the digest of the vectors.
    function test_vectors_commitments() public {
        string memory json = commitment;
        uint256 i;
        for (; vm.keyExistsJson(json, _case("valid", i)); ++i) {
            string memory place = _case("valid", i);
            _check(_digest(json, place) == vm.parseJsonBytes32(json, _key(place, "digest")), json, place);
        }
        require(i >= 4, "no vectors read");
    }

    /// A commitment's digest fits no other chain, contract, task, round, member, root or weight.
    function test_vectors_replayedCommitments() public {
        string memory json = commitment;
        uint256 i;
        for (; vm.keyExistsJson(json, _case("negatives", i)); ++i) {
            string memory place = _case("negatives", i);
            _check(_digest(json, place) != vm.parseJsonBytes32(json, _key(place, "digest")), json, place);
        }
        require(i >= 9, "no vectors read");
    }

    function isIncluded(bytes32 root, bytes32 leaf, uint256 index, uint256 count, bytes32[] calldata path)
        external
        pure
        returns (bool)
    {
        return Merkle.isIncluded(root, leaf, index, count, path);
    }

    function _isIncluded(string memory json, string memory place) internal view returns (bool) {
        return this.isIncluded(
            vm.parseJsonBytes32(json, _key(place, "root")),
            vm.parseJsonBytes32(json, _key(place, "leaf")),
            vm.parseJsonUint(json, _key(place, "index")),
            vm.parseJsonUint(json, _key(place, "count")),
            vm.parseJsonBytes32Array(json, _key(place, "path"))
        );
    }

    /// @dev The contract at the case's address, on the case's chain.
    function _ledger(string memory json, string memory place) internal returns (OpenLedger ledger) {
        ledger = OpenLedger(vm.parseJsonAddress(json, _key(place, "contract")));
        vm.chainId(_uint(json, place, "chain_id"));
        vm.etch(address(ledger), address(new OpenLedger()).code);
    }

    function _digest(string memory json, string memory place) internal returns (bytes32) {
        return _ledger(json, place)
            .digest(
                vm.parseJsonBytes32(json, _key(place, "task")),
                uint32(_uint(json, place, "round")),
                vm.parseJsonAddress(json, _key(place, "member")),
                uint32(_uint(json, place, "weight")),
                vm.parseJsonBytes32(json, _key(place, "root"))
            );
    }

    function _parameters(string memory json, string memory place) internal pure returns (Parameters memory p) {
        p.sponsor = vm.parseJsonAddress(json, _key(place, "sponsor"));
        p.layout = vm.parseJsonBytes32(json, _key(place, "layout"));
        p.genesis = vm.parseJsonBytes32(json, _key(place, "genesis"));
        p.dimension = uint64(_uint(json, place, "dimension"));
        p.scale = uint8(_uint(json, place, "scale"));
        p.leafWords = uint32(_uint(json, place, "leafWords"));
        p.fanIn = uint8(_uint(json, place, "fanIn"));
        p.rule = uint8(_uint(json, place, "rule"));
        p.rounds = uint32(_uint(json, place, "rounds"));
        p.quorum = uint32(_uint(json, place, "quorum"));
        p.maxWeight = uint32(_uint(json, place, "maxWeight"));
        p.maxMembers = uint32(_uint(json, place, "maxMembers"));
        p.slots = uint8(_uint(json, place, "slots"));
        p.commitWindow = uint32(_uint(json, place, "commitWindow"));
        p.challengeWindow = uint32(_uint(json, place, "challengeWindow"));
        p.bond = uint128(_uint(json, place, "bond"));
        p.bounty = uint8(_uint(json, place, "bounty"));
        p.settlement = uint8(_uint(json, place, "settlement"));
        p.voting = uint8(_uint(json, place, "voting"));
        p.voteQuorum = uint8(_uint(json, place, "voteQuorum"));
        p.revealWindow = uint32(_uint(json, place, "revealWindow"));
        p.stake = uint96(_uint(json, place, "stake"));
        p.scorer = vm.parseJsonAddress(json, _key(place, "scorer"));
        p.memberStake = uint96(_uint(json, place, "memberStake"));
        p.revealFee = uint96(_uint(json, place, "revealFee"));
        p.salt = vm.parseJsonBytes32(json, _key(place, "salt"));
    }

    function _uint(string memory json, string memory place, string memory name) internal pure returns (uint256) {
        return vm.parseJsonUint(json, _key(place, name));
    }

    function _check(bool good, string memory json, string memory place) internal pure {
        if (!good) revert(vm.parseJsonString(json, _key(place, "name")));
    }

    function _case(string memory list, uint256 i) internal pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(i), "]");
    }

    function _key(string memory place, string memory name) internal pure returns (string memory) {
        return string.concat(place, ".", name);
    }
}
