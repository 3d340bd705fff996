"""Trees of audio files, decoded once into one memory-mapped array of 16-bit samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from denoise_app.audio.convert import mid, resample
from denoise_app.audio.errors import AudioError
from denoise_app.audio.files import read

SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a"}
CACHE_VERSION = 1


class DataError(ValueError):
    """A folder of training sound cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Corpus:
    """All sound of one tree, end to end.

    Attributes:
        samples: (time,) int16 at `sample_rate`, memory-mapped.
        starts, lengths: (files,) int64, where each file lies in `samples`.
        names: Paths relative to the tree, in the order of the files.
        sample_rate: Hz.
        skipped: Files that could not be read, each with its reason.
    """

    samples: npt.NDArray[np.int16]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    names: tuple[str, ...]
    sample_rate: int
    skipped: tuple[str, ...] = ()

    @property
    def hours(self) -> float:
        return float(self.lengths.sum()) / self.sample_rate / 3600

    def cut(self, file: int, start: int, length: int) -> npt.NDArray[np.float32]:
        """Up to `length` samples of a file from `start` on, (time,) float32 in [-1, 1]."""
        first = self.starts[file] + start
        last = min(first + length, self.starts[file] + self.lengths[file])
        return self.samples[first:last].astype(np.float32) / np.float32(32768)


def audio_files(tree: Path) -> list[Path]:
    """Every audio file below a folder, by suffix, sorted."""
    if not tree.is_dir():
        raise DataError(f"{tree} is not a folder")
    return sorted(path for path in tree.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _fingerprint(tree: Path, files: list[Path], sample_rate: int) -> str:
    listing = [(str(path.relative_to(tree)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps([CACHE_VERSION, sample_rate, listing]).encode()).hexdigest()[:24]


def _decode(path: Path, sample_rate: int) -> npt.NDArray[np.int16]:
    clip = read(path)
    mono = resample(mid(clip.samples), clip.sample_rate, sample_rate)[0]
    return np.round(np.clip(mono, -1, 1) * 32767).astype(np.int16)


def _decoded(files: list[Path], sample_rate: int, skipped: list[str]) -> Iterator[tuple[Path, npt.NDArray[np.int16]]]:
    for path in files:
        try:
            samples = _decode(path, sample_rate)
        except AudioError as error:
            skipped.append(f"{path.name}: {error}")
            continue
        if samples.size:
            yield path, samples


def load_corpus(tree: Path, cache: Path, sample_rate: int = 16_000, most_unreadable: float = 0.1) -> Corpus:
    """The sound of a tree, from the cache or decoded into it.

    Args:
        tree: Folder of audio files of any rate and channel count; channels are averaged.
        cache: Folder for the decoded samples, two bytes each; a changed tree or rate makes a new entry.
        sample_rate: Hz of the result.
        most_unreadable: Share of files that may be unreadable; those are skipped and named.

    Raises:
        DataError: no folder, no readable file in it, or too many unreadable ones.
    """
    files = audio_files(tree)
    if not files:
        raise DataError(f"{tree} holds no audio file ({', '.join(sorted(SUFFIXES))})")
    stem = cache / _fingerprint(tree, files, sample_rate)
    if not stem.with_suffix(".json").exists():
        _fill(stem, tree, files, sample_rate, most_unreadable)
    index = json.loads(stem.with_suffix(".json").read_text())
    lengths = np.array(index["lengths"], dtype=np.int64)
    return Corpus(
        samples=np.memmap(stem.with_suffix(".i16"), dtype=np.int16, mode="r"),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        names=tuple(index["names"]),
        sample_rate=sample_rate,
        skipped=tuple(index["skipped"]),
    )


def _fill(stem: Path, tree: Path, files: list[Path], sample_rate: int, most_unreadable: float) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    lengths: list[int] = []
    skipped: list[str] = []
    partial = stem.with_suffix(".tmp")
    with partial.open("wb") as out:
        for path, samples in _decoded(files, sample_rate, skipped):
            samples.tofile(out)
            names.append(str(path.relative_to(tree)))
            lengths.append(samples.size)
    if len(skipped) > most_unreadable * len(files):
        partial.unlink()
        raise DataError(f"{len(skipped)} of {len(files)} files in {tree} cannot be read; the first: {skipped[0]}")
    if not names:
        partial.unlink()
        raise DataError(f"{tree} holds no sound")
    partial.replace(stem.with_suffix(".i16"))
    listing = {"names": names, "lengths": lengths, "skipped": skipped}
    index = stem.with_suffix(".json.tmp")
    index.write_text(json.dumps(listing))
    index.replace(stem.with_suffix(".json"))  # last: an entry with an index is whole
