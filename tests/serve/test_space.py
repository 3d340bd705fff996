"""What a laid-out Space holds, that it appears whole or not at all, and that one starts as its host would start it."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from denoise_app.audio.errors import AudioError
from denoise_app.checkpoints import hub, store
from denoise_app.checkpoints.manifest import CheckpointError
from denoise_app.cli import main
from denoise_app.inference import catalog
from denoise_app.serve import space
from denoise_app.serve.space import Pinned, Space, SpaceError, cpu_requirements, is_space, lay_out
from tests.ui.served import free_port

ROOT = Path(__file__).resolve().parents[2]
COMMIT = 4 * "0123456789"


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("place") / "space", ROOT).folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small one."""
    folder = tmp_path / "checkout"
    for name, text in {
        "README.md": "---\nsdk: gradio\n---\n",
        "app.py": "",
        "LICENSE": "",
        "requirements.txt": "torch==2.0 # why\ntorchaudio==2.0   # why\ntorch_pesq==0.1 # why\n",
        "denoise_app/cli.py": "",
        "docs/scale.md": "",
        "docs/service/Dockerfile": "",
        "denoise_app/__pycache__/cli.pyc": "",
        "denoise_app/ui/static/wasm/ort.wasm": "",
        "denoise_app/half.tmp": "",
        "examples/a.flac": "",
        "examples/bench/noise-a.flac": "",
        "examples/make_examples.py": "",
        "results/leaderboard.json": "{}",
        "results/other.json": "{}",
        "weights/gru/hybrid/config.json": "{}",
        "weights/plan.toml": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_it_holds_what_the_page_needs_and_no_more(checkout: Path, tmp_path: Path) -> None:
    made = lay_out(tmp_path / "space", checkout)
    assert names(made.folder) == {
        *("README.md", "app.py", "LICENSE", "requirements.txt", "packages.txt", ".gitattributes"),
        *("denoise_app/cli.py", "denoise_app/ui/static/wasm/ort.wasm", "weights/gru/hybrid/config.json"),
        *("docs/scale.md", "docs/service/Dockerfile"),
        *("examples/a.flac", "examples/bench/noise-a.flac", "results/leaderboard.json"),
    }
    assert (made.files, made.checkpoints) == (len(names(made.folder)), ("gru/hybrid",))
    assert list(tmp_path.glob(".*")) == []


def test_links_and_pictures_lead_somewhere_in_it(laid_out: Path) -> None:
    pages = [laid_out / "README.md", *sorted(laid_out.glob("docs/*.md")), *sorted(laid_out.glob("examples/*.md"))]
    found = []
    for page in pages:
        text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text("utf-8"))  # no code
        found += [(page, target) for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text)]
    assert len(found) > 20
    assert [(page.name, target) for page, target in found if not (page.parent / target).exists()] == []


def test_torch_is_that_for_cpus(checkout: Path, tmp_path: Path) -> None:
    lines = (lay_out(tmp_path / "space", checkout).folder / "requirements.txt").read_text().splitlines()
    assert lines == [
        "--extra-index-url https://download.pytorch.org/whl/cpu",
        "torch==2.0+cpu # why",
        "torchaudio==2.0+cpu # why",
        "torch_pesq==0.1 # why",
    ]


def test_the_requirements_are_those_of_the_repository_but_for_torch(laid_out: Path) -> None:
    ours, its = ((folder / "requirements.txt").read_text().splitlines() for folder in (ROOT, laid_out))
    changed = [line.split("#")[0].strip() for line in its if line not in ours]
    assert changed[0].startswith("--extra-index-url ")
    assert [re.sub(r"==[\d.]+", "", line) for line in changed[1:]] == ["torch+cpu", "torchaudio+cpu"]
    assert len(its) == len(ours) + 1


def test_the_host_finds_what_it_asks_for(laid_out: Path) -> None:
    _, front, _ = (laid_out / "README.md").read_text("utf-8").split("---\n", 2)
    told = yaml.safe_load(front)
    assert (told["sdk"], told["python_version"], told["app_file"]) == ("gradio", "3.11", "app.py")
    assert told["suggested_hardware"] == "cpu-basic" and "denoise-app" in told["tags"]
    assert f"gradio=={told['sdk_version']} " in (laid_out / "requirements.txt").read_text()
    assert (laid_out / "packages.txt").read_text().split() == ["ffmpeg"]
    assert is_space(laid_out) and not is_space(laid_out / "weights")


def test_whatever_is_no_text_goes_by_lfs(laid_out: Path) -> None:
    lines = (laid_out / ".gitattributes").read_text().splitlines()
    assert all(line.split()[1:] == ["filter=lfs", "diff=lfs", "merge=lfs", "-text"] for line in lines)
    large = [line.split()[0].removeprefix("*") for line in lines]
    for path in laid_out.rglob("*"):
        if path.is_file() and path.suffix not in large:
            path.read_bytes().decode("utf-8")  # raises where it is no text
            assert path.stat().st_size < 10e6  # what the Hub takes without LFS


def test_every_bundled_checkpoint_is_there_and_in_order(laid_out: Path) -> None:
    stored, broken = store.list_folder(laid_out / "weights")
    wanted = [(entry.model, entry.loss) for entry in catalog.entries(ROOT / "weights") if entry.source == "bundled"]
    assert sorted((one.manifest.model, one.manifest.loss) for one in stored) == sorted(wanted) and not broken
    assert len(list(laid_out.glob("weights/*/*/model.onnx"))) == len(list(ROOT.glob("weights/*/*/model.onnx"))) > 0


