"""What is said of a comparison: pure functions from it to HTML."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from denoise_app.inference.catalog import Entry
from denoise_app.losses import LOSSES
from denoise_app.metrics.table import keys, shown
from denoise_app.plots.spectrogram import SpectrogramData
from denoise_app.serve.turns import Place
from denoise_app.ui.parts import denoiser, numbers
from denoise_app.ui.parts.denoiser import name
from denoise_app.ui.parts.downloads import ICON, address
from denoise_app.ui.parts.excerpts import EXCERPT_SECONDS, EXCERPTS, WHOLE_SECONDS
from denoise_app.ui.parts.markup import (
    decoration,
    head,
    heading,
    hidden_text,
    hint,
    missing,
    region,
    row,
    row_head,
    sentences,
    sortable_head,
    table,
    tag,
    titled,
    working,
)
from denoise_app.ui.parts.orders import queued
from denoise_app.ui.parts.player import NOISY, Version, number_key
from denoise_app.ui.parts.problems import explained
from denoise_app.ui.texts import Say
from denoise_app.ui.worker.background import Step

from .work import Comparison, Look, View


def choice(say: Say, offer: Entry, recommended: bool) -> str:
    """A denoiser in the list that columns are chosen from."""
    label = denoiser.checkpoint_label(say, offer, recommended)
    return f"{offer.model}/{label}" if offer.loss else label


def title(say: Say, comparison: Comparison, offer: Entry) -> str:
    """What a column is called: its loss where only losses are compared, else model and loss."""
    alike = len({column.offer.model for column in comparison.columns}) == 1 and len(comparison.columns) > 1
    return say("compare.loss", loss=offer.loss) if alike and offer.loss else name(say, offer)


def versions(say: Say, comparison: Comparison) -> list[Version]:
    """What the player switches between: the recording, and every column that came out."""
    noisy = Version(NOISY, say("compare.noisy"), comparison.path, comparison.gain_db)
    return [
        noisy,
        *(
            Version(column.key, title(say, comparison, column.offer), column.path, column.gain_db)
            for column in comparison.ready
        ),
    ]


def labels(say: Say, comparison: Comparison) -> list[str]:
    """What panels of figures are called: the number keys of the player, as far as they go, and the names."""
    return [f"{number_key(k)} {version.label}".strip() for k, version in enumerate(versions(say, comparison))]


def progress(say: Say, step: Step, offers: Sequence[Entry], done: int, is_playable: bool) -> Markup:
    """Which column the work is at, and how far it is over all of them.

    Args:
        done: Columns that have come out or failed.
        is_playable: Whether a column can be played already.
    """
    if isinstance(step.progress, Place):
        return queued(say, step.progress)
    key = "compare.loading" if step.stage == "loading" else "compare.running"
    stage = say(key, name=name(say, offers[done]), number=done + 1, count=len(offers))
    fraction = (done + (step.progress.fraction if step.progress else 0.0)) / len(offers)
    return working(say, stage, fraction, more=say("compare.heard") if is_playable else "")


def result_heading(say: Say, comparison: Comparison) -> Markup:
    """What was compared."""
    facts = {"length": numbers.clock(comparison.info.seconds), "whole": numbers.clock(comparison.whole_seconds)}
    cut = hint(say("compare.cut", **facts)) if comparison.is_cut else Markup()
    return titled(say("compare.result"), comparison.path.name) + cut


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
        floor: Below it values count as alike.
    """

    key: str
    head: str
    unit: str
    better: str
    text: Callable[[float], str]
    values: Sequence[float | None]
    floor: float = -math.inf

    def best(self) -> str | None:
        """The best value as it is written; None where nothing is better, or all are the same."""
        known = [value for value in self.values if value is not None]
        if self.better == "neither" or len({self.text(max(value, self.floor)) for value in known}) < 2:
            return None
        return self.text(max(known) if self.better == "higher" else min(known))


def numbers_table(say: Say, comparison: Comparison) -> Markup:
    """The numbers of every version, to be sorted by any of them; the best of each marked in words."""
    traits = [*_metrics(say, comparison), *_properties(say, comparison)]
    rows = []
    for k, version in enumerate(versions(say, comparison)):
        key = tag("td", tag("kbd", number_key(k)) if number_key(k) else "", data_value=k)
        cells = (_cell(say, comparison, trait, k) for trait in traits)
        rows.append(row(key, row_head(version.label, version.label), *cells))
    for column in comparison.columns:
        if column.error is not None:
            why = tag("td", say("compare.failed", reason=explained(say, column.error)), colspan=len(traits))
            failed = title(say, comparison, column.offer)
            rows.append(row(tag("td"), row_head(failed, failed), why))
    heads = [sortable_head(say("compare.key")), sortable_head(say("compare.version"))]
    heads += [sortable_head(trait.head, trait.unit, trait.better, say(f"compare.{trait.better}")) for trait in traits]
    remarks = [say("compare.one-clip"), say("compare.estimated")]
    if comparison.info.seconds > WHOLE_SECONDS:
        remarks.append(say("cards.excerpts", count=EXCERPTS, seconds=f"{EXCERPT_SECONDS:g}"))
    caption = say("compare.table")
    return region(caption, table(heads, rows, caption), "versus") + hint(sentences(say, remarks))


def _metrics(say: Say, comparison: Comparison) -> list[Trait]:
    """What was measured of every version."""
    traits = []
    for metric in shown("clean"):
        found = [column.numbers.get(metric.key) for column in comparison.ready]
        before = next((one.before for one in found if one is not None), None)
        values = [before, *(one.after if one else None for one in found)]
        title, unit = numbers.title(say, metric), numbers.unit(say, metric)
        traits.append(
            Trait(metric.key, title, unit, metric.better, partial(numbers.value, metric), values, metric.floor)
        )
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


