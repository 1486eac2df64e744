"""One judge per node: many processes share it, it comes on demand and leaves with its last user."""

from __future__ import annotations

import errno
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acesandbox import Asserts, IsolationUnavailable, Limits, Sandbox, SandboxError
from acetrain import NodeJudge, RuleReward, Score, _node
from acetrain._node import _receive, _send
from tests.train.answers import RIGHT, TESTS, WRONG, block

QUICK = Limits(cpu_s=0.1, program_cpu_s=0.2, load_cpu_s=0.2, idle_s=0.5)
PROGRAM = "def add(a, b):\n    return a + b\n"
HANGING = "def add(a, b):\n    while True:\n        pass\n"
JOB = (PROGRAM, Asserts(TESTS))


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[Callable[..., NodeJudge]]:
    """Makes users of one judge, which is gone at the end of the test."""
    made: list[NodeJudge] = []
    place = tmp_path / "judge"

    def user(**options: Any) -> NodeJudge:
        given = {"limits": QUICK, "workers": 1, "linger_s": 0.4, "directory": place, **options}
        made.append(NodeJudge(**given))
        return made[-1]

    yield user
    for one in made:
        one.close()
    until(lambda: not list(place.glob("*.sock")), "a judge stayed after its last user")


def until(come: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not come():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_users_share_one_judge_and_get_their_own_scores(judge: Callable[..., NodeJudge]) -> None:
    first, second = judge(), judge()
    assert first.pid() == second.pid() != os.getpid()
    results: dict[int, list[Score]] = {}

    def ask(number: int) -> None:
        jobs = [(f"def add(a, b):\n    return a + b + {n % (number + 2)}", JOB[1]) for n in range(30)]
        results[number] = list((first, second)[number % 2].scores(jobs))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(6):
        assert [score.all_passed for score in results[number]] == [n % (number + 2) == 0 for n in range(30)]


def test_it_says_what_a_sandbox_of_ones_own_says(judge: Callable[..., NodeJudge]) -> None:
    jobs = [
        JOB,
        (HANGING, JOB[1]),
        ("def add", JOB[1]),
        (PROGRAM, Asserts(["assert add(1, 2) == 3", "assert x("])),
    ]
    own = RuleReward(limits=QUICK, workers=1)
    texts = [list(tests._texts()) for _, tests in jobs]
    expected = own.scores([block(program) for program, _ in jobs], texts)
    own.close()
    found = list(judge().scores(jobs))
    assert [(s.status, s.passed, s.tests, s.sealed) for s in found] == [
        (s.status, s.passed, s.tests, s.sealed) for s in expected
    ]
    assert found[1].cpu_s > 0.1 and found[3].why == expected[3].why


def test_the_judge_leaves_with_its_last_user(judge: Callable[..., NodeJudge]) -> None:
    first, second = judge(), judge()
    pid = first.pid()
    workers = children_of(pid)
    second.open()
    first.close()
    time.sleep(1.2)  # three times as long as it lingers
    assert second.pid() == pid, "it left a user behind"
    second.close()
    until(lambda: gone(pid) and all(map(gone, workers)), "the judge or its workers stayed")
    assert workers
    assert first.socket_path.parent.stat().st_mode & 0o777 == 0o700
    assert [path.suffix for path in first.socket_path.parent.iterdir()] == [".lock"]


def test_a_killed_user_is_no_user(judge: Callable[..., NodeJudge]) -> None:
    mine = judge()
    pid = mine.pid()
    code = (
        "import sys, time, pickle; user = pickle.loads(bytes.fromhex(sys.argv[1]));"
        "print(user.pid(), flush=True); time.sleep(60)"
    )
    words = [sys.executable, "-c", code, pickle.dumps(mine).hex()]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert int(other.stdout.readline()) == pid, "a pickled user finds the same judge"
        mine.close()
        time.sleep(1.0)
        assert not gone(pid)
        other.kill()
    until(lambda: gone(pid), "the judge stayed after its last user was killed")


def children_of(pid: int) -> list[int]:
    found: list[int] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            found += map(int, file.read().split())
    return found


def test_a_killed_judge_is_replaced_in_the_middle_of_an_answer(judge: Callable[..., NodeJudge]) -> None:
    user = judge()
    pid = user.pid()
    scores: list[Score] = []
    slow = [(HANGING + f"# {n}", JOB[1]) for n in range(8)]
    asking = threading.Thread(target=lambda: scores.extend(user.scores([JOB, *slow, JOB])))
    asking.start()
    time.sleep(0.3)
    os.kill(pid, signal.SIGKILL)
    asking.join(60)
    assert [score.status for score in scores] == ["passed", *["cpu_timeout"] * 8, "passed"]
    assert user.pid() != pid


def test_a_judge_that_is_lost_twice_is_our_fault(
    judge: Callable[..., NodeJudge], monkeypatch: pytest.MonkeyPatch
) -> None:
    user = judge().open()

    def broken(jobs: Any) -> Iterator[Score]:
        yield Score("passed", 1, 1)
        raise ConnectionError("gone")

    monkeypatch.setattr(user, "_ask", broken)
    scores = list(user.scores([JOB] * 4))
    assert [score.status for score in scores] == ["passed", "passed", "unjudged", "unjudged"]
    assert "lost twice" in scores[-1].why


def test_a_judge_that_takes_its_time_to_die_is_one_loss(
    judge: Callable[..., NodeJudge], monkeypatch: pytest.MonkeyPatch
) -> None:
    user = judge().open()
    asked = []

    def dying(jobs: Any) -> Iterator[Score]:
        asked.append(len(jobs))
        if len(asked) <= 6:
            raise ConnectionResetError("reset by peer")
        return (Score("passed", 1, 1) for _ in jobs)

    monkeypatch.setattr(user, "_ask", dying)
    assert [score.status for score in user.scores([JOB] * 3)] == ["passed"] * 3
    assert asked == [3] * 7


def test_starting_at_the_same_time_starts_one(judge: Callable[..., NodeJudge]) -> None:
    users = [judge() for _ in range(8)]
    pids: list[int] = []
    threads = [threading.Thread(target=lambda user=user: pids.append(user.pid())) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 8 and len(set(pids)) == 1


def test_other_options_are_another_judge(judge: Callable[..., NodeJudge]) -> None:
    one, other = judge(), judge(fail_fast=True)
    assert one.pid() != other.pid()
    [score] = other.scores([("def add(a, b):\n    return 99", JOB[1])])
    assert score.passed == 0


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_makes_its_own_connection(judge: Callable[..., NodeJudge]) -> None:
    user = judge()
    reward = RuleReward(limits=QUICK, workers=1)
    reward._judge = user
    asked = {"test_cases": [TESTS, TESTS]}
    assert reward(["p"] * 2, [RIGHT, WRONG], **asked) == [1.0, 0.0]
    children = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)  # a child that waits for ever must not outlive the test
            code = 1
            try:
                assert not user._idle, "two processes would read each other's scores"
                code = (
                    0
                    if [reward(["p"] * 2, [RIGHT, WRONG], **asked) for _ in range(5)] == [[1.0, 0.0]] * 5
                    else 2
                )
            finally:
                os._exit(code)
        children.append(pid)
    for _ in range(5):
        assert reward(["p"] * 2, [WRONG, RIGHT], **asked) == [0.0, 1.0]
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]


