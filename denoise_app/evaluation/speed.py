"""How fast the denoisers are, and how much memory they take: `python -m denoise_app speed`.

Every measurement runs in a process of its own. Seconds depend on the machine; ratios between two measurements of one
process hardly do, so speed is also given as a multiple of the time that the STFT pair takes for the same sound.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from denoise_app.audio.clip import Samples
from denoise_app.audio.convert import mid
from denoise_app.audio.encodings import encoding_for
from denoise_app.audio.files import open_writer, probe, read
from denoise_app.audio.mix import noise
from denoise_app.denoiser import Denoiser
from denoise_app.inference import catalog, device, engine, threads
from denoise_app.inference.separation import runner
from denoise_app.inference.sources import block_frames
from denoise_app.metrics.report import measure, score
from denoise_app.metrics.table import METRICS
from denoise_app.plots.grid import COLUMNS, spectrogram_grid, waveform_grid
from denoise_app.plots.spectrogram import describe, linked_figure, spectrogram_db, speech_attenuation
from denoise_app.plots.waveform import envelope
from denoise_app.spectral.stft import SpectralDenoiser

DURATIONS = (10.0, 600.0, 3600.0)  # seconds of sound whose memory is measured
THREADS = (1, 2)
APP_THREADS = 1  # of the page and the command line, where a second one mostly waits for the first
SPEED_SECONDS = 20  # of sound
ROUNDS = 5  # the quickest counts: whatever else the machine does only slows
RATE, CHANNELS = 48_000, 2  # of the files whose memory and clicks are measured
CLICK_SECONDS = 10.0
CLICK_ROUNDS = 3
COMPARED = 6  # denoisers side by side, the lightest at hand
ACROSS = 3  # panels of a comparison beside each other
STARTS = 3
MEGABYTE = 1 << 20

Report = dict[str, Any]
Say = Callable[[str], None]


def run(
    models: Sequence[str] | None = None, durations: Sequence[float] = DURATIONS, say: Say = lambda line: None
) -> Report:
    """Measure everything.

    Args:
        models: Names in the catalogue; None for every denoiser at hand, each with its best loss.
        durations: Seconds of 48 kHz stereo whose memory is measured.
        say: Receives a line of text before each measurement.

    Returns:
        "machine", "startup", "comparison", and "denoisers": a row for each with "speed", "memory" and "click"; `table`
        explains them.

    Raises:
        CheckpointError: there is no model of such a name.
    """
    names = list(dict.fromkeys(models or [entry.model for entry in catalog.entries()]))
    pairs = [(name, catalog.recommended_loss(name)) for name in names]
    say("starting up")
    report: Report = {"machine": machine(), "startup": startup()}
    factors = {}
    for count in THREADS:
        say(f"speed with {count} threads")
        factors[count] = _elsewhere("speed", count, pairs=pairs)
    rows: list[dict[str, Any]] = [
        {
            "model": model,
            "loss": loss,
            "speed": {f"{threads}": factors[threads][i] for threads in THREADS},
            "memory": {},
        }
        for i, (model, loss) in enumerate(pairs)
    ]
    with tempfile.TemporaryDirectory(prefix="denoise-speed-") as folder:
        source = Path(folder, "in.wav")
        for seconds in (CLICK_SECONDS, *durations):
            write_long(source, seconds)
            for row in rows:
                task = "click" if "click" not in row else "memory"
                say(f"{row['model']}: {task}, {seconds:g} s of sound")
                found = _elsewhere(task, APP_THREADS, model=row["model"], loss=row["loss"], source=str(source))
                if task == "click":
                    row["click"] = found
                else:
                    row["memory"][f"{seconds:g}"] = found
        write_long(source, CLICK_SECONDS)
        light = sorted(range(len(pairs)), key=lambda i: factors[APP_THREADS][i]["ratio"])[:COMPARED]
        say(f"{len(light)} side by side, {CLICK_SECONDS:g} s of sound")
        report["comparison"] = _elsewhere(
            "comparison", APP_THREADS, pairs=[pairs[i] for i in light], source=str(source)
        )
    return report | {"denoisers": rows}


def _elsewhere(task: str, count: int, **arguments: Any) -> Any:
    """What a function of this file returns in a fresh process with so many threads."""
    command = [sys.executable, "-m", "denoise_app.evaluation.speed", task, json.dumps(arguments)]
    environment = os.environ | threads.environment(count)
    answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(answer.stdout)


def machine() -> dict[str, Any]:
    """The machine that absolute numbers hold for."""
    chosen = device.choose()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": chosen.name,
        "device_reason": chosen.reason,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    """Its name where Linux tells it, else its family."""
    listing = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", listing.read_text()) if listing.exists() else None
    return found[1] if found else platform.machine()


# ---------------------------------------------------------------------------------------------------------- starting


def startup() -> dict[str, float]:
    """Seconds from nothing to imported, by fresh interpreters: the quickest of some."""
    statements = {
        "python": "pass",
        "torch": "import torch",
        "denoise_app": "import denoise_app",
        "engine": "import denoise_app.inference.engine",
    }
    return {name: min(_seconds_of(statement) for _ in range(STARTS)) for name, statement in statements.items()}


def _seconds_of(statement: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - began


# ------------------------------------------------------------------------------------------------------------- speed


class Transform(SpectralDenoiser):
    """The STFT pair and nothing between: the reference that speed is compared with."""

    def initial_frames(self, batch: int) -> None:
        return None

    def enhance(self, spectra: Tensor, memory: Any) -> tuple[Tensor, Any]:
        return spectra, memory


def speed(pairs: Sequence[tuple[str, str | None]]) -> list[dict[str, float]]:
    """Per denoiser its real-time factor on the CPU, and the ratio to the STFT pair's, both measured in turns."""
    results = []
    for model, loss in pairs:
        denoiser, reference = catalog.load(model, loss, "cpu"), Transform()
        assert isinstance(reference, Denoiser)
        own, other = [], []
        for _ in range(ROUNDS):
            other.append(seconds_to_run(reference))
            own.append(seconds_to_run(denoiser))
        results.append({"seconds": min(own) / SPEED_SECONDS, "ratio": min(own) / min(other)})
    return results


