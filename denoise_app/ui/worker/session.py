"""A visit to the page: its folder of work files, the work under way, and the result that is shown.

Work files lie outside Gradio's cache, in a folder whose name nobody can guess, and have no address of their own. They
go with the visit: `Sessions.close` is what Gradio calls when a visit's state has expired.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIX = "denoise-app-"
STALE_SECONDS = 24 * 3600  # a folder that nobody touched for a day was left by a process that was killed


class Job:
    """A piece of work that can be told to stop, and says when it has ended."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._end = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    def end(self) -> None:
        self._end.set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    @property
    def running(self) -> bool:
        return not (self._stop.is_set() or self._end.is_set())


@dataclass
class Session:
    """One visit.

    Attributes:
        folder: Where its files lie.
        job: The newest work; None before the first.
        result: What is shown; None before the first one.
        drawn: What was read for the figures of a result, and of which.
        cancelled: Whether the user has just cancelled an order.
    """

    folder: Path
    job: Job | None = None
    result: Any = None
    drawn: Any = None
    cancelled: bool = False

    def begin(self) -> Job:
        """A new job in place of the old one, which is told to stop."""
        self.stop()
        self.job = Job()
        return self.job

    def stop(self) -> None:
        """Tells the work under way to stop."""
        if self.job is not None:
            self.job.stop()

    def cancel(self) -> None:
        """The user no longer wants what was ordered."""
        self.stop()
        self.cancelled = True

    def refused(self) -> bool:
        """Whether an order that the browser says has failed was refused; then nothing is under way any more.

        The browser says so of cancelled orders too, sometimes when the next one has already been given.
        """
        cancelled, self.cancelled = self.cancelled, False
        if not cancelled:
            self.stop()
        return not cancelled

    @property
    def busy(self) -> bool:
        return self.job is not None and self.job.running

    def room(self) -> Path:
        """A new empty folder."""
        room = self.folder / secrets.token_hex(8)
        room.mkdir(parents=True)
        return room

    def adopt(self, path: Path) -> Path:
        """The same file in a folder of this visit: what was uploaded may be deleted before the visit ends."""
        own = self.room() / path.name
        try:
            os.link(path, own)
        except OSError:  # another file system
            shutil.copyfile(path, own)
        return own

    def discard(self, path: Path) -> None:
        """Deletes a folder that `room` gave, or the one that a file lies in."""
        room = next((folder for folder in (path, *path.parents) if folder.parent == self.folder), None)
        if room is not None:
            shutil.rmtree(room, ignore_errors=True)


class Sessions:
    """All visits to this process.

    Args:
        root: Their folder; by default a new one among the system's temporary files, which goes with the process.
        on_close: Told the folder of a visit whose files are about to go.
    """

    def __init__(self, root: Path | None = None, on_close: Callable[[Path], None] = lambda folder: None) -> None:
        if root is None:
            sweep(Path(tempfile.gettempdir()), time.time() - STALE_SECONDS)
            root = Path(tempfile.mkdtemp(prefix=PREFIX))
            atexit.register(shutil.rmtree, root, ignore_errors=True)
        self._root = root
        self._on_close = on_close

    def open(self) -> Session:
        """A new visit."""
        folder = self._root / secrets.token_urlsafe(16)
        folder.mkdir(parents=True)
        return Session(folder)

    def close(self, session: Session | None) -> None:
        """Stops what a visit has under way, and deletes its files."""
        if session is not None:
            session.stop()
            self._on_close(session.folder)
            shutil.rmtree(session.folder, ignore_errors=True)


def sweep(place: Path, before: float) -> None:
    """Deletes the folders in a place that earlier processes left there, untouched since `before` (s, Unix time)."""
    for folder in place.glob(f"{PREFIX}*"):
        if folder.is_dir() and not folder.is_symlink() and folder.stat().st_mtime < before:
            shutil.rmtree(folder, ignore_errors=True)
