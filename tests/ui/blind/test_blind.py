"""Blind tests as data, and the panel's handlers without a browser: fair, hidden until the end, each answer once."""

from __future__ import annotations

import base64
import csv
import io
import json
import random
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile

from denoise_app.audio import files
from denoise_app.audio.errors import AudioError
from denoise_app.checkpoints.manifest import Manifest
from denoise_app.inference.catalog import Entry
from denoise_app.metrics.listening import binomial_p_value
from denoise_app.ui.blind import work as blind
from denoise_app.ui.blind.tab import BlindPanel
from denoise_app.ui.blind.work import BlindError, BlindTest, Kind, Listening, Stimulus, chosen, draw
from denoise_app.ui.compare.tab import _material
from denoise_app.ui.compare.work import Column, Comparison, material
from denoise_app.ui.parts.downloads import Downloads
from denoise_app.ui.parts.player import player_samples
from denoise_app.ui.parts.site import Site
from denoise_app.ui.parts.votes import Votes
from denoise_app.ui.worker.session import Session, Sessions
from denoise_app.ui.worker.worker import Worker

RATE = 16_000
ENGLISH = SimpleNamespace(headers={"accept-language": "en-US,en;q=0.9"})
CHINESE = SimpleNamespace(headers={"accept-language": "zh-CN"})


