"""What the Bench says on the page: pure functions from what is known to HTML, as in `panels`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from denoise_app.evaluation.sweep import Point, Score
from denoise_app.metrics.activity import Activity, deviation
from denoise_app.metrics.alignment import Alignment
from denoise_app.metrics.errors import MetricUnavailable
from denoise_app.metrics.table import ARROWS, Metric, keys, named
from denoise_app.plots.scores import Axis, Curve
from denoise_app.ui.compare.html import name
from denoise_app.ui.compare.work import NOISY
from denoise_app.ui.parts import numbers, panels
from denoise_app.ui.parts.player import Version
from denoise_app.ui.parts.problems import explained
from denoise_app.ui.texts import Say
from denoise_app.ui.worker.worker import Offer

from .work import Doing, Mix, Swept, Trial

LEAST_STEPS = 50  # of a metric's last digit that an axis spans at least
CLEAN = "clean"


def progress(say: Say, doing: Doing) -> str:
    """What is being done, and how much of all of it is done."""
    now = doing.progress
    facts = {"number": doing.done + 1, "count": doing.count, "name": name(say, doing.offer) if doing.offer else ""}
    stage = say(f"bench.{doing.what}", **facts)
    if doing.what == "sweeping":
        left = now.seconds_left if now else None
        parts = [say("run.left", time=numbers.duration(left))] if left is not None else []
        return panels.working(say, stage, now.fraction if now else None, parts, say("bench.partial"))
    fraction = (doing.done + (now.fraction if now else 0.0)) / doing.count if doing.what == "running" else None
    return panels.working(say, stage, fraction)


# ------------------------------------------------------------------------------------------------------------ one trial


def noise_label(say: Say, kind: str) -> str:
    """A noise by rule, or an example's file without its ending, in the reader's language."""
    return say.either(f"bench.noise.{kind}", kind)


def noise_name(say: Say, asked: Mix) -> str:
    """A noise by rule in the reader's language, a file by its name."""
    return noise_label(say, asked.noise) if isinstance(asked.noise, str) else asked.noise.name


def heading(say: Say, trial: Trial) -> str:
    """What was mixed or compared, how exactly, and what was changed on the way."""
    asked = trial.asked
    if isinstance(asked, Mix):
        title = say("bench.mixed", snr=_decibels(asked.snr_db))
        of = f"{asked.clean.name} + {noise_name(say, asked)}"
        facts = [
            say("bench.achieved", snr=numbers.plain(trial.snr_db or 0.0, 2), asked=_decibels(asked.snr_db)),
            say("bench.p56"),
        ]
    else:
        title, of = say("bench.paired"), f"{asked.noisy.name} · {asked.clean.name}"
        assert trial.alignment is not None
        facts = [aligned(say, trial.alignment, trial.sample_rate)]
    items = "".join(f"<p>{fact}</p>" for fact in facts)
    return f'{panels.titled(title, of)}<div class="bench-facts">{items}{panels.notes(say, trial.notes)}</div>'


def aligned(say: Say, alignment: Alignment, sample_rate: int) -> str:
    """The lag in samples and ms, what its sign means, and how sure it is."""
    lag = alignment.lag
    facts = {
        "samples": numbers.signed(lag, 0),
        "ms": numbers.signed(1000 * lag / sample_rate, 2),
        "correlation": numbers.plain(abs(alignment.correlation), 2),
    }
    which = "later" if lag > 0 else "earlier" if lag < 0 else "together"
    return f"{say('bench.lag', **facts)} {say(f'bench.{which}')}".strip()


def versions(say: Say, trial: Trial) -> list[Version]:
    """What the player switches between: clean, noisy, and every denoiser that came out."""
    gains = trial.gains_db()
    sides = ((CLEAN, trial.clean), (NOISY, trial.noisy))
    return [
        *(Version(key, say(f"bench.version.{key}"), path, gains[path]) for key, path in sides),
        *(Version(take.offer.key, name(say, take.offer), take.path, take.gain_db) for take in trial.heard if take.path),
    ]


