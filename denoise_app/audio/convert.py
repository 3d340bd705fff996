"""Sound changed in form, not in content: rate, length, channels, bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soxr

from denoise_app.audio.clip import Samples

QUALITY = "HQ"  # 20-bit precision, passband to 0.91 of the lower Nyquist frequency, linear phase
DITHERED_BITS = 16  # at 8 bits dither is hiss (-48 dBFS) in pauses just cleaned, at 24 it is below float32's own steps


class Resampler:
    """Changes the rate of a sound that comes in blocks; the samples do not depend on how it is cut into blocks.

    Sample n of the output lies at n / to_rate seconds, so that the output is aligned with the input: the filter of
    libsoxr has linear phase, and its delay is waited for. The output has `resampled_length` samples in all.

    Args:
        channels: Count.
        from_rate: Hz.
        to_rate: Hz; where it is from_rate, the blocks pass unchanged.
    """

    def __init__(self, channels: int, from_rate: int, to_rate: int) -> None:
        self._channels = channels
        self._rates = from_rate, to_rate
        self._stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality=QUALITY)
        self._taken = 0
        self._given = 0

    def push(self, block: Samples) -> Samples:
        """(channels, n) float32, n >= 0 -> the samples (channels, m) that are ready, m >= 0."""
        self._taken += block.shape[1]
        if self._rates[0] == self._rates[1]:
            return block
        return self._run(block, last=False)

    def finish(self) -> Samples:
        """The samples (channels, m) that are left; nothing may be pushed after it."""
        if self._rates[0] == self._rates[1] or not self._taken:
            return np.zeros((self._channels, 0), np.float32)
        from_rate, to_rate = self._rates
        silence = np.zeros((self._channels, -(-from_rate // to_rate)), np.float32)  # libsoxr rounds down, we up
        rest = resampled_length(self._taken, from_rate, to_rate) - self._given
        return self._run(silence, last=True)[:, :rest]

    def _run(self, block: Samples, last: bool) -> Samples:
        ready = self._stream.resample_chunk(np.ascontiguousarray(block.T), last=last).T  # (C, n) -> (C, m)
        self._given += ready.shape[1]
        return np.ascontiguousarray(ready)


def resample(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    """A whole sound at another rate in Hz, (channels, time) -> (channels, `resampled_length`), as `Resampler`.

    The samples are never changed; where the rates are equal they are returned themselves.
    """
    resampler = Resampler(samples.shape[0], from_rate, to_rate)
    if from_rate == to_rate:
        return samples
    return np.concatenate([resampler.push(samples), resampler.finish()], axis=1)


def resampled_length(frames: int, from_rate: int, to_rate: int) -> int:
    """Samples after resampling `frames` of them: the exact ratio rounded up, so that no sample is lost.

    >>> resampled_length(44100, 44100, 16000), resampled_length(1, 48000, 16000), resampled_length(0, 48000, 16000)
    (16000, 1, 0)
    """
    return -(-frames * to_rate // from_rate)


def fit(samples: Samples, frames: int) -> Samples:
    """(channels, time) -> (channels, frames): cut at the end, or silence added there; the input is never changed."""
    missing = frames - samples.shape[1]
    if missing <= 0:
        return samples[:, :frames]
    return np.pad(samples, ((0, 0), (0, missing)))


def mid(samples: Samples) -> Samples:
    """(channels, time) -> (1, time): the mean of the channels."""
    return samples.mean(axis=0, keepdims=True, dtype=np.float32)


def quantise(samples: Samples, bits: int, rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """Float samples as integers in the upper `bits` bits of int32; what is beyond full scale is cut, never wrapped.

    A sample that lies on a step is kept. At 16 bits the others get triangular dither, two steps wide, before they
    are rounded: the error is then a noise whose mean and power do not depend on the sound (Lipshitz, Wannamaker and
    Vanderkooy, "Quantization and dither: a theoretical survey", J. Audio Eng. Soc. 40, 1992).

    Args:
        samples: (time, channels) float32, full scale is [-1, 1].
        bits: 8 to 32.
        rng: The source of the dither; blocks drawn from it in order get the dither that the whole would get.
    """
    steps = samples.astype(np.float64) * 2.0 ** (bits - 1)
    rounded = np.rint(steps)
    if bits == DITHERED_BITS:
        uniform = rng.random((*samples.shape, 2), np.float32)  # two for each sample, so that blocks do not matter
        dither = uniform[..., 0] + uniform[..., 1] - 1
        rounded = np.rint(steps + dither * (rounded != steps))
    limited = np.clip(rounded, -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)
    return (limited * 2.0 ** (32 - bits)).astype(np.int32)
