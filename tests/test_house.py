"""The shape of the house: which room may import which, and which word is spoken where.

Imports are read from the syntax tree, so those inside functions, under `if TYPE_CHECKING` and by name through
importlib count like those at the top.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "denoise_app"
FRONT_DOOR = "the front door"

FLOORS = {
    FRONT_DOOR: 8,  # denoise_app/__init__.py: for people outside, so nobody inside calls it
    "__main__": 8,
    "ui": 7,
    "cli": 7,
    "evaluation": 6,
    "serve": 6,
    "scale": 6,
    "training": 5,
    "export": 5,
    "inference": 4,
    "losses": 3,
    "checkpoints": 3,
    "classical": 2,
    "models": 2,
    "metrics": 2,
    "plots": 2,
    "spectral": 1,
    "denoiser": 1,
    "audio": 0,
    "resources": 0,
    "version": 0,
}

WORDS = {  # a module's name -> the files and folders that may import it
    "gradio": ("denoise_app/ui/", "app.py"),
    "plotly": ("denoise_app/plots/",),
    "huggingface_hub": ("denoise_app/checkpoints/",),
    "safetensors": ("denoise_app/checkpoints/",),
    "soundfile": ("denoise_app/audio/libsndfile.py",),
    "ffmpeg": ("denoise_app/audio/ffmpeg.py", "denoise_app/audio/tags.py"),
    "pesq": ("denoise_app/metrics/perceptual.py", "denoise_app/losses/perceptual.py"),
    "pystoi": ("denoise_app/metrics/perceptual.py", "denoise_app/losses/perceptual.py"),
    "torch_pesq": ("denoise_app/metrics/perceptual.py", "denoise_app/losses/perceptual.py"),
    "onnx": ("denoise_app/export/",),
    "ray": ("denoise_app/scale/",),
    "fsspec": ("denoise_app/scale/",),
    "prometheus_client": ("denoise_app/serve/",),
    "spaces": ("denoise_app/ui/worker/zero.py",),
    "markupsafe": ("denoise_app/ui/",),
    "html": ("denoise_app/plots/page.py",),  # the page escapes through markupsafe
    "onnxruntime": ("denoise_app/inference/", "denoise_app/export/", "denoise_app/metrics/blind.py"),
    **dict.fromkeys(("argparse", "click", "docopt", "fire", "getopt", "optparse", "typer"), ("denoise_app/cli.py",)),
}
TRANSFORMS = {"stft", "istft"}
TRANSFORMS_IN = ("denoise_app/spectral/stft.py",)
PROGRAMS = {"ffmpeg", "ffprobe"}
PROGRAMS_IN = ("denoise_app/audio/ffmpeg.py", "denoise_app/audio/tags.py")

TABS = {"clean", "compare", "blind", "bench", "live", "batch", "models"}  # folders of ui
SHARED = {"parts", "worker"}
ACROSS = {("compare", "blind")}  # whose panel lies under its results

SOURCES = [*sorted((ROOT / PACKAGE).rglob("*.py")), ROOT / "app.py"]


def absolute(path: str, level: int, name: str) -> str:
    """What a relative import in a file means: ("denoise_app/ui/clean/tab.py", 2, "app") -> "denoise_app.ui.app"."""
    package = Path(path).parent.parts
    return ".".join([*package[: len(package) - level + 1], *([name] if name else [])])


def imports(path: str, tree: ast.AST) -> Iterator[str]:
    """Full dotted names of all that a file imports; `from a import b` gives "a.b"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = absolute(path, node.level, node.module or "") if node.level else node.module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in {"import_module", "__import__"}:
            name = node.args[0]
            assert isinstance(name, ast.Constant), f"{path}:{node.lineno} imports by a computed name"
            bare = name.value.lstrip(".")
            level = len(name.value) - len(bare)
            yield absolute(path, level, bare) if level else bare


