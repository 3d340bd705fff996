"""Spectral subtraction among modulations: how fast each frequency swells and ebbs, and how much of that is noise.

Paper: Paliwal, Wójcicki and Schwerin 2010, "Single-channel speech enhancement using spectral subtraction in the
    short-time modulation domain", Speech Communication 52, sections 2 and 3; noise after Gerkmann and Hendriks 2012
    in place of the paper's detector of speech, which waits for silence.
Latency: 4,480 samples, 280 ms at 16 kHz: a frame of modulations; causal.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from denoise_app.spectral.noise_floor import LEAST_POWER, NoiseState, NoiseTracker
from denoise_app.spectral.stft import SpectralDenoiser, Stft

from .suppressor import posterior_snr

ACOUSTIC = Stft(window=512, hop=128)  # 32 ms every 8 ms, as in the paper
MODULATION = Stft(window=32, hop=4, sample_rate=125)  # 256 ms every 32 ms of those frames, as in the paper


class Memory(NamedTuple):
    """What is remembered between acoustic frames.

    Attributes:
        spectra: The last noisy ones, which wait for their gains, complex (B, bins, look_ahead).
        magnitudes: Those that the next modulation frame begins with, (B, bins, 28 to 31).
        tail: What modulation frames have given so far to magnitudes that are not done yet, (B, bins, 28).
        done: Clean magnitudes that are, but whose turn has not come, (B, bins, 0 to 3).
        noise: Of the tracker, for B * bins rows of modulation bins.
    """

    spectra: Tensor
    magnitudes: Tensor
    tail: Tensor
    done: Tensor
    noise: NoiseState


class ModulationSubtraction(SpectralDenoiser):
    """The magnitudes of each frequency bin over time are themselves transformed, and the noise is subtracted there.

    Noise that swells and ebbs at a steady rate, as engines, rotors and sirens do, stands still in that domain, so that
    it can be told from speech, whose modulations change from syllable to syllable. The noise is tracked in each
    modulation bin of each frequency. The phases of both spectra stay noisy.

    Args:
        over: rho, how much of the noise is subtracted, power ratio, at least 1.
        remain: beta, the part of it that is left, power ratio; fills up what would be musical noise.
        floor_db: The least gain of a bin, dB.

    Raises:
        ValueError: over below 1, remain outside [0, 1], or a floor above 0 dB.
    """

    look_ahead = MODULATION.window - 1  # a frame is done when the last modulation frame that holds it is heard

    def __init__(self, over: float = 1.5, remain: float = 0.002, floor_db: float = -20.0) -> None:
        super().__init__(ACOUSTIC)
        if over < 1 or not 0 <= remain <= 1 or floor_db > 0:
            raise ValueError(
                f"over is at least 1, remain lies in 0..1, and the floor is a gain of at most 0 dB, "
                f"not {over}, {remain} and {floor_db}"
            )
        self.over = over
        self.remain = remain
        self.floor = 10 ** (floor_db / 20)
        # modulations of speech stand out less from the noise than its bins do; the first frames are part silence
        self.tracker = NoiseTracker(MODULATION, prior_snr_db=6.0, opening=0.3)

    def initial_frames(self, batch: int) -> Memory:
        bins = self.stft.bins
        return Memory(
            spectra=torch.zeros(batch, bins, self.look_ahead, dtype=torch.complex64),
            magnitudes=torch.zeros(batch, bins, MODULATION.delay),
            tail=torch.zeros(batch, bins, MODULATION.delay),
            done=torch.zeros(batch, bins, MODULATION.hop - 1),  # with those before the first: look_ahead frames
            noise=self.tracker.initial_state(batch * bins),
        )

    def enhance(self, spectra: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        count = spectra.shape[2]
        heard = torch.cat([memory.spectra, spectra], dim=2)
        magnitudes = torch.cat([memory.magnitudes, spectra.abs()], dim=2)
        step = (magnitudes.shape[2] - MODULATION.delay) // MODULATION.hop * MODULATION.hop
        done, tail, noise = memory.done, memory.tail, memory.noise
        if step:
            added, noise = self.subtract(magnitudes[:, :, : step + MODULATION.delay], noise)
            added = torch.cat([added[:, :, : MODULATION.delay] + tail, added[:, :, MODULATION.delay :]], dim=2)
            done, tail = torch.cat([done, added[:, :, :step]], dim=2), added[:, :, step:]
        noisy = heard[:, :, :count]
        gain = (done[:, :, :count] / noisy.abs().clamp_min(LEAST_POWER)).clamp(self.floor, 1.0)
        return noisy * gain, Memory(heard[:, :, count:], magnitudes[:, :, step:], tail, done[:, :, count:], noise)

    def subtract(self, magnitudes: Tensor, noise: NoiseState) -> tuple[Tensor, NoiseState]:
        """|X(n, k)|, (B, bins, 4 m + 28) -> what m modulation frames give to the clean ones, the tracker after them."""
        modulations = MODULATION.frames(magnitudes.flatten(0, 1))  # X(eta, k, m): (B * bins, 17, m), complex
        power = (modulations.real.square() + modulations.imag.square()).permute(2, 0, 1).contiguous()
        estimate, noise = self.tracker.track(power, noise)  # |D(eta, k, m)|^2
        bare = posterior_snr(power, estimate).clamp_min(1e-9).reciprocal()
        left = (1 - self.over * bare).maximum(self.remain * bare)  # |S|^2 = |X|^2 - rho |D|^2, at least beta |D|^2
        gain = left.clamp_max(1.0).sqrt().permute(1, 2, 0)
        return MODULATION.overlap_add(modulations * gain).unflatten(0, (-1, self.stft.bins)), noise
