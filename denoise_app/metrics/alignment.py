"""Bringing two recordings of the same speech together in time, before they are compared sample by sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from denoise_app.audio.clip import Samples
from denoise_app.audio.errors import UserError

MOST_SECONDS = 1.0  # between the beginnings of two recorders that one hand has started, and between their ends
BAND = (100.0, 4000.0)  # Hz: speech, without the mains hum and rumble that two recordings share by chance
LOWEST_CORRELATION = 0.15  # speech in noise at -10 dB has 0.29; other speech reached 0.09 in seconds-long examples
SHORTEST_OVERLAP = 0.25  # of the shorter sound, s at least: chance correlates what is short

SENTENCES: dict[str, str] = {
    "pair-lengths": "The noisy recording lasts {noisy:.2f} s and the clean one {clean:.2f} s; they may differ by at "
    "most {limit:g} s. Choose the two recordings of the same speech, cut alike.",
    "pair-unrelated": "The clean recording does not seem to be that of the noisy one: their correlation is "
    "{correlation:.2f} at best, and {limit:.2f} is needed. True numbers need the same speech in both.",
    "pair-silent": "One of the two recordings is silent, so that they cannot be compared. Choose another.",
}
"""Reason -> the English sentence, with the names of its facts in braces."""

Floats = npt.NDArray[np.float64]


class PairError(UserError):
    """Two recordings that cannot be compared."""

    sentences = SENTENCES


@dataclass(frozen=True)
class Alignment:
    """How a noisy recording lies to its clean one.

    Attributes:
        lag: Samples; noisy[n + lag] belongs to clean[n]. Above 0 the noisy recording is the later one.
        correlation: Of both at that lag between 100 Hz and 4 kHz, -1 to 1; below 0 one of them is upside down.
    """

    lag: int
    correlation: float

    @property
    def inverted(self) -> bool:
        return self.correlation < 0


def align(noisy: Samples, clean: Samples, sample_rate: int) -> Alignment:
    """Finds the lag by cross-correlation: the largest magnitude among lags of up to one second.

    The correlation at each lag is normalised by the energies of the samples that meet there, so that sound which
    lies in one of the recordings alone does not count.

    Args:
        noisy, clean: (time,) each, of lengths that differ by one second at most.
        sample_rate: Hz.

    Raises:
        PairError: "pair-lengths", "pair-silent", or "pair-unrelated" where nothing correlates.

    >>> clean = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    >>> late = np.concatenate([np.zeros(123, np.float32), clean])[:16000]
    >>> align(late, clean, 16000).lag, align(clean, late, 16000).lag, align(-late, clean, 16000).inverted
    (123, -123, True)
    """
    if abs(noisy.size - clean.size) > MOST_SECONDS * sample_rate:
        lengths = {"noisy": noisy.size / sample_rate, "clean": clean.size / sample_rate}
        raise PairError.of("pair-lengths", **lengths, limit=MOST_SECONDS)
    if not (np.any(noisy) and np.any(clean)):
        raise PairError.of("pair-silent")
    size = next_fast_len(noisy.size + clean.size, real=True)
    spectra = [_speech_band(signal, size, sample_rate) for signal in (noisy, clean)]
    products = irfft(spectra[0] * np.conj(spectra[1]), size)
    lags = _lags(noisy.size, clean.size, sample_rate)
    first, last = np.maximum(0, -lags), np.minimum(clean.size, noisy.size - lags)  # of clean, where both are
    energies = [
        np.concatenate([[0.0], np.cumsum(irfft(spectrum, size)[: signal.size] ** 2)])
        for spectrum, signal in zip(spectra, (noisy, clean), strict=True)
    ]
    met = (energies[0][last + lags] - energies[0][first + lags]) * (energies[1][last] - energies[1][first])
    enough = met > 1e-12 * energies[0][-1] * energies[1][-1]
    correlations = np.where(enough, products[lags] / np.sqrt(np.where(enough, met, 1.0)), 0.0).clip(-1, 1)
    best = int(np.argmax(np.abs(correlations)))
    found = Alignment(int(lags[best]), float(correlations[best]))
    if not abs(found.correlation) >= LOWEST_CORRELATION:
        raise PairError.of("pair-unrelated", correlation=abs(found.correlation), limit=LOWEST_CORRELATION)
    return found


def overlap(noisy: Samples, clean: Samples, alignment: Alignment) -> tuple[Samples, Samples]:
    """What both recordings hold, (time,) each and of equal lengths; the clean one's polarity is inverted where needed.

    >>> overlap(np.arange(4), np.arange(3), Alignment(1, 1.0)), overlap(np.arange(4), np.arange(3), Alignment(-1, -1.0))
    ((array([1, 2, 3]), array([0, 1, 2])), (array([0, 1]), array([-1, -2])))
    """
    later, earlier = max(0, alignment.lag), max(0, -alignment.lag)
    length = min(noisy.size - later, clean.size - earlier)
    part = clean[earlier : earlier + length]
    return noisy[later : later + length], -part if alignment.inverted else part


def _speech_band(signal: Samples, size: int, sample_rate: int) -> npt.NDArray[np.complex128]:
    """The spectrum of (time,) in `size` samples with silence added, within `BAND`."""
    hertz = rfftfreq(size, 1 / sample_rate)
    spectrum: npt.NDArray[np.complex128] = rfft(signal.astype(np.float64), size)
    return spectrum * ((hertz >= BAND[0]) & (hertz <= BAND[1]))


def _lags(noisy: int, clean: int, sample_rate: int) -> npt.NDArray[np.int64]:
    """Lags of at most a second at which enough of both recordings meets."""
    shortest = min(noisy, clean)
    needed = max(1, min(shortest, max(round(SHORTEST_OVERLAP * sample_rate), shortest // 4)))
    most = round(MOST_SECONDS * sample_rate)
    return np.arange(max(-most, needed - clean), min(most, noisy - needed) + 1)
