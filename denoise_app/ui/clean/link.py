"""Links that restore a denoiser and its settings: what the Clean tab was set to, as the query of its address."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_args
from urllib.parse import parse_qsl, quote, urlencode

from denoise_app.inference.engine import Channels, HighBand, Settings

from .settings import NO_LIMIT_DB

LONGEST = 2000  # characters of a query that are looked at
DENOISER = "denoiser"
LEAST_LIMIT_DB = 3  # the lowest that the slider for the most attenuation goes


@dataclass(frozen=True)
class Wanted:
    """What a link asks for.

    Attributes:
        denoiser: Key of a denoiser; None where the link names none.
        values: Name of a widget of the Clean tab -> its value; only those that the link names.
        unread: Names in the link that mean nothing here, or whose value is none that the page could have written.
    """

    denoiser: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    unread: tuple[str, ...] = ()


def _number(low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = float(text)
        if not low <= value <= high:  # nor is NaN
            raise ValueError
        return value

    return read


def _one_of(*names: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in names:
            raise ValueError
        return text

    return read


READERS: dict[str, Callable[[str], Any]] = {
    "strength": _number(0, 100),
    "most": _number(LEAST_LIMIT_DB, NO_LIMIT_DB),
    "high_band": _one_of(*get_args(HighBand)),
    "lufs": _number(-70, 0),
    "true_peak": _number(-70, 0),
    "channels": _one_of(*get_args(Channels)),
    "format": _one_of("wav", "flac", "ogg", "mp3", "m4a"),
    "bits": lambda text: int(_one_of("16", "24", "32")(text)),
}
"""Name of a widget -> what its value in a link may be."""


def query(denoiser: str, settings: Settings, channels: str) -> str:
    """The query of a link, with what differs from the defaults.

    >>> query("gru/hybrid", Settings(strength=80.0), "each")
    '?denoiser=gru/hybrid&strength=80'
    """
    most = settings.max_attenuation_db
    loud = settings.loudness_lufs is not None
    values: dict[str, Any] = {
        "strength": settings.strength,
        "most": most if math.isfinite(most) else NO_LIMIT_DB,
        "high_band": settings.high_band,
        "lufs": settings.loudness_lufs if loud else "",
        "true_peak": settings.true_peak_dbtp if loud else "",
        "channels": channels,
        "format": settings.container or "",
        "bits": settings.bit_depth or "",
    }
    usual = {"strength": 100, "most": NO_LIMIT_DB, "high_band": "follow", "channels": "each"}
    named = {name: value for name, value in values.items() if value != usual.get(name, "")}
    texts = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in named.items()}
    return f"?{urlencode({DENOISER: denoiser} | texts, quote_via=quote, safe='/@')}"


def parse(text: str) -> Wanted:
    """What the query of an address asks for; nothing in it is trusted, and nothing in it is an error.

    >>> parse("?denoiser=wiener&strength=50&strength_of=8&bits=9")
    Wanted(denoiser='wiener', values={'strength': 50.0}, unread=('strength_of', 'bits'))
    """
    denoiser, values, unread = None, {}, []
    for name, value in parse_qsl(text[:LONGEST].removeprefix("?")):
        if name.startswith("__"):  # Gradio's own, as __theme
            continue
        try:
            if name == DENOISER:
                denoiser = value
            else:
                values[name] = READERS[name](value)
        except (KeyError, ValueError):
            unread.append(name)
    return Wanted(denoiser, values, tuple(dict.fromkeys(unread)))
