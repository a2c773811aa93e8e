"""Does LeRobot itself read what `srcli export --to lerobot` writes, and are its rows those of the demonstrations?

Run it with the Python of an environment of its own, in which `lerobot==0.4.4` (or 0.6) and h5py are installed:

    python -m venv lerobot-venv && lerobot-venv/bin/pip install lerobot==0.4.4 h5py
    lerobot-venv/bin/python benchmarks/verify_lerobot.py data/pick.h5 data/pick-lerobot
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np


def wanted_rows(demos: Path) -> list[tuple[str, str, int]]:
    """(episode, sentence, step) of every demonstration, in order."""
    rows = []
    with h5py.File(demos, "r") as handle:
        for name in sorted(handle["data"]):
            group = handle["data"][name]
            if int(group.attrs["demonstration"]) < 0:
                continue
            success = group["outcome/success"][()]
            rows += [(name, str(group.attrs["instruction"]), int(step)) for step in np.flatnonzero(success)]
    return rows


def main() -> None:
    """Compare every row; any difference ends with an AssertionError."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demos", type=Path, help="the demonstrations file that was exported")
    parser.add_argument("export", type=Path, help="the exported folder")
    given = parser.parse_args()

    import torch
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("srcli/export", root=given.export)
    cameras = [camera["name"] for camera in json.loads((given.export / "meta" / "srcli.json").read_text("utf-8"))["cameras"]]
    rows = wanted_rows(given.demos)
    assert len(dataset) == len(rows) == dataset.meta.total_frames, (len(dataset), len(rows))
    assert dataset.num_episodes == len({name for name, _, _ in rows})
    with h5py.File(given.demos, "r") as handle:
        for number, (name, sentence, step) in enumerate(rows):
            item, group = dataset[number], handle["data"][name]
            assert item["task"] == sentence, (item["task"], sentence)
            np.testing.assert_array_equal(item["action"].numpy(), group["actions"][step])
            for view, camera in enumerate(cameras):
                image = (item[f"observation.images.{camera}"] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
                np.testing.assert_array_equal(image, group["obs/rgb"][step, view])
            assert float(item["next.reward"]) == 1.0 and item["observation.state"].shape == (11,)
    loader = torch.utils.data.DataLoader(dataset, batch_size=2, shuffle=False)
    batch = next(iter(loader))
    stats = dataset.meta.stats
    assert stats["action"]["mean"].shape == (8,) and stats[f"observation.images.{cameras[0]}"]["std"].shape == (3, 1, 1)
    actions = np.stack([np.asarray(dataset.hf_dataset[i]["action"]) for i in range(len(rows))])
    np.testing.assert_allclose(stats["action"]["mean"], actions.mean(axis=0), atol=1e-6)
    found = {
        "lerobot": version("lerobot"),
        "equal frames": len(rows),
        "episodes": dataset.num_episodes,
        "batch": {key: list(value.shape) for key, value in batch.items() if hasattr(value, "shape")},
    }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
