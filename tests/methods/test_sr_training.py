"""Training set, augmentation, loss, resume, determinism, policy file, and that the network learns to follow language."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.spatial.transform import Rotation

from srcli.config.train import AugmentConfig, TrainConfig
from srcli.errors import ArtifactError, SceneError
from srcli.learning import trainer as trainer_module
from srcli.learning.augment import augment, mirror_poses, random_rotation, rotate_poses
from srcli.learning.dataset import Labels, TrainingSet
from srcli.learning.rotations import COMPARED, Comparison
from srcli.learning.schedule import walk
from srcli.learning.trainer import Trainer as SharedTrainer
from srcli.learning.trainer import learning_rate, loss_of, validate
from srcli.methods.registry import settings, spec_of
from srcli.methods.sr.network import build_network
from srcli.methods.sr.section import SRConfig

D, POINTS, SLOTS, TOKENS = 32, 60, 5, 4
ENCODER = {"name": "made-up", "dim": D}


def unit(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    out: npt.NDArray[np.float64] = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return out


def made_up(count: int, seed: int = 0) -> TrainingSet:
    """Objects are clusters of points around one direction of the joint space; the sentence is near one of them.

    Directions of the validation samples never occur in training samples.
    """
    rng = np.random.default_rng(seed)
    kinds = unit(rng.normal(size=(40, D)))
    rows: dict[str, list[npt.NDArray[np.generic]]] = {}
    half = count * 3 // 4
    for i in range(count):
        mine = kinds[:20] if i < half else kinds[20:]
        which = rng.choice(20, SLOTS, replace=False)
        places = np.stack([0.35 + 0.075 * np.arange(SLOTS), rng.uniform(-0.2, 0.2, SLOTS), np.full(SLOTS, 0.03)], axis=1)
        owner, k = rng.integers(0, SLOTS, POINTS), int(rng.integers(12, 21))
        target = int(rng.integers(SLOTS))
        text = unit(mine[which[target]] + 0.8 * unit(rng.normal(size=D)))
        features = unit(mine[which][owner] + 0.9 * unit(rng.normal(size=(POINTS, D))))
        of = np.concatenate([[target], rng.integers(0, SLOTS, k - 1)])
        yaw = rng.uniform(0, np.pi, k)
        poses = np.concatenate(
            [places[of] + rng.normal(0, 0.006, (k, 3)), np.stack([np.cos(yaw / 2), np.sin(yaw / 2), 0 * yaw, 0 * yaw], 1)], axis=1
        )
        order = rng.permutation(k)
        of, poses = of[order], poses[order]
        padding = 20 - k
        sample = {
            "points": (places[owner] + rng.normal(0, 0.008, (POINTS, 3))).astype(np.float32),
            "features": features.astype(np.float16),
            "similarity": (features @ text).astype(np.float32),
            "point_mask": np.ones(POINTS, bool),
            "text": text.astype(np.float32),
            "tokens": unit(text + 0.5 * rng.normal(size=(TOKENS, D))).astype(np.float32),
            "token_mask": np.arange(TOKENS) < rng.integers(2, TOKENS + 1),
            "candidates": np.pad(poses, ((0, padding), (0, 0))).astype(np.float32),
            "candidate_mask": np.arange(20) < k,
            "quality": np.pad(rng.uniform(0, 1, k), (0, padding)).astype(np.float32),
            "valid": np.pad(of == target, (0, padding)),
            "label": np.int64(rng.choice(np.flatnonzero(of == target))),
        }
        for name, value in sample.items():
            rows.setdefault(name, []).append(np.asarray(value))
    return TrainingSet({n: np.stack(v) for n, v in rows.items()}, np.arange(half), np.arange(half, count), ENCODER)


SMALL = TrainConfig(updates=6, batch_size=8, validate_every=3, checkpoint_every=2, warmup=2)
MODEL = settings(spec_of("sr_plus"), SRConfig(), {"network.heads": 4})
BASE = settings(spec_of("base_plus"), SRConfig(), {"network.heads": 4})


def Trainer(data: TrainingSet, section: Any, config: TrainConfig, *, seed: int = 0, **options: Any) -> SharedTrainer:
    """The trainer of the networks of SR."""
    network = build_network(section, data.feature_dim, seed)
    return SharedTrainer(data, network, config, {"network": section.network.model_dump(mode="json")}, seed=seed, **options)


def test_poses_turn_and_mirror_with_their_points() -> None:
    rng = np.random.default_rng(1)
    poses = np.concatenate([rng.normal(size=(6, 3)), unit(rng.normal(size=(6, 4)))], axis=1).astype(np.float32)
    turn = Rotation.from_euler("z", 0.7).as_matrix()
    turned = rotate_poses(poses, 0.7)
    before, after = (Rotation.from_quat(p[:, 3:]).as_matrix() for p in (poses, turned))
    np.testing.assert_allclose(after, turn @ before, atol=1e-6)
    np.testing.assert_allclose(turned[:, :3] - [0.5, 0, 0], (poses[:, :3] - [0.5, 0, 0]) @ turn.T, atol=1e-6)
    flip = np.diag([1.0, -1.0, 1.0])
    mirrored = Rotation.from_quat(mirror_poses(poses)[:, 3:]).as_matrix()
    np.testing.assert_allclose(mirrored[:, :, [0, 2]], (flip @ before)[:, :, [0, 2]], atol=1e-6)


def test_augmentation_keeps_points_relative_to_candidates() -> None:
    data = made_up(4)
    sample = {name: value[0] for name, value in data.arrays.items()}
    changed = augment(sample, AugmentConfig(jitter=0.0, point_dropout=0.0, similarity_noise=0.0), np.random.default_rng(3))
    real = sample["candidate_mask"]

    def distances(s: dict[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        out: npt.NDArray[np.float64] = np.linalg.norm(s["candidates"][real][:, None, :3] - s["points"][None], axis=2)
        return out

    np.testing.assert_allclose(distances(changed), distances(sample), atol=1e-5)
    assert np.abs(changed["points"] - sample["points"]).max() > 0.01
    for s, other in ((sample, changed), (changed, sample)):
        axes = Rotation.from_quat(s["candidates"][real][:, 3:]).as_matrix()
        local = np.abs(np.einsum("kia,kni->kna", axes, s["points"][None] - s["candidates"][real][:, None, :3]))
        axes_o = Rotation.from_quat(other["candidates"][real][:, 3:]).as_matrix()
        local_o = np.abs(np.einsum("kia,kni->kna", axes_o, other["points"][None] - other["candidates"][real][:, None, :3]))
        np.testing.assert_allclose(local, local_o, atol=1e-5)


def test_rotation_of_the_joint_space_keeps_cosines() -> None:
    turn = random_rotation(D, np.random.default_rng(0))
    np.testing.assert_allclose(turn @ turn.T, np.eye(D), atol=1e-5)
    data, config = made_up(8), TrainConfig(augment=AugmentConfig(feature_rotation=1.0, similarity_noise=0.0, point_dropout=0.0))
    batch, _ = data.training_batch(np.arange(4), config, np.random.default_rng(0))
    cosine = torch.einsum("bnd,bd->bn", batch.features, batch.text)
    torch.testing.assert_close(cosine, batch.similarity, atol=2e-3, rtol=0)


def test_training_points_are_a_subset_with_their_features() -> None:
    data = made_up(8)
    still = AugmentConfig(yaw=0, mirror=False, shift=0, jitter=0, point_dropout=0, similarity_noise=0, feature_rotation=0)
    batch, _ = data.training_batch(np.arange(3), TrainConfig(points=20, augment=still), np.random.default_rng(0))
    assert batch.points.shape == (3, 20, 3)
    whole = data.arrays["similarity"][1]
    places = [int(np.flatnonzero(whole == s)[0]) for s in batch.similarity[1].numpy()]
    assert len(set(places)) == 20
    np.testing.assert_allclose(batch.points[1].numpy(), data.arrays["points"][1][places], atol=1e-6)


def test_training_candidates_are_a_subset_that_holds_the_experts() -> None:
    data = made_up(8)
    still = AugmentConfig(yaw=0, mirror=False, shift=0, jitter=0, point_dropout=0, similarity_noise=0, feature_rotation=0)
    config = TrainConfig(candidates=3, points=0, augment=still)
    batch, labels = data.training_batch(np.arange(4), config, np.random.default_rng(0))
    assert batch.candidate_mask.sum(dim=1).tolist() == [3] * 4 and batch.candidates.shape[1] == 3
    for row in range(4):
        whole = data.arrays["candidates"][row]
        places = [int(np.abs(whole - pose)[:, :3].max(axis=1).argmin()) for pose in batch.candidates[row].numpy()]
        assert len(set(places)) == 3 and places[int(labels.expert[row])] == data.arrays["label"][row]
        np.testing.assert_array_equal(labels.valid[row].numpy(), data.arrays["valid"][row][places])
        np.testing.assert_allclose(batch.quality[row].numpy(), data.arrays["quality"][row][places], atol=1e-6)


def test_loss_targets() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5, float("-inf")], [0.0, 1.0, 2.0, 3.0]])
    labels = Labels(
        torch.tensor([1, 0]),
        torch.tensor([[True, True, False, True], [False] * 4]),
        torch.tensor([[0.9, 0.3, 0.5, 0.5]] * 2),
        torch.tensor([False, False]),
    )
    log_p = torch.log_softmax(logits, 1)
    torch.testing.assert_close(loss_of(logits, labels, "expert"), torch.stack([-log_p[0, 1], -log_p[1, 0]]))
    weighted = torch.stack([-(0.75 * log_p[0, 0] + 0.25 * log_p[0, 1]), -log_p[1, 0]])
    torch.testing.assert_close(loss_of(logits, labels, "quality"), weighted)
    uniform = torch.stack([-(log_p[0, 0] + log_p[0, 1]) / 2, -log_p[1, 0]])
    torch.testing.assert_close(loss_of(logits, labels, "valid"), uniform)
    # Placements that are right are equally good, whatever the prior says of them.
    torch.testing.assert_close(loss_of(logits, replace(labels, place=torch.tensor([True, False])), "quality"), uniform)


def both_phases(count: int, every: int = 4) -> TrainingSet:
    """Every fourth sample is a placement."""
    data = made_up(count)
    phase = (np.arange(count) % every == 0).astype(np.uint8)
    return TrainingSet({**data.arrays, "phase": phase}, data.train, data.valid, ENCODER)


def test_batches_are_balanced_over_the_phases() -> None:
    data = both_phases(48)
    trainer = Trainer(data, MODEL, SMALL)
    batches = [trainer._draw(update) for update in range(6)]
    assert [int(labels.place.sum()) for _, labels in batches] == [4] * 6
    for batch, labels in batches:
        assert batch.place is not None and torch.equal(batch.place, labels.place)
    quarter = Trainer(data, MODEL, SMALL.model_copy(update={"place_share": 0.25}))
    assert int(quarter._draw(0)[1].place.sum()) == 2
    alone = Trainer(made_up(48), MODEL, SMALL)
    assert not alone._draw(0)[1].place.any()
    # Each phase goes through all of its samples before one comes again.
    picks, places = data.pools()
    walked = np.concatenate([walk(places, update, 3, trainer.seed, 1) for update in range(3)])
    assert sorted(walked.tolist()) == sorted(places.tolist()) and not set(picks) & set(places)


def test_metrics_of_each_phase() -> None:
    data = both_phases(48)
    metrics = validate(Trainer(data, MODEL, SMALL).network, data, SMALL, "cpu")
    share = float((data.arrays["phase"][data.valid] == 1).mean())
    assert metrics.valid_rate == pytest.approx((1 - share) * metrics.pick_rate + share * metrics.place_rate)
    alone = validate(Trainer(made_up(48), MODEL, SMALL).network, made_up(48), SMALL, "cpu")
    assert np.isnan(alone.place_rate) and alone.pick_rate == alone.valid_rate


def test_words_stay_in_their_own_axes() -> None:
    data = made_up(8)
    turned = TrainConfig(augment=AugmentConfig(feature_rotation=1.0))
    batch, _ = data.training_batch(np.arange(4), turned, np.random.default_rng(0))
    assert batch.words is not None and not torch.allclose(batch.words, batch.tokens)
    np.testing.assert_array_equal(batch.words.numpy(), data.arrays["tokens"][:4])


def test_picks_are_turned_about_the_means_and_placements_are_not() -> None:
    data = both_phases(24)
    still = AugmentConfig(yaw=0, mirror=False, shift=0, jitter=0, point_dropout=0, similarity_noise=0, feature_rotation=0)
    config = TrainConfig(points=0, candidates=0, augment=still.model_copy(update={"pick_rotation": 1.0}))
    rows = data.train[:12]
    batch, labels = data.training_batch(rows, config, np.random.default_rng(0))
    own, _ = data.batch(rows)
    pick = ~labels.place
    assert pick.any() and labels.place.any()
    for name in ("features", "text", "tokens"):
        turned, before = getattr(batch, name), getattr(own, name)
        assert not torch.allclose(turned[pick], before[pick], atol=0.05)
        torch.testing.assert_close(turned[labels.place], before[labels.place])
    cosines = torch.einsum("bnd,bd->bn", batch.features, batch.text)
    torch.testing.assert_close(cosines, torch.einsum("bnd,bd->bn", own.features, own.text), atol=5e-3, rtol=0)
    # The part along the mean sentence and the mean feature stays; words are recognised as they were.
    for mean, name in ((own_mean(data, "text"), "text"), (own_mean(data, "features"), "features")):
        torch.testing.assert_close(getattr(batch, name) @ mean, getattr(own, name) @ mean, atol=5e-3, rtol=0)
    assert batch.words is not None
    torch.testing.assert_close(batch.words, own.tokens)


def own_mean(data: TrainingSet, name: str) -> torch.Tensor:
    mean = data.arrays[name][data.train].astype(np.float64)
    mean = mean.mean(axis=tuple(range(mean.ndim - 1)))
    return torch.from_numpy((mean / np.linalg.norm(mean)).astype(np.float32))


def test_picks_are_turned_from_a_share_of_the_updates_on() -> None:
    data = both_phases(24)
    late = AugmentConfig(pick_rotation=1.0, pick_rotation_from=0.5)
    drawn = {}
    for name, augmentation in (("never", AugmentConfig()), ("late", late)):
        trainer = Trainer(data, STRICT_SR, SMALL.model_copy(update={"augment": augmentation}), seed=4)
        drawn[name] = [torch.cat([part.batch.text for part in trainer._parts(update)]) for update in range(6)]
    same = [torch.equal(one, other) for one, other in zip(drawn["never"], drawn["late"], strict=True)]
    assert same == [True, True, True, False, False, False]


STRICT_SR = settings(spec_of("sr"), SRConfig(), {"network.heads": 4})
TURNED = SMALL.model_copy(update={"augment": AugmentConfig(comparison_rotation=1.0)})


def test_only_what_is_compared_is_turned() -> None:
    """The inputs of 1-Align's queries and keys, and of nothing else; without rotations a network answers as it did."""
    data = made_up(8)
    network = build_network(STRICT_SR, D, 0)
    plain = network(data.batch(np.arange(4))[0]).logits
    comparison = Comparison(network)
    turns = comparison.draw(4, 1.0, np.random.default_rng(0))
    assert turns is not None and turns.shape == (4, D, D)
    torch.testing.assert_close(turns @ turns.mT, torch.eye(D).expand(4, D, D), atol=1e-5, rtol=0)
    read: dict[str, torch.Tensor] = {}
    for name in ("stage1.q", "stage1.k", "stage1.v", "stage1.text", "stage1.token_weight", "stage2.position.0"):

        def keep(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...], __: torch.Tensor, name: str = name) -> None:
            read[name] = inputs[0]

        network.get_submodule(name).register_forward_hook(keep)
    batch, _ = data.batch(np.arange(4))
    with comparison.under(turns):
        turned = network(batch).logits
    words = torch.cat([batch.text[:, None], batch.tokens], dim=1)
    torch.testing.assert_close(read["stage1.q"], words @ turns)
    torch.testing.assert_close(read["stage1.k"], batch.features @ turns)
    for name, own in (("stage1.v", batch.features), ("stage1.text", words), ("stage1.token_weight", words)):
        torch.testing.assert_close(read[name], own)
    torch.testing.assert_close(read["stage2.position.0"][..., :D], batch.features)
    assert not torch.allclose(plain, turned, atol=1e-3)
    torch.testing.assert_close(network(batch).logits, plain, atol=0, rtol=0)


