"""Checkpoints on the Hugging Face Hub: list them, and pull one at a pinned commit into the Hub's own cache.

A repository is laid out like weights/: <model>/<loss>/config.json and model.safetensors. Anyone can upload anything
under any tag, so only the repository in DENOISE_HUB_REPO and repositories of the authors in DENOISE_HUB_AUTHORS (a
list with commas) are looked at, and what they hold is checked as `store` checks any folder.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import (
    CommitOperationAdd,
    CommitScheduler,
    HfApi,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,  # what HfHubHTTPError is of, and the errors of a broken connection; its library has changed twice
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.utils import validate_repo_id

from . import store
from .card import TAG
from .manifest import MAX_MANIFEST_BYTES, SLUG, CheckpointError, Manifest

COMMIT = re.compile(r"[0-9a-f]{40}")
REVISION = re.compile(r"[A-Za-z0-9](?:[\w./-]{0,98}\w)?")  # a commit, branch or tag
ANSWER_SECONDS = 15.0  # for what is a few kilobytes
DOWNLOAD_SECONDS = 600.0  # for weights
MOST_REPOSITORIES = 50  # per author
MOST_CHECKPOINTS = 200  # per repository
SIDE_BY_SIDE = 4  # requests at once while listing
PUBLISH_MINUTES = 10.0  # between two sendings of a file that grows

T = TypeVar("T")


@dataclass(frozen=True)
class HubCheckpoint:
    """A checkpoint on the Hub whose manifest was checked.

    Attributes:
        repo: "author/name".
        revision: The commit, 40 hexadecimal digits: what is pulled is what was listed.
        manifest: Its config.json.
        folder: Where it lies in the cache, whole; None until it is pulled.
    """

    repo: str
    revision: str
    manifest: Manifest
    folder: Path | None

    @property
    def path(self) -> str:
        """Folder in the repository, <model>/<loss>."""
        return self.manifest.name

    @property
    def size(self) -> int:
        """Bytes of the weights."""
        return self.manifest.size

    @property
    def cached(self) -> bool:
        return self.folder is not None


@dataclass(frozen=True)
class Published:
    """A checkpoint that was put on the Hub.

    Attributes:
        repo: "author/name".
        revision: The commit, by which it can be pulled.
        tag: The name of that commit: <model>-<loss>-<first digits of the weights' digest>.
        files: Their names in the repository.
    """

    repo: str
    revision: str
    tag: str
    files: tuple[str, ...]


Listing = tuple[list[HubCheckpoint], list[CheckpointError]]


def list_checkpoints(repo: str | None = None, seconds: float = ANSWER_SECONDS, revision: str | None = None) -> Listing:
    """What can be pulled, and why other things cannot. Never raises for what the Hub does.

    Where the Hub cannot be asked, what the cache holds is listed instead, beside the reason.

    Args:
        repo: List this repository alone. Default: that in DENOISE_HUB_REPO, and those that carry the tag "denoise-app"
            and are by an author in DENOISE_HUB_AUTHORS.
        seconds: Longest wait for one answer.
        revision: A commit, branch or tag of that repository; the newest commit without it.
    """
    found: list[HubCheckpoint] = []
    repos, problems = ([repo], []) if repo else _repositories(seconds)
    for name in repos:
        try:
            _check_repository(name)
            listed, refused = _list_repository(name, revision, seconds)
        except CheckpointError as error:
            problems.append(error)
            continue
        found += listed
        problems += refused
    listed_repos = {checkpoint.repo for checkpoint in found}
    kept = (entry for entry in cached() if entry.repo not in listed_repos)
    found += [entry for entry in kept if repo in (None, entry.repo) and revision in (None, entry.revision)]
    return found, problems


def pull(repo: str, path: str, revision: str, seconds: float = DOWNLOAD_SECONDS) -> Path:
    """Fetch a checkpoint into the Hub's cache, or find it there; `store.load` takes the folder.

    The manifest comes first and is checked before weights are fetched. Weights that are not what it names are
    removed from the cache again.

    Args:
        repo: "author/name", of those that this app looks at.
        path: <model>/<loss>.
        revision: A whole commit; branches and tags move, so they are not taken.
        seconds: Longest wait for the weights.

    Returns:
        The folder with config.json and model.safetensors.

    Raises:
        CheckpointError: a wrong name, a repository that is not on the list, a Hub that cannot be reached or fails, a
            checkpoint that is refused.
    """
    _check_repository(repo)
    _check_path(path)
    _check_commit(revision)
    return _pulled(repo, path, revision, seconds)


def fetch(repo: str, revision: str, folder: Path | str, seconds: float = DOWNLOAD_SECONDS) -> list[str]:
    """Puts every checkpoint of a repository at a commit into a folder, laid out like weights/, each checked as `pull`
    does. The repository is named by whoever runs the program, so it need not be on the list.

    Args:
        repo: "author/name".
        revision: A whole commit.
        folder: <model>/<loss> are made in it, with config.json, model.safetensors and the card.
        seconds: Longest wait for the weights of each.

    Returns:
        Their names, <model>/<loss>.

    Raises:
        CheckpointError: As of `pull`, for any of them; there is none at this commit; it cannot be written.
    """
    _check_form(repo)
    _check_commit(revision)
    found, refused = _list_repository(repo, revision, min(seconds, ANSWER_SECONDS))
    if refused:
        raise refused[0]
    if not found:
        raise CheckpointError.of("hub-no-checkpoints", name=f"{repo} at {revision}")
    for checkpoint in found:
        store.copy(_pulled(repo, checkpoint.path, revision, seconds), Path(folder) / checkpoint.path)
    return [checkpoint.path for checkpoint in found]


def _pulled(repo: str, path: str, revision: str, seconds: float) -> Path:
    """`pull`, once the names have been checked."""
    patience = min(seconds, ANSWER_SECONDS)
    config = _fetch(repo, f"{path}/{store.CONFIG}", revision, MAX_MANIFEST_BYTES, "manifest-too-large", patience)
    manifest = store.checked_manifest(config.parent)
    try:
        weights = _fetch(repo, f"{path}/{store.WEIGHTS}", revision, manifest.size, "weights-too-large", seconds)
    except CheckpointError as error:
        if error.reason == "hub-not-found":  # the config.json beside it was there
            raise CheckpointError.of("no-weights", name=f"{repo}/{path}") from error
        raise
    try:
        store.load(weights.parent)
    except CheckpointError:
        weights.resolve().unlink()  # the blob; else the cache would give the same bytes for ever
        weights.unlink(missing_ok=True)
        raise
    return weights.parent


def publish(
    repo: str,
    folder: Path | str,
    more: Mapping[str, Path | str] | None = None,
    private: bool = False,
    seconds: float = DOWNLOAD_SECONDS,
) -> Published:
    """Puts a checkpoint into a repository on the Hub, in one commit, where `list_checkpoints` and `pull` find it.

    Its card becomes the page of the repository too, by whose tag other installations find that. A repository that is
    not there is made; what others have put into it stays. The token is the Hub client's own (HF_TOKEN).

    Args:
        repo: "author/name".
        folder: A checkpoint, <model>/<loss>; all of it is checked first.
        more: Names in the checkpoint's folder -> other files to lie there, such as an ONNX graph.
        private: Whether a repository that is made is to be seen by its owner alone.
        seconds: Longest wait for each answer.

    Raises:
        CheckpointError: The checkpoint is refused, the name is none, or the Hub cannot be reached or refuses.
    """
    _check_form(repo)
    folder = Path(folder)
    _, manifest = store.load(folder)
    own = {name: folder / name for name in (store.WEIGHTS, store.CONFIG, store.CARD)}
    beside: dict[str, Path | str] = {**own, **(more or {})}
    files: dict[str, Path | str] = {
        "README.md": own[store.CARD],
        **{f"{manifest.name}/{name}": path for name, path in beside.items()},
    }
    additions = [CommitOperationAdd(name, Path(path).read_bytes()) for name, path in files.items()]
    tag = f"{manifest.model}-{manifest.loss}-{manifest.sha256[:8]}"
    message = f"{manifest.name}, weights {manifest.sha256[:8]}"
    api = HfApi()
    try:
        _ask(repo, seconds, partial(api.create_repo, repo, exist_ok=True, private=private))
        done = _ask(repo, seconds, partial(api.create_commit, repo, additions, commit_message=message))
        _ask(repo, seconds, partial(api.create_tag, repo, tag=tag, revision=done.oid, exist_ok=True))
    except CheckpointError as error:
        if error.reason in ("hub-refused", "hub-not-found"):  # as it answers whoever may not write
            raise CheckpointError.of("hub-not-permitted", name=repo) from error
        raise
    return Published(repo, done.oid, tag, tuple(files))


def publish_regularly(file: Path, dataset: str, seconds: float = ANSWER_SECONDS) -> AbstractContextManager[Any]:
    """Sends a file that only grows to a dataset of the Hub: at once, every few minutes where it grew, and at the end.

    It lies there in a folder of this call alone, so that no other process writes over it. A dataset that is not there
    is made, and nobody but its owner can read it. The token is the Hub client's own (HF_TOKEN).

    Args:
        file: Its folder is searched each time, so it is best its only file.
        dataset: "author/name".
        seconds: Longest wait for the Hub's first answer.

    Returns:
        The lock to hold while the file is written to.

    Raises:
        CheckpointError: The Hub cannot be reached, or refuses.
    """
    start = partial(
        CommitScheduler,
        repo_id=dataset,
        repo_type="dataset",
        folder_path=file.parent,
        allow_patterns=[file.name],
        path_in_repo=secrets.token_hex(8),
        every=PUBLISH_MINUTES,
        private=True,
    )
    return _ask(dataset, seconds, start).lock


def cached() -> list[HubCheckpoint]:
    """Checkpoints of the repositories on the list that lie in the Hub's cache whole, the newest first; asks nobody."""
    found = []
    for weights in _cached_weights():
        folder = weights.parent
        repo = weights.parents[4].name.removeprefix("models--").replace("--", "/")
        try:
            if _allowed(repo):
                manifest = store.checked(folder).manifest
                found.append(HubCheckpoint(repo, weights.parents[2].name, manifest, folder))
        except CheckpointError:
            continue  # it was refused when it was pulled, or comes from another version of this app
    return found