def seconds_to_run(denoiser: Denoiser, rows: int = 1, seconds: float = SPEED_SECONDS) -> float:
    """Seconds that a denoiser takes for `rows` signals, in blocks as the engine gives them."""
    rate = denoiser.sample_rate
    sound = torch.from_numpy(noisy(rows, seconds, rate))
    driven = runner(denoiser, rows)
    began = time.perf_counter()
    for block in sound.split(block_frames(rate, rows), dim=1):
        driven.push(block)
    driven.finish()
    return time.perf_counter() - began


def noisy(rows: int, seconds: float, sample_rate: int) -> Samples:
    """Something that is loud and soft by turns, (rows, time): pink noise in syllables over white noise."""
    frames = round(seconds * sample_rate)
    rng = np.random.default_rng(0)
    syllables = np.maximum(0, np.sin(2 * np.pi * 3 * np.arange(frames, dtype=np.float32) / sample_rate))
    voice = np.stack([noise("pink", frames, sample_rate, rng) for _ in range(rows)]) * syllables
    hiss = np.stack([noise("white", frames, sample_rate, rng) for _ in range(rows)])
    loud = 0.1 * voice / np.abs(voice).max() + 0.01 * hiss / np.abs(hiss).max()
    return loud.astype(np.float32)


# ------------------------------------------------------------------------------------------------------------ memory


def memory(model: str, loss: str | None, source: str) -> dict[str, float]:
    """What denoising a file adds to this process, in MB, and the real-time factor of all of it."""
    denoiser = catalog.load(model, loss)
    idle = resident()
    forget_peak()
    began = time.perf_counter()
    rendered = engine.denoise_file(Path(source), Path(source).with_name("out.wav"), denoiser)
    taken = time.perf_counter() - began
    added = max(0.0, peak_resident() - idle)
    return {"idle_mb": idle, "added_mb": added, "real_time_factor": taken / rendered.info_out.seconds}


def write_long(path: Path, seconds: float) -> None:
    """A 16-bit 48 kHz stereo file of any length, written from one block."""
    block = noisy(CHANNELS, 10, RATE)
    frames = round(seconds * RATE)
    with open_writer(path, RATE, CHANNELS, encoding_for("wav", 16), frames) as writer:
        for begin in range(0, frames, block.shape[1]):
            writer.write(block[:, : frames - begin])


def resident() -> float:
    """MB of this process in memory now; the peak so far where the system does not tell."""
    return _status("VmRSS") or peak_resident()


