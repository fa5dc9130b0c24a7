// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "./Court.sol";

/// @dev Rounds that were committed to in a batch, and proposals that answer for it.
contract BatchTest is Court {
    using Builder for *;

    /// @dev Everybody is in the batch, and in the roster.
    function _batched() internal returns (Tally memory t, Signed[] memory batch) {
        t = _scene();
        batch = _signAll(t.roster);
        _commitBatch(batch);
        t.combine();
    }

    /// A true proposal over a true batch cannot be refuted by any entry or pair of neighbours.
    function test_honest_batch_stands() public {
        (Tally memory t, Signed[] memory batch) = _batched();
        _proposeTally(t, true);
        for (uint256 i; i < 5; ++i) {
            _stands(_batch(_list(batch[i])));
            if (i > 0) _stands(_batch(_list(batch[i - 1], batch[i])));
            for (uint256 j; j < 5; ++j) {
                _stands(_entry(t.placed(i), _list(batch[j])));
                if (j > 0) _stands(_entry(t.placed(i), _list(batch[j - 1], batch[j])));
            }
            _stands(_omission(t.roster[i].entry(), _list(batch[i]), _list(t.placed(i))));
        }
        _invalid(_entry(t.placed(0), new Signed[](0)), "neighbours");
        _invalid(_entry(t.placed(0), _list(batch[1], batch[3])), "neighbours");
        _invalid(_batch(_list(batch[1], batch[3])), "neighbours");
        _invalid(_batch(new Signed[](0)), "batch");
        vm.warp(2000);
        ledger.finalise(id, 1);
    }

    /// A member in the adopted batch that the roster leaves out is missed at either end and in the middle.
    function test_omitted_batch_entry() public {
        for (uint256 gone; gone < 5; gone += 2) {
            Tally memory t = _scene(gone, 5, 2, 20);
            Signed[] memory batch = _signAll(t.roster);
            _commitBatch(batch);
            Member memory missed = t.roster[gone];
            t.roster = t.roster.without(gone);
            t.combine();
            _proposeTally(t, true);
            _invalid(_omission(missed, _near(t, missed.account)), "commitment");
            _refutes(_omission(missed.entry(), _list(batch[gone]), _near(t, missed.account)), Fault.Omission);
            vm.warp(1000);
            _deposit(AGGREGATOR, BOND);
        }
    }

    /// Whoever committed directly or was left out of the batch for a reason is not missed in the batch's name.
    function test_omission_from_a_batch_refuses() public {
        Tally memory t = _scene();
        Signed[] memory batch = _signAll(t.roster);
        _commitBatch(batch);
        (Entry memory direct, Entry memory excluded) = (t.roster[0].entry(), t.roster[4].entry());
        vm.prank(direct.member);
        ledger.commit(id, 1, direct.weight, direct.root);
        vm.prank(AGGREGATOR);
        ledger.exclude(id, 1, excluded.member, excluded.weight, excluded.root, 2, batch[4].signature, 4, batch[4].path);
        t.roster = t.roster.without(4);
        t.combine();
        _proposeTally(t, true);
        _invalid(_omission(direct, _list(batch[0]), _list(t.placed(0))), "commitment");
        _invalid(_omission(excluded, _list(batch[4]), _list(t.placed(3))), "commitment");
        _invalid(_omission(batch[1].entry, _list(batch[2]), _list(t.placed(0))), "batch");
        _invalid(_omission(batch[1].entry, _list(batch[1], batch[2]), _list(t.placed(0))), "batch");
        _stands(_omission(batch[1].entry, _list(batch[1]), _list(t.placed(0), t.placed(1))));
    }

    /// Whoever leaves an entry of the batch out for a reason cannot add it up all the same.
    function test_excluded_batch_entry_kept() public {
        (Tally memory t, Signed[] memory batch) = _batched();
        Entry memory e = batch[4].entry;
        vm.prank(AGGREGATOR);
        ledger.exclude(id, 1, e.member, e.weight, e.root, 2, batch[4].signature, 4, batch[4].path);
        _proposeTally(t, true);
        _stands(_entry(t.placed(3), _list(batch[3])));
        _refutes(_entry(t, 4), Fault.Entry);
    }

    /// An entry that is not in the batch is refuted by its neighbours there, at either end and in the middle.
    function test_foreign_entry_in_a_batched_round() public {
        for (uint256 extra; extra < 5; extra += 2) {
            Tally memory t = _scene(extra, 5, 2, 20);
            Signed[] memory batch = _signAll(t.roster.without(extra));
            _commitBatch(batch);
            t.combine();
            _proposeTally(t, true);
            Signed[] memory near =
                extra == 0 ? _list(batch[0]) : extra == 4 ? _list(batch[3]) : _list(batch[extra - 1], batch[extra]);
            _refutes(_entry(t.placed(extra), near), Fault.Entry);
            vm.warp(1000);
            _deposit(AGGREGATOR, BOND);
        }
    }

    /// A member's entry that differs from the one in the batch is refuted by that one.
    function test_forged_weight_in_a_batched_round() public {
        (Tally memory t, Signed[] memory batch) = _batched();
        t.roster[2].weight -= 1;
        t.combine();
        _proposeTally(t, true);
        _refutes(_entry(t.placed(2), _list(batch[2])), Fault.Entry);
    }

    /// Without a batch to answer for, an entry that was not committed to directly is refuted by itself.
    function test_batch_that_was_not_adopted_counts_for_nothing() public {
        (Tally memory t, Signed[] memory batch) = _batched();
        _proposeTally(t, false);
        _invalid(_batch(_list(batch[0])), "batch");
        _refutes(_entry(t, 0), Fault.Entry);
    }

    /// A batch out of order, in which a member could be in two places, is refuted by two neighbours.
    function test_unsorted_batch() public {
        Tally memory t = _scene();
        Signed[] memory batch = _signAll(t.roster);
        (batch[1], batch[2]) = (batch[2], batch[1]);
        _commitBatch(batch);
        t.combine();
        _proposeTally(t, true);
        _stands(_batch(_list(batch[1])));
        _refutes(_batch(_list(batch[1], batch[2])), Fault.Batch);
    }

    /// A batch with a member twice is refuted by the two entries.
    function test_member_twice_in_a_batch() public {
        Tally memory t = _scene();
        Signed[] memory batch = _signAll(t.roster.without(0).with(3, t.roster[3]));
        _commitBatch(batch);
        t.combine();
        _proposeTally(t, true);
        _refutes(_batch(_list(batch[2], batch[3])), Fault.Batch);
    }

    /// @dev A batch whose entry 2 is signed with these bytes.
    function _signedAs(bytes memory signature) internal returns (Signed[] memory batch) {
        Tally memory t = _scene();
        batch = _signAll(t.roster);
        batch[2].signature = signature;
        _commitBatch(batch);
        t.combine();
        _proposeTally(t, true);
    }

    /// An entry that nobody signed is refuted: an aggregator cannot make up commitments.
    function test_unsigned_batch_entry() public {
        _refutes(_batch(_list(_signedAs(new bytes(65))[2])), Fault.Batch);
    }

    /// An entry that another member signed is refuted.
    function test_batch_entry_signed_by_another() public {
        Tally memory t = _scene();
        Signed[] memory batch = _signAll(t.roster);
        Member memory forger = t.roster[1];
        (forger.account, forger.weight, forger.update) = (t.roster[2].account, t.roster[2].weight, t.roster[2].update);
        batch[2].signature = _sign(forger, 1);
        _commitBatch(batch);
        t.combine();
        _proposeTally(t, true);
        _refutes(_batch(_list(batch[2])), Fault.Batch);
    }

    /// A signature for another round is no signature here.
    function test_batch_signed_for_another_round() public {
        Tally memory t = _scene();
        Signed[] memory batch = _signAll(t.roster);
        batch[2].signature = _sign(t.roster[2], 2);
        _commitBatch(batch);
        t.combine();
        _proposeTally(t, true);
        _refutes(_batch(_list(batch[2])), Fault.Batch);
    }

    /// A signature over another weight is no signature here, and neither is one with a wrong last byte.
    function test_batch_signed_otherwise() public {
        for (uint256 i; i < 2; ++i) {
            Tally memory t = _scene(i, 5, 2, 20);
            Signed[] memory batch = _signAll(t.roster);
            if (i == 0) batch[2].entry.weight += 1;
            else batch[2].signature[64] = bytes1(uint8(batch[2].signature[64]) - 27);
            _commitBatch(batch);
            t.combine();
            _proposeTally(t, true);
            _refutes(_batch(_list(batch[2])), Fault.Batch);
            vm.warp(1000);
            _deposit(AGGREGATOR, BOND);
        }
    }

    /// A batch entry that is well signed, by no member or with a weight that none may have, is refuted.
    function test_batch_entry_not_eligible() public {
        for (uint256 i; i < 3; ++i) {
            Tally memory t = _scene(i, 5, 2, 20);
            Member[] memory all = t.roster.without(4).with(4, t.roster[4]);
            if (i < 2) t.roster[4].weight = i == 0 ? 0 : MAX_WEIGHT + 1;
            else all[4] = _member(77, 20);
            Signed[] memory batch = _signAll(all);
            _commitBatch(batch);
            t.combine();
            _proposeTally(t, true);
            _refutes(_batch(_list(batch[4])), Fault.Batch);
            vm.warp(1000);
            _deposit(AGGREGATOR, BOND);
        }
    }

    /// A batch leaf that is no entry and signature is refuted by itself.
    function test_malformed_batch_leaf() public {
        Tally memory t = _scene();
        Signed[] memory batch = _signAll(t.roster);
        batch[1].signature = new bytes(64);
        _commitBatch(batch);
        t.combine();
        _proposeTally(t, true);
        _invalid(_batch(_list(batch[1])), "batch");
        Accused memory a = _accused(batch.batch(), 0, 1);
        a.vector = uint8(Vector.Batch);
        _refutes(_vector(a), Fault.Vector);
    }

    /// A member that signed a batch entry and committed to another update cannot make a liar of the aggregator by it.
    function test_equivocating_member_refutes_nobody() public {
        (Tally memory t, Signed[] memory batch) = _batched();
        vm.prank(t.roster[2].account);
        ledger.commit(id, 1, 1, OTHER);
        _proposeTally(t, true);
        _stands(_entry(t.placed(2), _list(batch[2])));
        _stands(_omission(Entry(t.roster[2].account, 1, OTHER), new Signed[](0), _list(t.placed(1), t.placed(2))));
    }

    /// What a member committed to directly is as good as its entry in the batch.
    function test_direct_commitment_beside_a_batch() public {
        Tally memory t = _scene();
        Signed[] memory batch = _signAll(t.roster);
        _commitBatch(batch);
        t.roster[2].weight = 1;
        vm.prank(t.roster[2].account);
        ledger.commit(id, 1, 1, t.roster[2].update.root());
        t.combine();
        _proposeTally(t, true);
        _stands(_entry(t.placed(2), _list(batch[2])));
        _stands(_entry(t, 2));
    }
}
