"""Blind listening, under the results of a comparison: set up, listen and answer, read what it has shown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import gradio as gr
from markupsafe import Markup

from denoise_app.ui.parts.downloads import Bundle, links
from denoise_app.ui.parts.language import say_for
from denoise_app.ui.parts.markup import alert, finished, heading, hint
from denoise_app.ui.parts.orders import AT_ONCE, Given, Updates
from denoise_app.ui.parts.player import NOISY, Version, build_player, player_value
from denoise_app.ui.parts.problems import Unready, explained
from denoise_app.ui.parts.site import Site
from denoise_app.ui.texts import LANGUAGES, Say

from . import html
from .work import (
    CHOICES,
    FEWEST_TRIALS,
    MOST_SECONDS,
    MOST_TRIALS,
    BlindTest,
    Choice,
    Kind,
    Listening,
    Material,
    Outcome,
    as_csv,
    as_json,
    chosen,
    vote_lines,
)

KINDS: tuple[Kind, ...] = ("abx", "preference")
NAMES = {"csv": "blind-listening.csv", "json": "blind-listening.json"}


class BlindPanel:
    """The panel's widgets, and what happens when they are used.

    Args:
        site: What it works with.
        heard: A state that holds what there may be to listen to.
        material: Finds it there; None where there is nothing.
    """

    def __init__(self, site: Site, heard: gr.State, material: Callable[[Any], Material | None]) -> None:
        self._site = site
        self._heard = heard
        self._material = material
        self.listening = gr.State(None, time_to_live=60 * site.minutes, delete_callback=self._close)
        words = site.words
        self.trial = gr.Textbox("", visible="hidden")
        self.played = gr.Textbox("", visible="hidden")  # what the browser has played of a trial, such as "a x"
        with gr.Column(elem_id="blind", elem_classes=["sheet"]):
            gr.HTML(words.made("html.blind", lambda say: heading(say("blind.heading"), 3)))
            gr.HTML(words.made("html.blind-intro", lambda say: hint(say("blind.intro"))))
            self.said = gr.HTML(elem_id="blind-said")
            with gr.Column() as self.setup:
                self._build_setup()
            with gr.Column(visible=False, elem_id="blind-test") as self.test:
                self._build_test()
            with gr.Column(visible=False, elem_id="blind-outcome") as self.outcome:
                self.result = gr.HTML()
                self.again = gr.Button(words("blind.again"), elem_id="blind-again")
        self._wire()

    # ------------------------------------------------------------------------------------------------- widgets

    def _build_setup(self) -> None:
        words = self._site.words
        self.kind = gr.Radio(
            [(words(f"blind.kind.{kind}"), kind) for kind in KINDS],
            value="abx",
            label=words("blind.kind"),
            elem_id="blind-kind",
        )
        self.versions = gr.CheckboxGroup(
            [], label=words("blind.versions"), info=words("blind.versions-help"), elem_id="blind-versions"
        )
        with gr.Row():
            self.trials = gr.Slider(
                FEWEST_TRIALS,
                MOST_TRIALS,
                10,
                step=1,
                label=words("blind.trials"),
                info=words("blind.trials-help"),
                min_width=280,
                elem_id="blind-trials",
            )
            at_most = words.made("html.blind-from", lambda say: say("blind.from-help", seconds=f"{MOST_SECONDS:g}"))
            self.begin_at = gr.Number(0, label=words("blind.from"), info=at_most, min_width=200)
        self.start = gr.Button(words("blind.start"), variant="primary", elem_id="blind-start")
        votes = self._site.votes
        gr.HTML(
            words.made("html.blind-votes", lambda say: html.votes(say, votes.collected, votes.dataset)),
            elem_id="blind-votes",
        )

    def _build_test(self) -> None:
        words = self._site.words
        self.progress = gr.HTML(elem_id="blind-progress")
        self.player = build_player(LANGUAGES, elem_id="blind-player")
        self.answers: dict[Kind, Any] = {}
        self.buttons: dict[tuple[Kind, Choice], gr.Button] = {}
        for kind in KINDS:
            with gr.Row(visible=False, elem_classes=["blind-answers"]) as self.answers[kind]:
                for choice in CHOICES[kind]:
                    self.buttons[kind, choice] = gr.Button(
                        words(f"blind.{kind}.{choice}"),
                        variant="primary",
                        min_width=90,
                        elem_id=f"blind-{kind}-{choice}",
                    )
        self.end = gr.Button(words("blind.end"), size="sm", elem_id="blind-end")

    # -------------------------------------------------------------------------------------------------- wiring

    def _wire(self) -> None:
        setup = [self.versions, self.setup, self.test, self.outcome, self.said, self.listening]
        test = [*setup, self.trial, self.progress, self.player, *self.answers.values(), self.result]
        asked: set[Any] = {self.listening, self._heard, self.kind, self.versions, self.trials, self.begin_at}
        started = self.start.click(self.on_start, asked, test, **AT_ONCE)
        started.then(None, js=FOCUS, **AT_ONCE)
        started.failure(self.on_lost, None, self.said, **AT_ONCE)
        for (_, choice), button in self.buttons.items():
            asked_back = [self.listening, self.trial, self.played]
            answered = button.click(self.answer_handler(choice), asked_back, test, js=PLAYED, **AT_ONCE)
            answered.then(None, js=FOCUS_RESULT, **AT_ONCE)
        self.end.click(self.on_end, {self.listening, self.trial}, test, **AT_ONCE).then(
            None, js=FOCUS_RESULT, **AT_ONCE
        )
        self.again.click(self.on_again, {self.listening, self._heard}, setup, **AT_ONCE)

    def follow(self, event: Any) -> None:
        """Offers what there is to listen to whenever something has happened to the comparison."""
        event.then(self.on_compared, {self.listening, self._heard}, [self.listening, self.versions], **AT_ONCE)

    # ------------------------------------------------------------------------------------------------- handlers

    def on_compared(self, given: Given, request: gr.Request) -> Updates:
        """What there is to choose from; nothing while a test hides the names."""
        listening = self._visit(given)
        if listening.test is not None:
            return {self.listening: listening}
        return {self.listening: listening, self.versions: self._choices(say_for(request), given)}

    def on_start(self, given: Given, request: gr.Request) -> Updates:
        """Begins a test, unless one is under way already."""
        say = say_for(request)
        listening = self._visit(given)
        if listening.test is not None:
            return self._asked(say, listening, listening.test)
        room = listening.session.room()
        try:
            material = self._material(given[self._heard])
            kind: Kind = given[self.kind]
            versions = chosen(material, given[self.versions] or [], kind)
            assert material is not None
            listening.test = BlindTest(
                kind, versions, material.recording, _whole(given[self.trials]), room, float(given[self.begin_at] or 0)
            )
            return self._asked(say, listening, listening.test)
        except Exception as error:
            listening.test = None
            listening.session.discard(room)
            return {self.listening: listening, self.said: alert(explained(say, error))}

    def on_lost(self, request: gr.Request) -> str:
        """Gradio knows no such choice: it was offered by a server that is no more."""
        say = say_for(request)
        return alert(say("error.stale-comparison"))

    def answer_handler(self, choice: Choice) -> Callable[..., Updates]:
        def on_answer(listening: Listening | None, trial: str, played: str, request: gr.Request) -> Updates:
            say = say_for(request)
            listening = self._visit({self.listening: listening})
            test = listening.test
            if test is None:
                return self._stale(say, listening)
            if missing := test.unplayed(played.split()):
                letters = ", ".join(letter.upper() for letter in missing)
                return {self.listening: listening, self.said: alert(say("blind.unplayed", list=letters))}
            test.answer(trial, choice, played.split())
            return self._asked(say, listening, test) if test.trial else self._ended(say, listening)

        return on_answer

    def on_end(self, given: Given, request: gr.Request) -> Updates:
        say = say_for(request)
        listening = self._visit(given)
        return self._ended(say, listening) if listening.test else self._stale(say, listening)

    def on_again(self, given: Given, request: gr.Request) -> Updates:
        return {
            self.listening: self._visit(given),
            self.versions: self._choices(say_for(request), given),
            self.setup: gr.Column(visible=True),
            self.outcome: gr.Column(visible=False),
            self.said: "",
        }

    # -------------------------------------------------------------------------------------------------- updates

    def _visit(self, given: Given) -> Listening:
        return given[self.listening] or Listening(self._site.sessions.open())

    def _close(self, listening: Listening | None) -> None:
        self._site.sessions.close(listening.session if listening else None)

    def _choices(self, say: Say, given: Given) -> Any:
        """The versions that can be listened to, the first two of them chosen."""
        material = self._material(given[self._heard])
        known = material.stimuli if material else ()
        choices = [(self._name(say, one.key), one.key) for one in known]
        return gr.CheckboxGroup(choices=choices, value=[one.key for one in known[:2]])

    def _name(self, say: Say, key: str) -> str:
        return say("compare.noisy") if key == NOISY else key

    def _asked(self, say: Say, listening: Listening, test: BlindTest) -> Updates:
        """The present trial on the page, and no name anywhere."""
        trial = test.trial
        assert trial is not None
        updates: Updates = {
            self.listening: listening,
            self.setup: gr.Column(visible=False),
            self.versions: gr.CheckboxGroup(choices=[], value=[]),
            self.test: gr.Column(visible=True),
            self.trial: trial.id,
            self.progress: html.progress(say, test.kind, test.number, test.planned),
        } | {row: gr.Row(visible=kind == test.kind) for kind, row in self.answers.items()}
        try:
            versions = [Version(key, key.upper(), path) for key, path in test.sounds().items()]
            return updates | {self.said: "", self.player: player_value(versions, blind=True)}
        except Exception as error:
            return updates | {self.said: alert(explained(say, error))}

    def _ended(self, say: Say, listening: Listening) -> Updates:
        """What a test has shown, names included."""
        test = listening.test
        outcome = listening.end()
        if test is None or outcome is None:  # a second click on the button came first
            return {self.listening: listening}
        listening.session.discard(test.room)
        self._site.votes.collect(vote_lines(outcome, datetime.now(UTC).date()))
        shown = self._outcome(say, listening, outcome)
        return self._closed(listening) | {self.outcome: gr.Column(visible=True), self.result: shown}

    def _outcome(self, say: Say, listening: Listening, outcome: Outcome) -> Markup:
        if not outcome.answers:
            return finished(say("blind.nothing"))
        try:
            offered = links(say, self._offered(listening), NAMES, label=say("blind.download"))
        except OSError as error:
            offered = alert(explained(say, error))
        return html.outcome(say, outcome, listening.scores(), lambda key: self._name(say, key)) + offered

    def _offered(self, listening: Listening) -> str:
        """Writes all answers of this visit; the token of what can be downloaded."""
        session = listening.session
        room = session.room()
        content = json.dumps(as_json(listening.outcomes, listening.scores()), indent=1, ensure_ascii=False)
        (room / NAMES["json"]).write_text(content, "utf-8")
        (room / NAMES["csv"]).write_text(as_csv(listening.outcomes), "utf-8")
        bundle = Bundle({name: room / name for name in NAMES.values()}, "blind-listening.zip")
        return self._site.downloads.offer(session.folder, bundle)

    def _stale(self, say: Say, listening: Listening) -> Updates:
        """An answer to a test that is not there: it is over, or the server knows nothing of it any more."""
        if listening.outcomes:
            return {self.listening: listening}
        said = alert(explained(say, Unready(say("error.blind-stale"))))
        return self._closed(listening) | {self.setup: gr.Column(visible=True), self.said: said}

    def _closed(self, listening: Listening) -> Updates:
        return {
            self.listening: listening,
            self.test: gr.Column(visible=False),
            self.trial: "",
            self.progress: "",
            self.player: None,
            self.said: "",
        }


def _whole(number: Any) -> int:
    """A number of trials as a slider, or a program, sends it; what is none becomes 0, which no test takes."""
    return int(number) if isinstance(number, int | float) and math.isfinite(number) and number == int(number) else 0


PLAYED = """(listening, trial) => {
  const player = document.querySelector("#blind-player .denoise-player").parentElement.denoisePlayer;
  return [listening, trial, player.played.join(" ")];
}"""
FOCUS = "() => setTimeout(() => document.querySelector('#blind-progress [tabindex]')?.focus(), 200)"
FOCUS_RESULT = "() => setTimeout(() => document.querySelector('#blind-outcome [tabindex]')?.focus(), 200)"
