"""Collecting votes, where whoever runs the page wishes it; without that wish they stay with the user.

DENOISE_VOTES names a file, best in a folder of its own. Each finished test adds lines of JSON to it and nothing is ever
changed there: an A/B/X test one, a test of preferences one for each pair. A line holds which denoisers, what came out,
and the day: no sound, no name of a file, no address, no hour. DENOISE_VOTES_DATASET ("author/name") sends the file to a
dataset of the Hub from time to time, each start of the page to a folder of its own; `id` tells lines that were sent
twice.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock

from denoise_app.checkpoints import hub
from denoise_app.checkpoints.manifest import CheckpointError

logger = logging.getLogger(__name__)

PATIENCE = 5.0  # s that a vote waits for another process to have written its own


class Votes:
    """Where votes go.

    Args:
        path: The file; None to collect nothing.
        dataset: Of the Hub, where the file is to be sent to; None to keep it here.
    """

    def __init__(self, path: Path | None = None, dataset: str | None = None) -> None:
        self.path, self.dataset = path, dataset if path else None
        self._sending: AbstractContextManager[Any] = nullcontext()
        if self.path is not None and self.dataset is not None:
            threading.Thread(target=self._send, name="votes", daemon=True).start()

    @classmethod
    def from_environment(cls) -> Votes:
        """As DENOISE_VOTES and DENOISE_VOTES_DATASET say."""
        named = [os.environ.get(name, "").strip() for name in ("DENOISE_VOTES", "DENOISE_VOTES_DATASET")]
        return cls(Path(named[0]) if named[0] else None, named[1] or None)

    @property
    def collected(self) -> bool:
        return self.path is not None

    def collect(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Adds what a test has shown, whole or not at all. What goes wrong is the host's matter, and in the log."""
        data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
        if self.path is None or not data:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._sending, FileLock(f"{self.path}.lock", timeout=PATIENCE):
                _append(self.path, data)
        except OSError as error:
            logger.error("votes could not be written to %s: %s", self.path, error)

    def _send(self) -> None:
        assert self.path is not None and self.dataset is not None
        try:
            self._sending = hub.publish_regularly(self.path, self.dataset)
        except CheckpointError as error:
            logger.error("votes stay in %s and are not sent to %s: %s", self.path, self.dataset, error)


def _append(path: Path, data: bytes) -> None:
    """Adds to a file; a part that found room on a full disk is taken away again."""
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            written = file.write(data)
            if written < len(data):
                raise OSError(f"only {written} of {len(data)} bytes could be written")
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise
