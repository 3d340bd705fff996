"""What is said of a comparison: pure functions from it to HTML."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape

from denoise_app.metrics.table import keys, shown
from denoise_app.plots.spectrogram import SpectrogramData
from denoise_app.ui.clean.work import Step
from denoise_app.ui.parts import numbers, panels
from denoise_app.ui.parts.player import Version, number_key
from denoise_app.ui.parts.problems import explained
from denoise_app.ui.texts import Say
from denoise_app.ui.worker.worker import EXCERPT_SECONDS, EXCERPTS, WHOLE_SECONDS, Offer

from .work import NOISY, Comparison, Look, View


def name(say: Say, offer: Offer) -> str:
    """A denoiser as a column is called."""
    return say("compare.name", model=offer.model, loss=offer.loss) if offer.loss else offer.model


def choice(say: Say, offer: Offer, recommended: bool) -> str:
    """A denoiser in the list that columns are chosen from."""
    label = panels.checkpoint_label(say, offer, recommended)
    return f"{offer.model} · {label}" if offer.loss else label


def versions(say: Say, comparison: Comparison) -> list[Version]:
    """What the player switches between: the recording, and every column that came out."""
    noisy = Version(NOISY, say("compare.noisy"), comparison.path, comparison.gain_db)
    return [
        noisy,
        *(Version(column.key, name(say, column.offer), column.path, column.gain_db) for column in comparison.ready),
    ]


def labels(say: Say, comparison: Comparison) -> list[str]:
    """What panels of figures are called: the number keys of the player, as far as they go, and the names."""
    return [f"{number_key(k)} {version.label}".strip() for k, version in enumerate(versions(say, comparison))]


def progress(say: Say, step: Step, offers: Sequence[Offer], done: int, heard: bool) -> str:
    """Which column the work is at, and how far it is over all of them.

    Args:
        done: Columns that have come out or failed.
        heard: Whether there is something to hear already.
    """
    key = "compare.loading" if step.stage == "loading" else "compare.running"
    stage = say(key, name=name(say, offers[done]), number=done + 1, count=len(offers))
    fraction = (done + (step.progress.fraction if step.progress else 0.0)) / len(offers)
    return panels.working(say, stage, fraction, more=say("compare.heard") if heard else "")


def heading(say: Say, comparison: Comparison) -> str:
    """What was compared."""
    facts = {"length": numbers.clock(comparison.info.seconds), "whole": numbers.clock(comparison.whole_seconds)}
    cut = f'<p class="hint">{say("compare.cut", **facts)}</p>' if comparison.is_cut else ""
    return panels.titled(say("compare.result"), comparison.path.name) + cut


# ------------------------------------------------------------------------------------------------------------ the table


@dataclass(frozen=True)
class Trait:
    """One column of the table.

    Attributes:
        key: What programs call it.
        head: Its name.
        unit: Of its numbers.
        better: "higher", "lower" or "neither".
        text: How a value is written.
        values: One for each row, the noisy recording first; None where there is none.
    """

    key: str
    head: str
    unit: str
    better: str
    text: Callable[[float], str]
    values: Sequence[float | None]

    def best(self) -> str | None:
        """The best value as it is written; None where nothing is better, or all are the same."""
        known = [value for value in self.values if value is not None]
        if self.better == "neither" or len({self.text(value) for value in known}) < 2:
            return None
        return self.text(max(known) if self.better == "higher" else min(known))


def table(say: Say, comparison: Comparison) -> str:
    """The numbers of every version, to be sorted by any of them; the best of each marked in words."""
    traits = [*_metrics(say, comparison), *_properties(say, comparison)]
    rows = []
    for k, version in enumerate(versions(say, comparison)):
        cells = "".join(_cell(say, comparison, trait, k) for trait in traits)
        rows.append(_row(number_key(k), str(k), version.label, cells))
    for column in comparison.columns:
        if column.error is not None:
            reason = escape(say("compare.failed", reason=explained(say, column.error)))
            rows.append(_row("", "", name(say, column.offer), f'<td colspan="{len(traits)}">{reason}</td>'))
    heads = [panels.sortable_head(say("compare.key")), panels.sortable_head(say("compare.version"))]
    heads += [
        panels.sortable_head(trait.head, trait.unit, trait.better, say(f"compare.{trait.better}")) for trait in traits
    ]
    remarks = [say("compare.one-clip"), say("compare.estimated")]
    if comparison.info.seconds > WHOLE_SECONDS:
        remarks.append(say("cards.excerpts", count=EXCERPTS, seconds=f"{EXCERPT_SECONDS:g}"))
    return (
        f'<div class="versus" role="region" tabindex="0" aria-label="{say("compare.table")}"><table>'
        f'<caption class="said">{say("compare.table")}</caption><thead><tr>{"".join(heads)}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="hint">{_joined(say, remarks)}</p>'
    )


def _joined(say: Say, sentences: Sequence[str]) -> str:
    return ("" if say.language == "zh" else " ").join(sentences)


def _metrics(say: Say, comparison: Comparison) -> list[Trait]:
    """What was measured of every version."""
    traits = []
    for metric in shown("clean"):
        found = [column.numbers.get(metric.key) for column in comparison.ready]
        before = next((one.before for one in found if one is not None), None)
        values = [before, *(one.after if one else None for one in found)]
        title, unit = numbers.title(say, metric), numbers.unit(say, metric)
        traits.append(Trait(metric.key, title, unit, metric.better, partial(numbers.value, metric), values))
    return traits


def _properties(say: Say, comparison: Comparison) -> list[Trait]:
    """What is known of every version without a metric."""
    columns = comparison.ready
    levels = [
        *(column.rendered.levels_in for column in columns[:1] if column.rendered),
        *(column.rendered.levels_out for column in columns if column.rendered),
    ]
    loudness = [level.loudness_lufs if math.isfinite(level.loudness_lufs) else None for level in levels]
    seconds = comparison.info.seconds
    factors = [None, *(column.computing / seconds if seconds else None for column in columns)]
    delays = [None, *(1000 * column.offer.latency / column.offer.sample_rate for column in columns)]
    sizes = [None, *(column.offer.manifest.parameters if column.offer.manifest else 0 for column in columns)]
    return [
        Trait("loudness", say("title.loudness"), say("unit.lufs"), "neither", numbers.plain, loudness),
        Trait("rtf", say("cards.rtf"), "", "lower", "{:.2g}".format, factors),
        Trait("delay", say("cards.delay"), say("unit.ms"), "lower", numbers.milliseconds, delays),
        Trait("size", say("compare.size"), "", "lower", numbers.size, sizes),
    ]


def _missing(say: Say, comparison: Comparison, trait: Trait, row: int) -> str:
    """What stands in a cell without a value: that it is being measured, why there is none, or nothing."""
    if trait.key not in keys("clean"):
        return f'<span aria-hidden="true">–</span><i class="said">{say("compare.unknown")}</i>'
    found = [column.numbers.get(trait.key) for column in comparison.ready]
    measured = found[row - 1] if row else next(filter(None, found), None)
    if measured is None:
        return f'<span aria-hidden="true">…</span><i class="said">{say("cards.measuring")}</i>'
    reason = measured.unavailable
    why = say(f"metric.{reason.reason}", **reason.facts) if reason else say("compare.unknown")
    return f'<span title="{escape(why, quote=True)}" aria-hidden="true">–</span><i class="said">{escape(why)}</i>'


def _cell(say: Say, comparison: Comparison, trait: Trait, row: int) -> str:
    value = trait.values[row]
    if value is None:
        return f'<td class="quiet">{_missing(say, comparison, trait, row)}</td>'
    text = trait.text(value)
    mark = f' <span class="tag">{say("compare.best")}</span>' if text == trait.best() else ""
    return f'<td data-value="{value!r}">{f"<b>{text}</b>{mark}" if mark else text}</td>'


def _row(key: str, place: str, title: str, cells: str) -> str:
    shown = f"<kbd>{key}</kbd>" if key else ""
    data = f' data-value="{place}"' if place else ""
    heading = f'<th scope="row" data-value="{escape(title, quote=True)}">{escape(title)}</th>'
    return f"<tr><td{data}>{shown}</td>{heading}{cells}</tr>"


# ---------------------------------------------------------------------------------------------------- what each is for


def favours(say: Say, offers: Sequence[Offer]) -> str:
    """What each denoiser was made for, in a sentence, and what it learnt from."""
    items = []
    for offer in offers:
        text = say.either(f"classical.{offer.model}", "")
        if offer.manifest is not None:
            text = offer.manifest.favours.get(say.language) or offer.manifest.favours.get("en") or ""
        sentence = escape(text) if text else say("compare.nothing-said")
        items.append(f"<div><dt>{escape(name(say, offer))}</dt><dd>{sentence}</dd>{_trained(say, offer)}</div>")
    return f'<section class="favours">{panels.heading(say("compare.favours"))}<dl>{"".join(items)}</dl></section>'


def _trained(say: Say, offer: Offer) -> str:
    """How much a denoiser heard in training, and where that began; nothing where its manifest does not tell."""
    training = offer.manifest.training if offer.manifest else {}
    hours, start = training.get("hours_seen"), training.get("init")
    if not isinstance(hours, int | float):
        return ""
    began = escape(start.partition(",")[0]) if isinstance(start, str) else ""  # "gru/start, 132 h of hybrid"
    facts = {"hours": f"{hours:.3g}", "start": f"<code>{began}</code>"}
    return f"<dd>{say('compare.trained-from' if began else 'compare.trained', **facts)}</dd>"


# --------------------------------------------------------------------------------------------------------- the figures


def spectrograms(say: Say, comparison: Comparison, view: View) -> list[tuple[str, SpectrogramData]]:
    """What the grid shows, with its names: the recording, and every column that came out."""
    looks = [view.noisy, *(view.columns[column.key].spectrogram for column in comparison.ready)]
    return list(zip(labels(say, comparison), looks, strict=True))


def said_of_grid(say: Say, comparison: Comparison, reference: int | None) -> str:
    """How the grid is used, and what its colours mean where it shows differences."""
    sentences = [say("compare.grid-help")]
    if reference is not None:
        label = versions(say, comparison)[reference].label
        sentences.insert(0, say("compare.difference-help", name=label))
    return panels.hint(_joined(say, sentences))


def said_of_figures(say: Say, comparison: Comparison, view: View) -> str:
    """The figures in sentences and in a table."""
    looks = [(name(say, column.offer), view.columns[column.key]) for column in comparison.ready]
    heads = "".join(f'<th scope="col">{say(f"compare.{key}")}</th>' for key in ("version", "level", "noise", "speech"))
    rows = "".join(
        f'<tr><th scope="row">{escape(title)}</th><td>{_decibels(say, look.change_db)}</td>'
        f"<td>{_decibels(say, look.noise_db)}</td><td>{_decibels(say, look.speech_db)}</td></tr>"
        for title, look in looks
    )
    return (
        f'<div class="figure-said"><p>{_extremes(say, looks)}</p><div class="scrolls" tabindex="0" role="region" '
        f'aria-label="{say("compare.changes")}"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
        "</div></div>"
    )


def _extremes(say: Say, looks: Sequence[tuple[str, Look]]) -> str:
    """Who took most of the noise, and who least of the speech."""
    noise = [(look.noise_db, title) for title, look in looks if look.noise_db is not None]
    speech = [(look.speech_db, title) for title, look in looks if look.speech_db is not None]
    sentences = []
    if noise:
        most, title = max(noise)
        sentences.append(say("compare.said-noise", name=escape(title), db=numbers.plain(most)))
    if speech:
        least, title = min(speech)
        sentences.append(say("compare.said-speech", name=escape(title), db=numbers.plain(least)))
    return _joined(say, sentences) or say("compare.said-unknown")


def _decibels(say: Say, value: float | None) -> str:
    if value is None:
        return say("compare.unknown")
    return numbers.signed(value) if math.isfinite(value) else say("facts.silence")
