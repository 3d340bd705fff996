"""The numbers of a result whose clean speech nobody knows: which, in which order, and how they are written."""

from __future__ import annotations

from dataclasses import dataclass, field

from denoise_app.metrics.report import Measured

QUICK = ("snr_estimated", "noise_floor", "speech_level")
SLOW = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl")
SHOWN = ("snr_estimated", *SLOW, "noise_floor", "speech_level")
"""In the order in which the page shows them."""
UNITS = {"dB": "unit.db", "dBFS": "unit.dbfs", "LUFS": "unit.lufs", "MOS": "unit.mos", "": "unit.none"}
"""Unit of a metric -> key of its name."""
DIGITS = {"dnsmos_sig": 2, "dnsmos_bak": 2, "dnsmos_ovrl": 2}


@dataclass(frozen=True)
class Numbers:
    """What was measured of a result.

    Attributes:
        measured: Metric key -> before and after; without those that are still being measured.
        excerpts: How many stretches were listened to, 1 for the whole.
        excerpt_seconds: How long each is.
    """

    measured: dict[str, Measured] = field(default_factory=dict)
    excerpts: int = 1
    excerpt_seconds: float = 0.0
