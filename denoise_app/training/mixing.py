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
ROUND = 100  # samples: a size with small factors, for a quick FFT
FAR_DB = (-30.0, -5.0)  # of a second voice: one across a room is 20 dB softer than one at the microphone
STEP_DB = (-20.0, 20.0)  # of one voice that turns away, moves, or is turned up
FADE_SECONDS = 0.03  # at the ends of a turn: no click, and shorter than a vowel
PAUSES = (0.15, 0.5)  # of the example's length, from one voice to the next or of one that stops: 0.45 to 1.5 s of 3 s
MAINS_HZ = (50.0, 60.0)
MOST_OFFSET = 0.3  # of full scale


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
class Turn:
    """A stretch of the example in which a voice is heard.

    Attributes:
        voice: Whose; of two turns of one voice the second goes on where the first would be by then.
        start, stop: Samples of the example.
        level_db: Of its active speech, against the example's loudest turn.
    """

    voice: Voice
    start: int
    stop: int
    level_db: float = 0.0


@dataclass(frozen=True)
class MixPlan:
    """One example, drawn but not yet mixed.

    Attributes:
        speech: What is to be kept, in order; empty in an example of noise alone.
        noises: (voice, level in dB relative to the first) pairs; empty in an example of clean speech alone.
        babble: Voices that talk at once and count as one more noise.
        coloured: (seed, exponent) of noise by rule with power ~ 1 / f^exponent, or None.
        hum: (seed, Hz of the mains, level in dB relative to the other noise), or None.
        snr_db, level_dbfs: Active speech against noise; RMS of the mixture.
        band_hz: (low, high) edges outside which the recording holds nothing, or None.
        overdrive, clip: Share of the peak at which the speech, and the mixture, is clipped, 1 for not at all.
        offset: Added to the mixture at last, as a share of full scale.
    """

    speech: tuple[Turn, ...]
    noises: tuple[tuple[Voice, float], ...]
    babble: tuple[Voice, ...]
    coloured: tuple[int, float] | None
    hum: tuple[int, float, float] | None
    snr_db: float
    level_dbfs: float
    band_hz: tuple[float, float] | None
    overdrive: float
    clip: float
    offset: float

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

        def drawn_room() -> int:
            return int(rng.integers(rooms)) if rooms and chance(recipe.room) else NONE

        alone = rng.random()
        with_speech = alone >= recipe.noise_only
        with_noise = not recipe.noise_only <= alone < recipe.noise_only + recipe.clean_only
        room = drawn_room()
        noises: list[tuple[Voice, float]] = []
        babble: tuple[Voice, ...] = ()
        coloured = hum = None
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
            if chance(recipe.hum):
                hum = int(rng.integers(2**31)), float(rng.choice(MAINS_HZ)), float(rng.uniform(-12, 6))
        turns: tuple[Turn, ...] = ()
        if with_speech:
            first, kind = voice(speech, room), rng.random()
            if kind < recipe.two_talkers:
                turns = _draw_turns(rng, length, (first, voice(speech, drawn_room())), rng.uniform(*FAR_DB))
            elif kind < recipe.two_talkers + recipe.level_change:
                turns = _draw_turns(rng, length, (first, first), rng.uniform(*STEP_DB), paused=chance(0.5))
            elif kind < recipe.two_talkers + recipe.level_change + recipe.long_pause:
                turns = _draw_turns(rng, length, (first, first), 0.0)
            else:
                turns = (Turn(first, 0, length),)
        softest = min((turn.level_db for turn in turns), default=0.0)
        return cls(
            speech=turns,
            noises=tuple(noises),
            babble=babble,
            coloured=coloured,
            hum=hum,
            # of half of those with a soft turn against that one, since nobody could hear it else
            snr_db=float(rng.uniform(*recipe.snr_db)) - (softest if chance(0.5) else 0.0),
            level_dbfs=float(rng.uniform(*recipe.level_dbfs)),
            band_hz=_draw_band(rng) if chance(recipe.band_limit) else None,
            overdrive=float(rng.uniform(0.15, 0.6)) if chance(recipe.overdrive) else 1.0,
            clip=float(rng.uniform(0.15, 0.6)) if chance(recipe.clip) else 1.0,
            offset=float(rng.uniform(-MOST_OFFSET, MOST_OFFSET)) if chance(recipe.offset) else 0.0,
        )


