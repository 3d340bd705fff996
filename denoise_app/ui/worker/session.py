"""A visit to the page: its folder of work files, the work under way, and the result that is shown.

Work files lie outside Gradio's cache, in a folder whose name nobody can guess, and have no address of their own. They
go with the visit: `Sessions.close` is what Gradio calls when a visit's state has expired.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from denoise_app.serve.clients import CURRENT


class Job:
    """A piece of work that can be told to stop, and says when it has ended.

    Attributes:
        client: For whom it is: whose request is being answered where it begins.
        begun: Whether anything of it was computed; what has begun is waited for when the program ends.
    """

    def __init__(self) -> None:
        self.client = CURRENT.get()
        self.begun = False
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


class Shown(Protocol):
    """What a tab shows: a value that is replaced as more becomes known of the same sounds."""

    @property
    def files(self) -> Iterable[Path]:
        """What it needs on the disk."""

    @property
    def key(self) -> object:
        """By what it is known again, with more or fewer numbers."""


R = TypeVar("R", bound=Shown)


@dataclass
class Session(Generic[R]):
    """One visit.

    Attributes:
        folder: Where its files lie.
        job: The newest work; None before the first.
        result: What is shown; None before the first one. Set by `show` and `update` alone.
        recording: What was last chosen to be worked on; None for nothing.
        marks: What was pointed at in it, as its tab keeps that; None for nothing.
    """

    folder: Path
    job: Job | None = None
    result: R | None = None
    recording: Path | None = None
    marks: Any = None
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)

    def show(self, result: R) -> R | None:
        """Puts a result in place of the former, which it returns; what only that one needed on the disk is deleted."""
        with self._lock:
            former, self.result = self.result, result
        if former is not None:
            kept = {self._room(path) for path in result.files}
            for path in former.files:
                if self._room(path) not in kept:
                    self.discard(path)
        return former

    def update(self, result: R, change: Callable[[R], R]) -> R | None:
        """Changes what is shown where that still is this result, whatever has become known of it meanwhile.

        Returns:
            What is shown now; None where another result has taken its place.
        """
        with self._lock:
            if self.result is None or self.result.key != result.key:
                return None
            self.result = change(self.result)
            return self.result

    def latest(self, result: R) -> R | None:
        """What is shown now where that still is this result; None where another has taken its place."""
        return self.update(result, lambda now: now)

    def discard_unshown(self, *paths: Path) -> None:
        """Deletes the folders that these files lie in, but for what the result that is shown needs."""
        shown = self.result
        needed = {self._room(path) for path in shown.files} if shown is not None else set()
        for path in paths:
            if self._room(path) not in needed:
                self.discard(path)

    def begin(self) -> Job:
        """A new job in place of the old one, which is told to stop."""
        self.stop()
        self.job = Job()
        return self.job

    def stop(self) -> None:
        """Tells the work under way to stop."""
        if self.job is not None:
            self.job.stop()

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
        room = self._room(path)
        if room is not None:
            shutil.rmtree(room, ignore_errors=True)

    def _room(self, path: Path) -> Path | None:
        """The folder that `room` gave and that a file lies in; None for what lies elsewhere."""
        return next((folder for folder in (path, *path.parents) if folder.parent == self.folder), None)


class Sessions:
    """All visits to this process.

    Args:
        root: Their folder.
        on_close: Told the folder of a visit whose files are about to go.
    """

    def __init__(self, root: Path, on_close: Callable[[Path], None] = lambda folder: None) -> None:
        self.root = root
        self._on_close = on_close
        self._newest: dict[str, Session[Any]] = {}  # by the name of the folder, which nobody can guess
        self._pages: Counter[str] = Counter()  # that have a folder open
        self._by_page: dict[object, Session[Any]] = {}
        self._lock = threading.Lock()

    def open(self, page: object = None) -> Session[Any]:
        """A new visit.

        Args:
            page: Where it is opened: handlers of one page that begin at once, and know of none, get the same one.
        """
        with self._lock:
            session = self._by_page.get(page)
            return session or self._opened(Session(self._folder()), page)

    def _folder(self) -> Path:
        folder = self.root / secrets.token_urlsafe(16)
        folder.mkdir(parents=True)
        return folder

    def find(self, name: str) -> Session[Any] | None:
        """The visit whose folder has this name; None where it has ended."""
        return self._newest.get(name)

    def resume(self, name: str, page: object = None) -> Session[Any] | None:
        """A visit once more, as after a reload of its page; its files stay until both have ended.

        Returns:
            None for no visit, and where the page has opened another meanwhile.
        """
        with self._lock:
            former = self.find(name)
            if former is None or page in self._by_page:
                return None
            again = Session(former.folder, result=former.result, recording=former.recording, marks=former.marks)
            return self._opened(again, page)

    def close(self, session: Session[Any] | None) -> None:
        """Stops what a visit has under way, and deletes its files where no other page has them open."""
        if session is None:
            return
        session.stop()
        name = session.folder.name
        with self._lock:
            self._by_page = {page: other for page, other in self._by_page.items() if other is not session}
            self._pages[name] -= 1
            if self._pages[name] > 0:
                return
            del self._pages[name]
            self._newest.pop(name, None)
        self._on_close(session.folder)
        shutil.rmtree(session.folder, ignore_errors=True)

    def _opened(self, session: Session[Any], page: object) -> Session[Any]:
        self._newest[session.folder.name] = session
        self._pages[session.folder.name] += 1
        if page is not None:
            self._by_page[page] = session
        return session
