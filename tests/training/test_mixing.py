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
from denoise_app.training.config import CHANCES, Recipe
from denoise_app.training.dataset import DataError, load_corpus
from denoise_app.training.mixing import NONE, Mixer, MixPlan, Sampler, Turn, active_rms, rms
from denoise_app.training.rooms import draw_rooms

RATE = 16_000
PLAIN = Recipe(seconds=1.5, batch=4, **dict.fromkeys(CHANCES, 0.0))


def mixer(sounds: Path, cache: Path, recipe: Recipe, rooms: int = 3) -> Mixer:
    speech = Sampler(load_corpus(sounds / "clean", cache))
    noise = Sampler(load_corpus(sounds / "noise", cache))
    bank = draw_rooms(np.random.default_rng(0), rooms, RATE, 0.2) if rooms else np.zeros((0, 1), np.float32)
    return Mixer(recipe, speech, noise, bank, torch.device("cpu"))


@pytest.mark.slow
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
    mix = mixer(sounds, tmp_path, replace(PLAIN, band_limit=1.0, batch=16))
    plans = [MixPlan.draw(np.random.default_rng(k), mix.recipe, mix.speech, mix.noise, 0) for k in range(16)]
    hertz = torch.fft.rfftfreq(mix.length, 1 / RATE)
    for sound in mix.mix(plans):
        powers = torch.fft.rfft(sound * torch.hann_window(mix.length)).abs().square()
        for power, plan in zip(powers, plans, strict=True):
            assert plan.band_hz is not None
            low, high = plan.band_hz
            outside = (hertz > high * 1.05) | (hertz < low * 0.9)
            assert power[outside].sum() / power.sum() < 1e-6
            assert power[(hertz > high * 0.8) & (hertz < high)].sum() / power.sum() > 1e-9, "no lower than drawn"


def test_each_part_of_the_recipe_is_drawn_as_often_as_it_says(sounds: Path, tmp_path: Path) -> None:
    mix = mixer(sounds, tmp_path, Recipe(seconds=2.0))
    recipe, rng, count = mix.recipe, np.random.default_rng(0), 4000
    plans = [MixPlan.draw(rng, recipe, mix.speech, mix.noise, 3) for _ in range(count)]
    noisy = [plan for plan in plans if plan.noises or plan.babble or plan.coloured]
    spoken = [plan.speech for plan in plans if plan.speech]
    voices = list({id(turn.voice): turn.voice for turns in spoken for turn in turns}.values())
    two = [turns for turns in spoken if len(turns) == 2]
    same = [(first, second) for first, second in two if first.voice is second.voice]
    found = {
        "noise_only": sum(not plan.speech for plan in plans) / count,
        "two_talkers": (len(two) - len(same)) / len(spoken),
        "level_change": sum(first.level_db != second.level_db for first, second in same) / len(spoken),
        "long_pause": sum(first.level_db == second.level_db for first, second in same) / len(spoken),
        "hum": sum(plan.hum is not None for plan in noisy) / len(noisy),
        "overdrive": sum(plan.overdrive < 1 for plan in plans) / count,
        "offset": sum(plan.offset != 0 for plan in plans) / count,
        "clean_only": 1 - len(noisy) / count,
        "babble": sum(bool(plan.babble) for plan in noisy) / len(noisy),
        "coloured": sum(plan.coloured is not None for plan in noisy) / len(noisy),
        "two_noises": sum(len(plan.noises) + bool(plan.babble) + bool(plan.coloured) == 2 for plan in noisy)
        / len(noisy),
        "band_limit": sum(plan.band_hz is not None for plan in plans) / count,
        "clip": sum(plan.clip < 1 for plan in plans) / count,
        "equalise": sum(voice.equaliser_db is not None for voice in voices) / len(voices),
        "room": sum(voice.room != NONE for voice in voices) / len(voices),
        "speed": sum(voice.count != mix.length for voice in voices) / len(voices),
    }
    assert found.keys() == set(CHANCES)
    assert found == {name: pytest.approx(getattr(recipe, name), abs=0.02) for name in found}
    assert {len(plan.babble) for plan in plans} == {0, 4, 5, 6, 7, 8}
    assert all(-40 <= plan.level_dbfs <= -8 and abs(plan.offset) <= 0.3 for plan in plans)
    assert all(-5 <= plan.snr_db <= 30 for plan in plans if len(plan.speech) < 2)


