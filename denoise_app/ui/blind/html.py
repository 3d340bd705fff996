"""What blind listening says on the page: pure functions from what is known to HTML, as in `panels`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

from denoise_app.metrics.listening import SIGNIFICANT, Score, fewest_right
from denoise_app.ui.parts import panels
from denoise_app.ui.parts.downloads import address
from denoise_app.ui.texts import Say

from .work import Outcome


def votes(say: Say, collected: bool, dataset: str | None) -> str:
    """What becomes of answers."""
    if not collected:
        return panels.hint(say("blind.votes-stay"))
    sent = " " + say("blind.votes-sent", dataset=dataset) if dataset else ""
    return f'<p class="hint collected">{escape(say("blind.votes-kept") + sent)}</p>'


def progress(say: Say, kind: str, number: int, planned: int) -> str:
    """Which trial it is, and what is asked."""
    trial, question = say("blind.progress", number=number, planned=planned), say(f"blind.ask-{kind}")
    return (
        f'<div class="blind-progress" tabindex="-1" data-said="{escape(f"{trial}. {question}", quote=True)}">'
        f'<p><strong>{escape(question)}</strong> <span class="quiet">{escape(trial)}</span></p>'
        f'<progress max="{planned}" value="{number - 1}" aria-label="{escape(trial, quote=True)}"></progress>'
        f"{panels.hint(say('blind.ask-help'))}</div>"
    )


def outcome(say: Say, found: Outcome, scores: Sequence[Score], name: Callable[[str], str]) -> str:
    """What a test has shown, and which names the letters stood for.

    Args:
        scores: Of all preferences in this visit.
        name: What the user calls the version of a key.
    """
    shown = _abx(say, found, name) if found.kind == "abx" else _preferences(say, scores, name)
    return f'<section class="blind-outcome" tabindex="-1">{shown}{_trials(say, found, name)}</section>'


def _abx(say: Say, found: Outcome, name: Callable[[str], str]) -> str:
    answered, p = len(found.answers), found.p_value
    needed = fewest_right(answered)
    title = say("blind.right", right=found.right, answered=answered)
    heard = p < SIGNIFICANT
    sentences = [
        say("blind.luck", percent=f"{100 * p:.2g}" if p < 0.1 else f"{100 * p:.0f}", p=f"{p:.4f}"),
        say("blind.heard" if heard else "blind.unheard"),
    ]
    if not heard:
        sentences.append(say("blind.needed", needed=needed, answered=answered) if needed else say("blind.never"))
    if not found.complete:
        sentences.append(say("blind.early", answered=answered, planned=found.planned))
    first = found.answers[0]
    between = "" if say.language == "zh" else " "
    return (
        f'<h4 class="heading" data-said="{escape(title, quote=True)}">{title}</h4>'
        f"<p>{between.join(sentences)}</p>"
        f"<p><strong>{escape(say('blind.names', a=name(first.a), b=name(first.b)))}</strong></p>"
    )


def _preferences(say: Say, scores: Sequence[Score], name: Callable[[str], str]) -> str:
    rows = []
    for score in scores:
        low, high = (f"{100 * end:.0f}" for end in score.interval)
        cells = (f"{100 * score.share:.0f} %", f"{low} – {high} %", f"{score.wins:g}", f"{score.comparisons}")
        body = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f'<tr><th scope="row">{escape(name(score.name))}</th>{body}</tr>')
    votes = sum(score.comparisons for score in scores) // 2
    heads = [say(f"blind.{key}") for key in ("versions", "share", "range", "won", "compared")]
    title = say("blind.preferred")
    return (
        f'<h4 class="heading" data-said="{escape(title, quote=True)}">{title}</h4>'
        f"<p>{say('blind.scores', votes=votes)}</p>{_table(say('blind.scores-caption'), heads, rows)}"
    )


def _trials(say: Say, found: Outcome, name: Callable[[str], str]) -> str:
    """Every trial with its names, folded away."""
    abx = found.kind == "abx"
    rows = []
    for number, answer in enumerate(found.answers, 1):
        picked = name(answer.picked) if answer.picked else say("blind.no-difference")
        cells = [name(answer.a), name(answer.b)]
        cells += [name(answer.x or ""), picked, say("blind.yes" if answer.right else "blind.no")] if abx else [picked]
        rows.append(f'<tr><th scope="row">{number}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>')
    more = [say("blind.x-was"), say("blind.answer"), say("blind.was-right")] if abx else [say("blind.answer")]
    caption = say("blind.trials-caption")
    table = _table(caption, [say("blind.trial"), "A", "B", *more], rows)
    return f"<details><summary>{caption}</summary>{table}</details>"


def _table(caption: str, heads: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        f'<div class="table" role="region" tabindex="0" aria-label="{escape(caption, quote=True)}"><table>'
        f'<caption class="said">{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def downloads(say: Say, token: str, names: Mapping[str, str]) -> str:
    """Links to the answers: "csv", "json" -> what the user's copy is called."""
    links = "".join(
        f'<a class="download" href="{address(token, name)}" download="{name}">{panels.ICON_DOWNLOAD}'
        f"{say(f'blind.{key}')}</a>"
        for key, name in names.items()
    )
    return f'<nav class="downloads" aria-label="{say("blind.download")}">{links}</nav>'