def _cached_weights() -> list[Path]:
    """models--<author>--<name>/snapshots/<commit>/<model>/<loss>/model.safetensors, the newest first."""
    if not (_only_repository() or _authors()):
        return []
    weights = Path(constants.HF_HUB_CACHE).glob(f"models--*--*/snapshots/*/*/*/{store.WEIGHTS}")
    return sorted((path for path in weights if path.is_file()), key=lambda path: -path.lstat().st_mtime_ns)


def _only_repository() -> str:
    return os.environ.get("DENOISE_HUB_REPO", "").strip()


def _authors() -> list[str]:
    return [name for part in os.environ.get("DENOISE_HUB_AUTHORS", "").split(",") if (name := part.strip())]


def _allowed(repo: str) -> bool:
    return repo == _only_repository() or repo.split("/")[0] in _authors()


def _check_path(path: str) -> None:
    if path.count("/") != 1 or not all(SLUG.fullmatch(part) for part in path.split("/")):
        raise CheckpointError.of("hub-bad-name", name=path, kind="a checkpoint", expected="model/loss")


def _check_commit(revision: str) -> None:
    if not COMMIT.fullmatch(revision):
        expected = "a whole commit, 40 hexadecimal digits"
        raise CheckpointError.of("hub-bad-name", name=revision, kind="a pinned revision", expected=expected)


