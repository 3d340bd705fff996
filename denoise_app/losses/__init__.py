"""What a checkpoint was taught to make small.

A loss is a pure function `(estimate, clean, noisy) -> parts` of waveforms (batch, time) at a common level. Its parts
are named scalars, already weighted: their sum is what training makes small, and the log shows each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from .mask import cirm
from .spectrum import compressed, log_mag, mrstft
from .waveform import mse, si_snr
from .weighted import frcrn, hybrid

Parts = dict[str, Tensor]
LossFunction = Callable[[Tensor, Tensor, Tensor], Parts]


@dataclass(frozen=True)
class Loss:
    """A loss and what is known of it.

    Attributes:
        function: (estimate, clean, noisy), (batch, time) each -> named, weighted parts.
        favours: One sentence for people on what it makes of speech, by language code.
    """

    function: LossFunction
    favours: Mapping[str, str]


LOSSES: dict[str, Loss] = {
    "hybrid": Loss(
        hybrid,
        {
            "en": "The all-rounder: perceptual detail and strong suppression, with the waveform kept in place.",
            "zh": "均衡之选：兼顾听感细节与强力降噪，并保持波形对齐。",
        },
    ),
    "log-mag": Loss(
        log_mag,
        {
            "en": "Strong suppression in the pauses; musical noise may remain, and the phase stays noisy.",
            "zh": "停顿处压制强烈；可能残留音乐噪声，相位仍带噪。",
        },
    ),
    "mrstft": Loss(
        mrstft,
        {
            "en": "Bright, without the artefacts of any one frame size.",
            "zh": "明亮，没有单一帧长造成的失真。",
        },
    ),
    "cirm": Loss(
        cirm,
        {
            "en": "Careful and natural: it removes less and harms speech less.",
            "zh": "谨慎自然：去除较少，对语音损伤也小。",
        },
    ),
    "frcrn": Loss(
        frcrn,
        {
            "en": "A balance of spectrum, mask and waveform.",
            "zh": "在频谱、掩蔽与波形之间取得平衡。",
        },
    ),
    "compressed": Loss(
        compressed,
        {
            "en": "Quiet details count as much as loud ones: bright, strongly suppressed.",
            "zh": "弱音细节与强音同样重要：明亮、压制强。",
        },
    ),
    "si-snr": Loss(
        si_snr,
        {
            "en": "The best SI-SDR; quiet high frequencies may be lost.",
            "zh": "SI-SDR 最佳；微弱高频可能丢失。",
        },
    ),
    "mse": Loss(
        mse,
        {
            "en": "Loud parts count most: dull highs, and noise left in weak bands.",
            "zh": "响亮部分最重要：高频偏暗，弱频带残留噪声。",
        },
    ),
}
