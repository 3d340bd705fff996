"""What is installed is used, what is used is installed, and each pin says why it is there."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LINE = re.compile(r"(?P<name>[\w-]+)(\[\w+\])?==(?P<version>[\w.]+) +# (?P<reason>.+)")
LOCKS = ("requirements.txt", "requirements-dev.txt", "requirements-scale.txt")
DATA = {"speechmos"}  # packages whose files are read, through importlib.resources
PLUGINS = {"websockets"}  # found by what uses them: uvicorn
PROVIDED = {"spaces"}  # by a host, where it is of use
PARTNERS = {"torchaudio"}  # refuses any other torch than its own number: pinned together or not at all


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def matches(name: str) -> list[re.Match[str]]:
    """The pins of a file of requirements."""
    lines = (ROOT / name).read_text().splitlines()
    found = [LINE.fullmatch(line) for line in lines if line and not line.startswith(("#", "-r"))]
    assert all(found), "each line is NAME==VERSION  # reason"
    return [match for match in found if match]


def pins(name: str) -> dict[str, str]:
    """Package -> reason."""
    return {match["name"]: match["reason"] for match in matches(name)}


def locked(*names: str) -> dict[str, str]:
    """Package, as it is compared -> the version that the files pin."""
    return {canonicalize_name(match["name"]): match["version"] for name in names for match in matches(name)}


def imported() -> set[str]:
    """Top-level modules from outside that the package and the entry import, anywhere in a file."""
    names = set()
    for path in [*(ROOT / "denoise_app").rglob("*.py"), ROOT / "app.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"denoise_app"}


def test_what_is_imported_is_installed() -> None:
    assert imported() - PROVIDED <= set().union(*map(pins, LOCKS))


def test_what_a_user_installs_is_imported() -> None:
    assert pins("requirements.txt").keys() - DATA - PARTNERS - PLUGINS <= imported()


def test_the_app_needs_no_compiler() -> None:
    assert "pesq" not in pins("requirements.txt")


def test_the_ranges_of_the_package_hold_what_is_locked() -> None:
    ranges = {canonicalize_name(each.name): each.specifier for each in map(Requirement, PROJECT["dependencies"])}
    lock = locked("requirements.txt")
    assert ranges.keys() == lock.keys()
    assert [name for name, version in lock.items() if version not in ranges[name]] == []


def test_the_ranges_of_extras_hold_what_is_locked() -> None:
    lock = locked(*LOCKS)
    for extra in PROJECT["optional-dependencies"].values():
        for each in map(Requirement, extra):
            assert lock[canonicalize_name(each.name)] in each.specifier, each
