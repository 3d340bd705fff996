"""Whatever a user hands over gets sound or a sentence, never a trace."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from denoise_app.audio import ffmpeg as ffmpeg_room
from denoise_app.audio import files, survey
from denoise_app.audio.clip import Clip
from denoise_app.audio.encodings import Encoding, encoding_for
from denoise_app.audio.errors import AudioError
from denoise_app.audio.files import encoding_like, open_reader, open_writer, probe, read, write
from denoise_app.audio.limits import Limits

from .conftest import Ffmpeg, needs_ffmpeg
from .sounds import noise, wav
from .whole_files import coded


def refusal(path: Path | str, limits: Limits | None = None) -> AudioError:
    """The error of a file that cannot even be opened."""
    with pytest.raises(AudioError) as caught:
        probe(path, limits)
    assert len(str(caught.value)) > 20
    return caught.value


@pytest.fixture
def lone_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without ffmpeg."""
    monkeypatch.setattr(shutil, "which", lambda *_: None)


# not a file


@pytest.mark.parametrize(
    "address", ["http://localhost/a.wav", "https://example.org/a.wav", "file:///etc/passwd", "concat://a|b", "rtsp://a"]
)
def test_an_address_is_not_opened(address: str) -> None:
    error = refusal(address)
    assert error.reason == "url" and address in str(error)


@pytest.mark.parametrize("name", ["none.wav", "none/none.wav", "", "x" * 5000, "a\0b.wav", "http:/a.wav"])
def test_a_missing_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal(name).reason in ("missing", "is-a-folder")


