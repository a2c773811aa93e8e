"""What is damaged: a small file of every kind that srcli reads, with the reader that the stages use."""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / name) for name in ("stages", "studies", "reporting", "objects")]

import fake_episodes as fake  # noqa: E402
import h5py  # noqa: E402
import mesh_files  # noqa: E402
import numpy as np  # noqa: E402
from damage import change_assignment, change_bytes, change_either, change_names, change_structure, change_text, change_yaml  # noqa: E402
from subject import Subject, fingerprint  # noqa: E402
from unfinished_work import unfinished  # noqa: E402

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
    import srcli
    from srcli.actions.graspnet import GraspGroup

    group = srcli.read(path)
    assert isinstance(group, GraspGroup)
    return fingerprint(group.rows)


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


def subjects(folder: Path) -> list[Subject]:
    """Everything that is damaged; originals are made in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = Subject("grasp rows", _rows(), ".npy", _read_rows, change_bytes)
    return [*_artifacts(folder), *_texts(), *_models(), rows, _frames(), *unfinished(folder)]
