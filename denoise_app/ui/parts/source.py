"""Where a recording comes from: widgets to record, upload or choose one, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from .orders import AT_ONCE
from .problems import explained
from .site import Site

MEASURED_AT_ONCE_SECONDS = 600.0  # peak and loudness of longer recordings come with the result


class Source:
    """The widgets of one recording, put where they are made.

    Args:
        site: Has examples to try, and opens a visit.
        session: The visit.
        prefix: Before the ids of its widgets, where a page has several.
    """

    def __init__(self, site: Site, session: gr.State, prefix: str = "") -> None:
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
            gr.HTML(words.made("html.source-help", lambda say: hint(say("source.help"))))
            gr.HTML(
                words.made(f"html.{prefix}microphone", partial(recording.microphone, prefix=prefix)),
                js_on_load=static.text("microphone.js"),
                elem_id=f"{prefix}microphone",
            )
            self.facts = gr.HTML(elem_id=f"{prefix}facts")
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
        self.audio.change(self.on_recording, [self.audio, session], [self.facts, session], **AT_ONCE)
        for button, path in zip(self.examples, examples, strict=False):
            button.click(example_handler(site.sessions, path), session, [self.audio, session], **AT_ONCE)

    def on_recording(
        self, path: str | None, session: Session[Any] | None, request: gr.Request
    ) -> Iterator[tuple[str, Session[Any]]]:
        """The facts of a recording, or what is wrong with it; it stays where it is either way."""
        say = say_for(request)
        session = session or self._site.sessions.open()
        if not path:
            yield "", session
            return
        try:
            info = files.probe(path)
            soon = info.seconds <= MEASURED_AT_ONCE_SECONDS
            name = Path(path).name
            yield recording.facts(say, info, None, say("facts.measuring" if soon else "facts.later"), name), session
            if soon:
                facts = recording.facts(say, info, levels(Path(path)), "", name)
                yield facts, session
                found = self._site.worker.score(excerpts.heard(Path(path), info), info.sample_rate, ["snr_estimated"])
                if advice := recording.already_clean(say, found["snr_estimated"]):
                    yield facts + advice, session
        except Exception as error:
            yield alert(explained(say, error), say("error.title-file")), session


def levels(path: Path) -> Levels:
    """Peak, loudness and oddities of a whole file, which is decoded for it by block."""
    with files.open_reader(path) as reader:
        meter = LevelMeter(reader.info.channels, reader.info.sample_rate)
        for block in reader.blocks():
            meter.push(block)
    return meter.levels()


def example_handler(sessions: Sessions, path: Path) -> Callable[[Session | None], tuple[str, Session[Any]]]:
    """A handler that puts an example into the visit, as if it had been uploaded."""

    def on_example(session: Session[Any] | None) -> tuple[str, Session[Any]]:
        session = session or sessions.open()
        return str(session.adopt(path)), session

    return on_example
