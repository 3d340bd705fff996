"""What is said of a recording before anything is done to it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from markupsafe import Markup

from denoise_app.audio.clip import FileInfo
from denoise_app.audio.notes import Note
from denoise_app.inference.engine import Levels
from denoise_app.ui.texts import Say

from . import numbers
from .markup import decoration, hidden_text, notices, tag


def facts(say: Say, info: FileInfo, levels: Levels | None, pending: str, name: str = "") -> Markup:
    """What is known of a recording.

    Args:
        levels: Peak and loudness, None while they are not known.
        pending: What stands in their place.
        name: Of its file.
    """
    waiting = tag("span", pending, class_="quiet")
    rows = {
        "length": numbers.clock(info.seconds),
        "rate": numbers.rate(info.sample_rate),
        "channels": numbers.channels(info.channels, say),
        "format": f"{info.container} · {numbers.bits(info, say)}",
        "peak": _level(say, levels.peak_db, "unit.dbfs") if levels else waiting,
        "loudness": _level(say, levels.loudness_lufs, "unit.lufs") if levels else waiting,
    }
    items = (tag("div", tag("dt", say(f"facts.{key}")), tag("dd", value)) for key, value in rows.items())
    remarks = notes(say, levels.notes()) if levels else ""
    title = tag("p", hidden_text(f"{say('facts.file')} "), name, class_="file") if name else ""
    table = tag("dl", *items, class_="facts", data_seconds=f"{info.seconds:.6f}")
    return tag("section", title, table, remarks, aria_label=say("facts.name"))


GOOD_SNR_DB = 25.0  # estimated; from here on denoisers have cost more SI-SDR than they gained
GENTLE = 50  # %, the strength that is proposed then


def already_clean(say: Say, snr_db: object) -> Markup:
    """That there is little to gain, where the estimated SNR is high; nothing where it is lower, or no number."""
    if not isinstance(snr_db, float) or snr_db < GOOD_SNR_DB:
        return Markup()
    return tag("p", say("facts.clean", snr=numbers.plain(snr_db), strength=GENTLE), class_="advice")


def _level(say: Say, value: float, unit: str) -> str:
    return f"{numbers.plain(value)} {say(unit)}" if math.isfinite(value) else say("facts.silence")


def notes(say: Say, found: Iterable[Note]) -> Markup:
    """What is odd about a recording."""
    return notices(say.either(f"note.{note.key}", note.message, **note.facts) for note in found)


def example_label(say: Say, stem: str) -> str:
    """What the button of an example says: its noise, or its file's name."""
    return say.either(f"example.{stem}", stem)


def microphone(say: Say, prefix: str = "") -> Markup:
    """A button that records, and the switch for the browser's own processing; microphone.js does what they say."""
    keys = ("granted", "processing", "rate", "on", "off", "unknown", "refused")
    problems = ("blocked", "absent", "busy", "insecure")
    channels = {"mono": "channels.1", "stereo": "channels.2", "several": "channels.many"}
    texts = {key: f"microphone.{key}" for key in (*keys, *problems)} | channels
    help = f"{prefix}microphone-help"
    switch = Markup('<input type="checkbox" role="switch" aria-describedby="{}">').format(help)
    return tag(
        "div",
        tag("button", decoration("●"), " ", say("microphone.record"), type="button", class_="record"),
        tag("p", class_="notice wrong", role="alert", hidden=True),
        tag("label", switch, tag("span", say("microphone.switch")), class_="switch"),
        tag("p", say("microphone.help"), class_="hint", id=help),
        tag("p", class_="granted", role="status", hidden=True),
        class_="microphone",
        **{f"data_{name}": say.template(key) for name, key in texts.items()},
    )
