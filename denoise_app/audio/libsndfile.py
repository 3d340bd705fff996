"""Sound files through libsndfile; the only importer of soundfile."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from denoise_app.audio.clip import FileInfo
from denoise_app.audio.codec import BLOCK, PREROLL, Decoder, Interleaved, explained, shown, slices, write_error
from denoise_app.audio.convert import quantise
from denoise_app.audio.encodings import LOSSLESS_BITS, PCM_BITS, Encoding
from denoise_app.audio.errors import AudioError
from denoise_app.audio.notes import Note
from denoise_app.audio.survey import Patch, is_simple_mp3, stale_size

OPUS_TAIL = 5760  # the longest Opus packet, 120 ms at 48 kHz
UNKNOWN_LENGTH = 1 << 48  # libsndfile reports about 2^63 frames where a header gives no length
WAV_BYTES = (1 << 32) - (1 << 16)  # a RIFF chunk counts its bytes in 32 bits; the rest is room for the header

OGG_ORDER = {
    3: [0, 2, 1],
    5: [0, 2, 1, 3, 4],
    6: [0, 2, 1, 5, 3, 4],
    7: [0, 2, 1, 6, 5, 3, 4],
    8: [0, 2, 1, 7, 5, 6, 3, 4],
}
"""Channels -> where each channel of a wav file lies in Vorbis and Opus (Vorbis I specification, 4.3.9): these have the
centre second and the low frequencies last, and libsndfile leaves them so."""

QUALITY: dict[str, dict[str, object]] = {
    "VORBIS": {"compression_level": 0.2},  # quality 8 of 10, some 130 kbit/s for speech in mono at 48 kHz
    "OPUS": {"compression_level": 0.6},  # some 110 kbit/s
    "MPEG_LAYER_III": {"compression_level": 0.0, "bitrate_mode": "VARIABLE"},  # LAME's V0
}
"""Codec -> how libsndfile is told to encode where nothing is known of the source: so good that denoising decides what
is heard."""

STEREO_KBITS = {
    "VORBIS": (500, 320, 256, 224, 192, 160, 128, 112, 96, 80, 64),
    "MPEG_LAYER_III": (245, 225, 190, 175, 165, 130, 115, 100, 85, 65, 45),
}
"""Codec -> what stereo at 44.1 kHz takes at compression levels 0, 0.1, ... 1: qualities 10 to 0, and V0 to V9 of LAME.
Its other modes ask for a rate itself, but make the sound softer by up to half a decibel."""


def _quality(encoding: Encoding, sample_rate: int, channels: int) -> dict[str, object]:
    """How libsndfile is told to encode."""
    usual = QUALITY.get(encoding.codec, {})
    rate = encoding.lossy_rate(sample_rate, channels)
    if rate is None:
        return usual
    if encoding.codec == "OPUS":  # from 256 kbit/s and channel at level 0 to 6 at 1
        return {"compression_level": min(1.0, max(0.0, (256_000 - rate / channels) / 250_000))}
    like_stereo = rate * 2 / channels / min(1.0, sample_rate / 44_100) ** 0.65  # so these rates grow with the band
    kbits = STEREO_KBITS[encoding.codec]
    level = float(np.interp(like_stereo / 1000, kbits[::-1], np.linspace(1, 0, len(kbits))))
    return usual | {"compression_level": min(level, 0.99)}  # LAME refuses 1


def open_with_soundfile(path: Path) -> SoundFileDecoder | None:
    """None for what libsndfile cannot open, or whose length it does not know."""
    patch = stale_size(path)
    try:
        # As bytes: soundfile encodes names itself, but only those that are UTF-8.
        handle = _Handle(_Patched(path, patch) if patch else os.fsencode(path))
    except (soundfile.LibsndfileError, TypeError):  # TypeError: it takes *.raw for sound without a header
        return None
    if 0 < handle.frames < UNKNOWN_LENGTH:
        return SoundFileDecoder(path, handle)
    handle.close()
    return None


class _Handle(soundfile.SoundFile):
    """A file whose reads go on where the last one ended.

    After every read soundfile seeks to where it already is. libmpg123 then loses the bits that the next mp3 frame
    borrows from those before it: that frame is wrong, and it complains on stderr.
    """

    def seekable(self) -> bool:
        """What soundfile asks before it seeks; whether it can be done is `can_seek`."""
        return False

    @property
    def can_seek(self) -> bool:
        return super().seekable()


class _Patched:
    """A file to be read, some bytes of which are other ones."""

    def __init__(self, path: Path, patch: Patch) -> None:
        self._file = path.open("rb")
        self._patch = patch
        self.seek, self.tell = self._file.seek, self._file.tell

    def read(self, count: int) -> bytes:
        begin = self._file.tell()
        data = bytearray(self._file.read(count))
        for place, byte in enumerate(self._patch.right, self._patch.at - begin):
            if 0 <= place < len(data):
                data[place] = byte
        return bytes(data)

    def write(self, data: bytes) -> int:
        """What soundfile asks every file for; this one is only read."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


