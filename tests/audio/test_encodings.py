"""What can be written, what is asked for, and what is nearest to a file."""

from __future__ import annotations

import pytest

from denoise_app.audio.clip import FileInfo
from denoise_app.audio.encodings import CODECS, LOSSLESS_BITS, Encoding, encoding_for, nearest, suffix
from denoise_app.audio.errors import AudioError


def info(container: str, codec: str, rate: int = 48_000, channels: int = 2, bits: int | None = None) -> FileInfo:
    return FileInfo(container, codec, rate, channels, 100, bits)


@pytest.mark.parametrize(
    ("format", "bits", "codec"),
    [
        ("wav", None, "PCM_16"),
        ("wav", 8, "PCM_U8"),
        ("wav", 12, "PCM_16"),
        (".WAV", 24, "PCM_24"),
        ("wav", 32, "FLOAT"),
        ("wav", 64, "DOUBLE"),
        ("flac", 8, "PCM_S8"),
        ("flac", 20, "PCM_24"),
        ("flac", 64, "PCM_24"),
        ("ogg", 24, "VORBIS"),
        ("mp3", None, "MPEG_LAYER_III"),
        ("m4a", 16, "AAC"),
    ],
)
def test_what_a_user_asks_for(format: str, bits: int | None, codec: str) -> None:
    encoding = encoding_for(format, bits)
    assert encoding.codec == codec and suffix(encoding) == "." + format.lower().strip(".")


@pytest.mark.parametrize("format", ["", "exe", "wma", "../wav"])
def test_other_formats_are_refused(format: str) -> None:
    with pytest.raises(AudioError) as caught:
        encoding_for(format)
    assert caught.value.reason == "unknown-format" and "wav, flac, ogg, mp3, m4a" in str(caught.value)


def test_a_codec_belongs_in_its_container() -> None:
    with pytest.raises(ValueError, match="PCM_24 in mp3"):
        Encoding("mp3", "PCM_24")


@pytest.mark.parametrize(("container", "codec"), [(c, codec) for c, codecs in CODECS.items() for codec in codecs])
def test_what_is_written_is_nearest_to_itself(container: str, codec: str) -> None:
    assert nearest(info(container, codec, bits=LOSSLESS_BITS.get(codec))) == Encoding(container, codec)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (info("aiff", "PCM_24", bits=24), ("wav", "PCM_24")),
        (info("aiff", "PCM_S8", bits=8), ("wav", "PCM_U8")),
        (info("wav", "MS_ADPCM"), ("wav", "PCM_16")),
        (info("m4a", "aac"), ("m4a", "AAC")),
        (info("mp4", "aac"), ("m4a", "AAC")),
        (info("mov", "aac", channels=8), ("wav", "PCM_16")),
        (info("m4a", "alac", bits=16), ("m4a", "ALAC_16")),
        (info("m4a", "alac", bits=24), ("m4a", "ALAC_24")),
        (info("mov", "pcm_s16le", bits=16), ("wav", "PCM_16")),
        (info("mov", "pcm_s24be", bits=24), ("wav", "PCM_24")),
        (info("mov", "pcm_s32le", bits=32), ("wav", "PCM_32")),
        (info("mov", "pcm_f32le", bits=32), ("wav", "FLOAT")),
        (info("mov", "pcm_mulaw"), ("wav", "ULAW")),
        (info("webm", "opus"), ("ogg", "OPUS")),
        (info("webm", "vorbis"), ("ogg", "VORBIS")),
        (info("ogg", "flac", bits=16), ("flac", "PCM_16")),
        (info("mov", "mp3"), ("mp3", "MPEG_LAYER_III")),
        (info("mp3", "MPEG_LAYER_II"), ("mp3", "MPEG_LAYER_III")),
        (info("wma", "wmav2"), ("m4a", "AAC")),
        (info("flac", "PCM_24", rate=700_000, bits=24), ("wav", "PCM_24")),
    ],
)
def test_what_is_nearest_to_other_files(source: FileInfo, expected: tuple[str, str]) -> None:
    assert nearest(source) == Encoding(*expected)


@pytest.mark.parametrize(
    ("encoding", "rate", "channels", "held"),
    [
        (Encoding("wav", "PCM_16"), 384_000, 200, True),
        (Encoding("flac", "PCM_24"), 192_000, 8, True),
        (Encoding("flac", "PCM_24"), 192_000, 9, False),
        (Encoding("mp3", "MPEG_LAYER_III"), 44_100, 2, True),
        (Encoding("mp3", "MPEG_LAYER_III"), 44_100, 3, False),
        (Encoding("mp3", "MPEG_LAYER_III"), 96_000, 1, False),
        (Encoding("ogg", "OPUS"), 44_100, 1, False),
        (Encoding("ogg", "VORBIS"), 44_100, 6, True),
        (Encoding("m4a", "AAC"), 192_000, 1, False),
        (Encoding("m4a", "ALAC_24"), 192_000, 6, True),
    ],
)
def test_what_an_encoding_holds(encoding: Encoding, rate: int, channels: int, held: bool) -> None:
    assert encoding.holds(rate, channels) is held
