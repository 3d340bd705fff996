"""Scores on pairs and the leaderboard that they go into."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from denoise_app.audio.clip import Clip
from denoise_app.checkpoints import store
from denoise_app.checkpoints.card import card
from denoise_app.checkpoints.manifest import Manifest
from denoise_app.evaluation import evaluate, leaderboard
from denoise_app.evaluation.code import code_sha256
from denoise_app.evaluation.conditions import CONDITIONS, treated
from denoise_app.evaluation.evaluate import Candidate, PairScore
from denoise_app.evaluation.leaderboard import LeaderboardError
from denoise_app.evaluation.pairs import EvaluationError, PairFiles, find_pairs
from denoise_app.losses import LOSSES
from denoise_app.metrics.report import score
from denoise_app.metrics.table import METRICS, keys, shown
from denoise_app.models.registry import build

NOISY = Candidate("noisy")
RATE = 16_000
QUICK = ("si_sdr", "stoi", "pesq_wb")


class Identity:
    sample_rate = RATE
    latency = 0
    causal = False

    def __call__(self, noisy: Tensor) -> Tensor:
        return noisy.clone()


@pytest.fixture(autouse=True)
def nothing_loaded() -> Iterator[None]:
    """A stand-in that one test loads must not serve the next."""
    yield
    evaluate._ready.cache_clear()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a few metrics and no conditions, for what does not depend on which."""
    for metric in shown("evaluate"):
        if metric.key not in QUICK:
            monkeypatch.setitem(METRICS, metric.key, replace(metric, shown=()))
    monkeypatch.setattr(evaluate, "CONDITIONS", {})


# statistics


def test_the_interval_is_that_of_the_normal_distribution_for_many_values() -> None:
    values = np.random.default_rng(2).normal(3.0, 2.0, 400)
    found = evaluate.interval(values)
    assert found.mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.low == pytest.approx(values.mean() - half, abs=0.03)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03)


def test_one_value_is_its_own_interval() -> None:
    assert evaluate.interval([1.5]) == evaluate.Interval(1.5, 1.5, 1.5)


def test_groups_have_intervals_of_their_own() -> None:
    values = np.random.default_rng(3).uniform(0.4, 0.9, 20)
    pairs = [PairFiles("x", Path("x"), Path("x"), {"language": language}) for language in ("en", "zh") * 10]
    empty = dict.fromkeys(keys("evaluate"))
    results = [PairScore(pair, empty | {"stoi": float(v)}, 2.0, 0.1) for pair, v in zip(pairs, values, strict=True)]
    row = evaluate.summarise(results)
    for language, own in (("en", values[::2]), ("zh", values[1::2])):
        part = row["by"]["language"][language]
        assert part["pairs"] == 10
        assert part["scores"]["stoi"] == pytest.approx(asdict(evaluate.interval(own)), abs=1e-4)
        assert part["scores"]["stoi"]["low"] < own.mean() < part["scores"]["stoi"]["high"]


def test_a_summary_leaves_out_what_could_not_be_told() -> None:
    def result(snr: str, pesq: float | None, stoi: float) -> PairScore:
        pair = PairFiles("x", Path("x"), Path("x"), {"snr_db": snr})
        return PairScore(pair, dict.fromkeys(keys("evaluate")) | {"pesq_wb": pesq, "stoi": stoi}, 2.0, 0.1)

    row = evaluate.summarise([result("15", 2.0, 0.5), result("-5", None, 0.7), result("5", 1.0, 0.9)])
    assert row["pairs"] == 3
    assert row["rtf"] == pytest.approx(0.05)
    assert row["scores"]["pesq_wb"]["mean"] == 1.5
    assert set(row["scores"]) == {"pesq_wb", "stoi"}
    assert list(row["by"]["snr_db"]) == ["-5", "5", "15"]  # by number, not by letter
    assert row["by"]["snr_db"]["-5"] == {"pairs": 1, "scores": {"stoi": {"mean": 0.7, "low": 0.7, "high": 0.7}}}
    assert "language" not in row["by"]


# scoring


