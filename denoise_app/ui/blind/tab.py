"""Blind listening, under the results of a comparison: set up, listen and answer, read what it has shown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import gradio as gr

from denoise_app.ui.compare.work import Comparison
from denoise_app.ui.parts import panels
from denoise_app.ui.parts.downloads import Parcel, Shelf
from denoise_app.ui.parts.language import Words, say_for
from denoise_app.ui.parts.orders import AT_ONCE, Given, Updates
from denoise_app.ui.parts.player import Version, build_player, player_value
from denoise_app.ui.parts.problems import Unready, explained
from denoise_app.ui.texts import LANGUAGES, Say
from denoise_app.ui.worker.session import Session, Sessions

from . import html as blind_panels
from .votes import Votes
from .work import (
    CHOICES,
    FEWEST_TRIALS,
    MOST_SECONDS,
    MOST_TRIALS,
    NOISY,
    BlindTest,
    Choice,
    Kind,
    Listening,
    Outcome,
    as_csv,
    as_json,
    chosen,
    stimuli,
)

KINDS: tuple[Kind, ...] = ("abx", "preference")
NAMES = {"csv": "blind-listening.csv", "json": "blind-listening.json"}


class BlindPanel:
    """The panel's widgets, and what happens when they are used.

    A test has a visit of its own, so that a new comparison does not take its files away.

    Args:
        sessions: Opens a visit.
        shelf: Where answers are offered for download.
        words: The page's texts.
        compared: The state with the visit whose result is the comparison to listen to.
        minutes: How long a visit's files are kept after their last use.
        votes: Where outcomes go.
    """

    def __init__(
        self, sessions: Sessions, shelf: Shelf, words: Words, compared: gr.State, minutes: int, votes: Votes
    ) -> None:
        self._sessions = sessions
        self._shelf = shelf
        self._words = words
        self._compared = compared
        self._votes = votes
        self.session = gr.State(None, time_to_live=60 * minutes, delete_callback=sessions.close)
        self.trial = gr.Textbox("", visible="hidden")
        with gr.Column(elem_id="blind", elem_classes=["sheet"]):
            gr.HTML(words.made("html.blind", lambda say: panels.heading(say("blind.heading"), 3)))
            gr.HTML(words.made("html.blind-intro", lambda say: panels.hint(say("blind.intro"))))
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
        words = self._words
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
        votes = self._votes
        gr.HTML(
            words.made("html.blind-votes", lambda say: blind_panels.votes(say, votes.collected, votes.dataset)),
            elem_id="blind-votes",
        )

    def _build_test(self) -> None:
        words = self._words
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
        setup = [self.versions, self.setup, self.test, self.outcome, self.said, self.session]
        test = [*setup, self.trial, self.progress, self.player, *self.answers.values(), self.result]
        asked: set[Any] = {self.session, self._compared, self.kind, self.versions, self.trials, self.begin_at}
        started = self.start.click(self.on_start, asked, test, **AT_ONCE)
        started.then(None, js=FOCUS, **AT_ONCE)
        started.failure(self.on_lost, None, self.said, **AT_ONCE)
        for (_, choice), button in self.buttons.items():
            button.click(self.answer_handler(choice), {self.session, self.trial}, test, **AT_ONCE).then(
                None, js=FOCUS_RESULT, **AT_ONCE
            )
        self.end.click(self.on_end, {self.session, self.trial}, test, **AT_ONCE).then(None, js=FOCUS_RESULT, **AT_ONCE)
        self.again.click(self.on_again, {self.session, self._compared}, setup, **AT_ONCE)

    def follow(self, event: Any) -> None:
        """Offers what there is to listen to whenever something has happened to the comparison."""
        event.then(self.on_compared, {self.session, self._compared}, [self.session, self.versions], **AT_ONCE)

    # ------------------------------------------------------------------------------------------------- handlers

    def on_compared(self, given: Given, request: gr.Request) -> Updates:
        """What there is to choose from; nothing while a test hides the names."""
        session, listening = self._visit(given)
        if listening.test is not None:
            return {self.session: session}
        return {
            self.session: session,
            self.versions: self._choices(say_for(request), _comparison(given, self._compared)),
        }

    def on_start(self, given: Given, request: gr.Request) -> Updates:
        """Begins a test, unless one is under way already."""
        say = say_for(request)
        session, listening = self._visit(given)
        if listening.test is not None:
            return self._asked(say, session, listening.test)
        room = session.room()
        try:
            comparison = _comparison(given, self._compared)
            kind: Kind = given[self.kind]
            versions = chosen(comparison, given[self.versions] or [], kind)
            assert comparison is not None
            listening.test = BlindTest(
                kind, versions, comparison.path.name, _whole(given[self.trials]), room, float(given[self.begin_at] or 0)
            )
            return self._asked(say, session, listening.test)
        except Exception as error:
            listening.test = None
            session.discard(room)
            return {self.session: session, self.said: panels.alert(say, explained(say, error))}

    def on_lost(self, request: gr.Request) -> str:
        """Gradio knows no such choice: it was offered by a server that is no more."""
        say = say_for(request)
        return panels.alert(say, say("error.stale-comparison"))

    def answer_handler(self, choice: Choice) -> Callable[..., Updates]:
        def on_answer(given: Given, request: gr.Request) -> Updates:
            say = say_for(request)
            session, listening = self._visit(given)
            test = listening.test
            if test is None:
                return self._stale(say, session, listening)
            test.answer(given[self.trial], choice)
            return self._asked(say, session, test) if test.trial else self._ended(say, session, listening)

        return on_answer

    def on_end(self, given: Given, request: gr.Request) -> Updates:
        say = say_for(request)
        session, listening = self._visit(given)
        return self._ended(say, session, listening) if listening.test else self._stale(say, session, listening)

    def on_again(self, given: Given, request: gr.Request) -> Updates:
        session, _ = self._visit(given)
        return {
            self.session: session,
            self.versions: self._choices(say_for(request), _comparison(given, self._compared)),
            self.setup: gr.Column(visible=True),
            self.outcome: gr.Column(visible=False),
            self.said: "",
        }

    # -------------------------------------------------------------------------------------------------- updates

    def _visit(self, given: Given) -> tuple[Session, Listening]:
        session: Session = given[self.session] or self._sessions.open()
        if session.result is None:
            session.result = Listening()
        return session, session.result

    def _choices(self, say: Say, comparison: Comparison | None) -> Any:
        """The versions that can be listened to, the first two of them chosen."""
        known = stimuli(comparison) if comparison else []
        choices = [(self._name(say, one.key), one.key) for one in known]
        return gr.CheckboxGroup(choices=choices, value=[one.key for one in known[:2]])

    def _name(self, say: Say, key: str) -> str:
        return say("compare.noisy") if key == NOISY else key

    def _asked(self, say: Say, session: Session, test: BlindTest) -> Updates:
        """The present trial on the page, and no name anywhere."""
        trial = test.trial
        assert trial is not None
        updates: Updates = {
            self.session: session,
            self.setup: gr.Column(visible=False),
            self.versions: gr.CheckboxGroup(choices=[], value=[]),
            self.test: gr.Column(visible=True),
            self.trial: trial.id,
            self.progress: blind_panels.progress(say, test.kind, test.number, test.planned),
        } | {row: gr.Row(visible=kind == test.kind) for kind, row in self.answers.items()}
        try:
            versions = [Version(key, key.upper(), path) for key, path in test.sounds().items()]
            return updates | {self.said: "", self.player: player_value(versions, blind=True)}
        except Exception as error:
            return updates | {self.said: panels.alert(say, explained(say, error))}

    def _ended(self, say: Say, session: Session, listening: Listening) -> Updates:
        """What a test has shown, names included."""
        test = listening.test
        outcome = listening.end()
        if test is None or outcome is None:  # a second click on the button came first
            return {self.session: session}
        session.discard(test.room)
        self._votes.collect(outcome)
        shown = self._outcome(say, session, listening, outcome)
        return self._closed(session) | {self.outcome: gr.Column(visible=True), self.result: shown}

    def _outcome(self, say: Say, session: Session, listening: Listening, outcome: Outcome) -> str:
        if not outcome.answers:
            return panels.finished(say, say("blind.nothing"))
        scores = listening.scores()
        try:
            links = blind_panels.downloads(say, self._parcel(session, listening), NAMES)
        except OSError as error:
            links = panels.alert(say, explained(say, error))
        return blind_panels.outcome(say, outcome, scores, lambda key: self._name(say, key)) + links

    def _parcel(self, session: Session, listening: Listening) -> str:
        """Writes all answers of this visit; the token of what can be downloaded."""
        room = session.room()
        content = json.dumps(as_json(listening.outcomes, listening.scores()), indent=1, ensure_ascii=False)
        (room / NAMES["json"]).write_text(content, "utf-8")
        (room / NAMES["csv"]).write_text(as_csv(listening.outcomes), "utf-8")
        return self._shelf.put(Parcel({name: room / name for name in NAMES.values()}, "blind-listening.zip"))

    def _stale(self, say: Say, session: Session, listening: Listening) -> Updates:
        """An answer to a test that is not there: it is over, or the server knows nothing of it any more."""
        if listening.outcomes:
            return {self.session: session}
        said = panels.alert(say, explained(say, Unready(say("error.blind-stale"))))
        return self._closed(session) | {self.setup: gr.Column(visible=True), self.said: said}

    def _closed(self, session: Session) -> Updates:
        return {
            self.session: session,
            self.test: gr.Column(visible=False),
            self.trial: "",
            self.progress: "",
            self.player: None,
            self.said: "",
        }


def _comparison(given: Given, compared: gr.State) -> Comparison | None:
    session: Session | None = given[compared]
    return session.result if session is not None else None


def _whole(number: Any) -> int:
    """A number of trials as a slider, or a program, sends it; what is none becomes 0, which no test takes."""
    return int(number) if isinstance(number, int | float) and math.isfinite(number) and number == int(number) else 0


FOCUS = "() => setTimeout(() => document.querySelector('#blind-progress [tabindex]')?.focus(), 200)"
FOCUS_RESULT = "() => setTimeout(() => document.querySelector('#blind-outcome [tabindex]')?.focus(), 200)"
