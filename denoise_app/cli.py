"""The command line: denoise, replay, models, train, evaluate, export, speed, publish, space, loadtest.

Results go to standard output, as text or with --json as JSON; progress, notes and errors go to standard error. The exit
status is 0 when all went well, 1 when something failed, 2 for a wrong call, 130 after an interruption. Whatever names
hold, what is printed is plain text; whoever stops reading it ends no work.
"""

from __future__ import annotations

import argparse
import codecs
import io
import json
import math
import os
import sys
from collections.abc import Sequence
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO
from urllib.parse import quote

from denoise_app.audio.names import UNSHOWN, printable
from denoise_app.version import __version__

FAILED, INTERRUPTED = 1, 130
LEADERBOARD = Path("results/leaderboard.json")
PAIRS = Path("../shared/data/dev")  # the leaderboard's recordings, which are not the project's to give away
MANIFEST = "denoise-manifest.jsonl"  # of a batch that can be resumed
BAR, LINES = 20, 20  # characters of the bar, and how often it is written where it cannot be redrawn
INSTALLED = "denoise-app"  # the command that `pip install` makes
SPEECH = Path("tests/golden/speech.flac")  # the recording on the page on the losses


class Failure(Exception):
    """A command cannot do what it was asked; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args, unknown = build_parser().parse_known_args(argv)
    if unknown:
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    from denoise_app.audio.errors import UserError
    from denoise_app.inference import threads

    threads.use(args.threads)  # before torch is loaded

    try:
        return int(args.run(args))
    except (UserError, Failure, OSError) as error:
        status(f"error: {error}")
        return FAILED
    except KeyboardInterrupt:
        status("interrupted")
        return INTERRUPTED


def status(text: str, passing: bool = False) -> None:
    """Say something on standard error; what is passing is for a terminal, until the next line takes its place."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    if terminal or not passing:
        clear, end = ("\r\x1b[K", "" if passing else "\n") if terminal else ("", "\n")
        with suppress(OSError):  # whether or not anybody can be told, the work goes on
            put(sys.stderr, clear + plain(text), end)


def report(args: argparse.Namespace, data: Any, text: str) -> None:
    """The command's result on standard output, as it was asked for."""
    with suppress(BrokenPipeError):  # who read it has read enough
        put(sys.stdout, as_json(data, getattr(sys.stdout, "encoding", None)) if args.json else plain(text))


def plain(text: str) -> str:
    """Lines that do nothing to a terminal but show."""
    return "\n".join(map(printable, text.split("\n")))


def as_json(data: Any, encoding: str | None) -> str:
    """JSON that any terminal shows and any program reads, whatever the names in it."""
    for ascii in (False, True):
        written = json.dumps(data, indent=1, ensure_ascii=ascii)
        text = UNSHOWN.sub(lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], written)
        with suppress(UnicodeEncodeError):
            text.encode(encoding or "ascii")
            break
    return text


