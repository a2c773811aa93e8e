"""The training loop on a toy problem: resuming, sums over parts, clipping, schedule, arithmetic, what is kept, errors."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from srcli.errors import ArtifactError, MismatchError, SceneError
from srcli.learning import checkpoint as checkpoints
from srcli.learning.loop import Loop, Progress, Result, Settings, Task
from srcli.learning.schedule import Schedule, walk
from srcli.seeding import generator

UPDATES, SIZE = 8, 12
SETTINGS = Settings(
    updates=UPDATES,
    rate=Schedule(0.05, UPDATES, warmup=2),
    weight_decay=0.01,
    clip=1.0,
    best="valid_loss",
    record_every=3,
    validate_every=2,
    checkpoint_every=100,
)
Pair = tuple[Tensor, Tensor]


def pair(update: int, size: int = SIZE, seed: int = 0) -> Pair:
    """Points (size, 3), and a number for each that a small network can learn."""
    x = torch.from_numpy(generator((seed, update)).normal(size=(size, 3))).float()
    return x, (x[:, :1] * x[:, 1:2]).tanh()


def network(*inner: nn.Module) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), *inner, nn.Linear(8, 1))


def task(module: nn.Module, parts: int = 1) -> Task[Pair]:
    def draw(update: int) -> list[Pair]:
        return list(zip(*(values.chunk(parts) for values in pair(update)), strict=True))

    def loss(part: Pair) -> Tensor:
        return (module(part[0]) - part[1]).square().sum() / SIZE

    def validate() -> dict[str, float]:
        x, y = pair(0, 40, seed=1)
        return {"valid_loss": float((module(x) - y).square().mean()), "valid_bias": float((module(x) - y).mean())}

    return Task(module, draw, loss, validate)


def fit(made: Task[Pair], settings: Settings = SETTINGS, stop_after: int | None = None, **more: Any) -> Result:
    return Loop(made, settings, identity=more.pop("identity", {"toy": 1}), **more).run(stop_after=stop_after)


def same(one: Result, other: Result) -> None:
    assert one.weights.keys() == other.weights.keys()
    for name, value in one.weights.items():
        assert torch.equal(value, other.weights[name]), name
    # NaN is not equal to itself; its text is.
    assert json.dumps(one.curves) == json.dumps(other.curves)
    assert (one.updates, one.kept) == (other.updates, other.kept)


def two_optimizers(module: nn.Sequential) -> list[torch.optim.Optimizer]:
    first = torch.optim.SGD([module[0].weight], lr=1.0, momentum=0.9)  # type: ignore[list-item]
    return [first, torch.optim.AdamW([p for p in module.parameters() if p is not module[0].weight], lr=1.0)]


@pytest.mark.parametrize("optimizers", [None, two_optimizers])
def test_a_run_killed_after_any_update_ends_the_same(
    tmp_path: Path, optimizers: Callable[[nn.Sequential], list[torch.optim.Optimizer]] | None
) -> None:
    """Buffers and torch's own generator are part of it."""

    def made() -> tuple[Task[Pair], dict[str, Any]]:
        module = network(nn.BatchNorm1d(8), nn.Dropout(0.3))
        return task(module), {"optimizers": optimizers and optimizers(module), "seed": 3}

    one, more = made()
    whole = fit(one, **more)
    assert not torch.equal(whole.weights["2.running_mean"], torch.zeros(8))
    other, _ = made()
    assert not torch.equal(fit(other, **{**more, "optimizers": None, "seed": 4}).weights["0.weight"], whole.weights["0.weight"])
    for killed in range(1, UPDATES):
        path = tmp_path / f"{killed}.checkpoint"
        one, more = made()
        fit(one, stop_after=killed, checkpoint=path, **more)
        one, more = made()
        again = Loop(one, SETTINGS, identity={"toy": 1}, checkpoint=path, **more)
        assert again.state.update == killed
        same(again.run(), whole)
    one, more = made()
    same(fit(one, checkpoint=path, **more), whole)


def test_what_is_not_known_has_no_sign_that_a_checkpoint_would_lose(tmp_path: Path) -> None:
    path = tmp_path / "x.checkpoint"
    unknown = replace(task(network()), validate=lambda: {"valid_loss": 1.0, "rate": -math.nan})
    whole = fit(unknown, checkpoint=path)
    kept = Loop(unknown, SETTINGS, identity={"toy": 1}, checkpoint=path).state
    assert math.copysign(1, -math.nan) == -1
    for curves in (whole.curves, kept.curves):
        assert [math.copysign(1, value) for value in curves["rate"]] == [1.0] * len(curves["update"])


