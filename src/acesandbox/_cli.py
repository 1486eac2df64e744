"""The commands: `acesandbox judge | run | serve | doctor | check | demo`.

Data goes to standard output, everything else to standard error. Exit codes: 0 the work was done; 1 it was done and
found what the command exists to report (a script that failed, an attack that got through, samples that could not be
judged); 2 a usage or environment error.

argparse rather than a command-line framework: starting is most of what a short command does, and the base install
should depend on little.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import stat
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

from ._errors import BadInput, SandboxError
from ._limits import Limits
from ._run_code import IN_FLIGHT, PORT
from ._sandbox import ISOLATIONS, PROFILES, SYSTEM_PROCESSES, UNSEALED, Sandbox, default_limits
from ._status import Status

if TYPE_CHECKING:
    from ._samples import Samples

DONE, FOUND, TROUBLE = 0, 1, 2

LIMIT_HELP = {
    "cpu_s": "CPU seconds of one test",
    "program_cpu_s": "CPU seconds of one program's tests together, beyond the first short pass",
    "load_cpu_s": "CPU seconds for loading a program",
    "quantum_s": "CPU seconds that every test gets in the first pass",
    "idle_s": "seconds that a program may sleep or wait",
    "wall_s": "seconds by the clock for one program; 0: off, so that load on the machine changes no verdict",
    "judge_cpu_s": "CPU seconds that one test's own code, or deciding one value, may use",
    "memory_mb": "megabytes of memory",
    "output_kb": "kilobytes kept of each of standard output and standard error",
    "processes": "new processes that a program may have",
    "threads": "threads that a program may have",
    "scratch_mb": "megabytes of files in the private /tmp",
    "scratch_files": "files in the private /tmp",
    "file_mb": "megabytes of one file",
    "open_files": "open file descriptors",
}

# What `serve` takes: a request brings times and memory of its own, so these are the most that it gets.
SERVED_HELP = {
    "cpu_s": "most CPU seconds of one run; a longer run_timeout is cut to it",
    "idle_s": "most seconds that a run may sleep or wait",
    "memory_mb": "most megabytes of memory; a request for more is refused",
    "output_kb": "kilobytes sent back of each of standard output and standard error",
    **{
        name: LIMIT_HELP[name]
        for name in ("processes", "threads", "scratch_mb", "scratch_files", "file_mb", "open_files")
    },
}
SERVED = {"cpu_s": 60.0, "idle_s": 60.0, "output_kb": 1024}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    parser = _parser()
    ours = list(sys.argv[1:] if arguments is None else arguments)
    theirs: list[str] = []
    if "--" in ours:  # argparse would mix the arguments of a script with our own
        at = ours.index("--")
        ours, theirs = ours[:at], ours[at + 1 :]
    chosen = parser.parse_args(ours)
    if theirs and chosen.command != "run":
        parser.error(f"unrecognized arguments: {' '.join(theirs)}")
    chosen.args = theirs
    if chosen.command is None:
        parser.print_help(sys.stderr)
        return TROUBLE
    # A closed pipe (`acesandbox judge … | head`) ends us as it ends any filter.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    _replace_closed_streams()
    try:
        work: Callable[[argparse.Namespace], int] = chosen.work
        return work(chosen)
    except (BadInput, SandboxError) as error:
        _say(f"acesandbox: {error}")
        return TROUBLE
    except OSError as error:
        _say(f"acesandbox: {error.filename or 'the machine'}: {error.strerror or error}")
        return TROUBLE
    except KeyboardInterrupt:
        _say("acesandbox: interrupted")
        return 128 + signal.SIGINT


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(text: str) -> None:
    _write(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace") + b"\n")


def _write(data: bytes, flush: bool = True) -> None:
    """To standard output.

    Raises:
        BadInput: it is closed, or full.
    """
    try:
        sys.stdout.buffer.write(data)
        if flush:
            sys.stdout.buffer.flush()
    except OSError as error:
        _forget_output()
        raise BadInput(f"standard output cannot be written to: {error.strerror}") from None


def _forget_output() -> None:
    """What is still in the buffer cannot be written; the interpreter would try again at its end, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _replace_closed_streams() -> None:
    """Python has None for a standard stream that was closed by whoever started us (`>&-`)."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:  # readable only, so that output is not lost in silence
        sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


# The command line.


def _parser() -> argparse.ArgumentParser:
    from . import __version__

    parser = argparse.ArgumentParser(
        prog="acesandbox",
        description="Judge model-written Python programs against tests: contained, right, and fast.",
        epilog="exit codes: 0 done; 1 done, and found what the command exists to report; 2 usage or environment error",
    )
    parser.add_argument("--version", action="version", version=f"acesandbox {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _judge_arguments(commands)
    _run_arguments(commands)
    _serve_arguments(commands)
    _doctor_arguments(commands)
    _check_arguments(commands)
    _demo_arguments(commands)
    return parser


def _command(
    commands: Any, name: str, work: Callable[[argparse.Namespace], int], text: str, **more: str
) -> Any:
    command = commands.add_parser(
        name, help=text, description=text, formatter_class=argparse.RawDescriptionHelpFormatter, **more
    )
    command.set_defaults(work=work)
    return command


def _judge_arguments(commands: Any) -> None:
    command = _command(
        commands,
        "judge",
        _judge,
        "judge a file of samples; one line of results per sample, in the same order",
        epilog="""\
