"""A tab as a browser sees it, without one: widgets with values, and what handlers make of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import gradio as gr
from gradio.routes import App

from denoise_app.ui.worker.session import Session

ENGLISH = SimpleNamespace(headers={"accept-language": "en-US,en;q=0.9"})
CHINESE = SimpleNamespace(headers={"accept-language": "zh-CN,zh;q=0.9"})


@contextmanager
def unserved() -> Iterator[gr.Blocks]:
    """Blocks without the routes of a server, which take a hundred times as long as the widgets."""
    with patch.object(App, "create_app"), gr.Blocks(analytics_enabled=False) as blocks:
        yield blocks


class TabPage:
    """A tab with orders; `values` holds what its widgets hold, those of a gr.Button as a dict of its properties."""

    def __init__(self, tab: Any, values: dict[Any, Any], request: Any) -> None:
        self.tab, self.values, self.request = tab, values, request

    def take(self, updates: dict[Any, Any]) -> None:
        for widget, update in updates.items():
            component = isinstance(update, gr.blocks.Block)
            self.values[widget] = self.changed(widget, update.constructor_args) if component else update

    def changed(self, widget: Any, properties: dict[str, Any]) -> Any:
        """What a widget holds after some of its properties were set."""
        known = self.values.get(widget)
        return known | properties if isinstance(known, dict) else properties

    def follow(self, handler: Iterable[dict[Any, Any]]) -> list[dict[Any, Any]]:
        steps = []
        for step in handler:
            self.take(step)
            steps.append(step)
        return steps

    def order(self) -> None:
        """What the press of a button does before any work begins."""
        orders = self.tab.orders
        pressed = orders.on_press(self.values[self.tab.session], self.request)
        self.take(dict(zip((self.tab.session, *orders.told), pressed, strict=True)))
        assert self.values[self.tab.start]["interactive"] is False and self.values[self.tab.cancel]["visible"] is True

    def cancel(self) -> None:
        orders = self.tab.orders
        self.take(dict(zip(orders.told, orders.on_cancel(self.values[self.tab.session], self.request), strict=True)))

    def refuse(self) -> None:
        """What the browser does where Gradio says that the work failed before it began."""
        orders = self.tab.orders
        told = orders.on_refused(self.values[self.tab.session], self.request)
        self.take({widget: update for widget, update in zip(orders.told, told, strict=True) if update != gr.skip()})

    @property
    def ready(self) -> bool:
        """Whether an order can be given, and none be cancelled."""
        start, cancel = self.values[self.tab.start], self.values[self.tab.cancel]
        return start["interactive"] is True and cancel["visible"] is False

    @property
    def session(self) -> Session:
        found: Session = self.values[self.tab.session]
        return found

    @property
    def said(self) -> str:
        return str(self.values[self.tab.said])