def test_a_folder(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert error.reason == "is-a-folder" and tmp_path.name in str(error)


def test_a_device_and_a_pipe_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    assert refusal("/dev/zero").reason == "not-a-file"
    assert refusal(tmp_path / "pipe.wav").reason == "not-a-file"


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated, for to the superuser nothing is forbidden."""
    (tmp_path / "a.wav").write_bytes(wav(noise(1, 100)))

    def forbid(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbid)
    assert "Permission denied" in str(refusal(tmp_path / "a.wav"))


# not sound


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.flac", "a.ogg", "a.m4a", "a.webm", "a.raw", "a"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty-file"),
        (b"Dear Sir, this is not a sound.\n" * 100, "not-audio"),
        (b"x", "not-audio"),
        (b"\0" * 5000, "not-audio"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "not-audio"),
        (b"#!/bin/sh\ntouch hacked\n", "not-audio"),
    ],
)
def test_content_that_is_no_sound(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    error = refusal(tmp_path / name)
    assert error.reason == reason and name in str(error)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["m4a", "mp4", "wav", "m3u8", "txt"])
def test_a_playlist_does_not_open_other_files(suffix: str, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """ffmpeg would play lists of files, and so read what only the server may."""
    secret = ffmpeg("secret.ts", noise(1, 48_000), 48_000, "-c:a", "aac")
    lists = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile {secret.name}\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    }
    for kind, text in lists.items():
        path = tmp_path / f"{kind}.{suffix}"
        path.write_text(text)
        assert refusal(path).reason == "not-audio"


@pytest.mark.slow
def test_a_video_without_a_sound_track(tmp_path: Path) -> None:
    for name in ("film.mp4", "film.webm", "film.mov"):
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=d=0.5:s=64x48:r=10", str(tmp_path / name)]
        subprocess.run(command, check=True, timeout=60)
        assert refusal(tmp_path / name).reason == "no-audio"


# cut off and damaged


@pytest.mark.slow
@pytest.mark.parametrize("length", [4, 8, 11, 12, 20, 30, 40, 43])
def test_a_wav_that_breaks_off_in_its_header(length: int, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(noise(1, 1000))[:length])
    assert refusal(tmp_path / "a.wav").reason == ("truncated" if length >= 12 else "not-audio")


@pytest.mark.slow
def test_a_header_with_nothing_behind_it(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(noise(1, 1000))[:44])
    (tmp_path / "b.wav").write_bytes(wav(np.zeros((1, 0), np.float32)))
    assert {refusal(tmp_path / name).reason for name in ("a.wav", "b.wav")} <= {"truncated", "no-audio"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3", "a.m4a", "a.webm", "a.opus"])
def test_other_files_that_break_off_in_their_header(name: str, ffmpeg: Ffmpeg) -> None:
    path = ffmpeg(name, noise(1, 48_000), 48_000)
    path.write_bytes(path.read_bytes()[:40])
    error = refusal(path)
    assert error.reason == "truncated" and name in str(error) and "again" in str(error)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.webm", "a.opus"])
def test_what_is_left_of_a_file_is_read_and_its_loss_is_told(name: str, ffmpeg: Ffmpeg) -> None:
    path = ffmpeg(name, noise(1, 480_000), 48_000)
    whole = read(path).samples
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with open_reader(path) as reader:
        rest = np.concatenate(list(reader.blocks()), axis=1)
        told = reader.info.frames <= rest.shape[1] or [note.key for note in reader.notes] == ["cut-off"]
    kept = rest.shape[1] - 4096  # what was decoded last may lack what followed it
    assert 0.3 * 480_000 < rest.shape[1] < 0.9 * 480_000 and told
    assert np.abs(rest[:, :kept] - whole[:, :kept]).max() < 1e-6


def test_an_mp4_whose_index_is_cut_off(ffmpeg: Ffmpeg) -> None:
    path = ffmpeg("a.m4a", noise(1, 48_000), 48_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert refusal(path).reason == "truncated"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.m4a", "a.webm", "a.opus", "a.aiff"])
def test_damage_anywhere_gives_sound_or_a_sentence(name: str, ffmpeg: Ffmpeg) -> None:
    path = ffmpeg(name, noise(2, 20_000), 48_000)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(5 if name in ("a.m4a", "a.webm") else 12):
        damaged = bytearray(good)
        for place in rng.integers(0, min(len(good), 600), 3).tolist():
            damaged[place] = int(rng.integers(0, 256))
        path.write_bytes(damaged)
        try:
            clip = read(path, Limits(max_seconds=60))
        except AudioError as error:
            assert str(error)
        else:
            assert clip.seconds <= 61 and np.isfinite(clip.samples).all()


# too much


def test_two_hundred_channels(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(noise(200, 100)))
    error = refusal(tmp_path / "a.wav")
    assert error.reason == "too-many-channels" and "200" in str(error) and "16" in str(error)


@pytest.mark.parametrize("channels", [1, 2, 6, 16])
@pytest.mark.parametrize("rate", [8_000, 192_000])
def test_what_is_allowed_is_read(channels: int, rate: int, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(noise(channels, 100), rate))
    clip = read(tmp_path / "a.wav")
    assert (clip.channels, clip.sample_rate, clip.frames) == (channels, rate, 100)


@pytest.mark.parametrize("rate", [1, 1000, 3_999, 400_000, 2**31 - 1])
def test_a_rate_beyond_all_measure(rate: int, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(
        wav(noise(1, 100), rate)[:24] + rate.to_bytes(4, "little") + wav(noise(1, 100))[28:]
    )
    assert refusal(tmp_path / "a.wav").reason == "rate-out-of-range"


def test_a_large_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(noise(1, 100)))
    error = refusal(tmp_path / "a.wav", Limits(max_bytes=200))
    assert error.reason == "too-large"


def test_a_flac_that_claims_ten_hours(tmp_path: Path) -> None:
    write(tmp_path / "a.flac", Clip(noise(1, 16_000), 16_000))
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[22:26] = (36_000 * 16_000).to_bytes(4, "big")  # the lower 32 of the 36 bits that count the samples
    (tmp_path / "a.flac").write_bytes(data)
    error = refusal(tmp_path / "a.flac")
    assert error.reason == "too-long" and "10:00:00" in str(error) and "2:00:00" in str(error)


def ten_minutes_of_silence(path: Path) -> None:
    with soundfile.SoundFile(path, "w", 16_000, 1, "PCM_16") as file:
        for _ in range(600):
            file.write(np.zeros(16_000, np.int16))


def test_a_small_file_that_unpacks_to_a_long_sound(tmp_path: Path) -> None:
    ten_minutes_of_silence(tmp_path / "a.flac")
    assert (tmp_path / "a.flac").stat().st_size < 600 * 32_000 / 300  # 300 to 1
    assert refusal(tmp_path / "a.flac", Limits(max_seconds=60)).reason == "too-long"
    assert refusal(tmp_path / "a.flac", Limits(max_samples=1_000_000)).reason == "too-many-samples"


@pytest.mark.slow
@pytest.mark.parametrize("limits", [Limits(max_seconds=60), Limits(max_samples=960_000)])
def test_a_small_file_that_hides_how_long_it_is(
    limits: Limits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its header promises a second; decoding stops at the limit, not at the end."""
    ten_minutes_of_silence(tmp_path / "a.flac")
    out = tmp_path / "a.mkv"
    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "a.flac"), "-c", "copy", "-live", "1", str(out)]
    subprocess.run(command, check=True, timeout=60)
    monkeypatch.setattr(ffmpeg_room, "_seconds_of_packets", lambda *_: 1.0)
    heard = 0
    with open_reader(out, limits) as reader, pytest.raises(AudioError) as caught:
        for block in reader.blocks():
            heard += block.shape[1]
    assert caught.value.reason in ("too-long", "too-many-samples") and heard <= 61 * 16_000


