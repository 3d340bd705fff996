"""What the server holds of visits: little of each, and nothing once it is over.

Gradio keeps the whole configuration of the page for each of 10,000 visits, a megabyte or more, for links to a page's
state that this page does not offer; and what it drops beyond them keeps its files.
"""

from __future__ import annotations

import math
from copy import copy
from datetime import datetime
from typing import Any

import gradio as gr
from gradio.state_holder import SessionState, StateHolder

REST_SECONDS = 60.0  # after which a visit that holds nothing is forgotten


class _Nothing(dict[int, Any]):
    """A table that stays empty."""

    def __setitem__(self, key: int, value: Any) -> None:
        """Keeps nothing."""


class Visit(SessionState):
    """What Gradio has to know of a visit: its states, and the widgets that are not as on a fresh page."""

    def __init__(self, blocks: gr.Blocks, seconds: int) -> None:
        # as in Gradio's own, but for the configuration of every widget
        self.blocks_config = copy(blocks.default_config)
        self.config_values = _Nothing()
        self.state_data: dict[int, Any] = {}
        self._state_ttl: dict[int, Any] = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = seconds
        self._fresh = blocks.default_config.blocks

    def __setitem__(self, key: int, value: Any) -> None:
        # as in Gradio's own, but for the configuration
        if isinstance(block := self.blocks_config.blocks.get(key), gr.State):
            self._state_ttl[key] = block.time_to_live, datetime.now()
            self.state_data[key] = value
        else:
            self.blocks_config.blocks[key] = value

    def _update_config(self, key: int) -> None:
        """Nothing, as there is no configuration to keep."""

    def _update_value_in_config(self, key: int, value: Any) -> None:
        """Nothing, as there is no configuration to keep."""

    @property
    def holds(self) -> bool:
        """Whether it has something that goes by a time of its own, such as files."""
        return any(
            value is not None and component.time_to_live < math.inf for component, value, _ in self.state_components
        )

    @property
    def is_fresh(self) -> bool:
        """Whether nothing would be lost if it was made anew."""
        shown = self.blocks_config.blocks
        return not self.state_data and all(shown.get(key) is block for key, block in self._fresh.items())


class Visits(StateHolder):
    """All visits that the server knows.

    Args:
        blocks: The page.
        seconds: How long a visit's files are kept after its page was closed.
    """

    def __init__(self, blocks: gr.Blocks, seconds: int) -> None:
        super().__init__()
        self._seconds = seconds
        self.set_blocks(blocks)

    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = Visit(self.blocks, self._seconds)
        return super().__getitem__(session_id)

    def update(self, session_id: str) -> None:
        """Makes a visit the newest; beyond the capacity the oldest goes, with its files."""
        with self.lock:
            if session_id in self.session_data:
                self.session_data.move_to_end(session_id)
            oldest = next(iter(self.session_data)) if len(self.session_data) > self.capacity else None
        if oldest is not None:
            self.forget(oldest)

    def forget(self, session_id: str) -> None:
        """Ends a visit: its states are deleted, with their files."""
        self.delete_state(session_id)
        with self.lock:
            self.session_data.pop(session_id, None)
            self.time_last_used.pop(session_id, None)

    def tidy(self, now: datetime) -> None:
        """Forgets visits that have rested and hold nothing: closed pages, and calls of programs."""
        self.delete_all_expired_state()
        for session_id, last in list(self.time_last_used.items()):
            visit = self.session_data.get(session_id)
            if not isinstance(visit, Visit) or (now - last).total_seconds() < REST_SECONDS:
                continue
            if visit.is_fresh or (visit.is_closed and not visit.holds):
                self.forget(session_id)
