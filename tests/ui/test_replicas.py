"""The files of docs/service: two pages behind the nginx of there, and alerts and a dashboard of what is counted."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import warm_starts
import yaml

from denoise_app.serve.limits import ServiceLimits
from denoise_app.ui import app as page
from denoise_app.ui.worker.session import Sessions

from .served import counted, free_port, started, until

Make = Callable[..., Path]
ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "docs" / "service"


def program(name: str, package: str) -> str:
    """The path of a program; without it the test is left out, but not where all tests must run."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        missing = f"needs {name} (Debian's package {package})"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    return str(found)


# ------------------------------------------------------------------------------------------------------------ replicas


class Replicas:
    """Two pages behind nginx.

    Attributes:
        url: Of nginx.
        pages: Their own addresses.
    """

    def __init__(self, place: Path, stack: ExitStack) -> None:
        nginx = program("nginx", "nginx-light")
        running = [started(place / name) for name in ("one", "two")]
        self.processes = [process for process, _ in running]
        self.pages = [url for _, url in running]
        for process in self.processes:
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
        port, config = free_port(), (SERVICE / "nginx.conf").read_text()
        for name, url in zip(("one", "two"), self.pages, strict=True):
            config = config.replace(f"server {name}:7860", f"server 127.0.0.1:{httpx.URL(url).port}")
        config = config.replace("listen 8080", f"listen 127.0.0.1:{port}").replace("/tmp/", f"{place}/")
        (place / "nginx.conf").write_text(config)
        command = [nginx, "-c", str(place / "nginx.conf"), "-p", str(place), "-e", "stderr", "-g", "daemon off;"]
        proxy = subprocess.Popen(command)
        stack.callback(proxy.wait, 30)
        stack.callback(proxy.terminate)
        self.url = f"http://127.0.0.1:{port}/"
        until(self._answers)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}livez").status_code == 200
        except httpx.TransportError:
            return False

    @contextmanager
    def visitor(self) -> Iterator[httpx.Client]:
        """A browser that has opened the page."""
        with httpx.Client(timeout=60) as browser:
            assert browser.get(self.url).status_code == 200
            yield browser

    def visits(self) -> list[float]:
        """Uploads that each page has taken."""
        return [counted(url, 'denoise_http_requests_total{kind="upload",status="200"}') for url in self.pages]


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        warm_starts.replace(patch)
        yield Replicas(tmp_path_factory.mktemp("replicas"), stack)


def denoised(visitor: httpx.Client | Any, url: str, path: Path) -> str:
    """What a visitor, or the module httpx for a program without cookies, is answered to a recording."""
    with path.open("rb") as file:
        (there,) = visitor.post(f"{url}gradio_api/upload", files={"files": file}).json()
    body = {"data": [{"path": there, "meta": {"_type": "gradio.FileData"}}, "", "", 100, 60, "follow", 0, -1]}
    body["data"] += ["each", "", 0, 0]
    call = visitor.post(f"{url}gradio_api/call/denoise", json=body).json()
    return str(visitor.get(f"{url}gradio_api/call/denoise/{call['event_id']}", timeout=60).text)


@pytest.mark.slow
def test_visitors_stay_with_their_replica_and_both_have_some(replicas: Replicas, recording: Make) -> None:
    path = recording()
    taken = [0.0, 0.0]
    for _ in range(60):  # each goes by a name drawn at random
        before = replicas.visits()
        with replicas.visitor() as visitor:
            for _ in range(2):  # upload, order and answer: three requests of one recording
                assert "event: complete" in denoised(visitor, replicas.url, path)
        gained = [now - then for now, then in zip(replicas.visits(), before, strict=True)]
        assert sorted(gained) == [0, 2]
        taken = [sum(both) for both in zip(taken, gained, strict=True)]
        if min(taken):
            break
    assert min(taken) > 0
    assert "event: complete" in denoised(httpx, replicas.url, path)  # a program without cookies


@pytest.mark.slow
def test_progress_passes_through_and_results_can_be_fetched(replicas: Replicas, recording: Make) -> None:
    with replicas.visitor() as visitor:
        answer = denoised(visitor, replicas.url, recording())
        url = next(file["url"] for file in json.loads(answer.split("data: ")[-1]) if "denoised" in file["path"])
        assert url.startswith(replicas.url)
        assert visitor.get(url).content[:4] == b"RIFF"


@pytest.mark.slow
def test_what_is_for_the_host_alone_does_not_pass_and_limits_do(replicas: Replicas) -> None:
    assert httpx.get(f"{replicas.url}metrics").status_code == 404
    assert httpx.get(f"{replicas.url}readyz").status_code == 200
    huge = httpx.post(f"{replicas.url}gradio_api/queue/join", content=bytes(2_000_000))
    assert huge.status_code == 413 and "was not read" in huge.json()["detail"]


@pytest.mark.slow
def test_a_replica_that_dies_takes_no_new_visitor_along(replicas: Replicas, recording: Make) -> None:
    replicas.processes[0].kill()
    replicas.processes[0].wait()
    for _ in range(4):
        with replicas.visitor() as visitor:
            assert "event: complete" in denoised(visitor, replicas.url, recording())


