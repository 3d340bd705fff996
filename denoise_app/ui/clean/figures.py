"""What is drawn of a result: computed once, block by block, then drawn as often as wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from denoise_app.audio.convert import mid
from denoise_app.inference.engine import Settings, mixed_blocks
from denoise_app.inference.separation import Separation
from denoise_app.plots.page import page
from denoise_app.plots.spectrogram import (
    Change,
    SpectrogramBuilder,
    SpectrogramData,
    describe,
    linked_figure,
    speech_attenuation,
)
from denoise_app.plots.theme import Theme, Words
from denoise_app.ui.parts import figures
from denoise_app.ui.texts import Say


@dataclass(frozen=True)
class Survey:
    """What a recording and its result look like, before a gain that brought the result to a loudness.

    Attributes:
        before, after, removed: Spectrograms of the mean of all channels.
        attenuation: (columns,) dB: how much speech itself was attenuated; NaN where there is none.
        change: The same in numbers.
    """

    before: SpectrogramData
    after: SpectrogramData
    removed: SpectrogramData
    attenuation: np.ndarray[Any, np.dtype[np.float32]]
    change: Change


def survey(separation: Separation, settings: Settings, between: Callable[[], None] = lambda: None) -> Survey:
    """Looks at a recording, its result and what was removed, in one pass over the recording.

    Args:
        between: Called between two blocks of it.

    Raises:
        AudioError: The recording is gone.
    """
    info = separation.info
    builders = [SpectrogramBuilder(info.sample_rate, info.frames) for _ in range(3)]
    for sound, mixed in mixed_blocks(separation, settings):
        before, after = mid(sound)[0], mid(mixed)[0]
        for builder, samples in zip(builders, (before, after, before - after), strict=True):
            builder.push(samples)
        between()
    before, after, removed = (builder.data() for builder in builders)
    return Survey(before, after, removed, speech_attenuation(before, after), describe(before, after))


def figure(looked: Survey, say: Say, log: bool, theme: Theme) -> Any:
    """Before, after and removed above each other, and the strip of speech attenuation, on one time axis."""
    panels = [looked.before, looked.after, looked.removed]
    return linked_figure(panels, looked.attenuation, log=log, theme=theme, words=_words(say))


def figure_page(looked: Survey, say: Say, title: str) -> str:
    """The same as a page of its own."""
    words = _words(say)
    panels = [(words.before, looked.before), (words.after, looked.after), (words.removed, looked.removed)]
    return page(panels, title, say.language, words, looked.attenuation)


def _words(say: Say) -> Words:
    return figures.words(
        say,
        before=say("player.version.before"),
        after=say("player.version.after"),
        removed=say("player.version.removed"),
        attenuation=say("plots.attenuation"),
    )
