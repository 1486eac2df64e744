"""An OpenAI-compatible server on loopback, in a process of its own, whose answers are a function of the request.

    with Loopback(latency_s=0.01, faults={"500": 0.1}) as server:
        ... OpenAI(base_url=server.url) ...
        server.stats()["answered"]

`POST /v1/chat/completions` (n, seed, prefill, response_format), `/v1/files`, `/v1/batches`. The same prompt, seed and
choice give the same text whatever happened before; choice i of a call with seed s is what seed s + i gives alone (as
vLLM does it). Weather is a function of the request and of how often it came, so a run can be repeated. What a real
provider would bill is counted in `billed_*`: every answer that was computed, those too whose connection is then cut.

Tokens are words: an answer of 40 words is 40 tokens, a prompt of 40 words is 40.

Written on asyncio's protocols, since it shares two cores with what it measures.
"""

from __future__ import annotations

import argparse
import asyncio
import email.parser
import email.policy
import hashlib
import importlib
import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

# What can befall a request, by name of the knob in `faults`: a share of the tries.
FAULTS = ("429", "503", "500", "cut", "stall", "truncated", "malformed", "garbage", "huge", "empty")


@dataclass
class Knobs:
    """How the server behaves. Times in seconds."""

    answer: str = "tests.data.loopback:words"
    """`module:function` of (body, messages, seed) -> text, or -> None for a refusal."""
    latency_s: float = 0.0
    token_s: float = 0.0
    """Further latency per answer token."""
    stall_s: float = 60.0
    """How long a `stall` lasts; then the answer comes."""
    retry_after_s: float = 0.05
    retry_after: str | None = None
    """The header's text instead of `retry_after_s`; "" sends none."""
    faults: dict[str, float] = field(default_factory=dict)
    refusals: float = 0.0
    """Share of prompts that are refused (content_filter), whenever they come."""
    bad_requests: float = 0.0
    """Share of prompts that get a 400 of the row's own, whenever they come."""
    always: str | None = None
    """A fault that befalls every try."""
    first: int = 0
    """So many tries are befallen by `always`, then none."""
    capacity: int = 0
    """Requests at a time, above which there is a 429; 0: no limit."""
    storm: tuple[float, float] | None = None
    """(every, for): 429 for everybody for so long, every so often."""
    mean_log: float = 3.0
    sigma_log: float = 0.7
    """Log-normal length of default answers, in tokens."""
    prefill: str = "continue"
    """continue, refuse (400) or ignore (a new message starts)."""
    json_mode: str = "yes"
    """yes or refuse (400)."""
    most_n: int = 128
    """Choices per call; `n` above it is a 400, unless `short_n`: then fewer come back."""
    short_n: bool = False
    seed_known: bool = True
    old_max_tokens: bool = True
    """Whether `max_tokens` is known besides `max_completion_tokens`."""
    model: str | None = None
    """The one model there is; null: any."""
    key: str | None = None
    """The key that opens; null: any."""
    echo_key: bool = False
    """Error texts repeat the request's Authorization header."""
    batch_s: float = 0.1
    """How long a batch takes."""
    batch_expires: float = 0.0
    """Share of rows that a batch leaves undone when it expires."""
    batch_row_errors: float = 0.0
    batch_fails: bool = False
    """Validation of every batch fails."""
    batch_create: str | None = None
    """`lost`: batches are made, and the connection is cut before the answer, once each input file."""
    seed: int = 0


# ---- answers ----


def share(*parts: object) -> float:
    """A number in [0, 1) that is a function of its arguments."""
    digest = hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def words(body: dict[str, Any], messages: list[dict[str, str]], seed: int) -> str | None:
    """Words of a heavy-tailed number."""
    knobs: Knobs = body["_knobs"]
    chat = [(one["role"], one["content"]) for one in messages]
    draw = random.Random(repr((knobs.seed, body["model"], chat, seed if body.get("temperature") else 0)))
    count = max(1, round(draw.lognormvariate(knobs.mean_log, knobs.sigma_log)))
    return " ".join(f"w{draw.randrange(10**6)}" for _ in range(count))


