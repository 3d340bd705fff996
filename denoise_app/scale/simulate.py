"""How long so many hours of sound take on so many machines, what that costs, and what is in the way.

A pipeline is as quick as its slowest part. Every part is a rate in hours of sound per hour, from what was measured on
one processor and what a store and a network promise; queues, stragglers and machines that die are left out, so a real
run is slower. docs/scale.md has the table: `python -m denoise_app.scale.simulate` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fleet:
    """What a batch is done with.

    Attributes:
        machines: How many.
        cores: Of each.
        gigabits: Of each machine's network, per second, in and out together.
        price: Of a core for an hour; only ratios of costs mean anything, for prices are everybody's own.
        drivers: Manifests that are worked on side by side, each with a part of the list.
    """

    machines: int
    cores: int = 16
    gigabits: float = 10.0
    price: float = 0.04
    drivers: int = 1


@dataclass(frozen=True)
class Sound:
    """What the files are like.

    Attributes:
        seconds: Of a file.
        bytes_a_second: Of sound, read and written each; 16 bits at 16 kHz by default.
    """

    seconds: float = 60.0
    bytes_a_second: float = 32_000.0


MINUTES = Sound()


@dataclass(frozen=True)
class Speeds:
    """What was measured, and what a store promises.

    Attributes:
        real_time_factor: Seconds of a core for a second of sound.
        a_file: Seconds of a core for each file beside its sound: to open, write and move it.
        driver_files: Files a second whose outcomes one driver takes and writes down, with a core for itself.
        store_gigabits: Of the store, per second, all machines together.
        store_requests: A second, of one prefix; each file needs two and its folder some more.
    """

    real_time_factor: float
    a_file: float = 0.01
    driver_files: float = 190.0
    store_gigabits: float = 400.0
    store_requests: float = 3500.0


REQUESTS_A_FILE = 3  # to look, to fetch, to put
BITS = 8
GIGA = 1e9
HOUR = 3600.0


@dataclass(frozen=True)
class Estimate:
    """What comes of it.

    Attributes:
        rates: Hours of sound per hour that each part can do: "compute", "network", "store", "requests", "driver".
        bottleneck: The slowest of them.
        hours: That it takes.
        cost: Of all machines for so long.
    """

    rates: dict[str, float]
    bottleneck: str
    hours: float
    cost: float


def simulate(sound_hours: float, fleet: Fleet, speeds: Speeds, sound: Sound = MINUTES) -> Estimate:
    """How long it takes, and why.

    >>> one = simulate(1000, Fleet(machines=1, cores=10), Speeds(real_time_factor=0.01, a_file=0.0))
    >>> one.bottleneck, one.hours, one.rates["compute"]
    ('compute', 1.0, 1000.0)
    """
    cores = fleet.machines * fleet.cores
    both_ways = 2 * BITS * sound.bytes_a_second  # bits a second of sound
    rates = {
        "compute": cores / (speeds.real_time_factor + speeds.a_file / sound.seconds),
        "network": fleet.machines * fleet.gigabits * GIGA / both_ways,
        "store": speeds.store_gigabits * GIGA / both_ways,
        "requests": speeds.store_requests * sound.seconds / REQUESTS_A_FILE,
        "driver": fleet.drivers * speeds.driver_files * sound.seconds,
    }
    bottleneck = min(rates, key=lambda part: rates[part])
    hours = sound_hours / rates[bottleneck]
    return Estimate(rates, bottleneck, hours, hours * cores * fleet.price)


QUICK, BEST = Speeds(real_time_factor=0.0046), Speeds(real_time_factor=0.023)
"""cnn/perceptual and transformer/perceptual, as timed with their scores: results/leaderboard.json, 27 November 2026."""

CASES: tuple[tuple[float, Fleet, Sound], ...] = (
    (1_000, Fleet(1), MINUTES),
    (10_000, Fleet(1), MINUTES),
    (100_000, Fleet(10), MINUTES),
    (1_000_000, Fleet(10), MINUTES),
    (1_000_000, Fleet(100), MINUTES),
    (1_000_000, Fleet(100, drivers=10), MINUTES),
    (1_000_000, Fleet(1000, drivers=10), MINUTES),
    (1_000_000, Fleet(100, drivers=10), Sound(seconds=5.0)),
)
HEAD = (
    "hours of sound",
    "files of",
    "machines",
    "drivers",
    "hours",
    "cost",
    "bottleneck",
    "hours",
    "cost",
    "bottleneck",
)


def table() -> str:
    """The table of docs/scale.md: each case by the quick and by the best model."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + " ---: |" * len(HEAD)]
    for hours, fleet, sound in CASES:
        cells = [f"{hours:,}", f"{sound.seconds:g} s", f"{fleet.machines:,}", f"{fleet.drivers:,}"]
        for speeds in (QUICK, BEST):
            found = simulate(hours, fleet, speeds, sound)
            cells += [_rounded(found.hours), _rounded(found.cost), found.bottleneck]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _rounded(value: float) -> str:
    """
    >>> _rounded(0.123), _rounded(12.3), _rounded(1234.5)
    ('0.12', '12', '1,234')
    """
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


if __name__ == "__main__":
    print(table())
