"""Which files are denoised, where they go, and what a bad one does to the others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from torch import Tensor

from denoise_app.audio.clip import Clip
from denoise_app.inference import batch, engine
from denoise_app.inference.batch import Job


class Identity:
    sample_rate = 16_000
    latency = 0
    causal = False

    def __call__(self, noisy: Tensor) -> Tensor:
        return noisy.clone()


@pytest.fixture
def tree(tmp_path: Path, speech: Clip) -> Path:
    """in/a.wav, in/deep/er/b.flac, in/bad.wav (text), and what is no sound: notes.txt, .hidden.wav, .git/c.wav."""
    root = tmp_path / "in"
    (root / "deep" / "er").mkdir(parents=True)
    (root / ".git").mkdir()
    samples = speech.samples[0, :8000]
    soundfile.write(root / "a.wav", samples, 16_000, subtype="PCM_16")
    soundfile.write(root / "deep" / "er" / "b.flac", np.stack([samples, samples], 1), 16_000, subtype="PCM_24")
    (root / "bad.wav").write_text("no sound at all")
    (root / "notes.txt").write_text("notes")
    shutil.copy(root / "a.wav", root / ".hidden.wav")
    shutil.copy(root / "a.wav", root / ".git" / "c.wav")
    return root


def plan(inputs: Sequence[Path | str], out: Path) -> list[Job]:
    return list(batch.plan(inputs, out).jobs)


def run(jobs: list[Job], strict: bool = False, **settings: object) -> list[batch.Outcome]:
    inputs, chosen = batch.endangered(jobs), engine.Settings(**settings)  # type: ignore[arg-type]
    return [batch.attempt(job, Identity(), chosen, strict=strict, inputs=inputs) for job in jobs]


def names(outcomes: list[batch.Outcome], out: Path) -> list[str | None]:
    return [outcome.output and str(outcome.output.relative_to(out)) for outcome in outcomes]


def reasons(outcomes: list[batch.Outcome]) -> list[str | None]:
    return [getattr(outcome.error, "reason", None) for outcome in outcomes]


def test_a_folder_is_mirrored_and_only_its_sound_is_taken(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert plan([tree], out) == [
        Job(tree / "a.wav", out / "a.wav"),
        Job(tree / "bad.wav", out / "bad.wav"),
        Job(tree / "deep/er/b.flac", out / "deep/er/b.flac"),
    ]


def test_beside_other_inputs_a_folder_keeps_its_own_name(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    jobs = plan([tree / "deep", tree / "a.wav"], out)
    assert [job.target for job in jobs] == [out / "deep/er/b.flac", out / "a.wav"]


def test_a_named_file_is_always_tried(tree: Path, tmp_path: Path) -> None:
    jobs = plan([tree / "notes.txt", tree / "not-there.wav"], tmp_path / "out")
    outcomes = run(jobs)
    assert [outcome.output for outcome in outcomes] == [None, None]
    assert all(outcome.error is not None for outcome in outcomes)


def test_an_address_is_told_from_a_file(tmp_path: Path) -> None:
    (outcome,) = run(plan(["https://example.org/a.wav"], tmp_path))
    assert getattr(outcome.error, "reason", None) == "url"


def test_what_lies_in_the_output_is_passed_over(tree: Path) -> None:
    out = tree / "cleaned"
    first = plan([tree], out)
    run(first)
    assert (out / "a.wav").exists()
    assert plan([tree], out) == first


def test_the_output_may_be_the_folder_above(tree: Path) -> None:
    assert [job.target.name for job in plan([tree / "deep"], tree)] == ["b.flac"]


def test_a_bad_file_does_not_stop_the_others(tree: Path, tmp_path: Path) -> None:
    outcomes = run(plan([tree], tmp_path / "out"))
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    written = sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert written == ["out/a.wav", "out/deep/er/b.flac"]
    for outcome in (outcomes[0], outcomes[2]):
        source, target = soundfile.info(outcome.job.source), soundfile.info(outcome.output)
        facts = ("samplerate", "channels", "frames", "subtype", "format")
        assert [getattr(source, fact) for fact in facts] == [getattr(target, fact) for fact in facts]
        assert outcome.seconds == pytest.approx(0.5)


def test_an_input_is_never_overwritten(tree: Path) -> None:
    before = (tree / "a.wav").read_bytes()
    (outcome,) = run(plan([tree / "a.wav"], tree))
    assert outcome.error is not None and getattr(outcome.error, "reason", None) == "onto-input"
    assert (tree / "a.wav").read_bytes() == before


def test_nor_is_that_of_another_job(tree: Path) -> None:
    shutil.copy(tree / "a.wav", tree / "deep" / "a.wav")
    before = (tree / "deep" / "a.wav").read_bytes()
    outcomes = run(plan([tree / "a.wav", tree / "deep" / "a.wav"], tree / "deep"))
    assert reasons(outcomes) == ["onto-input", None]
    assert names(outcomes, tree / "deep") == [None, "a (2).wav"]
    assert (tree / "deep" / "a.wav").read_bytes() == before


def test_nor_through_a_link(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree, target_is_directory=True)
    (outcome,) = run(plan([tree / "a.wav"], tmp_path / "link"))
    assert getattr(outcome.error, "reason", None) == "onto-input"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sources", "results"),
    [
        (["x/talk.aiff", "x/talk.wav"], ["talk.aiff.wav", "talk.wav"]),
        (["x/talk.au", "x/talk.aiff", "x/talk.flac"], ["talk.au.wav", "talk.aiff.wav", "talk.flac"]),
        (["x/talk.flac", "x/talk.wav"], ["talk.flac", "talk.wav"]),
        (["x/b.flac", "y/b.flac", "z/b.flac"], ["b.flac", "b (2).flac", "b (3).flac"]),
        (["x/b (2).flac", "y/b.flac", "z/b.flac"], ["b (2).flac", "b.flac", "b (3).flac"]),
        (["x/Talk.wav", "x/tALK.WAV"], ["Talk.wav", "tALK (2).WAV"]),
        (["x/Talk.aiff", "x/talk.wav"], ["Talk.aiff.wav", "talk.wav"]),
        (["x/Caf\u00e9.wav", "x/Cafe\u0301.wav"], ["Caf\u00e9.wav", "Cafe\u0301 (2).wav"]),
        (["x/a.aiff", "x/a.aiff.wav", "x/a.wav"], ["a (2).aiff.wav", "a.aiff.wav", "a.wav"]),
        (["x/voice", "x/voice.wav"], ["voice (2).wav", "voice.wav"]),
        (["x/a.wav", "x/a.wav"], ["a.wav"]),
        (["x/talk.aiff", "y/other.wav"], ["talk.wav", "other.wav"]),
        (["x/talk 2024.05"], ["talk 2024.05.wav"]),
    ],
)
def test_no_two_inputs_share_an_output(sources: list[str], results: list[str], tmp_path: Path, speech: Clip) -> None:
    kinds = {".wav": "WAV", ".aiff": "AIFF", ".au": "AU", ".flac": "FLAC"}
    paths = [tmp_path / source for source in sources]
    for length, path in enumerate(dict.fromkeys(paths), 1):
        path.parent.mkdir(exist_ok=True)
        kind = kinds.get(path.suffix.lower(), "WAV")
        soundfile.write(path, speech.samples[0, : 1000 * length], 16_000, format=kind)
    out = tmp_path / "out"
    outcomes = run(plan(paths, out))
    assert names(outcomes, out) == results
    lengths = [soundfile.info(outcome.output).frames for outcome in outcomes]
    assert lengths == [1000 * length for length in range(1, len(results) + 1)]


def test_two_folders_of_one_name_are_kept_apart(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree / "deep", tmp_path / "other" / "deep")
    outcomes = run(plan([tree / "deep", tmp_path / "other" / "deep"], tmp_path / "out"))
    assert names(outcomes, tmp_path / "out") == ["deep/er/b.flac", "deep/er/b (2).flac"]


@pytest.mark.parametrize(
    ("name", "kind", "result"),
    [
        ("really.wav", "MP3", "really.mp3"),
        ("really.mp3", "WAV", "really.wav"),
        ("a.wave", "WAV", "a.wave"),
        ("A.WAV", "WAV", "A.WAV"),
        ("a.oga", "OGG", "a.oga"),
        ("a.opus", "OGG", "a.ogg"),
        ("a.aif", "AIFF", "a.wav"),
    ],
)
def test_a_name_fits_what_the_file_holds(name: str, kind: str, result: str, tmp_path: Path, speech: Clip) -> None:
    soundfile.write(tmp_path / name, speech.samples[0, :8000], 16_000, format=kind)
    (outcome,) = run(plan([tmp_path / name], tmp_path / "out"))
    assert names([outcome], tmp_path / "out") == [result]


def test_what_is_passed_over_is_counted(tree: Path, tmp_path: Path) -> None:
    for name in ("b.txt", "c.TXT", "d.pdf", "README"):
        (tree / "deep" / name).write_text("text")
    (tree / "deep" / "up").symlink_to("..", target_is_directory=True)
    (tree / "deep" / "self").symlink_to("self")
    found = batch.plan([tree], tmp_path / "out")
    assert found.passed_over == {".txt": 3, "hidden": 2, "no suffix": 2, ".pdf": 1, "linked folder": 1}
    assert list(found.passed_over) == [".txt", "hidden", "no suffix", ".pdf", "linked folder"]
    assert batch.plan([tree / "a.wav", tree / "notes.txt"], tmp_path / "out").passed_over == {}


def test_what_is_no_file_is_an_outcome_and_the_others_go_on(tree: Path, tmp_path: Path) -> None:
    (tree / "1-loop.wav").symlink_to("1-loop.wav")
    (tree / "2-dangling.wav").symlink_to("nowhere")
    os.mkfifo(tree / "3-pipe.wav")
    outcomes = run(
        plan([tree, tree / "1-loop.wav", tree / "2-dangling.wav", tree / "gone" / "x.wav"], tmp_path / "out")
    )
    failed = {str(outcome.job.source): outcome.error.reason for outcome in outcomes if outcome.error}  # type: ignore[union-attr]
    assert failed == {
        str(tree / "1-loop.wav"): "unreadable",
        str(tree / "2-dangling.wav"): "missing",
        str(tree / "3-pipe.wav"): "not-a-file",
        str(tree / "bad.wav"): "not-audio",
        str(tree / "gone" / "x.wav"): "missing",
    }
    assert sum(outcome.error is None for outcome in outcomes) == 2


def test_a_folder_that_cannot_be_listed_is_an_outcome(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = os.scandir

    def closed(path: Path) -> object:  # refused here, for whoever runs the tests may be allowed everything
        if Path(path).name == "er":
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", closed)
        jobs = plan([tree], tmp_path / "out")
    outcomes = run(jobs)
    assert reasons(outcomes) == ["unreadable", None, "not-audio"]
    assert str(tree / "deep" / "er") in str(outcomes[0].error)


def test_deep_patterns_enter_no_links_and_no_results(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "deep" / "loop").symlink_to(tree, target_is_directory=True)
    (tree / "deep" / "other").symlink_to(tree / "deep", target_is_directory=True)  # both: 2 to the 40 paths
    monkeypatch.chdir(tree)
    for out in (tree / "out", Path("out")):
        for _ in range(2):
            jobs = plan(["**/*.wav", "**/*.flac"], out)
            assert [str(job.source) for job in jobs] == ["a.wav", "bad.wav", "deep/er/b.flac"]
            run(jobs)
    assert [str(job.source) for job in plan(["out/**/*.wav"], tree / "out")] == ["out/a.wav"]  # named themselves
    assert [str(job.source) for job in plan(["*.wav"], tree)] == ["a.wav", "bad.wav"]


@pytest.mark.parametrize("pattern", ["**", "**/**", "**/*", "**/**/*"])
def test_what_lies_in_a_folder_that_matches_comes_with_it(pattern: str, tree: Path, tmp_path: Path) -> None:
    jobs = plan([str(tree / pattern)], tmp_path / "out")
    targets = sorted(job.target.relative_to(tmp_path / "out").as_posix() for job in jobs)
    sounds = ["a.wav", "bad.wav", "deep/er/b.flac"]
    assert targets == (sounds if pattern.endswith("**") else ["a.wav", "bad.wav", "deep/er/b.flac", "notes.txt"])


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.wav", ["a.wav", "bad.wav"]),
        ("**/*.flac", ["deep/er/b.flac"]),
        ("[ab].wav", ["a.wav"]),
        ("b?d.wav", ["bad.wav"]),
        ("*.nothing", ["*.nothing"]),
        ("x[1].wav", ["x[1].wav"]),
    ],
)
def test_a_pattern_stands_for_what_it_matches(pattern: str, found: list[str], tree: Path, tmp_path: Path) -> None:
    shutil.copy(tree / "a.wav", tree / "deep" / "x[1].wav")
    shutil.copy(tree / "a.wav", tree / "deep" / "x1.wav")
    folder = tree / "deep" if pattern.startswith("x") else tree
    jobs = plan([str(folder / pattern)], tmp_path / "out")
    assert [str(job.source) for job in jobs] == [str(folder / name) for name in found]


def test_a_file_that_vanishes_is_an_outcome(tree: Path, tmp_path: Path) -> None:
    jobs = plan([tree], tmp_path / "out")
    (tree / "a.wav").unlink()
    assert reasons(run(jobs)) == ["missing", "not-audio", None]


def test_a_tree_may_be_deeper_than_python_calls_itself(tmp_path: Path) -> None:
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1100):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    found = batch.plan([tmp_path], tmp_path / "out")
    assert found.jobs == () or all(job.problem for job in found.jobs)
    while (tmp_path / "d").exists():  # from the top, for a path that long has no name
        (tmp_path / "d").rename(tmp_path / "top")
        if (tmp_path / "top" / "d").exists():
            (tmp_path / "top" / "d").rename(tmp_path / "d")
        (tmp_path / "top").rmdir()


@pytest.mark.parametrize(
    "name", [b"interview \xfcber.wav", b"-x.wav", b"\x1b[2J.wav", b"a\nb.wav", b"\xff\xfe.flac", b"\xe8\xaf\xad.mp3"]
)
def test_a_name_is_kept_whatever_its_bytes(name: bytes, tmp_path: Path, speech: Clip) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    soundfile.write(
        os.fsencode(folder) + b"/" + name,
        speech.samples[0, :8000],
        16_000,
        format=Path(os.fsdecode(name)).suffix[1:].upper(),
    )
    for inputs in ([folder], [folder / os.fsdecode(name)]):
        (outcome,) = run(plan(inputs, tmp_path / "out"))
        assert outcome.error is None and os.listdir(os.fsencode(tmp_path / "out")) == [name]
        shutil.rmtree(tmp_path / "out")


def test_notes_come_with_the_outcome(tmp_path: Path, speech: Clip) -> None:
    soundfile.write(tmp_path / "dc.wav", speech.samples[0, :16_000] / 4 + 0.2, 16_000)
    (outcome,) = run(plan([tmp_path / "dc.wav"], tmp_path / "out"))
    assert [note.key for note in outcome.notes] == ["dc-offset"]


def test_strict_makes_notes_a_failure_and_writes_nothing(tmp_path: Path, speech: Clip) -> None:
    soundfile.write(tmp_path / "dc.wav", speech.samples[0, :16_000] / 4 + 0.2, 16_000)
    soundfile.write(tmp_path / "fine.wav", speech.samples[0, :16_000] / 4, 16_000)
    jobs = plan([tmp_path / "dc.wav", tmp_path / "fine.wav"], tmp_path / "out")
    noted, fine = run(jobs, strict=True)
    assert reasons([noted, fine]) == ["strict", None] and [note.key for note in noted.notes] == ["dc-offset"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["fine.wav"]


def test_strict_keeps_an_earlier_result(tmp_path: Path, speech: Clip) -> None:
    soundfile.write(tmp_path / "dc.wav", speech.samples[0, :16_000] / 4 + 0.2, 16_000)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dc.wav").write_text("an earlier one")
    jobs = plan([tmp_path / "dc.wav"], tmp_path / "out")
    assert reasons(run(jobs, strict=True)) == ["strict"]
    assert (tmp_path / "out" / "dc.wav").read_text() == "an earlier one"


def test_another_format_gives_another_suffix(tree: Path, tmp_path: Path) -> None:
    (outcome,) = run(plan([tree / "a.wav"], tmp_path / "out"), container="flac")
    assert outcome.output == tmp_path / "out" / "a.flac"
    assert soundfile.info(outcome.output).format == "FLAC"


def test_a_folder_that_cannot_be_made_is_an_outcome(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file, not a folder")
    (outcome,) = run(plan([tree / "a.wav"], tmp_path / "out"))
    assert getattr(outcome.error, "reason", None) == "cannot-write" and "out cannot be written" in str(outcome.error)
