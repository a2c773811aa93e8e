"""What a GPU is worth: training, dense features of ViT-L/14 and one decision, each beside its CPU reference in the same run.

    benchmarks/gpu.sh [--device cuda] [--seconds 440]

Weights of the vision transformer are random: they do not change the time. Parts that no time is left for are named, not measured.
Prints JSON: figures in their units, and ratios to the CPU in fp32.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clip_dense import precisions, timed, write_weights
from training_throughput import made_up_batch, scorer, trained_per_second

from srcli.config.encoder import EncoderConfig
from srcli.models.batch import Batch
from srcli.perception.encoders.loading import load_encoder

Measurement = tuple[str, Callable[[], float]]
MODEL = "ViT-L-14-quickgelu"
VIEWS = (3, 360, 640, 3)


def training(device: str) -> Iterator[Measurement]:
    """Samples per second, batch 32, 500 points, 60 candidates, at our width and at the paper's."""
    for method, width, updates in (("sr", 128, 4), ("a2", 128, 4), ("sr", 768, 1)):
        batch = made_up_batch(32, 500, 60, 16, width)
        name = f"training, {method}, width {width}, samples a second"
        yield f"{name}, cpu fp32", partial(trained_per_second, method, batch, "fp32", updates)
        if device == "cpu":
            continue
        on_gpu = partial(trained_per_second, method, batch, updates=20 * updates, device=device)
        yield f"{name}, {device} fp32", partial(on_gpu, precision="fp32")
        yield f"{name}, {device} bf16", partial(on_gpu, precision="bf16")
        yield f"{name}, {device} bf16 compiled", partial(on_gpu, precision="bf16", compiled=True)


def dense(device: str, folder: Path) -> Iterator[Measurement]:
    """Views per second of ViT-L/14: one tile a view on the processor, and the published 3 x 4 tiles on the GPU."""
    rgb = np.random.default_rng(0).integers(0, 256, VIEWS, dtype=np.uint8)
    file = folder / "weights.safetensors"

    def rate(place: str, precision: str, grid: tuple[int, int], repeats: int) -> float:
        if not file.exists():
            write_weights(MODEL, file)
        half = (0.5, 0.5, 0.5)
        values: dict[str, Any] = {"name": MODEL, "pretrained": str(file), "tiles": (grid,), "precision": precision}
        encoder = load_encoder(EncoderConfig(**values, quickgelu=True, mean=half, std=half), place)
        encoder.dense(rgb[:1])
        return len(rgb) / timed(lambda: encoder.dense(rgb), repeats, place)[0]

    for grid in ((1, 1), (3, 4)):
        name = f"dense features, {grid[0]} x {grid[1]} tiles, views a second"
        if grid == (1, 1):
            yield f"{name}, cpu fp32", partial(rate, "cpu", "fp32", grid, 1)
        for precision in precisions(device) if device != "cpu" else ():
            yield f"{name}, {device} {precision}", partial(rate, device, precision, grid, 5)


def decision(device: str) -> Iterator[Measurement]:
    """Decisions per second of SR+ on features that are there: 500 points, 120 candidates, one at a time."""

    def rate(place: str) -> float:
        network = scorer("sr_plus", 128).eval().to(place)
        batch: Batch = made_up_batch(1, 500, 120, 16, 128)
        seconds = []
        for _ in range(25):
            start = time.perf_counter()
            with torch.inference_mode():
                network(batch.to(place)).logits.cpu()
            seconds.append(time.perf_counter() - start)
        return 1 / statistics.median(seconds[5:])

    for place in dict.fromkeys(("cpu", device)):
        yield f"decision, sr_plus, a second, {place} fp32", partial(rate, place)


def main() -> None:
    """Measure what the time allows, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=440.0, help="after which nothing new is begun")
    options = parser.parse_args()
    end, found, left = time.monotonic() + options.seconds, {}, []
    with tempfile.TemporaryDirectory() as folder:
        for part in (decision(options.device), training(options.device), dense(options.device, Path(folder))):
            for name, measure in part:
                if time.monotonic() > end:
                    left.append(name)
                    continue
                try:
                    found[name] = measure()
                except (RuntimeError, OSError) as error:
                    left.append(f"{name}: {str(error).splitlines()[0]}")
                sys.stderr.write(f"{name}: {found.get(name, float('nan')):.2f}\n")
    references = {name.rpartition(", ")[0]: value for name, value in found.items() if name.endswith(", cpu fp32")}
    ratios = {
        name: round(value / references[name.rpartition(", ")[0]], 2)
        for name, value in found.items()
        if name.rpartition(", ")[0] in references
    }
    device = torch.cuda.get_device_name(0) if options.device != "cpu" else "no GPU"
    report = {
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rates": {name: round(value, 2) for name, value in found.items()},
        "ratio_to_cpu": ratios,
        "not_measured": left,
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
