"""Stage ``play``: sentence after sentence to one scene; each is understood, decided, carried out and kept.

``session`` answers line by line, ``turns`` is what one sentence was and became, ``verdict`` what counts as right of it,
``keeping`` the folder of a session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from srcli.stages.play.keeping import Summary

if TYPE_CHECKING:
    from srcli.params import Params
    from srcli.types import HeldExtent

__all__ = ["Summary", "run"]


def run(
    params: Params,
    lines: Iterable[str],
    answer: Callable[[Iterator[str]], None],
    method: str = "",
    *,
    task: str = "pick",
    split: str = "seen",
    scene: int = 0,
    frames: Path | None = None,
    format: str = "",
    cameras: Sequence[str] = (),
    held: HeldExtent | None = None,
    fit_table: bool = False,
    check: bool = True,
    out_dir: Path | None = None,
    films: bool = True,
    device: str = "cpu",
) -> Summary:
    """Play until the lines end, or one of them says so.

    Args:
        lines: what is typed.
        answer: takes the answer to each line, bit by bit: what takes long happens between them.
        method: ``NAME``, ``NAME=FILE`` or a policy file; empty: the first of ``evaluate.methods``.
        task, split, scene: which scene of the suite ``development``, from 0.
        frames: a folder of recorded frames instead; ``format``, ``cameras``, ``held``, ``fit_table`` and ``check`` belong to it.
        out_dir: empty or new; None: the next number below ``results/play``.
        films: film the arm at work.

    Raises:
        ArtifactError, SceneError, SetupError: the frames or the scene cannot be used.
        BusyError: another session has ``out_dir``.
        ConfigError: ``out_dir`` holds something, or the method cannot do it.
        DiskError: the disk is full or the place is not writable.
    """
    from srcli.evaluation.deciding import Decider
    from srcli.evaluation.open_scene import OpenScene
    from srcli.frames import Observation
    from srcli.parallel.quiet import reserved
    from srcli.stages.decide import chosen_method, episode_of
    from srcli.stages.play.keeping import session_folder
    from srcli.stages.play.session import Session

    with ExitStack() as stack:
        folder = stack.enter_context(session_folder(out_dir))
        shown: OpenScene | Observation
        if frames is not None:
            seen = Observation.from_folder(frames, format=format, cameras=cameras, fit_table=fit_table, check=check, held=held)
            shown = seen.with_seed((params.seed,))
        else:
            episode = episode_of(params, task, scene, split)
        decide = Decider(params, chosen_method(params, method), device)
        if frames is None:
            with reserved():
                shown = stack.enter_context(OpenScene(params, episode))
        session = Session(decide, shown, folder, films)
        answer(session.begin())
        for line in lines:
            answer(session.say(line))
            if session.ended:
                break
        return session.summary()
