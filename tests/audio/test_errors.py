"""Every reason that this floor gives has a sentence, and every sentence a reason."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import pytest

import denoise_app.audio
from denoise_app.audio.errors import SENTENCES, AudioError

ROOM = Path(denoise_app.audio.__file__).parent


def raised() -> dict[str, list[set[str]]]:
    """Reason -> the names of the facts handed over at each place in this floor that builds such an error."""
    found: dict[str, list[set[str]]] = {}
    for file in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "AudioError.of" and node.args:
                reason = ast.literal_eval(node.args[0])
                found.setdefault(reason, []).append({str(keyword.arg) for keyword in node.keywords})
    return found


def test_reasons_and_sentences_belong_together() -> None:
    assert set(raised()) == set(SENTENCES)


@pytest.mark.slow
@pytest.mark.parametrize("reason", SENTENCES)
def test_facts_are_those_of_the_sentence(reason: str) -> None:
    wanted = set(re.findall(r"{(\w+)}", SENTENCES[reason]))
    assert all(facts == wanted for facts in raised()[reason])


@pytest.mark.parametrize("reason", SENTENCES)
def test_a_sentence_reads_as_one(reason: str) -> None:
    names = re.findall(r"{(\w+)}", SENTENCES[reason])
    error = AudioError.of(reason, **{name: f"<{name}>" for name in names})
    assert error.reason == reason and error.facts.keys() == set(names)
    assert str(error).endswith(".") and not re.search(r"[{}]", str(error))


def test_it_survives_a_process_pool() -> None:
    error = AudioError.of("empty-file", name="a.wav")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is AudioError and (copy.reason, copy.facts, str(copy)) == (error.reason, error.facts, str(error))
