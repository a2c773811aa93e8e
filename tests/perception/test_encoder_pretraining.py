"""Pre-training: facts and captions, loss, batches, validation, resuming."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch.nn import functional

from srcli.config.encoder import SEEN_ONLY, EncoderConfig
from srcli.config.pretrain import PretrainConfig
from srcli.config.sim import SimConfig
from srcli.errors import ArtifactError, ConfigError, MismatchError, MissingAssetError
from srcli.language.relations import PLACE_TEMPLATES
from srcli.language.templates import TEMPLATES
from srcli.objects import Variation, catalogue, describe, in_band
from srcli.perception.encoders.embedded import SHIPPED, dense_forward, load_embedded, weights_file
from srcli.perception.encoders.loading import load_encoder
from srcli.perception.encoders.text import forward_text, words_of
from srcli.stages.pretrain import export, measure, run
from srcli.stages.pretraining.batches import make_batch, scenes_in_use
from srcli.stages.pretraining.captions import OTHER_WORDS, caption, is_held_out, place_caption
from srcli.stages.pretraining.facts import Concept, Facts, concepts, name_phrases
from srcli.stages.pretraining.lexicon import build_lexicon, facts_of
from srcli.stages.pretraining.loop import PART, backward, learning_rate, load_checkpoint, make_learner, save_checkpoint
from srcli.stages.pretraining.loss import multi_positive, region_text_loss
from srcli.stages.pretraining.render import choose, make_pool
from srcli.stages.pretraining.store import Shard, complete_shards, read_shard, shard_path, write_shard
from srcli.stages.pretraining.validate import smooth, validate

SIZE = {
    "crop_height": 64,
    "crop_width": 64,
    "batch": 2,
    "texts": 16,
    "scenes": 20,
    "first_scenes": 20,
    "valid_scenes": 4,
    "warmup": 1,
}


def small(**changes):
    return PretrainConfig(**{**SIZE, "steps": 4, "checkpoint_every": 2, "validate_every": 4, **changes})


def painted_shard(folder, scenes, size=(80, 96), seed=0):
    """Scenes of coloured squares; the facts are those of catalogue entries."""
    rng = np.random.default_rng(seed)
    names = catalogue().names
    rgb = np.full((scenes, 3, *size, 3), 90, np.uint8)
    slots = np.zeros((scenes, 3, *size), np.uint8)
    facts = []
    for s in range(scenes):
        chosen = rng.choice(names, 3, replace=False)
        facts.append(tuple(facts_of(catalogue()[n], describe(catalogue()[n])) for n in chosen))
        for view in range(3):
            for slot, (y, x) in enumerate(((4, 4), (40, 8), (20, 48))):
                slots[s, view, y : y + 32, x : x + 32] = slot + 1
                rgb[s, view, y : y + 32, x : x + 32] = rng.integers(0, 256, 3)
    write_shard(shard_path(folder, 0), Shard(rgb, slots, tuple(facts)))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    painted_shard(folder / "train", 20)
    for split in ("seen", "unseen"):
        painted_shard(folder / f"valid_{split}", 4, seed=1)
    return folder


def test_facts_name_what_is_true():
    facts = Facts("pink_tea_box", ("pink tea box", "box of tea"), ("pink",), ("pink",), ("container",), ("drink",))
    assert name_phrases(facts.labels, facts.colors) == ("box", "box of tea", "pink tea box", "tea box")
    true = concepts(facts)
    assert {Concept("label", "tea box"), Concept("colored", "pink box"), Concept("general", "container")} <= true
    assert Concept("attribute", "pink") in true and Concept("colored", "pink pink tea box") not in true
    orange = concepts(Facts("orange", ("orange",), ("orange",), ("orange", "round"), ("fruit",), ("eat",)))
    assert Concept("label", "orange") in orange and Concept("colored", "orange fruit") in orange


def test_recolouring_changes_the_words():
    entry = next(e for e in catalogue() if e.recolor and e.main_color == "red" and e.names_color and "red" in e.attributes)
    blue = concepts(facts_of(entry, describe(entry, Variation(recolor=(("red", "blue"),)))))
    assert Concept("attribute", "blue") in blue and Concept("attribute", "red") not in blue


def test_every_caption_stays_inside_the_declared_vocabulary():
    lexicon = build_lexicon()
    rng = np.random.default_rng(0)
    for index in rng.integers(len(lexicon.concepts), size=300):
        concept = lexicon.concepts[index]
        text = caption(concept, rng)
        assert set(words_of(text)) <= lexicon.words and text == text.lower()
        first, _, rest = concept.phrase.partition(" ")
        others = OTHER_WORDS.get(concept.kind, {}).get(concept.phrase, ())
        if concept.kind == "colored":
            others = tuple(f"{other} {rest}" for other in OTHER_WORDS["attribute"].get(first, ()))
        assert any(phrase in text for phrase in (concept.phrase, *others))
    for entry in catalogue():
        assert concepts(facts_of(entry, describe(entry))) <= lexicon.concept_set
        for word in (entry.label, *entry.synonyms, *entry.general, *entry.attributes, *entry.functions):
            assert set(words_of(word)) <= lexicon.words
    hidden = build_lexicon(True)
    assert (
        Concept("label", "remote controller") in lexicon.concept_set
        and Concept("label", "remote controller") not in hidden.concept_set
    )


def test_held_out_forms_are_never_said_but_other_words_are():
    forms = [t.text.format("red mug", a="a").lower() for t in TEMPLATES["heldout"]]
    forms += [form.format("next to", "red mug") for form in PLACE_TEMPLATES["heldout"]]
    assert all(is_held_out(form) for form in forms)
    assert not any(is_held_out(t.text.format("red mug", a="a").lower()) for t in TEMPLATES["train"])
    rng = np.random.default_rng(1)
    concepts_of_kinds = [Concept("label", "red mug"), Concept("attribute", "red"), Concept("general", "container")]
    concepts_of_kinds += [Concept("function", "eat"), Concept("colored", "red mug")]
    said = [caption(concept, rng) for concept in concepts_of_kinds for _ in range(2000)]
    said += [place_caption("red mug", rng)[0] for _ in range(2000)]
    begins = (
        "could you hand me the ",
        "please fetch the ",
        "pass me any ",
        "pick up something ",
        "hand me the thing that looks ",
    )
    begins += (
        "find a thing that i can use to ",
        "pass me whatever helps me to ",
        "set this down ",
        "could you lay it ",
        "leave the thing ",
    )
    framed = (("find the ", " and lift it"), ("take a ", " from the table"), ("take an ", " from the table"))
    for text in said:
        assert not any(begin in text for begin in begins), text
        assert not any(before in text and after in text.split(before, 1)[1] for before, after in framed), text
    assert any(text.startswith("could you") for text in said) and any("take the" in text for text in said)
    assert not any("quench" in caption(Concept("label", "coconut drink"), rng) for _ in range(200))
    for word in ("crimson mug", "scarlet", "vessel", "snack on"):
        assert any(word in text for text in said), word


def test_half_of_the_scenes_gather_what_is_easily_confused():
    pool = make_pool(small(), "train", 0)

    def alike(chosen):
        sets = [{*i.facts.colors, *i.facts.general, *i.facts.functions} for i in chosen]
        return np.mean([bool(a & b) for a, b in itertools.combinations(sets, 2)])

    rng = np.random.default_rng(0)
    themed = np.mean([alike(choose(pool, 10, rng)) for _ in range(200)])
    plain = np.mean([alike([pool[i] for i in rng.choice(len(pool), 10, replace=False)]) for _ in range(200)])
    assert themed > 1.15 * plain
    assert len({i.facts.name for i in choose(pool, 10, rng)}) == 10


def test_training_never_shows_a_held_out_instance(monkeypatch):
    from srcli.stages.pretraining import render

    drawn = []
    original = render.sample_variation
    monkeypatch.setattr(render, "sample_variation", lambda entry, rng: drawn.append((entry, v := original(entry, rng))) or v)
    pool = make_pool(small(), "train", 0)
    assert len(pool) == 83 == len(drawn)
    assert not any(in_band(entry, variation) for entry, (variation, _) in drawn)
    assert len(make_pool(small(hide_unseen=True), "train", 0)) == 66
    drawn.clear()
    assert len(make_pool(small(), "valid_unseen", 0)) == 17 and not drawn


def test_validation_shows_piles_as_dense_as_those_of_an_evaluation():
    from srcli.config.scene import SceneConfig
    from srcli.stages.pretraining.render import _drops

    sim, rng = SimConfig(), np.random.default_rng(0)
    half, middle = SceneConfig().half_width, np.array([sum(sim.workspace_x), sum(sim.workspace_y)]) / 2
    reach = {
        kind: np.array([np.abs(_drops(15, sim, kind, rng)[:, :2] - middle).max() for _ in range(200)])
        for kind in ("train", "valid_seen", "valid_unseen")
    }
    assert reach["valid_seen"].max() <= half and reach["valid_unseen"].max() <= half
    dense = (reach["train"] <= 0.136).mean()
    assert 0.6 < dense < 0.9 and reach["train"].max() > 0.15
    low, high = np.array([sim.workspace_x, sim.workspace_y]).T
    spread = np.concatenate([_drops(15, sim, "train", rng)[:, :2] for _ in range(200)])
    assert (spread >= low).all() and (spread <= high).all()


def test_patterns_lie_on_what_was_drawn_alone(monkeypatch):
    from srcli.perception.encoders.embedded import BLACK
    from srcli.stages.pretraining import batches

    slots = np.zeros((40, 48), np.uint8)
    slots[8:24, 8:30] = 1
    image = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, 40, 48)).astype(np.float32))
    inside = torch.from_numpy(slots > 0)
    for shares, changed, same in (((0.0, 1.0), inside, ~inside), ((1.0, 0.0), ~inside, inside)):
        monkeypatch.setattr(batches, "_TEXTURED_TABLE", shares[0])
        monkeypatch.setattr(batches, "_TEXTURED_OBJECT", shares[1])
        out = batches._textured(image.clone(), slots, np.random.default_rng(1))
        assert torch.allclose(out[0][:, same], image[0][:, same], atol=1e-5)
        factor = (out[0][:, changed] - BLACK) / (image[0][:, changed] - BLACK)
        assert float(factor.std()) > 0.01
        assert torch.allclose(factor[0], factor[1], atol=1e-4), "lighter or darker, not another colour"


def test_loss_against_a_slow_reference():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 7, generator=generator)
    positive = torch.rand(5, 7, generator=generator) < 0.4
    positive[2] = False
    rows = []
    for r in range(5):
        if positive[r].any():
            total = sum(float(torch.exp(v)) for v in logits[r])
            logs = [float(torch.log(torch.exp(logits[r, c]) / total)) for c in range(7) if positive[r, c]]
            rows.append(-sum(logs) / len(logs))
    assert float(multi_positive(logits, positive)) == pytest.approx(sum(rows) / len(rows), rel=1e-5)
    nothing = multi_positive(logits.requires_grad_(), torch.zeros(5, 7, dtype=torch.bool))
    assert nothing.item() == 0.0 and nothing.requires_grad


def test_batches_follow_from_seed_and_step(cache):
    config, lexicon = small(), build_lexicon()
    a, b = (make_batch(config, cache / "train", lexicon, 3) for _ in range(2))
    other = make_batch(config, cache / "train", lexicon, 4)
    assert torch.equal(a.images, b.images) and a.texts == b.texts and a.texts != other.texts
    assert a.images.shape == (2, 3, 64, 64) and len(a.texts) <= config.texts
    assert a.text_truth.shape == (len(a.texts), len(a.region_cells)) and a.name_truth.shape[0] == len(lexicon.names)
    assert a.text_truth.any(0).mean() > 0.5, "most regions are named by some sentence"
    taken = np.concatenate(a.region_cells)
    assert not np.intersect1d(taken, a.table_cells).size and np.isin(a.patch_cells, taken).all()
    for cell, owner in zip(a.patch_cells, a.patch_owner, strict=True):
        assert cell in a.region_cells[owner]
    assert scenes_in_use(small(first_scenes=4, scenes_per_step=0.5), 10) == 9


def test_crops_keep_image_and_labels_together(cache):
    """A square's cells have one colour: whatever was cropped, scaled and flipped, colour and slot moved together."""
    batch = make_batch(small(), cache / "train", build_lexicon(), 0)
    cells = torch.nn.functional.avg_pool2d(batch.images[:, :, 2:-2, 2:-2], 4, 8).permute(0, 2, 3, 1).reshape(-1, 3)
    spread = [float(cells[torch.from_numpy(c)].std(0).max()) for c in batch.region_cells if len(c) > 4]
    everything = float(cells.std(0).max())
    assert spread and np.median(spread) < 0.5 * everything


