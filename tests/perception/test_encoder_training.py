"""The loop of pre-training: resuming, starting from weights, threads, gradients."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from pretraining_toys import painted_shard, small
from torch.nn import functional

from srcli.config.encoder import SEEN_ONLY, EncoderConfig
from srcli.config.sim import SimConfig
from srcli.errors import ArtifactError, ConfigError, MismatchError, MissingAssetError
from srcli.perception.encoders.embedded import SHIPPED, dense_forward, load_embedded, weights_file
from srcli.perception.encoders.loading import load_encoder
from srcli.perception.encoders.text import forward_text
from srcli.pretraining.encoder.batches import make_batch
from srcli.pretraining.encoder.lexicon import build_lexicon
from srcli.pretraining.encoder.loop import PART, backward, make_learner, schedule, train
from srcli.pretraining.encoder.loss import region_text_loss
from srcli.pretraining.encoder.store import Shard, read_shard, shard_path, write_shard
from srcli.stages.pretrain import export, run


def test_interrupted_training_ends_in_the_same_weights(painted, tmp_path):
    import shutil

    def folder(name):
        target = tmp_path / name
        shutil.copytree(painted, target)
        return target

    whole = run(small(), SimConfig(), tmp_path / "whole.safetensors", folder("a"), rendered=lambda n: None)
    assert whole.steps == 4 and {"seen/patch", "unseen/region"} <= set(whole.metrics)
    broken = folder("b")
    seen = []

    def stop(scenes):
        seen.append(scenes)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(small(), SimConfig(), tmp_path / "half.safetensors", broken, rendered=stop)
    assert load_embedded(tmp_path / "half.safetensors").vocabulary == build_lexicon().words
    resumed = run(small(), SimConfig(), tmp_path / "half.safetensors", broken, rendered=lambda n: None)
    assert resumed.sha256 == whole.sha256
    again = run(small(), SimConfig(), tmp_path / "again.safetensors", broken, rendered=lambda n: None)
    assert again.sha256 == whole.sha256, "a finished run only exports"
    with pytest.raises(MismatchError, match="other settings"):
        run(small(learning_rate=1e-3), SimConfig(), tmp_path / "x.safetensors", broken, rendered=lambda n: None)


def test_damaged_checkpoint_and_shard(tmp_path):
    learner = make_learner(small(), build_lexicon())
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(SHIPPED.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match=r"checkpoint\.safetensors: not a training checkpoint"):
        train(small(), learner, build_lexicon(), tmp_path, path, lambda done, values: None, lambda step: None)
    (tmp_path / "shard-00000").mkdir()
    with pytest.raises(ArtifactError, match="not a shard"):
        read_shard(tmp_path / "shard-00000")


def test_learning_rate_rises_and_falls():
    config = small(steps=100, warmup=10, learning_rate=1e-2)
    rates = [schedule(config)(s) for s in range(100)]
    assert rates[0] == pytest.approx(1e-3) and max(rates) == pytest.approx(1e-2, rel=0.02) and rates[-1] < 3e-4
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


def test_training_can_go_on_from_the_shipped_weights(tmp_path):
    sentence = ("give me the apple",)
    shipped = load_encoder(EncoderConfig()).text(sentence)[0].pooled

    def pooled(start):
        learner = make_learner(small(start=start), build_lexicon())
        learner.model.eval()
        with torch.inference_mode():
            return forward_text(learner.model, learner.ids(sentence))[0][0].numpy()

    assert float(pooled("embedded") @ shipped) > 0.999
    assert float(pooled("") @ shipped) < 0.9
    start = tmp_path / "first.safetensors"
    start.write_bytes(SHIPPED.read_bytes())
    config, lexicon = small(start=str(start)), build_lexicon()
    export(config, make_learner(config, lexicon), lexicon, 0, {}, tmp_path / "more.safetensors")
    recipe = json.loads((tmp_path / "more.json").read_text())["recipe"]
    assert (recipe["start"], recipe["start_sha256"]) == ("first.safetensors", load_embedded(start).sha256)
    with pytest.raises(MissingAssetError, match="not found"):
        make_learner(small(start=str(tmp_path / "none.safetensors")), build_lexicon())


def test_what_hides_the_unseen_categories_may_not_start_from_what_knows_them(tmp_path):
    with pytest.raises(ConfigError, match="has learned from the unseen split"):
        make_learner(small(start="embedded", hide_unseen=True), build_lexicon(True))
    blind = load_embedded(weights_file(SEEN_ONLY))
    assert blind.hides_unseen and not load_embedded().hides_unseen
    # Of its words captions and pictures taught those of the seen objects; a teacher of language may have told it others.
    assert build_lexicon(True).words <= blind.vocabulary
    assert {"gelatin", "repellent"} <= load_embedded().vocabulary - blind.vocabulary
    # What goes on from them may hide the same, and says so.
    learner = make_learner(small(start=SEEN_ONLY, hide_unseen=True), build_lexicon(True))
    out = tmp_path / "more.safetensors"
    export(small(hide_unseen=True), learner, build_lexicon(True), 1, {}, out)
    assert load_embedded(out).hides_unseen


def test_whole_training_does_not_depend_on_threads(painted, tmp_path):
    import shutil

    made = []
    for threads in (1, 3):
        folder = tmp_path / str(threads)
        shutil.copytree(painted, folder)
        config = small(threads=threads, batch=PART + 1, steps=2)
        made.append(run(config, SimConfig(), tmp_path / f"{threads}.safetensors", folder, rendered=lambda n: None).sha256)
    assert made[0] == made[1]


def test_crops_of_the_bare_table_still_train_the_relations(tmp_path):
    painted_shard(tmp_path / "train", 20)
    shard = read_shard(shard_path(tmp_path / "train", 0))
    bare = tmp_path / "bare"
    write_shard(shard_path(bare, 0), Shard(np.array(shard.rgb), np.zeros_like(shard.slots), shard.facts))
    config, lexicon = small(), build_lexicon()
    learner = make_learner(config, lexicon)
    with ThreadPoolExecutor(1) as pool:
        loss = backward(config, learner, make_batch(config, bare, lexicon, 0), lexicon, pool)
    assert np.isfinite(loss)
    assert learner.relation_head.weight.grad is not None


def gradients(config, learner, lexicon, folder, threads):
    learner.model.train()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        loss = backward(config, learner, make_batch(config, folder, lexicon, 1), lexicon, pool)
    found = {**dict(learner.model.named_parameters()), "relation": learner.relation_head.weight}
    return loss, {name: p.grad for name, p in found.items()}, dict(learner.model.visual.named_buffers())


@pytest.fixture
def one_thread():
    """Of torch, as training has it: sums over several are rounded otherwise, and a unit at zero then falls to the other side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_gradient_is_that_of_the_whole_graph(painted, one_thread):
    """The reference: one graph over all parts; batch norms see a part at a time, and keep the mean of what they saw."""
    config, lexicon = small(batch=2 * PART - 1), build_lexicon()
    loss, found, norms = gradients(config, make_learner(config, lexicon), lexicon, painted / "train", 2)
    whole = make_learner(config, lexicon)
    whole.model.train()
    batch = make_batch(config, painted / "train", lexicon, 1)
    model = whole.model
    fresh = {name: value.clone() for name, value in model.visual.named_buffers()}
    dense, kept = [], []
    for part in (batch.images[:PART], batch.images[PART:]):
        for name, value in fresh.items():
            module, _, own = name.rpartition(".")
            setattr(model.visual.get_submodule(module), own, value.clone())
        dense.append(dense_forward(model, part))
        kept.append({name: value.clone() for name, value in model.visual.named_buffers()})
    cells = functional.normalize(torch.cat(dense), dim=1).permute(0, 2, 3, 1).flatten(0, 2)
    regions = functional.normalize(torch.stack([cells[torch.from_numpy(c)].mean(0) for c in batch.region_cells]), dim=1)
    texts, names = (
        forward_text(model, whole.ids(t))[0] for t in (batch.texts, tuple(concept.phrase for concept in lexicon.names))
    )
    ids = whole.ids(batch.relations)
    tokens = forward_text(model, ids)[1]
    placed = torch.stack([tokens[i, 1 : int(ids[i].argmax()) + 1].mean(0) for i in range(len(ids))])
    relation = functional.cross_entropy(whole.relation_head(placed), torch.from_numpy(batch.relation_truth))
    picked = [torch.from_numpy(x) for x in (batch.patch_cells, batch.table_cells)]
    truths = [torch.from_numpy(x) for x in (batch.text_truth, batch.name_truth, batch.patch_owner)]
    expected = config.relation_weight * relation + region_text_loss(
        model.logit_scale.exp(), texts, names, regions, cells[picked[0]], cells[picked[1]], *truths
    )
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in {**dict(model.named_parameters()), "relation": whole.relation_head.weight}.items():
        scale = float(parameter.grad.abs().max()) + 1e-6
        assert torch.allclose(found[name], parameter.grad, atol=2e-3 * scale), name
    for name, value in norms.items():
        assert torch.allclose(value.float(), (kept[0][name].float() + kept[1][name].float()) / 2, atol=1e-5), name
    assert not torch.equal(norms["trunk.down.1.running_mean"], fresh["trunk.down.1.running_mean"])


def test_result_does_not_depend_on_threads(painted):
    config, lexicon = small(batch=2 * PART + 1), build_lexicon()
    losses, results = set(), []
    for threads in (1, 3):
        loss, found, norms = gradients(config, make_learner(config, lexicon), lexicon, painted / "train", threads)
        losses.add(loss)
        results.append({**found, **norms})
    assert len(losses) == 1
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_a_checkpoint_belongs_to_the_weights_it_started_from(tmp_path):
    from srcli.pretraining.encoder.loop import fingerprint_of

    start = tmp_path / "start.safetensors"
    start.write_bytes(SHIPPED.read_bytes())
    config, lexicon = small(start=str(start)), build_lexicon()
    learner = make_learner(config, lexicon)
    first = fingerprint_of(config, learner, lexicon)
    assert fingerprint_of(config, learner, lexicon) == first
    start.write_bytes(b"other")
    assert fingerprint_of(config, learner, lexicon) != first


def test_outputs_that_would_overwrite_each_other_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"\.json"):
        run(small(), SimConfig(), tmp_path / "weights.json", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