def test_a_user_that_goes_takes_its_programs_along(judge: Callable[..., NodeJudge]) -> None:
    user = judge(limits=QUICK.replace(cpu_s=0.05, program_cpu_s=0.05))
    # Each with tests of its own: programs of one problem are handed to a worker together, and then it has them.
    slow = [(HANGING, Asserts([*TESTS, f"assert add(0, {n}) == {n}"])) for n in range(400)]
    asking = user.scores([JOB, *slow])
    next(asking)
    asking.close()  # 400 x 0.06 s of CPU are not wanted any longer: more than a test may take
    started = time.monotonic()
    assert next(iter(user.scores([JOB]))).all_passed
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "said", [b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\5{}", b"\0\0\0\1x", b'\0\0\0\x0f{"problems": 1}']
)
def test_nonsense_at_the_socket_harms_nobody(judge: Callable[..., NodeJudge], said: bytes) -> None:
    user = judge()
    pid = user.pid()
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(user.socket_path))
        stranger.sendall(said)
        stranger.shutdown(socket.SHUT_WR)
        stranger.settimeout(10)
        while stranger.recv(100):
            pass
    assert next(iter(user.scores([JOB]))).all_passed and user.pid() == pid


def test_frames_keep_what_they_hold() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        _send(ours, {"text": "\ud800 ä \0"})
        assert _receive(theirs) == {"text": "\ud800 ä \0"}
        ours.close()
        assert _receive(theirs) is None


