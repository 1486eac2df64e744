"""What every benchmark shares: the machine, rows in a file, contenders in fresh processes, tables and JSON."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import marshal
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tests import workloads
from tests.plain_judge import PlainJudge

HERE = Path(__file__).resolve().parent
CONTENDERS = HERE / "contenders"
RESULTS = HERE / "results"

Row = workloads.Row


@dataclass(frozen=True)
class Outcome:
    """What one run of a contender came to. Times in seconds; `results` as in contenders/protocol.py."""

    seconds: float
    cpu_seconds: float
    results: dict[int, bytes]
    more: dict[str, Any]


# Contender -> the command that runs it, before the arguments of contenders/protocol.py.
LEAN = [sys.executable, "-P", "-s", "-S", "-B"]  # -I, but for the hash seed
COMMANDS: dict[str, list[str]] = {
    "bare os.fork loop": [*LEAN, str(CONTENDERS / "bare_fork.py")],
    "multiprocessing.Process": [*LEAN, str(CONTENDERS / "mp_process.py")],
    "python -I -S": [*LEAN, str(CONTENDERS / "exec_each.py"), "none"],
    "bubblewrap + python -I -S": [*LEAN, str(CONTENDERS / "exec_each.py"), "bubblewrap"],
    "nsjail + python -I -S": [*LEAN, str(CONTENDERS / "exec_each.py"), "nsjail"],
    "acesandbox": [sys.executable, str(CONTENDERS / "sandboxed.py")],
}
ISOLATED = {"bubblewrap + python -I -S": "bwrap", "nsjail + python -I -S": "nsjail"}


def available(contender: str) -> bool:
    """Whether what a contender needs is on the PATH."""
    return contender not in ISOLATED or shutil.which(ISOLATED[contender]) is not None


def write_rows(path: Path, rows: Sequence[Row], extra: Sequence[Any] | None = None) -> None:
    """Rows in the form contenders read. `extra` goes to acesandbox only: limits of a row."""
    with open(path, "wb") as file:
        for number, row in enumerate(rows):
            kept = {name: row.get(name) for name in ("test_kind", "entry_point", "prompt")}
            kept["limits"] = extra[number] if extra else None
            marshal.dump((number, row["program"], row["tests"], kept), file)


def run(
    contender: str,
    rows: Path,
    warm: int,
    workers: int = 1,
    seconds: float = 1.0,
    options: dict[str, Any] | None = None,
) -> Outcome:
    """Run one contender over a file of rows in a fresh process.

    Raises:
        RuntimeError: it failed; its standard error is in the message.
    """
    with tempfile.TemporaryDirectory(prefix="ace-bench-") as place:
        out = os.path.join(place, "results")
        spent = os.path.join(place, "cpu")
        words = [*LEAN, str(CONTENDERS / "account.py"), spent]
        words += [*COMMANDS[contender], str(rows), str(warm), str(workers), str(seconds), out]
        if options is not None:
            words.append(json.dumps(options))
        # One order of sets for all, the sandbox's own default: some programs depend on it.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        if "PYTHONPATH" in environment:
            # The contender runs in another folder.
            folders = environment["PYTHONPATH"].split(os.pathsep)
            environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, folders))
        with open(os.path.join(place, "stderr"), "w+b") as errors:
            # Programs under test may write files: they get a folder that goes away with the run.
            code = subprocess.run(
                words, stdin=subprocess.DEVNULL, stderr=errors, cwd=place, env=environment
            ).returncode
            if code != 0:
                errors.seek(0)
                said = errors.read()[-4000:].decode("utf-8", "replace")
                raise RuntimeError(f"{contender} ended with exit status {code}:\n{said}")
        with open(out, "rb") as file:
            found = marshal.load(file)
        cpu = float(Path(spent).read_text(encoding="ascii"))
    return Outcome(found.pop("seconds"), cpu, found.pop("results"), found)


def passes(results: bytes) -> list[bool]:
    """Which tests passed, from the bytes of one program."""
    return [byte == ord("1") for byte in results]


def interleaved(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """(round, contender): each round runs all of them, starting one further each time."""
    for turn in range(rounds):
        shift = turn % len(names)
        for name in [*names[shift:], *names[:shift]]:
            yield turn, name


def without_hangs(name: str, rows: Sequence[Row], seconds: float = 1.0) -> list[Row]:
    """The rows whose program ends within `seconds` of CPU time at load and in each test, by the plain judge.

    The scan takes minutes for thousands of rows, so it is kept in the user's cache, keyed by the content of the rows.
    """
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([row["program"], row["tests"], seconds]).encode())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "acesandbox-benchmarks"
    kept = cache / f"hangs-{name}-{digest.hexdigest()[:24]}.json"
    if kept.exists():
        hanging = set(json.loads(kept.read_text()))
    else:
        talk(f"looking for hanging programs in {len(rows)} rows of {name} (once; kept in {cache})")
        hanging = set()
        with PlainJudge() as plain:
            for number, row in enumerate(rows):
                outcomes = plain.judge(
                    row["program"], row["test_kind"], row["tests"], row["entry_point"], seconds, max_hangs=1
                )
                if any(outcome.status == "timeout" for outcome in outcomes):
                    hanging.add(number)
        cache.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(sorted(hanging)))
    return [row for number, row in enumerate(rows) if number not in hanging]


# ---- what was measured on what ----


def machine() -> dict[str, Any]:
    """The machine and the versions a figure belongs to."""
    cpu = "unknown"
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libc": " ".join(platform.libc_ver()),
        "acestack": _version("acestack"),
        "commit": _first_line(["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]),
        "bubblewrap": _first_line(["bwrap", "--version"]),
        "nsjail": "on the PATH" if shutil.which("nsjail") else None,
        "user": "root" if os.getuid() == 0 else "ordinary user",
        "when": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed: run from the source tree"


def _first_line(words: list[str]) -> str | None:
    with contextlib.suppress(OSError, subprocess.CalledProcessError, IndexError):
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        return done.stdout.splitlines()[0]
    return None


# ---- telling people ----


def talk(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """A Markdown table, aligned; the first column to the left, figures to the right."""
    cells = [list(head)] + [[_cell(value) for value in line] for line in lines]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    rows = [
        "| "
        + " | ".join(
            c.ljust(w) if n == 0 else c.rjust(w) for n, (c, w) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in cells
    ]
    rule = (
        "|" + "|".join("-" * (w + 2) if n == 0 else "-" * (w + 1) + ":" for n, w in enumerate(widths)) + "|"
    )
    return "\n".join([rows[0], rule, *rows[1:]])


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "-" if value is None else str(value)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """Lowest and highest, to go with a median."""
    return f"{min(values):.3g} to {max(values):.3g}"


def publish(question: str, findings: dict[str, Any], text: str, out: str | None) -> None:
    """Print the table on standard output and write the JSON file, with the machine in both."""
    where = machine()
    path = Path(out) if out else RESULTS / f"{question}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    stood = ", ".join(f"{name}: {value}" for name, value in where.items() if value is not None)
    text += f"\n\n{stood}"
    path.write_text(
        json.dumps({"question": question, "machine": where, "text": text, **findings}, indent=1) + "\n"
    )
    print(text)
    talk(f"written: {path}")


BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def put_into_page(page: Path, text: str) -> None:
    """Replace what stands between a page's two markers."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no {BEGIN} ... {END}")
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The arguments all benchmarks share."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--out", metavar="FILE", help="where the JSON goes (default: benchmarks/results/)")
    made.add_argument(
        "--quick", action="store_true", help="a short version, to see that it works: not for publishing"
    )
    return made
