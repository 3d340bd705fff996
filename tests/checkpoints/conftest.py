"""A small model to store, and a small Hub on loopback for the real client in processes of its own.

The client reads its address, its cache and its offline switch when it is first imported, which other tests of this
process may have done long before: so it runs in children, one per setting, that are told what to call.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import torch
import warm_starts
from torch import nn

from denoise_app.checkpoints import store
from denoise_app.checkpoints.manifest import Manifest
from denoise_app.models.registry import build

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "hf_of_somebody"
SMALL = {"window": 4096, "hop": 2048, "width": 8, "hidden": 8, "layers": 1}  # few frames: its MACs are counted soon


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(3)
    return build("gru", SMALL)


@pytest.fixture
def manifest() -> Manifest:
    """What training would say of `module`."""
    return Manifest(
        model="gru",
        loss="hybrid",
        config=SMALL,
        favours={"en": "The all-rounder.", "zh": "均衡之选。"},
        training={"steps": 10, "hours_seen": 0.5, "data": "noise and speech", "curve": [{"step": 10, "loss": 0.25}]},
        languages=("en", "zh"),
        credits=("Some speech: somebody, CC BY 4.0",),
        scores={"pesq_wb": 1.7, "si_sdr": 9.5},
        noisy_scores={"pesq_wb": 1.36},
    )


@pytest.fixture
def stored(tmp_path: Path, module: nn.Module, manifest: Manifest) -> Path:
    """A folder gru/hybrid with a good checkpoint."""
    folder = tmp_path / "weights" / "gru" / "hybrid"
    store.save(folder, module, manifest)
    return folder


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a good gru/hybrid."""
    folder = tmp_path_factory.mktemp("made") / "gru" / "hybrid"
    torch.manual_seed(4)
    store.save(folder, build("gru", SMALL), Manifest("gru", "hybrid", config=SMALL))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Bomb:
    """What runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.fixture
def bomb(tmp_path: Path) -> tuple[bytes, Path]:
    """A pickle, and the file that appears when somebody reads it as one."""
    trace = tmp_path / "it-ran"
    return pickle.dumps(Bomb(trace)), trace


@dataclass
class Repo:
    """A repository at one commit. `fault` may answer a request itself: it gets the handler and the path in the repo,
    "" for the repository's own entry, and returns whether it did."""

    files: dict[str, bytes]
    tags: list[str] = field(default_factory=lambda: ["denoise-app"])
    fault: Callable[[Any, str], bool] = lambda request, file: False
    named: dict[str, str] = field(default_factory=dict)

    @property
    def sha(self) -> str:
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()


