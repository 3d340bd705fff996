"""How much sound a client may have under way, what waits and what is computed together."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import ServiceError


class Quota:
    """Minutes of sound of each client.

    Args:
        minutes: The most that a client may have under way.
    """

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self._lock = threading.Lock()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def taken(self, client: str, seconds: float) -> Iterator[None]:
        """Within it, so much sound more is under way for a client; what several denoisers make of it counts as often.

        Raises:
            ServiceError: "too-much-sound".
        """
        with self._lock:
            had = self._seconds[client]
            if had + seconds > 60 * self.minutes:
                facts = {"under_way": had / 60, "wanted": (had + seconds) / 60, "limit": self.minutes}
                raise ServiceError.of("too-much-sound", **facts)
            self._seconds[client] = had + seconds
        try:
            yield
        finally:
            with self._lock:
                self._seconds[client] -= seconds
                if self._seconds[client] < 1e-6:  # what sums of floats leave
                    del self._seconds[client]

    def is_spent(self, client: str) -> bool:
        """Whether a client has as much under way as it may."""
        with self._lock:
            return self._seconds.get(client, 0.0) >= 60 * self.minutes

    def under_way(self) -> float:
        """Seconds of sound of all clients."""
        with self._lock:
            return sum(self._seconds.values())
