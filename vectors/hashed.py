"""Cases of merkle.json, sum_tree.json and blob.json."""

from __future__ import annotations

from typing import Any

import naive
from naive import Case, digest, seeded

MODEL, UPDATE, SUMS, DOCUMENT = 1, 2, 3, 4


def merkle() -> Case:
    """Trees of awkward sizes, paths in them, and paths that show nothing."""
    trees, paths, negatives = [], [], []
    for count in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 33):
        for tail in (16, 5) if count in (1, 5) else (16,):
            data = seeded(f"merkle {count}").randbytes(
                max(0, 16 * (count - 1) + tail * (count > 0))
            )
            parts = naive.leaves(data, 16)
            name = f"{count}_leaves" + ("_last_short" if tail != 16 else "")
            hashes = [digest(b"\x00", part) for part in parts]
            trees.append({"name": name, "data": data, "leaf_bytes": 16, "leaves": hashes, "root": naive.root(parts)})  # fmt: skip
            if tail == 16:
                for index in sorted({0, 1, count // 2, count - 2, count - 1} & set(range(count))):
                    paths.append({"name": f"leaf_{index}_of_{count}", **_shown(parts, index)})
    parts = naive.leaves(seeded("merkle attacks").randbytes(16 * 7), 16)
    good, last = _shown(parts, 2), _shown(parts, 6)
    hashes = [digest(b"\x00", part) for part in parts]
    pair = hashes[2] + hashes[3]

    def attack(name: str, base: Case = good, **changed: Any) -> None:
        case = {**base, **changed}
        if "data" in changed:
            case["leaf"] = digest(b"\x00", case["data"])
        negatives.append({"name": name, **case})

    attack("second_preimage_node_as_leaf", data=pair, index=1, count=4, path=good["path"][1:])
    attack("second_preimage_prefixed_node_as_leaf", data=b"\x01" + pair, index=1, count=4, path=good["path"][1:])  # fmt: skip
    attack("leaf_without_prefix", leaf=digest(parts[2]))
    attack("leaf_with_node_prefix", leaf=digest(b"\x01", parts[2]))
    attack("leaf_with_a_flipped_bit", data=bytes([parts[2][0] ^ 1]) + parts[2][1:])
    attack("leaf_with_a_zero_appended", data=parts[2] + b"\x00")
    attack("truncated_path", path=good["path"][:-1])
    attack("path_without_its_first", path=good["path"][1:])
    attack("empty_path", path=[])
    attack("longer_path", path=[*good["path"], bytes(32)])
    attack("path_with_the_root_appended", path=[*good["path"], good["root"]])
    attack("reversed_path", path=good["path"][::-1])
    attack("path_of_other_leaf", path=_shown(parts, 4)["path"])
    attack("other_leaf_with_this_path", data=parts[3])
    attack("sibling_index", index=3)
    attack("index_of_other_leaf", index=4)
    attack("index_beyond_count", index=7)
    attack("index_beyond_count_by_a_power_of_two", index=2 + 8)
    attack("last_leaf_claimed_beyond_count", last, index=7, count=8)
    attack("last_leaf_claimed_as_first_of_fewer", last, index=2, count=3)
    attack("no_leaves", index=0, count=0)
    attack("single_leaf_with_a_path", data=parts[2], index=0, count=1, root=hashes[2])
    attack("smaller_count", count=4)
    attack("larger_count", last, count=8)
    attack("other_root", root=naive.root(parts[:6]))
    attack("root_of_nothing", root=naive.root([]), path=[])
    return {"trees": trees, "valid": paths, "negatives": negatives}


def _shown(parts: list[bytes], index: int) -> Case:
    return {
        "root": naive.root(parts),
        "data": parts[index],
        "leaf": digest(b"\x00", parts[index]),
        "index": index,
        "count": len(parts),
        "path": naive.path(parts, index),
    }


def _roster(case: Case) -> list[tuple[bytes, int, bytes, list[int]]]:
    rows = [(m["member"], m["weight"], m["root"], m["update"]) for m in case["members"]]
    return sorted(rows, key=lambda row: bytes(row[0]))


def _members(count: int, size: int, leaf_words: int) -> list[Case]:
    draw = seeded(f"sum tree {count}")
    members = []
    for _ in range(count):
        update = [draw.randint(naive.LOW, naive.HIGH) for _ in range(size)]
        root = naive.root(naive.leaves(naive.word_bytes(update), 4 * leaf_words))
        members.append({"member": draw.randbytes(20), "weight": draw.randint(1, 2**32 // count - 1), "root": root, "update": update})  # fmt: skip
    return members


def _summed(case: Case) -> Case:
    roster = _roster(case)
    levels = naive.sum_tree(roster, case["leaf_words"], case["fan_in"])
    found = naive.mean([row[3] for row in roster], [row[1] for row in roster])
    words = naive.following(case["base"], found)
    next_root = naive.root(naive.leaves(naive.word_bytes(words), 4 * case["leaf_words"]))
    return {"levels": levels, "sum_root": levels[-1][0]["digest"], "next": words, "next_root": next_root}  # fmt: skip


def sum_tree() -> Case:
    """Whole rounds of small rosters, members in the order they came in; and rosters that claim another's roots."""
    valid: list[Case] = []
    for count in (1, 2, 5, 17):
        for fan_in in (2, 4):
            size = 20 if count < 17 else 9
            base = [seeded(f"base {count}").randint(naive.LOW, naive.HIGH) for _ in range(size)]
            case = {"leaf_words": 8, "fan_in": fan_in, "base": base, "members": _members(count, size, 8)}  # fmt: skip
            valid.append({"name": f"{count}_members_fan_in_{fan_in}", **case, **_summed(case)})
    good = {key: valid[5][key] for key in ("leaf_words", "fan_in", "base", "members", "sum_root", "next_root")}  # fmt: skip
    first, second, *others = good["members"]
    shifted = [first["update"][0] ^ 1, *first["update"][1:]]

    def swapped(*names: str) -> list[Case]:
        return [
            {**first, **{name: second[name] for name in names}},
            {**second, **{name: first[name] for name in names}},
            *others,
        ]

    root = naive.root(naive.leaves(naive.word_bytes(shifted), 32))
    changes: dict[str, Case] = {
        "swapped_weight": {"members": swapped("weight")},
        "swapped_updates": {"members": swapped("root", "update")},
        "swapped_root_only": {"members": swapped("root")},
        "renamed_member": {"members": [{**first, "member": bytes(20)}, second, *others]},
        "member_left_out": {"members": [second, *others]},
        "member_added": {"members": [*good["members"], {**first, "member": b"\xff" * 20}]},
        "word_changed": {"members": [{**first, "root": root, "update": shifted}, second, *others]},
        "word_changed_under_the_old_root": {"members": [{**first, "update": shifted}, second, *others]},
        "other_fan_in": {"fan_in": 2},
        "other_leaf_words": {"leaf_words": 16},
    }  # fmt: skip
    negatives: list[Case] = [{"name": name, **good, **changed} for name, changed in changes.items()]
    refused = {
        "member_listed_twice": ("InvalidParameter", {"members": [*good["members"], first]}),
        "member_listed_twice_with_other_weight": ("InvalidParameter", {"members": [*good["members"], {**first, "weight": 1}]}),
        "base_of_other_length": ("InvalidLayout", {"base": [*good["base"], 0]}),
        "update_of_other_length": ("InvalidLayout", {"members": [{**first, "update": first["update"][:-1]}, second, *others]}),
        "no_members": ("InvalidParameter", {"members": []}),
        "weight_zero": ("InvalidWeight", {"members": [{**first, "weight": 0}, second, *others]}),
    }  # fmt: skip
    negatives += [{"name": n, **good, **changed, "error": e} for n, (e, changed) in refused.items()]
    return {"valid": valid, "negatives": negatives}


def blob() -> Case:
    """Small blobs of every kind, and files that are not the blob asked for."""
    words = [0, 1, -1, naive.LOW, naive.HIGH, 7, 8, 9, 10, -11, 12]
    payloads: list[tuple[str, int, int, int, bytes]] = [
        ("model", MODEL, 4, 4, naive.word_bytes(words)),
        ("update", UPDATE, 4, 8, naive.word_bytes(words[:8])),
        ("sums", SUMS, 8, 4, naive.word_bytes([-(2**63), 2**63 - 1, 5, -5, 0], 8)),
        ("document", DOCUMENT, 1, 1024, naive.layout_json([("w", [11], "float32")])),
        ("empty_document", DOCUMENT, 1, 1024, b""),
    ]
    valid = [
        {"name": name, "kind": kind, "leaf_words": leaf_words, "count": len(data) // size, "payload": data,
         "root": naive.root(naive.leaves(data, leaf_words * size)), "blob": naive.blob(kind, size, leaf_words, data)}
        for name, kind, size, leaf_words, data in payloads
    ]  # fmt: skip
    good = {key: valid[0][key] for key in ("kind", "leaf_words", "count", "root")}
    whole: bytes = valid[0]["blob"]

    def patched(place: int, *values: int) -> bytes:
        return whole[:place] + bytes(values) + whole[place + len(values) :]

    def flipped(place: int) -> bytes:
        return patched(place, whole[place] ^ 1)

    files: dict[str, tuple[str, bytes]] = {
        "empty_file": ("InvalidBlob", b""),
        "truncated_header": ("InvalidBlob", whole[:31]),
        "header_only": ("InvalidBlob", whole[:32]),
        "truncated": ("InvalidBlob", whole[:-1]),
        "without_leaf_hashes": ("InvalidBlob", whole[: 32 + 44]),
        "trailing_bytes": ("InvalidBlob", whole + b"\0"),
        "other_magic": ("InvalidBlob", patched(0, *b"TLYC")),
        "future_version": ("InvalidBlob", patched(4, 2)),
        "unknown_kind": ("InvalidBlob", patched(5, 5)),
        "kind_zero": ("InvalidBlob", patched(5, 0)),
        "other_kind": ("InvalidBlob", patched(5, SUMS)),
        "document_of_the_same_bytes": ("InvalidBlob", patched(5, DOCUMENT)),
        "other_word_size": ("InvalidBlob", patched(6, 8)),
        "nonzero_reserved_byte_7": ("InvalidBlob", patched(7, 1)),
        "nonzero_reserved_byte_12": ("InvalidBlob", patched(12, 1)),
        "nonzero_reserved_byte_31": ("InvalidBlob", patched(31, 1)),
        "no_words_per_leaf": ("InvalidBlob", patched(8, 0)),
        "other_words_per_leaf": ("InvalidBlob", patched(8, 8)),
        "too_many_words_per_leaf": ("InvalidBlob", patched(8, 1, 16)),
        "one_word_fewer": ("InvalidBlob", patched(16, 10)),
        "absurd_count": ("InvalidBlob", patched(23, 255)),
        "another_blob": ("InvalidBlob", valid[1]["blob"]),
        "another_payload": ("RootMismatch", naive.blob(MODEL, 4, 4, naive.word_bytes([*words[:-1], 13]))),
        "flipped_bit_in_first_leaf": ("DamagedLeaf", flipped(32)),
        "flipped_bit_in_last_leaf": ("DamagedLeaf", flipped(32 + 43)),
        "flipped_bit_in_a_leaf_hash": ("DamagedLeaf", flipped(32 + 44 + 32)),
        "leaf_hashes_swapped": ("DamagedLeaf", whole[:76] + whole[108:140] + whole[76:108] + whole[140:]),
    }  # fmt: skip
    damaged = {"flipped_bit_in_first_leaf": 0, "flipped_bit_in_last_leaf": 2, "flipped_bit_in_a_leaf_hash": 1, "leaf_hashes_swapped": 0}  # fmt: skip
    negatives = [
        {
            "name": name,
            "error": error,
            **good,
            "blob": data,
            **({"leaf": damaged[name]} if name in damaged else {}),
        }
        for name, (error, data) in files.items()
    ]
    return {"valid": valid, "negatives": negatives}
