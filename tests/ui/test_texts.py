"""Both languages say the same things, and the page says nothing that is not in them."""

from __future__ import annotations

import ast
import importlib
import re
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from denoise_app.audio.errors import AudioError, UserError
from denoise_app.checkpoints.manifest import CheckpointError
from denoise_app.ui.parts.player import TEXTS as PLAYER_KEYS
from denoise_app.ui.texts import CHINESE, ENGLISH, OF_OTHER_ROOMS, Say, language_of

PACKAGE = Path(__file__).parents[2] / "denoise_app"
UI = PACKAGE / "ui"
TREES = {path: ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}
KEY = re.compile(r"[a-z]+\.[a-z0-9_.-]+")
SECTIONS = {key.split(".")[0] for key in ENGLISH}


def facts(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


def said() -> Iterator[str]:
    """Keys in the page's code, as patterns: what an f-string fills in may be anything."""
    for path in {*UI.rglob("*.py"), *(PACKAGE / "serve").rglob("*.py")} - {UI / "texts.py"}:
        tree = ast.parse(path.read_text("utf-8"))
        pieces = {id(piece) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for piece in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                yield "".join(re.escape(str(v.value)) if isinstance(v, ast.Constant) else ".+" for v in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in pieces:
                yield re.escape(node.value)


@cache
def errors() -> dict[str, type[UserError]]:
    """Every kind of error for users in the package, by name."""
    bases = {"UserError"}
    while True:
        found = {
            (path, node.name)
            for path, tree in TREES.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & bases
        }
        if {name for _, name in found} <= bases:
            break
        bases |= {name for _, name in found}
    modules = {name: ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path, name in found}
    return {name: getattr(importlib.import_module(module), name) for name, module in modules.items()}


def raised() -> Iterator[tuple[str, set[str] | None]]:
    """Reason and facts of each place that builds such an error; None where the facts have no names there."""
    names = {*errors(), "UserError"}
    for tree in TREES.values():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and node.args and ast.unparse(node.func).removesuffix(".of") in names):
                continue
            given = {keyword.arg for keyword in node.keywords}
            for reason in ast.walk(node.args[0]):
                if isinstance(reason, ast.Constant) and isinstance(reason.value, str):
                    yield reason.value, None if None in given else {str(name) for name in given}


def test_every_reason_has_a_sentence_in_both_languages() -> None:
    """Whether it stands where the error is built, or is chosen there from the sentences of its kind."""
    reasons = {reason for reason, _ in raised()} | {reason for kind in errors().values() for reason in kind.sentences}
    assert {"too-long", "no-device", "start-beyond-end", "onto-input", "strict", "hub-busy"} <= reasons
    for texts in (ENGLISH, CHINESE):
        assert {reason for reason in reasons if f"error.{reason}" not in texts} == set()


def test_an_error_reads_alike_where_it_is_raised_and_on_the_page() -> None:
    assert {"EngineError", "SettingError", "CheckpointError"} <= errors().keys()
    for kind in errors().values():
        assert {reason: ENGLISH[f"error.{reason}"] for reason in kind.sentences} == kind.sentences


def test_every_error_brings_the_facts_of_its_sentence() -> None:
    for reason, given in raised():
        assert given is None or facts(ENGLISH[f"error.{reason}"]) <= given, reason


def test_both_languages_have_the_same_keys() -> None:
    assert set(ENGLISH) == set(CHINESE)


def test_both_sentences_are_made_of_the_same_facts() -> None:
    for key in ENGLISH:
        english, chinese = facts(ENGLISH[key]), facts(CHINESE[key])
        if key.startswith("error."):
            assert chinese <= english, key  # a fact that is an English word is left out
        else:
            assert chinese == english, key
        assert ENGLISH[key].strip() == ENGLISH[key] and CHINESE[key].strip() == CHINESE[key], key


def test_nothing_is_left_untranslated() -> None:
    same = [key for key in ENGLISH if ENGLISH[key] == CHINESE[key]]
    assert [key for key in same if re.search(r"[a-z]{5,}", re.sub(r"\{\w+\}", "", ENGLISH[key]))] == []
    assert [key for key in OF_OTHER_ROOMS if not re.search("[\u4e00-\u9fff]", CHINESE[key])] == []


def test_every_text_is_used() -> None:
    patterns = [re.compile(pattern) for pattern in set(said()) if re.match(r"[a-z]+\\\.", pattern)]
    unused = [key for key in ENGLISH if not any(pattern.fullmatch(key) for pattern in patterns)]
    assert set(unused) - set(OF_OTHER_ROOMS) - {f"error.{reason}" for reason, _ in raised()} == set()


def test_every_text_that_is_asked_for_is_there() -> None:
    asked = {re.sub(r"\\(.)", r"\1", pattern) for pattern in said() if ".+" not in pattern}
    keys = {key for key in asked if KEY.fullmatch(key) and key.split(".")[0] in SECTIONS}
    assert {key for key in keys if key not in ENGLISH and not key.endswith((".css", ".js", ".html", ".py"))} == set()
    assert set(PLAYER_KEYS) <= set(ENGLISH)


def test_a_problem_is_told_in_the_readers_language() -> None:
    error = AudioError.of("too-long", name="a.wav", length="3:00:00", limit="2:00:00")
    assert Say("en").problem(error) == str(error)
    assert Say("zh").problem(error) == "a.wav 长 3:00:00，最多只能读取 2:00:00。请分段处理。"
    assert "gru" in Say("zh").problem(CheckpointError.of("no-such-model", model="gru", known="wiener"))


def test_a_reason_without_a_text_or_a_fact_keeps_its_english_sentence() -> None:
    assert Say("zh").problem(AudioError("brand-new", "Something new. Do this.")) == "Something new. Do this."
    assert Say("zh").problem(AudioError("too-long", "Too long.")) == "Too long."


def test_other_errors_are_told_without_their_text() -> None:
    for language in ("en", "zh"):
        told = Say(language).problem(OSError(2, "No such file", "/home/somebody/secret.wav"))
        assert "secret" not in told and "/" not in told


def test_languages_that_are_neither_read_english() -> None:
    assert [language_of(accept) for accept in ("fr-FR,fr;q=0.9", "", "*", "zh-Hant-HK", "ZH", "en,zh", ";;q=x")] == [
        "en",
        "en",
        "en",
        "zh",
        "zh",
        "en",
        "en",
    ]
