"""From a checkpoint on the disk to the Hub and back, with the real client and a small Hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denoise_app.audio.clip import Clip
from denoise_app.checkpoints import store
from denoise_app.inference import engine, onnx

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "hf_of_somebody"  # of conftest.py
PUBLISH = "denoise_app.checkpoints.hub.publish"
REPO = "somebody/denoisers"
ALLOWED = {"DENOISE_HUB_REPO": REPO}


@pytest.mark.slow
def test_what_is_published_can_be_listed_and_pulled(hub: Any, author: Any, online: Any, stored: Path) -> None:
    done = author.call(PUBLISH, REPO, str(stored))
    repo = hub.repos[REPO]
    assert done["revision"] == repo.sha and set(done["files"]) == set(repo.files)
    assert repo.files["gru/hybrid/model.safetensors"] == (stored / "model.safetensors").read_bytes()
    card = repo.files["README.md"].decode()
    assert "- denoise-app" in card and "CC BY 4.0" in card and "1.70" in card  # tag, credits, scores
    assert repo.named == {done["tag"]: repo.sha} and done["tag"].startswith("gru-hybrid-")
    found, problems = online.call("denoise_app.checkpoints.hub.list_checkpoints", env=ALLOWED)
    assert problems == [] and [(one["repo"], one["revision"]) for one in found] == [(REPO, repo.sha)]
    folder = online.call("denoise_app.checkpoints.hub.pull", REPO, "gru/hybrid", repo.sha, env=ALLOWED)
    assert (Path(folder) / "model.safetensors").read_bytes() == (stored / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_large_files_go_as_such_and_others_lie_beside_them(hub: Any, author: Any, stored: Path) -> None:
    graph = stored.parents[2] / "graph.onnx"
    graph.write_bytes(b"a graph")
    done = author.call(PUBLISH, REPO, str(stored), {"model.onnx": str(graph)})
    assert hub.repos[REPO].files["gru/hybrid/model.onnx"] == b"a graph" and "gru/hybrid/model.onnx" in done["files"]
    assert (stored / "model.safetensors").read_bytes() in hub.large.values()
    assert [line for line in hub.log if "/commit/" in line] == [f"POST /api/models/{REPO}/commit/main"]  # one commit


@pytest.mark.slow
def test_what_lies_there_stays_and_publishing_twice_is_once(hub: Any, author: Any, stored: Path) -> None:
    hub.add(REPO, {})
    hub.repos[REPO].files["other/loss/config.json"] = b"{}"
    first, second = (author.call(PUBLISH, REPO, str(stored)) for _ in range(2))
    assert first["revision"] == second["revision"] and "other/loss/config.json" in hub.repos[REPO].files


@pytest.mark.parametrize("repo", ["denoisers", "a/b/c", "some body/x", "../x", ""])
def test_a_name_that_is_none_is_told_before_anything_is_sent(hub: Any, author: Any, stored: Path, repo: str) -> None:
    assert author.call(PUBLISH, repo, str(stored))["reason"] == "hub-bad-name"
    assert hub.log == []


def test_a_checkpoint_that_nobody_could_load_is_not_sent(hub: Any, author: Any, stored: Path) -> None:
    weights = stored / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert "reason" in author.call(PUBLISH, REPO, str(stored))
    assert hub.log == [] and not hub.repos


@pytest.mark.slow
def test_whoever_may_not_write_is_told(hub: Any, online: Any, offline: Any, unreachable: Any, stored: Path) -> None:
    reasons = [client.call(PUBLISH, REPO, str(stored))["reason"] for client in (online, offline, unreachable)]
    assert reasons == ["hub-not-permitted", "hub-offline", "hub-unreachable"] and not hub.repos


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def commanded(hub: Any, hub_home: Path) -> Run:
    """The command line itself, by one who may write."""

    def run(*words: str, path: str = "") -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "DENOISE_"))}
        kept |= {"HF_ENDPOINT": hub.address, "HF_HOME": str(hub_home), "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
        kept |= {"PYTHONPATH": os.pathsep.join(filter(None, (path, str(ROOT)))), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "denoise_app", *words, "--json"]
        return subprocess.run(command, env=kept, capture_output=True, text=True)

    return run


@pytest.fixture
def published(commanded: Run) -> Run:
    """`publish` of a folder."""
    return lambda folder, *options, **more: commanded("publish", str(folder), "--repo", REPO, *options, **more)


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_a_causal_model_goes_with_a_graph_that_runs(
    hub: Any, published: Run, commanded: Run, tmp_path: Path, speech: Clip
) -> None:
    """Onto the Hub, from there into a Space, and down again, where it gives the samples of the checkpoint."""
    own = ROOT / "weights" / "gru" / "mse"
    done = published(own)
    assert done.returncode == 0, done.stderr
    assert "gru/mse/model.onnx" in json.loads(done.stdout)["files"]
    files = hub.repos[REPO].files
    assert files["gru/mse/model.onnx"] in hub.large.values()
    place = ["--out", str(tmp_path / "space"), "--weights", f"{REPO}@{hub.repos[REPO].sha}"]
    assert commanded("space", *place).returncode == 0
    assert (tmp_path / "space/weights/gru/mse/model.safetensors").read_bytes() == files["gru/mse/model.safetensors"]
    folder = tmp_path / "gru" / "mse"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "README.md", "model.onnx"):
        (folder / name).write_bytes(files[f"gru/mse/{name}"])
    graph, (weights, manifest) = onnx.load(folder / "model.onnx"), store.load(folder)
    assert graph.form.metadata["network_sha256"] == manifest.network_sha256
    heard = Clip(speech.samples[:, :32_000], speech.sample_rate)
    found, wanted = (engine.denoise(heard, each).samples for each in (graph, weights))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said"),
    [("cnn/mse", ""), ("waveform/perceptual", "without an ONNX file: waveform cannot be exported frame by frame")],
)
def test_a_model_without_a_graph_goes_without(name: str, said: str, hub: Any, published: Run) -> None:
    done = published(ROOT / "weights" / name)
    assert done.returncode == 0 and said in done.stderr, done.stderr
    assert f"{name}/model.safetensors" in hub.repos[REPO].files
    assert not [file for file in hub.repos[REPO].files if file.endswith(".onnx")]


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_where_the_package_for_graphs_is_missing_nothing_is_sent(hub: Any, published: Run, tmp_path: Path) -> None:
    (tmp_path / "onnx.py").write_text("raise ModuleNotFoundError(\"No module named 'onnx'\", name='onnx')")
    done = published(ROOT / "weights" / "gru" / "mse", path=str(tmp_path))
    assert done.returncode == 1 and "the ONNX file needs pip install onnx; or give --no-onnx" in done.stderr
    assert hub.repos == {} and not [line for line in hub.log if "/commit/" in line]


@pytest.mark.slow
def test_the_command_publishes_and_tells_where(hub: Any, published: Run, stored: Path) -> None:
    done = published(stored, "--no-onnx")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["revision"] == hub.repos[REPO].sha and set(told["files"]) == set(hub.repos[REPO].files)
    broken = published(stored.parent, "--no-onnx")
    assert broken.returncode == 1 and broken.stderr.startswith("error: ")
