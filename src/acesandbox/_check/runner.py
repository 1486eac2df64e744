"""Runs attacks against a real sandbox and says what held.

Order of things for every attack: run it in all its forms or positions; look at what it reported and at the verdict;
look at the lures and at the sandbox's processes; then let a canary program pass in the same sandbox. All of it goes
through the public `Sandbox`, so what is checked is what a user gets.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import psutil

from .. import Asserts, Sandbox, SandboxError, Status, Verdict
from .._sandbox import default_limits
from .._tests import Tests
from .._worker import activity
from . import prelude
from .lures import Lures
from .records import CROSS_PROGRAM, EXIT, KERNEL, Attack, Escape, Forgery, Form, Pair, fill, fresh, make_tests

HELD, BROKEN, UNTRIED, FAULTY = "held", "broken", "untried", "faulty"

# How long the sandbox may take to get rid of what an attack left.
_SETTLE_S = 3.0
_MOST_PATIENCE = 10  # times what an attack may take, by the clock on the wall
_SAMPLE_S = 0.02
_MOST_DEATHS = 100
# Launcher, supervisor, judge, zygote. The lures' own process comes on top.
_WORKER_PROCESSES = 4
# What the verdict says when the filter has killed a test process: it has no listener that would name the call.
_TEST_DIED = "ended its process without a result"


@dataclass
class Outcome:
    """What came of one attack.

    `state`: "held"; "broken", something got through or the next program was harmed; "untried", with the reason in
    `detail`; "faulty", the attack itself is wrong (a defect of the corpus, not of the sandbox).
    """

    name: str
    family: str
    tries: str
    state: str
    detail: str
    seconds: float

    @property
    def ok(self) -> bool:
        return self.state in (HELD, UNTRIED)


@dataclass
class _Findings:
    broken: list[str] = field(default_factory=list)
    faulty: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class NoVerdict(Exception):
    """The sandbox did not answer in time."""


class Harmed(Exception):
    """A canary program did not get through."""


class Bench:
    """Sandboxes of one tier, lures, and the attacks that are run against them."""

    def __init__(
        self,
        isolation: str = "best",
        python: str | None = None,
        alone: bool = False,
        profile: str = "compute",
    ) -> None:
        self._isolation = isolation
        self._python = python
        self._profile = profile
        self._lures = Lures(alone, profile)
        self._sandboxes: dict[tuple[Any, ...], Sandbox] = {}
        self._honest: set[tuple[int, str]] = set()
        self._states: dict[str, str] = {}
        self.tier = ""

    def __enter__(self) -> Bench:
        self._lures.__enter__()
        try:
            self.tier = self._sandbox().tier
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sandbox in self._sandboxes.values():
            sandbox.close()
        self._lures.__exit__(kind, value, trace)

    def run(self, attack: Attack) -> Outcome:
        """Run one attack with everything that belongs to it."""
        start = time.monotonic()
        findings = _Findings()
        untried = self._untried(attack)
        if not untried:
            try:
                self._attack(attack, findings)
            except NoVerdict as error:
                findings.broken.append(str(error))
                self._drop_sandboxes()
            except SandboxError as error:
                findings.broken.append(f"the sandbox itself failed: {type(error).__name__}: {error}")
            except Harmed as error:
                findings.broken.append(f"an honest program does not pass before the attack: {error}")
        if untried:
            state, detail = UNTRIED, untried
        elif findings.broken:
            state, detail = BROKEN, "; ".join(findings.broken)
        elif findings.faulty:
            state, detail = FAULTY, "; ".join(findings.faulty)
        else:
            state, detail = HELD, "; ".join(dict.fromkeys(findings.notes))
        self._states[attack.name] = state
        return Outcome(attack.name, attack.family, attack.tries, state, detail, time.monotonic() - start)

    # Before.

    def _untried(self, attack: Attack) -> str:
        if self.tier == "none":
            return "without a jail it would be a real attack"
        if isinstance(attack, Forgery):
            return ""
        if self._profile not in attack.profiles:
            return f"for the profile {' and '.join(attack.profiles)} only"
        if self.tier not in attack.tiers:
            return f"the {self.tier} tier does not promise this"
        if isinstance(attack, Escape) and attack.after and self._states.get(attack.after, HELD) != HELD:
            return f"only tried where {attack.after} holds"
        return ""

    def _sandbox(self, workers: int = 1, limits: dict[str, float] | None = None) -> Sandbox:
        key = (workers, *sorted((limits or {}).items()))
        sandbox = self._sandboxes.get(key)
        if sandbox is None:
            for old in [k for k in self._sandboxes if len(k) > 1]:
                self._sandboxes.pop(old).close()
            given = default_limits(self._profile).replace(**(limits or {}))
            sandbox = Sandbox(workers, given, self._isolation, self._python, profile=self._profile)
            sandbox.open()
            self._sandboxes[key] = sandbox
            self._canary(sandbox)
        return sandbox

    def _drop_sandboxes(self) -> None:
        for sandbox in self._sandboxes.values():
            # A sandbox that no longer answers may hang in close, too; that must not hold up the check.
            threading.Thread(target=sandbox.close, daemon=True).start()
        self._sandboxes.clear()

    # The attack.

    def _attack(self, attack: Attack, findings: _Findings) -> None:
        if isinstance(attack, Forgery):
            sandbox = self._sandbox()
            before = self._at_rest(sandbox)
            for form in attack.forms:
                self._forge(sandbox, attack, form, findings)
        elif isinstance(attack, Escape):
            sandbox = self._sandbox(1, attack.limits)
            before = self._at_rest(sandbox)
            for position in attack.positions:
                self._escape(sandbox, attack, position, findings)
        else:
            sandbox = self._sandbox(2 if attack.parallel else 1, attack.limits)
            before = self._at_rest(sandbox)
            self._meet(sandbox, attack, findings)
        self._aftermath(sandbox, before, attack.family, findings)

    def _forge(self, sandbox: Sandbox, attack: Forgery, form: Form, findings: _Findings) -> None:
        values = fresh(form.secrets)
        tests = make_tests(form, values)
        if (id(sandbox), form.name) not in self._honest:
            honest = _wait(sandbox.submit(fill(form.honest, values), tests), attack.seconds)
            if not honest.passed:
                findings.broken.append(f"{form.name}: an honest program does not pass: {_short(honest)}")
            elif not honest.sealed:
                why = next((test.why for test in honest.tests if not test.sealed), "")
                findings.broken.append(f"{form.name}: these tests are not judged sealed: {why}")
            else:
                self._honest.add((id(sandbox), form.name))
            values = fresh(form.secrets)
            tests = make_tests(form, values)
        verdict = _wait(sandbox.submit(attack.program, tests), attack.seconds)
        passed = [n for n, test in enumerate(verdict.tests) if test.passed and n not in form.free]
        if verdict.passed or passed:
            findings.broken.append(
                f"{form.name}: passed {'' if verdict.passed else f'tests {passed} '}({_short(verdict)})"
            )
        if not verdict.sealed:
            findings.broken.append(f"{form.name}: the program got itself judged unsealed")
        findings.notes.append(verdict.status.value)

    def _escape(self, sandbox: Sandbox, attack: Escape, position: str, findings: _Findings) -> None:
        with _Watch(attack.inspect) as watch:
            lines, ended, summary = self._report(sandbox, attack.program, position, attack.seconds)
            # A filter that kills hides the trials behind the deadly one: go on behind it.
            skip = 0
            while not ended and summary.startswith(Status.BLOCKED_SYSCALL) and skip < _MOST_DEATHS:
                skip += 1 + sum(kind != "end" for kind, _, _ in lines)
                self._judge_report(position, lines, findings)
                lines, ended, summary = self._report(sandbox, attack.program, position, attack.seconds, skip)
            if not ended and _TEST_DIED in summary:
                lines, ended, summary = self._one_by_one(sandbox, attack, findings)
        self._judge_report(position, lines, findings)
        if not lines and not ended and not attack.may_die:
            findings.faulty.append(f"{position}: no report ({summary})")
        if not ended and not attack.may_die:
            findings.broken.append(f"{position}: did not come to its end ({summary})")
        if attack.most_mb and watch.most_mb > attack.most_mb:
            findings.broken.append(f"{position}: {watch.most_mb:.0f} MB in use, {attack.most_mb} allowed")
        if attack.most_processes and watch.most_threads > attack.most_processes:
            findings.broken.append(
                f"{position}: {watch.most_threads} processes and threads, {attack.most_processes} allowed"
            )
        if attack.inspect:
            findings.broken += [f"{position}: {line}" for line in watch.rights()]
            if not watch.seen:
                findings.faulty.append(f"{position}: no process was seen")
        findings.notes.append(summary)

    def _one_by_one(
        self, sandbox: Sandbox, attack: Escape, findings: _Findings
    ) -> tuple[list[tuple[str, str, str]], bool, str]:
        """Test code whose process was killed took its reports along: each trial in a run of its own."""
        said, ended, summary = self._report(sandbox, attack.program, "tests", attack.seconds, 0, 0)
        if not ended:  # what ended it is no trial
            return said, False, summary
        count = int(next(what for kind, what, _ in said if kind == "end"))
        for number in range(1, count + 1):
            lines, _, summary = self._report(
                sandbox, attack.program, "tests", attack.seconds, number - 1, number
            )
            self._judge_report("tests", lines, findings)
            said += lines
        return said, True, summary

    def _meet(self, sandbox: Sandbox, attack: Pair, findings: _Findings) -> None:
        """Planters and collectors in several positions, one after the other or side by side."""
        if attack.parallel:
            with ThreadPoolExecutor(1) as beside:
                planting = beside.submit(self._report, sandbox, attack.plant, "program", attack.seconds)
                time.sleep(0.3)
                lines, ended, summary = self._report(sandbox, attack.collect, "program", attack.seconds)
                planted, _, _ = planting.result()
            self._judge_report("beside", lines + planted, findings)
            if not ended and not summary.startswith(Status.BLOCKED_SYSCALL):
                findings.broken.append(f"the collector did not come to its end ({summary})")
            return
        for first, second in (
            ("script", "program"),
            ("program", "program"),
            ("tests", "program"),
            ("program", "script"),
            ("tests", "tests"),
        ):
            planted, _, _ = self._report(sandbox, attack.plant, first, attack.seconds)
            lines, ended, summary = self._report(sandbox, attack.collect, second, attack.seconds)
            self._judge_report(f"{first} to {second}", lines + planted, findings)
            if not ended and not summary.startswith(Status.BLOCKED_SYSCALL) and _TEST_DIED not in summary:
                findings.broken.append(
                    f"{first} to {second}: the collector did not come to its end ({summary})"
                )

    def _report(
        self,
        sandbox: Sandbox,
        text: str,
        position: str,
        seconds: float,
        skip: int = 0,
        last: int = prelude.NO_LAST,
    ) -> tuple[list[tuple[str, str, str]], bool, str]:
        """(reports, whether attack() came to its end, the verdict in words)."""
        lures = self._lures.values
        whole = prelude.whole_text(text, position, lures, skip, last)
        if position == "script":
            with ThreadPoolExecutor(1) as beside:
                result = _wait(beside.submit(sandbox.run, whole), seconds)
            said, summary = result.stdout, f"{result.status.value} {result.message[:200]}"
        elif position == "program":
            verdict = _wait(sandbox.submit(whole, prelude.JUDGED), seconds)
            said, summary = verdict.stdout, _short(verdict)
        else:
            tests: Tests = prelude.as_tests(text, lures, skip, last)
            verdict = _wait(sandbox.submit(prelude.BYSTANDER, tests), seconds)
            said, summary = verdict.tests[0].message, _short(verdict)
        lines = prelude.reports(said)
        return lines, any(kind == "end" for kind, _, _ in lines), summary

    def _judge_report(self, where: str, lines: list[tuple[str, str, str]], findings: _Findings) -> None:
        for kind, what, evidence in lines:
            if kind == "ESCAPED":
                findings.broken.append(f"{where}: {what}: {evidence}")
            elif kind == "fault":
                findings.faulty.append(f"{where}: {what}: {evidence}")

    def _at_rest(self, sandbox: Sandbox) -> set[int]:
        """The sandbox's processes with all its workers up, whatever the attack before did to them."""
        self._canary(sandbox)
        found = _pids()
        whole = 1 + _WORKER_PROCESSES * sum(each.workers for each in self._sandboxes.values())
        if sandbox.workers > 1 and len(found) < whole:
            # On a busy machine one worker was done with both programs before another was needed. It would come up during
            # the attack, and be taken for something that the attack left: so there is more to do than one can.
            self._canary(sandbox, 4)
            found = _pids()
        # A second worker may still be on its way up.
        deadline = time.monotonic() + (_SETTLE_S if sandbox.workers > 1 else 0)
        while len(found) < whole and time.monotonic() < deadline:
            time.sleep(0.05)
            found = _pids()
        return found

    # After.

    def _aftermath(self, sandbox: Sandbox, before: set[int], family: str, findings: _Findings) -> None:
        findings.broken += self._lures.touched()
        try:
            self._canary(sandbox)
        except SandboxError as error:
            findings.broken.append(f"the next program could not be judged: {error}")
        except Harmed as error:
            findings.broken.append(f"the next program was harmed: {error}")
        deadline = time.monotonic() + _SETTLE_S
        while len(_pids()) > len(before) and time.monotonic() < deadline:
            time.sleep(0.05)
        after = _pids()
        if len(after) > len(before):
            findings.broken.append(f"{len(after) - len(before)} processes more than before")
        # One that used up its budget is replaced; one that a program killed should have been out of its reach.
        if family in (EXIT, CROSS_PROGRAM, KERNEL) and not before <= after:
            findings.broken.append(f"{len(before - after)} of the worker's own processes died")

    def _canary(self, sandbox: Sandbox, each: int = 1) -> None:
        """A program that needs a bit of everything passes, sealed, with its output, in every worker."""
        words = [secrets.token_hex(8) for _ in range(sandbox.workers * each)]
        # All at once, and each a little slow where there are several: then every worker gets one.
        program = _CANARY if sandbox.workers == 1 else _CANARY + "\nimport time\ntime.sleep(0.3)\n"
        futures = [
            sandbox.submit(program, Asserts([f"assert f('{word}') == '{word[::-1]}'"])) for word in words
        ]
        for word, future in zip(words, futures, strict=True):
            verdict = _wait(future, 30)
            if not verdict.passed or not verdict.sealed or verdict.stdout != word + "\n":
                raise Harmed(f"{_short(verdict)}, output {verdict.stdout[:100]!r}")


