"""How much of a host one client, and all of them together, may take."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any

from denoise_app.audio.limits import positive

JSON_BYTES = 1 << 20  # the largest body that is not an upload: settings and names take a few thousand
FORM_BYTES = 1 << 16  # what an upload's body has beside its file: boundary and headers


@dataclass(frozen=True)
class ServiceLimits:
    """What is refused before it is taken; each is set by the environment variable DENOISE_<NAME>.

    Attributes:
        max_upload: Bytes of one upload.
        max_disk: Bytes of all uploads and results that are kept at once.
        min_free: Bytes that stay free on the disk.
        max_waiting: Orders under way and waiting, of everybody.
        max_waiting_each: ... of one client.
        max_batch: Files of one batch.
        max_batch_bytes: Bytes of all of them, unpacked.
    """

    max_upload: int = 1536 << 20  # two hours of 16-bit stereo at 48 kHz
    max_disk: int = 20 << 30
    min_free: int = 1 << 30
    max_waiting: int = 64
    max_waiting_each: int = 12  # a few people behind one address, each with an order in each tab
    max_batch: int = 500
    max_batch_bytes: int = 4 << 30

    @classmethod
    def from_environment(cls) -> ServiceLimits:
        """The defaults, replaced where a variable is set.

        Raises:
            AudioError: A variable is not a positive whole number.
        """
        chosen: dict[str, Any] = {}
        for field in fields(cls):
            variable = f"DENOISE_{field.name.upper()}"
            if text := os.environ.get(variable, "").strip():
                chosen[field.name] = int(positive(variable, text, whole=True))
        return cls(**chosen)
