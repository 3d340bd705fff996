"""The benchmark measures what it says, and says what it measured."""

from __future__ import annotations

import json
import math
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from denoise_app.evaluation import speed
from denoise_app.metrics.table import METRICS

pytestmark = pytest.mark.slow


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Everything in this process, on a second of sound; collects what would have run elsewhere, and its threads."""
    calls = []

    def here(task: str, threads: int, **arguments: Any) -> Any:
        calls.append((task, threads))
        return speed.TASKS[task](**json.loads(json.dumps(arguments)))

    monkeypatch.setattr(speed, "_elsewhere", here)
    monkeypatch.setattr(speed, "SPEED_SECONDS", 1)
    monkeypatch.setattr(speed, "CLICK_SECONDS", 1.0)
    monkeypatch.setattr(speed, "ROUNDS", 1)
    monkeypatch.setattr(speed, "CLICK_ROUNDS", 1)
    monkeypatch.setattr(speed, "startup", lambda: {"python": 0.25, "torch": 2.25, "denoise_app": 0.5, "engine": 3.0})
    light = {key: metric for key, metric in METRICS.items() if not key.startswith("dnsmos")}
    monkeypatch.setattr(speed, "METRICS", light)
    return calls


def test_everything_is_measured_and_shown(quick: list[tuple[str, int]]) -> None:
    lines: list[str] = []
    report = speed.run(["wiener", "wiener"], [2.0, 3.0], say=lines.append)
    assert [task for task, _ in quick] == ["speed", "speed", "click", "memory", "memory", "comparison"]
    assert [threads for task, threads in quick if task == "speed"] == [1, 2]
    assert json.loads(json.dumps(report)) == report
    (row,) = report["denoisers"]
    assert (row["model"], row["loss"]) == ("wiener", None)
    assert row["speed"]["1"]["seconds"] > 0 and row["speed"]["1"]["ratio"] > 0
    assert list(row["memory"]) == ["2", "3"] and row["memory"]["2"]["idle_mb"] > 50
    for laps in row["click"].values():
        early = [laps[step] for step in ("read", "separate", "render", "spectrograms", "fast metrics")]
        assert laps["result"] == pytest.approx(sum(early)) and min(early) > 0
    compared = report["comparison"]
    steps = ["first sound", "other sounds", "spectrograms", "figures", "fast metrics", "slow metrics"]
    assert compared["names"] == ["wiener"] and list(compared["seconds"]) == list(compared["ratios"]) == steps
    ratios = {compared["seconds"][step] / compared["ratios"][step] for step in ("first sound", "figures")}
    assert max(ratios) == pytest.approx(min(ratios)) and 0.01 < compared["megabytes"] < 2
    text = speed.table(report)
    for words in (
        "wiener",
        "1 thread ",
        "2 threads",
        "2 s",
        "3 s",
        "click",
        "first sound",
        report["machine"]["processor"],
    ):
        assert words in text
    assert "denoise_app  0.25     -1.75" in text and "engine       2.75     +0.75" in text
    assert any("memory" in line for line in lines)


def test_the_work_is_done_in_a_process_of_its_own() -> None:
    assert speed._elsewhere("speed", 1, pairs=[]) == []


@pytest.mark.parametrize("seconds", [0.5, 10.0, 23.0])
def test_the_long_file_has_the_length_that_is_said(tmp_path: Path, seconds: float) -> None:
    speed.write_long(tmp_path / "in.wav", seconds)
    info = soundfile.info(tmp_path / "in.wav")
    assert (info.samplerate, info.channels, info.duration) == (48_000, 2, seconds)


def test_its_sound_is_like_speech_in_noise() -> None:
    samples = speed.noisy(2, 3.0, 16_000)
    assert samples.shape == (2, 48_000) and np.abs(samples).max() < 1
    levels = np.sqrt(np.square(samples[0]).reshape(-1, 800).mean(1))  # 50 ms
    assert levels.max() > 5 * levels.min() > 0


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux forgets a peak")
def test_the_peak_of_memory_is_seen_and_forgotten() -> None:
    speed.forget_peak()
    before = speed.peak_resident()
    with mmap.mmap(-1, 50 * speed.MEGABYTE) as block:  # which the allocator has not kept from before
        np.frombuffer(block, np.uint8)[:] = 1
        assert speed.peak_resident() - before == pytest.approx(50, abs=5)
    speed.forget_peak()
    assert math.isclose(speed.peak_resident(), speed.resident(), rel_tol=0.02)
