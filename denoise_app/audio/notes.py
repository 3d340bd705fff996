"""What is odd about a recording and does not stop it from being used, in a form that a page can translate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from denoise_app.audio.names import printable_facts

SENTENCES: dict[str, str] = {
    "silent": "This recording is silent. Check the microphone.",
    "clipped": "{percent:.2g} % of its samples are clipped: what was cut off there cannot be restored.",
    "beyond-full-scale": "Its peak is {db:.1f} dB above full scale; no denoiser was trained on such levels.",
    "dc-offset": "It has a DC offset of {percent:.2g} % of full scale.",
    "opposite-channels": "Its channels cancel each other: in {percent:.0f} % of the sound, by energy, their mean is "
    "{db:.0f} dB softer than they are, and little of a voice is left. Treat each channel on its own.",
    "cut-off": "{name} ends early: {promised} were announced, {present} are there, and these were read.",
    "damaged": "{name} is damaged: {seconds:.2f} s that could not be read are silent, the rest is in its place.",
    "late-start": "The sound of {name} begins {seconds:.2f} s late; silence keeps its place.",
    "gaps": "The sound of {name} has gaps of {seconds:.2f} s in all; silence fills them.",
    "several-tracks": "{name} has {count} sound tracks; track {taken} was taken. Choose another with --track N.",
    "tags-lost": "Not everything that {name} carries besides its sound is kept. Lost: {what}.",
    "tags-not-carried": "What {name} carries besides its sound, such as tags, is not kept: {problem}.",
    "needs-ffmpeg": "{name} may hold more than was read: it is damaged, joined from parts or of a kind that only the "
    "program ffmpeg reads whole, which is not installed here.",
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
        """The note whose sentence stands in `SENTENCES`; its facts are made `printable`.

        >>> Note.of("clipped", percent=2.5).message
        '2.5 % of its samples are clipped: what was cut off there cannot be restored.'
        """
        shown = printable_facts(facts)
        return cls(key, SENTENCES[key].format(**shown), shown)

    def as_dict(self) -> dict[str, Any]:
        """For programs: key, message, and the facts by their names.

        >>> Note.of("dc-offset", percent=3.0).as_dict()
        {'key': 'dc-offset', 'message': 'It has a DC offset of 3 % of full scale.', 'percent': 3.0}
        """
        return {"key": self.key, "message": self.message, **self.facts}
