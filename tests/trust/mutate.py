"""Damage, in great numbers and from a seed: files of every kind are changed, read, and what came of it is counted.

In the test suite a few hundred mutations run within a time limit (``test_mutations.py``). As a script it runs as long as it is
told, goes on where it was, and prints the table of docs/trust.md:

    python tests/trust/mutate.py --out runs/trust --seconds 600
    python tests/trust/mutate.py --out runs/trust --kill 20        # kill -9 and SIGTERM, then the same bytes

Outcomes: ``refused`` with an error of the user's kind; ``unchanged``, the content read is the original's; ``changed``, it was
accepted and is another; ``unexpected``, any other exception; ``slow``, over 5 seconds; ``crash``, the process died.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / name) for name in ("stages", "studies", "reporting")]

import fake_episodes as fake  # noqa: E402
import h5py  # noqa: E402
import numpy as np  # noqa: E402

from srcli.artifacts.seal import LENGTH, seal  # noqa: E402
from srcli.errors import SrcliError  # noqa: E402

SLOW = 5.0
KINDS = ("demos", "features", "policy", "evaluation", "ablation")
CASE_TEXT = (
    "give me the mug\n0 1\nsimplified_objects/011.urdf 0.5 0.1 0.1 0 0 0.3\nsimplified_objects/002.urdf 0.4 0 0.1 0 0 0\n"
    "unseen_objects/red_mug/model.urdf 0.45 -0.1 0.1 0 0.1 0\n"
)
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


def fingerprint(value: Any) -> str:
    """A digest of plain data with arrays."""
    digest = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, dict):
            for key in sorted(part, key=str):
                digest.update(f"{key}=".encode("utf-8", "replace"))
                add(part[key])
        elif isinstance(part, (list, tuple)):
            digest.update(f"[{len(part)}".encode())
            for item in part:
                add(item)
        elif isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(repr(part.tolist()).encode() if part.dtype.kind == "O" else part.tobytes())
        elif hasattr(part, "__dataclass_fields__"):
            add({name: getattr(part, name) for name in part.__dataclass_fields__})
        else:
            digest.update(f"{type(part).__name__}:{part!r}".encode("utf-8", "replace"))

    add(value)
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------------------------- subjects


@dataclass(frozen=True)
class Subject:
    """Something to damage: its original, how it is read, and how it is damaged."""

    name: str
    data: bytes
    suffix: str
    read: Callable[[Path], str]
    mutate: Callable[[bytes, random.Random], bytes]


def read_artifact(kind: str) -> Callable[[Path], Any]:
    """The reader that stages use."""

    def demos(path: Path) -> Any:
        from srcli.artifacts.demos import DemoDataset

        dataset = DemoDataset(path)
        dataset.check()
        return [dataset.config, [dataset.episode(i) for i in range(len(dataset))], dataset.decisions]

    def features(path: Path) -> Any:
        from srcli.artifacts.features import FeatureDataset

        data = FeatureDataset(path)
        return [data.config, data.encoder, data.instructions, data.arrays, data.split("train"), data.split("valid")]

    def policy(path: Path) -> Any:
        from srcli.artifacts.policy import load_policy
        from srcli.methods.policy_file import stored_of

        stored_of(load_policy(path), path)
        return load_policy(path)

    def evaluation(path: Path) -> Any:
        from srcli.artifacts.evaluation import load_evaluation

        return load_evaluation(path)

    def ablation(path: Path) -> Any:
        from srcli.artifacts.study import ABLATION, load_study

        return load_study(path, ABLATION)

    return {"demos": demos, "features": features, "policy": policy, "evaluation": evaluation, "ablation": ablation}[kind]


def make_artifact(kind: str, path: Path) -> None:
    """A small artifact as the stages write it."""
    if kind == "demos":
        from srcli.artifacts.demos import merge_parts, write_part

        parts = []
        for index in range(4):
            part = path.with_name(f"{path.stem}-{index}.part")
            write_part(part, fake.episode(None, "pick", (0, 1, index)), index, {"task": "pick"})
            parts.append(part)
        merge_parts(path, parts, {"task": "pick", "collect": {"episodes": 4}}, 3)
        for part in parts:
            part.unlink()
    elif kind == "features":
        from study_fakes import write_features

        write_features(path)
    elif kind == "policy":
        from srcli.artifacts.policy import save_policy

        rng = np.random.default_rng(0)
        weights = {"head.4.bias": rng.normal(size=3).astype(np.float32), "body": rng.normal(size=(80, 60)).astype(np.float32)}
        curves = {"update": np.arange(5.0), "train_loss": np.ones(5)}
        save_policy(path, weights, {"width": 4}, {"name": "e"}, curves, {"seed": 0, "feature_dim": 8}, method="sr_plus")
    elif kind == "evaluation":
        from report_inputs import TOP, evaluation

        evaluation(path, {(TOP, "pick", "seen"): 3, ("random", "pick", "seen"): 1}, n=4)
    else:
        from report_inputs import TOP, ablation

        ablation(path, {TOP: 3, "random": 1}, n=4)


def subjects(folder: Path) -> list[Subject]:
    """Everything that is damaged; originals are made in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for kind in KINDS:
        path = folder / f"{kind}.h5"
        make_artifact(kind, path)
        whole = path.read_bytes()
        reader = read_artifact(kind)

        def read(file: Path, reader: Callable[[Path], Any] = reader) -> str:
            return fingerprint(reader(file))

        found.append(Subject(f"{kind}, sealed", whole, ".h5", read, change_bytes))
        old = _unsealed(path)
        found.append(Subject(f"{kind}, earlier version", old, ".h5", read, change_bytes))
        found.append(Subject(f"{kind}, structure", whole, ".h5", read, change_structure))
    found.append(Subject("params.yaml", _params(), ".yaml", _read_params, change_yaml))
    found.append(Subject("--set", b"seed=1", ".txt", _read_assignment, change_assignment))
    found.append(Subject("case file, text", CASE_TEXT.encode(), ".txt", _read_cases, change_text))
    found.append(Subject("case file, YAML", _case_yaml(), ".yaml", _read_cases, change_yaml))
    found.append(Subject("journal", _journal(folder), ".jsonl", _read_journal, change_bytes))
    found.append(Subject("checkpoint", _checkpoint(folder), ".checkpoint", _read_checkpoint, change_bytes))
    return found


