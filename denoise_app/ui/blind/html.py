"""What blind listening says on the page: pure functions from what is known to HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from markupsafe import Markup

from denoise_app.metrics.listening import SIGNIFICANT, Score, fewest_right
from denoise_app.ui.parts.markup import head, hint, region, row, row_head, sentences, table, tag
from denoise_app.ui.texts import Say

from .work import Outcome


def votes(say: Say, collected: bool, dataset: str | None) -> Markup:
    """What becomes of answers."""
    if not collected:
        return hint(say("blind.votes-stay"))
    sent = " " + say("blind.votes-sent", dataset=dataset) if dataset else ""
    return tag("p", say("blind.votes-kept") + sent, class_="hint collected")


def progress(say: Say, kind: str, number: int, planned: int) -> Markup:
    """Which trial it is, and what is asked."""
    trial, question = say("blind.progress", number=number, planned=planned), say(f"blind.ask-{kind}")
    return tag(
        "div",
        tag("p", tag("strong", question), " ", tag("span", trial, class_="quiet")),
        tag("progress", max=planned, value=number - 1, aria_label=trial),
        hint(say("blind.ask-help")),
        class_="blind-progress",
        tabindex="-1",
        data_said=f"{trial}. {question}",
    )


def outcome(say: Say, found: Outcome, scores: Sequence[Score], name: Callable[[str], str]) -> Markup:
    """What a test has shown, and which names the letters stood for.

    Args:
        scores: Of all preferences in this visit.
        name: What the user calls the version of a key.
    """
    shown = _abx(say, found, name) if found.kind == "abx" else _preferences(say, scores, name)
    return tag("section", shown, _trials(say, found, name), class_="blind-outcome", tabindex="-1")


def _title(text: str) -> Markup:
    return tag("h4", text, class_="heading", data_said=text)


def _abx(say: Say, found: Outcome, name: Callable[[str], str]) -> Markup:
    answered, p = len(found.answers), found.p_value
    needed = fewest_right(answered)
    is_significant = p < SIGNIFICANT
    lines = [
        say("blind.luck", percent=f"{100 * p:.2g}" if p < 0.1 else f"{100 * p:.0f}", p=f"{p:.4f}"),
        say("blind.heard" if is_significant else "blind.unheard"),
    ]
    if not is_significant:
        lines.append(say("blind.needed", needed=needed, answered=answered) if needed else say("blind.never"))
    if not found.complete:
        lines.append(say("blind.early", answered=answered, planned=found.planned))
    first = found.answers[0]
    return (
        _title(say("blind.right", right=found.right, answered=answered))
        + tag("p", sentences(say, lines))
        + tag("p", tag("strong", say("blind.names", a=name(first.a), b=name(first.b))))
    )


def _preferences(say: Say, scores: Sequence[Score], name: Callable[[str], str]) -> Markup:
    rows = []
    for score in scores:
        low, high = (f"{100 * end:.0f}" for end in score.interval)
        rows.append(
            _row(
                name(score.name),
                f"{100 * score.share:.0f} %",
                f"{low} – {high} %",
                f"{score.wins:g}",
                f"{score.comparisons}",
            )
        )
    votes = sum(score.comparisons for score in scores) // 2
    heads = [say(f"blind.{key}") for key in ("versions", "share", "range", "won", "compared")]
    return (
        _title(say("blind.preferred"))
        + tag("p", say("blind.scores", votes=votes))
        + _table(say("blind.scores-caption"), heads, rows)
    )


def _trials(say: Say, found: Outcome, name: Callable[[str], str]) -> Markup:
    """Every trial with its names, folded away."""
    abx = found.kind == "abx"
    rows = []
    for number, answer in enumerate(found.answers, 1):
        picked = name(answer.picked) if answer.picked else say("blind.no-difference")
        cells = [name(answer.a), name(answer.b)]
        cells += [name(answer.x or ""), picked, say("blind.yes" if answer.right else "blind.no")] if abx else [picked]
        rows.append(_row(str(number), *cells))
    more = [say("blind.x-was"), say("blind.answer"), say("blind.was-right")] if abx else [say("blind.answer")]
    caption = say("blind.trials-caption")
    return tag("details", tag("summary", caption), _table(caption, [say("blind.trial"), "A", "B", *more], rows))


def _row(title: str, *cells: str) -> Markup:
    return row(row_head(title), *(tag("td", cell) for cell in cells))


def _table(caption: str, heads: Iterable[str], rows: Iterable[Markup]) -> Markup:
    return region(caption, table(map(head, heads), rows, caption), "table")
