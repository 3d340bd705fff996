"""What every tab is handed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr

from denoise_app.ui.worker.session import Sessions
from denoise_app.ui.worker.worker import Worker

from .downloads import Downloads
from .language import Words
from .votes import Votes

MINUTES = 60  # a visit's files after their last use; Gradio itself keeps the state of a closed page for an hour


@dataclass(frozen=True)
class Examples:
    """Sounds to try.

    Attributes:
        recordings: Noisy speech.
        speech, noises: Clean speech, and noise alone.
    """

    recordings: Sequence[Path] = ()
    speech: Sequence[Path] = ()
    noises: Sequence[Path] = ()


@dataclass(frozen=True)
class Site:
    """What every tab works with.

    Attributes:
        worker: Computes.
        sessions: Opens a visit.
        downloads: Where results are offered.
        words: The page's texts.
        votes: Where outcomes of blind tests go.
        examples: Sounds to try.
        minutes: How long a visit's files are kept after their last use.
    """

    worker: Worker
    sessions: Sessions
    downloads: Downloads
    words: Words = field(default_factory=Words)
    votes: Votes = field(default_factory=Votes)
    examples: Examples = field(default_factory=Examples)
    minutes: int = MINUTES

    def visit(self) -> gr.State:
        """The state of a tab that holds a visit, which ends some time after its last use."""
        return gr.State(None, time_to_live=60 * self.minutes, delete_callback=self.sessions.close)


def page_of(request: gr.Request, visit: gr.State) -> tuple[str, int] | None:
    """What the handlers of one tab on one page have in common, so that they open one visit; None for no page."""
    page = getattr(request, "session_hash", None)
    return (page, visit._id) if page else None
