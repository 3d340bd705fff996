"""Trees of audio files, decoded once into one memory-mapped array of 16-bit samples."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from denoise_app.audio.convert import mid, resample
from denoise_app.audio.errors import AudioError
from denoise_app.audio.files import SUFFIXES, read
from denoise_app.audio.folders import look

from .config import TrainingError

CACHE_VERSION = 1
MOST_UNREADABLE = 0.1  # share of a folder's files


class DataError(TrainingError):
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
    """Every audio file below a folder, by suffix, sorted; hidden ones are not meant."""
    if not tree.is_dir():
        raise DataError(f"{tree} is not a folder")
    return [path for path in look(tree).sounds if path.is_file()]


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
        else:
            skipped.append(f"{path.name}: it holds no sound")


def check_skipped(tree: Path, skipped: Sequence[str], files: int) -> None:
    """Raises DataError where more than MOST_UNREADABLE of a folder's files had to be skipped."""
    if len(skipped) > MOST_UNREADABLE * files:
        raise DataError(f"{len(skipped)} of {files} files in {tree} cannot be read; the first: {skipped[0]}")


def load_corpus(tree: Path, cache: Path, sample_rate: int = 16_000) -> Corpus:
    """The sound of a tree, from the cache or decoded into it; also where several processes ask for it at once.

    Args:
        tree: Folder of audio files of any rate and channel count; channels are averaged.
        cache: Folder for the decoded samples, two bytes each; a changed tree or rate, or another version of this
            program, makes a new entry.
        sample_rate: Hz of the result.

    Raises:
        DataError: no folder, no readable file in it, too many unreadable ones (a few are skipped and named), or no
            place for the decoded samples.
    """
    files = audio_files(tree)
    if not files:
        raise DataError(f"{tree} holds no audio file ({', '.join(sorted(SUFFIXES))})")
    stem = cache / _fingerprint(tree, files, sample_rate)
    index = _index(stem)
    if index is None:
        index = _fill(stem, tree, files, sample_rate)
    lengths = np.array(index["lengths"], dtype=np.int64)
    return Corpus(
        samples=np.memmap(stem.with_suffix(".i16"), dtype=np.int16, mode="r"),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        names=tuple(index["names"]),
        sample_rate=sample_rate,
        skipped=tuple(index["skipped"]),
    )


def _index(stem: Path) -> dict[str, Any] | None:
    """What an entry of the cache holds; None where there is none, or one that is not whole."""
    try:
        index = json.loads(stem.with_suffix(".json").read_text())
        return index if stem.with_suffix(".i16").stat().st_size == 2 * sum(index["lengths"]) else None
    except (OSError, LookupError, TypeError, ValueError):
        return None


def _fill(stem: Path, tree: Path, files: list[Path], sample_rate: int) -> dict[str, Any]:
    """Decode a tree into the cache, beside its place first: an entry with an index is whole."""
    names: list[str] = []
    lengths: list[int] = []
    skipped: list[str] = []
    samples_tmp, index_tmp = (stem.with_suffix(f".{os.getpid()}.{kind}.tmp") for kind in ("i16", "json"))
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        with samples_tmp.open("wb") as out:
            for path, samples in _decoded(files, sample_rate, skipped):
                out.write(samples.data)
                names.append(str(path.relative_to(tree)))
                lengths.append(samples.size)
        check_skipped(tree, skipped, len(files))
        index = {"names": names, "lengths": lengths, "skipped": skipped}
        index_tmp.write_text(json.dumps(index))
        samples_tmp.replace(stem.with_suffix(".i16"))
        index_tmp.replace(stem.with_suffix(".json"))
    except OSError as error:
        raise DataError(f"the sound of {tree} cannot be decoded into {stem.parent}: {error.strerror}") from error
    finally:
        for partial in (samples_tmp, index_tmp):
            with suppress(OSError):
                partial.unlink(missing_ok=True)
    return index
