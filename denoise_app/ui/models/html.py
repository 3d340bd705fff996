"""The leaderboard as it is shown: pure functions from it to HTML, and to what figures need."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from denoise_app import resources
from denoise_app.evaluation.leaderboard import (
    NOISY,
    Board,
    LeaderboardError,
    Part,
    Row,
    Scores,
    means,
    quality,
    read,
    spread,
)
from denoise_app.inference.catalog import Entry
from denoise_app.losses import LOSSES
from denoise_app.metrics import report
from denoise_app.metrics.table import METRICS, Metric, keys, shown
from denoise_app.plots.board import Point, curve_svg
from denoise_app.ui.parts import denoiser, markup, numbers
from denoise_app.ui.parts.markup import hint, joined, missing, notices, region, row_head, sortable_head, tag
from denoise_app.ui.texts import Say

logger = logging.getLogger(__name__)

RESULTS = resources.folder("results")
KINDS = ("all", "neural", "causal", "classical")
COSTS = ("rtf", "parameters")
EVERYTHING = "all"
PEERS = ("measured", "published")  # the tables of other systems
MOST_CARDS = 512  # that are remembered, some 5 kB each: every visit is shown those of all denoisers
CURVES = ("pesq-wb", "si-sdr", "loss")  # what a training may have recorded, the most telling first


@dataclass(frozen=True)
class Standing:
    """A leaderboard and what it is measured against.

    Attributes:
        board: Ours; None where there is none, or it cannot be read.
        peers: Tables of others' systems: name -> {"about", "rows"}.
        problem: Why there is no board.
    """

    board: Board | None
    peers: Mapping[str, Any]
    problem: str = ""


def standing(results: Path = RESULTS) -> Standing:
    """Reads what lies in the folder of results; never raises for what is missing or broken there."""
    peers = _peers(results / "peers.json")
    try:
        return Standing(read(results / "leaderboard.json"), peers)
    except LeaderboardError as problem:
        return Standing(None, peers, str(problem))


def _peers(file: Path) -> dict[str, Any]:
    """The tables of a file that can be shown; none where it is missing, and what is broken goes to the log."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as problem:
        logger.warning("%s cannot be read: %s", file, problem)
        return {}
    listed = found if isinstance(found, dict) else {}
    peers = {name: listed[name] for name in PEERS if _is_table(listed.get(name))}
    if missing := [name for name in PEERS if name not in peers]:
        logger.warning("%s holds no table that can be shown: %s", file, ", ".join(missing))
    return peers


def _is_table(table: object) -> bool:
    """Whether it has rows, all with a name and with the same numbers."""
    rows = table.get("rows") if isinstance(table, dict) else None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return False
    cells = [row.get(key, "") for row in rows for key in _peer_columns(rows[0])]
    named = all(isinstance(row.get("system"), str) for row in rows)
    return named and all(isinstance(cell, int | float | None) for cell in cells)


def _peer_columns(row: Mapping[str, Any]) -> list[str]:
    """The numbers that a table of other systems holds, by its first row."""
    return [key for key in (*keys("summary"), *COSTS) if key in row]


# -------------------------------------------------------------------------------------------------------------- filters


def groups(say: Say, board: Board) -> list[tuple[str, str]]:
    """(label, key) of every part of the recordings that has scores of its own."""
    found = [(say("board.everything"), EVERYTHING)]
    rows = board["rows"]
    for group in ("snr_db", "language"):
        names = dict.fromkeys(name for row in rows for name in row["by"].get(group, {}))
        found += [(_group_label(say, group, name), f"{group}:{name}") for name in names]
    conditions = dict.fromkeys(name for row in rows for name in row.get("conditions", {}))
    return found + [(_group_label(say, "condition", name), f"condition:{name}") for name in conditions]


def _group_label(say: Say, group: str, name: str) -> str:
    return say("board.snr", snr=name) if group == "snr_db" else say.either(f"board.{group}.{name}", name)


def part(row: Row, group: str) -> Part:
    """What a row holds of a part of the recordings; no scores where it was not scored there."""
    if group == EVERYTHING:
        return row
    kind, _, name = group.partition(":")
    parts = row.get("conditions", {}) if kind == "condition" else row["by"].get(kind, {})
    found: Part = parts.get(name, {"pairs": 0, "scores": {}})
    return found


def scores(row: Row, group: str) -> Scores:
    """A row's scores over a part of the recordings; empty where it was not scored there."""
    found: Scores = part(row, group)["scores"]
    return found