def put(stream: TextIO | None, text: str, end: str = "\n") -> None:
    """Prints at once, by escapes what the stream cannot spell; an OSError is raised here, not as Python ends."""
    if stream is None:  # closed before Python began
        return
    if isinstance(stream, io.TextIOWrapper) and stream.errors != "backslashreplace":
        stream.reconfigure(errors="backslashreplace")
    try:
        print(text, end=end, file=stream, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise


class Parser(argparse.ArgumentParser):
    """One whose errors are a sentence, and do nothing to a terminal, whatever was typed."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {printable(message)}\n{self.prog} --help lists what it takes.\n")


def path_data(name: str, path: Path | str) -> dict[str, str]:
    """A path for programs; one that is no UTF-8 in a readable form, and its bytes, percent-encoded, beside it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return {name: printable(str(path)), f"{name}_bytes": quote(os.fsencode(path))}
    return {name: str(path)}


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets `run` to the function that carries it out."""
    installed = Path(sys.argv[0]).stem == INSTALLED
    parser = Parser(
        prog=INSTALLED if installed else "python -m denoise_app", description="Remove background noise from speech."
    )
    parser.add_argument("--version", action="version", version=f"denoise-app {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (
        add_denoise,
        add_replay,
        add_models,
        add_train,
        add_average,
        add_evaluate,
        add_export,
        add_speed,
        add_publish,
        add_space,
        add_loadtest,
    ):
        add(commands)
    return parser


def add_command(commands: Any, run: Any, name: str, description: str, hidden: bool = False) -> argparse.ArgumentParser:
    """A command with what all of them have; a hidden one works without being listed."""
    listed = {} if hidden else {"help": description}
    command: argparse.ArgumentParser = commands.add_parser(name, description=description, **listed)
    command.set_defaults(run=run, threads=1, parser=command)
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    return command


def add_threads(command: argparse.ArgumentParser) -> None:
    command.add_argument("--threads", type=positive, metavar="N", help="per process (default: 1, mostly the fastest)")


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def between(low: float, high: float) -> Any:
    """A parser of numbers in [low, high]."""

    def number(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not in {low:g} to {high:g}")
        return value

    return number


def time(text: str) -> float:
    """Seconds, as 75.5 or 1:15.5 say them."""
    from denoise_app.inference.errors import SettingError
    from denoise_app.inference.selection import seconds

    try:
        return seconds(text)
    except SettingError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def interval(text: str) -> tuple[float, float]:
    """Two times, as 1-3 or 0:01-0:03 say them."""
    start, dash, end = text.partition("-")
    if not dash:
        raise argparse.ArgumentTypeError(f"{text} is no stretch: give FROM-TO, as 0:01-0:03")
    return time(start), time(end)


# denoise


STRETCH = "from here on (seconds or mm:ss); the rest stays as it is, bit for bit"


def add_denoise(commands: Any) -> None:
    command = add_command(commands, run_denoise, "denoise", "Denoise files, and all sound files in folders.")
    command.add_argument(
        "inputs",
        nargs="*",
        metavar="IN",
        help="a sound file, a folder of them, or a pattern: '*.wav'; or their address, as s3://bucket/folder",
    )
    command.add_argument(
        "--from-file", metavar="FILE", help="a list of inputs, one a line or as find -print0 writes it; - for stdin"
    )
    command.add_argument(
        "-o", "--out", required=True, metavar="FOLDER", help="or an address; keeps names and subfolders"
    )
    command.add_argument(
        "--jobs", type=positive, metavar="N", help="processes side by side; default: 1, of a cluster all"
    )
    command.add_argument(
        "--engine", choices=("processes", "ray"), default="processes", help="of this machine (default), or of a cluster"
    )
    command.add_argument("--address", metavar="HOST:PORT", help="of a Ray cluster; default: one on this machine")
    command.add_argument(
        "--patience", type=between(1, 1e6), metavar="SECONDS", help="without a result of the cluster; default: 3600"
    )
    command.add_argument(
        "--manifest", type=Path, metavar="FILE", help="what became of each file, a line of JSON each, added to it"
    )
    command.add_argument(
        "--resume",
        action="store_true",
        help=f"leave out what the manifest has as done, unchanged since; default: {MANIFEST} in the folder of results",
    )
    command.add_argument(
        "--model", help="as gru or gru/hybrid, or best, fast, live; default: the recommended one; `models` lists all"
    )
    command.add_argument("--loss", help="the training loss of the checkpoint; default: the model's best")
    command.add_argument("--device", help="cpu, cuda, cuda:1, mps; default: the fastest that is there")
    command.add_argument("--strength", type=between(0, 100), default=100, metavar="PERCENT", help="default: 100")
    command.add_argument(
        "--max-attenuation", type=between(0, 200), default=math.inf, metavar="DB", help="never take away more than this"
    )
    command.add_argument(
        "--high-band",
        choices=("follow", "keep", "drop"),
        default="follow",
        help="the band above the model's: attenuate it with the model's top band, keep it, or drop it",
    )
    command.add_argument("--loudness", type=between(-70, 0), metavar="LUFS", help="default: as the input")
    command.add_argument(
        "--true-peak", type=between(-20, 0), default=-1.0, metavar="DBTP", help="a cap with --loudness; default: -1"
    )
    command.add_argument(
        "--channels",
        choices=("each", "mid", "reference"),
        default="each",
        help="each on its own, their mean, or the second one as a noise reference (nlms)",
    )
    command.add_argument("--from", dest="start", type=time, default=0.0, metavar="TIME", help=f"denoise only {STRETCH}")
    command.add_argument("--to", dest="end", type=time, metavar="TIME", help="to here; default: the end")
    command.add_argument(
        "--noise-profile",
        type=interval,
        metavar="FROM-TO",
        help="the noise alone, as 0:01-0:03, for spectral-subtraction, wiener and mmse-lsa",
    )
    add_threads(command)
    command.add_argument("--format", choices=("wav", "flac", "ogg", "mp3", "m4a"), help="default: as the input")
    command.add_argument("--bit-depth", type=int, choices=(16, 24, 32), help="default: as the input")
    command.add_argument("--track", type=positive, metavar="N", help="of several sound tracks; default: the first")
    command.add_argument("--strict", action="store_true", help="notes are failures: nothing is written of such a file")


def run_denoise(args: argparse.Namespace) -> int:
    from denoise_app.inference import catalog
    from denoise_app.inference.engine import Selection, Settings
    from denoise_app.scale import items, places, run, work

    inputs = [places.here(name) for name in args.inputs + (listed(args.from_file) if args.from_file else [])]
    args.out = places.here(args.out)
    if not inputs:
        raise Failure("nothing is named: give files, folders or --from-file")
    entry = catalog.find(args.model or catalog.recommended()[0], args.loss)
    settings = Settings(
        strength=args.strength,
        max_attenuation_db=args.max_attenuation,
        high_band=args.high_band,
        loudness_lufs=args.loudness,
        true_peak_dbtp=args.true_peak,
        container=args.format,
        bit_depth=args.bit_depth,
    )
    asked = work.Work(
        model=entry.model,
        loss=entry.loss,
        weights=entry.manifest.network_sha256 if entry.manifest else None,
        settings=settings,
        channels=args.channels,
        track=args.track,
        selection=Selection(args.start, args.end, args.noise_profile),
        strict=args.strict,
        device=args.device,
    )
    planned = items.plan(inputs, args.out)
    passed_over = sum(planned.passed_over.values())
    if passed_over:
        kinds = ", ".join(f"{kind} {count}" for kind, count in planned.passed_over.items())
        status(f"{passed_over} file{'s' if passed_over > 1 else ''} passed over: {kinds}")
    if not planned.items:
        raise Failure("there is no sound file in " + ", ".join(map(printable, inputs)))
    engine = chosen_engine(args)
    with opened_manifest(args) as manifest:
        todo = run.divided(planned.items, asked, manifest, args.resume)
        if todo.standing:
            status(f"{todo.standing} of {len(planned.items)} files are done already")
        return denoised(args, todo, asked, engine, manifest, planned.passed_over)


def chosen_engine(args: argparse.Namespace) -> Any:
    """What denoises the files of a batch."""
    from denoise_app.scale import ray_batch, run

    if args.engine == "ray":
        return ray_batch.on_cluster(args.address, args.jobs, args.patience or ray_batch.PATIENCE)
    if args.address or args.patience:
        raise Failure("--address and --patience belong to --engine ray")
    return run.here if args.jobs in (None, 1) else run.in_processes(args.jobs)


def opened_manifest(args: argparse.Namespace) -> Any:
    """The manifest that is asked for, as a context; None without one."""
    from denoise_app.scale.manifest import Manifest
    from denoise_app.scale.places import is_remote

    if args.manifest is None and not args.resume:
        return nullcontext()
    if args.manifest is None and is_remote(args.out):
        raise Failure(f"results go to {printable(args.out)}: name a file of this machine with --manifest")
    manifest = Manifest(args.manifest or Path(args.out) / MANIFEST)
    if manifest.unreadable:
        status(f"{manifest.unreadable} lines of {printable(str(manifest.path))} cannot be read and count as not done")
    return manifest


def denoised(args: argparse.Namespace, todo: Any, asked: Any, engine: Any, manifest: Any, passed_over: Any) -> int:
    """Carries out a batch and tells what became of it."""
    from denoise_app.scale import run

    tally = run.Tally.of(todo.todo)
    brief = manifest is not None or engine is not run.here  # the manifest tells of each file
    files: list[dict[str, Any]] = []
    error: Any = None
    kept = "; the same command with --resume goes on" if manifest is not None else ""

    def show(item: Any, fraction: float) -> None:
        tally.tell(item, fraction)
        status(bar(tally), passing=True)

    try:
        with closing(run.run(todo.todo, asked, engine, manifest, show)) as outcomes:
            for item, outcome in outcomes:
                tally.count(item, outcome)
                error = outcome.error
                tell(tally, outcome, brief)
                if args.json:
                    files.append(outcome_data(outcome))
    except KeyboardInterrupt:
        status(f"{tally.done} files are done and kept{kept}")
        raise
    left = tally.files - tally.done - tally.failed
    if left and error is not None:
        status(f"{left} more not tried: {error} What is done is kept{kept}.")
    loss = f" ({asked.loss})" if asked.loss else ""
    before = f", {todo.standing} done before" if todo.standing else ""
    summary = f"{tally.done} denoised with {asked.model}{loss}, {tally.failed} failed{before}"
    data = {"model": asked.model, "loss": asked.loss, "failed": tally.failed, "passed_over": passed_over}
    report(args, data | {"done_before": todo.standing, "not_tried": left, "files": files}, summary)
    return FAILED if tally.failed or left else 0


def tell(tally: Any, outcome: Any, brief: bool) -> None:
    """One file's result, and how far all of them are, on standard error."""
    name = printable(str(outcome.job.source))
    count = tally.done + tally.failed
    if outcome.error or not brief:
        status(f"[{count}/{tally.files}] {name} {outcome_text(outcome)}")
    for note in outcome.notes:
        status(f"note: {name}: {note.message}")
    step = max(1, tally.files // LINES)
    status(bar(tally), passing=not brief or count % step > 0)


def bar(tally: Any) -> str:
    """How far a batch is, in a line."""
    from denoise_app.audio.limits import clock

    full = round(BAR * tally.fraction)
    left = tally.seconds_left()
    parts = [
        f"[{'#' * full}{'.' * (BAR - full)}] {tally.done + tally.failed:,} of {tally.files:,} files",
        f"{tally.seconds / 3600:.2f} h of sound",
        *([f"{tally.failed:,} failed"] if tally.failed else []),
        *([f"{clock(round(left))} left"] if left is not None else []),
    ]
    return ", ".join(parts)


def listed(file: str) -> list[str]:
    """The names in a list, ended by line breaks of any system or, where there are any, by zero bytes."""
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Failure(f"the list {printable(file)} cannot be read: {error.strerror or error}") from error
    data = data.removeprefix(codecs.BOM_UTF8)
    if b"\0" in data:
        names = data.split(b"\0")
    else:
        names = data.rstrip(b"\n").split(b"\n")
        if all(name.endswith(b"\r") for name in names):  # in every line: it belongs to no name
            names = [name[:-1] for name in names]
    return [os.fsdecode(name) for name in names if name]


def outcome_text(outcome: Any) -> str:
    """One file's result as a line of text."""
    if outcome.error:
        return f"failed: {outcome.error}"
    speed = outcome.seconds / outcome.computing
    return f"-> {printable(str(outcome.output))} ({outcome.seconds:.1f} s, {speed:.0f} times real time)"


def outcome_data(outcome: Any) -> dict[str, Any]:
    """One file's result as JSON."""
    data = path_data("input", outcome.job.source) | {"notes": [note.as_dict() for note in outcome.notes]}
    if outcome.error:
        reason = getattr(outcome.error, "reason", "not-readable")  # an OSError carries none
        return data | {"error": {"reason": reason, "message": str(outcome.error)}}
    return (
        data
        | path_data("output", outcome.output)
        | {"seconds": round(outcome.seconds, 3), "computing_seconds": round(outcome.computing, 3)}
    )


# replay


def add_replay(commands: Any) -> None:
    command = add_command(commands, run_replay, "replay", "Repeat the run that a result's report describes.")
    command.add_argument("report", type=Path, metavar="REPORT", help="the report.json that came with a result")
    command.add_argument("recording", type=Path, metavar="IN", help="the recording that it was made from")
    command.add_argument("-o", "--out", type=Path, metavar="FILE", help="default: NAME.denoised beside the recording")
    command.add_argument("--device", help="default: the fastest that is there")
    add_threads(command)


def run_replay(args: argparse.Namespace) -> int:
    from denoise_app.audio.encodings import fits, suffix
    from denoise_app.audio.files import probe
    from denoise_app.inference import engine, replay

    receipt = replay.read(args.report)
    encoding = engine.output_encoding(probe(args.recording, track=receipt.track), receipt.settings)
    out = args.out or args.recording.with_name(f"{args.recording.stem}.denoised{suffix(encoding)}")
    name, written = printable(str(args.recording)), printable(str(out))
    if not fits(out.suffix, encoding):
        raise Failure(f"the result is written as {suffix(encoding)}: give --out a name that ends so, not {written}")
    if os.path.realpath(out) == os.path.realpath(args.recording):
        raise Failure(f"{written} is the recording itself: name another file with --out")
    same_recording = replay.fingerprint(args.recording, receipt.track) == receipt.recording
    if not same_recording:
        status(f"{name} is not the recording of this report; it is treated the same way")
    rendered = replay.replay(receipt, args.recording, out, args.device)
    for note in rendered.notes:
        status(f"note: {name}: {note.message}")
    same = replay.fingerprint(out) == receipt.output
    verdict = "the same samples as in the report" if same else "not the samples of the report"
    data = {
        "same_recording": same_recording,
        "same_samples": same,
        "notes": [note.as_dict() for note in rendered.notes],
    }
    report(args, path_data("output", out) | data, f"{written}: {verdict}")
    return 0 if same else FAILED


# models


def add_models(commands: Any) -> None:
    add_command(commands, run_models, "models", "List the denoisers at hand.")


RTF_MEANS = "Scores are means over the leaderboard's recordings; RTF is seconds of work for a second of sound.\n"


def run_models(args: argparse.Namespace) -> int:
    from denoise_app.inference import catalog

    best, presets = catalog.recommended(), catalog.presets()
    for problem in catalog.broken():
        status(f"left out: {problem}")
    scores = measured()
    rows = [
        entry_data(entry)
        | scores.get((entry.model, entry.loss), dict.fromkeys(("pesq_wb", "stoi", "si_sdr", "rtf")))
        | {"recommended": (entry.model, entry.loss) == best}
        | {"presets": [name for name, meant in presets.items() if meant == (entry.model, entry.loss)]}
        for entry in catalog.entries()
    ]
    scored = ("PESQ-WB", "STOI", "SI-SDR", "RTF")
    head = ("model", "loss", *scored, "kind", "source", "rate", "delay", "causal", "parameters", "licence")
    digits = {"pesq_wb": 2, "stoi": 3, "si_sdr": 1, "rtf": 3}
    cells = [
        (
            row["model"] + (" *" if row["recommended"] else ""),
            row["loss"] or "-",
            *(f"{row[key]:.{places}f}" if row[key] is not None else "-" for key, places in digits.items()),
            row["kind"],
            row["source"],
            f"{row['sample_rate']} Hz",
            f"{row['latency_ms']:g} ms",
            "yes" if row["causal"] else "no",
            f"{row['parameters']:,}",
            row["licence"] or "-",
        )
        for row in rows
    ]
    meant = (f"{name}: {model}" + (f" ({loss})" if loss else "") for name, (model, loss) in presets.items())
    report(args, rows, columns([head, *cells]) + "\n\n* used when none is named\n" + RTF_MEANS + "\n".join(meant))
    return 0


def measured() -> dict[tuple[str, str | None], dict[str, float | None]]:
    """Scores and real-time factor of each denoiser on the leaderboard, by model and loss; empty without one."""
    from denoise_app import resources
    from denoise_app.evaluation import leaderboard

    try:
        rows = leaderboard.read(resources.folder("results") / LEADERBOARD.name)["rows"]
    except leaderboard.LeaderboardError:
        return {}
    found = {}
    for row in rows:
        mean = leaderboard.means(row["scores"])
        values = {key: mean.get(key) for key in ("pesq_wb", "stoi", "si_sdr")}
        found[row["model"], row["loss"]] = values | {"rtf": row.get("rtf")}
    return found


def entry_data(entry: Any) -> dict[str, Any]:
    """One denoiser of the catalogue as a row."""
    manifest = entry.manifest
    return {
        "model": entry.model,
        "loss": entry.loss,
        "kind": entry.kind,
        "source": entry.source,
        "sample_rate": entry.sample_rate,
        "latency_ms": round(1000 * entry.latency / entry.sample_rate, 2),
        "causal": entry.causal,
        "parameters": manifest.parameters if manifest else 0,
        "licence": manifest.licence if manifest else None,
    }


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


# train


def add_train(commands: Any) -> None:
    command = add_command(commands, run_train, "train", "Train a model on speech and noise, mixed on the fly.")
    files = command.add_mutually_exclusive_group()
    files.add_argument("--config", type=Path, metavar="FILE", help="all settings, as TOML; options go before it")
    files.add_argument("--all", type=Path, metavar="PLAN", help="many runs, as TOML, each in a folder of its own")
    command.add_argument("--jobs", type=positive, default=1, metavar="N", help="runs of --all at a time (default: 1)")
    add_threads(command)

    def option(name: str, kind: Any = Path, metavar: str | None = "DIR", **about: Any) -> None:
        command.add_argument(name, type=kind, metavar=metavar, default=argparse.SUPPRESS, **about)

    option("--model", str, None)
    option("--loss", str, None)
    option("--clean", help="clean speech")
    option("--noise")
    option("--rir", help="impulse responses of rooms")
    option("--out", help="state, log and best checkpoint (default: runs/<model>/<loss>), of a plan's runs below it")
    option("--cache", help="for decoded sound")
    option("--minutes", float, "N", help="train for this long, without what validation takes; default: --steps")
    option("--steps", int, "N")
    option("--init", metavar="MODEL/LOSS", help="start from a checkpoint in the folder of weights, or from a folder")
    option("--prune", float, "SHARE", help="leave out this share of the channels of --init, the weakest: 0.5 for half")
    option("--teacher", metavar="MODEL/LOSS", help="a better checkpoint, whose output is a second target")
    option("--device", str, None, help="default: the fastest that is there")
    option("--seed", int, "N")
    option("--valid-clean", help="pairs to choose the best state by")
    option("--valid-noisy")
    command.add_argument(
        "--resume", action="store_true", default=argparse.SUPPRESS, help="go on from the state in --out"
    )


def run_train(args: argparse.Namespace) -> int:
    from denoise_app.training import config, distributed, loop

    try:
        given = {key: value for key, value in vars(args).items() if key in config.TrainConfig.__dataclass_fields__}
        if args.all:
            return run_plan(args, given)
        table = config.merged(config.read_table(args.config) if args.config else {}, given)
        folder = config.RUNS / f"{table.get('model')}" / f"{table.get('loss')}"
        outcome = loop.train(config.parse({"out": folder} | table), say=status)
    except config.TrainingError as error:
        raise Failure(str(error)) from error
    text = f"{outcome.steps} steps in {outcome.minutes:.1f} minutes; the checkpoint is in {outcome.folder}"
    if outcome.folder == folder:
        text += f", which the app shows with DENOISE_WEIGHTS={config.RUNS}"
    if distributed.leads():
        report(args, run_data(outcome), text if outcome.finished else f"{text}; go on with --resume")
    return 0 if outcome.finished else INTERRUPTED


def run_plan(args: argparse.Namespace, given: dict[str, Any]) -> int:
    """`train --all`: every run of a plan that is not finished yet."""
    from denoise_app.training import plan

    if own := sorted({"model", "loss", "init", "resume"} & given.keys()):
        raise Failure(f"--{own[0]} is each run's own: it stands in the plan, and what has begun is resumed")
    ended = plan.train_all(plan.read(args.all, given), args.jobs, say=status)
    failed = [end for end in ended if end.error]
    done = [end for end in ended if end.finished]
    lines = [f"{len(done)} of {len(ended)} runs are finished, {len(failed)} failed"]
    data = [
        {"name": end.name, "error": end.error} | (run_data(end.outcome) if end.outcome else {"finished": False})
        for end in ended
    ]
    report(args, data, "\n".join(lines + [f"{end.name}: {end.error}" for end in failed]))
    return FAILED if failed else 0 if len(done) == len(ended) else INTERRUPTED


def run_data(outcome: Any) -> dict[str, Any]:
    """One run's outcome as JSON."""
    return {
        "folder": str(outcome.folder),
        "steps": outcome.steps,
        "minutes": round(outcome.minutes, 2),
        "hours_seen": round(outcome.hours_seen, 2),
        "score": outcome.score,
        "finished": outcome.finished,
    }


# average


def add_average(commands: Any) -> None:
    command = add_command(commands, run_average, "average", "Average checkpoints that have the same start.")
    command.add_argument("checkpoints", nargs="+", type=Path, metavar="MODEL/LOSS", help="or folders, the newest last")
    command.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="the new checkpoint's folder")
    command.add_argument("--half", action="store_true", help="16 bits for each number, as bundled weights have them")


def run_average(args: argparse.Namespace) -> int:
    from denoise_app.training.average import average
    from denoise_app.training.config import TrainingError

    try:
        made = average(args.checkpoints, args.out, args.half)
    except TrainingError as error:
        raise Failure(str(error)) from error
    data = {**path_data("path", args.out), "checkpoint": made.name, "sha256": made.sha256}
    report(args, data, f"{made.name}: the average of {len(args.checkpoints)} checkpoints is in {plain(str(args.out))}")
    return 0


# evaluate


def add_evaluate(commands: Any) -> None:
    command = add_command(commands, run_evaluate, "evaluate", "Score denoisers on pairs of clean and noisy files.")
    command.add_argument("--clean", type=Path, metavar="DIR")
    command.add_argument("--noisy", type=Path, metavar="DIR", help="named like the clean ones; pairs.csv beside it")
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--all",
        action="store_true",
        help=f"every denoiser at hand (the default); alone, on the pairs in {PAIRS}, into {LEADERBOARD}",
    )
    which.add_argument("--model", help="only this one, beside the noisy input")
    command.add_argument("--loss", help="default: the model's best")
    command.add_argument("--out", type=Path, metavar="FILE", help=f"add the rows to a leaderboard, as {LEADERBOARD}")
    command.add_argument(
        "--resume", action="store_true", help="keep the scores of these weights in --out, add those that are missing"
    )
    command.add_argument("--limit", type=positive, metavar="N", help="only this many pairs, evenly chosen")
    command.add_argument("--jobs", type=positive, default=1, metavar="N", help="processes side by side (default: 1)")
    command.add_argument("--time", action="store_true", help="time all rows again, one after another, on some pairs")
    add_threads(command)
    command.add_argument("--about", metavar="TEXT", help="one line on the recordings, for leaderboard and cards")
    command.add_argument("--cards", action="store_true", help="write the scores into the bundled checkpoints' cards")
    command.add_argument(
        *("--tables", "--readme"),
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help=f"write the tables of --out (default: {LEADERBOARD}) into these texts, between their marks",
    )
    command.add_argument(
        "--losses-page", type=Path, metavar="FILE", help="write the page on what each loss does, with pictures"
    )