a sample is one JSON object per line:
  {"task_id": "1", "program": "def f(x): return x + 1", "tests": ["assert f(1) == 2"], "test_kind": "asserts"}
test_kind is asserts, check_script, unittest, stdio or functional; "entry_point" and "prompt" may be added

an interrupted run with --out goes on where it stopped when the same command is given again
the file is checked as a whole before the first program is judged""",
    )
    command.add_argument("samples", metavar="SAMPLES", help="a .jsonl file, gzip or not; - is standard input")
    command.add_argument(
        "--out", metavar="FILE", help="write results here, not to standard output; can be resumed"
    )
    command.add_argument("--overwrite", action="store_true", help="with --out: start anew, whatever is there")
    command.add_argument(
        "--details", action="store_true", help="say more about each test: mode, oracle, origin, why"
    )
    command.add_argument("--no-dedupe", action="store_true", help="judge equal programs again, not once")
    command.add_argument(
        "--json", action="store_true", help="with --out: the summary as JSON on standard output"
    )
    command.add_argument("--quiet", action="store_true", help="no progress bar and no summary")
    _sandbox_arguments(command)


def _run_arguments(commands: Any) -> None:
    command = _command(
        commands,
        "run",
        _run,
        "run one whole script in the sandbox and show what it prints",
        usage="acesandbox run FILE.py [OPTION ...] [-- ARG ...]",
    )
    command.add_argument("script", metavar="FILE.py", help="the script; - is standard input")
    command.add_argument("--stdin", metavar="FILE", help="what the script reads from standard input")
    command.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="PATH[=NAME]",
        help="a file to put into its working directory, under its own name or NAME; may be repeated",
    )
    command.add_argument(
        "--json", action="store_true", help="output, status and measurements as one JSON object"
    )
    _sandbox_arguments(command, judging=False)


def _serve_arguments(commands: Any) -> None:
    command = _command(
        commands,
        "serve",
        _serve,
        "run programs for others, over HTTP in SandboxFusion's form, until interrupted",
        epilog="""\
prints the URL that clients are given, e.g. verl as reward.sandbox_fusion.url; docs/serving.md says what is served

