"""Answers through OpenAI's Batch API: half the price, within a day. A killed process picks its batches up again.

Who talks to whom: requests are gathered into chunks of at most 50,000 rows and 100 MB, consecutive samples of one
prompt in one row. Each chunk is a file, a batch and an entry in the journal, a folder in the response store:

    journal/<digest>.jsonl     the rows, until the batch exists
    journal/<digest>.json      which keys each row answers, the file's id, the batch's id
    journal/<digest>.out, .err what the batch brought, as downloaded

The entry is on the disk before each step whose repetition would cost something:

    prepared ─▶ uploaded (file id) ─▶ sent (batch id) ─▶ finished (results downloaded)

A run that finds an entry does not send its rows again: who asks for one of its keys waits for that batch. An entry
that knows its file but no batch (killed, or cut off, while the batch was made) is looked for among the provider's
batches by the digest that every batch carries as metadata, and forgotten only where the provider has none. Rows that
were not done when their batch expired or was cancelled, or that failed on the provider's side, go into a later chunk,
`retries` times.

An entry is removed a week after its results came: by then they are in the response store. Until then a run that asks
for one of its keys again (the one before died in between) gets its answer from there; failures are tried afresh.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import openai

from .._errors import BackendError, StoreError
from .._requests import Answer, Failure, Outcome, Request
from ._chat import Features, Malformed, answers_of, body_of, grouped, row_failure, told
from .openai import client, retry_after

log = logging.getLogger("acedata.backends")

MOST_ROWS = 50_000
MOST_BYTES = 100 * 10**6
_KEPT_S = 7 * 86_400
_MOST_RESULT_BYTES = 4 * 2**30
_MOST_PAGES = 100

T = TypeVar("T")


@dataclass(slots=True)
class Chunk:
    """One batch, from its rows to its results.

    Attributes:
        digest: of the rows and the time, 32 hex digits.
        rows: by `custom_id`, the keys (hex) that the row's choices answer, in order.
        continues: whether the endpoint was asked to continue prefills.
        max_tokens: the token limit of all its rows.
        file_id, batch_id: as the provider names them.
        delivered: when the results came, in seconds since the epoch; 0: not yet.
        claims: who waits, by key.
        row_of: by key, its row and which of the row's choices it is.
        offsets: where each row's line begins in the downloaded results, by `custom_id`: (file suffix, offset).
    """

    digest: str
    rows: dict[str, list[str]]
    continues: bool
    max_tokens: int
    file_id: str | None = None
    batch_id: str | None = None
    delivered: float = 0.0
    claims: dict[str, Request] = field(default_factory=dict)
    row_of: dict[str, tuple[str, int]] = field(default_factory=dict)
    offsets: dict[str, tuple[str, int]] | None = None

    def __post_init__(self) -> None:
        self.row_of = {
            key: (name, number) for name, keys in self.rows.items() for number, key in enumerate(keys)
        }


class OpenAIBatchBackend:
    """OpenAI's Batch API, or one like it.

    Args:
        journal: folder that remembers the batches.
        base_url, api_key_env, prefill: as of `OpenAIBackend`.
        retries: times a row that was not done is put into a later batch.
        chunk_rows, chunk_bytes: most of one batch.
        outstanding_rows: rows in all batches at a time.
        poll_s: longest time between two looks at a batch.

    Raises:
        BackendError: the key is missing or cannot be one, or the address is none.
    """

    batch = True

    def __init__(
        self,
        *,
        journal: str | os.PathLike[str],
        base_url: str | None = None,
        api_key_env: str | None = "OPENAI_API_KEY",
        prefill: bool = True,
        retries: int = 5,
        chunk_rows: int = MOST_ROWS,
        chunk_bytes: int = MOST_BYTES,
        outstanding_rows: int = 200_000,
        poll_s: float = 60.0,
        backoff_s: float = 0.5,
    ) -> None:
        self.journal = Path(journal)
        self.retries, self.poll_s, self.backoff_s = retries, poll_s, backoff_s
        self.chunk_rows, self.chunk_bytes = min(chunk_rows, MOST_ROWS), min(chunk_bytes, MOST_BYTES)
        self.outstanding_rows = outstanding_rows
        self.features = Features(prefill=prefill)
        self.tries: Counter[str] = Counter()
        self._sdk, self._secrets = client(base_url, api_key_env)
        self._address = self._secrets.clean(str(self._sdk.base_url))
        self._chunks: dict[str, Chunk] = {}
        self._by_key: dict[str, Chunk] = {}
        self._row_tries: Counter[str] = Counter()

    @property
    def notes(self) -> list[str]:
        return self.features.notes

    def __repr__(self) -> str:
        return f"OpenAIBatchBackend({self._address!r})"

    async def close(self) -> None:
        await self._sdk.close()
        self._secrets.release()

    async def answers(
        self, requests: AsyncIterable[Request], lost: Callable[[Request], bool] = lambda request: True
    ) -> AsyncIterator[tuple[Request, Outcome]]:
        self._secrets.guard()
        run = _Run(self, requests)
        worker = asyncio.create_task(run.work())
        worker.add_done_callback(lambda _: run.done.put_nowait(None))
        try:
            while (pair := await run.done.get()) is not None:
                yield pair
            await worker
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)

    # ---- the journal ----

    async def recover(self) -> None:
        """Read the journal: chunks that were sent are waited for again, others forgotten."""
        self.journal.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.journal.glob("*.json")):
            if path.stem in self._chunks:
                continue
            chunk = _read_entry(path)
            if chunk.delivered and time.time() - chunk.delivered > _KEPT_S:
                self.forget(chunk)
                continue
            if chunk.batch_id is None and chunk.file_id is not None:
                chunk.batch_id = await self.find_batch(chunk)
                if chunk.batch_id is not None:
                    self.write_entry(chunk)
            if chunk.batch_id is None:
                self.forget(chunk)
                continue
            log.info("%s was sent by an earlier run: waiting for it", chunk.batch_id)
            self.know(chunk)

    def know(self, chunk: Chunk) -> None:
        self._chunks[chunk.digest] = chunk
        for key in chunk.row_of:
            self._by_key[key] = chunk

    def claimed(self, request: Request) -> Chunk | None:
        return self._by_key.get(request.key.hex())

    def release_key(self, key: str) -> None:
        """From now on a key is nobody's: it goes into the next chunk."""
        self._by_key.pop(key, None)

    def path(self, chunk: Chunk, suffix: str) -> Path:
        return self.journal / f"{chunk.digest}{suffix}"

    def write_entry(self, chunk: Chunk) -> None:
        content = {
            "version": 1,
            "digest": chunk.digest,
            "rows": chunk.rows,
            "continues": chunk.continues,
            "max_tokens": chunk.max_tokens,
            "file_id": chunk.file_id,
            "batch_id": chunk.batch_id,
            "delivered": chunk.delivered,
        }
        _write_durably(self.path(chunk, ".json"), [json.dumps(content).encode()])

    def forget(self, chunk: Chunk) -> None:
        for suffix in (".jsonl", ".out", ".err", ".json"):
            self.path(chunk, suffix).unlink(missing_ok=True)
        self._chunks.pop(chunk.digest, None)

    # ---- talking to the provider ----

    async def call(self, what: str, made: Callable[[], Awaitable[T]], again: bool = True) -> T:
        """One call, tried again while that makes sense.

        Raises:
            BackendError: it does not.
            openai.APIConnectionError: nobody knows whether it was carried out, and `again` is false.
        """
        for number in range(self.retries + 1):
            wait = min(30.0, self.backoff_s * 2**number)
            try:
                return await made()
            except openai.APIStatusError as error:
                detail = self._secrets.line(
                    f"HTTP {error.status_code}: {told(error.body, error.message).message}"
                )
                passing = error.status_code in (408, 409, 425, 429) or error.status_code >= 500
                wait = max(wait, retry_after(error.response.headers))
            except openai.APIConnectionError as error:
                if not again and not isinstance(error.__cause__, httpx2.ConnectError):
                    raise
                cause = error.__cause__ or error
                detail, passing = self._secrets.line(f"{type(cause).__name__}: {cause}"), True
            if not passing or number == self.retries:
                break
            self.tries[what] += 1
            await asyncio.sleep(wait)
        raise BackendError(
            f"{self._address}: {what} failed ({detail}); batches that were sent go on and are picked up"
        )

    async def find_batch(self, chunk: Chunk) -> str | None:
        """The batch that carries a chunk's digest, if the provider has one."""
        after: str | openai.Omit = openai.omit
        for _ in range(_MOST_PAGES):
            page = await self.call("listing batches", partial(self._page, after))
            for batch in page.data:
                if (batch.metadata or {}).get(
                    "acedata"
                ) == chunk.digest and batch.input_file_id == chunk.file_id:
                    return str(batch.id)
            if not page.data or not page.has_more:
                return None
            after = page.data[-1].id
        return None

    async def _page(self, after: str | openai.Omit) -> Any:
        return await self._sdk.batches.list(after=after, limit=100)

    async def upload(self, chunk: Chunk) -> None:
        path = self.path(chunk, ".jsonl")
        name = f"acedata-{chunk.digest}.jsonl"
        made = await self.call(
            "uploading a batch's file",
            lambda: self._sdk.files.create(file=(name, path.read_bytes()), purpose="batch", timeout=600),
        )
        chunk.file_id = made.id
        self.write_entry(chunk)

    async def send(self, chunk: Chunk) -> None:
        """Make the batch. After a cut connection the provider is asked whether it has been made."""
        assert chunk.file_id is not None
        file_id = chunk.file_id
        for _ in range(self.retries + 1):
            try:
                made = await self.call(
                    "making a batch",
                    lambda: self._sdk.batches.create(
                        completion_window="24h",
                        endpoint="/v1/chat/completions",
                        input_file_id=file_id,
                        metadata={"acedata": chunk.digest},
                    ),
                    again=False,
                )
                chunk.batch_id = made.id
            except openai.APIConnectionError:
                await asyncio.sleep(self.backoff_s)
                chunk.batch_id = await self.find_batch(chunk)
            if chunk.batch_id is not None:
                self.write_entry(chunk)
                self.path(chunk, ".jsonl").unlink(missing_ok=True)
                log.info("%s: %d rows sent", chunk.batch_id, len(chunk.rows))
                return
        raise BackendError(f"{self._address}: no batch could be made of {chunk.file_id}; connections are cut")

    async def finish(self, chunk: Chunk) -> Any:
        """Wait for the batch and bring its results down. Returns the batch as it ended."""
        batch_id, wait = chunk.batch_id, min(1.0, self.poll_s)
        assert batch_id is not None
        while True:
            batch = await self.call("looking at a batch", lambda: self._sdk.batches.retrieve(batch_id))
            if batch.status in ("completed", "expired", "cancelled", "failed"):
                break
            await asyncio.sleep(wait)
            wait = min(self.poll_s, 1.5 * wait)
        for suffix, file_id in ((".out", batch.output_file_id), (".err", batch.error_file_id)):
            if file_id is not None and not self.path(chunk, suffix).exists():
                await self.call(
                    "downloading results", partial(self.download, file_id, self.path(chunk, suffix))
                )
        return batch

    async def download(self, file_id: str, path: Path) -> None:
        parts = path.with_suffix(path.suffix + ".part")
        left = _MOST_RESULT_BYTES
        async with self._sdk.files.with_streaming_response.content(file_id, timeout=600) as response:
            with open(parts, "wb") as file:
                async for piece in response.iter_bytes(2**20):
                    left -= len(piece)
                    if left < 0:
                        raise BackendError(f"{self._address}: the results of a batch are longer than 4 GiB")
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        parts.replace(path)


