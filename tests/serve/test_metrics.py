"""What a service tells of itself, and whom it tells."""

from __future__ import annotations

import io
import json
import logging
import re
import sys

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from denoise_app.serve import health, logs
from denoise_app.serve.errors import ServiceError
from denoise_app.serve.metrics import KINDS, OUTCOMES, Metrics, kind_of


class Cancelled(Exception):
    """Nobody wants it any more."""


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def value(metrics: Metrics, sample: str) -> float:
    """The value of a sample, by its name and labels as they are written."""
    (found,) = [line for line in metrics.text().decode().splitlines() if line.startswith(f"{sample} ")]
    return float(found.split()[-1])


def test_an_order_is_counted_by_how_it_ended(metrics: Metrics) -> None:
    with metrics.job(6.0, (Cancelled,)):
        pass
    for error in (Cancelled, ZeroDivisionError, ZeroDivisionError):
        with pytest.raises(error), metrics.job(5.0, (Cancelled,)):
            raise error
    counts = [value(metrics, f'denoise_jobs_total{{outcome="{outcome}"}}') for outcome in OUTCOMES]
    assert counts == [1, 2, 1]
    assert value(metrics, "denoise_sound_seconds_total") == 6.0
    assert value(metrics, "denoise_job_seconds_count") == 4


def test_every_name_has_the_prefix_and_the_unit_of_its_kind(metrics: Metrics) -> None:
    metrics.watch("queue_waiting", "Work that waits.", lambda: 7)
    metrics.refused("busy")
    metrics.answered("/", 200, 0.1)
    metrics.waited(0.2)
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", metrics.text().decode(), re.M))
    assert len(kinds) > 10 and all(name.startswith("denoise_") for name in kinds)
    counters = [name for name, kind in kinds.items() if kind == "counter"]
    assert all(name.endswith("_total") for name in counters)
    assert value(metrics, "denoise_queue_waiting") == 7


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the process's own numbers come from /proc")
def test_memory_is_told(metrics: Metrics) -> None:
    assert value(metrics, "denoise_process_resident_memory_bytes") > 10e6


def test_no_address_and_no_name_becomes_a_label(metrics: Metrics) -> None:
    for path in ("/gradio_api/file=/tmp/secret.wav", "/denoise/files/token/secret.wav", "/secret", "/x/queue/join"):
        metrics.answered(path, 404, 0.1)
    assert "secret" not in metrics.text().decode()
    kinds = set(re.findall(r'kind="(\w+)"', metrics.text().decode()))
    assert kinds == {"page", "order"} and kinds <= set(KINDS)
    assert kind_of("/root/gradio_api/call/v2/denoise") == "order"


def test_whoever_had_gone_is_counted_as_such(metrics: Metrics) -> None:
    metrics.answered("/", None, 0.1)
    assert value(metrics, 'denoise_http_requests_total{kind="page",status="gone"}') == 1


# -------------------------------------------------------------------------------------------------------------- health


def client(metrics: Metrics, state: str, token: str = "") -> TestClient:
    return TestClient(Starlette(routes=health.routes(lambda: state, metrics, token)))


@pytest.mark.parametrize(("state", "status"), [("ready", 200), ("loading", 503), ("draining", 503)])
def test_a_server_is_ready_when_it_takes_work_and_alive_in_any_case(metrics: Metrics, state: str, status: int) -> None:
    asked = client(metrics, state)
    told = asked.get("/readyz")
    assert (told.status_code, told.text) == (status, f"{state}\n")
    assert [asked.get(path).status_code for path in ("/livez", "/healthz")] == [200, 200]
    assert asked.head("/readyz").status_code == status
    assert told.headers["Cache-Control"] == "no-store"


def test_metrics_are_told_to_whoever_knows_the_token(metrics: Metrics) -> None:
    asked = client(metrics, "ready", "s3cret")
    refused = asked.get("/metrics")
    assert refused.status_code == 401 and refused.headers["WWW-Authenticate"] == "Bearer"
    assert asked.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    told = asked.get("/metrics", headers={"Authorization": "Bearer s3cret"})
    assert told.status_code == 200 and "denoise_jobs_total" in told.text
    assert told.headers["Content-Type"].startswith("text/plain; version=")
    assert client(metrics, "ready").get("/metrics").status_code == 200


# ---------------------------------------------------------------------------------------------------------------- logs


@pytest.fixture
def restored() -> object:
    """Loggers as they were before."""
    root, own = logging.getLogger(), logging.getLogger("denoise_app")
    before = root.handlers[:], root.level, own.level
    yield
    root.handlers[:], root.level, own.level = before
    logging.captureWarnings(False)


def test_logs_are_lines_of_json_where_they_are_asked_for(
    restored: object, monkeypatch: pytest.MonkeyPatch, metrics: Metrics
) -> None:
    monkeypatch.setenv("DENOISE_LOG", "json")
    monkeypatch.setattr(sys, "stderr", written := io.StringIO())
    assert logs.from_environment()
    with metrics.job(6.0, (Cancelled,)):
        pass
    metrics.answered("/gradio_api/file=/tmp/secret.wav", 200, 0.1)
    metrics.answered("/readyz", 200, 0.1)  # asked every few seconds: not told
    try:
        raise ZeroDivisionError("of two\nlines")
    except ZeroDivisionError:
        logging.getLogger("elsewhere").exception("it failed")
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["job", "request", "it failed"]
    assert lines[0]["outcome"] == "done" and lines[0]["sound_seconds"] == 6.0
    assert lines[1]["kind"] == "page" and "secret" not in written.getvalue()
    assert "ZeroDivisionError" in lines[2]["exception"] and lines[2]["level"] == "error"
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"]) for line in lines)


def test_logs_stay_as_they_are_without_a_word_and_another_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    before = logging.getLogger().handlers[:]
    monkeypatch.delenv("DENOISE_LOG", raising=False)
    assert not logs.from_environment() and logging.getLogger().handlers == before
    monkeypatch.setenv("DENOISE_LOG", "yaml")
    with pytest.raises(ServiceError, match="DENOISE_LOG may be json or nothing, not 'yaml'"):
        logs.from_environment()