def _missing(say: Say, comparison: Comparison, trait: Trait, place: int) -> Markup:
    """What stands in a cell without a value: that it is being measured, why there is none, or nothing."""
    if trait.key not in keys("clean"):
        return missing(say("compare.unknown"))
    found = [column.numbers.get(trait.key) for column in comparison.ready]
    measured = found[place - 1] if place else next(filter(None, found), None)
    if measured is None:
        return decoration("…") + hidden_text(say("cards.measuring"))
    reason = measured.unavailable
    why = say(f"metric.{reason.reason}", **reason.facts) if reason else say("compare.unknown")
    return tag("span", "–", title=why, aria_hidden="true") + hidden_text(why)


def _cell(say: Say, comparison: Comparison, trait: Trait, place: int) -> Markup:
    value = trait.values[place]
    if value is None:
        return tag("td", _missing(say, comparison, trait, place), class_="quiet")
    text = trait.text(value)
    if text == trait.best():
        return tag("td", tag("b", text), " ", tag("span", say("compare.best"), class_="tag"), data_value=repr(value))
    return tag("td", text, data_value=repr(value))


def single_downloads(say: Say, token: str, names: Mapping[str, str]) -> Markup:
    """Links to each version by itself; `names` are of its label and what the user's copy is called."""
    shown = (
        tag("a", ICON, label, class_="download", href=address(token, copy), download=copy)
        for label, copy in names.items()
    )
    folded = tag("details", tag("summary", say("compare.versions")), tag("nav", *shown, class_="downloads"))
    return tag("div", folded, class_="singles")


# ---------------------------------------------------------------------------------------------------- what each is for


def favours(say: Say, comparison: Comparison) -> Markup:
    """What each denoiser was made for, in a line; unfolded, its loss, its scores and its training.

    page.js unfolds the one that is heard.
    """
    items = (_favour(say, column.offer, title(say, comparison, column.offer)) for column in comparison.columns)
    return tag("section", heading(say("compare.favours")), *items, class_="favours")


def _favour(say: Say, offer: Entry, called: str) -> Markup:
    text = denoiser.favours(say, offer) or say("compare.nothing-said")
    summary = tag("summary", tag("b", called), " ", tag("span", text))
    more: list[Markup] = []
    if offer.loss in LOSSES:
        spelled = say.either(f"loss.{offer.loss}", "")
        more.append(tag("p", spelled, ": ", tag("code", LOSSES[offer.loss].equation, lang="en")))
    if offer.manifest is not None:
        more.append(denoiser.scores(say, offer))
    return tag("details", summary, *more, _trained(say, offer), data_version=offer.key)


def _trained(say: Say, offer: Entry) -> Markup:
    """How long a denoiser was trained, and where that began; nothing where its manifest lacks it."""
    training = offer.manifest.training if offer.manifest else {}
    hours, start = training.get("hours_seen"), training.get("init")
    if not isinstance(hours, int | float):
        return Markup()
    began = start.partition(",")[0] if isinstance(start, str) else ""  # "gru/start, 132 h of hybrid"
    key = "compare.trained-from" if "/" in began else "compare.trained"  # not "54 h of hybrid, then ..."
    return tag("p", say.markup(key, hours=numbers.hours(hours), start=tag("code", began)))


# --------------------------------------------------------------------------------------------------------- the figures


def spectrograms(say: Say, comparison: Comparison, view: View) -> list[tuple[str, SpectrogramData]]:
    """What the grid shows, with its names: the recording, and every column that came out."""
    looks = [view.noisy, *(view.columns[column.key].spectrogram for column in comparison.ready)]
    return list(zip(labels(say, comparison), looks, strict=True))


def said_of_grid(say: Say, comparison: Comparison, reference: int | None) -> Markup:
    """How the grid is used, and what its colours mean where it shows differences."""
    lines = [say("compare.grid-help")]
    if reference is not None:
        label = versions(say, comparison)[reference].label
        lines.insert(0, say("compare.difference-help", name=label))
    return hint(sentences(say, lines))


def said_of_figures(say: Say, comparison: Comparison, view: View) -> Markup:
    """The figures in sentences and in a table."""
    looks = [(title(say, comparison, column.offer), view.columns[column.key]) for column in comparison.ready]
    heads = [head(say(f"compare.{key}")) for key in ("version", "level", "noise", "speech")]
    rows = []
    for called, look in looks:
        changes = (look.change_db, look.noise_db, look.speech_db)
        rows.append(row(row_head(called), *(tag("td", _decibels(say, change)) for change in changes)))
    changes_table = region(say("compare.changes"), table(heads, rows), "scrolls")
    return tag("div", tag("p", _extremes(say, looks)), changes_table, class_="figure-said")


def _extremes(say: Say, looks: Sequence[tuple[str, Look]]) -> str:
    """Who took most of the noise, and who least of the speech."""
    noise = [(look.noise_db, called) for called, look in looks if look.noise_db is not None]
    speech = [(look.speech_db, called) for called, look in looks if look.speech_db is not None]
    lines = []
    if noise:
        most, called = max(noise)
        lines.append(say("compare.said-noise", name=called, db=numbers.plain(most)))
    if speech:
        least, called = min(speech)
        lines.append(say("compare.said-speech", name=called, db=numbers.plain(least)))
    return sentences(say, lines) or say("compare.said-unknown")


def _decibels(say: Say, value: float | None) -> str:
    if value is None:
        return say("compare.unknown")
    return numbers.signed(value) if math.isfinite(value) else say("facts.silence")
