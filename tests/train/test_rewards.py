"""The rule reward keeps its word: numbers for programs, None for what is not theirs, and it never ends a run."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy
import pytest

import acetrain
from acesandbox import Asserts, IsolationUnavailable, Limits, Sandbox, SandboxError
from acetrain import RuleReward, Score, _rewards, score_all
from acetrain._rewards import has_r1_form
from acetrain._scoring import (
    NO_CODE,
    UNJUDGED,
    UNREADABLE,
    SandboxJudge,
    Tally,
    completion_text,
    read_tests,
)
from tests.train.answers import HALF, HOSTILE, RIGHT, TESTS, WRONG, block

QUICK = Limits(cpu_s=0.1, program_cpu_s=0.2, load_cpu_s=0.2, idle_s=0.5)
# A test that looks into the program's own module, which can be judged in the program's process only.
UNSEALED = "import sys\nassert sys.modules[add.__module__].__dict__['add'](1, 2) == 3"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1, limits=QUICK) as made:
        yield made


def ask(reward: Any, completions: list[Any], tests: Any = None, **more: Any) -> list[float | None]:
    column = [json.dumps(TESTS)] * len(completions) if tests is None else tests
    return reward(["p"] * len(completions), completions, None, **{reward.tests_column: column}, **more)


# The numbers.


def test_binary_pays_for_all_tests_and_pass_rate_for_each(sandbox: Sandbox) -> None:
    answers = [RIGHT, HALF, WRONG]
    assert ask(RuleReward(sandbox=sandbox), answers) == [1.0, 0.0, 0.0]
    assert ask(RuleReward("pass_rate", sandbox=sandbox), answers) == [1.0, 0.5, 0.0]


def test_bonus_is_the_released_codes_half_point_for_a_full_pass(sandbox: Sandbox) -> None:
    reward = RuleReward("pass_rate", bonus=0.5, sandbox=sandbox)
    assert ask(reward, [RIGHT, HALF, WRONG]) == [1.5, 0.5, 0.0]


def test_tests_come_as_json_or_as_lists_or_as_arrays(sandbox: Sandbox) -> None:
    forms = [json.dumps(TESTS), TESTS, tuple(TESTS), numpy.array(TESTS)]
    assert ask(RuleReward(sandbox=sandbox), [RIGHT] * 4, forms) == [1.0] * 4


def test_answers_come_as_texts_or_as_messages(sandbox: Sandbox) -> None:
    forms = [
        RIGHT,
        [{"role": "assistant", "content": RIGHT}],
        [{"role": "assistant", "content": [{"type": "text", "text": RIGHT}]}],
        [{"role": "assistant", "content": WRONG}, {"role": "assistant", "content": RIGHT}],
    ]
    assert ask(RuleReward(sandbox=sandbox), forms) == [1.0] * 4
    assert completion_text([{"role": "user", "content": RIGHT}]) == completion_text(7) == ""


def test_tests_that_the_prompt_showed_do_not_count(sandbox: Sandbox) -> None:
    knows_two = block("def add(a, b):\n    return {(1, 2): 3, (2, 2): 4}[a, b]")
    assert ask(RuleReward("pass_rate", sandbox=sandbox), [knows_two]) == [0.5]
    assert ask(RuleReward("pass_rate", skip_shown=2, sandbox=sandbox), [knows_two]) == [0.0]
    by_column = RuleReward("pass_rate", skip_shown="n_shown", sandbox=sandbox)
    assert ask(by_column, [knows_two, knows_two], n_shown=[0, 2]) == [0.5, 0.0]
    with pytest.raises(KeyError, match="n_shown"):
        ask(by_column, [RIGHT])


def test_length_is_paid_from_soft_to_hard(sandbox: Sandbox) -> None:
    reward = RuleReward(overlong=(10, 20, 0.5), sandbox=sandbox)
    ids = [[0] * length for length in (10, 15, 20, 99)]
    assert reward(["p"] * 4, [RIGHT] * 4, ids, test_cases=[TESTS] * 4) == [1.0, 0.75, 0.5, 0.5]


def test_format_is_paid_beside_the_tests(sandbox: Sandbox) -> None:
    thought = "<think>easy</think>\n```python\ndef add(a, b):\n    return a + b\n```"
    reward = RuleReward(format_reward=0.25, sandbox=sandbox)
    assert ask(reward, [thought, RIGHT, thought.replace("a + b", "99")]) == [1.25, 1.0, 0.25]


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("<think>x</think>```python\ny\n```", True),
        ("  <think>x</think> so ```python\ny\n``` \n", True),
        ("<think></think>```python\n```", True),
        ("<think>x</think>```python\n``", False),
        ("<think>x```python\ny\n```", False),
        ("x</think>```python\ny\n```", False),
        ("<think>```python\ny\n```</think>", False),
        ("<think>x</think>```python\ny\n``` that is all", False),
        ("", False),
    ],
)
def test_r1_form(text: str, has: bool) -> None:
    assert has_r1_form(text) is has


def test_r1_form_is_read_in_linear_time() -> None:
    hostile = "<think>" + "</think>```python\n``` " * 50_000 + "x"
    started = time.process_time()
    assert not has_r1_form(hostile)
    assert time.process_time() - started < 0.5


def test_unsealed_tests_count_or_not_as_was_asked(sandbox: Sandbox) -> None:
    tests = [[UNSEALED]]
    verdict = sandbox.judge("def add(a, b):\n    return a + b", Asserts(tests[0]))
    assert verdict.passed and not verdict.sealed, "this test needs an unsealed one to say anything"
    assert ask(RuleReward(sandbox=sandbox), [RIGHT], tests) == [1.0]
    assert ask(RuleReward(sandbox=sandbox, unsealed="zero"), [RIGHT], tests) == [0.0]
    assert ask(RuleReward(sandbox=sandbox, unsealed="unknown"), [RIGHT], tests) == [None]
    assert ask(RuleReward(sandbox=sandbox, unsealed="unknown"), ["", RIGHT]) == [0.0, 1.0]
    # Nobody forges a failure: a program that did not pass is wrong, whatever it could have forged.
    tests = [[UNSEALED, TESTS[0]]] * 2
    assert ask(RuleReward(sandbox=sandbox, unsealed="unknown"), [WRONG, RIGHT], tests) == [0.0, None]
    shares = RuleReward("pass_rate", sandbox=sandbox, unsealed="unknown")
    assert ask(shares, [WRONG, RIGHT], tests) == [None, None]


def test_what_is_unknown_is_in_no_mean_of_the_log(sandbox: Sandbox) -> None:
    logged: dict[str, float] = {}
    reward = RuleReward(sandbox=sandbox, unsealed="unknown")
    tests = [[UNSEALED], TESTS]
    assert reward(["p"] * 2, [RIGHT, WRONG], test_cases=tests, log_metric=logged.__setitem__) == [None, 0.0]
    assert logged["rule_reward/pass_rate"] == logged["rule_reward/all_passed"] == 0.0
    assert logged["rule_reward/unknown"] == 0.5


# What is nobody's number.


@pytest.mark.parametrize(
    "tests",
    [
        None,
        "not JSON",
        "[" * 100_000,
        "{}",
        '"assert add(1, 2) == 3"',
        [],
        "[]",
        [1, 2],
        {"a": 1},
        b"[]",
        ["assert add(1, 2) == 3", "assert add(1, 2 =="],
        ["assert add(1, 2) == '\ud800'"],
        ["x" * (9 << 20)],
    ],
    ids=lambda tests: repr(tests)[:30],
)
def test_bad_tests_are_none_and_their_neighbours_are_judged(sandbox: Sandbox, tests: object) -> None:
    logged: dict[str, float] = {}
    rewards = ask(
        RuleReward(sandbox=sandbox),
        [RIGHT, RIGHT, WRONG],
        [TESTS, tests, TESTS],
        log_metric=logged.__setitem__,
    )
    assert rewards == [1.0, None, 0.0]
    assert logged["rule_reward/bad_tests"] == logged["rule_reward/unknown"] == pytest.approx(1 / 3)
    assert logged["rule_reward/pass_rate"] == 0.5, "what is unknown must be in no mean"


def test_a_row_without_a_test_left_is_a_bad_row(sandbox: Sandbox) -> None:
    reward = RuleReward(skip_shown=1, sandbox=sandbox)
    assert ask(reward, [RIGHT, RIGHT], [TESTS[:1], TESTS]) == [None, 1.0]


def test_a_test_that_raises_is_not_passed_whoever_raised(sandbox: Sandbox) -> None:
    # A program must not be able to choose None over 0.0.
    assert ask(RuleReward("pass_rate", sandbox=sandbox), [RIGHT], [[TESTS[0], "assert nobody(1) == 2"]]) == [
        0.5
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_gets_zero_and_its_neighbours_their_due(sandbox: Sandbox, name: str) -> None:
    assert ask(RuleReward("pass_rate", sandbox=sandbox), [RIGHT, HOSTILE[name], HALF]) == [1.0, 0.0, 0.5]


def test_a_hanging_answer_costs_its_limit_and_says_so(sandbox: Sandbox) -> None:
    logged: dict[str, float] = {}
    hanging = [block("while True:\n    pass"), block("def add(a, b):\n    while True:\n        pass")]
    assert ask(RuleReward(sandbox=sandbox), [*hanging, RIGHT], log_metric=logged.__setitem__) == [
        0.0,
        0.0,
        1.0,
    ]
    assert logged["rule_reward/timeout"] == pytest.approx(2 / 3)
    assert 0.3 < logged["rule_reward/cpu_seconds"] < 1.0, "loading counts too"


def test_statuses_tell_programs_from_answers_without_one(sandbox: Sandbox) -> None:
    answers = ["", block("x = '\0'"), WRONG, RIGHT]
    scores = score_all(sandbox, answers, [TESTS] * 4)
    assert [score.status for score in scores] == [NO_CODE, UNREADABLE, "failed", "passed"]
    assert [score.tests for score in scores] == [4] * 4
    assert Tally.of(scores).sealed_share == 1.0


class _Failing(Sandbox):
    """Fails at the programs that hold a word, as a worker that dies again and again makes a sandbox fail."""

    def judge_many(self, jobs: Any, **options: Any) -> Any:
        for program, tests in jobs:
            try:
                yield self.judge(program, tests)
            except SandboxError as error:
                yield error

    def judge(self, program: str, tests: Any, **options: Any) -> Any:
        if "99" in program:
            raise SandboxError("no worker lives long enough")
        return super().judge(program, tests, **options)


class _FailingOnce(Sandbox):
    """Loses every program of a stream, as a sandbox does whose workers were all killed; judges the next ones."""

    def judge_many(self, jobs: Any, **options: Any) -> Any:
        for _ in jobs:
            yield SandboxError("the workers were killed")


def test_what_a_sandbox_lost_is_judged_a_second_time() -> None:
    job = ("def add(a, b):\n    return a + b", Asserts(TESTS))
    with _FailingOnce(workers=1, limits=QUICK) as failing:
        assert [score.status for score in SandboxJudge(failing).scores([job])] == ["passed"]
        assert ask(RuleReward(sandbox=failing), [RIGHT, WRONG, ""]) == [1.0, 0.0, 0.0]


def test_what_we_could_not_judge_is_none() -> None:
    with _Failing(workers=1, limits=QUICK) as failing:
        reward = RuleReward(sandbox=failing)
        assert ask(reward, [RIGHT, WRONG, ""]) == [1.0, None, 0.0]
        [score] = reward.scores([WRONG], [TESTS])
        assert score.status == UNJUDGED and "no worker lives" in score.why


class Clock:
    """The time as a reward sees it."""

    perf_counter = staticmethod(time.perf_counter)

    def __init__(self) -> None:
        self.now = 1e6

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(_rewards, "time", made)
    return made


@pytest.fixture(scope="module")
def failing() -> Iterator[Sandbox]:
    with _Failing(workers=1, limits=QUICK) as made:
        yield made


def lose(reward: RuleReward, clock: Clock, programs: int, after_s: float) -> None:
    """A call, so many seconds after the last, in which every program is lost."""
    clock.now += after_s
    assert ask(reward, [WRONG] * programs) == [None] * programs


def test_calls_with_many_completions_give_up_after_three_and_a_minute(failing: Sandbox, clock: Clock) -> None:
    # As TRL calls: once per step.
    reward = RuleReward(sandbox=failing)
    for after_s in (0, 25, 25):
        lose(reward, clock, 64, after_s)
    with pytest.raises(SandboxError, match=r"4 calls in a row \(256 programs in 75 s\).*no worker lives"):
        lose(reward, clock, 64, 25)
    reward = RuleReward(sandbox=failing)
    lose(reward, clock, 64, 0)
    lose(reward, clock, 64, 600)  # two calls are not enough, however long they take
    with pytest.raises(SandboxError, match="3 calls in a row"):
        lose(reward, clock, 64, 0)


def test_calls_with_one_completion_give_up_after_thirty_and_a_minute(failing: Sandbox, clock: Clock) -> None:
    # As verl's naive manager and OpenRLHF call: once per completion, many at the same time.
    reward = RuleReward(sandbox=failing)
    for _ in range(29):
        lose(reward, clock, 1, 10)
    with pytest.raises(SandboxError, match="30 calls in a row"):
        lose(reward, clock, 1, 10)
    reward = RuleReward(sandbox=failing)
    for _ in range(60):  # all that were asked for when a judge died
        lose(reward, clock, 1, 0.9)
    with pytest.raises(SandboxError, match="61 calls in a row"):
        lose(reward, clock, 1, 7)


def test_a_program_that_is_judged_begins_the_count_anew(failing: Sandbox, clock: Clock) -> None:
    reward = RuleReward(sandbox=failing)
    for _ in range(3):
        for _ in range(2):
            lose(reward, clock, 64, 100)
        clock.now += 100
        assert ask(reward, [""]) == [0.0]  # says nothing about the judge
        assert ask(reward, [RIGHT, WRONG]) == [1.0, None]
    for _ in range(2):
        lose(reward, clock, 64, 100)
    assert ask(reward, [""]) == [0.0]
    with pytest.raises(SandboxError, match="3 calls in a row"):
        lose(reward, clock, 64, 100)


def test_a_machine_that_cannot_judge_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reward = RuleReward()
    monkeypatch.setattr("sys.platform", "plan9")
    with pytest.raises(IsolationUnavailable):
        ask(reward, [RIGHT])


def test_a_worker_killed_in_the_middle_costs_no_completion() -> None:
    with Sandbox(workers=1, limits=QUICK) as own:
        reward = RuleReward(sandbox=own)
        ask(reward, [RIGHT])
        slow = block("def add(a, b):\n    while True:\n        pass")
        found: list[Any] = []
        call = threading.Thread(
            target=lambda: found.extend(ask(reward, [RIGHT, slow, RIGHT, WRONG, slow, RIGHT]))
        )
        call.start()
        time.sleep(0.15)
        for pid in _children():
            os.kill(pid, signal.SIGKILL)
        call.join(60)
        assert found == [1.0, 0.0, 1.0, 0.0, 0.0, 1.0]


def _children() -> list[int]:
    """Process ids of our worker processes."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        told = {int(word) for word in file.read().split()}
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children") as file:
            told |= {int(word) for word in file.read().split()}
    return [pid for pid in told if "acejail" in _name(pid)]


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return str(file.read(), "utf-8", "replace")
    except OSError:
        return ""