there is no authentication: whoever reaches the port can have programs run, contained and at your cost""",
    )
    command.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: 127.0.0.1)"
    )
    command.add_argument(
        "--port", type=int, default=PORT, metavar="N", help=f"default: {PORT}; 0: any free one"
    )
    command.add_argument(
        "--in-flight",
        type=int,
        default=IN_FLIGHT,
        metavar="N",
        help=f"most requests that wait or run; what comes beyond is answered 504 (default: {IN_FLIGHT})",
    )
    _sandbox_arguments(command, judging=False, defaults=Limits().replace(**SERVED), shown=SERVED_HELP)


def _doctor_arguments(commands: Any) -> None:
    command = _command(
        commands,
        "doctor",
        _doctor,
        "say what isolation this machine offers, what it lacks, why, and what would help",
    )
    command.add_argument("--json", action="store_true", help="the report as JSON")
    command.add_argument("--python", metavar="PATH", help="the interpreter to jail")


def _check_arguments(commands: Any) -> None:
    command = _command(
        commands,
        "check",
        _check,
        "run the attack suite against this machine, and say what held and what did not",
    )
    command.add_argument(
        "attacks", nargs="*", metavar="ATTACK", help="attacks or families of attacks; default: all"
    )
    command.add_argument("--list", action="store_true", help="name the attacks and do nothing")
    command.add_argument("--json", action="store_true", help="one JSON object per attack")
    command.add_argument("--isolation", choices=ISOLATIONS, default="best", help="default: best")
    command.add_argument("--profile", choices=PROFILES, default="compute", help="default: compute")
    command.add_argument("--python", metavar="PATH", help="the interpreter to jail")


def _demo_arguments(commands: Any) -> None:
    command = _command(
        commands, "demo", _demo, "judge a small embedded sample of good, bad and hostile programs"
    )
    command.add_argument("--json", action="store_true", help="one JSON object per program")
    from ._demo import LIMITS

    _sandbox_arguments(command, judging=False, defaults=Limits().replace(**LIMITS))


def _sandbox_arguments(
    command: Any,
    judging: bool = True,
    defaults: Limits | None = None,
    shown: Mapping[str, str] = LIMIT_HELP,
) -> None:
    group = command.add_argument_group("sandbox")
    group.add_argument("--workers", type=int, metavar="N", help="workers; default: one per usable core")
    group.add_argument(
        "--isolation",
        choices=ISOLATIONS,
        default="namespaces",
        help="default: namespaces; see acesandbox doctor",
    )
    group.add_argument(
        "--profile",
        choices=PROFILES,
        default="compute",
        help="what a program may use: compute (default), an interpreter and files of its own; system, also processes, "
        "the machine's programs, loopback sockets, shared memory",
    )
    group.add_argument(
        "--python",
        metavar="PATH",
        help="the interpreter for programs, with its packages; default: this one, standard library only",
    )
    group.add_argument(
        "--preload",
        action="append",
        default=[],
        metavar="MODULE",
        help="import it once for all; may be repeated",
    )
    if judging:
        group.add_argument(
            "--unsealed", choices=UNSEALED, default="allow", help="what to do with tests that could be forged"
        )
        group.add_argument("--fail-fast", action="store_true", help="stop at a program's first failure")
    limits = command.add_argument_group("limits")
    defaults = defaults or Limits()
    for name, text in shown.items():
        default = getattr(defaults, name)
        by_profile = f"; with --profile system {SYSTEM_PROCESSES}" if name == "processes" else ""
        limits.add_argument(
            "--" + name.replace("_", "-"),
            type=type(default),
            metavar="N",
            help=f"{text} (default: {default:g}{by_profile})",
        )


def _options(chosen: argparse.Namespace, usual: Mapping[str, float] | None = None) -> dict[str, Any]:
    """The sandbox's options as the command line has them; `usual` are limits in place of the profile's."""
    given = {name: getattr(chosen, name) for name in LIMIT_HELP if getattr(chosen, name, None) is not None}
    options = {
        "workers": chosen.workers,
        "limits": default_limits(chosen.profile).replace(**{**(usual or {}), **given}),
        "isolation": chosen.isolation,
        "profile": chosen.profile,
        "python": chosen.python,
        "preload": tuple(chosen.preload),
    }
    if hasattr(chosen, "unsealed"):
        options.update(unsealed=chosen.unsealed, fail_fast=chosen.fail_fast)
    return options


# judge


def _judge(chosen: argparse.Namespace) -> int:
    from ._samples import Results, Samples

    if chosen.out is None and (chosen.overwrite or chosen.json):
        raise BadInput(f"{'--overwrite' if chosen.overwrite else '--json'} needs --out")
    if chosen.out is not None and chosen.out.endswith(".gz"):
        raise BadInput(
            "--out cannot be compressed, because an interrupted run could not go on; compress it afterwards"
        )
    sandbox = Sandbox(**_options(chosen), keep_output=False)
    with _path(chosen.samples) as path:
        samples = Samples(path)
        for _ in samples:  # the whole file is sound before the first program is judged
            pass
        if not samples.rows:
            raise BadInput(f"{chosen.samples}: nothing to do: the file has no samples")
        if chosen.out is None:
            return _judge_to(chosen, sandbox, samples, None)
        for written in (chosen.out, chosen.out + ".run.json"):
            if os.path.exists(written) and os.path.samefile(written, path):
                raise BadInput(f"--out would write to the samples file itself, {chosen.samples}")
        with sandbox:  # the tier is part of what a run must keep
            results = Results(chosen.out, _run_record(chosen, sandbox, samples), chosen.overwrite)
            try:
                return _judge_to(chosen, sandbox, samples, results)
            finally:
                results.close()


def _run_record(chosen: argparse.Namespace, sandbox: Sandbox, samples: Samples) -> dict[str, Any]:
    """What makes two runs one: same samples, same rules."""
    import platform

    from . import __version__, _interpreter

    return {
        "samples_sha256": samples.fingerprint,
        "samples": samples.rows,
        "acesandbox": __version__,
        "isolation": sandbox.tier,
        "profile": chosen.profile,
        "python": ".".join(map(str, _interpreter.find(chosen.python).version)),
        "packages": chosen.python is not None,
        "machine": platform.machine(),
        "unsealed": chosen.unsealed,
        "fail_fast": chosen.fail_fast,
        "details": chosen.details,
        "limits": {name: getattr(sandbox.limits, name) for name in LIMIT_HELP},
    }


def _judge_to(chosen: argparse.Namespace, sandbox: Sandbox, samples: Samples, results: Any) -> int:
    from ._samples import line_bytes, result

    done = list(results.task_ids) if results is not None else []
    if len(done) > samples.rows:
        raise BadInput(
            f"{chosen.out} has more lines than there are samples: choose another --out, or say --overwrite"
        )
    fingerprint, rows = samples.fingerprint, samples.rows
    tally = _Tally(len(done))
    taken: deque[str | int] = deque()

    def jobs() -> Iterator[tuple[str, Any]]:
        for number, sample in enumerate(samples):
            if number < len(done):
                if sample.task_id != done[number]:
                    raise BadInput(
                        f"{chosen.out}:{number + 1}: task_id {done[number]!r}, where the samples have "
                        f"{sample.task_id!r}: choose another --out, or say --overwrite"
                    )
                continue
            taken.append(sample.task_id)
            yield sample.program, sample.tests

    if done and not chosen.quiet:
        _say(f"{len(done)} of {rows} samples were judged before; going on")
    with sandbox, _Progress(rows, len(done), not chosen.quiet) as progress:
        started, flushed = perf_counter(), monotonic() - 1
        for outcome in sandbox.judge_many(jobs(), dedupe=not chosen.no_dedupe, return_errors=True):
            line = result(taken.popleft(), outcome, chosen.details)
            now = monotonic()
            flush = now - flushed > 0.5
            flushed = now if flush else flushed
            if results is None:
                _write(line_bytes(line), flush)
            else:
                results.write(line)
                if flush:
                    results.flush()
            tally.add(outcome)
            progress.step()
        tally.seconds = perf_counter() - started
    if results is None:
        _write(b"")
    if samples.fingerprint != fingerprint:
        raise BadInput(
            f"{samples.path} was changed while it was judged; the results belong to no version of it"
        )
    if chosen.json:
        _print(json.dumps(tally.to_dict(), indent=1))
    elif not chosen.quiet:
        _say(tally.text())
    return FOUND if tally.errors else DONE


class _Tally:
    """Counts for the summary of one run."""

    def __init__(self, before: int) -> None:
        self.before = before
        self.programs = self.passed = self.sealed = self.errors = 0
        self.rate = self.seconds = 0.0
        self.tests = self.sealed_tests = self.test_faults = 0
        self.statuses: Counter[str] = Counter()
        self.unsealed: Counter[str] = Counter()
        self.first_error = ""

    def add(self, outcome: Any) -> None:
        self.programs += 1
        if isinstance(outcome, SandboxError):
            self.errors += 1
            self.first_error = self.first_error or str(outcome)
            return
        self.passed += outcome.passed
        self.rate += outcome.pass_rate
        self.sealed += outcome.sealed
        for test in outcome.tests:
            self.tests += 1
            self.statuses[test.status.value] += 1
            self.test_faults += test.origin == "test" and not test.passed
            if test.sealed:
                self.sealed_tests += 1
            else:
                self.unsealed[test.why or test.mode] += 1

    def to_dict(self) -> dict[str, Any]:
        judged = self.programs - self.errors
        return {
            "judged_before": self.before,
            "programs": self.programs,
            "passed": self.passed,
            "mean_pass_rate": self.rate / judged if judged else None,
            "not_judged": self.errors,
            "tests": self.tests,
            "statuses": dict(self.statuses.most_common()),
            "sealed_tests": self.sealed_tests,
            "unsealed_reasons": dict(self.unsealed.most_common()),
            "faults_of_tests": self.test_faults,
            "seconds": round(self.seconds, 3),
        }

    def text(self) -> str:
        judged = self.programs - self.errors
        speed = f"{self.programs / self.seconds:,.0f} programs/s" if self.seconds else "no time at all"
        lines = [f"{self.programs} programs in {self.seconds:.1f} s, {speed}"]
        if judged:
            lines.append(
                f"{self.passed} passed every test ({self.passed / judged:.1%}); mean pass rate {self.rate / judged:.1%}"
            )
        if self.tests:
            lines.append(f"{self.sealed_tests / self.tests:.2%} of {self.tests} tests judged sealed")
            lines += [f"  {count:>9}  not sealed: {why}" for why, count in self.unsealed.most_common(5)]
            lines.append("tests by status")
            lines += [f"  {count:>9}  {status}" for status, count in self.statuses.most_common()]
        if self.test_faults:
            lines.append(
                f"{self.test_faults} tests did not pass by their own fault (they do not parse, are empty, or raise)"
            )
        if self.errors:
            lines.append(f"{self.errors} programs could not be judged, e.g.: {self.first_error}")
        return "\n".join(lines)


class _Progress:
    """A bar on standard error when that is a terminal; without tqdm, or a terminal, nothing."""

    def __init__(self, total: int, done: int, wanted: bool) -> None:
        self._bar: Any = None
        if wanted and sys.stderr.isatty():
            import importlib

            try:
                tqdm = importlib.import_module("tqdm")
            except ImportError:
                return
            self._bar = tqdm.tqdm(total=total, initial=done, unit=" programs", file=sys.stderr, smoothing=0.1)

    def step(self) -> None:
        if self._bar is not None:
            self._bar.update()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.close()


class _path:
    """A path that can be read twice: what comes through a pipe is put into a temporary file."""

    def __init__(self, given: str) -> None:
        self._given = given
        self._file: Any = None

    def __enter__(self) -> str:
        if self._given != "-" and not _is_pipe(self._given):
            return self._given
        import shutil
        import tempfile

        self._file = tempfile.NamedTemporaryFile(prefix="acesandbox-samples-")
        if self._given == "-":
            shutil.copyfileobj(sys.stdin.buffer, self._file)
        else:
            with open(self._given, "rb") as pipe:
                shutil.copyfileobj(pipe, self._file)
        self._file.flush()
        return str(self._file.name)

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()


def _is_pipe(path: str) -> bool:
    """`<(command)` of a shell, or a named pipe."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


