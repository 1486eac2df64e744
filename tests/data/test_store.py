"""The response store: durable, torn tails, damage, one writer, and an index that fits."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acedata import _store, _store_tools
from acedata._backends.replay import ReplayBackend
from acedata._errors import BuildInUse, StoreError
from acedata._requests import Answer, Request, Sampling
from acedata._store import ResponseStore

SRC = Path(_store.__file__).resolve().parents[1]


def request(number: int, **changes: object) -> Request:
    settings_ = {"max_tokens": 100, "sample": 0, **changes}
    return Request(
        "here",
        "m",
        ({"role": "user", "content": f"question {number}"},),
        Sampling(),
        row=f"r{number}",
        **settings_,
    )


def answer(number: int, **changes: object) -> Answer:
    return Answer(**{"text": f"answer {number}", "ended": "stop", "max_tokens": 100, **changes})


def segment(path: Path, number: int = 0) -> Path:
    return path / f"segment-{number:06d}.ace"


def flip(file: Path, offset: int, bit: int = 0) -> None:
    data = bytearray(file.read_bytes())
    data[offset] ^= 1 << bit
    file.write_bytes(data)


def killed(path: Path, count: int) -> None:
    """A store of single-answer commits whose writer died without closing it."""
    store = ResponseStore(path)
    for number in range(count):
        store.put(request(number), answer(number))
    os.close(store._lock_file or -1)
    store._lock_file, store._closed = None, True
    for file in store._segments:
        os.close(file)
    store._segments.clear()


# ---- keeping ----


def test_an_answer_comes_back_as_it_was_put_in_another_process_too(tmp_path: Path) -> None:
    full = Answer("é\x00\ud800 long " * 3000, "refused", 7, 1, 2, 3, batch=True, prefilled=True)
    with ResponseStore(tmp_path) as store:
        store.put(request(1), full)
        assert store.get(request(1)) == full
        assert store.get(request(2)) is None
    with ResponseStore(tmp_path) as store:
        assert store.get(request(1)) == full
        assert len(store) == 1


def test_what_is_not_part_of_the_key_finds_the_same_answer(tmp_path: Path) -> None:
    with ResponseStore(tmp_path) as store:
        store.put(request(1), answer(1))
        assert store.get(request(1, max_tokens=5000)) == answer(1)
        assert store.get(request(1, sample=1)) is None


@pytest.mark.parametrize("turned", [False, True])
def test_the_better_answer_stays_whatever_the_order(tmp_path: Path, turned: bool) -> None:
    cut = [answer(1, ended="length", max_tokens=limit) for limit in (10, 20)]
    ended = [answer(1, text="first to end"), answer(1, text="second to end")]
    with ResponseStore(tmp_path) as store:
        for one in reversed(cut) if turned else cut:
            store.put(request(1), one)
        assert store.get(request(1)) == cut[1]
        store.put_many([(request(1), one) for one in ended])
        store.put(request(1), cut[1])
        assert store.get(request(1)) == ended[0]
        assert len(store) == 1
    with ResponseStore(tmp_path) as store:
        assert store.get(request(1)) == ended[0]


def test_segments_roll_and_are_all_read(tmp_path: Path) -> None:
    with ResponseStore(tmp_path, segment_bytes=2000) as store:
        for number in range(200):
            store.put(request(number), answer(number))
    assert segment(tmp_path, 5).exists()
    with ResponseStore(tmp_path, segment_bytes=2000) as store:
        assert all(store.get(request(number)) == answer(number) for number in range(200))
        assert [record.row for record in store.records()] == [f"r{number}" for number in range(200)]


def test_there_is_one_writer_and_readers_read_along(tmp_path: Path) -> None:
    with ResponseStore(tmp_path) as store:
        store.put(request(1), answer(1))
        with pytest.raises(BuildInUse, match=f"pid {os.getpid()}"):
            ResponseStore(tmp_path)
        with ResponseStore(tmp_path, readonly=True) as reader:
            assert reader.get(request(1)) == answer(1)
            store.put(request(2), answer(2))
            assert reader.get(request(2)) is None
            assert reader.refresh() == 1
            assert reader.get(request(2)) == answer(2)
            with pytest.raises(StoreError, match="opened for reading"):
                reader.put(request(3), answer(3))
    with ResponseStore(tmp_path):
        pass


def test_threads_may_share_it(tmp_path: Path) -> None:
    with ResponseStore(tmp_path, segment_bytes=5000) as store:

        def work(turn: int) -> None:
            for number in range(turn, 400, 4):
                store.put(request(number), answer(number))
                assert store.get(request(number)) == answer(number)

        threads = [threading.Thread(target=work, args=(turn,)) for turn in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store) == 400


def test_a_full_disk_is_told_and_nothing_is_half_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ResponseStore(tmp_path)
    store.put(request(1), answer(1))

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", full)
        with pytest.raises(StoreError, match="No space left on device"):
            store.put(request(2), answer(2))
    # The disk's state is unknown from here on, so nothing more is taken.
    with pytest.raises(StoreError, match="No space left"):
        store.put(request(3), answer(3))
    store.close()
    with ResponseStore(tmp_path) as again:
        assert again.get(request(1)) == answer(1)
        assert again.get(request(2)) is None


def test_an_answer_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    with ResponseStore(tmp_path) as store, pytest.raises(StoreError, match="too long to keep"):
        store.put(request(1), answer(1, text="x" * (_store.MOST_TEXT_BYTES + 1)))


# ---- damage ----


def test_a_torn_tail_is_cut_off_at_every_length(tmp_path: Path) -> None:
    killed(tmp_path / "whole", 4)
    data = segment(tmp_path / "whole").read_bytes()
    ends = [end for _, _, end, _ in _store.blocks(data, 32)]
    for length in sorted(
        {*range(33, len(data), 7), *ends, *(end - 1 for end in ends), *(end + 1 for end in ends[:-1])}
    ):
        place = tmp_path / "torn"
        place.mkdir(exist_ok=True)
        segment(place).write_bytes(data[:length])
        with ResponseStore(place) as store:
            whole = sum(end <= length for end in ends)
            assert len(store) == whole, length
            assert all(store.get(request(number)) == answer(number) for number in range(whole))
            store.put(request(99), answer(99))
        with ResponseStore(place) as store:
            assert store.get(request(99)) == answer(99)
        segment(place).unlink()


def test_whole_answers_in_a_torn_commit_were_paid_for_and_are_kept(tmp_path: Path) -> None:
    killed(tmp_path, 1)
    with ResponseStore(tmp_path) as store:
        store.put_many([(request(number), answer(number)) for number in range(10, 20)])
        store._sealed = True
    segment(tmp_path).write_bytes(segment(tmp_path).read_bytes()[:-5])
    with ResponseStore(tmp_path) as store:
        assert store.salvaged == 9
        assert store.torn_bytes > 0
        assert store.get(request(18)) == answer(18)
        assert store.get(request(19)) is None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_found_and_named_or_costs_only_what_was_never_closed(
    tmp_path: Path, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        place = Path(folder)
        closed = data.draw(st.booleans())
        if closed:
            with ResponseStore(place) as store:
                for number in range(5):
                    store.put(request(number), answer(number))
        else:
            killed(place, 5)
        whole = segment(place).read_bytes()
        spans = [(at, end) for at, count, end, _ in _store.blocks(whole, 32) if count]
        offset = data.draw(st.integers(0, len(whole) - 1))
        flip(segment(place), offset, data.draw(st.integers(0, 7)))
        hurt = next((number for number, (at, end) in enumerate(spans) if at <= offset < end), None)
        if hurt is None and offset >= 32:
            # The empty block of a clean end: nobody's answer.
            with ResponseStore(place) as store:
                assert len(store) == 5
            return
        if hurt == 4 and not closed:
            # The last commit of a writer that died cannot be told from one that was never acknowledged.
            with ResponseStore(place) as store:
                assert len(store) in (4, 5)
                assert all(store.get(request(number)) == answer(number) for number in range(4))
            return
        with pytest.raises(StoreError) as trouble:
            ResponseStore(place)
        at = 0 if hurt is None else spans[hurt][0]
        assert f"segment-000000.ace is damaged at byte {at:,}" in str(trouble.value)
        assert f"acedata store repair {place}" in str(trouble.value)
        done = _store_tools.repair(place)
        assert len(done.damage) >= 1 and done.aside[0].read_bytes() != whole
        with ResponseStore(place) as store:
            # A flipped bit in the frame around an answer leaves the answer whole.
            lost = {number for number in range(5) if store.get(request(number)) is None}
            assert lost <= {hurt}
            assert len(store) == 5 - len(lost)
        assert _store_tools.repair(place).damage == []


def test_a_writer_that_finds_damage_changes_nothing(tmp_path: Path) -> None:
    with ResponseStore(tmp_path) as store:
        store.put_many((request(number), answer(number)) for number in range(20))
        store.put(request(20), answer(20))
    spans = [(at, end) for at, count, end, _ in _store.blocks(segment(tmp_path).read_bytes(), 32) if count]
    flip(segment(tmp_path), spans[0][1] - 5)  # in the last of twenty answers that one commit wrote
    before = segment(tmp_path).read_bytes()
    for _ in range(2):
        with pytest.raises(StoreError, match=f"damaged at byte {spans[0][0]}"):
            ResponseStore(tmp_path)
        assert segment(tmp_path).read_bytes() == before
    assert _store_tools.repair(tmp_path).kept == 19
    with ResponseStore(tmp_path) as store:
        assert [number for number in range(21) if store.get(request(number)) is None] == [19]


def test_damage_that_comes_later_is_never_handed_out(tmp_path: Path) -> None:
    with ResponseStore(tmp_path) as store:
        store.put(request(1), answer(1))
        flip(segment(tmp_path), 32 + 16 + 70)
        with pytest.raises(StoreError, match="checksum"):
            store.get(request(1))
        store._sealed = True


def test_a_missing_segment_and_a_newer_version_are_named(tmp_path: Path) -> None:
    with ResponseStore(tmp_path, segment_bytes=200) as store:
        for number in range(9):
            store.put(request(number), answer(number))
    gone = segment(tmp_path, 1)
    kept = gone.read_bytes()
    gone.unlink()
    with pytest.raises(StoreError, match=r"segment-000001.ace is missing.*acedata store repair"):
        ResponseStore(tmp_path)
    _store_tools.repair(tmp_path)
    with ResponseStore(tmp_path, segment_bytes=200) as store:
        assert 0 < len(store) < 9
    gone.write_bytes(kept)
    header = bytearray(segment(tmp_path).read_bytes())
    header[8] = 9
    segment(tmp_path).write_bytes(_store._with_crc(bytes(header[:32])) + header[32:])
    for refuse in (ResponseStore, _store_tools.repair):
        with pytest.raises(StoreError, match="format version 9"):
            refuse(tmp_path)


def test_a_reader_does_not_stumble_over_a_write_that_is_going_on(tmp_path: Path) -> None:
    killed(tmp_path, 3)
    with open(segment(tmp_path), "ab") as file:
        file.write(b"\xacBk\x01half a block")
    with ResponseStore(tmp_path, readonly=True) as reader:
        assert len(reader) == 3
        assert reader.torn_bytes == 0


def test_no_store_where_one_is_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no response store"):
        ResponseStore(tmp_path / "none", readonly=True)


# ---- crashes ----

WRITER = """
import sys
from acedata._requests import *
from acedata._store import ResponseStore
path, start = sys.argv[1], int(sys.argv[2])
draw = start * 7919 + 17
with ResponseStore(path, segment_bytes=20000) as store:
    number = start
    while True:
        draw = (draw * 1103515245 + 12345) % 2**31
        count = draw % 7 + 1
        numbers = range(number, number + count)
        requests = [Request("here", "m", ({"role": "user", "content": f"question {n}"},), Sampling(), 100, row=f"r{n}")
                    for n in numbers]
        store.put_many((r, Answer(f"answer {n} " * (n % 50), "stop", 100)) for r, n in zip(requests, numbers))
        number += count
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
"""


@pytest.mark.parametrize("seed", range(6))
def test_every_acknowledged_answer_survives_kill_9_at_a_random_instant(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    acknowledged = 0
    for _ in range(3):
        begun = acknowledged
        words = [sys.executable, "-c", WRITER, str(tmp_path), str(begun)]
        environment = {**os.environ, "PYTHONPATH": str(SRC)}
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            acknowledged = int(process.stdout.readline())
            time.sleep(draw.random() * 0.15)
            process.send_signal(signal.SIGKILL)
            for line in process.stdout:
                if line.endswith("\n"):
                    acknowledged = int(line)
        with ResponseStore(tmp_path, segment_bytes=20000) as store:
            for number in range(acknowledged):
                found = store.get(request(number))
                assert found is not None and found.text == f"answer {number} " * (number % 50), number


# ---- tools ----


def test_a_dump_replays_and_merges(tmp_path: Path) -> None:
    for name, numbers in (("a", range(6)), ("b", range(4, 9))):
        with ResponseStore(tmp_path / name) as store:
            for number in numbers:
                store.put(request(number), answer(number))
    assert _store_tools.merge(tmp_path / "c", [tmp_path / "b", tmp_path / "a"]) == 9
    told = _store_tools.info(tmp_path / "c")
    assert (told.answers, told.models, told.ended) == (9, {("here", "m"): 9}, {"stop": 9})
    with open(tmp_path / "dump.jsonl", "w") as out:
        assert _store_tools.write_dump(tmp_path / "c", out) == 9
    replay = ReplayBackend(tmp_path / "dump.jsonl")
    assert replay._answer(request(8)) == answer(8)
    replay._file.close()


# ---- size ----


@pytest.mark.slow
def test_a_million_and_a_half_answers_are_found_in_200_mb(tmp_path: Path) -> None:
    code = """
import os, resource, sys, time
from acedata._store import _Index
index = _Index()
count = 1_700_000
for number in range(count):
    index.add(number * 0x9E3779B97F4A7C15 % 2**64, 32 + number)
assert len(index) == count and index.find(5 * 0x9E3779B97F4A7C15 % 2**64) == [37]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    base = "import resource, acedata._store; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    sizes = [
        int(
            subprocess.run(
                [sys.executable, "-c", one], capture_output=True, text=True, check=True, env=environment
            ).stdout
        )
        for one in (base, code)
    ]
    assert (sizes[1] - sizes[0]) / 1024 < 200, sizes