def test_long_programs_go_in_several_requests(
    judge: Callable[..., NodeJudge], monkeypatch: pytest.MonkeyPatch
) -> None:
    user = judge()
    asked: list[int] = []
    ask = user._ask

    def counted(jobs: Any) -> Iterator[Score]:
        asked.append(len(jobs))
        return ask(jobs)

    monkeypatch.setattr(user, "_ask", counted)
    monkeypatch.setattr("acetrain._node.REQUEST_CHARS", 2000)
    other = Asserts([*TESTS, "assert add(5, 5) == 10"])
    jobs = [
        (f"def add(a, b):\n    return a + b + {n % 2}\n#{'x' * 300 * (n % 5)}", JOB[1] if n < 10 else other)
        for n in range(20)
    ]
    assert [score.all_passed for score in user.scores(jobs)] == [n % 2 == 0 for n in range(20)]
    assert len(asked) > 3 and sum(asked) == 20
    asked.clear()
    assert list(user.scores([])) == [] and asked == []
    big = [("#" + "y" * 3000, JOB[1])] * 2
    assert [score.passed for score in user.scores(big)] == [0, 0] and asked == [1, 1]


def test_a_judge_without_a_free_descriptor_serves_those_it_has(judge: Callable[..., NodeJudge]) -> None:
    user = judge(linger_s=5.0)
    pid = user.pid()
    used = len(os.listdir(f"/proc/{pid}/fd"))
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 3, hard))
    strangers = []
    try:
        for _ in range(12):
            strangers.append(socket.socket(socket.AF_UNIX))
            strangers[-1].connect(str(user.socket_path))
        time.sleep(1.0)  # it has tried to let them all in
        assert next(iter(user.scores([JOB]))).all_passed and not gone(pid)
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        for one in strangers:
            one.close()
    assert next(iter(user.scores([JOB]))).all_passed and user.pid() == pid


def test_sixty_threads_and_many_processes_share_one_judge(judge: Callable[..., NodeJudge]) -> None:
    user = judge()
    pid = user.pid()
    code = (
        "import pickle, sys, threading\n"
        "from acesandbox import Asserts\n"
        "user, tests = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "jobs = [(f'def add(a, b):\\n    return a + b + {n % 3}', Asserts(tests)) for n in range(6)]\n"
        "wrong = []\n"
        "def ask():\n"
        "    said = [score.all_passed for score in user.scores(jobs)]\n"
        "    if said != [n % 3 == 0 for n in range(6)]: wrong.append(said)\n"
        "threads = [threading.Thread(target=ask) for _ in range(15)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "assert not wrong, wrong[0]\n"
        "assert len(user._idle) <= 8\n"
        "print(user.pid())\n"
    )
    words = [sys.executable, "-c", code, pickle.dumps((user, TESTS)).hex()]
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert {int(text) for text in said} == {pid}


