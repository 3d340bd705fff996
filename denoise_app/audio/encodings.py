"""How sound can be written: containers, codecs, what they hold, and which is nearest to what a file was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from denoise_app.audio.clip import FileInfo
from denoise_app.audio.errors import AudioError

CODECS: dict[str, tuple[str, ...]] = {
    "wav": ("PCM_16", "PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"),
    "flac": ("PCM_16", "PCM_S8", "PCM_24"),
    "ogg": ("VORBIS", "OPUS"),
    "mp3": ("MPEG_LAYER_III",),
    "m4a": ("AAC", "ALAC_16", "ALAC_24"),
}
"""Container -> the codecs that are written in it, the usual one first."""

PCM_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "ALAC_16": 16, "ALAC_24": 24}
LOSSLESS_BITS = PCM_BITS | {"FLOAT": 32, "DOUBLE": 64}
"""Codec -> bits per sample, for those that lose nothing."""

CAPACITY: dict[str, tuple[Sequence[int], int]] = {
    "flac": (range(1, 655_351), 8),
    "VORBIS": (range(2000, 200_001), 8),
    "OPUS": ((8000, 12_000, 16_000, 24_000, 48_000), 8),
    "mp3": ((8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000), 2),
    "AAC": ((8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000), 6),
    "m4a": (range(1, 384_001), 6),
}
"""Codec or container -> the rates in Hz, and the most channels, that it holds; wav holds all."""

ENDINGS = {
    "wav": (".wav", ".wave", ".bwf"),
    "flac": (".flac",),
    "VORBIS": (".ogg", ".oga", ".ogx"),
    "OPUS": (".ogg", ".opus", ".oga", ".ogx"),
    "mp3": (".mp3", ".mpga"),
    "m4a": (".m4a", ".m4b", ".m4r"),
}
"""Codec or container -> how the names of such files may end."""

LOSSY_RATES: dict[str, tuple[int, int, int | None]] = {
    "VORBIS": (24_000, 250_000, None),
    "OPUS": (16_000, 250_000, None),
    "MPEG_LAYER_III": (16_000, 160_000, None),
    "AAC": (24_000, 128_000, 96_000),
}
"""Codec -> the least and most bits per second and channel that it is asked for, and what it is asked for where nothing
is known of the source; None for its encoder's own measure of quality."""

RENAMED = {
    "MPEG_LAYER_I": ("mp3", "MPEG_LAYER_III"),
    "MPEG_LAYER_II": ("mp3", "MPEG_LAYER_III"),
    "vorbis": ("ogg", "VORBIS"),
    "opus": ("ogg", "OPUS"),
    "mp3": ("mp3", "MPEG_LAYER_III"),
    "pcm_mulaw": ("wav", "ULAW"),
    "pcm_alaw": ("wav", "ALAW"),
    "pcm_s32le": ("wav", "PCM_32"),
    "pcm_s32be": ("wav", "PCM_32"),
}
"""Codecs that are written under another name, or in another container: mostly those of sound tracks of videos."""


@dataclass(frozen=True)
class Encoding:
    """How sound is to be written.

    Attributes:
        container: "wav", "flac", "ogg", "mp3" or "m4a".
        codec: One of its `CODECS`: "PCM_24", "VORBIS", "AAC", ...
        bit_rate: Bits per second, all channels together, that a lossy codec shall come near to; None for the usual.
            Encodings that differ in nothing else are equal.

    Raises:
        ValueError: there is no such container, or no such codec in it.
    """

    container: str
    codec: str
    bit_rate: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.codec not in CODECS.get(self.container, ()):
            raise ValueError(f"{self.codec} in {self.container} is not written; these are: {CODECS}")

    @property
    def bit_depth(self) -> int | None:
        """Bits per sample, None for a lossy codec."""
        return LOSSLESS_BITS.get(self.codec)

    def holds(self, sample_rate: int, channels: int) -> bool:
        """Whether sound of this rate in Hz and so many channels can be written so.

        >>> Encoding("mp3", "MPEG_LAYER_III").holds(48_000, 2), Encoding("mp3", "MPEG_LAYER_III").holds(96_000, 6)
        (True, False)
        """
        rates, most = self._capacity
        return sample_rate in rates and 1 <= channels <= most

    def check(self, sample_rate: int, channels: int) -> None:
        """Raises AudioError, "format-cannot-hold" or "format-lacks-channels", where this cannot be written so."""
        rates, most = self._capacity
        if sample_rate not in rates:
            known = f"{rates[0]} to {rates[-1]}" if isinstance(rates, range) else ", ".join(map(str, rates))
            raise AudioError.of("format-cannot-hold", format=self.container, rate=sample_rate, rates=known)
        if not 1 <= channels <= most:
            raise AudioError.of("format-lacks-channels", format=self.container, channels=channels, most=most)

    @property
    def _capacity(self) -> tuple[Sequence[int], int]:
        return CAPACITY.get(self.codec) or CAPACITY.get(self.container) or (range(1, 1 << 31), 1024)

    def lossy_rate(self, sample_rate: int, channels: int) -> int | None:
        """Bits per second to ask a lossy codec for: near to `bit_rate`, within what is sensible; None for its usual.

        None, too, for a lossless one.

        >>> Encoding("m4a", "AAC", 384_000).lossy_rate(48_000, 2), Encoding("m4a", "AAC").lossy_rate(8_000, 1)
        (256000, 40000)
        """
        if self.codec not in LOSSY_RATES:
            return None
        least, most, usual = LOSSY_RATES[self.codec]
        rate = usual if self.bit_rate is None else round(self.bit_rate / channels)
        return None if rate is None else channels * min(max(rate, least), most, 5 * sample_rate)


