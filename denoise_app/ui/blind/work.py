"""Blind listening, as data: what is heard in which trial under which name, what was answered, what comes of it.

All of it stays on the server until a test is over. A browser is given sounds under the names a, b and x, in files with
random names that are written anew for each trial and at the same loudness, so that neither a name, an address, a date,
a gain, a size nor a format tells one from the other. What cannot be hidden is the sound: it has to be sent, so whoever
takes samples out of the network's answers instead of listening can still compare them by a program. Each copy gets its
own inaudible dither, so that at least no two are equal byte for byte, and the player draws no waveforms.
"""

from __future__ import annotations

import math
import random
import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np

from denoise_app.audio import files
from denoise_app.audio.clip import Clip
from denoise_app.audio.convert import fit
from denoise_app.audio.encodings import Encoding
from denoise_app.audio.errors import UserError
from denoise_app.audio.level import from_db
from denoise_app.metrics.listening import Score, Vote, binomial_p_value, bradley_terry
from denoise_app.ui.parts.downloads import csv_text
from denoise_app.ui.texts import LANGUAGES
from denoise_app.ui.worker.session import Session

FEWEST_TRIALS, MOST_TRIALS = 5, 50
MOST_SECONDS = 30.0  # ITU-R BS.1116 advises 10 to 25 s: nobody remembers a detail for longer
SOONEST = 0.7  # s after a trial has begun: what comes earlier is the second half of a double click
DITHER = 2.0**-22  # of full scale, -132 dB: below the last bit of 24, and off the grid of 16
FLOAT = Encoding("wav", "FLOAT")

Kind = Literal["abx", "preference"]
Choice = Literal["a", "b", "none"]
CHOICES: dict[Kind, tuple[Choice, ...]] = {"abx": ("a", "b"), "preference": ("a", "none", "b")}
LETTERS: dict[Kind, tuple[str, ...]] = {"abx": ("a", "b", "x"), "preference": ("a", "b")}
FRESH: dict[Kind, tuple[str, ...]] = {
    "abx": ("x",),
    "preference": ("a", "b"),
}  # what another trial has other sounds for


class BlindError(UserError):
    """A test cannot begin; reasons: "blind-two", "blind-more", "blind-gone", "blind-trials", "blind-start"."""

    sentences = {  # noqa: RUF012
        reason: LANGUAGES["en"][f"error.{reason}"]
        for reason in ("blind-two", "blind-more", "blind-gone", "blind-trials", "blind-start")
    }


# ------------------------------------------------------------------------------------------------------------ the plan


@dataclass(frozen=True)
class Stimulus:
    """A version that takes part.

    Attributes:
        key: Its name: NOISY, or the key of its denoiser.
        model, loss, sha256: Of its denoiser; `model` is NOISY for the recording, the others None where there are none.
        path: Its sound.
        gain_db: What makes it as loud as the others.
    """

    key: str
    model: str
    loss: str | None
    sha256: str | None
    path: Path
    gain_db: float

    @property
    def facts(self) -> dict[str, str | None]:
        """What is told of it once the test is over, and what a vote holds."""
        return {"model": self.model, "loss": self.loss, "sha256": self.sha256}


@dataclass(frozen=True)
class Material:
    """What there is to listen to.

    Attributes:
        recording: Name of the user's file.
        stimuli: Its versions.
    """

    recording: str
    stimuli: tuple[Stimulus, ...]


def chosen(material: Material | None, keys: Sequence[str], kind: Kind) -> list[Stimulus]:
    """The stimuli of these keys.

    Raises:
        BlindError: "blind-gone" where there is no such version (any more), "blind-two" for an A/B/X test of
            other than two, "blind-more" for preferences among fewer than two.
    """
    known = {stimulus.key: stimulus for stimulus in material.stimuli} if material else {}
    found = [known[key] for key in dict.fromkeys(keys) if key in known]
    if material is None or len(found) < len(set(keys)):
        raise BlindError.of("blind-gone")
    if kind == "abx" and len(found) != 2:
        raise BlindError.of("blind-two", count=len(found))
    if len(found) < 2:
        raise BlindError.of("blind-more")
    return found


