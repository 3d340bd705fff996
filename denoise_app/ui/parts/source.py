"""Where a recording comes from: widgets to record, upload or choose one, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from denoise_app.audio import files
from denoise_app.inference.sources import LevelMeter, Levels
from denoise_app.serve.turns import Gone
from denoise_app.ui import static
from denoise_app.ui.texts import Say
from denoise_app.ui.worker.session import Session, Sessions

from . import excerpts, recording
from .language import say_for
from .markup import alert, heading, hint
from .orders import AT_ONCE, QUIET, Updates
from .problems import explained
from .site import Site, page_of

MEASURED_AT_ONCE_SECONDS = 600.0  # peak and loudness of longer recordings come with the result

Also = Callable[[Say, str | None, Session[Any]], Updates]
"""Updates of a tab for a recording, or none, of a visit."""


class Source:
    """The widgets of one recording, put where they are made; `wire` lets them do something.

    Args:
        site: Has examples to try, and opens a visit.
        session: The visit.
        prefix: Before the ids of its widgets, where a page has several.
        under: Makes more widgets right under the recording.
    """

    def __init__(
        self, site: Site, session: gr.State, prefix: str = "", under: Callable[[], None] = lambda: None
    ) -> None:
        self._site, self._session = site, session
        words, examples = site.words, site.examples.recordings
        with gr.Column(elem_classes=["sheet"]):
            gr.HTML(words.made("html.source", lambda say: heading(say("source.heading"))))
            self.audio = gr.Audio(
                sources=["upload", "microphone"],
                type="filepath",
                label=words("source.audio"),
                show_label=False,
                buttons=[],
                editable=False,  # the browser's trimming would change rate and bit depth
                waveform_options=gr.WaveformOptions(sample_rate=48_000, show_recording_waveform=True),
                elem_id=f"{prefix}recording",
                elem_classes=["recording"],
            )
            under()
            self.facts = gr.HTML(elem_id=f"{prefix}facts")
            gr.HTML(words.made("html.source-help", lambda say: hint(say("source.help"))), elem_classes=["source-help"])
            gr.HTML(
                words.made(f"html.{prefix}microphone", partial(recording.microphone, prefix=prefix)),
                js_on_load=static.text("microphone.js"),
                elem_id=f"{prefix}microphone",
            )
            self.examples: list[gr.Button] = []
            if examples:
                gr.HTML(words.made("html.examples", lambda say: hint(say("source.examples"))))
                with gr.Row(elem_id=f"{prefix}examples", elem_classes=["examples"]):
                    self.examples = [
                        gr.Button(
                            words.made(f"html.example.{path.stem}", partial(recording.example_label, stem=path.stem)),
                            size="sm",
                            min_width=0,
                            scale=0,
                        )
                        for path in examples
                    ]

    def wire(self, shown: Sequence[Any] = (), also: Also = lambda say, path, session: {}) -> None:
        """Tells what a recording is as soon as it is there, and puts examples in.

        Args:
            also: What else of the tab goes with a recording: updates of the widgets `shown`. They come in the answer
                that tells what it is; in one of their own, later, they would undo what somebody has done meanwhile.
        """
        self._also = also
        given = [self.audio, self._session]
        seen = self.audio.change(self.on_recording, given, [self.facts, self._session, *shown], **AT_ONCE)
        # "multiple": else the browser asks for no levels while those of the recording before are measured
        seen.then(self.on_levels, given, self.facts, trigger_mode="multiple", **QUIET)
        for button, path in zip(self.examples, self._site.examples.recordings, strict=False):
            example = example_handler(self._site.sessions, self._session, path)
            button.click(example, self._session, [self.audio, self._session], **AT_ONCE)

    def on_recording(self, path: str | None, session: Session[Any] | None, request: gr.Request) -> Updates:
        """The facts of a recording, or what is wrong with it; it stays where it is either way."""
        say = say_for(request)
        session = session or self._site.sessions.open(page_of(request, self._session))
        session.recording = Path(path) if path else None
        return {self.facts: _first_facts(say, path), self._session: session} | self._also(say, path, session)

    def on_levels(self, path: str | None, session: Session[Any] | None, request: gr.Request) -> Any:
        """The facts again, with peak and loudness, where those do not take long; nothing for one that has gone."""
        if not path or session is None:
            return gr.skip()
        say, asked = say_for(request), Path(path)

        def gone() -> bool:
            return session.recording != asked

        try:
            told = gr.skip() if gone() else self._measured(say, asked, gone)
        except Gone:
            return gr.skip()
        except Exception as error:
            told = alert(explained(say, error), say("error.title-file"))
        return gr.skip() if gone() else told

    def _measured(self, say: Say, path: Path, gone: Callable[[], bool]) -> Any:
        info = files.probe(path)
        if info.seconds > MEASURED_AT_ONCE_SECONDS:
            return gr.skip()
        with self._site.worker.at_work(gone=gone) as turn:

            def between() -> None:
                turn.hand_on()
                if gone():
                    raise Gone

            found_levels = levels(path, between)
        facts = recording.facts(say, info, found_levels, "", path.name)
        found = self._site.worker.score(excerpts.mono(path, info), info.sample_rate, ["snr_estimated"])
        return facts + recording.already_clean(say, found["snr_estimated"])

    def on_result(self, path: str | None, session: Session[Any] | None, request: gr.Request) -> Any:
        """The facts of a long recording with peak and loudness, which were measured on the way to its result."""
        result = session.result if session else None
        if not path or result is None or result.order.path.name != Path(path).name:
            return gr.skip()
        rendered = result.rendered
        if rendered.info_in.seconds <= MEASURED_AT_ONCE_SECONDS:
            return gr.skip()
        return recording.facts(say_for(request), rendered.info_in, rendered.levels_in, "", Path(path).name)


def _first_facts(say: Say, path: str | None) -> str:
    """What is known of a recording before it is decoded, or what is wrong with it."""
    if not path:
        return ""
    try:
        info = files.probe(path)
    except Exception as error:
        return alert(explained(say, error), say("error.title-file"))
    pending = say("facts.measuring" if info.seconds <= MEASURED_AT_ONCE_SECONDS else "facts.later")
    return recording.facts(say, info, None, pending, Path(path).name)


def levels(path: Path, between: Callable[[], None] = lambda: None) -> Levels:
    """Peak, loudness and oddities of a whole file, which is decoded for it by block; `between` is called after each."""
    with files.open_reader(path) as reader:
        meter = LevelMeter(reader.info.channels, reader.info.sample_rate)
        for block in reader.blocks():
            meter.push(block)
            between()
    return meter.levels()


def example_handler(sessions: Sessions, visit: gr.State, path: Path) -> Callable[..., tuple[str, Session[Any]]]:
    """A handler that puts an example into the visit, as if it had been uploaded."""

    def on_example(session: Session[Any] | None, request: gr.Request) -> tuple[str, Session[Any]]:
        session = session or sessions.open(page_of(request, visit))
        return str(session.adopt(path)), session

    return on_example
