"""What the Bench says on the page: pure functions from what is known to HTML."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from denoise_app.evaluation.sweep import Point, Score
from denoise_app.inference.catalog import Entry
from denoise_app.metrics.activity import Activity, deviation
from denoise_app.metrics.alignment import Alignment
from denoise_app.metrics.errors import MetricUnavailable
from denoise_app.metrics.table import ARROWS, Metric, keys, named
from denoise_app.plots.scores import Axis, Curve
from denoise_app.serve.turns import Place
from denoise_app.ui.parts import numbers
from denoise_app.ui.parts.denoiser import name
from denoise_app.ui.parts.markup import (
    decoration,
    head,
    hidden_text,
    hint,
    missing,
    notices,
    region,
    row,
    row_head,
    sentences,
    table,
    tag,
    titled,
    working,
)
from denoise_app.ui.parts.orders import queued
from denoise_app.ui.parts.player import NOISY, Version
from denoise_app.ui.parts.problems import explained
from denoise_app.ui.parts.recording import notes
from denoise_app.ui.texts import Say

from .work import Doing, Mix, Swept, Trial

LEAST_STEPS = 50  # of a metric's last digit that an axis spans at least
CLEAN = "clean"


def progress(say: Say, doing: Doing) -> Markup:
    """What is being done, and how much of all of it is done."""
    now = doing.progress
    if isinstance(now, Place):
        return queued(say, now)
    facts = {"number": doing.done + 1, "count": doing.count, "name": name(say, doing.offer) if doing.offer else ""}
    stage = say(f"bench.{doing.what}", **facts)
    if doing.what == "sweeping":
        left = now.seconds_left if now else None
        parts = [say("run.left", time=numbers.duration(left))] if left is not None else []
        return working(say, stage, now.fraction if now else None, parts, say("bench.partial"))
    fraction = (doing.done + (now.fraction if now else 0.0)) / doing.count if doing.what == "running" else None
    return working(say, stage, fraction)


# ------------------------------------------------------------------------------------------------------------ one trial


def noise_label(say: Say, kind: str) -> str:
    """A noise by rule, or an example's file without its ending, in the reader's language."""
    return say.either(f"bench.noise.{kind}", kind)


def noise_name(say: Say, asked: Mix) -> str:
    """A noise by rule in the reader's language, a file by its name."""
    return noise_label(say, asked.noise) if isinstance(asked.noise, str) else asked.noise.name


def trial_heading(say: Say, trial: Trial) -> Markup:
    """What was mixed or compared, how exactly, and what was changed on the way."""
    asked = trial.asked
    if isinstance(asked, Mix):
        title = say("bench.mixed", snr=_decibels(asked.snr_db))
        of = f"{asked.clean.name} + {noise_name(say, asked)}"
        achieved = numbers.plain(trial.snr_db or 0.0, 2)
        facts = [say.markup("bench.achieved", snr=achieved, asked=_decibels(asked.snr_db)), say("bench.p56")]
    else:
        title, of = say("bench.paired"), f"{asked.noisy.name} · {asked.clean.name}"
        assert trial.alignment is not None
        facts = [aligned(say, trial.alignment, trial.sample_rate)]
    about = tag("div", *(tag("p", fact) for fact in facts), notes(say, trial.notes), class_="bench-facts")
    return titled(title, of) + about


def aligned(say: Say, alignment: Alignment, sample_rate: int) -> Markup:
    """The lag in samples and ms, what its sign means, and how sure it is."""
    lag = alignment.lag
    facts = {
        "samples": numbers.signed(lag, 0),
        "ms": numbers.signed(1000 * lag / sample_rate, 2),
        "correlation": numbers.plain(abs(alignment.correlation), 2),
    }
    which = "later" if lag > 0 else "earlier" if lag < 0 else "together"
    return say.markup("bench.lag", **facts) + " " + say(f"bench.{which}")


def versions(say: Say, trial: Trial) -> list[Version]:
    """What the player switches between: clean, noisy, and every denoiser that came out."""
    gains = trial.gains_db()
    sides = ((CLEAN, trial.clean), (NOISY, trial.noisy))
    return [
        *(Version(key, say(f"bench.version.{key}"), path, gains[path]) for key, path in sides),
        *(
            Version(take.offer.key, name(say, take.offer), take.path, take.gain_db)
            for take in trial.finished
            if take.path
        ),
    ]


def scores_table(say: Say, trial: Trial) -> Markup:
    """Every true metric before and after: a row for each, on a narrow screen a card."""
    takes = trial.finished
    heads = [say("bench.metric"), say("bench.version.noisy"), *(name(say, take.offer) for take in takes)]
    rows, reasons = [], []
    for key, before in trial.before.items():
        values = [before, *(take.scores[key] for take in takes)]
        reasons += [value for value in values if isinstance(value, MetricUnavailable)]
        rows.append(_row(say, named(key), values, heads))
    missed = dict.fromkeys(say(f"metric.{reason.reason}", **reason.facts) for reason in reasons)
    failed = [_failure(say, take.offer, take.error) for take in trial.takes if take.error]
    caption = say("bench.table")
    shown = region(caption, table(map(head, heads), rows, caption), "truth")
    return shown + notices(failed) + notices(missed) + hint(say("bench.true"))


def _failure(say: Say, offer: Entry, error: Exception) -> str:
    return say("bench.failed", name=name(say, offer), reason=explained(say, error))