def test_a_cosine_does_not_hear_the_rotation() -> None:
    """With W_q = W_k = c 1 and one head the mask is a function of cosines, which rotations keep."""
    data = made_up(8)
    network = build_network(settings(spec_of("sr"), SRConfig(), {"network.heads": 1}), D, 0)
    with torch.no_grad():
        for name in COMPARED:
            torch.nn.init.eye_(network.get_submodule(name).weight).mul_(3.0)
    comparison = Comparison(network)
    batch, _ = data.batch(np.arange(8))
    plain = network(batch)
    with comparison.under(comparison.draw(8, 1.0, np.random.default_rng(0))):
        turned = network(batch)
    torch.testing.assert_close(turned.mask, plain.mask, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(turned.logits, plain.logits, atol=1e-4, rtol=1e-4)


def test_rotations_follow_from_the_update_whoever_computes_its_parts(tmp_path: Path) -> None:
    data = made_up(32)
    config = TURNED.model_copy(update={"batch_size": 24})

    def trained(threads: int, **options: Any) -> SharedTrainer:
        trainer = Trainer(data, STRICT_SR, config, seed=4, **options)
        trainer.loop.settings = replace(trainer.loop.settings, threads=threads)
        return trainer

    whole, shared = trained(1).run(), trained(3).run()
    file = tmp_path / "a.checkpoint"
    trained(1, checkpoint=file).run(stop_after=4)
    resumed = trained(1, checkpoint=file).run()
    for name, weights in whole.weights.items():
        np.testing.assert_array_equal(weights, shared.weights[name])
        np.testing.assert_array_equal(weights, resumed.weights[name])
    still = Trainer(data, STRICT_SR, SMALL.model_copy(update={"batch_size": 24}), seed=4).run()
    assert not np.array_equal(still.weights["stage1.q.weight"], whole.weights["stage1.q.weight"])


def test_a_network_without_1_align_is_trained_as_before() -> None:
    data = made_up(16)
    still, turned = (Trainer(data, BASE, config, seed=4).run() for config in (SMALL, TURNED))
    for name, weights in still.weights.items():
        np.testing.assert_array_equal(weights, turned.weights[name])


def test_learning_rate_rises_then_falls() -> None:
    config = TrainConfig(lr=1.0, warmup=10)
    rates = [learning_rate(config, u, 100) for u in range(101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) > 0.95 and rates[100] == pytest.approx(0.02)


def test_the_training_loss_is_recorded_between_validations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "LOSS_EVERY", 2)
    config = SMALL.model_copy(update={"updates": 7, "validate_every": 4})
    curves = Trainer(made_up(24), MODEL, config, seed=4).run().curves
    assert curves["update"].tolist() == [2, 4, 6, 7]
    assert np.isfinite(curves["train_loss"]).all()
    assert np.isfinite(curves["valid_loss"]).tolist() == [False, True, False, True]


def test_same_seed_same_weights_and_a_resumed_run_ends_the_same(tmp_path: Path) -> None:
    data = made_up(24)
    whole = Trainer(data, MODEL, SMALL, seed=4).run()
    file = tmp_path / "a.checkpoint"
    part = Trainer(data, MODEL, SMALL, seed=4, checkpoint=file)
    part.run(stop_after=4)
    resumed = Trainer(data, MODEL, SMALL, seed=4, checkpoint=file)
    assert resumed.loop.state.update == 4
    end = resumed.run()
    assert all(np.array_equal(whole.weights[k], end.weights[k]) for k in whole.weights)
    assert all(np.array_equal(whole.curves[k], end.curves[k], equal_nan=True) for k in whole.curves)
    other = Trainer(data, MODEL, SMALL, seed=5, checkpoint=file)
    assert other.loop.state.update == 0
    assert not all(np.array_equal(whole.weights[k], w) for k, w in other.run().weights.items())


def test_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.checkpoint"
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(ArtifactError, match=r"a\.checkpoint"):
        Trainer(made_up(8), MODEL, SMALL, checkpoint=file)


@pytest.mark.parametrize(
    ("precision", "method"), [("fp32", "base_plus"), ("bf16", "base_plus"), ("bf16", "sr_a_plus"), ("bf16", "sr_plus")]
)
def test_both_precisions_lower_the_loss(precision: str, method: str) -> None:
    data = made_up(48)
    config = SMALL.model_copy(update={"precision": precision, "updates": 30, "validate_every": 30, "lr": 3e-3, "select": "last"})
    trainer = Trainer(data, settings(spec_of(method), SRConfig(), {"network.heads": 4}), config)
    before = validate(trainer.network, data, config, "cpu")
    assert trainer.run().metrics.loss < before.loss - 0.1


def test_a_loss_that_is_not_finite_stops_with_advice() -> None:
    data = made_up(8)
    data.arrays["features"][:] = np.nan
    with pytest.raises(SceneError, match="loss is nan at update 0"):
        Trainer(data, MODEL, SMALL).run()


def test_no_training_sample_is_refused() -> None:
    data = made_up(8)
    with pytest.raises(SceneError, match="no training sample"):
        TrainingSet(data.arrays, np.arange(0), np.arange(8))


@pytest.mark.parametrize("method", ["sr_plus", "base_plus"])
def test_learns_to_follow_language_to_directions_never_seen(method: str) -> None:
    """SR+ starts sensible and stays so; BASE+ has to learn it. Chance is about one in five."""
    data = made_up(240, seed=1)
    config = TrainConfig(updates=90, batch_size=16, validate_every=45, lr=2e-3, warmup=10)
    trained = Trainer(data, settings(spec_of(method), SRConfig(), {"network.heads": 4}), config).run()
    chance = float(np.mean(data.arrays["valid"].sum(1) / data.arrays["candidate_mask"].sum(1)))
    assert chance < 0.35
    assert trained.metrics.valid_rate > (0.85 if method != "base_plus" else 0.6)