def oracle(lexicon, cache_folder):
    """Encoders that read the truth: one dimension per concept."""
    index = {c: i for i, c in enumerate(lexicon.concepts)}
    shard = read_shard(shard_path(cache_folder, 0))
    calls = iter(range(10_000))

    def dense(rgb):
        scene = next(calls)
        slots = shard.slots[scene][:, 4::8, 4::8]
        out = np.full((*slots.shape, len(index)), 1e-3, np.float32)
        for slot, facts in enumerate(shard.facts[scene]):
            for c in concepts(facts):
                out[slots == slot + 1, index[c]] = 1.0
        return out / np.linalg.norm(out, axis=-1, keepdims=True)

    def text(texts):
        out = np.zeros((len(texts), len(index)), np.float32)
        for row, sentence in enumerate(texts):
            for c, i in index.items():
                prompts = {
                    "label": f"give me the {c.phrase}",
                    "general": f"I need a {c.phrase}",
                    "attribute": f"grasp a {c.phrase} object",
                    "function": f"get something to {c.phrase}",
                }
                named = sentence == c.phrase and c in lexicon.names
                if named or sentence == prompts.get(c.kind):
                    out[row, i] = 1.0
        return out

    return dense, text


def test_validation_of_an_oracle_is_perfect_and_of_noise_is_chance(cache):
    lexicon = build_lexicon()
    values = validate(cache / "valid_seen", 4, lexicon, *oracle(lexicon, cache / "valid_seen"), seed=0)
    assert values["patch"] > 0.95 and values["region"] > 0.95 and 0.2 < values["chance"] < 0.8
    rng = np.random.default_rng(0)
    noise = validate(
        cache / "valid_seen",
        4,
        lexicon,
        lambda rgb: rng.standard_normal((3, 10, 12, 8)).astype(np.float32),
        lambda texts: rng.standard_normal((len(texts), 8)).astype(np.float32),
        seed=0,
    )
    assert noise["region_name"] < 0.4 and noise["patch"] < 0.7


