"""What is read of a file is what a full decode gives: all of it, in its place, with a word where it is not."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from denoise_app.audio.encodings import fits
from denoise_app.audio.errors import AudioError
from denoise_app.audio.files import Encoding, encoding_like, open_reader, probe, read, read_window, write
from denoise_app.audio.folders import look
from denoise_app.audio.limits import Limits

from .conftest import needs_ffmpeg
from .whole_files import (
    FILM,
    GAP,
    RATE,
    changed,
    coded,
    counting,
    damaged,
    run,
    sized,
    sound,
    source,
    vbri,
    without_pages,
)

pytestmark = needs_ffmpeg

Make = Callable[[Path], Path]


def heard(path: Path, block: int = 50_000) -> tuple[np.ndarray, list[str]]:
    """The first channel of all blocks, and the keys of the notes."""
    with open_reader(path) as reader:
        samples = np.concatenate([one[0] for one in reader.blocks(block)])
        return samples, [note.key for note in reader.notes]


def full_decode(path: Path, track: int = 0) -> np.ndarray:
    """What plain ffmpeg makes of a file's first channel, nothing put in between."""
    command = [
        "ffmpeg",
        "-v",
        "quiet",
        "-i",
        str(path),
        "-map",
        f"0:a:{track}",
        "-f",
        "f32le",
        "-c:a",
        "pcm_f32le",
        "-",
    ]
    channels = probe(path, track=track + 1).channels
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=60)
    return np.frombuffer(done.stdout, "<f4").reshape(-1, channels)[:, 0]


def lag(samples: np.ndarray, original: np.ndarray) -> int:
    """By how many samples the original lies later in `samples`."""
    size = 1 << (len(samples) + len(original)).bit_length()
    product = np.fft.rfft(samples, size) * np.fft.rfft(original, size).conj()
    place = int(np.fft.irfft(product, size).argmax())
    return place if place < size // 2 else place - size


def join(folder: Path, name: str, *parts: Path) -> Path:
    (folder / name).write_bytes(b"".join(part.read_bytes() for part in parts))
    return folder / name


def twice(folder: Path, name: str, *options: str, rate: int = RATE) -> Path:
    part = coded(folder, name, *options, rate=rate)
    return join(folder, f"joined-{name}", part, part)


def mp3(folder: Path, *options: str) -> Path:
    return coded(folder, "a.mp3", "-b:a", "64k", *options)


def bare(folder: Path) -> Path:
    """mp3 frames and nothing else."""
    return mp3(folder, "-write_xing", "0", "-id3v2_version", "0")


def inside(folder: Path, name: str) -> Path:
    run("-i", mp3(folder), "-c", "copy", folder / name)
    return folder / name


def tagged(folder: Path, head: bytes) -> Path:
    return changed(mp3(folder, "-q:a", "4"), lambda data: head + data)


def mixed(folder: Path) -> Path:
    """Two parts of different rates and channels."""
    first = coded(folder, "a.ogg", "-c:a", "libvorbis")
    return join(folder, "mixed.ogg", first, coded(folder, "b.ogg", "-c:a", "libvorbis", "-ac", "2", rate=16_000))


APE = b"APETAGEX" + (2000).to_bytes(4, "little") + (32).to_bytes(4, "little") + bytes(16) + bytes(32)

