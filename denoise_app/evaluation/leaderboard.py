"""The leaderboard's file, and its tables in README.md and docs/leaderboard.md."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from denoise_app.losses import LOSSES
from denoise_app.metrics import report
from denoise_app.metrics.table import METRICS, Metric, keys, shown

from .conditions import CONDITIONS

FORMAT_VERSION = 2
NOISY = "noisy"  # the row of the input as it is
LANGUAGES = {"en": "English", "zh": "Mandarin"}
ROBUSTNESS = ("si_sdr", "stoi")  # what the table by language and condition holds

Board = dict[str, Any]
Row = dict[str, Any]
Scores = Mapping[str, Mapping[str, float]]
"""Metric -> its mean over some pairs and the ends of that mean's 95 % interval: "mean", "low", "high"."""
Part = Mapping[str, Any]
"""Of a row: how many "pairs", their "scores", and of the dB that the speech lost ("speech_attenuated") the "median" and
the "worst", which one pair in twenty exceeds; rows of earlier versions lack these. The row itself is one, over all."""


class LeaderboardError(ValueError):
    """A leaderboard cannot be used; the message says why and what to do."""


def read(path: Path) -> Board:
    """A leaderboard from its file.

    Raises:
        LeaderboardError: it is not one, or of a format that this version does not know.
    """
    try:
        board = json.loads(path.read_text(encoding="utf-8"), parse_constant=_finite, parse_float=_finite)
    except (OSError, ValueError) as error:
        raise LeaderboardError(f"{path} is no leaderboard: {error}") from error
    if not isinstance(board, dict) or board.get("format_version") != FORMAT_VERSION:
        raise LeaderboardError(f"{path} is no leaderboard of format {FORMAT_VERSION}; make it anew with `evaluate`")
    return board


def _finite(text: str) -> float:
    """A number of the file; no NaN and no infinity, which no figure can show."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is no score")
    return value


def write(path: Path, board: Board) -> None:
    """Beside the file first, then in its place: an interruption leaves the old one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(json.dumps(board, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def placed(rows: list[Row], row: Row) -> list[Row]:
    """The rows with one added or replaced: the noisy one first, then the others, the best first."""
    others = [other for other in rows if (other["model"], other["loss"]) != (row["model"], row["loss"])]
    return sorted([*others, row], key=_place)


def table(board: Board) -> str:
    """The leaderboard in Markdown: means over all pairs, ± half of the 95 % interval's width."""
    head = [
        "model",
        "loss",
        "parameters",
        "delay",
        *(metric.heading for metric in shown("leaderboard")),
        "speech attenuated dB ↓",
        "real-time factor ↓",
    ]
    return markdown(head, [_cells(row) for row in board["rows"]], names=2)


def overview(board: Board) -> str:
    """The best of each model in Markdown, with the few numbers that stand for all."""
    metrics = [*shown("summary"), METRICS["dnsmos_ovrl"]]
    head = ["model", "loss", *(metric.heading for metric in metrics), "real-time factor ↓"]
    lines = []
    for row in best(board["rows"]):
        cells = [_means(row, [metric.key]) for metric in metrics]
        lines.append([*_names(row), *cells, "" if row["model"] == NOISY else f"{row['rtf']:.3f}"])
    return markdown(head, lines, names=2)


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]], names: int = 1) -> str:
    """A table whose first columns hold names, and the others numbers."""
    rule = ["---"] * names + ["---:"] * (len(head) - names)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines))


def _cells(row: Row) -> list[str]:
    scores = [_cell(row["scores"].get(metric.key), metric) for metric in shown("leaderboard")]
    scores.append(_attenuated(row))
    if row["model"] == NOISY:
        return [*_names(row), "", "", *scores, ""]
    parameters = f"{row['parameters']:,}" if row["parameters"] else ""
    return [*_names(row), parameters, f"{row['latency_ms']:g} ms", *scores, f"{row['rtf']:.4f}"]


def _cell(score: Mapping[str, float] | None, metric: Metric) -> str:
    return f"{metric.text(score['mean'])} ± {metric.text(spread(score))}" if score else ""


def _attenuated(part: Part | None) -> str:
    """What the speech lost: the median, and what one recording in twenty exceeds."""
    lost = part.get("speech_attenuated") if part else None
    return f"{lost['median']:.1f} / {lost['worst']:.1f}" if lost else ""


def means(scores: Scores) -> dict[str, float]:
    """The scores without their intervals."""
    return {key: score["mean"] for key, score in scores.items()}