class Hub:
    """Repositories by name, what was asked for, and an event that lets slow answers go on."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.log: list[str] = []
        self.large: dict[str, bytes] = {}
        self.closing = threading.Event()
        self.api_fault: Callable[[Any], bool] = lambda request: False
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def add(self, name: str, checkpoint: dict[str, bytes], **more: Any) -> str:
        """Put a repository up with one checkpoint at gru/hybrid; its commit."""
        self.repos[name] = Repo({f"gru/hybrid/{file}": data for file, data in checkpoint.items()}, **more)
        return self.repos[name].sha


class Handler(BaseHTTPRequestHandler):
    """The routes of the Hub that the client uses to list and to fetch."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.hub.log.append(f"{self.command} {path}")
        if path == "/api/models":
            self.list_models()
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            self.repository(match[1], match[2])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.file(*match.groups())
        else:
            self.answer(404)

    def do_POST(self) -> None:
        """Creating, and the three steps of an upload: what goes how, large files, a commit of all."""
        path, body = unquote(urlsplit(self.path).path), self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.log.append(f"{self.command} {path}")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401)
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.hub.repos:
                told = {"error": "You already created this repo", "url": f"{self.hub.address}/{name}"}
                self.answer(409, {"Content-Type": "application/json"}, json.dumps(told).encode())
            else:
                self.hub.repos[name] = Repo({})
                self.json({"url": f"{self.hub.address}/{name}", "name": name})
        elif path == "/api/validate-yaml":
            self.json({"errors": [], "warnings": []})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            files = json.loads(body)["files"]
            large = {True: "lfs", False: "regular"}
            self.json(
                {
                    "files": [
                        {
                            "path": file["path"],
                            "uploadMode": large[file["path"].endswith((".safetensors", ".onnx"))],
                            "shouldIgnore": False,
                        }
                        for file in files
                    ]
                }
            )
        elif re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            objects = [
                one | {"actions": {"upload": {"href": f"{self.hub.address}/large/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            self.json({"transfer": "basic", "objects": objects})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            self.commit(self.hub.repos[match[1]], match[1], [json.loads(line) for line in body.splitlines()])
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tag/([^/]+)", path):
            self.hub.repos[match[1]].named[json.loads(body)["tag"]] = match[2]
            self.json({})
        else:
            self.answer(404)

    def do_PUT(self) -> None:
        """A large file, under its digest."""
        data = self.rfile.read(int(self.headers["Content-Length"]))
        name = self.path.rpartition("/")[2]
        assert hashlib.sha256(data).hexdigest() == name
        self.hub.large[name] = data
        self.answer(200)

    def commit(self, repo: Repo, name: str, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repo.files[value["path"]] = self.hub.large[value["oid"]]
        url = f"{self.hub.address}/{name}/commit/{repo.sha}"
        self.json({"commitUrl": url, "commitOid": repo.sha, "success": True})

    def list_models(self) -> None:
        """Every repository, whatever was asked for: a client must not rely on the filter."""
        if not self.hub.api_fault(self):
            self.json([{"id": name, "tags": repo.tags} for name, repo in self.hub.repos.items()])

    def repository(self, name: str, revision: str | None) -> None:
        repo = self.hub.repos.get(name)
        if repo is None:
            self.answer(401, {"X-Error-Code": "RepoNotFound"})  # as the Hub does for strangers
        elif revision not in (None, "main", repo.sha):
            self.answer(404, {"X-Error-Code": "RevisionNotFound"})
        elif not repo.fault(self, ""):
            siblings = [{"rfilename": file} for file in repo.files]
            self.json({"id": name, "sha": repo.sha, "tags": repo.tags, "siblings": siblings})

    def file(self, name: str, revision: str, file: str) -> None:
        repo = self.hub.repos.get(name)
        if repo is None:
            self.answer(401, {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", repo.sha):
            self.answer(404, {"X-Error-Code": "RevisionNotFound"})
        elif repo.fault(self, file):
            return
        elif file not in repo.files:
            self.answer(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.sha})
        else:
            self.send(repo, file, repo.files[file])

    def send(self, repo: Repo, file: str, data: bytes, announced: int | None = None) -> None:
        """A file's bytes under its ETag; with `announced`, another length than that of what is sent."""
        self.send_response(200)
        self.send_header("ETag", '"' + hashlib.sha1(repo.files[file]).hexdigest() + '"')
        self.send_header("X-Repo-Commit", repo.sha)
        self.send_header("Content-Length", str(len(data) if announced is None else announced))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def json(self, content: object) -> None:
        self.answer(200, {"Content-Type": "application/json"}, json.dumps(content).encode())

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def running_hub() -> Iterator[Hub]:
    hub = Hub()
    yield hub
    hub.closing.set()
    hub.server.shutdown()
    hub.server.server_close()


@pytest.fixture
def hub(running_hub: Hub) -> Iterator[Hub]:
    """The Hub with nothing on it."""
    running_hub.repos.clear()
    running_hub.log.clear()
    yield running_hub
    running_hub.api_fault = lambda request: False


class Client:
    """A process with the real client; `call` runs a function of the project there."""

    def __init__(self, **environment: str) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "DENOISE_"))}
        kept |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
        self.process = warm_starts.Popen(
            [sys.executable, "-m", "client"],
            cwd=ROOT,
            env=kept | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def call(self, function: str, *arguments: Any, env: dict[str, str] | None = None) -> Any:
        """What it returns, as JSON; the reason of a CheckpointError as {"reason": ..., "message": ...}."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"function": function, "arguments": arguments, "env": env or {}}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(20)


@pytest.fixture(scope="session")
def hub_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HF_HOME of all clients, so that one finds what another pulled."""
    return tmp_path_factory.mktemp("hf")


@pytest.fixture(scope="session")
def online(running_hub: Hub, hub_home: Path) -> Iterator[Client]:
    client = Client(HF_ENDPOINT=running_hub.address, HF_HOME=str(hub_home), HF_HUB_DOWNLOAD_TIMEOUT="2")
    yield client
    client.stop()


@pytest.fixture(scope="session")
def author(running_hub: Hub, hub_home: Path) -> Iterator[Client]:
    """One who may write."""
    client = Client(HF_ENDPOINT=running_hub.address, HF_HOME=str(hub_home), HF_TOKEN=TOKEN)
    yield client
    client.stop()


@pytest.fixture(scope="session")
def offline(running_hub: Hub, hub_home: Path) -> Iterator[Client]:
    client = Client(HF_ENDPOINT=running_hub.address, HF_HOME=str(hub_home), HF_HUB_OFFLINE="1", HF_TOKEN=TOKEN)
    yield client
    client.stop()


@pytest.fixture(scope="session")
def unreachable(hub_home: Path) -> Iterator[Client]:
    """Nobody listens at its Hub's address: port 9 of loopback, where a server would have to be root."""
    client = Client(HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(hub_home))
    yield client
    client.stop()
