"""The page as a server: what programs may call, who gets whose results, and what happens to bad input."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from denoise_app.inference.replay import fingerprint
from denoise_app.ui import app as page
from denoise_app.ui.parts import votes
from denoise_app.ui.texts import CHINESE, ENGLISH
from denoise_app.ui.worker.session import Sessions
from denoise_app.ui.worker.worker import jobs

Make = Callable[..., Path]


@dataclass(frozen=True)
class Server:
    url: str
    visits: Path
    uploads: Path
    app: page.App


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, make_worker: Callable[[], Any]) -> Iterator[Server]:
    """The page with a fake worker, as Gradio serves it."""
    visits, uploads = tmp_path_factory.mktemp("visits"), tmp_path_factory.mktemp("uploads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        patch.setenv("DENOISE_MAX_BYTES", "20000000")
        patch.setenv("DENOISE_MAX_SECONDS", "120")
        app = page.build(make_worker(), Sessions(visits), examples=())
        _, url, _ = page.launch(app, server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
        yield Server(url, visits, uploads, app)
        app.blocks.close()


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Client:
    return Client(server.url, verbose=False, download_files=tmp_path / "got", analytics_enabled=False)


def samples(path: str | Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


@pytest.mark.slow
def test_the_page_says_where_outcomes_of_blind_tests_are_sent(
    make_worker: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(votes.hub, "publish_regularly", lambda *_: nullcontext())
    monkeypatch.setenv("DENOISE_VOTES", str(tmp_path / "votes.jsonl"))
    monkeypatch.setenv("DENOISE_VOTES_DATASET", "somebody/votes")
    built = page.build(make_worker(), Sessions(tmp_path / "visits"), examples=())
    for texts in built.site.words._made.values():
        assert "somebody/votes" in texts["html.header"] and "somebody/votes" in texts["html.blind-votes"]


# ------------------------------------------------------------------------------------------------------------ /denoise


@pytest.mark.slow
def test_denoise_is_all_that_programs_may_call(client: Client) -> None:
    described = client.view_api(print_info=False, return_format="dict")
    assert list(described["named_endpoints"]) == ["/denoise"] and not described["unnamed_endpoints"]
    told = described["named_endpoints"]["/denoise"]
    parameters = [(p["parameter_name"], p["python_type"]["type"], p["parameter_default"]) for p in told["parameters"]]
    assert parameters == [
        ("audio", "filepath", None),
        ("model", "str", ""),
        ("loss", "str", ""),
        ("strength", "float", 100),
        ("max_attenuation_db", "float", 60),
        ("high_band", "Literal['follow', 'keep', 'drop']", "follow"),
        ("loudness_lufs", "float", 0),
        ("true_peak_dbtp", "float", -1),
        ("channels", "Literal['each', 'mid', 'reference']", "each"),
        ("format", "Literal['', 'wav', 'flac', 'ogg', 'mp3', 'm4a']", ""),
        ("bit_depth", "float", 0),
        ("track", "float", 0),
        ("start", "float", 0),
        ("end", "float", 0),
        ("noise_profile", "str | float | bool | list | dict", []),
    ]
    assert all(p["python_type"]["description"].endswith(".") for p in told["parameters"])
    assert [(r["label"], r["component"]) for r in told["returns"]] == [
        ("denoised", "File"),
        ("removed", "File"),
        ("report", "Json"),
    ]
    assert told["description"].startswith("Speech without its noise")


@pytest.mark.slow
def test_a_file_comes_back_without_what_was_removed(server: Server, client: Client, recording: Make) -> None:
    path = recording("a talk.wav", seconds=2.0, rate=48_000, channels=2, codec="PCM_24")
    denoised, removed, report = client.predict(handle_file(path), api_name="/denoise")
    assert soundfile.info(denoised).subtype == "PCM_24" and Path(denoised).name == "a talk.denoised.wav"
    np.testing.assert_allclose(samples(denoised), samples(path) / 2, atol=2e-3)
    np.testing.assert_allclose(samples(denoised) + samples(removed), samples(path), atol=1e-6)
    assert report["denoiser"]["model"] == "half" and report["metrics"]["noise_floor"]["after"] < -20
    assert [path for path in server.visits.rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_settings_of_a_call_are_kept(client: Client, recording: Make) -> None:
    settings = {"model": "half", "loss": "log-mag", "strength": 0, "format": "flac", "bit_depth": 24, "channels": "mid"}
    path = recording()
    denoised, _, report = client.predict(handle_file(path), **settings, api_name="/denoise")
    assert (soundfile.info(denoised).format, soundfile.info(denoised).subtype) == ("FLAC", "PCM_24")
    np.testing.assert_array_equal(samples(denoised), samples(path))
    assert report["denoiser"]["loss"] == "log-mag" and report["settings"]["strength"] == 0


@pytest.mark.slow
def test_a_stretch_of_a_call_is_kept(client: Client, recording: Make) -> None:
    path = recording(seconds=3.0)
    denoised, _, report = client.predict(handle_file(path), start=1, end=2, api_name="/denoise")
    before, after = samples(path), samples(denoised)
    np.testing.assert_array_equal(after[:16_000], before[:16_000])
    np.testing.assert_array_equal(after[32_000:], before[32_000:])
    np.testing.assert_allclose(after[17_000:31_000], before[17_000:31_000] / 2, atol=2 / 32768)
    assert (report["settings"]["start"], report["settings"]["end"]) == (1.0, 2.0)
    assert report["settings"]["noise_profile"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"start": -1}, "a number of seconds, 0 or more"),
        ({"start": 2, "end": 1}, "ends after it begins"),
        ({"start": 100}, "the sound lasts"),
        ({"noise_profile": [1]}, "two times in seconds"),
        ({"noise_profile": [1, "x"]}, "a number of seconds, 0 or more"),
        ({"noise_profile": [0, 1]}, "spectral-subtraction, wiener, mmse-lsa"),
    ],
)
def test_a_stretch_that_cannot_be_is_told(client: Client, recording: Make, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(AppError, match=told):
        client.predict(handle_file(recording()), **wrong, api_name="/denoise")


@pytest.mark.slow
def test_a_track_of_a_call_is_kept(client: Client, recording: Make, tmp_path: Path) -> None:
    first, second = recording("one.wav", seconds=2.0), recording("two.wav", seconds=1.7)
    path = tmp_path / "both.mka"
    command = ["ffmpeg", "-v", "error", "-i", first, "-i", second, "-map", "0", "-map", "1", "-c", "copy", path]
    subprocess.run(command, check=True)
    for track, expected in ((0, first), (2, second)):
        denoised, _, report = client.predict(handle_file(path), track=track, api_name="/denoise")
        np.testing.assert_allclose(samples(denoised), samples(expected) / 2, atol=2 / 32768)
        assert [note["key"] for note in report["notes"]] == ([] if track else ["several-tracks"])
        assert report["settings"]["track"] == (track or None)
        assert report["recording"]["samples_sha256"] == fingerprint(expected)


@pytest.mark.slow
def test_ten_users_at_once_get_their_own(server: Server, recording: Make, tmp_path: Path) -> None:
    paths = [recording(f"user{k}.wav", seconds=1.0 + k / 10) for k in range(10)]
    clients = [Client(server.url, verbose=False, download_files=tmp_path / str(k)) for k in range(10)]

    def use(k: int) -> tuple[str, str, dict[str, Any]]:
        answer: tuple[str, str, dict[str, Any]] = clients[k].predict(handle_file(paths[k]), api_name="/denoise")
        return answer

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(use, range(10)))
    for path, (denoised, _, report) in zip(paths, answers, strict=True):
        assert report["name"] == path.name and Path(denoised).name == f"{path.stem}.denoised.wav"
        np.testing.assert_allclose(samples(denoised), samples(path) / 2, atol=2 / 32768)


# ------------------------------------------------------------------------------------------------------------ bad input


def bad_file(kind: str, folder: Path) -> Path:
    path = folder / "bad.wav"
    wave = np.random.default_rng(0).uniform(-0.1, 0.1, 16_000)
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is text")
    elif kind == "truncated":
        soundfile.write(folder / "whole.wav", wave, 16_000)
        path.write_bytes((folder / "whole.wav").read_bytes()[:30])
    elif kind == "nan":
        soundfile.write(path, np.where(np.arange(16_000) == 8000, np.nan, wave), 16_000, "FLOAT")
    elif kind == "wide":
        soundfile.write(path, np.zeros((100, 200)), 16_000)
    elif kind == "long":
        soundfile.write(path, np.zeros(8000 * 121, np.int16), 8000)
    elif kind == "nameless":
        path = folder / "$(touch pwned);`x`'<b>.wav"
        path.write_text("this is text")
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("empty", "is empty"),
        ("text", "is not a sound file"),
        ("truncated", "breaks off"),
        ("nan", "not numbers"),
        ("wide", "200 channels"),
        ("long", "at most 0:02:00"),
        ("nameless", "is not a sound file"),
    ],
)
def test_bad_input_is_told_in_a_sentence_without_a_path(
    server: Server, client: Client, tmp_path: Path, kind: str, told: str
) -> None:
    with pytest.raises(AppError) as raised:
        client.predict(handle_file(bad_file(kind, tmp_path)), api_name="/denoise")
    message = str(raised.value)
    assert told in message
    assert not any(place in message for place in ("/tmp", str(tmp_path), str(server.uploads), str(server.visits)))
    assert [path for path in server.visits.rglob("*") if path.is_file()] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"model": "nobody"}, "No model is called"),
        ({"loss": "nothing"}, "no checkpoint of half trained with 'nothing'. There are: hybrid, log-mag"),
        ({"model": "wiener", "loss": "hybrid"}, "wiener is not trained"),
        ({"strength": 1000}, "from 0 to 100 %"),
        ({"loudness_lufs": 5}, "from -70 to 0 LUFS"),
        ({"loudness_lufs": -16, "true_peak_dbtp": None}, "from -70 to 0 dBTP"),
        ({"channels": "reference"}, "no use of a noise reference"),
        *(
            ({"strength": wrong}, "strength needs a number from 0 to 100 %")
            for wrong in (True, False, "50", [50], None)
        ),
        *(({"max_attenuation_db": wrong}, "a number of 0 dB or more") for wrong in (True, "12", {"db": 12})),
        *(({"loudness_lufs": wrong}, "from -70 to 0 LUFS") for wrong in (True, False, "-16", [])),
        *(({"true_peak_dbtp": wrong}, "from -70 to 0 dBTP") for wrong in (True, "-1", -71)),
        *(({"bit_depth": wrong}, "a whole number from 8 to 32") for wrong in (15.5, True, False, "16", 1e308)),
        *(({"track": wrong}, "a whole number from 1 to 1000") for wrong in (1.5, True, False, "2", -1)),
        ({"track": 2}, "no such track|track 2|has 1"),
        ({"high_band": None}, "follow, keep, drop"),
        ({"channels": None}, "each, mid, reference"),
        ({"format": "exe"}, "not in the list of choices"),
    ],
)
def test_a_wrong_setting_is_told_in_a_sentence(
    client: Client, recording: Make, wrong: dict[str, Any], told: str
) -> None:
    with pytest.raises(AppError, match=told):
        client.predict(handle_file(recording()), **wrong, api_name="/denoise")


@pytest.mark.parametrize(("text", "count"), [("3", 3), (" 1 ", 1), ("", None), (" ", None)])
def test_as_many_jobs_run_at_once_as_the_operator_says(
    text: str, count: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DENOISE_JOBS", text)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert jobs() == (count or 4)


@pytest.mark.parametrize(
    ("variable", "text", "told"),
    [
        ("DENOISE_JOBS", "two", "DENOISE_JOBS must be a positive whole number, not 'two'"),
        ("DENOISE_JOBS", "-1", "positive whole number"),
        ("DENOISE_MAX_BYTES", "much", "DENOISE_MAX_BYTES must be a positive whole number"),
    ],
)
def test_a_wrong_variable_ends_the_start_in_a_sentence(
    variable: str, text: str, told: str, make_worker: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    monkeypatch.setattr(page, "Worker", make_worker)
    monkeypatch.setattr(make_worker, "warm_up", lambda self: None)
    with pytest.raises(SystemExit, match=told):
        page.serve()


def test_no_recording_at_all(client: Client) -> None:
    with pytest.raises(AppError, match="no recording yet"):
        client.predict(None, api_name="/denoise")


def test_files_of_the_server_cannot_be_named(server: Server, recording: Make) -> None:
    settings = ["", "", 100, 60, "follow", 0, -1, "each", "", 0, 0]
    for path in ("/etc/passwd", str(recording()), str(server.visits)):
        audio = {"path": path, "meta": {"_type": "gradio.FileData"}}
        call = httpx.post(f"{server.url}gradio_api/call/denoise", json={"data": [audio, *settings]})
        answer = httpx.get(f"{server.url}gradio_api/call/denoise/{call.json()['event_id']}", timeout=30)
        assert "event: error" in answer.text and "root:" not in answer.text and "denoised" not in answer.text
        assert ENGLISH["error.bad-call"] in answer.text


@pytest.mark.slow
@pytest.mark.parametrize("audio", [5, "x", True, [], {}, {"path": None}, {"path": 5}, {"url": "http://127.0.0.1:1/"}])
def test_what_is_no_upload_is_answered_in_a_sentence(server: Server, audio: object) -> None:
    said = answered(server, [audio, "", "", 100, 60, "follow", 0, -1, "each", "", 0, 0])
    assert said["error"] == ENGLISH["error.bad-call"]


@pytest.mark.parametrize("count", [0, 3, 9])
def test_too_few_parameters_are_answered_in_a_sentence(server: Server, count: int) -> None:
    said = answered(server, [None, "", "", 100, 60, "follow", 0, -1, "each", "", 0, 0][:count])
    assert said["error"] == ENGLISH["error.bad-call"]
    said = answered(server, [None], {"accept-language": "zh-CN"})
    assert said["error"] == CHINESE["error.bad-call"]


@pytest.mark.parametrize(("language", "texts"), [("en", ENGLISH), ("zh-CN", CHINESE)])
def test_a_choice_that_the_list_no_longer_has_is_answered_in_a_sentence(
    server: Server, language: str, texts: dict[str, str]
) -> None:
    """Somebody chose another model, and its checkpoints arrived on the server's side first."""
    chosen = next(fn for fn in server.app.blocks.fns.values() if getattr(fn.fn, "__name__", "") == "on_checkpoint")
    body = {"fn_index": chosen._id, "data": ["half/gone"], "session_hash": "visitor"}
    headers = {"accept-language": language}
    answer = httpx.post(f"{server.url}gradio_api/run/predict", json=body, headers=headers)
    assert answer.json()["error"] == texts["error.stale-choice"]


