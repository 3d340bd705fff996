"""What the Clean tab says of a result: pure functions from it to HTML."""

from __future__ import annotations

import math

from markupsafe import Markup

from denoise_app.audio.clip import FileInfo
from denoise_app.metrics.report import Measured
from denoise_app.metrics.table import METRICS, Metric, shown
from denoise_app.plots.spectrogram import Change
from denoise_app.serve.turns import Place
from denoise_app.ui.parts import numbers
from denoise_app.ui.parts.markup import (
    decoration,
    head,
    hidden_text,
    hint,
    quiet,
    row,
    row_head,
    sentences,
    table,
    tag,
    titled,
    working,
)
from denoise_app.ui.parts.measured import Numbers
from denoise_app.ui.parts.orders import queued
from denoise_app.ui.parts.recording import GENTLE, already_clean, notes
from denoise_app.ui.texts import Say
from denoise_app.ui.worker.background import Step

from .stretch import between
from .work import PREVIEW_SECONDS, Order, Result

SPEECH_FELL = 0.1  # DNSMOS points; less is within its own noise


def progress(say: Say, step: Step, has_preview: bool) -> Markup:
    """How far the work is: what is done, how much of it, time left, speed against real time.

    Args:
        has_preview: Whether a preview can be heard already.
    """
    now, parts = step.progress, []
    if isinstance(now, Place):
        return queued(say, now)
    stage = say(f"run.{step.stage}", seconds=f"{PREVIEW_SECONDS:g}")
    if now is not None:
        if now.seconds_left is not None:
            parts.append(say("run.left", time=numbers.duration(now.seconds_left)))
        if now.speed is not None:
            parts.append(say("run.speed", speed=f"{now.speed:.0f}" if now.speed >= 10 else f"{now.speed:.1f}"))
    more = say("run.preview-ready", seconds=f"{PREVIEW_SECONDS:g}") if has_preview else ""
    return working(say, stage, now.fraction if now else None, parts, more)


def heading(say: Say, order: Order, preview: bool = False) -> Markup:
    """What came out, of what and by which denoiser."""
    offer = order.offer
    by = say("result.by", model=offer.model, loss=offer.loss) if offer.loss else offer.model
    text = say("result.heading")
    if preview:
        end = order.preview_at + PREVIEW_SECONDS
        text = say("result.preview", start=numbers.clock(order.preview_at), end=numbers.clock(end))
    return titled(text, f"{order.path.name} · {by}", data_preview=preview)


# ------------------------------------------------------------------------------------------------------------ promises


