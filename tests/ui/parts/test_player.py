"""What the player's server side hands out, and to whom; what it plays is tested in tests/browser."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from starlette.applications import Starlette
from starlette.testclient import TestClient

from denoise_app.audio.errors import AudioError
from denoise_app.ui.parts.player import (
    ROUTES,
    TEXTS,
    WINDOW_BYTES,
    Version,
    build_player,
    player_overview,
    player_samples,
    player_value,
)

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
    assert np.frombuffer(player_samples(block)["data"], "<i2").size == 100
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
    samples = np.frombuffer(player_samples(request)["data"], "<i2") / 32768
    assert np.array_equal(samples[:10], soundfile.read(noise.sound)[0][-10:])
    assert not samples[10:].any()


@pytest.mark.slow
@pytest.mark.parametrize("rate", [192_000, 176_400, 100_003, 4_000])
def test_blocks_of_a_resampled_file_join(tmp_path: Path, rate: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 300 * np.arange(rate) / rate)
    value = player_value([write(tmp_path, "tone", tone, rate)])
    third = value["sample_rate"] // 3

    def block(start: int, frames: int) -> np.ndarray:
        answer = player_samples({"token": value["token"], "version": 0, "start": start, "frames": frames})
        return np.frombuffer(answer["data"], "<f4")

    expected = 0.5 * np.sin(2 * np.pi * 300 * np.arange(3 * third) / value["sample_rate"])
    joined = np.concatenate([block(start, third) for start in (0, third, 2 * third)])
    inner = slice(third // 10, -third // 10)  # the filter rings at the ends of the file
    assert joined[inner] == pytest.approx(expected[inner], abs=1e-3)


def test_long_and_wide_values_have_shorter_windows(tmp_path: Path) -> None:
    wide = write(tmp_path, "wide", np.zeros((96_000 * 130, 2), np.int16), 96_000)
    versions = [Version(f"{n}", f"{n}", wide.sound) for n in range(3)]
    one, three = player_value(versions[:1]), player_value(versions)
    for value, count in ((one, 1), (three, 3)):
        assert 23_000_000 < value["window_frames"] * 2 * count * 2 <= WINDOW_BYTES
    narrow = write(tmp_path, "narrow", np.zeros(RATE * 130, np.int16))
    assert player_value([narrow])["window_frames"] == 120 * RATE


def fetched(value: dict[str, Any], version: int) -> list[dict[str, Any]]:
    """All blocks of a version that the browser fetches for its first window."""
    found = []
    for start in range(0, value["window_frames"], value["block_frames"]):
        frames = min(value["block_frames"], value["window_frames"] - start)
        found.append(player_samples({"token": value["token"], "version": version, "start": start, "frames": frames}))
    return found


@pytest.mark.slow
def test_a_long_stereo_result_costs_at_most_25_mb(tmp_path: Path) -> None:
    path, rate, minutes = tmp_path / "long.wav", 48_000, 20
    noise = np.random.default_rng(0).uniform(-1.5, 1.5, (rate * 60, 2)).astype(np.float32)
    with soundfile.SoundFile(path, "w", rate, 2, "FLOAT") as file:
        for _ in range(minutes):
            file.write(noise)
    value = player_value([Version(key, key, path) for key in ("before", "after", "removed")])
    blocks = [block for version in range(3) for block in fetched(value, version)]
    assert 20_000_000 < sum(len(block["data"]) for block in blocks) <= 25_000_000
    assert {block["format"] for block in blocks} == {"int16"}
    first = np.frombuffer(blocks[0]["data"], "<i2").reshape(2, -1) * (blocks[0]["scale"] / 32768)
    assert np.abs(first - noise[: first.shape[1]].T).max() <= 0.51 * 1.5 / 32767


def test_a_short_result_is_sent_as_it_is(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).uniform(-1.5, 1.5, (RATE, 2)).astype(np.float32)
    soundfile.write(tmp_path / "deep.wav", sound, RATE, "FLOAT")
    (block,) = fetched(player_value([Version("deep", "Deep", tmp_path / "deep.wav")]), 0)
    assert block["format"] == "float32" and block["scale"] == 1.0
    assert np.array_equal(np.frombuffer(block["data"], "<f4").reshape(2, -1), sound.T)


def test_blocks_have_a_route_of_their_own(noise: Version) -> None:
    client = TestClient(Starlette(routes=ROUTES))
    asked = {"token": player_value([noise])["token"], "version": 0, "start": 0, "frames": 100}
    told = client.post("/player/samples", json=asked)
    assert told.status_code == 200 and told.headers["x-format"] == "int16" and float(told.headers["x-scale"]) == 1.0
    assert told.content == player_samples(asked)["data"] and len(told.content) == 200
    told = client.post("/player/samples", json=asked | {"token": "x"})
    assert told.status_code == 410 and told.json() == {"error": "gone"}
    assert client.post("/player/samples", content=b"no json").json() == {"error": "unreadable"}


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
