"""Featurizing: samples copy their demonstration, bytes do not depend on workers, damage is named."""

import dataclasses

import fake_episodes as fake
import numpy as np
import pytest

from srcli.artifacts.demos import DemoDataset
from srcli.artifacts.features import FeatureDataset
from srcli.errors import ArtifactError, BusyError, MismatchError, SceneError
from srcli.params import Params
from srcli.stages import collect, featurize


def make_params(**sections):
    data = Params().model_dump()
    data["collect"] |= {"episodes": 12, "executor": "serial", "valid_every": 3}
    data["featurize"] |= {"executor": "serial"}
    for name, values in sections.items():
        data[name] |= values
    return Params.model_validate(data)


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    out = tmp_path_factory.mktemp("demos") / "demos.h5"
    collect.run(make_params(), out=out, episode_fn=fake.episode)
    return out


def test_samples_copy_their_demonstration(tmp_path, demos):
    out = tmp_path / "features.h5"
    summary = featurize.run(make_params(), demos, out, perceiver=fake.FakePerceiver())
    data, source = FeatureDataset(out), DemoDataset(demos)
    assert summary.samples == len(data) == 9
    assert summary.train + summary.valid == 9 and summary.valid == 4
    assert data.encoder["name"] == summary.encoder == "fake"
    assert data.arrays["source"].tolist() == source.demonstrations.tolist()
    assert data.arrays["points"].shape == (9, 22, 3) and data.arrays["features"].dtype == np.float16
    for row, index in enumerate(source.demonstrations):
        demo = source.demonstration(index)
        k = len(demo.step.candidates)
        np.testing.assert_array_equal(data.arrays["candidates"][row, :k], demo.step.candidates.poses)
        np.testing.assert_array_equal(data.arrays["quality"][row, :k], demo.step.candidates.quality)
        np.testing.assert_array_equal(data.arrays["candidate_mask"][row, :k], ~demo.step.excluded)
        assert not data.arrays["candidate_mask"][row, k:].any()
        expected = [s in (0, 2) and not e for s, e in zip(demo.step.slots, demo.step.excluded, strict=True)]
        assert data.arrays["valid"][row, :k].tolist() == expected
        assert data.arrays["label"][row] == demo.label == demo.step.action.index
        assert data.instructions[row] == demo.spec.instruction
        assert data.arrays["seed"][row].tolist() == list(demo.spec.seed)
        assert data.arrays["point_mask"][row].sum() == 20 + index % 3
        cloud = fake.FakePerceiver().look(demo).cloud
        np.testing.assert_array_equal(data.arrays["points"][row, : len(cloud.points)], cloud.points)
        np.testing.assert_array_equal(data.arrays["features"][row, : len(cloud.points)], cloud.features.astype(np.float16))
    valid = {int(data.arrays["source"][i]) for i in data.split("valid")}
    assert valid == set(source.split("valid").tolist())


def test_whole_views_are_kept_where_they_are_asked_for(tmp_path, demos):
    plain, out = tmp_path / "plain.h5", tmp_path / "views.h5"
    featurize.run(make_params(), demos, plain, perceiver=fake.FakePerceiver())
    featurize.run(make_params(featurize={"views": True}), demos, out, perceiver=fake.FakePerceiver())
    data, source = FeatureDataset(out), DemoDataset(demos)
    assert data.has_views and not FeatureDataset(plain).has_views
    views = data.views()
    assert views["cell_points"].shape == (9, 6, 3) and views["surface_colors"].shape == (9, 9, 3)
    for row, index in enumerate(source.demonstrations):
        expected = fake.FakePerceiver().views(source.demonstration(index))
        cells, surface = views["cell_mask"][row], views["surface_mask"][row]
        assert cells.sum() == 5 + index % 2
        np.testing.assert_array_equal(views["cell_features"][row, cells], expected["cell_features"])
        np.testing.assert_array_equal(views["surface_points"][row, surface], expected["surface_points"])
    for name, value in FeatureDataset(plain).arrays.items():
        np.testing.assert_array_equal(value, data.arrays[name])
    with pytest.raises(ArtifactError, match=r"no whole views.*featurize.views=true|no whole views"):
        FeatureDataset(plain).views()
    # The same command with and without them is not the same file.
    with pytest.raises(MismatchError):
        featurize.run(make_params(), demos, out, perceiver=fake.FakePerceiver())


