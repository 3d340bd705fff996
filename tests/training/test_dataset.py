"""Trees of sound are decoded once, and bad files are named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from denoise_app.audio.clip import Clip
from denoise_app.audio.files import read, write
from denoise_app.training import dataset
from denoise_app.training.dataset import DataError, load_corpus


def test_samples_are_those_of_the_files(sounds: Path, tmp_path: Path) -> None:
    corpus = load_corpus(sounds / "clean", tmp_path)
    assert corpus.names == tuple(f"a/{k}.wav" for k in range(5))
    for k, name in enumerate(corpus.names):
        wanted = read(sounds / "clean" / name).samples[0]
        assert np.abs(corpus.cut(k, 0, 10**9) - wanted).max() < 2 / 32768


def test_second_load_decodes_nothing(sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_corpus(sounds / "noise", tmp_path)
    monkeypatch.setattr(dataset, "read", lambda path: pytest.fail("decoded again"))
    assert np.array_equal(load_corpus(sounds / "noise", tmp_path).samples, first.samples)


def test_rates_and_channels_are_brought_together(tmp_path: Path) -> None:
    time = np.arange(44_100) / 44_100
    tone = 0.5 * np.sin(2 * np.pi * 440 * time).astype(np.float32)
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "stereo.wav", Clip(np.stack([tone, tone]), 44_100))
    corpus = load_corpus(tmp_path / "in", tmp_path / "cache")
    assert corpus.lengths.tolist() == [16_000]
    assert np.sqrt(np.mean(corpus.cut(0, 1000, 14_000) ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=1e-3)


def test_unreadable_files_are_skipped_and_named(sounds: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(sounds / "clean", tree)
    shutil.copytree(sounds / "noise", tree / "more")
    (tree / "broken.wav").write_text("no sound")
    corpus = load_corpus(tree, tmp_path / "cache")
    assert len(corpus.names) == 10 and len(corpus.skipped) == 1 and "broken.wav" in corpus.skipped[0]


def test_too_many_unreadable_files_are_an_error(sounds: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(sounds / "clean", tree)
    for k in range(3):
        (tree / f"broken{k}.wav").write_text("no sound")
    with pytest.raises(DataError, match="3 of 8 files"):
        load_corpus(tree, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*")), "nothing half-made is left"


def test_missing_and_empty_folders_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        load_corpus(tmp_path / "nowhere", tmp_path)
    with pytest.raises(DataError, match="holds no audio file"):
        load_corpus(tmp_path, tmp_path)


def test_a_cache_of_another_version_is_made_anew(sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "CACHE_VERSION", dataset.CACHE_VERSION - 1)
    load_corpus(sounds / "noise", tmp_path)
    for path in tmp_path.glob("*.json"):
        path.write_text("in a form that nobody knows")
    monkeypatch.undo()
    assert len(load_corpus(sounds / "noise", tmp_path).names) == 5
    assert len(list(tmp_path.glob("*.i16"))) == 2


@pytest.mark.parametrize("damage", ["samples cut", "samples gone", "index cut", "index of something else"])
def test_a_damaged_cache_is_made_anew(damage: str, sounds: Path, tmp_path: Path) -> None:
    whole = np.array(load_corpus(sounds / "noise", tmp_path).samples)
    (samples,), (index,) = tmp_path.glob("*.i16"), tmp_path.glob("*.json")
    if damage == "samples cut":
        samples.write_bytes(samples.read_bytes()[:-2])
    elif damage == "samples gone":
        samples.unlink()
    else:
        index.write_text(index.read_text()[:20] if damage == "index cut" else "[]")
    assert np.array_equal(load_corpus(sounds / "noise", tmp_path).samples, whole)


def test_a_full_disk_leaves_nothing_half_made(sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DataError, match=r"cannot be decoded into .*cache: No space left on device"):
        load_corpus(sounds / "noise", tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be decoded into"):
        load_corpus(sounds / "noise", tmp_path / "file")


def test_an_empty_file_among_good_ones_is_named(sounds: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(sounds / "clean", tree)
    shutil.copytree(sounds / "noise", tree / "more")
    soundfile.write(tree / "nothing.wav", np.zeros(0), 16_000)
    corpus = load_corpus(tree, tmp_path / "cache")
    assert len(corpus.names) == 10 and len(corpus.skipped) == 1 and "nothing.wav" in corpus.skipped[0]


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (11_025, 2), (22_050, 6), (48_000, 1), (96_000, 2)])
def test_all_rates_and_channels_are_taken(rate: int, channels: int, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "x.flac", np.full((rate // 2, channels), 0.25), rate)
    corpus = load_corpus(tmp_path / "in", tmp_path / "cache")
    assert corpus.lengths.tolist() == [8_000]
    assert np.abs(corpus.cut(0, 2000, 4000) - 0.25).max() < 1e-3
