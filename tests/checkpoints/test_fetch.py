"""A whole repository at one commit into a folder, through the Hub's real client: all of it, checked, or an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from denoise_app.checkpoints import store

FETCH = "denoise_app.checkpoints.hub.fetch"
REPO = "stranger/models"  # on nobody's list


@pytest.mark.slow
def test_every_checkpoint_lies_there_as_bundled_ones_do(
    hub: Any, online: Any, small_checkpoint: dict[str, bytes], tmp_path: Path
) -> None:
    commit = hub.add(REPO, small_checkpoint)
    assert online.call(FETCH, REPO, commit, str(tmp_path)) == ["gru/hybrid"]
    folder = tmp_path / "gru" / "hybrid"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == small_checkpoint
    stored, broken = store.list_folder(tmp_path)
    assert [one.manifest.name for one in stored] == ["gru/hybrid"] and not broken
    store.load(folder)


@pytest.mark.parametrize("revision", ["main", "0123456", "", 40 * "g"])
def test_a_revision_that_moves_is_refused_before_anybody_is_asked(
    hub: Any, online: Any, tmp_path: Path, revision: str
) -> None:
    assert online.call(FETCH, REPO, revision, str(tmp_path))["reason"] == "hub-bad-name"
    assert hub.log == []


@pytest.mark.parametrize("repo", ["models", "a/b/c", "../models"])
def test_a_name_that_is_none_is_refused(hub: Any, online: Any, tmp_path: Path, repo: str) -> None:
    assert online.call(FETCH, repo, 40 * "0", str(tmp_path))["reason"] == "hub-bad-name"


def test_one_that_is_refused_is_no_small_loss(
    hub: Any, online: Any, small_checkpoint: dict[str, bytes], tmp_path: Path
) -> None:
    hub.add(REPO, small_checkpoint)
    config = json.loads(small_checkpoint["config.json"])
    hub.repos[REPO].files["gru/mse/config.json"] = json.dumps(config).encode()  # it says hybrid, and has no weights
    told = online.call(FETCH, REPO, hub.repos[REPO].sha, str(tmp_path))
    assert told["reason"] == "no-weights" and list(tmp_path.iterdir()) == []


def test_weights_that_were_changed_are_refused(
    hub: Any, online: Any, small_checkpoint: dict[str, bytes], tmp_path: Path
) -> None:
    weights = small_checkpoint["model.safetensors"]
    commit = hub.add(REPO, small_checkpoint | {"model.safetensors": weights[:-1] + bytes([weights[-1] ^ 1])})
    assert online.call(FETCH, REPO, commit, str(tmp_path))["reason"] == "weights-changed"
    assert list(tmp_path.iterdir()) == []


def test_a_repository_without_checkpoints_is_told(hub: Any, online: Any, tmp_path: Path) -> None:
    commit = hub.add(REPO, {})
    told = online.call(FETCH, REPO, commit, str(tmp_path))
    assert told["reason"] == "hub-no-checkpoints" and f"{REPO} at {commit}" in told["message"]


@pytest.mark.slow
def test_offline_that_is_said(offline: Any, tmp_path: Path) -> None:
    assert offline.call(FETCH, REPO, 40 * "0", str(tmp_path))["reason"] == "hub-offline"
