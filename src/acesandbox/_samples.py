"""The samples file of `acesandbox judge`, and the file of its results.

Both hold one JSON object per line. A sample:

    {"task_id": "…", "program": "…", "tests": […], "test_kind": "asserts", "entry_point": "f", "prompt": "…"}

`entry_point` and `prompt` may be missing or null; other keys are ignored. By `test_kind`, `tests` is

    asserts        a list of statements
    check_script   a list with one script
    unittest       a list with one text of unittest classes
    stdio          [{"input": "…", "output": "…"}]; the sample may also say "compare" and "float_tolerance"
    functional     [{"args": […], "expected": …}] with `entry_point`; or, as LiveCodeBench has it,
                   [{"input": "…", "output": "…"}], where the input is one JSON value per line, one line per
                   argument, and the output is a JSON value

A result, in the order of the samples:

    {"task_id", "passed", "pass_rate", "sealed", "status", "tests": [{"status", "sealed", "cpu_s", "message"}],
     "cpu_s", "wall_s", "peak_memory_mb"}

A sample that could not be judged through no fault of its program has `null` for all of these and an `error`.

Every fault in a samples file is reported with its place, `FILE:LINE`. A file is read as a stream; no more than a line
is in memory.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from ._errors import BadInput, SandboxError
from ._tests import Asserts, CheckScript, Functional, Stdio, Tests, UnitTests, text_bytes
from ._verdict import Verdict

MAX_LINE_BYTES = 128 << 20
TEST_KINDS = ("asserts", "check_script", "unittest", "stdio", "functional")


class Sample:
    """One line of a samples file, checked. Neighbours with the same tests share one `tests` object."""

    __slots__ = ("line", "program", "task_id", "tests")

    def __init__(self, line: int, task_id: str | int, program: str, tests: Tests) -> None:
        self.line = line
        self.task_id = task_id
        self.program = program
        self.tests = tests


class Samples:
    """A samples file, plain or gzip.

    Iterating reads it from the start and yields a `Sample` per line that is not blank. After a whole pass, `rows` and
    `fingerprint` (SHA-256 of its content) are known.

    Raises, while iterating:
        BadInput: whatever is wrong, with its place.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.rows = 0
        self.fingerprint = ""

    def __iter__(self) -> Iterator[Sample]:
        rows = 0
        digest = hashlib.sha256()
        before: tuple[Any, ...] | None = None
        tests: Tests | None = None
        for line, data in self._lines():
            digest.update(data)
            if not data.strip():
                continue
            rows += 1
            try:
                fields = _fields(_parse(data, first=line == 1))
                key = _key(*fields[2:])
                if tests is None or key != before:
                    tests, before = _tests(*fields[2:]), key
                text_bytes(fields[1], "'program'")
            except BadInput as error:
                raise BadInput(f"{self.path}:{line}: {error}") from None
            yield Sample(line, fields[0], fields[1], tests)
        self.rows = rows
        self.fingerprint = digest.hexdigest()

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        line = 0
        try:
            with _opened(self.path) as file:
                while data := file.readline(MAX_LINE_BYTES):
                    line += 1
                    if len(data) >= MAX_LINE_BYTES:
                        raise BadInput(
                            f"{self.path}:{line}: the line is longer than {MAX_LINE_BYTES:,} bytes; "
                            "is this a file with one JSON object per line?"
                        )
                    yield line, data
        except EOFError:
            raise BadInput(f"{self.path}:{line + 1}: the gzip file is cut off here") from None
        except OSError as error:
            what = error.strerror or str(error)
            raise BadInput(
                f"{self.path}: cannot be read{f' past line {line}' if line else ''}: {what}"
            ) from None
        except Exception as error:
            if type(error).__module__ != "zlib":
                raise
            raise BadInput(f"{self.path}:{line + 1}: the gzip file is broken here: {error}") from None


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    with open(path, "rb") as file:
        magic = file.peek(2)[:2]
        if magic != b"\x1f\x8b":
            yield file
            return
        import gzip

        with gzip.GzipFile(fileobj=file, mode="rb") as unpacked, io.BufferedReader(unpacked) as lines:
            yield lines


def _parse(data: bytes, first: bool) -> dict[str, Any]:
    try:
        text = data.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"not UTF-8: byte {error.start + 1} of the line is 0x{data[error.start]:02x}"
        ) from None
    try:
        sample = json.loads(text)
    except json.JSONDecodeError as error:
        hint = "; a NUL character" if "\0" in text else ""
        raise BadInput(f"bad JSON at column {error.colno}: {error.msg}{hint}") from None
    except (RecursionError, ValueError) as error:
        raise BadInput(f"bad JSON: {error}") from None
    if not isinstance(sample, dict):
        raise BadInput(f"a sample is a JSON object, not {_json_type(sample)}")
    return sample


