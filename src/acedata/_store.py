"""The response store: every model answer ever paid for, in append-only segments that survive a kill at any instant.

Who talks to whom: `_ask` looks each request up here before it is sent, and hands every answer over the moment it
arrives; only when `put_many` has returned, and the answers are on the disk, are they used. One process writes (a lock
sees to that); others may read along. `_store_tools` checks, repairs, dumps and merges.

    STORE/
    ├── lock                     held by the one writer
    ├── segment-000000.ace       at most about 64 MiB each; only the last one grows
    └── segment-000001.ace …

    segment  = header, block, block, ...
    header   = "acestore", u32 version, u32 number, 12 zero bytes, u32 CRC-32 of what stands before
    block    = marker, u32 length, u32 count, u32 CRC-32 of (length, count, payload), payload: `count` records
    record   = u32 CRC-32 of what follows, 32-byte key, u8 how it ended, u8 flags, u16 zero,
               u32 max_tokens, prompt_tokens, completion_tokens, cached_tokens, u32 length, zlib(label "\\n" text)
    label    = [provider, model, row, sample] as JSON: for people and tools; nothing is looked up by it

A block is what one commit wrote: one write, one fdatasync. The next block begins only after the one before is on the
disk, so a crash can spoil the last block of the last segment and nothing else. Opening checks every block:

- a spoiled block with nothing sound behind it is a torn tail. It was never acknowledged, so it is cut off; the records
  in it that are whole are written again, since they were paid for.
- a spoiled block with a sound one behind it was acknowledged once: a disk or a person damaged it. That is a
  `StoreError` with segment, offset and the remedy. Going on in silence would pay for those answers again.

A clean close ends with an empty block, so that damage to the last answers is told from a torn tail as well. Every read
checks the record's own CRC: damage that comes later is never handed out as an answer.

The index is an open-addressing hash table of two flat arrays, 16 bytes a slot, at most two thirds full: an 8-byte
fingerprint of the key and the record's place. The full key is compared on reading, so a shared fingerprint costs one
read more and nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import struct
import threading
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import get_args

from ._errors import BuildInUse, StoreError
from ._requests import Answer, Ended, Request

log = logging.getLogger("acedata.store")

VERSION = 1
SEGMENT_BYTES = 64 * 2**20
# One answer is at most this long: a store must be readable in bounded memory.
MOST_TEXT_BYTES = 64 * 2**20

_MAGIC = b"acestore"
_HEADER = struct.Struct("<8sII12xI")
_MARKER = b"\xacBk\x01"
_BLOCK = struct.Struct("<4sIII")
_SIZES = struct.Struct("<II")
_RECORD = struct.Struct("<I32sBBHIIIII")
_ENDED: tuple[Ended, ...] = get_args(Ended)
_BATCH, _PREFILLED = 1, 2
# Most records are shorter than this: one read fetches header and body.
_READ_AHEAD = 4096
_OFFSET_BITS = 40


@dataclass(frozen=True, slots=True)
class Record:
    """One stored answer with what is known of its request (the prompt is not kept: its key is).

    Attributes:
        key: as `Request.key`.
        provider, model, row, sample: of the request that was answered.
        answer: what came back.
    """

    key: bytes
    provider: str
    model: str
    row: str
    sample: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Damage:
    """Where a segment is not what was written. `end`: where the next sound block begins, or the segment ends."""

    segment: Path
    offset: int
    end: int
    what: str

    def __str__(self) -> str:
        return f"{self.segment.name} is damaged at byte {self.offset:,}: {self.what}"


class ResponseStore:
    """Answers by request, durable.

    Args:
        path: its folder; made if it is missing, unless `readonly`.
        readonly: take no lock and write nothing. Sees what was on the disk at opening and at each `refresh`.
        segment_bytes: where a new segment begins.

    Raises:
        BuildInUse: another process writes to this store.
        StoreError: it is damaged in the middle, or was written by a newer version.

    Safe to use from several threads. `with` closes it.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, readonly: bool = False, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self.path = Path(path)
        self.readonly = readonly
        self.torn_bytes = 0
        """Bytes of a torn tail that were cut off at opening."""
        self.salvaged = 0
        """Whole answers found in that tail and kept."""
        self._segment_bytes = segment_bytes
        self._index = _Index()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._segments: list[int] = []
        self._end = 0
        self._sealed = True
        self._failed: str | None = None
        self._lock_file: int | None = None
        self._closed = False
        if not readonly:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock_file = _take_lock(self.path)
        elif not self.path.is_dir():
            raise StoreError(f"{self.path}: there is no response store here")
        try:
            self._read_segments()
        except BaseException:
            # Nothing is written behind what could be read: there may be answers there, to be repaired.
            self._sealed = True
            self.close()
            raise

    # ---- reading ----

    def get(self, request: Request) -> Answer | None:
        """The stored answer, whether or not it `serves` this request's token limit; None where there is none.

        Raises:
            StoreError: the record was damaged since the store was opened.
        """
        found = self.record(request.key)
        return None if found is None else found.answer

    def record(self, key: bytes) -> Record | None:
        """What is stored under a key."""
        for place in self._places(key):
            record = self._read(place)
            if record.key == key:
                return record
        return None

    def records(self) -> Iterator[Record]:
        """The answer in force under every key, in the order of writing. Bounded memory; reads along with the writer."""
        with self._lock:
            places = sorted(self._index.places())
        for place in places:
            yield self._read(place)

    def __len__(self) -> int:
        """How many requests have an answer."""
        return len(self._index)

    def refresh(self) -> int:
        """Of a reader: take in what the writer has committed since. Returns how many answers are new."""
        before = len(self)
        self._read_segments()
        return len(self) - before

    # ---- writing ----

    def put(self, request: Request, answer: Answer) -> None:
        """Keep an answer. On return it is on the disk. See `put_many`."""
        self.put_many([(request, answer)])

    def put_many(self, pairs: Iterable[tuple[Request, Answer]]) -> None:
        """Keep answers, all with one wait for the disk. On return they survive a kill and a loss of power.

        Under a key that has an answer the first one stays, except that one cut at its token limit gives way to one
        that ended by itself, or was cut at a higher limit.

        Raises:
            StoreError: the disk refused (then none of these answers counts as kept, and the store takes no more), or
                an answer is longer than 64 MiB.
        """
        self.put_records(
            Record(request.key, request.provider, request.model, request.row, request.sample, answer)
            for request, answer in pairs
        )

    def put_records(self, records: Iterable[Record]) -> None:
        """`put_many` for answers that come from another store."""
        packed = [(record.key, _rank(record.answer), _pack(record)) for record in records]
        if not packed:
            return
        with self._writing:
            self._must_be_writable()
            with self._lock:
                wanted = [one for one in packed if self._better(one[0], one[1])]
            if not wanted:
                return
            if self._end >= self._segment_bytes:
                self._begin_segment()
            place = self._end + _BLOCK.size
            self._append(b"".join(bytes_ for _, _, bytes_ in wanted), len(wanted))
            segment = len(self._segments) - 1
            with self._lock:
                for key, rank, bytes_ in wanted:
                    # Again for each: the same key may stand in one commit twice.
                    if self._better(key, rank):
                        self._set(key, segment << _OFFSET_BITS | place)
                    place += len(bytes_)

    def close(self) -> None:
        """Give the lock back. Nothing is lost without it: the next writer finds the same answers."""
        with self._writing:
            if self._closed:
                return
            self._closed = True
            try:
                if not self.readonly and self._failed is None and not self._sealed:
                    self._append(b"", 0)
            finally:
                for file in self._segments:
                    os.close(file)
                self._segments.clear()
                if self._lock_file is not None:
                    os.close(self._lock_file)
                    self._lock_file = None

    def __enter__(self) -> ResponseStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- the index ----

    def _places(self, key: bytes) -> list[int]:
        with self._lock:
            return self._index.find(_fingerprint(key))

    def _better(self, key: bytes, rank: int) -> bool:
        """Whether an answer of this rank replaces what is stored under the key. The lock is held."""
        for place in self._index.find(_fingerprint(key)):
            record = self._read(place)
            if record.key == key:
                return rank > _rank(record.answer)
        return True

    def _set(self, key: bytes, place: int) -> None:
        """Point the key to a place, instead of to where it pointed before. The lock is held."""
        mark = _fingerprint(key)
        for old in self._index.find(mark):
            if self._read(old).key == key:
                self._index.move(mark, old, place)
                return
        self._index.add(mark, place)

    def _read(self, place: int) -> Record:
        segment, offset = place >> _OFFSET_BITS, place & ((1 << _OFFSET_BITS) - 1)
        if self._closed:
            raise StoreError(f"{self.path}: the store is closed")
        file = self._segments[segment]
        data = os.pread(file, _READ_AHEAD, offset)
        if len(data) >= _RECORD.size:
            whole = _RECORD.size + _RECORD.unpack_from(data)[-1]
            if whole > len(data) and whole <= _RECORD.size + MOST_TEXT_BYTES:
                data += os.pread(file, whole - len(data), offset + len(data))
            record = _unpack(memoryview(data)[:whole])
            if record is not None:
                return record
        damage = Damage(_segment_path(self.path, segment), offset, offset, "its checksum is wrong")
        raise StoreError(_remedy(self.path, damage))

    # ---- segments ----

    def _read_segments(self) -> None:
        """Take in every block behind the last one known, and mend the tail if this is the writer."""
        number = max(len(self._segments) - 1, 0)
        last = _last_segment(self.path)
        while number <= last:
            path = _segment_path(self.path, number)
            if number == len(self._segments):
                flags = os.O_RDONLY if self.readonly else os.O_RDWR
                try:
                    self._segments.append(os.open(path, flags | os.O_CLOEXEC))
                except FileNotFoundError:
                    raise StoreError(
                        f"{path} is missing, although later segments are there; bring it back, or run "
                        f"`acedata store repair {self.path}` to go on without its answers"
                    ) from None
                self._end = 0
            self._read_segment(number, is_last=number == last)
            number += 1
        if not self._segments and not self.readonly:
            self._begin_segment()

    def _read_segment(self, number: int, is_last: bool) -> None:
        path, file = _segment_path(self.path, number), self._segments[number]
        data = _read_whole(file)
        if self._end == 0:
            if len(data) < _HEADER.size and is_last:
                # The process died, or is, between making the file and writing its first bytes.
                if not self.readonly:
                    self._write_header(number)
                return
            check_header(self.path, path, data, number)
            self._end = _HEADER.size
        at, spoiled = self._end, None
        for at, count, end, what in blocks(data, self._end):
            if what:
                spoiled = Damage(path, at, end, what)
                break
            with self._lock:
                self._take_in(data, at + _BLOCK.size, count, number)
            self._end = end
            self._sealed = count == 0
        if spoiled is None or (self.readonly and is_last and spoiled.end == len(data)):
            return
        if not is_last or spoiled.end < len(data):
            raise StoreError(_remedy(self.path, spoiled))
        self._mend_tail(data, spoiled)

    def _take_in(self, data: bytes, at: int, count: int, segment: int) -> None:
        view = memoryview(data)
        index = self._index
        for _ in range(count):
            key, length = data[at + 4 : at + 36], int.from_bytes(view[at + 56 : at + 60], "little")
            place = segment << _OFFSET_BITS | at
            mark = _fingerprint(key)
            if not index.add_new(mark, place):
                record = _unpack(view[at : at + _RECORD.size + length])
                if record is not None and self._better(key, _rank(record.answer)):
                    self._set(key, place)
            at += _RECORD.size + length

    def _mend_tail(self, data: bytes, spoiled: Damage) -> None:
        """Cut a torn tail off, and write what is whole in it again."""
        kept = list(whole_records(data, spoiled.offset + _BLOCK.size, len(data)))
        self.torn_bytes = len(data) - spoiled.offset
        self.salvaged = len(kept)
        file = self._segments[-1]
        os.ftruncate(file, spoiled.offset)
        os.fsync(file)
        self.put_records(kept)
        log.warning(
            "%s: the last write was cut short; %d bytes of it removed, %d whole answers in it kept",
            spoiled.segment,
            self.torn_bytes,
            self.salvaged,
        )

    def _begin_segment(self) -> None:
        number = len(self._segments)
        path = _segment_path(self.path, number)
        self._segments.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        self._write_header(number)
        _sync_folder(self.path)

    def _write_header(self, number: int) -> None:
        file = self._segments[number]
        os.ftruncate(file, 0)
        _write_all(file, segment_header(number), 0)
        os.fsync(file)
        self._end = _HEADER.size
        self._sealed = True

    def _append(self, payload: bytes, count: int) -> None:
        """One block, written and on the disk. What was there before stays as it was if that fails."""
        file = self._segments[-1]
        block = _block(payload, count)
        try:
            _write_all(file, block, self._end)
            os.fdatasync(file)
        except OSError as error:
            # After a failed fsync nobody knows what is on the disk: no later write may build on it.
            self._failed = f"{self.path}: cannot write to the response store: {error.strerror or error}"
            try:
                os.ftruncate(file, self._end)
            except OSError:
                pass
            raise StoreError(f"{self._failed}; answers before this one are kept") from error
        self._end += len(block)
        self._sealed = count == 0

    def _must_be_writable(self) -> None:
        if self.readonly:
            raise StoreError(f"{self.path}: the store was opened for reading")
        if self._failed is not None:
            raise StoreError(self._failed)
        if self._closed:
            raise StoreError(f"{self.path}: the store is closed")


