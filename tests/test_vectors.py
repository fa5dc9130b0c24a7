"""The package agrees with vectors that were computed without it, and with the worked example of docs/format.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils import keccak

from tallystick import aggregation, commitment, encoding, errors, fraud, merkle, store
from tallystick import blob as blobs
from tallystick.aggregation import combine, next_model, weighted_mean
from tallystick.encoding import Layout, TensorSpec, dequantise, layout_of, quantise
from tallystick.ledger.author import commitment_author
from tallystick.protocol import Parameters
from tallystick.roles.batch import make_batch
from tallystick.store import Kind
from tallystick.sumtree import Entry

ROOT = Path(__file__).parent.parent
Case = dict[str, Any]


def cases(file: str, kind: str) -> Any:
    """Parametrise over the named cases of a vector file."""
    rows = json.loads((ROOT / "vectors" / f"{file}.json").read_text())[kind]
    return pytest.mark.parametrize("case", rows, ids=[row["name"] for row in rows])


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def vector(words: list[int]) -> encoding.Words:
    return np.array(words, np.int64).astype(np.int32)


def test_vectors_are_current() -> None:
    """The committed files are exactly what the generator writes."""
    script = ROOT / "vectors" / "generate.py"
    told = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr


@cases("merkle", "trees")
def test_trees(case: Case) -> None:
    """Data cut into leaves has the leaf hashes and the root of RFC 6962."""
    hashes = merkle.leaf_hashes(raw(case["data"]), case["leaf_bytes"])
    assert hashes == list(map(raw, case["leaves"]))
    assert merkle.root_of(hashes) == raw(case["root"])


def included(case: Case) -> bool:
    path = list(map(raw, case["path"]))
    return merkle.is_included(
        raw(case["root"]), raw(case["leaf"]), case["index"], case["count"], path
    )


@cases("merkle", "valid")
def test_paths(case: Case) -> None:
    """A path shows its leaf at its place."""
    assert merkle.leaf_hash(raw(case["data"])) == raw(case["leaf"])
    assert included(case)


@cases("merkle", "negatives")
def test_forged_paths(case: Case) -> None:
    """A path shows nothing else: every attack on it is refused."""
    assert not included(case)


def parameters(case: Case) -> Parameters:
    values = [raw(v) if isinstance(v, str) else v for v in case["parameters"].values()]
    names = [each.name for each in fields(Parameters)]
    camel = [re.sub("_(.)", lambda m: m[1].upper(), name) for name in names]
    assert camel == list(case["parameters"])
    return Parameters(**dict(zip(names, values, strict=True)))


@cases("commitment", "tasks")
def test_task_ids(case: Case) -> None:
    """A task's id is the hash of chain, contract and every parameter."""
    found = commitment.task_digest(case["chain_id"], raw(case["contract"]), parameters(case))
    assert found == raw(case["task"])


def bound(case: Case) -> tuple[Any, ...]:
    names = ("contract", "task", "member", "root")
    contract, task, member, root = (raw(case[name]) for name in names)
    return case["chain_id"], contract, task, case["round"], member, root, case["weight"]


def signed(case: Case) -> tuple[bytes, bytes]:
    """EIP-712 digest of a commitment, and the account that its signature recovers to."""
    message = encode_typed_data(full_message=commitment.typed_data(*bound(case)))
    digest = keccak(b"\x19" + message.version + message.header + message.body)
    author = Account.recover_message(message, signature=raw(case["signature"]))
    return bytes(digest), raw(author)


@cases("commitment", "valid")
def test_commitments(case: Case) -> None:
    """A commitment has one digest, one EIP-712 digest and one roster entry, and its member signs it."""
    assert commitment.commitment_digest(*bound(case)) == raw(case["digest"])
    assert signed(case) == (raw(case["eip712"]), raw(case["member"]))
    found = commitment.entry_bytes(raw(case["member"]), case["weight"], raw(case["root"]))
    assert found == raw(case["entry"]) and len(found) == commitment.ENTRY_BYTES


@cases("commitment", "negatives")
def test_replayed_commitments(case: Case) -> None:
    """A commitment binds chain, contract, task, round, member, root and weight: it fits nothing else."""
    assert commitment.commitment_digest(*bound(case)) != raw(case["digest"])
    digest, author = signed(case)
    assert digest != raw(case["eip712"]) and author != raw(case["member"])


@cases("commitment", "batches")
def test_batches(case: Case) -> None:
    """A batch's root is that of its entries in ascending order of member, each with its member's signature."""
    rows = {
        Entry(raw(e["member"]), e["weight"], raw(e["root"])): raw(e["signature"])
        for e in reversed(case["entries"])
    }
    batch = make_batch(rows)
    assert batch.root == raw(case["root"])
    assert len(batch.data) == commitment.SIGNED_ENTRY_BYTES * len(rows)
    place = case["chain_id"], raw(case["contract"]), raw(case["task"]), case["round"]
    for entry, signature in rows.items():
        assert commitment_author(*place, entry, signature) == entry.member


