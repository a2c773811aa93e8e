"""GraspNet's network: operators against slow references, names and shapes, decoding, checkpoints."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from srcli.actions.graspnet import check_group
from srcli.errors import ArtifactError, ConfigError, MismatchError, MissingAssetError
from srcli.models.graspnet.checkpoint import load_graspnet
from srcli.models.graspnet.decode import decode
from srcli.models.graspnet.detector import GraspNetDetector, camera_cloud, detector
from srcli.models.graspnet.layers import FeaturePropagation, SetAbstraction
from srcli.models.graspnet.network import ANGLES, CloudCrop, GraspNet, Prediction
from srcli.models.graspnet.ops import ball_query, cylinder_query, farthest_points, first_true, interpolate, three_nearest
from srcli.models.graspnet.views import approach_frames, view_directions
from srcli.types import F64, Observation


def cloud(batch: int, count: int, seed: int = 0, scale: float = 0.2) -> Tensor:
    return scale * torch.rand(batch, count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def frames(batch: int, count: int, seed: int = 0) -> Tensor:
    return approach_frames(torch.randn(batch, count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def fill(found: list[int], count: int) -> list[int]:
    found = found[:count]
    return (found + [found[0]] * (count - len(found))) if found else [0] * count


def test_farthest_points_against_the_definition() -> None:
    points = cloud(2, 60)
    got = farthest_points(points, 20)
    for batch in range(2):
        p, chosen = points[batch].numpy(), [0]
        for _ in range(19):
            distance = [min(float(((p[i] - p[j]) ** 2).sum()) for j in chosen) for i in range(60)]
            chosen.append(int(np.argmax(distance)))
        assert got[batch].tolist() == chosen


def test_ball_query_against_loops() -> None:
    points, centres = cloud(2, 90), cloud(2, 25, seed=1)
    centres[0, 3] = 9.0  # nothing near
    got = ball_query(centres, points, 0.05, 6)
    sizes = set()
    for b in range(2):
        for q in range(25):
            near = [n for n in range(90) if float(((points[b, n] - centres[b, q]) ** 2).sum()) < 0.05**2]
            sizes.add(min(len(near), 7))
            assert got[b, q].tolist() == fill(near, 6)
    assert {0, 7} <= sizes, "both empty and overfull balls are tried"


def test_queries_do_not_depend_on_their_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    points, centres, axes = cloud(1, 50), cloud(1, 17, seed=1), frames(1, 17)
    whole = ball_query(centres, points, 0.06, 4), cylinder_query(centres, axes, points, 0.05, -0.02, (0.01, 0.04), 4)
    monkeypatch.setattr("srcli.models.graspnet.ops._PAIRS", 100)
    assert torch.equal(whole[0], ball_query(centres, points, 0.06, 4))
    assert torch.equal(whole[1], cylinder_query(centres, axes, points, 0.05, -0.02, (0.01, 0.04), 4))


def test_cylinder_query_against_loops() -> None:
    points, centres, axes = cloud(2, 120), cloud(2, 12, seed=1), frames(2, 12)
    highs = (0.01, 0.04)
    got = cylinder_query(centres, axes, points, 0.05, -0.02, highs, 5)
    assert got.shape == (2, 12, 2, 5)
    for b in range(2):
        for s in range(12):
            local = (points[b] - centres[b, s]).numpy() @ axes[b, s].numpy()
            for h, high in enumerate(highs):
                inside = [n for n, (x, y, z) in enumerate(local) if y * y + z * z < 0.05**2 and -0.02 < x < high]
                assert got[b, s, h].tolist() == fill(inside, 5)


def test_first_true_fills_up() -> None:
    mask = torch.tensor([[0, 1, 0, 1, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.bool)
    assert first_true(mask, 2).tolist() == [[1, 3], [0, 0], [0, 0]]
    assert first_true(mask, 4).tolist() == [[1, 3, 4, 1], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_interpolation_against_loops() -> None:
    targets, points = cloud(2, 15), cloud(2, 30, seed=1)
    targets[0, 0] = points[0, 4]  # a target on a point takes its value
    values = torch.randn(2, 7, 30, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    got = interpolate(targets, points, values)
    _, index = three_nearest(targets, points)
    for b in range(2):
        for q in range(15):
            distance = np.linalg.norm((points[b] - targets[b, q]).numpy(), axis=1)
            three = np.argsort(distance)[:3]
            assert index[b, q].tolist() == three.tolist()
            weight = 1 / (distance[three] + 1e-8)
            wanted = (values[b].numpy()[:, three] * weight).sum(axis=1) / weight.sum()
            np.testing.assert_allclose(got[b, :, q].numpy(), wanted, rtol=1e-9)
    torch.testing.assert_close(got[0, :, 0], values[0, :, 4], rtol=1e-5, atol=1e-5)


def slow_mlp(x: F64, mlp: torch.nn.Module) -> F64:
    """(S, C) rows through convolution, normalisation in evaluation mode and ReLU, by hand."""
    state = {key: value.numpy() for key, value in mlp.state_dict().items()}
    for layer in range(len(list(mlp.children()))):
        name = f"layer{layer}"
        x = x @ state[f"{name}.conv.weight"][:, :, 0, 0].T
        x = (x - state[f"{name}.bn.bn.running_mean"]) / np.sqrt(state[f"{name}.bn.bn.running_var"] + 1e-5)
        x = np.maximum(x * state[f"{name}.bn.bn.weight"] + state[f"{name}.bn.bn.bias"], 0)
    return x


def shaken(module: torch.nn.Module) -> torch.nn.Module:
    """Evaluation mode with statistics that are not those of a fresh network."""
    generator = torch.Generator().manual_seed(7)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            noise = 0.3 * torch.randn(value.shape, generator=generator, dtype=value.dtype)
            value.copy_(noise.abs() + 0.5 if "var" in name or "bn.weight" in name else noise)
    return module.double().eval()


@torch.no_grad()
def test_set_abstraction_against_loops() -> None:
    layer = shaken(SetAbstraction(10, 0.08, 8, (4, 6, 5)))
    points = cloud(2, 50)
    features = torch.randn(2, 4, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    centres, got, chosen = layer(points, features)
    index = ball_query(centres, points, 0.08, 8)
    for b in range(2):
        for q in range(10):
            assert torch.equal(centres[b, q], points[b, chosen[b, q]])
            rows = [
                np.concatenate([((points[b, n] - centres[b, q]) / 0.08).numpy(), features[b, :, n].numpy()]) for n in index[b, q]
            ]
            np.testing.assert_allclose(got[b, :, q].numpy(), slow_mlp(np.array(rows), layer.mlp_module).max(axis=0), rtol=1e-6)


@torch.no_grad()
def test_feature_propagation_puts_coarse_features_first() -> None:
    layer = shaken(FeaturePropagation(7, 6, 5))
    fine, coarse = cloud(1, 12), cloud(1, 6, seed=1)
    fine_features, coarse_features = torch.rand(1, 4, 12, dtype=torch.float64), torch.rand(1, 3, 6, dtype=torch.float64)
    got = layer(fine, coarse, fine_features, coarse_features)
    rows = np.concatenate([interpolate(fine, coarse, coarse_features)[0].T.numpy(), fine_features[0].T.numpy()], axis=1)
    np.testing.assert_allclose(got[0].T.numpy(), slow_mlp(rows, layer.mlp), rtol=1e-6)


@torch.no_grad()
def test_cloud_crop_against_loops() -> None:
    crop = shaken(CloudCrop())
    points, seeds, axes = cloud(1, 80), cloud(1, 5), frames(1, 5)
    got = crop(seeds, axes, points)
    assert got.shape == (1, 256, 5, 4)
    for s in range(5):
        local = (points[0] - seeds[0, s]).numpy() @ axes[0, s].numpy()
        for d, high in enumerate((0.01, 0.02, 0.03, 0.04)):
            inside = (np.hypot(local[:, 1], local[:, 2]) < 0.05) & (local[:, 0] > -0.02) & (local[:, 0] < high)
            assert 0 < inside.sum() <= 64
            np.testing.assert_allclose(got[0, :, s, d].numpy(), slow_mlp(local[inside], crop.mlps).max(axis=0), rtol=1e-6)


def test_views_cover_the_sphere_evenly() -> None:
    views = view_directions(300, dtype=torch.float64)
    torch.testing.assert_close(views.norm(dim=1), torch.ones(300, dtype=torch.float64))
    assert float(views[0, 2]) == pytest.approx(-299 / 300) and float(views[-1, 2]) == pytest.approx(299 / 300)
    probes = torch.nn.functional.normalize(torch.randn(2000, 3, dtype=torch.float64), dim=1)
    assert float((probes @ views.T).amax(dim=1).min()) > math.cos(math.radians(10))


def test_frames_are_rotations_with_the_approach_first() -> None:
    approach = torch.cat(
        [view_directions(300, dtype=torch.float64), torch.tensor([[0.0, 0, 1], [0, 0, -1]], dtype=torch.float64)]
    )
    angle = torch.linspace(0, math.pi, 302, dtype=torch.float64)
    rotations = approach_frames(approach, angle)
    eye = torch.eye(3, dtype=torch.float64).expand(302, 3, 3)
    torch.testing.assert_close(rotations.mT @ rotations, eye)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(302, dtype=torch.float64))
    torch.testing.assert_close(rotations[..., 0], approach)
    flat = approach_frames(approach)
    assert float(flat[:, 2, 1].abs().max()) == 0.0, "at angle 0 the closing direction lies in the xy-plane"
    assert flat[-2, :, 1].tolist() == [0, 1, 0]
    turned = torch.einsum("nij,nij->n", flat[..., 1:2], rotations[..., 1:2])
    torch.testing.assert_close(turned, angle.cos())
    torch.testing.assert_close((flat[..., 2] * rotations[..., 1]).sum(-1), angle.sin())


def table() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the public checkpoint, from its description."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, width: int) -> None:
        shapes.update({f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{name}.num_batches_tracked"] = ()

    def mlp(name: str, *widths: int) -> None:
        for layer in range(len(widths) - 1):
            shapes[f"{name}.layer{layer}.conv.weight"] = (widths[layer + 1], widths[layer], 1, 1)
            norm(f"{name}.layer{layer}.bn.bn", widths[layer + 1])

    def head(name: str, *widths: int) -> None:
        for layer in range(1, 4):
            shapes[f"{name}.conv{layer}.weight"] = (widths[layer], widths[layer - 1], 1)
            shapes[f"{name}.conv{layer}.bias"] = (widths[layer],)
        norm(f"{name}.bn1", widths[1])
        norm(f"{name}.bn2", widths[2])

    backbone = "view_estimator.backbone"
    mlp(f"{backbone}.sa1.mlp_module", 3, 64, 64, 128)
    mlp(f"{backbone}.sa2.mlp_module", 131, 128, 128, 256)
    mlp(f"{backbone}.sa3.mlp_module", 259, 128, 128, 256)
    mlp(f"{backbone}.sa4.mlp_module", 259, 128, 128, 256)
    mlp(f"{backbone}.fp1.mlp", 512, 256, 256)
    mlp(f"{backbone}.fp2.mlp", 512, 256, 256)
    head("view_estimator.vpmodule", 256, 256, 302, 302)
    mlp("grasp_generator.crop.mlps", 3, 64, 128, 256)
    head("grasp_generator.operation", 256, 128, 128, 36)
    head("grasp_generator.tolerance", 256, 128, 128, 12)
    return shapes


def test_names_and_shapes_are_those_of_the_checkpoint() -> None:
    assert {key: tuple(value.shape) for key, value in GraspNet().state_dict().items()} == table()


@pytest.fixture(scope="module")
def network() -> GraspNet:
    torch.manual_seed(0)
    return GraspNet().eval()


@pytest.fixture(scope="module")
def prediction(network: GraspNet) -> Prediction:
    points = cloud(1, 2200, scale=0.3).float() + torch.tensor([-0.15, -0.15, 0.5])
    with torch.inference_mode():
        return network(points)


def test_the_whole_network_gives_what_is_described(network: GraspNet, prediction: Prediction) -> None:
    p = prediction
    assert p.seeds.shape == (1, 1024, 3) and p.views.shape == (1, 1024, 300) and p.objectness.shape == (1, 2, 1024)
    for values in (p.score, p.angle, p.width, p.tolerance):
        assert values.shape == (1, ANGLES, 1024, 4) and bool(values.isfinite().all())
    points = cloud(1, 2200, scale=0.3).float() + torch.tensor([-0.15, -0.15, 0.5])
    assert torch.equal(p.seeds[0], points[0, p.seed_index[0]])
    assert len(set(p.seed_index[0].tolist())) == 1024
    best = p.views[0].argmax(dim=1)
    torch.testing.assert_close(p.approach[0], -view_directions(300)[best])
    for group in decode(p):
        check_group(group.rows, "decoded")
    with pytest.raises(ValueError, match="2048"):
        network(points[:, :1000])


def test_decoding_by_hand() -> None:
    score, angle, width, tolerance = (torch.zeros(1, ANGLES, 2, 4) for _ in range(4))
    # Seed 0: at each depth another angle wins; the third depth has the highest score at its own angle.
    for depth, best in enumerate((2, 5, 3, 9)):
        angle[0, best, 0, depth] = 4.0
        score[0, best, 0, depth] = (0.2, 0.4, 0.8, 0.6)[depth]
    score[0, 7, 0, 1] = 9.0  # an angle that does not win
    width[0, 3, 0, 2], tolerance[0, 3, 0, 2] = 0.05, 0.025
    objectness = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    approach = torch.tensor([[[0.0, 0.6, 0.8], [0, 0, 1]]])
    seeds = torch.tensor([[[0.1, 0.2, 0.5], [0, 0, 0.5]]])
    made = Prediction(
        seeds, torch.zeros(1, 2, dtype=torch.int64), objectness, torch.zeros(1, 2, 300), approach, score, angle, width, tolerance
    )
    (group,) = decode(made)
    assert len(group) == 1, "the second seed is not on an object"
    assert group.scores[0] == pytest.approx(0.8 * 0.025 / 0.05)
    assert (group.widths[0], group.depths[0], group.rows[0, 2]) == pytest.approx((0.06, 0.03, 0.02))
    np.testing.assert_allclose(group.translations[0], [0.1, 0.2, 0.5], atol=1e-7)
    np.testing.assert_allclose(group.rotations[0], approach_frames(approach[0, 0].double(), torch.tensor(math.pi / 4)), atol=1e-6)
    assert group.object_ids.tolist() == [-1]
    width[0, 3, 0, 2] = 0.2
    assert decode(made)[0].widths[0] == pytest.approx(0.1)


def test_checkpoints_load_and_foreign_ones_are_named(network: GraspNet, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-rs.tar"
    with pytest.raises(MissingAssetError, match="no GraspNet weights"):
        load_graspnet(path)
    state = network.state_dict()
    torch.save({"epoch": 18, "optimizer_state_dict": {}, "loss": 0.1, "model_state_dict": state}, path)
    loaded = load_graspnet(path)
    assert not loaded.training
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in state.items())
    old = {f"module.{key}": value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    torch.save(old, path)
    assert torch.equal(load_graspnet(path).view_estimator.vpmodule.conv1.weight, network.view_estimator.vpmodule.conv1.weight)

    name = "grasp_generator.crop.mlps.layer0.conv.weight"
    wrong = {key: value for key, value in state.items() if key != name} | {"extra.weight": torch.zeros(2)}
    wrong["view_estimator.vpmodule.conv3.bias"] = torch.zeros(122)
    torch.save({"model_state_dict": wrong}, path)
    with pytest.raises(MismatchError) as caught:
        load_graspnet(path)
    for part in (f"1 missing ({name})", "1 unknown (extra.weight)", "conv3.bias (122,) instead of (302,)"):
        assert part in caught.value.message
    torch.save({"model_state_dict": state | {name: torch.full_like(state[name], torch.nan)}}, path)
    with pytest.raises(ArtifactError, match="NaN"):
        load_graspnet(path)
    torch.save({"model_state_dict": {"config": Path("x")}}, path)
    with pytest.raises(ArtifactError, match="cannot be read safely"):
        load_graspnet(path)
    torch.save({"weights": 3}, path)
    with pytest.raises(ArtifactError, match="model_state_dict"):
        load_graspnet(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ArtifactError, match="cannot be read safely"):
        load_graspnet(path)


def test_the_detector_sees_the_workspace_in_the_first_camera(network: GraspNet, monkeypatch: pytest.MonkeyPatch) -> None:
    T = np.array([[1.0, 0, 0, 0.5], [0, -1, 0, 0], [0, 0, -1, 0.6], [0, 0, 0, 1]])
    K = np.array([[100.0, 0, 40], [0, 100, 30], [0, 0, 1]])
    depth = np.full((1, 60, 80), 0.58, np.float32)
    view = Observation(np.zeros((1, 60, 80, 3), np.uint8), depth, K[None], T[None])
    points = camera_cloud(view, 3000)
    assert points.shape == (3000, 3) and points.dtype == np.float32
    np.testing.assert_allclose(points[:, 2], 0.58, atol=1e-5)
    assert np.abs(points[:, :2]).max() < 0.23
    np.testing.assert_array_equal(points, camera_cloud(view, 3000))
    seen: list[tuple[int, ...]] = []

    def forward(cloud: Tensor) -> Prediction:
        seen.append(tuple(cloud.shape))
        raise RuntimeError("enough")

    monkeypatch.setattr(network, "forward", forward)
    with pytest.raises(RuntimeError, match="enough"):
        GraspNetDetector(network, 2500)(view)
    assert seen == [(1, 2500, 3)]
    with pytest.raises(ConfigError, match="points"):
        GraspNetDetector(network, 100)
    with pytest.raises(ConfigError, match="weights"):
        detector("")
