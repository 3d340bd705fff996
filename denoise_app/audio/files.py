"""Sound files in and out, block by block; the only caller of any decoder.

wav, flac, ogg, mp3 and what else libsndfile knows go through soundfile; m4a, mp4, webm, mov and damaged headers
through the programs ffprobe and ffmpeg. Headers are read, and checked against `Limits`, before anything is decoded.
"""

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
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from types import TracebackType
from typing import IO, Any, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt
import soundfile

from denoise_app.audio.clip import Clip, FileInfo, Samples
from denoise_app.audio.convert import quantise
from denoise_app.audio.encodings import LOSSLESS_BITS, PCM_BITS, Encoding, encoding_for, nearest, suffix
from denoise_app.audio.errors import AudioError
from denoise_app.audio.limits import Limits, clock
from denoise_app.audio.names import printable
from denoise_app.audio.notes import Note

__all__ = [
    "SUFFIXES",
    "Encoding",
    "Limits",
    "Reader",
    "Writer",
    "encoding_for",
    "encoding_like",
    "open_reader",
    "open_writer",
    "probe",
    "read",
    "read_window",
    "suffix",
    "write",
]

AnyPath = str | os.PathLike[str]
T = TypeVar("T")
Interleaved = npt.NDArray[np.float32]
"""(time, channels) float32: the order in which files and decoders hold sound."""

SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("wav", "wave", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "caf", "au", "w64"),
        *("m4a", "aac", "mp4", "m4v", "mov", "webm", "mkv", "mka", "3gp", "amr", "wma"),
    )
)
"""What a sound file's name may end in for it to be found in a folder; a file that is named is told by its content."""

BLOCK = 1 << 16  # samples per channel read at once where the caller does not say: 1.4 s at 48 kHz
PREROLL = 8192  # samples decoded before a jump: longer than what any lossy frame overlaps (Vorbis: 8192 at most)
OPUS_TAIL = 5760  # the longest Opus packet, 120 ms at 48 kHz
PADDING = 4096  # samples that a lossy encoder may add at the end: two frames of HE-AAC
UNKNOWN_LENGTH = 1 << 48  # libsndfile reports about 2^63 frames where a header gives no length
PATIENCE = 60.0  # seconds without a byte after which a decoder is taken for stuck
WAV_BYTES = (1 << 32) - (1 << 16)  # a RIFF chunk counts its bytes in 32 bits; the rest is room for the header

FFMPEG_FORMATS = "mov,matroska,wav,flac,ogg,mp3,aac,amr,aiff,caf,asf,avi,mpegts"
"""Demuxers that ffmpeg may use; playlists (hls, concat, dash) are not among them, for they open further files."""

MAGIC: dict[bytes, str] = {
    rb"(RIFF|RF64)....WAVE": "wav",
    rb"fLaC": "flac",
    rb"OggS": "ogg",
    rb"ID3|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]": "mp3",
    rb"....ftyp": "mp4",
    rb"\x1aE\xdf\xa3": "webm",
}
"""How files begin, and what they then are."""

OGG_ORDER = {
    3: [0, 2, 1],
    5: [0, 2, 1, 3, 4],
    6: [0, 2, 1, 5, 3, 4],
    7: [0, 2, 1, 6, 5, 3, 4],
    8: [0, 2, 1, 7, 5, 6, 3, 4],
}
"""Channels -> where each channel of a wav file lies in Vorbis and Opus (Vorbis I specification, 4.3.9): these have the
centre second and the low frequencies last, and libsndfile leaves them so."""

LENGTHLESS = ("mp3", "aac", "amr", "mpegts")
"""Formats without a header that tells the length: what ffprobe says is a guess from the first packets' size."""

LOSSLESS_IN_FFMPEG = ("pcm_s", "pcm_u", "pcm_f", "alac", "flac", "wavpack", "ape", "tta")


# ----------------------------------------------------------------------------------------------------------- reading


def probe(path: AnyPath, limits: Limits | None = None) -> FileInfo:
    """What the header says, decoding nothing.

    Raises:
        AudioError: it is no sound file that can be read, or goes beyond the limits.
    """
    with open_reader(path, limits) as reader:
        return reader.info


