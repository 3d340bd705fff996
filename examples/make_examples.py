"""Render the recordings that the page offers as examples, and the speech that the tests use.

    python -m examples.make_examples [FOLDER]

Every voice is the synthesiser espeak-ng (1.51 for the committed files), every noise is made by rule with a fixed
seed: nobody's voice is in them, and running this again gives the same files. They go to this folder, to bench in it
and to tests/golden, or all into FOLDER.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from denoise_app.audio.clip import Clip, Samples
from denoise_app.audio.convert import resample
from denoise_app.audio.files import Encoding, read, write
from denoise_app.audio.mix import mix_at_snr, noise

HERE = Path(__file__).resolve().parent
FLAC = Encoding("flac", "PCM_16")
PEAK = 0.9  # of full scale
TEST_PEAK = 0.5  # room for the noise that tests add


@dataclass(frozen=True)
class Voice:
    """How one sentence is spoken: espeak-ng's voice, words per minute, and pitch in 0..99."""

    text: str
    voice: str
    speed: int = 155
    pitch: int = 50


@dataclass(frozen=True)
class Example:
    """One noisy recording: who speaks, in what noise, and what kind of file it becomes."""

    name: str
    voice: Voice
    noise: str  # one of audio.mix.NOISES
    snr_db: float
    sample_rate: int = 16_000
    pan: tuple[float, ...] = (1.0,)  # gain of the voice in each channel


EXAMPLES = (
    Example("english-fan", Voice("Please call me back after lunch, I have good news for you.", "en-us"), "pink", 5),
    Example("mandarin-hum", Voice("请把窗户关上，外面太吵了。", "cmn", 175), "hum", 0),
    Example("english-babble", Voice("The train to the north leaves from platform nine.", "en-gb+f3", 150), "babble", 5),
    Example("mandarin-keyboard", Voice("外面风很大，多穿一件衣服。", "cmn+f2", 180), "keyboard", 0),
    Example(
        "english-telephone",
        Voice("Could you read me the last four digits again?", "en-us+m3", 150),
        "white",
        10,
        sample_rate=8_000,
    ),
    Example(
        "english-rain-stereo",
        Voice("We are standing at the lake, and it will not stop raining.", "en-gb-scotland", 160),
        "rain",
        5,
        sample_rate=48_000,
        pan=(1.0, 0.7),
    ),
)

CROWD = (
    Voice("When did you get here, I have been waiting since a quarter to eight at the other door.", "en-us+f1", 165),
    Voice("They told us that the second course would be served outside, if the weather holds.", "en-gb+m2", 150, 40),
    Voice("So I said to her, why not sell the house and buy a boat, and then she laughed at me.", "en-us+m5", 170, 60),
    Voice("The numbers for this year look fine, it is the next one that keeps me awake at night.", "en-gb+f4", 160),
    Voice("No, put it over there, next to the lamp, where everybody can see it from the street.", "en-us+f5", 155, 65),
)

TEST_SPEECH = (
    Voice("The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background.", "en-us", 150, 45),
    Voice("It is easy to tell the depth of a well.", "en-gb+f3", 150, 55),
)


BENCH_SPEECH = {
    "speech-english": Voice(
        "The north wind and the sun were disputing which was the stronger, when a traveller came along, "
        "wrapped in a warm cloak.",
        "en-us",
        160,
    ),
    "speech-mandarin": Voice("有一回，北风跟太阳正在那儿争论谁的本事大。", "cmn", 180),
}
"""What the Bench mixes with noise: the beginning of Aesop's fable, by which languages are compared."""

BENCH_NOISE_SECONDS = 4  # shorter than the speech: it is repeated


def speak(voice: Voice, sample_rate: int) -> Samples:
    """The sentence, (time,) at a rate in Hz."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        options = ["-v", voice.voice, "-s", str(voice.speed), "-p", str(voice.pitch)]
        subprocess.run(["espeak-ng", *options, "-w", str(path), "--", voice.text], check=True)
        spoken = read(path)
    return resample(spoken.samples, spoken.sample_rate, sample_rate)[0]


def levelled(samples: Samples, peak: float) -> Samples:
    """(channels, time) with its highest sample at `peak`."""
    return (samples * (peak / np.abs(samples).max())).astype(np.float32)


def render(example: Example, seed: int) -> Clip:
    """The noisy recording; each channel has its own noise, as two microphones in the rain have."""
    rng = np.random.default_rng(seed)
    rate = example.sample_rate
    clean = speak(example.voice, rate)
    crowd = np.concatenate([speak(voice, rate) for voice in CROWD]) if example.noise == "babble" else None

    def noisy(channel: Samples) -> Samples:
        drawn = noise(example.noise, channel.size, rate, rng, crowd)
        return mix_at_snr(channel, drawn, example.snr_db, rate)[0]

    return Clip(levelled(np.stack([noisy(gain * clean) for gain in example.pan]), PEAK), rate)


def bench() -> dict[str, Samples]:
    """Clean speech, and other voices as a noise, (time,) at 16 kHz each."""
    crowd = np.concatenate([speak(voice, 16_000) for voice in CROWD])
    voices = noise("babble", BENCH_NOISE_SECONDS * 16_000, 16_000, np.random.default_rng(len(EXAMPLES)), crowd)
    return {name: speak(voice, 16_000) for name, voice in BENCH_SPEECH.items()} | {"noise-voices": voices}


def main(folder: Path | None = None) -> None:
    for seed, example in enumerate(EXAMPLES):
        write((folder or HERE) / f"{example.name}.flac", render(example, seed), FLAC)
    clean = np.concatenate([speak(voice, 16_000) for voice in TEST_SPEECH])
    golden = folder or HERE.parent / "tests" / "golden"
    for name, sound in bench().items():
        write((folder or HERE / "bench") / f"{name}.flac", Clip(levelled(sound[np.newaxis], TEST_PEAK), 16_000), FLAC)
    write(golden / "speech.flac", Clip(levelled(clean[np.newaxis], TEST_PEAK), 16_000), FLAC)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