class _Index:
    """Fingerprint → places, in two flat arrays. A place is never 0: a segment begins with its header."""

    def __init__(self) -> None:
        self._count = 0
        self._mask = 0
        self._marks = array("Q")
        self._slots = array("Q")
        self._resize(1024)

    def __len__(self) -> int:
        return self._count

    def find(self, mark: int) -> list[int]:
        """Places under this fingerprint: of one key, but for a chance of one in 2**64 a pair."""
        marks, slots, mask = self._marks, self._slots, self._mask
        at = mark & mask
        found = []
        while place := slots[at]:
            if marks[at] == mark:
                found.append(place)
            at = (at + 1) & mask
        return found

    def add(self, mark: int, place: int) -> None:
        if 3 * self._count >= 2 * len(self._slots):
            self._resize(2 * len(self._slots))
        self._count += 1
        self._insert(mark, place)

    def add_new(self, mark: int, place: int) -> bool:
        """`add`, where nothing has this fingerprint yet; else False."""
        marks, slots, mask = self._marks, self._slots, self._mask
        at = mark & mask
        while slots[at]:
            if marks[at] == mark:
                return False
            at = (at + 1) & mask
        if 3 * self._count >= 2 * len(slots):
            self.add(mark, place)
        else:
            self._count += 1
            marks[at] = mark
            slots[at] = place
        return True

    def move(self, mark: int, old: int, new: int) -> None:
        at = mark & self._mask
        while self._slots[at] != old:
            at = (at + 1) & self._mask
        self._slots[at] = new

    def places(self) -> Iterator[int]:
        return (place for place in self._slots if place)

    def _insert(self, mark: int, place: int) -> None:
        slots, mask = self._slots, self._mask
        at = mark & mask
        while slots[at]:
            at = (at + 1) & mask
        self._marks[at] = mark
        slots[at] = place

    def _resize(self, size: int) -> None:
        marks, slots = self._marks, self._slots
        self._mask = size - 1
        self._marks = array("Q", bytes(8 * size))
        self._slots = array("Q", bytes(8 * size))
        for mark, place in zip(marks, slots, strict=True):
            if place:
                self._insert(mark, place)