def test_the_loop_is_torchs_adamw_on_clipped_gradients() -> None:
    module, reference = network(), network()
    settings = replace(SETTINGS, best=None, betas=(0.8, 0.95))
    result = fit(task(module), settings)
    optimizer = torch.optim.AdamW(reference.parameters(), betas=(0.8, 0.95), weight_decay=0.01)
    for update in range(UPDATES):
        x, y = pair(update)
        optimizer.zero_grad()
        functional.mse_loss(reference(x), y).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(reference.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = settings.rate(update)
        optimizer.step()
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(result.weights[name], value)
        assert torch.equal(result.weights[name], module.state_dict()[name])


def test_parts_sum_to_the_batch_whoever_computes_them() -> None:
    results = [fit(task(network(), parts=4), replace(SETTINGS, threads=threads)) for threads in (1, 3)]
    same(*results)
    together = fit(task(network()), replace(SETTINGS, parallel="operations"))
    for name, value in together.weights.items():
        torch.testing.assert_close(value, results[0].weights[name])
    same(fit(task(network(), parts=4), replace(SETTINGS, prefetch=True)), results[0])


def test_a_gradient_that_two_parameters_share_is_not_counted_twice() -> None:
    module = nn.ParameterDict({"a": torch.zeros(4), "b": torch.zeros(4), "idle": torch.ones(4)})

    def loss(part: Tensor) -> Tensor:
        return ((module["a"] + module["b"]) * part).sum()

    sums = Task(module, lambda update: [torch.ones(4), torch.full((4,), 2.0)], loss)
    sgd = torch.optim.SGD(module.parameters())
    fit(sums, replace(SETTINGS, updates=1, rate=lambda update: 1.0, clip=None, best=None), optimizers=[sgd])
    assert module["a"].tolist() == module["b"].tolist() == [-3.0] * 4
    assert module["idle"].tolist() == [1.0] * 4, "what has no gradient stays as it is"


def test_a_gradient_is_used_as_its_parameter_lies_in_memory() -> None:
    """A fused optimiser reads memory in its order: a gradient with other strides would be taken for another one."""
    torch.manual_seed(0)
    start, images = torch.randn(3, 2, 3, 3), torch.randn(4, 2, 5, 5).to(memory_format=torch.channels_last)
    module = nn.Conv2d(2, 3, 3, bias=False)
    with torch.no_grad():
        module.weight.copy_(start)

    def cost(weight: Tensor) -> Tensor:
        return functional.conv2d(images, weight).square().sum()

    settings = replace(SETTINGS, updates=3, best=None, clip=None)
    found = Loop(Task(module, lambda update: [images], lambda part: cost(module.weight)), settings, identity={}).run()
    plain = nn.Parameter(start.clone())
    slow = torch.optim.AdamW([plain], weight_decay=SETTINGS.weight_decay, fused=False)
    for update in range(3):
        slow.param_groups[0]["lr"] = SETTINGS.rate(update)
        (gradient,) = torch.autograd.grad(cost(plain), plain)
        assert gradient.stride() != plain.stride(), "else the case is none"
        plain.grad = gradient.contiguous()
        slow.step()
    torch.testing.assert_close(found.weights["weight"], plain.detach(), rtol=1e-4, atol=1e-5)


def test_a_checkpoint_of_another_seed_is_another_training(tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint"
    Loop(task(network()), SETTINGS, identity={}, seed=0, checkpoint=path).run(stop_after=3)
    settings = replace(SETTINGS, foreign="refuse")
    with pytest.raises(MismatchError):
        Loop(task(network()), settings, identity={}, seed=1, checkpoint=path)
    assert Loop(task(network()), settings, identity={}, seed=0, checkpoint=path).state.update == 3


def test_the_gradient_is_clipped_to_its_norm_and_the_rate_is_the_schedules() -> None:
    for clip, rate in ((0.25, 1.0), (0.25, 0.5), (None, 1.0)):
        module = network()
        before = nn.utils.parameters_to_vector(module.parameters()).clone()
        settings = replace(SETTINGS, updates=1, clip=clip, rate=lambda update, rate=rate: rate, best=None)
        far = replace(task(module), loss=lambda part, module=module: 100 * module(part[0]).square().sum())
        fit(far, settings, optimizers=[torch.optim.SGD(module.parameters(), lr=7.0)])
        moved = float((nn.utils.parameters_to_vector(module.parameters()) - before).norm().detach())
        assert moved > 10 if clip is None else moved == pytest.approx(clip * rate, rel=1e-3)


def test_schedules() -> None:
    rates = [Schedule(2.0, 100, warmup=10)(update) for update in range(101)]
    assert rates[:10] == pytest.approx([0.2 * n for n in range(1, 11)])
    assert rates[10] == 2.0
    assert rates[55] == pytest.approx(2.0 * (0.01 + 0.99 / 2))
    assert rates[100] == pytest.approx(0.02)
    constant = Schedule(2.0, 100, warmup=4, shape="constant")
    assert [constant(update) for update in (0, 3, 50, 100)] == [0.5, 2.0, 2.0, 2.0]
    early = Schedule(2.0, 100, warmup=10, floor=0.1, cosine_from="start")
    assert early(50) == pytest.approx(2.0 * (0.1 + 0.9 / 2))
    assert early(4) == pytest.approx(0.5 * 2.0 * (0.1 + 0.45 * (1 + math.cos(math.pi * 0.04))))


def test_a_walk_sees_every_sample_of_an_epoch_once() -> None:
    import numpy as np

    pool = np.array([3, 5, 8, 9, 11, 20, 21])
    seen = np.concatenate([walk(pool, update, 3, 1) for update in range(7)])
    epochs = seen.reshape(3, 7)
    assert all(sorted(epoch.tolist()) == pool.tolist() for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 3
    assert walk(pool, 4, 3, 1).tolist() == seen[12:15].tolist()
    assert walk(pool, 0, 7, 1, 1).tolist() != epochs[0].tolist() != walk(pool, 0, 7, 2).tolist()


def test_bf16_computes_in_bf16_and_keeps_weights_in_float32() -> None:
    module, seen = network(), set()
    exact = task(network())

    def spied(made: Task[Pair]) -> Task[Pair]:
        def loss(part: Pair) -> Tensor:
            seen.add(made.module(part[0]).dtype)
            return made.loss(part)  # type: ignore[misc]

        return replace(made, loss=loss)

    settings = replace(SETTINGS, updates=60, rate=lambda update: 0.02, precision="bf16", best=None)
    result = fit(spied(task(module, parts=3)), settings)
    assert seen == {torch.bfloat16}
    assert {value.dtype for value in result.weights.values()} == {torch.float32}
    assert result.curves["valid_loss"][-1] < 0.5 * result.curves["valid_loss"][0]
    plain = fit(exact, replace(settings, precision="fp32"))
    assert not torch.equal(plain.weights["0.weight"], result.weights["0.weight"])
    torch.testing.assert_close(plain.weights["0.weight"], result.weights["0.weight"], atol=0.1, rtol=0.1)


@pytest.mark.parametrize("best", ["valid_loss", None])
def test_the_best_weights_are_kept_or_the_last(best: str | None) -> None:
    module = network()
    snapshots: list[Tensor] = []
    said = iter([3.0, math.nan, 1.0, 2.0])

    def validate() -> dict[str, float]:
        assert not module.training
        assert not torch.is_grad_enabled()
        snapshots.append(module[0].weight.detach().clone())
        return {"valid_loss": next(said)}

    result = fit(replace(task(module), validate=validate), replace(SETTINGS, best=best))
    assert module.training
    assert len(snapshots) == 4
    assert torch.equal(result.weights["0.weight"], snapshots[2 if best else 3])
    assert result.curves["update"] == [2, 3, 4, 6, 8]
    assert result.curves["update"][result.kept] == (6 if best else 8)
    known = [v for v in result.curves["valid_loss"] if v == v]
    assert known == [3.0, 1.0, 2.0]


def test_progress_and_records() -> None:
    told: list[Progress] = []
    made = task(network())
    first = float(made.loss(pair(0)).detach())  # type: ignore[misc]
    result = Loop(made, replace(SETTINGS, validate_every=5), identity={}).run(told.append)
    assert [now.update for now in told] == list(range(1, UPDATES + 1))
    assert told[0].loss == pytest.approx(first)
    assert math.isnan(told[1].mean_loss)
    assert told[2].mean_loss == pytest.approx(sum(now.loss for now in told[:3]) / 3)
    assert told[3].values == {}
    assert told[5].values.keys() == {"valid_loss", "valid_bias"}
    assert result.curves["update"] == [3, 5, 6, 8]
    assert [v == v for v in result.curves["valid_bias"]] == [False, True, False, True]
    assert told[4].mean_loss == pytest.approx((told[3].loss + told[4].loss) / 2)


def test_the_checkpoint_of_another_training_is_ignored_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint"
    fit(task(network()), stop_after=4, checkpoint=path)
    refusing = replace(SETTINGS, foreign="refuse")
    assert Loop(task(network()), refusing, identity={"toy": 1}, checkpoint=path).state.update == 4
    before = path.read_bytes()
    with pytest.raises(MismatchError, match=r"a\.checkpoint belongs to a training with other settings"):
        Loop(task(network()), refusing, identity={"toy": 2}, checkpoint=path)
    assert path.read_bytes() == before
    same(fit(task(network()), identity={"toy": 2}, checkpoint=path), fit(task(network())))


def test_a_damaged_checkpoint_is_told_of_and_one_of_another_format_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.checkpoint"
    fit(task(network()), stop_after=4, checkpoint=path)
    whole = path.read_bytes()
    flipped = [bytes([*whole[:at], whole[at] ^ 1, *whole[at + 1 :]]) for at in (60, len(whole) // 2, len(whole) - 1)]
    for damaged in (whole[:-50], whole[:100], *flipped):
        path.write_bytes(damaged)
        caplog.clear()
        assert Loop(task(network()), SETTINGS, identity={"toy": 1}, checkpoint=path).state.update == 0
        assert "a.checkpoint: is damaged; training starts anew" in caplog.text
    for foreign in (b"no", b""):
        path.write_bytes(foreign)
        with pytest.raises(ArtifactError, match=r"a\.checkpoint: not a training checkpoint"):
            Loop(task(network()), SETTINGS, identity={"toy": 1}, checkpoint=path)
    path.write_bytes(whole)
    monkeypatch.setattr(checkpoints, "FORMAT", 99)
    assert Loop(task(network()), SETTINGS, identity={"toy": 1}, checkpoint=path).state.update == 0


def test_a_loss_that_is_not_finite_stops_before_it_does_harm(tmp_path: Path) -> None:
    module, path = network(), tmp_path / "a.checkpoint"
    made = task(module)

    def draw(update: int) -> list[Pair]:
        x, y = pair(update)
        return [(x * (math.nan if update == 5 else 1.0), y)]

    settings = replace(SETTINGS, checkpoint_every=1, advice="do this")
    with pytest.raises(SceneError, match="the training loss is nan at update 5") as caught:
        fit(replace(made, draw=draw), settings, checkpoint=path)
    assert caught.value.hint == "do this"
    assert all(bool(torch.isfinite(p).all()) for p in module.parameters())
    assert Loop(task(network()), settings, identity={"toy": 1}, checkpoint=path).state.update == 5


@pytest.mark.parametrize("parallel", ["parts", "operations"])
def test_torchs_threads_and_generator_are_left_as_they_were(parallel: str) -> None:
    before = torch.get_num_threads()
    inside: list[int] = []
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    made = task(network(nn.Dropout(0.5)))

    def loss(part: Pair) -> Tensor:
        inside.append(torch.get_num_threads())
        return made.loss(part)  # type: ignore[misc]

    fit(replace(made, loss=loss), replace(SETTINGS, parallel=parallel, threads=before + 1))
    assert set(inside) == {1 if parallel == "parts" else before + 1}
    assert torch.get_num_threads() == before
    assert torch.equal(torch.rand(1), expected)


def test_weights_that_two_parts_share_are_stored_once(tmp_path: Path) -> None:
    def made() -> nn.Sequential:
        module = network(*(nn.Linear(8, 8) for _ in range(2)))
        nn.init.eye_(module[2].weight)
        module[3].weight, module[3].bias = module[2].weight, module[2].bias
        nn.init.zeros_(module[2].bias)
        return module

    whole = fit(task(made()))
    assert "2.weight" in whole.weights
    assert "3.weight" not in whole.weights
    path = tmp_path / "a.checkpoint"
    fit(task(made()), stop_after=3, checkpoint=path)
    same(fit(task(made()), checkpoint=path), whole)
