"""Measures the dense features of a CLIP vision transformer on three views, against a plain loop over tiles.

    python benchmarks/clip_dense.py --model ViT-L-14-quickgelu --tiles 3x4 --threads 2 --repeats 1 [--device cuda]

Weights do not change the time: they are random, written to a file and loaded as a user's file is. The loop takes one tile after
the other in fp32 through the same last block; ratios are against it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from srcli.config.encoder import EncoderConfig
from srcli.perception.encoders.compat import import_open_clip
from srcli.perception.encoders.loading import load_encoder
from srcli.perception.encoders.vit import value_features

VIEWS, HEIGHT, WIDTH = 3, 360, 640


def seconds(action: Callable[[], object], repeats: int, device: str) -> float:
    """Median wall time."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print one line per way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-L-14-quickgelu")
    parser.add_argument("--tiles", default="3x4", help="grid per view, ROWSxCOLUMNS")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows, columns = (int(part) for part in options.tiles.split("x"))
    rgb = np.random.default_rng(0).integers(0, 256, (VIEWS, HEIGHT, WIDTH, 3), dtype=np.uint8)
    open_clip = import_open_clip()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        from safetensors.torch import save_file

        model = open_clip.create_model(options.model)
        file = Path(folder) / "weights.safetensors"
        save_file(model.state_dict(), file)
        size = int(model.visual.image_size[0])
        visual = model.visual.eval().requires_grad_(False).to(options.device)
        tile = torch.zeros(1, 3, size, size, device=options.device)

        def loop() -> None:
            with torch.inference_mode():
                for _ in range(VIEWS * rows * columns):
                    value_features(visual, tile)

        sys.stdout.write(f"{options.model}, {options.tiles} tiles of {size} px, {VIEWS} views, {options.device}\n")
        value_features(visual, tile)
        reference = seconds(loop, options.repeats, options.device)
        sys.stdout.write(f"{'loop over tiles, fp32':24s} {reference:7.2f} s\n")
        for precision in ("fp32", "bf16"):
            config = EncoderConfig(
                name=options.model,
                pretrained=str(file),
                quickgelu="quickgelu" in options.model,
                tiles=((rows, columns),),
                precision=precision,
            )
            encoder = load_encoder(config, options.device)
            encoder.dense(rgb[:1])  # what a first call sets up does not count
            taken = seconds(lambda encoder=encoder: encoder.dense(rgb), options.repeats, options.device)
            sys.stdout.write(f"{'dense, ' + precision:24s} {taken:7.2f} s   {reference / taken:4.1f} x\n")


if __name__ == "__main__":
    main()
