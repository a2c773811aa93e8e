"""Measures what disturbances of real recordings cost: the same scenes, seen worse, and the grasp that is then chosen carried out.

    python benchmarks/frames.py --scenes 60

Scenes are those of the suite `development` (seen objects, picking), one attempt each. What the cameras gave is disturbed as a
recording of one's own may be; the decision is made from that as `srcli decide` makes it, checks included, and its grasp is
carried out in the undisturbed scene. The world frame of the recording is the arm's: where a disturbance turns it against the
table, the grasp is turned back. Held: something is in the gripper after the lift; right: it is what was asked for; refused: a
check named what is wrong, and nothing was done. After every scene the table so far is printed, so that a run can be ended at any
time.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from scipy.spatial.transform import Rotation

from srcli.errors import SrcliError
from srcli.evaluation.deciding import Decider
from srcli.evaluation.decision import moved_poses
from srcli.evaluation.scene import Scene
from srcli.evaluation.statistics import wilson
from srcli.frames import Observation, placed
from srcli.frames.observation import changed
from srcli.parallel.branching import branch
from srcli.params import Params
from srcli.seeding import generator
from srcli.stages.decide import chosen_method, scene_of
from srcli.types import F64, Action

METRES, DEGREES, TILT = 0.01, 1.0, 2.0
HOLES = 0.2


@dataclass(frozen=True)
class Recorded:
    """Disturbed views, and where their world frame is in the simulator's."""

    views: Observation
    T_sim_world: F64 = field(default_factory=lambda: np.eye(4))


@dataclass
class Row:
    """One disturbance over all scenes."""

    title: str
    disturb: Callable[[Observation, np.random.Generator], Recorded]
    fit_table: bool = False
    scenes: int = 0
    held: int = 0
    right: int = 0
    refused: int = 0


def recorded(seen: Observation, **values: object) -> Observation:
    """Views as a folder would give them: nothing is known of workspace, table or the simulator's frame."""
    return changed(seen, workspace=None, T_cell_world=None, table=None, notes=(), **values)


def _axis(rng: np.random.Generator) -> F64:
    drawn = rng.normal(size=3)
    return np.asarray(drawn / np.linalg.norm(drawn))


def extrinsics(seen: Observation, rng: np.random.Generator) -> Recorded:
    """Each camera moved by 1 cm and turned by 1 degree, each in a direction of its own."""
    poses = seen.T_world_cam.copy()
    for pose in poses:
        pose[:3, :3] = Rotation.from_rotvec(np.deg2rad(DEGREES) * _axis(rng)).as_matrix() @ pose[:3, :3]
        pose[:3, 3] += METRES * _axis(rng)
    return Recorded(recorded(seen, T_world_cam=poses))


def tilt(seen: Observation, rng: np.random.Generator) -> Recorded:
    """The arm's frame turned by 2 degrees against the table, about a level axis through the middle of the workspace."""
    angle = rng.uniform(0, 2 * np.pi)
    axis, middle = np.array([np.cos(angle), np.sin(angle), 0.0]), np.array([0.5, 0.0, 0.0])
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_rotvec(np.deg2rad(TILT) * axis).as_matrix()
    turned[:3, 3] = middle - turned[:3, :3] @ middle
    return Recorded(recorded(seen, T_world_cam=turned @ seen.T_world_cam), np.linalg.inv(turned).astype(np.float64))


def holes(seen: Observation, rng: np.random.Generator) -> Recorded:
    """Discs of 3 to 12 pixels without a return, until they are a fifth of the image."""
    depth = seen.depth.copy()
    side = np.arange(-12, 13)
    for view in depth:
        while (view <= 0).mean() < HOLES:
            for _ in range(20):
                v, u, radius = rng.integers(12, view.shape[0] - 12), rng.integers(12, view.shape[1] - 12), rng.integers(3, 13)
                window = view[v - 12 : v + 13, u - 12 : u + 13]
                window[side[:, None] ** 2 + side**2 < radius**2] = 0.0
    return Recorded(recorded(seen, depth=depth))


