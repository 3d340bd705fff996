"""Why a metric has no value for a sound."""

from __future__ import annotations

SENTENCES: dict[str, str] = {
    "not-installed": "{metric} needs the Python package {package}, which is not installed.",
    "silent": "{metric} is about speech, and this sound is silent.",
    "no-speech": "{metric} found no speech in the clean recording.",
    "too-short": "{metric} needs at least {seconds} s of speech.",
}
"""Reason -> the English sentence, with the names of its facts in braces."""


class MetricUnavailable(Exception):
    """A metric has no value for this sound; nothing is wrong with the program.

    Args:
        reason: Stable kebab-case key, such as "not-installed"; translations are found by it.
        message: The English sentence.
        facts: The names that the sentence holds, for the same sentence in another language.
    """

    def __init__(self, reason: str, **facts: object) -> None:
        super().__init__(SENTENCES[reason].format(**facts))
        self.reason = reason
        self.facts = facts

    def __reduce__(self) -> tuple[object, ...]:
        """Keeps reason and facts on the way from another process."""
        return _restored, (self.reason, self.facts)


def _restored(reason: str, facts: dict[str, object]) -> MetricUnavailable:
    return MetricUnavailable(reason, **facts)
