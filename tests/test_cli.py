"""The command line, called as a program calls it and as a shell does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from denoise_app import cli
from denoise_app.audio.clip import Clip
from denoise_app.evaluation import evaluate, leaderboard, speed
from denoise_app.evaluation import pairs as pairs_of
from denoise_app.inference import catalog, replay, threads
from denoise_app.inference.engine import Settings
from denoise_app.training import loop
from denoise_app.training.config import TrainConfig

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def same_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` sets the thread count of the process, which outlives a test."""
    for name, value in threads.environment(1).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def recordings(tmp_path: Path, speech: Clip) -> Path:
    """in/good.wav, in/sub/other.flac, in/bad.wav."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    soundfile.write(folder / "good.wav", speech.samples[0, :16_000], 16_000, subtype="PCM_16")
    soundfile.write(folder / "sub" / "other.flac", speech.samples[0, :8_000], 8_000, subtype="PCM_24")
    (folder / "bad.wav").write_text("no sound at all")
    return folder


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    result = cli.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return result, printed.out, printed.err


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    result, out, _ = call(capsys, *arguments, "--json")
    return result, json.loads(out)


def test_denoise_goes_on_past_a_bad_file(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    status, printed, told = call(capsys, "denoise", recordings, "-o", out, "--model", "wiener")
    assert status == 1
    assert printed == "2 denoised with wiener, 1 failed\n"
    assert "bad.wav failed: " in told and "[3/3]" in told
    assert "\x1b" not in told  # no terminal, no cursor play
    assert soundfile.info(out / "good.wav").subtype == "PCM_16"
    assert soundfile.info(out / "sub" / "other.flac").samplerate == 8_000
    assert not (out / "bad.wav").exists()


def test_denoise_tells_a_program_what_became_of_each_file(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, data = answer(capsys, "denoise", recordings, "-o", tmp_path / "out", "--model", "band-pass")
    assert status == 1
    assert (data["model"], data["loss"], data["failed"]) == ("band-pass", None, 1)
    bad, good, other = data["files"]
    assert set(bad) == {"input", "error"} and set(bad["error"]) == {"reason", "message"}
    assert good["output"] == str(tmp_path / "out" / "good.wav")
    assert other["seconds"] == 1.0


def test_denoise_succeeds_without_a_bad_file(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, _ = call(capsys, "denoise", recordings / "good.wav", "-o", tmp_path / "out", "--model", "wiener")
    assert status == 0
    before, _ = soundfile.read(recordings / "good.wav")
    after, _ = soundfile.read(tmp_path / "out" / "good.wav")
    assert before.shape == after.shape and abs(before - after).max() > 1e-3


def test_no_strength_changes_nothing(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = recordings / "good.wav"
    status, _, _ = call(capsys, "denoise", source, "-o", tmp_path, "--model", "wiener", "--strength", 0)
    assert status == 0
    before, _ = soundfile.read(source, dtype="int16")
    after, _ = soundfile.read(tmp_path / "good.wav", dtype="int16")
    assert (before == after).all()


def test_every_setting_reaches_the_engine(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from denoise_app.inference import batch

    seen: list[tuple[Settings, str]] = []

    def run(jobs: object, denoiser: object, settings: Settings, *, channels: str, progress: object) -> list[object]:
        seen.append((settings, channels))
        return []

    monkeypatch.setattr(batch, "run", run)
    options = "--strength 50 --max-attenuation 12 --high-band keep --loudness -23 --true-peak -2 --channels mid"
    more = "--format flac --bit-depth 24 --model wiener"
    status, _, _ = call(capsys, "denoise", recordings, "-o", tmp_path, *options.split(), *more.split())
    assert status == 0
    assert seen == [(Settings(50.0, 12.0, "keep", -23.0, -2.0, "flac", 24), "mid")]


def test_nothing_to_denoise_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    status, printed, told = call(capsys, "denoise", tmp_path / "empty", "-o", tmp_path / "out")
    assert (status, printed) == (1, "")
    assert "no sound file" in told


def test_an_unknown_model_is_named_with_the_known_ones(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, told = call(capsys, "denoise", recordings, "-o", tmp_path / "out", "--model", "nonesuch")
    assert status == 1
    assert "nonesuch" in told and "wiener" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonesuch"],
        ["denoise", "x.wav"],
        ["denoise", "x.wav", "-o", "out", "--strength", "101"],
        ["denoise", "x.wav", "-o", "out", "--strength", "nan"],
        ["denoise", "x.wav", "-o", "out", "--threads", "0"],
        ["evaluate", "--all", "--model", "gru"],
    ],
)
def test_a_wrong_call_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2


def test_replay_gives_the_samples_of_the_report(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = recordings / "good.wav"
    assert call(capsys, "denoise", source, "-o", tmp_path, "--model", "wiener", "--strength", 60)[0] == 0
    prints = replay.fingerprint(source), replay.fingerprint(tmp_path / source.name)
    told = replay.as_json(replay.Receipt("wiener", None, None, None, "each", Settings(strength=60.0), *prints))
    (tmp_path / "report.json").write_text(json.dumps(told))
    code, found = answer(capsys, "replay", tmp_path / "report.json", source, "-o", tmp_path / "again.wav")
    assert code == 0 and found["same_samples"] is True
    other = tmp_path / "other.wav"
    soundfile.write(other, 0.5 * soundfile.read(source)[0], 16_000, subtype="FLOAT")
    code, out, err = call(capsys, "replay", tmp_path / "report.json", other)
    assert code == 0 and "not the samples" in out and "not the recording" in err
    assert (tmp_path / "other.denoised.wav").exists()
    code, _, err = call(capsys, "replay", tmp_path / "report.json", source, "-o", source)
    assert code == 1 and "the recording itself" in err
    for wrong in ("again.flac", "again"):
        code, _, err = call(capsys, "replay", tmp_path / "report.json", source, "-o", tmp_path / wrong)
        assert code == 1 and "written as .wav" in err and not (tmp_path / wrong).exists()


def test_models_lists_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    status, rows = answer(capsys, "models")
    assert status == 0
    assert [(row["model"], row["loss"]) for row in rows] == [(entry.model, entry.loss) for entry in catalog.entries()]
    assert [(row["model"], row["loss"]) for row in rows if row["recommended"]] == [catalog.recommended()]
    presets = {name: (row["model"], row["loss"]) for row in rows for name in row["presets"]}
    assert presets == catalog.presets() and presets.keys() == {"best", "fast", "live"}
    status, printed, _ = call(capsys, "models")
    assert all(row["model"] in printed for row in rows)
    assert all(f"{name}: {model}" in printed for name, (model, _) in presets.items())


def test_an_interruption_ends_with_130(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(catalog, "load", interrupted)
    assert call(capsys, "denoise", recordings, "-o", tmp_path, "--model", "wiener")[0] == 130


def test_threads_are_set_at_the_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    try:
        call(capsys, "denoise", tmp_path, "-o", tmp_path / "out", "--model", "wiener", "--threads", 2)
        assert torch.get_num_threads() == 2
        assert os.environ["OMP_NUM_THREADS"] == "2"
        call(capsys, "models")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_help_needs_no_torch() -> None:
    code = "import sys; from denoise_app import cli; cli.build_parser(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_training_is_told_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[TrainConfig] = []

    def train(config: TrainConfig, say: object) -> loop.Outcome:
        seen.append(config)
        return loop.Outcome(config.out, 100, 1.5, 0.25, None, finished=len(seen) > 1)

    monkeypatch.setattr(loop, "train", train)
    names = ("clean", "noise", "rir", "out", "cache", "valid-clean", "valid-noisy")
    folders = {name: tmp_path / name for name in names}
    options = [text for name, folder in folders.items() for text in (f"--{name}", str(folder))]
    options += ["--model", "gru", "--loss", "hybrid", "--minutes", "2.5", "--steps", "7", "--resume"]
    options += ["--seed", "3", "--device", "cpu"]
    status, data = answer(capsys, "train", *options)
    assert (status, data["finished"], data["hours_heard"]) == (130, False, 0.25)
    paths = {name.replace("-", "_"): folder for name, folder in folders.items()}
    budget = {"minutes": 2.5, "steps": 7, "seed": 3, "device": "cpu", "resume": True}
    assert seen == [TrainConfig("gru", "hybrid", **paths, **budget)]  # type: ignore[arg-type]
    status, printed, _ = call(capsys, "train", *options)
    assert (status, printed) == (0, f"100 steps in 1.5 minutes; the checkpoint is in {folders['out']}\n")


def test_a_training_without_a_folder_goes_where_the_app_can_find_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "train", lambda config, say: loop.Outcome(config.out, 100, 1.5, 0.25, None, True))
    status, printed, _ = call(
        capsys, "train", "--model", "gru", "--loss", "hybrid", "--clean", "x", "--noise", "y", "--steps", "3"
    )
    assert status == 0
    assert "the checkpoint is in runs/gru/hybrid, which the app shows with DENOISE_WEIGHTS=runs" in printed


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--model gru --loss nonesuch", "no loss is called 'nonesuch'"),
        ("--model nonesuch --loss hybrid", "nonesuch"),
        ("--model gru --loss hybrid", "is not a folder"),
        ("--model gru --loss hybrid --valid-clean x", "belong together"),
    ],
)
def test_training_that_cannot_start_says_why(
    options: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = ["--clean", tmp_path / "x", "--noise", tmp_path / "y", "--out", tmp_path / "run"]
    status, printed, told = call(capsys, "train", *missing, *options.split())
    assert (status, printed) == (1, "")
    assert told.startswith("error: ") and reason in told


def test_speed_measures_what_it_is_told_and_bench_is_its_former_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[object, object]] = []

    def run(models: object, durations: object, say: object) -> dict[str, object]:
        seen.append((models, durations))
        return {"machine": "this"}

    monkeypatch.setattr(speed, "run", run)
    monkeypatch.setattr(speed, "table", lambda measured: f"on {measured['machine']}")
    options = "--model", "gru", "--model", "nlms", "--longest", 600
    assert call(capsys, "speed", *options) == (0, "on this\n", "")
    assert answer(capsys, "speed") == (0, {"machine": "this"})
    status, printed, told = call(capsys, "bench", *options)
    assert (status, printed) == (0, "on this\n") and "called speed now" in told
    assert seen == [(["gru", "nlms"], [10.0, 600.0]), (None, [10.0, 600.0, 3600.0]), (["gru", "nlms"], [10.0, 600.0])]
    listed = cli.build_parser().format_help()
    assert "speed" in listed and "bench" not in listed


def test_a_leaderboard_needs_both_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, told = call(capsys, "evaluate", "--clean", tmp_path)
    assert status == 1
    assert "--noisy" in told


def test_scores_of_all_go_from_the_development_pairs_into_the_leaderboard(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = leaderboard.read(ROOT / "results" / "leaderboard.json")
    seen: list[object] = []
    monkeypatch.setattr(pairs_of, "find_pairs", lambda clean, noisy, limit: seen.extend([clean, noisy]))
    monkeypatch.setattr(evaluate, "evaluate", lambda pairs, wanted, out, **_: seen.extend([out, len(wanted)]) or board)
    assert call(capsys, "evaluate", "--all")[0] == 0
    pairs = Path("../shared/data/dev")
    assert seen == [pairs / "clean", pairs / "noisy", Path("results/leaderboard.json"), len(evaluate.candidates())]


def test_a_loss_that_nothing_was_taught_by_is_named(capsys: pytest.CaptureFixture[str], recordings: Path) -> None:
    options = ["--clean", recordings, "--noisy", recordings, "--limit", 1, "--model", "gru", "--loss", "nope"]
    status, _, told = call(capsys, "evaluate", *options)
    assert status == 1 and told.splitlines()[-1].startswith("error: there is no gru")


def test_times_need_pairs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, told = call(capsys, "evaluate", "--time", "--readme", tmp_path / "text.md")
    assert status == 1 and "--time needs pairs" in told


def test_evaluate_writes_the_table_of_earlier_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.md"
    text.write_text("".join(f"<!-- {name} -->\nold\n<!-- /{name} -->\n" for name in leaderboard.TABLES))
    board = ROOT / "results" / "leaderboard.json"
    status, printed, _ = call(capsys, "evaluate", "--out", board, "--readme", text)
    assert status == 0
    assert printed in text.read_text() and "\nold\n" not in text.read_text()
