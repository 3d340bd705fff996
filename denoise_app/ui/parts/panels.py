"""The parts of the page that are text: pure functions from what is known to HTML.

Whatever a user, a file or a checkpoint's author wrote is escaped here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from denoise_app.audio.clip import FileInfo
from denoise_app.audio.notes import Note
from denoise_app.inference.device import Device
from denoise_app.inference.engine import Levels
from denoise_app.metrics.report import Measured
from denoise_app.metrics.table import METRICS, Metric, shown
from denoise_app.plots.spectrogram import Change
from denoise_app.ui.clean.work import Numbers, Result, Step
from denoise_app.ui.texts import Say
from denoise_app.ui.worker.worker import Offer

from . import numbers
from .downloads import address

LICENCE = "apache-2.0"  # of this program, and so of the denoisers without weights


# ------------------------------------------------------------------------------------------------------------ the page


def header(say: Say, device: Device, minutes: int, dataset: str | None) -> str:
    """What the page is for, where it computes, and what becomes of files.

    Args:
        minutes: How long files are kept after their last use.
        dataset: Of the Hub, where outcomes of blind tests are sent to; None where they stay here.
    """
    sent = say("app.privacy-votes", minutes=minutes, dataset=escape(dataset)) if dataset else ""
    engine = f" {say('device.onnx')}" if device.torch_device == "cpu" else ""
    return (
        '<header class="masthead">'
        f'<div><h1>{say("app.name")}</h1><p class="lead">{say("app.sentence")}</p></div>'
        f'<p class="device"><span class="dot" aria-hidden="true"></span>{say("app.device", name=escape(device.name))}'
        f"<small>{say(f'device.{device.key}')}{engine}</small></p>"
        f'<p class="privacy">{sent or say("app.privacy", minutes=minutes)}</p>'
        "</header>"
    )


def heading(text: str, level: int = 2) -> str:
    return f'<h{level} class="heading">{escape(text)}</h{level}>'


def hint(text: str) -> str:
    return f'<p class="hint">{escape(text)}</p>'


def empty(first: str, more: str) -> str:
    """What stands where the result will be: what to do, and what will come of it."""
    bars = "".join(f'<i style="--h:{height}%"></i>' for height in (18, 34, 62, 46, 88, 70, 40, 56, 30, 14))
    return (
        f'<section class="empty"><div class="bars" aria-hidden="true">{bars}</div>'
        f'<p class="first">{first}</p><p>{more}</p></section>'
    )


def alert(say: Say, text: str) -> str:
    """Something went wrong; stays until something else is done."""
    return f'<div class="notice wrong" role="alert"><strong>{say("error.title")}</strong><p>{escape(text)}</p></div>'


def sortable_head(text: str, unit: str = "", better: str = "neither", help: str = "") -> str:
    """The head of a column that sortable.js sorts by; `help` says which way is better."""
    more = f"<small>{unit}</small>" if unit else ""
    direction = f"<small>{help}</small>" if help else ""
    return (
        f'<th scope="col" aria-sort="none" data-better="{better}">'
        f'<button type="button">{text} {more}<span class="order" aria-hidden="true"></span></button>{direction}</th>'
    )


# ------------------------------------------------------------------------------------------------------- the recording


def facts(say: Say, info: FileInfo, levels: Levels | None, pending: str) -> str:
    """What is known of a recording.

    Args:
        levels: Peak and loudness, None while they are not known.
        pending: What stands in their place.
    """
    waiting = f'<span class="quiet">{escape(pending)}</span>'
    rows = {
        "length": numbers.clock(info.seconds),
        "rate": numbers.rate(info.sample_rate),
        "channels": numbers.channels(info.channels, say),
        "format": f"{escape(info.container)} · {numbers.bits(info, say)}",
        "peak": _level(say, levels.peak_db, "unit.dbfs") if levels else waiting,
        "loudness": _level(say, levels.loudness_lufs, "unit.lufs") if levels else waiting,
    }
    items = "".join(f"<div><dt>{say(f'facts.{key}')}</dt><dd>{value}</dd></div>" for key, value in rows.items())
    remarks = notes(say, levels.notes()) if levels else ""
    return f'<section aria-label="{say("facts.name")}"><dl class="facts">{items}</dl>{remarks}</section>'


def _level(say: Say, value: float, unit: str) -> str:
    return f"{numbers.plain(value)} {say(unit)}" if math.isfinite(value) else say("facts.silence")


def notes(say: Say, found: Iterable[Note]) -> str:
    """What is odd about a recording."""
    items = "".join(f"<li>{escape(note_text(say, note))}</li>" for note in found)
    return f'<ul class="notes">{items}</ul>' if items else ""


def note_text(say: Say, note: Note) -> str:
    return say.either(f"note.{note.key}", note.message, **note.facts)


def version(say: Say, number: str) -> str:
    """The page's last line: which version of the program serves it."""
    return f'<p class="version">{escape(say("app.version", number=number))}</p>'


