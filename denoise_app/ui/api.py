"""The page's work for programs: `/denoise`, to be called with gradio_client."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn

import gradio as gr
from gradio.utils import get_function_description
from starlette.requests import Request

from denoise_app.audio.names import printable
from denoise_app.inference.progress import Cancelled
from denoise_app.inference.selection import Selection
from denoise_app.inference.settings import number, treatment
from denoise_app.serve.clients import CURRENT
from denoise_app.serve.guard import Refused
from denoise_app.ui.clean import work
from denoise_app.ui.clean.settings import NO_LIMIT_DB, as_whole, is_left_out, settings_from
from denoise_app.ui.clean.work import Order, Result
from denoise_app.ui.parts.language import say_for
from denoise_app.ui.parts.orders import WORK
from denoise_app.ui.parts.receipt import report
from denoise_app.ui.worker.clients import client_of, ending_with_client
from denoise_app.ui.worker.session import Sessions
from denoise_app.ui.worker.worker import Worker

from .texts import Say

logger = logging.getLogger(__name__)

Answer = tuple[str, str, dict[str, Any]]


NEWEST = 3  # parameters of `/denoise` that version 0.2.0 did not have


class Page(gr.Blocks):
    """Blocks that know who asks, and answer in a sentence whatever goes wrong; Gradio itself answers null."""

    _say: ContextVar[Say] = ContextVar("say")

    async def process_api(self, *args: Any, **kwargs: Any) -> Any:
        request = kwargs.get("request")
        say = say_for(request)
        self._say.set(say)
        if request is not None:
            CURRENT.set(client_of(request))
        try:
            self._check_order(kwargs.get("block_fn", args[0] if args else None), request, kwargs.get("event_id"))
            return await super().process_api(*args, **kwargs)
        except Exception as error:  # before, in or after the function
            raise shown(error, say) from error

    def _check_order(self, function: Any, request: Any, event_id: str | None) -> None:
        """That what computes was let in as an order: Gradio's own address for direct calls knows no limits."""
        if request is None or not getattr(function, "queue", False):
            return
        if event_id not in getattr(self._queue, "event_ids_to_events", {}):
            raise gr.Error(self._say.get()("error.direct-call"), print_exception=False)

    def get_api_info(self, *args: Any, **kwargs: Any) -> Any:
        """What programs are told of `/denoise`, each parameter by its line in the function's docstring."""
        info = super().get_api_info(*args, **kwargs)
        described = {f"/{fn.api_name}": get_function_description(fn.fn)[1] for fn in self.fns.values() if fn.fn}
        for name, told in info["named_endpoints"].items():
            for parameter in told["parameters"]:
                parameter["python_type"]["description"] = described[name].get(parameter["parameter_name"], "")
        return info

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> Any:
        """The checked inputs; a call of `/denoise` may leave out the newest ones, as calls older than these do.

        A list of the page may have changed while what was chosen in it before was on its way.
        """
        if block_fn.api_name == "denoise" and 0 < len(block_fn.inputs) - len(inputs) <= NEWEST:
            inputs = [*inputs, *(widget.value for widget in block_fn.inputs[len(inputs) :])]
        try:
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except gr.Error as error:
            if block_fn.api_name == "denoise" or "is not in the list of choices" not in str(error):
                raise
            raise gr.Error(self._say.get()("error.stale-choice"), print_exception=False) from error
        except Exception as error:  # of whatever kind the checks of each widget raise
            say = self._say.get()
            raise gr.Error(say("error.bad-call"), title=say("error.title"), print_exception=False) from error


