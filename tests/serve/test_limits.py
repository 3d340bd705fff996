"""What a server asks of its host."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
@pytest.mark.parametrize(("soft", "hard", "found"), [(256, 512, 512), (512, 512, 512)])
def test_a_server_may_open_what_its_host_permits(soft: int, hard: int, found: int) -> None:
    code = (
        "import resource\nfrom denoise_app.serve.limits import raise_open_files\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "raise_open_files()\nprint(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(found), str(hard)]
