"""config.json: what is taken comes back the same, and nothing else is taken."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import pytest

from denoise_app.checkpoints.manifest import MAX_MANIFEST_BYTES, OPTIONAL, SENTENCES, CheckpointError, Manifest, parse


@pytest.fixture
def whole(manifest: Manifest) -> Manifest:
    """As it stands in a folder, with what saving fills in."""
    facts: dict[str, Any] = {"sample_rate": 16_000, "causal": True, "latency": 512, "parameters": 1000}
    return replace(manifest, **facts, macs_per_second=10**6, size=4000, sha256="0" * 64)


def edited(manifest: Manifest, **changes: Any) -> bytes:
    return json.dumps(json.loads(manifest.to_json()) | changes).encode()


def test_comes_back_the_same(whole: Manifest) -> None:
    assert parse(whole.to_json().encode()) == whole
    assert "均衡" in whole.to_json()


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "../gru"},
        {"model": "gru/../../etc"},
        {"model": "/etc"},
        {"model": ".gru"},
        {"model": "gru\n"},
        {"model": "gru "},
        {"model": "ｇｒｕ"},
        {"model": ""},
        {"model": "-gru"},
        {"model": "g" * 41},
        {"model": None},
        {"model": ["gru"]},
        {"loss": "hybrid\\..\\x"},
        {"loss": "C:hybrid"},
        {"loss": "hybrid\0"},
        {"config": [1, 2]},
        {"config": {"hidden": {"nested": 1}}},
        {"config": {"hidden": [1, 2]}},
        {"config": {"hidden": None}},
        {"config": {"hidden": 10**400}},
        {"config": {"__class__": 1}},
        {"config": {"": 1}},
        {"config": {f"a{k}": 1 for k in range(65)}},
        {"loss_config": "1"},
        {"favours": {"en": 3}},
        {"favours": {"en": "x" * 2001}},
        {"favours": {"en": "\x1b[2J"}},  # clears a terminal
        {"credits": ["‮evil"]},  # turns the writing direction
        {"credits": "LibriSpeech"},
        {"credits": ["x"] * 65},
        {"languages": ["en\nlicense: mit"]},
        {"licence": "MIT\ntags: x"},
        {"training": [1]},
        {"training": {"curve": 5}},
        {"training": {"curve": {"step": 1}}},
        {"training": {"curve": [1, 2]}},
        {"training": {"curve": [{"step": [1]}, {"step": {}}]}},
        {"training": {"commit": 5}},
        {"training": {"steps": [5]}},
        {"training": {"curve": [{"loss": "\x07"}]}},
        {"scores": {"pesq_wb": "1.7"}},
        {"scores": {"pesq_wb": True}},
        {"scores": {"pesq_wb": None}},
        {"real_time_factor": "0.02"},
        {"real_time_factor": float("inf")},
        {"sample_rate": 0},
        {"sample_rate": 10**9},
        {"sample_rate": 16000.0},
        {"sample_rate": True},
        {"causal": 1},
        {"latency": -1},
        {"parameters": 0},
        {"parameters": 10**9},
        {"size": 10**12},
        {"sha256": "0" * 63},
        {"sha256": "Z" * 64},
        {"format_version": 0},
        {"format_version": "1"},
        {"format_version": True},
        {"auto_map": {"AutoModel": "evil.py"}},
    ],
    ids=lambda changes: str(changes)[:40].encode("ascii", "replace").decode(),
)
def test_wrong_fields_are_refused(whole: Manifest, changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError) as caught:
        parse(edited(whole, **changes), "gru/hybrid")
    assert caught.value.reason == "manifest-invalid"
    assert len(str(caught.value)) < 300, "a hostile value fills the page"


def test_a_field_that_came_later_may_be_missing(whole: Manifest) -> None:
    content = json.loads(replace(whole, real_time_factor=0.02).to_json())
    assert parse(json.dumps(content).encode()).real_time_factor == 0.02
    assert {"real_time_factor"} == OPTIONAL
    del content["real_time_factor"]
    assert parse(json.dumps(content).encode()) == replace(whole, real_time_factor=0.0)


@pytest.mark.parametrize("field", sorted(Manifest.__dataclass_fields__.keys() - OPTIONAL))
def test_every_field_must_be_there(whole: Manifest, field: str) -> None:
    content = json.loads(whole.to_json())
    del content[field]
    with pytest.raises(CheckpointError, match=f"no field '{field}'"):
        parse(json.dumps(content).encode())


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000])
@pytest.mark.parametrize("field", ["scores", "training", "config"])
def test_numbers_are_finite(whole: Manifest, number: str, field: str) -> None:
    text = json.dumps(json.loads(whole.to_json()) | {field: {"a": "HERE"}}).replace('"HERE"', number)
    with pytest.raises(CheckpointError) as caught:
        parse(text.encode())
    assert caught.value.reason == "manifest-invalid"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'"text"',
        b"{",
        b"\x80\x04\x95",
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"training":' * 20_000 + b"1" + b"}" * 20_000,
        b'{"model": "gru", "model": "gru"}',
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError) as caught:
        parse(data)
    assert caught.value.reason == "manifest-invalid"


def test_deep_nesting_in_a_free_field_is_refused(whole: Manifest) -> None:
    deep = "[" * 900 + "]" * 900  # json itself takes this much
    text = json.dumps(json.loads(whole.to_json()) | {"training": {"a": "HERE"}}).replace('"HERE"', deep)
    try:
        parse(text.encode())  # harmless where the interpreter has the depth for it
    except CheckpointError as error:
        assert error.reason == "manifest-invalid"


def test_size_is_capped(whole: Manifest) -> None:
    with pytest.raises(CheckpointError) as caught:
        parse(b" " * (MAX_MANIFEST_BYTES + 1), "gru/hybrid")
    assert caught.value.reason == "manifest-too-large" and "262,144" in str(caught.value)
    room = MAX_MANIFEST_BYTES - len(whole.to_json().encode())
    assert parse(whole.to_json().encode() + b" " * room) == whole


def test_a_newer_format_says_so(whole: Manifest) -> None:
    with pytest.raises(CheckpointError, match="Update the app") as caught:
        parse(edited(whole, format_version=2, a_new_field=1))
    assert caught.value.reason == "manifest-newer"


def test_nothing_is_written_that_would_be_refused(whole: Manifest) -> None:
    for bad in ({"scores": {"pesq_wb": float("nan")}}, {"model": "../gru"}, {"training": {"data": object()}}):
        with pytest.raises(CheckpointError):
            replace(whole, **bad).to_json()


def test_errors_have_a_reason_facts_and_a_sentence() -> None:
    error = CheckpointError.of("weights-too-large", name="gru/hybrid", size=2048, limit=1024)
    assert str(error) == "The weights of gru/hybrid have 2,048 bytes; at most 1,024 are read."
    assert error.facts == {"name": "gru/hybrid", "size": 2048, "limit": 1024}
    again = pickle.loads(pickle.dumps(error))  # as a process pool hands it over
    assert (again.reason, again.facts, str(again)) == (error.reason, error.facts, str(error))


def test_every_sentence_is_one() -> None:
    for reason, sentence in SENTENCES.items():
        assert reason == reason.lower() and " " not in reason
        assert sentence.endswith(".") and sentence[0] in "{TONW", reason
