"""Colours, sizes and default words of all figures. Colours are named here alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import plotly.graph_objects as go

Theme = Literal["light", "dark"]

COLOUR_MAP = "Magma"  # perceptually uniform: its lightness rises evenly, so it also reads in grey
DIFFERENCE_MAP = "balance"  # perceptually uniform to both sides of nothing (Thyng et al. 2016)
DIFFERENCE_DB = 40  # dB, where its colours end on both sides
RANGE_DB = (-90, 0)  # of full scale, the same in every spectrogram
PANEL_HEIGHT = 170  # px; a phone shows one panel and its neighbours
STRIP_HEIGHT = 70
FOOT = 42  # px below the last panel: ticks and the name of the time axis
GAP = 12
HEAD = 8
COLOUR_BAR_HEIGHT = 34
SYMBOLS = (
    "circle", "square", "diamond", "triangle-up", "cross", "x", "star", "pentagon", "hexagon", "triangle-down",
    "triangle-left", "triangle-right", "hourglass", "bowtie", "hexagram",
)  # fmt: skip
"""Of points that belong together, told apart without colour: one for each model there is."""


@dataclass(frozen=True)
class Palette:
    """Colours of one theme; text keeps a contrast of 4.5 to 1 on Gradio's own backgrounds (#ffffff, #0b0f19).

    Attributes:
        text: Ticks and names.
        grid: Lines behind the data.
        marks: One colour for each series, the first for what was before.
    """

    text: str
    grid: str
    marks: tuple[str, ...]


PALETTES: dict[Theme, Palette] = {
    "light": Palette("#404040", "#dddddd", ("#757575", "#8a2981")),
    "dark": Palette("#d0d0d0", "#333a48", ("#858a94", "#fb8861")),
}


@dataclass(frozen=True)
class Words:
    """What is written in figures, in the reader's language."""

    before: str = "Before"
    after: str = "After"
    removed: str = "Removed"
    time: str = "Time (s)"
    frequency: str = "Frequency (Hz)"
    level: str = "dBFS"
    difference: str = "dB"
    attenuation: str = "Speech attenuation (dB)"
    noise_attenuation: str = "Noise attenuation (dB)"
    energy: str = "Energy (dBFS)"
    crossings: str = "Zero-crossing rate"
    snr: str = "Input SNR (dB)"


ENGLISH = Words()


def stack(heights: list[int], theme: Theme, words: Words, head: int = HEAD) -> go.Figure:
    """An empty figure of panels above each other that share the time axis: zooming in one zooms them all.

    Args:
        heights: Of each panel in px, from the top.
        theme: Which palette.
        words: For the time axis.
        head: px above the first panel.

    Returns:
        A figure whose panels have the axes "y", "y2", ...; all belong to "x", drawn below the last one.
    """
    palette = PALETTES[theme]
    inner = sum(heights) + GAP * (len(heights) - 1)
    axis = {"gridcolor": palette.grid, "linecolor": palette.grid, "zeroline": False, "title": {"standoff": 4}}
    layout = frame(inner, head, theme) | {
        "xaxis": axis | {"title": {"text": words.time}, "anchor": name("y", len(heights) - 1)},
    }
    top = inner
    for k, height in enumerate(heights):
        domain = [max(0.0, (top - height) / inner), top / inner]
        layout[name("yaxis", k)] = axis | {"anchor": "x", "domain": domain}
        top -= height + GAP
    return go.Figure(layout=layout)


def frame(inner: int, head: int, theme: Theme) -> dict[str, Any]:
    """The layout of every figure around its panels, which are `inner` px high, with `head` px above them."""
    return {
        "template": go.layout.Template(),  # plotly's own is 7 kB and paints the background
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": PALETTES[theme].text, "size": 11},
        "height": inner + head + FOOT,
        "margin": {"l": 52, "r": 8, "t": head, "b": FOOT, "pad": 0},
        "dragmode": "zoom",
        "hovermode": "closest",
        "showlegend": False,
    }


def name(axis: str, number: int) -> str:
    """What plotly calls an axis, counting from 0.

    >>> name("y", 0), name("yaxis", 2)
    ('y', 'yaxis3')
    """
    return axis if number == 0 else f"{axis}{number + 1}"


def label(
    figure: go.Figure,
    number: int,
    text: str,
    corner: Literal["top", "bottom"] = "top",
    horizontal: str | None = None,
) -> None:
    """Writes a panel's name into a left corner of it, readable on any colour of the map and on either theme.

    Args:
        horizontal: The panel's horizontal axis where panels lie side by side.
    """
    figure.add_annotation(
        text=text,
        xref="paper" if horizontal is None else f"{horizontal} domain",
        yref=f"{name('y', number)} domain",
        x=0,
        y=1 if corner == "top" else 0,
        xanchor="left",
        yanchor=corner,
        showarrow=False,
        font={"color": "#ffffff", "size": 12},
        bgcolor="rgba(0,0,0,0.6)",
        borderpad=3,
    )