def run_evaluate(args: argparse.Namespace) -> int:
    from denoise_app.audio.files import read

    from .evaluation import evaluate, leaderboard, losses_page
    from .evaluation.pairs import EvaluationError, find_pairs

    writing = args.tables or args.cards or args.losses_page
    if args.all and not writing and args.clean is None and args.noisy is None:
        args.clean, args.noisy, args.out = PAIRS / "clean", PAIRS / "noisy", args.out or LEADERBOARD
    scoring = args.clean is not None
    if scoring != (args.noisy is not None) or not (scoring or writing):
        raise Failure(
            "give --clean and --noisy to score pairs, or --tables, --cards or --losses-page to write earlier scores"
        )
    if args.loss is not None and args.model is None:
        raise Failure("--loss belongs to a --model")
    if args.time and not scoring:
        raise Failure("--time needs pairs: give --clean and --noisy")

    def show(candidate: evaluate.Candidate, condition: str | None, done: int, pairs: int) -> None:
        under = f", {condition}" if condition else ""
        status(f"{candidate}{under}: {done} of {pairs} pairs", passing=done < pairs)

    def show_time(candidate: evaluate.Candidate, done: int, count: int) -> None:
        status(f"{candidate}: {done} of {count} timings", passing=done < count)

    try:
        if scoring:
            pairs = find_pairs(args.clean, args.noisy, args.limit)
            wanted = evaluate.candidates(args.model, args.loss)
            board = evaluate.evaluate(
                pairs, wanted, out=args.out, about=args.about, resume=args.resume, jobs=args.jobs, progress=show
            )
            if args.time:
                board = evaluate.timed(board, pairs, show_time)
                if args.out is not None:
                    leaderboard.write(args.out, board)
        else:
            board = leaderboard.read(args.out or LEADERBOARD)
        if args.cards:
            for folder in evaluate.annotate(board):
                status(f"wrote the scores into {folder}")
        for file in args.tables:
            file.write_text(leaderboard.into_text(file.read_text(encoding="utf-8"), board), encoding="utf-8")
        if args.losses_page is not None:
            for file in losses_page.write(args.losses_page, board, read(SPEECH)):
                status(f"wrote {file}")
    except (EvaluationError, leaderboard.LeaderboardError) as error:
        raise Failure(str(error)) from error
    report(args, board, leaderboard.table(board))
    return 0


