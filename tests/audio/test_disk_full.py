"""A disk that is full gives a sentence and leaves nothing behind."""

from __future__ import annotations

import errno
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from denoise_app.audio import libsndfile
from denoise_app.audio.clip import Clip
from denoise_app.audio.encodings import CODECS, Encoding, suffix
from denoise_app.audio.errors import AudioError
from denoise_app.audio.files import open_writer, write

from .sounds import noise

EVERY = [Encoding(container, codec) for container, codecs in CODECS.items() for codec in codecs]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", EVERY, ids=lambda e: e.codec)
@pytest.mark.parametrize("frames", [10, 200_000])
def test_a_device_that_is_full(
    encoding: Encoding, frames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/full refuses every byte as a full disk does; short sounds only reach it when the file is closed."""
    target = tmp_path / f"a{suffix(encoding)}"
    target.write_bytes(b"what was there before")
    monkeypatch.setattr(uuid, "uuid4", lambda: type("Fixed", (), {"hex": "scratch"}))
    (tmp_path / ".scratch.tmp").symlink_to("/dev/full")
    with pytest.raises(AudioError) as caught:
        write(target, Clip(noise(1, frames), 48_000), encoding)
    assert caught.value.reason == "disk-full" and target.name in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == [target.name]
    assert target.read_bytes() == b"what was there before"


@pytest.mark.slow
@pytest.mark.parametrize("encoding", [Encoding("wav", "PCM_16"), Encoding("flac", "PCM_16"), Encoding("m4a", "AAC")])
def test_a_disk_that_fills_up_underway(encoding: Encoding, tmp_path: Path) -> None:
    """A real limit on the size of files, in a process of its own."""
    script = f"""
import resource, sys
import numpy as np
from denoise_app.audio.errors import AudioError
from denoise_app.audio.files import Encoding, open_writer
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with open_writer({str(tmp_path / "a")!r}, 48_000, 1, {encoding!r}) as writer:
        for seed in range(40):
            writer.write(np.random.default_rng(seed).uniform(-1, 1, (1, 48_000)).astype(np.float32))
except AudioError as error:
    print(error.reason)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "disk-full", done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "disk-full"),
        (errno.EDQUOT, "disk-full"),
        (errno.EIO, "cannot-write"),
        (errno.EROFS, "cannot-write"),
    ],
)
def test_what_the_system_says_decides_the_reason(
    code: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        closed = False

        def __getattr__(self, name: str) -> object:
            def fail(*_: object) -> None:
                raise OSError(code, "it failed")

            return fail

    monkeypatch.setattr(Path, "open", lambda *_: Failing())
    with pytest.raises(AudioError) as caught:
        write(tmp_path / "a.wav", Clip(noise(1, 100), 16_000))
    assert caught.value.reason == reason


def test_a_wav_that_outgrows_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libsndfile, "WAV_BYTES", 1000)
    with (
        pytest.raises(AudioError) as caught,
        open_writer(tmp_path / "a.wav", 16_000, 1, Encoding("wav", "PCM_16")) as out,
    ):
        for _ in range(10):
            out.write(noise(1, 100))
    assert caught.value.reason == "wav-too-large" and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("format", "rate", "channels", "reason", "told"),
    [
        ("mp3", 96_000, 1, "format-cannot-hold", "96000 Hz, only 8000, 11025,"),
        ("mp3", 96_000, 2, "format-cannot-hold", "44100, 48000 Hz"),
        ("mp3", 48_000, 6, "format-lacks-channels", "6 channels, at most 2"),
        ("m4a", 192_000, 1, "format-cannot-hold", "192000 Hz"),
        ("flac", 700_000, 1, "format-cannot-hold", "1 to 655350 Hz"),
        ("flac", 48_000, 12, "format-lacks-channels", "12 channels, at most 8"),
    ],
)
def test_a_format_that_cannot_hold_the_sound(
    format: str, rate: int, channels: int, reason: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(AudioError) as caught:
        write(tmp_path / f"a.{format}", Clip(noise(channels, 100), rate))
    assert caught.value.reason == reason and told in str(caught.value) and "wav" in str(caught.value)


def test_a_place_that_is_not_there_or_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    for target in (tmp_path / "none" / "a.wav", tmp_path / "none" / "a.m4a", tmp_path / "folder.wav"):
        with pytest.raises(AudioError) as caught:
            write(target, Clip(noise(1, 100), 16_000))
        assert caught.value.reason == "cannot-write"
    assert [file.name for file in tmp_path.iterdir()] == ["folder.wav"]