def rows(board: Board, group: str, kind: str, loss: str = EVERYTHING) -> list[Row]:
    """The rows of a kind and a loss that were scored on a part of the recordings; the noisy one always."""
    listed = [row for row in board["rows"] if loss in (EVERYTHING, row["loss"]) or row["model"] == NOISY]
    return [row for row in listed if scores(row, group) and (row["model"] == NOISY or _is(row, kind))]


def losses(board: Board) -> list[str]:
    """The training losses that the leaderboard knows, in the house's order, then those of others."""
    known = {loss: place for place, loss in enumerate(LOSSES)}
    found = {row["loss"] for row in board["rows"] if row["loss"]}
    return sorted(found, key=lambda loss: (known.get(loss, len(LOSSES)), loss))


def _is(row: Row, kind: str) -> bool:
    return kind == "all" or row["kind"] == kind or (kind == "causal" and row["causal"])


def name(row: Row) -> str:
    return f"{row['model']}/{row['loss']}" if row["loss"] else str(row["model"])


def card_id(model: str, loss: str | None, revision: str | None = None) -> str:
    """Where the card of a denoiser is found in the page.

    >>> card_id("gru", "si-snr")
    'card-gru-si-snr'
    """
    parts = ["card", model, *([loss] if loss else []), *([revision[:7]] if revision else [])]
    return re.sub(r"[^a-z0-9-]", "-", "-".join(parts).lower())


# --------------------------------------------------------------------------------------------------------------- tables


def table(say: Say, board: Board, group: str, kind: str, loss: str = EVERYTHING) -> Markup:
    """The leaderboard, to be sorted by any column: the best of each model, and everything, folded.

    The best of each column is marked in words.
    """
    listed = rows(board, group, kind, loss)
    best = best_of_each(listed, group)
    shown = _table(say, board, group, best, listed)
    if len(best) < len(listed):
        folded = tag("summary", say("board.rest", count=sum(row["model"] != NOISY for row in listed)))
        shown += tag(
            "details", folded, _table(say, board, group, listed, listed), class_="peers", data_fold="board.rest"
        )
    return shown + hint(f"{_caption(say, board, group, listed)} {say('board.interval')}")


def best_of_each(listed: Sequence[Row], group: str) -> list[Row]:
    """The best row of each model over a part of the recordings, by `report.quality`, in their order."""
    best = {row["model"]: row for row in sorted(listed, key=lambda row: report.quality(means(scores(row, group))))}
    return [row for row in listed if best[row["model"]] is row]


def _table(say: Say, board: Board, group: str, shown_rows: Sequence[Row], listed: Sequence[Row]) -> Markup:
    """Some of the rows that are listed, over all of which the best are marked."""
    known = [means(scores(row, group)) for row in listed]
    metrics = [metric for metric in shown("leaderboard") if any(metric.key in row for row in known)]
    best = {metric: _best(metric, [row[metric.key] for row in known if metric.key in row]) for metric in metrics}
    heads = [sortable_head(say(f"models.{key}")) for key in ("model", "loss")]
    heads += [_score_head(say, metric) for metric in metrics]
    heads += [
        sortable_head(say("models.parameters"), "", "lower"),
        sortable_head(say("models.delay"), say("unit.ms"), "lower"),
        sortable_head(say("board.rtf"), "", "lower"),
        sortable_head(say("models.causal")),
    ]
    caption = _caption(say, board, group, listed)
    body = (_row(say, row, group, best) for row in shown_rows)
    return region(caption, markup.table(heads, body, caption), "versus")


def _caption(say: Say, board: Board, group: str, shown: Sequence[Row]) -> str:
    caption = say("board.caption", recordings=numbers.recordings(say, str(board["data"]["about"])))
    if group == EVERYTHING or not shown:
        return caption
    title = _group_label(say, *group.split(":", 1))
    return f"{caption} {say('board.part', pairs=str(part(shown[0], group)['pairs']), part=title)}"


def _score_head(say: Say, metric: Metric) -> Markup:
    title, unit = numbers.title(say, metric), numbers.unit(say, metric)
    return sortable_head(title, unit, metric.better, say(f"compare.{metric.better}"))


def _best(metric: Metric, values: Sequence[float]) -> str:
    return numbers.value(metric, metric.best(values))


