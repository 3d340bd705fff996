"""A stretch of the recording that somebody points at: to denoise it alone, or to take it for the noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from denoise_app.inference.selection import Interval, Selection, seconds
from denoise_app.ui import static
from denoise_app.ui.parts import numbers
from denoise_app.ui.parts.language import Words
from denoise_app.ui.parts.markup import decoration, hint, tag
from denoise_app.ui.parts.problems import Unready
from denoise_app.ui.texts import Say


@dataclass(frozen=True)
class Marks:
    """What was pointed at in a recording, so that it is there again after a reload.

    Attributes:
        recording: Path of the recording, as the page has it.
        start, end: The times, as texts; "" for none.
        noise: The stretch that was taken for the noise; None without one.
    """

    recording: str
    start: str = ""
    end: str = ""
    noise: Interval | None = None


class Stretch:
    """Two times, set by a drag over the waveform or typed, and what can be done with what lies between them.

    Attributes:
        start, end: The times, as texts; "" for none.
        denoise: Orders the stretch alone.
        profile: Takes it for the noise.
        noise: The stretch that was taken for the noise, a gr.State; None without one.
        told: That there is one, in words.
        forget: Takes it back.
    """

    def __init__(self, words: Words) -> None:
        with gr.Column(elem_id="stretch"):
            help = words.made("html.stretch", _introduction)
            gr.HTML(help, js_on_load=static.text("selection.js"), elem_id="stretch-help")
            with gr.Row(elem_id="stretch-times"):
                times: dict[str, Any] = {"placeholder": "0:00", "max_lines": 1, "min_width": 80}
                self.start = gr.Textbox(label=words("stretch.from"), elem_id="stretch-from", **times)
                self.end = gr.Textbox(label=words("stretch.to"), elem_id="stretch-to", **times)
            with gr.Row(elem_id="stretch-actions"):
                self.denoise = gr.Button(
                    words("stretch.denoise"),
                    size="sm",
                    min_width=0,
                    interactive=False,  # until a denoiser is chosen
                    elem_id="stretch-denoise",
                )
                self.profile = gr.Button(words("stretch.profile"), size="sm", min_width=0, elem_id="stretch-profile")
            self.noise = gr.State(None)
            with gr.Row(elem_id="stretch-noise"):
                self.told = gr.HTML(elem_id="stretch-told")
                self.forget = gr.Button(words("stretch.forget"), size="sm", visible=False, elem_id="stretch-forget")

    def marks(self, recording: str, given: dict[Any, Any]) -> Marks:
        """What is pointed at now."""
        return Marks(recording, given[self.start] or "", given[self.end] or "", given[self.noise])

    def marked(self, say: Say, marks: Marks) -> dict[Any, Any]:
        """Updates for what was pointed at before."""
        return {self.start: marks.start, self.end: marks.end} | self.taken(say, marks.noise)

    def chosen(self, say: Say, given: dict[Any, Any]) -> Interval:
        """The two times; raises Unready where they are missing, SettingError where they are none."""
        start, end = given[self.start] or "", given[self.end] or ""
        if not start.strip() or not end.strip():
            raise Unready(say("stretch.missing"))
        picked = Selection(seconds(start), seconds(end))
        assert picked.end is not None
        return picked.start, picked.end

    def first(self, given: dict[Any, Any]) -> float:
        """Where the stretch begins, in seconds; 0 where no stretch is chosen."""
        try:
            return seconds(given[self.start] or "0")
        except ValueError:
            return 0.0

    def taken(self, say: Say, noise: Interval | None, changed: str = "") -> dict[Any, Any]:
        """Updates for a noise profile, or for none.

        Args:
            changed: The denoiser that was chosen for it, where the one before could make no use of it.
        """
        words = say("stretch.noise", times=between(noise)) if noise else ""
        more = say("stretch.changed", model=changed) if changed else ""
        said = tag("p", words, " ", more, role="status") if noise else ""
        return {self.noise: noise, self.told: said, self.forget: gr.Button(visible=noise is not None)}


def between(interval: Interval) -> str:
    """
    >>> between((1.25, 75.5))
    '0:01.25 – 1:15.50'
    """
    return " – ".join(numbers.moment(time) for time in interval)


def _introduction(say: Say) -> str:
    """What the sheet is for; selection.js shows the stretch on the waveform, and clears or takes it by the buttons."""
    clear = tag("button", decoration("✕"), type="button", class_="clear", aria_label=say("stretch.clear"), hidden=True)
    take = tag("button", type="button", class_="take", data_text=say.template("stretch.take"), hidden=True)
    return tag("div", hint(say("stretch.help")), clear, take, class_="stretch-head")