# not numbers


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_found_where_it_is(value: float, tmp_path: Path) -> None:
    sound = noise(2, 100_000)
    sound[1, 72_000] = value
    (tmp_path / "a.wav").write_bytes(wav(sound, 16_000, bits=32))
    with pytest.raises(AudioError) as caught:
        read(tmp_path / "a.wav")
    assert caught.value.reason == "not-finite" and "0:00:04.5" in str(caught.value)


@pytest.mark.parametrize("level", [0.0, 0.25, 1.0])
def test_silence_offset_and_full_scale_are_sound(level: float, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(np.full((1, 3000), level, np.float32), bits=32))
    assert np.all(read(tmp_path / "a.wav").samples == level)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.m4a"])
def test_one_sample_is_a_sound(name: str, tmp_path: Path) -> None:
    write(tmp_path / name, Clip(np.full((1, 1), 0.25, np.float32), 16_000))
    assert read(tmp_path / name).samples.shape == (1, 1)


# what this machine lacks


@pytest.mark.usefixtures("lone_ffmpeg")
def test_without_ffmpeg_its_files_say_so(tmp_path: Path) -> None:
    for name, head in (("a.m4a", b"\0\0\0\x20ftypM4A "), ("a.webm", b"\x1aE\xdf\xa3" + b"\0" * 20)):
        (tmp_path / name).write_bytes(head)
        error = refusal(tmp_path / name)
        assert error.reason == "no-ffmpeg" and "wav, flac, ogg or mp3" in str(error)
    with pytest.raises(AudioError, match="ffmpeg"):
        open_writer(tmp_path / "b.m4a", 16_000, 1, encoding_for("m4a"))


@pytest.mark.usefixtures("lone_ffmpeg")
def test_without_ffmpeg_the_rest_works(tmp_path: Path) -> None:
    for format in ("wav", "flac", "ogg", "mp3"):
        write(tmp_path / f"a.{format}", Clip(noise(1, 5000), 16_000))
        assert read(tmp_path / f"a.{format}").frames == 5000
    (tmp_path / "a.wav").write_bytes(b"text")
    assert refusal(tmp_path / "a.wav").reason == "not-audio"
    info = files.FileInfo("m4a", "aac", 48_000, 2, 100, None)
    assert encoding_like(info) == Encoding("wav", "PCM_16")


