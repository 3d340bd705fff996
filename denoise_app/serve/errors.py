"""What a service refuses, in sentences."""

from __future__ import annotations

from denoise_app.audio.errors import UserError

SENTENCES: dict[str, str] = {
    "too-much-sound": "You have {under_way:.0f} minutes of sound under way; with this it would be {wanted:.0f}, and a "
    "visitor may have {limit:.0f}. Wait for what is under way, or send less at once.",
    "not-a-choice": "{variable} may be {known} or nothing, not '{text}'.",
}
"""Reason -> the English sentence, with the names of its facts in braces."""


class ServiceError(UserError):
    """A client asks for more than its share, or a host for what cannot be.

    >>> str(ServiceError.of("too-much-sound", under_way=200, wanted=290, limit=240))[:41]
    'You have 200 minutes of sound under way; '
    """

    sentences = SENTENCES