@pytest.mark.slow
def test_the_noisy_row_is_the_metrics_of_the_files_themselves(folders: tuple[Path, Path]) -> None:
    pair = find_pairs(*folders)[1]
    clean, noisy = (soundfile.read(path, dtype="float32")[0] for path in (pair.clean, pair.noisy))
    result = evaluate.score_pair(pair, NOISY)
    assert result.computing == 0 and result.seconds == 2
    assert result.scores == pytest.approx(score(noisy, RATE, clean, keys("evaluate")))
    assert set(keys("evaluate")) <= set(METRICS)
    assert result.scores["snr"] == pytest.approx(5, abs=2)  # mixed on active speech, so a little less


def test_a_denoiser_is_scored_through_the_engine(
    folders: tuple[Path, Path], quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = find_pairs(*folders)
    nothing_done = Candidate("identity")
    monkeypatch.setattr(evaluate.catalog, "load", lambda model, loss, device: Identity())
    before, after = evaluate.score_pair(pairs[0], NOISY), evaluate.score_pair(pairs[0], nothing_done)
    assert after.scores == pytest.approx(before.scores, abs=1e-3)
    assert after.computing > 0
    wiener = evaluate.score_pair(pairs[0], Candidate("wiener"))
    assert wiener.scores["si_sdr"] == pytest.approx(before.scores["si_sdr"], abs=1e-3)  # still the identity


def test_denoising_white_noise_scores_higher(folders: tuple[Path, Path], quick: None) -> None:
    pair = find_pairs(*folders)[1]
    before, after = evaluate.score_pair(pair, NOISY), evaluate.score_pair(pair, Candidate("mmse-lsa"))
    assert after.scores["si_sdr"] > before.scores["si_sdr"] + 1  # type: ignore[operator]


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_two_processes_give_the_scores_of_one(folders: tuple[Path, Path]) -> None:
    noisy, other = find_pairs(*folders)[:2]
    tasks = [(noisy, NOISY, None, None), (other, Candidate("wiener"), None, None), (other, NOISY, "music", None)]
    alone, together = list(evaluate.score_all(tasks, 1)), list(evaluate.score_all(tasks, 2))
    assert [result.pair for result in together] == [noisy, other, other]
    assert set(together[2].scores) == set(keys("summary"))
    for one, two in zip(alone, together, strict=True):
        assert two.scores == pytest.approx(one.scores, abs=1e-3)


# the leaderboard


@pytest.fixture
def counted(quick: None, monkeypatch: pytest.MonkeyPatch) -> list[Candidate]:
    """Scores made up from the candidate's name, and the list of what was scored."""
    seen: list[Candidate] = []

    def made_up(task: evaluate.Task) -> PairScore:
        seen.append(task[1])
        keys = QUICK if task[3] is None else task[3]
        return PairScore(task[0], dict.fromkeys(keys, float(len(task[1].model))), 2.0, 0.02, 0.5)

    monkeypatch.setattr(evaluate, "_scored", made_up)
    return seen


Board = Callable[..., dict[str, Any]]


@pytest.fixture
def board(folders: tuple[Path, Path], tmp_path: Path, counted: list[Candidate]) -> Board:
    def make(*models: str, **options: Any) -> dict[str, Any]:
        wanted = [Candidate(model) for model in models]
        return evaluate.evaluate(find_pairs(*folders), wanted, out=tmp_path / "board.json", **options)

    return make


def models(made: dict[str, Any]) -> list[str]:
    return [row["model"] for row in made["rows"]]


def test_rows_are_added_and_replaced_the_best_first(board: Board, tmp_path: Path) -> None:
    assert models(board("noisy", "wiener")) == ["noisy", "wiener"]
    made = board("band-pass", "wiener", "nlms")
    assert models(made) == ["noisy", "band-pass", "wiener", "nlms"]  # scored by the length of their names
    assert made == json.loads((tmp_path / "board.json").read_text()) == leaderboard.read(tmp_path / "board.json")
    assert made["data"]["pairs"] == 3 and made["data"]["minutes"] == 0.1
    assert made["data"]["about"] == "3 pairs, 0.1 minutes"
    assert board("noisy", about="birds")["data"]["about"] == board("noisy")["data"]["about"] == "birds"


def test_an_interrupted_evaluation_keeps_its_rows_and_goes_on(board: Board, counted: list[Candidate]) -> None:
    def stop(candidate: Candidate, condition: str | None, done: int, pairs: int) -> None:
        if (candidate.model, done) == ("band-pass", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        board("noisy", "wiener", "band-pass", "nlms", progress=stop)
    counted.clear()
    made = board("noisy", "wiener", "band-pass", "nlms", resume=True)
    assert models(made) == ["noisy", "band-pass", "wiener", "nlms"]
    assert {candidate.model for candidate in counted} == {"band-pass", "nlms"}


def test_without_resuming_all_is_scored_again(board: Board, counted: list[Candidate]) -> None:
    board("noisy", "wiener")
    counted.clear()
    board("noisy", "wiener")
    assert len(counted) == 6


def test_times_are_taken_anew_and_the_quickest_of_three_rounds_counts(
    board: Board, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {"wiener": iter([0.6, 0.3, 0.9]), "mmse-lsa": iter([0.2, 0.4, 0.4])}
    heard: list[str] = []

    def taken(clip: Clip, candidate: Candidate) -> tuple[Clip, float]:
        assert clip.seconds == 2
        heard.append(candidate.model)
        return clip, next(times[candidate.model])

    monkeypatch.setattr(evaluate, "TIMED_PAIRS", 1)
    monkeypatch.setattr(evaluate, "_denoised", taken)
    made = board("noisy", "wiener", "mmse-lsa")
    told: list[tuple[int, int]] = []
    found = evaluate.timed(made, find_pairs(*folders), lambda _, done, count: told.append((done, count)))
    assert {row["model"]: row["rtf"] for row in found["rows"]} == {"noisy": 0.01, "wiener": 0.15, "mmse-lsa": 0.1}
    assert sorted(heard[:2]) == sorted(heard[2:4]) == ["mmse-lsa", "wiener"]  # all of them in each round
    assert told[-1] == (6, 6) and len(told) == 6
    assert [{**row, "rtf": 0} for row in found["rows"]] == [{**row, "rtf": 0} for row in made["rows"]]


def test_new_weights_are_scored_again(board: Board, counted: list[Candidate], monkeypatch: pytest.MonkeyPatch) -> None:
    facts = evaluate.describe(Candidate("wiener"))
    board("wiener")
    monkeypatch.setattr(evaluate, "describe", lambda candidate: facts | {"sha256": "another"})
    counted.clear()
    board("wiener", resume=True)
    assert len(counted) == 3


def test_new_code_of_a_classical_one_is_scored_again(
    board: Board, counted: list[Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    board("noisy", "wiener", "nlms")
    counted.clear()
    board("noisy", "wiener", "nlms", resume=True)
    assert counted == []
    told = evaluate.code_sha256
    monkeypatch.setattr(evaluate, "code_sha256", lambda name: told(name) + "x" * name.endswith("wiener"))
    board("noisy", "wiener", "nlms", resume=True)
    assert {candidate.model for candidate in counted} == {"wiener"}


def test_the_code_of_a_denoiser_is_its_file_and_what_that_imports(tmp_path: Path) -> None:
    def digest(**files: str) -> str:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
            module = types.ModuleType(f"denoise_app.{name}")
            module.__file__ = str(tmp_path / f"{name}.py")
            sys.modules[module.__name__] = module
            exec(text, vars(module))
        return code_sha256("denoise_app.made_up_top")

    below, beside = "def low():\n    return 1\n", "def other():\n    return 1\n"
    top = "from denoise_app.made_up_below import low\nimport numpy\n"
    try:
        before = digest(made_up_below=below, made_up_beside=beside, made_up_top=top)
        assert digest(made_up_beside=beside + "#") == before
        assert digest(made_up_below=below + "#") != before
    finally:
        for name in [name for name in sys.modules if name.startswith("denoise_app.made_up_")]:
            del sys.modules[name]
    assert len({code_sha256(f"denoise_app.classical.{name}") for name in ("wiener", "mmse_lsa", "nlms")}) == 3


@pytest.fixture
def conditioned(counted: list[Candidate], monkeypatch: pytest.MonkeyPatch) -> list[Candidate]:
    """Two conditions on two pairs."""
    monkeypatch.setattr(evaluate, "CONDITIONS", {name: CONDITIONS[name] for name in ("clipped", "music")})
    monkeypatch.setattr(evaluate, "CONDITION_PAIRS", 2)
    return counted


def test_conditions_are_scored_on_some_pairs_and_stand_in_the_row(
    conditioned: list[Candidate], board: Board, tmp_path: Path
) -> None:
    made = board("noisy", "wiener")
    alike = {"mean": 6.0, "low": 6.0, "high": 6.0}
    assert made["rows"][1]["conditions"] == {
        name: {
            "pairs": 2,
            "scores": {"si_sdr": alike, "stoi": alike, "pesq_wb": alike},
            "speech_attenuated": {"median": 0.5, "worst": 0.5},
        }
        for name in ("clipped", "music")
    }
    assert len(conditioned) == 2 * (3 + 2 * 2)
    assert made == leaderboard.read(tmp_path / "board.json")


def test_resuming_adds_only_the_conditions_that_a_row_lacks(
    conditioned: list[Candidate], board: Board, tmp_path: Path
) -> None:
    made = board("noisy", "wiener")
    del made["rows"][0]["conditions"]  # as in a leaderboard of an older version
    del made["rows"][1]["conditions"]["clipped"]
    leaderboard.write(tmp_path / "board.json", made)
    conditioned.clear()
    again = board("noisy", "wiener", resume=True)
    assert [candidate.model for candidate in conditioned] == ["noisy"] * 4 + ["wiener"] * 2
    assert [list(row["conditions"]) for row in again["rows"]] == [["clipped", "music"]] * 2
    again["rows"][0]["conditions"]["music"]["pairs"] = 9  # scored on others
    leaderboard.write(tmp_path / "board.json", again)
    conditioned.clear()
    board("noisy", "wiener", resume=True)
    assert len(conditioned) == 2


def test_resuming_adds_what_the_speech_lost_to_a_row_of_an_earlier_version_and_scores_nothing_else(
    counted: list[Candidate], board: Board, tmp_path: Path
) -> None:
    made = board("noisy", "wiener")
    before = [dict(row) for row in made["rows"]]
    for row in made["rows"]:
        assert row.pop("speech_attenuated") == {"median": 0.5, "worst": 0.5}
    leaderboard.write(tmp_path / "board.json", made)
    assert board("noisy", "wiener", resume=True)["rows"] == before
    counted.clear()
    board("noisy", "wiener", resume=True)
    assert counted == []


def test_what_the_speech_lost_is_told_by_the_clean_recording(
    folders: tuple[Path, Path], quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = find_pairs(*folders)[1]
    assert evaluate.score_pair(pair, NOISY, wanted=()).speech_attenuated == 0
    monkeypatch.setattr(Identity, "__call__", lambda self, heard: heard / 2)
    monkeypatch.setattr(evaluate.catalog, "load", lambda model, loss, device: Identity())
    halved = evaluate.score_pair(pair, Candidate("identity"), wanted=())
    assert halved.speech_attenuated == pytest.approx(6.02, abs=0.05) and halved.scores == {}
    soundfile.write(pair.clean, np.zeros(2 * RATE), RATE)
    assert evaluate.score_pair(pair, NOISY, wanted=()).speech_attenuated is None


def test_of_a_far_voice_after_a_near_one_only_the_far_one_is_scored(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A denoiser that keeps what is near and halves the rest has halved all that counts."""

    def softer(self: Identity, heard: Tensor) -> Tensor:
        gain = torch.ones_like(heard)
        gain[:, 2 * RATE + RATE // 4 :] = 0.5
        return gain * heard

    monkeypatch.setattr(Identity, "__call__", softer)
    monkeypatch.setattr(evaluate.catalog, "load", lambda model, loss, device: Identity())
    result = evaluate.score_pair(find_pairs(*folders)[1], Candidate("identity"), "near-and-far")
    assert result.speech_attenuated == pytest.approx(6.02, abs=0.05)
    assert set(result.scores) == set(keys("summary"))


def test_a_summary_tells_the_median_of_what_the_speech_lost_and_what_one_in_twenty_exceeds() -> None:
    pair = PairFiles("x", Path("x"), Path("x"))
    lost = [None, *map(float, range(101))]
    row = evaluate.summarise([PairScore(pair, dict.fromkeys(QUICK), 2.0, 0.1, one) for one in lost])
    assert row["speech_attenuated"] == {"median": 50.0, "worst": 95.0}


def test_a_condition_is_scored_on_the_treated_pair(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    pair = find_pairs(*folders)[2]
    noisy, clean = (soundfile.read(path, dtype="float32")[0] for path in (pair.noisy, pair.clean))
    for condition in ("band-limited", "reverberant"):
        result = evaluate.score_pair(pair, NOISY, condition)
        heard, target = treated(condition, pair.name, noisy, clean, RATE)
        assert result.scores == pytest.approx(score(heard, RATE, target, keys("summary")))
        assert result.scores != pytest.approx(score(noisy, RATE, clean, keys("summary")))
    seen: list[Tensor] = []
    monkeypatch.setattr(Identity, "__call__", lambda self, heard: seen.append(heard.clone()) or heard.clone())
    monkeypatch.setattr(evaluate.catalog, "load", lambda model, loss, device: Identity())
    evaluate.score_pair(pair, Candidate("identity"), "quiet")
    assert seen[-1].square().mean().sqrt().item() == pytest.approx(10 ** (-55 / 20), rel=1e-3)


@pytest.mark.parametrize("resume", [False, True], ids=["scored", "nothing to score"])
def test_denoisers_that_are_gone_leave_the_leaderboard(
    board: Board, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, resume: bool
) -> None:
    board("noisy", "wiener", "nlms")
    kept = [entry for entry in evaluate.catalog.entries() if entry.model != "nlms"]
    monkeypatch.setattr(evaluate.catalog, "entries", lambda: kept)
    assert models(board("wiener", resume=resume)) == ["noisy", "wiener"]
    assert models(leaderboard.read(tmp_path / "board.json")) == ["noisy", "wiener"]


def test_scores_on_other_pairs_are_not_mixed_in(board: Board, folders: tuple[Path, Path]) -> None:
    board("noisy")
    for folder in folders:
        next(folder.glob("zh*")).unlink()
    with pytest.raises(EvaluationError, match="other pairs"):
        board("wiener")


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"format_version": 99}', "\0"),
        *(f'{{"format_version": 2, "rows": [{number}]}}' for number in ("NaN", "-Infinity", "1e999")),
    ],
)
def test_a_file_that_is_no_leaderboard_is_refused(board: Board, tmp_path: Path, text: str) -> None:
    (tmp_path / "board.json").write_text(text)
    with pytest.raises(LeaderboardError, match="no leaderboard"):
        board("noisy")
    assert (tmp_path / "board.json").read_text() == text


def test_all_means_the_noisy_row_and_the_whole_catalogue() -> None:
    wanted = evaluate.candidates()
    assert wanted[0] == NOISY
    assert [(c.model, c.loss) for c in wanted[1:]] == [(e.model, e.loss) for e in evaluate.catalog.entries()]
    assert evaluate.candidates("wiener") == [NOISY, Candidate("wiener", None)]


# the cards

SMALL = {"window": 4096, "hop": 2048, "width": 8, "hidden": 8, "layers": 1}


def put(root: Path, loss: str, seed: int = 0) -> Path:
    """A checkpoint of a small gru in a tree laid out like weights/."""
    torch.manual_seed(seed)
    folder = root / "gru" / loss
    store.save(folder, build("gru", SMALL), Manifest("gru", loss, config=SMALL))
    return folder


def test_scores_go_into_the_cards_of_the_weights_that_have_them(
    counted: list[Candidate], folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights"
    monkeypatch.setenv("DENOISE_WEIGHTS", str(weights))
    scored, changed = put(weights, "hybrid"), put(weights, "log-mag")
    made = evaluate.evaluate(find_pairs(*folders), evaluate.candidates(), about="three recordings")
    assert {row["loss"] for row in made["rows"] if row["model"] == "gru"} == {"hybrid", "log-mag"}
    put(weights, "log-mag", seed=1)
    assert evaluate.annotate(made) == [scored]
    manifest = store.read_manifest(scored)
    assert manifest.scores == dict.fromkeys(QUICK, 3.0)  # as long as the name of the model
    assert manifest.noisy_scores == dict.fromkeys(QUICK, 5.0)
    assert manifest.scored_on == "three recordings" and manifest.real_time_factor == 0.01
    assert "three recordings" in (scored / "README.md").read_text()
    assert store.read_manifest(changed).scores == {}
    store.load(scored)  # the weights are still theirs


# the table


def row(model: str, loss: str | None, **scores: float) -> dict[str, Any]:
    intervals = {key: {"mean": mean, "low": mean - 0.1, "high": mean + 0.3} for key, mean in scores.items()}
    facts = {"parameters": 12345 if loss else 0, "latency_ms": 32.0, "rtf": 0.00456}
    return {"model": model, "loss": loss, "scores": intervals, "by": {}} | (facts if model != "noisy" else {})


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_the_table_shows_means_with_their_spread() -> None:
    made = {"rows": [row("noisy", None, pesq_wb=1.36), row("gru", "hybrid", pesq_wb=1.6, stoi=0.8)]}
    lines = leaderboard.table(made).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert "PESQ-WB ↑" in lines[0] and "LSD dB ↓" in lines[0]
    assert "1.36 ± 0.20" in lines[2] and "noisy" in lines[2]
    assert "| `gru` | `hybrid` | 12,345 | 32 ms | 1.60 ± 0.20 | 0.800 ± 0.200 |" in lines[3]
    assert lines[3].endswith("|  | 0.0046 |"), "what is not known is left out"
    made["rows"][1]["speech_attenuated"] = {"median": 0.44, "worst": 2.06}
    assert leaderboard.table(made).endswith("| 0.4 / 2.1 | 0.0046 |")


def test_the_robustness_of_the_best_of_each_model() -> None:
    rows = [
        row("noisy", None, pesq_wb=1.4, si_sdr=4.0),
        row("wiener", None, pesq_wb=1.5, si_sdr=6.0),
        row("nlms", None, pesq_wb=1.4, si_sdr=4.0),
        row("gru", "mse", pesq_wb=1.6, si_sdr=8.0),
        row("gru", "hybrid", pesq_wb=1.7, si_sdr=7.5),
        row("cnn", "mse", pesq_wb=1.5, si_sdr=7.0),
    ]
    rows[4]["by"] = {"language": {"zh": row("", "", si_sdr=6.54, stoi=0.7777)}}
    rows[4]["conditions"] = {"music": row("", "", si_sdr=3.21, stoi=0.5), "clipped": row("", "", si_sdr=1.0)}
    lines = leaderboard.robustness({"rows": rows}).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert [cells(line)[:2] for line in lines[2:]] == [
        ["noisy, as it is", ""],
        ["`gru`", "`hybrid`"],
        ["`cnn`", "`mse`"],
        ["`wiener`", ""],
    ]
    told = dict(zip(cells(lines[0]), cells(lines[3]), strict=True))
    assert (told["English"], told["Mandarin"], told["music"]) == ("", "6.5 / 0.778", "3.2 / 0.500")
    assert told["clipped"] == ""  # one of the two is not known
    assert told["far voice attenuated dB"] == ""
    rows[4]["conditions"]["near-and-far"] = {
        "pairs": 1,
        "scores": {},
        "speech_attenuated": {"median": 1, "worst": 9.96},
    }
    assert cells(leaderboard.robustness({"rows": rows}).splitlines()[3])[-1] == "1.0 / 10.0"
    assert set(cells(lines[-1])[2:]) == {""}  # scored on no condition


def test_the_matrix_has_a_row_for_every_loss_and_marks_the_best_of_a_model() -> None:
    scores = {"pesq_wb": 1.5, "stoi": 0.8, "si_sdr": 7.0}
    rows = [
        row("noisy", None, **scores),
        row("gru", "mse", **scores),
        row("gru", "hybrid", **scores | {"pesq_wb": 1.6}),
    ]
    rows += [row("cnn", "mse", **scores), row("wiener", None, **scores)]
    lines = [cells(line) for line in leaderboard.matrix({"rows": rows}).splitlines()]
    assert lines[0] == ["loss", "`gru`", "`cnn`"]
    assert [line[0] for line in lines[2:]] == [f"`{loss}`" for loss in LOSSES]
    assert ["`hybrid`", "**1.60 / 0.800 / 7.0**", ""] in lines
    assert ["`mse`", "1.50 / 0.800 / 7.0", "**1.50 / 0.800 / 7.0**"] in lines


def test_the_tables_take_their_places_in_a_text() -> None:
    made = {"data": {"about": "three birds", "pairs": 3}, "rows": [row("noisy", None, pesq_wb=1.36)]}
    places = "\nbetween\n".join(f"<!-- {name} -->\nold\n<!-- /{name} -->" for name in leaderboard.TABLES)
    once = leaderboard.into_text(f"before\n{places}\nafter\n", made)
    assert once.startswith("before\n") and once.endswith("\nafter\n") and "old" not in once
    assert once.count("\nbetween\n") == len(leaderboard.TABLES) - 1
    assert "Means over three birds:" in once
    for told in (leaderboard.overview, leaderboard.table, leaderboard.robustness, leaderboard.matrix):
        assert told(made) in once
    assert leaderboard.into_text(once, made) == once
    one = leaderboard.into_text("<!-- matrix --><!-- /matrix -->", made)
    assert leaderboard.matrix(made) in one and leaderboard.table(made) not in one
    with pytest.raises(LeaderboardError, match="no place"):
        leaderboard.into_text("a text without marks", made)
    with pytest.raises(LeaderboardError, match="without <!-- /matrix -->"):
        leaderboard.into_text("<!-- matrix -->", made)


def test_the_overview_has_the_best_of_each_model_and_five_columns() -> None:
    scores = {"pesq_wb": 1.5, "stoi": 0.8, "si_sdr": 7.0, "dnsmos_ovrl": 2.5}
    rows = [row("noisy", None, **scores), row("gru", "mse", **scores), row("wiener", None, **scores)]
    rows += [row("gru", "hybrid", **scores | {"pesq_wb": 1.6}), row("mmse-lsa", None, **scores | {"pesq_wb": 1.3})]
    lines = [cells(line) for line in leaderboard.overview({"rows": rows}).splitlines()]
    assert [line[:2] for line in lines[2:]] == [["noisy, as it is", ""], ["`gru`", "`hybrid`"], ["`wiener`", ""]]
    assert len(lines[0]) == 2 + 5 and lines[3][2:6] == ["1.60", "0.800", "7.0", "2.50"]


# what is committed

ROOT = Path(__file__).resolve().parents[2]


def test_the_cards_tell_the_scores_of_the_leaderboard() -> None:
    board = leaderboard.read(ROOT / "results" / "leaderboard.json")
    scored = {row.get("sha256"): {key: told["mean"] for key, told in row["scores"].items()} for row in board["rows"]}
    speeds = {row.get("sha256"): row["rtf"] for row in board["rows"]}
    stored, _ = store.list_folder(ROOT / "weights")
    for item in stored:
        assert item.manifest.scores == scored[item.manifest.sha256], "evaluate --cards"
        assert item.manifest.real_time_factor == speeds[item.manifest.sha256]
        assert item.manifest.noisy_scores == {key: scored[None][key] for key in item.manifest.noisy_scores}
        assert item.manifest.scored_on == board["data"]["about"]
        assert (item.folder / "README.md").read_text(encoding="utf-8") == card(item.manifest)


def test_the_leaderboard_has_what_there_is_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the sha256 of weights, and of a classical denoiser's code: after a change of either, `evaluate --all`."""
    monkeypatch.setenv("DENOISE_WEIGHTS", str(ROOT / "weights"))
    board = leaderboard.read(ROOT / "results" / "leaderboard.json")
    rows = sorted(str(evaluate._identity(row)) for row in board["rows"])
    assert rows == sorted(str(evaluate._identity(evaluate.describe(each))) for each in evaluate.candidates())
