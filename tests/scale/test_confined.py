"""What a process gives up, it does not have: each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of Linux alone")


def said(code: str) -> str:
    command = [sys.executable, "-c", f"import os, socket, subprocess\nfrom denoise_app.scale import confined\n{code}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_only_loopback_is_left_of_the_network() -> None:
    told = said(
        "try:\n    confined.leave_network()\n"
        "except OSError as error:\n    raise SystemExit(print('not permitted:', error))\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname()).close()\n"
        "with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:\n"
        "    print(os.getuid(), os.strerror(udp.connect_ex(('192.0.2.1', 9))))"
    )
    if told.startswith("not permitted"):
        pytest.skip(told)
    assert told == f"{os.getuid()} Network is unreachable"


def test_who_was_root_reads_and_no_longer_writes(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    secret = tmp_path / "secret"
    secret.write_text("read")
    secret.chmod(0o600)
    program = f"import os; print(os.getuid(), open({str(secret)!r}).read(), os.access({str(secret)!r}, os.W_OK))"
    told = said(
        "confined.become(1000)\n"
        f"print(os.getuid(), os.getgid(), os.getgroups(), open({str(secret)!r}).read())\n"
        f"print(subprocess.check_output([{sys.executable!r}, '-c', {program!r}], text=True), end='')\n"
        f"try:\n    open({str(secret)!r}, 'w')\nexcept PermissionError:\n    print('closed')"
    )
    assert told.splitlines() == ["1000 1000 [] read", "1000 read False", "closed"]
