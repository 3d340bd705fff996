"""Forks in the place of fresh interpreters: what a test sees of one is what it would see of the other."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import warm_starts

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm")]

TOLD = """
import json, os, sys
tasks = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1
own = os.getsid(0) == os.getpid()
print(json.dumps([sys.argv, os.getcwd(), dict(os.environ), own, tasks, "torch" in sys.modules, input(), sys.path[1]]))
print("\\xe9", file=sys.stderr)
sys.exit(3)
"""


def test_it_is_what_it_was_asked_to_be(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": "/somewhere", "PYTHONIOENCODING": "latin-1"}
    command, files = [sys.executable, "-c", TOLD, "x"], {"input": b"a line\n", "capture_output": True}
    done = subprocess.run(command, cwd=tmp_path, env=environment, start_new_session=True, **files)  # type: ignore[call-overload]
    assert (done.returncode, done.stderr) == (3, b"\xe9\n")
    assert json.loads(done.stdout) == [["-c", "x"], str(tmp_path), environment, True, 1, True, "a line", "/somewhere"]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_it_is_ended_by_signals(sent: signal.Signals) -> None:
    code = "import time; print('begun', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as running:
        assert running.stdout and running.stdout.readline() == b"begun\n" and running.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(0.01)
        running.send_signal(sent)
        assert running.wait(60) == -sent


def test_its_end_is_that_of_an_interpreter() -> None:
    code = "import atexit; atexit.register(print, 'last'); print('first'); {}"
    for ending, status in (("pass", 0), ("raise ValueError('wrong')", 1), ("raise SystemExit('sorry')", 1)):
        done = subprocess.run([sys.executable, "-c", code.format(ending)], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (status, "first\nlast\n")
        assert (status == 1) == any(word in done.stderr for word in ("ValueError: wrong", "sorry"))


def test_other_programs_are_started_as_ever() -> None:
    with subprocess.Popen(["true"]) as running:
        assert isinstance(running, warm_starts.Popen) and running.wait(60) == 0
