"""Who asks: the address that limits and turns go by."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from starlette.requests import HTTPConnection

CURRENT: ContextVar[str] = ContextVar("client", default="")
"""The client whose request is being answered; "" for work of the program's own."""

HOUSEHOLD = 64  # bits of an IPv6 address that a network gives away; one who has them has all that begin with them


def of(connection: HTTPConnection) -> str:
    """The client behind a request or a WebSocket; "" where it has no address."""
    peer = connection.client.host if connection.client else ""
    return address(peer, connection.headers.getlist("x-forwarded-for"))


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
    >>> address("::ffff:198.41.0.5", ["1.2.3.4"]), address("2a00:1450:4001:80b:1:2:3:4")
    ('198.41.0.5', '2a00:1450:4001:80b::')
    """
    if not _is_near(peer):
        return _client(peer)
    named = [name.strip() for value in forwarded for name in value.split(",") if name.strip()]
    public = [name for name in named if not _is_near(name)]
    return _client((public or named or [peer])[-1])


def is_own_machine(client: str) -> bool:
    """Whether a client is on this machine, with no proxy that tells of another one behind it."""
    found = _ip(client)
    return not client or (found is not None and found.is_loopback)


def _ip(name: str) -> IPv4Address | IPv6Address | None:
    """An address; an IPv4 one also where a socket for both kinds writes it as IPv6. None for what is none."""
    try:
        found = ip_address(name)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _is_near(name: str) -> bool:
    """Whether an address lies on this machine or its network; what is no address counts as such."""
    found = _ip(name)
    return found is None or found.is_private


def _client(name: str) -> str:
    """What stands for all addresses that one household may have at once."""
    found = _ip(name)
    if isinstance(found, IPv6Address) and not found.is_private:
        found = IPv6Network((found, HOUSEHOLD), strict=False).network_address
    return name if found is None else str(found)