@dataclass(frozen=True)
class Trial:
    """One question.

    Attributes:
        id: Good for one answer; nobody can guess it.
        a, b: Which of the stimuli, by their place.
        x: Which of the two X is; None where preferences are asked for.
    """

    id: str
    a: int
    b: int
    x: int | None = None


def draw(kind: Kind, count: int, trials: int, rng: random.Random) -> tuple[Trial, ...]:
    """The trials of a test.

    In an A/B/X test a coin decides once which of two is A, and in each trial anew which of them is X. Preferences go
    through all pairs of `count` stimuli in a random order before any pair comes again; a coin decides their sides.
    """
    if kind == "abx":
        a, b = rng.sample((0, 1), 2)
        return tuple(Trial(secrets.token_hex(16), a, b, rng.choice((a, b))) for _ in range(trials))
    pairs: list[tuple[int, int]] = []
    while len(pairs) < trials:
        once = list(combinations(range(count), 2))
        rng.shuffle(once)
        pairs += once
    return tuple(Trial(secrets.token_hex(16), *rng.sample(pair, 2)) for pair in pairs[:trials])


# ------------------------------------------------------------------------------------------------------------ the test


@dataclass(frozen=True)
class Answer:
    """A trial with what was answered; keys of stimuli, `x` None where preferences were asked for."""

    a: str
    b: str
    x: str | None
    choice: Choice

    @property
    def picked(self) -> str | None:
        """The key of the stimulus that was chosen; None for no difference."""
        return {"a": self.a, "b": self.b, "none": None}[self.choice]

    @property
    def right(self) -> bool:
        """Whether X was found out."""
        return self.x is not None and self.picked == self.x


@dataclass(frozen=True)
class Outcome:
    """What a test that is over has shown.

    Attributes:
        kind: Of the test.
        recording: Name of the user's file.
        planned: Trials that were to be.
        stimuli: Who took part.
        answers: In the order of the trials.
    """

    kind: Kind
    recording: str
    planned: int
    stimuli: tuple[Stimulus, ...]
    answers: tuple[Answer, ...]

    @property
    def complete(self) -> bool:
        """False where it was ended early."""
        return len(self.answers) == self.planned

    @property
    def right(self) -> int:
        return sum(answer.right for answer in self.answers)

    @property
    def p_value(self) -> float:
        """See `listening.binomial_p_value`; of an A/B/X test."""
        return binomial_p_value(self.right, len(self.answers))

    @property
    def votes(self) -> list[Vote]:
        """Of a test of preferences."""
        return [Vote(answer.a, answer.b, answer.picked) for answer in self.answers if answer.x is None]


