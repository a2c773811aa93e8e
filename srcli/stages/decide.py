"""Stage ``decide``: recorded frames in, a grasp or a placement out; and example frames of a simulated scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.errors import ConfigError

if TYPE_CHECKING:
    from srcli.evaluation.decision import Decision
    from srcli.evaluation.methods import Method
    from srcli.evaluation.suites import SuiteEpisode
    from srcli.frames import Observation
    from srcli.params import Params
    from srcli.types import HeldExtent


@dataclass(frozen=True)
class Summary:
    """What was decided.

    Attributes:
        decision: whole, for pictures and further work.
        data: the same as plain data.
        lines: the same for people.
        files: what was written, by kind; empty without a folder.
        seconds: from files to the decision, without loading encoder and method.
    """

    decision: Decision
    data: Mapping[str, Any]
    lines: tuple[str, ...]
    files: Mapping[str, Path]
    seconds: float


def chosen_method(params: Params, name: str = "") -> Method:
    """The method that decides: ``NAME``, ``NAME=FILE``, a policy file, or the first of ``evaluate.methods``.

    Raises:
        UnknownNameError, ArtifactError, MissingAssetError, ConfigError: no such method, or it cannot be used.
    """
    from srcli.evaluation.methods import method_sections, resolve_methods

    text = name or params.evaluate.methods[0]
    given = "=" in text or Path(text).suffix == ".h5"
    names, files = ([], [text]) if given else ([text], [])
    return resolve_methods(names, files, method_sections(params.methods), params.encoder)[0]


def run(
    params: Params,
    folder: Path | str,
    sentence: str,
    method: str = "",
    *,
    format: str = "",
    cameras: Sequence[str] = (),
    held: HeldExtent | None = None,
    fit_table: bool = False,
    check: bool = True,
    top: int = 5,
    out_dir: Path | None = None,
    device: str = "cpu",
) -> Summary:
    """Decide from a folder of frames.

    Args:
        method: ``NAME``, ``NAME=FILE`` or a policy file; empty: the first of ``evaluate.methods``.
        format, cameras, fit_table, check: as :meth:`srcli.frames.Observation.from_folder`.
        held: what the gripper holds; then a placement is decided.
        top: how many candidates are told.
        out_dir: where JSON, picture and GraspNet rows are written; None: nowhere.

    Raises:
        ArtifactError, SceneError: what is wrong with the frames; also where there is nothing to choose from.
        ConfigError: an empty sentence, or a method that cannot do it.
    """
    from time import perf_counter

    from srcli.evaluation.deciding import Decider
    from srcli.frames import Observation

    # Everything that can be wrong is told before the weights are loaded.
    started = perf_counter()
    seen = Observation.from_folder(folder, format=format, cameras=cameras, fit_table=fit_table, check=check, held=held)
    read = perf_counter() - started
    if not sentence.strip():
        raise ConfigError("the sentence is empty", 'say what to do, for example: srcli decide FOLDER "give me the apple"')
    decide = Decider(params, chosen_method(params, method), device)
    started = perf_counter()
    decision = decide(seen.with_seed((params.seed,)), sentence)
    seconds = read + perf_counter() - started
    decision.action  # noqa: B018  # says why where there is nothing to choose from
    files = decision.save(out_dir, max(top, 50)) if out_dir is not None else {}
    return Summary(decision, {**decision.as_dict(top), "seconds": seconds}, tuple(_lines(decision, top)), files, seconds)


def _lines(decision: Decision, top: int) -> list[str]:
    seen = decision.observation
    rows = [("frames", f"{seen.source}: {', '.join(seen.labels)}")]
    if seen.table is not None:
        rows.append(("table", seen.table.told(seen.labels)))
    heard = [line for line in (decision.reading.told(), decision.understood.told(decision.phase)) if line]
    rows += [("sentence", f'"{decision.sentence}"'), *(("", line) for line in heard)]
    rows += [(decision.method, decision.told()[0]), ("world", _numbers(decision.pose))]
    rows += [(name, _numbers(decision.in_camera(name))) for name in seen.labels]
    rows += [("next best" if k == 1 else "", _row(decision, int(i))) for k, i in enumerate(decision.order[:top]) if k]
    rows += [("note", note) for note in decision.notes]
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {text}".rstrip() for name, text in rows]


def _numbers(pose: Any) -> str:
    """Position and quaternion xyzw."""
    position, turn = (" ".join(f"{round(float(v), 4) + 0.0:.4f}" for v in part) for part in (pose[:3], pose[3:]))
    return f"xyz {position}  xyzw {turn}"


def _row(decision: Decision, index: int) -> str:
    x, y, z = decision.poses[index, :3]
    score = "" if decision.scores is None else f"  score {decision.scores[index]:.3f}"
    width = "" if decision.kind == "place" else f"  width {1000 * decision.widths[index]:.0f} mm"
    return f"({x:.3f}, {y:.3f}, {z:.3f}){width}{score}  quality {decision.quality[index]:.2f}"


@dataclass(frozen=True)
class Example:
    """Frames of a simulated scene.

    Attributes:
        sentence: that belongs to the scene.
        command: that decides from it.
        held: of a placement: radius, half width and height of what the arm holds, metres.
    """

    folder: Path
    format: str
    sentence: str
    held: tuple[float, float, float] | None
    command: str
    observation: Observation


def write_example(
    params: Params,
    folder: Path | str,
    format: str = "native",
    task: str = "pick",
    split: str = "seen",
    seed: int = 0,
    force: bool = False,
) -> Example:
    """Render a scene of the suite ``development`` and write what its cameras give as frames.

    Args:
        seed: which scene of the suite, from 0.
        force: replace a folder of frames.

    Raises:
        As :func:`srcli.frames.write_frames`, :func:`scene_of`.
    """
    from srcli.frames import write_frames

    scene = scene_of(params, task, seed, split)
    with scene:
        observation = scene.observe()
    place = write_frames(folder, observation, format, force)
    held = observation.held
    numbers = None if held is None else (round(held.radius, 4), round(held.half_width, 4), round(held.height, 4))
    option = "" if numbers is None else f" --held {','.join(f'{v:g}' for v in numbers)}"
    return Example(place, format, scene.sentence, numbers, f'srcli decide {place} "{scene.sentence}"{option}', observation)


def scene_of(params: Params, task: str = "pick", seed: int = 0, split: str = "seen", key: str = "") -> Any:
    """A scene to play (:class:`srcli.evaluation.scene.Scene`).

    Args:
        seed: which scene of the suite ``development``, from 0.
        key: of any episode or the name of a case instead, as ``srcli evaluate --case`` takes it.

    Raises:
        UnknownNameError: no such task, split or case.
        ConfigError: there is no scene of this number.
        SetupError: the scene cannot be set up.
    """
    from srcli.evaluation.scene import Scene
    from srcli.evaluation.suites import find_episode

    if key:
        return Scene(params, find_episode(key, 1, params.seed, task=task if task != "pick" else None))
    return Scene(params, episode_of(params, task, seed, split))


def episode_of(params: Params, task: str = "pick", seed: int = 0, split: str = "seen") -> SuiteEpisode:
    """An episode of the suite ``development``.

    Raises:
        UnknownNameError: no such task or split.
        ConfigError: there is no scene of this number.
    """
    from srcli.errors import unknown_name
    from srcli.evaluation.suites import suite_episodes
    from srcli.seeding import SPLIT_STRIDE

    if split not in ("seen", "unseen"):
        raise unknown_name("split", split, ("seen", "unseen"))
    if not 0 <= seed < SPLIT_STRIDE:
        raise ConfigError(f"scene {seed}: scenes are counted from 0 to {SPLIT_STRIDE - 1}", "give a number of these")
    return suite_episodes("development", params.seed, (split,), episodes=seed + 1, task=task)[-1]
