"""Cases of commitment.json.

Keccak and signatures, which Python's standard library lacks, come from eth-utils and eth-account. The keys are worthless.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import naive
from eth_account import Account
from eth_utils import keccak
from naive import Case, digest

ORDER = [
    "sponsor",
    "layout",
    "genesis",
    "dimension",
    "scale",
    "leafWords",
    "fanIn",
    "rule",
    "rounds",
    "quorum",
    "maxWeight",
    "maxMembers",
    "slots",
    "commitWindow",
    "challengeWindow",
    "bond",
    "bounty",
    "settlement",
    "voting",
    "voteQuorum",
    "revealWindow",
    "stake",
    "scorer",
    "memberStake",
    "revealFee",
    "salt",
]
DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
COMMITMENT = "Commitment(bytes32 task,uint32 round,address member,bytes32 root,uint32 weight)"


def account(name: str) -> Any:
    """An account that anybody can have."""
    return Account.from_key(sha256(f"tallystick vector {name}".encode()).digest())


def address(name: str) -> bytes:
    """Its address."""
    return bytes.fromhex(account(name).address[2:])


def task_id(case: Case) -> bytes:
    """H(tag | chain | contract | parameters), each one ABI word."""
    values = [case["chain_id"], case["contract"], *(case["parameters"][name] for name in ORDER)]
    return digest(digest(b"tallystick/task/1"), *map(naive.abi, values))


def commitment_digest(case: Case) -> bytes:
    """H(tag | chain | contract | task | round | member | root | weight), each one ABI word."""
    names = ["chain_id", "contract", "task", "round", "member", "root", "weight"]
    return digest(digest(b"tallystick/commitment/1"), *(naive.abi(case[name]) for name in names))


def eip712(case: Case) -> bytes:
    """EIP-712 by hand: keccak256(0x1901 | domain separator | hash of the struct)."""
    domain = [keccak(text=DOMAIN), keccak(text="Tallystick"), keccak(text="1"), case["chain_id"], case["contract"]]  # fmt: skip
    names = ["task", "round", "member", "root", "weight"]
    struct_hash = keccak(b"".join(map(naive.abi, [keccak(text=COMMITMENT), *(case[n] for n in names)])))  # fmt: skip
    return keccak(b"\x19\x01" + keccak(b"".join(map(naive.abi, domain))) + struct_hash)


def _place(case: Case) -> Case:
    return {name: case[name] for name in ("chain_id", "contract", "task", "round")}


def _signed(place: Case, name: str, weight: int, root: bytes) -> Case:
    """An entry of a batch, signed for the place of another commitment."""
    entry = {"member": address(name), "weight": weight, "root": root}
    signature = account(name).unsafe_sign_hash(eip712(place | entry)).signature
    return entry | {"signature": bytes(signature)}


def commitment() -> Case:
    """Task ids, commitments in both forms, batches; and a good commitment claimed for something else."""
    small = {
        "sponsor": address("sponsor"), "layout": digest(b"layout"), "genesis": digest(b"genesis"), "dimension": 31,
        "scale": 24, "leafWords": 256, "fanIn": 4, "rule": 0, "rounds": 10, "quorum": 1, "maxWeight": 100_000,
        "maxMembers": 100, "slots": 4, "commitWindow": 600, "challengeWindow": 600, "bond": 10**15,
        "bounty": 50, "settlement": 0, "voting": 0, "voteQuorum": 67, "revealWindow": 600, "stake": 10**15, "scorer": bytes(20),
        "memberStake": 0, "revealFee": 10**14, "salt": bytes(32),
    }  # fmt: skip
    large = {
        "sponsor": b"\xff" * 20, "layout": b"\xff" * 32, "genesis": b"\xff" * 32, "dimension": 2**40, "scale": 30,
        "leafWords": 4096, "fanIn": 16, "rule": 0, "rounds": 2**32 - 1, "quorum": 65535, "maxWeight": 65537,
        "maxMembers": 65535, "slots": 64, "commitWindow": 365 * 86400, "challengeWindow": 365 * 86400,
        "bond": 2**53 - 1, "bounty": 90, "settlement": 3, "voting": 2, "voteQuorum": 100, "revealWindow": 365 * 86400,
        "stake": 2**53 - 1, "scorer": b"\xee" * 20, "memberStake": 2**53 - 1, "revealFee": 2**53 - 1, "salt": b"\xff" * 32,
    }  # fmt: skip
    here = {"chain_id": 31337, "contract": address("contract")}
    tasks: list[Case] = [
        {"name": "small", **here, "parameters": small},
        {
            "name": "largest_parameters",
            "chain_id": 2**53 - 1,
            "contract": b"\xfe" * 20,
            "parameters": large,
        },
        {"name": "other_salt", **here, "parameters": {**small, "salt": b"\x01" + bytes(31)}},
        {"name": "other_chain", **here, "chain_id": 1, "parameters": small},
    ]
    for each in tasks:
        each["task"] = task_id(each)
    good = {**here, "task": tasks[0]["task"], "round": 3, "member": address("member"), "root": digest(b"update"), "weight": 569}  # fmt: skip
    cases = [
        {"name": "ordinary", **good},
        {"name": "first_round_least_weight", **good, "round": 1, "weight": 1},
        {"name": "last_round_largest_weight", **good, "round": 2**32 - 1, "weight": 2**32 - 1},
        {"name": "root_ending_in_zeros", **good, "root": b"\x01" + bytes(31)},
    ]
    for each in cases:
        signature = account("member").unsafe_sign_hash(eip712(each)).signature
        each |= {"digest": commitment_digest(each), "eip712": eip712(each), "signature": bytes(signature)}  # fmt: skip
        each["entry"] = naive.entry(each["member"], each["weight"], each["root"])
    taken = {name: cases[0][name] for name in ("digest", "eip712", "signature")}
    negatives = [
        {"name": name, **good, **changed, **taken}
        for name, changed in {
            "replayed_in_next_round": {"round": 4},
            "replayed_in_other_task": {"task": tasks[2]["task"]},
            "other_chain": {"chain_id": 1},
            "other_contract": {"contract": address("other contract")},
            "copied_by_other_member": {"member": address("other member")},
            "swapped_root": {"root": digest(b"other update")},
            "swapped_weight": {"weight": 570},
            "round_and_weight_swapped": {"round": 569, "weight": 3},
            "task_and_root_swapped": {"task": good["root"], "root": good["task"]},
        }.items()
    ]
    entries = [_signed(good, f"member {k}", 100 + k, digest(bytes([k]))) for k in range(5)]
    entries.sort(key=lambda entry: bytes(entry["member"]))
    batches = []
    for count in (1, 2, 5):
        parts = [
            naive.entry(e["member"], e["weight"], e["root"]) + e["signature"]
            for e in entries[:count]
        ]
        batches.append({"name": f"{count}_members", **_place(good), "entries": entries[:count], "root": naive.root(parts)})  # fmt: skip
    return {"tasks": tasks, "valid": cases, "batches": batches, "negatives": negatives}
