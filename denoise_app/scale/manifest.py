"""What became of each file of a batch, as lines of JSON: by it a batch goes on where it stopped.

A line is written when its result has its name, by one process, at the file's end and in one piece. So whatever kills
the program, only the last line can be torn, and what it told of is done again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from denoise_app.inference.separation import disk_errors_explained

from .errors import ScaleError

VERSION = 1
MARK = b'{"version": %d, ' % VERSION  # how every line begins


@dataclass(frozen=True)
class Row:
    """What became of one file.

    Attributes:
        path: The input; absolute, or its address.
        state: What the input was like: `items.state`; "" where there was none.
        target: Where the result was to go, before its format settled its suffix: what the row is known by.
        settings: The hash of all that the result depends on beside the input: `Work.digest`.
        model, loss, weights: The denoiser; `weights` is the sha256 of a checkpoint's.
        output: What was written; None where it failed.
        output_state: What that was like when it was complete.
        seconds: Length of the sound, 0 where it failed.
        computing: Seconds it took.
        notes: As `Note.told` has them.
        error: Why it failed: "reason", "message" and the facts; None where it was written.
    """

    path: str
    state: str
    target: str
    settings: str
    model: str
    loss: str | None
    weights: str | None
    output: str | None
    output_state: str
    seconds: float
    computing: float
    notes: tuple[Mapping[str, Any], ...] = ()
    error: Mapping[str, Any] | None = None

    @property
    def outcome(self) -> str:
        return "failed" if self.error else "done"

    def line(self) -> bytes:
        """As it stands in the file."""
        return json.dumps({"version": VERSION, "outcome": self.outcome} | asdict(self), default=str).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Row | None:
        """The row in a line; None for a torn or damaged one."""
        try:
            found = json.loads(line)
            if found.pop("version") != VERSION or not line.endswith(b"\n"):
                return None
            del found["outcome"]
            row = cls(**found | {"notes": tuple(found["notes"])})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return row if isinstance(row.target, str) and isinstance(row.settings, str) else None


class Manifest:
    """A manifest that is read and added to, by one process at a time; in memory there is a number for each row.

    Args:
        path: The file; it is made where there is none.

    Attributes:
        unreadable: Lines that cannot be read; what they told of is done again.

    Raises:
        ScaleError: "not-a-manifest" for another file, which is left as it is; "manifest-in-use".
        AudioError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unreadable = 0
        self._places: dict[int, int] = {}  # digest of a target -> where its newest row begins
        with disk_errors_explained(path.name):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path.with_name(path.name + ".lock"))
            try:
                self._lock.acquire(timeout=0)
            except Timeout as error:
                raise ScaleError.of("manifest-in-use", name=str(path)) from error
            try:
                self._file = path.open("a+b", buffering=0)
                self._index()
            except BaseException:
                self._lock.release()
                raise

    def _index(self) -> None:
        """Learns where rows lie, and cuts off a torn last line."""
        with self.path.open("rb") as file:
            head = file.read(len(MARK))
            if not MARK.startswith(head):
                self._file.close()
                raise ScaleError.of("not-a-manifest", name=str(self.path))
            file.seek(0)
            self._end = 0
            for line in file:
                if not line.endswith(b"\n"):
                    break
                if (row := Row.parse(line)) is not None:
                    self._places[_digest(row.target)] = self._end
                else:
                    self.unreadable += 1
                self._end += len(line)
        self._file.truncate(self._end)

    def add(self, row: Row) -> None:
        """Writes a row; of one that the disk has no room for nothing is left.

        Raises:
            AudioError: "disk-full", "cannot-write".
        """
        line = row.line()
        with disk_errors_explained(self.path.name):
            try:
                written = 0
                while written < len(line):
                    written += self._file.write(line[written:])
            except OSError:
                self._file.truncate(self._end)
                raise
        self._places[_digest(row.target)] = self._end
        self._end += len(line)

    def row(self, target: str) -> Row | None:
        """The newest row of a target."""
        place = self._places.get(_digest(target))
        if place is None:
            return None
        self._file.seek(place)
        row = Row.parse(self._line())
        return row if row is not None and row.target == target else None

    def rows(self) -> Iterator[Row]:
        """The newest row of each target, in the order in which they were written."""
        for place in sorted(self._places.values()):
            self._file.seek(place)
            row = Row.parse(self._line())
            if row is not None:
                yield row

    def _line(self) -> bytes:
        """The line at the file's position; the file is unbuffered, for what is added is to be on its way at once."""
        parts = []
        while part := self._file.read(4096):
            line, end, _ = part.partition(b"\n")
            parts += [line, end]
            if end:
                break
        return b"".join(parts)

    def close(self) -> None:
        self._file.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _digest(target: str) -> int:
    data = target.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


def local_state(path: str | os.PathLike[str]) -> str:
    """Size and time of the last change of a file, by which it is known to be the same; "" where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{found.st_size}:{found.st_mtime_ns}"