# export


def add_export(commands: Any) -> None:
    command = add_command(commands, run_export, "export", "Write a model as an ONNX file that runs elsewhere.")
    command.add_argument("model", metavar="MODEL", help="a causal one; `models` lists all")
    command.add_argument("loss", metavar="LOSS", nargs="?", help="default: the model's best")
    command.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="ends in .onnx")
    command.add_argument(
        "--for",
        dest="runtime",
        choices=("sherpa-onnx", "onnxruntime"),
        default="sherpa-onnx",
        help="phones, boards and browsers (a frame a call), or this program (any number); default: sherpa-onnx",
    )
    command.add_argument("--frames", choices=("one", "any"), help="of a call; default: as --for has them")
    command.add_argument("--int8", action="store_true", help="matrices in 8 bits; refused where that saves nothing")
    command.add_argument(
        "--speech", type=Path, metavar="FILE", help="compared with PyTorch on it; default: one of the examples"
    )
    add_threads(command)


def run_export(args: argparse.Namespace) -> int:
    from denoise_app import resources
    from denoise_app.audio.files import read
    from denoise_app.inference import catalog

    entry = catalog.find(args.model, args.loss)
    if args.out.suffix != ".onnx":
        raise Failure(f"give --out a name that ends in .onnx, not {args.out}")
    if entry.folder is None:
        raise Failure(f"{entry.model} has no weights: nothing of it can be exported")
    if entry.source == "onnx":
        raise Failure(f"{entry.model} is an ONNX file already: {entry.folder}")
    frames: Any = args.frames or ("one" if args.runtime == "sherpa-onnx" else "any")
    path = args.speech or resources.folder("examples") / "english-fan.flac"
    speech = read(path)
    try:
        from denoise_app.export import write

        exported = write.export(entry.folder, args.out, speech, frames, args.int8)
    except ModuleNotFoundError as error:
        raise Failure(f"export needs the package {error.name}: pip install {error.name}") from error
    except write.ExportError as error:
        raise Failure(str(error)) from error
    parity = exported.parity
    text = (
        f"{exported.path}: {exported.size:,} bytes, sha256 {exported.sha256}\n"
        f"parity on {path.name}: samples differ by {parity.difference:.1e} at most, "
        f"{parity.difference_db:.0f} dB of the output\n"
        f"a frame takes {parity.onnx_ms:.2f} ms, in PyTorch {parity.torch_ms:.2f} ms"
    )
    data = {
        "output": str(exported.path),
        "size": exported.size,
        "sha256": exported.sha256,
        "difference": parity.difference,
        "difference_db": round(parity.difference_db, 1),
        "onnx_ms": round(parity.onnx_ms, 3),
        "torch_ms": round(parity.torch_ms, 3),
    }
    report(args, data, text)
    return 0


