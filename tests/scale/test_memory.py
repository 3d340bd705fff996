"""More files take no more memory, but for a few hundred bytes that know each of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FEW, MANY = 200, 2000
ALLOWED = 8.0  # MB: some 2 kB a file for its job, its row's place and its name; a leak of one block would be 30 MB
STEADY = {"MALLOC_MMAP_THRESHOLD_": "1000000"}  # glibc else raises it, and keeps freed blocks in a heap with holes

CODE = """
import sys
from pathlib import Path
from denoise_app.inference.engine import Settings
from denoise_app.scale import items, run
from denoise_app.scale.manifest import Manifest
from denoise_app.scale.work import Work

place, counts = Path(sys.argv[1]), [int(text) for text in sys.argv[2:]]
work = Work("band-pass", None, None, Settings())


def resident():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


for count in counts:
    planned = items.plan([place / str(count)], place / f"out-{count}").items
    assert len(planned) == count
    with Manifest(place / f"{count}.jsonl") as manifest:
        assert all(outcome.error is None for _, outcome in run.run(planned, work, run.here, manifest))
        assert run.divided(planned, work, manifest, resume=True).todo == ()
        print(resident())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_ten_times_the_files_take_no_more_memory(tmp_path: Path, tiny: bytes) -> None:
    for count in (FEW, MANY):
        (tmp_path / str(count)).mkdir()
        for number in range(count):
            (tmp_path / str(count) / f"{number:04}.wav").write_bytes(tiny)
    command = [sys.executable, "-c", CODE, str(tmp_path), *map(str, (FEW, MANY))]
    answer = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2], env=os.environ | STEADY
    )
    few, many = (float(line) for line in answer.stdout.split())
    assert many - few < ALLOWED