def fidelity(say: Say, result: Result) -> Markup:
    """What came in and what goes out, and every promise of sameness that was not kept."""
    rendered = result.rendered
    model = [numbers.rate(rendered.model_rate)]
    if rendered.channels != "each":
        model.append(say(f"fidelity.{rendered.channels}"))
    came, goes = (numbers.kind(info, say) for info in (rendered.info_in, rendered.info_out))
    if rendered.high_band:
        band = numbers.rate(rendered.model_rate // 2)
        goes += f", {say(f'fidelity.high-{rendered.high_band}', band=band)}"
    arrow = decoration("→", "b")
    through = f"{say('fidelity.model')} {' · '.join(model)}"
    line = (tag("span", came), " ", arrow, " ", tag("span", through), " ", arrow, " ", tag("span", goes))
    return tag(
        "section",
        tag("p", *line, class_="line"),
        tag("ul", *(tag("li", text) for text in remarks(say, result))),
        notes(say, rendered.notes),
        class_="fidelity",
        aria_label=say("fidelity.name"),
    )


def remarks(say: Say, result: Result) -> list[str]:
    """What was kept, and what was not and why."""
    rendered = result.rendered
    changed = [say(f"fidelity.{key}") for key in changes(rendered.info_in, rendered.info_out)]
    found = []
    selection = result.order.selection
    if not selection.is_everything:
        end = rendered.info_in.seconds if selection.end is None else min(selection.end, rendered.info_in.seconds)
        kept = "loud" if rendered.true_peak_dbtp is not None else "same"
        found.append(say(f"fidelity.stretch-{kept}", times=between((selection.start, end))))
    if selection.noise_profile is not None:
        found.append(say("fidelity.profile", times=between(selection.noise_profile)))
    if changed:
        found.append(say("fidelity.changed", list=", ".join(changed)))
    if rendered.true_peak_dbtp is not None:
        facts = {
            "lufs": numbers.plain(rendered.levels_out.loudness_lufs),
            "gain": numbers.signed(rendered.gain_db),
            "peak": numbers.plain(rendered.true_peak_dbtp),
        }
        found.append(say("fidelity.gain", **facts))
    elif not changed:
        found.append(say("fidelity.same"))
    if rendered.limited:
        found.append(say("fidelity.limited"))
    if rendered.cut_samples:
        found.append(say("fidelity.cut", count=f"{rendered.cut_samples:,}"))
    return found


def changes(before: FileInfo, after: FileInfo) -> list[str]:
    """Which of format, rate, channels, bits and length are not what they were.

    Lossy formats may be a frame longer: a tenth of a second is no change there.
    """
    tolerance = 0 if before.bit_depth and after.bit_depth else before.sample_rate // 10
    pairs = {
        "format": (before.container, after.container),
        "rate": (before.sample_rate, after.sample_rate),
        "channels": (before.channels, after.channels),
        "bits": (before.bit_depth, after.bit_depth),
    }
    found = [key for key, (was, now) in pairs.items() if was != now]
    return found + (["length"] if abs(before.frames - after.frames) > tolerance else [])


# ------------------------------------------------------------------------------------------------------------- numbers


def cards(say: Say, result: Result) -> Markup:
    """Every number with its unit, its before, its after and its arrow, and how it was measured a click away."""
    found = result.numbers
    made = [_metric_card(say, metric, found) for metric in shown("clean")]
    was, now = result.rendered.levels_in.loudness_lufs, result.rendered.levels_out.loudness_lufs
    whole = Measured(was if math.isfinite(was) else None, now if math.isfinite(now) else None)
    made.append(_pair_card(say, METRICS["loudness"], whole))
    separation = result.separation
    factor = separation.real_time_factor
    made.append(_single_card(say, "rtf", f"{factor:.2g}" if factor < 1 else f"{factor:.1f}", "unit.none"))
    made.append(_single_card(say, "delay", numbers.milliseconds(1000 * separation.delay_seconds), "unit.ms"))
    part = ""
    if found.excerpts > 1:
        part = hint(say("cards.excerpts", count=found.excerpts, seconds=f"{found.excerpt_seconds:g}"))
    items = tag("ul", *(tag("li", card) for card in made), class_="cards", role="list")
    return tag("section", _advice(say, found), items, part, aria_label=say("cards.name"))


def _advice(say: Say, found: Numbers) -> Markup:
    """That there was little to gain, and that the speech was harmed, where the numbers say so."""
    snr, speech = found.measured.get("snr_estimated"), found.measured.get("dnsmos_sig")
    advice = already_clean(say, snr.before) if snr else Markup()
    if speech is None or speech.before is None or speech.after is None or speech.before - speech.after < SPEECH_FELL:
        return advice
    fall = numbers.plain(speech.before - speech.after, 2)
    return advice + tag("p", say("cards.speech-fell", fall=fall, strength=GENTLE), class_="advice")


def _metric_card(say: Say, metric: Metric, found: Numbers) -> Markup:
    measured = found.measured.get(metric.key)
    title = numbers.title(say, metric)
    if measured is None:
        return _card(say, metric.key, title, _value(say("cards.measuring"), quiet=True))
    if measured.before is None or measured.after is None:
        reason = measured.unavailable
        why = say(f"metric.{reason.reason}", **reason.facts) if reason else ""
        return _card(say, metric.key, title, _value(say("cards.none"), quiet=True), quiet(why))
    return _pair_card(say, metric, measured)


def _pair_card(say: Say, metric: Metric, measured: Measured) -> Markup:
    before, after, title = measured.before, measured.after, numbers.title(say, metric)
    if before is None or after is None:
        return _card(say, metric.key, title, _value(say("facts.silence"), quiet=True))
    change = after - before if metric.digits is None else round(after - before, metric.digits)
    counts = change if max(before, after) > metric.floor else 0.0
    good = {"higher": counts > 0, "lower": counts < 0}.get(metric.better)
    tone = "" if counts == 0 or good is None else "good" if good else "bad"
    word, arrow = ("rises", "▲") if change > 0 else ("falls", "▼") if change < 0 else ("same", "=")
    was = tag("span", hidden_text(f"{say('cards.before')} "), numbers.value(metric, before))
    now = tag("span", hidden_text(f"{say('cards.after')} "), numbers.value(metric, after), class_="now")
    values = _value(was, " ", decoration("→", "b"), " ", now, " ", tag("small", numbers.unit(say, metric)))
    amount = numbers.change(metric, change) if change else ""
    difference = tag("p", decoration(arrow), hidden_text(say(f"cards.{word}")), f" {amount}", class_=f"change {tone}")
    return _card(say, metric.key, title, values, difference)


def _single_card(say: Say, key: str, value: str, unit: str) -> Markup:
    shown = _value(tag("span", value, class_="now"), " ", tag("small", say(unit)))
    return _card(say, key, say(f"cards.{key}"), shown)


def _value(*content: str, quiet: bool = False) -> Markup:
    return tag("p", *content, class_="value quiet" if quiet else "value")


def _card(say: Say, key: str, title: str, *content: Markup) -> Markup:
    summary = tag("summary", tag("h3", title), decoration("i"), title=say("cards.how"))
    how = tag("details", summary, tag("p", say(f"cards.{key}-how")), data_fold=f"cards.{key}")
    return how + Markup().join(content)


# ------------------------------------------------------------------------------------------------------------- figures


def said_of_figures(say: Say, change: Change, gain_db: float) -> Markup:
    """The figures in words and in a table, for those who do not see them and for those who want to know exactly.

    Args:
        gain_db: What brought the result to a loudness, and is not in the figures.
    """
    lines = [say("plots.said-level", change=_fell_or_rose(say, change.overall_db))]
    if change.speech_median_db is None or change.speech_worst_db is None:
        lines.append(say("plots.said-no-speech"))
    else:
        worst = numbers.plain(max(change.speech_worst_db, 0.0))
        lines.append(say("plots.said-speech", median=numbers.plain(max(change.speech_median_db, 0.0)), worst=worst))
    if gain_db:
        lines.append(say("plots.said-gain", gain=numbers.signed(gain_db)))
    rows = (
        row(
            row_head(f"{numbers.hertz(octave.low)} – {numbers.hertz(octave.high)}"),
            tag("td", _db(say, octave.change_db)),
        )
        for octave in change.octaves
    )
    bands = table([head(say("plots.band")), head(say("plots.change"))], rows)
    folded = tag("details", tag("summary", say("plots.table")), bands)
    return tag("div", tag("p", sentences(say, lines)), folded, class_="figure-said")


def _fell_or_rose(say: Say, change_db: float) -> str:
    if not math.isfinite(change_db):
        return say("plots.to-silence")
    return say("plots.fell" if change_db < 0 else "plots.rose", db=numbers.plain(abs(change_db)))


def _db(say: Say, change_db: float) -> str:
    return f"{numbers.signed(change_db)} {say('unit.db')}" if math.isfinite(change_db) else say("facts.silence")