# speed


def add_speed(commands: Any) -> None:
    described = "Measure speed, memory, start-up and click-to-result time."
    add_speed_options(add_command(commands, run_speed, "speed", described))
    add_speed_options(add_command(commands, run_bench, "bench", described, hidden=True))


def add_speed_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", action="append", metavar="NAME", help="only this one; may be given again")
    command.add_argument("--longest", type=between(1, 36_000), default=3600, metavar="SECONDS", help="default: an hour")


def run_speed(args: argparse.Namespace) -> int:
    from .evaluation import speed

    durations = [seconds for seconds in speed.DURATIONS if seconds <= args.longest]
    measured = speed.run(args.model, durations, say=lambda line: status(line, passing=True))
    report(args, measured, speed.table(measured))
    return 0


def run_bench(args: argparse.Namespace) -> int:
    """The name of `speed` up to version 0.1."""
    status("note: this command is called speed now; bench goes on working")
    return run_speed(args)


# publish


def add_publish(commands: Any) -> None:
    command = add_command(commands, run_publish, "publish", "Put a checkpoint on the Hugging Face Hub.")
    command.add_argument(
        "checkpoint", type=Path, metavar="RUN", help="its folder, <model>/<loss>, as training leaves it"
    )
    command.add_argument("--repo", required=True, metavar="AUTHOR/NAME", help="made where it is not there")
    command.add_argument("--private", action="store_true", help="a repository that is made is yours alone to see")
    command.add_argument("--no-onnx", action="store_true", help="without the ONNX file of a causal model")


