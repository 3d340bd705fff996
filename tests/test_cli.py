"""The command line, called as a program calls it and as a shell does."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import fsspec
import numpy as np
import pytest
import soundfile
import torch

from denoise_app import cli
from denoise_app.audio.clip import Clip
from denoise_app.evaluation import evaluate, leaderboard, speed
from denoise_app.evaluation import pairs as pairs_of
from denoise_app.inference import catalog, replay, threads
from denoise_app.inference.engine import Selection, Settings
from denoise_app.training import loop
from denoise_app.training.config import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
SOUND = ROOT / "tests" / "golden" / "speech.flac"


@pytest.fixture(autouse=True)
def same_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` sets the thread count of the process, which outlives a test."""
    for name, value in threads.environment(1).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def recordings(tmp_path: Path, speech: Clip) -> Path:
    """in/good.wav, in/sub/other.flac, in/bad.wav."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    soundfile.write(folder / "good.wav", speech.samples[0, :16_000], 16_000, subtype="PCM_16")
    soundfile.write(folder / "sub" / "other.flac", speech.samples[0, :8_000], 8_000, subtype="PCM_24")
    (folder / "bad.wav").write_text("no sound at all")
    return folder


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    result = cli.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return result, printed.out, printed.err


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    result, out, _ = call(capsys, *arguments, "--json")
    return result, json.loads(out)


def test_denoise_goes_on_past_a_bad_file(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    status, printed, told = call(capsys, "denoise", recordings, "-o", out, "--model", "wiener")
    assert status == 1
    assert printed == "2 denoised with wiener, 1 failed\n"
    assert "bad.wav failed: " in told and "[3/3]" in told
    assert "\x1b" not in told  # no terminal, no cursor play
    assert soundfile.info(out / "good.wav").subtype == "PCM_16"
    assert soundfile.info(out / "sub" / "other.flac").samplerate == 8_000
    assert not (out / "bad.wav").exists()


def test_denoise_tells_a_program_what_became_of_each_file(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, data = answer(capsys, "denoise", recordings, "-o", tmp_path / "out", "--model", "band-pass")
    assert status == 1
    assert (data["model"], data["loss"], data["failed"]) == ("band-pass", None, 1)
    bad, good, other = data["files"]
    assert set(bad) == {"input", "notes", "error"} and bad["notes"] == [] and set(bad["error"]) == {"reason", "message"}
    assert good["output"] == str(tmp_path / "out" / "good.wav")
    assert other["seconds"] == 1.0


def test_denoise_succeeds_without_a_bad_file(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, _ = call(capsys, "denoise", recordings / "good.wav", "-o", tmp_path / "out", "--model", "wiener")
    assert status == 0
    before, _ = soundfile.read(recordings / "good.wav")
    after, _ = soundfile.read(tmp_path / "out" / "good.wav")
    assert before.shape == after.shape and abs(before - after).max() > 1e-3


def test_no_strength_changes_nothing(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = recordings / "good.wav"
    status, _, _ = call(capsys, "denoise", source, "-o", tmp_path, "--model", "wiener", "--strength", 0)
    assert status == 0
    before, _ = soundfile.read(source, dtype="int16")
    after, _ = soundfile.read(tmp_path / "good.wav", dtype="int16")
    assert (before == after).all()


def test_every_setting_reaches_the_engine(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from denoise_app.scale import run as scale
    from denoise_app.scale.work import Work

    seen: list[Work] = []

    def run(items: object, work: Work, *_: object) -> Iterator[object]:
        seen.append(work)
        yield from ()

    monkeypatch.setattr(scale, "run", run)
    options = "--strength 50 --max-attenuation 12 --high-band keep --loudness -23 --true-peak -2 --channels mid"
    more = "--format flac --bit-depth 24 --strict --track 2 --model wiener --device cpu"
    pointed = "--from 1:01 --to 62 --noise-profile 0-1"
    call(capsys, "denoise", recordings, "-o", tmp_path, *f"{options} {more} {pointed}".split())
    settings = Settings(50, 12.0, "keep", -23.0, -2.0, "flac", 24)
    selection = Selection(61.0, 62.0, (0.0, 1.0))
    wanted = Work("wiener", None, None, settings, "mid", track=2, selection=selection, strict=True, device="cpu")
    assert seen == [wanted]


@pytest.fixture
def offset(tmp_path: Path, speech: Clip) -> Path:
    """A recording with a note: dc-offset."""
    soundfile.write(tmp_path / "dc.wav", speech.samples[0, :16_000] / 4 + 0.2, 16_000)
    return tmp_path / "dc.wav"


def test_notes_are_told_to_people_and_to_programs(
    offset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_for = ("denoise", offset, "-o", tmp_path / "out", "--model", "wiener")
    status, _, told = call(capsys, *call_for)
    sentence = "It has a DC offset of 20 % of full scale."
    assert status == 0 and f"note: {offset}: {sentence}\n" in told
    status, data = answer(capsys, *call_for)
    (note,) = data["files"][0]["notes"]
    assert status == 0 and (note["key"], note["message"]) == ("dc-offset", sentence)
    assert note["percent"] == pytest.approx(20, abs=1)


def test_strict_makes_notes_a_failure(offset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, data = answer(capsys, "denoise", offset, "-o", tmp_path / "out", "--model", "wiener", "--strict")
    (file,) = data["files"]
    assert (status, data["failed"], file["error"]["reason"]) == (1, 1, "strict") and "output" not in file
    assert [note["key"] for note in file["notes"]] == ["dc-offset"] and list((tmp_path / "out").iterdir()) == []


@pytest.fixture
def field(tmp_path: Path, recordings: Path) -> Path:
    """A field recorder's wav: with bext and peaks for drawing, last changed in 2001."""
    data = (recordings / "good.wav").read_bytes()
    bext = b"at the river".ljust(338, b"\0") + (36_672 * 16_000).to_bytes(8, "little") + bytes(256)
    chunks = b"bext" + len(bext).to_bytes(4, "little") + bext + b"LGWV" + (8).to_bytes(4, "little") + bytes(8)
    whole = data[:12] + chunks + data[12:]
    path = tmp_path / "field.wav"
    path.write_bytes(whole[:4] + (len(whole) - 8).to_bytes(4, "little") + whole[8:])
    os.utime(path, (1e9, 1e9))
    return path