def _unsealed(path: Path) -> bytes:
    """The file as an earlier version would have written it."""
    old = path.with_suffix(".old.h5")
    old.write_bytes(path.read_bytes()[:-LENGTH])
    with h5py.File(old, "r+") as handle:
        del handle.attrs["sealed"]
    return old.read_bytes()


def _params() -> bytes:
    from srcli.params import Params
    from srcli.params.rendering import to_yaml

    return to_yaml(Params()).encode()


def _read_params(path: Path) -> str:
    from srcli.params.loading import load_params

    return load_params(path).model_dump_json()


def _read_assignment(path: Path) -> str:
    from srcli.cli.running import parameters

    return parameters(None, (), [os.fsdecode(path.read_bytes())]).model_dump_json()


def _case_yaml() -> bytes:
    return (
        b"task: pick\ncases:\n  - name: one\n    instruction: give me the banana\n    keyword: banana\n    kind: label\n"
        b"    objects: [banana, red_mug, scissors]\n  - name: two\n    instruction: get the red mug\n    targets: [red_mug]\n"
        b"    objects: [banana, red_mug]\n    drops: [[0.5, 0, 0.1, 0, 0, 0], [0.4, 0.1, 0.1, 0, 0, 1.5]]\n"
    )


def _read_cases(path: Path) -> str:
    from srcli.evaluation.casefiles import read_cases_folder

    return fingerprint([case.case for case in read_cases_folder(path).cases]).replace(path.stem, "")


RECORDS = [
    {"key": f"k{i}", "success": i % 2 == 0, "attempts": [{"reason": "slipped", "slot": i}], "said": "Stück"} for i in range(6)
]


def _journal(folder: Path) -> bytes:
    from srcli.evaluation.journal import Journal

    made = Journal(folder, "m", {"a": 1})
    for record in RECORDS:
        made.add(record)
    return made.path.read_bytes()


