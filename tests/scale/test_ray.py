"""A batch on a Ray cluster of two nodes on this machine, with faults."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from odd_work import LOUD, PLAIN, Deadly, Slow, folder, sound

from denoise_app.checkpoints.manifest import CheckpointError
from denoise_app.inference.engine import Settings
from denoise_app.scale import items, ray_batch, run
from denoise_app.scale.errors import ScaleError
from denoise_app.scale.manifest import Manifest
from denoise_app.scale.work import Work

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_AUTO_CONNECT": "0"}  # before it is imported
pytest.importorskip("ray", reason="ray is not installed: pip install -r requirements-scale.txt")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own

ROOT = Path(__file__).resolve().parents[2]
PLAIN_WORK = dict(vars(PLAIN))


class TwoNodes:
    """A cluster; each node has one processor, so one actor."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        quick = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}  # to know that a node is dead
        head = {"num_cpus": 1, "include_dashboard": False, "_system_config": quick}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.second = self.cluster.add_node(num_cpus=1)

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    @staticmethod
    def kill(node: Any, *kinds: str) -> None:
        """kill -9 of processes of a node."""
        for kind, processes in list(node.all_processes.items()):
            for info in processes:
                if kind in kinds:
                    os.kill(info.process.pid, signal.SIGKILL)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoNodes]:
    import ray

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(Path(__file__).parent))))  # of its processes
    made = TwoNodes()
    yield made
    ray.shutdown()
    made.cluster.shutdown()


def reasons(found: list[Any]) -> dict[str, str]:
    """Name of the input -> why it failed."""
    return {Path(i.path).name: o.error.reason for i, o in found if o.error is not None}


def test_five_hundred_files_through_faults(cluster: TwoNodes, tmp_path: Path) -> None:
    """A bad file, a vanished one, one that kills its actor whenever it is tried, and a node that dies."""
    folder(tmp_path, 500, loud=250)
    (tmp_path / "in" / "003.wav").write_text("no sound")
    planned = items.plan([tmp_path / "in"], tmp_path / "out").items
    (tmp_path / "in" / "004.wav").unlink()
    work = Deadly(**PLAIN_WORK, place=str(tmp_path), times=99)
    found = []
    with Manifest(tmp_path / "m") as manifest:
        for each in run.run(planned, work, ray_batch.on_cluster(cluster.address), manifest):
            found.append(each)
            if len(found) == 100:
                cluster.kill(cluster.second, "raylet")
        assert len(found) == len({item.target for item, _ in found}) == 500
        assert reasons(found) == {"003.wav": "not-audio", "004.wav": "missing", "250.wav": "worker-lost"}
        assert {path.name for path in (tmp_path / "out").iterdir()} == {
            f"{number:03}.wav" for number in range(500) if number not in (3, 4, 250)
        }
        left = run.divided(planned, work, manifest, resume=True).todo
        assert [Path(item.path).name for item in left] == ["003.wav", "004.wav", "250.wav"]
    assert len(list(tmp_path.glob("death-*"))) == 2  # tried once more, and no oftener


def test_an_actor_that_dies_once_costs_nothing(cluster: TwoNodes, tmp_path: Path) -> None:
    planned = folder(tmp_path, 6, loud=2).items
    work = Deadly(**PLAIN_WORK, place=str(tmp_path), times=1)
    assert reasons(list(run.run(planned, work, ray_batch.on_cluster(cluster.address)))) == {}
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_a_denoiser_that_cannot_be_loaded_is_told_as_ever(cluster: TwoNodes, tmp_path: Path) -> None:
    planned = folder(tmp_path, 2).items
    with pytest.raises(CheckpointError) as caught:
        list(run.run(planned, Work("nonesuch", None, None, Settings()), ray_batch.on_cluster(cluster.address)))
    assert caught.value.reason == "no-such-model"


def test_a_cluster_that_falls_silent_ends_the_batch(cluster: TwoNodes, tmp_path: Path) -> None:
    planned = folder(tmp_path, 3, loud=1).items
    work = Slow(**PLAIN_WORK, place=str(tmp_path))
    found = []
    with pytest.raises(ScaleError) as caught:
        for each in run.run(planned, work, ray_batch.on_cluster(cluster.address, patience=20.0)):
            found.append(each)
    assert caught.value.reason == "cluster-silent" and f"{3 - len(found)} files left" in str(caught.value)


def test_a_killed_head_loses_nothing(cluster: TwoNodes, tmp_path: Path) -> None:
    for number in range(200):
        sound(tmp_path / "in" / f"{number:03}.wav", LOUD, 2.0)
    options = ["denoise", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", "mmse-lsa", "--resume"]
    ray = ["--engine", "ray", "--address", cluster.address, "--patience", "120"]
    manifest = tmp_path / "out" / "denoise-manifest.jsonl"
    running = subprocess.Popen(
        [sys.executable, "-m", "denoise_app", *options, *ray], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    while running.poll() is None and not (manifest.exists() and manifest.read_bytes().count(b"\n") > 5):
        time.sleep(0.05)
    cluster.kill(cluster.cluster.head_node, "gcs_server", "raylet")
    _, told = running.communicate(timeout=300)
    assert running.returncode not in (0, None), told
    rows = [json.loads(line) for line in manifest.read_bytes().splitlines()]
    done = {row["output"] for row in rows if row["outcome"] == "done"}
    there = {str(path) for path in (tmp_path / "out").glob("*.wav")}
    assert 5 < len(done) < 200 and done <= there, told
    assert len(there - done) <= 2 * max(ray_batch.IN_FLIGHT)  # of each actor
    again = subprocess.run(
        [sys.executable, "-m", "denoise_app", *options, "--json"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(again.stdout)["done_before"] == len(done)
    assert len(list((tmp_path / "out").glob("*.wav"))) == 200


def test_a_head_that_never_answers_is_told() -> None:
    """In a process of its own, for Ray goes on waiting."""
    code = (
        "import os, sys\nfrom denoise_app.scale import ray_batch\nray_batch.CONNECT_SECONDS = 10.0\n"
        "try:\n    ray_batch._connect(ray_batch._ray(), sys.argv[1], None)\n"
        "except Exception as error:\n    print(error.reason, flush=True)\nos._exit(0)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        held: list[socket.socket] = []
        threading.Thread(target=lambda: held.append(silent.accept()[0]), daemon=True).start()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-c", code, address]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert told.stdout.split() == ["cluster-silent"], told.stderr
