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
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path
from queue import Queue, SimpleQueue
from typing import IO, Any, NamedTuple, Self, TypeVar

import numpy as np

from denoise_app.audio.clip import FileInfo
from denoise_app.audio.codec import BLOCK, Interleaved, explained, kind, shown, slices, undecodable
from denoise_app.audio.convert import quantise
from denoise_app.audio.encodings import Encoding
from denoise_app.audio.errors import AudioError
from denoise_app.audio.limits import Limits
from denoise_app.audio.names import FileState, state_of
from denoise_app.audio.notes import Note
from denoise_app.audio.survey import OggSurvey, mp3_samples_announced, opus_delay, survey_ogg

T = TypeVar("T")

PADDING = 4096  # samples that a lossy encoder may add at the end: two frames of HE-AAC
AHEAD = 8  # blocks that may wait for an encoder: some ten seconds, 4 MB of stereo
PATIENCE = 20.0  # seconds without a byte after which a decoder or encoder is taken for stuck
MOST_HEADERS = 256  # files whose headers are remembered, a few kB each
HEADER_PATIENCE = 10.0  # seconds for a header, which may stand at the end of a large file on a slow disk

JITTER = 0.01  # seconds by which time stamps err: those of webm, avi and asf count milliseconds
LATE = 0.05  # seconds; sound that begins later than this is late, earlier than that the encoder's own delay
OWN_CLOCK = 60.0  # seconds; sound alone that begins later than this was cut out of a longer stream
LEAP = 10.0  # seconds; a larger leap of a clock that may be set anew is no gap (ffmpeg's own -dts_delta_threshold)
MOST_LOST = 1000  # frames whose loss may be told from bytes: some 25 s
CONVERGENCE = 1  # seconds decoded before a jump, after which a decoder's memory has faded

FFMPEG_FORMATS = (
    "mov,matroska,wav,w64,flac,ogg,mp3,aac,ac3,eac3,dts,amr,aiff,caf,au,voc,asf,avi,flv,mpeg,mpegts,mxf,wv,ape,tta"
)
"""Demuxers that ffmpeg may use; playlists (hls, concat, dash) are not among them, for they open further files."""

LENGTHLESS = ("mp3", "aac", "ac3", "eac3", "dts", "amr", "mpeg", "mpegts", "ogg")
"""Formats without a header that tells the length: what ffprobe says is a guess, or that of the last part."""

ABSOLUTE = ("mov", "matroska")
"""Formats whose clock begins with the recording, so that sound which begins later is late."""

CLOCKED = (*ABSOLUTE, "ogg", "flac", "wv", "tta", "ape", "asf", "flv", "mpeg", "mpegts", "mxf")
"""Formats whose time stamps are written in the file, or count the frames of a table in it; those of the others count
what is found, and leap only at damage."""

ENDS_TOLD = ("matroska", "asf", "flv")
"""Formats that tell when their sound ends, not how long it lasts."""

RESET = ("mpeg", "mpegts", "flv", "asf")
"""Formats whose clock may be set anew in midst of the file."""

JOINT = re.compile(rb"ID3|TAG|APETAGEX|LYRICS|Xing|Info")
"""What stands between two mp3 files that were joined, where something undecodable is no damage."""

SAME = {
    ("ogg", "opus"): "OPUS",
    ("ogg", "vorbis"): "VORBIS",
    ("mp3", "mp3"): "MPEG_LAYER_III",
    ("mp3", "mp2"): "MPEG_LAYER_II",
    ("mp3", "mp1"): "MPEG_LAYER_I",
}
"""(Format, codec) -> libsndfile's name of it: what a file is must not depend on who decodes it."""

CHECKED = ("flac", "wavpack", "ape", "tta")
"""Codecs whose frames carry a checksum that their decoders compare where they are told to."""

LOSSLESS_IN_FFMPEG = ("pcm_s", "pcm_u", "pcm_f", "alac", "flac", "wavpack", "ape", "tta")


# ----------------------------------------------------------------------------------------------------------- reading