def run_publish(args: argparse.Namespace) -> int:
    from tempfile import TemporaryDirectory

    from denoise_app import resources
    from denoise_app.audio.files import read
    from denoise_app.checkpoints import hub, store

    manifest = store.checked(args.checkpoint).manifest
    with TemporaryDirectory() as place:
        more: dict[str, Path | str] = {}
        if manifest.causal and not args.no_onnx:
            try:
                from denoise_app.export import write

                speech = read(resources.folder("examples") / "english-fan.flac")
                status("writing the ONNX file, and comparing it with PyTorch", passing=True)
                more["model.onnx"] = write.export(
                    args.checkpoint, Path(place) / "model.onnx", speech, "any", False
                ).path
            except ModuleNotFoundError as error:
                raise Failure(f"the ONNX file needs pip install {error.name}; or give --no-onnx") from error
            except write.ExportError as error:
                status(f"without an ONNX file: {error}")
        status("sending", passing=True)
        done = hub.publish(args.repo, args.checkpoint, more, args.private)
    head = f"{done.repo}: {manifest.name} at {done.revision}, tag {done.tag}"
    text = "\n".join([head, *(f"  {name}" for name in done.files)])
    data = {"repo": done.repo, "revision": done.revision, "tag": done.tag, "files": list(done.files)}
    report(args, data, text)
    return 0


