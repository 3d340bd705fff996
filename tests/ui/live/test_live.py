"""What the Live tab offers, and what it hands to a browser that runs a model by itself."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from starlette.applications import Starlette
from starlette.testclient import TestClient

from denoise_app.checkpoints.manifest import CheckpointError
from denoise_app.inference import catalog
from denoise_app.inference.catalog import GRAPH, Entry
from denoise_app.inference.errors import EngineError
from denoise_app.ui import static
from denoise_app.ui.live import assets, html, work
from denoise_app.ui.parts.site import Site
from denoise_app.ui.texts import LANGUAGES, Say
from denoise_app.ui.worker.worker import Worker

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.flac"))
EVIL = Entry("<b>&\"'", None, "classical", "built-in", 16_000, True, 512)


@pytest.fixture(scope="module")
def real() -> Worker:
    """With the denoisers that there are."""
    return Worker()


@pytest.fixture
def client(real: Worker) -> TestClient:
    return TestClient(Starlette(routes=work.Files(work.Graphs(real, EXAMPLES)).routes))


def test_only_causal_denoisers_at_hand_are_offered(site: Site) -> None:
    assert [offer.key for offer in work.causal(site.worker.offers)] == ["wiener"]  # the others need the whole
    assert work.recommended(site.worker.offers, work.causal(site.worker.offers)) == "wiener"
    assert work.recommended(site.worker.offers, []) == ""
    with pytest.raises(EngineError) as error:
        work.Graphs(site.worker, EXAMPLES).denoiser("half/hybrid")
    assert error.value.reason == "not-causal"


def test_the_best_for_live_use_comes_first(real: Worker) -> None:
    offers = work.causal(real.offers)
    assert work.recommended(real.offers, offers) == real.offers.recommended("live").key
    assert {"cnn", "transformer"}.isdisjoint(offer.model for offer in offers)


def test_without_weights_live_use_begins_with_what_the_other_tabs_recommend(
    real: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DENOISE_WEIGHTS", str(tmp_path))
    assert work.recommended(real.offers, work.causal(real.offers)) == real.offers.recommended().key == "mmse-lsa"


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_are_escaped_and_the_script_finds_its_sentences(language: str) -> None:
    say = Say(language)
    panel = str(html.panel(say, [EVIL], EVIL.key, work.ADDRESSES))
    assert EVIL.model not in panel and "</input>" not in panel
    texts = json.loads(unescape(re.search(r'data-texts="([^"]*)"', panel)[1]))  # type: ignore[index]
    script = (Path(static.path("live.js"))).read_text("utf-8")
    asked = set(re.findall(r'\bsa(?:y|id)\("([a-z-]+)"', script))
    asked |= {f"failed-{why}" for why in ("slow", "rate", "assets", "graph", "blocked")}
    asked |= {f"{place}-plays" for place in html.PLACES}
    assert asked <= texts.keys()
    classes = {name for name in re.findall(r'part\("([a-z-]+)"\)', script)}
    assert [name for name in classes if not re.search(rf'class="[^"]*\blive-{name}\b', panel)] == []


@pytest.mark.slow
def test_a_graph_is_made_once_and_is_the_model(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = client.get("/live/graph", params={"key": "gru/hybrid"}).json()
    assert (facts["window"], facts["hop"], facts["look_ahead"], facts["rate"]) == (512, 256, 0, 16_000)
    data = client.get(f"/live/{facts['address']}").content
    assert hashlib.sha256(data).hexdigest() == facts["sha256"]
    form = work.onnx.checked(data)
    manifest = catalog.find("gru", "hybrid").manifest
    assert manifest is not None and form.metadata["network_sha256"] == manifest.network_sha256
    monkeypatch.setattr(work.Graphs, "_exported", None)  # a second export would fail
    assert client.get("/live/graph", params={"key": "gru/hybrid"}).json() == facts


@pytest.mark.slow
def test_the_server_runs_the_graph_where_there_is_one(real: Worker) -> None:
    graphs = work.Graphs(real, EXAMPLES)
    found = graphs.denoiser("gru/hybrid")
    assert isinstance(found, work.onnx.OnnxDenoiser) and graphs.denoiser("gru/hybrid") is found
    noise = 0.1 * torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(found(noise), catalog.load("gru", "hybrid")(noise), rtol=0, atol=1e-4)
    assert not isinstance(graphs.denoiser("waveform/perceptual"), work.onnx.OnnxDenoiser)
    assert graphs.denoiser("wiener").causal


def test_without_the_exporter_the_graph_beside_the_weights_serves(
    real: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    graphs = work.Graphs(real, EXAMPLES)
    folder = catalog.find("dpcrn", "pesq").folder
    assert folder is not None and graphs.path(graphs.of("dpcrn/pesq").sha256) == folder / GRAPH
    with pytest.raises(CheckpointError) as error:
        graphs.of("gru/hybrid")
    assert error.value.reason == "no-graph"


@pytest.mark.parametrize(
    ("key", "reason"), [("wiener", "no-graph"), ("waveform/perceptual", "no-graph"), ("x", "no such")]
)
def test_what_has_no_graph_is_told(client: TestClient, key: str, reason: str) -> None:
    answer = client.get("/live/graph", params={"key": key})
    assert answer.status_code == 404 and answer.json()["detail"]
    assert reason == "no such" or key in answer.json()["detail"]


def test_files_have_their_types_and_nothing_else_is_served(
    client: TestClient, monkeypatch: Any, tmp_path: Path
) -> None:
    for name in work.SCRIPTS:
        answer = client.get(f"/live/files/{name}")
        assert answer.headers["content-type"].startswith("text/javascript") and len(answer.content) > 1000
    for name in ("page.js", "..%2Fapp.py", "live.js"):
        assert client.get(f"/live/files/{name}").status_code == 404
    monkeypatch.setattr(assets, "FOLDER", tmp_path)
    assert client.get(f"/live/{work.ADDRESSES['wasm']}").status_code == 404
    (tmp_path / assets.WASM).write_bytes(b"\0asm")
    (tmp_path / "other.wasm").write_bytes(b"\0asm")
    assert client.get(f"/live/{work.ADDRESSES['wasm']}").headers["content-type"] == "application/wasm"
    assert client.get(f"/live/files/{assets.VERSION}/other.wasm").status_code == 404
    assert client.get("/live/graph/" + "0" * 64).status_code == 404


def packed(folder: Path, content: bytes) -> Path:
    """A package such as npm gives."""
    for name in assets.FILES:
        path = folder / "package" / "dist" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with tarfile.open(folder / "package.tgz", "w:gz") as archive:
        archive.add(folder / "package", "package")
    return folder / "package.tgz"


def test_only_what_is_pinned_is_laid_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "wasm"
    monkeypatch.setattr(assets, "_packed", lambda folder: packed(tmp_path, b"something else"))
    with pytest.raises(assets.AssetError, match="not what is pinned"):
        assets.lay_out(target)
    assert not target.exists()
    content = np.random.default_rng(0).bytes(1000)
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(assets, "FILES", dict.fromkeys(assets.FILES, digest))
    monkeypatch.setattr(assets, "_packed", lambda folder: packed(tmp_path, content))
    assets.lay_out(target)
    assert assets.laid_out(target) and {path.name for path in target.iterdir()} == set(assets.FILES)
    monkeypatch.setattr(assets, "_packed", None)  # what is there is not fetched again
    assets.lay_out(target)


def test_without_npm_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(assets.AssetError, match="npm is not installed"):
        assets.lay_out(tmp_path / "wasm")
