"""How much of a host one client, and all of them together, may take."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import Any

from denoise_app.audio.limits import positive

JSON_BYTES = 1 << 20  # the largest body that is not an upload: settings and names take a few thousand
FORM_BYTES = 1 << 16  # what an upload's body has beside its file: boundary and headers


OPEN_FILES = 1 << 16  # as many connections as there are ports


def raise_open_files() -> None:
    """Lets this process have as many files open as its host permits, up to OPEN_FILES: each connection is one.

    Most shells begin at 1,024, and with the last one a server can read nothing any more. Where there is no such limit,
    as on Windows, nothing is done.
    """
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@dataclass(frozen=True)
class ServiceLimits:
    """What is refused before it is taken; each is set by the environment variable DENOISE_<NAME>.

    Attributes:
        max_upload: Bytes of one upload.
        max_uploaded_each: Bytes of one client's uploads that are kept at once.
        max_disk: Bytes of all uploads and results that are kept at once.
        min_free: Bytes that stay free on the disk.
        max_waiting: Orders under way and waiting, of everybody.
        max_waiting_each: ... of one client.
        max_minutes_each: Minutes of sound under way and waiting, of one client.
        drain_seconds: How long work under way has to end after SIGTERM.
        live_sessions: Of microphones that are denoised here at once; of one client half of them.
        max_batch: Files of one batch.
        max_batch_bytes: Bytes of all of them, unpacked.
    """

    max_upload: int = 1536 << 20  # two hours of 16-bit stereo at 48 kHz
    max_uploaded_each: int = 6 << 30  # four of the largest
    max_disk: int = 20 << 30
    min_free: int = 1 << 30
    max_waiting: int = 64
    max_waiting_each: int = 12  # a few people behind one address, each with an order in each tab
    max_minutes_each: int = 240  # two recordings of the longest that are read
    drain_seconds: int = 20  # of the 30 that most hosts give between SIGTERM and SIGKILL
    live_sessions: int = field(default_factory=lambda: 2 * (os.cpu_count() or 1))  # measured: docs/deploy.md
    max_batch: int = 500
    max_batch_bytes: int = 4 << 30

    @classmethod
    def from_environment(cls) -> ServiceLimits:
        """The defaults, replaced where a variable is set.

        Raises:
            AudioError: A variable is not a positive whole number.
        """
        chosen: dict[str, Any] = {}
        for each in fields(cls):
            variable = f"DENOISE_{each.name.upper()}"
            if text := os.environ.get(variable, "").strip():
                chosen[each.name] = int(positive(variable, text, whole=True))
        return cls(**chosen)