class Refused(Exception):
    """The request gets an HTTP error."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        self.status, self.code, self.param = status, code, param
        super().__init__(message)


class Model:
    """What is answered, apart from weather."""

    def __init__(self, knobs: Knobs) -> None:
        self.knobs = knobs
        module, _, name = knobs.answer.partition(":")
        self.function: Callable[..., str | None] = getattr(importlib.import_module(module), name)

    def complete(self, body: Any, headers: dict[str, str]) -> dict[str, Any]:
        knobs = self.knobs
        if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
            raise Refused(400, "messages is missing")
        if knobs.key is not None and headers.get("authorization") != f"Bearer {knobs.key}":
            raise Refused(401, "Incorrect API key provided", "invalid_api_key")
        if knobs.model is not None and body.get("model") != knobs.model:
            raise Refused(404, f"The model {body.get('model')!r} does not exist", "model_not_found")
        messages, seed, count = body["messages"], body.get("seed") or 0, body.get("n") or 1
        if share("bad", knobs.seed, messages) < knobs.bad_requests:
            raise Refused(400, "maximum context length exceeded", "context_length_exceeded", "messages")
        if "seed" in body and not knobs.seed_known:
            raise Refused(400, "Unrecognized request argument supplied: seed", param="seed")
        if "max_tokens" in body and not knobs.old_max_tokens:
            raise Refused(
                400,
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'.",
                "unsupported_parameter",
                "max_tokens",
            )
        if "response_format" in body and knobs.json_mode == "refuse":
            raise Refused(400, "response_format is not supported", param="response_format")
        goes_on = bool(body.get("continue_final_message"))
        if knobs.prefill == "refuse" and "continue_final_message" in body:
            raise Refused(400, "Unrecognized request argument supplied: continue_final_message")
        if goes_on and (messages[-1]["role"] != "assistant" or body.get("add_generation_prompt", True)):
            raise Refused(
                400, "continue_final_message needs a final assistant message", "invalid_request_error"
            )
        if count > knobs.most_n:
            if not knobs.short_n:
                raise Refused(400, f"n must be at most {knobs.most_n}", param="n")
            count = knobs.most_n
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or 10**9
        asked = {**body, "_knobs": knobs, "_continues": goes_on and knobs.prefill == "continue"}
        choices, tokens = [], 0
        for index in range(count):
            text: str | None = None
            if share("refusal", knobs.seed, messages) >= knobs.refusals:
                text = self.function(asked, messages, seed + index)
            message: dict[str, Any] = {"role": "assistant", "content": text}
            reason = "stop"
            if text is None:
                message["refusal"], reason = "no", "content_filter"
            else:
                said = text.split(" ")
                if len(said) > limit:
                    message["content"], reason = " ".join(said[:limit]), "length"
                tokens += min(len(said), limit)
            choices.append({"index": index, "message": message, "finish_reason": reason, "logprobs": None})
        prompt = sum(len(one["content"].split()) for one in messages)
        return {
            "id": "chatcmpl-loopback",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": choices,
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": tokens,
                "total_tokens": prompt + tokens,
                "prompt_tokens_details": {"cached_tokens": 0},
            },
        }


class World:
    """Everything the connections share."""

    def __init__(self, knobs: Knobs, log: str | None) -> None:
        self.knobs = knobs
        self.model = Model(knobs)
        self.seen: Counter[str] = Counter()
        self.stats: Counter[str] = Counter()
        self.in_flight = self.most_in_flight = 0
        self.begun = time.monotonic()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.lost_batches: set[str] = set()
        self.log = open(log, "ab", buffering=0) if log else None  # noqa: SIM115

    def bill(self, made: dict[str, Any], batch: bool = False) -> None:
        usage, prefix = made["usage"], "batch_" if batch else ""
        self.stats[f"{prefix}billed_requests"] += 1
        self.stats[f"{prefix}billed_prompt_tokens"] += usage["prompt_tokens"]
        self.stats[f"{prefix}billed_completion_tokens"] += usage["completion_tokens"]
        self.stats[f"{prefix}billed_choices"] += len(made["choices"])

    def note(self, digest: str, body: Any, outcome: str) -> None:
        """One line per try that was answered or billed, at once: a test reads it after both sides were killed."""
        if self.log is not None:
            line = {
                "digest": digest,
                "seed": body.get("seed") or 0,
                "n": body.get("n") or 1,
                "outcome": outcome,
            }
            line["asked"] = body["messages"][-1]["content"][:60]
            self.log.write(json.dumps(line).encode() + b"\n")

    def fault(self, digest: str, times: int) -> str | None:
        knobs = self.knobs
        if knobs.always is not None and (not knobs.first or self.stats["tries"] <= knobs.first):
            return knobs.always
        if knobs.storm is not None:
            every, lasts = knobs.storm
            if (time.monotonic() - self.begun) % every < lasts:
                return "429"
        draw = share("fault", knobs.seed, digest, times)
        for name, rate in knobs.faults.items():
            if draw < rate:
                return name
            draw -= rate
        return None

    # ---- batches ----

    def make_batch(self, given: dict[str, Any]) -> dict[str, Any]:
        name = f"batch_{len(self.batches)}"
        made = {
            "id": name,
            "object": "batch",
            "endpoint": given["endpoint"],
            "completion_window": given["completion_window"],
            "input_file_id": given["input_file_id"],
            "metadata": given.get("metadata"),
            "created_at": 0,
            "status": "in_progress",
            "_due": time.monotonic() + self.knobs.batch_s,
        }
        if given["input_file_id"] not in self.files:
            raise Refused(400, "no such file")
        self.batches[name] = made
        return made

    def look_at_batch(self, name: str) -> dict[str, Any]:
        made = self.batches.get(name)
        if made is None:
            raise Refused(404, "no such batch")
        if made["status"] == "in_progress" and time.monotonic() >= made["_due"]:
            self.finish_batch(made)
        return {key: value for key, value in made.items() if not key.startswith("_")}

    def finish_batch(self, made: dict[str, Any]) -> None:
        knobs = self.knobs
        lines = [json.loads(line) for line in self.files[made["input_file_id"]].splitlines() if line]
        if knobs.batch_fails:
            made["status"] = "failed"
            made["errors"] = {
                "object": "list",
                "data": [{"code": "invalid", "message": "no good", "line": 1}],
            }
            return
        done, failed = [], []
        for line in lines:
            name = line["custom_id"]
            self.seen[name] += 1
            if share("expires", knobs.seed, line["body"], self.seen[name]) < knobs.batch_expires:
                error = {"code": "batch_expired", "message": "This request could not be executed in time."}
                failed.append({"id": "r", "custom_id": name, "response": None, "error": error})
                continue
            try:
                if share("row", knobs.seed, line["body"], self.seen[name]) < knobs.batch_row_errors:
                    raise Refused(500, "the row failed")
                answer = self.model.complete(line["body"], {"authorization": f"Bearer {knobs.key}"})
            except Refused as refused:
                response = {"status_code": refused.status, "request_id": "q", "body": error_body(refused)}
                failed.append({"id": "r", "custom_id": name, "response": response, "error": None})
                continue
            self.bill(answer, batch=True)
            response = {"status_code": 200, "request_id": "q", "body": answer}
            done.append({"id": "r", "custom_id": name, "response": response, "error": None})
        # Providers promise no order.
        for rows, key in ((done, "output_file_id"), (failed, "error_file_id")):
            if rows:
                rows.sort(key=lambda row: share(row["custom_id"]))
                made[key] = f"{made['id']}-{key}"
                self.files[made[key]] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        made["status"] = "expired" if any(row["error"] for row in failed) else "completed"
        made["request_counts"] = {"total": len(lines), "completed": len(done), "failed": len(failed)}


def error_body(refused: Refused, more: str = "") -> dict[str, Any]:
    return {
        "error": {
            "message": f"{refused}{more}",
            "type": "invalid_request_error",
            "param": refused.param,
            "code": refused.code,
        }
    }


REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 413: "Too Large"}


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, kept alive, one request at a time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.buffer = bytearray()
        self.later: asyncio.TimerHandle | None = None
        self.counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.world.stats["connections"] += 1

    def connection_lost(self, error: Exception | None) -> None:
        self.leave()
        if self.later is not None:
            self.later.cancel()
            self.world.stats["abandoned"] += 1

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
            headers = {}
            for line in lines:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            length = int(headers.get("content-length", "0"))
            if len(self.buffer) < end + 4 + length:
                return
            content = bytes(self.buffer[end + 4 : end + 4 + length])
            del self.buffer[: end + 4 + length]
            method, path, _ = first.split(" ")
            try:
                self.handle(method, path, headers, content)
            except Refused as refused:
                self.refuse(refused, headers)

    # ---- what is asked ----

    def handle(self, method: str, path: str, headers: dict[str, str], content: bytes) -> None:
        world, (path, _, query) = self.world, path.partition("?")
        if path == "/v1/chat/completions":
            return self.chat(headers, content)
        if path == "/_stats":
            flight = {"in_flight": world.in_flight, "most_in_flight": world.most_in_flight}
            return self.send_json(200, {**world.stats, **flight})
        if path == "/_knobs":
            for name, value in json.loads(content).items():
                setattr(world.knobs, name, value)
            world.stats["tries"] = 0
            return self.send_json(200, {})
        if world.knobs.key is not None and headers.get("authorization") != f"Bearer {world.knobs.key}":
            raise Refused(401, "Incorrect API key provided", "invalid_api_key")
        if method == "POST" and path == "/v1/files":
            name = f"file-{len(world.files)}"
            world.files[name] = part_named(headers["content-type"], content, "file")
            world.stats["files"] += 1
            world.stats["file_bytes"] = max(world.stats["file_bytes"], len(world.files[name]))
            made = {"id": name, "object": "file", "bytes": 0, "created_at": 0, "filename": "requests.jsonl"}
            return self.send_json(200, {**made, "purpose": "batch", "status": "processed"})
        if method == "POST" and path == "/v1/batches":
            given = json.loads(content)
            name = str(world.make_batch(given)["id"])
            world.stats["batches"] += 1
            if world.knobs.batch_create == "lost" and given["input_file_id"] not in world.lost_batches:
                world.lost_batches.add(given["input_file_id"])
                self.transport.abort()
                return None
            return self.send_json(200, world.look_at_batch(name))
        if method == "GET" and path == "/v1/batches":
            after = query.partition("after=")[2].partition("&")[0]
            names = list(reversed(world.batches))
            rest = names[names.index(after) + 1 :] if after else names
            page = [world.look_at_batch(name) for name in rest[:20]]
            last = page[-1]["id"] if page else None
            return self.send_json(
                200, {"object": "list", "data": page, "last_id": last, "has_more": len(rest) > 20}
            )
        if path.startswith("/v1/batches/"):
            world.stats["looks_at_batches"] += 1
            return self.send_json(200, world.look_at_batch(path.split("/")[3]))
        if path.startswith("/v1/files/") and path.endswith("/content"):
            if (found := world.files.get(path.split("/")[3])) is None:
                raise Refused(404, "no such file")
            return self.send(200, found)
        raise Refused(404, f"nothing at {method} {path}")

    def chat(self, headers: dict[str, str], content: bytes) -> None:
        world, knobs = self.world, self.world.knobs
        world.stats["tries"] += 1
        body = json.loads(content)
        digest = hashlib.sha256(content).hexdigest()[:24]
        world.seen[digest] += 1
        fault = world.fault(digest, world.seen[digest])
        self.counted = True
        world.in_flight += 1
        world.most_in_flight = max(world.most_in_flight, world.in_flight)
        if knobs.capacity and world.in_flight > knobs.capacity:
            fault = "429"
        if fault is not None:
            world.stats[f"fault_{fault}"] += 1
        if fault in ("429", "503"):
            wait = f"{knobs.retry_after_s:g}" if knobs.retry_after is None else knobs.retry_after
            more = f"Retry-After: {wait}\r\n" if wait else ""
            self.refuse(Refused(int(fault), "Rate limit reached", "rate_limit_exceeded"), headers, more)
            return
        if fault == "500":
            raise Refused(500, "The server had an error")
        made = world.model.complete(body, headers)
        world.bill(made)
        latency = knobs.latency_s + knobs.token_s * made["usage"]["completion_tokens"]
        text = json.dumps(made).encode()
        self.later = asyncio.get_running_loop().call_later(
            knobs.stall_s if fault == "stall" else latency, self.answer, fault, text, digest, body
        )

    def answer(self, fault: str | None, text: bytes, digest: str, body: Any) -> None:
        self.later = None
        if fault == "cut":
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000")
            self.transport.close()
            return
        if fault == "truncated":
            half = text[: len(text) // 2]
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
            self.transport.write(head.encode() + half)
            self.transport.close()
            return
        if fault == "malformed":
            text = text[: len(text) // 2]
        elif fault == "garbage":
            text = b'{"choices": [{"message": {"content": 7}}], "usage": "much"}'
        elif fault == "empty":
            text = b""
        elif fault == "huge":
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
            self.pour(200)
            return
        else:
            self.world.stats["answered"] += 1
            self.world.note(digest, body, "answered")
        self.send(200, text)

    def pour(self, left: int) -> None:
        """A body without an end, or nearly: 1 MiB of blanks at a time."""
        self.leave()
        if left and not self.transport.is_closing():
            self.transport.write(b" " * 2**20)
            asyncio.get_running_loop().call_later(0.001, self.pour, left - 1)
        else:
            self.transport.close()

    # ---- what is said ----

    def leave(self) -> None:
        if self.counted:
            self.counted = False
            self.world.in_flight -= 1

    def refuse(self, refused: Refused, headers: dict[str, str], more: str = "") -> None:
        echo = f" (you sent {headers.get('authorization')})" if self.world.knobs.echo_key else ""
        self.send(refused.status, json.dumps(error_body(refused, echo)).encode(), more)

    def send_json(self, status: int, value: object) -> None:
        self.send(status, json.dumps(value).encode())

    def send(self, status: int, content: bytes, more: str = "") -> None:
        self.leave()
        head = (
            f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n{more}\r\n"
        )
        self.transport.write(head.encode() + content)


def part_named(kind: str, content: bytes, name: str) -> bytes:
    """One part of a multipart form."""
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + content)
    for part in message.iter_parts():
        if part.get_param("name", header="content-disposition") == name:
            return bytes(part.get_payload(decode=True))
    raise Refused(400, f"no part {name}")


async def serve(knobs: Knobs, log: str | None, port: int) -> None:
    world = World(knobs, log)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(world), "127.0.0.1", port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    # The end of standard input is the end of whoever started us.
    await loop.run_in_executor(None, sys.stdin.buffer.read)


# ---- the test's side ----


class Loopback:
    """The server, running in a process of its own while the `with` block lasts.

    Args:
        log: file that gets a line for every answer sent.
        port: a fixed one; 0: any.
        knobs: see `Knobs`.
    """

    def __init__(self, *, log: Path | None = None, port: int = 0, **knobs: Any) -> None:
        self.knobs = Knobs(**knobs)
        self.words = [sys.executable, "-m", "tests.data.loopback", json.dumps(asdict(self.knobs))]
        self.words += ["--port", str(port), *(["--log", str(log)] if log else [])]

    def __enter__(self) -> Loopback:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
        self.process = subprocess.Popen(
            self.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        return self

    def __exit__(self, *error: object) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def set(self, **knobs: Any) -> None:
        """Change knobs while it runs."""
        self._ask("/_knobs", json.dumps(knobs).encode())

    def stats(self) -> dict[str, int]:
        found: dict[str, int] = self._ask("/_stats")
        return Counter(found)

    def settle(self) -> None:
        """Waits until the server has noticed that whoever asked is gone: nothing is in flight, twice running.

        What a dead client had sent lies in the kernel before the first look is asked for, so it is read before the
        second one is answered.
        """
        calm = 0
        for _ in range(6000):
            calm = calm + 1 if not self.stats()["in_flight"] else 0
            if calm == 2:
                return
            time.sleep(0.01)
        raise AssertionError("requests of a dead client are still in flight")

    def _ask(self, path: str, content: bytes | None = None) -> Any:
        # No proxy stands between a process and its own machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}{path}", content, timeout=10) as answer:
            return json.load(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("knobs", nargs="?", default="{}", help="JSON, see Knobs")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log")
    given = parser.parse_args()
    try:
        asyncio.run(serve(Knobs(**json.loads(given.knobs)), given.log, given.port))
    finally:
        # The reader of standard input is a thread that may still wait.
        os._exit(0)


if __name__ == "__main__":
    main()
