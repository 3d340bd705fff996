"""Many small panels side by side on the same axes: zooming in one zooms them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from .spectrogram import SpectrogramData, colours, heatmap, rows, spacing
from .theme import (
    COLOUR_BAR_HEIGHT,
    DIFFERENCE_DB,
    DIFFERENCE_MAP,
    ENGLISH,
    GAP,
    HEAD,
    PALETTES,
    Theme,
    Words,
    frame,
    label,
    name,
)
from .waveform import Envelope, highest, outline

COLUMNS, ROWS = 400, 128  # cells of a small spectrogram: ten of them are 700 kB of JSON
SMALL_HEIGHT = 120  # px
WAVE_HEIGHT = 64
GUTTER = 0.02  # between panels side by side, of the figure's width


def spectrogram_grid(
    panels: Sequence[tuple[str, SpectrogramData]],
    across: int,
    *,
    reference: int | None = None,
    theme: Theme = "light",
    words: Words = ENGLISH,
) -> go.Figure:
    """Spectrograms on one scale and in the same colours, or how they differ from one of them.

    Args:
        panels: Names and spectrograms of equal length and rate, of at most COLUMNS columns.
        across: Panels side by side.
        reference: Which panel the others are compared with; None to show the levels themselves. In the differences
            red is louder than the reference and blue is softer.
        theme: Of the page.
        words: In the reader's language.
    """
    figure = lattice(len(panels), across, SMALL_HEIGHT, theme, words, head=COLOUR_BAR_HEIGHT)
    levels = [rows(data, log=False, max_rows=ROWS)[0] for _, data in panels]
    for k, (title, data) in enumerate(panels):
        trace = heatmap(data, k, False, words, ROWS)
        trace.update(xaxis=name("x", k))
        if reference is not None:
            trace.update(z=(levels[k].astype(np.int16) - levels[reference]).clip(-90, 90).astype(np.int8))
            trace.update(hovertemplate=trace.hovertemplate.replace(words.level, words.difference))
        figure.add_trace(trace)
        label(figure, k, title, horizontal=name("x", k))
    data = panels[0][1]
    half = spacing(data.times) / 2
    figure.update_xaxes(range=[float(data.times[0]) - half, float(data.times[-1]) + half])
    figure.update_yaxes(range=[0, float(data.frequencies[-1])], tickformat="~s", nticks=4)
    figure.update_layout(yaxis_title={"text": words.frequency, "standoff": 4})
    figure.update_layout(coloraxis=colours(words) if reference is None else _difference_colours(words))
    return figure


def waveform_grid(
    panels: Sequence[tuple[str, Envelope]], across: int, *, theme: Theme = "light", words: Words = ENGLISH
) -> go.Figure:
    """Waveforms on one scale, by name; `across` of them side by side."""
    figure = lattice(len(panels), across, WAVE_HEIGHT, theme, words)
    for k, (title, shape) in enumerate(panels):
        trace = outline(shape, title, PALETTES[theme].marks[1], name("y", k))
        trace.update(xaxis=name("x", k))
        figure.add_trace(trace)
        label(figure, k, title, horizontal=name("x", k))
    peak = highest([shape for _, shape in panels])
    figure.update_xaxes(range=[0, panels[0][1].seconds])
    figure.update_yaxes(range=[-peak, peak], nticks=3)
    return figure


def lattice(count: int, across: int, height: int, theme: Theme, words: Words, head: int = HEAD) -> go.Figure:
    """An empty figure of panels in rows, whose axes move together; panel k has the axes `name("x", k)`, `name("y", k)`.

    Args:
        count: How many.
        across: Side by side.
        height: Of each in px.
        theme: Which palette.
        words: For the time axis.
        head: px above the first row.
    """
    palette = PALETTES[theme]
    down = -(-count // across)
    inner = down * height + (down - 1) * GAP
    line = {"gridcolor": palette.grid, "linecolor": palette.grid, "zeroline": False, "ticks": ""}
    layout: dict[str, Any] = frame(inner, head, theme)
    width = (1 - (across - 1) * GUTTER) / across
    for k in range(count):
        row, column = divmod(k, across)
        top, left = inner - row * (height + GAP), column * (width + GUTTER)
        lowest = k + across >= count  # in its column
        layout[name("xaxis", k)] = line | {
            "domain": [left, min(1.0, left + width)],
            "anchor": name("y", k),
            "showticklabels": lowest,
            "title": {"text": words.time if lowest else ""},  # a standoff would set it among the ticks of linked axes
            **({"matches": "x"} if k else {}),
        }
        layout[name("yaxis", k)] = line | {
            "domain": [max(0.0, (top - height) / inner), top / inner],
            "anchor": name("x", k),
            "showticklabels": column == 0,
            "title": {"standoff": 4},
            **({"matches": "y"} if k else {}),
        }
    return go.Figure(layout=layout)


def _difference_colours(words: Words) -> dict[str, object]:
    ticks = [-DIFFERENCE_DB, -DIFFERENCE_DB // 2, 0, DIFFERENCE_DB // 2, DIFFERENCE_DB]
    scale = {"colorscale": DIFFERENCE_MAP, "cmin": ticks[0], "cmax": ticks[-1]}
    named = [f"{tick:+d}" if tick else f"0 {words.difference}" for tick in ticks]
    bar = colours(words)["colorbar"]
    assert isinstance(bar, dict)
    return scale | {"colorbar": bar | {"tickvals": ticks, "ticktext": named}}
