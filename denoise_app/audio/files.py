"""Sound files in and out, block by block; the only face that other rooms see of any decoder.

wav, flac, ogg, mp3 and what else libsndfile knows go through `libsndfile` where a `survey` finds that the header can be
believed; everything else, and what is damaged or joined, through `ffmpeg`. Headers are read, and checked against
`Limits`, before anything is decoded.
"""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from types import TracebackType
from typing import Self

import numpy as np

from denoise_app.audio import survey
from denoise_app.audio.clip import Clip, FileInfo, Samples
from denoise_app.audio.codec import BLOCK, Decoder, Encoder, Interleaved, explained, shown
from denoise_app.audio.encodings import Encoding, encoding_for, nearest, suffix
from denoise_app.audio.errors import AudioError
from denoise_app.audio.ffmpeg import FfmpegEncoder, has_ffmpeg, open_with_ffmpeg
from denoise_app.audio.libsndfile import SoundFileEncoder, open_with_soundfile
from denoise_app.audio.limits import Limits, clock
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

SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("wav", "wave", "bwf", "rf64", "w64", "aif", "aiff", "aifc", "caf", "au", "snd", "voc", "sph", "nist", "flac"),
        *("ogg", "oga", "ogx", "ogv", "opus", "spx", "mp1", "mp2", "mp3", "mpga", "m4a", "m4b", "m4r", "aac", "adts"),
        *("mp4", "m4v", "mov", "qt", "3gp", "3ga", "3g2", "f4a", "f4v", "webm", "weba", "mkv", "mka", "mk3d"),
        *("ts", "mts", "m2ts", "mpg", "mpeg", "vob", "avi", "flv", "mxf", "asf", "wma", "wmv", "amr", "awb"),
        *("ac3", "eac3", "dts", "wv", "ape", "tta"),
    )
)
"""What a sound file's name may end in for it to be found in a folder; a file that is named is told by its content."""


# ----------------------------------------------------------------------------------------------------------- reading


def probe(path: AnyPath, limits: Limits | None = None, track: int | None = None) -> FileInfo:
    """What the header says, decoding nothing; `track` as for `open_reader`.

    Raises:
        AudioError: it is no sound file that can be read, or goes beyond the limits.
    """
    with open_reader(path, limits, track) as reader:
        return reader.info


def open_reader(path: AnyPath, limits: Limits | None = None, track: int | None = None) -> Reader:
    """Opens a sound file for reading by block; use it as a context manager.

    Args:
        path: A file; what it is is told by its content, not its name.
        limits: What to refuse; without them those of the environment.
        track: Which of its sound tracks, from 1; None for the first, and a note where there are others.

    Raises:
        AudioError: it is no sound file that can be read, has no such track, or goes beyond the limits.
        TypeError: track is no whole number.
    """
    if track is not None and (isinstance(track, bool) or not isinstance(track, int)):
        raise TypeError(f"a track is a whole number, counted from 1, not {track!r}")
    limits = limits or Limits.from_environment()
    file = _checked_file(path, limits)
    try:
        decoder = _opened(file, limits, track)
    except OSError as error:  # it has gone, or is on a disk that fails, since it was checked
        raise _read_error(file, error) from error
    reader = Reader(file, decoder, limits)
    try:
        limits.check(reader.info, shown(file))
        if reader.info.frames <= 0:
            raise AudioError.of("no-audio", name=shown(file))
    except AudioError:
        reader.close()
        raise
    return reader


def _opened(file: Path, limits: Limits, track: int | None) -> Decoder:
    """The decoder that reads all of a file: libsndfile where its header can be believed, which is quick, else ffmpeg.

    Where ffmpeg is missing, or fails, libsndfile reads what it can.
    """
    believed = survey.is_plain(file)
    decoder = open_with_soundfile(file) if believed or not has_ffmpeg() else None
    if decoder is not None and has_ffmpeg() and decoder.misreads:
        decoder.close()
        decoder = None
    if decoder is None:
        try:
            return open_with_ffmpeg(file, limits, track)
        except AudioError as error:
            if error.reason not in ("truncated", "not-audio"):
                raise
            decoder = open_with_soundfile(file)
            if decoder is None:
                raise
    if track not in (None, 1):
        decoder.close()
        raise AudioError.of("no-such-track", name=shown(file), track=track, count=1)
    decoder.is_doubtful = not believed or decoder.misreads
    if decoder.info.container == "flac" and has_ffmpeg():
        decoder.rescue = partial(open_with_ffmpeg, file, limits)
    return decoder


