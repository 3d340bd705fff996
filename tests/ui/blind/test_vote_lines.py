"""What is collected of a blind test."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

from denoise_app.ui.blind.work import Answer, Outcome, Stimulus, vote_lines

DAY = date(2031, 5, 17)


def outcome(kind: str = "abx", answers: int = 10, path: Path = Path("/visits/secret/my talk.wav")) -> Outcome:
    """Of gru/hybrid as A and the recording as B; every third answer is B."""
    who = (
        Stimulus("gru/hybrid", "gru", "hybrid", "ab" * 32, path, -3.0),
        Stimulus("noisy", "noisy", None, None, path, 0.0),
    )
    x = "gru/hybrid" if kind == "abx" else None
    given = [Answer("gru/hybrid", "noisy", x, "b" if number % 3 == 0 else "a") for number in range(1, answers + 1)]
    return Outcome(kind, "my talk.wav", 10, who, tuple(given))  # type: ignore[arg-type]


def test_a_vote_holds_denoisers_outcome_and_day_and_nothing_else() -> None:
    facts = {"model": "gru", "loss": "hybrid", "sha256": "ab" * 32}, {"model": "noisy", "loss": None, "sha256": None}
    (abx,) = vote_lines(outcome("abx", 7), DAY)
    assert len(abx.pop("id")) == 16
    counts = {"right": 5, "trials": 7, "planned": 10}
    assert abx == {"day": "2031-05-17", "kind": "abx", "first": facts[0], "second": facts[1]} | counts
    found = vote_lines(outcome("preference", 3), DAY)
    assert [line["preferred"] for line in found] == ["first", "first", "second"]
    assert {frozenset(line) for line in found} == {frozenset({"id", "day", "kind", "first", "second", "preferred"})}
    assert len({line["id"] for line in found}) == 3
    assert "talk" not in json.dumps(found) and "secret" not in json.dumps(found)


def test_no_difference_is_for_nobody() -> None:
    tied = Outcome("preference", "", 5, outcome().stimuli, (Answer("noisy", "gru/hybrid", None, "none"),))
    (line,) = vote_lines(tied, DAY)
    assert line["preferred"] is None and line["first"]["model"] == "noisy"


def test_a_test_without_an_answer_leaves_nothing() -> None:
    assert vote_lines(outcome("preference", 0), DAY) == []