def test_bytes_do_not_depend_on_workers_or_resume(tmp_path, demos):
    one, two, resumed = (tmp_path / name for name in ("one.h5", "two.h5", "resumed.h5"))
    featurize.run(make_params(), demos, one, perceiver=fake.FakePerceiver())
    parallel = make_params(featurize={"executor": "processes"})
    featurize.run(parallel, demos, two, workers=2, perceiver=fake.FakePerceiver())
    with pytest.raises(SceneError, match="episode 5: depth of view 1 holds NaN"):
        featurize.run(make_params(), demos, resumed, perceiver=fake.FakePerceiver(bad=5))
    summary = featurize.run(make_params(), demos, resumed, perceiver=fake.FakePerceiver())
    assert summary.reused == 4
    assert one.read_bytes() == two.read_bytes() == resumed.read_bytes()


def test_several_files_and_both_phases_become_one_file(tmp_path, demos):
    both = tmp_path / "both.h5"
    collect.run(make_params(collect={"episodes": 3}), "pick_place", both, episode_fn=fake.two_phase_episode)
    out = tmp_path / "features.h5"
    summary = featurize.run(make_params(), [demos, both], out, perceiver=fake.FakePerceiver())
    data, arrays = FeatureDataset(out), FeatureDataset(out).arrays
    assert (summary.samples, summary.picks, summary.places) == (15, 12, 3)
    assert arrays["file"].tolist() == [0] * 9 + [1] * 6
    assert arrays["phase"].tolist() == [0] * 9 + [0, 1] * 3
    assert arrays["source"].tolist()[9:] == [0, 0, 1, 1, 2, 2]
    source = DemoDataset(both)
    for row, decision in enumerate(source.decisions, start=9):
        demo = source.demonstration(*decision)
        valid = demo.step.valid & ~demo.step.excluded
        np.testing.assert_array_equal(arrays["valid"][row, : len(valid)], valid)
        np.testing.assert_array_equal(arrays["candidates"][row, : len(valid)], demo.step.candidates.poses)
        assert arrays["label"][row] == demo.label
    # Both decisions of an episode are on one side of the split.
    assert [(int(arrays["file"][i]), int(arrays["source"][i])) for i in data.split("valid")][-2:] == [(1, 2), (1, 2)]
    with pytest.raises(MismatchError, match="sources"):
        featurize.run(make_params(), demos, out, perceiver=fake.FakePerceiver())


def test_up_to_date_and_mismatch(tmp_path, demos):
    out = tmp_path / "features.h5"
    featurize.run(make_params(), demos, out, perceiver=fake.FakePerceiver())
    assert featurize.run(make_params(), demos, out, perceiver=fake.FakePerceiver()).up_to_date
    with pytest.raises(MismatchError, match=r"encoder\.name"):
        featurize.run(make_params(), demos, out, perceiver=fake.FakePerceiver("other"))
    with pytest.raises(MismatchError, match=r"cloud\.count \(500 -> 100\)"):
        featurize.run(make_params(cloud={"count": 100}), demos, out, perceiver=fake.FakePerceiver())
    again = featurize.run(make_params(), demos, out, perceiver=fake.FakePerceiver("other"), force=True)
    assert again.encoder == "other" and not again.up_to_date


def test_limit_takes_the_first(tmp_path, demos):
    out = tmp_path / "features.h5"
    featurize.run(make_params(featurize={"limit": 4}), demos, out, perceiver=fake.FakePerceiver())
    assert FeatureDataset(out).arrays["source"].tolist() == [0, 1, 2, 3]


def test_unusable_inputs(tmp_path, demos):
    out = tmp_path / "features.h5"
    with pytest.raises(ArtifactError, match="no such file"):
        featurize.run(make_params(), tmp_path / "none.h5", out, perceiver=fake.FakePerceiver())
    featurize.run(make_params(), demos, out, perceiver=fake.FakePerceiver())
    with pytest.raises(ArtifactError, match="is a features file where a demonstrations file is needed"):
        featurize.run(make_params(), out, tmp_path / "x.h5", perceiver=fake.FakePerceiver())
    empty = tmp_path / "empty.h5"
    collect.run(make_params(collect={"episodes": 1}), out=empty, episode_fn=_never)
    with pytest.raises(SceneError, match="holds no demonstration"):
        featurize.run(make_params(), empty, tmp_path / "y.h5", perceiver=fake.FakePerceiver())


