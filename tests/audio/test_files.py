"""Sound comes out of files as it went in: to the bit where the format allows it, always to the sample."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from denoise_app.audio.clip import Clip, FileInfo, Samples
from denoise_app.audio.encodings import CODECS
from denoise_app.audio.errors import AudioError
from denoise_app.audio.files import (
    Encoding,
    encoding_like,
    open_reader,
    open_writer,
    probe,
    read,
    read_window,
    suffix,
    write,
)

from .conftest import Ffmpeg
from .sounds import noise, wav

LOSSLESS = [("wav", c) for c in ("PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "ALAW")] + [
    *(("flac", c) for c in CODECS["flac"]),
    *(("m4a", c) for c in ("ALAC_16", "ALAC_24")),
]
"""What gives back the very samples that were read from it."""
LOSSY = [Encoding("ogg", "VORBIS"), Encoding("ogg", "OPUS"), Encoding("mp3", "MPEG_LAYER_III"), Encoding("m4a", "AAC")]
AWKWARD = [1, 2, 159, 1151, 1152, 1153, 4096, 40_009]  # mp3 frames have 1152 samples


def decibels(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


def copy(source: Path, folder: Path) -> Path:
    """Reads by block and writes by blocks of another length, as the engine does with an identity."""
    with open_reader(source) as reader:
        encoding = encoding_like(reader.info)
        target = folder / f"copy{suffix(encoding)}"
        with open_writer(target, reader.info.sample_rate, reader.info.channels, encoding) as writer:
            for block in reader.blocks(1009):
                for begin in range(0, block.shape[1], 333):
                    writer.write(block[:, begin : begin + 333])
    return target


# there and back


@pytest.mark.slow
@pytest.mark.parametrize(("container", "codec"), LOSSLESS)
@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (192_000, 6)])
def test_a_lossless_copy_is_the_same_to_the_bit(
    container: str, codec: str, rate: int, channels: int, tmp_path: Path
) -> None:
    encoding = Encoding(container, codec)
    source = tmp_path / f"in{suffix(encoding)}"
    write(source, Clip(noise(channels, 5003), rate), encoding)
    before, after = read(source), read(copy(source, tmp_path))
    assert np.array_equal(before.samples, after.samples)
    assert before.source == after.source
    assert (after.sample_rate, after.channels, after.frames) == (rate, channels, 5003)
    assert before.source is not None and before.source.bit_depth == encoding.bit_depth


@pytest.mark.parametrize(("codec", "bits"), [("PCM_U8", 8), ("PCM_16", 16), ("PCM_24", 24)])
def test_every_step_of_full_scale_survives(codec: str, bits: int, tmp_path: Path) -> None:
    """A wav file that another program wrote, with both ends of the scale in it."""
    half = 2 ** (bits - 1)
    codes = np.random.default_rng(0).integers(-half, half, 20_000)
    codes[:4] = -half, half - 1, 0, -1
    soundfile.write(tmp_path / "in.wav", (codes << (32 - bits)).astype(np.int32), 16_000, codec)
    copied = copy(tmp_path / "in.wav", tmp_path)
    assert np.array_equal(soundfile.read(copied, dtype="int32")[0] >> (32 - bits), codes)
    assert np.array_equal(read(copied).samples[0] * half, codes)


def test_32_bit_integers_are_kept_as_far_as_float32_goes(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(-(2**31), 2**31, 5000).astype(np.int32)
    soundfile.write(tmp_path / "in.wav", codes, 16_000, "PCM_32")
    copied = copy(tmp_path / "in.wav", tmp_path)
    assert probe(copied).codec == "PCM_32"
    error = soundfile.read(copied, dtype="int32")[0].astype(np.int64) - codes
    assert np.abs(error).max() <= 2**7  # half a step of the 24 bits of float32 at full scale


def test_float_beyond_full_scale_is_kept(tmp_path: Path) -> None:
    loud = noise(1, 1000, peak=4.0)
    write(tmp_path / "a.wav", Clip(loud, 16_000), Encoding("wav", "FLOAT"))
    assert np.array_equal(read(copy(tmp_path / "a.wav", tmp_path)).samples, loud)


@pytest.mark.parametrize("codec", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32"])
def test_integers_beyond_full_scale_are_cut_and_never_wrap(codec: str, tmp_path: Path) -> None:
    loud = noise(1, 5000, peak=4.0)
    write(tmp_path / "a.wav", Clip(loud, 16_000), Encoding("wav", codec))
    assert np.abs(read(tmp_path / "a.wav").samples - loud.clip(-1, 1)).max() < 2.0**-6


@pytest.mark.slow
@pytest.mark.parametrize("encoding", LOSSY, ids=lambda e: e.codec)
@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 2)])
def test_a_lossy_copy_keeps_length_level_and_place(
    encoding: Encoding, rate: int, channels: int, tmp_path: Path
) -> None:
    sound = noise(channels, rate + 77)
    write(tmp_path / f"in{suffix(encoding)}", Clip(sound, rate), encoding)
    before = read(tmp_path / f"in{suffix(encoding)}")
    after = read(copy(tmp_path / f"in{suffix(encoding)}", tmp_path))
    times = 48_000 // rate if encoding.codec == "OPUS" else 1  # it is always decoded at 48 kHz
    assert before.source is not None and before.source == after.source
    assert before.sample_rate == after.sample_rate == rate * times
    assert before.frames == after.frames == (rate + 77) * times
    for given, heard in ((sound, before.samples[:, ::times]), (before.samples, after.samples)):
        assert decibels(heard) == pytest.approx(decibels(given), abs=0.2)
        assert decibels(heard - given) < decibels(given) - 10  # it would be louder if it were a few samples off


@pytest.mark.slow
@pytest.mark.parametrize(
    "encoding", [*LOSSY, Encoding("m4a", "ALAC_16"), Encoding("flac", "PCM_16")], ids=lambda e: e.codec
)
@pytest.mark.parametrize("frames", AWKWARD)
def test_every_length_is_kept_to_the_sample(encoding: Encoding, frames: int, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix(encoding)}"
    write(path, Clip(noise(1, frames), 16_000), encoding)
    times = 3 if encoding.codec == "OPUS" else 1  # it is always decoded at 48 kHz
    assert probe(path).frames == frames * times == read(path).frames


@pytest.mark.parametrize(
    "rate", [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000]
)
@pytest.mark.parametrize("container", ["wav", "flac"])
def test_every_rate_is_kept(rate: int, container: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{container}"
    write(path, Clip(noise(1, 999), rate))
    assert (probe(path).sample_rate, probe(path).frames) == (rate, 999)
    assert probe(copy(path, tmp_path)) == probe(path)


def test_a_stereo_order_is_kept(tmp_path: Path) -> None:
    sound = noise(2, 3000)
    sound[1] = 0
    for encoding in (*LOSSY, Encoding("flac", "PCM_24")):
        write(tmp_path / "a", Clip(sound, 48_000), encoding)
        left, right = read(tmp_path / "a").samples
        assert np.abs(left).max() > 0.3 and np.abs(right).max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"), [("a.ogg", ()), ("a.opus", ("-mapping_family", "1")), ("a.m4a", ()), ("a.flac", ())]
)
def test_surround_channels_are_those_of_a_wav_file(
    name: str, options: tuple[str, ...], ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    """Vorbis and Opus order them otherwise; a tone in each channel tells where it went. The fourth is the bass."""
    tones = [400, 600, 800, 80, 1000, 1200]
    time = np.arange(48_000) / 48_000
    sound = np.stack([0.1 * np.sin(2 * np.pi * f * time) for f in tones]).astype(np.float32)
    source = ffmpeg(name, sound, 48_000, *options)
    again = copy(source, tmp_path)
    seen = tmp_path / "seen.wav"  # what another program makes of our copy
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(again), str(seen)], check=True, timeout=60)
    for samples in (read(source).samples, read(again).samples, soundfile.read(seen)[0].T):
        assert np.abs(np.fft.rfft(samples[:, :48_000])).argmax(axis=1).tolist() == tones


def test_three_channels_keep_their_treble(tmp_path: Path) -> None:
    """By itself ffmpeg takes the third of three channels for a subwoofer."""
    sound = noise(3, 16_000)
    for encoding in (Encoding("m4a", "AAC"), Encoding("ogg", "VORBIS")):
        write(tmp_path / "a", Clip(sound, 16_000), encoding)
        assert decibels(read(tmp_path / "a").samples - sound) < decibels(sound) - 10


# blocks and windows


MAKES = {
    "wav": ("a.wav", ("-c:a", "pcm_s24le")),
    "flac": ("a.flac", ()),
    "ogg": ("a.ogg", ()),
    "opus": ("a.opus", ()),
    "mp3": ("a.mp3", ()),
    "m4a": ("a.m4a", ("-aac_pns", "0")),  # else the decoder fills in noise, another one after each jump
    "alac": ("a.m4a", ("-c:a", "alac")),
    "webm": ("a.webm", ()),
    "aac": ("a.aac", ("-aac_pns", "0")),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKES)
def test_blocks_and_windows_are_pieces_of_the_whole(kind: str, ffmpeg: Ffmpeg) -> None:
    name, options = MAKES[kind]
    path = ffmpeg(name, noise(2, 150_001), 48_000, *options)
    whole = read(path).samples
    with open_reader(path) as reader:
        for size in (7919, 65_536):
            blocks = list(reader.blocks(size))
            assert all(0 < block.shape[1] <= size and block.dtype == np.float32 for block in blocks)
            assert np.array_equal(np.concatenate(blocks, axis=1), whole)
        assert not reader.notes
    for start, frames in [(8193, 9), (57_345, 20_000), (149_990, 99)]:
        window = read_window(path, start, frames).samples
        expected = whole[:, start : start + frames]
        assert window.shape == expected.shape
        assert np.abs(window - expected).max(initial=0) < 1e-6


def test_a_window_may_be_empty_or_end_with_the_file_but_not_be_negative(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", Clip(noise(1, 10), 16_000))
    for start, frames, there in ((0, 1, 1), (9, 5, 1), (10, 5, 0), (10**7, 5, 0), (3, 0, 0)):
        assert read_window(tmp_path / "a.wav", start, frames).samples.shape == (1, there)
    for start, frames in ((-1, 5), (0, -5)):
        with pytest.raises(ValueError, match="window"):
            read_window(tmp_path / "a.wav", start, frames)


def test_a_reader_can_start_anywhere_and_again(tmp_path: Path) -> None:
    write(tmp_path / "a.flac", Clip(noise(2, 9000), 16_000))
    with open_reader(tmp_path / "a.flac") as reader:
        first = next(iter(reader.blocks(1000)))
        later = np.concatenate(list(reader.blocks(1000, start=500)), axis=1)
        assert later.shape == (2, 8500) and np.array_equal(later[:, :500], first[:, 500:])


# headers that are odd but whole


@pytest.mark.parametrize("claim", [0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF - 36, 0x80000000, 0])
def test_a_streamed_wav_is_read_to_its_end(claim: int, tmp_path: Path) -> None:
    """Who writes to a pipe cannot go back to fill in the length."""
    sound = noise(2, 3001)
    (tmp_path / "a.wav").write_bytes(wav(sound, 48_000, data_size=claim))
    with open_reader(tmp_path / "a.wav") as reader:
        assert (reader.info.frames, reader.info.channels, reader.info.bit_depth) == (3001, 2, 16)
        heard = np.concatenate(list(reader.blocks()), axis=1)
        assert np.abs(heard - sound).max() < 2.0**-15
        assert not reader.notes


def test_a_header_that_claims_ten_hours_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(noise(1, 16_000), data_size=36_000 * 32_000))
    assert probe(tmp_path / "a.wav").frames == 16_000
    with open_reader(tmp_path / "a.wav") as reader:
        assert sum(block.shape[1] for block in reader.blocks()) == 16_000
        assert [note.key for note in reader.notes] == ["cut-off"]
        assert "10:00:00 were announced, 0:00:01 are there" in reader.notes[0].message


@pytest.mark.parametrize("excess", [8, 44, 3000])
def test_a_header_that_miscounts_by_a_little_is_not_worth_a_word(excess: int, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(noise(1, 16_000), data_size=32_000 + excess))
    with open_reader(tmp_path / "a.wav") as reader:
        assert reader.info.frames == 16_000 and not reader.notes


def test_an_extensible_wav_is_a_wav(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(6, 1000).T, 48_000, "PCM_24", format="WAVEX")
    info = probe(tmp_path / "a.wav")
    assert info == FileInfo("wav", "PCM_24", 48_000, 6, 1000, 24)
    assert encoding_like(info) == Encoding("wav", "PCM_24")
    assert np.array_equal(read(copy(tmp_path / "a.wav", tmp_path)).samples, read(tmp_path / "a.wav").samples)


def test_a_wav_with_other_chunks_before_its_sound(tmp_path: Path) -> None:
    plain = wav(noise(1, 500))
    odd = b"LIST" + (7).to_bytes(4, "little") + b"INFOabc\0"  # an odd length is followed by a byte of padding
    (tmp_path / "a.wav").write_bytes(plain[:12] + odd + plain[12:])
    with open_reader(tmp_path / "a.wav") as reader:
        assert reader.info.frames == 500 and not reader.notes


@pytest.mark.slow
def test_webm_as_a_browser_records_it(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """MediaRecorder writes opus in webm to a stream: its header has no duration."""
    sound = noise(1, 100_003)
    file = ffmpeg("a.webm", sound, 48_000, "-c:a", "libopus", "-live", "1")
    streamed = tmp_path / "piped.webm"
    streamed.write_bytes(
        subprocess.run(
            ["ffmpeg", "-v", "error", "-i", str(file), "-c", "copy", "-f", "webm", "-live", "1", "pipe:1"],
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        ).stdout
    )
    info = probe(streamed)
    assert (info.container, info.codec, info.sample_rate, info.bit_depth) == ("webm", "opus", 48_000, None)
    assert info.frames == pytest.approx(100_003, abs=0.06 * 48_000)  # packets tell it to a few of them
    heard = read(streamed).samples
    assert heard.shape == (1, 100_003) and decibels(heard - sound) < decibels(sound) - 8


@pytest.mark.slow
@pytest.mark.parametrize("options", [("-q:a", "0", "-write_xing", "0"), ("-b:a", "64k", "-write_xing", "0")])
def test_an_mp3_that_does_not_tell_its_length_is_read_whole(options: tuple[str, ...], ffmpeg: Ffmpeg) -> None:
    """libsndfile guesses the length from the first frames, and of this sound it would read two thirds."""
    sound = np.concatenate([noise(1, 48_000), 0.001 * noise(1, 96_000, seed=1)], axis=1)
    path = ffmpeg("a.mp3", sound, 48_000, *options)
    assert 144_000 <= probe(path).frames == read(path).frames <= 144_000 + 3 * 1152


@pytest.mark.slow
@pytest.mark.parametrize("options", [("-movflags", "frag_keyframe+empty_moov"), ("-movflags", "+faststart"), ()])
def test_mp4_however_it_is_laid_out(options: tuple[str, ...], ffmpeg: Ffmpeg) -> None:
    sound = noise(2, 100_003)
    path = ffmpeg("a.mp4", sound, 48_000, "-c:a", "aac", *options)
    assert probe(path).container == "mp4"
    assert read(path).frames == pytest.approx(100_003, abs=2048)  # an AAC packet more, or a millisecond less


@pytest.mark.slow
def test_a_flac_of_unknown_length_is_read_whole(tmp_path: Path) -> None:
    """A flac that was written to a pipe says 0 samples."""
    write(tmp_path / "a.flac", Clip(noise(1, 70_001), 16_000))
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] &= 0xF0  # the 36 bits of STREAMINFO that count the samples
    data[22:26] = bytes(4)
    (tmp_path / "b.flac").write_bytes(data)
    assert probe(tmp_path / "b.flac").frames == 70_001
    assert np.array_equal(read(tmp_path / "b.flac").samples, read(tmp_path / "a.flac").samples)


def test_the_sound_track_of_a_video(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    inputs = ["-f", "lavfi", "-i", "testsrc=d=1:s=64x48:r=10", "-f", "lavfi", "-i", "sine=f=440:d=1:r=44100"]
    subprocess.run(["ffmpeg", "-v", "error", *inputs, "-c:a", "aac", str(film)], check=True, timeout=60)
    clip = read(film)
    assert (clip.sample_rate, clip.channels) == (44_100, 1) and clip.seconds == pytest.approx(1, abs=0.05)
    assert np.abs(np.fft.rfft(clip.samples[0, :44_100])).argmax() == 440


# names


NAMES = [
    *("-i.wav", "$(touch hacked).wav", "a;b&c|d>e.wav", "%03d.wav", "a:b.wav", "pipe:0.wav", "new\nline.wav"),
    *("'quoted\".wav", "a b.wav", "`touch hacked`.wav", "录音.wav", "*?[a].wav", "~.wav", "#?x=1.wav", "sound.raw"),
    *("sound", "x" * 250 + ".wav"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("container", "name"), [("wav", name) for name in NAMES] + [("m4a", name) for name in NAMES[:8]]
)
def test_any_name_is_only_a_name(name: str, container: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a shell, ffmpeg or soundfile would make of it; content decides what a file is."""
    monkeypatch.chdir(tmp_path)
    write(name, Clip(noise(1, 2000), 16_000), Encoding(container, "PCM_16" if container == "wav" else "ALAC_16"))
    assert [file.name for file in tmp_path.iterdir()] == [name]
    clip = read(name)
    assert clip.source is not None and clip.source.bit_depth == 16 and clip.frames == 2000
    assert [file.name for file in tmp_path.iterdir()] == [name]