def arrays(case: Case) -> dict[str, np.ndarray[Any, Any]]:
    return {
        t["name"]: np.frombuffer(raw(t["bytes"]), np.dtype(t["dtype"]).newbyteorder("<"))
        .astype(t["dtype"])
        .reshape(t["shape"])
        for t in case["tensors"]
    }


@cases("quantise", "valid")
def test_quantise(case: Case) -> None:
    """Tensors have the layout document, its digest and the words of exact arithmetic."""
    layout = layout_of(arrays(case))
    assert layout.to_json() == case["layout"].encode()
    assert Layout.from_json(case["layout"].encode()) == layout
    assert layout.digest == raw(case["layout_digest"])
    assert quantise(arrays(case), layout, case["scale"]).tolist() == case["words"]


@cases("quantise", "dequantise")
def test_dequantise(case: Case) -> None:
    """Words become the nearest number of the dtype that can be quantised again."""
    layout = Layout((TensorSpec("w", (len(case["words"]),), case["dtype"]),))
    (found,) = dequantise(vector(case["words"]), layout, case["scale"]).values()
    assert found.astype(found.dtype.newbyteorder("<")).tobytes() == raw(case["bytes"])
    quantise({"w": found}, layout, case["scale"])


@cases("quantise", "negatives")
def test_tensors_without_words(case: Case) -> None:
    """What has no word is refused, and the error names the tensor and the place."""

    def attempt() -> None:
        given = arrays(case)
        document = case.get("layout")
        layout = Layout.from_json(document.encode()) if document else layout_of(given)
        quantise(given, layout, case["scale"])

    with pytest.raises(getattr(errors, case["error"])) as raised:
        attempt()
    if "tensor" in case:
        assert f"tensor {case['tensor']!r} at {case['index']} is " in str(raised.value)


@cases("mean", "valid")
def test_mean(case: Case) -> None:
    """The weighted mean and the next model are those of big integers."""
    found = weighted_mean([vector(u) for u in case["updates"]], case["weights"])
    assert found.tolist() == case["mean"]
    assert next_model(vector(case["base"]), found).tolist() == case["next"]


@cases("mean", "negatives")
def test_no_mean(case: Case) -> None:
    """Weights and updates without an exact mean are refused."""
    with pytest.raises(getattr(errors, case["error"])):
        weighted_mean([vector(u) for u in case["updates"]], case["weights"])


def combined(case: Case, threads: int = 1) -> aggregation.Combined:
    members = case["members"]
    entries = [Entry(raw(m["member"]), m["weight"], raw(m["root"])) for m in members]
    updates = [vector(m["update"]) for m in members]
    return combine(
        vector(case["base"]), entries, updates, case["leaf_words"], case["fan_in"], threads
    )


@pytest.mark.parametrize("threads", [1, 3])
@cases("sum_tree", "valid")
def test_sum_tree(case: Case, threads: int) -> None:
    """A round comes to the defined tree, node by node, and to the next model, whatever order members came in."""
    for member in case["members"]:
        words = vector(member["update"])
        assert merkle.root(encoding.as_bytes(words), 4 * case["leaf_words"]) == raw(member["root"])
    found = combined(case, threads)
    nodes = [
        [(n.count, n.weight, n.vector_root, list(n.children), n.digest) for n in level]
        for level in found.tree.levels
    ]
    assert nodes == [
        [
            (n["count"], n["weight"], raw(n["vector_root"]), list(map(raw, n["children"])), raw(n["digest"]))
            for n in level
        ]
        for level in case["levels"]
    ]  # fmt: skip
    assert found.tree.root == raw(case["sum_root"])
    assert found.next_words.tolist() == case["next"]
    assert found.next_root == raw(case["next_root"])


@cases("sum_tree", "negatives")
def test_other_rosters(case: Case) -> None:
    """The sum root binds every member, weight, root and sum: another roster is refused or comes to another root."""
    if "error" in case:
        with pytest.raises(getattr(errors, case["error"])):
            combined(case)
    else:
        assert combined(case).tree.root != raw(case["sum_root"])


@cases("blob", "valid")
def test_blobs(case: Case, tmp_path: Path) -> None:
    """A payload is written as exactly these bytes under its root, and read back."""
    kept, kind, payload = store.open(str(tmp_path)), Kind(case["kind"]), raw(case["payload"])
    words = {Kind.DOCUMENT: "u1", Kind.SUMS: "<i8"}.get(kind, "<i4")
    given = payload if kind is Kind.DOCUMENT else np.frombuffer(payload, words)
    assert kept.put(kind, given, case["leaf_words"]) == raw(case["root"])
    assert kept.path(raw(case["root"])).read_bytes() == raw(case["blob"])
    found = kept.get(raw(case["root"]), kind, case["leaf_words"], case["count"])
    assert found.tobytes() == payload


