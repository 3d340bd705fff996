"""Training losses.

A loss is a pure function `(estimate, clean, noisy) -> parts` of waveforms (batch, time) at a common level. Its parts
are named scalars, already weighted: training minimises their sum, and the log has each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from .mask import cirm
from .perceptual import LossUnavailable as LossUnavailable
from .perceptual import pesq
from .spectrum import compressed, log_mag, mrstft
from .waveform import mse, si_snr
from .weighted import frcrn, frcrn_perceptual, hybrid

Parts = dict[str, Tensor]
LossFunction = Callable[[Tensor, Tensor, Tensor], Parts]

LATE = 0.8  # share of a training's budget


@dataclass(frozen=True)
class Loss:
    """A loss and what is known of it.

    Attributes:
        function: (estimate, clean, noisy), (batch, time) each -> named, weighted parts.
        favours: One sentence for people on what it makes of speech, by language code.
        equation: The loss in a line, for people: s clean, x noisy, ŝ the estimate; capitals are their spectra.
        aims_at: The metric (of `metrics.report`) that its equation is, or is nearest to; None where none stands out.
        late: More parts of the same kind, which join when a run has spent LATE of its budget. It may raise
            LossUnavailable, on silence too.
    """

    function: LossFunction
    favours: Mapping[str, str]
    equation: str
    aims_at: str | None = None
    late: LossFunction | None = None


LOSSES: dict[str, Loss] = {
    "hybrid": Loss(
        hybrid,
        {
            "en": "The all-rounder: perceptual detail and strong noise reduction, with the waveform kept aligned.",
            "zh": "均衡之选：兼顾听感细节与强力降噪，并保持波形对齐。",
        },
        equation="compressed + si-snr / 10",
    ),
    "log-mag": Loss(
        log_mag,
        {
            "en": "Fits the log magnitudes alone: the phase stays noisy, and musical noise may remain.",
            "zh": "只拟合对数幅度谱：相位仍带噪，可能残留音乐噪声。",
        },
        equation="mean (log(1 + |Ŝ|) − log(1 + |S|))²",
    ),
    "mrstft": Loss(
        mrstft,
        {
            "en": "Bright, without the artefacts of a single frame size.",
            "zh": "明亮，没有单一帧长造成的失真。",
        },
        equation="over frames of 32, 64, 128 ms: ‖|Ŝ| − |S|‖ / ‖|S|‖ + mean |log |Ŝ| − log |S||; + 50 · mean |ŝ − s|",
        aims_at="lsd",
    ),
    "cirm": Loss(
        cirm,
        {
            "en": "Fits the complex mask itself, magnitude and phase: even and moderate.",
            "zh": "直接拟合复数掩蔽（幅度与相位）：均衡、适度。",
        },
        equation="mean |K(M̂) − K(M)|² with M = S X̄ / |X|², M̂ = Ŝ X̄ / |X|², K = 10 tanh(M / 20) of each part",
    ),
    "frcrn": Loss(
        frcrn,
        {
            "en": "A balance of spectrum, mask and waveform, after the FRCRN paper.",
            "zh": "依照 FRCRN 论文，在频谱、掩蔽与波形之间取得平衡。",
        },
        equation="20 · log-mag + 3 · cirm + 0.03 · si-snr",
    ),
    "compressed": Loss(
        compressed,
        {
            "en": "Quiet details count as much as loud ones: bright, with strong noise reduction.",
            "zh": "弱音细节与强音同样重要：明亮、压制强。",
        },
        equation="70 · mean (|Ŝ|^0.3 − |S|^0.3)² + 30 · mean |Ŝ |Ŝ|^−0.7 − S |S|^−0.7|²",
    ),
    "si-snr": Loss(
        si_snr,
        {
            "en": "Tuned for the waveform (SI-SDR); quiet high frequencies may be lost.",
            "zh": "针对波形（SI-SDR）优化；微弱高频可能丢失。",
        },
        equation="−10 log₁₀(‖a s‖² / ‖ŝ − a s‖²) with a = ⟨ŝ, s⟩ / ‖s‖²",
        aims_at="si_sdr",
    ),
    "pesq": Loss(
        hybrid,
        {
            "en": "The all-rounder, tuned for perceived quality (PESQ) at the end of training.",
            "zh": "均衡之选，训练末段再针对感知质量（PESQ）优化。",
        },
        equation="hybrid; in the last fifth of the training + 0.1 d + 0.0309 d′, the disturbances of PESQ",
        aims_at="pesq_wb",
        late=pesq,
    ),
    "perceptual": Loss(
        frcrn_perceptual,
        {
            "en": "Tuned for perceived quality and intelligibility (PESQ, STOI).",
            "zh": "针对感知质量与可懂度（PESQ、STOI）优化。",
        },
        equation="frcrn + 0.3 · (0.1 d + 0.0309 d′) + 4 · (1 − STOI), d and d′ as in pesq",
        aims_at="pesq_wb",
    ),
    "mse": Loss(
        mse,
        {
            "en": "Loud parts count most: dull high frequencies, and noise left in weak bands.",
            "zh": "响亮部分最重要：高频偏暗，弱频带残留噪声。",
        },
        equation="mean (ŝ − s)²",
        aims_at="snr",
    ),
}
