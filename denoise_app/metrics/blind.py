"""Metrics without a clean reference: estimates, and to be shown as such.

Signals are NumPy (time,) at any rate, full scale 1. Cost and memory are bounded: of a recording longer than the
excerpts named below only these are evaluated, spread evenly over it, and only they are copied.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from denoise_app.audio.clip import Samples
from denoise_app.audio.convert import fit, resample
from denoise_app.audio.level import active_speech_level

from .errors import MetricUnavailable
from .excerpts import spread

Floats = npt.NDArray[np.float64]

RATE = 16_000  # Hz, of DNSMOS, and enough for the SNR: speech has little energy above 8 kHz
EXCERPT_SECONDS = 30
MOST_EXCERPTS = 4
SILENCE_DB = -120.0  # below the rounding noise of 16 bits; what a level of nothing is called

# ------------------------------------------------------------------------------------------------------------- DNSMOS

DNSMOS_WINDOW = 144_160  # samples at RATE: 9.01 s, the only length that the network takes
MOST_WINDOWS = 8  # 0.2 to 0.4 s each on one core; mean over them all for up to 17 s
CALIBRATION = {  # highest power first: what P.835 ratings the network's outputs stand for
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


@dataclass(frozen=True)
class DnsMos:
    """Mean opinion scores by ITU-T P.835, as a network predicts them, about 1 (bad) to 5 (excellent).

    Attributes:
        sig: Quality of the speech itself.
        bak: How little the background disturbs.
        ovrl: Overall.
    """

    sig: float
    bak: float
    ovrl: float


def dnsmos(samples: Samples, sample_rate: int) -> DnsMos:
    """DNSMOS P.835 (Reddy, Gopal and Cutler 2022), the network and calibration of the package speechmos.

    The score is the mean over windows of 9.01 s which begin every second; a shorter sound is repeated until it fills
    one. Up to 17 s this is exactly what speechmos does; of a longer one, eight windows spread evenly are scored.
    The score is not independent of level, and what lies beyond full scale is clipped.

    Raises:
        MetricUnavailable: speechmos or onnxruntime is missing, or the sound is silent.

    >>> time = np.arange(16000) / 16000
    >>> buzz = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 12)) * np.sin(4 * np.pi * time).clip(0)
    >>> noise = np.random.default_rng(0).standard_normal(16000)
    >>> [round(dnsmos(x.astype(np.float32) / 10, 16000).bak, 1) for x in (buzz, 2 * buzz, buzz + noise)]
    [3.9, 4.0, 1.1]
    >>> dnsmos(np.zeros(16000, np.float32), 16000)
    Traceback (most recent call last):
    denoise_app.metrics.errors.MetricUnavailable: DNSMOS is about speech, and this sound is silent.
    """
    if not np.any(samples):
        raise MetricUnavailable("silent", metric="DNSMOS")
    raw = np.mean([_rating(window) for window in _dnsmos_windows(samples, sample_rate)], axis=0)
    return DnsMos(*(float(score) for score in raw))


def _rating(window: Samples) -> list[float]:
    """What the network says of a window, (144160,) -> (3,); it is asked once of each of the last MOST_RATED."""
    key = hashlib.blake2b(window.tobytes(), digest_size=16).digest()
    with _remembering:
        if key in _rated:
            _rated.move_to_end(key)
            return _rated[key]
    rating = _rate(_dnsmos_network(), window)
    with _remembering:
        _rated[key] = rating
        if len(_rated) > MOST_RATED:
            _rated.popitem(last=False)
    return rating


def _rate(network: Any, window: Samples) -> list[float]:
    outputs = network.run(None, {"input_1": window[None]})[0][0]  # (1, 144160) -> (3,)
    return [float(np.polyval(curve, raw)) for curve, raw in zip(CALIBRATION.values(), outputs, strict=True)]


def _dnsmos_windows(samples: Samples, sample_rate: int) -> list[Samples]:
    """Windows (144160,) at RATE, within [-1, 1]."""
    length = math.ceil(DNSMOS_WINDOW * sample_rate / RATE)
    if samples.shape[0] <= length + MOST_WINDOWS * sample_rate:
        whole = _at_rate(samples, sample_rate)
        while whole.shape[0] < DNSMOS_WINDOW:
            whole = np.concatenate([whole, whole])
        count = int(whole.shape[0] // RATE - DNSMOS_WINDOW / RATE) + 1  # as speechmos counts: the last second is left
        parts = [whole[k * RATE : k * RATE + DNSMOS_WINDOW] for k in range(count)]
    else:
        starts = np.linspace(0, samples.shape[0] - length, MOST_WINDOWS).astype(int)
        parts = [_at_rate(samples[start : start + length], sample_rate) for start in starts]
    return [np.clip(fit(part[None], DNSMOS_WINDOW)[0], -1, 1) for part in parts]


MOST_RATED = 1024  # a window takes a third of a second, and whoever tries another denoiser brings the same noisy sound
_remembering = threading.Lock()
_rated: OrderedDict[bytes, list[float]] = OrderedDict()

_loading = threading.Lock()
_loaded: list[Any] = []


def _dnsmos_network() -> Any:
    """The network, loaded once for all threads; it may be run by several at once."""
    with _loading:
        if not _loaded:
            _loaded.append(_load_dnsmos())
        return _loaded[0]


def let_go() -> None:
    """Gives up the network and its memory, some 190 MB; the next score loads it again."""
    with _loading:
        _loaded.clear()


def _load_dnsmos() -> Any:
    try:
        import onnxruntime

        # not speechmos.dnsmos, whose import compiles librosa for many seconds
        weights = resources.files("speechmos") / "dnsmos_models" / "sig_bak_ovr.onnx"
    except ImportError as error:
        raise MetricUnavailable("not-installed", metric="DNSMOS", package=error.name) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a second one gained nothing, and the engine has a use for it
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(weights.read_bytes(), options, providers=["CPUExecutionProvider"])


def warm_up() -> threading.Thread:
    """Loads the network in the background, so that the first score does not wait for it; returns the thread."""

    def load() -> None:
        try:
            _rate(_dnsmos_network(), np.zeros(DNSMOS_WINDOW, np.float32))
        except MetricUnavailable:
            return  # the call for a score raises the same

    thread = threading.Thread(target=load, name="dnsmos-warm-up", daemon=True)
    thread.start()
    return thread


# ---------------------------------------------------------------------------------------------------------------- SNR

SNR_RANGE = (-15.0, 40.0)  # dB: outside it nothing is known
FRAME, HOP, TRANSFORM = 640, 320, 1280  # 40 ms holds three periods of the lowest voice; twice that against wrapping
FLOOR_QUANTILE, FLOOR_SCALE = 0.3, 1.5  # Stahl et al. 2000: speech leaves each bin free in most frames
VOICE_BAND = (70.0, 1500.0)  # Hz: above it the harmonics of a gliding voice run into each other
PITCH = (80.0, 400.0)  # Hz
SHARPNESS = 4  # how quickly a frame counts as voiceless when its periodicity falls
UNVOICED = 0.4  # energy of clean speech that is not periodic, relative to that which is
SOFTNESS = 0.05  # of the step from "this is speech" to "this is noise", in the same unit


def estimate_snr(samples: Samples, sample_rate: int) -> float:
    """Estimated signal-to-noise ratio of speech in noise, in dB, from -15 to 40.

    The noise is the sum of two: a steady floor, from a low quantile over time of each frequency bin (Stahl, Fischer
    and Bippus 2000), and what is left without a pitch. The latter comes from the autocorrelation of the spectrum
    above the floor (harmonicity of Boersma 1993): speech has a certain share of it, more counts as noise. The
    sharpness, the share and the softness above were fitted to mixtures of training recordings; the design and the
    voice band were chosen among some dozens of variants by looking at the first error below as well.

    Error against the true ratio of energies, at -5, 0, 5, 10, 15, 20 dB:

    * recorded noise of many kinds, most of it unsteady, in 480 mixtures with utterances of LibriSpeech and AISHELL-3:
      bias +2.7, mean absolute error 4.5 (a noise floor alone has 6.7, WADA-SNR of Kim and Stern 2008 has 9.0);
      in 360 new mixtures of training recordings, on which the band was not chosen: bias +2.1, mean absolute error 4.3;
    * steady noise by rule (the test holds it): bias +1.7, mean absolute error 2.3;
    * typing on a keyboard by rule (likewise): bias +8.1, mean absolute error 8.1.

    Where it fails: voices in the background, music and hum with a pitch read too high, whispering and hoarse voices
    too low, and above 20 dB it shows only that little noise is left.

    Raises:
        MetricUnavailable: the sound is silent.

    >>> time = np.arange(16000) / 16000
    >>> buzz = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 12)) * np.sin(4 * np.pi * time).clip(0)
    >>> noise = np.random.default_rng(0).standard_normal(16000)
    >>> noisy = buzz + noise * (np.mean(buzz**2) / np.mean(noise**2) / 10) ** 0.5
    >>> [round(estimate_snr(x.astype(np.float32) / 10, 16000)) for x in (noise, noisy, 2 * noisy, buzz)]
    [-12, 13, 13, 40]
    >>> estimate_snr(np.zeros(16000, np.float32), 16000)
    Traceback (most recent call last):
    denoise_app.metrics.errors.MetricUnavailable: SNR is about speech, and this sound is silent.
    """
    if not np.any(samples):
        raise MetricUnavailable("silent", metric="SNR")
    parts = spread(samples.shape[0], EXCERPT_SECONDS * sample_rate, MOST_EXCERPTS)
    power = np.concatenate([_power(_at_rate(samples[part], sample_rate)) for part in parts])  # (N, F)
    floor = np.minimum(power, FLOOR_SCALE * np.quantile(power, FLOOR_QUANTILE, axis=0))
    above = power - floor
    noisy_share = _unpitched_share(above)
    noise = floor.sum() + noisy_share * above.sum()
    speech = (1 - noisy_share) * above.sum()
    if noise <= 0 or speech <= 0:
        return SNR_RANGE[0] if speech <= 0 else SNR_RANGE[1]
    return float(np.clip(10 * np.log10(speech / noise), *SNR_RANGE))


def _power(samples: Samples) -> Floats:
    """(time,) at RATE -> power spectra (frames, bins) of Hann-weighted frames."""
    padded = fit(samples[None], max(FRAME, samples.shape[0]))[0]
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    return np.square(np.abs(np.fft.rfft(frames * np.hanning(FRAME), TRANSFORM, axis=1)), dtype=np.float64)


def _unpitched_share(power: Floats) -> float:
    """The share of energy, 0 to 1, that has no pitch and is more than clean speech would have: (frames, bins)."""
    hertz = np.fft.rfftfreq(TRANSFORM, 1 / RATE)
    voice = power * ((hertz > VOICE_BAND[0]) & (hertz < VOICE_BAND[1]))
    energy = voice.sum(axis=1)
    if not energy.any():
        return 1.0
    lags = slice(int(RATE / PITCH[1]), int(RATE / PITCH[0]))
    window = np.fft.irfft(np.square(np.abs(np.fft.rfft(np.hanning(FRAME), TRANSFORM))))
    similarity = np.fft.irfft(voice, axis=1)  # (N, lags), in the units of its first column
    strongest = (similarity[:, lags] / (window[lags] / window[0])).max(axis=1)  # Boersma's eq. 9
    periodicity = np.divide(strongest, similarity[:, 0], out=np.zeros_like(energy), where=energy > 0)
    voiced = float((energy * np.clip(periodicity, 0.01, 0.99) ** SHARPNESS).sum())
    excess = (energy.sum() - voiced - UNVOICED * voiced) / (SOFTNESS * voiced)
    return min(float(SOFTNESS * voiced * np.logaddexp(0, excess) / energy.sum()), 1.0)


# ------------------------------------------------------------------------------------------------------------- levels

LEVEL_FRAME_SECONDS = 0.05
QUIET_QUANTILE = 0.1  # people pause for more than a tenth of the time


def noise_floor_db(samples: Samples, sample_rate: int) -> float:
    """The level in pauses: the RMS that a tenth of all 50 ms frames stays below, in dB relative to full scale.

    From -120, silence, to 0. It rises by 6.02 dB for twice the level. Clicks between the words do not count; where
    nobody pauses, the quietest syllables are taken for the floor.

    >>> noise = np.random.default_rng(0).standard_normal(16000).astype(np.float32) / 100
    >>> [round(noise_floor_db(x, 16000), 1) for x in (0 * noise, noise, 2 * noise)]
    [-120.0, -40.2, -34.2]
    """
    length = max(1, round(LEVEL_FRAME_SECONDS * sample_rate))
    power: list[Floats] = []
    for part in spread(samples.shape[0], EXCERPT_SECONDS * sample_rate, MOST_EXCERPTS):
        excerpt = samples[part].astype(np.float64)
        whole = excerpt[: max(1, excerpt.size // length) * length]
        power.append(np.square(whole).reshape(-1, min(length, max(whole.size, 1))).mean(axis=1))
    together = np.concatenate(power)
    return _level_db(float(np.quantile(together, QUIET_QUANTILE))) if together.size else SILENCE_DB


def pause_attenuation_db(noisy: Samples, processed: Samples, sample_rate: int) -> float:
    """How much softer the pauses became, in dB, negative where they became louder: an estimate of what noise lost.

    Pauses are the tenth of all 50 ms frames with the least power in `noisy`, digital silence left aside; both signals
    are (time,). Where nobody pauses the quietest syllables are taken for them.

    Raises:
        MetricUnavailable: there is nothing but silence.

    >>> noise = np.random.default_rng(0).standard_normal(16000).astype(np.float32) / 100
    >>> [round(pause_attenuation_db(noise, gain * noise, 16000), 1) for gain in (1, 0.5, 2)]
    [0.0, 6.0, -6.0]
    """
    length = max(1, round(LEVEL_FRAME_SECONDS * sample_rate))
    count = max(noisy.size // length, 1)
    before, after = (
        np.square(fit(samples[None], count * length)[0].reshape(count, length), dtype=np.float64).mean(axis=1)
        for samples in (noisy, processed)
    )
    audible = before > 10 ** (SILENCE_DB / 10)
    if not audible.any():
        raise MetricUnavailable("silent", metric="Attenuation")
    pauses = audible & (before <= np.quantile(before[audible], QUIET_QUANTILE))
    return _level_db(float(before[pauses].mean())) - _level_db(float(after[pauses].mean()))


def speech_level_db(samples: Samples, sample_rate: int) -> float:
    """The active speech level (ITU-T P.56), in dB relative to full scale: pauses do not count, noise does.

    From -120, silence, to 0. It rises by 6.02 dB for twice the level. Where noise is as loud as the speech, the level
    is that of both.

    >>> tone = np.sin(np.arange(16000) / 10).astype(np.float32) / 10
    >>> [round(speech_level_db(x, 16000), 1) for x in (0 * tone, tone, 2 * tone)]
    [-120.0, -22.9, -16.9]
    """
    parts = spread(samples.shape[0], EXCERPT_SECONDS * sample_rate, MOST_EXCERPTS)
    level = active_speech_level(np.concatenate([samples[part] for part in parts]), sample_rate)
    return max(SILENCE_DB, level)


def _level_db(power: float) -> float:
    return 10 * math.log10(max(power, 10 ** (SILENCE_DB / 10)))


def _at_rate(samples: Samples, sample_rate: int) -> Samples:
    """(time,) at any rate -> (time,) at RATE."""
    return resample(np.asarray(samples)[None], sample_rate, RATE)[0]