def _check_repository(repo: str) -> None:
    _check_form(repo)
    if not _allowed(repo):
        raise CheckpointError.of("hub-not-allowed", name=repo)


def _check_form(repo: str) -> None:
    try:
        validate_repo_id(repo)
        named = repo.count("/") == 1
    except HFValidationError:
        named = False
    if not named:
        raise CheckpointError.of("hub-bad-name", name=repo, kind="a repository", expected="author/name")


def _repositories(seconds: float) -> tuple[list[str], list[CheckpointError]]:
    """Repositories to look at, each once, and why those of the authors could not be found out."""
    repos = [repo for repo in [_only_repository()] if repo]
    try:
        for author in _authors():
            repos += _tagged(author, seconds)
    except CheckpointError as error:
        return repos, [error]
    return list(dict.fromkeys(repos)), []


def _tagged(author: str, seconds: float) -> list[str]:
    """An author's repositories with our tag; checked here too, since a mirror may ignore the filter."""
    name = f"models by {author}"
    _check_answers(name, seconds)
    ask = partial(HfApi().list_models, filter=TAG, author=author, limit=MOST_REPOSITORIES)
    models = _ask(name, seconds, lambda: list(ask()))
    return [model.id for model in models if model.id.startswith(f"{author}/") and TAG in (model.tags or ())]


def _check_answers(name: str, seconds: float) -> None:
    """One question without a second try: the client's listing goes on for half a minute before it admits a failure."""
    head = partial(get_hf_file_metadata, f"{constants.ENDPOINT}/api/models?limit=1", timeout=2 * seconds)
    try:
        _ask(name, seconds, head)
    except CheckpointError as error:
        if error.reason != "hub-not-found" and error.facts.get("status") not in (405, 501):  # a mirror without HEAD
            raise


