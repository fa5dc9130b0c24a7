"""A store in a folder: `ab/abcdef….blob`, written to a temporary file, synced and renamed."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from .. import merkle
from ..blob import (
    DOCUMENT_LEAF,
    HEADER_BYTES,
    WORD_BYTES,
    Header,
    Kind,
    check,
    decode_header,
    encode_header,
)
from ..errors import (
    BlobUnavailable,
    InvalidBlob,
    InvalidTensor,
    RootMismatch,
    StoreUnavailable,
    TallystickError,
)
from . import Words

SUFFIX = ".blob"
DTYPES: dict[Kind, np.dtype[np.int32] | np.dtype[np.int64] | np.dtype[np.uint8]] = {
    Kind.MODEL: np.dtype("<i4"),
    Kind.UPDATE: np.dtype("<i4"),
    Kind.SUMS: np.dtype("<i8"),
    Kind.DOCUMENT: np.dtype("u1"),
}


class LocalStore:
    """Blobs in a folder of this machine. Safe for several processes: writes are renames of whole files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"file:{folder}"

    def put(
        self,
        kind: Kind,
        payload: Words | bytes,
        leaf_words: int = DOCUMENT_LEAF,
        root: bytes | None = None,
    ) -> bytes:
        data = _payload(kind, payload)
        header = Header(kind, leaf_words, len(data) // WORD_BYTES[kind])
        hashes = merkle.leaf_hashes(data, header.leaf_bytes)
        found, table = merkle.root_of(hashes), b"".join(hashes)
        if root not in (None, found):
            raise RootMismatch(
                f"this {kind.name.lower()} has root {found.hex()}, not {root.hex()}. "
                "It was changed on the way; fetch it again."
            )
        if not self._holds(found, header, data, table):
            self._write(self.path(found), encode_header(header), data, table)
        return found

    def get(
        self, root: bytes, kind: Kind, leaf_words: int | None = None, count: int | None = None
    ) -> Words:
        header = self.header(root)
        wanted = Header(
            kind,
            header.leaf_words if leaf_words is None else leaf_words,
            header.count if count is None else count,
        )
        if not _same(header, wanted):
            raise InvalidBlob(
                f"{self.path(root)} holds {_describe(header)}, not {_describe(wanted)}. "
                "It belongs to another task, or its header was changed."
            )
        return self._verified(root, header)

    def document(self, root: bytes) -> bytes:
        return self.get(root, Kind.DOCUMENT, DOCUMENT_LEAF).tobytes()

    def header(self, root: bytes) -> Header:
        path = self.path(root)
        try:
            with path.open("rb") as file:
                header = decode_header(file.read(HEADER_BYTES), str(path))
                size = os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            raise BlobUnavailable(
                f"no blob {root.hex()} in {self.url}. Fetch it from another store, or ask its author."
            ) from None
        except OSError as error:
            raise StoreUnavailable(f"cannot read {path}: {error.strerror}.") from error
        if size != header.total_bytes:
            raise InvalidBlob(
                f"{path} is {size} bytes long where its header says {header.total_bytes}: "
                "it is truncated or has bytes added. Fetch it again from another store."
            )
        return header

    def has(self, root: bytes) -> bool:
        return self.path(root).is_file()

    def roots(self) -> Iterator[bytes]:
        for path in self.folder.glob(f"??/*{SUFFIX}"):
            try:
                yield bytes.fromhex(path.stem)
            except ValueError:
                continue

    def delete(self, root: bytes) -> None:
        self.path(root).unlink(missing_ok=True)

    def path(self, root: bytes) -> Path:
        name = root.hex()
        return self.folder / name[:2] / f"{name}{SUFFIX}"

    def _verified(self, root: bytes, header: Header) -> Words:
        raw, end = self._mapped(root), HEADER_BYTES + header.payload_bytes
        check(root, header, raw[HEADER_BYTES:end].data, raw[end:].tobytes(), str(self.path(root)))
        words: Words = raw[HEADER_BYTES:end].view(DTYPES[header.kind])
        return words

    def _mapped(self, root: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        try:
            return np.memmap(self.path(root), np.uint8, "r")
        except OSError as error:
            raise StoreUnavailable(f"cannot read {self.path(root)}: {error.strerror}.") from error

    def _holds(self, root: bytes, header: Header, data: memoryview, table: bytes) -> bool:
        """Whether the blob is there, byte for byte: a damaged one is repaired by writing it again."""
        try:
            if not _same(self.header(root), header):
                return False
            raw, end = self._mapped(root), HEADER_BYTES + header.payload_bytes
        except TallystickError:
            return False
        # Memory views would be compared element by element in Python's own loop, forty times as slow.
        same = np.array_equal(raw[HEADER_BYTES:end], np.frombuffer(data, np.uint8))
        return same and raw[end:].tobytes() == table

    def _write(self, path: Path, *parts: bytes | memoryview) -> None:
        temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("xb") as file:
                    for part in parts:
                        file.write(part)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.rename(path)
            finally:
                temporary.unlink(missing_ok=True)
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            remedy = (
                "Free some space and run again; nothing written before is lost."
                if error.errno in (errno.ENOSPC, errno.EDQUOT)
                else "Check the folder and its permissions."
            )
            raise StoreUnavailable(f"cannot write {path}: {error.strerror}. {remedy}") from error


def _payload(kind: Kind, payload: Words | bytes) -> memoryview:
    if isinstance(payload, bytes):
        if kind != Kind.DOCUMENT:
            raise InvalidTensor(
                f"a {kind.name.lower()} is stored from an array of words, not bytes."
            )
        return memoryview(payload)
    if kind == Kind.DOCUMENT or payload.dtype != DTYPES[kind] or payload.ndim != 1:
        raise InvalidTensor(
            f"a {kind.name.lower()} needs a flat {DTYPES[kind].name} vector, "
            f"not {payload.dtype} of shape {payload.shape}."
        )
    return np.ascontiguousarray(payload, DTYPES[kind]).view(np.uint8).data


def _describe(header: Header) -> str:
    return f"a {header.kind.name.lower()} of {header.count} words in leaves of {header.leaf_words}"


def _same(one: Header, other: Header) -> bool:
    """Whether two headers are of the same words. A model and an update may have the same words, and so the same name and file:
    a member that sends the model itself, or zeros for a model of zeros, must not take the model from everybody."""
    return replace(one, kind=_VECTOR.get(one.kind, one.kind)) == replace(
        other, kind=_VECTOR.get(other.kind, other.kind)
    )


_VECTOR = {Kind.UPDATE: Kind.MODEL}
