"""What the Bench says on the page: pure functions from what is known to HTML."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from denoise_app.evaluation.sweep import STAND_IN, SWEPT, Point, Score
from denoise_app.inference.catalog import Entry
from denoise_app.metrics.alignment import Alignment
from denoise_app.metrics.errors import MetricUnavailable
from denoise_app.metrics.report import METRICS, Metric
from denoise_app.plots.scores import Axis, Curve
from denoise_app.ui.parts import numbers
from denoise_app.ui.parts.denoiser import name
from denoise_app.ui.parts.markup import (
    head,
    heard,
    hint,
    missing,
    notices,
    region,
    row,
    row_head,
    seen,
    sentences,
    table,
    tag,
    titled,
    working,
)
from denoise_app.ui.parts.measured import UNITS
from denoise_app.ui.parts.player import NOISY, Version
from denoise_app.ui.parts.problems import explained
from denoise_app.ui.parts.recording import notes
from denoise_app.ui.texts import Say

from .work import Doing, Mix, Swept, Trial

DIGITS = {"pesq_wb": 2, "pesq_nb": 2, STAND_IN: 2, "stoi": 3, "estoi": 3}
LEAST_SPANS = {"si_sdr": 5.0, "pesq_wb": 0.5, STAND_IN: 0.5, "stoi": 0.05}  # of an axis, in the metric's unit
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
CLEAN = "clean"


def progress(say: Say, doing: Doing) -> Markup:
    """What is being done, and how much of all of it is done."""
    now = doing.progress
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
    told = tag("div", *(tag("p", fact) for fact in facts), notes(say, trial.notes), class_="bench-facts")
    return titled(title, of) + told


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
        *(Version(take.offer.key, name(say, take.offer), take.path, take.gain_db) for take in trial.heard if take.path),
    ]


def scores_table(say: Say, trial: Trial) -> Markup:
    """Every true metric before and after: a row for each, on a narrow screen a card."""
    takes = trial.heard
    heads = [say("bench.metric"), say("bench.version.noisy"), *(name(say, take.offer) for take in takes)]
    rows, reasons = [], []
    for key, before in trial.before.items():
        values = [before, *(take.scores[key] for take in takes)]
        reasons += [value for value in values if isinstance(value, MetricUnavailable)]
        rows.append(_row(say, key, values, heads))
    told = dict.fromkeys(say(f"metric.{reason.reason}", **reason.facts) for reason in reasons)
    failed = [_failure(say, take.offer, take.error) for take in trial.takes if take.error]
    caption = say("bench.table")
    shown = region(caption, table(map(head, heads), rows, caption), "truth")
    return shown + notices(failed) + notices(told) + hint(say("bench.true"))


def _failure(say: Say, offer: Entry, error: Exception) -> str:
    return say("bench.failed", name=name(say, offer), reason=explained(say, error))


def _title(say: Say, key: str) -> str:
    """A metric's name; "bench.snr" is the slider's."""
    return say("bench.snr-true" if key == "snr" else f"bench.{key}")


def _metric(key: str) -> Metric:
    return METRICS["pesq_wb" if key == STAND_IN else key]


def _row(say: Say, key: str, values: Sequence[Score], heads: Sequence[str]) -> Markup:
    """A metric: the value of the noisy side, then each result with its change; the best of several is marked."""
    metric = _metric(key)
    known = [value for value in values[1:] if isinstance(value, float)]
    best = _text(key, (max if metric.better == "higher" else min)(known)) if len(known) > 1 else None
    if len({_text(key, value) for value in known}) < 2:
        best = None
    cells = [tag("td", _plain(say, key, values[0]), data_head=heads[1])]
    for value, title in zip(values[1:], heads[2:], strict=True):
        cells.append(tag("td", _changed(say, key, values[0], value, best), data_head=title))
    arrow = "↑" if metric.better == "higher" else "↓"
    about = " · ".join(part for part in (say(UNITS[metric.unit]), f"{arrow} {say(f'compare.{metric.better}')}") if part)
    return row(tag("th", _title(say, key), " ", tag("small", about), scope="row"), *cells)


def _plain(say: Say, key: str, value: Score) -> str:
    return _text(key, value) if isinstance(value, float) else missing(say("cards.none"))


def _changed(say: Say, key: str, before: Score, after: Score, best: str | None) -> str:
    if not (isinstance(before, float) and isinstance(after, float)):
        return _plain(say, key, after)
    text, change = _text(key, after), after - before
    mark = Markup(" ") + tag("span", say("compare.best"), class_="tag") if text == best else ""
    if text == _text(key, before):
        return Markup("{}{} {}").format(text, mark, tag("small", "= ", heard(say("cards.same")), class_="change"))
    word, arrow = ("rises", "▲") if change > 0 else ("falls", "▼")
    tone = "good" if (change > 0) == (_metric(key).better == "higher") else "bad"
    amount = _power(change) if key == "mse" else numbers.signed(change, DIGITS.get(key, 1))
    difference = tag("small", seen(arrow), heard(say(f"cards.{word}")), f" {amount}", class_=f"change {tone}")
    return Markup("{}{} {}").format(tag("span", text, class_="now"), mark, difference)


def _text(key: str, value: float) -> str:
    return _power(value) if key == "mse" else numbers.plain(value, DIGITS.get(key, 1))


def _power(value: float) -> str:
    """A small number with its power of ten.

    >>> _power(0.00123), _power(-0.00123), _power(0.0)
    ('1.2·10⁻³', '−1.2·10⁻³', '0')
    """
    if value == 0:
        return "0"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}·10{str(int(exponent)).translate(SUPERSCRIPTS)}".replace("-", numbers.MINUS)


def _decibels(snr_db: float) -> str:
    """An SNR as it was asked for: whole, or with its decimals."""
    return f"{snr_db:g}".replace("-", numbers.MINUS)


# ------------------------------------------------------------------------------------------------------------ the sweep


def swept_keys(swept: Swept) -> list[str]:
    """The metrics of a sweep: torch-pesq's in place of PESQ's where that is what there is."""
    points = swept.found.points
    return list(points[0].before) if points else list(SWEPT)


def axes(say: Say, swept: Swept) -> list[Axis]:
    """The panels of its figure."""
    found = []
    for key in swept_keys(swept):
        unit = say(UNITS[_metric(key).unit])
        found.append(Axis(key, f"{_title(say, key)} ({unit})" if unit else _title(say, key), LEAST_SPANS[key]))
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
    told = [text for offer in swept.offers if (text := _range(say, swept, offer))]
    failures = swept.found.failures
    failed = [_failure(say, offer, failures[offer.key]) for offer in swept.offers if offer.key in failures]
    keys = swept_keys(swept)
    heads = [say("bench.snr-in"), say("model.heading"), *(axis.title for axis in axes(say, swept))]
    names = {offer.key: name(say, offer) for offer in swept.offers}
    rows = []
    for point in swept.found.points:
        cells = (names[point.name], *(_improvement(say, point, key) for key in keys))
        title = f"{_decibels(point.snr_db)} {say('unit.db')}"
        rows.append(row(row_head(title), *(tag("td", cell) for cell in cells)))
    caption = say("bench.sweep-table")
    points = region(caption, table(map(head, heads), rows), "scrolls")
    folded = tag("details", tag("summary", caption), points)
    return tag("div", tag("p", sentences(say, told)), notices(failed), folded, class_="figure-said")


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
    return numbers.signed(value, DIGITS.get(key, 1)) if value is not None else say("cards.none")
