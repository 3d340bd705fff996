"""How loud sound is: decibels, RMS, peaks, loudness (ITU-R BS.1770), active speech level (ITU-T P.56)."""

from __future__ import annotations

import math
from typing import overload

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter, sosfilt

from denoise_app.audio.clip import Samples
from denoise_app.audio.convert import Resampler, mid
from denoise_app.audio.notes import Note

Floats = npt.NDArray[np.float64]

CLIPPED = 0.999  # of full scale: 16-bit sound clips at 0.99997, and editors leave a hundredth of a dB


@overload
def to_db(amplitude: float) -> float: ...
@overload
def to_db(amplitude: npt.NDArray[np.floating]) -> Floats: ...
def to_db(amplitude: float | npt.NDArray[np.floating]) -> float | Floats:
    """Amplitude over full scale -> dB; silence is -inf.

    >>> to_db(1.0), to_db(0.1), to_db(0.0)
    (0.0, -20.0, -inf)
    """
    with np.errstate(divide="ignore"):
        db = 20 * np.log10(np.abs(np.asarray(amplitude, np.float64)))
    return db if db.ndim else float(db)


@overload
def from_db(db: float) -> float: ...
@overload
def from_db(db: npt.NDArray[np.floating]) -> Floats: ...
def from_db(db: float | npt.NDArray[np.floating]) -> float | Floats:
    """dB -> amplitude over full scale.

    >>> from_db(0.0), from_db(-20.0), from_db(-math.inf)
    (1.0, 0.1, 0.0)
    """
    amplitude = 10 ** (np.asarray(db, np.float64) / 20)
    return amplitude if amplitude.ndim else float(amplitude)


def rms(samples: Samples) -> float:
    """Root of the mean square over all samples of all channels, an amplitude; 0 for no samples.

    >>> rms(np.array([[0.5, -0.5]], np.float32)), rms(np.zeros((1, 0), np.float32))
    (0.5, 0.0)
    """
    return math.sqrt(np.mean(np.square(samples, dtype=np.float64))) if samples.size else 0.0


def peak(samples: Samples) -> float:
    """The largest amplitude among the samples; 0 for no samples."""
    return float(max(samples.max(), -samples.min())) if samples.size else 0.0


def dc_offset(samples: Samples) -> Floats:
    """The mean of each channel, (channels, time) -> (channels,), amplitudes; 0 for no samples."""
    return samples.mean(axis=1, dtype=np.float64) if samples.size else np.zeros(samples.shape[0])


def clipped_fraction(samples: Samples) -> float:
    """The share of samples, 0 to 1, at `CLIPPED` of full scale or beyond.

    >>> clipped_fraction(np.array([[0.0, 1.0, -1.0, 0.5]], np.float32))
    0.5
    """
    return float(np.mean(np.abs(samples) >= CLIPPED)) if samples.size else 0.0


# --------------------------------------------------------------------------------------------------------- true peak


class TruePeakMeter:
    """The peak of the curve through the samples, for sound that comes in blocks (ITU-R BS.1770-4, Annex 2).

    The sound is oversampled four times, which misses a peak by at most 0.7 dB at half the sample rate and by 0.2 dB
    at a quarter of it; the samples themselves count too.

    Args:
        channels: Count.
    """

    OVERSAMPLING = 4  # as in the recommendation for 48 kHz

    def __init__(self, channels: int) -> None:
        self._resampler = Resampler(channels, 1, self.OVERSAMPLING)
        self._peak = 0.0

    def push(self, block: Samples) -> None:
        """Hears (channels, n) float32."""
        self._peak = max(self._peak, peak(block), peak(self._resampler.push(block)))

    def finish(self) -> float:
        """The true peak of all that was pushed, an amplitude (1 is 0 dBTP); nothing may be pushed after it."""
        self._peak = max(self._peak, peak(self._resampler.finish()))
        return self._peak


def true_peak(samples: Samples) -> float:
    """The true peak of (channels, time) samples, an amplitude: see `TruePeakMeter`."""
    meter = TruePeakMeter(samples.shape[0])
    meter.push(samples)
    return meter.finish()


# ---------------------------------------------------------------------------------------------------------- loudness


