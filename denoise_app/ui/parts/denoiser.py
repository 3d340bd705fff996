"""What is said of a denoiser: its names in lists, what is known of it, where it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from denoise_app.inference.catalog import Entry
from denoise_app.metrics.table import shown
from denoise_app.ui.texts import Say

from . import numbers
from .markup import hint, notices, quiet, tag

LICENCE = "apache-2.0"  # of this program, and so of the denoisers without weights


def name(say: Say, offer: Entry) -> str:
    """A denoiser as versions, columns and curves are called."""
    return say("compare.name", model=offer.model, loss=offer.loss) if offer.loss else offer.model


def model_label(say: Say, offers: Sequence[Entry], recommended: bool) -> str:
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


def loss_title(say: Say, loss: str) -> str:
    """A loss with its abbreviation spelled out, so that it is taken for no model and no metric of the same name."""
    spelled = say.either(f"loss.{loss}", "")
    return f"{loss} ({spelled})" if spelled else loss


def checkpoint_label(say: Say, offer: Entry, recommended: bool, spelled: bool = False) -> str:
    """A checkpoint in the list: what it was trained for, and where it is if not here."""
    label = offer.loss or offer.model
    if offer.loss and spelled:
        label = loss_title(say, offer.loss)
    if offer.source == "hub" and offer.revision:
        label += f" · {offer.repo} @ {offer.revision[:7]}"
    return label + (f" ({say('model.recommended')})" if recommended else "")


def favours(say: Say, offer: Entry) -> str:
    """What a denoiser was made for, in a sentence; empty where nothing is said of it."""
    if offer.manifest is None:
        return say.either(f"classical.{offer.model}", "")
    return offer.manifest.favours.get(say.language) or offer.manifest.favours.get("en") or ""


def about(say: Say, offer: Entry) -> Markup:
    """What is known of a denoiser before it is used."""
    lead = favours(say, offer)
    return tag(
        "div",
        tag("p", lead) if lead else "",
        scores(say, offer) if offer.manifest is not None else "",
        quiet(_technical(say, offer)),
        class_="about",
    )


def scores(say: Say, offer: Entry) -> Markup:
    """A checkpoint's scores, those of the noisy recordings in brackets."""
    manifest = offer.manifest
    known = [metric for metric in shown("about") if manifest and metric.key in manifest.scores]
    if manifest is None or not known:
        return quiet(say("model.unscored"))
    items = []
    for metric in known:
        noisy = manifest.noisy_scores.get(metric.key)
        before = tag("span", f"({numbers.value(metric, noisy)})", class_="quiet") if noisy is not None else ""
        value = f"{numbers.value(metric, manifest.scores[metric.key])} {numbers.unit(say, metric)} "
        items.append(tag("div", tag("dt", numbers.title(say, metric)), tag("dd", value, before)))
    on = say("model.scored-on", recordings=numbers.recordings(say, manifest.scored_on)) if manifest.scored_on else ""
    return tag("dl", *items, class_="scores", aria_label=say("model.scores")) + quiet(on)


def _technical(say: Say, offer: Entry) -> str:
    """Its size, where it comes from, its rate, its delay, and whether it could work live."""
    manifest = offer.manifest
    facts = [
        say("model.size", size=numbers.size(manifest.parameters)) if manifest else say("model.no-size"),
        source(say, offer),
        say("model.rate", rate=numbers.rate(offer.sample_rate)),
        say("model.delay", milliseconds=numbers.milliseconds(1000 * offer.latency / offer.sample_rate)),
    ]
    causal = say("model.causal-help" if offer.causal else "model.offline-help")
    return say("model.facts", facts=" · ".join(facts), causal=causal)


def source(say: Say, offer: Entry) -> str:
    """Where a denoiser comes from; of the Hub's with repository, commit, size and whether it is here already."""
    if offer.source != "hub" or offer.manifest is None:
        return say(f"model.from.{offer.source}")
    return say(
        "model.from.hub",
        repo=offer.repo or "",
        commit=(offer.revision or "")[:7],
        size=f"{offer.manifest.size / 1e6:.2g} MB",
        state=say("model.cached" if offer.cached else "model.not-cached"),
    )


def hub_label(offer: Entry) -> str:
    """A checkpoint on the Hub before it is fetched: licence and size beside its name."""
    assert offer.manifest is not None
    return f"{offer.model}/{offer.loss} · {offer.manifest.licence} · {offer.manifest.size / 1e6:.2g} MB"


def hub_listing(say: Say, count: int, problems: Iterable[Exception]) -> Markup:
    """What a look on the Hub has found."""
    reasons = notices(say("model.hub-problem", reason=say.problem(problem)) for problem in problems)
    found = hint(say("model.hub-found", count=count))
    return tag("div", found, reasons, role="status") if reasons else found


def broken(say: Say, problems: Iterable[Exception]) -> Markup:
    """Why checkpoints are left out; nothing where none is."""
    return notices(say("models.broken", reason=say.problem(error)) for error in problems)
