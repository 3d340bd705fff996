"""Two processes on one machine train what one process trains, and end together."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from denoise_app.training import loop
from denoise_app.training.config import TrainConfig, parse, read_table
from denoise_app.training.distributed import Ranks
from denoise_app.training.loop import train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
FILE = """
model = "gru"
loss = "hybrid"
steps = 6
device = "cpu"
model_config = { width = 32, hidden = 32, layers = 1 }
recipe = { seconds = 0.5, batch = 2, room = 0 }
"""
PATIENCE = 400  # seconds: the machine may be busy


@pytest.fixture
def file(sounds: Path, tmp_path: Path) -> Path:
    """FILE with its folders, as a command line takes it."""
    folders = {"clean": sounds / "clean", "noise": sounds / "noise", "cache": tmp_path / "c", "out": tmp_path / "two"}
    path = tmp_path / "config.toml"
    path.write_text("".join(f'{name} = "{folder}"\n' for name, folder in folders.items()) + FILE.lstrip())
    return path


def quiet(_: str) -> None:
    pass


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "state.pt", weights_only=True)
    return {**state["model"], **{f"average.{key}": value for key, value in state["average"].items()}}


def test_two_processes_train_what_one_trains_also_after_a_resume(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps by one process, then four by torchrun's two with half the batch each: as six by one."""
    halves = parse(read_table(file))
    alone = replace(halves, recipe=replace(halves.recipe, batch=4), out=halves.out.with_name("one"))
    whole = train(alone, quiet)
    with monkeypatch.context() as patch:
        _interrupt_at(2, patch)
        assert train(replace(alone, out=halves.out), quiet).steps == 2
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, "-m", "denoise_app", "train", "--config", str(file), "--resume", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)  # by one of them
    assert told["steps"] == 6 and told["hours_seen"] == round(whole.hours_seen, 2)
    assert done.stderr.count("step 6  100%") == 1
    start = loop.Run(alone, Ranks()).model.state_dict()
    ours, theirs = weights(halves.out), weights(alone.out)
    moved = max(float((theirs[key] - start[key]).abs().max()) for key in start)
    assert max(float((ours[key] - theirs[key]).abs().max()) for key in theirs) < 1e-3 * moved


def _interrupt_at(last: int, patch: pytest.MonkeyPatch) -> None:
    real = loop.Mixer.batch

    def batch(self: loop.Mixer, seed: int, step: int, *among: int) -> tuple[torch.Tensor, torch.Tensor]:
        if step == last:  # drawn while the step before it is made
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, seed, step, *among)

    patch.setattr(loop.Mixer, "batch", batch)


@pytest.mark.usefixtures("warm")
def test_an_interruption_of_one_ends_both_with_a_saved_state(file: Path) -> None:
    config: TrainConfig = parse(read_table(file))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "denoise_app", "train", "--config", str(file), "--json", "--minutes", "600"]
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    file.write_text("validate_minutes = 0.01\n" + file.read_text())  # a sign that it has begun
    both = [
        subprocess.Popen(
            command, cwd=ROOT, env={**shared, "RANK": rank, "LOCAL_RANK": rank}, stdout=subprocess.PIPE, text=True
        )
        for rank in "01"
    ]
    try:
        deadline = time.monotonic() + PATIENCE
        while not (config.out / "state.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        both[1].send_signal(signal.SIGTERM)
        told = [process.communicate(timeout=PATIENCE)[0] for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [130, 130]
    assert told[1] == ""
    steps = json.loads(told[0])["steps"]
    assert torch.load(config.out / "state.pt", weights_only=True)["step"] == steps > 0
