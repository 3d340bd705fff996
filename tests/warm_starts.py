"""Processes of this interpreter that begin with what is dear to import: forks of one that has done that and no more.

The fixture `warm` puts them in the place of what a test, or what it tests, starts by `python -m`, `python -c` or as
`spawn` does. They have the environment, folder, files, session and exit status of real ones (but 1 where Ctrl-C is not
caught). What depends on a fresh interpreter (its imports, its memory, what it reads from the environment as it begins)
is tested with a real one, and so is each kind once.
"""

from __future__ import annotations

import atexit
import importlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import types
from contextlib import chdir, suppress
from multiprocessing import context, forkserver, process
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, TextIO
from unittest.mock import patch

if TYPE_CHECKING:  # it takes a fork 0.1 s
    import pytest

# None of these leaves a thread, which a fork would lose: not so onnxruntime, and pyarrow (of Gradio) where it may.
DEAR = ["torch", "torch._dynamo", "torchaudio", "scipy.signal", "soundfile", "gradio", "gradio.http_server", "pytest"]
forkserver.set_forkserver_preload(DEAR)
THREADS = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
BEFORE = os.environ | THREADS | {"JE_ARROW_MALLOC_CONF": "background_thread:false"}  # as no test has changed it
READ_AS_THEY_BEGIN = ("gradio.http_server", "huggingface_hub.constants")  # the environment


class Process(context.ForkServerProcess):
    """In the environment of whoever starts it, as a spawned one."""

    environment: dict[str, str] | None = None

    def start(self) -> None:
        self.environment = dict(os.environ) if self.environment is None else self.environment
        with patch.dict(os.environ, BEFORE, clear=True), patch.object(tempfile, "tempdir", None), chdir(os.sep):
            forkserver.ensure_running()
        super().start()

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self.environment or {})
        for name in READ_AS_THEY_BEGIN:
            importlib.reload(importlib.import_module(name))
        super().run()


class Context(context.ForkServerContext):
    """In place of `spawn`'s."""

    Process = Process


class Popen(subprocess.Popen[Any]):
    """With a fork where this interpreter is to start, and nothing is to happen before that."""

    _fork: Process | None = None

    def _execute_child(self, args: Any, executable: Any, before: Any, *more: Any) -> None:
        _, _, folder, environment, _, _, _, *pipes, _, _, _, _, _, session, _ = more
        words = [args] if isinstance(args, str | bytes | os.PathLike) else list(map(os.fsdecode, args))
        if words[0] != sys.executable or words[1] not in ("-c", "-m") or before is not None:
            return super()._execute_child(args, executable, before, *more)
        given = enumerate((pipes[0], pipes[3], pipes[5]))  # its ends; -1 for what this process has
        files = [Connection(os.dup(number if file == -1 else file)) for number, file in given]
        ready, becoming = multiprocessing.Pipe(duplex=False)
        about = words[1:], folder or os.getcwd(), session, files, becoming
        self._fork = Process(target=_become, args=about, daemon=True)  # it goes with the tests
        self._fork.environment = environment and {name: os.fsdecode(value) for name, value in environment.items()}
        self._fork.start()
        for ours in (*files, becoming):
            ours.close()
        with ready, suppress(EOFError):
            ready.recv()  # nothing, once it has a session of its own and hears signals
        self.pid, self._child_created = self._fork.pid, True
        self._close_pipe_fds(*pipes)

    def _internal_poll(self, **more: Any) -> int | None:
        if self._fork is None:
            return super()._internal_poll(**more)
        if self.returncode is None:
            self.returncode = self._fork.exitcode
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self._fork is None:
            return super()._wait(timeout)
        self._fork.join(timeout)
        if self._internal_poll() is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode


def _streams() -> tuple[TextIO, TextIO, TextIO]:
    """As an interpreter makes them of its descriptors; those of the one that is forked are of other kinds of files."""
    encoding, _, errors = (part or None for part in os.environ.get("PYTHONIOENCODING", "").partition(":"))
    out = os.fdopen(1, "w", encoding=encoding, errors=errors, closefd=False)
    err = os.fdopen(2, "w", 1, encoding=encoding, errors="backslashreplace", closefd=False)
    return os.fdopen(0, encoding=encoding, errors=errors, closefd=False), out, err


def replace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a test, and what it tests, start forks."""
    spawn, real = Context(), multiprocessing.get_context
    monkeypatch.setattr(subprocess, "Popen", Popen)
    monkeypatch.setattr(multiprocessing, "get_context", lambda name=None: spawn if name == "spawn" else real(name))


def _become(words: list[str], folder: Any, session: bool, files: list[Connection], becoming: Connection) -> None:
    """What an interpreter does with its arguments; in the fork."""
    if session:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files):
        os.dup2(file.fileno(), number)
        file.close()
    sys.stdin, sys.stdout, sys.stderr = _streams()
    os.chdir(folder)
    process.ORIGINAL_DIR, process.current_process().daemon = os.getcwd(), False  # so that it may start others
    named = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = ["", *named, *(place for place in sys.path if place.startswith((sys.prefix, sys.base_prefix)))]
    becoming.close()
    option, what, *sys.argv[1:] = words
    try:
        if option == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            sys.argv[0], sys.modules["__main__"] = option, types.ModuleType("__main__")
            exec(what, vars(sys.modules["__main__"]))
    finally:  # as the interpreter's end, which `multiprocessing` leaves out
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