# space


def add_space(commands: Any) -> None:
    command = add_command(commands, run_space, "space", "Lay out a Space for Hugging Face, ready to be pushed.")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="empty, or not there yet")
    command.add_argument(
        "--weights", metavar="AUTHOR/NAME@COMMIT", help="checkpoints on the Hub in place of the bundled ones"
    )
    command.add_argument(
        "--check", action="store_true", help="start it as its host would, and denoise a clip; also one that lies in DIR"
    )
    command.add_argument("--port", type=positive, default=7860, metavar="N", help="of the check; default: 7860")


def run_space(args: argparse.Namespace) -> int:
    from denoise_app.serve import space

    standing = args.check and space.is_space(args.out)
    if standing and args.weights:
        raise Failure(f"{args.out} is laid out already: --weights is for a new one")
    try:
        weights = space.Pinned.of(args.weights) if args.weights else None
        made = space.Space.of(args.out) if standing else space.lay_out(args.out, weights=weights)
    except space.SpaceError as error:
        raise Failure(str(error)) from error
    found = checked_space(args) if args.check else []
    text = "\n".join(
        [
            f"{made.folder}: {made.files} files, {made.size / 1e6:.0f} MB, {len(made.checkpoints)} checkpoints",
            *(f"{'ok  ' if finding.passed else 'FAIL'} {finding.text}" for finding in found),
        ]
    )
    data = {
        **path_data("folder", made.folder),
        "files": made.files,
        "size": made.size,
        "checkpoints": list(made.checkpoints),
        "check": [{"passed": finding.passed, "text": finding.text} for finding in found],
    }
    report(args, data, text)
    return 0 if all(finding.passed for finding in found) else FAILED


