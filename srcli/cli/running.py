"""What every subcommand shares: errors and exit codes, parameters with their precedence, the plan of a dry run."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import typer

from srcli.errors import ConfigError, DiskError, SrcliError

if TYPE_CHECKING:
    from srcli.params import Params

P = ParamSpec("P")
R = TypeVar("R")

INTERRUPTED = 130
TERMINATED = 143

_LONGEST_WORD, _LONGEST_LINE = 200, 1200
"""Characters of a word, and of a line, of a message."""


class Terminated(BaseException):
    """The system, or whoever started this command, asks it to end."""


_ASKED: dict[type[BaseException], int] = {Terminated: signal.SIGTERM, KeyboardInterrupt: signal.SIGINT}
"""What is raised when somebody asks a command to end, and the signal that does."""


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does: what is under way is put away, workers are ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    def lost(found: sys.UnraisableHookArgs) -> None:
        """What is raised while Python tidies up is dropped: it is asked for again, when that is done."""
        number = _ASKED.get(found.exc_type)
        if number is None or threading.current_thread() is not threading.main_thread():
            shown(found)
            return
        if number == signal.SIGTERM:
            signal.signal(number, end)
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()

    before, shown = signal.signal(signal.SIGTERM, end), sys.unraisablehook
    sys.unraisablehook = lost
    try:
        yield
    finally:
        sys.unraisablehook = shown
        signal.signal(signal.SIGTERM, before)


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Turns errors into one line, one hint and an exit code (``srcli/errors.py``); ``--debug`` shows the traceback.

    Ctrl-C ends with 130, SIGTERM with 143, a closed pipe silently, a full disk as :class:`DiskError`.
    """
    return _guarded(function, "")


def resumable(function: Callable[P, R]) -> Callable[P, R]:
    """A :func:`command` that goes on from what it had finished; whoever ends it is told so."""
    return _guarded(function, "finished work is kept: run the same command again to resume")


def _guarded(function: Callable[P, R], ended: str) -> Callable[P, R]:
    """Args: ended: the hint for whoever ends the command."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s: %(message)s", force=True)
        logging.addLevelName(logging.WARNING, "warning")
        try:
            with _ended_by_sigterm():
                return function(*args, **kwargs)
        except BrokenPipeError:
            # The reader of our output has gone (`srcli objects list | head`); Python would complain again while flushing.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except KeyboardInterrupt:
            _fail("interrupted", ended)
            raise typer.Exit(INTERRUPTED) from None
        except Terminated:
            _fail("terminated", ended)
            raise typer.Exit(TERMINATED) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if kwargs.get("debug"):
                import traceback

                typer.echo(traceback.format_exc(), err=True, nl=False)
            known = _known(error)
            if known is None:
                _fail(f"unexpected: {type(error).__name__}: {_line(str(error))}", "this is a defect; --debug shows where")
                raise typer.Exit(1) from None
            _fail(known.message, known.hint)
            raise typer.Exit(known.exit_code) from None

    return run


def _known(error: Exception) -> SrcliError | None:
    if isinstance(error, SrcliError):
        return error
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ConnectionError):
        where = f"{error.filename}: " if error.filename else ""
        return DiskError(f"{where}{error.strerror.lower()}", "check the path, its permissions and the free space")
    return None


def _fail(message: str, hint: str) -> None:
    typer.echo(f"error: {_line(message)}", err=True)
    if hint:
        typer.echo(f"hint: {_line(hint)}", err=True)


def _line(text: str) -> str:
    """One line that any terminal can show: control characters are spelled out, what is too long is cut."""
    shown = " ".join(_cut(word, _LONGEST_WORD) for word in text.split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
    return _cut(shown, _LONGEST_LINE)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most * 2 // 3]}...{text[-most // 4 :]}"


@dataclass(frozen=True)
class Flag:
    """A command line flag that stands for a key of params.yaml.

    Attributes:
        value: None means that it was not given.
        matrix: a matrix of stages may vary it: the stage's command, which dvc.lock records, then tells its value.
    """

    name: str
    key: str
    value: object
    matrix: bool = False


def split_encoder(text: str | None) -> tuple[str | None, str | None]:
    """Name and weights of ``MODEL/TAG``, ``MODEL=FILE`` or a name alone; a hub's repository keeps its slash."""
    if text is None:
        return None, None
    if "=" in text:
        name, _, file = text.partition("=")
        return name, file
    if text.startswith("hf-hub:") or "/" not in text:
        return text, "" if text == "embedded" or text.startswith("hf-hub:") else None
    name, _, tag = text.partition("/")
    return name, tag


