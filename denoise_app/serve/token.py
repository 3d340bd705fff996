"""A token that programs have to know, where the host wants it: DENOISE_API_TOKEN."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping


def from_environment() -> str:
    """The token; "" where everybody may call."""
    return os.environ.get("DENOISE_API_TOKEN", "").strip()


def is_permitted(headers: Mapping[str, str], token: str) -> bool:
    """Whether a request carries the token in its Authorization header; compared in constant time.

    >>> is_permitted({"authorization": "Bearer s3cret"}, "s3cret"), is_permitted({"authorization": "s3cret"}, "s3cret")
    (True, False)
    >>> is_permitted({}, "")
    True
    """
    scheme, _, given = headers.get("authorization", "").partition(" ")
    same = hmac.compare_digest(given.strip().encode(), token.encode())
    return not token or (scheme.lower() == "bearer" and same)