def called(node: ast.Call) -> str | None:
    """The last name of what is called: f(...) and a.b.f(...) are both "f"."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else None


def room(name: str) -> str | None:
    """The room that a dotted name lies in; None outside the house."""
    package, *rest = name.split(".")
    if package != PACKAGE:
        return None
    return rest[0] if rest and rest[0] in FLOORS else FRONT_DOOR


def own_room(path: str) -> str:
    """The room that a file of the package lies in."""
    name = Path(path).parts[1].removesuffix(".py")
    return FRONT_DOOR if name == "__init__" else name


def climbs(path: str, tree: ast.AST) -> list[str]:
    """Imports of a file that go up or across."""
    if path == "app.py":
        return []
    own = own_room(path)
    others = ((name, room(name)) for name in imports(path, tree))
    return [
        f"{path} ({own}, floor {FLOORS[own]}) imports {name} (floor {FLOORS[other]})"
        for name, other in others
        if other is not None and other != own and FLOORS[other] >= FLOORS[own]
    ]


def place(name: str) -> str | None:
    """The folder of ui that a dotted name lies in; None outside, and for what belongs to no folder."""
    package, *rest = name.split(".")
    return rest[1] if package == PACKAGE and len(rest) > 1 and rest[0] == "ui" and rest[1] in TABS | SHARED else None


def crossings(path: str, tree: ast.AST) -> list[str]:
    """Imports by which a tab needs another one, or what tabs share needs a tab: a tab goes when its folder goes."""
    own = place(".".join(Path(path).with_suffix("").parts))
    others = ((name, place(name)) for name in imports(path, tree))
    return [
        f"{path} imports {name}"
        for name, other in others
        if own and other in TABS and other != own and (own, other) not in ACROSS
    ]


def strays(path: str, tree: ast.AST) -> list[str]:
    """Words of the table that a file says and may not."""
    found = []
    for name in imports(path, tree):
        word = name.split(".")[0]
        if word in WORDS and not path.startswith(WORDS[word]):
            found.append(f"{path} imports {name}")
        if name.split(".")[-1] in TRANSFORMS and word == "torch" and not path.startswith(TRANSFORMS_IN):
            found.append(f"{path} imports {name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) in TRANSFORMS and not path.startswith(TRANSFORMS_IN):
            found.append(f"{path}:{node.lineno} calls {called(node)}")
        if isinstance(node, ast.Constant) and node.value in PROGRAMS and not path.startswith(PROGRAMS_IN):
            found.append(f"{path}:{node.lineno} names the program {node.value}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_downstairs_and_words_stay_in_their_rooms(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=name)
    assert climbs(name, tree) == []
    assert crossings(name, tree) == []
    assert strays(name, tree) == []


def test_the_page_imports_no_training() -> None:
    """Floors allow it, but a page that denoises has no use for optimizers and loops."""
    for path in sorted((ROOT / PACKAGE / "ui").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        found = imports(name, ast.parse(path.read_text(encoding="utf-8"), filename=name))
        assert [other for other in found if room(other) == "training"] == [], name


def test_every_file_lies_in_a_room() -> None:
    for path in SOURCES[:-1]:
        assert own_room(path.relative_to(ROOT).as_posix()) in FLOORS
        assert "util" not in path.stem and "helper" not in path.stem


def test_the_entry_of_the_space_is_short() -> None:
    assert len((ROOT / "app.py").read_text().splitlines()) < 20


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("denoise_app/audio/files.py", "from denoise_app.spectral import stft"),  # up
        ("denoise_app/plots/scores.py", "from denoise_app.metrics.report import METRICS"),  # across
        ("denoise_app/audio/files.py", "def f():\n    from denoise_app.ui import app"),  # lazily
        ("denoise_app/audio/files.py", "from ..ui.clean import tab"),  # by a relative name
        ("denoise_app/ui/clean/tab.py", "from ... import denoise"),  # the front door, from inside
        ("denoise_app/models/gru.py", "import importlib\nimportlib.import_module('denoise_app.losses')"),
        ("denoise_app/models/gru.py", "import importlib\nimportlib.import_module('..losses', __package__)"),
        ("denoise_app/inference/engine.py", "import denoise_app"),
        ("denoise_app/cli.py", "from denoise_app.ui.app import build"),
        ("denoise_app/training/validation.py", "from denoise_app.evaluation import evaluate"),
        ("denoise_app/serve/health.py", "from denoise_app.scale import manifest"),  # across
    ],
)
def test_a_climb_is_seen(path: str, source: str) -> None:
    assert climbs(path, ast.parse(source))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("denoise_app/ui/app.py", "from denoise_app.inference import engine\nfrom .clean import tab"),
        ("denoise_app/losses/waveform.py", "from denoise_app.metrics.signal import si_sdr"),
        ("denoise_app/audio/files.py", "from .clip import Clip\nfrom . import errors\nimport numpy"),
        ("denoise_app/__init__.py", "from denoise_app.inference import engine"),
        ("denoise_app/__main__.py", "from denoise_app.cli import main"),
    ],
)
def test_a_way_down_is_free(path: str, source: str) -> None:
    assert climbs(path, ast.parse(source)) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("denoise_app/inference/engine.py", "import gradio as gr"),
        ("denoise_app/inference/engine.py", "def f():\n    import soundfile"),
        ("denoise_app/ui/clean/tab.py", "import plotly.graph_objects as go"),
        ("denoise_app/models/gru.py", "torch.stft(x, 512)"),
        ("denoise_app/models/gru.py", "x.istft(512)"),
        ("denoise_app/models/gru.py", "from torch import stft as transform"),
        ("denoise_app/ui/app.py", "import subprocess\nsubprocess.run(['ffmpeg', '-i'])"),
        ("denoise_app/ui/app.py", "import importlib\nimportlib.import_module('safetensors.torch')"),
        ("denoise_app/training/loop.py", "import argparse"),
        ("denoise_app/metrics/report.py", "from pesq import pesq"),
        ("denoise_app/ui/clean/html.py", "from html import escape"),
        ("denoise_app/plots/page.py", "from markupsafe import Markup"),
    ],
)
def test_a_word_in_the_wrong_room_is_heard(path: str, source: str) -> None:
    assert strays(path, ast.parse(source))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("denoise_app/ui/parts/receipt.py", "from denoise_app.ui.clean.work import Result"),
        ("denoise_app/ui/worker/worker.py", "def f():\n    from ..bench import work"),
        ("denoise_app/ui/bench/html.py", "from denoise_app.ui.compare.html import name"),
        ("denoise_app/ui/blind/work.py", "from ..compare import work"),
    ],
)
def test_a_tab_that_others_need_is_seen(path: str, source: str) -> None:
    assert crossings(path, ast.parse(source))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("denoise_app/ui/compare/tab.py", "from denoise_app.ui.blind.tab import BlindPanel"),
        ("denoise_app/ui/compare/tab.py", "from . import html, work\nfrom denoise_app.ui.parts import figures"),
        ("denoise_app/ui/app.py", "from denoise_app.ui.clean.tab import CleanTab"),
        ("denoise_app/ui/parts/source.py", "from denoise_app.ui.worker.session import Session"),
    ],
)
def test_what_tabs_share_is_free(path: str, source: str) -> None:
    assert crossings(path, ast.parse(source)) == []
