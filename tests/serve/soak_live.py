"""Live sessions against a running page, as so many people who talk at once: does each get its sound back in time?

    python tests/serve/soak_live.py http://127.0.0.1:7860 dpcrn/pesq --sessions 4 --minutes 10 --pid 4711

Each sends 16 ms of noise every 16 ms, as a browser does, and counts what comes back. Prints a line a minute, and at the
end as JSON: milliseconds from a chunk to its answer (median, 99 %, worst), chunks whose answer would have come too late
for a buffer of 16 ms and of 100 ms, what the server tells of its own times, samples that were sent and have not come
back, memory of the server in MiB before and after, and the load of the machine meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from websockets.asyncio.client import connect

RATE, CHUNK = 16_000, 256
BUFFERS = 16, 100  # ms


class Talker:
    """One who talks: sends in time, and keeps when each answer came."""

    def __init__(self, url: str, model: str, seconds: float) -> None:
        self.url, self.model, self.seconds = url.rstrip("/"), model, seconds
        self.waits: list[float] = []  # ms from a chunk to its answer
        self.told: list[dict[str, Any]] = []
        self.sent = self.come = 0

    async def talk(self) -> None:
        async with httpx.AsyncClient() as client:
            token = (await client.post(f"{self.url}/live/token")).json()["token"]
        model, _, loss = self.model.partition("/")
        hello = {"token": token, "model": model, "loss": loss or None, "strength": 100, "rate": RATE}
        address = self.url.replace("http", "ws", 1) + "/live/sound"
        async with connect(address, origin=self.url, compression=None) as socket:  # type: ignore[arg-type]
            await socket.send(json.dumps(hello))
            ready = json.loads(await socket.recv())
            assert ready["type"] == "ready", ready
            times: list[float] = []
            listening = asyncio.create_task(self._listen(socket, times))
            await self._speak(socket, times)
            await asyncio.sleep(1)
            listening.cancel()

    async def _speak(self, socket: Any, times: list[float]) -> None:
        noise = np.random.default_rng(0).normal(0, 0.05, RATE).astype("<f4")
        began = time.perf_counter()
        for count in range(int(self.seconds * RATE / CHUNK)):
            await asyncio.sleep(max(0.0, began + count * CHUNK / RATE - time.perf_counter()))
            times.append(time.perf_counter())
            start = count * CHUNK % (RATE - CHUNK)
            await socket.send(noise[start : start + CHUNK].tobytes())
            self.sent += CHUNK

    async def _listen(self, socket: Any, times: list[float]) -> None:
        async for message in socket:
            if isinstance(message, str):
                self.told.append(json.loads(message))
                continue
            self.come += len(message) // 4
            answered = self.come // CHUNK  # this answer could come once one chunk more had been sent
            self.waits.append(1000 * (time.perf_counter() - times[answered]))


def memory(pid: int | None) -> int | None:
    """MiB of a process."""
    if pid is None:
        return None
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) // 1024


def figures(talkers: list[Talker]) -> dict[str, Any]:
    waits = np.array([wait for talker in talkers for wait in talker.waits])
    status = [told for talker in talkers for told in talker.told if told["type"] == "status"]
    return {
        "answers": len(waits),
        "wait_ms": {"median": round(float(np.median(waits)), 2), "p99": round(float(np.percentile(waits, 99)), 1)}
        | {"worst": round(float(waits.max()), 1)},
        "late": {f"{buffer} ms": int((waits > buffer).sum()) for buffer in BUFFERS},
        "server_mean_ms": round(float(np.mean([told["mean_ms"] for told in status])), 2),
        "held_samples": sorted({talker.sent - talker.come for talker in talkers}),
        "refused": [told for talker in talkers for told in talker.told if told["type"] == "refused"],
        "load": os.getloadavg()[0],
    }


async def run(url: str, model: str, sessions: int, seconds: float, pid: int | None) -> dict[str, Any]:
    before = memory(pid)
    talkers = [Talker(url, model, seconds) for _ in range(sessions)]
    work = asyncio.gather(*(talker.talk() for talker in talkers))
    while not work.done():
        await asyncio.wait([work], timeout=60)
        if not work.done():
            print(json.dumps(figures(talkers) | {"memory_mib": memory(pid)}), flush=True)
    await work
    return figures(talkers) | {"memory_mib": [before, memory(pid)]}


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("url")
    parser.add_argument("model", help="a denoiser's key, such as dpcrn/pesq")
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--pid", type=int, help="the server's process, where it runs on this machine")
    given = parser.parse_args()
    found = asyncio.run(run(given.url, given.model, given.sessions, 60 * given.minutes, given.pid))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
