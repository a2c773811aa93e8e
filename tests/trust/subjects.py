"""What is damaged: a small file of every kind that srcli reads, with the reader that the stages use."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / name) for name in ("stages", "studies", "reporting", "objects")]

import fake_episodes as fake  # noqa: E402
import h5py  # noqa: E402
import mesh_files  # noqa: E402
import numpy as np  # noqa: E402
from damage import change_assignment, change_bytes, change_either, change_names, change_structure, change_text, change_yaml  # noqa: E402

from srcli.artifacts.seal import LENGTH  # noqa: E402

KINDS = ("demos", "features", "policy", "evaluation", "ablation")
CHECKED = ("sealed", "journal", "checkpoint", "part", "outcomes", "shard")
"""How the names end of those that carry a digest: nothing of theirs is accepted changed."""

_CASE_TEXT = (
    "give me the mug\n0 1\nsimplified_objects/011.urdf 0.5 0.1 0.1 0 0 0.3\nsimplified_objects/002.urdf 0.4 0 0.1 0 0 0\n"
    "unseen_objects/red_mug/model.urdf 0.45 -0.1 0.1 0 0.1 0\n"
)
_URDF = (
    '<robot name="x"><link name="a"><inertial><mass value="0.1"/></inertial><visual><geometry>'
    '<mesh filename="box.obj" scale="1 1 1"/></geometry></visual><collision><geometry><mesh filename="box.obj"/>'
    "</geometry></collision></link></robot>"
)
_MJCF = (
    '<mujoco><asset><mesh name="m" file="box.obj"/></asset><worldbody><body><geom type="mesh" mesh="m"/>'
    '<geom type="box" size="0.02 0.02 0.02"/></body></worldbody></mujoco>'
)
Mutate = Callable[[bytes, random.Random, Path], bytes]


@dataclass(frozen=True)
class Subject:
    """Something to damage.

    Attributes:
        name: for the table.
        data: the original.
        suffix: of its name.
        read: a digest of the content that a stage would take from it.
        mutate: damages it; see :mod:`damage`.
        beside: files that lie in its folder.
    """

    name: str
    data: bytes
    suffix: str
    read: Callable[[Path], str]
    mutate: Mutate
    beside: Mapping[str, bytes] = field(default_factory=dict)


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


# ------------------------------------------------------------------------------------------------------------ artifacts


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


def unsealed(path: Path) -> bytes:
    """The file as an earlier version would have written it."""
    old = path.with_suffix(".old.h5")
    old.write_bytes(path.read_bytes()[:-LENGTH])
    with h5py.File(old, "r+") as handle:
        del handle.attrs["sealed"]
    return old.read_bytes()


def _artifacts(folder: Path) -> list[Subject]:
    found = []
    for kind in KINDS:
        path = folder / f"{kind}.h5"
        make_artifact(kind, path)
        whole = path.read_bytes()
        reader = read_artifact(kind)

        def read(file: Path, reader: Callable[[Path], Any] = reader) -> str:
            return fingerprint(reader(file))

        found.append(Subject(f"{kind}, sealed", whole, ".h5", read, change_bytes))
        found.append(Subject(f"{kind}, earlier version", unsealed(path), ".h5", read, change_bytes))
        found.append(Subject(f"{kind}, structure", whole, ".h5", read, change_structure))
    return found


# ----------------------------------------------------------------------------------------------------------------- text


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


def _texts() -> list[Subject]:
    return [
        Subject("params.yaml", _params(), ".yaml", _read_params, change_yaml),
        Subject("--set", b"seed=1", ".txt", _read_assignment, change_assignment),
        Subject("case file, text", _CASE_TEXT.encode(), ".txt", _read_cases, change_text),
        Subject("case file, YAML", _case_yaml(), ".yaml", _read_cases, change_yaml),
    ]


# --------------------------------------------------------------------------------------------------------------- models


def _triangles() -> tuple[Any, Any]:
    vertices = mesh_files.CORNERS * (0.05, 0.04, 0.06)
    quads = [[int(i) - 1 for i in face.split()] for face in mesh_files.FACES]
    return vertices, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])


def _stl() -> bytes:
    vertices, faces = _triangles()
    rows = b"".join(struct.pack("<12f2x", 0, 0, 0, *vertices[face].ravel()) for face in faces)
    return bytes(80) + struct.pack("<I", len(faces)) + rows


def _ply() -> bytes:
    vertices, faces = _triangles()
    head = (
        f"ply\nformat ascii 1.0\nelement vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = [" ".join(map(str, row)) for row in [*vertices.tolist(), *([3, *face] for face in faces.tolist())]]
    return (head + "\n".join(rows) + "\n").encode()


def _glb() -> bytes:
    vertices, faces = _triangles()
    body = vertices.astype("<f4").tobytes() + faces.astype("<u4").tobytes()
    tree = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": len(vertices), "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 1]},
            {"bufferView": 1, "componentType": 5125, "count": faces.size, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": vertices.size * 4},
            {"buffer": 0, "byteOffset": vertices.size * 4, "byteLength": faces.size * 4},
        ],
        "buffers": [{"byteLength": len(body)}],
    }
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(body), 0x004E4942) + body
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def _read_model(path: Path) -> str:
    from srcli.objects.importing import read_mesh_file

    raw = read_mesh_file(path, [])
    surfaces = [[color, mesh.vertices, mesh.faces] for color, mesh in raw.surfaces]
    return fingerprint([surfaces, list(raw.hulls), raw.mass, raw.friction])


def _models() -> list[Subject]:
    library = b"newmtl red\nKd 0.9 0.1 0.05\n"
    box = ("mtllib box.mtl\nusemtl red\n" + mesh_files.box_text((0.05, 0.04, 0.06))).encode()
    beside = {"box.obj": box, "box.mtl": library}
    texts = {"OBJ": (box, ".obj"), "PLY": (_ply(), ".ply"), "URDF": (_URDF.encode(), ".urdf"), "MJCF": (_MJCF.encode(), ".xml")}
    found = [Subject(f"model, {k}", data, end, _read_model, change_names, beside) for k, (data, end) in texts.items()]
    found.append(Subject("model, STL", _stl(), ".stl", _read_model, change_bytes))
    found.append(Subject("model, GLB", _glb(), ".glb", _read_model, change_either))
    return found


def _rows() -> bytes:
    from io import BytesIO

    from srcli.actions.graspnet import make_group

    rng = np.random.default_rng(0)
    made = make_group(
        np.linspace(0, 1, 20), np.full(20, 0.05), np.full(20, 0.02), np.stack([np.eye(3)] * 20), rng.normal(size=(20, 3))
    )
    stream = BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(made.rows), allow_pickle=False)
    return stream.getvalue()


def _read_rows(path: Path) -> str:
    from srcli.actions.graspnet import read_grasps

    return fingerprint(read_grasps(path).rows)


def _frames() -> Subject:
    import tempfile

    from srcli.frames import Observation, read_frames, write_frames

    rng = np.random.default_rng(0)
    pose = np.eye(4)
    pose[:3, 3] = 0.5, 0.0, 0.6
    seen = Observation(
        rng.integers(0, 255, size=(2, 12, 16, 3)).astype(np.uint8),
        np.rint(rng.uniform(400, 600, size=(2, 12, 16))).astype(np.float32) / 1000,
        np.stack([np.array([[20.0, 0, 8], [0, 20, 6], [0, 0, 1]])] * 2),
        np.stack([pose] * 2),
    )
    with tempfile.TemporaryDirectory() as place:
        folder = write_frames(Path(place) / "frames", seen)
        beside = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    data = beside.pop("cameras.json")

    def read(path: Path) -> str:
        place = path.parent / f"{path.stem}-frames"
        place.mkdir()
        try:
            for name, content in beside.items():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).write_bytes(content)
            shutil.copy(path, place / "cameras.json")
            found = read_frames(place)
            return fingerprint([found.rgb, found.depth, found.K, found.T_world_cam])
        finally:
            shutil.rmtree(place)

    return Subject("frames, cameras.json", data, ".json", read, change_names)


# ------------------------------------------------------------------------------------------------------ unfinished work

_RECORDS = [
    {"key": f"k{i}", "success": i % 2 == 0, "attempts": [{"reason": "slipped", "slot": i}], "said": "Stück"} for i in range(6)
]


def _journal(folder: Path) -> bytes:
    from srcli.evaluation.journal import Journal

    made = Journal(folder, "m", {"a": 1})
    for record in _RECORDS:
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
    whole = {str(record["key"]): record for record in _RECORDS}
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


_PART = {"task": "pick"}


def _part(folder: Path) -> bytes:
    from srcli.artifacts.demos import write_part

    path = folder / "x.part"
    write_part(path, fake.episode(None, "pick", (0, 1, 1)), 0, _PART)
    return path.read_bytes()


def _read_part(path: Path) -> str:
    """As `collect` does: a damaged part is removed and told of, which counts as refused; else what it gives to the whole."""
    from srcli.artifacts.demos import DemoDataset, merge_parts
    from srcli.artifacts.pieces import Pieces
    from srcli.errors import ArtifactError

    pieces = Pieces(path.with_suffix(".h5"), _PART)
    pieces.folder.mkdir()
    try:
        shutil.copy(path, pieces.path(0))
        if 0 not in pieces.finished():
            raise ArtifactError("made again")
        merge_parts(pieces.output, [pieces.path(0)], _PART, 3)
        return fingerprint(DemoDataset(pieces.output).episode(0))
    finally:
        pieces.remove()
        pieces.output.unlink(missing_ok=True)


def _outcomes(folder: Path) -> bytes:
    from srcli.pretraining.cache import store_arrays

    rng = np.random.default_rng(0)
    path = folder / "x.npz"
    store_arrays(path, {"points": rng.normal(size=(5, 8, 3)).astype(np.float32), "held": np.array([True, False] * 3)})
    return path.read_bytes()


def _read_outcomes(path: Path) -> str:
    """A damaged file is removed and told of, which counts as refused."""
    from srcli.errors import ArtifactError
    from srcli.pretraining.cache import is_whole, load_arrays

    if not is_whole(path):
        raise ArtifactError("made again")
    return fingerprint(load_arrays(path, ("points", "held"), "outcomes", "srcli pretrain grasp"))


def _shard(folder: Path) -> Subject:
    from srcli.errors import ArtifactError
    from srcli.pretraining.encoder.concepts import Facts
    from srcli.pretraining.encoder.store import Shard, is_whole, read_shard, shard_path, write_shard

    rng = np.random.default_rng(0)
    facts = (Facts("mug", ("mug",), ("red",), ("red", "round"), ("cup",), ("drink",)),)
    made = Shard(rng.integers(0, 255, (2, 3, 4, 5, 3)).astype(np.uint8), np.ones((2, 3, 4, 5), np.uint8), (facts, facts))
    whole = shard_path(folder / "shards", 0)
    write_shard(whole, made)
    names = sorted(file.name for file in whole.iterdir())
    # All files in a row are damaged as one.
    sizes = [(whole / name).stat().st_size for name in names]

    def read(path: Path) -> str:
        data, place = path.read_bytes(), path.parent / f"{path.stem}-shard"
        shard_path(place, 0).mkdir(parents=True)
        try:
            for number, (name, size) in enumerate(zip(names, sizes, strict=True)):
                start = sum(sizes[:number])
                (shard_path(place, 0) / name).write_bytes(data[start : start + size if name != names[-1] else None])
            read_shard.cache_clear()
            if not is_whole(place, 0, 2):
                raise ArtifactError("rendered again")
            found = read_shard(shard_path(place, 0))
            return fingerprint([np.array(found.rgb), np.array(found.slots), [list(scene) for scene in found.facts]])
        finally:
            shutil.rmtree(place)

    return Subject("shard", b"".join((whole / name).read_bytes() for name in names), ".shard", read, change_bytes)


def _unfinished(folder: Path) -> list[Subject]:
    return [
        Subject("journal", _journal(folder), ".jsonl", _read_journal, change_bytes),
        Subject("checkpoint", _checkpoint(folder), ".checkpoint", _read_checkpoint, change_bytes),
        Subject("part", _part(folder), ".part", _read_part, change_bytes),
        Subject("outcomes", _outcomes(folder), ".npz", _read_outcomes, change_bytes),
        _shard(folder),
    ]


def subjects(folder: Path) -> list[Subject]:
    """Everything that is damaged; originals are made in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = Subject("grasp rows", _rows(), ".npy", _read_rows, change_bytes)
    return [*_artifacts(folder), *_texts(), *_models(), rows, _frames(), *_unfinished(folder)]
