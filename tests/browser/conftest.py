"""A browser, and the page served for it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from denoise_app.ui.worker.worker import Worker

from .visit import Browser, GatedOffers, Served

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser")
"""The first is Debian's chromium without its windows, in which everything takes two thirds of the time."""

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", *Browser.ARGUMENTS,
]  # fmt: skip


@pytest.fixture(scope="module")
def opened() -> list[Browser]:
    """Browsers of this file."""
    return []


@pytest.fixture(autouse=True)
def new_profiles_after_a_failure(opened: list[Browser], request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test that failed may have left behind fails no other."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        for browser in opened:
            browser.forget()


@pytest.fixture(scope="module")
def open_browser(opened: list[Browser]) -> Iterator[Callable[..., Browser]]:
    """Starts chromium, with more arguments if wanted; where it is missing, CI fails and others skip the tests."""
    chromium = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if not (chromium and importlib.util.find_spec("playwright")):
        missing = "the page is not tested: chromium or the package playwright is not installed"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver, ExitStack() as started:

        def start(*more: str) -> Browser:
            browser = driver.chromium.launch(executable_path=chromium, args=[*ARGUMENTS, *more])
            opened.append(Browser(started.enter_context(browser)))
            return opened[-1]

        yield start


@pytest.fixture(scope="module")
def browser(open_browser: Callable[..., Browser]) -> Browser:
    return open_browser()


@pytest.fixture(scope="module")
def left() -> Iterator[list[Any]]:
    """Visits that tests of this file have left as they had found them."""
    visits: list[Any] = []
    yield visits
    for visit in visits:
        visit.close()


@pytest.fixture
def share(left: list[Any], request: pytest.FixtureRequest) -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Lends a test the visit that the one before left, as a page takes a second to open; a new one after a failure."""
    lent: list[Any] = []
    failed = request.session.testsfailed

    def take(make: Callable[[], Any]) -> Any:
        lent.append(left.pop() if left else make())
        return lent[-1]

    yield take
    for visit in lent:
        if request.session.testsfailed > failed:
            visit.close()
        else:
            visit.reset()
            left.append(visit)


@pytest.fixture(scope="module")
def make_worker() -> Callable[[], Worker]:
    """Makes what does the work of the page; a file that needs another worker has a fixture of this name."""
    return lambda: Worker(GatedOffers())


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the server keeps what it is sent."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("uploads")
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def served(
    make_worker: Callable[[], Worker], uploads: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    running = Served(make_worker, tmp_path_factory.mktemp("visits"))
    yield running
    running.close()
