"""The Hub through its real client: what is listed, what is pulled, and every way in which it may fail."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FRIEND = {"DENOISE_HUB_AUTHORS": "nobody, friend"}
WEIGHTS, CONFIG = "gru/hybrid/model.safetensors", "gru/hybrid/config.json"
Files = dict[str, bytes]


def pull(client: Any, repo: str, commit: str, *, env: dict[str, str] = FRIEND, seconds: float = 30) -> Any:
    """The folder, or the error."""
    return client.call("denoise_app.checkpoints.hub.pull", repo, "gru/hybrid", commit, seconds, env=env)


def listing(client: Any, *arguments: Any, env: dict[str, str] = FRIEND) -> tuple[list[Any], list[Any]]:
    found, problems = client.call("denoise_app.checkpoints.hub.list_checkpoints", *arguments, env=env)
    return found, problems


def changed(files: Files, **changes: Any) -> Files:
    """The checkpoint with other fields in its config.json."""
    return files | {"config.json": json.dumps(json.loads(files["config.json"]) | changes).encode()}


def with_weights(files: Files, data: bytes) -> Files:
    """The checkpoint with other weights, and a config.json that names them truly."""
    files = changed(files, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    return files | {"model.safetensors": data}


def only(file: str, act: Callable[[Any], None], method: str | None = None) -> Callable[[Any, str], bool]:
    """A fault of one file, by one method where that is given."""

    def fault(request: Any, asked: str) -> bool:
        hit = asked == file and method in (None, request.command)
        if hit:
            act(request)
        return hit

    return fault


def status(code: int, **headers: str) -> Callable[[Any], None]:
    return lambda request: request.answer(code, {key.replace("_", "-"): value for key, value in headers.items()})


def hang(request: Any) -> None:
    request.hub.closing.wait(60)
    request.close_connection = True


def patience(fault: object) -> float:
    """Seconds to wait: short only where waiting is what is tested."""
    return 1.0 if fault is hang else 30.0


# what goes well


def test_pulls_at_the_commit_and_a_second_time_without_asking(
    hub: Any, online: Any, small_checkpoint: Files, hub_home: Path
) -> None:
    commit = hub.add("friend/weights", small_checkpoint)
    folder = Path(pull(online, "friend/weights", commit))
    assert hub_home in folder.parents and commit in folder.parts
    assert (folder / "model.safetensors").read_bytes() == small_checkpoint["model.safetensors"]
    assert all(f"/resolve/{commit}/" in line for line in hub.log)
    hub.log.clear()
    assert pull(online, "friend/weights", commit) == str(folder)
    assert hub.log == []


@pytest.mark.slow
def test_lists_by_tag_and_author_whatever_the_server_sends(hub: Any, online: Any, small_checkpoint: Files) -> None:
    commit = hub.add("friend/listed", small_checkpoint)
    hub.add("friend/untagged", small_checkpoint, tags=["speech"])
    hub.add("stranger/tagged", small_checkpoint)
    hub.add("friendly/tagged", small_checkpoint)
    found, problems = listing(online)
    assert problems == []
    ours = [entry for entry in found if entry["repo"] != "friend/weights"]  # in the cache since another test
    assert [(entry["repo"], entry["revision"], entry["folder"]) for entry in ours] == [("friend/listed", commit, None)]
    assert ours[0]["manifest"]["size"] == len(small_checkpoint["model.safetensors"])
    assert not any("stranger" in line or "friendly" in line for line in hub.log)
    pull(online, "friend/listed", commit)
    found, _ = listing(online)
    assert next(entry for entry in found if entry["repo"] == "friend/listed")["folder"]


def test_names_one_repository(hub: Any, online: Any, small_checkpoint: Files) -> None:
    commit = hub.add("stranger/chosen", small_checkpoint, tags=[])
    found, problems = listing(online, env={"DENOISE_HUB_REPO": "stranger/chosen"})
    assert problems == [] and [entry["repo"] for entry in found] == ["stranger/chosen"]
    assert Path(pull(online, "stranger/chosen", commit, env={"DENOISE_HUB_REPO": "stranger/chosen"})).is_dir()


def test_shows_a_revision_before_anything_of_it_is_fetched(hub: Any, online: Any, small_checkpoint: Files) -> None:
    commit = hub.add("friend/dated", small_checkpoint)
    for revision in (commit, "main", None):
        found, problems = listing(online, "friend/dated", 30.0, revision)
        assert problems == [] and [(entry["revision"], entry["folder"]) for entry in found] == [(commit, None)]
        assert found[0]["manifest"]["licence"] and found[0]["manifest"]["size"] > 0
    assert not any("model.safetensors" in line for line in hub.log)
    found, problems = listing(online, "friend/dated", 30.0, "0" * 40)
    assert found == [] and [problem["reason"] for problem in problems] == ["hub-not-found"]


@pytest.mark.parametrize("revision", ["../main", "a b", "-x", "", "x" * 101, "a\nb"])
def test_no_odd_revision_is_asked_for(hub: Any, online: Any, small_checkpoint: Files, revision: str) -> None:
    hub.add("friend/dated", small_checkpoint)
    hub.log.clear()
    found, problems = listing(online, "friend/dated", 30.0, revision)
    assert found == [] and [problem["reason"] for problem in problems] == ["hub-bad-name"] and hub.log == []


def test_asks_nobody_when_nobody_is_named(hub: Any, online: Any, small_checkpoint: Files) -> None:
    hub.add("friend/weights", small_checkpoint)
    assert listing(online, env={}) == ([], [])
    assert hub.log == []


def test_a_bad_checkpoint_does_not_hide_a_good_one(hub: Any, online: Any, small_checkpoint: Files) -> None:
    hub.add("friend/mixed", small_checkpoint)
    files = hub.repos["friend/mixed"].files
    files |= {f"gru/mse/{name}": data for name, data in small_checkpoint.items()}  # says that it is gru/hybrid
    files |= {"../config.json": b"{}", "gru/../config.json": b"{}", "a/b/c/config.json": b"{}", ".x/y/config.json": b""}
    found, problems = listing(online, "friend/mixed")
    assert [entry["manifest"]["loss"] for entry in found] == ["hybrid"]
    assert [problem["reason"] for problem in problems] == ["manifest-elsewhere"]
    assert not any(".." in line or "/a/b/c" in line or ".x" in line for line in hub.log)


# names


@pytest.mark.parametrize(
    ("repo", "path", "revision"),
    [
        ("friend", "gru/hybrid", "0" * 40),
        ("friend/../../etc", "gru/hybrid", "0" * 40),
        ("friend/a--b", "gru/hybrid", "0" * 40),
        ("friend/x", "gru", "0" * 40),
        ("friend/x", "gru/hybrid/more", "0" * 40),
        ("friend/x", "../hybrid", "0" * 40),
        ("friend/x", "/gru", "0" * 40),
        ("friend/x", "gru/hybrid", "main"),
        ("friend/x", "gru/hybrid", "abc1234"),
        ("friend/x", "gru/hybrid", "../" * 13 + "x"),
    ],
)
def test_bad_names_never_leave_the_house(hub: Any, online: Any, repo: str, path: str, revision: str) -> None:
    error = online.call("denoise_app.checkpoints.hub.pull", repo, path, revision, env=FRIEND)
    assert error["reason"] == "hub-bad-name"
    assert hub.log == []


def test_a_strangers_repository_is_not_pulled(hub: Any, online: Any, small_checkpoint: Files) -> None:
    commit = hub.add("stranger/weights", small_checkpoint)
    assert pull(online, "stranger/weights", commit)["reason"] == "hub-not-allowed"
    assert hub.log == []


# what the Hub may answer


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (status(404, X_Error_Code="EntryNotFound"), "hub-not-found"),
        (status(401, X_Error_Code="RepoNotFound"), "hub-not-found"),
        (status(403, X_Error_Code="GatedRepo"), "hub-refused"),
        (status(403), "hub-refused"),
        (status(429), "hub-busy"),
        (status(500), "hub-failed"),
        (status(503), "hub-failed"),
        (status(200), "hub-not-a-hub"),  # answered by something that is no Hub: no commit
        (hang, "hub-too-slow"),
    ],
)
def test_what_the_hub_answers_is_explained(
    hub: Any, online: Any, small_checkpoint: Files, fault: Callable[[Any], None], reason: str
) -> None:
    commit = hub.add("friend/faulty", changed(small_checkpoint, scored_on=reason), fault=only(CONFIG, fault))
    error = pull(online, "friend/faulty", commit, seconds=patience(fault))
    assert error["reason"] == reason  # the client alone would go on for minutes where nothing comes
    assert "friend/faulty/gru/hybrid/config.json" in error["message"]


def test_unknown_repository_and_commit(hub: Any, online: Any, small_checkpoint: Files) -> None:
    hub.add("friend/here", small_checkpoint)
    assert pull(online, "friend/gone", "0" * 40)["reason"] == "hub-not-found"
    assert pull(online, "friend/here", "0" * 40)["reason"] == "hub-not-found"
    assert [problem["reason"] for problem in listing(online, "friend/gone")[1]] == ["hub-not-found"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (status(503), "hub-failed"),
        (lambda request: request.answer(200, {}, b"<html>Sign in to the hotel's network</html>"), "hub-not-a-hub"),
        (lambda request: request.json({"error": "nothing of the kind"}), "hub-not-a-hub"),
        (hang, "hub-too-slow"),
    ],
)
def test_a_listing_that_fails_says_why(
    hub: Any, online: Any, small_checkpoint: Files, act: Callable[[Any], None], reason: str
) -> None:
    def fault(request: Any) -> bool:
        act(request)
        return True

    hub.api_fault = fault
    _, problems = listing(online, None, patience(act))
    assert {problem["reason"] for problem in problems} == {reason}
    hub.add("friend/broken", small_checkpoint, fault=only("", act))
    found, problems = listing(online, "friend/broken", patience(act))
    assert found == [] and [problem["reason"] for problem in problems] == [reason]


# weights


def cut_off(request: Any) -> None:
    """Half of what was announced, then silence on a closed line."""
    repo = next(iter(request.hub.repos.values()))
    data = repo.files[WEIGHTS]
    request.send(repo, WEIGHTS, data[: len(data) // 2], announced=len(data))
    request.close_connection = True


def shortened(request: Any) -> None:
    """Half of the file as if that were all."""
    repo = next(iter(request.hub.repos.values()))
    data = repo.files[WEIGHTS]
    request.send(repo, WEIGHTS, data[: len(data) // 2])


def dripping(request: Any) -> None:
    """A byte now and then: no wait is long, and there is no end."""
    repo = next(iter(request.hub.repos.values()))
    request.send(repo, WEIGHTS, b"", announced=len(repo.files[WEIGHTS]))
    try:
        while not request.hub.closing.wait(0.05):
            request.wfile.write(b"\0")
            request.wfile.flush()
    except OSError:
        return


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "seconds", "reason"),
    [
        (cut_off, 30, "hub-cut-off"),
        (shortened, 30, "hub-cut-off"),
        (dripping, 1, "hub-too-slow"),
        (hang, 1, "hub-too-slow"),
        (status(500), 30, "hub-failed"),
    ],
)
def test_a_download_that_breaks_leaves_nothing(
    hub: Any, online: Any, small_checkpoint: Files, act: Callable[[Any], None], seconds: float, reason: str
) -> None:
    name = f"friend/{act.__name__.replace('_', '-').strip('<>')}-{seconds}"
    files = changed(small_checkpoint, scored_on=name)
    commit = hub.add(name, files, fault=only(WEIGHTS, act, "GET"))
    assert pull(online, name, commit, seconds=seconds)["reason"] == reason
    found = online.call("denoise_app.checkpoints.hub.cached", env=FRIEND)
    assert name not in {entry["repo"] for entry in found}


def test_wrong_bytes_are_refused_and_forgotten(hub: Any, online: Any, small_checkpoint: Files) -> None:
    files = changed(small_checkpoint, scored_on="wrong sha")
    good = files["model.safetensors"]
    wrong = good[:-1] + bytes([good[-1] ^ 1])

    def act(request: Any) -> None:
        request.send(hub.repos["friend/wrong"], WEIGHTS, wrong)

    commit = hub.add("friend/wrong", files, fault=only(WEIGHTS, act))
    assert pull(online, "friend/wrong", commit)["reason"] == "weights-changed"
    hub.repos["friend/wrong"].fault = lambda request, file: False
    assert Path(pull(online, "friend/wrong", commit)).is_dir()


def test_weights_larger_than_announced_are_not_fetched(hub: Any, online: Any, small_checkpoint: Files) -> None:
    files = changed(small_checkpoint, size=1000)
    commit = hub.add("friend/larger", files)
    assert pull(online, "friend/larger", commit)["reason"] == "weights-too-large"
    assert f"GET /friend/larger/resolve/{commit}/{WEIGHTS}" not in hub.log


def test_pickles_are_never_fetched(hub: Any, online: Any, small_checkpoint: Files, bomb: tuple[bytes, Path]) -> None:
    data, trace = bomb
    pickled = {"config.json": small_checkpoint["config.json"], "pytorch_model.bin": data, "model.pt": data}
    commit = hub.add("friend/pickled", pickled)
    found, problems = listing(online, "friend/pickled")
    assert found == [] and [problem["reason"] for problem in problems] == ["no-weights"]
    error = pull(online, "friend/pickled", commit)
    assert error["reason"] == "no-weights" and "never read" in error["message"]
    assert not any("pytorch_model" in line or ".pt" in line for line in hub.log)
    assert not trace.exists()


def test_a_pickle_in_disguise_is_not_read_as_one(
    hub: Any, online: Any, small_checkpoint: Files, bomb: tuple[bytes, Path]
) -> None:
    data, trace = bomb
    commit = hub.add("friend/disguised", with_weights(small_checkpoint, data))
    assert pull(online, "friend/disguised", commit)["reason"] == "weights-do-not-fit"
    assert not trace.exists()


# config.json


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("vast", {"config": {"hidden": 10**9}}, "manifest-invalid"),
        ("large", {"config": {"hidden": 2048, "width": 2048, "layers": 8}, "parameters": 10_000}, "manifest-invalid"),
        ("unknown", {"model": "gpt"}, "manifest-elsewhere"),
        ("climbing", {"model": "../gru"}, "manifest-invalid"),
        ("code", {"auto_map": {"AutoModel": "evil.Model"}}, "manifest-invalid"),
        ("nan", {"scores": {"pesq_wb": float("nan")}}, "manifest-invalid"),
        ("newer", {"format_version": 2}, "manifest-newer"),
        ("huge", {"training": {"curve": "x" * 300_000}}, "manifest-too-large"),
    ],
)
def test_hostile_configs_are_refused_before_weights_are_asked_for(
    hub: Any, online: Any, small_checkpoint: Files, name: str, changes: dict[str, Any], reason: str
) -> None:
    repo = f"friend/{name}"
    commit = hub.add(repo, changed(small_checkpoint, **changes))
    assert pull(online, repo, commit)["reason"] == reason
    found, problems = listing(online, repo)
    assert found == [] and [problem["reason"] for problem in problems] == [reason]
    assert not any(WEIGHTS in line and repo in line for line in hub.log)
    fetched = f"GET /{repo}/resolve/{commit}/{CONFIG}" in hub.log
    assert fetched == (reason != "manifest-too-large")


# no Hub at all


@pytest.fixture
def kept(hub: Any, online: Any, small_checkpoint: Files) -> str:
    """The commit of friend/kept, which lies in the cache."""
    commit = hub.add("friend/kept", changed(small_checkpoint, scored_on="kept"))
    assert Path(pull(online, "friend/kept", commit)).is_dir()
    hub.log.clear()
    return commit


@pytest.mark.parametrize(("setting", "reason"), [("offline", "hub-offline"), ("unreachable", "hub-unreachable")])
@pytest.mark.slow
def test_without_a_hub_the_cache_serves(
    hub: Any, kept: str, setting: str, reason: str, request: pytest.FixtureRequest
) -> None:
    client = request.getfixturevalue(setting)
    folder = pull(client, "friend/kept", kept)
    assert Path(folder, "model.safetensors").is_file()
    found, problems = listing(client)
    assert {"friend/kept"} <= {entry["repo"] for entry in found if entry["folder"]}
    assert {problem["reason"] for problem in problems} == {reason}
    assert not any("kept" in line or "/api/" in line for line in hub.log)


@pytest.mark.parametrize(("setting", "reason"), [("offline", "hub-offline"), ("unreachable", "hub-unreachable")])
def test_without_a_hub_what_is_not_cached_is_explained(
    setting: str, reason: str, request: pytest.FixtureRequest
) -> None:
    client = request.getfixturevalue(setting)
    error = pull(client, "friend/never-pulled", "1" * 40)
    assert error["reason"] == reason and "Bundled" in error["message"]
    found, problems = listing(client, "friend/never-pulled")
    assert found == [] and [problem["reason"] for problem in problems] == [reason]
    assert client.call("huggingface_hub.is_offline_mode") == (setting == "offline")


def test_an_author_who_is_no_longer_on_the_list_is_gone_from_the_cache_too(kept: str, offline: Any) -> None:
    for env, expected in ((FRIEND, True), ({"DENOISE_HUB_AUTHORS": "other"}, False), ({}, False)):
        found = offline.call("denoise_app.checkpoints.hub.cached", env=env)
        assert ("friend/kept" in {entry["repo"] for entry in found}) == expected