# How it lives in a trainer.


def test_an_interrupt_in_the_middle_of_a_step_leaves_a_reward_that_works() -> None:
    others = set(_children())
    reward = RuleReward(limits=QUICK, workers=2)
    slow = [block(f"def add(a, b):\n    while True:\n        pass  # {n}") for n in range(16)]
    try:
        assert ask(reward, [RIGHT]) == [1.0]
        for _ in range(2):
            timer = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                ask(reward, slow)
            timer.join()
            assert ask(reward, [RIGHT, HALF, WRONG]) == [1.0, 0.0, 0.0]
    finally:
        reward.close()
    assert set(_children()) <= others


def test_sixty_threads_share_one_reward() -> None:
    reward = RuleReward("pass_rate", limits=QUICK, workers=2)
    found: list[list[float | None]] = []
    try:
        threads = [
            threading.Thread(target=lambda: found.append(ask(reward, [RIGHT, HALF, WRONG, ""])))
            for _ in range(60)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        reward.close()
    assert found == [[1.0, 0.5, 0.0, 0.0]] * 60


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_child_that_ends_like_any_program_takes_nothing_along() -> None:
    # A data loader's worker is forked while the reward is open, and ends: its copies are its own.
    code = (
        "import os, sys\n"
        "from acetrain import RuleReward\n"
        f"tests, right, wrong = {TESTS!r}, {RIGHT!r}, {WRONG!r}\n"
        "reward = RuleReward(workers=1)\n"
        "asked = {'test_cases': [tests, tests]}\n"
        "assert reward(['p'] * 2, [right, wrong], **asked) == [1.0, 0.0]\n"
        "for turn in range(3):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        if turn == 2: del reward\n"
        "        sys.exit(0)\n"
        "    assert os.waitpid(pid, 0)[1] == 0\n"
        "    assert reward(['p'] * 2, [right, wrong], **asked) == [1.0, 0.0]\n"
        "print('done')\n"
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert run.stdout == "done\n", run.stderr


def test_the_log_has_the_same_names_in_every_call(sandbox: Sandbox) -> None:
    reward = RuleReward(sandbox=sandbox, name="tests")
    names: list[set[str]] = []
    for answers in ([RIGHT], ["", WRONG, block("while True: pass")]):
        logged: dict[str, float] = {}
        extra: dict[str, list[Any]] = {}
        ask(reward, answers, log_metric=logged.__setitem__, log_extra=extra.__setitem__)
        names.append(set(logged))
        assert len(extra["tests/status"]) == len(extra["tests/pass_rate"]) == len(answers)
        assert logged["tests/seconds"] > 0
    assert names[0] == names[1]


def test_the_log_says_what_share_of_completions_ended_how(sandbox: Sandbox) -> None:
    raising = block("def add(a, b):\n    raise ValueError")
    answers = (
        [RIGHT] + [WRONG] * 5 + [raising] * 4 + [block("def add(a, b)")] * 3 + [""] * 2 + [HOSTILE["NUL"]]
    )
    tests = [[*TESTS, UNSEALED]] + [
        TESTS
    ] * 15  # of 5 + 5 * 4 + 4 * 4 + 3 * 4 tests that were run, one unsealed
    logged: dict[str, float] = {}
    assert (
        ask(RuleReward(sandbox=sandbox), answers, tests, log_metric=logged.__setitem__) == [1.0] + [0.0] * 15
    )
    shares = {"all_passed": 1, "failed": 5, "error": 4, "syntax_error": 3, "no_code": 2, "unreadable": 1}
    assert {name: 16 * logged[f"rule_reward/{name}"] for name in shares} == shares
    assert logged["rule_reward/sealed"] == pytest.approx(52 / 53)
    logged.clear()
    ask(RuleReward(sandbox=sandbox), [RIGHT, WRONG], [[UNSEALED], TESTS], log_metric=logged.__setitem__)
    assert logged["rule_reward/sealed"] == pytest.approx(4 / 5) and logged["rule_reward/all_passed"] == 0.5


def test_the_asynchronous_form_gives_the_same_and_does_not_block_the_loop(sandbox: Sandbox) -> None:
    reward = RuleReward(sandbox=sandbox).asynchronous()

    async def both() -> tuple[list[float | None], int]:
        ticks = 0
        call = asyncio.ensure_future(reward(["p"], [block("while True: pass")], test_cases=[TESTS]))
        while not call.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return await call, ticks

    rewards, ticks = asyncio.run(both())
    assert rewards == [0.0] and ticks > 5
    assert reward.__name__ == "rule_reward"


def test_a_pickled_reward_is_the_same_reward() -> None:
    reward = RuleReward("pass_rate", bonus=0.5, skip_shown=1, limits=QUICK, workers=1, name="tests")
    try:
        expected = ask(reward, [RIGHT, HALF])  # it is open by now
        copy = pickle.loads(pickle.dumps(reward))
        assert copy.__name__ == "tests" and copy._judge is None
        assert ask(copy, [RIGHT, HALF]) == expected
        copy.close()
    finally:
        reward.close()


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_child_of_a_fork_judges_too_even_while_the_parent_does() -> None:
    reward = RuleReward(limits=QUICK, workers=1)
    busy = threading.Thread(target=ask, args=(reward, [WRONG] * 50))
    try:
        ask(reward, [RIGHT])
        busy.start()
        with reward._lock:  # as another thread might hold it at this very moment
            pid = os.fork()
            if pid == 0:
                signal.alarm(60)  # a child that waits for ever must not outlive the test
                code = 1
                try:
                    code = 0 if ask(reward, [RIGHT, WRONG]) == [1.0, 0.0] else 2
                    reward.close()
                finally:
                    os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        busy.join()
        assert ask(reward, [RIGHT]) == [1.0]
    finally:
        reward.close()


def test_closing_is_no_end() -> None:
    reward = RuleReward(limits=QUICK, workers=1)
    assert ask(reward, [RIGHT]) == [1.0]
    reward.close()
    reward.close()
    assert ask(reward, [RIGHT]) == [1.0]
    reward.close()


def test_fail_fast_gives_the_same_binary_rewards() -> None:
    reward = RuleReward(limits=QUICK, workers=1, fail_fast=True)
    assert ask(reward, [RIGHT, HALF, WRONG]) == [1.0, 0.0, 0.0]
    reward.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "all"}, "binary"),
        ({"unsealed": "no"}, "unsealed"),
        ({"overlong": (5, 5, 1.0)}, "soft < hard"),
        ({"skip_shown": -1}, "skip_shown"),
        ({"skip_shown": None}, "skip_shown"),
        ({"skip_shown": True}, "skip_shown"),
        ({"bonus": float("nan")}, "bonus"),
        ({"format_reward": "a"}, "format_reward"),
        ({"overlong": (5, 6, float("inf"))}, "overlong"),
        ({"mode": "pass_rate", "fail_fast": True}, "fail_fast"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RuleReward(**arguments)


def test_a_missing_column_is_named(sandbox: Sandbox) -> None:
    with pytest.raises(KeyError, match=r"'tests'.*question"):
        RuleReward(tests_column="tests", sandbox=sandbox)(["p"], [RIGHT], question=["q"])


def test_a_bad_number_of_shown_tests_is_bad_wherever_it_stands(sandbox: Sandbox) -> None:
    reward = RuleReward("pass_rate", sandbox=sandbox, skip_shown="k")
    for shown in ([1, "1"], ["1", 1]):
        paid = ask(reward, [RIGHT, RIGHT], [TESTS, TESTS], k=shown)
        assert paid == [None if isinstance(one, str) else 1.0 for one in shown]


def test_scores_want_the_numbers_that_a_call_takes_from_a_column(sandbox: Sandbox) -> None:
    reward = RuleReward(sandbox=sandbox, skip_shown="k")
    with pytest.raises(ValueError, match="column 'k'"):
        reward.scores([RIGHT], [TESTS])
    assert [score.tests for score in reward.scores([RIGHT], [TESTS], [3])] == [1]


def test_unusable_tests_are_said(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    assert ask(RuleReward(sandbox=sandbox), [RIGHT], ["assert add(1, 2) == 3"]) == [None]
    assert "1 of 1 completions have unusable tests" in caplog.text


def test_a_wrong_number_of_tests_is_the_callers_fault(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="2 completions, but tests for 1"):
        score_all(sandbox, [RIGHT, RIGHT], [TESTS])


def test_public_names() -> None:
    assert sorted(acetrain.__all__) == [
        "AsyncRuleReward",
        "NodeJudge",
        "ReinforcePPConfig",
        "ReinforcePPTrainer",
        "RewardModel",
        "RuleReward",
        "Score",
        "score_all",
    ]
    assert all(getattr(acetrain, name) for name in acetrain.__all__)
    assert Score("passed", 1, 1).all_passed and not Score("passed").all_passed
    assert read_tests('["a"]') == ["a"]
