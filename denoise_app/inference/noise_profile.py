"""A denoiser told what the noise is: its spectrum, from a stretch of the sound in which nothing else is heard."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from denoise_app.audio.clip import Clip, Samples
from denoise_app.audio.convert import Resampler, mid
from denoise_app.audio.level import clipped_fraction, peak
from denoise_app.audio.offset import OffsetRemover
from denoise_app.classical import CLASSICAL
from denoise_app.denoiser import Denoiser
from denoise_app.spectral.noise_floor import MeanPower
from denoise_app.spectral.stft import Stft

from .errors import EngineError
from .selection import Interval
from .settings import Channels
from .sources import AUDIBLY_CLIPPED, block_frames, open_sound, window

LEAST_SECONDS = 0.1  # five frames of 32 ms, whose mean is within 3 dB of the noise's


@runtime_checkable
class TakesNoise(Protocol):
    """A denoiser that can be told the noise power instead of following it."""

    stft: Stft

    def with_noise(self, power: Tensor) -> Denoiser:
        """The same denoiser for noise of this power per bin, (rows, bins), in each row of a batch."""
        ...


def takes_profile() -> list[str]:
    """The names of the denoisers that take a noise profile."""
    return [name for name, make in CLASSICAL.items() if isinstance(make(), TakesNoise)]


def profiled(
    denoiser: Denoiser, sound: Path | Clip, track: int | None, channels: Channels, interval: Interval | None
) -> Denoiser:
    """The denoiser with the noise of a stretch of a sound, each channel's its own; itself for no interval.

    Raises:
        EngineError: "no-profile-denoiser", or a stretch that holds no noise that could be measured:
            "profile-beyond-end", "profile-too-short", "profile-silent", "profile-clipped".
        AudioError: The sound cannot be read.
    """
    if interval is None:
        return denoiser
    if not isinstance(denoiser, TakesNoise):
        raise EngineError.of("no-profile-denoiser", known=", ".join(takes_profile()))
    return denoiser.with_noise(noise_power(sound, track, channels, interval, denoiser.stft))


def noise_power(sound: Path | Clip, track: int | None, channels: Channels, interval: Interval, stft: Stft) -> Tensor:
    """The mean power per bin, (rows, bins), of a stretch of a sound without its offset; raises as `profiled` does."""
    with open_sound(sound, track) as reader:
        rate, count = reader.info.sample_rate, reader.info.channels
        start, end = interval
        first, frames = round(start * rate), round(end * rate) - round(start * rate)
        if round(start * rate) >= reader.info.frames:
            raise EngineError.of("profile-beyond-end", start=start, end=end, seconds=reader.info.seconds)
        remover = OffsetRemover(count, rate)
        rows = 1 if channels == "mid" else count
        resampler, mean = Resampler(rows, rate, stft.sample_rate), MeanPower(stft, rows)
        length, clipped, loudest = 0, 0.0, 0.0

        def push(centred: Samples) -> None:
            mean.push(torch.from_numpy(resampler.push(mid(centred) if channels == "mid" else centred)))

        for block in window(reader.blocks(block_frames(rate, count), first), frames):
            length += block.shape[1]
            clipped += clipped_fraction(block) * block.shape[1]
            loudest = max(loudest, peak(block))
            push(remover.push(block))
        push(remover.finish())
        mean.push(torch.from_numpy(resampler.finish()))
    if length < LEAST_SECONDS * rate:
        raise EngineError.of("profile-too-short", least=LEAST_SECONDS, seconds=length / rate)
    if not loudest:
        raise EngineError.of("profile-silent")
    if clipped >= AUDIBLY_CLIPPED * length:
        raise EngineError.of("profile-clipped")
    return mean.power()
