"""The table of metrics: one row per metric, read by every table, card and figure of the product.

To add a metric, write its function, add its row here, and add its titles to `ui.texts`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from denoise_app.audio.clip import Samples
from denoise_app.audio.convert import resample
from denoise_app.audio.level import LoudnessMeter

from . import blind, perceptual, signal
from .errors import MetricUnavailable

SPECTRAL_RATE = 16_000  # Hz, at which log-spectral distances are quoted
BLOCK = 1 << 20  # samples
ARROWS = {"higher": "↑", "lower": "↓", "neither": ""}

Place = Literal["clean", "bench", "evaluate", "leaderboard", "about", "summary"]
"""Where a metric is shown.

- clean: before and after denoising, as a card in Clean and as a column in Compare; needs no clean recording.
- bench: against the clean recording, in the table of the Bench.
- evaluate: scored for every denoiser by the command of that name, and shown in the cards of checkpoints (README.md) and
  on the page on the losses.
- leaderboard: of these, a column of the leaderboard, in Markdown and on the page.
- about: of these, shown beside a denoiser where one is chosen.
- summary: of these, the few that stand for all: one cell per model and loss, under each condition, and in the Bench's
  curves over the SNR; needs a clean recording.
"""


@dataclass(frozen=True)
class Take:
    """One recording to be measured.

    Attributes:
        samples: (time,), full scale 1.
        sample_rate: Hz.
        clean: The same without noise, aligned, (time,); None where nobody has it.
    """

    samples: Samples
    sample_rate: int
    clean: Samples | None = None

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or (self.clean is not None and self.clean.shape != self.samples.shape):
            other = "" if self.clean is None else f" and {self.clean.shape}"
            raise ValueError(f"a metric takes (time,), and as much of the reference, not {self.samples.shape}{other}")

    @property
    def reference(self) -> Samples:
        if self.clean is None:
            raise ValueError("this metric needs the clean recording")
        return self.clean

    @cached_property
    def pair(self) -> tuple[Tensor, Tensor]:
        """Itself and the reference, (time,) each."""
        return _tensor(self.samples), _tensor(self.reference)

    @cached_property
    def spectral_pair(self) -> tuple[Tensor, Tensor]:
        """Itself and the reference at SPECTRAL_RATE, (time,) each."""
        both = resample(np.stack([self.samples, self.reference]), self.sample_rate, SPECTRAL_RATE)
        return _tensor(both[0]), _tensor(both[1])

    @cached_property
    def dnsmos(self) -> blind.DnsMos:
        """Three scores from one run of the network."""
        return blind.dnsmos(self.samples, self.sample_rate)


@dataclass(frozen=True)
class Metric:
    """One row of the table.

    Attributes:
        key: What programs and files call it. `ui.texts` has its title as "title.<key>" and, where it is shown in
            "clean", how it is measured as "cards.<key>-how".
        name: What papers call it.
        unit: "dB", "dBFS" (dB relative to full scale), "LUFS", "MOS" (mean opinion score), or "" for a plain number.
        digits: After the decimal point; None for two significant digits and a power of ten.
        better: Which way improvement lies.
        compute: Its value; raises MetricUnavailable where it has none.
        shown: Where.
        needs_reference: It compares with a clean recording.
        slow: It takes a tenth of a second or more for ten seconds of sound.
        floor: Below it nobody hears a difference, so that a change there is neither better nor worse.
    """

    key: str
    name: str
    unit: str
    digits: int | None
    better: Literal["higher", "lower", "neither"]
    compute: Callable[[Take], float]
    shown: tuple[Place, ...] = ()
    needs_reference: bool = True
    slow: bool = False
    floor: float = -math.inf

    @property
    def best(self) -> Callable[..., Any]:
        """`min` or `max`: what picks the best of several values."""
        return min if self.better == "lower" else max

    @property
    def title(self) -> str:
        """Name and unit, and whether it is an estimate, for tables in Markdown.

        >>> METRICS["si_sdr"].title, METRICS["pesq_wb"].title, METRICS["dnsmos_ovrl"].title
        ('SI-SDR dB', 'PESQ-WB', 'DNSMOS OVRL (estimated)')
        """
        unit = "" if self.unit in ("", "MOS") else f" {self.unit}"
        return f"{self.name}{unit}" + ("" if self.needs_reference else " (estimated)")

    @property
    def heading(self) -> str:
        """The title with an arrow to where it is better.

        >>> METRICS["si_sdr"].heading, METRICS["lsd"].heading
        ('SI-SDR dB ↑', 'LSD dB ↓')
        """
        return f"{self.title} {ARROWS[self.better]}".rstrip()

    def text(self, value: float) -> str:
        """A value in Markdown.

        >>> METRICS["stoi"].text(0.81234), METRICS["mse"].text(0.00012345)
        ('0.812', '1.2e-04')
        """
        return f"{value:.1e}" if self.digits is None else f"{value:.{self.digits}f}"


def _listener(judge: Callable[[Samples, Samples, int], float]) -> Callable[[Take], float]:
    return lambda take: judge(take.reference, take.samples, take.sample_rate)


def _unaided(judge: Callable[[Samples, int], float]) -> Callable[[Take], float]:
    return lambda take: judge(take.samples, take.sample_rate)


def _compared(distance: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Take], float]:
    return lambda take: float(distance(*take.pair))


def _segmental_snr(take: Take) -> float:
    return float(signal.segmental_snr(*take.pair, take.sample_rate))


def _lsd(take: Take) -> float:
    return float(signal.log_spectral_distance(*take.spectral_pair))


def _loudness(take: Take) -> float:
    """Loudness of the whole, with a block of it in memory."""
    meter = LoudnessMeter(1, take.sample_rate)
    for start in range(0, take.samples.size, BLOCK):
        meter.push(take.samples[None, start : start + BLOCK])
    value = meter.finish()
    if not math.isfinite(value):
        raise MetricUnavailable("silent", metric="Loudness")
    return value


def _tensor(samples: Samples) -> Tensor:
    return torch.tensor(samples)  # a copy: arrays that must not be written to would draw a warning


SUMMARY: tuple[Place, ...] = ("bench", "evaluate", "leaderboard", "about", "summary")
COLUMN: tuple[Place, ...] = ("bench", "evaluate", "leaderboard")
DETAIL: tuple[Place, ...] = ("bench", "evaluate")
ESTIMATE: tuple[Place, ...] = ("clean", "evaluate")

# fmt: off
_TABLE = (
    #      key, name, unit, digits, better, compute, shown
    Metric("pesq_wb", "PESQ-WB", "MOS", 2, "higher", _listener(perceptual.pesq_wb), SUMMARY, slow=True),
    Metric("pesq_nb", "PESQ-NB", "MOS", 2, "higher", _listener(perceptual.pesq_nb), DETAIL, slow=True),
    Metric("stoi", "STOI", "", 3, "higher", _listener(perceptual.stoi), SUMMARY, slow=True),
    Metric("estoi", "ESTOI", "", 3, "higher", _listener(perceptual.estoi), DETAIL, slow=True),
    Metric("si_sdr", "SI-SDR", "dB", 1, "higher", _compared(signal.si_sdr), SUMMARY),
    Metric("snr", "SNR", "dB", 1, "higher", _compared(signal.snr), DETAIL),
    Metric("segmental_snr", "segmental SNR", "dB", 1, "higher", _segmental_snr, COLUMN),
    Metric("lsd", "LSD", "dB", 1, "lower", _lsd, COLUMN),
    Metric("mse", "MSE", "", None, "lower", _compared(signal.mse), ("bench",)),
    Metric("snr_estimated", "SNR", "dB", 1, "higher", _unaided(blind.estimate_snr), ("clean",), False),
    Metric("dnsmos_sig", "DNSMOS SIG", "MOS", 2, "higher", lambda take: take.dnsmos.sig, ESTIMATE, False, slow=True),
    Metric("dnsmos_bak", "DNSMOS BAK", "MOS", 2, "higher", lambda take: take.dnsmos.bak, ESTIMATE, False, slow=True),
    Metric("dnsmos_ovrl", "DNSMOS OVRL", "MOS", 2, "higher", lambda take: take.dnsmos.ovrl,
           ("clean", "evaluate", "leaderboard", "about"), False, slow=True),
    Metric("noise_floor", "noise floor", "dBFS", 1, "lower", _unaided(blind.noise_floor_db), ("clean",), False,
           floor=-90),
    Metric("speech_level", "speech level", "dBFS", 1, "neither", _unaided(blind.speech_level_db), ("clean",), False),
    Metric("loudness", "loudness", "LUFS", 1, "neither", _loudness, (), False),  # the page has it of the whole file
)
# fmt: on
METRICS: dict[str, Metric] = {metric.key: metric for metric in _TABLE}
"""Every metric by its key, in the order in which they are shown."""

STAND_IN = replace(
    METRICS["pesq_wb"], key="pesq_torch", name="PESQ-WB (torch-pesq)", compute=_listener(perceptual.pesq_torch)
)
"""What takes the place of PESQ-WB where the package pesq is not installed, never under its name."""


def named(key: str) -> Metric:
    """The row of a key, that of the stand-in too."""
    return STAND_IN if key == STAND_IN.key else METRICS[key]


def shown(place: Place) -> list[Metric]:
    """The metrics of a place, in the order of the table.

    >>> [metric.key for metric in shown("summary")]
    ['pesq_wb', 'stoi', 'si_sdr']
    """
    return [metric for metric in METRICS.values() if place in metric.shown]


def keys(place: Place, slow: bool | None = None) -> tuple[str, ...]:
    """Keys of the metrics of a place, in the order of the table.

    Args:
        slow: Only those that are slow, or only those that are not; all of them where None.

    >>> keys("clean", slow=False)
    ('snr_estimated', 'noise_floor', 'speech_level')
    """
    return tuple(metric.key for metric in shown(place) if slow in (None, metric.slow))
