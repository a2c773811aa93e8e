"""Ways to damage a file, from a seed: its bytes, its words, its lines, the structure of HDF5.

Each takes the file's bytes, a generator and the path of a file that nothing may read, and returns what is to be read instead.
"""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import h5py
import numpy as np

from srcli.artifacts.seal import seal

NASTY = (
    "2001-99-99",
    "&a {x: *a}",
    "!!int foo",
    "!!binary x",
    "[" * 300,
    "9" * 5000,
    "1e999",
    ".nan",
    "1:30",
    "010",
    "0x" + "f" * 30,
    '"\\0"',
    "null",
    "[]",
    "{}",
    "{a: {b: {c: 1}}}",
    "[1, [2, [3]]]",
    "''",
    "-1",
    "1.5",
    "true",
    "\t",
    "*x",
    "? [a]\n: b",
    "x" * 5000,
    "/",
    "../..",
    "\udcff",
    "é\u202e",
)
_KEYS = (
    "seed",
    "collect.episodes",
    "train",
    "evaluate.methods",
    "cloud.lower",
    "encoder.name",
    "",
    "a.b.c",
    "evaluate",
    "sim.noise",
)
_SAID = ("1", True, np.nan, -3, "false", "{}", "[1]", "{", '{"a": [[[]]]}', "[" * 5000, np.zeros(4), 2**40, b"\xff")


def change_bytes(data: bytes, rng: random.Random, outside: Path) -> bytes:
    """One change of bytes: a bit, a byte, a cut, a block of zeros, removed, doubled, or moved."""
    out, size = bytearray(data), len(data)
    at, length = rng.randrange(size), rng.choice((1, 4, 64, 512))
    match rng.randrange(8):
        case 0 | 1 | 2:
            out[at] ^= 1 << rng.randrange(8)
        case 3:
            out[at] = rng.randrange(256)
        case 4:
            del out[at:]
        case 5:
            out[at : at + length] = bytes(len(out[at : at + length]))
        case 6:
            del out[at : at + length]
        case _:
            other = rng.randrange(size)
            out[at:at] = out[other : other + length]
    return bytes(out)


def change_text(data: bytes, rng: random.Random, outside: Path) -> bytes:
    """Bytes as above, or a word replaced by a nasty one, or by the way to a file that is not to be read."""
    if rng.random() < 0.4:
        return change_bytes(data, rng, outside)
    words = data.split(b" ")
    at = rng.randrange(len(words))
    # A word's line may go on after it.
    _, newline, rest = words[at].partition(b"\n")
    words[at] = os.fsencode(_word(rng, outside).encode("utf-8", "surrogateescape").decode("utf-8", "replace")) + newline + rest
    return b" ".join(words)


def change_names(data: bytes, rng: random.Random, outside: Path) -> bytes:
    """As above, and what stands in quotes is replaced."""
    parts = data.split(b'"')
    if rng.random() < 0.5 or len(parts) < 3:
        return change_text(data, rng, outside)
    parts[rng.randrange(1, len(parts), 2)] = _word(rng, outside).encode("utf-8", "surrogateescape")
    return b'"'.join(parts)


def change_either(data: bytes, rng: random.Random, outside: Path) -> bytes:
    """Of a binary file with names in it: bytes, or what stands in quotes."""
    return (change_bytes if rng.random() < 0.7 else change_names)(data, rng, outside)


def _word(rng: random.Random, outside: Path) -> str:
    if rng.random() < 0.7:
        return rng.choice(NASTY)
    name = f"{outside.parent.name}/{outside.name}"
    return rng.choice((str(outside), f"file://{outside}", f"../{name}", f"package://../{name}", f"a/../../{name}"))


def change_yaml(data: bytes, rng: random.Random, outside: Path) -> bytes:
    """Bytes as above, or a line's value, indentation or place changed."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    match rng.randrange(6):
        case 0 | 1:
            return change_bytes(data, rng, outside)
        case 2 | 3:
            key = lines[at].partition(b":")[0]
            lines[at] = key + b": " + _word(rng, outside).encode("utf-8", "surrogateescape")
        case 4:
            lines[at] = b"  " + lines[at]
        case _:
            lines.insert(at, lines[rng.randrange(len(lines))])
    return b"\n".join(lines)


def change_assignment(data: bytes, rng: random.Random, outside: Path) -> bytes:
    """A key of the parameters, or none, with a nasty value."""
    return f"{rng.choice(_KEYS)}={_word(rng, outside)}".encode("utf-8", "surrogateescape")


def change_structure(data: bytes, rng: random.Random, outside: Path) -> bytes:
    """Something of an HDF5 file replaced by what no file of srcli holds; then sealed, as who means harm would."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.h5"
        path.write_bytes(data)
        with h5py.File(path, "r+") as handle:
            _change_structure(handle, rng, str(outside))
        if rng.random() < 0.7:
            seal(path)
        return path.read_bytes()


def _change_structure(handle: h5py.File, rng: random.Random, outside: str) -> None:
    names: list[str] = []
    handle.visit(names.append)
    name = rng.choice(names)
    thing = handle[name]
    kind = rng.randrange(14)
    if kind >= 11:
        _change_attribute(handle, names, rng, remove=kind == 11)
        return
    if kind < 8:
        del handle[name]
    if kind == 1:
        handle.create_group(name)
    elif kind == 2:
        handle[name] = rng.choice((0, 1.5, "text", True))
    elif kind == 3:
        handle[name] = np.zeros(3, dtype=[("a", "f4"), ("b", "i4")])
    elif kind == 4:
        handle.create_dataset(name, shape=(64,), dtype="u1", external=[(outside, 0, 64)])
    elif kind == 5:
        handle[name] = rng.choice((h5py.SoftLink("/"), h5py.ExternalLink(outside, "/x")))
    elif kind == 6:
        layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
        layout[:] = h5py.VirtualSource(outside, "x", shape=(4,))
        handle.create_virtual_dataset(name, layout)
    elif kind == 7:
        handle.create_dataset(name, shape=(20_000, 200_000), dtype="f4", chunks=(1, 1000))
    elif kind == 8:
        if isinstance(thing, h5py.Dataset) and thing.dtype.kind == "f" and thing.size and thing.ndim:
            thing[(0,) * thing.ndim] = rng.choice((np.nan, np.inf, 1e30))
    elif kind == 9:
        if isinstance(thing, h5py.Dataset) and thing.ndim and thing.size:
            value, attrs = thing[()], dict(thing.attrs)
            del handle[name]
            handle[name] = rng.choice(
                (value[:-1], value.astype("S8"), value[None], value.astype(bool) if value.dtype.kind != "S" else value)
            )
            handle[name].attrs.update(attrs)
    elif kind == 10:
        handle[f"{name}-again" if "/" not in name else f"{name.rpartition('/')[0]}/again"] = thing


def _change_attribute(handle: h5py.File, names: list[str], rng: random.Random, remove: bool) -> None:
    holder = rng.choice([handle, *(handle[name] for name in names if len(handle[name].attrs))])
    key = rng.choice(sorted(holder.attrs))
    if remove:
        del holder.attrs[key]
    else:
        holder.attrs[key] = rng.choice(_SAID)