class SoundFileDecoder:
    """A file that libsndfile decodes.

    Attributes:
        rescue: Opens another decoder for what comes after damage in a lossless file; None where there is none.
        is_doubtful: Whether the file may hold more than libsndfile finds.
    """

    def __init__(self, path: Path, handle: _Handle) -> None:
        self._path = path
        self._handle = handle
        self._rescued: Decoder | None = None
        self.rescue: Callable[[], Decoder] | None = None
        self.is_doubtful = False
        codec = handle.subtype
        self._order = OGG_ORDER.get(handle.channels, slice(None)) if codec in ("VORBIS", "OPUS") else slice(None)
        container = {"WAVEX": "wav", "RF64": "wav", "MPEG": "mp3"}.get(handle.format, handle.format.lower())
        bits = LOSSLESS_BITS.get(codec)
        self.info = FileInfo(container, codec, handle.samplerate, handle.channels, handle.frames, bits)
        if bits is None:
            self.info = replace(self.info, bit_rate=round(path.stat().st_size * 8 / self.info.seconds))
        self.claimed = self.info.frames
        self.exact = bits is not None  # mp3 and ogg: libsndfile may have to guess
        if container == "wav" and bits:
            self.claimed = max(self.claimed, _announced_bytes(path) * 8 // (bits * handle.channels))

    @property
    def misreads(self) -> bool:
        """Whether libsndfile is known to miss something: mp3 that begins oddly or in a wav, Opus not at its 48 kHz."""
        is_odd_mp3 = self.info.codec.startswith("MPEG") and not is_simple_mp3(self._path)
        return is_odd_mp3 or (self.info.codec == "OPUS" and self.info.sample_rate != 48_000)

    def chunks(self, frames: int, start: int) -> Iterator[Interleaved]:
        position = self._entered(start)
        if position is None:  # a damaged file that cannot be entered here
            yield from self._rest(frames, start)
            return
        drop = start - position
        while position < self.info.frames:
            # Where damage is found must not depend on the caller's blocks, or else what is rescued would.
            count = BLOCK if self.rescue else self._next_read(position, drop + frames)
            count = min(count, self.info.frames - position)
            piece = self._take(count)
            if len(piece) < count and self.rescue:
                yield from self._rest(frames, position + drop)
                return
            yield from slices(piece[drop:, self._order], frames)
            if len(piece) < count:
                self.is_doubtful = self.is_doubtful or self.info.container == "flac"  # damage, or its end
                return
            position, drop = position + count, max(0, drop - count)

    def _entered(self, start: int) -> int | None:
        """The sample from which on the next read decodes, at or before `start`; None where it cannot be reached."""
        if not self._handle.can_seek:  # GSM 6.10, G.721, G.723, NMS ADPCM: decoded from the beginning
            self._handle.close()
            self._handle = _Handle(os.fsencode(self._path))
            return 0
        position = start - start % BLOCK if self.rescue else max(0, start - PREROLL)
        try:
            return int(self._handle.seek(position))
        except soundfile.LibsndfileError:
            return None

    def _rest(self, frames: int, start: int) -> Iterator[Interleaved]:
        """What another decoder makes of a file from sample `start` on."""
        if self.rescue is not None:
            self._rescued = self._rescued or self.rescue()
            yield from self._rescued.chunks(frames, start)

    def notes(self) -> tuple[Note, ...]:
        doubt = (Note.of("needs-ffmpeg", name=shown(self._path)),) if self.is_doubtful else ()
        return (*doubt, *(self._rescued.notes() if self._rescued else ()))

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
        if self._rescued is not None:
            self._rescued.close()


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


class SoundFileEncoder:
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
        with explained(target):
            self._sink = _Sink(scratch)
        container = "RF64" if large else encoding.container.upper()
        quality = _quality(encoding, sample_rate, channels)
        with self._complete():
            self._file = soundfile.SoundFile(
                self._sink, "w", sample_rate, channels, encoding.codec, format=container, **quality
            )

    def write(self, samples: Interleaved) -> None:
        if self._room is not None:
            self._room -= len(samples)
            if self._room < 0:
                raise AudioError.of("wav-too-large", name=shown(self._target))
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
                raise AudioError.of("cannot-write", name=shown(self._target), problem=str(error)) from error
        if self._sink.error is not None:
            raise write_error(self._target, self._sink.error)

    def abort(self) -> None:
        with suppress(soundfile.LibsndfileError):
            self._file.close()
        self._sink.close()
