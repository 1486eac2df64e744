"""Uploading: the real client of the hub against an imitation of its HTTP interface on loopback.

What this does not show: files that the hub keeps in its large-file store (it names them in its answer to `preupload`;
here it names none), and the hub itself.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from acedata._errors import BadInput
from acedata._export import PushFailed, export, push
from tests.data.builds import make_build

TOKEN = "hf_notarealtoken"


class Hub:
    """What it was asked, and one repository."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.created: dict[str, Any] = {}
        self.files: dict[str, bytes] = {
            "data/train-00000-of-00009.parquet": b"old",
            "notes.txt": b"somebody's",
        }
        self.commits: list[str] = []
        self.refuse = False


@pytest.fixture
def hub() -> Iterator[tuple[Hub, str]]:
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            state.requests.append((self.command, path))
            if state.refuse or self.headers["Authorization"] != f"Bearer {TOKEN}":
                return self.send(401, {"error": "who are you?"})
            if path == "/api/repos/create":
                state.created = json.loads(body)
                return self.send(200, {"url": f"{address}/datasets/me/tiny"})
            if path == "/api/validate-yaml":
                return self.send(200, {"errors": [], "warnings": []})
            if path == "/api/datasets/me/tiny/preupload/main":
                asked = json.loads(body)["files"]
                files = [
                    {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in asked
                ]
                return self.send(200, {"files": files})
            if path == "/api/datasets/me/tiny/revision/main":
                siblings = [{"rfilename": name} for name in state.files]
                return self.send(
                    200, {"id": "me/tiny", "sha": "0" * 40, "siblings": siblings, "private": True}
                )
            if path == "/api/datasets/me/tiny/tree/main":
                tree = [
                    {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                    for name, content in state.files.items()
                ]
                return self.send(200, tree)
            if path == "/api/datasets/me/tiny/commit/main":
                for line in body.splitlines():
                    step = json.loads(line)
                    value = step["value"]
                    if step["key"] == "file":
                        assert value["encoding"] == "base64"
                        state.files[value["path"]] = base64.b64decode(value["content"])
                    elif step["key"] == "deletedFile":
                        del state.files[value["path"]]
                    elif step["key"] == "header":
                        state.commits.append(value["summary"])
                url = f"{address}/datasets/me/tiny/commit/{'1' * 40}"
                return self.send(200, {"commitUrl": url, "commitOid": "1" * 40, "success": True})
            return self.send(404, {"error": f"no {path} here"})

        def send(self, code: int, value: Any) -> None:
            content = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *given: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield state, address
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = make_build(tmp_path_factory.mktemp("build") / "b", seeds=20)
    return export(build, tmp_path_factory.mktemp("out") / "data").path


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.delenv("HF_TOKEN", raising=False)


def test_the_folder_becomes_the_repository(folder: Path, hub: tuple[Hub, str]) -> None:
    state, address = hub
    url = push(folder, "me/tiny", token=TOKEN, endpoint=address)
    assert url == f"{address}/datasets/me/tiny/commit/{'1' * 40}"
    assert state.created["type"] == "dataset" and state.created["visibility"] == "private"
    ours = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    # Parquet of an earlier export is gone, what is nobody's business of ours stays.
    assert state.files == {**ours, "notes.txt": b"somebody's"}
    assert state.commits == ["acedata export"]


def test_public_only_if_asked_for(folder: Path, hub: tuple[Hub, str]) -> None:
    state, address = hub
    push(folder, "me/tiny", public=True, token=TOKEN, endpoint=address)
    assert state.created["visibility"] == "public"


def test_a_refusal_names_the_repository_and_no_token(folder: Path, hub: tuple[Hub, str]) -> None:
    state, address = hub
    state.refuse = True
    with pytest.raises(PushFailed, match="me/tiny: the hub did not take it") as failed:
        push(folder, "me/tiny", token=TOKEN, endpoint=address)
    assert TOKEN not in str(failed.value)


def test_a_hub_that_cannot_be_reached_is_no_crash(folder: Path) -> None:
    with pytest.raises(PushFailed, match="me/tiny: the hub could not be reached") as failed:
        push(folder, "me/tiny", token=TOKEN, endpoint="http://127.0.0.1:9")
    assert TOKEN not in repr(failed.value) and failed.value.__cause__ is None
    assert failed.value.__suppress_context__


def test_what_is_no_export_is_not_uploaded(tmp_path: Path, hub: tuple[Hub, str]) -> None:
    state, address = hub
    (tmp_path / "secret.txt").write_text("mine")
    with pytest.raises(BadInput, match="is no exported dataset"):
        push(tmp_path, "me/tiny", token=TOKEN, endpoint=address)
    assert state.requests == []


def test_a_name_that_is_none(folder: Path, hub: tuple[Hub, str]) -> None:
    with pytest.raises(BadInput, match="no name of a dataset"):
        push(folder, "me/tiny/too/deep", token=TOKEN, endpoint=hub[1])