def open_with_ffmpeg(path: Path, limits: Limits, track: int | None = None) -> FfmpegDecoder:
    """Raises AudioError for what ffmpeg cannot read, or where it is missing."""
    if not has_ffmpeg():
        if kind(path) not in (None, "wav", "flac", "ogg"):
            raise AudioError.of("no-ffmpeg", name=shown(path))
        raise undecodable(path)
    header = _header(path)
    if "format_name" not in header.get("format", {}):
        raise undecodable(path)
    tracks = header.get("streams", [])
    if not tracks:
        raise AudioError.of("no-audio", name=shown(path))
    if track is not None and not 1 <= track <= len(tracks):
        raise AudioError.of("no-such-track", name=shown(path), track=track, count=len(tracks))
    notes = []
    if len(tracks) > 1 and track is None:
        notes.append(Note.of("several-tracks", name=shown(path), count=len(tracks), taken=1))
    try:
        return FfmpegDecoder(path, (track or 1) - 1, tracks[(track or 1) - 1], header["format"], limits, notes)
    except (ArithmeticError, LookupError, ValueError) as error:  # a header with a time base of 1/0, or none
        raise undecodable(path) from error


class Frame(NamedTuple):
    """What ffmpeg tells of a frame that it has decoded.

    Attributes:
        time: Where it begins, in samples of the file's clock; None where it has no time stamp.
        samples: Of each channel; 0 at the end, where what stood last could not be decoded.
        byte: Where it lies in the file; -1 where that is not known.
        follows_error: Whether what stood before it could not be decoded.
    """

    time: int | None
    samples: int
    byte: int
    follows_error: bool


