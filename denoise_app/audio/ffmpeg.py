"""Sound files through the programs ffmpeg and ffprobe; their only caller."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from denoise_app.audio.clip import FileInfo
from denoise_app.audio.codec import BLOCK, PREROLL, Interleaved, explained, kind, shown, slices, undecodable
from denoise_app.audio.convert import quantise
from denoise_app.audio.encodings import Encoding
from denoise_app.audio.errors import AudioError
from denoise_app.audio.limits import Limits

T = TypeVar("T")

PADDING = 4096  # samples that a lossy encoder may add at the end: two frames of HE-AAC
PATIENCE = 60.0  # seconds without a byte after which a decoder is taken for stuck

FFMPEG_FORMATS = "mov,matroska,wav,flac,ogg,mp3,aac,amr,aiff,caf,asf,avi,mpegts"
"""Demuxers that ffmpeg may use; playlists (hls, concat, dash) are not among them, for they open further files."""

LENGTHLESS = ("mp3", "aac", "amr", "mpegts")
"""Formats without a header that tells the length: what ffprobe says is a guess from the first packets' size."""

LOSSLESS_IN_FFMPEG = ("pcm_s", "pcm_u", "pcm_f", "alac", "flac", "wavpack", "ape", "tta")


def open_with_ffmpeg(path: Path, limits: Limits) -> FfmpegDecoder:
    if not has_ffmpeg():
        raise (
            AudioError.of("no-ffmpeg", name=shown(path)) if kind(path) in ("mp3", "mp4", "webm") else undecodable(path)
        )
    header = _ffprobe(path)
    if "format_name" not in header.get("format", {}):
        raise undecodable(path)
    if not header.get("streams"):
        raise AudioError.of("no-audio", name=shown(path))
    try:
        return FfmpegDecoder(path, header["streams"][0], header["format"], limits)
    except (ArithmeticError, LookupError) as error:  # a header with a time base of 1/0, or none
        raise undecodable(path) from error