def _fields(sample: dict[str, Any]) -> tuple[Any, ...]:
    """(task_id, program, test_kind, tests, entry_point, prompt, compare, float_tolerance)"""
    for key in ("task_id", "program", "test_kind", "tests"):
        if key not in sample:
            raise BadInput(f"the key {key!r} is missing; there are {', '.join(map(repr, sample)) or 'none'}")
    task_id, program = sample["task_id"], sample["program"]
    if not isinstance(task_id, (str, int)) or isinstance(task_id, bool):
        raise BadInput(f"'task_id' must be a string or a whole number, not {_json_type(task_id)}")
    if not isinstance(program, str):
        raise BadInput(f"'program' must be a string, not {_json_type(program)}")
    kind, tests = sample["test_kind"], sample["tests"]
    if kind not in TEST_KINDS:
        raise BadInput(f"unknown test_kind {kind!r}; there are {', '.join(TEST_KINDS)}")
    if not isinstance(tests, list):
        raise BadInput(f"'tests' must be a list, not {_json_type(tests)}")
    if not tests:
        raise BadInput("'tests' is empty: there is nothing to judge by")
    for key in ("entry_point", "prompt"):
        if not isinstance(sample.get(key), (str, type(None))):
            raise BadInput(f"{key!r} must be a string or null, not {_json_type(sample[key])}")
    return (
        task_id,
        program,
        kind,
        tests,
        sample.get("entry_point"),
        sample.get("prompt"),
        sample.get("compare", "lines"),
        sample.get("float_tolerance"),
    )


def _key(kind: str, tests: list[Any], *rest: Any) -> tuple[Any, ...]:
    """Equal for the same tests only: to Python the arguments 1, 1.0 and true are equal, to a program they are not."""
    return (kind, repr(tests) if kind == "functional" else tests, *rest)


def _tests(
    kind: str, tests: list[Any], entry_point: str | None, prompt: str | None, compare: Any, tolerance: Any
) -> Tests:
    if kind == "stdio":
        cases = [_pair(test, number, "input", "output") for number, test in enumerate(tests)]
        for number, case in enumerate(cases):
            for key, value in zip(("input", "output"), case, strict=True):
                if not isinstance(value, str):
                    raise BadInput(f"tests[{number}].{key} must be a string, not {_json_type(value)}")
        return Stdio(cases, compare=compare, float_tolerance=tolerance)
    if kind == "functional":
        if not entry_point:
            raise BadInput("a functional sample needs 'entry_point', the name of the function to call")
        return Functional(
            [_call(test, number) for number, test in enumerate(tests)], entry_point, prompt=prompt
        )
    for number, test in enumerate(tests):
        if not isinstance(test, str):
            raise BadInput(f"tests[{number}] must be a string, not {_json_type(test)}")
    if kind == "asserts":
        return Asserts(tests, entry_point=entry_point, prompt=prompt)
    if len(tests) != 1:
        raise BadInput(f"a {kind} sample has one text in 'tests', not {len(tests)}")
    if kind == "check_script":
        return CheckScript(tests[0], entry_point, prompt=prompt)
    return UnitTests(tests[0], entry_point=entry_point, prompt=prompt)


def _pair(test: Any, number: int, left: str, right: str) -> tuple[Any, Any]:
    if not isinstance(test, dict) or left not in test or right not in test:
        shown = f"an object with {', '.join(map(repr, test))}" if isinstance(test, dict) else _json_type(test)
        raise BadInput(f"tests[{number}] must be an object with {left!r} and {right!r}, not {shown}")
    return test[left], test[right]


def _call(test: Any, number: int) -> tuple[list[Any], Any]:
    if isinstance(test, dict) and "input" in test and "output" in test:
        given, expected = _pair(test, number, "input", "output")
        if not isinstance(given, str) or not isinstance(expected, str):
            raise BadInput(f"tests[{number}]: 'input' and 'output' must be strings that hold JSON")
        try:
            return [json.loads(line) for line in given.split("\n") if line.strip()], json.loads(expected)
        except ValueError as error:
            raise BadInput(f"tests[{number}] does not hold JSON: {error}") from None
    arguments, expected = _pair(test, number, "args", "expected")
    if not isinstance(arguments, list):
        raise BadInput(
            f"tests[{number}].args must be a list, one entry per parameter, not {_json_type(arguments)}"
        )
    return arguments, expected


