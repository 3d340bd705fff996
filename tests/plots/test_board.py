"""The leaderboard as figures: every number on a heat map can be read."""

from __future__ import annotations

import numpy as np
import pytest
from plotly.colors import sample_colorscale, unlabel_rgb

from denoise_app.classical import CLASSICAL
from denoise_app.models.registry import MODELS as REGISTERED
from denoise_app.plots.board import matrix_figure, readable_on
from denoise_app.plots.theme import COLOUR_MAP, SYMBOLS

MODELS, LOSSES = ["gru", "cnn", "transformer"], ["mse", "si-snr", "hybrid"]


def luminance(colour: str) -> float:
    """WCAG 2.1."""
    parts = [int(colour[k : k + 2], 16) for k in (1, 3, 5)] if colour.startswith("#") else unlabel_rgb(colour)
    linear = [part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_what_is_written_stands_out_from_every_colour() -> None:
    colours = sample_colorscale(COLOUR_MAP, 256) + [f"rgb({grey}, {grey}, {grey})" for grey in range(256)]
    assert min(contrast(readable_on(colour), colour) for colour in colours) >= 4.5


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_each_cell_bears_its_number_in_a_colour_for_its_own(lower_is_better: bool) -> None:
    values = {(model, loss): k + 0.25 for k, (model, loss) in enumerate((m, n) for n in LOSSES for m in MODELS)}
    del values["cnn", "si-snr"]
    cells, numbers = matrix_figure(MODELS, LOSSES, values, 2, lower_is_better).data
    assert list(numbers.text) == [".25", *(f"{value:.2f}" for value in list(values.values())[1:])]
    assert list(zip(numbers.x, numbers.y, strict=True)) == list(values)
    ends = [numbers.textfont.color[0], numbers.textfont.color[-1]]
    assert ends == (["#000000", "#ffffff"] if lower_is_better else ["#ffffff", "#000000"])
    assert cells.reversescale is lower_is_better


@pytest.mark.parametrize("values", [{}, {("gru", "mse"): 1.0}])
def test_few_values_make_a_figure_too(values: dict[tuple[str, str], float]) -> None:
    assert len(matrix_figure(MODELS, LOSSES, values, 1, False).data[1].text) == len(values)


def test_every_model_has_a_symbol_of_its_own() -> None:
    assert len(set(SYMBOLS)) == len(SYMBOLS) >= len({*REGISTERED, *CLASSICAL})