def example_label(say: Say, stem: str) -> str:
    """What the button of an example says: its noise, or its file's name."""
    return say.either(f"example.{stem}", stem)


def microphone(say: Say, prefix: str = "") -> str:
    """The switch for the browser's own processing; microphone.js fills in what the browser granted."""
    keys = ("granted", "echo", "noise", "gain", "rate", "on", "off", "unknown", "refused")
    data = " ".join(f'data-{key}="{escape(say.template(f"microphone.{key}"), quote=True)}"' for key in keys)
    return (
        f'<div class="microphone" {data}><label class="switch"><input type="checkbox" role="switch" '
        f'aria-describedby="{prefix}microphone-help"><span>{say("microphone.switch")}</span></label>'
        f'<p class="hint" id="{prefix}microphone-help">{say("microphone.help")}</p>'
        '<p class="granted" role="status" hidden></p></div>'
    )


# -------------------------------------------------------------------------------------------------------- the denoiser


def model_label(say: Say, offers: Sequence[Offer], recommended: bool) -> str:
    """A model in the list: name, size, whether it is causal, licence."""
    first = offers[0]
    manifest = first.manifest
    parts = [
        first.model,
        numbers.size(manifest.parameters) if manifest else say("model.no-size"),
        say("model.causal" if first.causal else "model.offline"),
        manifest.licence if manifest else LICENCE,
    ]
    return " · ".join(parts) + (f" ({say('model.recommended')})" if recommended else "")


def checkpoint_label(say: Say, offer: Offer, recommended: bool) -> str:
    """A checkpoint in the list: what it was trained for, and where it is if not here."""
    name = offer.loss or offer.model
    if offer.source == "hub" and offer.revision:
        name += f" · {offer.repo} @ {offer.revision[:7]}"
    return name + (f" ({say('model.recommended')})" if recommended else "")


def about(say: Say, offer: Offer) -> str:
    """What is known of a denoiser before it is used."""
    manifest = offer.manifest
    if manifest is None:
        lead, results = say.either(f"classical.{offer.model}", ""), ""
    else:
        favours = manifest.favours.get(say.language) or manifest.favours.get("en") or ""
        lead = say("model.favours", text=escape(favours)) if favours else ""
        results = scores(say, offer)
    first = f"<p>{lead}</p>" if lead else ""
    return f'<div class="about">{first}{results}<p class="quiet">{_technical(say, offer)}</p></div>'


def scores(say: Say, offer: Offer) -> str:
    """A checkpoint's scores, those of the noisy recordings in brackets."""
    manifest = offer.manifest
    known = [metric for metric in shown("about") if manifest and metric.key in manifest.scores]
    if manifest is None or not known:
        return f'<p class="quiet">{say("model.unscored")}</p>'
    items = []
    for metric in known:
        noisy = manifest.noisy_scores.get(metric.key)
        before = f' <span class="quiet">({numbers.value(metric, noisy)})</span>' if noisy is not None else ""
        value = f"{numbers.value(metric, manifest.scores[metric.key])} {numbers.unit(say, metric)}"
        items.append(f"<div><dt>{numbers.title(say, metric)}</dt><dd>{value}{before}</dd></div>")
    on = say("model.scored-on", recordings=escape(manifest.scored_on)) if manifest.scored_on else ""
    return f'<dl class="scores" aria-label="{say("model.scores")}">{"".join(items)}</dl><p class="quiet">{on}</p>'