def _json_type(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def result(task_id: str | int, outcome: Verdict | SandboxError, details: bool = False) -> dict[str, Any]:
    """The line of one sample in the results. `details` adds what else is known about each test."""
    if isinstance(outcome, SandboxError):
        keys = ("passed", "pass_rate", "sealed", "status", "tests", "cpu_s", "wall_s", "peak_memory_mb")
        error = f"{type(outcome).__name__}: {outcome}"
        return {"task_id": task_id, **dict.fromkeys(keys), "error": error}
    tests = [
        {
            "status": test.status.value,
            "sealed": test.sealed,
            "cpu_s": round(test.cpu_s, 6),
            "message": test.message,
        }
        for test in outcome.tests
    ]
    if details:
        for test, shown in zip(outcome.tests, tests, strict=True):
            shown.update({**test.to_dict(), **shown})
    return {
        "task_id": task_id,
        "passed": outcome.passed,
        "pass_rate": outcome.pass_rate,
        "sealed": outcome.sealed,
        "status": outcome.status.value,
        "tests": tests,
        "cpu_s": round(outcome.cpu_s, 6),
        "wall_s": round(outcome.wall_s, 6),
        "peak_memory_mb": round(outcome.peak_memory_mb, 3),
    }


class Results:
    """The file that results go to, which survives interruption.

    Beside `FILE` lies `FILE.run.json`, the record of the run: which samples (by fingerprint) and which options it
    belongs to. A second run with the same samples and options goes on after the last whole line; with others it is
    refused, and so is one while the first is still at work. The record stays, as the provenance of the file.

    Args:
        path: the file.
        run: what must be the same for a run to go on: fingerprint of the samples, options.
        overwrite: start anew, whatever is there.

    Raises:
        BadInput: the file cannot be written, or belongs to something else.
    """

    def __init__(self, path: str, run: dict[str, Any], overwrite: bool = False) -> None:
        self.path = path
        self.record_path = path + ".run.json"
        self._run = json.loads(json.dumps(run))
        anew = overwrite or not (os.path.exists(path) or os.path.exists(self.record_path))
        self.task_ids: list[Any] = []
        with self._named(error_at=""):
            if not anew:
                self._check_record()
            self._file = open(path, "ab")  # noqa: SIM115  # closed by `close`
        try:
            with self._named(error_at=""):
                self._lock()
                if anew:
                    self._file.truncate(0)
                    self._write_record()
                else:
                    self.task_ids = self._whole_lines()
        except BaseException:
            self._file.close()
            raise

    def write(self, line: dict[str, Any]) -> None:
        with self._named():
            self._file.write(line_bytes(line))

    def flush(self) -> None:
        with self._named():
            self._file.flush()

    def close(self) -> None:
        with self._named():
            self._file.close()

    @contextmanager
    def _named(
        self, error_at: str = "; what is there stays, and the same command goes on from it"
    ) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = error.strerror or error
            raise BadInput(f"{error.filename or self.path}: cannot be written: {what}{error_at}") from None

    def _lock(self) -> None:
        """Two runs must not write to one file; the kernel drops the lock with the process that holds it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"{self.path}: another run is writing to it") from None
        except OSError:  # a file system that has no locks
            pass

    def _write_record(self) -> None:
        temporary = self.record_path + ".new"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(self._run, file, indent=1)
            file.write("\n")
        os.replace(temporary, self.record_path)

    def _check_record(self) -> None:
        ways = "choose another --out, remove it, or say --overwrite"
        try:
            with open(self.record_path, encoding="utf-8") as file:
                before = json.load(file)
        except FileNotFoundError:
            raise BadInput(f"{self.path} exists and has no record of a run beside it: {ways}") from None
        except ValueError:
            raise BadInput(f"{self.record_path} is not a record of a run: {ways}") from None
        for key, value in self._run.items():
            there = before.get(key) if isinstance(before, dict) else None
            if key == "samples_sha256" and there != value:
                raise BadInput(f"{self.path} holds results of other samples: {ways}")
            if there != value:
                shown = f"{key}={json.dumps(there)}, this run has {json.dumps(value)}"
                raise BadInput(f"{self.path} was begun with {shown}: {ways}")

    def _whole_lines(self) -> list[Any]:
        """The task_id of each whole line; what an interruption left after them is cut off."""
        ids: list[Any] = []
        end = 0
        if not os.path.exists(self.path):
            return ids
        with open(self.path, "rb") as file:
            for data in file:
                try:
                    if not data.endswith(b"\n"):
                        break
                    ids.append(json.loads(data)["task_id"])
                except (ValueError, KeyError, TypeError):
                    break
                end += len(data)
            file.seek(0, os.SEEK_END)
            size = file.tell()
        if end < size:
            with open(self.path, "r+b") as file:
                file.seek(end)
                if b"\n" in file.read(size - end)[:-1]:
                    raise BadInput(
                        f"{self.path}:{len(ids) + 1}: not a line of results, and more lines follow: repair it, "
                        "choose another --out, or say --overwrite"
                    )
                file.truncate(end)
        return ids


def line_bytes(line: dict[str, Any]) -> bytes:
    """A JSON object as one line. Lone surrogates are escaped, so that the line is UTF-8 whatever a program printed."""
    return json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"