_CANARY = """
import os, tempfile, threading

def f(word):
    print(word)
    with tempfile.TemporaryFile() as file:
        file.write(bytes(1 << 20))
    result = []
    thread = threading.Thread(target=lambda: result.append(word[::-1]))
    thread.start()
    thread.join()
    assert len(bytearray(32 << 20)) == 32 << 20
    return result[0]
"""


class _Watch:
    """Samples the sandbox's processes while an attack runs."""

    def __init__(self, inspect: bool) -> None:
        self._inspect = inspect
        self._stop = threading.Event()
        self.most_mb = 0.0
        self.most_threads = 0
        self.seen: dict[int, dict[str, str]] = {}

    def __enter__(self) -> _Watch:
        self._known = {process.pid for process in _family()}
        self._idle_mb, self._idle_threads = self._sample()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            mb, threads = self._sample()
            self.most_mb = max(self.most_mb, mb - self._idle_mb)
            self.most_threads = max(self.most_threads, threads - self._idle_threads)

    def _sample(self) -> tuple[float, int]:
        private, threads = 0, 0
        for process in _family():
            status = _status(process.pid)
            if status:
                private += sum(int(status.get(name, "0").split()[0]) for name in ("RssAnon", "RssShmem"))
                threads += int(status.get("Threads", "1"))
                if self._inspect and process.pid not in self._known:
                    self.seen[process.pid] = status
        return private / 1024, threads

    def rights(self) -> list[str]:
        """What is wrong with the rights of the processes that appeared."""
        found = []
        for pid, status in self.seen.items():
            if "0" in status["Uid"].split() or "0" in status["Gid"].split():
                found.append(
                    f"process {pid} has the kernel's uid or gid 0 ({status['Uid']}; {status['Gid']})"
                )
            if int(status["CapEff"], 16) or int(status["CapPrm"], 16) or int(status.get("CapAmb", "0"), 16):
                found.append(f"process {pid} holds capabilities {status['CapEff']}")
            if status.get("Seccomp", "2") != "2":
                found.append(f"process {pid} runs without a seccomp filter")
            if status.get("NoNewPrivs", "1") != "1":
                found.append(f"process {pid} may gain rights by exec")
        return found


