"""What is wrong with a user's sound, in a form that a page can translate and a person can act on."""

from __future__ import annotations


class AudioError(ValueError):
    """A sound that cannot be read, processed or written as asked, for a reason that its user can change.

    Args:
        reason: Stable kebab-case key, such as "empty-file" or "too-long"; translations are found by it.
        message: The English sentence: what was wrong, what is allowed, what to do.
        facts: The numbers and names that the sentence holds, for the same sentence in another language.

    >>> error = AudioError("too-long", "It lasts 3 h; at most 2 h are read: cut it.", hours=3, limit=2)
    >>> error.reason, error.facts["limit"], str(error)
    ('too-long', 2, 'It lasts 3 h; at most 2 h are read: cut it.')
    """

    def __init__(self, reason: str, message: str, **facts: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.facts = facts