def read(path: AnyPath, limits: Limits | None = None, track: int | None = None) -> Clip:
    """A whole short file. Raises AudioError as `open_reader` and `Reader.blocks` do."""
    with open_reader(path, limits, track) as reader:
        blocks = list(reader.blocks(BLOCK))
        return Clip(np.concatenate(blocks, axis=1), reader.info.sample_rate, reader.info)


def read_window(path: AnyPath, start: int, frames: int, limits: Limits | None = None, track: int | None = None) -> Clip:
    """`frames` samples from sample `start` on, fewer where the file ends; those of the whole, to rounding.

    A jump is quick except where time stamps do not count samples (webm) or cannot be believed (damaged files): these
    are decoded from their beginning. Raises AudioError as `open_reader` does, ValueError where start or frames is
    negative.
    """
    if start < 0 or frames < 0:
        raise ValueError(f"a window begins at 0 or later and is not negative, not {start} and {frames}")
    with open_reader(path, limits, track) as reader:
        parts = [np.zeros((reader.info.channels, 0), np.float32)]
        missing = frames
        for block in reader.blocks(min(BLOCK, max(frames, 1)), start) if frames else ():
            parts.append(block[:, :missing])
            missing -= parts[-1].shape[1]
            if not missing:
                break
        return Clip(np.concatenate(parts, axis=1), reader.info.sample_rate, reader.info)


class Reader:
    """A sound file that is read by block, in memory that does not grow with its length.

    Attributes:
        info: What the header says, its length corrected by the size of the file where that can be known.
        notes: What is odd about the file, such as "cut-off" where it ends before its header says, or "damaged";
            complete after the last block, for wav after opening.
    """

    def __init__(self, path: Path, decoder: Decoder, limits: Limits) -> None:
        self._path, self._name = path, shown(path)
        self._decoder = decoder
        self._limits = limits
        self.info = decoder.info
        self._cut_off: tuple[Note, ...] = ()
        # Some programs miscount by their header; lossy ones estimate. Less than this is not worth a word.
        self._tolerance = decoder.info.sample_rate // (10 if decoder.exact else 2)
        if decoder.info.container == "flac":  # whose count is exact
            self._tolerance = 0
        self._tell_if_cut_off(decoder.claimed, decoder.info.frames)

    @property
    def notes(self) -> tuple[Note, ...]:
        return (*self._decoder.notes(), *self._cut_off)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._decoder.close()

    def blocks(self, frames: int = BLOCK, start: int = 0) -> Iterator[Samples]:
        """The sound from sample `start` on, as (channels, <= frames) float32, none of them empty.

        info.frames is what the header says, for a progress bar; what comes is what a full decode gives, in its place
        by the time stamps, with silence for what is missing.

        Raises:
            AudioError: "not-finite", "too-long", "too-many-samples", "truncated" (nothing could be decoded),
                "decoder-stuck", "missing" or "unreadable" (it has gone, or its disk fails).
        """
        position = start
        for chunk in self._chunks(frames, start):
            self._check_finite(chunk, position)
            position += len(chunk)
            self._limits.check_length(self.info, position, self._name)
            yield np.ascontiguousarray(chunk.T)  # (n, C) -> (C, n)
        if position == 0:
            raise AudioError.of("truncated", name=self._name, format=self.info.container)
        if start < self.info.frames:
            self._tell_if_cut_off(self._decoder.claimed, position)

    def _chunks(self, frames: int, start: int) -> Iterator[Interleaved]:
        try:
            yield from self._decoder.chunks(frames, start)
        except OSError as error:
            raise _read_error(self._path, error) from error

    def _check_finite(self, chunk: Interleaved, position: int) -> None:
        if not np.isfinite(chunk).all():
            bad = int(np.flatnonzero(~np.isfinite(chunk).all(axis=1))[0])
            time = clock((position + bad) / self.info.sample_rate)
            raise AudioError.of("not-finite", name=self._name, time=time)

    def _tell_if_cut_off(self, announced: int, present: int) -> None:
        self._cut_off = ()
        if announced - present > self._tolerance:
            promised, found = (clock(frames / self.info.sample_rate) for frames in (announced, present))
            self._cut_off = (Note.of("cut-off", name=self._name, promised=promised, present=found),)