def _row(say: Say, metric: Metric, values: Sequence[Score], heads: Sequence[str]) -> Markup:
    """A metric: the value of the noisy side, then each result with its change; the best of several is marked."""
    known = [value for value in values[1:] if isinstance(value, float)]
    differ = len({numbers.value(metric, value) for value in known}) > 1
    best = numbers.value(metric, metric.best(known)) if differ else None
    cells = [tag("td", _plain(say, metric, values[0]), data_head=heads[1])]
    for value, title in zip(values[1:], heads[2:], strict=True):
        cells.append(tag("td", _changed(say, metric, values[0], value, best), data_head=title))
    direction = f"{ARROWS[metric.better]} {say(f'compare.{metric.better}')}"
    about = " · ".join(part for part in (numbers.unit(say, metric), direction) if part)
    return row(tag("th", numbers.title(say, metric), " ", tag("small", about), scope="row"), *cells)


def _plain(say: Say, metric: Metric, value: Score) -> str:
    return numbers.value(metric, value) if isinstance(value, float) else missing(say("cards.none"))


def _changed(say: Say, metric: Metric, before: Score, after: Score, best: str | None) -> str:
    if not (isinstance(before, float) and isinstance(after, float)):
        return _plain(say, metric, after)
    text, change = numbers.value(metric, after), after - before
    mark = Markup(" ") + tag("span", say("compare.best"), class_="tag") if text == best else ""
    if text == numbers.value(metric, before):
        return Markup("{}{} {}").format(text, mark, tag("small", "= ", hidden_text(say("cards.same")), class_="change"))
    word, arrow = ("rises", "▲") if change > 0 else ("falls", "▼")
    tone = "good" if (change > 0) == (metric.better == "higher") else "bad"
    amount = numbers.change(metric, change)
    difference = tag(
        "small", decoration(arrow), hidden_text(say(f"cards.{word}")), f" {amount}", class_=f"change {tone}"
    )
    return Markup("{}{} {}").format(tag("span", text, class_="now"), mark, difference)


def activities(say: Say, trial: Trial) -> list[tuple[str, Activity]]:
    """The sounds of the figure of energy and zero crossings: clean, noisy, and every denoiser that came out."""
    takes = [(name(say, take.offer), take.activity) for take in trial.finished]
    return [
        (say(f"bench.version.{CLEAN}"), trial.clean_activity),
        (say(f"bench.version.{NOISY}"), trial.noisy_activity),
        *((title, found) for title, found in takes if found is not None),
    ]


def said_of_activity(say: Say, trial: Trial) -> Markup:
    """That figure in a sentence and in a table: how far each sound lies from the clean one."""
    (_, clean), *others = activities(say, trial)
    apart = [(title, deviation(found, clean)) for title, found in others]
    facts = {"noisy": numbers.plain(apart[0][1].energy_db)}
    sentence = say("bench.said-activity-noisy", **facts)
    if results := apart[1:]:
        title, nearest = min(results, key=lambda result: result[1].energy_db)
        sentence = say("bench.said-activity", **facts, name=title, db=numbers.plain(nearest.energy_db))
    heads = [head(say(f"bench.{key}")) for key in ("sound", "energy-apart", "crossings-apart")]
    rows = []
    for title, found in apart:
        cells = (numbers.plain(found.energy_db), numbers.plain(found.crossings, 3))
        rows.append(row(row_head(title), *(tag("td", cell) for cell in cells)))
    caption = say("bench.activity-table")
    folded = tag("details", tag("summary", caption), region(caption, table(heads, rows), "scrolls"))
    return tag("div", tag("p", sentence), folded, class_="figure-said")


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


def _values(swept: Swept, offer: Entry) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for key in swept_keys(swept):
        improvements = ((point.snr_db, point.improvement(key)) for point in _points(swept, offer))
        found[key] = [(snr, value) for snr, value in improvements if value is not None]
    return found


def _points(swept: Swept, offer: Entry) -> list[Point]:
    return [point for point in swept.found.points if point.name == offer.key]


def swept_heading(say: Say, swept: Swept) -> Markup:
    """What was swept."""
    of = f"{swept.asked.clean.name} + {noise_name(say, swept.asked)}"
    return tag("div", titled(say("bench.swept"), of), class_="swept")


def said_of_sweep(say: Say, swept: Swept) -> Markup:
    """The sweep in sentences and in a table."""
    lines = [text for offer in swept.offers if (text := _range(say, swept, offer))]
    failures = swept.found.failures
    failed = [_failure(say, offer, failures[offer.key]) for offer in swept.offers if offer.key in failures]
    swept_metrics = swept_keys(swept)
    heads = [say("bench.snr-in"), say("model.heading"), *(axis.title for axis in axes(say, swept))]
    names = {offer.key: name(say, offer) for offer in swept.offers}
    rows = []
    for point in swept.found.points:
        cells = (names[point.name], *(_improvement(say, point, key) for key in swept_metrics))
        title = f"{_decibels(point.snr_db)} {say('unit.db')}"
        rows.append(row(row_head(title), *(tag("td", cell) for cell in cells)))
    caption = say("bench.sweep-table")
    points = region(caption, table(map(head, heads), rows), "scrolls")
    folded = tag("details", tag("summary", caption), points)
    return tag("div", tag("p", sentences(say, lines)), notices(failed), folded, class_="figure-said")


def _range(say: Say, swept: Swept, offer: Entry) -> str:
    """What a denoiser does to SI-SDR at both ends of what there is."""
    values = _values(swept, offer)["si_sdr"]
    if not values:
        return ""
    (low, first), (high, last) = values[0], values[-1]
    facts = {"first": numbers.signed(first), "last": numbers.signed(last)}
    facts |= {"low": _decibels(low), "high": _decibels(high)}
    return say("bench.said-range", name=name(say, offer), **facts)


def _improvement(say: Say, point: Point, key: str) -> str:
    value = point.improvement(key)
    return numbers.change(named(key), value) if value is not None else say("cards.none")