def open_reader(path: AnyPath, limits: Limits | None = None) -> Reader:
    """Opens a sound file for reading by block; use it as a context manager.

    Args:
        path: A file; what it is is told by its content, not its name.
        limits: What to refuse; without them those of the environment.

    Raises:
        AudioError: it is no sound file that can be read, or goes beyond the limits.
    """
    limits = limits or Limits.from_environment()
    file = _checked_file(path, limits)
    decoder = _open_with_soundfile(file) or _open_with_ffmpeg(file, limits)
    reader = Reader(file, decoder, limits)
    try:
        limits.check(reader.info, _shown(file))
        if reader.info.frames <= 0:
            raise AudioError.of("no-audio", name=_shown(file))
    except AudioError:
        reader.close()
        raise
    return reader


def read(path: AnyPath, limits: Limits | None = None) -> Clip:
    """A whole short file. Raises AudioError as `open_reader` and `Reader.blocks` do."""
    with open_reader(path, limits) as reader:
        blocks = list(reader.blocks(BLOCK))
        return Clip(np.concatenate(blocks, axis=1), reader.info.sample_rate, reader.info)


def read_window(path: AnyPath, start: int, frames: int, limits: Limits | None = None) -> Clip:
    """`frames` samples from sample `start` on, fewer where the file ends; those of the whole, to rounding.

    A jump is quick except in containers whose time stamps do not count samples (webm): these are decoded from
    their beginning. Raises AudioError as `open_reader` does, ValueError where start or frames is negative.
    """
    if start < 0 or frames < 0:
        raise ValueError(f"a window begins at 0 or later and is not negative, not {start} and {frames}")
    with open_reader(path, limits) as reader:
        parts = [np.zeros((reader.info.channels, 0), np.float32)]
        missing = frames
        for block in reader.blocks(min(BLOCK, max(frames, 1)), start) if frames else ():
            parts.append(block[:, :missing])
            missing -= parts[-1].shape[1]
            if not missing:
                break
        return Clip(np.concatenate(parts, axis=1), reader.info.sample_rate, reader.info)


class _Decoder(Protocol):
    info: FileInfo
    claimed: int
    """Samples per channel that the header announces; more than info.frames where the file is cut off."""
    exact: bool
    """Whether a file that is whole holds info.frames to the sample; otherwise they are an estimate."""

    def chunks(self, frames: int, start: int) -> Iterator[Interleaved]:
        """From sample `start` on, at most `frames` at a time, none of them empty."""
        ...

    def close(self) -> None: ...


class Reader:
    """A sound file that is read by block, in memory that does not grow with its length.

    Attributes:
        info: What the header says, its length corrected by the size of the file where that can be known.
        notes: What is odd about the file, such as "cut-off" where it ends before its header says; complete after the
            last block, for wav after opening.
    """

    def __init__(self, path: Path, decoder: _Decoder, limits: Limits) -> None:
        self._name = _shown(path)
        self._decoder = decoder
        self._limits = limits
        self.info = decoder.info
        self.notes: tuple[Note, ...] = ()
        # Some programs miscount by their header; lossy ones estimate. Less than this is not worth a word.
        self._tolerance = decoder.info.sample_rate // (10 if decoder.exact else 2)
        self._tell_if_cut_off(decoder.claimed, decoder.info.frames)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._decoder.close()

    def blocks(self, frames: int = BLOCK, start: int = 0) -> Iterator[Samples]:
        """The sound from sample `start` on, as (channels, <= frames) float32, none of them empty.

        For lossless formats and for mp3, ogg, m4a and mp4 the blocks hold info.frames samples in all, unless
        `notes` say otherwise; for webm info.frames is an estimate.

        Raises:
            AudioError: "not-finite", "too-long", "too-many-samples", "truncated" (nothing could be decoded) or
                "decoder-stuck".
        """
        position = start
        for chunk in self._decoder.chunks(frames, start):
            self._check_finite(chunk, position)
            position += len(chunk)
            self._limits.check_length(self.info, position, self._name)
            yield np.ascontiguousarray(chunk.T)  # (n, C) -> (C, n)
        if position == 0:
            raise AudioError.of("truncated", name=self._name, format=self.info.container)
        if start < self.info.frames:
            self._tell_if_cut_off(self.info.frames, position)

    def _check_finite(self, chunk: Interleaved, position: int) -> None:
        if not np.isfinite(chunk).all():
            bad = int(np.flatnonzero(~np.isfinite(chunk).all(axis=1))[0])
            time = clock((position + bad) / self.info.sample_rate)
            raise AudioError.of("not-finite", name=self._name, time=time)

    def _tell_if_cut_off(self, announced: int, present: int) -> None:
        if announced - present > self._tolerance:
            promised, found = (clock(frames / self.info.sample_rate) for frames in (announced, present))
            self.notes = (Note.of("cut-off", name=self._name, promised=promised, present=found),)


