"""Examples are what the recipe says, and the same for the same seed and step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from denoise_app.audio.clip import Clip
from denoise_app.audio.files import write
from denoise_app.training import mixing
from denoise_app.training.config import Recipe
from denoise_app.training.dataset import load_corpus
from denoise_app.training.mixing import NONE, Mixer, MixPlan, Sampler, active_rms, rms
from denoise_app.training.rooms import draw_rooms

RATE = 16_000
PLAIN = Recipe(
    seconds=1.5, batch=4, two_noises=0, babble=0, coloured=0, speed=0, band_limit=0, equalise=0, room=0, clip=0,
    clean_only=0, noise_only=0,
)  # fmt: skip


def mixer(sounds: Path, cache: Path, recipe: Recipe, rooms: int = 3) -> Mixer:
    speech = Sampler(load_corpus(sounds / "clean", cache))
    noise = Sampler(load_corpus(sounds / "noise", cache))
    bank = draw_rooms(np.random.default_rng(0), rooms, RATE, 0.2) if rooms else np.zeros((0, 1), np.float32)
    return Mixer(recipe, speech, noise, bank, torch.device("cpu"))


def test_same_seed_and_step_give_the_same_batch(sounds: Path, tmp_path: Path) -> None:
    first, second = mixer(sounds, tmp_path, Recipe()), mixer(sounds, tmp_path, Recipe())
    for ours, theirs in zip(first.batch(3, 5), second.batch(3, 5), strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(first.batch(3, 5)[0], first.batch(3, 6)[0])
    assert not torch.equal(first.batch(3, 5)[0], first.batch(4, 5)[0])


def test_snr_and_level_are_as_drawn(sounds: Path, tmp_path: Path) -> None:
    mix = mixer(sounds, tmp_path, PLAIN)
    rng = np.random.default_rng(1)
    plans = [MixPlan.draw(rng, PLAIN, mix.speech, mix.noise, 0) for _ in range(16)]
    plans = [replace(plan, level_dbfs=-30.0) for plan in plans]  # far from full scale, where the level yields
    noisy, clean = mix.mix(plans)
    snr = 20 * torch.log10(active_rms(clean) / rms(noisy - clean))
    assert snr.tolist() == pytest.approx([plan.snr_db for plan in plans], abs=0.01)
    assert (20 * torch.log10(rms(noisy))).tolist() == pytest.approx([-30.0] * 16, abs=0.01)


def test_whole_recipe_is_finite_and_in_range(sounds: Path, tmp_path: Path) -> None:
    noisy, clean = mixer(sounds, tmp_path, Recipe(seconds=1.0, batch=64)).batch(0, 0)
    assert noisy.shape == clean.shape == (64, RATE)
    assert torch.isfinite(noisy).all() and torch.isfinite(clean).all()
    assert noisy.abs().max() <= 0.991


def test_clean_alone_is_its_own_target_and_noise_alone_has_none(sounds: Path, tmp_path: Path) -> None:
    noisy, clean = mixer(sounds, tmp_path, replace(PLAIN, clean_only=1.0)).batch(0, 0)
    assert torch.equal(noisy, clean) and rms(noisy).min() > 0
    noisy, clean = mixer(sounds, tmp_path, replace(PLAIN, noise_only=1.0)).batch(0, 0)
    assert clean.abs().max() == 0 and rms(noisy).min() > 0


def test_band_limit_empties_the_top_of_speech_and_noise(sounds: Path, tmp_path: Path) -> None:
    noisy, clean = mixer(sounds, tmp_path, replace(PLAIN, band_limit=1.0)).batch(0, 0)
    top = torch.fft.rfftfreq(noisy.shape[1], 1 / RATE) > 7800
    for sound in (noisy, clean):
        power = torch.fft.rfft(sound * torch.hann_window(sound.shape[1])).abs().square()
        assert (power[:, top].sum(1) / power.sum(1)).max() < 1e-8


def test_speed_moves_the_pitch_of_speech_and_of_noise_apart(tmp_path: Path) -> None:
    """A tone of 1 kHz comes out higher where it plays faster, at its own level; noise goes farther than speech."""
    for part in ("clean", "noise"):
        (tmp_path / part).mkdir()
        tone = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(4 * RATE) / RATE)
        write(tmp_path / part / "tone.wav", Clip(tone[None].astype(np.float32), RATE))
    mix = mixer(tmp_path, tmp_path / "cache", replace(PLAIN, speed=1.0, batch=16))
    rng = np.random.default_rng(0)
    plans = [MixPlan.draw(rng, mix.recipe, mix.speech, mix.noise, 0) for _ in range(16)]
    found: dict[str, list[float]] = {"speech": [], "noise": []}
    for plan in plans:
        voices = {"speech": plan.speech, "noise": plan.noises[0][0]}
        noisy, clean = mix.mix([plan])
        for name, sound in (("speech", clean[0]), ("noise", (noisy - clean)[0])):
            voice = voices[name]
            assert voice is not None
            spectrum = torch.fft.rfft(sound * torch.hann_window(mix.length)).abs()
            hertz = int(spectrum.argmax()) * RATE / mix.length
            assert hertz == pytest.approx(1000 * voice.count / mix.length, abs=1.5 * RATE / mix.length)
            found[name].append(hertz)
    assert 845 < min(found["speech"]) < 950 and 1050 < max(found["speech"]) < 1185
    assert 595 < min(found["noise"]) < 800 and 1250 < max(found["noise"]) < 1605


def test_speed_keeps_the_level() -> None:
    sound = torch.sin(2 * torch.pi * 440 * torch.arange(RATE) / RATE)
    for length in (12_000, 20_000):
        assert mixing._at_speed(sound, length).square().mean() == pytest.approx(0.5, rel=0.01)


def test_room_is_heard_and_the_target_keeps_its_start(sounds: Path, tmp_path: Path) -> None:
    mix = mixer(sounds, tmp_path, replace(PLAIN, room=1.0, clean_only=1.0))
    plan = MixPlan.draw(np.random.default_rng(0), mix.recipe, mix.speech, mix.noise, 3)
    assert plan.speech is not None and plan.speech.room != NONE
    noisy, clean = mix.mix([plan])
    _, dry = mix.mix([replace(plan, speech=replace(plan.speech, room=NONE))])
    assert not torch.allclose(noisy, clean, atol=1e-4)
    shared = torch.corrcoef(torch.cat([clean, dry]))[0, 1]
    assert shared > torch.corrcoef(torch.cat([noisy, dry]))[0, 1], "the target is nearer to the dry speech"


def test_clipping_spares_the_target(sounds: Path, tmp_path: Path) -> None:
    mix = mixer(sounds, tmp_path, replace(PLAIN, clip=1.0, clean_only=1.0))
    noisy, clean = mix.batch(0, 0)
    for row in range(len(noisy)):
        at_limit = noisy[row].abs() >= noisy[row].abs().max() * 0.9999
        assert at_limit.sum() > 5
    assert clean.abs().max() > noisy.abs().max()


def test_weights_decide_how_often_a_folder_is_drawn(sounds: Path, tmp_path: Path) -> None:
    corpus = load_corpus(sounds / "clean", tmp_path)
    never = Sampler(corpus, (("a/0", 0.0), ("a/1", 0.0)))
    rng = np.random.default_rng(0)
    drawn = {corpus.names[piece[0]] for _ in range(50) for piece in never.draw(rng, RATE)}
    assert drawn == {"a/2.wav", "a/3.wav", "a/4.wav"}


def test_two_processes_hear_together_what_one_hears(sounds: Path, tmp_path: Path) -> None:
    alone = mixer(sounds, tmp_path, Recipe(seconds=0.5, batch=8)).batch(3, 5)
    halves = mixer(sounds, tmp_path, Recipe(seconds=0.5, batch=4))
    parts = [halves.batch(3, 5, rank, 2) for rank in range(2)]
    for whole, first, second in zip(alone, *parts, strict=True):
        assert torch.allclose(whole, torch.cat([first, second]), atol=1e-6)


def test_files_shorter_than_an_example_and_silent_ones_are_borne(tmp_path: Path, speech: Clip) -> None:
    for part, samples in (("clean", speech.samples[:, :3000]), ("noise", speech.samples[:, 3000:3001])):
        (tmp_path / part).mkdir()
        write(tmp_path / part / "short.wav", Clip(samples, RATE))
        write(tmp_path / part / "silent.wav", Clip(np.zeros((1, 500), np.float32), RATE))
    noisy, clean = mixer(tmp_path, tmp_path / "cache", replace(Recipe(), seconds=1.0, batch=32)).batch(0, 0)
    assert torch.isfinite(noisy).all() and torch.isfinite(clean).all()
    assert noisy.abs().max() <= 0.991 and rms(clean).max() > 0.001