class Segments:
    """The files of a store, for tools that look at them as they are.

    Raises:
        StoreError: there is no store.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        if _last_segment(store) < 0:
            raise StoreError(f"{store}: there is no response store here")

    def path(self, number: int) -> Path:
        return _segment_path(self.store, number)

    def last(self) -> int:
        return _last_segment(self.store)

    def paths(self) -> list[Path]:
        return [self.path(number) for number in range(self.last() + 1)]

    @contextlib.contextmanager
    def locked(self) -> Iterator[Segments]:
        """As the one writer.

        Raises:
            BuildInUse: there is another.
        """
        lock = _take_lock(self.store)
        try:
            yield self
        finally:
            os.close(lock)

    def sync(self) -> None:
        _sync_folder(self.store)


# ---- bytes ----


def blocks(data: bytes, at: int) -> Iterator[tuple[int, int, int, str]]:
    """(offset, records, end, what is wrong) of every block from `at` on.

    A spoiled block reaches to the next sound one, or to the end; going on behind it is up to the caller.
    """
    view = memoryview(data)
    while at < len(data):
        what = _fault(view, at)
        if what:
            end = _next_sound(data, at + 1)
            yield at, 0, end, what
        else:
            _, length, count, _ = _BLOCK.unpack_from(data, at)
            end = at + _BLOCK.size + length
            yield at, count, end, ""
        at = end


def _fault(view: memoryview, at: int) -> str:
    if at + _BLOCK.size > len(view):
        return "a block's header is cut off"
    marker, length, count, crc = _BLOCK.unpack_from(view, at)
    if marker != _MARKER:
        return "no block begins here"
    end = at + _BLOCK.size + length
    if end > len(view):
        return "a block is cut off"
    if zlib.crc32(view[at + _BLOCK.size : end], zlib.crc32(_SIZES.pack(length, count))) != crc:
        return "a block's checksum is wrong"
    return ""


def _next_sound(data: bytes, at: int) -> int:
    view = memoryview(data)
    while (at := data.find(_MARKER, at)) >= 0:
        if not _fault(view, at):
            return at
        at += 1
    return len(data)


def whole_records(data: bytes, at: int, end: int) -> Iterator[Record]:
    """The records in a spoiled stretch whose own checksums are right, up to where their lengths stop making sense."""
    view = memoryview(data)
    while at + _RECORD.size <= end:
        stop = at + _RECORD.size + _RECORD.unpack_from(data, at)[-1]
        if stop > end:
            return
        record = _unpack(view[at:stop])
        if record is not None:
            yield record
        at = stop


def segment_header(number: int) -> bytes:
    return _with_crc(_HEADER.pack(_MAGIC, VERSION, number, 0))


def _with_crc(header: bytes) -> bytes:
    return header[:-4] + zlib.crc32(header[:-4]).to_bytes(4, "little")


def check_header(store: Path, path: Path, data: bytes, number: int) -> None:
    """Refuse a file that is no segment, or of a version this one cannot read."""
    if len(data) >= _HEADER.size and data[:8] == _MAGIC:
        _, version, stored, _ = _HEADER.unpack_from(data)
        if data[: _HEADER.size] == _with_crc(data[: _HEADER.size]):
            if version != VERSION:
                raise StoreError(
                    f"{path}: format version {version}; this acedata reads version {VERSION}: use a newer one"
                )
            if stored == number:
                return
            raise StoreError(
                f"{path} is segment {stored} under another name; give every segment its own name back"
            )
    raise StoreError(_remedy(store, Damage(path, 0, 0, "its header is not that of a segment")))


def segment_file(number: int, records: Sequence[Record]) -> bytes:
    """A whole segment, with the empty block of a clean end."""
    content = segment_header(number)
    if records:
        content += _block(b"".join(map(_pack, records)), len(records))
    return content + _block(b"", 0)


def _block(payload: bytes, count: int) -> bytes:
    crc = zlib.crc32(payload, zlib.crc32(_SIZES.pack(len(payload), count)))
    return _BLOCK.pack(_MARKER, len(payload), count, crc) + payload


def _pack(record: Record) -> bytes:
    answer = record.answer
    label = json.dumps([record.provider, record.model, record.row, record.sample], separators=(",", ":"))
    text = answer.text.encode("utf-8", "surrogatepass")
    if len(text) > MOST_TEXT_BYTES:
        raise StoreError(
            f"an answer of {len(text):,} bytes to {record.row or 'a request'} is too long to keep"
        )
    body = zlib.compress(label.encode() + b"\n" + text, 3)
    packed = _RECORD.pack(
        0,
        record.key,
        _ENDED.index(answer.ended),
        _BATCH * answer.batch | _PREFILLED * answer.prefilled,
        0,
        answer.max_tokens,
        answer.prompt_tokens,
        answer.completion_tokens,
        answer.cached_tokens,
        len(body),
    )
    return zlib.crc32(body, zlib.crc32(packed[4:])).to_bytes(4, "little") + packed[4:] + body


def _unpack(data: memoryview) -> Record | None:
    """A record, or None where its bytes are not what was written."""
    if len(data) < _RECORD.size or zlib.crc32(data[4:]) != int.from_bytes(data[:4], "little"):
        return None
    _, key, ended, flags, _, max_tokens, prompt, completion, cached, length = _RECORD.unpack_from(data)
    if len(data) != _RECORD.size + length:
        return None
    label, _, text = zlib.decompress(data[_RECORD.size :]).partition(b"\n")
    answer = Answer(
        text=text.decode("utf-8", "surrogatepass"),
        ended=_ENDED[ended],
        max_tokens=max_tokens,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=cached,
        batch=bool(flags & _BATCH),
        prefilled=bool(flags & _PREFILLED),
    )
    provider, model, row, sample = json.loads(label)
    return Record(key, provider, model, row, sample, answer)


def _rank(answer: Answer) -> int:
    """The higher one stays: ended by itself over cut, cut later over cut earlier."""
    return 2**32 if answer.ended != "length" else answer.max_tokens


def _fingerprint(key: bytes) -> int:
    return int.from_bytes(key[:8], "little")


# ---- files ----


def _segment_path(store: Path, number: int) -> Path:
    return store / f"segment-{number:06d}.ace"


def _last_segment(store: Path) -> int:
    return max(
        (int(path.stem[8:]) for path in store.glob("segment-[0-9][0-9][0-9][0-9][0-9][0-9].ace")), default=-1
    )


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read_whole(file: int) -> bytes:
    size = os.fstat(file).st_size
    data = os.pread(file, size, 0)
    while len(data) < size and (more := os.pread(file, size - len(data), len(data))):
        data += more
    return data


def _write_all(file: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written


def _take_lock(path: Path) -> int:
    file = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(file, 32, 0).decode("ascii", "replace").strip()
        os.close(file)
        raise BuildInUse(
            f"{path}: another process{f' (pid {holder})' if holder else ''} writes to this response store; wait "
            f"for it to end, or give this build a store of its own"
        ) from None
    os.ftruncate(file, 0)
    os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    return file


def _remedy(store: Path, damage: Damage) -> str:
    return (
        f"{store}: {damage}. `acedata store repair {store}` keeps every answer that is whole and counts those "
        f"that are not; they are asked for again by the next build"
    )