class _Run:
    """One call of `answers`."""

    def __init__(self, backend: OpenAIBatchBackend, requests: AsyncIterable[Request]) -> None:
        self.backend, self.requests = backend, requests
        self.done: asyncio.Queue[tuple[Request, Outcome] | None] = asyncio.Queue()
        self.again: list[list[Request]] = []
        self.outstanding = 0
        self.freed = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.waited_for: set[str] = set()
        self.most_rows = backend.chunk_rows

    async def work(self) -> None:
        try:
            await self.backend.recover()
            await self.gather()
            while self.tasks or self.again:
                if self.again:
                    rows, self.again = self.again, []
                    await self.cut_up(rows)
                if self.tasks:
                    await self.one_ends()
        finally:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

    async def gather(self) -> None:
        """All requests into chunks, or to the chunks that hold them already."""
        rows: list[list[Request]] = []
        size = 0
        async for group in grouped(self.unclaimed(), self.backend.features):
            rows.append(group)
            size += sum(len(message["content"]) for message in group[0].messages)
            if len(rows) >= self.most_rows or size >= self.backend.chunk_bytes:
                await self.cut_up(rows)
                rows, size = [], 0
            while self.outstanding + len(rows) >= self.backend.outstanding_rows and self.tasks:
                await self.one_ends()
        if rows:
            await self.cut_up(rows)

    async def unclaimed(self) -> AsyncIterator[Request]:
        async for request in self.requests:
            chunk = self.backend.claimed(request)
            if chunk is None:
                yield request
                continue
            chunk.claims[request.key.hex()] = request
            if chunk.digest not in self.waited_for:
                self.waited_for.add(chunk.digest)
                self.start(chunk)
            elif chunk.offsets is not None:
                self.deliver(chunk, None, old=True)

    def start(self, chunk: Chunk) -> None:
        self.outstanding += len(chunk.rows)
        self.tasks.add(asyncio.create_task(self.carry(chunk)))

    async def one_ends(self) -> None:
        ended, self.tasks = await asyncio.wait(self.tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()

    # ---- chunks ----

    async def cut_up(self, rows: list[list[Request]]) -> None:
        """Rows into chunks that are small enough."""
        backend = self.backend
        lines: list[bytes] = []
        part: list[list[Request]] = []
        size = 0
        for group in rows:
            try:
                line = _row(group, backend.features)
            except UnicodeEncodeError:
                self.fail(group, Failure("bad request", "the prompt holds half a surrogate pair"))
                continue
            full = size + len(line) + 1 > backend.chunk_bytes or len(part) >= self.most_rows
            if part and (full or group[0].max_tokens != part[0][0].max_tokens):
                self.make(part, lines)
                part, lines, size = [], [], 0
            part.append(group)
            lines.append(line)
            size += len(line) + 1
        if part:
            self.make(part, lines)

    def make(self, rows: list[list[Request]], lines: list[bytes]) -> None:
        content = b"\n".join(lines) + b"\n"
        # The same rows may be sent twice: the time tells the two chunks apart.
        digest = hashlib.sha256(content + str(time.time_ns()).encode()).hexdigest()[:32]
        chunk = Chunk(
            digest,
            {group[0].key.hex(): [one.key.hex() for one in group] for group in rows},
            continues=self.backend.features.prefill,
            max_tokens=rows[0][0].max_tokens,
        )
        chunk.claims = {one.key.hex(): one for group in rows for one in group}
        backend = self.backend
        _write_durably(backend.path(chunk, ".jsonl"), [content])
        backend.write_entry(chunk)
        backend.know(chunk)
        self.waited_for.add(digest)
        self.start(chunk)

    async def carry(self, chunk: Chunk) -> None:
        backend = self.backend
        if chunk.batch_id is None:
            await backend.upload(chunk)
            await backend.send(chunk)
        status, old = None, bool(chunk.delivered)
        if not old:
            batch = await backend.finish(chunk)
            status = batch.status
            if status == "failed":
                await self.refused(chunk, batch)
                return
            chunk.delivered = time.time()
            backend.write_entry(chunk)
        chunk.offsets = _index(backend, chunk)
        self.deliver(chunk, status, old)
        self.outstanding -= len(chunk.rows)

    async def refused(self, chunk: Chunk, batch: Any) -> None:
        """The provider did not begin with the batch. Nothing of it was billed."""
        backend = self.backend
        errors = list(batch.errors.data or []) if batch.errors else []
        codes = {error.code for error in errors}
        said = "; ".join(f"line {one.line}: {one.message}" for one in errors[:3])
        groups = self.groups_of(chunk)
        for key in chunk.row_of:
            backend.release_key(key)
        self.outstanding -= len(chunk.rows)
        backend.forget(chunk)
        if "token_limit_exceeded" in codes and (len(self.tasks) > 1 or len(groups) > 1):
            # More than the account may have in its queue: smaller, and after some of what is there has been done.
            self.most_rows = max(1, len(groups) // 2)
            await asyncio.sleep(backend.poll_s)
            self.again.extend(groups)
            return
        raise BackendError(
            f"{backend._address} refused a batch: {backend._secrets.line(said or batch.status)}"
        )

    def groups_of(self, chunk: Chunk) -> list[list[Request]]:
        """The claims, row by row; none are left."""
        groups: dict[str, list[Request]] = {}
        for key in sorted(chunk.claims, key=lambda key: chunk.row_of[key]):
            groups.setdefault(chunk.row_of[key][0], []).append(chunk.claims[key])
        chunk.claims.clear()
        return list(groups.values())

    def deliver(self, chunk: Chunk, status: str | None, old: bool) -> None:
        """Give everybody who claimed a row of a finished chunk what it brought.

        Args:
            status: how the batch ended, where that is known.
            old: its results were there before; what failed then is tried afresh now.
        """
        backend, offsets = self.backend, chunk.offsets
        assert offsets is not None
        with contextlib.ExitStack() as files:
            opened: dict[str, Any] = {}
            for group in self.groups_of(chunk):
                line = None
                place = offsets.get(chunk.row_of[group[0].key.hex()][0])
                if place is not None:
                    suffix, offset = place
                    if suffix not in opened:
                        opened[suffix] = files.enter_context(open(backend.path(chunk, suffix), "rb"))
                    opened[suffix].seek(offset)
                    line = opened[suffix].readline()
                self.read_row(chunk, group, line, status, old)

    def read_row(
        self, chunk: Chunk, group: list[Request], line: bytes | None, status: str | None, old: bool
    ) -> None:
        backend = self.backend
        if line is None:
            reason = "batch expired" if status in ("expired", "cancelled") else "malformed answer"
            return self.once_more(group, Failure(reason, "the batch brought no row"), old)
        row = json.loads(line)
        response = row.get("response")
        if not isinstance(response, dict):
            said = told(row.get("error"))
            reason = "batch expired" if said.code == "batch_expired" else "server error"
            return self.once_more(group, Failure(reason, backend._secrets.line(said.message)), old)
        code, body = response.get("status_code"), response.get("body")
        if code != 200:
            return self.read_error(chunk, group, code if type(code) is int else 500, body, old)
        # The row as it was sent, whoever of it waits: its choices belong to its keys in order.
        keys = chunk.rows[chunk.row_of[group[0].key.hex()][0]]
        whole = [replace(group[0], max_tokens=chunk.max_tokens)] * len(keys)
        sent = {"continue_final_message": True} if chunk.continues else {}
        try:
            answers = answers_of(whole, sent, body, backend.features, batch=True)
        except (Malformed, RecursionError) as trouble:
            return self.once_more(group, Failure("malformed answer", backend._secrets.line(trouble)), old)
        for request in group:
            number = chunk.row_of[request.key.hex()][1]
            if number >= len(answers):
                few = Failure("malformed answer", "the row brought fewer samples than were asked for")
                self.once_more([request], few, old)
            elif not answers[number].serves(request):
                # It was asked with a lower limit, in a run before the limit was raised.
                self.once_more([request], None, old)
            else:
                backend.tries["answered"] += 1
                self.done.put_nowait((request, answers[number]))
        return None

    def read_error(self, chunk: Chunk, group: list[Request], status: int, body: Any, old: bool) -> None:
        backend, said = self.backend, told(body)
        detail = backend._secrets.line(f"HTTP {status}: {said.message}")
        sent = body_of(group, Features(prefill=chunk.continues))
        if status in (400, 422) and backend.features.refused(sent, said.message, said.param):
            return self.once_more(group, Failure("bad request", detail), old)
        outcome = row_failure(group[0], status, said, detail)
        if isinstance(outcome, Failure) and (old or outcome.reason in ("server error", "rate limited")):
            return self.once_more(group, outcome, old)
        return self.fail(group, outcome)

    def once_more(self, group: list[Request], failure: Failure | None, old: bool) -> None:
        """Into a later chunk, or to its end."""
        backend = self.backend
        for request in group:
            backend.release_key(request.key.hex())
        if failure is not None and not old:
            name = group[0].key.hex()
            backend.tries[failure.reason] += 1
            backend._row_tries[name] += 1
            if backend._row_tries[name] > backend.retries:
                return self.fail(group, failure)
        if len(group) > backend.features.samples:
            self.again.extend([request] for request in group)
        else:
            self.again.append(group)
        return None

    def fail(self, group: list[Request], outcome: Answer | Failure) -> None:
        for request in group:
            self.backend.release_key(request.key.hex())
            self.done.put_nowait((request, outcome))


def _row(group: list[Request], features: Features) -> bytes:
    line = {
        "custom_id": group[0].key.hex(),
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": body_of(group, features),
    }
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()


def _index(backend: OpenAIBatchBackend, chunk: Chunk) -> dict[str, tuple[str, int]]:
    """Where each row's line begins. Answers go before errors; lines that cannot be read are as good as missing."""
    places: dict[str, tuple[str, int]] = {}
    for suffix in (".out", ".err"):
        path, at = backend.path(chunk, suffix), 0
        if not path.exists():
            continue
        with open(path, "rb") as lines:
            for line in lines:
                with contextlib.suppress(ValueError, RecursionError):
                    row = json.loads(line)
                    name = row.get("custom_id") if isinstance(row, dict) else None
                    if isinstance(name, str) and name in chunk.rows:
                        places.setdefault(name, (suffix, at))
                at += len(line)
    return places


def _read_entry(path: Path) -> Chunk:
    try:
        entry = json.loads(path.read_bytes())
        if entry["version"] != 1:
            raise StoreError(f"{path}: a newer acedata wrote this journal of batches; use a newer one")
        return Chunk(
            entry["digest"],
            entry["rows"],
            continues=entry["continues"],
            max_tokens=entry["max_tokens"],
            file_id=entry["file_id"],
            batch_id=entry["batch_id"],
            delivered=entry["delivered"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} is damaged ({error!r}): it says which batch was sent. Find that batch in the provider's list "
            f"before you remove this file: without it, the batch's answers are paid for again"
        ) from None


def _write_durably(path: Path, parts: list[bytes]) -> None:
    made = path.with_suffix(path.suffix + ".new")
    with open(made, "wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
    made.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
