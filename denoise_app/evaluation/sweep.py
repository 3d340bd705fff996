"""Noisy speech whose clean speech is known: mixed at an SNR or recorded twice, denoised, and truly measured.

The SNR of a mixture is the active speech level (ITU-T P.56, pauses do not count) over the RMS level of the noise. What
is mixed or compared is mono, at most 30 s long and at most at 48 kHz; a `Note` tells of everything that was changed.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from denoise_app.audio.clip import Clip, FileInfo, Samples
from denoise_app.audio.convert import Resampler, mid
from denoise_app.audio.errors import UserError
from denoise_app.audio.files import open_reader, read
from denoise_app.audio.level import active_speech_level, peak, rms, to_db
from denoise_app.audio.mix import mix_at_snr, noise
from denoise_app.audio.notes import Note
from denoise_app.denoiser import Denoiser
from denoise_app.inference import engine
from denoise_app.inference.progress import Cancelled, Question, Report, Watch
from denoise_app.inference.sources import block_frames, window
from denoise_app.metrics.alignment import MOST_SECONDS as MOST_LAG_SECONDS
from denoise_app.metrics.alignment import Alignment, PairError, align, overlap
from denoise_app.metrics.errors import MetricUnavailable
from denoise_app.metrics.perceptual import pesq_torch
from denoise_app.metrics.report import score

MOST_SECONDS = 30.0  # as much as PESQ and STOI take at once; six denoisers at nine SNRs then end within minutes
MOST_RATE = 48_000  # Hz: what lies above is not heard, and no metric asks for it
SHORTEST_SECONDS = 0.5  # PESQ and STOI need some 0.4 s
SILENT_DB = -70.0  # dBFS: active speech below this is a room with nobody in it
SILENT_NOISE_DB = -100.0  # dBFS: what 16 bits cannot hold
CROSSFADE_SECONDS = 0.05  # where a short noise begins again
CEILING = 0.99  # of full scale: where the peak of a mixture goes that would clip
LOWEST_SNR, HIGHEST_SNR = -10.0, 30.0  # dB
KEYS = ("snr", "si_sdr", "segmental_snr", "pesq_wb", "pesq_nb", "stoi", "estoi", "lsd", "mse")
SWEPT = ("si_sdr", "pesq_wb", "stoi")
STAND_IN = "pesq_torch"  # takes the place of "pesq_wb" where the package pesq is not installed
MOST_CACHED = 4096  # measurements of three numbers each: a dozen full sweeps

SENTENCES: dict[str, str] = {
    "bench-silent-speech": "{name} holds no speech in the part that is used: its active level is below {limit:g} dBFS. "
    "Choose another clean recording.",
    "bench-silent-noise": "{name} is silent in the part that is used, and an SNR needs noise. "
    "Choose another noise, or another seed.",
    "bench-short-speech": "{name} lasts {seconds:.2f} s; at least {shortest:g} s of speech are needed.",
    "bench-snr": "An SNR lies between {lowest:g} and {highest:g} dB here, not at {snr:g}.",
}
"""Reason -> the English sentence, with the names of its facts in braces."""

NOTES: dict[str, str] = {
    "bench-first": "Of {name} the first {seconds:g} s are used.",
    "bench-mono": "The {channels} channels of {name} were averaged.",
    "bench-rate": "{name} was brought from {before:g} to {after:g} kHz.",
    "bench-repeated": "The noise is shorter than the speech: it is repeated {times:.1f} times, with crossfades of "
    "{fade:g} ms.",
    "bench-cut": "The noise is longer than the speech: the part from {start:.1f} s on is used, a place that the seed "
    "draws.",
    "bench-scaled": "Speech and noise were both made softer by {db:.1f} dB, so that their sum does not clip.",
    "bench-trimmed": "The lengths or beginnings differ; the {seconds:.2f} s that both recordings hold are compared.",
    "bench-inverted": "One of the two recordings was upside down (its polarity inverted); this was undone.",
}
"""Key -> the English sentence of every note."""

Score = float | MetricUnavailable
Scores = Mapping[str, Score]


class BenchError(UserError):
    """Speech or noise that cannot be mixed."""

    sentences = SENTENCES


@dataclass(frozen=True)
class Ingredients:
    """Speech and noise, before they are mixed.

    Attributes:
        clean, noise: (time,) float32 of equal lengths.
        sample_rate: Hz.
        notes: What was changed on the way here.
    """

    clean: Samples
    noise: Samples
    sample_rate: int
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Pair:
    """Noisy speech and the same speech clean, in step to the sample.

    Attributes:
        noisy, clean: (time,) float32 of equal lengths.
        sample_rate: Hz.
        snr_db: Of a mixture, as measured on it: active speech level over RMS of the noise.
        alignment: Of two recordings, how the noisy one lay to the clean one.
        notes: What was changed on the way here.
    """

    noisy: Samples
    clean: Samples
    sample_rate: int
    snr_db: float | None = None
    alignment: Alignment | None = None
    notes: tuple[Note, ...] = ()

    @property
    def content(self) -> str:
        """A digest of all samples and the rate: pairs that measure alike have the same."""
        digest = hashlib.sha256(str(self.sample_rate).encode())
        for samples in (self.noisy, self.clean):
            digest.update(np.ascontiguousarray(samples).tobytes())
        return digest.hexdigest()


# ---------------------------------------------------------------------------------------------- where pairs come from


def prepare(clean: Path, noise_from: Path | str, seed: int) -> Ingredients:
    """Speech, and as much noise as it takes.

    Args:
        clean: A recording of speech alone; the noise is brought to its rate.
        noise_from: A recording of noise, or one of `audio.mix.NOISES`; babble is made of the speech itself.
        seed: Draws noise by rule, the place where a long noise is cut, and where a repeated one begins.

    Raises:
        AudioError: a file cannot be read.
        BenchError: "bench-silent-speech", "bench-short-speech", "bench-silent-noise".
    """
    speech, rate, notes = _speech(clean, MOST_SECONDS)
    rng = np.random.default_rng(seed)
    if isinstance(noise_from, str):
        drawn, name = noise(noise_from, speech.size, rate, rng, speech), noise_from
    else:
        drawn, more = _noise_of(noise_from, speech.size, rate, rng)
        notes, name = notes + more, noise_from.name
    if to_db(rms(drawn)) < SILENT_NOISE_DB:
        raise BenchError.of("bench-silent-noise", name=name)
    return Ingredients(speech, drawn, rate, notes)


def mix(ingredients: Ingredients, snr_db: float) -> Pair:
    """Speech in noise at an SNR in dB, exact to a thousandth; both are made softer where their sum would clip.

    Raises:
        BenchError: "bench-snr", an SNR outside of -10 to 30 dB.
    """
    if not LOWEST_SNR <= snr_db <= HIGHEST_SNR:
        raise BenchError.of("bench-snr", snr=snr_db, lowest=LOWEST_SNR, highest=HIGHEST_SNR)
    clean, rate, gain = ingredients.clean, ingredients.sample_rate, 1.0
    while True:  # the active level does not fall by quite the same: mixed anew, at the level that is heard
        noisy, _ = mix_at_snr(clean, ingredients.noise, snr_db, rate)
        highest = max(peak(noisy), peak(clean))
        if highest <= 1:
            break
        gain *= CEILING / highest
        clean = ingredients.clean * np.float32(gain)
    scaled = (_note("bench-scaled", db=-to_db(gain)),) if gain < 1 else ()
    achieved = active_speech_level(clean, rate) - to_db(rms(noisy - clean))
    return Pair(noisy, clean, rate, snr_db=achieved, notes=ingredients.notes + scaled)


def pair(noisy: Path, clean: Path) -> Pair:
    """Two recordings of the same speech, the clean one at the noisy one's rate, aligned, and cut to what both hold.

    Raises:
        AudioError: a file cannot be read.
        BenchError: "bench-silent-speech", "bench-short-speech".
        PairError: lengths that differ by more than a second, silence, or other speech.
    """
    most = MOST_SECONDS + MOST_LAG_SECONDS
    recorded, rate, info, notes = _read(noisy, most)
    speech, _, clean_info, more = _read(clean, most, to_rate=rate)
    if abs(info.seconds - clean_info.seconds) > MOST_LAG_SECONDS:
        raise PairError.of("pair-lengths", noisy=info.seconds, clean=clean_info.seconds, limit=MOST_LAG_SECONDS)
    _check_speech(speech, rate, clean.name)
    alignment = align(recorded, speech, rate)
    both = [part[: round(MOST_SECONDS * rate)] for part in overlap(recorded, speech, alignment)]
    notes += more
    if max(info.seconds, clean_info.seconds) > MOST_SECONDS:
        notes += (_note("bench-first", name=noisy.name, seconds=MOST_SECONDS),)
    elif both[0].size < max(recorded.size, speech.size):
        notes += (_note("bench-trimmed", seconds=both[0].size / rate),)
    if alignment.inverted:
        notes += (_note("bench-inverted"),)
    return Pair(both[0], both[1], rate, alignment=alignment, notes=notes)


def _speech(path: Path, seconds: float) -> tuple[Samples, int, tuple[Note, ...]]:
    """(time,), its rate, and notes: the first seconds of a recording that must hold speech."""
    samples, rate, info, notes = _read(path, seconds)
    _check_speech(samples, rate, path.name)
    if info.seconds > seconds:
        notes += (_note("bench-first", name=path.name, seconds=seconds),)
    return samples, rate, notes


def _check_speech(samples: Samples, rate: int, name: str) -> None:
    if samples.size < SHORTEST_SECONDS * rate:
        raise BenchError.of("bench-short-speech", name=name, seconds=samples.size / rate, shortest=SHORTEST_SECONDS)
    if active_speech_level(samples, rate) < SILENT_DB:
        raise BenchError.of("bench-silent-speech", name=name, limit=SILENT_DB)


def _noise_of(path: Path, frames: int, rate: int, rng: np.random.Generator) -> tuple[Samples, tuple[Note, ...]]:
    """(frames,) of a recording of noise at a rate: a part of it, or all of it again and again."""
    with open_reader(path) as reader:
        info = reader.info
    needed = math.ceil(frames * info.sample_rate / rate)
    if info.frames > needed:
        start = int(rng.integers(info.frames - needed + 1))
        drawn, _, _, notes = _read(path, frames / rate, start, rate)
        notes += (_note("bench-cut", start=start / info.sample_rate),)
    else:
        drawn, _, _, notes = _read(path, frames / rate, 0, rate)
    if 0 < drawn.size < frames:
        fade = min(round(CROSSFADE_SECONDS * rate), drawn.size // 2)
        notes += (_note("bench-repeated", times=frames / drawn.size, fade=1000 * CROSSFADE_SECONDS),)
        drawn = _repeated(drawn, frames, fade, rng)
    return drawn[:frames], notes


def _repeated(sound: Samples, frames: int, fade: int, rng: np.random.Generator) -> Samples:
    """(frames,): a sound in a circle from a drawn place on; its end fades into its beginning at equal power."""
    angle = (np.arange(fade) + 0.5) / max(fade, 1) * (np.pi / 2)
    circle = sound[: sound.size - fade].copy()
    circle[:fade] = sound[:fade] * np.sin(angle) + sound[sound.size - fade :] * np.cos(angle)
    places = (int(rng.integers(circle.size)) + np.arange(frames)) % circle.size
    return circle[places]


def _read(
    path: Path, seconds: float, start: int = 0, to_rate: int | None = None
) -> tuple[Samples, int, FileInfo, tuple[Note, ...]]:
    """The mean of a file's channels, by block: (time,), its rate, what the file is, and what was changed.

    Args:
        seconds: At most so many.
        start: The first sample, at the file's rate.
        to_rate: Hz; by default the file's, but at most `MOST_RATE`.
    """
    with open_reader(path) as reader:
        info = reader.info
        rate = to_rate or min(info.sample_rate, MOST_RATE)
        resampler = Resampler(1, info.sample_rate, rate)
        blocks = reader.blocks(block_frames(info.sample_rate, info.channels), start)
        used = window(blocks, math.ceil(seconds * info.sample_rate))
        parts = [resampler.push(mid(block)) for block in used]
        samples = np.concatenate([np.zeros((1, 0), np.float32), *parts, resampler.finish()], axis=1)[0]
    notes = [_note("bench-mono", name=path.name, channels=info.channels)] if info.channels > 1 else []
    if rate != info.sample_rate:
        notes.append(_note("bench-rate", name=path.name, before=info.sample_rate / 1000, after=rate / 1000))
    return samples, rate, info, tuple(notes)


def _note(key: str, **facts: object) -> Note:
    return Note(key, NOTES[key].format(**facts), facts)


# ----------------------------------------------------------------------------------------------------------- measuring


def denoise(
    of: Pair, denoiser: Denoiser, out: Path, progress: Report | None = None, cancelled: Question | None = None
) -> Samples:
    """Runs a denoiser over the noisy side, as the engine does for files.

    Args:
        of: What it hears.
        denoiser: Ready to run.
        out: Where the result goes, as float wav.
        progress: Told how far it is, once a block.
        cancelled: Asked once a block whether to stop.

    Returns:
        (time,) float32.

    Raises:
        AudioError: the denoiser cannot treat it, or the disk is full.
        Cancelled: `cancelled` said so.
    """
    clip = Clip(of.noisy[np.newaxis], of.sample_rate)
    with tempfile.TemporaryDirectory(dir=out.parent) as work:
        separation = engine.separate(clip, denoiser, Path(work), progress=progress, cancelled=cancelled)
        engine.render(separation, engine.Settings(container="wav", bit_depth=32), out, cancelled=cancelled)
    return read(out).samples[0]


def scores(of: Pair, processed: Samples, keys: Iterable[str] = KEYS) -> dict[str, Score]:
    """True metrics of (time,) against the clean side, in the order of the table.

    Where "pesq_wb" is asked for and the package pesq is not installed, torch-pesq's number comes in its place, by the
    key "pesq_torch": never under the other's name.
    """
    found: dict[str, Score] = {}
    for key, value in score(processed, of.sample_rate, of.clean, keys).items():
        if key == "pesq_wb" and isinstance(value, MetricUnavailable) and value.reason == "not-installed":
            key, value = STAND_IN, _stand_in(of, processed)
        found[key] = value
    return found


def _stand_in(of: Pair, processed: Samples) -> Score:
    try:
        return pesq_torch(of.clean, processed, of.sample_rate)
    except MetricUnavailable as reason:
        return reason


class Measurements:
    """What was measured before, by content: the newest of a bounded number; from any thread."""

    def __init__(self, most: int = MOST_CACHED) -> None:
        self._most = most
        self._known: OrderedDict[tuple[str, ...], Scores] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, ...]) -> Scores | None:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def put(self, key: tuple[str, ...], value: Scores) -> None:
        with self._lock:
            self._known[key] = value
            self._known.move_to_end(key)
            while len(self._known) > self._most:
                self._known.popitem(last=False)


# ----------------------------------------------------------------------------------------------------------- the sweep


@dataclass(frozen=True)
class Candidate:
    """A denoiser that takes part.

    Attributes:
        name: What it is called.
        content: What makes it this one and no other: the digest of its weights, or the name of a classical one.
        load: Makes it ready to run.
    """

    name: str
    content: str
    load: Callable[[], Denoiser]


@dataclass(frozen=True)
class Point:
    """What one denoiser does at one SNR.

    Attributes:
        name: Of the candidate.
        snr_db: That was asked for.
        before, after: Metrics of the mixture and of the result.
    """

    name: str
    snr_db: float
    before: Scores
    after: Scores

    def improvement(self, key: str) -> float | None:
        """After minus before; None where one of them has no value."""
        before, after = self.before.get(key), self.after.get(key)
        return after - before if isinstance(before, float) and isinstance(after, float) else None


@dataclass
class Sweep:
    """What a sweep has found so far; it grows while it runs, and a cancelled one keeps what is done.

    Attributes:
        points: In the order in which they came: by SNR, then by candidate.
        failures: Candidate's name -> why it takes part no more; the others go on.
    """

    points: list[Point] = field(default_factory=list)
    failures: dict[str, Exception] = field(default_factory=dict)


def snrs(step: int = 5) -> tuple[float, ...]:
    """The SNRs of a sweep, a whole number of dB apart.

    >>> snrs(10)
    (-10.0, 0.0, 10.0, 20.0, 30.0)
    """
    return tuple(float(snr) for snr in range(round(LOWEST_SNR), round(HIGHEST_SNR) + 1, step))


def sweep(
    ingredients: Ingredients,
    candidates: Sequence[Candidate],
    at: Sequence[float],
    known: Measurements,
    into: Sweep,
    progress: Report | None = None,
    cancelled: Question | None = None,
) -> None:
    """Mixes at each SNR, runs each candidate, and measures `SWEPT` before and after.

    Args:
        ingredients: Speech and noise.
        candidates: Denoisers with different names.
        at: SNRs in dB.
        known: Asked before anything is computed, and told what was.
        into: Where points go as they come.
        progress: Told after each point how far it is.
        cancelled: Asked once a block whether to stop.

    Raises:
        BenchError: an SNR out of its range.
        Cancelled: `cancelled` said so.
    """
    seconds = ingredients.clean.size / ingredients.sample_rate
    step = Watch(progress, cancelled).stage("measure", seconds * len(at) * len(candidates))
    done = 0
    for snr_db in at:
        mixture = mix(ingredients, snr_db)
        content = mixture.content
        before = _known_or(known, (content, "", *SWEPT), partial(scores, mixture, mixture.noisy, SWEPT))
        for candidate in candidates:
            if candidate.name not in into.failures:
                key = (content, candidate.content, *SWEPT)
                try:
                    after = _known_or(known, key, partial(_measured, mixture, candidate, cancelled))
                    into.points.append(Point(candidate.name, snr_db, before, after))
                except Cancelled:
                    raise
                except Exception as error:
                    into.failures[candidate.name] = error
            done += 1
            step(seconds * done)


def _known_or(known: Measurements, key: tuple[str, ...], measure: Callable[[], Scores]) -> Scores:
    found = known.get(key)
    if found is None:
        found = measure()
        known.put(key, found)
    return found


def _measured(mixture: Pair, candidate: Candidate, cancelled: Question | None) -> Scores:
    with tempfile.TemporaryDirectory(prefix="denoise-") as folder:
        processed = denoise(mixture, candidate.load(), Path(folder) / "out.wav", cancelled=cancelled)
    return scores(mixture, processed, SWEPT)
