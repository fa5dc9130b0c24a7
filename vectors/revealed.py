"""Cases of reveal.json."""

from __future__ import annotations

import naive
from naive import Case, digest, seeded

NODE, DOCUMENT = 2**32 - 2, 2**32 - 1
STEP = 7


def reveal() -> Case:
    """What answers a demand for a node of a Merkle tree, a leaf, or a document of the sum tree; and what does not."""
    valid: list[Case] = []
    for count, places in {
        1: [(0, 0)],
        3: [(0, 2), (1, 0), (2, 0)],
        5: [(3, 0), (9, 0)],
        300: [(9, 0), (8, 0), (8, 1), (2, 74)],
    }.items():
        parts = naive.leaves(seeded(f"reveal {count}").randbytes(16 * count), 16)
        for height, position in places:
            valid.append({"name": f"height_{height}_position_{position}_of_{count}", **_node(parts, height, position)})  # fmt: skip
    draw = seeded("reveal documents")
    top = b"\x03" + (9).to_bytes(4, "big") + (70).to_bytes(8, "big") + draw.randbytes(32 + 3 * 32)
    entry = b"\x02" + draw.randbytes(20) + (7).to_bytes(4, "big") + draw.randbytes(32)
    documents = {
        "top": (NODE, top), "inner_node": (DOCUMENT, top), "entry": (DOCUMENT, entry),
        "node_without_children": (DOCUMENT, top[:45]),
    }  # fmt: skip
    for name, (pieces, data) in documents.items():
        valid.append({"name": name, "digest": digest(b"\x00", data), "pieces": pieces, "data": data})  # fmt: skip
    by_name = {case["name"]: case for case in valid}
    wide, leaf = by_name["height_2_position_0_of_3"], by_name["height_0_position_2_of_3"]
    data: bytes = wide["data"]
    forged: dict[str, Case] = {
        "one_digest_left_out": {**wide, "data": data[:64]},
        "one_digest_more": {**wide, "data": data + bytes(32)},
        "digests_in_another_order": {**wide, "data": data[32:64] + data[:32] + data[64:]},
        "half_a_digest_more": {**wide, "data": data + bytes(16)},
        "digests_of_one_level_up": {**wide, "data": digest(b"\x01", data[:64]) + data[64:]},
        "digests_as_a_leaf": {**wide, "pieces": 0},
        "nothing": {**wide, "data": b""},
        "another_leaf": {**leaf, "data": leaf["data"][::-1]},
        "a_leaf_with_its_prefix": {**leaf, "data": b"\x00" + leaf["data"]},
        "a_leaf_as_a_document": {**leaf, "pieces": DOCUMENT},
        "an_entry_as_the_top": {**by_name["entry"], "pieces": NODE},
        "a_cut_node": {"pieces": NODE, "data": top[:-1], "digest": digest(b"\x00", top[:-1])},
        "an_entry_with_a_byte_more": {"pieces": DOCUMENT, "data": entry + b"\0", "digest": digest(b"\x00", entry + b"\0")},
        "another_node": {**by_name["top"], "data": top[:-1] + bytes([top[-1] ^ 1])},
    }  # fmt: skip
    keep = ("digest", "pieces", "data")
    negatives = [
        {"name": name, **{key: case[key] for key in keep}} for name, case in forged.items()
    ]
    return {"valid": valid, "negatives": negatives}


def _node(parts: list[bytes], height: int, position: int) -> Case:
    """A node, by the leaves that are below it and below each of its pieces."""
    step = min(height, STEP)
    below = [
        parts[first : first + (1 << height - step)]
        for first in range(position << height, position + 1 << height, 1 << height - step)
    ]
    pieces = [naive.root(each) for each in below if each]
    return {
        "leaves": len(parts), "height": height, "position": position,
        "digest": naive.root(parts[position << height : position + 1 << height]),
        "pieces": 0 if height == 0 else len(pieces),
        "data": parts[position] if height == 0 else b"".join(pieces),
    }  # fmt: skip