def checked_space(args: argparse.Namespace) -> list[Any]:
    """What is found when the Space is started."""
    if os.name != "posix":
        raise Failure("--check starts the Space as another user, which needs Linux or macOS")
    from denoise_app.scale import rehearsal

    return rehearsal.check(args.out, args.port, on_finding=lambda finding: status(finding.text, passing=True))


# loadtest


def add_loadtest(commands: Any) -> None:
    command = add_command(commands, run_loadtest, "loadtest", "Use a running page by many at once, and check it.")
    command.add_argument("url", metavar="URL", help="of the page: http://127.0.0.1:7860")
    command.add_argument("--users", type=positive, default=50, metavar="N", help="at once; default: 50")
    command.add_argument("--minutes", type=between(0.01, 1440), default=5.0, metavar="M", help="default: 5")
    command.add_argument(
        "--clip", type=between(0.1, 600), default=5.0, metavar="S", help="seconds of each clip; default: 5"
    )
    command.add_argument("--model", action="append", metavar="NAME", help="more than once; default: best, fast, live")
    command.add_argument("--rest", type=between(0, 86_400), default=100.0, metavar="S", help="at the end; default: 100")
    command.add_argument("--trouble", action="store_true", help="with floods, uploads that break off, a long recording")
    command.add_argument("--yes", action="store_true", help="it is my page, though it is not on this machine")


def run_loadtest(args: argparse.Namespace) -> int:
    from denoise_app.scale import loadtest

    if not args.url.startswith(("http://", "https://")):
        raise Failure(f"{printable(args.url)} is no address of a page, such as http://127.0.0.1:7860")
    if not (loadtest.is_local(args.url) or args.yes):
        raise Failure(f"{printable(args.url)} is not on this machine; add --yes where it is yours to load")
    plan = loadtest.Plan(
        users=args.users,
        seconds=60 * args.minutes,
        clip_seconds=args.clip,
        models=tuple(args.model or loadtest.Plan.models),
        rest=args.rest,
        trouble=args.trouble,
        token=os.environ.get("DENOISE_API_TOKEN", "").strip(),
    )
    try:
        figures = loadtest.run(args.url, plan, lambda line: status(line, passing=True))
    except loadtest.NotReady as error:
        raise Failure(printable(str(error))) from error
    except (loadtest.Refused, loadtest.Failed) as error:
        raise Failure(f"a clip cannot be denoised even alone: {printable(str(error))}") from error
    report(args, figures, loadtest_text(figures))
    return FAILED if figures["problems"] else 0


def loadtest_text(figures: dict[str, Any]) -> str:
    """The figures of a load test in words."""
    held = figures["held"]
    shown = {name: " / ".join(str(held[when][name]) for when in held) for name in ("memory_mib", "files_mib")}
    lines = [
        f"{figures['users']} users, {figures['minutes']:g} minutes: {figures['exact']} exact, "
        f"{figures['wrong']} wrong, {sum(figures['failed'].values())} failed, "
        f"{sum(figures['refused'].values())} refused",
        f"order to file: {figures['p50_s']} s in the middle, {figures['p95_s']} s for 95 %",
        f"memory {shown['memory_mib']} MiB, files {shown['files_mib']} MiB: before / after / rested",
        *(f"problem: {problem}" for problem in figures["problems"]),
    ]
    return "\n".join(lines)