def peak_resident() -> float:
    """The most MB that this process had in memory at once, since `forget_peak` where the system can forget."""
    if known := _status("VmHWM"):
        return known
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def forget_peak() -> None:
    """The peak begins anew, where the system is Linux."""
    switch = Path("/proc/self/clear_refs")
    if switch.exists():
        switch.write_text("5")


def _status(field: str) -> float | None:
    status = Path("/proc/self/status")
    found = re.search(rf"^{field}:\s*(\d+) kB", status.read_text(), re.MULTILINE) if status.exists() else None
    return int(found[1]) / 1024 if found else None


# ------------------------------------------------------------------------------------------------------------- click


def click(model: str, loss: str | None, source: str) -> dict[str, dict[str, float]]:
    """Seconds of each step from the click to the result, and of what comes after: the first time, and then the median.

    The steps are those of the page, with the models at hand loaded as they are after its warm-up.
    """
    denoiser = catalog.load(model, loss)
    first, *others = [_click(denoiser, Path(source)) for _ in range(1 + CLICK_ROUNDS)]
    return {"first": first, "then": {step: statistics.median(taken[step] for taken in others) for step in first}}


def _click(denoiser: Denoiser, source: Path) -> dict[str, float]:
    clock = _Clock()
    with tempfile.TemporaryDirectory(prefix="denoise-click-") as folder:
        work = Path(folder)
        probe(source)
        clock.lap("read")
        separation = engine.separate(source, denoiser, work)
        clock.lap("separate")
        rendered = engine.render(separation, engine.Settings(), work / "out.wav", work / "removed.wav")
        clock.lap("render")
        before, after, removed = (mid(read(path).samples)[0] for path in (source, rendered.path, work / "removed.wav"))
        panels = [spectrogram_db(samples, separation.info.sample_rate) for samples in (before, after, removed)]
        linked_figure(panels, speech_attenuation(panels[0], panels[1])).to_json()
        clock.lap("spectrograms")
        possible = [metric for metric in METRICS.values() if not metric.needs_reference]
        measure(before, after, separation.info.sample_rate, keys=[m.key for m in possible if not m.slow])
        clock.lap("fast metrics")
        result = clock.total
        measure(before, after, separation.info.sample_rate, keys=[m.key for m in possible if m.slow])
        clock.lap("slow metrics, later")
    return {"result": result, **clock.laps}


# -------------------------------------------------------------------------------------------------------- comparison


def comparison(pairs: Sequence[tuple[str, str | None]], source: str) -> dict[str, Any]:
    """Seconds of each step of a comparison, in the order of the page, the median of some; and their ratios.

    Returns:
        "names", "seconds" by step, "ratios" to the STFT pair's time for the same sound, and "megabytes" of the figures.
    """
    denoisers = {f"{model}/{loss}" if loss else model: catalog.load(model, loss) for model, loss in pairs}
    _compare(denoisers, Path(source))  # what is loaded at the first time is there by then
    rounds, sizes = zip(*(_compare(denoisers, Path(source)) for _ in range(CLICK_ROUNDS)), strict=True)
    seconds = {step: statistics.median(laps[step] for laps in rounds) for step in rounds[0]}
    pair = min(seconds_to_run(Transform(), seconds=CLICK_SECONDS) for _ in range(ROUNDS))
    ratios = {step: taken / pair for step, taken in seconds.items()}
    return {"names": list(denoisers), "seconds": seconds, "ratios": ratios, "megabytes": max(sizes) / MEGABYTE}