def suffix(encoding: Encoding) -> str:
    """The end of such a file's name: ".wav", ".flac", ..."""
    return f".{encoding.container}"


def fits(ending: str, encoding: Encoding) -> bool:
    """Whether such a file may go by a name that ends so.

    >>> fits(".WAV", Encoding("wav", "FLOAT")), fits(".wav", Encoding("mp3", "MPEG_LAYER_III"))
    (True, False)
    """
    return ending.lower() in (ENDINGS.get(encoding.codec) or ENDINGS[encoding.container])


def encoding_for(format: str, bit_depth: int | None = None, bit_rate: int | None = None) -> Encoding:
    """The encoding that a user asks for.

    Args:
        format: A container, with or without a dot: "wav", "flac", "ogg", "mp3", "m4a".
        bit_depth: Bits; the format's next larger depth is taken, or its largest; 32 in wav is float. None for the
            usual one. ogg, mp3 and m4a take any, for their lossy codecs have no bit depth.
        bit_rate: Of a lossy source, bits per second; ogg, mp3 and m4a come near to it.

    Raises:
        AudioError: "unknown-format".

    >>> encoding_for("wav", 24).codec, encoding_for(".flac", 32).codec, encoding_for("mp3").codec
    ('PCM_24', 'PCM_24', 'MPEG_LAYER_III')
    """
    container = format.lower().removeprefix(".")
    if container not in CODECS:
        raise AudioError.of("unknown-format", format=format, formats=", ".join(CODECS))
    usual = CODECS[container][0]
    if bit_depth is None or usual not in LOSSLESS_BITS:
        return Encoding(container, usual, None if usual in LOSSLESS_BITS else bit_rate)
    depths = {LOSSLESS_BITS[codec]: codec for codec in CODECS[container] if codec in LOSSLESS_BITS}  # FLOAT ends 32
    return Encoding(container, depths[min((depth for depth in depths if depth >= bit_depth), default=max(depths))])


def nearest(info: FileInfo) -> Encoding:
    """The same codec, near the same bit rate, where it is written, else wav of the same bit depth.

    The sound track of a video becomes a file of sound alone: opus and vorbis in ogg, PCM in wav, others in m4a.
    """
    encoding = _same_codec(info)
    if encoding is not None and encoding.holds(info.sample_rate, info.channels):
        return replace(encoding, bit_rate=None if encoding.bit_depth else info.bit_rate)
    return encoding_for("wav", info.bit_depth)


def _same_codec(info: FileInfo) -> Encoding | None:
    if info.codec in CODECS.get(info.container, ()):
        return Encoding(info.container, info.codec)
    if info.codec in CODECS["wav"]:  # in aiff, au, caf or w64
        return Encoding("wav", info.codec)
    if info.codec == "flac":
        return encoding_for("flac", info.bit_depth)
    if info.codec == "alac":
        return Encoding("m4a", "ALAC_16" if info.bit_depth == 16 else "ALAC_24")
    if info.codec in RENAMED:
        return Encoding(*RENAMED[info.codec])
    if info.container != "wav" and info.bit_depth is None:  # what else compresses: aac, ac3, amr, wma, speex
        return Encoding("m4a", "AAC")
    return None