def spread(score: Mapping[str, float]) -> float:
    """Half of the 95 % interval's width: what stands after ±."""
    return (score["high"] - score["low"]) / 2


def quality(row: Row) -> float:
    """The number that rows are ranked by: see `report.quality`."""
    return report.quality(means(row["scores"]))


def best(rows: Sequence[Row]) -> list[Row]:
    """The noisy row, then of each model its best loss, and the best classical one, the best of all first."""
    chosen: dict[str, Row] = {}
    for row in sorted(rows, key=quality):
        chosen[row["model"] if row["loss"] or row["model"] == NOISY else "classical"] = row
    return sorted(chosen.values(), key=_place)


def _place(row: Row) -> tuple[bool, float]:
    return row["model"] != NOISY, -quality(row)


def robustness(board: Board) -> str:
    """SI-SDR and STOI of the best rows by language, and under each condition, in Markdown.

    Last comes what a far voice lost, which no scale-invariant score tells.
    """
    head = ["model", "loss", *LANGUAGES.values(), *(condition.title for condition in CONDITIONS.values())]
    head.append("far voice attenuated dB")
    lines = []
    for row in best(board["rows"]):
        languages = [row["by"].get("language", {}).get(language) for language in LANGUAGES]
        conditions = [row.get("conditions", {}).get(name) for name in CONDITIONS]
        told = (_means(part, ROBUSTNESS) for part in (*languages, *conditions))
        lines.append([*_names(row), *told, _attenuated(row.get("conditions", {}).get("near-and-far"))])
    return markdown(head, lines, names=2)


def matrix(board: Board) -> str:
    """The summary of each model trained by each loss, in Markdown; the best loss of a model is bold."""
    rows = {(row["model"], row["loss"]): row for row in board["rows"] if row["loss"]}
    models = list(dict.fromkeys(model for model, _ in rows))
    chosen = {(row["model"], row["loss"]) for row in best(board["rows"])}

    def cell(model: str, loss: str) -> str:
        if (model, loss) not in rows:
            return ""
        text = _means(rows[model, loss], keys("summary"))
        return f"**{text}**" if (model, loss) in chosen else text

    lines = [[f"`{loss}`", *(cell(model, loss) for model in models)] for loss in LOSSES]
    return markdown(["loss", *(f"`{model}`" for model in models)], lines)


def _names(row: Row) -> list[str]:
    if row["model"] == NOISY:
        return ["noisy, as it is", ""]
    return [f"`{row['model']}`", f"`{row['loss']}`" if row["loss"] else ""]


def _means(part: Part | None, wanted: Sequence[str]) -> str:
    """Means side by side; nothing where one of them is not known."""
    scores: Scores = part["scores"] if part else {}
    if any(key not in scores for key in wanted):
        return ""
    return " / ".join(METRICS[key].text(scores[key]["mean"]) for key in wanted)


def _counts(board: Board) -> str:
    """On how many pairs the conditions were scored."""
    counts = {part["pairs"] for row in board["rows"] for part in row.get("conditions", {}).values()}
    some = " or ".join(map(str, sorted(counts))) or "none"
    return f"Means over {board['data']['pairs']} pairs by language, {some} of them under each condition:"


TABLES: dict[str, Callable[[Board], str]] = {
    "overview": lambda board: f"Means over {board['data']['about']}:\n\n{overview(board)}",
    "leaderboard": lambda board: f"Means over {board['data']['about']}:\n\n{table(board)}",
    "robustness": lambda board: f"{_counts(board)}\n\n{robustness(board)}",
    "matrix": lambda board: f"\n{matrix(board)}",
}
"""Name of the marks in a text -> what stands between them."""


def into_text(text: str, board: Board) -> str:
    """A Markdown text with the tables of a leaderboard that it has two marks for.

    Raises:
        LeaderboardError: it has marks for none, or one that is not closed.
    """
    found = [name for name in TABLES if f"<!-- {name} -->" in text]
    if not found:
        known = ", ".join(f"<!-- {name} --> <!-- /{name} -->" for name in TABLES)
        raise LeaderboardError(f"the text has no place for a table; these are the marks: {known}")
    for name in found:
        mark = f"<!-- {name} -->"
        before, _, rest = text.partition(mark)
        _, last, after = rest.partition(f"<!-- /{name} -->")
        if not last:
            raise LeaderboardError(f"the text has a {mark} without <!-- /{name} -->")
        text = f"{before}{mark}\n{TABLES[name](board)}\n{last}{after}"
    return text