# run


def _run(chosen: argparse.Namespace) -> int:
    source = _text(chosen.script)
    files = {}
    for given in chosen.file:
        path, _, name = given.partition("=")
        files[name or os.path.basename(path)] = _bytes(path)
    stdin = _bytes(chosen.stdin) if chosen.stdin else b""
    with Sandbox(**_options(chosen)) as sandbox:
        result = sandbox.run(source, stdin, files, chosen.args)
    if chosen.json:
        _print(json.dumps(result.to_dict()))
    else:
        _write(result.stdout.encode())
        sys.stderr.write(result.stderr)
        if result.truncated:
            _say(f"acesandbox: output was cut at {sandbox.limits.output_kb} kB (--output-kb)")
        if result.status is not Status.PASSED:
            message = f": {result.message.strip().splitlines()[-1]}" if result.message.strip() else ""
            _say(f"acesandbox: {result.status.value}, exit code {result.exit_code}{message}")
    return DONE if result.status is Status.PASSED else FOUND


def _bytes(path: str) -> bytes:
    try:
        if path == "-":
            return sys.stdin.buffer.read()
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None


def _text(path: str) -> str:
    data = _bytes(path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{path}:{line}: not UTF-8: the byte 0x{data[error.start]:02x}") from None


# serve


def _serve(chosen: argparse.Namespace) -> int:
    from ._serve import Service

    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a client that goes away must not end the service
    options = _options(chosen, SERVED)
    workers = Sandbox(**options).workers
    sandboxes = [Sandbox(**{**options, "workers": 1}) for _ in range(workers)]
    with Service(sandboxes, chosen.host, chosen.port, chosen.in_flight, _say_served) as service:
        with _EndSignals() as signals:
            if not service.loopback:
                _say_served(
                    f"--host {chosen.host}: other machines can reach this, and there is no authentication: keep it to "
                    "a private network, behind a firewall"
                )
            _say_served(
                f"{workers} workers, isolation {sandboxes[0].tier}, Python programs; Ctrl-C or SIGTERM ends it"
            )
            _print(service.url)
            signals.wait()
        service.close()
        answers = ", ".join(f"{count:,} x {code}" for code, count in sorted(service.answers().items()))
    _say_served(f"ended; answers: {answers or 'none'}")
    return DONE


def _say_served(text: str) -> None:
    try:
        _say(f"acesandbox serve: {text}")
    except OSError:  # nobody reads it any longer; the requests are worth more
        pass


class _EndSignals:
    """Within the block, Ctrl-C and SIGTERM end `wait`; behind it, a second one ends the process as usual."""

    def __enter__(self) -> _EndSignals:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC)
        # A handler may run while any lock is held, so it takes none.
        self._before = {
            number: signal.signal(number, lambda *_: os.eventfd_write(self._fd, 1))
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def wait(self) -> None:
        os.read(self._fd, 8)  # not eventfd_read, which the signal would interrupt

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._fd)


