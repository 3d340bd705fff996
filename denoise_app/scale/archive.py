"""The sound files of a zip, which may be hostile: bounded before anything is unpacked, written only below a folder."""

from __future__ import annotations

import io
import shutil
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from denoise_app.audio.errors import AudioError
from denoise_app.audio.files import SUFFIXES
from denoise_app.audio.names import printable
from denoise_app.inference.separation import disk_errors_explained

from .errors import ScaleError

MOST_ENTRIES = 10_000
MOST_DIRECTORY = 4 << 20  # bytes of its list of entries, which zipfile reads whole: 400 for each of them
MOST_RATIO = 100.0  # unpacked to packed; speech packs to a half, digital silence to a thousandth
SMALL = 100 << 20  # bytes that may be silence
ENCRYPTED = 0x1
ARCHIVES = frozenset((".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst"))
COPY = 1 << 20  # bytes at a time
REFUSALS = ("zip-damaged", "zip-too-many", "zip-bomb")  # of a zip itself, whatever else is in the batch
BROKEN = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError, RuntimeError, UnicodeError)


@dataclass(frozen=True)
class Member:
    """A file of a zip.

    Attributes:
        relative: Its path in the zip.
        path: Where it lies now; where it would lie, if it has a problem.
        problem: Why it is not there.
    """

    relative: Path
    path: Path
    problem: AudioError | None = None


@dataclass(frozen=True)
class Unpacked:
    """What a zip held: its sound files, what was refused among them, and what else there was -> how often."""

    members: tuple[Member, ...]
    passed_over: Mapping[str, int]


class _Bounded(io.FileIO):
    """A file of which nothing large is read at once: what a list of entries announces may be anything."""

    def read(self, size: int | None = -1) -> bytes:
        here = self.tell()
        left = max(0, self.seek(0, io.SEEK_END) - here)
        self.seek(here)
        count = left if size is None or size < 0 else min(size, left)
        if count > MOST_DIRECTORY:
            raise OverflowError
        return super().read(count) or b""


def is_archive(path: Path) -> bool:
    """Whether a file is a zip, by its name."""
    return path.suffix.lower() == ".zip"


def unpack(path: Path, folder: Path, most_files: int, most_bytes: int, min_free: int = 0) -> Unpacked:
    """Unpacks the sound files of a zip, each into a folder of its own below `folder`; what else it holds is counted.

    Args:
        most_files, most_bytes: Of sound that is unpacked.
        min_free: Bytes that stay free on the disk.

    Raises:
        ScaleError: "zip-damaged", "zip-too-many", "zip-bomb", "too-many-files", "batch-too-large"; nothing is unpacked.
        AudioError: "disk-full", "cannot-write".
    """
    try:
        with _Bounded(path) as file, zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            wanted, refused, passed_over = _sorted_out(path, entries)
            _check(path, wanted, most_files, most_bytes)
            if shutil.disk_usage(folder).free - sum(entry.file_size for entry in wanted) < min_free:
                raise AudioError.of("disk-full", name=path.name)
            members = [_member(archive, entry, folder / str(k)) for k, entry in enumerate(wanted)]
    except OverflowError as error:
        raise ScaleError.of("zip-too-many", name=path.name, limit=f"{MOST_ENTRIES:,}") from error
    except AudioError:
        raise
    except (*BROKEN, OSError) as error:
        raise ScaleError.of("zip-damaged", name=path.name, problem=_reason(error)) from error
    return Unpacked((*members, *refused), passed_over)


def _sorted_out(path: Path, entries: list[zipfile.ZipInfo]) -> tuple[list[zipfile.ZipInfo], list[Member], Counter[str]]:
    """What is unpacked, what is refused, and what else there is."""
    if len(entries) > MOST_ENTRIES:
        raise ScaleError.of("zip-too-many", name=path.name, limit=f"{MOST_ENTRIES:,}")
    wanted: list[zipfile.ZipInfo] = []
    refused: list[Member] = []
    passed_over: Counter[str] = Counter()
    for entry in entries:
        name = PurePosixPath(_slashes(entry.filename))
        suffix = name.suffix.lower()
        hidden = any(part.startswith(".") and part.strip(".") for part in name.parts) or "__MACOSX" in name.parts
        reason = None
        if hidden:
            passed_over["hidden"] += 1
            continue
        if suffix in ARCHIVES:
            reason = "zip-nested"
        elif suffix not in SUFFIXES:
            passed_over[printable(suffix) or "no suffix"] += 1
            continue
        elif not _is_inside(entry.filename):
            reason = "zip-outside"
        elif entry.flag_bits & ENCRYPTED:
            reason = "zip-encrypted"
        if reason is None:
            wanted.append(entry)
        else:
            bare = Path(name.name or "unnamed")
            refused.append(Member(bare, bare, ScaleError.of(reason, name=entry.filename)))
    return wanted, refused, passed_over


def _slashes(name: str) -> str:
    return name.replace("\\", "/")  # some programs for Windows write the other ones


def _is_inside(name: str) -> bool:
    """Whether a name leads to a place below the folder that it is unpacked to, on any system.

    >>> [_is_inside(name) for name in ("a/b.wav", "../b.wav", "/b.wav", "c:/b.wav", "a\\\\..\\\\b.wav")]
    [True, False, False, False, False]
    """
    parts = _slashes(name).split("/")
    return ".." not in parts and parts[0] != "" and ":" not in parts[0]


def _check(path: Path, wanted: list[zipfile.ZipInfo], most_files: int, most_bytes: int) -> None:
    size = sum(entry.file_size for entry in wanted)
    packed = path.stat().st_size
    if size > SMALL and size > MOST_RATIO * packed:
        raise ScaleError.of("zip-bomb", name=path.name, size=megabytes(size), limit=f"{MOST_RATIO:g}")
    check_size(len(wanted), size, most_files, most_bytes)


def check_size(count: int, size: int, most_files: int, most_bytes: int) -> None:
    """Raises ScaleError for more files, or bytes of them, than a batch may have."""
    if count > most_files:
        raise ScaleError.of("too-many-files", count=f"{count:,}", limit=f"{most_files:,}")
    if size > most_bytes:
        raise ScaleError.of("batch-too-large", size=megabytes(size), limit=megabytes(most_bytes))


def megabytes(size: int) -> str:
    """A size for people; what is there is at least 0.1.

    >>> megabytes(4 << 30), megabytes(135_000), megabytes(12), megabytes(0)
    ('4,096 MB', '0.1 MB', '0.1 MB', '0 MB')
    """
    units = size / (1 << 20)
    return f"{max(units, 0.1):.1f} MB" if 0 < units < 10 else f"{units:,.0f} MB"


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, room: Path) -> Member:
    """One file, unpacked; it gives no more bytes than it announced, for zipfile reads no further."""
    relative = Path(_slashes(entry.filename))
    path = room / relative.name
    room.mkdir(parents=True)
    try:
        with archive.open(entry) as source, disk_errors_explained(relative.name), path.open("wb") as target:
            while data := source.read(COPY):
                target.write(data)
    except AudioError as error:
        if error.reason == "disk-full":
            raise
        return Member(relative, path, error)
    except BROKEN as error:
        path.unlink(missing_ok=True)
        return Member(relative, path, ScaleError.of("zip-damaged", name=entry.filename, problem=_reason(error)))
    return Member(relative, path)


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
