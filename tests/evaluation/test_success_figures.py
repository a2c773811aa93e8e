"""Curves of success and bars of failures for any number of methods."""

import warnings

import matplotlib.image
import pytest

from srcli.evaluation.figures import draw_failures, draw_success
from srcli.evaluation.statistics import Result


@pytest.mark.parametrize("count", [1, 40])
def test_figures_hold_any_number_of_methods(tmp_path, count):
    results = [
        Result(f"untrained:method_{number}", "seen", str(k), str(k), k == 0, 1, None, ("success" if k == 0 else "collision",))
        for number in range(count)
        for k in range(2)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for draw, name in ((draw_success, "success.png"), (draw_failures, "failures.png")):
            image = matplotlib.image.imread(draw(results, tmp_path / name))
            assert image.shape[0] > 100 and image.shape[1] > 400