def _read_journal(path: Path) -> str:
    """What is left are records as they were: whatever is missing is played again."""
    from srcli.evaluation.journal import Journal

    place = Journal(path.parent / f"{path.stem}-episodes", "m", {"a": 1}).path
    place.parent.mkdir(exist_ok=True)
    shutil.copy(path, place)
    try:
        kept = Journal(place.parent, "m", {"a": 1}).records
    finally:
        shutil.rmtree(place.parent)
    whole = {str(record["key"]): record for record in RECORDS}
    return "as they were" if all(whole.get(key) == record for key, record in kept.items()) else fingerprint(kept)


def _checkpoint(folder: Path) -> bytes:
    import torch

    from srcli.learning.checkpoint import State, save_checkpoint

    module = torch.nn.Linear(30, 20)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(2, 30)).sum().backward()
    optimizer.step()
    path = folder / "x.checkpoint"
    save_checkpoint(path, {"a": 1}, module, [optimizer], State(4, {"update": [1.0], "train_loss": [2.0]}))
    return path.read_bytes()


def _read_checkpoint(path: Path) -> str:
    """A damaged one is told of and begun anew, which counts as refused."""
    from srcli.errors import ArtifactError
    from srcli.learning.checkpoint import read_checkpoint

    stored = read_checkpoint(path)
    if stored is None:
        raise ArtifactError("begun anew")
    tensors = {name: value.numpy() for name, value in {**stored.weights, **stored.optimizers}.items()}
    return fingerprint([stored.identity, tensors, stored.state.update, stored.state.curves])


# ------------------------------------------------------------------------------------------------------------ mutations


def change_bytes(data: bytes, rng: random.Random) -> bytes:
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


def change_text(data: bytes, rng: random.Random) -> bytes:
    """Bytes as above, or a word replaced by a nasty one."""
    if rng.random() < 0.4:
        return change_bytes(data, rng)
    words = data.split(b" ")
    words[rng.randrange(len(words))] = os.fsencode(
        rng.choice(NASTY).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    )
    return b" ".join(words)


