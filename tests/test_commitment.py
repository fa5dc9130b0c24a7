"""Commitments: what they bind, and how their bytes are read by others."""

from __future__ import annotations

from dataclasses import fields, replace
from hashlib import sha256
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from tallystick import commitment
from tallystick.protocol import Parameters

BOUND: dict[str, Any] = {
    "chain_id": 7411,
    "contract": b"\xc0" * 20,
    "task": b"\x0a" * 32,
    "round": 3,
    "member": b"\x11" * 20,
    "root": b"\x22" * 32,
    "weight": 46,
}
OTHER: dict[str, Any] = {
    "chain_id": 1,
    "contract": b"\xc1" * 20,
    "task": b"\x0b" * 32,
    "round": 4,
    "member": b"\x12" * 20,
    "root": b"\x23" * 32,
    "weight": 47,
}
PARAMETERS = Parameters(
    sponsor=b"\x01" * 20,
    layout=b"\x02" * 32,
    genesis=b"\x03" * 32,
    **{name: 9 for name in (each.name for each in fields(Parameters)) if name not in
       ("sponsor", "layout", "genesis", "salt")},
    salt=b"\x04" * 32,
)  # fmt: skip

members = st.binary(min_size=20, max_size=20)
roots = st.binary(min_size=32, max_size=32)
weights = st.integers(1, 2**32 - 1)


def word(value: int | bytes) -> str:
    """One ABI word in hex, written without the module under test."""
    return f"{value:064x}" if isinstance(value, int) else value.hex().zfill(64)


def eip712(values: dict[str, Any]) -> bytes:
    """The digest of a typed commitment, from the text of EIP-712 alone."""
    domain = (
        keccak(
            b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
        )
        + keccak(b"Tallystick")
        + keccak(b"1")
        + bytes.fromhex(word(values["chain_id"]) + word(values["contract"]))
    )
    kind = b"Commitment(bytes32 task,uint32 round,address member,bytes32 root,uint32 weight)"
    struct = "".join(word(values[n]) for n in ("task", "round", "member", "root", "weight"))
    return keccak(b"\x19\x01" + keccak(domain) + keccak(keccak(kind) + bytes.fromhex(struct)))


@pytest.mark.parametrize("name", BOUND)
def test_a_digest_binds_everything_that_it_is_of(name: str) -> None:
    """A commitment cannot be replayed in another chain, contract, task or round, by another member, or for another update or weight."""
    changed = BOUND | {name: OTHER[name]}
    assert commitment.commitment_digest(**changed) != commitment.commitment_digest(**BOUND)
    assert eip712(changed) != eip712(BOUND)


def test_equal_neighbours_do_not_swap() -> None:
    """Swapping two values of the same width gives another digest: each has its own place."""
    for one, two in (("task", "root"), ("contract", "member"), ("round", "weight")):
        swapped = BOUND | {one: BOUND[two], two: BOUND[one]}
        assert commitment.commitment_digest(**swapped) != commitment.commitment_digest(**BOUND)


def test_the_digest_is_the_one_that_the_format_describes() -> None:
    """Anyone can form a commitment's digest from the format page alone."""
    tag = sha256(b"tallystick/commitment/1").hexdigest()
    text = tag + "".join(word(BOUND[name]) for name in BOUND)
    assert commitment.commitment_digest(**BOUND) == sha256(bytes.fromhex(text)).digest()


@pytest.mark.parametrize("name", [each.name for each in fields(Parameters)])
def test_a_task_id_changes_with_every_parameter(name: str) -> None:
    """No parameter of a task can be changed under the same id."""
    value = getattr(PARAMETERS, name)
    other = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
    values: dict[str, Any] = {name: other}
    changed = replace(PARAMETERS, **values)
    place = (BOUND["chain_id"], BOUND["contract"])
    assert commitment.task_digest(*place, changed) != commitment.task_digest(*place, PARAMETERS)


@pytest.mark.parametrize("name", ["chain_id", "contract"])
def test_a_task_id_belongs_to_one_ledger(name: str) -> None:
    """The same parameters on another chain or contract are another task."""
    place = {"chain_id": BOUND["chain_id"], "contract": BOUND["contract"]}
    moved = place | {name: OTHER[name]}
    assert commitment.task_digest(**place, parameters=PARAMETERS) != commitment.task_digest(
        **moved, parameters=PARAMETERS
    )


def test_a_task_id_is_no_commitment() -> None:
    """Tasks and commitments are hashed under different tags, so that neither passes for the other."""
    assert commitment.TASK_TAG != commitment.COMMITMENT_TAG


def test_typed_data_is_signed_as_others_would() -> None:
    """A signature by an independent wallet recovers, over a digest formed by hand, to the member that gave it."""
    signer = Account.from_key(b"\x05" * 32)
    values = BOUND | {"member": bytes.fromhex(signer.address[2:])}
    typed = encode_typed_data(full_message=commitment.typed_data(**values))
    assert keccak(b"\x19" + typed.version + typed.header + typed.body) == eip712(values)
    signature = Account.sign_message(typed, signer.key).signature
    assert Account._recover_hash(eip712(values), signature=signature) == signer.address


@pytest.mark.parametrize("name", BOUND)
def test_a_signature_is_for_one_commitment(name: str) -> None:
    """A signed commitment does not recover to its signer once anything in it is another."""
    signer = Account.from_key(b"\x05" * 32)
    typed = encode_typed_data(full_message=commitment.typed_data(**BOUND))
    signature = Account.sign_message(typed, signer.key).signature
    other = encode_typed_data(full_message=commitment.typed_data(**(BOUND | {name: OTHER[name]})))
    assert Account.recover_message(typed, signature=signature) == signer.address
    assert Account.recover_message(other, signature=signature) != signer.address


@given(members, weights, roots)
def test_entry_bytes_are_unambiguous(member: bytes, weight: int, root: bytes) -> None:
    """A roster entry reads back to exactly the member, weight and root that it was made of."""
    entry = commitment.entry_bytes(member, weight, root)
    assert len(entry) == commitment.ENTRY_BYTES
    assert (entry[:20], int.from_bytes(entry[20:24], "big"), entry[24:]) == (member, weight, root)


@pytest.mark.parametrize("weight", [-1, 2**32])
def test_a_weight_that_has_no_bytes_is_refused(weight: int) -> None:
    """A weight outside of its four bytes is refused, and never cut to fit them."""
    with pytest.raises(OverflowError):
        commitment.entry_bytes(BOUND["member"], weight, BOUND["root"])
