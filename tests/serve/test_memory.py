"""Memory is given back, and threads share heaps: counted in processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

GNU = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the GNU C library is Linux's")

THREADS = """
import ctypes, re, sys, threading
from denoise_app.serve import memory

if sys.argv[1] == "few":
    assert memory.keep_few_heaps()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
barrier = threading.Barrier(6)

def work():
    library.malloc(1000)
    barrier.wait()

threads = [threading.Thread(target=work) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
library.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(library.fopen(sys.argv[2].encode(), b"w"))
library.malloc_info(0, file)
library.fclose(file)
print(len(re.findall("<heap", open(sys.argv[2]).read())))
"""

FREED = """
import ctypes, os
from denoise_app.serve import memory

def pages():
    return int(open("/proc/self/statm").read().split()[1])

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
blocks = [library.malloc(100_000) for _ in range(1000)]
for block in blocks:
    ctypes.memset(ctypes.c_void_p(block), 1, 100_000)
last = library.malloc(100_000)  # lies above them, so that the heap cannot shrink by itself
for block in blocks:
    library.free(ctypes.c_void_p(block))
full = pages()
assert memory.give_back()
print((full - pages()) * os.sysconf("SC_PAGE_SIZE") / 1e6)
"""


def told(script: str, *arguments: str) -> float:
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@GNU
def test_threads_share_two_heaps(tmp_path: object) -> None:
    assert told(THREADS, "many", f"{tmp_path}/many.xml") > 2
    assert told(THREADS, "few", f"{tmp_path}/few.xml") <= 2


@GNU
def test_what_was_freed_goes_back_to_the_system() -> None:
    assert told(FREED) > 80  # of 100 MB
