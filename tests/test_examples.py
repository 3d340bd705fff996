"""The recordings on the page: small, of many kinds, and what the script beside them makes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from denoise_app.audio.clip import Clip
from examples import make_examples
from examples.make_examples import EXAMPLES, Example

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "examples"
BENCH = FOLDER / "bench"
SYNTHESISER = "1.51"  # of the committed files; another version speaks otherwise


def synthesiser() -> str:
    if shutil.which("espeak-ng") is None:
        return "none"
    return subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True).stdout


same_synthesiser = pytest.mark.skipif(SYNTHESISER not in synthesiser(), reason=f"needs espeak-ng {SYNTHESISER}")


def test_the_files_are_those_of_the_script_and_of_the_list() -> None:
    files = {path.name for path in FOLDER.glob("*.flac")}
    assert files == {f"{example.name}.flac" for example in EXAMPLES}
    listed = {line.split("|")[1].strip() for line in (FOLDER / "README.md").read_text().splitlines() if ".flac" in line}
    assert files == listed


def test_they_are_small_together() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.flac")) < 2_000_000


def test_they_are_of_many_kinds() -> None:
    assert {example.voice.voice[:2] for example in EXAMPLES} == {"en", "cm"}
    assert len({example.noise for example in EXAMPLES}) == len(EXAMPLES)
    formats = {(example.sample_rate, len(example.pan)) for example in EXAMPLES}
    assert formats == {(16_000, 1), (8_000, 1), (48_000, 2)}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_each_is_a_few_seconds_of_healthy_sound(example: Example) -> None:
    samples, rate = soundfile.read(FOLDER / f"{example.name}.flac", always_2d=True)
    assert (rate, samples.shape[1]) == (example.sample_rate, len(example.pan))
    assert 2 < len(samples) / rate < 8
    assert 0.3 < np.abs(samples).max() < 0.99
    assert np.abs(samples.mean(axis=0)).max() < 0.01


@same_synthesiser
@pytest.mark.parametrize("seed", range(len(EXAMPLES)), ids=[example.name for example in EXAMPLES])
def test_the_script_makes_them_again(seed: int) -> None:
    committed, _ = soundfile.read(FOLDER / f"{EXAMPLES[seed].name}.flac", dtype="float32", always_2d=True)
    again = make_examples.render(EXAMPLES[seed], seed)
    np.testing.assert_allclose(again.samples, committed.T, atol=2 / 32768)  # one step of 16 bits, and some rounding


@pytest.mark.slow
@same_synthesiser
def test_the_script_makes_everything_in_one_folder(tmp_path: Path, speech: Clip) -> None:
    make_examples.main(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{e.name}.flac" for e in EXAMPLES} | {"speech.flac"} | {
        path.name for path in BENCH.glob("*.flac")
    }
    for path in BENCH.glob("*.flac"):
        committed, again = (soundfile.read(place / path.name, dtype="float32")[0] for place in (BENCH, tmp_path))
        np.testing.assert_allclose(again, committed, atol=2 / 32768)
    again, _ = soundfile.read(tmp_path / "speech.flac", dtype="float32")
    np.testing.assert_allclose(again, speech.samples[0], atol=2 / 32768)


def test_what_the_bench_mixes_is_small_and_healthy() -> None:
    assert {path.stem for path in BENCH.glob("*.flac")} == {"speech-english", "speech-mandarin", "noise-voices"}
    for path in BENCH.glob("*.flac"):
        samples, rate = soundfile.read(path, always_2d=True)
        assert (rate, samples.shape[1]) == (16_000, 1) and 3 < len(samples) / rate < 10
        assert 0.4 < np.abs(samples).max() < 0.6 and path.stat().st_size < 250_000


def test_the_speech_of_the_tests(speech: Clip) -> None:
    assert (speech.channels, speech.sample_rate) == (1, 16_000)
    assert 7 < speech.seconds < 9