def _compare(denoisers: Mapping[str, Denoiser], source: Path) -> tuple[dict[str, float], int]:
    """Seconds of each step, and the bytes of the figures."""
    clock = _Clock()
    settings, results = engine.Settings(container="wav"), []
    with tempfile.TemporaryDirectory(prefix="denoise-comparison-") as folder:
        for k, denoiser in enumerate(denoisers.values()):
            separation = engine.separate(source, denoiser, Path(folder))
            results.append(engine.render(separation, settings, Path(folder, f"{k}.wav")).path)
            if k == 0:
                clock.lap("first sound")
        clock.lap("other sounds")
        rate = probe(source).sample_rate
        noisy, *sounds = (mid(read(path).samples)[0] for path in (source, *results))
        looks = [spectrogram_db(samples, rate, COLUMNS) for samples in (noisy, *sounds)]
        for look in looks[1:]:
            describe(looks[0], look)
        outlines = [envelope(noisy - samples, rate, COLUMNS) for samples in sounds]
        clock.lap("spectrograms")
        names = list(denoisers)
        figures = (
            spectrogram_grid(list(zip(["noisy", *names], looks, strict=True)), ACROSS),
            waveform_grid(list(zip(names, outlines, strict=True)), ACROSS),
        )
        size = sum(len(figure.to_json()) for figure in figures)
        clock.lap("figures")
        possible = [metric for metric in METRICS.values() if not metric.needs_reference]
        for slow in (False, True):
            for samples in (noisy, *sounds):
                score(samples, rate, keys=[metric.key for metric in possible if metric.slow == slow])
            clock.lap("slow metrics" if slow else "fast metrics")
    return clock.laps, size


class _Clock:
    """Names what the time since the last lap went into."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    @property
    def total(self) -> float:
        return sum(self.laps.values())

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now


# ------------------------------------------------------------------------------------------------------------- table


def table(report: Report) -> str:
    """What `run` found, as text."""
    facts, startup_seconds, rows = report["machine"], report["startup"], report["denoisers"]
    bare, torch_alone = startup_seconds["python"], startup_seconds["torch"]
    durations = list(rows[0]["memory"]) if rows else []
    steps = list(rows[0]["click"]["then"]) if rows else []
    sections = [
        f"Seconds hold for this machine: {facts['processor']}, {facts['cores']} cores; {facts['device']}. "
        f"{facts['device_reason']}\nx is the multiple of the time that the STFT pair alone takes for the same sound.",
        _section(
            "Start-up, seconds to import",
            ["", "seconds", "beyond torch"],
            [
                [name, f"{s - bare:.2f}", f"{s - torch_alone:+.2f}"]
                for name, s in startup_seconds.items()
                if name != "python"
            ],
        ),
        _section(
            f"Real-time factor of the denoiser alone, {SPEED_SECONDS} s, mono, CPU",
            ["", *(f"{threads} thread{'s' if threads > 1 else ''}" for threads in THREADS)],
            [
                [_label(row), *(f"{s['seconds']:.4f} ({s['ratio']:.1f} x)" for s in row["speed"].values())]
                for row in rows
            ],
        ),
        _section(
            "Memory that a 48 kHz stereo file adds, MB (real-time factor from file to file)",
            ["", *(f"{_length(float(seconds))}" for seconds in durations)],
            [
                [_label(row), *(f"{m['added_mb']:.0f} ({m['real_time_factor']:.3f})" for m in row["memory"].values())]
                for row in rows
            ],
        ),
        _section(
            f"From click to result, {CLICK_SECONDS:g} s of 48 kHz stereo, seconds (the first time)",
            ["", *steps],
            [
                [
                    _label(row),
                    *(f"{row['click']['then'][step]:.2f} ({row['click']['first'][step]:.2f})" for step in steps),
                ]
                for row in rows
            ],
        ),
    ]
    if rows:
        found = report["comparison"]
        title = f"{', '.join(found['names'])} side by side, {CLICK_SECONDS:g} s of 48 kHz stereo, one thread"
        steps = [[step, f"{found['seconds'][step]:.2f}", f"{found['ratios'][step]:.0f} x"] for step in found["seconds"]]
        sections.append(_section(f"{title}; figures of {found['megabytes']:.2f} MB", ["", "seconds", ""], steps))
    return "\n\n".join(sections)


def _label(row: dict[str, Any]) -> str:
    return f"{row['model']} ({row['loss']})" if row["loss"] else row["model"]


def _length(seconds: float) -> str:
    """A duration as a person says it.

    >>> _length(10), _length(600), _length(3600)
    ('10 s', '10 min', '1 h')
    """
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _section(title: str, head: list[str], rows: list[list[str]]) -> str:
    """A title and aligned columns below it."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows))
    return "\n".join([title, *(line.rstrip() for line in lines)])


TASKS: dict[str, Callable[..., Any]] = {"speed": speed, "memory": memory, "click": click, "comparison": comparison}

if __name__ == "__main__":  # what `_elsewhere` starts
    print(json.dumps(TASKS[sys.argv[1]](**json.loads(sys.argv[2]))))
