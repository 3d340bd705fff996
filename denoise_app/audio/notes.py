"""What is odd about a recording and does not stop it from being used, in a form that a page can translate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

SENTENCES: dict[str, str] = {
    "silent": "It holds nothing but digital silence.",
    "clipped": "{percent:.2g} % of its samples are clipped: what was cut off there cannot be restored.",
    "beyond-full-scale": "It goes {db:.1f} dB beyond full scale, where denoisers know no sound.",
    "dc-offset": "It has a constant offset of {percent:.2g} % of full scale.",
    "opposite-channels": "Its channels cancel each other: in {percent:.0f} % of the sound, by energy, their mean is "
    "{db:.0f} dB softer than they are, and little of a voice is left. Treat each channel on its own.",
    "cut-off": "{name} ends early: {promised} were announced, {present} are there, and these were read.",
    "damaged": "{name} is damaged: {seconds:.2f} s that could not be read are silent, the rest is in its place.",
    "late-start": "The sound of {name} begins {seconds:.2f} s late; silence keeps its place.",
    "gaps": "The sound of {name} has gaps of {seconds:.2f} s in all; silence fills them.",
    "several-tracks": "{name} has {count} sound tracks; track {taken} was taken. Choose another with --track N.",
    "needs-ffmpeg": "{name} may hold more sound than was read: it is damaged, or joined from parts, and the program "
    "ffmpeg, which reads such files whole, is not installed here.",
    "tags-lost": "Not everything that {name} carries besides its sound is kept. Lost: {what}.",
    "tags-not-carried": "What {name} carries besides its sound, such as tags, is not kept: {problem}.",
}
"""Key -> the English sentence of every note on a recording, with the names of its facts in braces."""


@dataclass(frozen=True)
class Note:
    """Something about a recording that its user should know.

    Attributes:
        key: Stable, kebab-case, of `SENTENCES` (or of the room that made the note): "silent", "clipped", "cut-off", ...
        message: The English sentence.
        facts: The numbers and names in it, for the sentence in another language.
    """

    key: str
    message: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, key: str, **facts: object) -> Self:
        """The note whose sentence stands in `SENTENCES`.

        >>> Note.of("clipped", percent=2.5).message
        '2.5 % of its samples are clipped: what was cut off there cannot be restored.'
        """
        return cls(key, SENTENCES[key].format(**facts), facts)