def _checked_file(path: AnyPath, limits: Limits) -> Path:
    """The path of an ordinary file of a bearable size, or an AudioError."""
    text = os.fspath(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise AudioError.of("url", name=text)
    file, name = Path(text), shown(Path(text))
    try:
        status = file.stat()
    except ValueError as error:  # no file has such a name: with NUL, or half of a character
        raise AudioError.of("missing", name=name) from error
    except OSError as error:
        raise _read_error(file, error) from error
    try:
        if S_ISDIR(status.st_mode):
            raise AudioError.of("is-a-folder", name=name)
        if not S_ISREG(status.st_mode):
            raise AudioError.of("not-a-file", name=name)
        with file.open("rb"):
            pass  # permission is known by trying
    except OSError as error:
        raise _read_error(file, error) from error
    if status.st_size == 0:
        raise AudioError.of("empty-file", name=name)
    if status.st_size > limits.max_bytes:
        size, limit = (f"{count / 1e6:.1f} MB" for count in (status.st_size, limits.max_bytes))
        raise AudioError.of("too-large", name=name, size=size, limit=limit)
    return file


def _read_error(file: Path, error: OSError) -> AudioError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return AudioError.of("missing", name=shown(file))
    return AudioError.of("unreadable", name=shown(file), problem=error.strerror or str(error))


# ----------------------------------------------------------------------------------------------------------- writing


def encoding_like(info: FileInfo) -> Encoding:
    """The encoding nearest to a file's own that can be written here: `nearest`, or wav where ffmpeg is missing."""
    encoding = nearest(info)
    return encoding if encoding.container != "m4a" or has_ffmpeg() else encoding_for("wav", info.bit_depth)


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
        AudioError: "format-cannot-hold", "format-lacks-channels", "no-ffmpeg", "disk-full" or "cannot-write".
    """
    target = Path(path)
    encoding.check(sample_rate, channels)
    scratch = target.with_name(f".{uuid.uuid4().hex}.tmp")
    encoder: Encoder
    try:
        if encoding.container == "m4a":
            encoder = FfmpegEncoder(target, scratch, sample_rate, channels, encoding)
        else:
            encoder = SoundFileEncoder(target, scratch, sample_rate, channels, encoding, frames)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    return Writer(target, scratch, channels, encoder)


def write(path: AnyPath, clip: Clip, encoding: Encoding | None = None) -> None:
    """Writes a whole clip.

    Without an encoding the clip's source is followed where the name's suffix is its format, else the suffix and the
    source's bit depth or rate. Raises AudioError as `open_writer` and `Writer` do.
    """
    if encoding is None:
        like = encoding_like(clip.source) if clip.source else None
        bits, rate = (clip.source.bit_depth, clip.source.bit_rate) if clip.source else (None, None)
        named = encoding_for(Path(path).suffix, bits, rate)
        encoding = like if like and like.container == named.container else named
    with open_writer(path, clip.sample_rate, clip.channels, encoding, clip.frames) as writer:
        for begin in range(0, clip.frames, BLOCK):
            writer.write(clip.samples[:, begin : begin + BLOCK])


class Writer:
    """A sound file that is written by block; made by `open_writer`."""

    def __init__(self, target: Path, scratch: Path, channels: int, encoder: Encoder) -> None:
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
                with explained(self._target):
                    os.replace(self._scratch, self._target)
        finally:
            self._encoder.abort()
            self._scratch.unlink(missing_ok=True)
