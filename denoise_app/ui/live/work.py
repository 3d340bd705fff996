"""What the Live tab works with: which denoisers there are, and what a browser needs to run one by itself."""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from denoise_app.audio import files
from denoise_app.audio.clip import Clip
from denoise_app.checkpoints.manifest import CheckpointError
from denoise_app.denoiser import Denoiser
from denoise_app.inference import onnx
from denoise_app.inference.catalog import GRAPH, Entry
from denoise_app.inference.errors import EngineError
from denoise_app.ui import static
from denoise_app.ui.parts.language import say_in
from denoise_app.ui.worker.offers import Offers
from denoise_app.ui.worker.worker import Worker

from . import assets

SCRIPTS = {name: static.path(name) for name in ("live-sound.js", "live-engine.js")}
ADDRESSES = {"module": f"files/{assets.VERSION}/{assets.MODULE}", "wasm": f"files/{assets.VERSION}/{assets.WASM}"}
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
SPEECH_SECONDS = 2.0  # that an exported graph is compared with PyTorch on


def causal(offers: Offers) -> list[Entry]:
    """The denoisers that can work on a stream and are at hand."""
    return [offer for offer in offers.all() if offer.causal and offer.cached]


def recommended(offers: Offers, known: Sequence[Entry]) -> str:
    """The key of the one to begin with."""
    keys = [offer.key for offer in known]
    best = offers.recommended("live").key
    return best if best in keys else next(iter(keys), "")


@dataclass(frozen=True)
class Graph:
    """A model for a browser, in the form of one frame a call.

    Attributes:
        address: Below the tab's own.
        sha256: Of its bytes.
        window, hop: Of its frames, in samples.
        look_ahead: Frames that it is late by.
        rate: Hz.
    """

    address: str
    sha256: str
    window: int
    hop: int
    look_ahead: int
    rate: int


class Graphs:
    """Graphs of denoisers: each is made once, when somebody first asks for it, and goes with the process.

    Args:
        worker: Knows the denoisers.
        speech: Recordings, on the first of which a graph is compared with PyTorch.
    """

    def __init__(self, worker: Worker, speech: Sequence[Path]) -> None:
        self._worker, self._speech = worker, speech
        self._lock = threading.Lock()
        self._made: dict[str, tuple[Graph, Path]] = {}
        self._read: dict[str, Denoiser] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def of(self, key: str) -> Graph:
        """The graph of a denoiser.

        Raises:
            CheckpointError: There is no such denoiser, or none of its graphs is at hand and none can be made.
        """
        offer = self._worker.offers.find(key)
        digest = f"{key} {offer.manifest.network_sha256 if offer.manifest else ''}"  # weights may be replaced
        with self._lock:
            if digest not in self._made:
                path = self._path(offer)
                self._made[digest] = _described(path), path
            return self._made[digest][0]

    def path(self, sha256: str) -> Path | None:
        """Where the graph of a digest lies; None where nobody has asked for it by its key."""
        return next((path for graph, path in self._made.values() if graph.sha256 == sha256), None)

    def denoiser(self, key: str) -> Denoiser:
        """What a session on the server runs: the graph where there is one, for frame by frame it is two to six times as
        quick as PyTorch and gives the same samples (docs/deploy.md).

        Raises:
            CheckpointError: There is no denoiser of this key, or it is refused.
            EngineError: "not-causal".
        """
        offers = self._worker.offers
        offer = offers.find(key)
        if not offer.causal:
            raise EngineError.of("not-causal")
        denoiser = offers.load(offer)
        if isinstance(denoiser, onnx.OnnxDenoiser) or offer.manifest is None:
            return denoiser
        try:
            digest = self.of(key).sha256
        except CheckpointError:
            return denoiser
        with self._lock:
            if digest not in self._read:
                path = self.path(digest)
                assert path is not None
                self._read[digest] = onnx.load(path)
            return self._read[digest]

    def _path(self, offer: Entry) -> Path:
        """The file of a denoiser by others; of ours one of one frame a call, or that of many beside its weights."""
        if offer.source == "onnx" and offer.folder is not None:
            return offer.folder
        if offer.folder is not None and self._speech and importlib.util.find_spec("onnx"):
            return self._exported(offer.key, offer.folder)
        if offer.source == "bundled" and offer.folder is not None and (offer.folder / GRAPH).is_file():
            return offer.folder / GRAPH
        raise CheckpointError.of("no-graph", name=offer.key)

    def _exported(self, key: str, folder: Path) -> Path:
        from denoise_app.export.write import ExportError, export  # needs onnx, which not everybody has

        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="graphs-")
        target = Path(self._folder.name, f"{len(self._made)}.onnx")
        whole = files.read(self._speech[0])
        speech = Clip(whole.samples[:, : int(SPEECH_SECONDS * whole.sample_rate)], whole.sample_rate)
        try:
            with self._worker.at_work():
                return export(folder, target, speech).path
        except ExportError as error:
            raise CheckpointError.of("no-graph", name=key) from error


def _described(path: Path) -> Graph:
    data = path.read_bytes()
    try:
        form = onnx.checked(data)
    except ValueError as error:
        raise onnx.refused(path, str(error)) from error
    digest, stft = hashlib.sha256(data).hexdigest(), form.stft
    return Graph(f"graph/{digest}", digest, stft.window, stft.hop, form.look_ahead, stft.sample_rate)


class Files:
    """What a browser fetches: scripts, ONNX Runtime, and graphs."""

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs

    @property
    def routes(self) -> list[BaseRoute]:
        """What the web server has to know."""
        return [
            Route("/live/files/{name}", self._script),
            Route(f"/live/files/{assets.VERSION}/{{name}}", self._runtime),
            Route("/live/graph", self._graph),
            Route("/live/graph/{sha256}", self._data),
        ]

    def _script(self, request: Request) -> Response:
        path = SCRIPTS.get(request.path_params["name"])
        return _sent(path, {"Cache-Control": "no-cache"}) if path else _missing()

    def _runtime(self, request: Request) -> Response:
        name = request.path_params["name"]
        return _sent(assets.FOLDER / name, FOREVER) if name in assets.FILES else _missing()

    async def _graph(self, request: Request) -> Response:
        say = say_in(request.headers.get("accept-language", ""))
        try:
            graph = await run_in_threadpool(self._graphs.of, request.query_params.get("key", ""))
        except CheckpointError as error:
            return JSONResponse({"detail": say.problem(error)}, status_code=404)
        return JSONResponse(asdict(graph), headers={"Cache-Control": "no-store"})

    def _data(self, request: Request) -> Response:
        path = self._graphs.path(request.path_params["sha256"])
        return FileResponse(path, media_type="application/octet-stream", headers=FOREVER) if path else _missing()


def _sent(path: Path, headers: dict[str, str]) -> Response:
    return FileResponse(path, media_type=TYPES[path.suffix], headers=headers) if path.is_file() else _missing()


def _missing() -> Response:
    return PlainTextResponse("There is no such file here.", status_code=404)