class BlindTest:
    """A test under way; requests of one visit may come at the same time, and twice.

    Args:
        kind: What is asked.
        stimuli: Who takes part. Their sounds are copied, so that the test goes on when they are gone.
        recording: Name of the user's file.
        trials: 5 to 50.
        room: An empty folder of the visit; `end` leaves deleting it to whoever made it.
        start: Where the excerpt begins, in s, 0 or more; it is at most 30 s long and ends with the recording.
        rng: Draws the trials.
        clock: Time in s.

    Raises:
        BlindError: "blind-trials", "blind-start".
        AudioError: A sound is gone, or cannot be written.
    """

    def __init__(
        self,
        kind: Kind,
        stimuli: Sequence[Stimulus],
        recording: str,
        trials: int,
        room: Path,
        start: float = 0.0,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if type(trials) is not int or not FEWEST_TRIALS <= trials <= MOST_TRIALS:
            raise BlindError.of("blind-trials", fewest=FEWEST_TRIALS, most=MOST_TRIALS)
        if not 0 <= start < math.inf:
            raise BlindError.of("blind-start")
        self.kind, self.room, self.planned = kind, room, trials
        self._stimuli, self._recording, self._clock = tuple(stimuli), recording, clock
        self._plan = draw(kind, len(stimuli), trials, rng or random.SystemRandom())
        self._noise = np.random.default_rng(secrets.randbits(64))
        self._originals = _excerpts(stimuli, start, room)
        self._answers: list[Answer] = []
        self._sounds: dict[str, Path] = {}
        self._over = False
        self._since = clock()
        self._lock = threading.Lock()

    @property
    def number(self) -> int:
        """Of the present trial, from 1 on."""
        return len(self._answers) + 1

    @property
    def trial(self) -> Trial | None:
        """The present one; None once the test is over."""
        return None if self._over else self._plan[len(self._answers)]

    def sounds(self) -> dict[str, Path]:
        """ "a", "b" and, in an A/B/X test, "x" -> a file that no other trial has, but for A and B of an A/B/X test.

        Raises:
            AudioError: The disk is full, or the visit's files are gone.
        """
        with self._lock:
            trial = self.trial
            if trial is None:
                return {}
            places = {"a": trial.a, "b": trial.b} | ({} if trial.x is None else {"x": trial.x})
            for key, place in places.items():  # in this order, whoever they are: files have dates
                if key not in self._sounds:
                    self._sounds[key] = self._copy(self._originals[place])
            return dict(self._sounds)

    def unplayed(self, played: Collection[str]) -> list[str]:
        """What has to be played before an answer counts, "a", "b" and "x", but for what was."""
        return [letter for letter in LETTERS[self.kind] if letter not in played]

    def answer(self, trial_id: str, choice: Choice, played: Collection[str]) -> bool:
        """Takes an answer to the present trial.

        Args:
            trial_id: Of the trial that it is for.
            choice: The answer.
            played: What the listener has played of that trial: "a", "b", "x".

        Returns:
            False where it was no such answer, or something has not been listened to before it.
        """
        with self._lock:
            trial = self.trial
            unheard = self._clock() - self._since < SOONEST or not set(FRESH[self.kind]) <= self._sounds.keys()
            unheard = unheard or bool(self.unplayed(played))
            if trial is None or trial.id != trial_id or choice not in CHOICES[self.kind] or unheard:
                return False
            keys = [stimulus.key for stimulus in self._stimuli]
            x = None if trial.x is None else keys[trial.x]
            self._answers.append(Answer(keys[trial.a], keys[trial.b], x, choice))
            self._over = len(self._answers) == self.planned
            self._since = self._clock()
            for key in FRESH[self.kind]:
                self._sounds.pop(key).unlink(missing_ok=True)
            return True

    def end(self) -> Outcome:
        """Ends the test, early or not, and tells everything."""
        with self._lock:
            self._over = True
            return Outcome(self.kind, self._recording, self.planned, self._stimuli, tuple(self._answers))

    def _copy(self, original: Path) -> Path:
        clip = files.read(original)
        dither = self._noise.uniform(-DITHER, DITHER, clip.samples.shape)
        to = self.room / f"{secrets.token_hex(8)}.wav"
        files.write(to, Clip((clip.samples + dither).astype(np.float32), clip.sample_rate), FLOAT)
        return to


def _excerpts(stimuli: Sequence[Stimulus], start: float, room: Path) -> list[Path]:
    """The same stretch of each stimulus, equally long and equally loud, as float wav."""
    infos = [files.probe(stimulus.path) for stimulus in stimuli]
    rate, length = infos[0].sample_rate, min(info.frames for info in infos)
    frames = min(length, round(MOST_SECONDS * rate))
    first = min(round(start * rate), length - frames)
    paths = []
    for stimulus in stimuli:
        samples = fit(files.read_window(stimulus.path, first, frames).samples, frames)
        paths.append(room / f"{secrets.token_hex(8)}.wav")
        files.write(paths[-1], Clip(samples * np.float32(from_db(stimulus.gain_db)), rate), FLOAT)
    return paths


# ---------------------------------------------------------------------------------------------------------- the visit


class Listening:
    """What somebody has listened to blindly.

    It has a visit of its own, so that a new comparison does not take its files away.

    Attributes:
        session: The visit.
        test: The one under way; None before the first and after each.
        outcomes: Of the tests that are over.
    """

    def __init__(self, session: Session[Any]) -> None:
        self.session = session
        self.test: BlindTest | None = None
        self.outcomes: list[Outcome] = []
        self._lock = threading.Lock()

    def end(self) -> Outcome | None:
        """Ends the test under way and tells what it has shown; None where there is none (any more)."""
        with self._lock:
            test, self.test = self.test, None
        if test is None:
            return None
        outcome = test.end()
        if outcome.answers:
            self.outcomes.append(outcome)
        return outcome

    def scores(self) -> list[Score]:
        """Of all that were compared by preference in this visit, the best first."""
        votes = [vote for outcome in self.outcomes for vote in outcome.votes]
        return bradley_terry(list(dict.fromkeys(name for vote in votes for name in (vote.first, vote.second))), votes)


def as_json(outcomes: Sequence[Outcome], scores: Sequence[Score]) -> dict[str, Any]:
    """Everything, for a program."""
    return {"tests": [_test_as_json(outcome) for outcome in outcomes], "scores": [_score_as_json(s) for s in scores]}


def _test_as_json(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": outcome.kind,
        "recording": outcome.recording,
        "planned": outcome.planned,
        "answered": len(outcome.answers),
    }
    if outcome.kind == "abx":
        found |= {"right": outcome.right, "p_value": outcome.p_value}
    trials = []
    for answer in outcome.answers:
        asked = {"a": answer.a, "b": answer.b}
        trials.append(
            asked | {"answer": answer.choice, "preferred": answer.picked}
            if answer.x is None
            else asked | {"x": answer.x, "answer": answer.choice, "right": answer.right}
        )
    return found | {"versions": {one.key: one.facts for one in outcome.stimuli}, "trials": trials}


def _score_as_json(score: Score) -> dict[str, Any]:
    low, high = score.interval
    return {
        "version": score.name,
        "wins": score.wins,
        "comparisons": score.comparisons,
        "bradley_terry": score.score,
        "preferred_to_average": score.share,
        "interval_95": [low, high],
    }


def as_csv(outcomes: Sequence[Outcome]) -> str:
    """A row for each answer."""
    rows: list[list[object]] = []
    for number, outcome in enumerate(outcomes, 1):
        for trial, answer in enumerate(outcome.answers, 1):
            right = "" if answer.x is None else int(answer.right)
            asked = [number, outcome.kind, trial, answer.a, answer.b, answer.x or ""]
            rows.append([*asked, answer.choice, answer.picked or "", right])
    return csv_text(["test", "kind", "trial", "a", "b", "x", "answer", "chosen", "right"], rows)


def vote_lines(outcome: Outcome, day: date) -> list[dict[str, Any]]:
    """What is collected of a test where whoever runs the page collects votes: see `parts.votes`."""
    if not outcome.answers:
        return []
    facts = {stimulus.key: stimulus.facts for stimulus in outcome.stimuli}

    def line(first: str, second: str, **result: Any) -> dict[str, Any]:
        head = {"id": secrets.token_hex(8), "day": day.isoformat(), "kind": outcome.kind}
        return head | {"first": facts[first], "second": facts[second]} | result

    if outcome.kind == "abx":
        first, second = (stimulus.key for stimulus in outcome.stimuli)
        return [line(first, second, right=outcome.right, trials=len(outcome.answers), planned=outcome.planned)]
    sides = {"a": "first", "b": "second", "none": None}
    return [line(answer.a, answer.b, preferred=sides[answer.choice]) for answer in outcome.answers]