def _row(say: Say, row: Row, group: str, best: Mapping[Metric, str]) -> Markup:
    noisy = row["model"] == NOISY
    title = say("board.noisy") if noisy else str(row["model"])
    link = title if noisy else tag("a", title, href=f"#{card_id(row['model'], row['loss'])}")
    cells = [tag("th", link, scope="row", data_value=title), _text(row["loss"] or "")]
    cells += [_score(say, row, group, metric, text) for metric, text in best.items()]
    if noisy:
        cells += [tag("td")] * 4
    else:
        cells += [
            _number(row["parameters"], numbers.size(row["parameters"])),
            _number(row["latency_ms"], numbers.milliseconds(row["latency_ms"])),
            _number(row["rtf"], f"{row['rtf']:.2g}"),
            _text(say("models.yes" if row["causal"] else "models.no")),
        ]
    return markup.row(*cells)


def _text(text: str) -> Markup:
    return tag("td", text, data_value=text)


def _number(value: float, text: str) -> Markup:
    return tag("td", text, data_value=repr(value))


def _score(say: Say, row: Row, group: str, metric: Metric, best: str) -> Markup:
    score = scores(row, group).get(metric.key)
    if score is None:
        return tag("td", missing(say("compare.unknown")), class_="quiet")
    text = numbers.value(metric, score["mean"])
    half = tag("small", f"± {numbers.value(metric, spread(score))}", class_="quiet")
    cell = [text, " ", half]
    if text == best:
        cell = [tag("b", text), " ", half, " ", tag("span", say("compare.best"), class_="tag")]
    return tag("td", *cell, data_value=repr(score["mean"]))


def others(say: Say, peers: Mapping[str, Any]) -> Markup:
    """Tables of systems that are not ours, each with where its numbers come from."""
    parts = []
    for which, listed in peers.items():
        columns = _peer_columns(listed["rows"][0])
        heads = [sortable_head(say("board.system"))]
        heads += [sortable_head(_cost(say, key)) if key in COSTS else _score_head(say, METRICS[key]) for key in columns]
        body = (
            markup.row(row_head(row["system"], row["system"]), *(_peer_cell(row[key], key) for key in columns))
            for row in listed["rows"]
        )
        title = say(f"board.peers.{which}")
        systems = region(title, markup.table(heads, body, title), "versus")
        about = hint(say(f"board.peers.{which}-help"))
        parts.append(tag("details", tag("summary", title), about, systems, class_="peers"))
    return joined(parts)


def _peer_cell(value: float | None, key: str) -> Markup:
    if value is None:
        return tag("td")
    if key in COSTS:
        return _number(value, numbers.size(int(value)) if key == "parameters" else numbers.plain(value, 3))
    return _number(value, numbers.value(METRICS[key], value))


def _cost(say: Say, key: str) -> str:
    return say("board.rtf" if key == "rtf" else "models.parameters")


# --------------------------------------------------------------------------------------------------------- for figures


def matrix(board: Board, group: str, metric: str) -> tuple[list[str], list[str], dict[tuple[str, str], float]]:
    """Models, losses, and (model, loss) -> mean."""
    known = {(row["model"], row["loss"]): scores(row, group) for row in board["rows"] if row["loss"]}
    values = {pair: found[metric]["mean"] for pair, found in known.items() if metric in found}
    scored = {loss for _, loss in values}
    return sorted({model for model, _ in values}), [loss for loss in losses(board) if loss in scored], values


def said_of_matrix(say: Say, board: Board, group: str, metric: str) -> Markup:
    """What the heat map shows, in a sentence: which loss is the best of each model."""
    models, _, values = matrix(board, group, metric)
    if not values:
        return hint(say("board.unscored"))
    ends = []
    for model in models:
        own = {loss: value for (other, loss), value in values.items() if other == model}
        ends.append(f"{model}: {METRICS[metric].best(own, key=own.__getitem__)}")
    title = numbers.title_and_unit(say, METRICS[metric])
    return hint(say("board.matrix-said", metric=title, best=", ".join(ends)))


def points(board: Board, group: str, kind: str, metric: str, cost: str, loss: str = EVERYTHING) -> list[Point]:
    """What `quality_figure` shows: every row that has both; the best of each model bears its name."""
    listed = [row for row in rows(board, group, kind, loss) if metric in scores(row, group) and row.get(cost)]
    named = set()
    for model in {row["model"] for row in listed}:
        own = (row for row in listed if row["model"] == model)
        best = METRICS[metric].best(own, key=lambda row: scores(row, group)[metric]["mean"])
        named.add((best["model"], best["loss"]))
    return [
        Point(
            group=row["model"],
            title=name(row),
            label=row["model"] if (row["model"], row["loss"]) in named else "",
            card=card_id(row["model"], row["loss"]),
            cost=row[cost],
            quality=scores(row, group)[metric]["mean"],
        )
        for row in sorted(listed, key=quality)
    ]


