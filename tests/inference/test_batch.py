"""Which files are denoised, where they go, and what a bad one does to the others."""

from __future__ import annotations

import shutil
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


def run(jobs: list[Job], **settings: object) -> list[batch.Outcome]:
    return list(batch.run(jobs, Identity(), engine.Settings(**settings)))  # type: ignore[arg-type]


def test_a_folder_is_mirrored_and_only_its_sound_is_taken(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert batch.plan([tree], out) == [
        Job(tree / "a.wav", out / "a.wav"),
        Job(tree / "bad.wav", out / "bad.wav"),
        Job(tree / "deep/er/b.flac", out / "deep/er/b.flac"),
    ]


def test_beside_other_inputs_a_folder_keeps_its_own_name(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    jobs = batch.plan([tree / "deep", tree / "a.wav"], out)
    assert [job.target for job in jobs] == [out / "deep/er/b.flac", out / "a.wav"]


def test_a_named_file_is_always_tried(tree: Path, tmp_path: Path) -> None:
    jobs = batch.plan([tree / "notes.txt", tree / "not-there.wav"], tmp_path / "out")
    outcomes = run(jobs)
    assert [outcome.output for outcome in outcomes] == [None, None]
    assert all(outcome.error is not None for outcome in outcomes)


def test_an_address_is_told_from_a_file(tmp_path: Path) -> None:
    (outcome,) = run(batch.plan(["https://example.org/a.wav"], tmp_path))
    assert getattr(outcome.error, "reason", None) == "url"


def test_what_lies_in_the_output_is_passed_over(tree: Path) -> None:
    out = tree / "cleaned"
    first = batch.plan([tree], out)
    run(first)
    assert (out / "a.wav").exists()
    assert batch.plan([tree], out) == first


def test_the_output_may_be_the_folder_above(tree: Path) -> None:
    assert [job.target.name for job in batch.plan([tree / "deep"], tree)] == ["b.flac"]


def test_a_bad_file_does_not_stop_the_others(tree: Path, tmp_path: Path) -> None:
    outcomes = run(batch.plan([tree], tmp_path / "out"))
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
    (outcome,) = run(batch.plan([tree / "a.wav"], tree))
    assert outcome.error is not None and getattr(outcome.error, "reason", None) == "onto-input"
    assert (tree / "a.wav").read_bytes() == before


def test_nor_is_that_of_another_job(tree: Path) -> None:
    shutil.copy(tree / "a.wav", tree / "deep" / "a.wav")
    before = (tree / "deep" / "a.wav").read_bytes()
    outcomes = run(batch.plan([tree / "a.wav", tree / "deep" / "a.wav"], tree / "deep"))
    assert [getattr(outcome.error, "reason", None) for outcome in outcomes] == ["onto-input", "onto-input"]
    assert (tree / "deep" / "a.wav").read_bytes() == before


def test_nor_through_a_link(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree, target_is_directory=True)
    (outcome,) = run(batch.plan([tree / "a.wav"], tmp_path / "link"))
    assert getattr(outcome.error, "reason", None) == "onto-input"


def test_two_inputs_never_share_an_output(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree / "deep", tree / "other")
    inputs = [tree / "deep/er/b.flac", tree / "other/er/b.flac"]
    first, second = run(batch.plan(inputs, tmp_path / "out"))
    assert first.error is None
    assert getattr(second.error, "reason", None) == "same-target"


def test_another_format_gives_another_suffix(tree: Path, tmp_path: Path) -> None:
    (outcome,) = run(batch.plan([tree / "a.wav"], tmp_path / "out"), container="flac")
    assert outcome.output == tmp_path / "out" / "a.flac"
    assert soundfile.info(outcome.output).format == "FLAC"


def test_a_folder_that_cannot_be_made_is_an_outcome(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file, not a folder")
    (outcome,) = run(batch.plan([tree / "a.wav"], tmp_path / "out"))
    assert isinstance(outcome.error, OSError)
