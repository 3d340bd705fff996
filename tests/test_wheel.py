"""The program as `pip install` gives it: away from the checkout, with the data that the wheel holds."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from denoise_app.audio.clip import Clip
from denoise_app.inference import catalog
from denoise_app.version import __version__

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


def clean_environment() -> dict[str, str]:
    """Without what would put the checkout on the path of a program in another folder."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DENOISE_"))}


def run(*command: object, cwd: Path = ROOT) -> str:
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=cwd, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are, in a new environment that shares nothing with this one but the dependencies."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "-q", "--python", python, "install", "--no-deps", "--no-index", wheel)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def test_it_is_small_and_holds_what_it_needs(wheel: Path) -> None:
    assert wheel.name.startswith(f"denoise_app-{__version__}-")
    assert wheel.stat().st_size < 10e6
    files = set(zipfile.ZipFile(wheel).namelist())
    assert {"denoise_app/py.typed", "denoise_app/ui/static/player.js"} <= files
    assert not [name for name in files if name.startswith(("tests/", "weights/", "docs/"))]
    model, loss = catalog.recommended()
    assert f"denoise_app/bundled/weights/{model}/{loss}/model.safetensors" in files


def test_the_command_denoises_from_another_folder(installed: Path, speech: Clip, tmp_path: Path) -> None:
    noisy = speech.samples[0, :16_000] + 0.05 * np.random.default_rng(1).standard_normal(16_000).astype(np.float32)
    soundfile.write(tmp_path / "x.wav", noisy, 16_000)
    run(installed / "denoise-app", "denoise", "x.wav", "-o", "out", cwd=tmp_path)
    clean, rate = soundfile.read(tmp_path / "out" / "x.wav", dtype="float32")
    assert (clean.size, rate) == (16_000, 16_000)
    assert np.mean(clean**2) < 0.9 * np.mean(noisy**2)


def test_it_knows_its_version_and_its_models(installed: Path, tmp_path: Path) -> None:
    assert run(installed / "denoise-app", "--version", cwd=tmp_path).strip() == f"denoise-app {__version__}"
    assert run(installed / "denoise-app", "denoise", "--help", cwd=tmp_path).startswith("usage: denoise-app denoise ")
    rows = json.loads(run(installed / "denoise-app", "models", "--json", cwd=tmp_path))
    assert [(row["model"], row["loss"]) for row in rows if row["recommended"]] == [catalog.recommended()]


def test_the_page_finds_its_examples_and_scores(installed: Path, tmp_path: Path) -> None:
    code = (
        "import denoise_app, json\n"
        "from denoise_app import resources\n"
        "print(json.dumps([denoise_app.__file__, len(list(resources.folder('examples').glob('*.flac'))),"
        " (resources.folder('results') / 'leaderboard.json').is_file()]))"
    )
    package, examples, scores = json.loads(run(installed / "python", "-c", code, cwd=tmp_path))
    assert Path(package).is_relative_to(installed.parent)
    assert examples == len(list((ROOT / "examples").glob("*.flac"))) > 0
    assert scores


def test_the_page_is_served_from_another_folder(installed: Path, tmp_path: Path) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    port = str(listening.getsockname()[1])
    listening.close()
    environment = clean_environment() | {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": port}
    page = subprocess.Popen([installed / "python", "-m", "denoise_app.ui"], cwd=tmp_path, env=environment)
    try:
        while page.poll() is None:
            with suppress(httpx.TransportError):  # until it listens
                assert "gradio" in httpx.get(f"http://127.0.0.1:{port}/", timeout=30).raise_for_status().text
                return
            time.sleep(0.5)
        raise AssertionError(f"the page ended with {page.returncode}")
    finally:
        page.terminate()
        page.wait()
