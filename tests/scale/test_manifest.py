"""What a manifest keeps through kills, full disks and other people's files."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from denoise_app.audio.errors import AudioError
from denoise_app.scale.errors import ScaleError
from denoise_app.scale.manifest import Manifest, Row

ROOT = Path(__file__).resolve().parents[2]


def row(number: int = 0, **changes: Any) -> Row:
    target = f"/out/{number}.wav"
    kept = Row(f"/in/{number}.wav", "8:1", target, "0123", "wiener", None, None, target, "8:2", 1.0, 0.1)
    return replace(kept, **changes)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_are_found_by_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "below" / "m.jsonl"
    error = {"reason": "missing", "message": "There is no file.", "facts": {"name": "x"}}
    odd = row(1, path="/in/\udcff\n语.wav", notes=({"key": "silent", "message": "It is silent."},))
    failed = row(2, output=None, output_state="", error=error)
    with Manifest(path) as manifest:
        for each in (row(), odd, failed):
            manifest.add(each)
        assert manifest.row(odd.target) == odd
    with Manifest(path) as manifest:
        assert list(manifest.rows()) == [row(), odd, failed]
        assert manifest.row("/out/other.wav") is None
    assert [line["outcome"] for line in lines(path)] == ["done", "done", "failed"]


def test_the_newest_row_of_a_target_counts(tmp_path: Path) -> None:
    with Manifest(tmp_path / "m") as manifest:
        for each in (row(0), row(1), row(0, settings="4567")):
            manifest.add(each)
        assert list(manifest.rows()) == [row(1), row(0, settings="4567")]
    with Manifest(tmp_path / "m") as manifest:
        found = manifest.row(row().target)
        assert found is not None and found.settings == "4567"


@pytest.mark.parametrize("cut", [1, 2, 30, 10_000])
def test_a_torn_last_line_is_cut_off(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "m"
    with Manifest(path) as manifest:
        manifest.add(row(0))
        manifest.add(row(1))
    whole = path.read_bytes()
    second = len(row(1).line())
    path.write_bytes(whole[: -min(cut, second - 1)])
    with Manifest(path) as manifest:
        assert list(manifest.rows()) == [row(0)]
        manifest.add(row(1))
    assert path.read_bytes() == whole


def test_a_first_line_may_be_torn_too(tmp_path: Path) -> None:
    for count in (0, 1, 5, 40):
        (tmp_path / "m").write_bytes(row().line()[:count])
        with Manifest(tmp_path / "m") as manifest:
            assert list(manifest.rows()) == []


@pytest.mark.parametrize(
    "damaged",
    [
        b'{"version": 1, "half a line\n',
        b"\0" * 512 + b"\n",
        b'{"version": 1, "outcome": "done"}\n',
        b'{"version": 2, "outcome": "done"}\n',
        b"[1]\n",
        b"[" * 100_000 + b"\n",
    ],
)
def test_a_damaged_line_costs_no_other(damaged: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(row(0).line() + damaged + row(1).line())
    with Manifest(path) as manifest:
        assert list(manifest.rows()) == [row(0), row(1)]
        assert manifest.unreadable == 1


@pytest.mark.parametrize("content", [b"RIFF....WAVE", b"{}", b'{"version": 3, ', b"\n"])
def test_another_file_is_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "talk.wav").write_bytes(content)
    with pytest.raises(ScaleError) as caught:
        Manifest(tmp_path / "talk.wav")
    assert caught.value.reason == "not-a-manifest"
    assert (tmp_path / "talk.wav").read_bytes() == content


def test_two_runs_cannot_share_one(tmp_path: Path) -> None:
    with Manifest(tmp_path / "m"):
        with pytest.raises(ScaleError) as caught:
            Manifest(tmp_path / "m")
        assert caught.value.reason == "manifest-in-use"
    Manifest(tmp_path / "m").close()


def test_a_folder_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AudioError) as caught:
        Manifest(tmp_path / "file" / "m")
    assert caught.value.reason == "cannot-write"


def test_a_full_disk_leaves_no_half_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m"
    with Manifest(path) as manifest:
        manifest.add(row(0))
        real = manifest._file

        class Full:
            def write(self, data: bytes) -> int:
                if len(data) < 100:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return int(real.write(data[:-50]) or 0)

            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

        monkeypatch.setattr(manifest, "_file", Full())
        with pytest.raises(AudioError) as caught:
            manifest.add(row(1))
        assert caught.value.reason == "disk-full"
        monkeypatch.setattr(manifest, "_file", real)
        manifest.add(row(2))
        assert list(manifest.rows()) == [row(0), row(2)]
    assert path.read_bytes() == row(0).line() + row(2).line()


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_a_killed_writer_leaves_what_it_wrote_and_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom denoise_app.scale.manifest import Manifest, Row\n"
        "manifest = Manifest(Path(sys.argv[1]))\n"
        "for n in range(3):\n"
        "    t = f'/out/{n}.wav'\n"
        "    manifest.add(Row(f'/in/{n}.wav', '8:1', t, '0123', 'wiener', None, None, t, '8:2', 1.0, 0.1))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "m")], cwd=ROOT)
    assert ended.returncode == -signal.SIGKILL
    with Manifest(tmp_path / "m") as manifest:
        assert list(manifest.rows()) == [row(0), row(1), row(2)]
    assert os.listdir(tmp_path) and (tmp_path / "m").stat().st_size == sum(len(row(n).line()) for n in range(3))
