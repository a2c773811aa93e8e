"""Progress where there is no terminal: a line every few percent, with the time left."""

from __future__ import annotations

import pytest

from srcli.cli import progress as module


class Clock:
    """Seconds that pass only when told."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_lines_every_five_percent_with_eta(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with module.progress("collect") as report:
        for done in range(201):
            report(done, 200, "note")
            clock.now += 2.0
    out, err = capsys.readouterr()
    shown = err.splitlines()
    assert out == ""
    assert len(shown) == 21
    assert shown[0] == "collect  0/200    0%  0:00 elapsed  ETA -  note"
    assert shown[10] == "collect  100/200   50%  3:20 elapsed  ETA 3:20  note"
    assert shown[-1] == "collect  200/200  100%  6:40 elapsed  ETA 0:00  note"


def test_work_of_an_earlier_run_says_nothing_of_the_pace(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with module.progress("collect") as report:
        report(90, 100)
        clock.now += 50.0
        report(95, 100)
    assert capsys.readouterr().err.splitlines()[-1] == "collect  95/100   95%  0:50 elapsed  ETA 0:50"


def test_hours(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with module.progress("train") as report:
        report(0, 10)
        clock.now += 3661.0
        report(1, 10)
    assert "1:01:01 elapsed  ETA 9:09:09" in capsys.readouterr().err


def test_nothing_to_do(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with module.progress("train") as report:
        report(0, 0)
    assert capsys.readouterr().err.startswith("train  0/0")