# writing


def test_a_clip_follows_its_name_and_its_source(tmp_path: Path) -> None:
    plain = Clip(noise(1, 100), 16_000)
    deep = Clip(noise(1, 100), 16_000, FileInfo("flac", "PCM_24", 16_000, 1, 100, 24))
    integer = Clip(noise(1, 100), 16_000, FileInfo("wav", "PCM_32", 16_000, 1, 100, 32))
    for clip, name, codec in [
        (plain, "a.wav", "PCM_16"),
        (deep, "a.flac", "PCM_24"),
        (deep, "a.wav", "PCM_24"),
        (integer, "a.wav", "PCM_32"),
        (integer, "a.flac", "PCM_24"),
        (deep, "a.mp3", "MPEG_LAYER_III"),
    ]:
        write(tmp_path / name, clip)
        assert probe(tmp_path / name).codec == codec


def test_the_same_sound_gives_the_same_bytes(tmp_path: Path) -> None:
    clip = Clip(noise(2, 5000), 44_100)
    for name in ("a.flac", "b.flac"):
        write(tmp_path / name, clip)
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()


def test_how_it_is_cut_into_blocks_does_not_matter(tmp_path: Path) -> None:
    sound = noise(2, 5000)
    for name, step in (("a.wav", 5000), ("b.wav", 37)):
        with open_writer(tmp_path / name, 16_000, 2, Encoding("wav", "PCM_16")) as writer:
            for begin in range(0, 5000, step):
                writer.write(sound[:, begin : begin + step])
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_a_writer_checks_what_it_gets(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.wav", 16_000, 2, Encoding("wav", "PCM_16")) as writer:
        with pytest.raises(ValueError, match=r"\(2, n\)"):
            writer.write(noise(3, 10))
        with pytest.raises(ValueError, match="finite"):
            writer.write(np.full((2, 3), np.nan, np.float32))
        writer.write(np.zeros((2, 0), np.float32))
        writer.write(noise(2, 10))
    assert probe(tmp_path / "a.wav").frames == 10


def test_a_wav_beyond_four_gigabytes_gets_a_header_that_can_tell(tmp_path: Path) -> None:
    frames = (1 << 32) // 3
    with open_writer(tmp_path / "a.wav", 16_000, 1, Encoding("wav", "PCM_24"), frames) as writer:
        writer.write(noise(1, 1000))
    assert (tmp_path / "a.wav").read_bytes()[:4] == b"RF64"
    assert probe(tmp_path / "a.wav") == FileInfo("wav", "PCM_24", 16_000, 1, 1000, 24)


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    for encoding in (Encoding("wav", "PCM_16"), Encoding("m4a", "AAC")):
        target = tmp_path / f"a{suffix(encoding)}"
        with open_writer(target, 16_000, 1, encoding) as writer:
            writer.write(noise(1, 1000))
            assert not target.exists()
        assert target.exists()
        before = target.read_bytes()
        with pytest.raises(KeyboardInterrupt), open_writer(target, 16_000, 1, encoding) as writer:
            writer.write(noise(1, 10))
            raise KeyboardInterrupt
        assert target.read_bytes() == before
        with pytest.raises(AudioError):
            open_writer(tmp_path / "none" / "a", 16_000, 1, encoding)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.m4a", "a.wav"]


def test_written_files_are_what_other_programs_read(tmp_path: Path) -> None:
    sound = noise(2, 4000)
    write(tmp_path / "a.wav", Clip(sound, 44_100), Encoding("wav", "PCM_24"))
    data, rate = soundfile.read(io.BytesIO((tmp_path / "a.wav").read_bytes()))
    assert rate == 44_100 and np.abs(data.T - sound).max() < 2.0**-23


@pytest.mark.slow
def test_a_header_is_asked_for_once_until_the_file_changes(ffmpeg: Ffmpeg, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ffmpeg("a.m4a", noise(1, 20_000), 48_000)
    started: list[str] = []
    run = subprocess.run

    def watched(command: list[str], **options: Any) -> Any:
        started.append(command[0])
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", watched)
    first = probe(path)
    monkeypatch.chdir(path.parent)
    assert probe(path.name) == first and started == ["ffprobe"]
    changed = ffmpeg("b.m4a", noise(2, 10_000), 44_100)
    started.clear()
    changed.replace(path)
    again = probe(path)
    assert (again.sample_rate, again.channels) == (44_100, 2) and started == ["ffprobe"]
    as_it_was, long = path.stat(), path.read_bytes()
    path.write_bytes(bytes(len(long)))  # as long and as old, as a copy that keeps its time would be
    os.utime(path, ns=(as_it_was.st_atime_ns, as_it_was.st_mtime_ns))
    with pytest.raises(AudioError):
        probe(path)
    path.write_bytes(long[:2000])
    for _ in range(2):  # nor is a refusal remembered
        started.clear()
        with pytest.raises(AudioError):
            probe(path)
        assert started == ["ffprobe"]
