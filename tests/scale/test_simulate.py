"""The estimate is arithmetic that can be done by hand, and the page's table is what the function gives."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from denoise_app.scale.simulate import BEST, MINUTES, QUICK, Fleet, Sound, Speeds, simulate, table

ROOT = Path(__file__).resolve().parents[2]
PAGE, LEADERBOARD = ROOT / "docs" / "scale.md", ROOT / "results" / "leaderboard.json"
FAR = Speeds(0.01, a_file=0.0, driver_files=1e9, store_gigabits=1e9, store_requests=1e9)  # one thing at a time


def test_the_table_of_the_page_is_what_the_function_gives() -> None:
    begin, end = "<!-- simulation: begin -->\n", "\n<!-- simulation: end -->"
    assert PAGE.read_text("utf-8").split(begin)[1].split(end)[0] == table()


def test_the_speeds_are_those_of_the_leaderboard_and_of_the_page() -> None:
    rows = {(row["model"], row["loss"]): row for row in json.loads(LEADERBOARD.read_text("utf-8"))["rows"]}
    for speeds, model in ((QUICK, "cnn"), (BEST, "transformer")):
        assert speeds.real_time_factor == pytest.approx(rows[model, "perceptual"]["rtf"], rel=0.1)
        assert f"{speeds.real_time_factor} s" in PAGE.read_text("utf-8")


@pytest.mark.parametrize(
    ("speeds", "drivers", "machines"), [(QUICK, 1, 3), (BEST, 1, 17), (QUICK, 99, 23), (BEST, 99, 105)]
)
def test_the_bottleneck_moves_where_the_page_says(speeds: Speeds, drivers: int, machines: int) -> None:
    parts = [simulate(1.0, Fleet(count, drivers=drivers), speeds).bottleneck for count in range(1, 200)]
    assert parts.count("compute") == pytest.approx(machines, rel=0.25)
    assert set(parts) == {"compute", "driver" if drivers == 1 else "requests"}


def test_the_command_of_the_page_prints_the_table() -> None:
    assert "`python -m denoise_app.scale.simulate`" in PAGE.read_text("utf-8")
    command = [sys.executable, "-m", "denoise_app.scale.simulate"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == table()


def test_compute_grows_with_cores_and_short_files_cost_more() -> None:
    one = simulate(100, Fleet(1, cores=4), FAR)
    assert (one.bottleneck, one.hours) == ("compute", pytest.approx(0.25))  # 100 h / (4 / 0.01)
    assert simulate(100, Fleet(2, cores=4), FAR).hours == pytest.approx(0.125)
    opened = replace(FAR, a_file=0.05)
    assert simulate(100, Fleet(1, cores=4), opened, Sound(seconds=5.0)).hours == pytest.approx(0.5)  # 0.05 / 5 as much


@pytest.mark.parametrize(
    ("speeds", "fleet", "part", "rate"),
    [
        (replace(FAR, driver_files=10), Fleet(9, drivers=2), "driver", 1200),  # 2 x 10 files of a minute a second
        (replace(FAR, store_requests=300), Fleet(90), "requests", 6000),  # 100 files of a minute a second
        (replace(FAR, store_gigabits=0.001), Fleet(9), "store", 1e6 / 512_000),
        (FAR, Fleet(2, cores=1000, gigabits=0.001), "network", 2e6 / 512_000),  # 32,000 bytes in, as many out
    ],
)
def test_each_part_can_be_in_the_way(speeds: Speeds, fleet: Fleet, part: str, rate: float) -> None:
    found = simulate(1000, fleet, speeds)
    assert (found.bottleneck, found.rates[part]) == (part, pytest.approx(rate))
    assert found.hours == pytest.approx(1000 / rate)


def test_more_machines_than_the_bottleneck_takes_cost_and_gain_nothing() -> None:
    few, many = (simulate(1e6, Fleet(count), BEST, MINUTES) for count in (100, 1000))
    assert few.bottleneck == many.bottleneck == "driver"
    assert many.hours == few.hours and many.cost == pytest.approx(10 * few.cost)
