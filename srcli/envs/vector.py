"""Many episodes by their numbers in several environments at once: the same results for any number of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate

from srcli.errors import ConfigError

Agent = Callable[[Any, dict[str, Any]], Any]
"""From the observation and the info of one environment to its action."""


def make(name: str, count: int, processes: bool = False, **settings: Any) -> VectorEnv[Any, Any, Any]:
    """A vector of environments that begin an episode only when they are told to, as :func:`play` needs them.

    Args:
        name: identifier, e.g. ``srcli.envs:srcli/Pick-v0``.
        processes: each environment in a process of its own, started anew (spawn): a simulation does not survive a fork.
        settings: as for ``gymnasium.make``.
    """
    more: dict[str, Any] = {"context": "spawn"} if processes else {}
    return gymnasium.make_vec(
        name,
        num_envs=count,
        vectorization_mode="async" if processes else "sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED, **more},
        **settings,
    )


def play(envs: VectorEnv[Any, Any, Any], seeds: Sequence[int], agent: Agent) -> list[dict[str, Any]]:
    """Play the episodes of the given seeds, each in whichever environment is free.

    An environment without a seed left repeats the last one until all have ended; that does not count.

    Args:
        envs: made by :func:`make`.

    Returns:
        For each seed, in their order: ``seed``, ``success``, ``attempts``, ``reward`` and the last ``info``.

    Raises:
        ConfigError: no seeds, or environments that begin episodes by themselves, of which nobody knows the seeds.
    """
    if envs.metadata.get("autoreset_mode") is not AutoresetMode.DISABLED:
        raise ConfigError("these environments begin new episodes by themselves", "make them with srcli.envs.vector.make")
    if not len(seeds):
        raise ConfigError("no seeds are given", "give the numbers of the episodes")
    waiting = list(range(len(seeds)))
    results: list[dict[str, Any]] = [{"seed": int(seed), "attempts": 0, "reward": 0.0} for seed in seeds]
    playing: list[int | None] = [None] * envs.num_envs
    told: list[dict[str, Any]] = [{}] * envs.num_envs
    over = np.ones(envs.num_envs, dtype=np.bool_)
    observations: Any = None
    while waiting or any(index is not None for index in playing):
        if over.any():
            numbers = [int(seeds[-1])] * envs.num_envs
            for slot in np.flatnonzero(over).tolist():
                playing[slot] = waiting.pop(0) if waiting else None
                if playing[slot] is not None:
                    numbers[slot] = results[playing[slot]]["seed"]
            observations, infos = envs.reset(seed=cast("Any", numbers), options={"reset_mask": over.copy()})
            told = [_own(infos, slot) if over[slot] else told[slot] for slot in range(envs.num_envs)]
        rows = list(iterate(envs.observation_space, observations))
        actions = [agent(row, info) for row, info in zip(rows, told, strict=True)]
        observations, rewards, terminated, truncated, infos = envs.step(np.stack(actions))
        told = [_own(infos, slot) for slot in range(envs.num_envs)]
        over = np.logical_or(terminated, truncated)
        for slot, index in enumerate(playing):
            if index is None:
                continue
            results[index]["attempts"] += 1
            results[index]["reward"] += float(rewards[slot])
            if over[slot]:
                results[index] |= {"success": bool(told[slot]["is_success"]), "info": told[slot]}
                playing[slot] = None
    return results


def _own(infos: dict[str, Any], slot: int) -> dict[str, Any]:
    """What one environment told; a key that it did not tell is marked so by the vector."""
    return {key: values[slot] for key, values in infos.items() if not key.startswith("_") and infos[f"_{key}"][slot]}
