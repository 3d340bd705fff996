"""A plan is checked whole before its first step, goes on where it was, and outlives a run that fails."""

from __future__ import annotations

import json
import os
import signal
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from denoise_app.checkpoints.store import load
from denoise_app.cli import main, status
from denoise_app.evaluation.losses_page import BEYOND
from denoise_app.losses import LOSSES
from denoise_app.training import loop, plan
from denoise_app.training.config import TrainConfig, TrainingError, parse
from denoise_app.training.dataset import DataError
from denoise_app.training.loop import train
from denoise_app.training.run import Outcome

ROOT = Path(__file__).resolve().parents[2]
SHARED = """
steps = 3
learning_rate = 1e-12
model_config = { width = 32, hidden = 32, layers = 1 }
recipe = { seconds = 0.5, batch = 2, room = 0 }
"""


@pytest.fixture
def above(sounds: Path, tmp_path: Path) -> dict[str, Any]:
    """What the command line gives."""
    return {name: sounds / name for name in ("clean", "noise")} | {"cache": tmp_path / "c", "out": tmp_path / "runs"}


def written(folder: Path, text: str) -> Path:
    path = folder / "plan.toml"
    path.write_text(SHARED + text)
    return path


def test_runs_inherit_and_losses_multiply(tmp_path: Path, above: dict[str, Any]) -> None:
    path = written(
        tmp_path,
        """
        [[run]]
        name = "gru/start"
        model = "gru"
        loss = "hybrid"
        minutes = 2
        recipe.batch = 3

        [[run]]
        model = "gru"
        loss = ["mse", "hybrid"]
        init = "gru/start"
        seed = 1
        """,
    )
    start, mse, hybrid = plan.read(path, above | {"device": "cpu"})
    shared = parse(tomllib.loads(SHARED) | above | {"model": "gru", "loss": "hybrid", "device": "cpu"})
    assert (start.name, mse.name, hybrid.name) == ("gru/start", "gru/mse", "gru/hybrid")
    out = above["out"]
    assert start.config == replace(
        shared, minutes=2.0, recipe=replace(shared.recipe, batch=3), out=out / "gru" / "start"
    )
    assert hybrid.config == replace(shared, seed=1, init=out / "gru" / "start", out=out / "gru" / "hybrid")
    assert mse.config == replace(hybrid.config, loss="mse", out=out / "gru" / "mse")
    assert (start.after, mse.after, hybrid.after) == (None, start, start)