def test_smoothing_against_loops():
    field = np.random.default_rng(0).standard_normal((2, 4, 5)).astype(np.float32)
    for view in range(2):
        for i in range(4):
            for j in range(5):
                window = field[view, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
                assert smooth(field)[view, i, j] == pytest.approx(window.mean(), abs=1e-5)


def test_interrupted_training_ends_in_the_same_weights(cache, tmp_path):
    import shutil

    def folder(name):
        target = tmp_path / name
        shutil.copytree(cache, target)
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
    save_checkpoint(learner, 0, "f", path)
    assert load_checkpoint(learner, "f", path) == 0
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match="not a pre-training checkpoint"):
        load_checkpoint(learner, "f", path)
    (tmp_path / "shard-00000").mkdir()
    with pytest.raises(ArtifactError, match="not a shard"):
        read_shard(tmp_path / "shard-00000")
    assert complete_shards(tmp_path, 5) == 1


def test_learning_rate_rises_and_falls():
    config = small(steps=100, warmup=10, learning_rate=1e-2)
    rates = [learning_rate(config, s) for s in range(100)]
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
    with pytest.raises(MissingAssetError, match="not found"):
        make_learner(small(start=str(tmp_path / "none.safetensors")), build_lexicon())


def test_what_hides_the_unseen_categories_may_not_start_from_what_knows_them(tmp_path):
    with pytest.raises(ConfigError, match="has learned from the unseen split"):
        make_learner(small(start="embedded", hide_unseen=True), build_lexicon(True))
    blind = load_embedded(weights_file(SEEN_ONLY))
    assert blind.hides_unseen and not load_embedded().hides_unseen
    assert blind.vocabulary == build_lexicon(True).words
    assert {"gelatin", "repellent", "mosquitoes"} <= load_embedded().vocabulary - blind.vocabulary
    # What goes on from them may hide the same, and says so.
    learner = make_learner(small(start=SEEN_ONLY, hide_unseen=True), build_lexicon(True))
    out = tmp_path / "more.safetensors"
    export(small(hide_unseen=True), learner, build_lexicon(True), 1, {}, out)
    assert load_embedded(out).hides_unseen


