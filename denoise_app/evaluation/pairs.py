"""Pairs of noisy speech and the same speech clean: from two folders, mixed at an SNR, or recorded twice.

The SNR of a mixture is the active speech level (ITU-T P.56, pauses do not count) over the RMS level of the noise. What
is mixed or aligned here is mono, at most 30 s long and at most at 48 kHz; a `Note` names every change to a recording.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from denoise_app.audio.clip import Clip, FileInfo, Samples
from denoise_app.audio.convert import Resampler, mid
from denoise_app.audio.errors import UserError
from denoise_app.audio.files import open_reader, read
from denoise_app.audio.level import active_speech_level, peak, rms, to_db
from denoise_app.audio.mix import mix_at_snr, noise
from denoise_app.audio.notes import Note
from denoise_app.inference.sources import block_frames, window
from denoise_app.metrics.alignment import MOST_SECONDS as MOST_LAG_SECONDS
from denoise_app.metrics.alignment import Alignment, PairError, align, overlap

MOST_SECONDS = 30.0  # as much as PESQ and STOI take at once; six denoisers at nine SNRs then end within minutes
MOST_RATE = 48_000  # Hz: what lies above is inaudible, and no metric asks for it
SHORTEST_SECONDS = 0.5  # PESQ and STOI need some 0.4 s
SILENT_DB = -70.0  # dBFS: active speech below this is a room with nobody in it
SILENT_NOISE_DB = -100.0  # dBFS: what 16 bits cannot hold
CROSSFADE_SECONDS = 0.05  # where a short noise begins again
CEILING = 0.99  # of full scale: where the peak of a mixture goes that would clip
LOWEST_SNR, HIGHEST_SNR = -10.0, 30.0  # dB
GROUPS = ("snr_db", "language")  # columns of pairs.csv by which scores are also given

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


class EvaluationError(ValueError):
    """The pairs cannot be used; the message says why and what to do."""


class BenchError(UserError):
    """Speech or noise that cannot be mixed."""

    sentences = SENTENCES


@dataclass(frozen=True)
class Pair:
    """Noisy speech and the same speech clean, aligned to the sample.

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


# ----------------------------------------------------------------------------------------------------- from two folders


@dataclass(frozen=True)
class PairFiles:
    """A noisy file and the clean one of the same name.

    Attributes:
        name: Of both files.
        clean, noisy: Where they are.
        groups: Columns of pairs.csv ("snr_db", "language") -> what it says of them.
    """

    name: str
    clean: Path
    noisy: Path
    groups: dict[str, str] = field(default_factory=dict)

    def load(self) -> Pair:
        """The pair, channels averaged.

        Raises:
            AudioError: a file cannot be read.
            EvaluationError: the two files differ in length or rate.
        """
        clean, noisy = mono(self.clean), mono(self.noisy)
        if (clean.frames, clean.sample_rate) != (noisy.frames, noisy.sample_rate):
            raise EvaluationError(
                f"{self.name}: clean has {clean.frames} samples at {clean.sample_rate} Hz, noisy {noisy.frames} at "
                f"{noisy.sample_rate} Hz; a pair is equal in both"
            )
        return Pair(noisy.samples[0], clean.samples[0], noisy.sample_rate)


def mono(path: Path) -> Clip:
    """A file with its channels averaged.

    Raises:
        AudioError: it cannot be read.
    """
    clip = read(path)
    return clip.with_samples(mid(clip.samples))


def find_pairs(clean: Path, noisy: Path, limit: int | None = None) -> list[PairFiles]:
    """Every file of the noisy folder with the clean one of the same name, sorted by name.

    Args:
        clean, noisy: Folders. A pairs.csv beside the noisy one, with a column `name` (with or without suffix), gives
            the groups.
        limit: Take this many, evenly spread over the sorted names.

    Raises:
        EvaluationError: no folder, no pair, or a noisy file without its clean one.
    """
    for folder in (clean, noisy):
        if not folder.is_dir():
            raise EvaluationError(f"{folder} is not a folder")
    names = sorted(path.name for path in noisy.iterdir() if path.is_file() and not path.name.startswith("."))
    if not names:
        raise EvaluationError(f"{noisy} holds no file")
    unpaired = [name for name in names if not (clean / name).is_file()]
    if unpaired:
        raise EvaluationError(
            f"{len(unpaired)} noisy files have no clean one of the same name; the first is {unpaired[0]}"
        )
    listed = _groups(noisy.parent / "pairs.csv")
    groups = [listed.get(name) or listed.get(Path(name).stem) or {} for name in names]
    pairs = [PairFiles(name, clean / name, noisy / name, group) for name, group in zip(names, groups, strict=True)]
    return pairs if limit is None else spread(pairs, limit)


def spread(pairs: Sequence[PairFiles], limit: int) -> list[PairFiles]:
    """At most `limit` pairs, evenly spaced."""
    if limit >= len(pairs):
        return list(pairs)
    return [pairs[i] for i in np.linspace(0, len(pairs) - 1, limit).round().astype(int)]


def _groups(listing: Path) -> dict[str, dict[str, str]]:
    if not listing.is_file():
        return {}
    with listing.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return {row["name"]: {key: row[key] for key in GROUPS if row.get(key)} for row in rows if row.get("name")}


def fingerprint(pairs: Iterable[PairFiles]) -> str:
    """Sha256 over names and bytes of all pairs: rows with another one were scored on other data."""
    digest = hashlib.sha256()
    for pair in pairs:
        for path in (pair.clean, pair.noisy):
            digest.update(f"{pair.name}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


# ---------------------------------------------------------------------------------------------- mixed or recorded twice


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