def answered(server: Server, data: list[object], headers: dict[str, str] | None = None) -> dict[str, Any]:
    """What the server says to a call that it refuses."""
    call = httpx.post(f"{server.url}gradio_api/call/denoise", json={"data": data}, headers=headers)
    answer = httpx.get(f"{server.url}gradio_api/call/denoise/{call.json()['event_id']}", timeout=30).text
    assert answer.startswith("event: error")
    said: dict[str, Any] = json.loads(answer.split("data: ")[1])
    return said


@pytest.mark.slow
def test_notes_are_in_the_answer(client: Client, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "dc.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 16_000) + 0.2, 16_000)
    _, _, report = client.predict(handle_file(tmp_path / "dc.wav"), api_name="/denoise")
    (note,) = report["notes"]
    assert note["key"] == "dc-offset" and note["percent"] == pytest.approx(20, abs=0.1)
    assert note["message"] == "It has a DC offset of 20 % of full scale."


def test_an_error_of_the_program_is_told_without_its_text(
    server: Server, client: Client, recording: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret of /home/somebody")

    monkeypatch.setattr("denoise_app.inference.engine.denoise_keeping", fail)
    with pytest.raises(AppError) as raised:
        client.predict(handle_file(recording()), api_name="/denoise")
    assert str(raised.value) == ENGLISH["error.unexpected"]


def test_an_upload_that_is_too_large_is_refused(server: Server) -> None:
    answer = httpx.post(f"{server.url}gradio_api/upload", files={"files": ("big.wav", b"\0" * 21_000_000)})
    assert answer.status_code == 413


# ------------------------------------------------------------------------------------------------------------- the page


def config(server: Server) -> dict[str, Any]:
    with urllib.request.urlopen(f"{server.url}config") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def test_nobody_is_told_of_the_visitors(server: Server) -> None:
    told = config(server)
    assert told["analytics_enabled"] is False and told["show_error"] is False
    assert not told.get("run_history")
    with urllib.request.urlopen(server.url) as answer:
        html = answer.read().decode()
    assert "fonts.googleapis" not in html and "denoiseMicrophone" in html


def test_both_languages_are_sent_with_the_page(server: Server) -> None:
    translations = config(server)["i18n_translations"]
    assert translations["en"]["run.denoise"] == "Denoise"
    assert translations["zh"]["run.denoise"] == translations["zh-CN"]["run.denoise"] == "开始降噪"
    assert set(translations["en"]) == set(translations["zh"])


def test_the_page_can_be_installed(server: Server) -> None:
    manifest = httpx.get(f"{server.url}manifest.json").json()
    assert manifest["name"] == "Denoise" and manifest["icons"]


def test_only_finished_tabs_appear(server: Server) -> None:
    tabs = [part["props"]["id"] for part in config(server)["components"] if part["type"] == "tabitem"]
    assert tabs == ["clean", "compare", "bench", "live", "batch", "models"]


def test_every_example_has_a_name_in_words() -> None:
    examples = sorted(page.EXAMPLES.glob("*.flac"))
    assert len(examples) == 6 and all(f"example.{path.stem}" in ENGLISH for path in examples)
