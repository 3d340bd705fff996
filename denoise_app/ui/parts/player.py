"""The A/B player: several versions of one recording, switched at the same sample.

`build_player` makes the component, a gr.HTML with player.js and player.css; `player_value` makes what a handler returns
to it. Sound reaches the browser as plain PCM, block by block over a route of its own (`ROUTES`), so what it plays is
what the file holds: no decoder of the browser's stands between, nothing is written to disk for it, and no file gets an
address. Where a file holds more than 16 bits, blocks of long recordings are rounded to 16 bits of their own peak, with
an error 96 dB below it. A browser can ask only for the sounds that a `player_value` of this process was made from: the
value carries their names in a signed token, which only the visitor who was given it has. A sound that is computed when
it is listened to is fetched once its version is chosen, and is there as long as somebody holds it: the result that is
shown.

Other parts of the page talk to a player by DOM events: it sends "denoise:time" (detail: position and seconds in s,
playing, version, player) up from its element while the position moves, and follows "denoise:seek" (detail: position in
s) sent to its element, to anything inside or around it, or to the document. Where somebody sets a loop it sends
"denoise:region" (detail: from and to in s, null for none; player). `element.denoisePlayer` is its handle, see
player.js.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import gradio as gr
import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from denoise_app.audio import convert
from denoise_app.audio.clip import Samples
from denoise_app.audio.errors import AudioError
from denoise_app.ui import static

from .sounds import Sound, SoundFile, as_sound

WINDOW_SECONDS = 120.0  # the most that the browser holds of a long file
WINDOW_BYTES = 24_000_000  # ... of all versions and channels together, as they are sent
BLOCK_SAMPLES = 1 << 20  # one answer to the browser: 2 or 4 MB, so that a long window never lies in memory here
LOWEST_RATE, HIGHEST_RATE = 8_000, 96_000  # Hz; what every browser's AudioBuffer and AudioContext must take
OVERVIEW_COLUMNS = 1000
RESAMPLE_MARGIN = 0.1  # s read on both sides of a block that is resampled, far longer than the filter
MOST_VERSIONS = 17  # a recording and what sixteen denoisers made of it
NUMBER_KEYS = 10  # 0 for the tenth; later versions have none
NOISY = "noisy"  # key of the recording itself among what several denoisers made of it

_SECRET = secrets.token_bytes(32)  # signs what this process hands out; a restart makes old values unplayable
_COMPUTED: WeakValueDictionary[str, Sound] = WeakValueDictionary()  # what is no file, by its name

TEXTS = tuple(
    f"player.{key}"
    for key in (
        "name", "versions", "play", "pause", "position", "seconds", "loop", "set-start", "set-end", "clear-loop",
        "control", "match", "match-help", "volume", "level", "window", "empty", "loading", "computing", "gain", "mixed",
        "keys-where", "key-play", "key-switch", "key-switch-first", "key-seek", "key-region", "key-loop", "key-match",
        "said-version", "said-playing", "said-paused", "said-loop", "said-no-loop", "said-end", "said-window",
        "said-match-on", "said-match-off", "error-gone", "error-unreadable", "error-unreachable",
    )
)  # fmt: skip
"""The sentences that `build_player` needs in each language; "player.version.KEY" are the optional names of versions."""


@dataclass(frozen=True)
class Version:
    """One of the sounds to switch between.

    Attributes:
        key: Its name in code, unique in one player: "before", "after", "removed", "gru/hybrid".
        label: What the user reads, unless the texts have "player.version.KEY" in the user's language.
        sound: A sound, or its file; once it is gone the player says so.
        gain_db: What brings it to the loudness of its neighbours, in dB; played with loudness matching on. Turning the
            louder ones down (0 dB or less) never clips.
    """

    key: str
    label: str
    sound: Path | Sound
    gain_db: float = 0.0


def build_player(
    texts: Mapping[str, Mapping[str, str]], *, elem_id: str | None = None, visible: bool = True
) -> gr.HTML:
    """The player, empty until a handler returns a `player_value` to it; None empties it again.

    Args:
        texts: language ("en", "zh") -> key -> sentence; keys outside "player." are ignored. The browser's language
            decides which are shown, English where it is none of them.
        elem_id: Its id in the page; also `detail.player` of its events.
        visible: Whether it shows at first.

    Raises:
        ValueError: A language lacks one of TEXTS.
    """
    for language, sentences in texts.items():
        missing = [key for key in TEXTS if key not in sentences]
        if missing:
            raise ValueError(f"the player's texts in {language!r} lack {', '.join(missing)}")
    settings = {"texts": {language: _own(table) for language, table in texts.items()}, "player": elem_id or ""}
    return gr.HTML(
        html_template='<div class="denoise-player"></div>',
        css_template=static.text("player.css"),
        # not as props of the component: Gradio 6.31 loses those of a component that is hidden and shown again
        js_on_load=f"const settings = {json.dumps(settings)};\n{static.text('player.js')}",
        apply_default_css=False,
        server_functions=[player_overview],
        elem_id=elem_id,
        elem_classes=["denoise-player-block"],
        visible=visible,
    )


def player_value(versions: Sequence[Version], *, selected: str | None = None, blind: bool = False) -> dict[str, Any]:
    """What a handler returns to the player.

    The first version decides the rate: it is the recording itself, and a value with the same first file, as after a
    change of strength, keeps position, loop and playing. Versions at other rates are resampled to its rate.

    Args:
        versions: One to MOST_VERSIONS in the order of their number keys; those that follow later may be appended.
        selected: Key of the version that is heard first; the first one without it. It gives way to what the user chose
            before while the recording stays the same.
        blind: Shows nothing that would let eyes answer for ears: no outlines, no level, no gains; the versions' own
            letters are keys too. Another value pauses, so that nobody goes on hearing what was there before.

    Raises:
        ValueError: No version, too many, or two with the same key.
        AudioError: A file is missing or no sound.
    """
    keys = [version.key for version in versions]
    if not 0 < len(keys) <= MOST_VERSIONS or len(set(keys)) < len(keys):
        raise ValueError(f"a player takes 1 to {MOST_VERSIONS} versions with different keys, not {keys}")
    sounds = [as_sound(version.sound) for version in versions]
    infos = [sound.info for sound in sounds]
    rate = play_rate(infos[0].sample_rate)
    channels = max(_play_channels(info.channels) for info in infos)
    frames = max(round(info.seconds * rate) for info in infos)
    together = len(keys) * channels * rate  # samples in a second
    # as float32, of which most files need but half; rounding would take away by what a blind test hides a copy
    exact = blind or 4 * together * frames / rate <= WINDOW_BYTES
    window = min(WINDOW_SECONDS, WINDOW_BYTES / ((4 if exact else 2) * together))
    names = [sound.name for sound in sounds]
    return {
        "token": _sign(
            {"sounds": [_named(sound) for sound in sounds], "rate": rate, "channels": channels, "exact": exact}
        ),
        "recording": _digest(names[0]),
        "versions": [
            {
                "key": version.key,
                "label": version.label,
                "gain_db": float(version.gain_db),
                "sound": _digest(sound.name),
                "computed": not isinstance(sound, SoundFile),
            }
            for version, sound in zip(versions, sounds, strict=True)
        ],
        "selected": selected or keys[0],
        "sample_rate": rate,
        "channels": channels,
        "file_channels": infos[0].channels,
        "frames": frames,
        "window_frames": min(frames, int(window * rate)),
        "block_frames": BLOCK_SAMPLES // channels,
        "blind": blind,
    }


def number_key(place: int) -> str:
    """The key that chooses the version at a place, counted from 0; "" for the eleventh and later ones.

    >>> number_key(0), number_key(8), number_key(9), number_key(10)
    ('1', '9', '0', '')
    """
    return str((place + 1) % NUMBER_KEYS) if place < NUMBER_KEYS else ""


def play_rate(sample_rate: int) -> int:
    """The rate in Hz at which a file at `sample_rate` is played: its own wherever browsers can.

    >>> [play_rate(rate) for rate in (4000, 16000, 44100, 96000, 176400, 192000)]
    [8000, 16000, 44100, 96000, 88200, 96000]
    """
    if sample_rate < LOWEST_RATE:
        return LOWEST_RATE
    if sample_rate > HIGHEST_RATE:
        return 88_200 if sample_rate % 44_100 == 0 else HIGHEST_RATE
    return sample_rate


async def _answer(request: Request) -> Response:
    """The route of blocks: takes JSON, gives bytes, and in headers what they are."""
    try:
        asked = await request.json()
    except ValueError as problem:
        return JSONResponse(_problem(problem), status_code=400)
    block = await run_in_threadpool(player_samples, asked)
    if "error" in block:
        return JSONResponse(block, status_code=410 if block["error"] == "gone" else 422)
    headers = {"X-Format": block["format"], "X-Scale": repr(block["scale"]), "Cache-Control": "no-store"}
    return Response(block["data"], media_type="application/octet-stream", headers=headers)


ROUTES = [Route("/player/samples", _answer, methods=["POST"])]
"""What the web server has to know."""


def player_samples(request: dict[str, Any]) -> dict[str, Any]:
    """One block of one version.

    Args:
        request: token, version (its place in the value), start and frames at the value's rate.

    Returns:
        {"format": "int16" | "float32", "scale": what a sample of 1 means, "data": the little-endian samples, channel
        after channel}; or {"error": "gone" | "unreadable"}.
    """
    try:
        signed = _verify(request["token"])
        sound = _asked(signed, request["version"])
        frames = _whole(request["frames"], BLOCK_SAMPLES // signed["channels"])
        samples = _read(sound, signed["rate"], _whole(request["start"]), frames, signed["channels"])
    except (KeyError, TypeError, ValueError, OSError) as problem:
        return _problem(problem)
    return _encoded(samples, signed["exact"])


def player_overview(request: dict[str, Any]) -> dict[str, Any]:
    """Server function: the outline of a whole file, for the strip in which the window is moved.

    Args:
        request: token and version (its place in the value).

    Returns:
        {"peak": largest magnitude, "low", "high": at most OVERVIEW_COLUMNS whole numbers each, -127 to 127 = peak};
        or {"error": "gone" | "unreadable"}.
    """
    try:
        low, high = _outline(_asked(_verify(request["token"]), request["version"]))
    except (KeyError, TypeError, ValueError, OSError) as problem:
        return _problem(problem)
    peak = float(max(-low.min(initial=0), high.max(initial=0)))
    coarse = [np.rint(edge * (127 / peak if peak else 0.0)).astype(int).tolist() for edge in (low, high)]
    return {"peak": peak, "low": coarse[0], "high": coarse[1]}


def _own(sentences: Mapping[str, str]) -> dict[str, str]:
    """The player's sentences without their prefix."""
    return {key.removeprefix("player."): text for key, text in sentences.items() if key.startswith("player.")}