def change_yaml(data: bytes, rng: random.Random) -> bytes:
    """Bytes as above, or a line's value, indentation or place changed."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    match rng.randrange(6):
        case 0 | 1:
            return change_bytes(data, rng)
        case 2 | 3:
            key = lines[at].partition(b":")[0]
            lines[at] = key + b": " + rng.choice(NASTY).encode("utf-8", "surrogateescape")
        case 4:
            lines[at] = b"  " + lines[at]
        case _:
            lines.insert(at, lines[rng.randrange(len(lines))])
    return b"\n".join(lines)


def change_assignment(data: bytes, rng: random.Random) -> bytes:
    """A key of the parameters, or none, with a nasty value."""
    keys = (
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
    return f"{rng.choice(keys)}={rng.choice(NASTY)}".encode("utf-8", "surrogateescape")


def change_structure(data: bytes, rng: random.Random) -> bytes:
    """Something of an HDF5 file replaced by what no file of srcli holds; then sealed, as who means harm would."""
    path = HERE / f".structure-{os.getpid()}.h5"
    path.write_bytes(data)
    try:
        with h5py.File(path, "r+") as handle:
            _change_structure(handle, rng)
        if rng.random() < 0.7:
            seal(path)
        return path.read_bytes()
    finally:
        path.unlink()


def _change_structure(handle: h5py.File, rng: random.Random) -> None:
    names: list[str] = []
    handle.visit(names.append)
    name = rng.choice(names)
    thing = handle[name]
    holders = [handle, *(handle[n] for n in names if len(handle[n].attrs))]
    kind = rng.randrange(14)
    if kind < 8:
        del handle[name]
    if kind == 1:
        handle.create_group(name)
    elif kind == 2:
        handle[name] = rng.choice((0, 1.5, "text", True))
    elif kind == 3:
        handle[name] = np.zeros(3, dtype=[("a", "f4"), ("b", "i4")])
    elif kind == 4:
        handle.create_dataset(name, shape=(64,), dtype="u1", external=[("/etc/passwd", 0, 64)])
    elif kind == 5:
        handle[name] = rng.choice((h5py.SoftLink("/"), h5py.ExternalLink("other.h5", "/x")))
    elif kind == 6:
        layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
        layout[:] = h5py.VirtualSource("other.h5", "x", shape=(4,))
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
    else:
        holder = rng.choice(holders)
        key = rng.choice(sorted(holder.attrs))
        nasty = ("1", True, np.nan, -3, "false", "{}", "[1]", "{", '{"a": [[[]]]}', "[" * 5000, np.zeros(4), 2**40, b"\xff")
        if kind == 11:
            del holder.attrs[key]
        else:
            holder.attrs[key] = rng.choice(nasty)


# -------------------------------------------------------------------------------------------------------------- running


def outcome(subject: Subject, number: int, folder: Path) -> tuple[str, str]:
    """What came of mutation ``number``, and the words of an error."""
    rng = random.Random(f"{subject.name}/{number}")
    path = folder / f"m{number}{subject.suffix}"
    path.write_bytes(subject.mutate(subject.data, rng))
    original = _original(subject, folder)
    start, begun, words = time.monotonic(), time.process_time(), ""
    try:
        found = subject.read(path)
        result = "unchanged" if found == original else "changed"
    except SrcliError as error:
        result, words = "refused", error.message
    except Exception as error:
        result, words = "unexpected", f"{type(error).__name__}: {error}"
    finally:
        path.unlink(missing_ok=True)
    # A machine that does other things at once must not make a hang of it.
    if time.process_time() - begun > SLOW or time.monotonic() - start > 12 * SLOW:
        result = "slow"
    return result, words[:300]


_originals: dict[str, str] = {}


def _original(subject: Subject, folder: Path) -> str:
    if subject.name not in _originals:
        path = folder / f"original{subject.suffix}"
        path.write_bytes(subject.data)
        _originals[subject.name] = subject.read(path)
        path.unlink()
    return _originals[subject.name]


def mutations(folder: Path, seconds: float, rounds: int) -> Iterator[tuple[str, int, str, str]]:
    """(subject, number, outcome, words), subject after subject, until the time is over; ``rounds`` of all of them at least."""
    made = subjects(folder)
    end = time.monotonic() + seconds
    number = 0
    while number < rounds or time.monotonic() < end:
        for subject in made:
            yield (subject.name, number, *outcome(subject, number, folder))
        number += 1


# ------------------------------------------------------------------------------------------------------------ long mode


def _table(rows: list[dict[str, Any]]) -> str:
    columns = ("refused", "unchanged", "changed", "unexpected", "slow", "crash")
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row["subject"], Counter())[row["outcome"]] += 1
    lines = ["| what | mutations | " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) + 1)]
    lines += [
        f"| {name} | {sum(own.values())} | " + " | ".join(str(own[column]) for column in columns) + " |"
        for name, own in sorted(counts.items())
    ]
    return "\n".join(lines)


def run_long(out: Path, seconds: float) -> int:
    """Mutations until the time is over; every result is a line of ``mutations.jsonl``, from which a later run goes on."""
    log = out / "mutations.jsonl"
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []
    begun = out / "begun"
    if begun.exists():
        # The process died in the middle of one.
        subject, _, number = begun.read_text("utf-8").rpartition("/")
        rows.append({"subject": subject, "number": int(number), "outcome": "crash", "words": ""})
        with log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(rows[-1]) + "\n")
    reached = Counter(row["subject"] for row in rows)
    end = time.monotonic() + seconds
    made = subjects(out / "work")
    with log.open("a", encoding="utf-8") as stream:
        while time.monotonic() < end:
            for subject in made:
                number = reached[subject.name]
                reached[subject.name] += 1
                begun.write_text(f"{subject.name}/{number}", "utf-8")
                result, words = outcome(subject, number, out / "work")
                rows.append({"subject": subject.name, "number": number, "outcome": result, "words": words})
                stream.write(json.dumps(rows[-1]) + "\n")
                stream.flush()
    begun.unlink(missing_ok=True)
    sys.stdout.write(_table(rows) + "\n")
    for row in rows:
        if row["outcome"] in ("unexpected", "slow", "crash") or (row["outcome"] == "changed" and "sealed" in row["subject"]):
            sys.stdout.write(json.dumps(row) + "\n")
    return 1 if any(row["outcome"] in ("unexpected", "slow", "crash") for row in rows) else 0


SMALL = ["-S", "methods.sr.train.updates=30", "-S", "methods.sr.train.checkpoint_every=5", "-S", "evaluate.bootstrap=100"]
STAGES: dict[str, tuple[list[str], list[str]]] = {
    "collect": (["collect", "--episodes", "6", "--out", "demos.h5", "-j", "2"], ["demos.h5"]),
    "featurize": (["featurize", "demos.h5", "--out", "features.h5", "-j", "2"], ["features.h5"]),
    "train": (
        ["train", "features.h5", "--method", "sr_plus", "--out", "policy.h5", *SMALL],
        ["policy.h5", "policy.metrics.json"],
    ),
    "evaluate": (
        ["evaluate", "sr_plus=policy.h5", "-m", "random", "--episodes", "3", "--figures", "0", "--out", "ev", "-j", "2", *SMALL],
        ["ev/results.h5"],
    ),
    "ablate": (
        [
            "ablate",
            "features.h5",
            "--episodes",
            "2",
            "--out",
            "ab",
            "--policies-dir",
            "pol",
            "-j",
            "2",
            "-S",
            "ablate.updates=10",
            *SMALL,
        ],
        ["ab/ablation.h5"],
    ),
    "noise-sweep": (
        ["noise-sweep", "features.h5", "--episodes", "2", "--out", "no", "--policies-dir", "pol", "-j", "2", "--sigma", "0.1"],
        ["no/noise.h5"],
    ),
}


def run_kills(out: Path, kills: int, stages: list[str], seed: int) -> int:
    """Each stage to its end once; then again with kills at random moments, until it ends; the bytes have to be equal."""
    rng, wrong = random.Random(seed), 0
    for stage in stages:
        command, results = STAGES[stage]
        whole, broken = out / "whole", out / f"killed-{stage}"
        whole.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        _srcli(command, whole).wait()
        length = time.monotonic() - started
        made = kept = 0
        while made < kills:
            shutil.rmtree(broken, ignore_errors=True)
            broken.mkdir()
            for file in ("demos.h5", "features.h5", "policy.h5"):
                if (whole / file).exists() and file not in results:
                    shutil.copy(whole / file, broken / file)
            for _ in range(3):
                process = _srcli(command, broken)
                try:
                    process.wait(rng.uniform(0.3, 1.0) * length)
                except subprocess.TimeoutExpired:
                    made += 1
                    # The whole session of our own child: the command and its workers.
                    sign = rng.choice((signal.SIGKILL, signal.SIGTERM))
                    (os.killpg if sign == signal.SIGKILL else os.kill)(process.pid, sign)
                    process.wait()
            code = _srcli(command, broken).wait()
            same = code == 0 and all((whole / r).read_bytes() == (broken / r).read_bytes() for r in results)
            kept += same
            wrong += not same
            if not same:
                break
        sys.stdout.write(f"| {stage} | {made} kills | {'the same bytes' if kept and same else f'DIFFERS, exit {code}'} |\n")
        sys.stdout.flush()
    return 1 if wrong else 0


def _srcli(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    log = (folder / "log").open("ab")
    return subprocess.Popen([sys.executable, "-m", "srcli", *command], cwd=folder, stdout=log, stderr=log, start_new_session=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the log; a later run goes on from it")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long to mutate")
    parser.add_argument("--kill", type=int, default=0, help="kills for each stage; nothing is mutated then")
    parser.add_argument("--stage", action="append", choices=list(STAGES), help="stages to kill; default all, in their order")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    out = given.out.resolve()
    if given.kill:
        return run_kills(out, given.kill, given.stage or list(STAGES), given.seed)
    return run_long(out, given.seconds)


if __name__ == "__main__":
    raise SystemExit(main())
