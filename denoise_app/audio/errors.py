"""What is wrong with a user's sound, in a form that a page can translate and a person can act on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from denoise_app.audio.names import printable_facts

SENTENCES: dict[str, str] = {
    # the path
    "url": "{name} is an address on the web; only files on this machine are read. Download it first.",
    "missing": "There is no file {name}. Check the name.",
    "is-a-folder": "{name} is a folder; a sound file is needed. Choose a file inside it.",
    "not-a-file": "{name} is a device or a pipe; a sound file is needed.",
    "unreadable": "{name} cannot be read: {problem}. Check its permissions and its disk.",
    # the content
    "empty-file": "{name} is empty (0 bytes). Record or export it again.",
    "too-large": "{name} has {size}; at most {limit} are read. Cut it into parts.",
    "not-audio": "{name} is not a sound file that can be read. Use wav, flac, ogg, mp3, m4a, mp4, webm or mov.",
    "truncated": "{name} begins like {format} but breaks off before its sound: it is cut off or damaged. "
    "Copy or export it again.",
    "no-audio": "{name} holds no sound. Choose a file with a sound track.",
    "no-such-track": "{name} has {count} sound tracks; there is no track {track}. Choose one from 1 to {count}.",
    "no-ffmpeg": "Files like {name} need the program ffmpeg, which is not installed here. "
    "Install it, or use wav, flac, ogg or mp3.",
    "too-long": "{name} lasts {length}; at most {limit} are read. Cut it into parts.",
    "too-many-channels": "{name} has {channels} channels; at most {limit} are read. Mix it down or split it.",
    "too-many-samples": "{name} holds {samples} million samples in all channels; at most {limit} million are read. "
    "Cut it, or lower its rate.",
    "rate-out-of-range": "{name} has a sample rate of {rate} Hz; {lowest} to {highest} Hz are read. Convert it first.",
    "not-finite": "{name} holds values that are not numbers (NaN or infinity) at {time}. Export it again.",
    "decoder-stuck": "The program ffmpeg got stuck on {name} for {seconds} seconds. Use wav or flac instead.",
    # what the operator set
    "not-positive": "{variable} must be a positive number, not '{text}'.",
    "not-a-count": "{variable} must be a positive whole number, not '{text}'.",
    # what is to be written
    "disk-full": "The disk is full: {name} could not be written. Free some space, or choose a smaller format.",
    "cannot-write": "{name} cannot be written: {problem}. Choose another folder.",
    "wav-too-large": "{name} would be larger than the 4 GB that a wav file holds. Choose flac, or cut the sound.",
    "unknown-format": "{format} is not a format that can be written. Choose one of: {formats}.",
    "format-cannot-hold": "{format} cannot hold a sample rate of {rate} Hz, only {rates} Hz. Choose wav or flac.",
    "format-lacks-channels": "{format} cannot hold {channels} channels, at most {most}. Choose wav.",
}
"""Reason -> the English sentence of every error of this floor, with the names of its facts in braces."""


class UserError(ValueError):
    """Something that a user asked for cannot be done, for a reason that the user can change.

    Args:
        reason: Stable kebab-case key, such as "empty-file" or "too-long"; translations are found by it.
        message: The English sentence: what was wrong, what is allowed, what to do.
        facts: The numbers and names that the sentence holds, for the same sentence in another language.
    """

    sentences: ClassVar[Mapping[str, str]] = {}

    def __init__(self, reason: str, message: str, **facts: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.facts = facts

    @classmethod
    def of(cls, reason: str, **facts: object) -> Self:
        """The error whose sentence stands in `sentences`; its facts are made `printable`, for many are names."""
        shown = printable_facts(facts)
        return cls(reason, cls.sentences[reason].format(**shown), **shown)

    def __reduce__(self) -> tuple[Callable[..., UserError], tuple[Any, ...]]:
        return _restored, (type(self), self.reason, str(self), self.facts)  # so that it survives a process pool


def _restored(kind: type[UserError], reason: str, message: str, facts: dict[str, object]) -> UserError:
    return kind(reason, message, **facts)


class AudioError(UserError):
    """A sound that cannot be read, processed or written as asked.

    >>> error = AudioError.of("too-long", name="a.wav", length="3:00:00", limit="2:00:00")
    >>> error.reason, error.facts["limit"], str(error)
    ('too-long', '2:00:00', 'a.wav lasts 3:00:00; at most 2:00:00 are read. Cut it into parts.')
    """

    sentences = SENTENCES
