"""An order from the press of a button to its end: taken, waiting, carried out, cancelled or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup

from denoise_app.inference.engine import Cancelled
from denoise_app.serve.turns import Place
from denoise_app.ui.texts import Say
from denoise_app.ui.worker.clients import ending_with_client
from denoise_app.ui.worker.session import Job, Session, Sessions

from .language import Words, say_for
from .markup import alert, finished, working
from .numbers import duration
from .problems import explained
from .scripts import READY, scroll_to
from .site import page_of

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
WORK: dict[str, Any] = {"concurrency_id": "work"}
"""For handlers that compute: they are orders, of which a client may have so many; the worker gives them their turns."""
AT_ONCE: dict[str, Any] = QUIET | {"queue": False}
"""For handlers that compute nothing: they are no orders, and answered however many of those wait."""

Given = dict[Any, Any]
Updates = dict[Any, Any]


def queued(say: Say, place: Place) -> Markup:
    """Where an order stands that waits for its turn."""
    return working(say, say("run.queued", ahead=place.ahead, time=duration(place.seconds)), None)


def under_way(words: Words, said: str, cancel: str) -> tuple[gr.HTML, gr.Button]:
    """Where it stands how an order does, and beside it the button that ends it; `said` and `cancel` are their ids."""
    with gr.Row(elem_classes=["under-way"]):
        return gr.HTML(elem_id=said), gr.Button(words("run.cancel"), size="lg", visible=False, elem_id=cancel)


class Orders:
    """The buttons of a tab that computes; one order of a visit is under way at a time.

    Args:
        sessions: Opens a visit.
        session: The visit, a gr.State.
        said: Where it stands how the order does.
        starts: Buttons that give an order.
        cancel: The button that ends it, hidden while there is nothing to end.
        cancelled, refused: Keys of what is said after a cancel, and where Gradio did not let the work begin.
    """

    def __init__(
        self,
        sessions: Sessions,
        session: gr.State,
        said: gr.HTML,
        starts: Sequence[gr.Button],
        cancel: gr.Button,
        cancelled: str,
        refused: str = "run.refused",
    ) -> None:
        self._sessions = sessions
        self._texts = cancelled, refused
        self.session, self.said, self.starts, self.cancel = session, said, starts, cancel

    @property
    def told(self) -> list[Any]:
        """What an order changes beside its outcome and its visit."""
        return [self.said, *self.starts, self.cancel]

    def wire(
        self, start: gr.Button, work: Callable[..., Any], asked: Any, shown: Sequence[Any], outcome: str, **queue: Any
    ) -> Any:
        """Lets a button give orders for some work; returns what `then` hangs on.

        Args:
            work: A handler that hands its updates through `carry_out`.
            asked, shown: Its inputs, and its outputs beside `told` and the visit.
            outcome: The part of the page where it shows, as a selector.
            queue: Where it waits.
        """
        pressed = start.click(
            self.on_press, self.session, [self.session, *self.told], queue=False, js=scroll_to(outcome), **QUIET
        )
        # "multiple": else the browser drops an order while a cancelled one has not ended
        run = pressed.then(work, asked, [self.session, *self.told, *shown], trigger_mode="multiple", **QUIET, **queue)
        run.failure(self.on_refused, self.session, self.told, queue=False, **QUIET)
        return run

    def open_after(self, loaded: Any) -> None:
        """Lets buttons that begin without effect give orders, once an event has chosen a denoiser or failed to."""
        for then in (loaded.success, loaded.failure):  # `then` of Gradio 6.31 leaves failures out
            then(None, self.starts, self.starts, js=READY, api_visibility="private")

    def on_press(self, session: Session[Any] | None, request: gr.Request) -> tuple[Any, ...]:
        """Takes the order at once, for there may be others whose turn comes first; from now on it can be cancelled."""
        say = say_for(request)
        session = session or self._sessions.open(page_of(request, self.session))
        session.begin()
        return session, working(say, say("run.waiting"), None), *self._buttons(busy=True)

    def on_refused(self, session: Session[Any] | None, request: gr.Request) -> tuple[Any, ...]:
        """Gradio did not let the work begin: too many others wait, or the server knows this page's files no more."""
        if session is not None:
            session.stop()
        say = say_for(request)
        return alert(say(self._texts[1])), *self._buttons(busy=False)

    def on_cancel(self, session: Session[Any] | None, request: gr.Request) -> tuple[Any, ...]:
        """Tells the work to stop, and says so before it has.

        The work then ends its order itself. Gradio's `cancels` would cut it off, and a slow browser that still has
        progress to show would show that over what is said here, for ever.
        """
        if session is not None:
            session.stop()
        return self._cancelled(say_for(request)), *self._buttons(busy=False)

    def carry_out(self, say: Say, session: Session[Any], work: Callable[[Job], Iterable[Updates]]) -> Iterator[Updates]:
        """What some work shows, and how it ended; nothing where it was cancelled or overtaken while it waited."""
        job, visit = session.job, {self.session: session}
        yield visit
        if job is None or not job.running:
            return
        ready = dict(zip((*self.starts, self.cancel), self._buttons(busy=False), strict=True))
        cancelled = {self.said: self._cancelled(say)}  # the buttons may serve the next order already
        try:
            with ending_with_client(job):
                for updates in work(job):
                    if not job.stopped:
                        yield visit | updates
            end: Updates = ready | {self.said: ""}
        except Cancelled:
            end = cancelled
        except Exception as error:
            end = ready | {self.said: alert(explained(say, error))}
        finally:
            job.end()
        if session.job is job:
            yield visit | (cancelled if job.stopped else end)

    def _cancelled(self, say: Say) -> str:
        return finished(say(self._texts[0]))

    def _buttons(self, busy: bool) -> tuple[gr.Button, ...]:
        return *(gr.Button(interactive=not busy) for _ in self.starts), gr.Button(visible=busy)
