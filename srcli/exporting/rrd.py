"""The same bytes for the same recording of rerun.

What differs between two files of the same chunks: the identifiers of chunks, of rows and of the message that opens the recording
(time and chance), and the order of columns in the footer's schema. Here chunks are numbered in the order of logging, the opening
message has the number 0, and columns are sorted by name.

Layout of a file (``RRF2``, little endian): a header of 12 bytes; messages, each with its kind and its length as u64; a footer of
32 bytes with where the last message's payload begins, its length and its XXH32. Payloads are protocol buffers: ``SetStoreInfo``
has its row identifier in field 1, ``RrdFooter`` its manifests in field 1, a manifest its Arrow schema in field 2.1.
Source: https://rerun.io/docs/logging-and-ingestion/chunks-and-rrd and the package re_log_encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from srcli.errors import MissingAssetError
from srcli.exporting.folders import library

_MAGIC, _HEADER = b"RRF2", 12
_MESSAGE = struct.Struct("<QQ")
_END, _SET_STORE_INFO = 0, 1
_FOOTER = struct.Struct("<QQI4s4sI")
_SEED = 7850921
"""Of the footer's XXH32."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_ROW_ID, _MANIFESTS, _SCHEMA = (1,), (1,), (2, 1)


def numbered(made: Any, number: int) -> Any:
    """A chunk of one row with identifiers that follow from its number.

    Args:
        made: a ``rerun.chunk.Chunk``.
        number: from 1; later ones count as logged later.
    """
    pyarrow = library("pyarrow", "rerun", "a file for rerun's viewer")
    batch = made.to_record_batch()
    row = next(i for i, field in enumerate(batch.schema) if (field.metadata or {}).get(b"rerun:kind") == b"control")
    identifier = number.to_bytes(16, "big")
    named = f"chunk_{identifier[:8].hex().upper()}{identifier[8:].hex()}"
    columns = list(batch.columns)
    columns[row] = pyarrow.array([identifier], batch.schema.field(row).type)
    schema = batch.schema.with_metadata({**batch.schema.metadata, b"rerun:id": named.encode()})
    (chunk,) = type(made).from_record_batch(pyarrow.RecordBatch.from_arrays(columns, schema=schema))
    return chunk


def settle(path: Path) -> None:
    """Rewrite a recording of numbered chunks so that its bytes follow from its content.

    Raises:
        MissingAssetError: the installed version of rerun writes files of another layout.
    """
    try:
        path.write_bytes(_settled(path.read_bytes()))
    except (ValueError, IndexError, struct.error) as error:
        version = library("rerun", "rerun", "a file for rerun's viewer").__version__
        raise MissingAssetError(
            f"rerun {version} writes files that are not known here ({error})", "pip install 'rerun-sdk==0.41.*'"
        ) from error


def _settled(data: bytes) -> bytes:
    if not data.startswith(_MAGIC):
        raise ValueError("no RRF2 header")
    xxhash = library("xxhash", "rerun", "a file for rerun's viewer")
    begin, length, check, *known = _FOOTER.unpack_from(data, len(data) - _FOOTER.size)
    if known != [_MAGIC, b"FOOT", 1] or check != xxhash.xxh32_intdigest(data[begin : begin + length], _SEED):
        raise ValueError("no footer of one entry")
    out, footer = [data[:_HEADER]], b""
    at = _HEADER
    while not footer:
        kind, size = _MESSAGE.unpack_from(data, at)
        at += _MESSAGE.size
        payload = data[at : at + size]
        if kind == _SET_STORE_INFO:
            payload = _edited(payload, _ROW_ID, _zeroed)
        elif kind == _END:
            payload = footer = _edited(payload, _MANIFESTS, lambda manifest: _edited(manifest, _SCHEMA, _sorted_schema))
        out += [_MESSAGE.pack(kind, len(payload)), payload]
        at += size
    if at != len(data) - _FOOTER.size:
        raise ValueError("messages behind the last one")
    begin = sum(map(len, out)) - len(footer)
    return b"".join([*out, _FOOTER.pack(begin, len(footer), xxhash.xxh32_intdigest(footer, _SEED), _MAGIC, b"FOOT", 1)])


def _sorted_schema(serialized: bytes) -> bytes:
    pyarrow = library("pyarrow", "rerun", "a file for rerun's viewer")
    schema = pyarrow.ipc.read_schema(pyarrow.py_buffer(serialized))
    fields = sorted(schema, key=lambda field: (field.name, sorted((field.metadata or {}).items())))
    return bytes(pyarrow.schema(fields, schema.metadata).serialize())


def _zeroed(identifier: bytes) -> bytes:
    """Both halves of an identifier set to 0; each is a fixed64."""
    return b"".join(key + bytes(8) for _, kind, key, _ in _fields(identifier) if kind == _FIXED64)


def _edited(message: bytes, path: tuple[int, ...], edit: Callable[[bytes], bytes]) -> bytes:
    """A protocol buffer in which the bytes at a path of field numbers are others; the path has to be there."""
    out, found = b"", False
    for number, kind, key, value in _fields(message):
        if number == path[0] and kind == _BYTES:
            found = True
            inner = value[_varint(value, 0)[1] :]
            inner = edit(inner) if len(path) == 1 else _edited(inner, path[1:], edit)
            value = _as_varint(len(inner)) + inner
        out += key + value
    if not found:
        raise ValueError(f"no field {path[0]}")
    return out


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Field number, wire type, the key's bytes and the value's, a length included."""
    at = 0
    while at < len(message):
        key, begin = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            end = _varint(message, begin)[1]
        elif kind == _BYTES:
            length, end = _varint(message, begin)
            end += length
        elif kind in (_FIXED64, _FIXED32):
            end = begin + (8 if kind == _FIXED64 else 4)
        else:
            raise ValueError(f"wire type {kind}")
        if end > len(message):
            raise ValueError("a message is cut off")
        yield key >> 3, kind, message[at:begin], message[begin:end]
        at = end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
