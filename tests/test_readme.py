"""What the README says is so: its code runs, its table is the leaderboard's, its files are there."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import yaml

from denoise_app.audio.limits import Limits
from denoise_app.evaluation import leaderboard
from denoise_app.serve.limits import ServiceLimits
from denoise_app.ui import app as page

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def marked(mark: str) -> str:
    """The command below a mark."""
    found = re.search(rf"<!-- {mark} -->\n```bash\n(.*?)\n```", README, flags=re.DOTALL)
    assert found, f"README.md has no command marked {mark}"
    return found[1]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """An empty folder beside which only the examples lie, so that nothing is written into the project."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


def run(command: list[str], folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_is_short() -> None:
    assert len(README.splitlines()) < 170


@pytest.mark.slow
def test_the_lines_of_python_run(elsewhere: Path) -> None:
    code = blocks("python")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 5
    run([sys.executable, "-c", code], elsewhere)
    before, after = soundfile.info(ROOT / "examples/english-fan.flac"), soundfile.info(elsewhere / "clean.flac")
    assert (before.samplerate, before.channels, before.frames) == (after.samplerate, after.channels, after.frames)


@pytest.mark.slow
def test_the_lines_of_the_client_run_against_a_page(elsewhere: Path) -> None:
    _, code = blocks("python")
    served = page.build()
    try:
        _, url, _ = page.launch(served, server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
        assert "http://127.0.0.1:7860" in code
        code = code.replace("http://127.0.0.1:7860", url)
        run([sys.executable, "-c", f"{code}\nassert report['denoiser']['model'] and denoised and removed"], elsewhere)
    finally:
        served.blocks.close()


@pytest.mark.slow
def test_the_lines_of_curl_run_against_a_page(elsewhere: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (lines,) = [block for block in blocks("console") if block.startswith("curl")]
    upload, call, result = lines.replace("\\\n", "").splitlines()
    shutil.copy(ROOT / "examples/english-fan.flac", elsewhere / "talk.wav")  # it is known by its content
    served = page.build()
    try:
        _, url, _ = page.launch(served, server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)

        def answer(line: str) -> str:
            assert "http://127.0.0.1:7860/" in line
            command = ["bash", "-c", line.replace("curl", "curl -fsS", 1).replace("http://127.0.0.1:7860/", url)]
            return subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=True).stdout

        (path,) = json.loads(answer(upload))
        event = json.loads(answer(call.replace("PATH", path)))["event_id"]
        *_, kind, data = answer(result.replace("EVENT_ID", event)).strip().splitlines()
    finally:
        served.blocks.close()
    assert kind == "event: complete"
    denoised, removed, report = json.loads(data.removeprefix("data: "))
    assert denoised["path"] and removed["path"] and report["denoiser"]["model"]


@pytest.mark.slow
def test_the_line_of_the_command_line_runs(elsewhere: Path) -> None:
    (line,) = [block.strip() for block in blocks("bash") if block.startswith("python -m denoise_app denoise")]
    run([sys.executable, *line.split()[1:]], elsewhere)
    examples = {path.name for path in (ROOT / "examples").rglob("*.flac")}
    assert {path.name for path in (elsewhere / "cleaned").rglob("*.flac")} == examples


def test_ci_runs_the_very_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    (extraction,) = re.findall(r"^command=\$\((sed .* README\.md)\)$", script, flags=re.MULTILINE)
    extracted = subprocess.run(["bash", "-c", extraction], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert extracted.strip() == marked("test")
    assert script.rstrip().endswith('eval "$command"')


def test_the_commands_install_what_is_there() -> None:
    for command in (marked("start"), marked("test")):
        for name in re.findall(r"requirements[\w-]*\.txt|app\.py", command):
            assert (ROOT / name).is_file()
    for tool in ("ruff check", "mypy", "pytest"):
        assert tool in marked("test")


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_links_and_pictures_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)  # no code
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "docs/leaderboard.md"])
def test_the_tables_are_written_from_the_leaderboard(name: str) -> None:
    board, text = leaderboard.read(ROOT / "results" / "leaderboard.json"), (ROOT / name).read_text(encoding="utf-8")
    assert leaderboard.into_text(text, board) == text, f"run: python -m denoise_app evaluate --tables {name}"


def test_every_setting_of_the_environment_is_told() -> None:
    sources = [*(ROOT / "denoise_app").rglob("*.py"), ROOT / "app.py"]
    read = {name for path in sources for name in re.findall(r"DENOISE_[A-Z_]+", path.read_text(encoding="utf-8"))}
    read |= {f"DENOISE_{field.name.upper()}" for kind in (Limits, ServiceLimits) for field in dataclasses.fields(kind)}
    told = set(re.findall(r"`(DENOISE_[A-Z_]+)`", README))
    assert told == read


def test_the_front_matter_is_that_of_a_space() -> None:
    facts = yaml.safe_load(README.split("---\n")[1])
    pinned = dict(re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE))
    assert facts["sdk"] == "gradio" and facts["sdk_version"] == pinned["gradio"]
    assert (ROOT / facts["app_file"]).is_file()
    assert len(facts["short_description"]) <= 60  # the Hub refuses a longer one
    assert facts["license"] == "apache-2.0" and "Apache License" in (ROOT / "LICENSE").read_text()
