"""Training samples per second of each variant in the trainer, and against a plain loop with A2's published sizes (batch 1).

Run: ``python benchmarks/training_throughput.py [--points 500] [--width 128] [--repeats 5]``. Prints JSON with medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import fields
from typing import Literal

import numpy as np
import torch

from srcli.config.train import TrainConfig
from srcli.learning.dataset import TrainingSet
from srcli.methods.sr.network import build_network
from srcli.methods.sr.section import ModelConfig, Variant
from srcli.methods.sr.trainer import Trainer
from srcli.models.batch import Batch


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


def trained_per_second(variant: Variant, batch: Batch, precision: Literal["fp32", "bf16"], updates: int) -> float:
    """Samples per second of the trainer over ``updates`` updates, augmentation included, after one unmeasured update."""
    arrays = {
        **{f.name: getattr(batch, f.name).numpy() for f in fields(batch) if getattr(batch, f.name) is not None},
        "valid": np.ones(batch.quality.shape, bool),
        "label": np.zeros(len(batch), np.int64),
    }
    config = TrainConfig(
        batch_size=len(batch),
        updates=updates + 1,
        points=0,
        precision=precision,
        validate_every=updates + 1,
    )
    data = TrainingSet(arrays, np.arange(len(batch)), np.zeros(0, np.int64))
    trainer = Trainer(data, ModelConfig(variant=variant), config)
    trainer.run(stop_after=1)
    start = time.perf_counter()
    trainer.run()
    return len(batch) * updates / (time.perf_counter() - start)


def plain_loop(batch: Batch, repeats: int) -> float:
    """Samples per second of the published A2 network: median of forward, backward and Adam, after one unmeasured step."""
    network = build_network(ModelConfig(variant="a2"), batch.features.shape[-1], 0)
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
    variants: tuple[Variant, ...] = ("base", "sr_a", "sr", "a2")
    rates = {v: trained_per_second(v, batch, args.precision, args.repeats) for v in variants}
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
