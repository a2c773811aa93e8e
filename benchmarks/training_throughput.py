"""Training samples per second of each method in the trainer, and against a plain loop with A2's published sizes (batch 1).

Run: ``python benchmarks/training_throughput.py [--points 500] [--width 128] [--repeats 5]``. Prints JSON with medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import fields
from typing import Any, Literal

import numpy as np
import torch

from srcli.config.train import TrainConfig
from srcli.learning.dataset import TrainingSet
from srcli.learning.trainer import Trainer
from srcli.methods.a2.network import build_network as build_a2
from srcli.methods.a2.section import A2Config
from srcli.methods.registry import settings, spec_of
from srcli.methods.sr.network import build_network
from srcli.methods.sr.section import SRConfig
from srcli.models.batch import Batch

WARM_UP = 2
"""Updates that are not measured."""
METHODS = ("base_plus", "sr_a_plus", "sr_plus", "sr", "a2")


def made_up_batch(size: int, points: int, candidates: int, tokens: int, width: int) -> Batch:
    """Random input of the given shapes, nothing padded."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    def unit(*shape: int) -> torch.Tensor:
        return torch.nn.functional.normalize(normal(*shape), dim=-1)

    centre = torch.tensor([0.5, 0.0, 0.05])
    return Batch(
        points=centre + 0.1 * normal(size, points, 3),
        features=unit(size, points, width),
        similarity=normal(size, points),
        point_mask=torch.ones(size, points, dtype=torch.bool),
        text=unit(size, width),
        tokens=unit(size, tokens, width),
        token_mask=torch.ones(size, tokens, dtype=torch.bool),
        candidates=torch.cat([centre + 0.1 * normal(size, candidates, 3), unit(size, candidates, 4)], dim=-1),
        candidate_mask=torch.ones(size, candidates, dtype=torch.bool),
        quality=torch.rand(size, candidates, generator=generator),
    )


def scorer(method: str, width: int) -> torch.nn.Module:
    """The network of a method, untrained."""
    spec = spec_of(method)
    section: Any = settings(spec, spec.section())
    return build_network(section, width, 0) if isinstance(section, SRConfig) else build_a2(section.network, width, 0)


def trained_per_second(
    method: str, batch: Batch, precision: Literal["fp32", "bf16"], updates: int, device: str = "cpu", compiled: bool = False
) -> float:
    """Samples per second of the trainer over ``updates`` updates, augmentation included, after the first ones, which set up.

    Args:
        compiled: the network's forward pass through torch.compile.
    """
    arrays = {
        **{f.name: getattr(batch, f.name).numpy() for f in fields(batch) if getattr(batch, f.name) is not None},
        "valid": np.ones(batch.quality.shape, bool),
        "label": np.zeros(len(batch), np.int64),
    }
    config = TrainConfig(
        batch_size=len(batch),
        updates=updates + WARM_UP,
        points=0,
        precision=precision,
        validate_every=updates + WARM_UP,
    )
    data = TrainingSet(arrays, np.arange(len(batch)), np.zeros(0, np.int64))
    network = scorer(method, batch.features.shape[-1])
    if compiled:
        network.compile()
    trainer = Trainer(data, network, config, {}, device=device)
    trainer.run(stop_after=WARM_UP)
    start = time.perf_counter()
    # The loss of every update is read back, so all of it is done when this returns.
    trainer.run()
    return len(batch) * updates / (time.perf_counter() - start)


def plain_loop(batch: Batch, repeats: int) -> float:
    """Samples per second of the published A2 network: median of forward, backward and Adam, after one unmeasured step."""
    network = build_a2(A2Config().network, batch.features.shape[-1], 0)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4, betas=(0.9, 0.99))
    target = torch.zeros(len(batch), dtype=torch.long)
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(batch).logits, target).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        seconds.append(time.perf_counter() - start)
    return len(batch) / statistics.median(seconds[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("points", 500), ("candidates", 60), ("tokens", 16), ("width", 128), ("batch", 32), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    args = parser.parse_args()
    batch = made_up_batch(args.batch, args.points, args.candidates, args.tokens, args.width)
    rates = {m: trained_per_second(m, batch, args.precision, args.repeats) for m in METHODS}
    loop = plain_loop(made_up_batch(1, args.points, args.candidates, args.tokens, 768), args.repeats)
    result = {
        "samples_per_second": {k: round(v, 1) for k, v in rates.items()},
        "plain_loop_a2_768_batch_1": round(loop, 1),
        "ratio_to_plain_loop": {k: round(v / loop, 2) for k, v in rates.items()},
        "threads": torch.get_num_threads(),
        "settings": vars(args),
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