class FfmpegDecoder:
    def __init__(self, path: Path, stream: dict[str, Any], container: dict[str, Any], limits: Limits) -> None:
        self._path = path
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self.info = _described(path, stream, container)
        self.claimed = self.info.frames
        # Time stamps that count samples from the file's beginning make jumps and the end exact.
        self.exact = (
            container["format_name"].startswith("mov")
            and stream.get("time_base") == f"1/{self.info.sample_rate}"
            and stream.get("start_pts") == 0
            and float(container.get("start_time", 0)) == 0
        )

    def chunks(self, frames: int, start: int) -> Iterator[Interleaved]:
        rate = self.info.sample_rate
        seconds = max(0, start - PREROLL) // rate if self.exact else 0  # whole, for times are rounded otherwise
        with self._decoding(seconds) as process:
            for skipped in range(seconds * rate, start, BLOCK):
                self._take(process, min(BLOCK, start - skipped))
            announced = max(0, self.info.frames - start) if self.exact else 0
            while announced and len(chunk := self._take(process, min(frames, announced))):
                announced -= len(chunk)
                yield chunk
            extra = self._take(process, PADDING + 1)
            if self.exact and len(extra) <= PADDING:
                return  # what is left is the encoder's padding, or nothing
            yield from slices(extra, frames)
            while len(chunk := self._take(process, frames)):
                yield chunk

    @contextmanager
    def _decoding(self, seconds: int) -> Iterator[subprocess.Popen[bytes]]:
        """ffmpeg, one at a time, giving the first sound track from a whole second on as interleaved float32."""
        command = [
            *_ffmpeg("ffmpeg", self._path, "-ss", str(seconds)),
            *("-t", f"{self._limits.max_seconds + 1:.3f}", "-map", "0:a:0"),
            *("-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"),
        ]
        self.close()
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            yield self._process
        finally:
            self.close()

    def _take(self, process: subprocess.Popen[bytes], frames: int) -> Interleaved:
        pipe, width = process.stdout, 4 * self.info.channels
        assert pipe is not None  # Popen was given stdout=PIPE
        data = _patiently(process, lambda: pipe.read(frames * width), shown(self._path))
        return np.frombuffer(data[: len(data) // width * width], "<f4").reshape(-1, self.info.channels)

    def close(self) -> None:
        if self._process is not None:
            _end(self._process)
            self._process = None


def has_ffmpeg() -> bool:
    return bool(shutil.which("ffmpeg") and shutil.which("ffprobe"))


def _ffmpeg(program: str, path: Path, *before_input: str) -> list[str]:
    """A command that reads `path`, whatever characters are in it, and nothing else: no network, no playlist."""
    quiet = ["-nostdin", "-threads", "1"] if program == "ffmpeg" else []
    only = ["-protocol_whitelist", "file,pipe", "-format_whitelist", FFMPEG_FORMATS]
    return [program, "-v", "error", *quiet, *only, *before_input, "-i", f"file:{path.absolute()}"]


def _ffprobe(path: Path) -> dict[str, Any]:
    """What ffprobe tells of the first sound track and its container; empty where it understands neither."""
    entries = (
        "stream=codec_name,sample_rate,channels,time_base,start_pts,duration_ts,bits_per_raw_sample,bits_per_sample"
        ":format=format_name,duration,start_time"
    )
    command = [
        *_ffmpeg("ffprobe", path),
        *("-select_streams", "a:0", "-show_entries", entries, "-of", "json"),
    ]
    try:
        answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise AudioError.of("decoder-stuck", name=shown(path), seconds=round(PATIENCE)) from error
    return json.loads(answer.stdout or b"{}") if answer.returncode == 0 else {}


def _described(path: Path, stream: dict[str, Any], container: dict[str, Any]) -> FileInfo:
    """ffprobe's answer as a FileInfo."""
    rate, channels = int(stream.get("sample_rate", 0)), int(stream.get("channels", 0))
    if rate <= 0 or channels <= 0:
        raise undecodable(path)
    codec = str(stream.get("codec_name", "unknown"))
    bits = int(stream.get("bits_per_raw_sample") or stream.get("bits_per_sample") or 0)
    names = container["format_name"].split(",")
    if names[0] in LENGTHLESS or not ("duration_ts" in stream or "duration" in container):
        frames = round(_seconds_of_packets(path) * rate)  # browsers, too, record webm without a length
    elif "duration_ts" in stream:
        frames = round(stream["duration_ts"] * Fraction(stream["time_base"]) * rate)
    else:
        frames = round(float(container["duration"]) * rate)
    suffix = path.suffix[1:].lower()
    return FileInfo(
        container=suffix if suffix in names else {"mov": "mp4", "matroska": "webm"}.get(names[0], names[0]),
        codec=codec,
        sample_rate=rate,
        channels=channels,
        frames=frames,
        bit_depth=bits or None if codec.startswith(LOSSLESS_IN_FFMPEG) else None,
    )


def _seconds_of_packets(path: Path) -> float:
    """The time from the first packet of the first sound track to the end of its last, decoding none of them."""
    command = [
        *_ffmpeg("ffprobe", path),
        *("-select_streams", "a:0", "-show_entries", "packet=pts_time,duration_time", "-of", "csv=print_section=0"),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        return _patiently(process, lambda: _span(process.stdout or ()), shown(path))
    finally:
        _end(process)


def _span(lines: Iterable[bytes]) -> float:
    """Seconds from the first begin to the last end in lines of "begin,duration"; 0 where there is none.

    >>> _span([b"-0.007,0.020000,", b"2.000000,0.020000", b"N/A,N/A"])
    2.027
    """
    begin = end = None
    for line in lines:
        numbers = re.match(rb"(-?[\d.]+),([\d.]+)?", line)
        if numbers:
            time = float(numbers[1])
            begin = time if begin is None else begin
            end = time + float(numbers[2] or 0)
    return 0.0 if begin is None or end is None else end - begin


def _patiently(process: subprocess.Popen[bytes], act: Callable[[], T], name: str) -> T:
    """What `act`, which waits for the process, returns; ends the process where that takes longer than PATIENCE."""
    stuck = threading.Event()

    def give_up() -> None:
        stuck.set()
        process.kill()

    timer = threading.Timer(PATIENCE, give_up)
    timer.daemon = True
    timer.start()
    try:
        result = act()
    finally:
        timer.cancel()
    if stuck.is_set():
        raise AudioError.of("decoder-stuck", name=name, seconds=round(PATIENCE))
    return result


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process, whatever it is doing, and gives back what it held."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was still to be written has no reader any more
                pipe.close()
    process.wait()


class FfmpegEncoder:
    def __init__(self, target: Path, scratch: Path, sample_rate: int, channels: int, encoding: Encoding) -> None:
        if not has_ffmpeg():
            raise AudioError.of("no-ffmpeg", name=shown(target))
        with explained(target):
            scratch.touch()
        self._target = target
        self._bits = encoding.bit_depth
        self._dither = np.random.default_rng(0)
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        bitrate = channels * min(192_000, 5 * sample_rate)  # near what AAC can hold, 6 bits per sample, or ample
        codec = {
            "AAC": ["-c:a", "aac", "-b:a", str(bitrate)],
            "ALAC_16": ["-c:a", "alac", "-sample_fmt", "s16p"],
            "ALAC_24": ["-c:a", "alac", "-sample_fmt", "s32p"],
        }[encoding.codec]
        layout = ["-channel_layout", "3.0"] if channels == 3 else []  # by itself it takes the third for a subwoofer
        command = [
            *("ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-y"),
            *("-f", "s32le" if self._bits else "f32le", "-ar", str(sample_rate), "-ac", str(channels), *layout),
            *("-i", "pipe:0"),
            *codec,
            # Time in samples instead of milliseconds, so that the header holds the exact length.
            *("-movie_timescale", str(sample_rate), "-f", "ipod", f"file:{scratch.absolute()}"),
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._log)

    def write(self, samples: Interleaved) -> None:
        data = samples if self._bits is None else quantise(samples, self._bits, self._dither)
        pipe = self._process.stdin
        assert pipe is not None  # Popen was given stdin=PIPE
        little = data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes()
        try:
            _patiently(self._process, lambda: pipe.write(little), self._name)
        except BrokenPipeError as error:
            raise self._failure() from error

    @property
    def _name(self) -> str:
        return shown(self._target)

    def finish(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with suppress(BrokenPipeError):  # the exit code tells
            pipe.close()
        if _patiently(self._process, self._process.wait, self._name):
            raise self._failure()

    def _failure(self) -> AudioError:
        """Why ffmpeg ended early, from its exit code and its last words."""
        code = self._process.wait()
        self._log.seek(0)
        said = self._log.read(1 << 16).decode("utf-8", "replace").strip()
        full = (os.strerror(errno.ENOSPC), os.strerror(errno.EFBIG))
        if any(words in said for words in full) or code == -getattr(signal, "SIGXFSZ", 0):
            return AudioError.of("disk-full", name=self._name)
        problem = said.splitlines()[-1] if said else f"ffmpeg ended with code {code}"
        return AudioError.of("cannot-write", name=self._name, problem=problem)

    def abort(self) -> None:
        _end(self._process)
        self._log.close()