def _technical(say: Say, offer: Offer) -> str:
    """Its size, where it comes from, its rate, its delay, and whether it could work live."""
    manifest = offer.manifest
    facts = [
        say("model.size", size=numbers.size(manifest.parameters)) if manifest else say("model.no-size"),
        say("model.from", source=source(say, offer)),
        say("model.rate", rate=numbers.rate(offer.sample_rate)),
        say("model.delay", milliseconds=numbers.milliseconds(1000 * offer.latency / offer.sample_rate)),
    ]
    causal = say("model.causal-help" if offer.causal else "model.offline-help")
    return say("model.facts", facts=" · ".join(facts), causal=causal)


def source(say: Say, offer: Offer) -> str:
    """Where a denoiser comes from; of the Hub's with repository, commit, size and whether it is here already."""
    if offer.source != "hub" or offer.manifest is None:
        return say(f"model.from.{offer.source}")
    return say(
        "model.from.hub",
        repo=escape(offer.repo or ""),
        commit=escape((offer.revision or "")[:7]),
        size=f"{offer.manifest.size / 1e6:.2g} MB",
        state=say("model.cached" if offer.cached else "model.not-cached"),
    )


def hub_label(offer: Offer) -> str:
    """A checkpoint on the Hub before it is fetched: licence and size beside its name."""
    assert offer.manifest is not None
    return f"{offer.model}/{offer.loss} · {offer.manifest.licence} · {offer.manifest.size / 1e6:.2g} MB"


def hub_listing(say: Say, count: int, problems: Iterable[Exception]) -> str:
    """What a look on the Hub has found."""
    reasons = "".join(
        f"<li>{escape(say('model.hub-problem', reason=say.problem(problem)))}</li>" for problem in problems
    )
    found = f'<p class="hint">{say("model.hub-found", count=count)}</p>'
    return f'<div role="status">{found}<ul class="notes">{reasons}</ul></div>' if reasons else found


# ------------------------------------------------------------------------------------------------------------- at work


def progress(say: Say, step: Step, preview_seconds: float, heard: bool) -> str:
    """How far the work is: what is done, how much of it, time left, speed against real time.

    Args:
        heard: Whether a preview can be heard already.
    """
    stage = say(f"run.{step.stage}", seconds=f"{preview_seconds:g}")
    now, parts = step.progress, []
    if now is not None:
        if now.seconds_left is not None:
            parts.append(say("run.left", time=numbers.duration(now.seconds_left)))
        if now.speed is not None:
            parts.append(say("run.speed", speed=f"{now.speed:.0f}" if now.speed >= 10 else f"{now.speed:.1f}"))
    more = say("run.preview-ready", seconds=f"{preview_seconds:g}") if heard else ""
    return working(say, stage, now.fraction if now else None, parts, more)


def working(say: Say, stage: str, fraction: float | None, parts: Sequence[str] = (), more: str = "") -> str:
    """Work under way.

    Args:
        stage: What is being done; it is read aloud.
        fraction: How much of it is done, 0 to 1; None while that is not known.
        parts: What else is known of how far it is.
        more: A sentence below.
    """
    percent = None if fraction is None else math.floor(100 * fraction)
    figures = " · ".join([*([] if percent is None else [say("run.progress", percent=percent)]), *parts])
    known = "" if percent is None else f' max="100" value="{percent}"'
    label = escape(stage, quote=True)
    return (
        f'<div class="working" data-said="{label}"><p><strong>{label}</strong> <span>{figures}</span></p>'
        f'<progress aria-label="{label}"{known}></progress>{f"""<p class="quiet">{more}</p>""" if more else ""}</div>'
    )


def finished(say: Say, text: str) -> str:
    """A word on how the work ended."""
    return f'<p class="hint" data-said="{escape(text, quote=True)}">{escape(text)}</p>'


# ---------------------------------------------------------------------------------------------------------- the result


def result_heading(say: Say, result: Result, preview_seconds: float) -> str:
    offer = result.order.offer
    by = say("result.by", model=offer.model, loss=offer.loss) if offer.loss else offer.model
    text = say("result.preview", seconds=f"{preview_seconds:g}") if result.preview else say("result.heading")
    return titled(text, f"{result.order.path.name} · {by}")


def titled(text: str, of: str) -> str:
    """The heading of a result, and what it is of; both are read aloud."""
    said = escape(f"{text}: {of}", quote=True)
    return (
        f'<div class="result-heading" data-said="{said}"><h2 class="heading">{text}</h2>'
        f'<span class="quiet">{escape(of)}</span></div>'
    )


