"""What goes over the wire: packed where that helps, kept where it never changes, and nothing that nobody needs."""

from __future__ import annotations

from pathlib import Path

import gradio
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from denoise_app.ui.lean import LASTING, Lean, stub

TEXT = "words " * 1000
FRONTEND = Path(gradio.__file__).parent / "templates" / "frontend" / "assets"


async def answer(request: Request) -> Response:
    return PlainTextResponse(TEXT, status_code=404 if "missing" in request.url.path else 200)


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    (tmp_path / "hls-AbCd1234.js").write_text("function x(){}var y=1;export{x as n,y as t,z}")
    (tmp_path / "hls-Unknown00.js").write_text("export default 1")
    middleware = [Middleware(Lean, assets=tmp_path)]
    return TestClient(Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])], middleware=middleware))


@pytest.mark.parametrize("path", ["/", "/config", "/space/run/predict", "/gradio_api/info"])
def test_text_goes_packed(client: TestClient, path: str) -> None:
    answered = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert answered.text == TEXT and answered.headers["content-encoding"] == "gzip"
    assert int(answered.headers["content-length"]) < len(TEXT) / 10
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert plain.text == TEXT and "content-encoding" not in plain.headers


@pytest.mark.parametrize("path", ["/results/token/a.wav", "/player/samples", "/gradio_api/queue/data", "/x/assets"])
def test_sound_and_streams_go_as_they_are(client: TestClient, path: str) -> None:
    answered = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert answered.text == TEXT and not {"content-encoding", "cache-control"} & set(answered.headers)


def test_what_bears_a_digest_in_its_name_is_kept(client: TestClient) -> None:
    assert client.get("/assets/index-DphvyggB.js").headers["cache-control"] == LASTING
    for path in ("/assets/missing-DphvyggB.js", "/assets/index.js", "/static/js/index.min.js"):
        assert "cache-control" not in client.get(path).headers


@pytest.mark.parametrize(
    ("name", "kind"), [("index-DphvyggB.js", "text/javascript"), ("index-DiEEvXS6.css", "text/css")]
)
def test_a_file_of_gradio_is_read_and_packed_once(client: TestClient, tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_text("“a”" * 1000, "utf-8")
    for _ in range(2):
        answered = client.get(f"/assets/{name}", headers={"Accept-Encoding": "br, gzip"})
        (tmp_path / name).unlink(missing_ok=True)
        assert answered.text == "“a”" * 1000 and int(answered.headers["content-length"]) < 100
        assert answered.headers["content-type"] == f"{kind}; charset=utf-8"
        assert answered.headers["content-encoding"] == "gzip" and answered.headers["cache-control"] == LASTING
    plain = client.get(f"/assets/{name}", headers={"Accept-Encoding": "identity"})  # Gradio's own answer
    assert plain.text == TEXT and "content-encoding" not in plain.headers and plain.headers["cache-control"] == LASTING


def test_nothing_but_the_files_of_that_folder_is_read(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "index-DphvyggB.js").write_text("secret")
    within = ("inner/index-DphvyggB.js", "inner%2Findex-DphvyggB.js")
    (tmp_path / "index-DphvyggB.js").write_text("not by this address")
    elsewhere = ("../x/assets/index-DphvyggB.js", "..%2fassets%2findex-DphvyggB.js", "index-DphvyggB.js%0A")
    for name in (*within, *elsewhere, "font-DphvyggB.woff2", "no%00name-DphvyggB.js"):
        assert client.get(f"/assets/{name}", headers={"Accept-Encoding": "gzip"}).text == TEXT
    assert client.post("/assets/hls-AbCd1234.js").text == TEXT, "nobody posts to a script"


def test_made_up_names_are_not_remembered_and_those_too_long_are_not_asked_for(client: TestClient) -> None:
    known = stub.cache_info().currsize
    for number in range(20):
        assert client.get(f"/assets/hls-{number:08}a.js").text == TEXT
    assert stub.cache_info().currsize == known
    for name in ("long" * 100, "长" * 100):
        answered = client.get(f"/assets/{name}-DphvyggB.js")
        assert (answered.status_code, answered.text) == (404, "Not Found")


@pytest.mark.parametrize(
    ("said", "packed"), [("GZIP;q=0.5", True), ("*", True), ("gzip;q=0", False), ("x-gzip-foo", False)]
)
def test_a_client_gets_gzip_if_it_takes_it(client: TestClient, tmp_path: Path, said: str, packed: bool) -> None:
    (tmp_path / "other-DphvyggB.js").write_text("a" * 3000)
    answered = client.get("/assets/other-DphvyggB.js", headers={"Accept-Encoding": said})
    assert ("content-encoding" in answered.headers) == packed and answered.headers["vary"] == "Accept-Encoding"


def test_a_page_in_parts_is_whole_too() -> None:
    def parts(request: Request) -> Response:
        return StreamingResponse(iter([TEXT, "and ", TEXT]))

    client = TestClient(Starlette(routes=[Route("/", parts)], middleware=[Middleware(Lean)]))
    answered = client.get("/", headers={"Accept-Encoding": "gzip"})
    assert answered.text == f"{TEXT}and {TEXT}" and answered.headers["content-encoding"] == "gzip"


def test_a_script_for_live_streams_is_not_sent(client: TestClient) -> None:
    answered = client.get("/assets/hls-AbCd1234.js")
    assert answered.headers["content-type"].startswith("text/javascript") and len(answered.text) < 200
    assert "export { nothing as n, nothing as t, nothing as z };" in answered.text
    for other, text in (("hls-Unknown00.js", "export default 1"), ("hls-Missing00.js", TEXT)):
        assert client.get(f"/assets/{other}").text == text  # one that is not as expected goes as it is


def test_it_is_what_this_gradio_sends() -> None:
    """Its players ask the script whether it can be used, by a name that it exports; they are told that it cannot."""
    (script,) = FRONTEND.glob("hls-*.js")
    assert "nothing.isSupported = () => false" in stub(script)
    exported = set(stub(script).split("export {")[1].split("}")[0].replace("nothing as ", "").replace(",", " ").split())
    using = [path.read_text("utf-8") for path in FRONTEND.glob("StaticAudio-*.js")]
    assert using and all(script.name in text for text in using) and {"n", "t"} <= exported
