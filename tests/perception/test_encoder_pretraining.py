"""Pre-training: facts and captions, scenes, loss, batches, validation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from pretraining_toys import small

from srcli.config.sim import SimConfig
from srcli.language.relations import PLACE_TEMPLATES
from srcli.language.spelling import words_of
from srcli.language.templates import TEMPLATES
from srcli.objects import Variation, catalogue, describe, in_band
from srcli.pretraining.encoder.batches import View, _paste, make_batch, scenes_in_use
from srcli.pretraining.encoder.captions import OTHER_WORDS, caption, is_held_out, place_caption
from srcli.pretraining.encoder.concepts import Concept, Facts, concepts, name_phrases
from srcli.pretraining.encoder.lexicon import build_lexicon, facts_of
from srcli.pretraining.encoder.loop import make_learner
from srcli.pretraining.encoder.loss import multi_positive
from srcli.pretraining.encoder.render import choose, make_pool, with_twins
from srcli.pretraining.encoder.store import Shard, read_shard, shard_path, write_shard
from srcli.pretraining.encoder.validate import smooth, validate
from srcli.stages.pretrain import measure


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


def test_twins_lie_beside_what_they_are_confused_with():
    pool = make_pool(small(), "train", 0)
    kinds = colors = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        chosen = choose(pool, 10, rng)
        scene = with_twins(chosen, rng)
        assert len(scene) == 10
        for twin in (instance for instance in scene if not any(instance is other for other in chosen)):
            rest = [o.facts for o in scene if o is not twin]
            same_kind = [o for o in rest if o.name == twin.facts.name and not {*o.colors} & {*twin.facts.colors}]
            same_color = [o for o in rest if {*o.colors} & {*twin.facts.colors} and o.name != twin.facts.name]
            assert same_kind or same_color
            kinds, colors = kinds + bool(same_kind), colors + bool(same_color)
    assert kinds > 20 and colors > 10


def test_training_never_shows_a_held_out_instance(monkeypatch):
    from srcli.pretraining.encoder import render

    drawn = []
    original = render.sample_variation
    monkeypatch.setattr(render, "sample_variation", lambda entry, rng: drawn.append((entry, v := original(entry, rng))) or v)
    pool = make_pool(small(), "train", 0)
    assert len(pool) == len(catalogue().names) == len(drawn)
    assert not any(in_band(entry, variation) for entry, (variation, _) in drawn)
    assert len(make_pool(small(hide_unseen=True), "train", 0)) == len(catalogue().seen)
    drawn.clear()
    assert len(make_pool(small(), "valid_unseen", 0)) == len(catalogue().unseen) and not drawn


def test_validation_shows_piles_as_dense_as_those_of_an_evaluation():
    from srcli.config.scene import SceneConfig
    from srcli.pretraining.encoder.render import _drops

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
    from srcli.pretraining.encoder import batches

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


def test_batches_follow_from_seed_and_step(painted):
    config, lexicon = small(), build_lexicon()
    a, b = (make_batch(config, painted / "train", lexicon, 3) for _ in range(2))
    other = make_batch(config, painted / "train", lexicon, 4)
    assert torch.equal(a.images, b.images) and a.texts == b.texts and a.texts != other.texts
    assert a.images.shape == (2, 3, 64, 64) and len(a.texts) <= config.texts
    assert a.text_truth.shape == (len(a.texts), len(a.region_cells)) and a.name_truth.shape[0] == len(lexicon.names)
    assert a.text_truth.any(0).mean() > 0.5, "most regions are named by some sentence"
    taken = np.concatenate(a.region_cells)
    assert not np.intersect1d(taken, a.table_cells).size and np.isin(a.patch_cells, taken).all()
    for cell, owner in zip(a.patch_cells, a.patch_owner, strict=True):
        assert cell in a.region_cells[owner]
    assert scenes_in_use(small(first_scenes=4, scenes_per_step=0.5), 10) == 9


def test_crops_keep_image_and_labels_together(painted):
    """A square's cells have one colour: whatever was cropped, scaled and flipped, colour and slot moved together."""
    batch = make_batch(small(), painted / "train", build_lexicon(), 0)
    cells = torch.nn.functional.avg_pool2d(batch.images[:, :, 2:-2, 2:-2], 4, 8).permute(0, 2, 3, 1).reshape(-1, 3)
    spread = [float(cells[torch.from_numpy(c)].std(0).max()) for c in batch.region_cells if len(c) > 4]
    everything = float(cells.std(0).max())
    assert spread and np.median(spread) < 0.5 * everything


def test_pasted_objects_bring_their_pixels_and_their_words(painted):
    """Whatever was laid over a view: each pixel is the host's or the donor's, and its slot says whose words are true of it."""
    shard = read_shard(shard_path(painted / "train", 0))
    host, donor = (View(shard.rgb[i, 1], shard.slots[i, 1], shard.facts[i]) for i in (2, 7))
    colors = [{k + 1: v.rgb[v.slots == k + 1][0] for k in range(3)} for v in (host, donor)]
    hidden = 0
    for seed in range(20):
        view = _paste(host, donor, np.random.default_rng(seed))
        extra = view.facts[3:]
        assert (
            view.facts[:3] == host.facts
            and 1 <= len(extra) <= 3
            and len(set(extra)) == len(extra)
            and set(extra) <= set(donor.facts)
        )
        for slot, fact in enumerate(view.facts, 1):
            color = colors[0][slot] if slot <= 3 else colors[1][donor.facts.index(fact) + 1]
            assert (view.rgb[view.slots == slot] == color).all()
        changed = view.slots != host.slots
        assert (view.rgb[~changed] == host.rgb[~changed]).all() and (view.slots[changed] > 3).all() and changed.any()
        hidden += int((host.slots[changed] > 0).sum())
    assert hidden > 0, "what is pasted hides something"
    assert host.facts == shard.facts[2] and not (shard.slots[2] > 3).any(), "the cache is left as it was"


def test_pasting_draws_nothing_from_the_stream_of_the_rest(painted):
    lexicon = build_lexicon()
    plain, never, always = (make_batch(small(**c), painted / "train", lexicon, 3) for c in ({}, {"pasted": 0}, {"pasted": 1}))
    assert torch.equal(plain.images, never.images) and plain.texts == never.texts
    assert not torch.equal(plain.images, always.images) and plain.images.shape == always.images.shape
    assert all(len(b.region_cells) == b.text_truth.shape[1] == b.name_truth.shape[1] for b in (plain, always))


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


def test_validation_of_an_oracle_is_perfect_and_of_noise_is_chance(painted):
    lexicon = build_lexicon()
    values = validate(painted / "valid_seen", 4, lexicon, *oracle(lexicon, painted / "valid_seen"), seed=0)
    assert values["patch"] > 0.95 and values["region"] > 0.95 and 0.2 < values["chance"] < 0.8
    rng = np.random.default_rng(0)
    noise = validate(
        painted / "valid_seen",
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


def test_hidden_categories_stay_out_of_the_measurement(painted, tmp_path):
    seen = catalogue().seen
    shard = read_shard(shard_path(painted / "valid_seen", 0))
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
    from srcli.pretraining.encoder import render

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