def k_weighting(sample_rate: int) -> Floats:
    """The two filters of BS.1770-4, Annex 1, tables 1 and 2, as second-order sections (2, 6), for any rate in Hz.

    The tables hold for 48 kHz. Their analogue prototypes, a shelf of +4 dB above 1.7 kHz for the head and a
    high-pass at 38 Hz, are transformed to other rates as De Man ("Evaluation of Implementations of the EBU R128
    Loudness Measurement", AES 145, 2018) and libebur128 do; at 48 kHz the tables' numbers come out. The bilinear
    transform bends the shelf at low rates: white noise reads 0.1 LU too high at 16 kHz, 0.3 LU at 8 kHz.
    """
    k = math.tan(math.pi * 1681.974450955533 / sample_rate)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    shelf = [high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k]
    shelf_below = [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]
    k = math.tan(math.pi * 38.13547087602444 / sample_rate)
    q = 0.5003270373238773
    pass_below = [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]
    sections = np.array([[*shelf, *shelf_below], [0, 0, 0, *pass_below]])
    sections /= sections[:, 3:4]
    sections[1, :3] = 1, -2, 1  # table 2 does not normalise its numerator
    return sections


def channel_weights(channels: int) -> Floats:
    """How much each channel counts, (channels,): BS.1770-4, table 3, for the channel order of wav files.

    Front channels count 1, surrounds 1.41 (+1.5 dB), the low-frequency channel of 5.1 does not.
    """
    if channels == 5:  # L R C Ls Rs
        return np.array([1, 1, 1, 1.41, 1.41])
    if channels == 6:  # L R C LFE Ls Rs
        return np.array([1, 1, 1, 0, 1.41, 1.41])
    return np.ones(channels)


class LoudnessMeter:
    """Integrated loudness of sound that comes in blocks, by ITU-R BS.1770-4, Annex 1, with both gates.

    Its memory grows by one number for every 100 ms. The result does not depend on how the sound is cut into blocks.
    Sound at less than `LOWEST_RATE` is brought to it, so that the same sound reads the same at every rate.

    Args:
        channels: Count.
        sample_rate: Hz.
    """

    LOWEST_RATE = 16_000  # Hz; the filters lose their shape towards half of a lower rate: see `k_weighting`

    ABSOLUTE_GATE = -70.0  # LUFS, equation 5
    RELATIVE_GATE = -10.0  # LU below the loudness of what passed the absolute gate, equation 6
    OVERLAP = 4  # gating blocks of 400 ms begin every 100 ms

    def __init__(self, channels: int, sample_rate: int) -> None:
        self._rate = max(sample_rate, self.LOWEST_RATE)
        self._resampler = Resampler(channels, sample_rate, self._rate)
        self._sections = k_weighting(self._rate)
        self._state = np.zeros((len(self._sections), channels, 2))
        self._weights = channel_weights(channels)
        self._energies: list[float] = []  # of each 100 ms that is complete
        self._partial = 0.0
        self._heard = 0

    def _end(self, step: int) -> int:
        """The sample at which 100 ms number `step` ends."""
        return (step + 1) * self._rate // 10

    def push(self, block: Samples) -> None:
        """Hears (channels, n) float32, n >= 0."""
        self._measure(self._resampler.push(block))

    def _measure(self, block: Samples) -> None:
        if not block.shape[1]:
            return
        weighted, self._state = sosfilt(self._sections, block.astype(np.float64), axis=1, zi=self._state)
        power = self._weights @ np.square(weighted)  # (C, n) -> (n,): the sum in equation 2
        while len(power):
            missing = self._end(len(self._energies)) - self._heard
            self._partial += float(power[:missing].sum())
            self._heard += len(power[:missing])
            if len(power) < missing:
                return
            power = power[missing:]
            self._energies.append(self._partial)
            self._partial = 0.0

    def finish(self) -> float:
        """LUFS of all that was pushed; -inf where nothing was louder than -70 LUFS. Nothing may be pushed after it.

        Sound shorter than 400 ms, which the recommendation leaves open, is taken as one gating block.
        """
        self._measure(self._resampler.finish())
        energies = np.array(self._energies)
        if len(energies) < self.OVERLAP:
            mean_squares = np.array([(energies.sum() + self._partial) / max(self._heard, 1)])
        else:
            sums = np.convolve(energies, np.ones(self.OVERLAP), "valid")
            mean_squares = sums / (self.OVERLAP * self._rate / 10)
        loud = mean_squares[_lufs(mean_squares) > self.ABSOLUTE_GATE]
        if not len(loud):
            return -math.inf
        gated = loud[_lufs(loud) > _lufs(loud.mean()) + self.RELATIVE_GATE]
        return float(_lufs(gated.mean()))


def _lufs(mean_square: npt.ArrayLike) -> Floats:
    """Equation 2: the constant makes 0 dBFS at 997 Hz in one channel -3.01 LUFS."""
    with np.errstate(divide="ignore"):
        return -0.691 + 10 * np.log10(np.asarray(mean_square, np.float64))