class FfmpegDecoder:
    """One sound track of a file that ffmpeg decodes, every frame of it in the place that its time stamp tells."""

    def __init__(
        self,
        path: Path,
        track: int,
        stream: dict[str, Any],
        container: dict[str, Any],
        limits: Limits,
        notes: list[Note],
    ) -> None:
        self._path = path
        self._track = track
        self._limits = limits
        self._notes = notes
        self._silence = {"damaged": 0, "gaps": 0}  # samples put in for what is missing
        self._process: subprocess.Popen[bytes] | None = None
        self._format = container["format_name"].split(",")[0]
        self._strict = str(stream.get("codec_name")) in CHECKED
        ogg = survey_ogg(path) if self._format == "ogg" else OggSurvey(is_simple=False, is_chained=False)
        is_counted = self._format not in LENGTHLESS or ogg.is_simple
        info = _described(path, track, stream, container, is_counted)
        self._layout = stream.get("channel_layout", "unknown")
        self._may_leap = self._format in RESET or ogg.is_chained
        begin = stream.get("start_pts", 0) * Fraction(stream.get("time_base", "1/1"))
        late = self._lateness(begin, Fraction(container.get("start_time", 0)))
        if late > LATE:
            self._notes.append(Note.of("late-start", name=shown(path), seconds=float(late)))
        self._ogg_delay = opus_delay(path) if info.codec == "OPUS" and self._format == "ogg" else 0
        self._lead = round(late * info.sample_rate) if late > LATE else 0
        self._ogg = ogg
        self._begin = 0 if ogg.lacks_start else round(begin * info.sample_rate)
        ends_told = is_counted and self._format in ENDS_TOLD
        self.info = replace(info, frames=info.frames + (0 if ends_told else self._lead))
        is_own = container.get("nb_streams") == 1 or self._format not in ENDS_TOLD or "DURATION" in _stream_tags(stream)
        self.claimed = self._claimed(is_counted and is_own)
        # Time stamps that count samples from the file's beginning make jumps and the end exact.
        self.exact = (
            (self._format == "mov" or (ogg.is_simple and info.codec == "OPUS"))
            and stream.get("time_base") == f"1/{info.sample_rate}"
            and stream.get("start_pts") == 0
            and float(container.get("start_time", 0)) == 0
        )

    def _claimed(self, is_counted: bool) -> int:
        if self._format == "mp3":
            return mp3_samples_announced(self._path)
        return self.info.frames if is_counted and self._format != "avi" else 0  # avi counts what lies before the sound

    def _lateness(self, begin: Fraction, clock: Fraction) -> Fraction:
        """Seconds of silence before the sound, from when it and its container begin."""
        if self._format not in CLOCKED:
            return Fraction(0)
        return begin - (0 if self._format in ABSOLUTE and clock < OWN_CLOCK else clock)

    def chunks(self, frames: int, start: int) -> Iterator[Interleaved]:
        self._path.stat()  # ffmpeg opens it anew: of a file that has gone it gives no sound, and no reason
        seconds = max(0, start // self.info.sample_rate - CONVERGENCE) if self.exact else 0
        pieces = _without(start, self._placed(seconds))
        return _grouped(_trimmed(pieces, self.info.frames - start) if self.exact else pieces, frames)

    def notes(self) -> tuple[Note, ...]:
        found = ((key, samples / self.info.sample_rate) for key, samples in self._silence.items() if samples)
        return (*self._notes, *(Note.of(key, name=shown(self._path), seconds=seconds) for key, seconds in found))

    def _placed(self, seconds: int) -> Iterator[Interleaved]:
        """The sound from its first sample on, silent where it lacks, and before `seconds`, from where it is decoded."""
        silence = dict.fromkeys(self._silence, 0)
        first = previous = None
        passed = given = 0  # frames, samples
        decoded = self._decoded(seconds)
        if self._ogg.end and not seconds:
            decoded = _ended(decoded, *(place - self._ogg_delay for place in self._ogg.end))
        for leap, frame, samples in placed(decoded, self._begin - self._lead):
            if first is None or previous is None:
                first = frame
                kept_before = leap if seconds else self._lead
                missing = max(0, leap if frame.follows_error or self._ogg.lacks_start else kept_before)
            elif not frame.samples:
                lack = self.info.frames - given if self._format == "flac" else 0
                missing, kept_before = max(0, lack) if lack <= first.samples else 0, 0
            else:
                missing, kept_before = self._missing(leap, previous, frame, (previous.byte - first.byte) / passed), 0
            is_damage = frame.follows_error or self._format not in (*ABSOLUTE, *RESET)
            silence["damaged" if is_damage else "gaps"] += max(0, missing - kept_before)
            for begin in range(0, missing, BLOCK):
                yield np.zeros((min(BLOCK, missing - begin), self.info.channels), np.float32)
            yield samples
            previous, passed, given = frame, passed + 1, given + missing + len(samples)
            self._silence = {key: max(count, self._silence[key]) for key, count in silence.items()}

    def _missing(self, leap: int, previous: Frame, frame: Frame, frame_bytes: float) -> int:
        """Samples that lack between two frames whose time stamps are `leap` samples apart."""
        if self._format in CLOCKED:
            is_gap = leap > JITTER * self.info.sample_rate and not (
                self._may_leap and leap > LEAP * self.info.sample_rate
            )
            return leap if is_gap else 0
        if not frame.follows_error or leap <= 0 or self._is_joint(previous.byte, frame.byte):
            return 0
        # What counts the frames passes over those whose heads are damaged; their bytes tell how many there were.
        lost = round((frame.byte - previous.byte) / frame_bytes) - 1 if frame_bytes > 0 else 0
        return max(leap, min(lost, MOST_LOST) * frame.samples)

    def _is_joint(self, begin: int, end: int) -> bool:
        """Whether tags stand between two frames, as between files that were joined."""
        if not 0 <= begin < end:
            return False
        with self._path.open("rb") as file:
            file.seek(begin)
            return JOINT.search(file.read(min(end - begin, 1 << 20))) is not None

    def _decoded(self, seconds: int) -> Iterator[tuple[Frame, Interleaved]]:
        """Every frame that ffmpeg decodes from about a whole second on, and its samples."""
        self.close()
        process = subprocess.Popen(
            self._command(seconds), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._process = process
        pipe, words, width = process.stdout, process.stderr, 4 * self.info.channels
        assert pipe is not None and words is not None  # Popen was given PIPE
        told: SimpleQueue[Frame | None] = SimpleQueue()
        threading.Thread(target=_listen, args=(words, told), daemon=True).start()
        try:
            with _Leash(process, shown(self._path), PATIENCE) as leash:
                while frame := leash.wait(told.get):
                    data = leash.wait(partial(pipe.read, frame.samples * width))
                    yield frame, np.frombuffer(data[: len(data) // width * width], "<f4").reshape(-1, width // 4)
        finally:
            _end(process)

    def _command(self, seconds: int) -> list[str]:
        """ffmpeg giving the track as interleaved float32, and a line on each frame."""
        form = f"aformat=sample_fmts=flt:sample_rates={self.info.sample_rate}"
        if re.fullmatch(r"[\w.()]+", self._layout) and self._layout != "unknown":
            form += f":channel_layouts={self._layout}"  # parts of a chained file may differ
        # ffmpeg would play a damaged lossless frame as noise; lossy decoders conceal what they can.
        strict = ["-err_detect", "crccheck+explode"] if self._strict else []
        most = round((self._limits.max_seconds + 1) * self.info.sample_rate) * 4 * self.info.channels  # bytes
        jump = ["-noaccurate_seek", "-ss", str(seconds)] if seconds else []
        return [
            *_ffmpeg("ffmpeg", self._path, *strict, "-copyts", *jump),
            *("-fs", str(most), "-map", f"0:a:{self._track}", "-af", f"{form},ashowinfo"),
            *("-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"),
        ]

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()  # who reads from it finds its end
            self._process.wait()


def placed(decoded: Iterable[tuple[Frame, Interleaved]], begin: int) -> Iterator[tuple[int, Frame, Interleaved]]:
    """How many samples later each frame is than the end of the one before it, the first than `begin`.

    Where a leap forwards is taken back by the next frame, as Vorbis has them at some pages and flac after damage, the
    frame's own time was wrong.

    >>> frames = [Frame(time, 10, -1, False) for time in (0, 10, 50, 40, 50)]
    >>> [leap for leap, *_ in placed([(frame, None) for frame in frames], 0)]
    [0, 0, 0, 10, 0]
    """
    expected, held = begin, None
    for frame, samples in decoded:
        leap = 0 if frame.time is None else frame.time - expected
        expected += leap + frame.samples
        if held is not None and 0 < held[0] < -4 * leap:  # by a good part of it: time stamps jitter, too
            leap, held = held[0] + leap, (0, *held[1:])
        if held is not None:
            yield held
        held = leap, frame, samples
    if held is not None:
        yield held


def _ended(decoded: Iterable[tuple[Frame, Interleaved]], begin: int, end: int) -> Iterator[tuple[Frame, Interleaved]]:
    """The frames from time `begin` on moved so that the last one ends at `end`: they came after a loss, uncounted."""
    late: list[tuple[Frame, Interleaved]] = []
    for frame, samples in decoded:
        if late or (frame.time is not None and 2 * (frame.time - begin) > -frame.samples):
            late.append((frame, samples))
        else:
            yield frame, samples
    count = sum(frame.samples for frame, _ in late)
    for frame, samples in late:
        yield frame._replace(time=end - count), samples
        count -= frame.samples


def _without(count: int, pieces: Iterator[Interleaved]) -> Iterator[Interleaved]:
    """Pieces (time, channels) without the first `count` samples."""
    for piece in pieces:
        yield piece[count:]
        count = max(0, count - len(piece))


def _trimmed(pieces: Iterator[Interleaved], announced: int) -> Iterator[Interleaved]:
    """Pieces without an encoder's padding behind the announced end; sound that goes on longer is kept."""
    beyond: list[Interleaved] = []
    for piece in pieces:
        yield piece[: max(0, announced)]
        beyond.append(piece[max(0, announced) :])
        announced -= len(piece)
        if -announced > PADDING:
            yield from beyond
            yield from pieces
            return


def _grouped(pieces: Iterator[Interleaved], frames: int) -> Iterator[Interleaved]:
    """Pieces of any length as pieces of `frames` samples, the last of what is left."""
    held: list[Interleaved] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count >= frames:
            *whole, rest = slices(np.concatenate([*held, held[0][:0]]), frames)
            if len(rest) == frames:
                whole, rest = [*whole, rest], rest[:0]
            yield from whole
            held, count = [rest], len(rest)
    if count:
        yield np.concatenate(held)


FRAME = re.compile(
    rb"\[Parsed_ashowinfo_\d+ @ \w+\] \[info\] n: *\d+ pts: *(\S+) .*?(?:pos: *(-?\d+) .*)?nb_samples: *(\d+)"
)
"""A line of ffmpeg's filter ashowinfo."""


def _listen(words: IO[bytes], told: SimpleQueue[Frame | None]) -> None:
    """Turns what ffmpeg says into frames, as long as it speaks."""
    failed = False
    with suppress(ValueError):  # the pipe was closed
        for line in words:
            if found := FRAME.match(line):
                begin, byte, count = found.groups()
                told.put(Frame(None if begin == b"NOPTS" else int(begin), int(count), int(byte or -1), failed))
                failed = False
            elif b"[error]" in line or b"corrupt" in line:
                failed = failed or b"non monotonically" not in line
    if failed:
        told.put(Frame(None, 0, -1, failed))
    told.put(None)


def has_ffmpeg() -> bool:
    return bool(shutil.which("ffmpeg") and shutil.which("ffprobe"))


def _ffmpeg(program: str, path: Path, *before_input: str) -> list[str]:
    """A command that reads `path`, whatever characters are in it, and nothing else: no network, no playlist."""
    own = (
        ["-hide_banner", "-nostats", "-v", "level+info", "-nostdin", "-threads", "1"]
        if program == "ffmpeg"
        else ["-v", "error"]
    )
    only = ["-protocol_whitelist", "file,pipe", "-format_whitelist", FFMPEG_FORMATS]
    return [program, *own, *only, *before_input, "-i", f"file:{path.absolute()}"]


def _header(path: Path) -> dict[str, Any]:
    """What ffprobe tells of a file, asked once: a recording is opened many times, and ffprobe takes 50 ms each."""
    return _ffprobe(path.absolute(), state_of(path))


@lru_cache(MOST_HEADERS)
def _ffprobe(path: Path, state: FileState) -> dict[str, Any]:
    """What ffprobe tells of the sound tracks and their container.

    Args:
        state: What changes with the file.

    Raises:
        AudioError: it understands neither, or does not end.
    """
    entries = (
        "stream=codec_name,sample_rate,channels,channel_layout,time_base,start_pts,duration_ts,bit_rate,"
        "bits_per_raw_sample,bits_per_sample:stream_tags=DURATION:format=format_name,duration,start_time,bit_rate,nb_streams"
    )
    command = [*_ffmpeg("ffprobe", path), *("-select_streams", "a", "-show_entries", entries, "-of", "json")]
    try:
        answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=HEADER_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise AudioError.of("decoder-stuck", name=shown(path), seconds=round(HEADER_PATIENCE)) from error
    if answer.returncode:
        raise undecodable(path)
    found: dict[str, Any] = json.loads(answer.stdout or b"{}")
    return found


def _described(path: Path, track: int, stream: dict[str, Any], container: dict[str, Any], is_counted: bool) -> FileInfo:
    """ffprobe's answer as a FileInfo."""
    rate, channels = int(stream.get("sample_rate", 0)), int(stream.get("channels", 0))
    if rate <= 0 or channels <= 0:
        raise undecodable(path)
    codec = str(stream.get("codec_name", "unknown"))
    bits = int(stream.get("bits_per_raw_sample") or stream.get("bits_per_sample") or 0)
    names = container["format_name"].split(",")
    if not is_counted or not ("duration_ts" in stream or "duration" in container):
        frames = round(_seconds_of_packets(path, track) * rate)  # browsers, too, record webm without a length
    elif match := re.fullmatch(r"(\d+):(\d+):([\d.]+)", _stream_tags(stream).get("DURATION", "")):  # matroska
        frames = round((int(match[1]) * 3600 + int(match[2]) * 60 + Fraction(match[3])) * rate)
    elif "duration_ts" in stream:
        frames = round(stream["duration_ts"] * Fraction(stream["time_base"]) * rate)
    else:
        frames = round(float(container["duration"]) * rate)
    if frames <= 0:  # as a header says that was written before its sound
        frames = round(_seconds_of_packets(path, track) * rate)
    if (names[0], codec) == ("ogg", "opus"):
        frames -= opus_delay(path)  # which ffprobe counts, and no decoder gives
    is_lossless = codec.startswith(LOSSLESS_IN_FFMPEG)
    bit_rate = stream.get("bit_rate") or (container.get("bit_rate") if container.get("nb_streams") == 1 else None)
    suffix = path.suffix[1:].lower()
    return FileInfo(
        container=suffix if suffix in names else {"mov": "mp4", "matroska": "webm"}.get(names[0], names[0]),
        codec=f"PCM_{bits}" if (names[0], codec) == ("flac", "flac") else SAME.get((names[0], codec), codec),
        sample_rate=rate,
        channels=channels,
        frames=frames,
        bit_depth=bits or None if is_lossless else None,
        bit_rate=int(bit_rate) if bit_rate and not is_lossless else None,
    )


def _stream_tags(stream: dict[str, Any]) -> dict[str, str]:
    tags = stream.get("tags")
    return tags if isinstance(tags, dict) else {}


def _seconds_of_packets(path: Path, track: int) -> float:
    """How long the packets of a sound track last, decoding none of them."""
    command = [
        *_ffmpeg("ffprobe", path),
        *("-select_streams", f"a:{track}", "-show_entries", "packet=pts_time,duration_time"),
        *("-of", "csv=print_section=0"),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    pipe = process.stdout
    assert pipe is not None  # Popen was given stdout=PIPE
    try:
        with _Leash(process, shown(path), PATIENCE) as leash:
            return _span(iter(partial(leash.wait, pipe.readline), b""))
    finally:
        _end(process)


def _span(lines: Iterable[bytes]) -> float:
    """Seconds from the first begin to the last end in lines of "begin,duration", or the sum of durations if more.

    >>> _span([b"-0.007,0.020000,", b"2.000000,0.020000", b"N/A,N/A"])
    2.027
    >>> _span([b"0,3", b"3,3", b"0,4"])  # two files that were joined
    10.0
    """
    begin = end = None
    total = 0.0
    for line in lines:
        numbers = re.match(rb"(-?[\d.]+),([\d.]+)?", line)
        if numbers:
            time, lasting = float(numbers[1]), float(numbers[2] or 0)
            lasting = lasting if lasting < LEAP else 0.0  # no packet lasts so long
            begin = time if begin is None else begin
            end = time + lasting
            total += lasting
    return 0.0 if begin is None or end is None else max(end - begin, total)


class _Leash:
    """Ends a process that is waited for, and shows nothing, for longer than `seconds`."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, seconds: float) -> None:
        self._process = process
        self._name = name
        self._seconds = seconds
        self._since: float | None = None
        self._is_stuck = False
        self._done = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()

    def _watch(self) -> None:
        while not self._done.wait(self._seconds / 4):
            since = self._since
            if since is not None and time.monotonic() - since > self._seconds:
                self._is_stuck = True
                self._process.kill()

    def wait(self, act: Callable[[], T]) -> T:
        """What `act`, which waits for the process, returns; raises AudioError where that took too long."""
        self._since = time.monotonic()
        try:
            return act()
        finally:
            self._since = None
            if self._is_stuck:
                raise AudioError.of("decoder-stuck", name=self._name, seconds=round(self._seconds))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process, whatever it is doing, and gives back what it held."""
    process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError):  # what was still to be written has no reader any more
                pipe.close()
    process.wait()


class FfmpegEncoder:
    """Encodes while the next sound is computed: what it cannot take yet waits for it."""

    def __init__(self, target: Path, scratch: Path, sample_rate: int, channels: int, encoding: Encoding) -> None:
        if not has_ffmpeg():
            raise AudioError.of("no-ffmpeg", name=shown(target))
        with explained(target):
            scratch.touch()
        self._target = target
        self._bits = encoding.bit_depth
        self._dither = np.random.default_rng(0)
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        codec = {
            # ffmpeg's coder takes twice the time at 384 kbit/s that it takes at 192.
            "AAC": ["-c:a", "aac", "-b:a", str(encoding.lossy_rate(sample_rate, channels))],
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
        self._leash = _Leash(self._process, shown(target), PATIENCE).__enter__()
        self._waiting: Queue[bytes | None] = Queue(AHEAD)
        self._problem: OSError | AudioError | None = None
        self._feeder = threading.Thread(target=self._feed, daemon=True)
        self._feeder.start()

    def write(self, samples: Interleaved) -> None:
        for part in slices(samples, BLOCK):
            data = part if self._bits is None else quantise(part, self._bits, self._dither)
            self._waiting.put(data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes())
            self._check()

    def _feed(self) -> None:
        """Hands over what waits until None comes; after a problem it is dropped, so that nobody waits for room."""
        pipe = self._process.stdin
        assert pipe is not None  # Popen was given stdin=PIPE
        while (data := self._waiting.get()) is not None:
            try:
                if self._problem is None:
                    self._leash.wait(partial(pipe.write, data))
            except (OSError, AudioError) as problem:
                self._problem = problem
        with suppress(OSError):  # the exit code tells
            pipe.close()

    def _check(self) -> None:
        if isinstance(self._problem, AudioError):
            raise self._problem
        if self._problem is not None:
            raise self._failure() from self._problem

    @property
    def _name(self) -> str:
        return shown(self._target)

    def finish(self) -> None:
        self._waiting.put(None)
        self._feeder.join()
        self._check()
        if self._leash.wait(self._process.wait):
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
        self._process.kill()  # so that what is being handed over has no reader any more
        self._waiting.put(None)
        self._feeder.join()
        self._leash.__exit__()
        _end(self._process)
        self._log.close()
