"""From a checkpoint on the disk to the Hub and back, with the real client and a small Hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "hf_of_somebody"  # of conftest.py
PUBLISH = "denoise_app.checkpoints.hub.publish"
REPO = "somebody/denoisers"
ALLOWED = {"DENOISE_HUB_REPO": REPO}


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


def test_large_files_go_as_such_and_others_lie_beside_them(hub: Any, author: Any, stored: Path) -> None:
    graph = stored.parents[2] / "graph.onnx"
    graph.write_bytes(b"a graph")
    done = author.call(PUBLISH, REPO, str(stored), {"model.onnx": str(graph)})
    assert hub.repos[REPO].files["gru/hybrid/model.onnx"] == b"a graph" and "gru/hybrid/model.onnx" in done["files"]
    assert (stored / "model.safetensors").read_bytes() in hub.large.values()
    assert [line for line in hub.log if "/commit/" in line] == [f"POST /api/models/{REPO}/commit/main"]  # one commit


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


def test_whoever_may_not_write_is_told(hub: Any, online: Any, offline: Any, unreachable: Any, stored: Path) -> None:
    reasons = [client.call(PUBLISH, REPO, str(stored))["reason"] for client in (online, offline, unreachable)]
    assert reasons == ["hub-not-permitted", "hub-offline", "hub-unreachable"] and not hub.repos


def test_the_command_publishes_and_tells_where(hub: Any, hub_home: Path, stored: Path) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "DENOISE_"))}
    kept |= {"HF_ENDPOINT": hub.address, "HF_HOME": str(hub_home), "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    kept |= {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "denoise_app", "publish", str(stored), "--repo", REPO, "--no-onnx", "--json"]
    done = subprocess.run(command, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["revision"] == hub.repos[REPO].sha and set(told["files"]) == set(hub.repos[REPO].files)
    command[4] = str(stored.parent)
    broken = subprocess.run(command, env=kept, capture_output=True, text=True)
    assert broken.returncode == 1 and broken.stderr.startswith("error: ")