def test_what_lies_where_the_socket_should_be_is_no_judge(judge: Callable[..., NodeJudge]) -> None:
    user = judge()
    path = user.socket_path
    path.write_text("a file")  # connecting is refused, as it is where a judge was killed
    assert next(iter(user.scores([JOB]))).all_passed
    os.kill(user.pid(), signal.SIGKILL)
    assert path.is_socket()
    user.close()
    assert next(iter(user.scores([JOB]))).all_passed, "a dead judge's socket is in nobody's way"


def test_a_runtime_directory_that_is_not_there_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    own = f"acetrain-{os.getuid()}"
    with tempfile.TemporaryDirectory() as short:  # a socket's address is a hundred bytes at most
        place = Path(short)
        monkeypatch.delenv("ACETRAIN_JUDGE_DIR", raising=False)
        monkeypatch.setattr("tempfile.tempdir", short)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(place / "missing"))
        assert NodeJudge().socket_path.parent == place / own
        (place / "run").mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(place / "run"))
        assert NodeJudge().socket_path.parent == place / "run" / own
        monkeypatch.setenv("ACETRAIN_JUDGE_DIR", str(place / "missing" / "judge"))
        with pytest.raises(SandboxError, match=r"missing/judge cannot hold .* in ACETRAIN_JUDGE_DIR"):
            NodeJudge().open()


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "judge"
    place.mkdir(mode=0o700)
    if os.getuid() == 0:
        os.chown(place, 65534, 65534)
    else:  # an ordinary user cannot give one away: it becomes another user instead
        monkeypatch.setattr(os, "getuid", lambda: 65534)
    with pytest.raises(SandboxError, match="directory of this user's alone"):
        NodeJudge(directory=place).open()


def test_a_full_disk_is_our_fault_and_says_so(
    judge: Callable[..., NodeJudge], monkeypatch: pytest.MonkeyPatch
) -> None:
    user = judge()
    place = user.socket_path.parent

    def full(path: Path) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr("acetrain._node._locked", full)
        with pytest.raises(SandboxError, match="No space left"):
            user.open()
        assert [score.status for score in user.scores([JOB])] == ["unjudged"]
    # The judge's own log on a full disk: it starts all the same.
    user.socket_path.with_suffix(".log").symlink_to("/dev/full")
    assert next(iter(user.scores([JOB]))).all_passed and place.is_dir()


def test_an_interrupt_in_the_middle_leaves_the_judge_for_the_next_call(
    judge: Callable[..., NodeJudge],
) -> None:
    user = judge()
    pid = user.pid()
    slow = [(HANGING + f"# {n}", JOB[1]) for n in range(12)]
    for _ in range(2):
        timer = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            list(user.scores(slow))
        timer.join()
        assert next(iter(user.scores([JOB]))).all_passed
    assert user.pid() == pid


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(SandboxError, match="0700"):
        NodeJudge(directory=tmp_path).open()
    link = tmp_path / "link"
    (tmp_path / "real").mkdir(mode=0o700)
    link.symlink_to(tmp_path / "real")
    with pytest.raises(SandboxError, match="0700"):
        NodeJudge(directory=link).open()