def endpoint(worker: Worker, sessions: Sessions) -> Callable[..., Iterator[Answer]]:
    """The function behind `/denoise`."""

    def denoise(
        audio: str | None,
        model: str,
        loss: str,
        strength: float,
        max_attenuation_db: float,
        high_band: str,
        loudness_lufs: float,
        true_peak_dbtp: float,
        channels: str,
        format: str,
        bit_depth: float,
        track: float,
        start: float,
        end: float,
        noise_profile: list[float],
        request: gr.Request,
    ) -> Iterator[Answer]:
        """Speech without its noise, at the rate, channels, length, bit depth and level of what came in.

        Args:
            audio: A sound file: wav, flac, ogg, mp3, m4a, or the sound track of mp4, webm or mov.
            model: A name such as "gru", "gru/hybrid" or "wiener", or best, fast or live; "" for the recommended one.
            loss: The training loss of its weights, such as "hybrid"; "" for the model's best.
            strength: 0 (the recording as it is) to 100 (all that the denoiser does).
            max_attenuation_db: 0 to 60: nothing becomes softer by more than this; 60 is no limit.
            high_band: "follow" (attenuate what lies above the denoiser's band with its top band), "keep" or "drop".
            loudness_lufs: -70 to -1: the integrated loudness to bring the result to; 0 to keep the level.
            true_peak_dbtp: -70 to 0: with a loudness, the true peak that the result stays below.
            channels: "each" on its own, their "mid", or "reference" (channel 2 is the noise; nlms only).
            format: "wav", "flac", "ogg", "mp3", "m4a"; "" for the recording's.
            bit_depth: 16, 24 or 32; 0 for the recording's.
            track: Of several sound tracks which one, from 1; 0 for the first, with a note where there are others.
            start: Seconds: where the stretch begins that is denoised; all else stays as it is, bit for bit.
            end: Seconds: where it ends; 0 for the end of the recording.
            noise_profile: [from, to] in seconds: the noise alone, for classical spectral methods; [] for none.

        Returns:
            The denoised sound, what was removed (both in the same format), and a report: recording, output, denoiser,
            settings, notes (key, message, and the numbers and names in it), and those metrics that are quick to tell
            (key -> unit, better, estimated, before, after).
        """
        say = say_for(request)
        session = sessions.open()
        try:
            if not audio:
                raise gr.Error(say("error.no-recording"), title=say("error.title"), print_exception=False)
            offer = worker.offers.recommended(model or None)
            if loss:
                offer = worker.offers.recommended(offer.model, loss)
            loudness = None if is_left_out(loudness_lufs) else loudness_lufs
            if true_peak_dbtp is not None:  # refused when wrong, also where no loudness makes use of it
                number("bad-true-peak", true_peak_dbtp)
            settings = settings_from(
                strength, max_attenuation_db, high_band, loudness, true_peak_dbtp, format, bit_depth
            )
            chosen = None if is_left_out(track) else int(number("bad-track", as_whole(track), whole=True))
            stretch = 0.0 if start is None else start, None if is_left_out(end) else end
            selection = Selection(*stretch, noise_profile or None)  # type: ignore[arg-type]
            order = Order(session.adopt(Path(audio)), offer, treatment(channels), settings, chosen, selection)
            job = session.begin()
            with ending_with_client(job):
                *_, result = work.denoise(worker, session, order, job, preview=False)
            assert isinstance(result, Result)
            *_, measured = work.measure(worker, session, result, slow=[False])
            told = report(work.made(measured))  # while the files have the names that it looks for
            removed = _named(work.write_removed(result), result.copy_name("removed"))
            yield _named(result.after, result.copy_name("denoised")), removed, told
        except Exception as error:
            raise shown(error, say) from error
        finally:
            sessions.close(session)  # Gradio has its own copy of what was yielded by now

    return denoise


def shown(error: Exception, say: Say) -> gr.Error:
    """The error that a program or a person is shown; what is nobody's but ours goes to the log, and no further."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, Cancelled):  # whoever asked has gone, or asked for something else
        return gr.Error(say("run.cancelled"), print_exception=False)
    if not hasattr(error, "reason"):
        logger.error("unexpected", exc_info=error)
    return gr.Error(say.problem(error), title=say("error.title"), print_exception=False)


def _named(path: Path, name: str) -> str:
    """A file by another name in the same folder."""
    return str(path.rename(path.with_name(name)))


def build(worker: Worker, sessions: Sessions) -> None:
    """Makes `/denoise`; to be called inside the page. Its widgets only name and type what is sent, nobody sees them."""
    with gr.Row(visible=False):
        inputs = [
            gr.Audio(type="filepath", label="audio"),
            gr.Textbox("", label="model"),
            gr.Textbox("", label="loss"),
            gr.Number(100, label="strength"),
            gr.Number(NO_LIMIT_DB, label="max_attenuation_db"),
            gr.Dropdown(["follow", "keep", "drop"], value="follow", label="high_band"),
            gr.Number(0, label="loudness_lufs"),
            gr.Number(-1, label="true_peak_dbtp"),
            gr.Dropdown(["each", "mid", "reference"], value="each", label="channels"),
            gr.Dropdown(["", "wav", "flac", "ogg", "mp3", "m4a"], value="", label="format"),
            gr.Number(0, label="bit_depth"),
            gr.Number(0, label="track"),
            gr.Number(0, label="start"),
            gr.Number(0, label="end"),
            gr.JSON([], label="noise_profile"),
        ]
        outputs = [gr.File(label="denoised"), gr.File(label="removed"), gr.JSON(label="report")]
        gr.Button().click(
            endpoint(worker, sessions), inputs, outputs, api_name="denoise", show_progress="hidden", **WORK
        )


UNKNOWN, LACKING = re.compile(r"Parameter `(.*)` is not a valid"), re.compile(r"No value provided for .*: (.*)")
LONGEST_NAME = 60  # of a parameter that is repeated to whoever sent it


def misnamed(request: Request, error: Exception) -> NoReturn:
    """Refuses a call by a name, or with parameters, that Gradio does not know and answers as if the server had failed.

    Raises:
        Refused: 404 or 422.
        Exception: `error` itself, where it came about elsewhere.
    """
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    message = str(error)
    if frame.f_code.co_name == "construct_args":
        for pattern, key in ((UNKNOWN, "no-parameter"), (LACKING, "parameter-missing")):
            if found := pattern.match(message):
                raise Refused(422, key, name=printable(found[1][:LONGEST_NAME]))
    in_route = frame.f_globals.get("__name__") == "gradio.routes"
    if isinstance(error, KeyError) and in_route and "/call/" in request.url.path:
        raise Refused(404, "not-here")
    raise error