def _draw_turns(
    rng: np.random.Generator, length: int, voices: tuple[Voice, Voice], second_db: float, paused: bool = True
) -> tuple[Turn, ...]:
    """Two turns, the second so much louder than the first, in half of the cases the other way round."""
    pause = round(length * rng.uniform(*PAUSES)) if paused else 0
    stop = round((length - pause) * rng.uniform(0.3, 0.7))
    levels = np.array([0.0, second_db] if rng.random() < 0.5 else [second_db, 0.0])
    levels -= levels.max()
    return Turn(voices[0], 0, stop, float(levels[0])), Turn(voices[1], stop + pause, length, float(levels[1]))


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
        reverberant, clean = self._speech(plans)
        reverberant = _clipped(reverberant, self._moved([plan.overdrive for plan in plans]))
        noise = self._noises(plans)
        has_noise = noise.abs().amax(1) > 0
        has_speech = reverberant.abs().amax(1) > 0
        snr = self._moved([plan.snr_db for plan in plans])
        gain = active_rms(reverberant) / (rms(noise) + 1e-9) * 10 ** (-snr / 20)
        gain = torch.where(has_speech, gain, torch.ones_like(gain)) * has_noise
        noisy = reverberant + gain[:, None] * noise
        level = self._moved([plan.level_dbfs for plan in plans])
        scale = 10 ** (level / 20) / (rms(noisy) + 1e-9)
        scale = torch.minimum(scale, 0.99 / (noisy.abs().amax(1) + 1e-9))[:, None]
        noisy, clean = noisy * scale, clean * scale
        noisy = _clipped(noisy, self._moved([plan.clip for plan in plans]))
        return (noisy + self._moved([plan.offset for plan in plans])[:, None]).clamp(-1, 1), clean

    def _speech(self, plans: list[MixPlan]) -> tuple[Tensor, Tensor]:
        """What the microphone hears of the speech, and the target: the same with early reflections alone."""
        silence = torch.zeros(len(plans), self.length, device=self.device)
        placed = [(row, turn) for row, plan in enumerate(plans) for turn in plan.speech]
        if not placed:
            return silence, silence
        voices = [turn.voice for _, turn in placed]
        bands = [plans[row].band_hz for row, _ in placed]
        dry = self._render(voices, self.speech)
        gain = 10 ** (self._moved([turn.level_db for _, turn in placed]) / 20) / (active_rms(dry) + 1e-6)
        dry = gain[:, None] * dry * self._windows([turn for _, turn in placed])
        reverberant = self._filter(dry, voices, bands, None)
        target = reverberant.clone()
        if rows := [k for k, voice in enumerate(voices) if voice.room != NONE]:
            early, where = round(EARLY_SECONDS * self.sample_rate), self._moved(rows)
            target[where] = self._filter(dry[where], [voices[k] for k in rows], [bands[k] for k in rows], early)
        into = self._moved([row for row, _ in placed])
        return silence.index_add(0, into, reverberant), silence.index_add(0, into, target)

    def _windows(self, turns: Sequence[Turn]) -> Tensor:
        """(turns, time): 1 while each lasts, with fades at its inner ends."""
        time = torch.arange(self.length, device=self.device)
        start, stop = (self._moved(ends)[:, None] for ends in ([t.start for t in turns], [t.stop for t in turns]))
        fade = FADE_SECONDS * self.sample_rate
        rise = torch.where(start > 0, (time - start) / fade, 1.0)
        fall = torch.where(stop < self.length, (stop - time) / fade, 1.0)
        return torch.minimum(rise, fall).clamp(0, 1)

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
            if plan.hum:
                seed, hertz, level = plan.hum
                total[row] += (rms(total[row][None]) + 1e-6) * 10 ** (level / 20) * self._hum(seed, hertz)
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

    def _render(self, voices: Sequence[Voice], sampler: Sampler) -> Tensor:
        """(voices, time), without filters."""
        return torch.stack(
            [_at_speed(self._moved(sampler.render(voice.pieces, voice.count)), self.length) for voice in voices]
        )

    def _moved(self, values: npt.NDArray[np.float32] | Sequence[float]) -> Tensor:
        """A tensor on the device; a GPU fetches it by itself, so that the CPU need not wait until it is there."""
        tensor = torch.as_tensor(values)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def _filter(
        self,
        sound: Tensor,
        voices: Sequence[Voice],
        bands: list[tuple[float, float] | None],
        keep: int | None,
    ) -> Tensor:
        """Equaliser, room (its first `keep` samples) and band limits, in one pass over the rows that have any."""
        rows = [k for k, voice in enumerate(voices) if bands[k] or voice.filtered]
        if not rows:
            return sound
        responses = torch.stack([self._response(voices[k], bands[k], keep) for k in rows])
        out, where = sound.clone(), self._moved(rows)
        spectra = torch.fft.rfft(sound[where], n=self.padded)
        out[where] = torch.fft.irfft(spectra * responses, n=self.padded)[:, : self.length]
        return out

    def _response(self, voice: Voice, band: tuple[float, float] | None, keep: int | None) -> Tensor:
        response = torch.ones_like(self.hertz, dtype=torch.complex64)
        if voice.equaliser_db is not None:
            gains = self._moved(voice.equaliser_db.astype(np.float32))
            response = response * 10 ** (self.equaliser @ gains / 20)
        if voice.room != NONE:
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

    def _hum(self, seed: int, hertz: float) -> Tensor:
        """The mains, (time,) of RMS 1: harmonics by random phases and a random slope, the odd ones often the louder."""
        rng = np.random.default_rng(seed)
        order = np.arange(1, rng.integers(3, 25))
        amplitude = order ** -rng.uniform(0.3, 2.0) * np.where(order % 2, 1.0, rng.uniform(0.1, 1.0))
        amplitude *= rng.uniform(0.3, 1.0, order.size)
        exact = hertz * (1 + rng.uniform(-0.002, 0.002))  # grids stray by a fifth of a per cent at most
        time = np.arange(self.length) / self.sample_rate
        turns = exact * order[:, None] * time + rng.random(order.size)[:, None]
        sound = amplitude @ np.sin(2 * np.pi * turns)
        return self._moved((sound / np.sqrt(np.mean(sound**2))).astype(np.float32))


def _clipped(sound: Tensor, share: Tensor) -> Tensor:
    """(B, T), cut off at a share (B,) of each row's peak."""
    limit = share[:, None] * sound.abs().amax(1, True)
    return torch.maximum(torch.minimum(sound, limit), -limit)


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
