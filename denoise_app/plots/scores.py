"""Scores as figures: improvement over the input SNR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import plotly.graph_objects as go

from .theme import ENGLISH, PALETTES, PANEL_HEIGHT, Theme, Words, label, name, stack

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")  # tell curves apart without colours
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
LABEL_HEIGHT = 14  # px that a curve's name takes
NAME_WIDTH = 7  # px of a letter of it
WIDEST_NAME = 18  # letters, so that curves keep most of a phone's screen
ROOM = 0.08  # of an axis, above and below its curves


@dataclass(frozen=True)
class Curve:
    """One denoiser.

    Attributes:
        name: Written at its end.
        values: Metric key -> (SNR in dB, improvement) by rising SNR; a metric may have fewer points than another.
    """

    name: str
    values: Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True)
class Axis:
    """One panel.

    Attributes:
        key: Of the metric, in the curves.
        title: What is written into the panel: name and unit.
        least: The axis spans at least this much, so that what differs by nothing looks like nothing.
    """

    key: str
    title: str
    least: float


def sweep_figure(
    curves: Sequence[Curve],
    axes: Sequence[Axis],
    snrs: tuple[float, float],
    *,
    theme: Theme = "light",
    words: Words = ENGLISH,
) -> go.Figure:
    """Improvement against the input SNR: a panel for each metric, a curve with its name for each denoiser.

    Args:
        curves: Symbol and dashes distinguish at most six.
        axes: From the top.
        snrs: The ends of the axis that they share, dB; it does not move while points come.
        theme: Of the page.
        words: In the reader's language; `snr` names that axis.
    """
    palette = PALETTES[theme]
    figure = stack([PANEL_HEIGHT] * len(axes), theme, replace(words, time=words.snr))
    longest = max((len(_shortened(curve.name)) for curve in curves), default=0)
    figure.update_layout(margin_r=12 + NAME_WIDTH * longest, dragmode=False)
    room = ROOM * (snrs[1] - snrs[0]) / 2
    figure.update_xaxes(range=[snrs[0] - room, snrs[1] + room], tickvals=_ticks(snrs))
    for panel, axis in enumerate(axes):
        low, high = _span(curves, axis)
        figure.update_layout({name("yaxis", panel): {"range": [low, high], "nticks": 5, "zeroline": True}})
        figure.update_layout({name("yaxis", panel): {"zerolinecolor": palette.text, "zerolinewidth": 1}})
        for k, curve in enumerate(curves):
            figure.add_trace(_line(curve, axis, k, panel, palette.marks[1]))
        _write_names(figure, curves, axis, panel, (low, high))
        label(figure, panel, axis.title)
    return figure


def _line(curve: Curve, axis: Axis, k: int, panel: int, colour: str) -> go.Scatter:
    points = curve.values.get(axis.key, ())
    return go.Scatter(
        x=[snr for snr, _ in points],
        y=[value for _, value in points],
        mode="lines+markers",
        line={"color": colour, "width": 1.5, "dash": DASHES[k % len(DASHES)]},
        marker={"color": colour, "size": 7, "symbol": SYMBOLS[k % len(SYMBOLS)]},
        name=curve.name,
        yaxis=name("y", panel),
        hovertemplate=f"{curve.name}<br>%{{x:g}} dB · %{{y:+.2f}}<extra></extra>",
    )


def _write_names(figure: go.Figure, curves: Sequence[Curve], axis: Axis, panel: int, span: tuple[float, float]) -> None:
    """Each curve's name to the right of its panel, at the height of its end or as near as the others let it."""
    ends = {curve.name: curve.values[axis.key][-1][1] for curve in curves if curve.values.get(axis.key)}
    step = LABEL_HEIGHT / PANEL_HEIGHT
    shares = {title: (end - span[0]) / (span[1] - span[0]) for title, end in ends.items()}
    for title, place in zip(sorted(shares, key=shares.__getitem__), apart(sorted(shares.values()), step), strict=True):
        figure.add_annotation(
            text=_shortened(title),
            xref="paper",
            x=1,
            xanchor="left",
            xshift=4,
            yref=f"{name('y', panel)} domain",
            y=place,
            yanchor="middle",
            showarrow=False,
        )


def apart(places: Sequence[float], step: float) -> list[float]:
    """Rising places in 0 to 1, moved as little as it takes to lie a step apart; more than fit lie closer together.

    >>> [round(place, 2) for place in apart([0.5, 0.5, 0.55, 1.0], 0.1)]
    [0.42, 0.52, 0.62, 1.0]
    """
    step = min(step, 1 / max(len(places) - 1, 1))
    groups: list[tuple[float, int]] = []  # centre, members: whoever would overlap is spread around a common centre
    for place in places:
        groups.append((place, 1))
        while len(groups) > 1 and _end(groups[-2], step) + step > _begin(groups[-1], step) + 1e-9:
            (first, few), (second, more) = groups[-2:]
            groups[-2:] = [((few * first + more * second) / (few + more), few + more)]
            centre, members = groups[-1]
            half = (members - 1) / 2 * step
            groups[-1] = (min(max(centre, half), 1 - half), members)
    return [_begin(group, step) + k * step for group in groups for k in range(group[1])]


def _begin(group: tuple[float, int], step: float) -> float:
    return group[0] - (group[1] - 1) / 2 * step


def _end(group: tuple[float, int], step: float) -> float:
    return group[0] + (group[1] - 1) / 2 * step


def _span(curves: Sequence[Curve], axis: Axis) -> tuple[float, float]:
    """From the lowest value to the highest, nothing included."""
    values = [value for curve in curves for _, value in curve.values.get(axis.key, ())]
    low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    if high - low < axis.least:
        high = low + axis.least
    room = ROOM * (high - low)
    return low - room, high + 3 * room  # the panel's name lies above the curves


def _ticks(snrs: tuple[float, float]) -> list[float]:
    """Every 10 dB, every 5 where there are few."""
    step = 10 if snrs[1] - snrs[0] > 20 else 5
    return [float(snr) for snr in range(-100, 101, step) if snrs[0] <= snr <= snrs[1]]


def _shortened(title: str) -> str:
    return title if len(title) <= WIDEST_NAME else f"{title[: WIDEST_NAME - 1]}…"
