"""The numbers of a result whose clean speech nobody knows."""

from __future__ import annotations

from dataclasses import dataclass, field

from denoise_app.metrics.report import Measured


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