# ---------------------------------------------------------------------------------------------------------------- cards


def cards(say: Say, offers: Sequence[Entry], best: Entry) -> Markup:
    """A card of each denoiser, all of them folded away: rows and points open them. The best of all is marked."""
    listed = (_drawn(say, offer, offer.key == best.key) for offer in offers)
    return tag("details", tag("summary", say("models.all", count=len(offers))), *listed, class_="all-cards")


def _drawn(say: Say, offer: Entry, recommended: bool) -> Markup:
    """A card, or in its place that it cannot be drawn, so that one never takes the others along."""
    try:
        return card(say, offer, recommended=recommended)
    except Exception:
        logger.exception("the card of %s cannot be drawn", offer.key)
        name = f"{offer.model} · {offer.loss}" if offer.loss else offer.model
        body = notices([say("models.undrawn")])
        return tag("details", tag("summary", name), body, class_="card", id=_place(offer))


def card(say: Say, offer: Entry, unfolded: bool = False, recommended: bool = False) -> Markup:
    """What a denoiser is, what it learnt from, its scores, how its training went."""
    return _card(say.language, offer, unfolded, recommended)


@lru_cache(MOST_CARDS)
def _card(language: str, offer: Entry, unfolded: bool, recommended: bool) -> Markup:
    say, manifest = Say(language), offer.manifest
    title = f"{offer.model}/{offer.loss}" if offer.loss else offer.model
    mark = Markup(" ") + tag("small", say("model.recommended"), class_="tag") if recommended else ""
    body = [denoiser.about(say, offer)]
    if manifest is not None:
        facts = (tag("div", tag("dt", key), tag("dd", value)) for key, value in _facts(say, offer))
        body += [tag("dl", *facts, class_="facts"), _curve(say, manifest.training)]
    if manifest is not None and manifest.credits:
        thanks = (tag("li", credit) for credit in manifest.credits)
        body += [tag("p", say("board.credits")), tag("ul", *thanks, lang="en")]
    return tag("details", tag("summary", title, mark), *body, class_="card", id=_place(offer), open=unfolded)


def _place(offer: Entry) -> str:
    return card_id(offer.model, offer.loss, offer.revision)


def _facts(say: Say, offer: Entry) -> Iterator[tuple[str, str]]:
    assert offer.manifest is not None
    manifest, training = offer.manifest, offer.manifest.training
    yield say("models.licence"), manifest.licence
    yield say("models.from"), denoiser.source(say, offer)
    yield say("board.size"), f"{manifest.size / 1e6:.2g} MB"
    yield say("models.macs"), f"{manifest.macs_per_second / 1e6:,.0f}"
    for key, unit in (("hours_seen", "h"), ("steps", ""), ("minutes", "min"), ("seed", ""), ("init", "")):
        if isinstance(value := training.get(key), int | float | str) and value != "":
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            yield say(f"board.training.{key}"), f"{shown} {unit}".strip()
    data = training.get("data")
    if isinstance(data, Mapping):
        hours = [f"{_part(say, part)} {found['hours']:.2g} h" for part, found in data.items() if _has_hours(found)]
        yield say("board.training.data"), ", ".join(hours)
    if isinstance(commit := training.get("commit"), str):
        yield say("board.training.commit"), tag("code", commit[:12])
    yield "sha256", tag("code", manifest.sha256[:12])


def _part(say: Say, name: str) -> str:
    return say.either(f"board.training.data.{name}", name)


def _has_hours(found: object) -> bool:
    return isinstance(found, Mapping) and isinstance(found.get("hours"), int | float)


def _curve(say: Say, training: Mapping[str, Any]) -> Markup:
    """The training curve; nothing where too little of it was recorded."""
    told = [point for point in training.get("curve") or () if isinstance(point, Mapping)]
    for key in CURVES:
        found = [(point["step"], point[key]) for point in told if _plots(point, key)]
        if len(found) < 2:
            continue
        first, last = found[0][1], found[-1][1]
        facts = {"name": say(f"board.curve.{key}"), "first": f"{first:.3g}", "last": f"{last:.3g}"}
        label = say("board.curve", **facts, steps=f"{found[-1][0]:,}")
        picture = Markup(curve_svg([step for step, _ in found], [value for _, value in found]))
        return tag(
            "figure",
            tag("span", picture, role="img", aria_label=label),
            tag("figcaption", label),
            class_="training",
        )
    return Markup()


def _plots(point: Mapping[str, Any], key: str) -> bool:
    return all(isinstance(point.get(name), int | float) for name in ("step", key))
