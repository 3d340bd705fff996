"""Which files of a folder are sound, and what else lies there."""

from __future__ import annotations

import codecs
import glob
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from denoise_app.audio.files import SUFFIXES
from denoise_app.audio.names import printable

TYPESCRIPT = (".ts", ".mts")  # MPEG transport streams end so, and programs in TypeScript
HEAD = 1024  # bytes that tell the one from the other


@dataclass(frozen=True)
class Found:
    """What lies below a folder.

    Attributes:
        sounds: Everything whose name ends as a sound file's, sorted; links and devices too, for to open one tells best
            what is wrong with it.
        passed_over: What is not taken -> how often, most first: suffixes in lower case, "no suffix", "hidden",
            "linked folder".
        closed: Folders that could not be listed, each with the system's reason.
    """

    sounds: tuple[Path, ...]
    passed_over: Mapping[str, int]
    closed: tuple[tuple[Path, OSError], ...]


def look(folder: Path, out: Path | None = None) -> Found:
    """Looks through a folder's tree; neither `out`, where it lies in the tree, nor links to folders are entered."""
    sounds: list[Path] = []
    passed_over: Counter[str] = Counter()
    closed: list[tuple[Path, OSError]] = []
    output = os.stat(out) if out is not None and os.path.exists(out) else None
    folders = [folder]
    while folders:
        here = folders.pop()
        try:
            with os.scandir(here) as listed:
                entries = [(Path(entry), _kind(entry, output)) for entry in listed]
        except OSError as problem:
            closed.append((here, problem))
            continue
        for path, kind in entries:
            if kind == "folder":
                folders.append(path)
            elif kind == "sound":
                sounds.append(path)
            elif kind != "output":
                passed_over[kind] += 1
    return Found(tuple(sorted(sounds)), most_first(passed_over), tuple(closed))


def matching(pattern: str, out: Path | None = None) -> list[str]:
    """What a pattern matches, sorted.

    As `glob` has it, but ** enters folders as `look` does: no links, in which loops lie, and not `out` where it lies
    in the tree. What lies in a folder that matches as well comes with it.
    """
    found = _expanded(pattern)
    fixed = Path(*takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
    folders = {Path(name) for name in found if os.path.isdir(name)}
    output = Path(os.path.realpath(out)) if out is not None else None
    if output is not None and Path(os.path.realpath(fixed)).is_relative_to(output):
        output = None  # the pattern itself names what lies in it
    return [
        name
        for name in sorted(found)
        if folders.isdisjoint(Path(name).parents)
        and (output is None or not Path(os.path.realpath(name)).is_relative_to(output))
    ]


def _expanded(pattern: str) -> list[str]:
    path = Path(pattern)
    if "**" not in path.parts:
        return glob.glob(pattern)
    top = Path(path.anchor)
    found = top.glob(str(path.relative_to(top)))  # which enters no links, but hidden folders
    named = {*path.parts}
    return [
        str(each)
        for each in found
        if not any(part.startswith(".") and part not in named for part in each.parts)
        and not (each.is_symlink() and each.is_dir())
    ]


def most_first(counts: Mapping[str, int]) -> dict[str, int]:
    """The same counts, the largest first, equal ones by their names."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _kind(entry: os.DirEntry[str], output: os.stat_result | None) -> str:
    """Either "folder", "output", "sound", or what it is passed over as."""
    if entry.is_dir(follow_symlinks=False) and output and os.path.samestat(entry.stat(), output):
        return "output"
    if entry.name.startswith("."):
        return "hidden"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    if entry.is_symlink() and os.path.isdir(entry):
        return "linked folder"
    suffix = Path(entry.name).suffix.lower()
    is_sound = suffix in SUFFIXES and not (suffix in TYPESCRIPT and _is_text(entry.path))
    return "sound" if is_sound else printable(suffix) or "no suffix"


def _is_text(path: str) -> bool:
    """Whether a file begins as text does; one that cannot be read is left to whoever opens it."""
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except (OSError, UnicodeDecodeError):
        return False
    return bool(head) and re.search("[\0-\x08\x0e-\x1f]", text) is None