@cases("blob", "negatives")
def test_damaged_blobs(case: Case, tmp_path: Path) -> None:
    """A file that is not the blob asked for is refused, and the damaged leaf named."""
    kept, root = store.open(str(tmp_path)), raw(case["root"])
    kept.path(root).parent.mkdir(parents=True)
    kept.path(root).write_bytes(raw(case["blob"]))
    with pytest.raises(errors.TallystickError) as raised:
        kept.get(root, Kind(case["kind"]), case["leaf_words"], case["count"])
    assert type(raised.value).__name__ == case["error"]
    if isinstance(raised.value, blobs.DamagedLeaf):
        assert raised.value.leaf == case["leaf"]


@cases("reveal", "valid")
def test_revealed_pieces(case: Case) -> None:
    """What is demanded is answered by as many digests, or such a document, as the format says."""
    if "leaves" in case:
        assert fraud.pieces(case["leaves"], case["height"], case["position"]) == case["pieces"]
    assert fraud.is_answer(raw(case["digest"]), case["pieces"], raw(case["data"]))


@cases("reveal", "negatives")
def test_no_answers(case: Case) -> None:
    """Nothing else is an answer."""
    assert not fraud.is_answer(raw(case["digest"]), case["pieces"], raw(case["data"]))


def worked_example() -> dict[str, str]:
    """Name and value of every line in the page's example."""
    page = (ROOT / "docs" / "format.md").read_text().split("## Worked example")[1]
    blocks = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    return dict(line.split(" = ", 1) for block in blocks for line in block.splitlines())


def test_worked_example() -> None:
    """Every line of the example in docs/format.md is what the package computes."""
    page = worked_example()
    told: dict[str, str] = {name: page[name] for name in ("start", "trained a", "trained b")}

    def tell(name: str, value: object) -> None:
        told[name] = value.hex() if isinstance(value, bytes) else str(value)

    def tensors(name: str) -> dict[str, np.ndarray[Any, Any]]:
        values = np.array(json.loads(page[name]), np.float32)
        return {"w": values[:8].reshape(2, 4), "b": values[8:]}

    layout = layout_of(tensors("start"))
    base = quantise(tensors("start"), layout, 24)
    hashes = merkle.leaf_hashes(encoding.as_bytes(base), 32)
    genesis = merkle.root_of(hashes)
    header = blobs.encode_header(blobs.Header(Kind.MODEL, 8, layout.size))
    payload = bytes(encoding.as_bytes(base))
    tell("layout document", layout.to_json().decode())
    tell("layout digest", layout.digest)
    tell("base words", base.tolist())
    tell("base bytes", payload)
    tell("base leaf 0", hashes[0])
    tell("base leaf 1", hashes[1])
    tell("base root", genesis)
    tell("base blob", header + payload + b"".join(hashes))
    entries, updates = [], []
    accounts = [Account.from_key(byte * 32) for byte in (b"\x0a", b"\x0b")]
    for name, account, weight in zip("ab", accounts, (100, 300), strict=True):
        update = encoding.update_of(tensors(f"trained {name}"), base, layout, 24)
        entry = Entry(raw(account.address), weight, merkle.root(encoding.as_bytes(update), 32))
        tell(f"update {name} words", update.tolist())
        tell(f"update {name} root", entry.root)
        tell(f"entry {name}", commitment.entry_bytes(entry.member, weight, entry.root))
        tell(f"member leaf {name}", entry.digest)
        entries.append(entry)
        updates.append(update)
    found = combine(base, entries, updates, 8, 4)
    sums = sum(e.weight * u.astype(np.int64) for e, u in zip(entries, updates, strict=True))
    tell("sums", np.asarray(sums).tolist())
    tell("sums root", found.tree.levels[0][0].vector_root)
    tell("sum root", found.tree.root)
    tell("mean words", weighted_mean(updates, [100, 300]).tolist())
    tell("next words", found.next_words.tolist())
    tell("next root", found.next_root)

    contract = b"\xcc" * 20
    parameters = Parameters(
        b"\x01" * 20, layout.digest, genesis, layout.size, 24, 8, 4, 0, 10, 1, 1000, 10, 4, 600, 600, 10**15, 50, reveal_window=600,
    )  # fmt: skip
    task = commitment.task_digest(31337, contract, parameters)
    values = 31337, contract, task, 1, entries[0].member, entries[0].root, entries[0].weight
    message = encode_typed_data(full_message=commitment.typed_data(*values))
    tell("task id", task)
    tell("commitment digest", commitment.commitment_digest(*values))
    tell("EIP-712 digest", bytes(keccak(b"\x19" + message.version + message.header + message.body)))  # fmt: skip
    signed = {}
    for name, account, entry in zip("ab", accounts, entries, strict=True):
        data = commitment.typed_data(
            31337, contract, task, 1, entry.member, entry.root, entry.weight
        )
        signed[entry] = bytes(account.sign_typed_data(full_message=data).signature)
        tell(f"signature {name}", signed[entry])
    tell("batch root", make_batch(signed).root)
    assert told == page