AS_FULLY_DECODED: dict[str, Make] = {
    "mp3": mp3,
    "mp3, V4": lambda to: mp3(to, "-q:a", "4"),
    "mp3 without Xing": bare,
    "mp3 joined": lambda to: twice(to, "a.mp3", "-b:a", "64k"),
    "mp3 joined without Xing": lambda to: join(to, "j.mp3", bare(to), bare(to)),
    "mp3 joined behind ID3v1": lambda to: changed(mp3(to), lambda data: data + b"TAG" + bytes(125) + data),
    "mp3, Xing counts too few": lambda to: counting(mp3(to), 40),
    "mp3, Xing counts none": lambda to: counting(mp3(to), 0),
    "mp3, Xing does not count": lambda to: counting(mp3(to), None),
    "mp3, VBRI counts too few": lambda to: vbri(mp3(to), 30),
    "mp3, VBRI counts too many": lambda to: vbri(mp3(to), 9000),
    "mp3 behind APE": lambda to: tagged(to, APE),
    "mp3 behind junk": lambda to: tagged(to, bytes(range(200)) * 20),
    "mp3 behind zeros": lambda to: changed(bare(to), lambda data: bytes(5000) + data),
    "mp3 from the middle of a frame": lambda to: changed(bare(to), lambda data: data[5100:]),
    "mp3 in wav": lambda to: inside(to, "in.wav"),
    "mp3 in avi": lambda to: inside(to, "in.avi"),
    "mp3 in mkv": lambda to: inside(to, "in.mkv"),
    "mp3 called wav": lambda to: mp3(to).rename(to / "really.wav"),
    "mp2": lambda to: coded(to, "a.mp2"),
    "vorbis": lambda to: coded(to, "a.ogg"),
    "vorbis chained": lambda to: twice(to, "a.ogg", "-c:a", "libvorbis"),
    "opus": lambda to: coded(to, "a.opus"),
    "opus, header at 8 kHz": lambda to: coded(to, "a.opus", rate=8_000),
    "opus chained": lambda to: twice(to, "a.opus"),
    "flac in ogg": lambda to: coded(to, "a.oga", "-c:a", "flac"),
    "flac in ogg chained": lambda to: twice(to, "a.oga", "-c:a", "flac"),
    "speex": lambda to: coded(to, "a.spx", rate=16_000),
    "speex chained": lambda to: twice(to, "a.spx", rate=16_000),
    "chained and mixed": mixed,
    "wav": source,
    "flac": lambda to: coded(to, "a.flac"),
    "aiff": lambda to: coded(to, "a.aiff"),
    "aifc": lambda to: coded(to, "a.aifc"),
    "caf": lambda to: coded(to, "a.caf"),
    "au": lambda to: coded(to, "a.au"),
    "w64": lambda to: coded(to, "a.w64"),
    "wavpack": lambda to: coded(to, "a.wv"),
    "tta": lambda to: coded(to, "a.tta"),
    "alac": lambda to: coded(to, "a.m4a", "-c:a", "alac"),
    "aac": lambda to: coded(to, "a.aac"),
    "ac3": lambda to: coded(to, "a.ac3"),
    "wma": lambda to: coded(to, "a.wma"),
    "mpegts": lambda to: coded(to, "a.mts"),
    "webm": lambda to: coded(to, "a.webm"),
    "matroska vorbis": lambda to: coded(to, "a.mka"),
    "avi": lambda to: coded(to, "a.avi"),
    "gsm in wav": lambda to: coded(to, "a.wav", "-c:a", "libgsm_ms", rate=8_000),
    "g726 in wav": lambda to: coded(to, "a.wav", "-c:a", "g726", rate=8_000),
    "adpcm in wav": lambda to: coded(to, "a.wav", "-c:a", "adpcm_ms"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", AS_FULLY_DECODED)
def test_length_and_place_are_those_of_a_full_decode(kind: str, tmp_path: Path) -> None:
    path = AS_FULLY_DECODED[kind](tmp_path)
    samples, notes = heard(path)
    expected = full_decode(path)
    assert len(samples) == len(expected) and notes == []
    assert np.abs(samples - expected).max() < 1e-3
    start = len(samples) * 2 // 3
    assert np.abs(read_window(path, start, 3000).samples[0] - samples[start : start + 3000]).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "options", "marks"),
    [
        (coded, ("m.m4a", "-c:a", "aac"), 1),
        (coded, ("m.mp4", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"), 1),
        (coded, ("m.mov", "-c:a", "libmp3lame"), 1),
        (coded, ("m.3gp", "-c:a", "aac"), 1),
        (twice, ("m.mp3",), 2),
        (twice, ("m.opus",), 2),
    ],
)
def test_both_ends_are_there(make: Callable[..., Path], options: tuple[str, ...], marks: int, tmp_path: Path) -> None:
    """The last tenth of a second is the mark that the sound ends with, to two frames of padding."""
    samples, notes = heard(make(tmp_path, *options))
    assert len(samples) == pytest.approx(marks * 4 * RATE, abs=marks * 2400) and notes == []
    end = samples[-RATE // 10 - 2400 :]
    assert np.abs(np.fft.rfft(end, RATE)).argmax() == pytest.approx(1000, abs=5)
    assert abs(lag(samples[: 4 * RATE], sound())) < 1200


def seekless() -> list[tuple[str, str]]:
    kinds = [("WAV", "GSM610"), ("AIFF", "GSM610"), ("W64", "GSM610"), ("WAV", "G721_32"), ("AU", "G721_32")]
    kinds += [("AU", "G723_24"), ("AU", "G723_40"), *(("WAV", f"NMS_ADPCM_{bits}") for bits in (16, 24, 32))]
    return [kind for kind in kinds if soundfile.check_format(*kind)]


@pytest.mark.slow
@pytest.mark.parametrize(("format", "codec"), seekless())
def test_what_can_be_decoded_but_not_sought_is_read(format: str, codec: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{format.lower()}"
    soundfile.write(path, sound(8_000), 8_000, codec, format=format)
    samples, notes = heard(path)
    assert 32_000 <= len(samples) <= 32_040 and notes == []  # G.721 codes 120 samples at a time
    assert abs(lag(samples, sound(8_000))) <= 2
    for block in (999, 4096):
        assert np.array_equal(heard(path, block)[0], samples)
    assert np.array_equal(read_window(path, 20_000, 500).samples[0], samples[20_000:20_500])
    assert np.array_equal(read_window(path, 100, 500).samples[0], samples[100:600])


# damage


def pages_lost(codec: str, place: int, folder: Path) -> Path:
    """Ogg without one page, counted from its end where that is negative; pages 0 and 1 hold the headers."""
    path = coded(folder, "a.ogg", "-c:a", codec, "-page_duration", "200000")
    place %= path.read_bytes().count(b"OggS")
    return without_pages(path, place, place)


DAMAGED: dict[str, tuple[Make, float]] = {
    "flac frame": (lambda to: damaged(coded(to, "a.flac")), 0.2),
    "short flac frames": (lambda to: damaged(coded(to, "a.flac", "-compression_level", "0")), 0.2),
    "flac at its beginning": (lambda to: damaged(coded(to, "a.flac"), 0.1), 0.2),
    "flac in ogg": (lambda to: damaged(coded(to, "a.oga", "-c:a", "flac", "-page_duration", "200000")), 1.2),
    "vorbis page": (lambda to: damaged(coded(to, "a.ogg", "-c:a", "libvorbis")), 1.2),
    "last flac frame": (lambda to: damaged(coded(to, "a.flac"), 0.995, 50), 0.2),
    "flac in mkv": (lambda to: damaged(coded(to, "a.mkv", "-c:a", "flac")), 0.2),
    "wavpack": (lambda to: damaged(coded(to, "a.wv"), size=50), 1.1),
    "tta": (lambda to: damaged(coded(to, "a.tta"), size=50), 1.1),
    **{
        f"{codec} page before the last": (partial(pages_lost, codec, -2), 0.5)
        for codec in ("libopus", "libvorbis", "flac")
    },
    **{f"first {codec} pages": (partial(pages_lost, codec, 2), 0.5) for codec in ("libopus", "libvorbis", "flac")},
    "opus pages lost": (lambda to: without_pages(coded(to, "a.opus", "-page_duration", "200000"), 6, 10), 1.2),
    "vorbis pages lost": (lambda to: without_pages(coded(to, "a.ogg", "-page_duration", "200000"), 6, 10), 1.2),
    "mp3 frames": (lambda to: damaged(mp3(to)), 0.1),
    "mp3 frames, V4": (lambda to: damaged(mp3(to, "-q:a", "4")), 0.1),
    "aac frames": (lambda to: damaged(coded(to, "a.aac")), 0.6),  # a hum takes few bytes a frame
    "aac in m4a": (lambda to: damaged(coded(to, "a.m4a")), 0.6),
    "ac3 frame": (lambda to: damaged(coded(to, "a.ac3")), 0.15),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGED)
def test_what_is_damaged_is_silent_and_the_rest_in_its_place(kind: str, tmp_path: Path) -> None:
    make, lost = DAMAGED[kind]
    path = make(tmp_path)
    samples, notes = heard(path)
    assert notes == ["damaged"]
    assert len(samples) == pytest.approx(4 * RATE, abs=2400)
    for part in (samples[: 4 * RATE // 3], samples[-RATE:]):
        shift = 0 if part[0] == samples[0] else len(samples) - RATE
        original = sound()[shift : shift + len(part)]
        assert abs(lag(part, original)) < 1200
    quiet = np.abs(samples).reshape(-1)[: len(samples) // 480 * 480].reshape(-1, 480).max(axis=1) == 0
    assert 0 < quiet.sum() * 480 <= lost * RATE
    for block in (777, 200_000):
        assert np.array_equal(heard(path, block)[0], samples)


@pytest.mark.slow
def test_silence_for_what_is_lost_is_not_taken_for_an_early_end(tmp_path: Path) -> None:
    path = damaged(mp3(tmp_path), size=6000)
    samples, notes = heard(path)
    assert len(samples) == pytest.approx(4 * RATE, abs=4800) and notes == ["damaged"]


@pytest.mark.slow
@pytest.mark.parametrize("frames", [1000, 7001, 48_000, 300_000])
@pytest.mark.parametrize(("rate", "options"), [(22_050, ("-b:a", "48k")), (RATE, ("-q:a", "4"))], ids=["22k", "V4"])
def test_the_samples_of_an_mp3_do_not_depend_on_the_block(
    rate: int, options: tuple[str, ...], frames: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = coded(tmp_path, "a.mp3", *options, rate=rate)
    assert np.abs(heard(path, frames)[0] - full_decode(path)).max() < 2.0**-14
    assert capfd.readouterr().err == ""


def test_flac_files_that_were_joined_are_read_to_the_end(tmp_path: Path) -> None:
    samples, notes = heard(twice(tmp_path, "a.flac"))
    assert np.abs(samples - np.concatenate([sound(), sound()])).max() < 2.0**-14 and notes == []


def test_a_last_flac_frame_that_is_missing_is_told(tmp_path: Path) -> None:
    path = coded(tmp_path, "a.flac", "-frame_size", "1024")
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rfind(b"\xff\xf8")])
    samples, notes = heard(path)
    assert 0 < 4 * RATE - len(samples) < 4096 and notes == ["cut-off"]


def test_the_note_tells_how_much_is_silent(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", sound(8_000), 8_000)
    with open_reader(damaged(tmp_path / "a.flac")) as reader:
        samples = np.concatenate(list(reader.blocks()), axis=1)
        (note,) = reader.notes
    assert samples.shape[1] == 32_000
    seconds = note.facts["seconds"]
    assert note.key == "damaged" and seconds == pytest.approx(0.512, abs=0.52) and f"{seconds:.2f} s" in note.message
    whole = sound(8_000).astype(np.float32)
    exact = np.abs(samples[0] - whole) < 2.0**-15
    assert exact.sum() >= 32_000 - seconds * 8_000 and np.all(samples[0, ~exact] == 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.flac"])
def test_a_file_cut_off_says_so_where_its_header_tells(name: str, tmp_path: Path) -> None:
    path = changed(coded(tmp_path, name), lambda data: data[: len(data) // 2])
    samples, notes = heard(path)
    assert RATE < len(samples) < 3.2 * RATE and abs(lag(samples, sound())) < 1200
    assert notes == ([] if name == "a.ogg" else ["cut-off"])


# late, gaps, tracks


LATE = {
    "mp4": ("late.mp4", *FILM, "-c:a", "aac"),
    "mov": ("late.mov", *FILM, "-c:a", "pcm_s16le"),
    "m4a": ("late.m4a", "-c:a", "aac"),
    "mkv": ("late.mkv", *FILM, "-c:a", "flac"),
    "webm": ("late.webm", "-c:a", "libopus"),
    "flv": ("late.flv", *FILM, "-c:a", "aac"),
    "mpegts": ("late.ts", *FILM, "-c:a", "aac"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LATE)
def test_sound_that_begins_late_keeps_its_place(kind: str, tmp_path: Path) -> None:
    name, *rest = LATE[kind]
    film = rest[: len(FILM)] if rest[0] == "-f" else []
    codec = rest[len(film) :]
    maps = ["-map", "0:v", "-map", "1:a"] if film else []
    run(*film, "-itsoffset", "1.5", "-i", source(tmp_path), *maps, *codec, tmp_path / name)
    samples, notes = heard(tmp_path / name)
    assert notes == ["late-start"]
    assert lag(samples, sound()) == pytest.approx(1.5 * RATE, abs=1200) and not samples[: int(1.4 * RATE)].any()
    assert len(samples) == pytest.approx(5.5 * RATE, abs=2400)
    window = read_window(tmp_path / name, RATE, RATE).samples[0]
    assert np.array_equal(window, samples[RATE : 2 * RATE])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("g.mp4", "aac"),
        ("g.mov", "alac"),
        ("g.mkv", "flac"),
        ("g.webm", "libopus"),
        ("g.ts", "aac"),
        ("g.asf", "wmav2"),
    ],
)
def test_gaps_in_time_stamps_are_silent(name: str, codec: str, tmp_path: Path) -> None:
    path = coded(tmp_path, name, *GAP, "-c:a", codec)
    samples, notes = heard(path)
    assert notes == ["gaps"]
    assert len(samples) == pytest.approx(4 * RATE, abs=4800)
    assert abs(lag(samples[-RATE:], sound()[len(samples) - RATE :])) < 2400
    assert not samples[int(1.7 * RATE) : int(2.3 * RATE)].any()


def test_a_gap_of_ten_hours_meets_the_limit_not_the_disk(tmp_path: Path) -> None:
    path = coded(tmp_path, "g.mkv", "-af", "asetpts='if(gt(T,2),PTS+36000*SR,PTS)'", "-c:a", "flac", "-live", "1")
    with pytest.raises(AudioError) as caught:
        heard(path)
    assert caught.value.reason == "too-long"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two.mp4", "two.mkv", "two.ts"])
def test_which_track_is_taken_is_told_and_can_be_chosen(name: str, tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.full(RATE, 0.0), RATE)
    path = tmp_path / name
    run("-i", source(tmp_path), "-i", silence, "-map", "0:a", "-map", "1:a", "-c:a", "aac", path)
    with open_reader(path) as reader:
        (note,) = reader.notes
        assert (note.key, note.facts["taken"], note.facts["count"]) == ("several-tracks", 1, 2)
        assert "--track N" in note.message
    assert np.array_equal(read(path, track=1).samples, read(path).samples)
    second = read(path, track=2)
    assert second.seconds == pytest.approx(1, abs=0.1) and not second.samples.any()
    assert read_window(path, 100, 50, track=2).samples.shape == (1, 50)
    with open_reader(path, track=2) as reader:
        assert reader.notes == ()
    for track in (0, 3):
        with pytest.raises(AudioError, match="2 sound tracks") as caught:
            probe(path, track=track)
        assert caught.value.reason == "no-such-track"
    with pytest.raises(AudioError, match="1 sound tracks"):
        probe(source(tmp_path), track=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two.mka", "two.mkv", "two.webm", "two.asf"])
def test_a_track_shorter_than_another_is_not_cut_off(name: str, tmp_path: Path) -> None:
    codec = {"webm": "libopus", "asf": "wmav2"}.get(name[4:], "flac")
    path, both = tmp_path / name, ("-map", "0:a", "-map", "1:a")
    run("-i", source(tmp_path), "-itsoffset", "1", "-t", "1", "-i", source(tmp_path), *both, "-c:a", codec, path)
    with open_reader(path, track=2) as reader:
        samples = np.concatenate(list(reader.blocks()), axis=1)
        assert [note.key for note in reader.notes] == ["late-start"]
    assert samples.shape[1] == pytest.approx(2 * RATE, abs=4800)
    assert not samples[:, : int(0.9 * RATE)].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cut.mka", "cut.webm"])
def test_nor_is_one_beside_it_that_is_cut_off_taken_for_whole(name: str, tmp_path: Path) -> None:
    both = ("-map", "0:a", "-map", "1:a")
    run("-i", source(tmp_path), "-i", source(tmp_path), *both, "-c:a", "libopus", tmp_path / name)
    path = changed(tmp_path / name, lambda data: data[: len(data) // 2])
    assert heard(path)[1] == ["several-tracks", "cut-off"]


# sizes in headers


@pytest.mark.slow
@pytest.mark.parametrize("format", ["wav", "rf64", "w64", "aiff", "caf", "au"])
@pytest.mark.parametrize("size", [0, -1, 16_000, 10**8], ids=["zero", "unknown", "stale", "too large"])
def test_a_size_in_a_header_is_not_believed(format: str, size: int, tmp_path: Path) -> None:
    path = sized(tmp_path, format, size)
    samples, _ = heard(path)
    assert len(samples) == 64_000
    assert np.abs(samples - sound(16_000)).max() < 2.0**-14
    assert np.array_equal(read_window(path, 50_000, 100).samples[0], samples[50_000:50_100])


def test_chunks_behind_the_sound_are_no_sound(tmp_path: Path) -> None:
    chunk = b"LIST" + (12).to_bytes(4, "little") + b"INFOIART\0\0\0\0"
    path = changed(source(tmp_path), lambda data: data + chunk)
    assert len(heard(path)[0]) == 4 * RATE


def test_chunks_behind_the_sound_of_rf64_are_no_sound(tmp_path: Path) -> None:
    chunk = b"LIST" + (12).to_bytes(4, "little") + b"INFOIART\0\0\0\0"
    path = changed(sized(tmp_path, "rf64", 4 * 16_000 * 2), lambda data: data + chunk)
    assert len(heard(path)[0]) == 4 * 16_000


@pytest.mark.slow
@pytest.mark.parametrize("count", [1000, 0, 10**6])
def test_a_count_in_a_flac_header_is_not_believed(count: int, tmp_path: Path) -> None:
    path = coded(tmp_path, "a.flac")

    def tell(data: bytearray) -> bytearray:
        data[21] &= 0xF0
        data[22:26] = count.to_bytes(4, "big")
        return data

    samples, notes = heard(changed(path, tell))
    assert np.abs(samples - sound()).max() < 2.0**-14 and notes == (["cut-off"] if count > 4 * RATE else [])


# without ffmpeg


def test_without_ffmpeg_damage_is_not_only_an_early_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = damaged(coded(tmp_path, "a.flac"))
    monkeypatch.setattr("shutil.which", lambda *_: None)
    assert heard(path)[1] == ["needs-ffmpeg", "cut-off"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.avi", "a.asf", "a.flv", "a.ts", "a.m2ts", "a.mpg", "a.ac3", "a.wv", "a.tta"])
def test_without_ffmpeg_what_it_reads_is_known_for_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = coded(tmp_path, name, *(("-ar", "44100") if name == "a.flv" else ()))
    monkeypatch.setattr("shutil.which", lambda *_: None)
    with pytest.raises(AudioError) as caught:
        heard(path)
    assert caught.value.reason == "no-ffmpeg"


@pytest.mark.parametrize("track", ["1", 1.0, True])
def test_a_track_is_a_whole_number(track: object, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="whole number"):
        read(source(tmp_path), track=track)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["joined.mp3", "chained.ogg"])
def test_without_ffmpeg_what_may_be_missing_is_said(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = twice(tmp_path, f"a{Path(name).suffix}")
    assert heard(path)[1] == []
    monkeypatch.setattr("shutil.which", lambda *_: None)
    samples, notes = heard(path)
    assert len(samples) >= 3.9 * RATE and "needs-ffmpeg" in notes


@pytest.mark.slow
def test_no_decoder_speaks_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for make in (lambda: counting(mp3(tmp_path), 40), lambda: damaged(mp3(tmp_path)), lambda: tagged(tmp_path, APE)):
        heard(make())
    assert capfd.readouterr().err == ""


# a decoder that hangs


def test_closing_ends_a_wait_for_a_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = coded(tmp_path, "a.m4a")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ffmpeg").write_text("#!/bin/sh\nexec sleep 1000\n")
    (tmp_path / "bin" / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    reader = open_reader(path)
    ended = threading.Event()

    def wait() -> None:
        with pytest.raises(AudioError):
            list(reader.blocks())
        ended.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    while reader._decoder._process is None:  # type: ignore[attr-defined]
        time.sleep(0.01)
    reader.close()
    assert ended.wait(10)


# names and rates


def test_every_file_that_is_read_is_found(tmp_path: Path) -> None:
    names = "a.aifc b.mp2 c.mts d.m4b e.bwf f.spx g.asf h.avi i.w64 j.oga k.mka l.wv m.ac3 n.flv o.m2ts p.wmv q.snd"
    for name in names.split():
        (tmp_path / name).write_bytes(b"\x47\0")
    assert [path.name for path in look(tmp_path).sounds] == names.split()


def test_programs_in_typescript_are_no_transport_streams(tmp_path: Path) -> None:
    for name in ("a.ts", "b.mts", "c.TS"):
        (tmp_path / name).write_text("export const greeting = '你好';\n" * 40, encoding="utf-8")
    coded(tmp_path, "d.ts", "-c:a", "aac")
    changed(coded(tmp_path, "e.ts", "-c:a", "aac"), lambda data: data[100:])
    (tmp_path / "f.ts").touch()
    found = look(tmp_path)
    assert [path.name for path in found.sounds] == ["d.ts", "e.ts", "f.ts"]
    assert found.passed_over == {".ts": 2, ".mts": 1}


@pytest.mark.parametrize(
    ("name", "encoding", "fitting"),
    [
        ("a.wav", Encoding("mp3", "MPEG_LAYER_III"), "a.mp3"),
        ("a.WAV", Encoding("wav", "PCM_16"), "a.WAV"),
        ("a.opus", Encoding("ogg", "OPUS"), "a.opus"),
        ("a.opus", Encoding("ogg", "VORBIS"), "a.ogg"),
        ("a.mp2", Encoding("mp3", "MPEG_LAYER_III"), "a.mp3"),
        ("a.b.mp4", Encoding("m4a", "AAC"), "a.b.m4a"),
        ("sound", Encoding("flac", "PCM_16"), "sound.flac"),
    ],
)
def test_a_name_fits_its_content(name: str, encoding: Encoding, fitting: str) -> None:
    assert fits(Path(name).suffix, encoding) is (name == fitting)
    assert fits(Path(fitting).suffix, encoding)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.mp2", "a.mp3", "really.wav"])
def test_mpeg_sound_stays_mp3(name: str, tmp_path: Path) -> None:
    made = coded(tmp_path, "b.mp2" if name == "a.mp2" else "b.mp3").rename(tmp_path / name)
    assert encoding_like(probe(made)) == Encoding("mp3", "MPEG_LAYER_III")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "codec"), [("a.mp3", "libmp3lame"), ("a.ogg", "libvorbis"), ("a.m4a", "aac")])
def test_a_lossy_file_is_written_near_its_own_rate(name: str, codec: str, tmp_path: Path) -> None:
    """Of three rates the output of each is nearest to its own input; nothing asks the AAC coder for 384 kbit/s."""
    noise = tmp_path / "noise.wav"
    pink = np.cumsum(np.random.default_rng(0).standard_normal((3 * RATE, 2)), axis=0)
    soundfile.write(
        noise, 0.5 * pink / np.abs(pink).max() + 0.02 * np.random.default_rng(1).standard_normal(pink.shape), RATE
    )
    rates = []
    for rate in (80, 128, 192):
        run("-i", noise, "-c:a", codec, "-b:a", f"{rate}k", tmp_path / name)
        clip = read(tmp_path / name)
        assert clip.source is not None and clip.source.bit_rate == pytest.approx(rate * 1000, rel=0.3)
        write(tmp_path / f"out-{name}", clip)
        rates.append((tmp_path / f"out-{name}").stat().st_size * 8 / 3 / 1000)
        assert rates[-1] == pytest.approx(rate, rel=0.5)
    assert rates == sorted(rates)


def test_a_track_of_unknown_rate_is_written_at_the_usual_one() -> None:
    assert Encoding("m4a", "AAC").lossy_rate(48_000, 2) == 192_000
    assert Encoding("m4a", "AAC", 10**6).lossy_rate(48_000, 2) == 256_000
    assert Encoding("ogg", "VORBIS").lossy_rate(48_000, 2) is None


def test_limits_hold_for_what_hides_its_length(tmp_path: Path) -> None:
    path = twice(tmp_path, "a.ogg", "-c:a", "libvorbis")
    with pytest.raises(AudioError) as caught, open_reader(path, Limits(max_seconds=6)) as reader:
        list(reader.blocks())
    assert caught.value.reason == "too-long"
