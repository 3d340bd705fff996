"""What a person is told when something did not work."""

from __future__ import annotations

import logging

from denoise_app.ui.texts import Say

logger = logging.getLogger(__name__)


class Unready(Exception):
    """Something is missing that the user has yet to give; the text says what, in the user's language."""


def explained(say: Say, error: Exception) -> str:
    """What to tell a person of an error; what is nobody's but the program's goes to the log, and no further."""
    if isinstance(error, Unready):
        return str(error)
    if not hasattr(error, "reason"):
        logger.error("unexpected", exc_info=error)
    return say.problem(error)