def _checked_file(path: AnyPath, limits: Limits) -> Path:
    """The path of an ordinary file of a bearable size, or an AudioError."""
    text = os.fspath(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise AudioError.of("url", name=text)
    file, name = Path(text), _shown(Path(text))
    if "\0" in text:
        raise AudioError.of("missing", name=name)
    try:
        status = file.stat()
        if S_ISDIR(status.st_mode):
            raise AudioError.of("is-a-folder", name=name)
        if not S_ISREG(status.st_mode):
            raise AudioError.of("not-a-file", name=name)
        with file.open("rb"):
            pass  # permission is known by trying
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise AudioError.of("missing", name=name) from error
        raise AudioError.of("unreadable", name=name, problem=error.strerror) from error
    if status.st_size == 0:
        raise AudioError.of("empty-file", name=name)
    if status.st_size > limits.max_bytes:
        size, limit = (f"{count / 1e6:.1f} MB" for count in (status.st_size, limits.max_bytes))
        raise AudioError.of("too-large", name=name, size=size, limit=limit)
    return file


def _shown(path: Path) -> str:
    """The file's name as text that can always be printed."""
    return printable(path.name or str(path))


def _kind(path: Path) -> str | None:
    """What the file seems to be by its first bytes."""
    with path.open("rb") as file:
        head = file.read(12)
    return next((kind for pattern, kind in MAGIC.items() if re.match(pattern, head, re.DOTALL)), None)


def _undecodable(path: Path) -> AudioError:
    """The error for a file that no decoder understands: damaged, or no sound at all."""
    if kind := _kind(path):
        return AudioError.of("truncated", name=_shown(path), format=kind)
    return AudioError.of("not-audio", name=_shown(path))


# ----------------------------------------------------------------------------------------------- reading: libsndfile


def _open_with_soundfile(path: Path) -> _SoundFileDecoder | None:
    """None for what libsndfile cannot open, or whose length it does not know."""
    if _kind(path) == "mp3" and not _counts_its_frames(path):
        return None
    try:
        handle = soundfile.SoundFile(os.fsencode(path))  # it encodes names itself, but only those that are UTF-8
    except (soundfile.LibsndfileError, TypeError):  # TypeError: it takes *.raw for sound without a header
        return None
    if 0 < handle.frames < UNKNOWN_LENGTH:
        return _SoundFileDecoder(path, handle)
    handle.close()
    return None


def _counts_its_frames(path: Path) -> bool:
    """Whether an mp3 file begins with a frame that tells how many follow (Xing and Info headers).

    Without it libsndfile guesses the length from the first frames, and never reads beyond its guess: files of varying
    bit rate lost two thirds of their sound.
    """
    with path.open("rb") as file:
        head = file.read(10)
        if head.startswith(b"ID3"):  # its size has 7 bits to the byte
            file.seek(10 + sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)))
        else:
            file.seek(0)
        frame = file.read(256)
    return b"Xing" in frame or b"Info" in frame