class Clock:
    """Time that passes when it is told to: plenty between any two looks, unless `step` says otherwise."""

    def __init__(self, step: float = 10.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    """Three denoisers' results, each twice as soft as the one before, and gains that bring all to the softest."""
    rng = np.random.default_rng(5)
    noise = rng.uniform(-0.8, 0.8, 2 * RATE)

    def sound(name: str, level: float) -> Path:
        path = tmp_path / name / "my secret talk.wav"
        path.parent.mkdir()
        soundfile.write(path, level * noise, RATE, "PCM_16")
        return path

    manifest = Manifest("gru", "hybrid", sha256="ab" * 32)
    offers = [
        Entry("gru", "hybrid", "neural", "bundled", RATE, True, 512, manifest),
        Entry("gru", "log-mag", "neural", "bundled", RATE, True, 512, Manifest("gru", "log-mag", sha256="cd" * 32)),
        Entry("wiener", None, "classical", "built-in", RATE, True, 512),
    ]
    columns = tuple(
        Column(offer, SimpleNamespace(path=sound(offer.key.replace("/", "-"), level)), gain_db=gain)  # type: ignore[arg-type]
        for offer, level, gain in zip(offers, (0.5, 0.25, 0.125), (-12.04, -6.02, 0.0), strict=True)
    )
    failed = Column(Entry("nlms", None, "classical", "built-in", RATE, True, 64), error=RuntimeError("no"))
    noisy = sound("noisy", 1.0)
    return Comparison(noisy, files.probe(noisy), (*columns, failed), gain_db=-18.06)


def start(
    comparison: Comparison,
    session: Session,
    kind: Kind,
    *keys: str,
    trials: int = 10,
    seed: int | None = 1,
    **more: Any,
) -> BlindTest:
    rng = None if seed is None else random.Random(seed)
    more = {"clock": Clock()} | more
    return BlindTest(
        kind, chosen(material(comparison), keys, kind), "talk.wav", trials, session.room(), rng=rng, **more
    )


ALL = ("a", "b", "x")  # played


def answer_all(test: BlindTest, choose: Callable[[BlindTest], blind.Choice]) -> None:
    while test.trial:
        test.sounds()
        assert test.answer(test.trial.id, choose(test), ALL)


def truth(test: BlindTest) -> blind.Choice:
    """What X is."""
    assert test.trial is not None
    return "a" if test.trial.x == test.trial.a else "b"


# --------------------------------------------------------------------------------------------------------------- plans


def test_the_coin_of_an_abx_test_is_fair_and_its_letters_stay() -> None:
    rng = random.Random(8)
    plans = [draw("abx", 2, 50, rng) for _ in range(400)]
    assert all(len({(trial.a, trial.b) for trial in plan}) == 1 for plan in plans)
    assert all({trial.a, trial.b} == {0, 1} and trial.x in (0, 1) for plan in plans for trial in plan)
    assert np.mean([plan[0].a for plan in plans]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([trial.x == trial.a for plan in plans for trial in plan]) == pytest.approx(0.5, abs=0.02)
    repeated = [one.x == two.x for plan in plans for one, two in pairwise(plan)]
    assert np.mean(repeated) == pytest.approx(0.5, abs=0.02)  # the last answer says nothing of the next


def test_preferences_go_through_all_pairs_before_any_comes_again() -> None:
    plan = draw("preference", 4, 18, random.Random(8))
    for first in (0, 6, 12):
        assert len({frozenset((trial.a, trial.b)) for trial in plan[first : first + 6]}) == 6
    assert all(trial.x is None for trial in plan)
    orders = {
        tuple((trial.a, trial.b) for trial in draw("preference", 3, 3, random.Random(seed))) for seed in range(200)
    }
    assert len(orders) == 48  # 3! orders of the pairs, 2^3 sides


def test_an_id_is_used_once_and_cannot_be_foreseen() -> None:
    ids = [trial.id for _ in range(2) for trial in draw("abx", 2, 50, random.Random(1))]
    assert len(set(ids)) == 100 and all(len(name) == 32 for name in ids)


def test_what_can_be_chosen_is_what_came_out_and_the_recording(comparison: Comparison) -> None:
    found = material(comparison).stimuli
    assert [one.key for one in found] == ["gru/hybrid", "gru/log-mag", "wiener", "noisy"]
    assert found[0].facts == {"model": "gru", "loss": "hybrid", "sha256": "ab" * 32}
    assert found[2].facts == {"model": "wiener", "loss": None, "sha256": None}
    assert found[3].path == comparison.path and found[3].gain_db == comparison.gain_db


@pytest.mark.parametrize(
    ("kind", "keys", "reason"),
    [("abx", ["wiener"], "blind-two"), ("abx", [], "blind-two"), ("abx", ["wiener", "wiener"], "blind-two"),
     ("abx", ["wiener", "noisy", "gru/hybrid"], "blind-two"), ("preference", ["wiener"], "blind-more"),
     ("preference", ["wiener", "nlms"], "blind-gone"), ("abx", ["wiener", "../etc"], "blind-gone")],
)  # fmt: skip
def test_a_choice_that_makes_no_test_is_refused(
    comparison: Comparison, kind: Kind, keys: list[str], reason: str
) -> None:
    with pytest.raises(BlindError) as caught:
        chosen(material(comparison), keys, kind)
    assert caught.value.reason == reason
    with pytest.raises(BlindError) as caught:
        chosen(None, keys, kind)
    assert caught.value.reason == "blind-gone"


@pytest.mark.parametrize("trials", [4, 51, 0, -5, 10.0, True, "10", None])
def test_a_number_of_trials_out_of_its_range_is_refused(comparison: Comparison, session: Session, trials: Any) -> None:
    with pytest.raises(BlindError, match="5 to 50"):
        start(comparison, session, "abx", "wiener", "noisy", trials=trials)


# --------------------------------------------------------------------------------------------------- what can be heard


def read(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


def test_all_is_equally_loud_long_and_large_and_x_is_what_it_should_be(
    comparison: Comparison, session: Session
) -> None:
    test = start(comparison, session, "abx", "gru/hybrid", "noisy")
    source = read(comparison.path) * 10 ** (comparison.gain_db / 20)
    seen = set()
    for _ in range(10):
        assert test.trial is not None
        sounds = test.sounds()
        heard = {key: read(path) for key, path in sounds.items()}
        for samples in heard.values():
            np.testing.assert_allclose(samples, source, atol=1e-4)  # all come from one noise, at other levels
        same, other = (heard["a"], heard["b"]) if truth(test) == "a" else (heard["b"], heard["a"])
        np.testing.assert_allclose(heard["x"], same, atol=3 * blind.DITHER)
        assert np.abs(heard["x"] - other).max() > 3 * blind.DITHER  # 16-bit rounding tells the two apart here
        assert len({path.stat().st_size for path in sounds.values()}) == 1
        assert len({path.read_bytes() for path in sounds.values()}) == 3
        assert not seen & {sounds["x"]}
        seen.add(sounds["x"])
        assert test.answer(test.trial.id, "a", ALL) and not sounds["x"].exists()


def test_no_name_and_no_date_tells_who_is_who(comparison: Comparison, session: Session) -> None:
    told = re.compile("gru|hybrid|log|mag|wiener|noisy|secret|talk")
    for kind, keys in (("abx", ("gru/hybrid", "wiener")), ("preference", ("gru/hybrid", "wiener", "noisy"))):
        for seed in range(4):
            test = start(comparison, session, kind, *keys, seed=seed)  # type: ignore[arg-type]
            sounds = test.sounds()
            assert not told.search("".join(str(path.relative_to(session.folder)) for path in sounds.values()))
            assert all(re.fullmatch(r"[0-9a-f]{16}\.wav", path.name) for path in sounds.values())
            dates = [path.stat().st_mtime_ns for path in sounds.values()]
            assert dates == sorted(dates)  # in the order of the letters, whoever they are
            assert test.sounds() == sounds  # asking again gives nothing away


def test_a_and_b_stay_in_an_abx_test_and_change_in_preferences(comparison: Comparison, session: Session) -> None:
    for kind, fresh in (("abx", {"x"}), ("preference", {"a", "b"})):
        test = start(comparison, session, kind, "wiener", "noisy")  # type: ignore[arg-type]
        before = test.sounds()
        assert test.trial is not None and test.answer(test.trial.id, "a", ALL)
        after = test.sounds()
        assert {key for key in after if after[key] != before[key]} == fresh
        assert all(path.exists() == (key not in fresh) for key, path in before.items())


def test_a_test_outlives_the_comparison(comparison: Comparison, session: Session) -> None:
    test = start(comparison, session, "abx", "wiener", "noisy")
    for path in (comparison.path, *(column.path for column in comparison.ready)):
        path.unlink()
    answer_all(test, truth)
    assert test.end().right == 10


@pytest.mark.parametrize(("begin", "first"), [(0.0, 0), (12.5, 12.5), (100.0, 15)])
def test_of_long_recordings_an_excerpt_is_heard(session: Session, tmp_path: Path, begin: float, first: float) -> None:
    ramp = np.arange(45 * 8000) / (45 * 8000)
    soundfile.write(tmp_path / "long.wav", ramp, 8000, "FLOAT")
    both = [Stimulus(key, key, None, None, tmp_path / "long.wav", 0.0) for key in ("one", "two")]
    test = BlindTest("abx", both, "long.wav", 5, session.room(), start=begin)
    heard = read(test.sounds()["x"])
    assert len(heard) == 30 * 8000
    assert heard[0] == pytest.approx(first / 45, abs=1e-5)


@pytest.mark.parametrize("begin", [-3.0, float("nan"), float("inf")])
def test_no_excerpt_begins_before_the_recording_or_nowhere(
    comparison: Comparison, session: Session, begin: float
) -> None:
    with pytest.raises(BlindError) as raised:
        start(comparison, session, "abx", "wiener", "noisy", start=begin)
    assert raised.value.reason == "blind-start"


@pytest.mark.parametrize("frames", [1, 2, 1999])
def test_short_stereo_and_silent_recordings_are_heard_whole(session: Session, tmp_path: Path, frames: int) -> None:
    soundfile.write(tmp_path / "short.wav", np.zeros((frames, 2)), 44_100)
    both = [Stimulus(key, key, None, None, tmp_path / "short.wav", 0.0) for key in ("one", "two")]
    heard = soundfile.read(BlindTest("abx", both, "short.wav", 5, session.room()).sounds()["x"])[0]
    assert heard.shape == (frames, 2) and np.abs(heard).max() < 2 * blind.DITHER


def test_a_version_that_is_gone_is_told(comparison: Comparison, session: Session) -> None:
    comparison.ready[0].path.unlink()
    with pytest.raises(AudioError) as caught:
        start(comparison, session, "abx", "gru/hybrid", "noisy")
    assert caught.value.reason == "missing"


# ------------------------------------------------------------------------------------------------------------- answers


def test_nine_of_ten_right(comparison: Comparison, session: Session) -> None:
    test = start(comparison, session, "abx", "gru/hybrid", "wiener")
    wrong: dict[str, blind.Choice] = {"a": "b", "b": "a"}
    answer_all(test, lambda test: wrong[truth(test)] if test.number == 4 else truth(test))
    outcome = test.end()
    assert (outcome.right, len(outcome.answers), outcome.complete) == (9, 10, True)
    assert outcome.p_value == binomial_p_value(9, 10) == pytest.approx(0.0107, abs=5e-5)
    assert [answer.right for answer in outcome.answers] == [True] * 3 + [False] + [True] * 6
    assert {outcome.answers[0].a, outcome.answers[0].b} == {"gru/hybrid", "wiener"}


@pytest.mark.slow
def test_who_only_guesses_is_right_half_the_time(comparison: Comparison, session: Session) -> None:
    right = []
    for seed in range(12):
        test = start(comparison, session, "abx", "wiener", "noisy", trials=50, seed=seed)
        answer_all(test, lambda test: "a")
        right.append(test.end().right)
    assert np.mean(right) == pytest.approx(25, abs=3 * np.sqrt(12.5 / 12))


def test_an_answer_counts_once(comparison: Comparison, session: Session) -> None:
    test = start(comparison, session, "abx", "wiener", "noisy")
    test.sounds()
    first = test.trial
    assert first is not None and test.answer(first.id, "a", ALL)
    test.sounds()
    for replayed in (first.id, "", "0" * 32):
        assert not test.answer(replayed, "b", ALL)
    second = test.trial
    assert second is not None and second != first
    for nonsense in ("x", "none", "", "A"):
        assert not test.answer(second.id, nonsense, ALL)  # type: ignore[arg-type]
    assert test.number == 2 and [answer.choice for answer in test.end().answers] == ["a"]
    assert not test.answer(second.id, "a", ALL)
    assert test.sounds() == {} and test.trial is None


def test_the_second_half_of_a_double_click_is_no_answer(comparison: Comparison, session: Session) -> None:
    clock = Clock(step=0.0)
    test = start(comparison, session, "abx", "wiener", "noisy", clock=clock)
    test.sounds()
    assert test.trial is not None and not test.answer(test.trial.id, "a", ALL)
    clock.now += blind.SOONEST
    assert test.answer(test.trial.id, "a", ALL)
    test.sounds()
    clock.now += blind.SOONEST / 2
    assert test.trial is not None and not test.answer(test.trial.id, "a", ALL)
    clock.now += blind.SOONEST / 2
    assert test.answer(test.trial.id, "a", ALL)


def test_what_was_not_handed_out_is_not_answered(comparison: Comparison, session: Session) -> None:
    test = start(comparison, session, "preference", "wiener", "noisy")
    assert test.trial is not None and not test.answer(test.trial.id, "a", ALL)
    test.sounds()
    assert test.answer(test.trial.id, "a", ALL)


def test_preferences_are_scored_over_the_visit(comparison: Comparison, session: Session) -> None:
    listening = Listening(session)

    def prefer(test: BlindTest) -> blind.Choice:
        """The one that comes first in the comparison; the recording and wiener sound alike."""
        assert test.trial is not None
        keys = ("gru/hybrid", "wiener", "noisy")
        pair = keys[test.trial.a], keys[test.trial.b]
        return "none" if "gru/hybrid" not in pair else "a" if pair[0] == "gru/hybrid" else "b"

    for seed in (1, 2):
        listening.test = start(comparison, session, "preference", "gru/hybrid", "wiener", "noisy", trials=6, seed=seed)
        answer_all(listening.test, prefer)
        assert listening.end() is not None and listening.end() is None
    scores = {score.name: score for score in listening.scores()}
    assert next(iter(scores)) == "gru/hybrid" and scores["gru/hybrid"].wins == scores["gru/hybrid"].comparisons == 8
    assert scores["wiener"].score == pytest.approx(scores["noisy"].score)
    assert scores["wiener"].wins == 2 and sum(score.comparisons for score in scores.values()) == 24


def test_results_can_be_read_by_programs(comparison: Comparison, session: Session) -> None:
    listening = Listening(session)
    listening.test = start(comparison, session, "abx", "gru/hybrid", "wiener", trials=5)
    answer_all(listening.test, truth)
    listening.end()
    listening.test = start(comparison, session, "preference", "gru/hybrid", "noisy", trials=5)
    answer_all(listening.test, lambda test: "none" if test.number == 1 else "a")
    listening.end()
    told = json.loads(json.dumps(blind.as_json(listening.outcomes, listening.scores())))
    abx, preference = told["tests"]
    assert (abx["kind"], abx["right"], abx["answered"], abx["planned"], abx["p_value"]) == ("abx", 5, 5, 5, 1 / 32)
    assert abx["versions"]["gru/hybrid"]["sha256"] == "ab" * 32 and abx["recording"] == "talk.wav"
    assert all(trial["right"] and trial["x"] == trial[trial["answer"]] for trial in abx["trials"])
    assert preference["trials"][0]["preferred"] is None
    assert all(trial["preferred"] == trial["a"] for trial in preference["trials"][1:])
    assert {score["version"] for score in told["scores"]} == {"gru/hybrid", "noisy"}
    rows = list(csv.DictReader(io.StringIO(blind.as_csv(listening.outcomes))))
    assert [row["test"] for row in rows] == ["1"] * 5 + ["2"] * 5
    assert [row["right"] for row in rows] == ["1"] * 5 + [""] * 5
    assert rows[5]["answer"] == "none" and rows[5]["chosen"] == "" and rows[6]["chosen"] == rows[6]["a"]


# -------------------------------------------------------------------------------------------------------------- panel


class Page:
    """The panel as a browser sees it: widgets with values, and all that was ever sent to it."""

    def __init__(self, sessions: Sessions, comparison: Comparison | None, request: Any = ENGLISH) -> None:
        self.downloads, self.request, self.sent = Downloads(), request, []  # type: tuple[Downloads, Any, list[str]]
        with gr.Blocks(analytics_enabled=False):
            compared = gr.State(None)
            site = Site(Worker(), sessions, self.downloads, votes=Votes.from_environment())
            self.panel = BlindPanel(site, compared, _material)
        panel = self.panel
        visit = sessions.open()
        visit.result = comparison
        self.values: dict[Any, Any] = {
            compared: visit, panel.listening: None, panel.kind: "abx", panel.versions: ["gru/hybrid", "wiener"],
            panel.trials: 10, panel.begin_at: 0, panel.trial: "",
        }  # fmt: skip
        self.compared = visit

    def take(self, updates: dict[Any, Any]) -> None:
        for widget, update in updates.items():
            value = update.constructor_args if isinstance(update, gr.blocks.Block) else update
            if widget is not self.panel.listening:
                self.sent.append(json.dumps(value, default=str))
            self.values[widget] = value

    def press(self, handler: Callable[..., Any]) -> None:
        self.take(handler(dict(self.values), self.request))

    def choose(self, *keys: str, kind: str = "abx", trials: Any = 10) -> None:
        panel = self.panel
        self.values |= {panel.kind: kind, panel.versions: list(keys), panel.trials: trials}

    @property
    def test(self) -> BlindTest:
        found: BlindTest = self.values[self.panel.listening].test
        return found

    def answer(self, choice: blind.Choice, played: str = "a b x") -> None:
        self.test._since = -1e9  # as if there had been time to listen
        listening, trial = self.values[self.panel.listening], self.values[self.panel.trial]
        self.take(self.panel.answer_handler(choice)(listening, trial, played, self.request))

    def text(self, widget: Any) -> str:
        return str(self.values.get(widget) or "")


@pytest.fixture
def page(sessions: Sessions, comparison: Comparison) -> Page:
    return Page(sessions, comparison)


def test_nothing_names_anything_until_the_end(page: Page) -> None:
    told = re.compile("gru|hybrid|log-mag|wiener|secret", re.I)
    page.press(page.panel.on_compared)
    assert told.search("".join(page.sent))
    page.choose("gru/hybrid", "wiener")
    page.sent.clear()
    page.press(page.panel.on_start)
    assert page.values[page.panel.versions]["choices"] == []  # what is hidden on the page can still be read
    for _ in range(9):
        page.answer("a")
        page.press(page.panel.on_compared)  # a new comparison meanwhile
    sent = "".join(page.sent)
    tokens = re.findall(r'"token": "([^".]+)\.[^"]+"', sent)
    assert len(tokens) == 10
    readable = [base64.urlsafe_b64decode(token).decode() for token in tokens]
    assert not told.search(
        "".join([re.sub(r'"token": "[^"]+"', "", sent), *readable])
    )  # as letters they name at random
    page.sent.clear()
    page.answer("a")
    assert "gru/hybrid" in "".join(page.sent) and "wiener" in page.text(page.panel.result)
    assert page.values[page.panel.player] is None


def test_a_trial_of_ten_gives_the_number_of_the_table(page: Page) -> None:
    page.press(page.panel.on_start)
    for number in range(10):
        page.answer(truth(page.test) if number else ("a" if truth(page.test) == "b" else "b"))
    result = page.text(page.panel.result)
    assert "9 of 10 correct" in result and "p = 0.0107" in result and "1.1 %" in result
    assert "you do hear a difference" in result
    assert re.search(r"A was (gru/hybrid, B was wiener|wiener, B was gru/hybrid)\.", result)


def test_what_the_player_is_given_are_the_sounds_of_the_trial(page: Page) -> None:
    page.press(page.panel.on_start)
    value = page.values[page.panel.player]
    assert [one["key"] for one in value["versions"]] == ["a", "b", "x"] and value["blind"]
    assert {one["gain_db"] for one in value["versions"]} == {0.0}
    answers = [
        player_samples({"token": value["token"], "version": version, "start": 0, "frames": value["frames"]})
        for version in range(3)
    ]
    assert {answer["format"] for answer in answers} == {"float32"}
    assert len({len(answer["data"]) for answer in answers}) == 1 and len({answer["data"] for answer in answers}) == 3
    samples = [np.frombuffer(answer["data"], "<f4") for answer in answers]
    same, other = samples[:2] if truth(page.test) == "a" else samples[1::-1]
    assert np.abs(samples[2] - same).max() <= 3 * blind.DITHER < np.abs(samples[2] - other).max()


def test_a_double_click_counts_once(page: Page) -> None:
    page.press(page.panel.on_start)
    shown = page.values[page.panel.trial]
    page.answer("a")
    page.values[page.panel.trial] = shown  # what the page still held at the second click
    page.answer("b")
    assert page.test.number == 2 and page.values[page.panel.trial] == page.test.trial.id  # type: ignore[union-attr]
    before = page.test
    page.press(page.panel.on_start)  # the button pressed twice
    assert page.test is before


def test_what_was_not_played_is_not_voted(page: Page) -> None:
    page.press(page.panel.on_start)
    for played, missing in (("", "A, B, X"), ("a x", "B"), ("b a", "X")):
        page.answer("a", played)
        assert f"play {missing} first" in page.text(page.panel.said) and page.test.number == 1
        assert not page.test.answer(page.test.trial.id, "a", played.split())  # type: ignore[union-attr]
    page.answer("a", "x b a")
    assert page.text(page.panel.said) == "" and page.test.number == 2


def test_ended_early_it_says_so_and_a_second_end_changes_nothing(page: Page) -> None:
    page.press(page.panel.on_start)
    for _ in range(6):
        page.answer(truth(page.test))
    room = page.test.room
    page.press(page.panel.on_end)
    result = page.text(page.panel.result)
    assert "6 of 6 correct" in result and "after 6 of 10 trials" in result and not room.exists()
    page.press(page.panel.on_end)
    assert page.text(page.panel.result) == result and page.text(page.panel.said) == ""
    assert len(page.values[page.panel.listening].outcomes) == 1


def test_ended_without_an_answer_there_is_nothing_to_show(page: Page) -> None:
    page.press(page.panel.on_start)
    page.press(page.panel.on_end)
    assert "there is no result" in page.text(page.panel.result)
    assert page.values[page.panel.listening].outcomes == []


@pytest.mark.parametrize(("request_", "sentence"), [(ENGLISH, "no longer on the server"), (CHINESE, "已不在服务器上")])
def test_a_stale_page_is_told(sessions: Sessions, comparison: Comparison, request_: Any, sentence: str) -> None:
    page = Page(sessions, comparison, request_)
    page.values[page.panel.trial] = "f" * 32  # of a server that is no more
    page.take(page.panel.answer_handler("a")(None, page.values[page.panel.trial], "a b x", request_))
    assert sentence in page.text(page.panel.said) and page.values[page.panel.trial] == ""
    assert page.values[page.panel.setup]["visible"] and not page.values[page.panel.test]["visible"]
    page.values[page.panel.trial] = "f" * 32
    page.values[page.panel.listening] = None
    page.press(page.panel.on_end)
    assert sentence in page.text(page.panel.said)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "kind", "trials", "sentence"),
    [(("wiener",), "abx", 10, "Choose two"), (("wiener",), "preference", 10, "at least two"),
     (("wiener", "nlms"), "abx", 10, "has changed or is gone"), (("wiener", "noisy"), "abx", 7.5, "5 to 50"),
     (("wiener", "noisy"), "abx", None, "5 to 50"), (("wiener", "noisy"), "abx", float("nan"), "5 to 50")],
)  # fmt: skip
def test_a_test_that_cannot_begin_says_why(
    page: Page, keys: tuple[str, ...], kind: str, trials: Any, sentence: str
) -> None:
    page.choose(*keys, kind=kind, trials=trials)
    page.press(page.panel.on_start)
    assert sentence in page.text(page.panel.said) and page.test is None
    page.choose("wiener", "noisy")
    page.press(page.panel.on_start)
    assert page.text(page.panel.said) == "" and page.test.trial is not None


@pytest.mark.parametrize(("request_", "sentence"), [(ENGLISH, "Start at 0 s or later"), (CHINESE, "0 秒或更晚")])
def test_a_beginning_before_the_recording_is_told_and_nothing_else(
    sessions: Sessions, comparison: Comparison, request_: Any, sentence: str
) -> None:
    page = Page(sessions, comparison, request_)
    page.values[page.panel.begin_at] = page.panel.begin_at.preprocess(-1)  # Gradio lets it through
    page.press(page.panel.on_start)
    assert sentence in page.text(page.panel.said) and page.test is None


def test_without_a_comparison_there_is_nothing_to_test(sessions: Sessions) -> None:
    page = Page(sessions, None)
    page.press(page.panel.on_start)
    assert "has changed or is gone" in page.text(page.panel.said)


def test_preferences_end_in_scores_that_can_be_downloaded(page: Page, comparison: Comparison) -> None:
    page.choose("gru/hybrid", "wiener", "noisy", kind="preference", trials=6)
    page.press(page.panel.on_start)
    for _ in range(6):
        page.answer("none")
    result = page.text(page.panel.result)
    assert "From 6 comparisons" in result and "Noisy recording" in result and "no difference" in result
    addresses = re.findall(r'href="results/([^/]+)/([^"]+)"', result)
    assert [name for _, name in addresses] == ["blind-listening.csv", "blind-listening.json"]
    bundle = page.downloads._offered[addresses[0][0]][1]
    assert len(bundle.files["blind-listening.csv"].read_text("utf-8").splitlines()) == 7
    assert json.loads(bundle.files["blind-listening.json"].read_text("utf-8"))["tests"][0]["answered"] == 6
    page.press(page.panel.on_again)
    assert page.values[page.panel.setup]["visible"]
    assert len(page.values[page.panel.versions]["choices"]) == 4


def test_a_full_disk_in_the_middle_leaves_the_test_where_it_was(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    page.press(page.panel.on_start)

    def full(path: Path, *_: object) -> None:
        raise AudioError.of("disk-full", name=Path(path).name)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write", full)
        page.answer("a")
        assert "disk is full" in page.text(page.panel.said) and page.test.number == 2
        page.answer("a")
        assert page.test.number == 2  # nobody has heard this trial
    page.answer("a")  # brings its sounds
    assert page.text(page.panel.said) == "" and page.test.number == 2
    page.answer("a")
    assert page.test.number == 3


def test_the_page_says_whether_votes_are_collected(
    sessions: Sessions, comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(panel: BlindPanel) -> str:
        made = panel._site.words._made
        return made["en"]["html.blind-votes"] + made["zh"]["html.blind-votes"]

    monkeypatch.delenv("DENOISE_VOTES", raising=False)
    page = Page(sessions, comparison)
    assert "stay with you" in said(page.panel) and "只属于您" in said(page.panel)
    page.press(page.panel.on_start)
    page.answer("a")
    page.press(page.panel.on_end)
    monkeypatch.setenv("DENOISE_VOTES", str(tmp_path / "votes" / "votes.jsonl"))
    assert not (tmp_path / "votes").exists()
    page = Page(sessions, comparison)
    assert "collects finished tests" in said(page.panel) and "收集" in said(page.panel)
    page.press(page.panel.on_start)
    page.answer("a")
    assert not (tmp_path / "votes").exists()  # not before the end
    page.press(page.panel.on_end)
    page.press(page.panel.on_end)
    (line,) = (tmp_path / "votes" / "votes.jsonl").read_text().splitlines()
    assert json.loads(line)["trials"] == 1
