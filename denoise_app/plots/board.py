"""The leaderboard as figures: model by loss, quality against cost, and training curves."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale, unlabel_rgb

from .names import SIDES, sides
from .theme import COLOUR_MAP, GAP, PALETTES, SYMBOLS, Theme, frame

ROW_HEIGHT = 30  # px of a loss in the matrix
NAME_HEIGHT = 86  # px below it, for names of models, which stand upright on a phone
QUALITY_HEIGHT = 320  # px
ROOM = 0.12  # of its span that an axis goes on beyond the points, for their names
CURVE = (240, 60)  # px, width and height


@dataclass(frozen=True)
class Point:
    """One denoiser.

    Attributes:
        group: Its model; all of a model have one symbol.
        title: For the pointer.
        label: Written beside the point where there is room; empty for none.
        card: What a click opens.
        cost, quality: Where it lies.
    """

    group: str
    title: str
    label: str
    card: str
    cost: float
    quality: float


def matrix_figure(
    models: Sequence[str],
    losses: Sequence[str],
    values: Mapping[tuple[str, str], float],
    digits: int,
    lower_is_better: bool,
    theme: Theme = "light",
) -> go.Figure:
    """A cell for each model and loss with its value; the better, the lighter.

    Args:
        values: (model, loss) -> value; what is not there stays empty.
        digits: After the decimal point.
    """
    table = [[values.get((model, loss)) for model in models] for loss in losses]
    height = ROW_HEIGHT * max(len(losses), 1) + NAME_HEIGHT
    layout = frame(height, GAP, theme)
    figure = go.Figure(layout=layout | {"margin": layout["margin"] | {"l": 76, "b": NAME_HEIGHT}, "dragmode": False})
    figure.add_trace(
        go.Heatmap(
            x=list(models),
            y=list(losses),
            z=table,
            colorscale=COLOUR_MAP,
            reversescale=lower_is_better,
            showscale=False,
            xgap=2,
            ygap=2,
            hoverongaps=False,
            hovertemplate=f"%{{x}}/%{{y}}: %{{z:.{digits}f}}<extra></extra>",
        )
    )
    figure.add_trace(_numbers(models, losses, values, digits, lower_is_better))
    figure.update_xaxes(showgrid=False, type="category", autotickangles=[0, 90])
    figure.update_yaxes(showgrid=False, type="category", autorange="reversed")
    return figure


def _numbers(
    models: Sequence[str],
    losses: Sequence[str],
    values: Mapping[tuple[str, str], float],
    digits: int,
    lower_is_better: bool,
) -> go.Scatter:
    """The numbers on the cells; plotly's own are grey on grey where the colour is neither light nor dark."""
    cells = [(model, loss) for loss in losses for model in models if (model, loss) in values]
    low, span = min(values.values(), default=0.0), max(values.values(), default=1.0) - min(values.values(), default=0.0)
    shares = [(values[cell] - low) / (span or 1.0) for cell in cells]
    colours = sample_colorscale(COLOUR_MAP, [1 - share if lower_is_better else share for share in shares])
    return go.Scatter(
        x=[model for model, _ in cells],
        y=[loss for _, loss in cells],
        mode="text",
        text=[re.sub(r"^(-?)0\.", r"\1.", f"{values[cell]:z.{digits}f}") for cell in cells],  # .870: narrow cells
        textfont={"color": [readable_on(colour) for colour in colours]},
        hoverinfo="skip",
        showlegend=False,
    )