def fidelity(say: Say, result: Result) -> str:
    """What came in and what goes out, and every promise of sameness that was not kept."""
    rendered = result.rendered
    model = [numbers.rate(rendered.model_rate)]
    if rendered.channels != "each":
        model.append(say(f"fidelity.{rendered.channels}"))
    ends = [numbers.kind(rendered.info_in, say), numbers.kind(rendered.info_out, say)]
    band = numbers.rate(rendered.model_rate // 2)
    above = say(f"fidelity.high-{rendered.high_band}", band=band) if rendered.high_band else ""
    line = (
        f'<p class="line"><span>{ends[0]}</span> <b aria-hidden="true">→</b> '
        f'<span>{say("fidelity.model")} {" · ".join(model)}</span> <b aria-hidden="true">→</b> '
        f"<span>{ends[1]}{f', {above}' if above else ''}</span></p>"
    )
    remarks = "".join(f"<li>{text}</li>" for text in fidelity_remarks(say, result))
    return (
        f'<section class="fidelity" aria-label="{say("fidelity.name")}">{line}<ul>{remarks}</ul>'
        f"{notes(say, rendered.notes)}</section>"
    )


def fidelity_remarks(say: Say, result: Result) -> list[str]:
    """What was kept, and what was not and why."""
    rendered = result.rendered
    changed = [say(f"fidelity.{key}") for key in changes(rendered.info_in, rendered.info_out)]
    remarks = []
    if changed:
        remarks.append(say("fidelity.changed", list=", ".join(changed)))
    if rendered.true_peak_dbtp is not None:
        facts = {
            "lufs": numbers.plain(rendered.levels_out.loudness_lufs),
            "gain": numbers.signed(rendered.gain_db),
            "peak": numbers.plain(rendered.true_peak_dbtp),
        }
        remarks.append(say("fidelity.gain", **facts))
    elif not changed:
        remarks.append(say("fidelity.same"))
    if rendered.limited:
        remarks.append(say("fidelity.limited"))
    if rendered.cut_samples:
        remarks.append(say("fidelity.cut", count=f"{rendered.cut_samples:,}"))
    return remarks


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


def downloads(say: Say, token: str, names: Mapping[str, str], link: str = "") -> str:
    """Links to what can be downloaded.

    Args:
        token: Of the parcel.
        names: "after", "removed", "plots", "report", "all", "compared", "bench" -> what the user's copy is called; with
            "after", but without "report" while numbers are still being measured.
        link: The query of an address that restores the denoiser and its settings.
    """
    links = []
    for key in ("after", "removed", "plots", "report", "all", "compared", "bench"):
        if key in names:
            style = "primary" if key == "after" else ""
            name = escape(names[key], quote=True)
            links.append(
                f'<a class="download {style}" href="{address(token, names[key])}" download="{name}">'
                f"{ICON_DOWNLOAD}{say(f'download.{key}')}</a>"
            )
        elif key == "report" and "after" in names:
            links.append(f'<span class="download later">{say("download.report-later")}</span>')
    if link:
        href = escape(link, quote=True)
        links.append(f'<a class="download" href="{href}" target="_blank">{say("download.link")}</a>')
    return f'<nav class="downloads" aria-label="{say("download.name")}">{"".join(links)}</nav>'


ICON_DOWNLOAD = (
    '<svg viewBox="0 0 20 20" width="16" height="16" fill="none" stroke="currentColor" stroke-width="1.8" '
    'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">'
    '<path d="M10 3v10m0 0 4-4m-4 4-4-4M4 17h12"/></svg>'
)


# ------------------------------------------------------------------------------------------------------------- numbers


def cards(say: Say, result: Result) -> str:
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
    heard = ""
    if found.excerpts > 1:
        facts = {"count": found.excerpts, "seconds": f"{found.excerpt_seconds:g}"}
        heard = f'<p class="quiet">{say("cards.excerpts", **facts)}</p>'
    return (
        f'<section aria-label="{say("cards.name")}"><ul class="cards" role="list">'
        f"{''.join(f'<li>{card}</li>' for card in made)}</ul>{heard}</section>"
    )


def _metric_card(say: Say, metric: Metric, found: Numbers) -> str:
    measured = found.measured.get(metric.key)
    title = numbers.title(say, metric)
    if measured is None:
        waiting = f'<p class="value quiet">{say("cards.measuring")}</p>'
        return _card(say, metric.key, title, waiting)
    if measured.before is None or measured.after is None:
        reason = measured.unavailable
        why = say(f"metric.{reason.reason}", **reason.facts) if reason else ""
        none = f'<p class="value quiet">{say("cards.none")}</p><p class="quiet">{escape(why)}</p>'
        return _card(say, metric.key, title, none)
    return _pair_card(say, metric, measured)


def _pair_card(say: Say, metric: Metric, measured: Measured) -> str:
    before, after, title = measured.before, measured.after, numbers.title(say, metric)
    if before is None or after is None:
        return _card(say, metric.key, title, f'<p class="value quiet">{say("facts.silence")}</p>')
    change = after - before if metric.digits is None else round(after - before, metric.digits)
    good = {"higher": change > 0, "lower": change < 0}.get(metric.better)
    tone = "" if change == 0 or good is None else "good" if good else "bad"
    word, arrow = ("rises", "▲") if change > 0 else ("falls", "▼") if change < 0 else ("same", "=")
    values = (
        f'<p class="value"><span><i class="said">{say("cards.before")} </i>{numbers.value(metric, before)}</span>'
        f' <b aria-hidden="true">→</b> <span class="now"><i class="said">{say("cards.after")} </i>'
        f"{numbers.value(metric, after)}</span> <small>{numbers.unit(say, metric)}</small></p>"
    )
    amount = numbers.change(metric, change) if change else ""
    difference = (
        f'<p class="change {tone}"><span aria-hidden="true">{arrow}</span><i class="said">{say(f"cards.{word}")}</i> '
        f"{amount}</p>"
    )
    return _card(say, metric.key, title, values + difference)


def _single_card(say: Say, key: str, value: str, unit: str) -> str:
    content = f'<p class="value"><span class="now">{value}</span> <small>{say(unit)}</small></p>'
    return _card(say, key, say(f"cards.{key}"), content)


def _card(say: Say, key: str, title: str, content: str) -> str:
    summary = f'<summary title="{say("cards.how")}"><h3>{title}</h3><span aria-hidden="true">i</span></summary>'
    how = f"<p>{say(f'cards.{key}-how')}</p>"
    return f'<details data-fold="cards.{key}">{summary}{how}</details>{content}'


# ------------------------------------------------------------------------------------------------------------- figures


def said_of_figures(say: Say, change: Change, gain_db: float) -> str:
    """The figures in words and in a table, for those who do not see them and for those who want to know exactly."""
    sentences = [say("plots.said-level", change=_fell_or_rose(say, change.overall_db))]
    if change.speech_median_db is None or change.speech_worst_db is None:
        sentences.append(say("plots.said-no-speech"))
    else:
        worst = numbers.plain(max(change.speech_worst_db, 0.0))
        sentences.append(say("plots.said-speech", median=numbers.plain(max(change.speech_median_db, 0.0)), worst=worst))
    if gain_db:
        sentences.append(say("plots.said-gain", gain=numbers.signed(gain_db)))
    between = "" if say.language == "zh" else " "
    rows = "".join(
        f'<tr><th scope="row">{numbers.hertz(octave.low)} – {numbers.hertz(octave.high)}</th>'
        f"<td>{_db(say, octave.change_db)}</td></tr>"
        for octave in change.octaves
    )
    return (
        f'<div class="figure-said"><p>{between.join(sentences)}</p>'
        f"<details><summary>{say('plots.table')}</summary><table>"
        f'<thead><tr><th scope="col">{say("plots.band")}</th><th scope="col">{say("plots.change")}</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></details></div>"
    )


def _fell_or_rose(say: Say, change_db: float) -> str:
    if not math.isfinite(change_db):
        return say("plots.to-silence")
    return say("plots.fell" if change_db < 0 else "plots.rose", db=numbers.plain(abs(change_db)))


def _db(say: Say, change_db: float) -> str:
    return f"{numbers.signed(change_db)} {say('unit.db')}" if math.isfinite(change_db) else say("facts.silence")


# ------------------------------------------------------------------------------------------------------ list of models


def broken(say: Say, problems: Iterable[Exception]) -> str:
    """Why checkpoints are left out; nothing where none is."""
    items = "".join(f"<li>{escape(say('models.broken', reason=say.problem(error)))}</li>" for error in problems)
    return f'<ul class="notes">{items}</ul>' if items else ""