class _SoundFileDecoder:
    def __init__(self, path: Path, handle: soundfile.SoundFile) -> None:
        self._handle = handle
        codec = handle.subtype
        self._order = OGG_ORDER.get(handle.channels, slice(None)) if codec in ("VORBIS", "OPUS") else slice(None)
        container = {"WAVEX": "wav", "RF64": "wav"}.get(handle.format, handle.format.lower())
        self.info = FileInfo(
            container, codec, handle.samplerate, handle.channels, handle.frames, LOSSLESS_BITS.get(codec)
        )
        self.claimed = self.info.frames
        self.exact = self.info.bit_depth is not None  # mp3 and ogg: libsndfile may have to guess
        if container == "wav" and self.info.bit_depth:
            self.claimed = max(self.claimed, _announced_bytes(path) * 8 // (self.info.bit_depth * handle.channels))

    def chunks(self, frames: int, start: int) -> Iterator[Interleaved]:
        position = max(0, start - PREROLL)
        drop = start - position
        try:
            self._handle.seek(position)
        except soundfile.LibsndfileError:  # a damaged file that cannot be entered here has nothing more to give
            return
        while position < self.info.frames:
            count = self._next_read(position, drop + frames)
            piece = self._take(count)
            yield from _slices(piece[drop:, self._order], frames)
            if len(piece) < count:
                return
            position, drop = position + count, 0

    def _next_read(self, position: int, wanted: int) -> int:
        """How many samples to read at once. libsndfile errs when a read begins within an Opus file's last packet."""
        left = self.info.frames - position
        tail = OPUS_TAIL if self.info.codec == "OPUS" else 0
        return left if left < wanted + tail else wanted

    def _take(self, frames: int) -> Interleaved:
        """The next samples; where decoding breaks off within them, those before the break."""
        block = np.full((frames, self.info.channels), np.nan, np.float32)
        try:
            return self._handle.read(out=block)
        except soundfile.LibsndfileError:
            missing = np.isnan(block).any(axis=1)
            return block[: int(missing.argmax()) if missing.any() else frames]

    def close(self) -> None:
        self._handle.close()


def _slices(samples: Interleaved, frames: int) -> Iterator[Interleaved]:
    """(time, channels) in pieces of at most `frames`."""
    return (samples[begin : begin + frames] for begin in range(0, len(samples), frames))


def _announced_bytes(path: Path) -> int:
    """The size of a wav file's sound according to its header; 0 where the header does not know it.

    Programs that write to a pipe leave 0 or a number near 2^31 or 2^32 there, to be read as "until the end".
    """
    with path.open("rb") as file:
        file.seek(12)  # "RIFF", size, "WAVE"
        while len(head := file.read(8)) == 8:
            size = int.from_bytes(head[4:], "little")
            if head[:4] == b"data":
                return size if size < 0x7FFF0000 else 0
            file.seek(size + size % 2, os.SEEK_CUR)  # chunks begin at even bytes
    return 0


# --------------------------------------------------------------------------------------------------- reading: ffmpeg


def _open_with_ffmpeg(path: Path, limits: Limits) -> _FfmpegDecoder:
    if not _has_ffmpeg():
        raise (
            AudioError.of("no-ffmpeg", name=_shown(path))
            if _kind(path) in ("mp3", "mp4", "webm")
            else _undecodable(path)
        )
    header = _ffprobe(path)
    if "format_name" not in header.get("format", {}):
        raise _undecodable(path)
    if not header.get("streams"):
        raise AudioError.of("no-audio", name=_shown(path))
    try:
        return _FfmpegDecoder(path, header["streams"][0], header["format"], limits)
    except (ArithmeticError, LookupError) as error:  # a header with a time base of 1/0, or none
        raise _undecodable(path) from error


class _FfmpegDecoder:
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
            yield from _slices(extra, frames)
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
        data = _patiently(process, lambda: pipe.read(frames * width), _shown(self._path))
        return np.frombuffer(data[: len(data) // width * width], "<f4").reshape(-1, self.info.channels)

    def close(self) -> None:
        if self._process is not None:
            _end(self._process)
            self._process = None


def _has_ffmpeg() -> bool:
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
        raise AudioError.of("decoder-stuck", name=_shown(path), seconds=round(PATIENCE)) from error
    return json.loads(answer.stdout or b"{}") if answer.returncode == 0 else {}


def _described(path: Path, stream: dict[str, Any], container: dict[str, Any]) -> FileInfo:
    """ffprobe's answer as a FileInfo."""
    rate, channels = int(stream.get("sample_rate", 0)), int(stream.get("channels", 0))
    if rate <= 0 or channels <= 0:
        raise _undecodable(path)
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
        return _patiently(process, lambda: _span(process.stdout or ()), _shown(path))
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


# ----------------------------------------------------------------------------------------------------------- writing


QUALITY: dict[str, dict[str, object]] = {
    "VORBIS": {"compression_level": 0.2},  # quality 8 of 10, some 130 kbit/s for speech in mono at 48 kHz
    "OPUS": {"compression_level": 0.6},  # some 110 kbit/s
    "MPEG_LAYER_III": {"compression_level": 0.0, "bitrate_mode": "VARIABLE"},  # LAME's V0
}
"""Codec -> how libsndfile is told to encode it: good enough that denoising decides what is heard."""


def encoding_like(info: FileInfo) -> Encoding:
    """The encoding nearest to a file's own that can be written here: `nearest`, or wav where ffmpeg is missing."""
    encoding = nearest(info)
    return encoding if encoding.container != "m4a" or _has_ffmpeg() else encoding_for("wav", info.bit_depth)


def open_writer(
    path: AnyPath, sample_rate: int, channels: int, encoding: Encoding, frames: int | None = None
) -> Writer:
    """Opens a sound file for writing by block; use it as a context manager.

    The file appears under its name when the context is left without an error, and not at all otherwise.

    Args:
        path: Where to; a file of that name is replaced.
        sample_rate: Hz.
        channels: Count.
        encoding: How.
        frames: Samples per channel that will come, where that is known: a wav file beyond 4 GB then gets the
            64-bit header that it needs (RF64, EBU Tech 3306).

    Raises:
        AudioError: "format-cannot-hold", "no-ffmpeg", "disk-full" or "cannot-write".
    """
    target = Path(path)
    if not encoding.holds(sample_rate, channels):
        raise AudioError.of("format-cannot-hold", format=encoding.container, channels=channels, rate=sample_rate)
    scratch = target.with_name(f".{uuid.uuid4().hex}.tmp")
    encoder: _Encoder
    try:
        if encoding.container == "m4a":
            encoder = _FfmpegEncoder(target, scratch, sample_rate, channels, encoding)
        else:
            encoder = _SoundFileEncoder(target, scratch, sample_rate, channels, encoding, frames)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    return Writer(target, scratch, channels, encoder)


def write(path: AnyPath, clip: Clip, encoding: Encoding | None = None) -> None:
    """Writes a whole clip.

    Without an encoding the clip's source is followed where the name's suffix is its format, else the suffix and the
    source's bit depth. Raises AudioError as `open_writer` and `Writer` do.
    """
    if encoding is None:
        like = encoding_like(clip.source) if clip.source else None
        named = encoding_for(Path(path).suffix, clip.source.bit_depth if clip.source else None)
        encoding = like if like and like.container == named.container else named
    with open_writer(path, clip.sample_rate, clip.channels, encoding, clip.frames) as writer:
        for begin in range(0, clip.frames, BLOCK):
            writer.write(clip.samples[:, begin : begin + BLOCK])


class _Encoder(Protocol):
    def write(self, samples: Interleaved) -> None: ...

    def finish(self) -> None:
        """Writes what is left and closes; raises AudioError where not everything came to the disk."""
        ...

    def abort(self) -> None:
        """Closes, whatever comes of it."""
        ...


class Writer:
    """A sound file that is written by block; made by `open_writer`."""

    def __init__(self, target: Path, scratch: Path, channels: int, encoder: _Encoder) -> None:
        self._target = target
        self._scratch = scratch
        self._channels = channels
        self._encoder = encoder

    def write(self, samples: Samples) -> None:
        """Appends (channels, n) float32, full scale [-1, 1].

        Integer encodings keep what lies on their steps bit for bit, round the rest (at 16 bits with dither), and cut
        what is beyond full scale; FLOAT and DOUBLE keep everything.

        Raises:
            AudioError: "disk-full", "cannot-write", "wav-too-large" or "decoder-stuck".
            ValueError: the samples have another number of channels, or are not finite.
        """
        if samples.ndim != 2 or samples.shape[0] != self._channels:
            raise ValueError(f"this file takes ({self._channels}, n) samples, not {samples.shape}")
        if not np.isfinite(samples).all():
            raise ValueError("samples to be written must be finite")
        if samples.shape[1]:
            self._encoder.write(np.ascontiguousarray(samples.T, np.float32))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self._encoder.finish()
                with _explained(self._target):
                    os.replace(self._scratch, self._target)
        finally:
            self._encoder.abort()
            self._scratch.unlink(missing_ok=True)


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    """Turns what the system says against writing into an AudioError."""
    try:
        yield
    except OSError as error:
        raise _write_error(target, error) from error


def _write_error(target: Path, error: OSError) -> AudioError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return AudioError.of("disk-full", name=_shown(target))
    return AudioError.of("cannot-write", name=_shown(target), problem=error.strerror or str(error))


class _Sink:
    """A file that soundfile writes to; it keeps the system's error, which libsndfile would swallow."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self.error: OSError | None = None

    def _try(self, act: Callable[[], int | None]) -> int:
        if self._file.closed:  # libsndfile, giving up, still wants to correct its header
            return 0
        try:
            return act() or 0
        except OSError as error:
            self.error = self.error or error
            return 0

    def write(self, data: bytes) -> int:
        return self._try(lambda: self._file.write(data))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._try(lambda: self._file.seek(offset, whence))

    def tell(self) -> int:
        return self._try(self._file.tell)

    def read(self, count: int) -> bytes:
        return self._file.read(count)

    def close(self) -> None:
        self._try(self._file.close)


class _SoundFileEncoder:
    def __init__(
        self, target: Path, scratch: Path, sample_rate: int, channels: int, encoding: Encoding, frames: int | None
    ) -> None:
        self._target = target
        self._bits = PCM_BITS.get(encoding.codec, 16 if encoding.codec in ("ULAW", "ALAW") else None)
        self._dither = np.random.default_rng(0)  # seeded, so that the same sound gives the same file
        width = channels * (encoding.bit_depth or 8) // 8
        large = encoding.container == "wav" and (frames or 0) * width > WAV_BYTES
        self._order = OGG_ORDER.get(channels) if encoding.container == "ogg" else None
        self._room = WAV_BYTES // width if encoding.container == "wav" and not large else None
        with _explained(target):
            self._sink = _Sink(scratch)
        container = "RF64" if large else encoding.container.upper()
        quality = QUALITY.get(encoding.codec, {})
        with self._complete():
            self._file = soundfile.SoundFile(
                self._sink, "w", sample_rate, channels, encoding.codec, format=container, **quality
            )

    def write(self, samples: Interleaved) -> None:
        if self._room is not None:
            self._room -= len(samples)
            if self._room < 0:
                raise AudioError.of("wav-too-large", name=_shown(self._target))
        if self._order:
            samples = np.ascontiguousarray(samples[:, np.argsort(self._order)])
        data = samples if self._bits is None else quantise(samples, self._bits, self._dither)
        with self._complete():
            self._file.write(data)

    def finish(self) -> None:
        with self._complete():
            self._file.close()
            self._sink.close()

    @contextmanager
    def _complete(self) -> Iterator[None]:
        """Raises an AudioError where the system refused a byte, whether libsndfile noticed it or not."""
        try:
            yield
        except (soundfile.LibsndfileError, AssertionError) as error:  # AssertionError: it wrote fewer frames
            if self._sink.error is None:
                raise AudioError.of("cannot-write", name=_shown(self._target), problem=str(error)) from error
        if self._sink.error is not None:
            raise _write_error(self._target, self._sink.error)

    def abort(self) -> None:
        with suppress(soundfile.LibsndfileError):
            self._file.close()
        self._sink.close()


class _FfmpegEncoder:
    def __init__(self, target: Path, scratch: Path, sample_rate: int, channels: int, encoding: Encoding) -> None:
        if not _has_ffmpeg():
            raise AudioError.of("no-ffmpeg", name=_shown(target))
        with _explained(target):
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
        return _shown(self._target)

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
