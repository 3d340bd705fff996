"""The first and the last lines of the page."""

from __future__ import annotations

from markupsafe import Markup

from denoise_app.inference.device import Device

from .parts.markup import tag
from .texts import Say


def header(say: Say, device: Device, minutes: int, dataset: str | None) -> Markup:
    """What the page is for, where it computes, and what becomes of files.

    Args:
        minutes: How long files are kept after their last use.
        dataset: Of the Hub, where outcomes of blind tests are sent to; None where they stay here.
    """
    private = say("app.privacy-votes", minutes=minutes, dataset=dataset) if dataset else ""
    return tag(
        "header",
        tag("a", say("app.skip"), href="#controls", class_="skip"),
        tag("div", tag("h1", say("app.name")), tag("p", say("app.sentence"), class_="lead")),
        tag(
            "p",
            tag("span", class_="dot", aria_hidden="true"),
            say("app.device", name=device.name),
            tag("small", say(f"device.{device.key}")),
            class_="device",
        ),
        tag("p", private or say("app.privacy", minutes=minutes), class_="privacy"),
        class_="masthead",
    )


def version(say: Say, number: str) -> Markup:
    """Which version of the program serves the page."""
    return tag("p", say("app.version", number=number), class_="version")