def _list_repository(repo: str, revision: str | None, seconds: float) -> Listing:
    """The checkpoints of a repository at a revision, its newest commit without one, and why others are refused."""
    if revision is not None and not REVISION.fullmatch(revision):
        raise CheckpointError.of("hub-bad-name", name=revision, kind="a revision", expected="a commit, branch or tag")
    name = f"{repo} at {revision}" if revision else repo
    info = _ask(name, seconds, partial(HfApi().model_info, repo, revision=revision, timeout=2 * seconds))
    files = {file.rfilename for file in info.siblings or ()}
    if not COMMIT.fullmatch(info.sha or ""):
        raise CheckpointError.of("hub-not-a-hub", name=repo)
    paths = sorted(file.removesuffix(f"/{store.CONFIG}") for file in files if _is_config(file))[:MOST_CHECKPOINTS]

    def inspect(path: str) -> HubCheckpoint | CheckpointError:
        try:
            if f"{path}/{store.WEIGHTS}" not in files:
                raise CheckpointError.of("no-weights", name=f"{repo}/{path}")
            return _inspect(repo, path, str(info.sha), seconds)
        except CheckpointError as error:
            return error

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        results = list(pool.map(inspect, paths))
    found = [result for result in results if isinstance(result, HubCheckpoint)]
    return found, [result for result in results if isinstance(result, CheckpointError)]


def _is_config(file: str) -> bool:
    model, _, rest = file.partition("/")
    loss, _, name = rest.partition("/")
    return name == store.CONFIG and bool(SLUG.fullmatch(model) and SLUG.fullmatch(loss))


def _inspect(repo: str, path: str, revision: str, seconds: float) -> HubCheckpoint:
    config = _fetch(repo, f"{path}/{store.CONFIG}", revision, MAX_MANIFEST_BYTES, "manifest-too-large", seconds)
    manifest = store.checked_manifest(config.parent)
    whole = isinstance(try_to_load_from_cache(repo, f"{path}/{store.WEIGHTS}", revision=revision), str)
    return HubCheckpoint(repo, revision, manifest, config.parent if whole else None)


def _fetch(repo: str, file: str, revision: str, limit: int, too_large: str, seconds: float) -> Path:
    """One file at a commit, from the cache or into it; its size is asked for before a byte is fetched."""
    if isinstance(path := try_to_load_from_cache(repo, file, revision=revision), str):
        return Path(path)
    name = f"{repo}/{file}"
    url = hf_hub_url(repo, file, revision=revision)
    patience = min(seconds, ANSWER_SECONDS)
    head = _ask(name, patience, partial(get_hf_file_metadata, url, timeout=2 * patience))  # so that its thread ends
    if head.size is None:
        raise CheckpointError.of("hub-not-a-hub", name=name)
    if head.size > limit:
        raise CheckpointError.of(too_large, name=name, size=head.size, limit=limit)
    return Path(_ask(name, seconds, partial(hf_hub_download, repo, file, revision=revision), broken="hub-cut-off"))


def _ask(name: str, seconds: float, call: Callable[[], T], broken: str = "hub-unreachable") -> T:
    """What a call of the Hub's client returns, within a time that the client itself cannot be held to.

    The client waits for each piece of an answer, and begins anew after a failure, so that a Hub which drips keeps it
    for ever. A call that is given up goes on in its thread; what it still fetches is in the cache the next time.

    Args:
        name: What is asked for, for the error.
        broken: The reason to give when the connection fails.
    """
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name=f"hub: {name}", daemon=True).start()
    wait([future], seconds)
    if not future.done():
        raise CheckpointError.of("hub-too-slow", name=name, seconds=seconds)
    error = future.exception()
    if error is not None:
        raise _explained(error, name, broken) from error
    return future.result()


def _explained(error: BaseException, name: str, broken: str) -> BaseException:
    """The error of ours for one of the client's; what is no fault of the Hub stays as it is."""
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__  # the client wraps whatever kept it from the Hub
    if isinstance(error, OfflineModeIsEnabled):
        return CheckpointError.of("hub-offline", name=name)
    if isinstance(error, HfHubHTTPError):
        return _refused(error, name)
    if isinstance(error, FileMetadataError):
        return CheckpointError.of("hub-not-a-hub", name=name)
    if isinstance(error, HTTPError | LocalEntryNotFoundError) or (isinstance(error, OSError) and error.errno is None):
        return CheckpointError.of(broken, name=name)  # a file of another length than announced is a bare OSError
    if isinstance(error, OSError):
        return CheckpointError.of("checkpoint-not-saved", name=name, problem=error.strerror or str(error))
    if isinstance(error, ValueError | KeyError | TypeError | AttributeError):  # an answer that is not the Hub's JSON
        return CheckpointError.of("hub-not-a-hub", name=name)
    return error


def _refused(error: HfHubHTTPError, name: str) -> CheckpointError:
    status = error.response.status_code
    if isinstance(error, GatedRepoError) or status == 403:
        return CheckpointError.of("hub-refused", name=name)
    if status in (401, 404):  # the Hub answers 401 for a repository that is not there, too
        return CheckpointError.of("hub-not-found", name=name)
    return CheckpointError.of("hub-busy" if status == 429 else "hub-failed", name=name, status=status)
