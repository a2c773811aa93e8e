"""Files of heavy clutter: thirty objects, numbered names, and what is missing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from srcli.config.scene import SceneConfig
from srcli.errors import UnknownNameError
from srcli.evaluation.casefiles import namesake, read_cases_folder
from srcli.tasks import get_task

SHOWN = ["black_marker", "bleach_cleanser", "blue_moon", "gelatin_box", "magic_clean", "pink_tea_box", "red_marker", "repellent"]
NEW = ["softball", "tennis_ball", "white_ball", "blue_ball", "battery", "red_backpack", "mango"]
BOX = "v 0 0 0\nv .04 0 0\nv 0 .04 0\nv 0 0 .04\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n"


def line(name: str, number: int) -> str:
    return f"assets/unseen_objects_40/{number:03d}_{name}.urdf {0.45 + 0.01 * (number % 10)} 0 0.2 0 0 0\n"


def test_thirty_objects_by_number_and_name(tmp_path: Path) -> None:
    names = [(SHOWN + NEW)[i % 15] for i in range(30)]
    (tmp_path / "unseen").mkdir()
    text = "grasp a ball\n8 9\n" + "".join(line(name, i) for i, name in enumerate(names))
    (tmp_path / "unseen" / "case00-round.txt").write_text(text)
    case = read_cases_folder(tmp_path).cases[0].case
    assert case.objects == tuple(names) and case.split == "unseen" and case.keyword == "ball"
    spec = get_task("pick").from_case(case, (0, 0, 0), SceneConfig())
    assert len(spec.objects) == 30 and spec.drops.shape == (30, 7) and spec.goal.targets == (8, 9)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("assets/unseen_objects_40/017_softball.urdf", "softball"),
        ("unseen_objects_40/007_remote_controller_1.urdf", "remote_controller_1"),
        ("unseen_objects_40/012_suger_1/model.urdf", "suger_1"),
        ("x/12__banana_v2.urdf", "banana"),
        ("simplified_objects/011.urdf", "strawberry"),
        ("x/012_nothing_known.urdf", None),
    ],
)
def test_a_number_before_a_name_hides_no_namesake(reference: str, name: str | None) -> None:
    assert namesake(reference) == name


def test_what_is_missing_is_named_once_with_its_first_place(tmp_path: Path) -> None:
    for number in range(3):
        lines = [line("gyroscope", 1), line("banana", 2), line("gyroscope", 1), line("astrolabe", 3) * (number == 2)]
        text = "give me it\n0\n" + "".join(lines)
        (tmp_path / f"case{number}.txt").write_text(text)
    with pytest.raises(UnknownNameError) as caught:
        read_cases_folder(tmp_path)
    message = caught.value.message
    assert message.startswith("2 object reference(s) not found") and message.count("gyroscope") == 1
    assert f"{tmp_path / 'case0.txt'}:3 and 5 more" in message and f"({tmp_path / 'case2.txt'}:6)" in message


def test_what_an_own_object_lacks_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "part.obj").write_text("mtllib gone.mtl\nusemtl steel\n" + BOX)
    (tmp_path / "case.txt").write_text("give me the part\n0\nassets/part.urdf 0.5 0 0.2 0 0 0\n")
    with caplog.at_level(logging.WARNING):
        read_cases_folder(tmp_path / "case.txt", tmp_path / "assets")
    assert any("part.obj: the material library 'gone.mtl' is not there" in record.message for record in caplog.records)