def test_a_machine_that_cannot_judge_says_so_through_the_socket(
    judge: Callable[..., NodeJudge], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The judge process is told that it runs on another system.
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.platform = 'plan9'\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(IsolationUnavailable, match="plan9"):
        judge().open()


def test_a_judge_that_cannot_start_says_why(
    judge: Callable[..., NodeJudge], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SandboxError, match="did not start"):
        judge().open()


class Slow:
    """In the place of a sandbox's judge: every program passes, and takes its time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def scores(self, jobs: Any) -> Iterator[Score]:
        for _ in jobs:
            time.sleep(self.seconds)
            yield Score("passed", 1, 1)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[..., tuple[threading.Thread, socket.socket]]]:
    """Runs the judge's side in a thread; gives that, and a user's connection."""
    ends: list[tuple[threading.Thread, socket.socket]] = []

    def run(judge: Any = None) -> tuple[threading.Thread, socket.socket]:
        path = tmp_path / "judge.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        made = _node._Service(Sandbox(workers=1), listener, path, 0.2)
        made._judge = judge or made._judge
        thread = threading.Thread(target=made.run)
        user = socket.socket(socket.AF_UNIX)
        ends.append((thread, user))
        user.settimeout(10)
        user.connect(str(path))
        thread.start()
        return thread, user

    yield run
    for thread, user in ends:
        user.close()
        thread.join(30)
        assert not thread.is_alive(), "the judge stayed after its last user"


def test_a_judge_that_has_nothing_to_do_for_long_leaves_users_that_stay(
    service: Callable[..., tuple[threading.Thread, socket.socket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_node, "IDLE_S", 1.5)
    thread, user = service()
    thread.join(0.8)
    assert thread.is_alive(), "a user that has nothing to ask right now is a user"
    thread.join(20)
    assert not thread.is_alive(), "an idle user keeps the judge for ever"
    assert not Path(user.getpeername()).exists()


def test_a_judge_at_work_gives_signs_of_life_and_does_not_count_as_idle(
    service: Callable[..., tuple[threading.Thread, socket.socket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("ALIVE_S", 0.3), ("IDLE_S", 0.2), ("BATCH_S", 0.1)):
        monkeypatch.setattr(_node, name, seconds)
    thread, user = service(Slow(1.0))
    _send(user, {"problems": [TESTS], "programs": [[PROGRAM, 0], [PROGRAM, 0]]})
    frames = []
    while not frames or not frames[-1]["end"]:
        frame = _receive(user)
        assert frame is not None
        assert thread.is_alive() or frame["end"], "the judge left in the middle of its work"
        frames.append(frame)
    scores = [Score(*values) for frame in frames for values in frame["scores"]]
    assert [score.status for score in scores] == ["passed"] * 2
    first = next(place for place, frame in enumerate(frames) if frame["scores"])
    assert 1 <= first <= 4, "one about every 0.3 s of the second before the first score"


def test_the_signs_of_life_come_long_before_a_user_gives_up() -> None:
    assert _node.ALIVE_S + _node.BATCH_S < _node.SILENCE_S / 4


def test_a_judge_and_its_users_refuse_another_users_other_end(
    service: Callable[..., tuple[threading.Thread, socket.socket]],
    judge: Callable[..., NodeJudge],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What the kernel says of the other end. That it says so of another user's is the kernel's business.
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert _node._peer(ours) == (os.getpid(), os.getuid())
    mine = judge().open()
    mine.close()
    monkeypatch.setattr(_node, "_peer", lambda connection: (1, os.getuid() + 1))
    _, stranger = service()
    assert stranger.recv(1) == b"", "a stranger was let in"
    with pytest.raises(SandboxError, match=r"another user listens at .*\.sock"):
        judge().open()


def test_the_environment_shares_the_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACETRAIN_SHARED_JUDGE", "1")
    monkeypatch.setenv("ACETRAIN_JUDGE_DIR", str(tmp_path / "judge"))
    reward = RuleReward(limits=QUICK, workers=1)
    assert reward(["p"], [RIGHT], test_cases=[TESTS]) == [1.0]
    assert isinstance(reward._judge, NodeJudge)
    os.kill(reward._judge.pid(), signal.SIGKILL)  # rather than wait until it has lingered
    reward.close()
    monkeypatch.setenv("ACETRAIN_SHARED_JUDGE", "yes")
    with pytest.raises(ValueError, match="ACETRAIN_SHARED_JUDGE"):
        RuleReward()


def test_the_judge_process_loads_no_trainer(judge: Callable[..., NodeJudge]) -> None:
    with open(f"/proc/{judge().pid()}/maps") as file:
        maps = file.read()
    assert "python" in maps and "torch" not in maps and "numpy" not in maps


def test_a_directory_that_is_named_from_here_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACETRAIN_JUDGE_DIR", "judge")
    assert _node._place(None) == tmp_path / "judge"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ACETRAIN_JUDGE_DIR", "~/other")
    assert _node._place(None) == tmp_path / "other"