def test_an_equaliser_changes_the_spectrum_by_its_gains(sounds: Path, tmp_path: Path) -> None:
    mix = mixer(sounds, tmp_path, replace(PLAIN, clean_only=1.0))
    plan = MixPlan.draw(np.random.default_rng(0), mix.recipe, mix.speech, mix.noise, 0)
    voice = plan.speech[0].voice
    gains = np.array([-9.0, 0.0, 6.0, 0.0, -6.0, 9.0, 3.0])
    dry, wet = (
        torch.fft.rfft(mix._filter(mix._render([one], mix.speech), [one], [None], None)[0], n=mix.padded)
        for one in (voice, replace(voice, equaliser_db=gains))
    )
    for hertz, gain in zip(mixing.EQUALISER_HZ[1:6], gains[1:6], strict=True):
        near = (mix.hertz - hertz).abs() < 20
        ratio = wet[near].abs().square().sum() / dry[near].abs().square().sum()
        assert 10 * float(torch.log10(ratio)) == pytest.approx(gain, abs=1.0)


def test_noise_by_rule_has_the_slope_that_was_drawn(sounds: Path, tmp_path: Path) -> None:
    mix = mixer(sounds, tmp_path, replace(PLAIN, seconds=8.0))
    for exponent in (-0.5, 0.0, 2.0):
        power = torch.fft.rfft(mix._coloured(1, exponent, None)).abs().square()
        hertz = torch.fft.rfftfreq(mix.length, 1 / RATE)
        low, high = (power[(hertz > f / 1.2) & (hertz < f * 1.2)].mean() for f in (250, 4000))
        assert float(torch.log10(low / high) / np.log10(4000 / 250)) == pytest.approx(exponent, abs=0.1)


def test_noises_are_as_loud_to_each_other_as_drawn(sounds: Path, tmp_path: Path) -> None:
    """A second noise adds its power, 6 dB below the first."""
    mix = mixer(sounds, tmp_path, replace(PLAIN, two_noises=1.0))
    plan = MixPlan.draw(np.random.default_rng(2), mix.recipe, mix.speech, mix.noise, 0)
    (first, _), (second, _) = plan.noises
    apart = [mix._noises([replace(plan, noises=(one,))])[0] for one in ((first, 0.0), (second, -6.0))]
    assert float(rms(apart[1][None]) / rms(apart[0][None])) == pytest.approx(10 ** (-6 / 20), rel=1e-3)
    both = mix._noises([replace(plan, noises=((first, 0.0), (second, -6.0)))])[0]
    assert torch.allclose(both, apart[0] + apart[1], atol=1e-5)