GRU = '[[run]]\nmodel = "gru"\nloss = "mse"\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it has no \\[\\[run\\]\\]"),
        ("run = 3", "it has no \\[\\[run\\]\\]"),
        (GRU + 'lose = "x"', "run 1, gru/mse: there is no setting lose; is it loss?"),
        ("mode = 3\n" + GRU, "there is no setting mode; is it model?"),
        (GRU + '[[run]]\nmodel = "gro"\nloss = "mse"', "run 2, gro/mse: no model is called 'gro'"),
        (GRU + '[[run]]\nmodel = "gru"\nloss = ["hybrid", "mze"]', "run 2, gru/mze: no loss is called 'mze'"),
        (GRU + '[[run]]\nmodel = "gru"', "run 2, gru/None: loss is missing"),
        (GRU + GRU, "run 2, gru/mse: there is an earlier run of that name"),
        (GRU + 'name = "Start"', "run 1, Start: a name is like gru/hybrid"),
        (GRU + 'name = "../gru"', "a name is like gru/hybrid"),
        (GRU + "name = 3", "a name is like gru/hybrid"),
        (GRU + "model_config.units = 3", "gru has no setting 'units'"),
        (GRU + 'init = "gru/nonesuch"', "there is no checkpoint gru/nonesuch"),
        (GRU + 'init = "gru/hybrid"\n[[run]]\nmodel = "gru"\nloss = "hybrid"', "there is no checkpoint gru/hybrid"),
        (GRU + '[[run]]\nmodel = "band-df"\nloss = "mse"\nmodel_config = {}\ninit = "gru/mse"', "not a band-df"),
        (
            GRU + '[[run]]\nmodel = "gru"\nloss = "hybrid"\nmodel_config.hidden = 16\ninit = "gru/mse"',
            "a gru of other sizes",
        ),
        (GRU + "steps = 0", "run 1, gru/mse: steps must lie in"),
        (GRU + 'device = "cudaa"', "run 1, gru/mse: The device cudaa cannot be used here"),
        (GRU + '[[run]]\nmodel = "gru"\nloss = []', "run 2: the list of losses is empty"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    text: str, reason: str, tmp_path: Path, above: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DENOISE_WEIGHTS", str(tmp_path / "none"))
    path = written(tmp_path, text) if not text.startswith(("run", "mode")) else tmp_path / "plan.toml"
    if text.startswith(("run", "mode")):
        path.write_text(text)
    with pytest.raises(TrainingError, match=reason):
        plan.read(path, above)


def test_the_sound_is_looked_at_before_anything_begins(
    tmp_path: Path, above: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_start", lambda *_: pytest.fail("it has begun"))
    second = '[[run]]\nmodel = "gru"\nloss = "hybrid"\nclean = "{}"'.format(tmp_path / "nowhere")
    del above["clean"]
    path = written(tmp_path, GRU + 'clean = "{}"\n'.format(above["noise"]) + second)
    with pytest.raises(DataError, match="nowhere is not a folder"):
        plan.train_all(plan.read(path, above), 1, status)


def test_a_folder_with_another_run_is_refused(
    tmp_path: Path, above: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_start", lambda *_: pytest.fail("it has begun"))
    (each,) = plan.read(written(tmp_path, GRU), above)
    train(replace(each.config, loss="hybrid", steps=1), status)
    with pytest.raises(TrainingError, match="belongs to loss hybrid, not mse"):
        plan.train_all([each], 1, status)


def test_torchrun_is_refused(tmp_path: Path, above: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="use --jobs"):
        plan.train_all(plan.read(written(tmp_path, GRU), above), 1, status)


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_what_is_finished_is_skipped_what_is_begun_goes_on_and_a_failure_stops_only_its_own(
    tmp_path: Path, above: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(
        tmp_path,
        """
        [[run]]
        name = "gru/done"
        model = "gru"
        loss = "hybrid"

        [[run]]
        name = "gru/broken"
        model = "gru"
        loss = "hybrid"

        [[run]]
        name = "gru/vain"
        model = "gru"
        loss = "hybrid"
        init = "gru/broken"

        [[run]]
        name = "gru/vainer"
        model = "gru"
        loss = "hybrid"
        init = "gru/vain"

        [[run]]
        name = "gru/start"
        model = "gru"
        loss = "hybrid"
        seed = 7

        [[run]]
        model = "gru"
        loss = "mse"
        init = "gru/start"
        """,
    )
    done, broken, *_, start, tuned = runs = plan.read(path, above)
    train(done.config, status)
    before = (done.config.out / "state.pt").read_bytes()
    _begin(start.config, monkeypatch)
    broken.config.out.parent.mkdir(parents=True, exist_ok=True)
    broken.config.out.touch()  # a file where its folder should be
    ended = {end.name: end for end in plan.train_all(runs, 2, status)}
    assert list(ended) == [each.name for each in runs]
    assert [name for name, end in ended.items() if end.finished] == ["gru/done", "gru/start", "gru/mse"]
    assert (done.config.out / "state.pt").read_bytes() == before
    assert "File exists" in str(ended["gru/broken"].error)
    assert ended["gru/vain"].error == "not begun, since gru/broken failed"
    assert ended["gru/vainer"].error == "not begun, since gru/vain failed"
    source, _ = load(start.config.out)
    model, manifest = load(tuned.config.out)
    assert manifest.training["init"] == "gru/start" and manifest.loss == "mse"
    for key, value in model.state_dict().items():
        assert torch.allclose(value, source.state_dict()[key], atol=1e-5), "its steps are tiny"


def _begin(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first step only."""
    real = loop.Mixer.batch

    def batch(self: loop.Mixer, seed: int, step: int, *among: int) -> tuple[torch.Tensor, torch.Tensor]:
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, seed, step, *among)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Mixer, "batch", batch)
        assert train(config, status).steps == 1


@pytest.mark.slow
def test_an_interruption_ends_the_processes_and_starts_no_more(
    tmp_path: Path, above: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = plan._ended

    def ended(running: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(running)

    monkeypatch.setattr(plan, "_ended", ended)
    runs = plan.read(written(tmp_path, GRU + '[[run]]\nmodel = "gru"\nloss = "hybrid"'), above | {"steps": 10**9})
    lines: list[str] = []
    first, second = plan.train_all(runs, 1, lines.append)
    assert not first.finished and first.error is None
    assert second == plan.Ended("gru/hybrid")
    assert lines[-1] == "gru/mse: interrupted; the same command goes on"


@pytest.mark.slow
def test_ctrl_c_while_a_run_still_imports_is_an_interruption(
    tmp_path: Path, above: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, before = plan._start, signal.getsignal(signal.SIGINT)

    def start(each: plan.Planned, say: plan.Say) -> Any:
        begun = real(each, say)
        os.kill(begun[1][1].pid or 0, signal.SIGINT)  # a terminal sends it to every process
        os.kill(os.getpid(), signal.SIGINT)
        return begun

    monkeypatch.setattr(plan, "_start", start)
    (only,) = plan.train_all(plan.read(written(tmp_path, GRU), above | {"steps": 10**9}), 1, status)
    assert only == plan.Ended("gru/mse")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_the_plan_of_the_bundled_weights_is_whole(above: dict[str, Any]) -> None:
    """Each model has `hybrid`; in a lab all losses have one start, one order of data and one budget.

    `perceptual` is for models that have learnt to denoise: it stands outside the labs.
    """
    compared = LOSSES.keys() - {BEYOND}
    runs = plan.read(ROOT / "weights" / "plan.toml", above)
    names = {each.name for each in runs}
    assert {f"{each.config.model}/hybrid" for each in runs} <= names
    for model in ("gru", "light-crn"):
        lab = [each for each in runs if each.name in {f"{model}/{loss}" for loss in compared}]
        assert all(each.after for each in lab) and len({each.after.name for each in lab if each.after}) == 1
        alike = [replace(each.config, loss="", out=Path()) for each in lab]
        assert len(alike) == len(compared) and all(each == alike[0] for each in alike)


def answer(capsys: pytest.CaptureFixture[str], *command: object) -> tuple[int, str, str]:
    code = main([str(word) for word in ("train", *command)])
    return code, *capsys.readouterr()


def test_the_command_line_tells_what_became_of_a_plan(
    tmp_path: Path, sounds: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    whole = Outcome(tmp_path, 3, 1.0, 0.1, None, finished=True)
    ends = [plan.Ended("gru/mse", whole)]

    def train_all(planned: list[plan.Planned], jobs: int, say: plan.Say) -> list[plan.Ended]:
        seen.append((planned[0].config.out, planned[0].config.seed, jobs))
        return ends

    monkeypatch.setattr(plan, "train_all", train_all)
    folders = ["--clean", sounds / "clean", "--noise", sounds / "noise", "--out", tmp_path / "o"]
    command = ["--all", written(tmp_path, GRU), *folders, "--jobs", 2, "--seed", 4]
    assert answer(capsys, *command)[:2] == (0, "1 of 1 runs are finished, 0 failed\n")
    assert seen == [(tmp_path / "o" / "gru" / "mse", 4, 2)]
    ends.append(plan.Ended("gru/hybrid", replace(whole, finished=False)))
    assert answer(capsys, *command)[0] == 130
    ends.append(plan.Ended("gru/si-snr", error="it is broken"))
    code, printed, _ = answer(capsys, *command)
    assert (code, printed) == (1, "1 of 3 runs are finished, 1 failed\ngru/si-snr: it is broken\n")
    code, printed, _ = answer(capsys, *command, "--json")
    assert [row["finished"] for row in json.loads(printed)] == [True, False, False]


def test_the_command_line_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, GRU)
    code, _, told = answer(capsys, "--all", path, "--out", tmp_path, "--clean", tmp_path)
    assert code == 1 and told.endswith("run 1, gru/mse: noise is missing\n")
    code, _, told = answer(capsys, "--all", path, "--model", "gru")
    assert code == 1 and "--model is each run's own" in told
    code, _, told = answer(capsys, "--config", path)
    assert code == 1 and "there is no setting run" in told
    with pytest.raises(SystemExit):
        answer(capsys, "--all", path, "--config", path)
