"""Where a recording comes from: widgets to record, upload or choose one, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from denoise_app.audio import files
from denoise_app.inference.sources import LevelMeter, Levels
from denoise_app.ui import static
from denoise_app.ui.worker.session import Session, Sessions

from . import excerpts, recording
from .language import say_for
from .markup import alert, heading, hint
from .orders import AT_ONCE, QUIET
from .problems import explained
from .site import Site

MEASURED_AT_ONCE_SECONDS = 600.0  # peak and loudness of longer recordings come with the result


class Source:
    """The widgets of one recording, put where they are made.

    Args:
        site: Has examples to try, and opens a visit.
        session: The visit.
        prefix: Before the ids of its widgets, where a page has several.
        under: Makes more widgets right under the recording.
    """

    def __init__(
        self, site: Site, session: gr.State, prefix: str = "", under: Callable[[], None] = lambda: None
    ) -> None:
        self._site = site
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
        self.seen = self.audio.change(self.on_recording, [self.audio, session], [self.facts, session], **AT_ONCE)
        self.seen.then(self.on_levels, self.audio, self.facts, **QUIET)
        for button, path in zip(self.examples, examples, strict=False):
            button.click(example_handler(site.sessions, path), session, [self.audio, session], **AT_ONCE)

    def on_recording(
        self, path: str | None, session: Session[Any] | None, request: gr.Request
    ) -> tuple[str, Session[Any]]:
        """The facts of a recording, or what is wrong with it; it stays where it is either way."""
        say = say_for(request)
        session = session or self._site.sessions.open()
        session.recording = Path(path) if path else None
        if not path:
            return "", session
        try:
            info = files.probe(path)
            pending = say("facts.measuring" if info.seconds <= MEASURED_AT_ONCE_SECONDS else "facts.later")
            return recording.facts(say, info, None, pending, Path(path).name), session
        except Exception as error:
            return alert(explained(say, error), say("error.title-file")), session

    def on_result(self, path: str | None, session: Session[Any] | None, request: gr.Request) -> Any:
        """The facts of a long recording with peak and loudness, which were measured on the way to its result."""
        result = session.result if session else None
        if not path or result is None or result.order.path.name != Path(path).name:
            return gr.skip()
        rendered = result.rendered
        if rendered.info_in.seconds <= MEASURED_AT_ONCE_SECONDS:
            return gr.skip()
        return recording.facts(say_for(request), rendered.info_in, rendered.levels_in, "", Path(path).name)

    def on_levels(self, path: str | None, request: gr.Request) -> Any:
        """The facts again, with peak and loudness, where those do not take long."""
        say = say_for(request)
        if not path:
            return gr.skip()
        try:
            info = files.probe(path)
            if info.seconds > MEASURED_AT_ONCE_SECONDS:
                return gr.skip()
            with self._site.worker.at_work() as turn:
                found_levels = levels(Path(path), turn.hand_on)
            facts = recording.facts(say, info, found_levels, "", Path(path).name)
            found = self._site.worker.score(excerpts.mono(Path(path), info), info.sample_rate, ["snr_estimated"])
            return facts + recording.already_clean(say, found["snr_estimated"])
        except Exception as error:
            return alert(explained(say, error), say("error.title-file"))


def levels(path: Path, between: Callable[[], None] = lambda: None) -> Levels:
    """Peak, loudness and oddities of a whole file, which is decoded for it by block; `between` is called after each."""
    with files.open_reader(path) as reader:
        meter = LevelMeter(reader.info.channels, reader.info.sample_rate)
        for block in reader.blocks():
            meter.push(block)
            between()
    return meter.levels()


def example_handler(sessions: Sessions, path: Path) -> Callable[[Session | None], tuple[str, Session[Any]]]:
    """A handler that puts an example into the visit, as if it had been uploaded."""

    def on_example(session: Session[Any] | None) -> tuple[str, Session[Any]]:
        session = session or sessions.open()
        return str(session.adopt(path)), session

    return on_example