def encoder_flags(text: str | None) -> tuple[Flag, Flag]:
    """What ``--encoder`` sets."""
    name, pretrained = split_encoder(text)
    return Flag("--encoder", "encoder.name", name), Flag("--encoder", "encoder.pretrained", pretrained)


def parameters(path: Path | None, flags: Sequence[Flag] = (), assignments: Sequence[str] = ()) -> Params:
    """The parameters of a command: flag beats ``--set`` beats params.yaml beats default.

    Args:
        path: ``--params``.
        flags: the command's own overrides.
        assignments: ``--set`` values, each ``section.key=value``.

    Raises:
        ConfigError: a bad value, or an override inside a DVC stage: dvc.lock would record parameters that were not used.
    """
    from srcli.config.yamltext import parse_yaml
    from srcli.params.loading import load_params, override

    values: dict[str, object] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set {assignment}: not of the form section.key=value", "for example -S collect.episodes=100")
        values[key.strip()] = parse_yaml(text, f"--set {key}")
    given = [flag for flag in flags if flag.value is not None]
    values.update({flag.key: flag.value for flag in given})
    free = {flag.key for flag in given if flag.matrix}
    if set(values) - free and (os.environ.get("DVC_STAGE") or os.environ.get("DVC_ROOT")):
        flagged = {flag.key for flag in given}
        names = ", ".join(
            [
                *(f"{flag.name} ({flag.key})" for flag in given if not flag.matrix),
                *(f"--set {key}" for key in values if key not in flagged),
            ]
        )
        stage = os.environ.get("DVC_STAGE", "")
        raise ConfigError(
            f"{names} would override a parameter that DVC tracks{f' in stage {stage!r}' if stage else ''}",
            "change params.yaml, or run 'dvc exp run -S section.key=value'; a cmd in dvc.yaml has only paths and matrix keys",
        )
    params = load_params(path)
    return override(params, values) if values else params


def worker_count(wanted: int | None) -> int:
    """``--workers``, or the number of cores that this process may use."""
    if wanted is not None:
        return wanted
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def torch_device(name: str) -> str:
    """``--device`` as torch understands it; ``auto`` is the GPU if there is one.

    Raises:
        ConfigError: no such device here.
    """
    if name == "cpu":
        return name
    import torch

    gpus = torch.cuda.device_count()
    if name == "auto":
        return "cuda" if gpus else "cpu"
    kind, _, number = name.partition(":")
    if kind != "cuda" or (number and not number.isdecimal()):
        raise ConfigError(f"--device {name}: no such kind of device", "known: cpu, cuda, cuda:N, auto")
    if int(number or 0) >= gpus:
        raise ConfigError(f"--device {name}: torch finds {gpus} GPU(s)", "use --device cpu, or install a CUDA build of torch")
    return name


@dataclass(frozen=True)
class Plan:
    """What ``--dry-run`` tells.

    Attributes:
        command: the subcommand.
        reads: input paths.
        does: sentences.
        writes: output paths.
        settings: the parameters that decide it.
    """

    command: str
    reads: tuple[str, ...]
    does: tuple[str, ...]
    writes: tuple[str, ...]
    settings: Mapping[str, Any]
