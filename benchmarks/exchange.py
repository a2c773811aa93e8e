"""Does the sentence decide? The same scene with the relation, or the noun, exchanged: how often the choice changes, and is right.

Placing scenes of the probe domain (the object is really grasped and measured; nothing is placed). Three sentences per scene: the
scene's own; one with a relation of the other class (near for on, on for near); one with another object's name as reference.
`changed` is another candidate, `moved` one more than 3 cm away, `right` one in the region that this sentence asks for.
Run: ``python benchmarks/exchange.py [--scenes 40] [--split unseen] [--policy FILE]``. Prints JSON with Wilson intervals.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from dataclasses import replace

import numpy as np
import torch

from srcli.evaluation.attempt import EpisodeContext, default_placer, own_sampler
from srcli.evaluation.methods import method_sections, resolve_methods
from srcli.evaluation.rollout import SetupError, set_up
from srcli.evaluation.statistics import wilson
from srcli.language.relations import RELATIONS
from srcli.objects import catalogue
from srcli.params import Params
from srcli.perception.encoders import load_encoder
from srcli.seeding import OBSERVE, Domain, episode_seed, generator
from srcli.sim import World
from srcli.tasks import get_task
from srcli.types import Bool, Candidates, EpisodeSpec

FIRST = 950_000
"""First episode index, beyond every other user of the probe domain."""
OTHER = {"on": "near", "in": "near", "around": "on"}


def exchanged(spec: EpisodeSpec, rng: np.random.Generator, present: Bool) -> dict[str, EpisodeSpec]:
    """The three sentences of a scene with their goals."""
    goal = spec.goal
    relation = OTHER[RELATIONS[goal.relation].region]
    said = spec.instruction.replace(f" {goal.relation} ", f" {relation} ", 1)
    specs = {"own": spec, "relation": replace(spec, instruction=said, goal=replace(goal, relation=relation))}
    labels = [catalogue()[name].label for name in spec.objects]
    once = [
        i for i, label in enumerate(labels) if present[i] and labels.count(label) == 1 and i not in (*goal.references, spec.held)
    ]
    if once:
        slot = int(rng.choice(once))
        said = spec.instruction.replace(goal.reference, labels[slot])
        specs["noun"] = replace(spec, instruction=said, goal=replace(goal, reference=labels[slot], references=(slot,)))
    return specs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--split", choices=("seen", "unseen"), default="unseen")
    parser.add_argument("--policy", default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    params, task = Params(), get_task("place")
    encoder = load_encoder(params.encoder)
    files = [arguments.policy] if arguments.policy else []
    (method,) = resolve_methods([] if files else ["sr_plus"], files, method_sections(params.methods))
    policy = method.build(encoder, "cpu")
    counts: dict[str, list[bool]] = defaultdict(list)
    with World(params.sim) as world:
        placer = default_placer(params.placements)
        play = EpisodeContext(world, task, own_sampler(params.candidates), placer, params.cloud, encoder, False, None, None)
        for index in range(arguments.scenes):
            seed = episode_seed(0, Domain.PROBE, FIRST + index)
            spec = task.sample(seed, arguments.split, "train", params.scene)
            try:
                spec = set_up(world, task, spec, play.sampler)
            except SetupError:
                continue
            held = play.measure(spec, 0)
            if held is None:
                continue
            observation, segmentation = world.observe(generator(seed, 0, OBSERVE))
            truth = world.truth(segmentation)
            chosen: dict[str, int] = {}
            candidates: Candidates | None = None
            for name, asked in exchanged(spec, generator(seed, 77), truth.present).items():
                given = play.attempt_input(asked, "place", 0, observation, truth, [], held)
                choice = play.decide(asked, policy, given)
                if choice is None or choice.action.index is None:
                    continue
                candidates, chosen[name] = given.candidates, choice.action.index
                possible = task.valid(asked, truth, candidates, "place", held=held)
                if possible.any():
                    counts[f"{name} right"].append(bool(possible[chosen[name]]))
            if candidates is None or "own" not in chosen:
                continue
            for name in ("relation", "noun"):
                if name in chosen:
                    counts[f"{name} changed"].append(chosen[name] != chosen["own"])
                    gap = np.linalg.norm(candidates.poses[chosen[name], :3] - candidates.poses[chosen["own"], :3])
                    counts[f"{name} moved"].append(bool(gap > 0.03))
    rows = {}
    for name, values in sorted(counts.items()):
        rate = wilson(sum(values), len(values))
        rows[name] = {"count": sum(values), "of": len(values), "interval": [round(rate.low, 3), round(rate.high, 3)]}
    json.dump({"split": arguments.split, "scenes": arguments.scenes, "rows": rows}, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