@pytest.mark.parametrize("strength", [100, 0])
def test_what_a_file_carries_besides_sound_is_kept(
    strength: int, field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("denoise", field, "-o", tmp_path / "out", "--model", "wiener", "--strength", strength, "--strict")
    status, data = answer(capsys, *command)
    written = tmp_path / "out" / "field.wav"
    assert status == 0 and data["files"][0]["notes"] == []
    assert b"at the river" in written.read_bytes() and written.stat().st_mtime == 1e9


@pytest.mark.slow
def test_what_a_format_cannot_hold_is_told(field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("denoise", field, "-o", tmp_path / "out", "--model", "wiener", "--format", "ogg")
    status, data = answer(capsys, *command)
    assert status == 0 and [note["key"] for note in data["files"][0]["notes"]] == ["tags-lost"]
    status, data = answer(capsys, *command, "--strict")
    assert status == 1 and data["files"][0]["error"]["reason"] == "strict"


@pytest.fixture
def two_tracks(tmp_path: Path, speech: Clip) -> Path:
    """A video's sound in two languages, as it were: the second track is softer and shorter."""
    for name, frames, gain in (("one", 16_000, 0.9), ("two", 12_000, 0.3)):
        soundfile.write(tmp_path / f"{name}.wav", gain * speech.samples[0, :frames], 16_000, "PCM_16")
    path = tmp_path / "two.mka"
    inputs = ["-i", tmp_path / "one.wav", "-i", tmp_path / "two.wav"]
    subprocess.run(["ffmpeg", "-v", "error", *inputs, "-map", "0", "-map", "1", "-c", "copy", path], check=True)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("options", "track"), [([], "one"), (["--track", "1"], "one"), (["--track", "2"], "two")])
def test_a_track_is_chosen_by_its_number(
    options: list[str], track: str, two_tracks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("denoise", two_tracks, "-o", tmp_path / "out", "--model", "band-pass", "--strength", 0, *options)
    status, data = answer(capsys, *command)
    (file,) = data["files"]
    np.testing.assert_array_equal(soundfile.read(file["output"])[0], soundfile.read(tmp_path / f"{track}.wav")[0])
    assert status == 0 and [note["key"] for note in file["notes"]] == ([] if options else ["several-tracks"])


@pytest.mark.slow
def test_a_chosen_track_is_denoised_in_every_pass(
    two_tracks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--model", "wiener", "--loudness", -30)
    assert call(capsys, "denoise", two_tracks, "-o", tmp_path / "out", *options, "--track", 2)[0] == 0
    assert call(capsys, "denoise", tmp_path / "two.wav", "-o", tmp_path / "alone", *options)[0] == 0
    chosen, alone = (soundfile.read(tmp_path / folder / "two.wav")[0] for folder in ("out", "alone"))
    np.testing.assert_array_equal(chosen, alone)


def test_a_track_that_is_not_there_is_named(
    two_tracks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = (two_tracks, tmp_path / "one.wav")
    status, data = answer(capsys, "denoise", *inputs, "-o", tmp_path / "out", "--model", "wiener", "--track", 3)
    assert status == 1 and [file["error"]["reason"] for file in data["files"]] == ["no-such-track"] * 2


@pytest.mark.slow
def test_a_track_is_replayed(two_tracks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, "denoise", two_tracks, "-o", tmp_path / "out", "--model", "wiener", "--track", 2)
    prints = replay.fingerprint(two_tracks, 2), replay.fingerprint(tmp_path / "out" / "two.wav")
    told = replay.as_json(replay.Receipt("wiener", None, None, None, "each", Settings(), *prints, track=2))
    (tmp_path / "report.json").write_text(json.dumps(told))
    status, found = answer(capsys, "replay", tmp_path / "report.json", two_tracks)
    assert status == 0 and found["same_recording"] and found["same_samples"]


@pytest.mark.parametrize("end", [b"\n", b"\0"])
@pytest.mark.parametrize("piped", [True, False])
def test_inputs_may_be_listed(
    piped: bool,
    end: bytes,
    recordings: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    odd = recordings / os.fsdecode(b"\xff odd.wav")
    (recordings / "good.wav").rename(odd)
    names = end.join(map(os.fsencode, (odd, recordings / "sub"))) + end
    (tmp_path / "list").write_bytes(names)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names)))
    options = ("-o", tmp_path / "out", "--model", "band-pass", "--from-file", "-" if piped else tmp_path / "list")
    assert call(capsys, "denoise", *options)[0] == 0
    assert (tmp_path / "out" / odd.name).exists() and (tmp_path / "out" / "sub" / "other.flac").exists()


def test_a_batch_is_resumed_by_its_manifest(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ("denoise", recordings, "-o", out, "--model", "band-pass", "--resume")
    assert call(capsys, *command)[:2] == (1, "2 denoised with band-pass, 1 failed\n")
    rows = [json.loads(line) for line in (out / cli.MANIFEST).read_text().splitlines()]
    assert [(Path(row["path"]).name, row["outcome"]) for row in rows] == [
        ("bad.wav", "failed"),
        ("good.wav", "done"),
        ("other.flac", "done"),
    ]
    (recordings / "bad.wav").write_bytes((recordings / "good.wav").read_bytes())
    status, printed, told = call(capsys, *command)
    assert (status, printed) == (0, "1 denoised with band-pass, 0 failed, 2 done before\n")
    assert "2 of 3 files are done already" in told
    assert answer(capsys, *command)[1]["done_before"] == 3
    status, data = answer(capsys, *command, "--strength", 50)
    assert (status, data["done_before"], len(data["files"])) == (0, 0, 3)


def test_a_manifest_is_no_other_file(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (recordings / "good.wav").read_bytes()
    options = ("-o", tmp_path / "out", "--model", "band-pass", "--manifest", recordings / "good.wav")
    status, _, told = call(capsys, "denoise", recordings, *options)
    assert status == 1 and "is no manifest of a batch" in told and (recordings / "good.wav").read_bytes() == before


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_processes_side_by_side_do_the_same(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("denoise", recordings, "--model", "wiener", "-o")
    for name, jobs in (("one", 1), ("two", 2)):
        status, printed, told = call(capsys, *options, tmp_path / name, "--jobs", jobs)
        assert (status, printed) == (1, "2 denoised with wiener, 1 failed\n") and "bad.wav failed: " in told
    assert "3 of 3 files" in told and "h of sound" in told
    for name in ("good.wav", "sub/other.flac"):
        first, second = (soundfile.read(tmp_path / folder / name)[0] for folder in ("one", "two"))
        np.testing.assert_array_equal(first, second)


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
@pytest.mark.parametrize(("ending", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_ended_batch_goes_on_where_it_stopped(
    ending: signal.Signals, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The terminal sends Ctrl-C to every process; a kill of all of them is the worst that can happen."""
    (tmp_path / "in").mkdir()
    noise = 0.1 * np.random.default_rng(0).standard_normal(60 * 16_000)
    for number in range(12):
        soundfile.write(tmp_path / "in" / f"{number:02}.wav", noise[: 16_000 * (1 if number % 4 else 60)], 16_000)
    options = ["denoise", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", "mmse-lsa", "--jobs", "2"]
    manifest = tmp_path / "m"
    command = [sys.executable, "-m", "denoise_app", *options, "--resume", "--manifest", str(manifest)]
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True)
    while running.poll() is None and not (manifest.exists() and manifest.read_bytes().count(b"\n") > 2):
        time.sleep(0.05)
    os.killpg(running.pid, ending)
    assert running.wait(60) == code
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    done = {row["output"] for row in rows}
    assert 2 < len(done) < 12 and all(soundfile.info(path).frames in (16_000, 960_000) for path in done)
    if ending == signal.SIGINT:
        assert not list((tmp_path / "out").glob(".denoise-*"))
    status, data = answer(capsys, *options, "--resume", "--manifest", manifest)
    assert (status, data["done_before"], len(data["files"])) == (0, len(rows), 12 - len(rows))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{number:02}.wav" for number in range(12)]


def test_a_full_disk_ends_a_batch_in_a_sentence(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from denoise_app.inference import engine

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(engine, "denoise_file", full)
    for more, goes_on in ((["--resume"], True), ([], False)):  # nothing goes on by what was not written down
        status, _, told = call(capsys, "denoise", recordings, "-o", tmp_path / "out", "--model", "wiener", *more)
        assert status == 1 and "1 more not tried: The disk is full" in told
        assert ("--resume goes on" in told) == goes_on


def test_addresses_are_read_and_written(tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = fsspec.filesystem("memory")
    store.put_file(str(recordings / "good.wav"), "/shop/in/good.wav")
    try:
        command = ("denoise", "memory://shop/in", "-o", "memory://shop/out", "--model", "wiener")
        assert call(capsys, *command)[:2] == (0, "1 denoised with wiener, 0 failed\n")
        with store.open("/shop/out/good.wav") as file:
            assert soundfile.info(file).frames == 16_000
        status, _, told = call(capsys, *command, "--resume")
        assert status == 1 and "name a file of this machine with --manifest" in told
        for before in (0, 1):
            assert answer(capsys, *command, "--manifest", tmp_path / "m", "--resume")[1]["done_before"] == before
    finally:
        store.store.clear()


def test_nothing_named_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["--from-file", os.devnull]):
        status, _, told = call(capsys, "denoise", "-o", tmp_path / "out", *options)
        assert status == 1 and told.startswith("error: nothing is named")
    status, _, told = call(capsys, "denoise", "-o", tmp_path / "out", "--from-file", tmp_path / "gone")
    assert status == 1 and told.startswith("error: ") and "gone" in told


def test_what_is_passed_over_is_told(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.txt", "b.txt", "c\x1b[31m.x\x1by"):
        (recordings / "sub" / name).write_text("text")
    _, data = answer(capsys, "denoise", recordings, "-o", tmp_path / "out", "--model", "band-pass")
    assert data["passed_over"] == {".txt": 2, ".x\\x1by": 1}
    _, _, told = call(capsys, "denoise", recordings, "-o", tmp_path / "out", "--model", "band-pass")
    assert told.startswith("3 files passed over: .txt 2, .x\\x1by 1\n")


ODD_NAMES = [b"\xfcber.wav", b"\x1b[31mred\x9b.wav", b"two\nlines.wav", "\u202egpj.wav".encode(), "语音 é.wav".encode()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoding", "options"),
    [("ascii:strict", ["--json"]), ("ascii:strict", []), ("latin-1:strict", ["--json"]), ("utf-8:strict", ["--json"])],
)
def test_no_name_ends_a_batch_or_reaches_a_terminal_raw(
    encoding: str, options: list[str], recordings: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not options:  # the others are fresh ones, for they read their encoding as they begin
        request.getfixturevalue("warm")
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in ODD_NAMES:
        (folder / os.fsdecode(name)).write_bytes((recordings / "good.wav").read_bytes())
    (folder / os.fsdecode(b"\xffbad\x1b.wav")).write_text("no sound")
    command = [sys.executable, "-m", "denoise_app", "denoise", folder, "-o", tmp_path / "out", "--model", "band-pass"]
    ended = subprocess.run(
        [*command, *options], cwd=ROOT, env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True
    )
    assert ended.returncode == 1 and b"Traceback" not in ended.stderr and b"[6/6]" in ended.stderr
    printed = (ended.stdout + ended.stderr).decode(encoding.partition(":")[0])
    assert not {"\x1b", "\x9b", "\u202e"} & set(printed)
    assert sorted(os.listdir(os.fsencode(tmp_path / "out"))) == sorted(ODD_NAMES)
    files = json.loads(ended.stdout)["files"] if options else []
    exact = {
        unquote_to_bytes(file["input_bytes"]) if "input_bytes" in file else os.fsencode(file["input"]) for file in files
    }
    assert not options or exact == {os.fsencode(folder) + b"/" + name for name in [*ODD_NAMES, b"\xffbad\x1b.wav"]}


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_whoever_stops_listening_ends_no_work(
    closed: str, options: list[str], recordings: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if options:  # the others are fresh ones, for it is their end that finds nobody listening
        request.getfixturevalue("warm")
    (recordings / "bad.wav").unlink()
    reading, writing = os.pipe()
    os.close(reading)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {closed: writing}
    command = [sys.executable, "-m", "denoise_app", "denoise", recordings, "-o", tmp_path / "out", "--model", "wiener"]
    ended = subprocess.run([*command, *options], cwd=ROOT, **pipes)  # type: ignore[call-overload]
    os.close(writing)
    assert ended.returncode == 0 and not (ended.stderr and b"Broken" in ended.stderr)
    assert (tmp_path / "out" / "good.wav").exists() and (tmp_path / "out" / "sub" / "other.flac").exists()


@pytest.mark.slow
def test_a_result_that_cannot_be_told_is_a_failure() -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "denoise_app", "models"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 1 and ended.stderr == "error: [Errno 28] No space left on device\n"


def test_a_wrong_call_is_told_in_plain_characters(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["denoise", "x.wav", "-o", "out", "--\x1b[31m"])
    assert "\x1b" not in capsys.readouterr().err


def test_a_name_may_begin_with_a_dash(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (recordings / "good.wav").rename(recordings / "-x.wav")
    monkeypatch.chdir(recordings)
    assert call(capsys, "denoise", "--model", "wiener", "-o", tmp_path / "out", "--", "-x.wav")[0] == 0
    (recordings / "bad.wav").unlink()
    assert call(capsys, "denoise", "--model", "wiener", "-o", tmp_path / "all", ".")[0] == 0
    assert (tmp_path / "out" / "-x.wav").exists() and (tmp_path / "all" / "-x.wav").exists()


def test_a_stretch_alone_is_denoised(tmp_path: Path, speech: Clip, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "in.wav", speech.samples[0, :48_000], 16_000, subtype="PCM_24")
    more = ("--model", "wiener", "--from", "0:01", "--to", "2.5", "--noise-profile", "0:00-0:00.4")
    assert call(capsys, "denoise", tmp_path / "in.wav", "-o", tmp_path / "out", *more)[0] == 0
    before, after = (soundfile.read(tmp_path / name)[0] for name in ("in.wav", "out/in.wav"))
    changed = np.flatnonzero(before != after)
    assert 16_000 <= changed.min() < 16_400 and 39_600 < changed.max() < 40_000
    alone = call(capsys, "denoise", tmp_path / "in.wav", "-o", tmp_path / "other", *more[:6])
    assert alone[0] == 0 and (tmp_path / "other" / "in.wav").read_bytes() != (tmp_path / "out" / "in.wav").read_bytes()


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("75.5", 75.5), ("1:15.5", 75.5), ("01:02:03", 3723.0), ("0", 0.0), (" 2 ", 2.0), ("90", 90.0), ("90:00", 5400.0)],
)
def test_a_time_is_seconds_or_minutes_and_seconds(given: str, seconds: float) -> None:
    assert cli.time(given) == seconds


@pytest.mark.parametrize("given", ["", "-1", "a", "1:", ":5", "1:60", "1:2:3:4", "1.5:00", "nan", "inf", "1:-2"])
def test_what_is_no_time_is_told(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    for option in (f"--from={given}", f"--noise-profile=0-{given}"):
        with pytest.raises(SystemExit) as ended:
            cli.main(["denoise", "a.wav", "-o", "out", option])
        assert ended.value.code == 2
        assert "Give seconds, or minutes and seconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--from", "2", "--to", "1"), "ends after it begins"),
        (("--from", "100"), "the sound lasts"),
        (("--noise-profile", "0-0.05"), "at least 0.1 s"),
        (("--noise-profile", "0-1", "--model", "gru"), "spectral-subtraction, wiener, mmse-lsa"),
    ],
)
def test_a_stretch_that_cannot_be_is_a_sentence(
    tmp_path: Path, more: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, said = call(capsys, "denoise", SOUND, "-o", tmp_path / "out", "--model", "wiener", *more)
    assert status == 1 and told in said and "Traceback" not in said
    assert not list((tmp_path / "out").rglob("*.flac"))


def test_a_link_that_leads_nowhere_is_a_sentence(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, to in (
        ("loop.wav", "loop.wav"),
        ("dangling.wav", "gone"),
        ("one.wav", "two.wav"),
        ("two.wav", "one.wav"),
    ):
        (tmp_path / name).symlink_to(to)
        status, _, told = call(capsys, "denoise", tmp_path / name, "-o", tmp_path / "out", "--model", "wiener")
        assert status == 1 and f"{name} failed: " in told
    status, _, told = call(capsys, "replay", tmp_path / "loop.wav", recordings / "good.wav")
    assert status == 1 and told.startswith("error: ")


def test_nothing_to_denoise_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    status, printed, told = call(capsys, "denoise", tmp_path / "empty", "-o", tmp_path / "out")
    assert (status, printed) == (1, "")
    assert "no sound file" in told


def test_an_unknown_model_is_named_with_the_known_ones(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, told = call(capsys, "denoise", recordings, "-o", tmp_path / "out", "--model", "nonesuch")
    assert status == 1
    assert "nonesuch" in told and "wiener" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonesuch"],
        ["denoise", "x.wav"],
        ["denoise", "x.wav", "-o", "out", "--strength", "101"],
        ["denoise", "x.wav", "-o", "out", "--strength", "nan"],
        ["denoise", "x.wav", "-o", "out", "--threads", "0"],
        ["evaluate", "--all", "--model", "gru"],
    ],
)
def test_a_wrong_call_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2


def test_replay_gives_the_samples_of_the_report(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = recordings / "good.wav"
    assert call(capsys, "denoise", source, "-o", tmp_path, "--model", "wiener", "--strength", 60)[0] == 0
    prints = replay.fingerprint(source), replay.fingerprint(tmp_path / source.name)
    told = replay.as_json(replay.Receipt("wiener", None, None, None, "each", Settings(strength=60.0), *prints))
    (tmp_path / "report.json").write_text(json.dumps(told))
    code, found = answer(capsys, "replay", tmp_path / "report.json", source, "-o", tmp_path / "again.wav")
    assert code == 0 and found["same_samples"] is True
    other = tmp_path / "other.wav"
    soundfile.write(other, 0.5 * soundfile.read(source)[0], 16_000, subtype="FLOAT")
    code, out, err = call(capsys, "replay", tmp_path / "report.json", other)
    assert code == 1 and "not the samples" in out and "not the recording" in err
    code, found = answer(capsys, "replay", tmp_path / "report.json", other)
    assert code == 1 and not found["same_recording"] and not found["same_samples"] and found["notes"] == []
    assert (tmp_path / "other.denoised.wav").exists()
    code, _, err = call(capsys, "replay", tmp_path / "report.json", source, "-o", source)
    assert code == 1 and "the recording itself" in err
    for wrong in ("again.flac", "again"):
        code, _, err = call(capsys, "replay", tmp_path / "report.json", source, "-o", tmp_path / wrong)
        assert code == 1 and "written as .wav" in err and not (tmp_path / wrong).exists()


def test_models_lists_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    status, rows = answer(capsys, "models")
    assert status == 0
    assert [(row["model"], row["loss"]) for row in rows] == [(entry.model, entry.loss) for entry in catalog.entries()]
    assert [(row["model"], row["loss"]) for row in rows if row["recommended"]] == [catalog.recommended()]
    presets = {name: (row["model"], row["loss"]) for row in rows for name in row["presets"]}
    assert presets == catalog.presets() and presets.keys() == {"best", "fast", "live"}
    status, printed, _ = call(capsys, "models")
    assert all(row["model"] in printed for row in rows)
    assert all(f"{name}: {model}" in printed for name, (model, _) in presets.items())
    board = {(row["model"], row["loss"]): row for row in leaderboard.read(cli.LEADERBOARD)["rows"]}
    scored = board["wiener", None]
    told = next(row for row in rows if row["model"] == "wiener")
    assert told["rtf"] == scored["rtf"] and told["pesq_wb"] == scored["scores"]["pesq_wb"]["mean"]
    line = next(line for line in printed.splitlines() if line.startswith("wiener"))
    assert line.split()[2:4] == [f"{told['pesq_wb']:.2f}", f"{told['stoi']:.3f}"]


def test_models_without_a_leaderboard_have_no_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "LEADERBOARD", tmp_path / "none.json")
    status, rows = answer(capsys, "models")
    assert status == 0 and {row[key] for row in rows for key in ("pesq_wb", "rtf")} == {None}


def test_an_interruption_ends_with_130(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(catalog, "load", interrupted)
    assert call(capsys, "denoise", recordings, "-o", tmp_path, "--model", "wiener")[0] == 130


def test_threads_are_set_at_the_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    try:
        call(capsys, "denoise", tmp_path, "-o", tmp_path / "out", "--model", "wiener", "--threads", 2)
        assert torch.get_num_threads() == 2
        assert os.environ["OMP_NUM_THREADS"] == "2"
        call(capsys, "models")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_help_needs_no_torch() -> None:
    code = "import sys; from denoise_app import cli; cli.build_parser(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_training_is_told_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[TrainConfig] = []

    def train(config: TrainConfig, say: object) -> loop.Outcome:
        seen.append(config)
        return loop.Outcome(config.out, 100, 1.5, 0.25, None, finished=len(seen) > 1)

    monkeypatch.setattr(loop, "train", train)
    names = ("clean", "noise", "rir", "out", "cache", "valid-clean", "valid-noisy")
    folders = {name: tmp_path / name for name in names}
    options = [text for name, folder in folders.items() for text in (f"--{name}", str(folder))]
    options += ["--model", "gru", "--loss", "hybrid", "--minutes", "2.5", "--steps", "7", "--resume"]
    options += ["--seed", "3", "--device", "cpu"]
    status, data = answer(capsys, "train", *options)
    assert (status, data["finished"], data["hours_seen"]) == (130, False, 0.25)
    paths = {name.replace("-", "_"): folder for name, folder in folders.items()}
    budget = {"minutes": 2.5, "steps": 7, "seed": 3, "device": "cpu", "resume": True}
    assert seen == [TrainConfig("gru", "hybrid", **paths, **budget)]  # type: ignore[arg-type]
    status, printed, _ = call(capsys, "train", *options)
    assert (status, printed) == (0, f"100 steps in 1.5 minutes; the checkpoint is in {folders['out']}\n")


def test_a_training_without_a_folder_goes_where_the_app_can_find_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "train", lambda config, say: loop.Outcome(config.out, 100, 1.5, 0.25, None, True))
    status, printed, _ = call(
        capsys, "train", "--model", "gru", "--loss", "hybrid", "--clean", "x", "--noise", "y", "--steps", "3"
    )
    assert status == 0
    assert "the checkpoint is in runs/gru/hybrid, which the app shows with DENOISE_WEIGHTS=runs" in printed


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--model gru --loss nonesuch", "no loss is called 'nonesuch'"),
        ("--model nonesuch --loss hybrid", "nonesuch"),
        ("--model gru --loss hybrid", "is not a folder"),
        ("--model gru --loss hybrid --valid-clean x", "belong together"),
    ],
)
def test_training_that_cannot_start_says_why(
    options: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = ["--clean", tmp_path / "x", "--noise", tmp_path / "y", "--out", tmp_path / "run"]
    status, printed, told = call(capsys, "train", *missing, *options.split())
    assert (status, printed) == (1, "")
    assert told.startswith("error: ") and reason in told


def test_speed_measures_what_it_is_told_and_bench_is_its_former_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[object, object]] = []

    def run(models: object, durations: object, say: object) -> dict[str, object]:
        seen.append((models, durations))
        return {"machine": "this"}

    monkeypatch.setattr(speed, "run", run)
    monkeypatch.setattr(speed, "table", lambda measured: f"on {measured['machine']}")
    options = "--model", "gru", "--model", "nlms", "--longest", 600
    assert call(capsys, "speed", *options) == (0, "on this\n", "")
    assert answer(capsys, "speed") == (0, {"machine": "this"})
    status, printed, told = call(capsys, "bench", *options)
    assert (status, printed) == (0, "on this\n") and "called speed now" in told
    assert seen == [(["gru", "nlms"], [10.0, 600.0]), (None, [10.0, 600.0, 3600.0]), (["gru", "nlms"], [10.0, 600.0])]
    listed = cli.build_parser().format_help()
    assert "speed" in listed and "bench" not in listed


def test_a_leaderboard_needs_both_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, told = call(capsys, "evaluate", "--clean", tmp_path)
    assert status == 1
    assert "--noisy" in told


def test_scores_of_all_go_from_the_development_pairs_into_the_leaderboard(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = leaderboard.read(ROOT / "results" / "leaderboard.json")
    seen: list[object] = []
    monkeypatch.setattr(pairs_of, "find_pairs", lambda clean, noisy, limit: seen.extend([clean, noisy]))
    monkeypatch.setattr(evaluate, "evaluate", lambda pairs, wanted, out, **_: seen.extend([out, len(wanted)]) or board)
    assert call(capsys, "evaluate", "--all")[0] == 0
    pairs = Path("../shared/data/dev")
    assert seen == [pairs / "clean", pairs / "noisy", Path("results/leaderboard.json"), len(evaluate.candidates())]


def test_a_loss_that_nothing_was_taught_by_is_named(capsys: pytest.CaptureFixture[str], recordings: Path) -> None:
    options = ["--clean", recordings, "--noisy", recordings, "--limit", 1, "--model", "gru", "--loss", "nope"]
    status, _, told = call(capsys, "evaluate", *options)
    assert status == 1 and told.splitlines()[-1].startswith("error: there is no gru")


def test_times_need_pairs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, told = call(capsys, "evaluate", "--time", "--readme", tmp_path / "text.md")
    assert status == 1 and "--time needs pairs" in told


def test_evaluate_writes_the_table_of_earlier_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.md"
    text.write_text("".join(f"<!-- {name} -->\nold\n<!-- /{name} -->\n" for name in leaderboard.TABLES))
    board = ROOT / "results" / "leaderboard.json"
    status, printed, _ = call(capsys, "evaluate", "--out", board, "--readme", text)
    assert status == 0
    assert printed in text.read_text() and "\nold\n" not in text.read_text()


# export


@pytest.mark.slow
def test_export_prints_its_parity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "gru.onnx"
    status, said = answer(capsys, "export", "gru", "-o", out, "--for", "onnxruntime", "--speech", SOUND)
    assert status == 0
    assert (said["output"], said["size"]) == (str(out), out.stat().st_size)
    assert 0 <= said["difference"] < 1e-4 and said["difference_db"] < -80
    assert min(said["onnx_ms"], said["torch_ms"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["wiener", "-o", "a.onnx"], "no weights"),
        (["cnn", "-o", "a.onnx"], "not causal"),
        (["gru", "-o", "a.pt"], "ends in .onnx"),
        (["gru", "mse", "-o", "a.onnx", "--speech", "none.wav"], "no file none.wav"),
        (["nothing", "-o", "a.onnx"], "No model is called"),
        (["light-crn", "-o", "a.onnx", "--int8"], "save nothing"),
    ],
)
def test_what_cannot_be_exported_leaves_no_file(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    speech = [] if "--speech" in arguments else ["--speech", SOUND]
    status, printed, said = call(capsys, "export", *arguments, *speech)
    assert (status, printed) == (1, "")
    assert words in said
    assert not list(tmp_path.iterdir())


def test_silence_is_nothing_to_compare_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    status, _, said = call(capsys, "export", "gru", "-o", tmp_path / "a.onnx", "--speech", tmp_path / "silence.wav")
    assert status == 1 and "silence" in said and not (tmp_path / "a.onnx").exists()


def test_models_tells_what_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd.onnx").write_bytes(b"not a graph")
    monkeypatch.setenv("DENOISE_ONNX", str(tmp_path))
    status, printed, said = call(capsys, "models")
    assert status == 0 and "odd" not in printed
    assert "left out: The ONNX file odd.onnx is refused: " in said


@pytest.mark.parametrize(
    "text",
    [
        b"a.wav\nb c.wav\n",
        b"a.wav\r\nb c.wav\r\n",
        b"\xef\xbb\xbfa.wav\nb c.wav",
        b"a.wav\0b c.wav\0",
        b"\na.wav\n\nb c.wav\n\n",
    ],
)
def test_a_list_of_any_system_is_read(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(text)
    assert cli.listed(str(tmp_path / "list")) == ["a.wav", "b c.wav"]


def test_a_name_may_end_in_a_carriage_return_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a.wav\r\nb.wav\n")
    assert cli.listed(str(tmp_path / "list")) == ["a.wav\r", "b.wav"]


def test_a_list_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["denoise", "--from-file", str(tmp_path / "none"), "-o", str(tmp_path)]) == 1
    assert f"error: the list {tmp_path / 'none'} cannot be read: No such file" in capsys.readouterr().err