def readable_on(colour: str) -> str:
    """Black or white, whichever stands out more; by 4.5 to 1 or more on any colour (WCAG 2.1, relative luminance).

    >>> readable_on("rgb(0, 0, 3)"), readable_on("rgb(252, 253, 191)")
    ('#ffffff', '#000000')
    """
    shares = [part / 255 for part in unlabel_rgb(colour)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > 0.179 else "#ffffff"  # where both have 4.58 to 1


def quality_figure(
    points: Sequence[Point], cost: str, quality: str, theme: Theme = "light", groups: Sequence[str] = ()
) -> go.Figure:
    """Quality against cost on a logarithmic axis: the better, the further to the left and the higher.

    Args:
        points: Costs are above 0; the best last, whose names are written first.
        cost, quality: Names of the axes.
        groups: All there are, in an order that gives each its symbol: the same in every figure that is given the same.
    """
    palette = PALETTES[theme]
    figure = go.Figure(layout=frame(QUALITY_HEIGHT, GAP, theme))
    ranges = [_range([math.log10(point.cost) for point in points]), _range([point.quality for point in points])]
    beside = _beside(points, *ranges)
    for k, group in enumerate(dict.fromkeys([*groups, *(point.group for point in points)])):
        own = [point for point in points if point.group == group]
        if not own:
            continue
        figure.add_trace(
            go.Scatter(
                x=[point.cost for point in own],
                y=[point.quality for point in own],
                text=[point.label if point in beside else "" for point in own],
                hovertext=[point.title for point in own],
                customdata=[point.card for point in own],
                mode="markers+text",
                textposition=[beside.get(point, SIDES[0]) for point in own],
                marker={"size": 10, "symbol": SYMBOLS[k % len(SYMBOLS)], "color": palette.marks[1]},
                cliponaxis=False,
                hovertemplate="%{hovertext}<br>%{x:.3g} · %{y:.3g}<extra></extra>",
            )
        )
    line = {"gridcolor": palette.grid, "linecolor": palette.grid, "zeroline": False}
    figure.update_xaxes(
        **line,
        type="log",
        range=ranges[0],
        title={"text": cost, "standoff": 4},
        **ticks([point.cost for point in points]),
    )
    figure.update_yaxes(**line, range=ranges[1], title={"text": quality, "standoff": 4})
    figure.update_layout(dragmode=False)
    return figure


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = ROOM * (high - low) or 0.5
    return low - room, high + room


def _beside(points: Sequence[Point], across: tuple[float, float], up: tuple[float, float]) -> dict[Point, str]:
    """The side on which the label of a point stands, for those that have room."""
    best_first = points[::-1]
    places = [(math.log10(point.cost), point.quality) for point in best_first]
    found = sides(places, [point.label for point in best_first], across, up)
    return {point: side for point, side in zip(best_first, found, strict=True) if side}


def ticks(costs: Sequence[float]) -> dict[str, list[Any]]:
    """Ticks of a logarithmic axis at 1, 2 and 5 of each decade, in plain numbers.

    >>> ticks([0.004, 0.03])["tickvals"], ticks([3e5, 2e6])["ticktext"]
    ([0.002, 0.005, 0.01, 0.02, 0.05], ['200 k', '500 k', '1 M', '2 M'])
    """
    if not costs:
        return {"tickvals": [], "ticktext": []}
    low, high = math.floor(math.log10(min(costs))) - 1, math.ceil(math.log10(max(costs)))
    places = [float(f"{digit}e{decade}") for decade in range(low, high + 1) for digit in (1, 2, 5)]
    first = max((place for place in places if place <= min(costs)), default=places[0])
    last = min((place for place in places if place >= max(costs)), default=places[-1])
    shown = [place for place in places if first <= place <= last]
    return {"tickvals": shown, "ticktext": [_plain(place) for place in shown]}


def _plain(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {letter}"
    return f"{value:g}"


def curve_svg(steps: Sequence[float], values: Sequence[float]) -> str:
    """A line over steps as an inline SVG of the text's colour, spanning its box; empty for fewer than two points."""
    if len(steps) < 2:
        return ""
    width, height = CURVE
    low, span = min(values), (max(values) - min(values)) or 1.0
    reach = (steps[-1] - steps[0]) or 1.0
    points = " ".join(
        f"{width * (step - steps[0]) / reach:.1f},{2 + (height - 4) * (1 - (value - low) / span):.1f}"
        for step, value in zip(steps, values, strict=True)
    )
    return (
        f'<svg class="curve" viewBox="0 0 {width} {height}" '
        f'preserveAspectRatio="none"><polyline points="{points}" fill="none" stroke="currentColor" '
        'stroke-width="1.5" vector-effect="non-scaling-stroke"/></svg>'
    )