def loudness(samples: Samples, sample_rate: int) -> float:
    """Integrated loudness of (channels, time) samples in LUFS: see `LoudnessMeter`.

    >>> tone = np.sin(2 * np.pi * 997 * np.arange(48000) / 48000, dtype=np.float32)[None]
    >>> round(loudness(tone, 48000), 2), round(loudness(tone / 2, 48000), 2), loudness(tone * 0, 48000)
    (-3.01, -9.03, -inf)
    """
    meter = LoudnessMeter(samples.shape[0], sample_rate)
    meter.push(samples)
    return meter.finish()


# ------------------------------------------------------------------------------------------------ opposite channels


class CancellationMeter:
    """How much of a sound is lost in the mean of its channels because they are opposite there; for sound in blocks.

    The sound is looked at by half seconds. The mean of C unrelated channels has 1 / C of their power; where it has a
    fifth of that or less (two channels that correlate by -0.8 and below, 10 dB), they cancel each other.

    Args:
        channels: Count.
        sample_rate: Hz.
    """

    LEAST_SHARE = 0.05  # of the sound's energy

    def __init__(self, channels: int, sample_rate: int) -> None:
        self._length = max(1, sample_rate // 2)
        self._waiting = np.zeros((channels, 0), np.float32)
        self._total = self._cancelled = self._left = 0.0  # energies: of all, where channels cancel, of their mean there

    def push(self, block: Samples) -> None:
        """Hears (channels, n) float32 without offset."""
        heard = np.concatenate([self._waiting, block], axis=1)
        whole = heard.shape[1] // self._length * self._length
        for begin in range(0, whole, self._length):
            self._add(heard[:, begin : begin + self._length])
        self._waiting = heard[:, whole:].copy()

    def _add(self, stretch: Samples) -> None:
        energy = float(np.square(stretch, dtype=np.float64).sum()) / len(stretch)
        left = float(np.square(mid(stretch), dtype=np.float64).sum())
        self._total += energy
        if left * len(stretch) < 0.2 * energy:
            self._cancelled += energy
            self._left += left

    def notes(self) -> tuple[Note, ...]:
        """A warning where much is lost; nothing may be pushed after it."""
        if self._waiting.shape[1]:
            self._add(self._waiting)
        if not self._cancelled or self._cancelled < self.LEAST_SHARE * self._total:
            return ()
        lost = min(99.0, 10 * math.log10(self._cancelled / max(self._left, 1e-30)))
        return (Note.of("opposite-channels", percent=100 * self._cancelled / self._total, db=lost),)


# ------------------------------------------------------------------------------------------------------ active speech


def active_speech_level(samples: Samples, sample_rate: int) -> float:
    """The level of speech while it is spoken, by ITU-T P.56, method B: pauses do not count.

    Args:
        samples: (time,) float32.
        sample_rate: Hz.

    Returns:
        dB relative to full scale (a square wave at full scale has 0 dB); -inf for silence.

    The envelope is the magnitude smoothed twice (time constant 30 ms); it is compared with thresholds 6 dB apart,
    with a hangover of 200 ms. The level is that of the samples above the threshold which lies 15.9 dB below it,
    interpolated between thresholds. A sound in which none does, such as a single click, has the level above its
    largest threshold.
    """
    magnitude = np.abs(samples.astype(np.float64))
    energy = float(np.square(magnitude).sum())
    if energy == 0:
        return -math.inf
    g = math.exp(-1 / (sample_rate * 0.03))
    envelope = lfilter([1 - g], [1, -g], lfilter([1 - g], [1, -g], magnitude))
    hangover = round(0.2 * sample_rate)
    thresholds = 2.0 ** np.arange(-24, 1)  # the standard's 15 bits, continued to 24 for float sound
    active = np.array([_active_samples(envelope >= threshold, hangover) for threshold in thresholds])
    levels = 10 * np.log10(energy / active[active > 0])  # A_j in the standard
    margins = levels - to_db(thresholds[active > 0])  # A_j - C_j, falls with rising threshold
    above = np.flatnonzero(margins >= 15.9)
    if not len(above):
        return 10 * math.log10(energy / len(magnitude))  # quieter than every threshold
    j = above[-1]
    if j + 1 == len(levels):
        return float(levels[j])
    share = (margins[j] - 15.9) / (margins[j] - margins[j + 1])
    return float(levels[j] + share * (levels[j + 1] - levels[j]))


def _active_samples(above: npt.NDArray[np.bool_], hangover: int) -> int:
    """How many samples lie above the threshold, or at most `hangover` samples after one that does."""
    found = np.flatnonzero(above)
    return int(np.minimum(np.diff(found, append=len(above)), hangover + 1).sum())
