"""What is installed is used, what is used is installed, and each pin says why it is there."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINE = re.compile(r"(?P<name>[\w-]+)==(?P<version>[\w.]+) +# (?P<reason>.+)")
DATA = {"speechmos"}  # packages whose files are read, through importlib.resources
PARTNERS = {"torchaudio"}  # refuses any other torch than its own number: pinned together or not at all


def pins(name: str) -> dict[str, str]:
    """Package -> reason."""
    lines = (ROOT / name).read_text().splitlines()
    matches = {line: LINE.fullmatch(line) for line in lines if line and not line.startswith(("#", "-r"))}
    assert all(matches.values()), "each line is NAME==VERSION  # reason"
    return {match["name"]: match["reason"] for match in matches.values() if match}


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
    user, developer = pins("requirements.txt"), pins("requirements-dev.txt")
    assert imported() <= (user | developer).keys()


def test_what_a_user_installs_is_imported() -> None:
    assert pins("requirements.txt").keys() - DATA - PARTNERS <= imported()


def test_the_app_needs_no_compiler() -> None:
    assert "pesq" not in pins("requirements.txt")
