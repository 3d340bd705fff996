"""Noisy and clean examples, mixed on the fly: first everything random is drawn, then it is applied.

`MixPlan.draw` is the only place with randomness; `mix` gives the same tensors for the same plan, on any device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from .config import Recipe
from .dataset import Corpus, DataError
from .rooms import EARLY_SECONDS

Array = npt.NDArray[np.float64]
Piece = tuple[int, int, int, int]
"""(file, first sample in it, samples, where they go in the example)"""

NONE = -1
EQUALISER_HZ = (80.0, 200.0, 500.0, 1200.0, 2500.0, 4500.0, 8000.0)
SPEECH_SPEEDS = (0.85, 1.18)  # beyond, few voices are like that
NOISE_SPEEDS = (0.6, 1.6)
ROUND = 100  # samples: a size with small factors, for a fast FFT


@dataclass(frozen=True)
class Voice:
    """What is drawn for one example's speech, or for one noise."""

    pieces: tuple[Piece, ...]
    count: int  # samples that they fill; played in the time of an example, so faster where there are more
    equaliser_db: Array | None  # gains at EQUALISER_HZ
    room: int  # row of the bank of responses, or NONE

    @property
    def filtered(self) -> bool:
        return self.room != NONE or self.equaliser_db is not None


@dataclass(frozen=True)
class MixPlan:
    """One example, drawn but not yet mixed.

    Attributes:
        speech: What is to be kept; None in an example of noise alone.
        noises: (voice, level in dB relative to the first) pairs; empty in an example of clean speech alone.
        babble: Voices that talk at once and count as one more noise.
        coloured: (seed, exponent) of noise by rule with power ~ 1 / f^exponent, or None.
        snr_db, level_dbfs: Active speech against noise; RMS of the mixture.
        band_hz: (low, high) edges outside which the recording holds nothing, or None.
        clip: Share of the peak at which the mixture is clipped, 1 for not at all.
    """

    speech: Voice | None
    noises: tuple[tuple[Voice, float], ...]
    babble: tuple[Voice, ...]
    coloured: tuple[int, float] | None
    snr_db: float
    level_dbfs: float
    band_hz: tuple[float, float] | None
    clip: float

    @classmethod
    def draw(cls, rng: np.random.Generator, recipe: Recipe, speech: Sampler, noise: Sampler, rooms: int) -> MixPlan:
        """One example by the recipe; `rooms` is the number of responses in the bank."""
        length = round(recipe.seconds * speech.corpus.sample_rate)

        def chance(probability: float) -> bool:
            return bool(rng.random() < probability)

        def voice(sampler: Sampler, room: int) -> Voice:
            equaliser = rng.uniform(-9, 9, len(EQUALISER_HZ)) if chance(recipe.equalise) else None
            speeds = SPEECH_SPEEDS if sampler is speech else NOISE_SPEEDS
            count = ROUND * round(length * rng.uniform(*speeds) / ROUND) if chance(recipe.speed) else length
            return Voice(sampler.draw(rng, count), count, equaliser, room)

        alone = rng.random()
        with_speech = alone >= recipe.noise_only
        with_noise = not recipe.noise_only <= alone < recipe.noise_only + recipe.clean_only
        room = int(rng.integers(rooms)) if rooms and chance(recipe.room) else NONE
        noises: list[tuple[Voice, float]] = []
        babble: tuple[Voice, ...] = ()
        coloured = None
        if with_noise:
            kind = rng.random()
            if kind < recipe.babble:
                babble = tuple(voice(speech, room) for _ in range(rng.integers(4, 9)))
            elif kind < recipe.babble + recipe.coloured:
                coloured = (int(rng.integers(2**31)), float(rng.uniform(-0.5, 2.2)))
            else:
                noises.append((voice(noise, NONE), 0.0))
            if chance(recipe.two_noises):
                noises.append((voice(noise, NONE), float(rng.uniform(-12, 6))))
        return cls(
            speech=voice(speech, room) if with_speech else None,
            noises=tuple(noises),
            babble=babble,
            coloured=coloured,
            snr_db=float(rng.uniform(*recipe.snr_db)),
            level_dbfs=float(rng.uniform(*recipe.level_dbfs)),
            band_hz=_draw_band(rng) if chance(recipe.band_limit) else None,
            clip=float(rng.uniform(0.15, 0.6)) if chance(recipe.clip) else 1.0,
        )


def _draw_band(rng: np.random.Generator) -> tuple[float, float]:
    high = float(rng.choice([3400.0, 4000.0, 4000.0, 6000.0, rng.uniform(3000, 7500)]))
    return (float(rng.uniform(60, 350)) if rng.random() < 0.4 else 0.0), high