def _play_channels(channels: int) -> int:
    """More than two channels are heard as their mean: what a browser would make of them depends on their number."""
    return channels if channels <= 2 else 1


def _digest(name: str) -> str:
    """Another name for a sound, which tells nothing of it."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _named(sound: Sound) -> dict[str, str]:
    """What a token holds of a sound; one that is computed is remembered as long as it is held elsewhere."""
    if isinstance(sound, SoundFile):
        return {"path": str(sound.path.resolve()), "state": sound.name}
    _COMPUTED[sound.name] = sound
    return {"computed": sound.name}


def _asked(signed: dict[str, Any], version: Any) -> Sound:
    """The sound of a version.

    Raises:
        PermissionError: It was computed for a result that is no longer there.
    """
    named = signed["sounds"][_whole(version, len(signed["sounds"]) - 1)]
    if "path" in named:
        return SoundFile(Path(named["path"]))
    if named["computed"] not in _COMPUTED:
        raise PermissionError("what this sound was computed from is gone")
    return _COMPUTED[named["computed"]]


def _sign(content: dict[str, Any]) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(content).encode()).decode()
    return f"{payload}.{hmac.new(_SECRET, payload.encode(), 'sha256').hexdigest()}"


def _verify(token: str) -> dict[str, Any]:
    """What `_sign` was given.

    Raises:
        PermissionError: Not signed by this process.
    """
    payload, _, signature = str(token).partition(".")
    if not hmac.compare_digest(hmac.new(_SECRET, payload.encode(), "sha256").hexdigest().encode(), signature.encode()):
        raise PermissionError("this token was not made here")
    content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload))
    return content


def _whole(number: Any, most: int | None = None) -> int:
    """A whole number of at least 0 and at most `most` out of what a browser sent."""
    if type(number) is not int or number < 0 or (most is not None and number > most):
        raise ValueError(f"expected a whole number from 0 to {most}, not {number!r}")
    return number


def _problem(problem: Exception) -> dict[str, Any]:
    """What was deleted after its minutes, or a token of an earlier process, is gone; all else is unreadable."""
    missing = isinstance(problem, AudioError) and problem.reason == "missing"
    return {"error": "gone" if missing or isinstance(problem, PermissionError) else "unreadable"}


def _read(sound: Sound, rate: int, start: int, frames: int, channels: int) -> Samples:
    """(channels, frames) of a sound at `rate` from `start` on, zeros past its end."""
    info = sound.info
    if info.sample_rate == rate:
        samples = sound.read(min(start, info.frames), min(frames, max(0, info.frames - start)))
    else:
        samples = _read_resampled(sound, info.sample_rate, rate, start, frames)
    if samples.shape[0] > 2:
        samples = convert.mid(samples)  # (C, T) -> (1, T)
    samples = convert.fit(samples, frames)
    return np.broadcast_to(samples, (channels, frames)) if samples.shape[0] < channels else samples


def _read_resampled(sound: Sound, from_rate: int, to_rate: int, start: int, frames: int) -> Samples:
    """(C, frames or fewer) at `to_rate`; each block is resampled with its surroundings, so that blocks join."""
    step = to_rate // math.gcd(from_rate, to_rate)  # frames after which both rates meet at a whole frame again
    margin = math.ceil(RESAMPLE_MARGIN * to_rate / step) * step
    first = max(0, start // step * step - margin)
    source_first = first * from_rate // to_rate
    source_frames = math.ceil((start + frames + margin - first) * from_rate / to_rate)
    samples = sound.read(source_first, source_frames)
    return convert.resample(samples, from_rate, to_rate)[:, start - first : start - first + frames]


def _encoded(samples: Samples, exact: bool) -> dict[str, Any]:
    """A block as 16-bit samples where that loses nothing; else exactly, or as 16 bits of its peak."""
    whole = samples * 32768.0
    if np.all((whole == np.rint(whole)) & (whole >= -32768) & (whole <= 32767)):
        return {"format": "int16", "scale": 1.0, "data": whole.astype("<i2").tobytes()}
    if exact:
        return {"format": "float32", "scale": 1.0, "data": samples.astype("<f4").tobytes()}
    scale = float(np.abs(samples).max()) * 32768 / 32767
    return {"format": "int16", "scale": scale, "data": np.rint(whole / scale).astype("<i2").tobytes()}


def _outline(sound: Sound) -> tuple[Samples, Samples]:
    """Lowest and highest value in each of at most OVERVIEW_COLUMNS stretches, over all channels and zero."""
    low, high = np.zeros((2, OVERVIEW_COLUMNS), np.float32)
    hop = math.ceil(sound.info.frames / OVERVIEW_COLUMNS)
    position = 0
    for block in sound.blocks():
        end = min(position + block.shape[1], hop * OVERVIEW_COLUMNS)  # a lossy file may be longer than announced
        columns = np.arange(position // hop, math.ceil(end / hop))
        starts = np.maximum(columns * hop - position, 0)
        if columns.size:
            low[columns] = np.minimum(low[columns], np.minimum.reduceat(block.min(axis=0), starts))
            high[columns] = np.maximum(high[columns], np.maximum.reduceat(block.max(axis=0), starts))
        position += block.shape[1]
    used = min(math.ceil(position / hop), OVERVIEW_COLUMNS)
    return low[:used], high[:used]