def test_weights_that_leave_nothing_are_refused(sounds: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file to draw"):
        Sampler(load_corpus(sounds / "clean", tmp_path), (("", 0.0),))


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
        voices = {"speech": plan.speech[0].voice, "noise": plan.noises[0][0]}
        noisy, clean = mix.mix([plan])
        for name, sound in (("speech", clean[0]), ("noise", (noisy - clean)[0])):
            voice = voices[name]
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
    (turn,) = plan.speech
    assert turn.voice.room != NONE
    noisy, clean = mix.mix([plan])
    _, dry = mix.mix([replace(plan, speech=(replace(turn, voice=replace(turn.voice, room=NONE)),))])
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


@pytest.mark.parametrize("second_db", [-30.0, 0.0])
def test_two_talkers_are_as_far_apart_as_drawn_and_both_are_kept(
    second_db: float, sounds: Path, tmp_path: Path
) -> None:
    """The pause between them is silence; at 30 dB below the near voice the far one stands in the target yet."""
    mix = mixer(sounds, tmp_path, replace(PLAIN, clean_only=1.0))
    rng = np.random.default_rng(3)
    near, far = (MixPlan.draw(rng, mix.recipe, mix.speech, mix.noise, 0).speech[0].voice for _ in range(2))
    plan = MixPlan.draw(rng, mix.recipe, mix.speech, mix.noise, 0)
    turns = Turn(near, 0, 9_600), Turn(far, 14_400, 24_000, second_db)
    noisy, clean = mix.mix([replace(plan, speech=turns)])
    assert torch.equal(noisy, clean)
    assert clean[0, 9_600:14_400].abs().max() == 0 and clean[0, :9_000].abs().max() > 0
    whole = active_rms(mix._render([near, far], mix.speech))
    heard = [clean[:, place] for place in (slice(1_000, 9_000), slice(15_000, 24_000))]
    alone = [mix._render([voice], mix.speech)[:, place] / level for voice, level, place in
             zip((near, far), whole, (slice(1_000, 9_000), slice(15_000, 24_000)), strict=True)]  # fmt: skip
    gains = [float(rms(sound) / rms(raw)) for sound, raw in zip(heard, alone, strict=True)]
    assert 20 * np.log10(gains[1] / gains[0]) == pytest.approx(second_db, abs=0.01)


def test_turns_lie_apart_by_a_long_pause_or_meet_and_the_loudest_is_the_reference(sounds: Path, tmp_path: Path) -> None:
    mix = mixer(sounds, tmp_path, PLAIN)
    for part in ("two_talkers", "long_pause", "level_change"):
        recipe, rng = replace(PLAIN, **{part: 1.0}), np.random.default_rng(0)
        drawn = [MixPlan.draw(rng, recipe, mix.speech, mix.noise, 0).speech for _ in range(300)]
        gaps = np.array([second.start - first.stop for first, second in drawn]) / mix.length
        levels = np.array([[turn.level_db for turn in turns] for turns in drawn])
        assert (levels.max(axis=1) == 0).all()
        if part == "level_change":  # of one voice, with a pause or without
            assert 0.4 < np.mean(gaps == 0) < 0.6 and -20 <= levels.min() < -15
        else:
            assert 0.14 < gaps.min() < 0.2 and 0.45 < gaps.max() < 0.51
        if part == "two_talkers":
            assert -30 <= levels.min() < -28 and levels.min(axis=1).max() <= -5
            assert 0.4 < np.mean(levels[:, 0] == 0) < 0.6, "the far one goes before as often as it follows"


def test_noise_stands_against_the_far_voice_in_half_of_the_examples(sounds: Path, tmp_path: Path) -> None:
    recipe = replace(PLAIN, two_talkers=1.0, snr_db=(5.0, 5.0))
    mix, rng = mixer(sounds, tmp_path, recipe), np.random.default_rng(0)
    plans = [MixPlan.draw(rng, recipe, mix.speech, mix.noise, 0) for _ in range(300)]
    softest = np.array([min(turn.level_db for turn in plan.speech) for plan in plans])
    over = np.array([plan.snr_db for plan in plans]) - 5
    against_far = over != 0
    assert 0.4 < against_far.mean() < 0.6
    assert over[against_far] == pytest.approx(-softest[against_far])


def test_overdrive_clips_the_speech_before_the_noise_and_spares_the_target(sounds: Path, tmp_path: Path) -> None:
    mix = mixer(sounds, tmp_path, replace(PLAIN, snr_db=(10.0, 10.0)))
    noisy_plan = replace(MixPlan.draw(np.random.default_rng(1), mix.recipe, mix.speech, mix.noise, 0), overdrive=0.2)
    driven, clean = mix.mix([replace(noisy_plan, noises=())])

    def at_limit(sound: torch.Tensor) -> int:
        return int((sound.abs() > 0.9999 * sound.abs().max()).sum())

    assert at_limit(driven) > 20 and at_limit(clean) == 1
    assert at_limit(mix.mix([noisy_plan])[0]) < 10, "the noise that lies over it is whole"


def test_an_offset_is_heard_and_not_in_the_target(sounds: Path, tmp_path: Path) -> None:
    mix = mixer(sounds, tmp_path, replace(PLAIN, clean_only=1.0))
    plan = MixPlan.draw(np.random.default_rng(1), mix.recipe, mix.speech, mix.noise, 0)
    noisy, clean = mix.mix([replace(plan, offset=0.3, level_dbfs=-40.0)])
    assert torch.allclose(noisy - clean, torch.full_like(noisy, 0.3), atol=1e-6)
    loud, _ = mix.mix([replace(plan, offset=0.3, level_dbfs=-1.0)])
    assert loud.max() == 1.0, "beyond full scale nothing is recorded"


@pytest.mark.parametrize("hertz", [50.0, 60.0])
def test_hum_lies_on_harmonics_of_the_mains_at_its_level(hertz: float, sounds: Path, tmp_path: Path) -> None:
    mix = mixer(sounds, tmp_path, replace(PLAIN, seconds=4.0))
    plan = MixPlan.draw(np.random.default_rng(1), mix.recipe, mix.speech, mix.noise, 0)
    without = mix._noises([plan])
    hum = mix._noises([replace(plan, hum=(5, hertz, -6.0))]) - without
    assert float(rms(hum) / rms(without)) == pytest.approx(10 ** (-6 / 20), rel=1e-3)
    power = torch.fft.rfft(hum[0] * torch.hann_window(mix.length)).abs().square()
    order = torch.fft.rfftfreq(mix.length, 1 / RATE) / hertz
    near = (order - order.round()).abs() * hertz < 0.002 * hertz * order.round() + 1.0
    assert power[near & (order > 0.5)].sum() / power.sum() > 0.999


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