# doctor, check, demo


def _doctor(chosen: argparse.Namespace) -> int:
    from . import _doctor as doctor

    report = doctor.examine({"python": chosen.python})
    _print(json.dumps(report, indent=1) if chosen.json else doctor.text(report))
    return DONE if doctor.works(report) else FOUND


def _check(chosen: argparse.Namespace) -> int:
    from . import _check as check

    try:
        attacks = check.choose(chosen.attacks)
    except ValueError as error:
        raise BadInput(f"{error}; acesandbox check --list names all") from None
    if chosen.list:
        _print(
            _table(
                ("family", "attack", "what it tries"),
                [(each.family, each.name, each.tries) for each in attacks],
            )
        )
        return DONE
    states: Counter[str] = Counter()
    for outcome in check.run(attacks, chosen.isolation, chosen.python, profile=chosen.profile):
        states[outcome.state] += 1
        if chosen.json:
            line = {
                name: getattr(outcome, name)
                for name in ("name", "family", "tries", "state", "detail", "seconds")
            }
            _print(json.dumps(line))
        else:
            detail = "" if outcome.state == check.HELD else f": {outcome.detail}"
            _print(f"{outcome.state:<8} {outcome.name} ({outcome.tries}){detail}")
    _say(", ".join(f"{count} {state}" for state, count in states.most_common()))
    return FOUND if states[check.BROKEN] or states[check.FAULTY] else DONE


