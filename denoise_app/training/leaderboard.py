"""The leaderboard's file, and its table in the README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from denoise_app.metrics.report import METRICS

FORMAT_VERSION = 1
NOISY = "noisy"  # the row of the input as it is
FIRST_MARK, LAST_MARK = "<!-- leaderboard -->", "<!-- /leaderboard -->"
COLUMNS = {  # metric -> its heading and its decimals
    "pesq_wb": ("PESQ-WB", 2),
    "stoi": ("STOI", 3),
    "si_sdr": ("SI-SDR dB", 1),
    "segmental_snr": ("segmental SNR dB", 1),
    "lsd": ("LSD dB", 1),
    "dnsmos_ovrl": ("DNSMOS", 2),
}

Board = dict[str, Any]
Row = dict[str, Any]


class LeaderboardError(ValueError):
    """A leaderboard cannot be used; the message says why and what to do."""


def read(path: Path) -> Board:
    """A leaderboard from its file.

    Raises:
        LeaderboardError: it is not one, or of a format that this version does not know.
    """
    try:
        board = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LeaderboardError(f"{path} is no leaderboard: {error}") from error
    if not isinstance(board, dict) or board.get("format_version") != FORMAT_VERSION:
        raise LeaderboardError(f"{path} is no leaderboard of format {FORMAT_VERSION}; make it anew with `evaluate`")
    return board


def write(path: Path, board: Board) -> None:
    """Beside the file first, then in its place: an interruption leaves the old one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(json.dumps(board, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def placed(rows: list[Row], row: Row) -> list[Row]:
    """The rows with one added or replaced: the noisy one first, the others by rising PESQ-WB."""
    others = [other for other in rows if (other["model"], other["loss"]) != (row["model"], row["loss"])]
    return sorted([*others, row], key=lambda r: (r["model"] != NOISY, r["scores"].get("pesq_wb", {}).get("mean", 0)))


def table(board: Board) -> str:
    """The leaderboard in Markdown: means over all pairs, ± half of the 95 % interval's width."""
    arrows = {"higher": "↑", "lower": "↓", "neither": ""}
    titles = [f"{title} {arrows[METRICS[key].better]}".rstrip() for key, (title, _) in COLUMNS.items()]
    head = ["model", "loss", "parameters", "delay", *titles, "real-time factor ↓"]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)], *(_cells(row) for row in board["rows"])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _cells(row: Row) -> list[str]:
    scores = [_cell(row["scores"].get(key), decimals) for key, (_, decimals) in COLUMNS.items()]
    if row["model"] == NOISY:
        return ["noisy, as it is", "", "", "", *scores, ""]
    parameters = f"{row['parameters']:,}" if row["parameters"] else ""
    loss = f"`{row['loss']}`" if row["loss"] else ""
    return [f"`{row['model']}`", loss, parameters, f"{row['latency_ms']:g} ms", *scores, f"{row['rtf']:.4f}"]


def _cell(score: dict[str, float] | None, decimals: int) -> str:
    if score is None:
        return ""
    half = (score["high"] - score["low"]) / 2
    return f"{score['mean']:.{decimals}f} ± {half:.{decimals}f}"


def into_text(text: str, board: Board) -> str:
    """A Markdown text with what was scored, and the table of a leaderboard, between its two marks.

    Raises:
        LeaderboardError: the marks are not there.
    """
    before, first, rest = text.partition(FIRST_MARK)
    _, last, after = rest.partition(LAST_MARK)
    if not (first and last):
        raise LeaderboardError(f"the text has no place for the table: {FIRST_MARK} and {LAST_MARK}")
    return f"{before}{first}\nMeans over {board['data']['about']}:\n\n{table(board)}\n{last}{after}"
