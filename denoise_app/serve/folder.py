"""A folder of this process among temporary files: it goes with the process, however that ends.

A lock file lies beside it, which the system unlocks when its process ends, even by SIGKILL. So whoever starts next
knows at once which folders nobody owns any more, and a running server's files are never taken from it.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import IO

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows, which refuses to delete a file that a process holds open: that is its lock
    flock = None  # type: ignore[assignment]

PREFIX = "denoise-app-"
LOCK = ".lock"
STALE_SECONDS = 24 * 3600  # a folder without a lock, as of earlier versions, that nobody touched for a day


class ProcessFolder:
    """A new folder of this process, after what dead processes left in the same place is deleted.

    Args:
        place: The folder that it lies in.

    Raises:
        OSError: Nothing can be written there.
    """

    def __init__(self, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        sweep(place)
        self._lock, self.path = _claim(place)
        atexit.register(self.remove)

    def room(self, name: str) -> Path:
        """The folder of a name within it."""
        room = self.path / name
        room.mkdir(exist_ok=True)
        return room

    def remove(self) -> None:
        """Deletes it and all that lies in it; may be called twice."""
        atexit.unregister(self.remove)
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()
        _lock_of(self.path).unlink(missing_ok=True)


def sweep(place: Path, now: float | None = None) -> list[Path]:
    """Deletes the folders in a place whose processes are dead; returns them.

    Args:
        now: Unix time in s, by which folders without a lock are old; by default that of the clock.
    """
    before = (time.time() if now is None else now) - STALE_SECONDS
    gone = [folder for folder in place.glob(f"{PREFIX}*") if _is_folder(folder) and _is_dead(folder, before)]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    for lock in place.glob(f"{PREFIX}*{LOCK}"):  # the lock goes last: until then the folder is known to be dead
        if not lock.with_suffix("").exists() and _is_free(lock):
            lock.unlink(missing_ok=True)
    return gone


def _claim(place: Path) -> tuple[IO[bytes], Path]:
    """A locked file and the folder beside it, which is made only once the lock is held."""
    while True:
        folder = place / f"{PREFIX}{secrets.token_hex(8)}"
        lock = _lock_of(folder).open("xb")
        if _locks(lock) and _is_still(lock, _lock_of(folder)):
            folder.mkdir(mode=0o700)
            return lock, folder
        lock.close()  # somebody's sweep has taken it for a dead one's, between its making and its locking


def _lock_of(folder: Path) -> Path:
    return folder.with_name(folder.name + LOCK)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_dead(folder: Path, before: float) -> bool:
    lock = _lock_of(folder)
    try:
        return _is_free(lock) if lock.exists() else folder.stat().st_mtime < before
    except OSError:  # gone meanwhile, or another user's
        return False


def _is_free(lock: Path) -> bool:
    """Whether no process holds a lock file."""
    try:
        with lock.open("r+b") as file:
            return _locks(file)
    except OSError:
        return False


def _locks(file: IO[bytes]) -> bool:
    """Locks a file, unless another process has."""
    if flock is None:
        return True
    try:
        flock(file, LOCK_EX | LOCK_NB)
    except OSError:
        return False
    return True


def _is_still(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is the one that its name leads to."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False
