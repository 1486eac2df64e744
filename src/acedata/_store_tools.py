"""What people do with response stores by hand: `acedata store info | dump | merge | repair`.

`dump` writes the lines that the replay back-end reads, so a store can become a demo, a test or a gift. `merge` puts the
answers of several stores (of several machines, say) into one; where two have the same key the store's own rule decides,
whatever the order. `repair` makes a damaged store readable again and says what was lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._errors import StoreError
from ._store import (
    Damage,
    Record,
    ResponseStore,
    Segments,
    blocks,
    check_header,
    segment_file,
    whole_records,
)

_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Info:
    """What a store holds.

    Attributes:
        answers: in force, one per key.
        bytes: of its segments.
        models: answers by (provider, model).
        ended: answers by how they ended.
        prompt_tokens, completion_tokens: of the answers in force.
    """

    answers: int
    bytes: int
    models: Counter[tuple[str, str]] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0


def info(path: str | os.PathLike[str]) -> Info:
    """Looks at every answer of a store.

    Raises:
        StoreError: there is none, or it is damaged.
    """
    models: Counter[tuple[str, str]] = Counter()
    ended: Counter[str] = Counter()
    prompt = completion = 0
    with ResponseStore(path, readonly=True) as store:
        for record in store.records():
            models[record.provider, record.model] += 1
            ended[record.answer.ended] += 1
            prompt += record.answer.prompt_tokens
            completion += record.answer.completion_tokens
        size = sum(file.stat().st_size for file in Segments(store.path).paths())
        return Info(len(store), size, models, ended, prompt, completion)


def dump(path: str | os.PathLike[str], model: str | None = None) -> Iterator[dict[str, Any]]:
    """Every answer, as the replay back-end reads it; of one model, or of all.

    Raises:
        StoreError: there is no store, or it is damaged.
    """
    with ResponseStore(path, readonly=True) as store:
        for record in store.records():
            if model is None or record.model == model:
                answer = record.answer
                yield {
                    "key": record.key.hex(),
                    "provider": record.provider,
                    "model": record.model,
                    "row": record.row,
                    "sample": record.sample,
                    "text": answer.text,
                    "ended": answer.ended,
                    "max_tokens": answer.max_tokens,
                    "prompt_tokens": answer.prompt_tokens,
                    "completion_tokens": answer.completion_tokens,
                    "cached_tokens": answer.cached_tokens,
                    "batch": answer.batch,
                    "prefilled": answer.prefilled,
                }


def merge(into: str | os.PathLike[str], sources: Iterable[str | os.PathLike[str]]) -> int:
    """Puts all answers of `sources` into one store. Returns how many requests it answers that it did not before.

    Raises:
        BuildInUse: a build writes to `into`.
        StoreError: one of them is damaged, or is no store.
    """
    with ResponseStore(into) as store:
        before = len(store)
        for source in sources:
            with ResponseStore(source, readonly=True) as other:
                waiting: list[Record] = []
                for record in other.records():
                    waiting.append(record)
                    if len(waiting) >= _AT_ONCE:
                        store.put_records(waiting)
                        waiting = []
                store.put_records(waiting)
        return len(store) - before


@dataclass(slots=True)
class Repaired:
    """What a repair did.

    Attributes:
        damage: every damaged place.
        kept: answers found whole within damaged places.
        lost_bytes: of what could not be read.
        aside: where the damaged segments lie now, as they were.
    """

    damage: list[Damage] = field(default_factory=list)
    kept: int = 0
    lost_bytes: int = 0
    aside: list[Path] = field(default_factory=list)


def repair(path: str | os.PathLike[str]) -> Repaired:
    """Rewrites every damaged segment with all answers in it that are whole. Answers that are not are asked for again.

    The damaged files are kept beside the others, as `damaged-…`. A crash leaves each segment as it was or repaired.

    Raises:
        BuildInUse: a build writes to the store.
        StoreError: there is no store, or a newer version wrote it.
    """
    store = Path(path)
    done = Repaired()
    with Segments(store).locked() as segments:
        for number in range(segments.last() + 1):
            segment = segments.path(number)
            data = segment.read_bytes() if segment.exists() else b""
            damage, records = _examine(store, segment, data, number)
            if not damage:
                continue
            done.damage += damage
            for one in damage:
                done.lost_bytes += one.end - one.offset
            spoiled = sum(1 for _, spoilt in records if spoilt)
            done.kept += spoiled
            made = segment.with_suffix(".new")
            with open(made, "wb") as file:
                file.write(segment_file(number, [record for record, _ in records]))
                file.flush()
                os.fsync(file.fileno())
            if data:
                aside = store / f"damaged-{segment.stem}-{time.strftime('%Y%m%d-%H%M%S')}.ace"
                with contextlib.suppress(FileExistsError):
                    os.link(segment, aside)
                done.aside.append(aside)
            made.replace(segment)
        segments.sync()
    return done


def _examine(
    store: Path, segment: Path, data: bytes, number: int
) -> tuple[list[Damage], list[tuple[Record, bool]]]:
    """Damaged places of a segment, and its whole records, each with whether it was within one."""
    damage: list[Damage] = []
    records: list[tuple[Record, bool]] = []
    start = 32
    try:
        check_header(store, segment, data, number)
    except StoreError as error:
        if "format version" in str(error):
            raise
        damage.append(Damage(segment, 0, min(start, len(data)), "its header is not that of a segment"))
    for at, _, end, what in blocks(data, min(start, len(data))):
        records += [(record, bool(what)) for record in whole_records(data, at + 16, end)]
        if what:
            damage.append(Damage(segment, at, end, what))
    return damage, records


def write_dump(path: str | os.PathLike[str], out: Any, model: str | None = None) -> int:
    """`dump` as JSON Lines to a text file. Returns the number of lines."""
    count = 0
    for line in dump(path, model):
        out.write(json.dumps(line, ensure_ascii=False) + "\n")
        count += 1
    return count
