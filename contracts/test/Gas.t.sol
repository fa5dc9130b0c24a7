// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "./Fixture.sol";

/// @dev Whole transactions: 21,000, calldata, execution from cold storage; at least the calldata floor of EIP-7623.
/// Forge runs a test as one transaction, so storage that the test touched is warm; each measured call therefore comes
/// first in its test, after a set-up that Forge commits, and the Python conformance tests compare with real receipts.
contract GasTest is Fixture {
    function setUp() public override {
        super.setUp();
        _open(1);
        for (uint256 i; i < 2; ++i) {
            _commit(i, 1);
        }
    }

    function _gas(bytes memory data) internal returns (uint256) {
        (bool ok,) = address(ledger).call(data);
        require(ok, "refused");
        uint256 tokens;
        for (uint256 i; i < data.length; ++i) {
            tokens += data[i] == 0 ? 1 : 4;
        }
        uint256 used = 21_000 + 4 * tokens + vm.lastCallGas().gasTotalUsed;
        uint256 floor = 21_000 + 10 * tokens;
        return used > floor ? used : floor;
    }

    /// A direct commitment costs at most 35,000 gas.
    function test_gas_commit() public {
        bytes memory data = abi.encodeCall(ledger.commit, (id, 1, 1000, keccak256("root")));
        vm.prank(members[2]);
        require(_gas(data) <= 35_000, "commit");
    }

    /// A batch costs at most 80,000 gas, whatever it holds.
    function test_gas_batch() public {
        bytes memory data = abi.encodeCall(ledger.commitBatch, (id, 1, keccak256("root"), 3));
        vm.prank(AGGREGATOR);
        require(_gas(data) <= 80_000, "batch");
    }

    /// A proposal costs at most 120,000 gas.
    function test_gas_propose() public {
        vm.warp(1101);
        bytes memory data = abi.encodeCall(ledger.propose, (id, 1, 2, keccak256("sum"), keccak256("next"), false));
        vm.prank(AGGREGATOR);
        require(_gas(data) <= 120_000, "propose");
    }
}
