"""A process's folder goes with it, and no other process takes it before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from denoise_app.serve.folder import PREFIX, STALE_SECONDS, ProcessFolder, sweep

OWNER = """
import sys
from pathlib import Path
from denoise_app.serve.folder import ProcessFolder
folder = ProcessFolder(Path(sys.argv[1]))
(folder.room("visits") / "voice.wav").write_bytes(b"sound")
print(folder.path, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def owner(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process with a folder of its own."""
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def told(owner: subprocess.Popen[str]) -> Path:
    assert owner.stdout is not None
    return Path(owner.stdout.readline().strip())


def test_a_killed_process_leaves_its_files_to_the_next_start_at_once(
    owner: subprocess.Popen[str], tmp_path: Path
) -> None:
    folder = told(owner)
    assert (folder / "visits" / "voice.wav").is_file()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert (folder / "visits" / "voice.wav").is_file()
    own = ProcessFolder(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [own.path.name, f"{own.path.name}.lock"]
    own.remove()


def test_two_processes_in_one_place_leave_each_other_alone(owner: subprocess.Popen[str], tmp_path: Path) -> None:
    other = told(owner)
    own = ProcessFolder(tmp_path)
    assert own.path != other and sweep(tmp_path) == []
    own.remove()
    assert (other / "visits" / "voice.wav").is_file()
    owner.communicate("\n")  # it ends as it should
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_an_earlier_version_goes_after_a_day_and_nothing_else_does(tmp_path: Path) -> None:
    now = 10 * STALE_SECONDS
    ages = {f"{PREFIX}old": now - STALE_SECONDS - 1, f"{PREFIX}new": now - 60, "somebody-elses": 0}
    for name, changed in ages.items():
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (changed, changed))
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "somebody-elses")
    (tmp_path / f"{PREFIX}gone.lock").touch()
    assert sweep(tmp_path, now) == [tmp_path / f"{PREFIX}old"]
    assert {path.name for path in tmp_path.iterdir()} == {f"{PREFIX}new", f"{PREFIX}link", "somebody-elses"}


def test_a_lock_that_a_sweep_took_while_it_was_made_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from denoise_app.serve import folder as module

    locks, taken = module._locks, []

    def locks_late(file):  # type: ignore[no-untyped-def]
        if not taken:
            taken.append(file.name)
            Path(file.name).unlink()  # as another process's sweep would
        return locks(file)

    monkeypatch.setattr(module, "_locks", locks_late)
    own = ProcessFolder(tmp_path)
    assert str(own.path) != taken[0].removesuffix(".lock")
    assert own.path.is_dir() and own.path.with_name(own.path.name + ".lock").is_file()
    own.remove()
    assert list(tmp_path.iterdir()) == []
