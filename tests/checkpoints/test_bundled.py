"""What lies in weights/: whole, loadable, with a card that says what its config.json says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from denoise_app.audio.clip import Clip
from denoise_app.audio.mix import noise
from denoise_app.checkpoints import store
from denoise_app.checkpoints.card import card
from denoise_app.evaluation.losses_page import BEYOND
from denoise_app.inference import catalog, onnx
from denoise_app.training import plan

WEIGHTS = Path(__file__).resolve().parents[2] / "weights"
MOST_MEGABYTES = 60  # in all, in the repository


def test_nothing_is_broken() -> None:
    stored, broken = store.list_folder(WEIGHTS)
    assert broken == []
    assert {item.manifest.name for item in stored} >= {"gru/hybrid", "gru/log-mag"}
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*")) < MOST_MEGABYTES * 10**6


@pytest.mark.slow
@pytest.mark.parametrize("folder", sorted(path.parent for path in WEIGHTS.glob("*/*/config.json")), ids=str)
def test_checkpoint_is_whole(folder: Path) -> None:
    module, manifest = store.load(folder)
    with torch.inference_mode():
        assert module(torch.zeros(1, 1000)).abs().max() == 0
    assert (folder / "README.md").read_text(encoding="utf-8") == card(manifest)
    assert {"en", "zh"} <= manifest.favours.keys()
    assert manifest.credits and manifest.licence and manifest.languages
    assert {"pesq_wb", "stoi", "si_sdr"} <= manifest.scores.keys() & manifest.noisy_scores.keys()
    assert manifest.scored_on
    training = manifest.training
    assert {"clean", "noise", "rir"} <= training["data"].keys() and training["hours_seen"] > 0
    assert isinstance(training["seed"], int) and re.fullmatch("[0-9a-f]{40}", training["commit"])
    steps = [point["step"] for point in training["curve"]]
    assert steps == sorted(set(steps)) and len(steps) > 5
    assert steps[0] > 0 or training["init"], "step 0 tells what a start scores, and only a start has scores then"
    files = {path.name for path in folder.iterdir()} - {catalog.GRAPH}
    assert files == {"README.md", "config.json", "model.safetensors"}


@pytest.mark.slow
@pytest.mark.parametrize("graph", sorted(WEIGHTS.glob(f"*/*/{catalog.GRAPH}")), ids=lambda path: str(path.parent.name))
def test_a_graph_beside_its_weights_gives_their_samples(graph: Path, speech: Clip) -> None:
    """Where the model or its weights have changed it must be exported anew (docs/deploy.md)."""
    module, manifest = store.load(graph.parent)
    denoiser = onnx.load(graph)
    assert denoiser.form.metadata["network_sha256"] == manifest.network_sha256
    noisy = torch.tensor(speech.samples[:, 8000:40_000]) + 0.02 * torch.randn(1, 32_000)
    with torch.inference_mode():
        torch.testing.assert_close(denoiser(noisy), module(noisy), rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", ["dpcrn", "light-crn"])
def test_the_best_and_the_smallest_causal_model_have_their_graphs(model: str) -> None:
    """They run live, and their recurrences are what ONNX Runtime is quicker at."""
    assert all((path / catalog.GRAPH).is_file() for path in (WEIGHTS / model).iterdir())


def test_the_plan_makes_every_one(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("clean", "noise", "cache", "out")}
    planned = {run.name for run in plan.read(WEIGHTS / "plan.toml", folders)}
    assert {item.manifest.name for item in store.list_folder(WEIGHTS)[0]} <= planned


@pytest.mark.slow
@pytest.mark.parametrize("folder", sorted(path.parent for path in WEIGHTS.glob("*/*/config.json")), ids=str)
def test_a_far_voice_after_a_near_one_is_kept(folder: Path, speech: Clip) -> None:
    """A higher voice half a second later and 24 dB softer loses less than 3 dB more than it loses alone."""
    module, _ = store.load(folder)
    voice, near = speech.samples[0, :48_000], speech.samples[0, 48_000:96_000]
    far = np.interp(np.arange(36_000) / 0.75, np.arange(48_000), voice) * 10 ** (-24 / 20)
    heard = np.concatenate([near, np.zeros(8_000), far]).astype(np.float32)
    heard += 10 ** (-55 / 20) * noise("pink", heard.size, 16_000, np.random.default_rng(0))  # at -75 dBFS
    with torch.inference_mode():
        after, alone = (module(torch.from_numpy(part)[None])[0, -far.size :] for part in (heard, heard[-far.size :]))
    assert 10 * torch.log10(after.square().mean() / alone.square().mean()) > -3


def test_the_presets_are_what_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_WEIGHTS", str(WEIGHTS))
    best, fast, live = (catalog.find(name).manifest for name in ("best", "fast", "live"))
    assert best and fast and live
    everyone = [item.manifest for item in store.list_folder(WEIGHTS)[0]]
    assert all(one.real_time_factor > 0 for one in everyone)
    assert best.scores["pesq_wb"] == max(one.scores["pesq_wb"] for one in everyone)
    assert fast.real_time_factor < best.real_time_factor / 3
    assert live.causal and live.latency <= 0.05 * live.sample_rate and live.real_time_factor < 0.1
    assert catalog.recommended() == (best.model, best.loss), "it is quick enough"
    assert {"level_memory", "memory"}.isdisjoint(live.config)


@pytest.mark.parametrize("model", ["gru", "light-crn"])
def test_in_a_lab_only_the_loss_differs(model: str) -> None:
    stored, _ = store.list_folder(WEIGHTS)
    lab = [item.manifest for item in stored if item.manifest.model == model and item.manifest.loss != BEYOND]
    assert len(lab) >= 8
    alike = ("init", "seed", "steps", "hours_seen", "recipe", "data")
    assert all(each.training[fact] == lab[0].training[fact] for each in lab for fact in alike)
