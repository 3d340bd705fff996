"""How the page is served for days on end: guarded, tidied up, and gone without a trace."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool

from denoise_app.serve import memory
from denoise_app.serve.folder import ProcessFolder
from denoise_app.serve.guard import Guard
from denoise_app.serve.limits import ServiceLimits
from denoise_app.serve.uploads import Uploads

from .parts.language import say_in
from .parts.site import Site
from .visits import Visits
from .worker.clients import Line
from .worker.worker import Worker

logger = logging.getLogger(__name__)

TIDY_SECONDS = 30.0
LINGER_SECONDS = 5.0  # after the last work has ended, so that its result can be fetched
REST_SECONDS = 60.0  # without work, after which memory is given back that the next work needs again


@cache
def own_folder() -> ProcessFolder:
    """The folder of all temporary files of this process; from the first call on they go there, Gradio's too."""
    folder = ProcessFolder(Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()))
    os.environ["GRADIO_TEMP_DIR"] = str(folder.room("uploads"))
    tempfile.tempdir = str(folder.path)  # also where Gradio lets results come from
    return folder


def lifespan(site: Site, limits: ServiceLimits) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """What surrounds the server's life, from its start to its end; FastAPI calls it with Gradio's app.

    It begins anew where another program was quicker to open a port that seemed free: Gradio then tries the next.
    """

    @asynccontextmanager
    async def alive(app: Any) -> AsyncIterator[None]:
        blocks = app.get_blocks()
        line = blocks._queue
        before = app.uploaded_file_dir, app.state_holder, app.middleware_stack
        uploads = Uploads(Path(app.uploaded_file_dir), limits, kept=(site.sessions.root,))
        visits = Visits(blocks, 60 * site.minutes)
        app.uploaded_file_dir, app.state_holder = uploads, visits
        # outermost, before Gradio's own: the stack is built by the time the server starts
        metrics = site.worker.metrics
        app.middleware_stack = Guard(app.middleware_stack, uploads, say_in, lambda: site.worker.ending, metrics)
        metrics.watch("orders", "Orders that were taken and have not ended.", lambda: len(line.event_ids_to_events))
        metrics.watch("visits", "Visits that the server holds something of.", lambda: len(visits.session_data))
        metrics.watch("files_bytes", "Bytes of uploads and results.", uploads.held)
        metrics.watch("disk_free_bytes", "Bytes that are free where files lie.", uploads.free)
        tidying = asyncio.create_task(_tidy_regularly(site, line, visits, uploads))
        try:
            yield
        finally:
            tidying.cancel()
            app.uploaded_file_dir, app.state_holder, app.middleware_stack = before

    return alive


async def _tidy_regularly(site: Site, line: Line, visits: Visits, uploads: Uploads) -> None:
    while True:
        await asyncio.sleep(TIDY_SECONDS)
        try:
            await line.end_unheard()
            visits.tidy(datetime.now())
            await run_in_threadpool(uploads.sweep, 60.0 * site.minutes)
            site.worker.rest(REST_SECONDS)
            await run_in_threadpool(memory.give_back)
        except Exception:
            logger.exception("tidying up failed")  # and is tried again


def settle() -> None:
    """What is there now stays as long as the program: it is no more looked through for garbage.

    Otherwise each look, every half minute and more, stops all threads for a fifth of a second, which live sound hears.
    """
    gc.collect()
    gc.freeze()


@contextmanager
def ended_by_sigterm(worker: Worker, seconds: float) -> Iterator[None]:
    """Within it, SIGTERM lets the work under way end, takes no other, and then ends the program as Ctrl-C does.

    Args:
        seconds: How long the work has.
    """

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a second one does not wait
        until, was_busy = time.monotonic() + seconds, worker.is_busy
        worker.drain(seconds)
        if was_busy:
            time.sleep(max(0.0, min(LINGER_SECONDS, until - time.monotonic())))
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
