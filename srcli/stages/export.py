"""Stage ``export``: a file of this package in the format of a neighbouring project."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.errors import ArtifactError, ConfigError, unknown_name

if TYPE_CHECKING:
    from srcli.artifacts.demos import DemoDataset
    from srcli.exporting.decisions import Viewer
    from srcli.parallel import Progress
    from srcli.params import Params

FORMATS: dict[str, tuple[str, frozenset[str]]] = {
    "safetensors": ("a policy's weights", frozenset()),
    "lerobot": ("a LeRobot dataset v3.0", frozenset({"every"})),
    "rerun": ("an episode for rerun's viewer", frozenset({"episode", "method"})),
    "ply": ("the point cloud of an attempt", frozenset({"episode", "attempt", "method"})),
    "graspnet": ("candidates as GraspNet's rows", frozenset({"episode"})),
}
"""What each format holds, and the options that it takes."""

_FLAGS = {"every": "--all", "episode": "--episode", "attempt": "--attempt", "method": "--method"}


@dataclass(frozen=True, slots=True)
class Options:
    """What of a demonstrations file is exported.

    Attributes:
        episode: index; None: all, or for one picture the first that has an attempt.
        attempt: number within the episode, from 0; None: the one that completed the goal, else the last.
        method: ``NAME`` or ``NAME=FILE`` whose scores and mask are added.
        every: every attempt, not demonstrations alone.
    """

    episode: int | None = None
    attempt: int | None = None
    method: str | None = None
    every: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """What an export came to.

    Attributes:
        format: a key of ``FORMATS``.
        files: written.
        episodes, frames: of a demonstrations file; 0 for weights.
    """

    path: str
    format: str
    files: int
    episodes: int
    frames: int
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def check_options(to: str, options: Options) -> None:
    """Refuse options that a format does not take.

    Raises:
        ConfigError: no such format, or an option that it does not take.
    """
    if to not in FORMATS:
        found = unknown_name("format", to, FORMATS)
        raise ConfigError(found.message, found.hint)
    given = {name for name, value in asdict(options).items() if value not in (None, False)}
    if refused := sorted(_FLAGS[name] for name in given - FORMATS[to][1]):
        raise ConfigError(f"--to {to} takes no {', '.join(refused)}", "leave it away, or choose another format")


def target(source: Path, to: str, options: Options) -> Path:
    """Where an export goes when nothing is said.

    Raises:
        ConfigError: as :func:`check_options`.
        ArtifactError: the source is a folder, or the episode is not said and the source is damaged.
    """
    check_options(to, options)
    if not source.name:
        raise ArtifactError(f"{source}: is a folder", "name a file")
    if to == "safetensors":
        return source.with_suffix(".safetensors")
    if to in ("lerobot", "graspnet"):
        return source.with_name(f"{source.stem}-{to}")
    number = options.episode
    if number is None:
        from srcli.artifacts.demos import DemoDataset

        # A source that an earlier stage is still to make has no episodes to look at.
        number = _first(DemoDataset(source)) if source.exists() else 0
    return source.with_name(f"{source.stem}-{number:06d}.{'rrd' if to == 'rerun' else 'ply'}")


def _first(demos: DemoDataset) -> int:
    """Index of the first episode that has an attempt; 0 where none has."""
    return next((index for index, count in enumerate(demos.lengths()) if count), 0)


def check_place(to: str, path: Path, options: Options, force: bool = False) -> None:
    """Refuse what :func:`run` would refuse of the place that it writes.

    Raises:
        ConfigError: something stands there, and no ``force``.
        ArtifactError: something that this package has not written stands there.
    """
    from srcli.artifacts.core import check_target
    from srcli.exporting.folders import check_free

    if to == "safetensors":
        check_target(path)
        if path.exists() and not force:
            raise ConfigError(f"{path}: is there already", "give another --out, or replace it with --force")
        return
    check_free(path, force)
    if to == "ply" and options.method is not None:
        from srcli.exporting.ply import mask_file

        check_free(mask_file(path), force)


def run(
    params: Params,
    source: Path,
    to: str = "safetensors",
    out: Path | None = None,
    options: Options | None = None,
    *,
    force: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Summary:
    """Write ``source`` in another format.

    Args:
        params: the cloud, and the encoder and settings of a method.
        source: a policy for ``safetensors``, else demonstrations.
        out: file or folder; None: :func:`target`.
        force: replace what stands there, if this package has written it.
        device: of the method and its encoder.

    Raises:
        ConfigError: an unknown format, an option that it does not take, an episode or attempt that is not there, or something
            stands at ``out``.
        ArtifactError: the source is missing, damaged or of another kind.
        MissingAssetError: the format's library is not installed.
        DiskError: the disk is full or the place is not writable.
    """
    options = options or Options()
    check_options(to, options)
    path = target(source, to, options) if out is None else Path(out)
    if to == "safetensors":
        from srcli.artifacts.core import DEMOS
        from srcli.artifacts.policy import export_safetensors

        check_place(to, path, options, force)
        try:
            export_safetensors(source, path)
        except ArtifactError as error:
            if DEMOS.noun not in error.message:
                raise
            others = ", ".join(name for name in FORMATS if name != to)
            raise ArtifactError(error.message, f"say what to make of demonstrations: --to {others}") from None
        return Summary(str(path), to, 1, 0, 0, path.stat().st_size)
    from srcli.artifacts.core import output_lock
    from srcli.artifacts.demos import DemoDataset

    demos = DemoDataset(source)
    if options.episode is not None and not 0 <= options.episode < len(demos):
        raise ConfigError(f"--episode {options.episode}: {source} has episodes 0 to {len(demos) - 1}", "`srcli info` counts them")
    check_place(to, path, options, force)
    with output_lock(path, folder=True):
        files, episodes, frames = _write(params, demos, to, path, options, force, device, progress)
    written = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else files
    return Summary(str(path), to, len(written), episodes, frames, sum(file.stat().st_size for file in written))


def _write(
    params: Params,
    demos: DemoDataset,
    to: str,
    path: Path,
    options: Options,
    force: bool,
    device: str,
    progress: Progress | None,
) -> tuple[list[Path], int, int]:
    """Files (of formats that are no folder), episodes and attempts that were written."""
    from srcli.sim.cameras import cameras

    if to == "lerobot":
        from srcli.exporting.lerobot import export_lerobot

        names = demos.cameras or tuple(camera.name for camera in cameras(params.sim))
        made = export_lerobot(demos, path, names, "all" if options.every else "demonstrations", force, progress)
        return [], made.episodes, made.frames
    if to == "graspnet":
        from srcli.exporting.graspnet import export_graspnet

        chosen = list(range(len(demos))) if options.episode is None else [options.episode]
        return [], len(chosen), export_graspnet(demos, chosen, path, force)
    index = options.episode if options.episode is not None else _first(demos)
    count = demos.lengths()[index]
    if not count:
        raise ConfigError(f"episode {index} of {demos.path} has no attempt", "choose another with --episode")
    view = None if options.method is None else _viewer(params, options.method, device)
    if to == "rerun":
        from srcli.exporting.rerun import export_rerun

        names = demos.cameras or tuple(camera.name for camera in cameras(params.sim))
        return [path], 1, export_rerun(demos.episode(index), names, params.cloud, path, view)
    from srcli.exporting.ply import export_ply

    episode = demos.episode(index)
    usual = episode.demonstration if episode.demonstration >= 0 else count - 1
    number = usual if options.attempt is None else options.attempt
    if not 0 <= number < count:
        raise ConfigError(f"--attempt {number}: episode {index} has attempts 0 to {count - 1}", "count from 0")
    step = episode.steps[number]
    seen = None if view is None else view(episode, number)
    return export_ply(step.observation, seen, params.cloud, path), 1, 1


def _viewer(params: Params, method: str, device: str) -> Viewer:
    from srcli.evaluation.methods import method_sections, resolve_methods

    name, _, file = method.partition("=")
    found = resolve_methods([name], [method] if file else [], method_sections(params.methods), params.encoder)[0]
    if found.privileged:
        raise ConfigError(f"method '{name}' is shown the simulator's state, which a file does not have", "choose another method")
    from srcli.exporting.decisions import Viewer
    from srcli.language.instructions import make_reader
    from srcli.perception.encoders import load_encoder

    encoder = load_encoder(params.encoder, device)
    reader = make_reader(encoder.vocabulary, params.language)
    return Viewer(found.build(encoder, device), encoder, params.cloud, reader)
