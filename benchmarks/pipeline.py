"""Where the time of a demonstration and of a decision goes, on one core.

Medians over scenes of the probe domain, in seconds, and as multiples of one reference of the same run: a 640x360 view rendered
without noise. Run: ``python benchmarks/pipeline.py [--scenes 10]``. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch

from srcli.actions.grasps import sample_grasps
from srcli.evaluation.rollout import set_up
from srcli.methods import Decision
from srcli.methods.expert import Expert
from srcli.methods.scoring import closing_mask
from srcli.methods.sr.network import build_network
from srcli.methods.sr.section import SRConfig
from srcli.models.batch import batch_of_one
from srcli.params import Params, method_settings
from srcli.perception.encoders import load_encoder
from srcli.perception.pipeline import perceive
from srcli.seeding import Domain, episode_seed, generator
from srcli.sim import World
from srcli.tasks import get_task
from srcli.types import Percept

DECISION = ("candidates", "perceive (dense + fusion + text)", "network", "mask between the fingers")
"""What lies between images and an action."""

FIRST = 900_000
"""First episode index of the benchmark, beyond every other user of the probe domain."""


def _known(percept: Percept) -> Percept:
    return percept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=10)
    scenes = parser.parse_args().scenes
    torch.set_num_threads(1)
    params = Params()
    encoder, task, expert = load_encoder(params.encoder), get_task("pick"), Expert()
    section = method_settings(params, "sr_plus")[1]
    assert isinstance(section, SRConfig)
    network = build_network(section, encoder.identity.dim, 0).eval()
    seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        seconds[name].append(time.perf_counter() - start)

    with World(params.sim) as world:
        for index in range(scenes + 1):  # The first scene warms caches and is dropped below.
            seed = episode_seed(0, Domain.PROBE, FIRST + index)
            spec = task.sample(seed, "seen", "train", params.scene)
            with timed("set up and settle"):
                spec = set_up(world, task, spec)
            with timed("render 3 views"):
                world.render()
            with timed("observe (render + noise)"):
                observation, segmentation = world.observe(generator(seed, 1))
            with timed("candidates"):
                candidates = sample_grasps(observation, params.candidates)
            with timed("dense features, 3 views"):
                encoder.dense(observation.rgb)
            with timed("perceive (dense + fusion + text)"):
                percept = perceive(observation, spec.instruction, encoder, params.cloud)
            with timed("network"), torch.inference_mode():
                scores = network(batch_of_one(percept, candidates))
            with timed("mask between the fingers"):
                closing_mask(percept.cloud, scores.mask[0].numpy(), candidates)
            excluded = candidates.quality < 0
            decision = Decision(
                "pick",
                "pick",
                spec.instruction,
                observation,
                candidates,
                excluded,
                generator(seed, 2),
                partial(_known, percept),
                truth=world.truth(segmentation),
                spec=spec,
            )
            action = expert.act(decision).action
            with timed("motion (one attempt)"):
                world.execute(action)
    table = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    reference = table["render 3 views"] / 3
    table["decision, images to action"] = sum(table[name] for name in DECISION)
    result = {name: {"seconds": round(v, 4), "views": round(v / reference, 1)} for name, v in table.items()}
    sys.stdout.write(
        json.dumps({"reference_view_seconds": round(reference, 4), "scenes": scenes, "medians": result}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
