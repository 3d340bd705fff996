"""Work that goes with whoever asked for it: Gradio tells who that is, and when they are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from gradio import queueing
from gradio.context import LocalContext

from denoise_app.serve.clients import address
from denoise_app.serve.guard import LATER, Refused, refuse
from denoise_app.serve.limits import ServiceLimits
from denoise_app.serve.quota import Quota
from denoise_app.serve.token import is_permitted
from denoise_app.ui.parts.language import say_for

from .session import Job

SOON = 10  # s after which one of a client's orders may have ended


class Line(queueing.Queue):
    """Gradio's queue with limits for each client and for all; what it lets in starts at once, the worker gives turns.

    Args:
        blocks: The page.
        limits: How many orders it takes.
        quota: How much sound each client has under way.
        token: What programs have to know; "" where everybody may call.
    """

    def __init__(self, blocks: gr.Blocks, limits: ServiceLimits, quota: Quota, token: str = "") -> None:
        super().__init__(
            live_updates=True,
            concurrency_count=blocks.max_threads,
            update_intervals=1,
            max_size=None,
            blocks=blocks,
            default_concurrency_limit=None,
        )
        self.limits, self._quota, self._token = limits, quota, token
        self.ANALYTICS_MAX_EVENTS = 1  # nobody looks at them, and each would cost memory and a table of all others
        self._jobs: dict[str, Job] = {}
        self._unread: dict[str, int] = {}

    async def push(self, body: Any, request: Any, username: str | None) -> Any:
        """Takes an order, or says in a sentence why not."""
        refused = self._refusal(body, request)
        if refused is None:
            return await super().push(body, request, username)
        refuse(request.scope, refused)
        return False, say_for(request)(f"refused.{refused.key}", **refused.facts), "queue_full"

    def _refusal(self, body: Any, request: Any) -> Refused | None:
        """Why an order is not taken; None where it is."""
        if self._token and self._is_for_programs(body) and not is_permitted(request.headers, self._token):
            return Refused(401, "token")
        client, under_way = client_of(request), list(self.event_ids_to_events.values())
        if sum(client_of(event.request) == client for event in under_way) >= self.limits.max_waiting_each:
            return Refused(429, "too-many-orders", SOON, limit=self.limits.max_waiting_each)
        if self._quota.is_spent(client):
            return Refused(429, "too-much-sound", LATER)
        return Refused(503, "busy", LATER) if len(under_way) >= self.limits.max_waiting else None

    def _is_for_programs(self, body: Any) -> bool:
        """Whether what is called has a name of its own; the page's handlers have none."""
        function = self.blocks.fns.get(body.fn_index) if isinstance(body.fn_index, int) else None
        return function is None or function.api_visibility == "public"

    def compute_analytics_summary(self, records: Any) -> Any:
        """Nothing: Gradio makes a pandas table of all orders so far after each of them."""
        return self.cached_event_analytics_summary

    async def clean_events(self, *, session_hash: str | None = None, event_id: str | None = None) -> None:
        """Ends what somebody asked for who is gone, whether it waits or computes."""
        await super().clean_events(session_hash=session_hash, event_id=event_id)
        for event in [event for jobs in self.active_jobs if jobs for event in jobs]:
            if event._id in self._jobs and (event.session_hash == session_hash or event._id == event_id):
                self._jobs[event._id].stop()

    async def reset_iterators(self, event_id: str) -> None:
        """Called by Gradio when an order has ended, however it did."""
        self._unread.pop(event_id, None)
        if job := self._jobs.pop(event_id, None):
            job.stop()
        await super().reset_iterators(event_id)

    async def end_unheard(self) -> None:
        """Ends orders whose news nobody has taken since the last call of this, as of a caller who never came back."""
        for event_id, event in list(self.event_ids_to_events.items()):
            messages: asyncio.Queue[Any] | None = self.pending_messages_per_session.get(event.session_hash)
            unread = messages.qsize() if messages is not None else None
            before = self._unread.get(event_id, 0)
            if unread is None or (before and unread >= before):
                await self.clean_events(event_id=event_id)
            else:
                self._unread[event_id] = unread

    def know(self, event_id: str, job: Job) -> None:
        """From now on a job ends with its order."""
        self._jobs[event_id] = job


def client_of(request: Any) -> str:
    """The address of whoever sent a request, of Starlette's or Gradio's kind; "" where it has none."""
    peer = getattr(getattr(request, "client", None), "host", "") or ""
    return address(peer, [request.headers.get("x-forwarded-for", "")] if hasattr(request, "headers") else ())


@contextmanager
def ending_with_client(job: Job) -> Iterator[None]:
    """Within it, a job is stopped once the client has gone whose order is being carried out."""
    line = getattr(LocalContext.blocks.get(None), "_queue", None)
    event_id = LocalContext.event_id.get(None)
    if isinstance(line, Line) and event_id:
        line.know(event_id, job)
    yield
