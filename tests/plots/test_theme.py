"""Colours: readable text, and a map whose lightness rises evenly."""

from __future__ import annotations

import numpy as np
import plotly.colors
import pytest

from denoise_app.plots.theme import COLOUR_MAP, PALETTES, Palette

BACKGROUNDS = {"light": ("#ffffff", "#fafafa"), "dark": ("#0b0f19", "#1f2937", "#27272a")}


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, 0 to 1 (WCAG 2.2)."""
    parts = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def lightness(colour: str) -> float:
    """L* of CIELAB, 0 to 100."""
    y = luminance(colour)
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


@pytest.mark.parametrize("theme", PALETTES)
def test_text_and_marks_stand_out_from_the_page(theme: str) -> None:
    palette: Palette = PALETTES[theme]  # type: ignore[index]
    for background in BACKGROUNDS[theme]:
        assert contrast(palette.text, background) >= 4.5
        assert all(contrast(mark, background) >= 3 for mark in palette.marks)


def test_before_and_after_differ_in_lightness_too() -> None:
    for palette in PALETTES.values():
        assert abs(lightness(palette.marks[0]) - lightness(palette.marks[1])) > 8


def test_the_colour_map_is_perceptually_uniform() -> None:
    colours = plotly.colors.get_colorscale(COLOUR_MAP)
    levels = np.array([lightness(colour) for _, colour in colours])
    even = np.linspace(levels[0], levels[-1], levels.size)
    assert (np.diff(levels) > 0).all()
    assert np.abs(levels - even).max() < 8
