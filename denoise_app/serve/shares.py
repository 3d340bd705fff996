"""Places that clients take for a while: a few at once, and of one client not all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from .clients import is_own_machine


class Places:
    """So many places, of which one client may have half, rounded up: the other half stays for others.

    Who comes from the server's own machine may have all of them: it is the operator, or a proxy that does not tell whom
    it answers, behind which nobody can be told from anybody. To be used in one thread.

    Args:
        count: How many there are.

    >>> places = Places(3)
    >>> with places.taken("198.41.0.4"), places.taken("198.41.0.4"):
    ...     places.are_full, places.is_spent("198.41.0.4"), places.is_spent("198.41.0.5")
    (False, True, False)
    """

    def __init__(self, count: int) -> None:
        self.count, self.each = count, (count + 1) // 2
        self._taken: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """How many are taken."""
        return self._taken.total()

    @property
    def are_full(self) -> bool:
        """Whether none is left."""
        return self.held >= self.count

    def is_spent(self, client: str) -> bool:
        """Whether a client has as many as it may have."""
        return self._taken[client] >= self.each and not is_own_machine(client)

    @contextmanager
    def taken(self, client: str) -> Iterator[None]:
        """Within it, one more place is a client's; whether it may have one is asked before."""
        self._taken[client] += 1
        try:
            yield
        finally:
            self._taken[client] -= 1
            if not self._taken[client]:
                del self._taken[client]
