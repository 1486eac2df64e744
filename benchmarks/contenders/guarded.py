"""What all contenders without isolation do inside the process of one program.

Handed to `python -c`, imported by the fork loops: standard library only, and no import that a lean interpreter has not
done at start-up already. `signal` is built in.

One byte per test is reported as soon as it is known: `1` passed, `0` not, `t` out of time. A test is given a second
of wall time by an interval timer whose handler raises, as the public evaluators do.
"""

import signal


class OutOfTime(BaseException):
    """Raised into a test by the timer."""


def out_of_time(*_):
    raise OutOfTime


def judge(program, tests, report, seconds=1.0):
    """Run `program`, then each of `tests` in its globals; `report` one byte for each test."""
    signal.signal(signal.SIGALRM, out_of_time)
    names = {"__name__": "__test__"}
    loaded = attempt(program, names, seconds)
    for test in tests:
        report(attempt(test, names, seconds) if loaded == b"1" else loaded)


def attempt(source, names, seconds):
    """`1` if `source` runs to its end, `t` if that takes more than `seconds`, `0` if it raises."""
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            exec(compile(source, "<source>", "exec"), names)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except OutOfTime:
        return b"t"
    except BaseException:
        return b"0"
    return b"1"
