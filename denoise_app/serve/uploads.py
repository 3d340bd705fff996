"""Uploads on the disk: each in a room of its own while it arrives, all of them bounded and swept."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Literal

from .limits import FORM_BYTES, ServiceLimits

_ROOM: ContextVar[Path | None] = ContextVar("room", default=None)

Refusal = Literal["upload-too-large", "too-many-bytes", "disk-full"]


class Uploads(os.PathLike[str]):
    """The folder of uploads, as a path: within `receiving` it is the room of the upload under way.

    So whoever writes uploads by this path, and knows nothing of rooms, leaves nothing of one that broke off.

    Args:
        root: Where uploads lie.
        limits: How much is taken.
        kept: Folders whose files count beside the uploads.
        free: Tells the bytes that are free where a path lies.
    """

    def __init__(
        self,
        root: Path,
        limits: ServiceLimits,
        kept: tuple[Path, ...] = (),
        free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root, self.limits = root, limits
        self._kept, self._free = kept, free
        self._arriving: dict[Path, int] = {}
        self._salt = secrets.token_bytes(16)  # so that no address can be told from a folder's name

    def __fspath__(self) -> str:
        return str(_ROOM.get() or self.root)

    __str__ = __fspath__

    @property
    def arriving(self) -> int:
        """Uploads under way."""
        return len(self._arriving)

    def refusal(self, size: int, client: str = "") -> Refusal | None:
        """Why an upload of so many bytes by a client is not taken; None where it is."""
        if size > self.limits.max_upload + FORM_BYTES:
            return "upload-too-large"
        if self.held_by(client) + size > self.limits.max_uploaded_each + FORM_BYTES:
            return "too-many-bytes"
        coming = size + sum(list(self._arriving.values()))
        full = self._free(self.root) - coming < self.limits.min_free
        return "disk-full" if full or self.held() + coming > self.limits.max_disk else None

    def held(self) -> int:
        """Bytes of all files that are kept now."""
        return _bytes_in(self.root, *self._kept)

    def held_by(self, client: str) -> int:
        """Bytes of a client's uploads that are kept now, and of those under way."""
        rooms = [*self.root.glob(f"{self._rooms_of(client)}-*")]
        arriving = [size for room, size in list(self._arriving.items()) if room in rooms]
        return _bytes_in(*(room for room in rooms if room not in self._arriving)) + sum(arriving)

    def free(self) -> int:
        """Bytes that are free on the disk."""
        return self._free(self.root)

    def _rooms_of(self, client: str) -> str:
        return f"room-{hashlib.sha256(self._salt + client.encode()).hexdigest()[:16]}"

    @contextmanager
    def receiving(self, size: int, client: str = "") -> Iterator[Callable[[], None]]:
        """A room for a client's upload of at most so many bytes; it goes with all in it, unless `keep` is called.

        Yields:
            keep.
        """
        room = self.root / f"{self._rooms_of(client)}-{secrets.token_hex(8)}"
        room.mkdir(parents=True)
        self._arriving[room] = size
        token = _ROOM.set(room)
        kept: list[bool] = []
        try:
            yield lambda: kept.append(True)
        finally:
            _ROOM.reset(token)
            del self._arriving[room]
            if not kept:
                shutil.rmtree(room, ignore_errors=True)

    def sweep(self, seconds: float, now: float | None = None) -> None:
        """Deletes files that came or changed so long ago, and folders that are empty then.

        Args:
            now: Unix time in s; by default that of the clock.
        """
        before = (time.time() if now is None else now) - seconds
        for folder, _, names in os.walk(self.root, topdown=False):
            place = Path(folder)
            if any(room in (place, *place.parents) for room in list(self._arriving)):
                continue
            for name in names:
                _delete_old(place / name, before)
            if place != self.root:
                _remove_empty(place, before)


def _bytes_in(*folders: Path) -> int:
    """Bytes of all files in folders, each counted once however many names it has."""
    found: dict[tuple[int, int], int] = {}
    for folder in folders:
        for path in _files(folder):
            try:
                state = path.stat(follow_symlinks=False)
            except OSError:
                continue
            found[state.st_dev, state.st_ino] = state.st_size
    return sum(found.values())


def _files(folder: Path) -> Iterator[Path]:
    return (Path(place) / name for place, _, names in os.walk(folder) for name in names)


def _delete_old(path: Path, before: float) -> None:
    try:
        if path.stat(follow_symlinks=False).st_ctime < before:  # a copy keeps the time of its source as the other one
            path.unlink()
    except OSError:  # gone meanwhile
        return


def _remove_empty(folder: Path, before: float) -> None:
    try:
        if folder.stat().st_ctime < before:
            folder.rmdir()
    except OSError:  # not empty, or gone meanwhile
        return
