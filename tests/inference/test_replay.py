"""A report is enough to make the same samples again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denoise_app.audio import files
from denoise_app.audio.clip import Clip
from denoise_app.audio.encodings import Encoding
from denoise_app.inference import catalog, engine, replay
from denoise_app.inference.replay import Receipt, ReplayError


@pytest.fixture
def recording(tmp_path: Path, speech: Clip) -> Path:
    noise = np.random.default_rng(0).normal(0, 0.02, (2, 2 * speech.sample_rate)).astype(np.float32)
    path = tmp_path / "in.wav"
    sound = np.repeat(speech.samples[:, : noise.shape[1]], 2, axis=0) + noise
    files.write(path, Clip(sound, speech.sample_rate), Encoding("wav", "PCM_24"))
    return path


@pytest.fixture
def report(tmp_path: Path, recording: Path) -> dict[str, Any]:
    """Of a result with settings that all differ from their defaults."""
    settings = engine.Settings(80.0, 30.0, "keep", -20.0, -2.0, "flac", 16)
    out = tmp_path / "first.flac"
    selection = engine.Selection(0.5, 1.5)
    engine.denoise_file(recording, out, catalog.load("gru", "hybrid"), settings, channels="mid", selection=selection)
    weights = catalog.sha256("gru", "hybrid")
    prints = replay.fingerprint(recording), replay.fingerprint(out)
    told = replay.as_json(Receipt("gru", "hybrid", None, weights, "mid", settings, *prints, None, selection))
    parsed: dict[str, Any] = json.loads(json.dumps(told, allow_nan=False))
    return parsed


def written(tmp_path: Path, report: object) -> Path:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report))
    return path


def test_the_same_samples_come_out(tmp_path: Path, recording: Path, report: dict[str, Any]) -> None:
    receipt = replay.read(written(tmp_path, report))
    replay.replay(receipt, recording, tmp_path / "again.flac")
    assert replay.fingerprint(tmp_path / "again.flac") == receipt.output
    again, first = files.read(tmp_path / "again.flac"), files.read(tmp_path / "first.flac")
    np.testing.assert_array_equal(again.samples, first.samples)


def test_a_noise_profile_is_replayed(tmp_path: Path, recording: Path) -> None:
    selection, out = engine.Selection(1.0, None, (0.0, 0.4)), tmp_path / "first.wav"
    engine.denoise_file(recording, out, catalog.load("wiener"), selection=selection)
    prints = replay.fingerprint(recording), replay.fingerprint(out)
    told = replay.as_json(Receipt("wiener", None, None, None, "each", engine.Settings(), *prints, None, selection))
    assert told["settings"]["noise_profile"] == (0.0, 0.4) and told["settings"]["end"] is None
    receipt = replay.read(written(tmp_path, told))
    assert receipt.selection == selection
    replay.replay(receipt, recording, tmp_path / "again.wav")
    assert replay.fingerprint(tmp_path / "again.wav") == receipt.output


def test_an_older_report_is_of_the_whole(tmp_path: Path, report: dict[str, Any]) -> None:
    for name in ("start", "end", "noise_profile"):
        del report["settings"][name]
    assert replay.read(written(tmp_path, report)).selection == engine.Selection()


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong", [{"start": -1}, {"start": "0"}, {"end": 0.2}, {"noise_profile": [1]}, {"noise_profile": [2, 1]}]
)
def test_a_report_of_no_stretch_is_none(tmp_path: Path, report: dict[str, Any], wrong: dict[str, Any]) -> None:
    report["settings"] |= wrong
    with pytest.raises(ReplayError, match="no report of a result"):
        replay.read(written(tmp_path, report))


@pytest.mark.slow
@pytest.mark.parametrize("percent", [0, 1, 7, 29, 57.5, 80, 99, 100])
def test_a_report_of_the_first_format_tells_strength_as_a_share(
    tmp_path: Path, report: dict[str, Any], percent: float
) -> None:
    share = percent / 100
    report |= {"version": 1, "settings": report["settings"] | {"strength": share, "max_attenuation_db": None}}
    settings = replay.read(written(tmp_path, report)).settings
    assert settings.strength == percent and settings.wet == share  # so that the samples are the same


def test_an_old_report_makes_the_same_samples(tmp_path: Path, recording: Path, report: dict[str, Any]) -> None:
    report |= {"version": 1, "settings": report["settings"] | {"strength": 0.8}}
    receipt = replay.read(written(tmp_path, report))
    replay.replay(receipt, recording, tmp_path / "again.flac")
    assert replay.fingerprint(tmp_path / "again.flac") == receipt.output


def test_another_setting_gives_other_samples(tmp_path: Path, recording: Path, report: dict[str, Any]) -> None:
    report["settings"]["strength"] = 70
    receipt = replay.read(written(tmp_path, report))
    replay.replay(receipt, recording, tmp_path / "again.flac")
    assert replay.fingerprint(tmp_path / "again.flac") != receipt.output


def test_no_limit_survives_json(tmp_path: Path, report: dict[str, Any]) -> None:
    report["settings"]["max_attenuation_db"] = None
    assert replay.read(written(tmp_path, report)).settings.max_attenuation_db == float("inf")


def test_a_fingerprint_is_of_the_samples_not_of_the_file(tmp_path: Path, recording: Path) -> None:
    clip = files.read(recording)
    files.write(tmp_path / "same.flac", clip, Encoding("flac", "PCM_24"))
    assert replay.fingerprint(tmp_path / "same.flac") == replay.fingerprint(recording)
    clip.samples[1, 100] += 2**-20
    files.write(tmp_path / "other.flac", clip, Encoding("flac", "PCM_24"))
    files.write(tmp_path / "slower.flac", Clip(clip.samples, 8000), Encoding("flac", "PCM_24"))
    prints = {replay.fingerprint(tmp_path / name) for name in ("same.flac", "other.flac", "slower.flac")}
    assert len(prints) == 3


def test_other_weights_are_refused(tmp_path: Path, recording: Path, report: dict[str, Any]) -> None:
    report["denoiser"]["sha256"] = "0" * 64
    with pytest.raises(ReplayError, match="not the one of the report") as caught:
        replay.replay(replay.read(written(tmp_path, report)), recording, tmp_path / "again.flac")
    assert caught.value.reason == "other-weights" and not (tmp_path / "again.flac").exists()


def _without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda report: {key: value for key, value in report.items() if key != name}


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil",
    [
        lambda report: [report],
        lambda report: report | {"version": 99},
        _without("denoiser"),
        _without("settings"),
        _without("output"),
        lambda report: report | {"denoiser": {"model": 5}},
        lambda report: report | {"settings": report["settings"] | {"strength": 107}},
        lambda report: report | {"settings": report["settings"] | {"strength": 0.8}},
        lambda report: report | {"settings": report["settings"] | {"strength": True}},
        lambda report: report | {"settings": report["settings"] | {"strength": None}},
        lambda report: report | {"settings": report["settings"] | {"max_attenuation_db": "30"}},
        lambda report: report | {"settings": report["settings"] | {"max_attenuation_db": 10**400}},
        lambda report: report | {"settings": report["settings"] | {"high_band": ["keep"]}},
        lambda report: report | {"settings": report["settings"] | {"loudness_lufs": [-20]}},
        lambda report: report | {"settings": report["settings"] | {"bit_depth": 15.5}},
        lambda report: report | {"settings": report["settings"] | {"container": 7}},
        lambda report: report | {"settings": report["settings"] | {"channels": ["mid"]}},
        lambda report: report | {"settings": list(report["settings"])},
        lambda report: report | {"version": True},
        lambda report: report | {"version": "2"},
        lambda report: report | {"version": [1]},
        lambda report: report | {"version": 1, "settings": report["settings"] | {"strength": 80}},
        lambda report: report | {"version": 1, "settings": report["settings"] | {"strength": "0.8"}},
        lambda report: report | {"version": 1, "settings": report["settings"] | {"strength": True}},
        lambda report: report | {"settings": report["settings"] | {"strength": "all"}},
        lambda report: report | {"settings": report["settings"] | {"__class__": "os.system"}},
        lambda report: report | {"settings": report["settings"] | {"channels": "left"}},
        lambda report: report | {"name": "x" * (1 << 20)},
    ],
)
def test_what_is_no_report_is_refused(
    tmp_path: Path, report: dict[str, Any], spoil: Callable[[dict[str, Any]], object]
) -> None:
    with pytest.raises(ReplayError, match=r"report\.json is no report"):
        replay.read(written(tmp_path, spoil(report)))


HOSTILE = [None, True, -1, 1.5, "\x1b[31m", "\ud800", "../../etc", [], {"a": 1}, 10**400, float("nan"), "x" * 5000]


def test_whatever_a_report_holds_is_read_or_refused(tmp_path: Path, report: dict[str, Any]) -> None:
    def spoilt(part: dict[str, Any], value: object) -> Iterator[dict[str, Any]]:
        for key, kept in part.items():
            yield part | {key: value}
            if isinstance(kept, dict):
                yield from (part | {key: inner} for inner in spoilt(kept, value))

    refused = 0
    for hostile in (wrong for value in HOSTILE for wrong in spoilt(report, value)):
        try:
            assert isinstance(replay.read(written(tmp_path, hostile)), Receipt)
        except ReplayError as error:
            refused += 1
            assert "\x1b" not in str(error) and str(error).encode()
    assert refused > 10 * len(HOSTILE)  # of 20 places each


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(data)
    with pytest.raises(ReplayError):
        replay.read(path)