def test_whole_training_does_not_depend_on_threads(cache, tmp_path):
    import shutil

    made = []
    for threads in (1, 3):
        folder = tmp_path / str(threads)
        shutil.copytree(cache, folder)
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


def test_gradient_is_that_of_the_whole_graph(cache, one_thread):
    """The reference: one graph over all parts; batch norms see a part at a time, and keep the mean of what they saw."""
    config, lexicon = small(batch=2 * PART - 1), build_lexicon()
    loss, found, norms = gradients(config, make_learner(config, lexicon), lexicon, cache / "train", 2)
    whole = make_learner(config, lexicon)
    whole.model.train()
    batch = make_batch(config, cache / "train", lexicon, 1)
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


def test_result_does_not_depend_on_threads(cache):
    config, lexicon = small(batch=2 * PART + 1), build_lexicon()
    losses, results = set(), []
    for threads in (1, 3):
        loss, found, norms = gradients(config, make_learner(config, lexicon), lexicon, cache / "train", threads)
        losses.add(loss)
        results.append({**found, **norms})
    assert len(losses) == 1
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_hidden_categories_stay_out_of_the_measurement(cache, tmp_path):
    seen = catalogue().seen
    shard = read_shard(shard_path(cache / "valid_seen", 0))
    facts = tuple(
        tuple(
            facts_of(catalogue()[seen[(3 * s + k) % len(seen)]], describe(catalogue()[seen[(3 * s + k) % len(seen)]]))
            for k in range(3)
        )
        for s in range(len(shard.facts))
    )
    write_shard(shard_path(tmp_path / "valid_seen", 0), Shard(np.array(shard.rgb), np.array(shard.slots), facts))
    config, lexicon = small(hide_unseen=True), build_lexicon(True)
    values = measure(config, make_learner(config, lexicon), lexicon, tmp_path)
    assert "seen/region_name" in values and not any(key.startswith("unseen") for key in values)


def test_a_shard_with_too_few_scenes_is_rendered_anew(tmp_path, monkeypatch):
    from srcli.stages.pretraining import render

    made = []

    def scene(world, config, kind, index, pool, taught=()):
        made.append(index)
        return np.zeros((3, 8, 8, 3), np.uint8), np.zeros((3, 8, 8), np.uint8), ()

    monkeypatch.setattr(render, "render_scene", scene)
    monkeypatch.setattr(render, "make_pool", lambda *arguments: ())
    for scenes in (4, 4, 7, 5):
        render.render_shard(small(), SimConfig(), "valid_seen", tmp_path, 0, scenes)
    assert made == [*range(4), *range(7)]
    assert len(read_shard(shard_path(tmp_path, 0)).rgb) == 7


def test_a_checkpoint_belongs_to_the_weights_it_started_from(tmp_path):
    from srcli.stages.pretraining.loop import fingerprint_of

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
