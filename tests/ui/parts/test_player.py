"""What the player's server side hands out, and to whom; what it plays is tested in tests/browser."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
import soundfile

from denoise_app.audio.errors import AudioError
from denoise_app.ui.parts.player import TEXTS, Version, build_player, player_overview, player_samples, player_value

RATE = 16_000


def write(folder: Path, name: str, samples: np.ndarray, rate: int = RATE) -> Version:
    path = folder / f"{name}.wav"
    soundfile.write(path, samples, rate, "PCM_16")
    return Version(name, name.capitalize(), path)


@pytest.fixture
def noise(tmp_path: Path) -> Version:
    return write(tmp_path, "noise", np.random.default_rng(3).uniform(-0.5, 0.5, 3 * RATE))


def test_a_browser_can_ask_only_for_what_it_was_given(noise: Version) -> None:
    value = player_value([noise])
    block = {"token": value["token"], "version": 0, "start": 0, "frames": 100}
    assert np.frombuffer(base64.b64decode(player_samples(block)["data"]), "<i2").size == 100
    payload, signature = value["token"].split(".")
    other = base64.urlsafe_b64encode(base64.urlsafe_b64decode(payload).replace(b"noise", b"other")).decode()
    for token in (f"{other}.{signature}", payload, "", "a.b", "中.文", None, 5, [], {}):
        assert player_samples(block | {"token": token}) == {"error": "gone"}
        assert player_overview({"token": token, "version": 0}) == {"error": "gone"}
    for wrong in ({"version": 1}, {"version": -1}, {"start": -1}, {"start": 0.5}, {"frames": 1 << 40}, {"frames": "1"}):
        assert player_samples(block | wrong) == {"error": "unreadable"}
    for nonsense in ({}, [], None, "x"):
        assert player_samples(nonsense) == {"error": "unreadable"}  # type: ignore[arg-type]


def test_a_file_that_is_gone_or_no_sound_any_more_is_told_apart(noise: Version) -> None:
    value = player_value([noise])
    noise.sound.write_text("not sound")
    assert player_samples({"token": value["token"], "version": 0, "start": 0, "frames": 1}) == {"error": "unreadable"}
    noise.sound.unlink()
    assert player_samples({"token": value["token"], "version": 0, "start": 0, "frames": 1}) == {"error": "gone"}
    assert player_overview({"token": value["token"], "version": 0}) == {"error": "gone"}
    with pytest.raises(AudioError):
        player_value([noise])


def test_a_file_written_anew_makes_another_value(noise: Version) -> None:
    first = player_value([noise])
    assert player_value([noise]) == first
    write(noise.sound.parent, noise.key, np.zeros(3 * RATE))
    second = player_value([noise])
    assert second["token"] != first["token"] and second["recording"] != first["recording"]


def test_past_the_end_is_silence(noise: Version) -> None:
    request = {"token": player_value([noise])["token"], "version": 0, "start": 3 * RATE - 10, "frames": 30}
    samples = np.frombuffer(base64.b64decode(player_samples(request)["data"]), "<i2") / 32768
    assert np.array_equal(samples[:10], soundfile.read(noise.sound)[0][-10:])
    assert not samples[10:].any()


@pytest.mark.parametrize("rate", [192_000, 176_400, 100_003, 4_000])
def test_blocks_of_a_resampled_file_join(tmp_path: Path, rate: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 300 * np.arange(rate) / rate)
    value = player_value([write(tmp_path, "tone", tone, rate)])
    third = value["sample_rate"] // 3

    def block(start: int, frames: int) -> np.ndarray:
        answer = player_samples({"token": value["token"], "version": 0, "start": start, "frames": frames})
        return np.frombuffer(base64.b64decode(answer["data"]), "<f4")

    expected = 0.5 * np.sin(2 * np.pi * 300 * np.arange(3 * third) / value["sample_rate"])
    joined = np.concatenate([block(start, third) for start in (0, third, 2 * third)])
    inner = slice(third // 10, -third // 10)  # the filter rings at the ends of the file
    assert joined[inner] == pytest.approx(expected[inner], abs=1e-3)


def test_long_and_wide_values_have_shorter_windows(tmp_path: Path) -> None:
    wide = write(tmp_path, "wide", np.zeros((96_000 * 130, 2), np.int16), 96_000)
    versions = [Version(f"{n}", f"{n}", wide.sound) for n in range(3)]
    one, three = player_value(versions[:1]), player_value(versions)
    assert one["window_frames"] == 120 * 96_000
    assert 60 * 96_000 < three["window_frames"] < 120 * 96_000
    assert three["window_frames"] * 2 * 3 <= 40_000_000


def test_the_overview_holds_every_extreme(tmp_path: Path) -> None:
    samples = np.zeros(100_003)  # a prime number of samples
    samples[[0, 50_000, 100_002]] = [0.5, -0.25, 0.125]
    value = player_value([write(tmp_path, "spikes", samples)])
    outline = player_overview({"token": value["token"], "version": 0})
    assert outline["peak"] == 0.5 and len(outline["low"]) == len(outline["high"]) <= 1000
    assert (outline["high"][0], outline["high"][-1], min(outline["low"])) == (127, 32, -64)
    assert sum(number != 0 for number in outline["high"] + outline["low"]) == 3


def test_what_cannot_be_a_player_is_refused(noise: Version) -> None:
    for versions in ([], [noise, noise]):
        with pytest.raises(ValueError, match="different keys"):
            player_value(versions)
    english = dict.fromkeys(TEXTS, "text")
    chinese = {key: text for key, text in english.items() if key != "player.loop"}
    with pytest.raises(ValueError, match=r"'zh' lack player\.loop$"):
        build_player({"en": english, "zh": chinese})