def _status(pid: int) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    except OSError:
        return {}


def _family() -> list[psutil.Process]:
    try:
        return psutil.Process().children(recursive=True)
    except psutil.Error:
        return []


def _pids() -> set[int]:
    return {process.pid for process in _family()}


def _wait(future: Future[Any], seconds: float) -> Any:
    """The future's result. What our processes spend queueing for a processor does not count, within reason.

    Otherwise a busy machine would make an attack look as if it had got through.
    """
    left, rest = seconds, seconds * _MOST_PATIENCE
    at, queued = time.monotonic(), activity(os.getpid())[1]
    while True:
        try:
            return future.result(min(left, rest, 1.0))
        except FutureTimeout:
            now, queued_now = time.monotonic(), activity(os.getpid())[1]
            elapsed = now - at
            left -= elapsed - min(max(queued_now - queued, 0.0), elapsed)
            rest -= elapsed
            at, queued = now, queued_now
            if min(left, rest) <= 0:
                raise NoVerdict(f"no verdict within {seconds:.0f} s") from None


def _short(verdict: Verdict) -> str:
    first = next((test for test in verdict.tests if test.status is not Status.PASSED), None)
    return f"{verdict.status.value}{': ' + first.message[:160] if first and first.message else ''}"


def run(
    attacks: Iterable[Attack],
    isolation: str = "best",
    python: str | None = None,
    alone: bool = False,
    started: Callable[[Attack], None] = lambda attack: None,
    profile: str = "compute",
) -> Iterator[Outcome]:
    """Run attacks one after the other and yield what came of each.

    Args:
        attacks: from `acesandbox._check.ALL`.
        isolation: as for `Sandbox`.
        python: as for `Sandbox`.
        alone: this process lives in a pid namespace made for the purpose, so attacks may signal every process number.
        started: called before each attack, for progress.
        profile: as for `Sandbox`.

    Raises:
        IsolationUnavailable: the machine does not offer this tier.
    """
    with Bench(isolation, python, alone, profile) as bench:
        for attack in attacks:
            started(attack)
            yield bench.run(attack)
