"""Places for tests that run side by side: browsers wait a third of their time, but real time waits for nobody."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

FOLDER = Path(tempfile.gettempdir()) / f"denoise-app-tests-{os.getuid()}"  # which all runs of one user share


def count() -> int:
    """One more than there are cores, one of which a test in real time leaves empty."""
    return (os.cpu_count() or 1) + 1


@contextmanager
def taken(wanted: int) -> Iterator[None]:
    """Holds so many places, `count()` at most; who comes first is served first, so that nobody waits for ever."""
    FOLDER.mkdir(exist_ok=True)
    with ExitStack() as held:
        with _locked(FOLDER / "door"):
            while wanted:
                for number in range(count()):
                    place = held.enter_context((FOLDER / str(number)).open("w"))
                    if wanted and _lock(place, fcntl.LOCK_NB):
                        wanted -= 1
                    else:
                        place.close()
                time.sleep(0.02 if wanted else 0)
        yield


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        _lock(file)
        yield


def _lock(file: IO[str], how: int = 0) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | how)
    except BlockingIOError:
        return False
    return True
