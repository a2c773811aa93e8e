"""Gymnasium environments over the scenes of ``srcli evaluate``; importing this package registers them."""

from __future__ import annotations

from srcli.errors import MissingAssetError

try:
    import gymnasium
except ImportError as error:
    raise MissingAssetError("srcli.envs needs the package gymnasium", "pip install 'srcli[gymnasium]'") from error

IDS = {"srcli/Pick-v0": "pick", "srcli/Place-v0": "place", "srcli/PickPlace-v0": "pick_place"}
"""Identifiers of the environments and the task of each."""


def register() -> None:
    """Make the environments known to gymnasium, once per process; importing this package does it."""
    for name, task in IDS.items():
        if name not in gymnasium.registry:
            gymnasium.register(id=name, entry_point="srcli.envs.env:GraspEnv", kwargs={"task": task})


register()