def table(say: Say, trial: Trial) -> str:
    """Every true metric before and after: a row for each, on a narrow screen a card."""
    takes = trial.heard
    heads = [say("bench.metric"), say("bench.version.noisy"), *(escape(name(say, take.offer)) for take in takes)]
    rows, reasons = [], []
    for key, before in trial.before.items():
        values = [before, *(take.scores[key] for take in takes)]
        reasons += [value for value in values if isinstance(value, MetricUnavailable)]
        rows.append(_row(say, named(key), values, heads))
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    told = dict.fromkeys(say(f"metric.{reason.reason}", **reason.facts) for reason in reasons)
    failed = [_failure(say, take.offer, take.error) for take in trial.takes if take.error]
    return (
        f'<div class="truth" role="region" tabindex="0" aria-label="{say("bench.table")}"><table>'
        f'<caption class="said">{say("bench.table")}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{_list(failed)}{_list(told)}"
        f"{panels.hint(say('bench.true'))}"
    )


def _failure(say: Say, offer: Offer, error: Exception) -> str:
    return say("bench.failed", name=name(say, offer), reason=explained(say, error))


def _list(sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="notes">{items}</ul>' if items else ""


def _row(say: Say, metric: Metric, values: Sequence[Score], heads: Sequence[str]) -> str:
    """A metric: the value of the noisy side, then each result with its change; the best of several is marked."""
    known = [value for value in values[1:] if isinstance(value, float)]
    differ = len({numbers.value(metric, value) for value in known}) > 1
    best = numbers.value(metric, metric.best(known)) if differ else None
    cells = [f'<td data-head="{heads[1]}">{_plain(say, metric, values[0])}</td>']
    for value, head in zip(values[1:], heads[2:], strict=True):
        cells.append(f'<td data-head="{head}">{_changed(say, metric, values[0], value, best)}</td>')
    direction = f"{ARROWS[metric.better]} {say(f'compare.{metric.better}')}"
    about = " · ".join(part for part in (numbers.unit(say, metric), direction) if part)
    return f'<tr><th scope="row">{numbers.title(say, metric)} <small>{about}</small></th>{"".join(cells)}</tr>'


def _plain(say: Say, metric: Metric, value: Score) -> str:
    if isinstance(value, float):
        return numbers.value(metric, value)
    return f'<span aria-hidden="true">–</span><i class="said">{say("cards.none")}</i>'


def _changed(say: Say, metric: Metric, before: Score, after: Score, best: str | None) -> str:
    if not (isinstance(before, float) and isinstance(after, float)):
        return _plain(say, metric, after)
    text, change = numbers.value(metric, after), after - before
    mark = f' <span class="tag">{say("compare.best")}</span>' if text == best else ""
    if text == numbers.value(metric, before):
        return f'{text}{mark} <small class="change">= <i class="said">{say("cards.same")}</i></small>'
    word, arrow = ("rises", "▲") if change > 0 else ("falls", "▼")
    tone = "good" if (change > 0) == (metric.better == "higher") else "bad"
    amount = numbers.change(metric, change)
    return (
        f'<span class="now">{text}</span>{mark} <small class="change {tone}"><span aria-hidden="true">{arrow}</span>'
        f'<i class="said">{say(f"cards.{word}")}</i> {amount}</small>'
    )


def activities(say: Say, trial: Trial) -> list[tuple[str, Activity]]:
    """The sounds of the figure of energy and zero crossings: clean, noisy, and every denoiser that came out."""
    takes = [(name(say, take.offer), take.activity) for take in trial.heard]
    return [
        (say(f"bench.version.{CLEAN}"), trial.clean_activity),
        (say(f"bench.version.{NOISY}"), trial.noisy_activity),
        *((title, found) for title, found in takes if found is not None),
    ]


def said_of_activity(say: Say, trial: Trial) -> str:
    """That figure in a sentence and in a table: how far each sound lies from the clean one."""
    (_, clean), *others = activities(say, trial)
    apart = [(title, deviation(found, clean)) for title, found in others]
    facts = {"noisy": numbers.plain(apart[0][1].energy_db)}
    sentence = say("bench.said-activity-noisy", **facts)
    if results := apart[1:]:
        title, nearest = min(results, key=lambda result: result[1].energy_db)
        facts |= {"name": escape(title), "db": numbers.plain(nearest.energy_db)}
        sentence = say("bench.said-activity", **facts)
    heads = "".join(
        f'<th scope="col">{say(f"bench.{key}")}</th>' for key in ("sound", "energy-apart", "crossings-apart")
    )
    rows = "".join(
        f'<tr><th scope="row">{escape(title)}</th><td>{numbers.plain(found.energy_db)}</td>'
        f"<td>{numbers.plain(found.crossings, 3)}</td></tr>"
        for title, found in apart
    )
    return (
        f'<div class="figure-said"><p>{sentence}</p><details><summary>{say("bench.activity-table")}</summary>'
        f'<div class="scrolls" tabindex="0" role="region" aria-label="{say("bench.activity-table")}"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></details></div>"
    )


def _decibels(snr_db: float) -> str:
    """An SNR as it was asked for: whole, or with its decimals."""
    return f"{snr_db:g}".replace("-", numbers.MINUS)


# ------------------------------------------------------------------------------------------------------------ the sweep


def swept_keys(swept: Swept) -> list[str]:
    """The metrics of a sweep: torch-pesq's in place of PESQ's where that is what there is."""
    points = swept.found.points
    return list(points[0].before) if points else list(keys("summary"))


def axes(say: Say, swept: Swept) -> list[Axis]:
    """The panels of its figure."""
    found = []
    for metric in map(named, swept_keys(swept)):
        least = LEAST_STEPS * 10.0 ** -(metric.digits or 0)
        found.append(Axis(metric.key, numbers.title_and_unit(say, metric), least))
    return found


def curves(say: Say, swept: Swept) -> list[Curve]:
    """The lines of its figure; who failed has those points that came before."""
    return [Curve(name(say, offer), _values(swept, offer)) for offer in swept.offers]


def _values(swept: Swept, offer: Offer) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for key in swept_keys(swept):
        improvements = ((point.snr_db, point.improvement(key)) for point in _points(swept, offer))
        found[key] = [(snr, value) for snr, value in improvements if value is not None]
    return found


def _points(swept: Swept, offer: Offer) -> list[Point]:
    return [point for point in swept.found.points if point.name == offer.key]


def swept_heading(say: Say, swept: Swept) -> str:
    """What was swept."""
    of = f"{swept.asked.clean.name} + {noise_name(say, swept.asked)}"
    return f'<div class="swept">{panels.titled(say("bench.swept"), of)}</div>'


def said_of_sweep(say: Say, swept: Swept) -> str:
    """The sweep in sentences and in a table."""
    between = "" if say.language == "zh" else " "
    sentences = [text for offer in swept.offers if (text := _range(say, swept, offer))]
    failures = swept.found.failures
    failed = [_failure(say, offer, failures[offer.key]) for offer in swept.offers if offer.key in failures]
    keys = swept_keys(swept)
    heads = [say("bench.snr-in"), say("model.heading"), *(axis.title for axis in axes(say, swept))]
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    names = {offer.key: escape(name(say, offer)) for offer in swept.offers}
    rows = "".join(
        f'<tr><th scope="row">{_decibels(point.snr_db)} {say("unit.db")}</th><td>{names[point.name]}</td>'
        f"{''.join(f'<td>{_improvement(say, point, key)}</td>' for key in keys)}</tr>"
        for point in swept.found.points
    )
    return (
        f'<div class="figure-said"><p>{between.join(sentences)}</p>{_list(failed)}'
        f'<details><summary>{say("bench.sweep-table")}</summary><div class="scrolls" tabindex="0" role="region" '
        f'aria-label="{say("bench.sweep-table")}"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</div></details></div>"
    )


def _range(say: Say, swept: Swept, offer: Offer) -> str:
    """What a denoiser does to SI-SDR at both ends of what there is."""
    values = _values(swept, offer)["si_sdr"]
    if not values:
        return ""
    (low, first), (high, last) = values[0], values[-1]
    facts = {"first": numbers.signed(first), "last": numbers.signed(last)}
    facts |= {"low": _decibels(low), "high": _decibels(high)}
    return say("bench.said-range", name=escape(name(say, offer)), **facts)


def _improvement(say: Say, point: Point, key: str) -> str:
    value = point.improvement(key)
    return numbers.change(named(key), value) if value is not None else say("cards.none")
