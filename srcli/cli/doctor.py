"""``srcli doctor``: what of the environment works."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from srcli.cli.options import RUNNING, Debug, Json
from srcli.cli.running import command, split_encoder

PACKAGES = ("numpy", "scipy", "h5py", "torch", "torchvision", "open_clip_torch", "timm", "pybullet", "pydantic", "typer", "dvc")


@command
def doctor(
    encoder: Annotated[str, typer.Option("--encoder", help="Encoder to try to load.", rich_help_panel=RUNNING)] = "embedded",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check versions, simulator, encoder weights, accelerator and free disk; exit code 1 when something essential fails."""
    import platform
    import shutil

    from srcli import __version__
    from srcli.cli.output import emit, reserved_stdout

    with reserved_stdout():
        checks = {name: _attempt(function) for name, function in (("simulator", _simulator), ("torch", _torch))}
        checks["encoder"] = _attempt(lambda: _encoder(encoder))
    checks["home"] = _home()
    report = {
        "srcli": __version__,
        "python": platform.python_version(),
        "packages": _versions(),
        "free disk, GB": round(shutil.disk_usage(".").free / 1e9, 1),
        "checks": checks,
    }
    emit(report, as_json)
    if any(text.startswith("FAILED") for text in checks.values()):
        raise typer.Exit(1)


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _attempt(check: Any) -> str:
    try:
        return str(check())
    except Exception as error:
        return f"FAILED: {type(error).__name__}: {' '.join(str(error).split())}"


def _home() -> str:
    """Where objects and caches of the user's own are; only what is kept there needs one."""
    import os

    from srcli.cli import NO_HOME

    home = os.path.expanduser("~")
    if home == NO_HOME:
        return "none: objects of your own need $HOME or $SRCLI_OBJECTS"
    return f"{home}{'' if os.access(home, os.W_OK) else ', not writable'}"


def _simulator() -> str:
    from srcli.params import Params
    from srcli.sim.world import World

    world = World(Params().sim)
    world.close()
    return "a world opens and closes"


def _torch() -> str:
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU, running on CPU"
    return f"{gpu}, {torch.get_num_threads()} threads"


def _encoder(name: str) -> str:
    from srcli.params import Params
    from srcli.params.loading import override
    from srcli.perception.encoders.loading import load_encoder

    named, pretrained = split_encoder(name)
    chosen = {"encoder.name": named, **({} if pretrained is None else {"encoder.pretrained": pretrained})}
    loaded = load_encoder(override(Params(), chosen).encoder)
    return f"{loaded.identity.name}, {loaded.dim} channels, sha256 {loaded.identity.sha256[:12]}"