# ------------------------------------------------------------------------------------------------- alerts and dashboard


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, make_worker: Callable[[], Any]) -> str:
    """What a page tells after a first order and a first refusal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        app = page.build(make_worker(), Sessions(tmp_path_factory.mktemp("visits")), examples=())
        _, url, _ = page.launch(app, server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
        try:
            app.site.worker.metrics.refused("busy")
            return httpx.get(f"{url}metrics").text
        finally:
            app.blocks.close()


def samples(text: str) -> set[str]:
    return set(re.findall(r"^(denoise_\w+)", text, re.M))


def named(text: str) -> set[str]:
    """Metrics that an expression, or a file of them, names."""
    return set(re.findall(r"\bdenoise_[a-z_]+", text))


@pytest.mark.slow
def test_alerts_dashboard_and_scaling_name_what_is_counted(told: str) -> None:
    rules = yaml.safe_load((SERVICE / "alerts.yaml").read_text())["groups"][0]["rules"]
    dashboard = json.loads((SERVICE / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    scaling = (SERVICE / "hpa.yaml").read_text()
    for text in (*(rule["expr"] for rule in rules), *queries, scaling):
        assert named(text) <= samples(told) | {"denoise_queue_waiting"}, text
    assert "denoise_queue_waiting" in samples(told) & named(scaling)
    assert all({"summary", "action"} <= rule["annotations"].keys() for rule in rules)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) >= 10


def test_prometheus_takes_the_alerts_and_what_is_told(told: str) -> None:
    promtool = program("promtool", "prometheus")
    checked = subprocess.run([promtool, "check", "rules", SERVICE / "alerts.yaml"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    checked = subprocess.run([promtool, "check", "metrics"], input=told, capture_output=True, text=True)
    assert checked.returncode == 0 and not checked.stderr, checked.stdout + checked.stderr


def test_prometheus_takes_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    promtool = program("promtool", "prometheus")
    panels = json.loads((SERVICE / "dashboard.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    checked = subprocess.run([promtool, "check", "rules", tmp_path / "queries.yaml"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


# ----------------------------------------------------------------------------------------------------------- container


def test_the_image_holds_what_there_is_and_runs_without_rights() -> None:
    lines = re.sub(r"\\\n", " ", (SERVICE / "Dockerfile").read_text()).splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith((" ", "#"))]
    copied = [name for step, rest in steps if step == "COPY" for name in rest.split()[:-1]]
    assert copied and all((ROOT / name).exists() for name in copied)
    assert {"app.py", "denoise_app", "weights", "results", "examples"} <= set(copied)
    said = {step: rest for step, rest in steps}  # the last of each
    assert json.loads(said["CMD"]) == ["python", "app.py"] and said["USER"] == "user" and "uid 1000" in " ".join(lines)
    health = said["HEALTHCHECK"].split("CMD", 1)[1]
    assert json.loads(health)[0] == "python" and "7860/livez" in health
    assert "HOME=/home/user" in said["ENV"] and "GRADIO_SERVER_PORT=7860" in said["ENV"]
    pins = dict(
        line.split()[0].split("==") for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line
    )
    assert f"torch=={pins['torch']}+cpu torchaudio=={pins['torchaudio']}+cpu" in " ".join(lines)


def test_what_the_image_copies_is_sent_to_whoever_builds_it() -> None:
    """By .dockerignore: all is hidden but what is named, and what is named is what the image copies."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    named = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copies = re.findall(r"(?m)^COPY (.+) \S+$", (SERVICE / "Dockerfile").read_text())
    assert lines[0] == "*" and named == {name for names in copies for name in names.split()}
    assert [line for line in lines[1:] if not line.startswith("!")] == ["**/__pycache__"]


@pytest.mark.slow
def test_replicas_share_nothing_and_have_time_to_drain() -> None:
    services = yaml.safe_load((SERVICE / "compose.yaml").read_text())["services"]
    pages = [services[name] for name in ("one", "two")]
    assert all(one["read_only"] and one["user"] == "1000:1000" for one in pages)
    assert pages[0]["volumes"] != pages[1]["volumes"]
    for one in pages:
        drain = int(one["environment"]["DENOISE_DRAIN_SECONDS"])
        assert ServiceLimits.drain_seconds <= drain < int(one["stop_grace_period"].removesuffix("s"))
    dockerfile = SERVICE / ".." / ".." / pages[0]["build"]["dockerfile"]
    assert dockerfile.resolve() == SERVICE / "Dockerfile"
    deployment, _, scaler, rules = yaml.safe_load_all((SERVICE / "hpa.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    drain = next(int(one["value"]) for one in pod["containers"][0]["env"] if one["name"] == "DENOISE_DRAIN_SECONDS")
    assert drain < pod["terminationGracePeriodSeconds"]
    assert scaler["spec"]["metrics"][0]["pods"]["metric"]["name"] == "denoise_queue_waiting"
    assert "denoise_queue_waiting" in rules["data"]["config.yaml"]
