"""What a process gives up so that a program runs as on a host of others: the network, the rights of root.

Linux alone; by its system calls, since neither Python 3.11 nor an ordinary user's programs have all of them.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000  # sched.h
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40  # sockios.h, if.h
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2  # prctl.h
CAP_DAC_READ_SEARCH, CAPABILITY_VERSION = 2, 0x2008_0522  # capability.h


def leave_network() -> None:
    """Goes on in a network that nothing but loopback is in; of an ordinary user's process while it has one thread.

    Raises:
        OSError: That is not permitted here. The process may be without any network then, so it should end.
    """
    if not sys.platform.startswith("linux"):
        raise OSError("only Linux has networks for single processes")
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", CLONE_NEWNET if uid == 0 else CLONE_NEWNET | CLONE_NEWUSER)
    if uid != 0:  # who keeps the own number, and alone
        for name, text in {"setgroups": "deny", "uid_map": f"{uid} {uid} 1", "gid_map": f"{gid} {gid} 1"}.items():
            Path("/proc/self", name).write_text(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP | IFF_RUNNING))


def become(uid: int) -> None:
    """Goes on as another user, once root; of root's rights that to read any file stays, for the next program too.

    That is for where Python itself lies in a folder of root's, which that user could not even start it from.

    Raises:
        OSError: That is not permitted here.
    """
    _call("prctl", PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    header = struct.pack("=Ii", CAPABILITY_VERSION, 0)
    reading = 1 << CAP_DAC_READ_SEARCH
    _call("capset", header, struct.pack("=6I", reading, reading, reading, 0, 0, 0))  # effective, permitted, inheritable
    _call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0)


def die_with_parent() -> None:
    """This process is killed when the one that started it has ended, however that ends."""
    if sys.platform.startswith("linux"):
        _call("prctl", PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _call(name: str, *arguments: int | bytes) -> None:
    """A function of the C library that returns 0 or sets errno."""
    library = ctypes.CDLL(None, use_errno=True)
    whole = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    if getattr(library, name)(*whole) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
