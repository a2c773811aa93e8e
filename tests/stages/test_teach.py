"""Teaching the embedded encoder objects of the user's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from srcli.config.encoder import EncoderConfig
from srcli.config.pretrain import TeachConfig
from srcli.errors import ConfigError, MismatchError, UnknownNameError
from srcli.methods.policy_file import check_encoder, read_policy, taught_from
from srcli.methods.registry import shipped
from srcli.objects import catalogue
from srcli.objects.library import VARIABLE
from srcli.params import Params
from srcli.perception.encoders.interface import EncoderIdentity
from srcli.perception.encoders.loading import load_encoder
from srcli.pretraining.encoder.lexicon import build_lexicon
from srcli.pretraining.encoder.render import make_pool, render_scene
from srcli.sim import World
from srcli.stages import teach
from srcli.stages.add_object import run
from srcli.stages.object_requests import Request

CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
FACES = ["1 2 4 3", "5 7 8 6", "1 5 6 2", "3 4 8 7", "1 3 7 5", "2 6 8 4"]


def _add(folder: Path, name: str, split: str, label: str = "") -> None:
    path = folder / f"{name}.obj"
    lines = [f"v {x * 0.05} {y * 0.04} {z * 0.06}" for x, y, z in CORNERS] + [f"f {face}" for face in FACES]
    path.write_text("\n".join(lines) + "\n")
    request = Request(file=str(path), name=name, label=label or name, functions=("puzzle",), split=split, mass=0.1)
    run(request, test=False, words_known=lambda text: ())


def _forget() -> None:
    for cached in (catalogue, build_lexicon):
        cached.cache_clear()


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A library with one object of split user and one held out."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "objects"))
    _add(tmp_path, "zorb", "user")
    _add(tmp_path, "quux", "unseen")
    _forget()
    yield tmp_path
    _forget()


def _small() -> Params:
    params = Params()
    tiny = {
        "objects_min": 3,
        "objects_max": 4,
        "crop_height": 160,
        "crop_width": 192,
        "batch": 2,
        "texts": 16,
        "checkpoint_every": 1,
        "teach": TeachConfig(scenes=20, valid_scenes=4, steps=2),
    }
    sim = params.sim.model_copy(update={"settle_limit": 120})
    return params.model_copy(update={"pretrain": params.pretrain.model_copy(update=tiny), "sim": sim})


def test_what_can_be_taught(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert teach.checked(["zorb"]) == ("zorb",)
    with pytest.raises(UnknownNameError, match="no_such"):
        teach.checked(["no_such"])
    with pytest.raises(ConfigError, match="unseen split"):
        teach.checked([])
    monkeypatch.setenv(VARIABLE, str(library / "nothing"))
    with pytest.raises(ConfigError, match="no objects of your own"):
        teach.checked([])


def test_weights_that_hide_the_unseen_split_are_not_taught_its_names(library: Path) -> None:
    _add(library, "clampy", "user", label="small clamp")
    _forget()
    assert teach.checked(["clampy"]) == ("clampy",)
    with pytest.raises(ConfigError, match="'small clamp', as one of the unseen split"):
        teach.checked(["clampy"], hides_unseen=True)
    assert teach.settings(_small(), "seen-only", True).hide_unseen
    params = _small()
    hiding = params.model_copy(update={"pretrain": params.pretrain.model_copy(update={"hide_unseen": True})})
    with pytest.raises(ConfigError, match="have learned from the unseen split"):
        teach.run(hiding, ["zorb"], library / "x.safetensors", library / "cache")


def test_every_scene_shows_what_is_taught(library: Path) -> None:
    params = _small()
    config = teach.settings(params, "embedded")
    pool = make_pool(config, "train", 0)
    assert "zorb" not in {instance.facts.name for instance in pool}
    with World(params.sim, robot=False) as world:
        for kind, index in (("train", 0), ("train", 1), ("valid_taught", 0)):
            _, slots, facts = render_scene(world, config, kind, index, pool, ("zorb",))
            assert facts[0].name == "zorb"
            assert len({fact.name for fact in facts}) == len(facts)
            assert config.objects_min <= len(facts) <= config.objects_max
            assert bool((slots == 1).any())


def test_taught_encoder_has_the_word_and_serves_the_policies_of_its_parent(
    library: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, cache = library / "taught.safetensors", library / "cache"
    before = load_encoder(EncoderConfig())
    assert before.unknown_words("zorb") == ("zorb",)
    summary = teach.run(_small(), ["zorb"], out, cache)
    assert summary.taught == ("zorb",)
    assert set(summary.before) == set(summary.after)
    assert {"taught/region_name", "taught/patch", "seen/region_name", "unseen/patch"} <= set(summary.after)
    note = json.loads(out.with_suffix(".json").read_text())
    assert note["taught"] == ["zorb"]
    assert note["before"] == summary.before
    first = out.read_bytes()
    teach.run(_small(), ["zorb"], out, cache)
    assert out.read_bytes() == first

    after = load_encoder(EncoderConfig(pretrained=str(out)))
    assert after.unknown_words("zorb") == ()
    assert after.identity.parents == (*before.identity.parents, before.identity.sha256)
    weights = read_policy(shipped("sr_plus")).weights
    check_encoder(weights, after.identity.as_dict())
    assert "taught from" in caplog.text
    with pytest.raises(MismatchError, match="was trained with encoder"):
        check_encoder(weights, {**after.identity.as_dict(), "parents": ["0" * 64]})
    # What was taught before comes along, in scenes of its own.
    _add(library, "blip", "user")
    _forget()
    again = teach.run(_small(), ["blip"], library / "both.safetensors", cache, start=str(out))
    assert again.taught == ("blip", "zorb")
    both = load_encoder(EncoderConfig(pretrained=str(library / "both.safetensors")))
    assert both.unknown_words("zorb blip") == ()
    assert both.identity.parents == (*after.identity.parents, after.identity.sha256)
    check_encoder(weights, both.identity.as_dict())


def test_objects_that_are_not_taught_have_no_say(library: Path) -> None:
    _add(library, "blip", "user")
    _forget()
    plain, taught = build_lexicon(), build_lexicon(taught=("zorb",))
    assert not {"zorb", "blip"} & plain.words
    assert "zorb" in taught.words
    assert "blip" not in taught.words
    assert {name.phrase for name in taught.names} - {name.phrase for name in plain.names} == {"zorb"}


def test_drawing_back_averages_all_but_new_words() -> None:
    model = torch.nn.Module()
    model.token_embedding = torch.nn.Embedding(3, 2)
    model.norm = torch.nn.BatchNorm1d(2)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    end = {name: value + 1 for name, value in start.items()}
    model.load_state_dict(end)
    teach.draw_back(model, start, 0.25, torch.tensor([True, False, True]))
    got = model.state_dict()
    torch.testing.assert_close(got["norm.weight"], start["norm.weight"] + 0.75)
    torch.testing.assert_close(got["norm.running_var"], start["norm.running_var"] + 0.75)
    assert int(got["norm.num_batches_tracked"]) == int(end["norm.num_batches_tracked"])
    torch.testing.assert_close(
        got["token_embedding.weight"] - start["token_embedding.weight"], torch.tensor([[0.75], [1.0], [0.75]]).expand(3, 2)
    )


def test_lineage() -> None:
    def identity(sha: str, *parents: str) -> dict[str, object]:
        return EncoderIdentity("embedded", sha, 8, "conv", "i", "fp32", 16, parents).as_dict()

    assert "parents" not in identity("a")
    assert taught_from(identity("b", "a"), identity("a"))
    assert taught_from(identity("c", "a", "b"), identity("a"))
    assert taught_from(identity("c", "a", "b"), identity("b", "a"))
    assert not taught_from(identity("a"), identity("b", "a"))
    assert not taught_from(identity("c", "a", "b"), identity("b"))
    assert not taught_from({**identity("b", "a"), "dim": 9}, identity("a"))
