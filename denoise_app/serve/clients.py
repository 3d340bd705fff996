"""Who asks: the address that limits and turns go by."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from ipaddress import ip_address

CURRENT: ContextVar[str] = ContextVar("client", default="")
"""The client whose request is being answered; "" for work of the program's own."""


def address(peer: str, forwarded: Iterable[str] = ()) -> str:
    """The client behind a connection.

    A proxy on the same machine or network appends whom it answers, and only it can: what a client itself writes into
    the header stands further left. A header that comes straight from the internet counts for nothing.

    Args:
        peer: Address at the other end of the connection.
        forwarded: Values of X-Forwarded-For.

    >>> address("10.0.0.7", ["1.2.3.4, 198.41.0.4, 10.0.0.9"])
    '198.41.0.4'
    >>> address("198.41.0.5", ["1.2.3.4"]), address("127.0.0.1", ["192.168.1.8"]), address("127.0.0.1")
    ('198.41.0.5', '192.168.1.8', '127.0.0.1')
    """
    if not _is_near(peer):
        return peer
    named = [name.strip() for value in forwarded for name in value.split(",") if name.strip()]
    public = [name for name in named if not _is_near(name)]
    return (public or named or [peer])[-1]


def _is_near(name: str) -> bool:
    """Whether an address lies on this machine or its network; what is no address counts as such."""
    try:
        return ip_address(name).is_private
    except ValueError:
        return True