def test_an_empty_folder_is_taken_and_a_full_one_is_not(checkout: Path, tmp_path: Path) -> None:
    out = tmp_path / "space"
    out.mkdir()
    lay_out(out, checkout)
    before = names(out)
    with pytest.raises(SpaceError, match="is not empty"):
        lay_out(out, checkout)
    assert names(out) == before


@pytest.mark.parametrize("make", [lambda out: out.write_text("mine"), lambda out: out.symlink_to("elsewhere")])
def test_what_is_no_folder_is_left_as_it_is(checkout: Path, tmp_path: Path, make: Callable[[Path], Any]) -> None:
    make(tmp_path / "space")
    with pytest.raises(SpaceError, match="is no folder"):
        lay_out(tmp_path / "space", checkout)
    assert (tmp_path / "space").is_symlink() or (tmp_path / "space").read_text() == "mine"


@pytest.mark.parametrize("name", ["denoise_app/space", "weights", "examples/bench/space"])
def test_a_space_within_what_is_copied_is_refused(checkout: Path, name: str) -> None:
    before = names(checkout)
    with pytest.raises(SpaceError, match="is copied"):
        lay_out(checkout / name, checkout)
    assert names(checkout) == before


def test_an_installed_package_says_what_is_missing(checkout: Path, tmp_path: Path) -> None:
    for name in ("README.md", "LICENSE"):
        (checkout / name).unlink()
    with pytest.raises(SpaceError, match=r"lacks README\.md, LICENSE\. Clone the repository"):
        lay_out(tmp_path / "space", checkout)
    assert not (tmp_path / "space").exists()


def test_weights_of_others_need_none_of_the_checkout(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(repo: str, revision: str, folder: Path) -> None:
        asked.append((repo, revision))
        (folder / "cnn/own").mkdir(parents=True)
        (folder / "cnn/own/config.json").write_text("{}")

    monkeypatch.setattr(hub, "fetch", fetch)
    shutil.rmtree(checkout / "weights")
    made = lay_out(tmp_path / "space", checkout, Pinned.of(f"somebody/models@{COMMIT}"))
    assert asked == [("somebody/models", COMMIT)] and made.checkpoints == ("cnn/own",)


def test_nothing_is_left_where_weights_cannot_be_fetched(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(repo: str, revision: str, folder: Path) -> None:
        raise CheckpointError.of("hub-unreachable", name=repo)

    monkeypatch.setattr(hub, "fetch", fetch)
    with pytest.raises(CheckpointError):
        lay_out(tmp_path / "space", checkout, Pinned("somebody/models", COMMIT))
    assert [path.name for path in tmp_path.iterdir()] == ["checkout"]


@pytest.mark.parametrize("text", ["somebody/models", "somebody/models@main", "somebody/models@0123456", "@", ""])
def test_weights_are_pinned_by_a_whole_commit(text: str) -> None:
    with pytest.raises(SpaceError, match="all 40 hexadecimal digits"):
        Pinned.of(text)


@pytest.mark.slow
def test_a_full_disk_is_told_and_nothing_is_left(checkout: Path, tmp_path: Path) -> None:
    """A process that may write no file of more than 10 kB stands for it; in bytes the rest fits."""
    (checkout / "weights/gru/hybrid/model.safetensors").write_bytes(bytes(20_000))
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom denoise_app.serve.space import lay_out\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, {resource.RLIM_INFINITY}))\n"
        "try:\n    lay_out(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except Exception as error:\n    print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "space"), str(checkout)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.startswith("AudioError The disk is full: ")
    assert [path.name for path in tmp_path.iterdir()] == ["checkout"]


def test_a_folder_that_cannot_be_written_is_told(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AudioError, match="cannot be written"):
        lay_out(tmp_path / "file" / "space", checkout)
    if os.getuid() != 0:  # whom no folder stops
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(AudioError, match="cannot be written"):
            lay_out(tmp_path / "closed" / "space", checkout)


def test_the_command_tells_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "--out", str(tmp_path / "space"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    made = Space.of(tmp_path / "space")
    assert told == {
        "folder": str(made.folder),
        "files": made.files,
        "size": made.size,
        "checkpoints": list(made.checkpoints),
        "check": [],
    }
    assert main(["space", "--out", str(tmp_path / "space")]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert main(["space", "--out", str(tmp_path / "other"), "--weights", "somebody/models@main"]) == 1
    assert "all 40 hexadecimal digits" in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_requirements_without_torch_stay_as_they_are() -> None:
    assert cpu_requirements("numpy==1 # why\n").splitlines()[1:] == ["numpy==1 # why"]


@pytest.mark.slow
def test_a_laid_out_space_starts_as_on_its_host(laid_out: Path) -> None:
    """The command itself, with a real server, twice."""
    before = names(laid_out)
    command = [sys.executable, "-m", "denoise_app", "space", "--out", str(laid_out), "--check", "--json"]
    done = subprocess.run([*command, "--port", str(free_port())], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)["check"]
    assert done.returncode == 0 and all(one["passed"] for one in found), found
    texts = [one["text"] for one in found]
    assert [text.split(":")[0] for text in texts if "rendering" in text] == [
        "server-side rendering off",
        "server-side rendering on",
    ]
    for sign in ("ready after", "denoised in", "samples, at 16000 Hz", "dB quieter", "after SIGTERM"):
        assert sum(sign in text for text in texts) == 2, sign
    if os.getuid() == 0:
        assert texts.count("run by uid 1000") == 2
    assert names(laid_out) == before  # a copy is started
    assert space.is_space(laid_out)
