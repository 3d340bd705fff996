"""The engine computes with one thread, whatever its caller does, and leaves the caller's number as it was."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from denoise_app.audio.clip import Clip
from denoise_app.inference import engine, threads
from denoise_app.inference.engine import Settings

ROOT = Path(__file__).resolve().parents[2]
CLIP = Clip(np.zeros((1, 4000), np.float32), 16_000)


class Asked:
    """A denoiser that notes how many threads torch has while it runs."""

    sample_rate, latency, causal = 16_000, 0, False

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, noisy: Tensor) -> Tensor:
        self.seen.append(torch.get_num_threads())
        return noisy.clone()


@pytest.fixture(autouse=True)
def three(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The caller's torch has three threads."""
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_the_engine_takes_one_thread_and_gives_the_callers_back(tmp_path: Path) -> None:
    denoiser = Asked()
    engine.denoise(CLIP, denoiser)
    separation = engine.separate(CLIP, denoiser, tmp_path)
    engine.render(separation, Settings(container="wav"), tmp_path / "out.wav")
    engine.denoise_file(tmp_path / "out.wav", tmp_path / "again.wav", denoiser)
    assert denoiser.seen == [1, 1, 1]
    assert torch.get_num_threads() == 3


def test_after_a_failure_too() -> None:
    def fails(noisy: Tensor) -> Tensor:
        raise RuntimeError("no")

    denoiser = Asked()
    denoiser.__class__ = type("Failing", (Asked,), {"__call__": lambda self, noisy: fails(noisy)})
    with pytest.raises(RuntimeError):
        engine.denoise(CLIP, denoiser)
    assert torch.get_num_threads() == 3


def test_the_environment_names_another_number(monkeypatch: pytest.MonkeyPatch) -> None:
    denoiser = Asked()
    for text, expected in (("2", 2), ("many", 1), ("0", 1), ("-1", 1), ("", 1)):
        monkeypatch.setenv(threads.VARIABLE, text)
        engine.denoise(CLIP, denoiser)
        assert denoiser.seen.pop() == expected


def test_it_can_be_entered_within_itself() -> None:
    with threads.limited():
        with threads.limited():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_jobs_side_by_side_leave_the_number_as_it_was() -> None:
    """One that begins while another runs, in a new thread, ends first and last."""
    for first_to_end in (0, 1):
        inside, go = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]
        after: dict[int, int] = {}

        def job(number: int, inside: list[threading.Event], go: list[threading.Event], after: dict[int, int]) -> None:
            with threads.limited():
                assert torch.get_num_threads() == 1
                inside[number].set()
                assert go[number].wait(10)
                assert torch.get_num_threads() == 1  # whatever the other one did
            after[number] = torch.get_num_threads()

        with ThreadPoolExecutor(2) as pool:
            jobs = []
            for number in (0, 1):
                jobs.append(pool.submit(job, number, inside, go, after))
                assert inside[number].wait(10)
            for number in (first_to_end, 1 - first_to_end):
                go[number].set()
                jobs[number].result(10)
        with ThreadPoolExecutor(1) as pool:
            fresh = pool.submit(torch.get_num_threads).result(10)
        assert (after, fresh, torch.get_num_threads()) == ({0: 3, 1: 3}, 3, 3)


def test_a_program_sets_it_for_all_that_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in threads.environment(7):
        monkeypatch.setenv(name, "7")
    threads.use(2)
    assert torch.get_num_threads() == threads.count() == 2
    code = "import os; print(*(os.environ[name + '_NUM_THREADS'] for name in ('OMP', 'OPENBLAS', 'MKL')))"
    child = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True)
    assert child.stdout.split() == ["2", "2", "2"]


def test_setting_it_loads_no_torch() -> None:
    code = "import sys; from denoise_app.inference import threads; threads.use(1); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