def fake_program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.mark.slow
def test_a_decoder_that_gets_stuck_is_ended(ffmpeg: Ffmpeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ffmpeg("a.m4a", noise(1, 48_000), 48_000)
    (tmp_path / "bin").mkdir()
    fake_program(tmp_path / "bin", "ffmpeg", "exec sleep 1000")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(ffmpeg_room, "PATIENCE", 0.2)
    with pytest.raises(AudioError) as caught:
        read(path)
    assert caught.value.reason == "decoder-stuck"


def test_a_prober_that_gets_stuck_is_ended(ffmpeg: Ffmpeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ffmpeg("a.m4a", noise(1, 48_000), 48_000)
    (tmp_path / "bin").mkdir()
    fake_program(tmp_path / "bin", "ffprobe", "exec sleep 1000")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(ffmpeg_room, "HEADER_PATIENCE", 0.2)
    assert refusal(path).reason == "decoder-stuck"


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [1, 40])
def test_an_encoder_that_gets_stuck_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int) -> None:
    """Whether it takes nothing more, or has taken all and does not end."""
    (tmp_path / "bin").mkdir()
    fake_program(tmp_path / "bin", "ffmpeg", "head -c 1000; exec sleep 1000")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(ffmpeg_room, "PATIENCE", 0.2)
    with pytest.raises(AudioError) as caught, open_writer(tmp_path / "a.m4a", 48_000, 1, encoding_for("m4a")) as writer:
        for _ in range(blocks):
            writer.write(noise(1, 65_536))
    assert caught.value.reason == "decoder-stuck"
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_who_writes_does_not_wait_for_an_encoder_that_lags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor who gives up: here the encoder takes nothing at all."""
    (tmp_path / "bin").mkdir()
    fake_program(tmp_path / "bin", "ffmpeg", "exec sleep 1000")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(ffmpeg_room, "PATIENCE", 5.0)
    with pytest.raises(KeyError), open_writer(tmp_path / "a.m4a", 48_000, 1, encoding_for("m4a")) as writer:
        for _ in range(ffmpeg_room.AHEAD):
            writer.write(noise(1, 65_536))
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_ffmpeg_is_called_with_a_list_and_a_short_leash(ffmpeg: Ffmpeg, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ffmpeg("a b.m4a", noise(1, 1000), 48_000)
    seen: list[list[str]] = []

    def watch(call: Callable[..., object]) -> Callable[..., object]:
        def called(command: list[str], **options: object) -> object:
            assert isinstance(command, list) and not options.get("shell")
            seen.append(command)
            return call(command, **options)

        return called

    monkeypatch.setattr(subprocess, "Popen", watch(subprocess.Popen))  # subprocess.run calls it too
    read(path)
    assert [command[0] for command in seen] == ["ffprobe", "ffmpeg"]
    for command in seen:
        line = " ".join(command)
        assert "-protocol_whitelist file,pipe" in line and f"file:{path}" in command
        assert not re.search(r"hls|concat|http", line)
    assert "-nostdin" in seen[1] and "-fs" in seen[1]


@pytest.mark.slow
def test_nothing_is_left_running(ffmpeg: Ffmpeg) -> None:
    path = ffmpeg("a.m4a", noise(1, 480_000), 48_000)
    with open_reader(path) as reader:
        blocks = reader.blocks(10)
        next(blocks)
        process = reader._decoder._process  # type: ignore[attr-defined]
        assert process.poll() is None
    assert process.poll() is not None


@pytest.mark.parametrize(("fault", "reason"), [(errno.ENOENT, "missing"), (errno.EIO, "unreadable")])
@pytest.mark.parametrize("head", [b"RIFF....WAVEfmt ", b"....ftypM4A "])
def test_a_file_that_goes_as_it_is_opened_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes, fault: int, reason: str
) -> None:
    def gone(*_: object) -> None:
        raise OSError(fault, os.strerror(fault))

    (tmp_path / "a.sound").write_bytes(head)
    for opens in ("open_with_soundfile", "open_with_ffmpeg"):
        monkeypatch.setattr(files, opens, gone)
    with pytest.raises(AudioError) as error:
        open_reader(tmp_path / "a.sound")
    assert error.value.reason == reason and "a.sound" in str(error.value)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options"), [("a.mp3", ("-b:a", "64k")), ("a.ogg", ("-c:a", "libopus")), ("a.flac", ())]
)
@pytest.mark.parametrize("left", [0, 5_000])
def test_a_file_that_is_cut_short_as_it_is_looked_through_ends_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: tuple[str, ...], left: int
) -> None:
    """A map of it would: by SIGBUS, which nothing can catch."""
    path = coded(tmp_path, name, *options)
    walks = survey.bytes_of

    @contextmanager
    def cut_short(path: Path) -> Iterator[survey.FileBytes]:
        with walks(path) as data:
            os.truncate(path, left)
            yield data

    monkeypatch.setattr(survey, "bytes_of", cut_short)
    monkeypatch.setattr(survey, "WINDOW", 4096)
    with pytest.raises(AudioError) as error, open_reader(path) as reader:
        list(reader.blocks())
    assert name in str(error.value)


@pytest.mark.parametrize("fault", [errno.ENOENT, errno.EIO])
def test_a_file_that_goes_as_it_is_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speech: Clip, fault: int
) -> None:
    soundfile.write(tmp_path / "a.flac", speech.samples.T, speech.sample_rate)
    with open_reader(tmp_path / "a.flac") as reader:

        def gone(*_: object) -> Iterator[Any]:
            yield np.zeros((10, 1), np.float32)
            raise OSError(fault, os.strerror(fault), str(tmp_path / "a.flac"))

        monkeypatch.setattr(reader._decoder, "chunks", gone)
        with pytest.raises(AudioError) as error:
            list(reader.blocks())
    assert error.value.reason == ("missing" if fault == errno.ENOENT else "unreadable")
    assert str(tmp_path) not in str(error.value)


@needs_ffmpeg
@pytest.mark.parametrize("start", [0, 2_000])
def test_a_file_that_has_gone_before_it_is_read_again_is_told(tmp_path: Path, start: int) -> None:
    with open_reader(coded(tmp_path, "a.m4a")) as reader:
        assert sum(block.shape[1] for block in reader.blocks()) > 2_000
        (tmp_path / "a.m4a").unlink()
        with pytest.raises(AudioError) as error:
            list(reader.blocks(start=start))
    assert error.value.reason == "missing"


@pytest.mark.parametrize("name", ["lone\ud800.wav", "nul\0.wav", "n" * 300 + ".wav"])
def test_a_name_that_no_file_can_have_is_missing(name: str) -> None:
    with pytest.raises(AudioError) as error:
        open_reader(name)
    assert error.value.reason == "missing"