class Sampler:
    """Draws stretches of sound from a corpus; long files are drawn more often, by the root of their length."""

    def __init__(self, corpus: Corpus, weights: tuple[tuple[str, float], ...] = ()) -> None:
        self.corpus = corpus
        weight = np.sqrt(corpus.lengths / corpus.sample_rate)
        for prefix, factor in weights:
            weight = weight * np.array([factor if name.startswith(prefix) else 1.0 for name in corpus.names])
        if not weight.any():
            raise DataError("the recipe's weights leave no file to draw: all of them are 0")
        self._cumulative = np.cumsum(weight / weight.sum())

    def draw(self, rng: np.random.Generator, length: int) -> tuple[Piece, ...]:
        """Pieces that fill `length` samples; short files follow each other after pauses of up to half a second."""
        pieces: list[Piece] = []
        place = 0
        while place < length:
            file = min(int(np.searchsorted(self._cumulative, rng.random())), len(self._cumulative) - 1)
            whole = int(self.corpus.lengths[file])
            start = int(rng.integers(max(1, whole - (length - place) + 1)))
            count = min(whole - start, length - place)
            pieces.append((file, start, count, place))
            place += count + int(rng.integers(1, self.corpus.sample_rate // 2))
        return tuple(pieces)

    def render(self, pieces: tuple[Piece, ...], length: int) -> npt.NDArray[np.float32]:
        """(length,) float32 of drawn pieces."""
        out = np.zeros(length, dtype=np.float32)
        for file, start, count, place in pieces:
            out[place : place + count] = self.corpus.cut(file, start, count)
        return out


class Mixer:
    """Turns plans into batches.

    Args:
        recipe: The recipe whose `seconds` and `batch` it follows.
        speech, noise: Samplers over the two corpora, at one rate.
        rooms: (count, samples) bank of impulse responses with the direct sound at sample 0; may be empty.
        device: Where filters and sums are computed.
    """

    def __init__(
        self, recipe: Recipe, speech: Sampler, noise: Sampler, rooms: npt.NDArray[np.float32], device: torch.device
    ) -> None:
        self.recipe, self.speech, self.noise, self.device = recipe, speech, noise, device
        self.sample_rate = speech.corpus.sample_rate
        self.length = round(recipe.seconds * self.sample_rate)
        self.padded = next_fast_len(self.length + rooms.shape[1], real=True)
        self.rooms = torch.from_numpy(rooms).to(device)
        hertz = np.fft.rfftfreq(self.padded, 1 / self.sample_rate)
        self.hertz = torch.from_numpy(hertz).float().to(device)
        nodes = np.log(np.array(EQUALISER_HZ))
        place = np.interp(np.log(np.maximum(hertz, 1.0)), nodes, np.arange(len(nodes)))
        hat = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(len(nodes))))  # linear interpolation in log f
        self.equaliser = torch.from_numpy(hat).float().to(device)  # (F, nodes)

    def batch(self, seed: int, step: int, rank: int = 0, size: int = 1) -> tuple[Tensor, Tensor]:
        """The (noisy, clean) examples of a step, (batch, time) each; the same for the same seed and step.

        Of `size` processes each draws all their examples and mixes its own: two with batches of 8 train on the same
        examples as one with a batch of 16.
        """
        rng = np.random.default_rng((seed, step))
        rooms, batch = self.rooms.shape[0], self.recipe.batch
        plans = [MixPlan.draw(rng, self.recipe, self.speech, self.noise, rooms) for _ in range(size * batch)]
        return self.mix(plans[rank * batch : (rank + 1) * batch])

    def mix(self, plans: list[MixPlan]) -> tuple[Tensor, Tensor]:
        """Plans -> (noisy, clean), (len(plans), time) each, on the device."""
        heard, clean = self._speech(plans)
        noise = self._noises(plans)
        has_noise = noise.abs().amax(1) > 0
        has_speech = heard.abs().amax(1) > 0
        snr = self._moved([plan.snr_db for plan in plans])
        gain = active_rms(heard) / (rms(noise) + 1e-9) * 10 ** (-snr / 20)
        gain = torch.where(has_speech, gain, torch.ones_like(gain)) * has_noise
        noisy = heard + gain[:, None] * noise
        level = self._moved([plan.level_dbfs for plan in plans])
        scale = 10 ** (level / 20) / (rms(noisy) + 1e-9)
        scale = torch.minimum(scale, 0.99 / (noisy.abs().amax(1) + 1e-9))[:, None]
        noisy, clean = noisy * scale, clean * scale
        limit = self._moved([plan.clip for plan in plans])[:, None] * noisy.abs().amax(1, True)
        return torch.maximum(torch.minimum(noisy, limit), -limit), clean

    def _speech(self, plans: list[MixPlan]) -> tuple[Tensor, Tensor]:
        """Speech as it reaches the microphone, and the target: the same with early reflections alone."""
        dry = self._render([plan.speech for plan in plans], self.speech)
        bands = [plan.band_hz for plan in plans]
        heard = self._filter(dry, [plan.speech for plan in plans], bands, None)
        rows = [k for k, plan in enumerate(plans) if plan.speech is not None and plan.speech.room != NONE]
        if not rows:
            return heard, heard
        early = round(EARLY_SECONDS * self.sample_rate)
        target, where = heard.clone(), self._moved(rows)
        target[where] = self._filter(dry[where], [plans[k].speech for k in rows], [bands[k] for k in rows], early)
        return heard, target

    def _noises(self, plans: list[MixPlan]) -> Tensor:
        total = torch.zeros(len(plans), self.length, device=self.device)
        voices: list[Voice] = []
        rows: list[int] = []
        levels: list[float] = []
        for row, plan in enumerate(plans):
            for voice, level in plan.noises:
                voices.append(voice)
                rows.append(row)
                levels.append(level)
        bands = [plan.band_hz for plan in plans]
        self._add(total, self.noise, voices, rows, levels, bands)
        babble = [(row, voice) for row, plan in enumerate(plans) for voice in plan.babble]
        self._add(total, self.speech, [v for _, v in babble], [r for r, _ in babble], [0.0] * len(babble), bands)
        for row, plan in enumerate(plans):
            if plan.coloured:
                total[row] += self._coloured(*plan.coloured, plan.band_hz)
        return total

    def _add(
        self,
        total: Tensor,
        sampler: Sampler,
        voices: list[Voice],
        rows: list[int],
        levels_db: list[float],
        bands: list[tuple[float, float] | None],
    ) -> None:
        if not voices:
            return
        sound = self._filter(self._render(voices, sampler), voices, [bands[row] for row in rows], None)
        gain = 10 ** (self._moved(levels_db) / 20) / (rms(sound) + 1e-6)
        total.index_add_(0, self._moved(rows), sound * gain[:, None])

    def _render(self, voices: Sequence[Voice | None], sampler: Sampler) -> Tensor:
        sounds = torch.zeros(len(voices), self.length, device=self.device)
        for row, voice in enumerate(voices):
            if voice:
                sounds[row] = _at_speed(self._moved(sampler.render(voice.pieces, voice.count)), self.length)
        return sounds

    def _moved(self, values: npt.NDArray[np.float32] | Sequence[float]) -> Tensor:
        """A tensor on the device; a GPU fetches it by itself, so that the CPU need not wait until it is there."""
        tensor = torch.as_tensor(values)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def _filter(
        self,
        sound: Tensor,
        voices: Sequence[Voice | None],
        bands: list[tuple[float, float] | None],
        keep: int | None,
    ) -> Tensor:
        """Equaliser, room (its first `keep` samples) and band limits, in one pass over the rows that have any."""
        rows = [k for k, voice in enumerate(voices) if bands[k] or (voice and voice.filtered)]
        if not rows:
            return sound
        responses = torch.stack([self._response(voices[k], bands[k], keep) for k in rows])
        out, where = sound.clone(), self._moved(rows)
        spectra = torch.fft.rfft(sound[where], n=self.padded)
        out[where] = torch.fft.irfft(spectra * responses, n=self.padded)[:, : self.length]
        return out

    def _response(self, voice: Voice | None, band: tuple[float, float] | None, keep: int | None) -> Tensor:
        response = torch.ones_like(self.hertz, dtype=torch.complex64)
        if voice is not None and voice.equaliser_db is not None:
            gains = self._moved(voice.equaliser_db.astype(np.float32))
            response = response * 10 ** (self.equaliser @ gains / 20)
        if voice is not None and voice.room != NONE:
            response = response * torch.fft.rfft(self.rooms[voice.room][:keep], n=self.padded)
        return response * self._band(band) if band else response

    def _band(self, band: tuple[float, float]) -> Tensor:
        """A gain of 1 inside the band, exactly 0 beyond a transition of a twentieth of each edge."""
        low, high = band
        fall = (high * 1.025 - self.hertz) / (0.05 * high)
        rise = (self.hertz - low * 0.975) / (0.05 * low) if low else torch.ones_like(self.hertz)
        return fall.clamp(0, 1) * rise.clamp(0, 1)

    def _coloured(self, seed: int, exponent: float, band: tuple[float, float] | None) -> Tensor:
        white = np.random.default_rng(seed).standard_normal(self.length).astype(np.float32)
        slope = (self.hertz.clamp(min=40.0) / 1000) ** (-exponent / 2)
        response = slope * self._band(band) if band else slope
        spectrum = torch.fft.rfft(self._moved(white), n=self.padded)
        return torch.fft.irfft(spectrum * response, n=self.padded)[: self.length]


def _at_speed(sound: Tensor, length: int) -> Tensor:
    """(T,) -> (length,): the whole of it in that time, its pitch moved with its speed (Ko et al. 2015)."""
    if sound.shape[0] == length:
        return sound
    return torch.fft.irfft(torch.fft.rfft(sound), n=length) * (length / sound.shape[0])


def rms(signal: Tensor) -> Tensor:
    """(B, T) -> (B,)."""
    return signal.square().mean(1).sqrt()


def active_rms(signal: Tensor, frame: int = 512, below_loudest_db: float = 35.0) -> Tensor:
    """RMS of the frames within `below_loudest_db` of the loudest one, (B, T) -> (B,): the level without its pauses."""
    power = signal[:, : signal.shape[1] // frame * frame].unflatten(1, (-1, frame)).square().mean(2)  # (B, N)
    active = power >= power.amax(1, keepdim=True) * 10 ** (-below_loudest_db / 10)
    return ((power * active).sum(1) / active.sum(1).clamp(min=1)).sqrt()
