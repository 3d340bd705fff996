"""Noise attenuation against speech attenuation: a point for each denoiser."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from .names import sides
from .theme import ENGLISH, GAP, PALETTES, SYMBOLS, Theme, Words, frame

HEIGHT = 280  # px
LEAST_SPAN = 6.0  # dB that an axis shows at least: what differs by tenths lies close together
LEGEND = 72  # px that a legend takes, where not every point has room for its name


def trade_figure(
    points: Sequence[tuple[str, float, float]], *, theme: Theme = "light", words: Words = ENGLISH
) -> go.Figure:
    """Speech attenuation against noise attenuation: the better, the further to the right and the higher.

    Args:
        points: Name, noise attenuation and speech attenuation of each, in dB.
        theme: Of the page.
        words: In the reader's language.
    """
    palette = PALETTES[theme]
    figure = go.Figure(layout=frame(HEIGHT, GAP, theme))
    across, up = _span([noise for _, noise, _ in points]), _span([speech for _, _, speech in points])[::-1]
    beside = sides([(noise, speech) for _, noise, speech in points], [title for title, _, _ in points], across, up)
    named = None not in beside
    for k, (title, noise, speech) in enumerate(points):
        trace = go.Scatter(
            x=[noise],
            y=[speech],
            text=[title],
            name=title,
            mode="markers+text" if named else "markers",
            textposition=beside[k] if named else None,
            marker={"size": 10, "symbol": SYMBOLS[k % len(SYMBOLS)], "color": palette.marks[1]},
            cliponaxis=False,
            hovertemplate=f"{title}<br>{words.noise_attenuation}: %{{x:.1f}}<br>{words.attenuation}: %{{y:.1f}}"
            "<extra></extra>",
        )
        figure.add_trace(trace)
    line = {"gridcolor": palette.grid, "linecolor": palette.grid, "zerolinecolor": palette.grid}
    figure.update_xaxes(**line, range=across, title={"text": words.noise_attenuation, "standoff": 4})
    figure.update_yaxes(**line, range=up, title={"text": words.attenuation, "standoff": 4})
    figure.update_layout(dragmode=False)
    if not named:
        below = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"}
        layout = figure.layout
        figure.update_layout(showlegend=True, legend=below, height=layout.height + LEGEND)
        figure.update_layout(margin_b=layout.margin.b + LEGEND)
    return figure


def _span(values: Sequence[float]) -> list[float]:
    """An axis over values, with room for names."""
    lowest, highest = min(values, default=0.0), max(values, default=0.0)
    half = max(1.3 * (highest - lowest), LEAST_SPAN) / 2
    return [(lowest + highest) / 2 - half, (lowest + highest) / 2 + half]
