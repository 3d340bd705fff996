"""What the Live tab shows: pure functions to HTML; static/live.js fills in what is measured."""

from __future__ import annotations

import json
from collections.abc import Sequence

from markupsafe import Markup

from denoise_app.inference.catalog import Entry
from denoise_app.ui.parts.denoiser import name
from denoise_app.ui.parts.markup import heading, hint, tag
from denoise_app.ui.texts import Say

PLACES = ("server", "browser", "own")
FACTS = ("delay", "model", "buffer", "network", "devices", "cost", "missing")
SIDES = ("before", "after")
TEXTS = (
    "start", "stop", "ready", "opening", "server-plays", "browser-plays", "own-plays", "own-none", "raw-plays", "again",
    "lost", "late", "instead", "failed-assets", "failed-graph", "failed-blocked", "failed-slow", "failed-rate",
    "unplugged", "blocked", "absent", "busy", "insecure", "muted", "paused", "device", "full", "level", "milliseconds",
    "percent", "missing", "recorded", "recorded-first", "file-before", "file-after",
)  # fmt: skip
"""What live.js says."""


def panel(say: Say, offers: Sequence[Entry], chosen: str, assets: dict[str, str]) -> Markup:
    """Everything that live.js works on.

    Args:
        offers: Causal denoisers.
        chosen: Key of the one that is chosen at first.
        assets: Addresses of ONNX Runtime's module and wasm.
    """
    texts = json.dumps({key: say.template(f"live.{key}") for key in TEXTS})
    left = tag("div", _controls(say, offers, chosen), class_="sheet live-controls")
    right = tag("div", _messages(say), _pictures(say), _facts(say), _recording(say), class_="sheet live-outcome")
    return tag("div", left, right, class_="live", data_texts=texts, **{f"data_{key}": at for key, at in assets.items()})


def _controls(say: Say, offers: Sequence[Entry], chosen: str) -> Markup:
    shortcut = tag("kbd", "B")
    return Markup().join(
        (
            heading(say("live.heading")),
            hint(say("live.help")),
            tag("p", say("live.headphones"), class_="advice"),
            tag("button", say("live.start"), type="button", class_="live-start", aria_pressed="false"),
            tag("label", tag("span", say("live.model")), _models(say, offers, chosen)),
            _places(say),
            _strength(say),
            tag(
                "button",
                say("live.bypass"),
                " ",
                shortcut,
                type="button",
                class_="live-bypass",
                aria_pressed="false",
                disabled=True,
            ),
            hint(say("live.bypass-help")),
        )
    )


def _models(say: Say, offers: Sequence[Entry], chosen: str) -> Markup:
    options = (
        tag(
            "option",
            name(say, offer),
            value=offer.key,
            selected=offer.key == chosen,
            data_model=offer.model,
            data_loss=offer.key.partition("/")[2],  # with the commit, where it has one
            data_rate=str(offer.sample_rate),
        )
        for offer in offers
    )
    return tag("select", *options, class_="live-model")


def _places(say: Say) -> Markup:
    choices = []
    for place in PLACES:
        button = tag("input", type="radio", name_="live-place", value=place, checked=place == "server")
        words = tag("span", tag("b", say(f"live.place.{place}")), " ", tag("small", say(f"live.place.{place}-help")))
        choices.append(tag("label", _void(button), words))
    return tag("fieldset", tag("legend", say("live.place")), *choices, class_="live-place")


def _strength(say: Say) -> Markup:
    slider = tag("input", type="range", min="0", max="100", step="1", value="100", class_="live-strength")
    shown = tag("output", say("live.percent", number=100), class_="live-percent")
    return tag("label", tag("span", say("live.strength"), " ", shown), _void(slider))


def _void(element: Markup) -> Markup:
    """An element that HTML knows without an end."""
    return Markup(element.removesuffix("</input>"))


def _messages(say: Say) -> Markup:
    return Markup().join(
        (
            tag("p", class_="notice wrong live-problem", role="alert", hidden=True),
            tag("p", class_="advice live-notice", role="status", hidden=True),
            tag("p", say("live.ready"), class_="live-said", role="status"),
        )
    )


def _pictures(say: Say) -> Markup:
    """A meter and a running spectrogram of each side."""
    figures = []
    for side in SIDES:
        title = say(f"live.{side}")
        meter = tag("meter", min="-60", max="0", high="-3", value="-60", class_=f"live-meter-{side}", aria_label=title)
        picture = tag(
            "canvas",
            width="400",
            height="128",
            class_=f"live-canvas-{side}",
            role="img",
            aria_label=say("live.spectrogram", side=title),
        )
        caption = tag("figcaption", tag("b", title), " ", tag("span", class_=f"live-level-{side} quiet"))
        figures.append(tag("figure", caption, meter, picture))
    return tag("div", *figures, class_="live-pictures")


def _facts(say: Say) -> Markup:
    items = (
        tag("div", tag("dt", say(f"live.fact.{fact}")), tag("dd", "–", class_=f"live-fact-{fact}")) for fact in FACTS
    )
    return tag("dl", *items, class_="facts", aria_label=say("live.facts")) + hint(say("live.facts-help"))


def _recording(say: Say) -> Markup:
    rows = []
    for side in SIDES:
        button = tag("button", say("live.open"), type="button", class_="live-open", data_side=side)
        link = tag("a", say("live.save"), class_=f"download live-download-{side}")
        rows.append(tag("div", tag("b", say(f"live.{side}")), button, link))
    title = tag("p", class_="live-length", role="status")
    return tag("div", title, *rows, hint(say("live.kept")), class_="live-recording", hidden=True)