def test_busy_output(tmp_path, demos):
    from srcli.artifacts.core import output_lock

    out = tmp_path / "features.h5"
    with output_lock(out), pytest.raises(BusyError):
        featurize.run(make_params(), demos, out, perceiver=fake.FakePerceiver())


def _never(params, task, seed):
    return fake.episode(params, task, (*seed[:2], 7))


def test_other_sentences_for_what_was_seen_never_cross_the_splits(tmp_path, demos, monkeypatch):
    """Every attempt of an episode that is trained on gets them, failed ones too; what is kept back has its own decision alone."""
    from srcli.learning import relabel

    def made_up(task, spec, truth, candidates, phase, *, count, excluded, rng, **more):
        usable = np.flatnonzero(~excluded)
        label = int(usable[int(rng.integers(len(usable)))])
        valid = np.arange(len(candidates)) == label
        goal = dataclasses.replace(spec.goal, keyword="other")
        return tuple(relabel.Asked(f"other {i} of {spec.instruction}", goal, valid, label) for i in range(count))

    monkeypatch.setattr(relabel, "ask_anew", made_up)
    out, plain = tmp_path / "features.h5", tmp_path / "plain.h5"
    params = make_params(featurize={"relabel": 2})
    summary = featurize.run(params, demos, out, perceiver=fake.FakePerceiver())
    featurize.run(make_params(), demos, plain, perceiver=fake.FakePerceiver())
    data, source, own = FeatureDataset(out), DemoDataset(demos), FeatureDataset(plain)
    back, last = set(source.split("valid").tolist()), int(source.demonstrations[-1])
    attempts = sum(count for demo, count in enumerate(source.lengths()) if demo not in back and demo <= last)
    assert summary.samples == len(data) == 9 + 2 * attempts and attempts > 9
    sources = data.arrays["source"]
    assert {int(sources[i]) for i in data.split("valid")} == back and len(data.split("valid")) == len(own.split("valid"))
    others = [i for i, text in enumerate(data.instructions) if text.startswith("other")]
    assert len(others) == 2 * attempts and not {int(sources[i]) for i in others} & back
    assert [data.instructions[i] for i in range(len(data)) if i not in others] == list(own.instructions)
    for i in others:
        assert data.arrays["valid"][i].sum() == 1 and data.arrays["valid"][i, data.arrays["label"][i]]
    assert featurize.run(params, demos, out, perceiver=fake.FakePerceiver()).up_to_date
    with pytest.raises(MismatchError, match="asked"):
        featurize.run(make_params(), demos, out, perceiver=fake.FakePerceiver())


def test_of_objects_that_look_otherwise_than_the_catalogue_says_only_what_is_seen_is_asked(tmp_path, demos, monkeypatch):
    """An orange shown as red is not asked for as "orange": keywords of the catalogue are not drawn where objects have looks."""
    from srcli.learning import relabel

    shares = []

    def noted(task, spec, truth, candidates, phase, *, compositional, **more):
        shares.append((bool(spec.looks), compositional))
        return ()

    monkeypatch.setattr(relabel, "ask_anew", noted)
    looks = tmp_path / "looks.h5"
    collect.run(make_params(), out=looks, episode_fn=fake.composed_episode)
    params = make_params(featurize={"relabel": 1, "compositional": 0.25})
    featurize.run(params, [demos, looks], tmp_path / "features.h5", perceiver=fake.FakePerceiver())
    assert set(shares) == {(False, 0.25), (True, 1.0)}


def test_a_piece_serves_no_other_limit(tmp_path, demos):
    """Unfinished work is found by its place in the list, which the limit moves."""
    other, out = tmp_path / "other.h5", tmp_path / "features.h5"
    collect.run(make_params(collect={"episodes": 6}), out=other, episode_fn=fake.episode)
    with pytest.raises(SceneError, match="episode 5"):
        featurize.run(make_params(featurize={"limit": 5}), [demos, other], out, perceiver=fake.FakePerceiver(bad=5))
    with pytest.raises(MismatchError, match="limit"):
        featurize.run(make_params(), [demos, other], out, perceiver=fake.FakePerceiver())