def coarse(seen: Observation, rng: np.random.Generator) -> Recorded:
    """Half the pixels each way: colours averaged, one depth of four."""
    count, height, width = seen.depth.shape
    blocks = seen.rgb.reshape(count, height // 2, 2, width // 2, 2, 3).mean(axis=(2, 4))
    K = seen.K * np.array([[0.5], [0.5], [1.0]])
    return Recorded(recorded(seen, rgb=np.rint(blocks).astype(np.uint8), depth=seen.depth[:, ::2, ::2].copy(), K=K))


def alone(view: int, seen: Observation, rng: np.random.Generator) -> Recorded:
    """One camera."""
    kept = {key: getattr(seen, key)[view : view + 1] for key in ("rgb", "depth", "K", "T_world_cam")}
    return Recorded(recorded(seen, names=seen.names[view : view + 1], **kept))


def everything(seen: Observation, rng: np.random.Generator) -> Recorded:
    """Calibration, tilt and holes at once."""
    first = extrinsics(seen, rng).views
    second = tilt(first, rng)
    return Recorded(holes(second.views, rng).views, second.T_sim_world)


def rows() -> list[Row]:
    """The disturbances, the undisturbed frames first."""
    return [
        Row("as rendered", lambda seen, rng: Recorded(recorded(seen))),
        Row("cameras off by 1 cm and 1 degree", extrinsics),
        Row("the same, --fit-table", extrinsics, fit_table=True),
        Row("table tilted by 2 degrees", tilt),
        Row("the same, --fit-table", tilt, fit_table=True),
        Row("a fifth of the depth lost", holes),
        Row("half the resolution", coarse),
        Row("top camera alone", partial(alone, 0)),
        Row("left camera alone", partial(alone, 1)),
        Row("cameras off, table tilted, holes; --fit-table", everything, fit_table=True),
    ]


def play(scene: Scene, decide: Decider, row: Row, number: int, seed: int) -> Action | None:
    """The grasp that is chosen from disturbed frames, in the simulator's frame; None where a check refuses them."""
    made = row.disturb(scene.observe(), generator((seed,), 900 + number))
    try:
        decision = decide(placed(made.views, fit_table=row.fit_table), scene.sentence)
        if not decision.found:
            return None
        pose = moved_poses(decision.pose[None], made.T_sim_world)[0]
    except SrcliError as error:
        sys.stderr.write(f"scene {seed}, {row.title}: {error.message}\n")
        row.refused += 1
        return None
    return Action("grasp", pose.astype(np.float32), decision.width)


def carried_out(scene: Scene, action: Action) -> tuple[bool, bool]:
    """Whether something was held, and whether it was right; in a copy of this process."""
    step = scene.execute(action)
    return bool(step.object), step.success


def table(done: Sequence[Row]) -> str:
    """Markdown."""
    lines = ["| frames | held | right | refused |", "|---|---|---|---|"]
    for row in done:
        shares = [_share(count, row.scenes) for count in (row.held, row.right)]
        lines.append(f"| {row.title} | {shares[0]} | {shares[1]} | {row.refused} |")
    return "\n".join(lines)


def _share(count: int, scenes: int) -> str:
    """A count of scenes with its 95 % interval."""
    band = wilson(count, scenes)
    return f"{count}/{scenes} ({100 * band.low:.0f}-{100 * band.high:.0f} %)"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--method", default="")
    wanted = parser.parse_args()
    import torch

    torch.set_num_threads(1)  # a process with more is not copied
    params = Params()
    decide = Decider(params, chosen_method(params, wanted.method))
    done = rows()
    started = time.process_time()
    for seed in range(wanted.scenes):
        with scene_of(params, "pick", seed) as scene:
            results: dict[bytes, tuple[bool, bool]] = {}
            for number, row in enumerate(done):
                row.scenes += 1
                action = play(scene, decide, row, number, seed)
                if action is None:
                    continue
                key = action.pose.tobytes() + np.float32(action.width).tobytes()
                if key not in results:
                    results[key] = branch(partial(carried_out, scene, action))
                row.held += results[key][0]
                row.right += results[key][1]
        spent = time.process_time() - started
        sys.stdout.write(f"\n{seed + 1} scenes, {decide.method.label}, {spent:.0f} s of the processor to decide\n{table(done)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
