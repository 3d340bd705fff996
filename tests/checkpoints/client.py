"""The Hub's real client in a process of its own: reads calls as lines of JSON, answers each with one."""

from __future__ import annotations

import importlib
import json
import os
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from denoise_app.checkpoints.manifest import CheckpointError


def plain(value: Any) -> Any:
    """As JSON: data classes as objects, errors as their reason and sentence."""
    if isinstance(value, CheckpointError):
        return {"reason": value.reason, "message": str(value)}
    if is_dataclass(value):
        return {entry.name: plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def answer(function: str, arguments: list[Any], env: dict[str, str]) -> Any:
    module, _, name = function.rpartition(".")
    for key in [key for key in os.environ if key.startswith("DENOISE_")]:
        del os.environ[key]
    os.environ.update(env)
    try:
        return plain(getattr(importlib.import_module(module), name)(*arguments))
    except CheckpointError as error:
        return plain(error)


if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr  # nothing else may write between the answers
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), file=out, flush=True)