def _demo(chosen: argparse.Namespace) -> int:
    from . import _demo as demo

    surprises = 0
    rows = []
    with Sandbox(**_options(chosen, demo.LIMITS)) as sandbox:
        for example, verdict in demo.judge_all(sandbox):
            surprises += verdict.passed is not example.deserves
            passed = sum(test.passed for test in verdict.tests)
            if chosen.json:
                _print(json.dumps({"name": example.name, "what": example.what, **verdict.to_dict()}))
            rows.append(
                (
                    example.name,
                    example.what,
                    verdict.status.value,
                    f"{passed}/{len(verdict.tests)}",
                    "yes" if verdict.sealed else "no",
                    demo.explain(verdict),
                )
            )
        tier, used, usual = sandbox.tier, sandbox.limits, Limits()
    if not chosen.json:
        limits = (
            f"{used.cpu_s:g} s CPU per test, {used.program_cpu_s:g} s per program, {used.idle_s:g} s idle"
        )
        others = f"{usual.cpu_s:g}, {usual.program_cpu_s:g} and {usual.idle_s:g}"
        _print(f"task: {demo.TASK}; isolation: {tier}")
        _print(f"limits: {limits} (elsewhere the defaults are {others})\n")
        _print(_table(("program", "what it does", "verdict", "tests", "sealed", "why"), rows))
        deserved = sum(example.deserves for example in demo.EXAMPLES)
        _print(
            f"\n{len(rows)} programs, {deserved} of them deserve to pass; {surprises} verdicts are a surprise"
        )
    return FOUND if surprises else DONE


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Columns as wide as they need to be; the last one is cut at the terminal's width."""
    import shutil

    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head) - 1)]
    room = max(shutil.get_terminal_size((150, 25)).columns - sum(widths) - 2 * len(widths), 30)
    lines = []
    for row in [head, *rows]:
        last = "".join(c if c.isprintable() else " " for c in row[-1])
        last = last if len(last) <= room else last[: room - 3] + "..."
        lines.append(
            "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), last]).rstrip()
        )
    lines.insert(1, "-" * min(max(map(len, lines)), sum(widths) + 2 * len(widths) + room))
    return "\n".join(lines)
