"""What all contenders without isolation do inside the process of one program.

Handed to `python -c`, imported by the fork loops: standard library only, and no import that a lean interpreter has not
done at start-up already. `signal` is built in.

One byte per test goes to the result descriptor as soon as it is known: `1` passed, `0` not. A test is given a second
of wall time by an interval timer whose handler raises, as the public evaluators do.
"""

import signal


class OutOfTime(BaseException):
    """Raised into a test by the timer."""


def out_of_time(*_):
    raise OutOfTime


def judge(program, tests, report, seconds=1.0):
    """Run `program`, then each of `tests` in its globals; call `report(b"1" or b"0")` for each test."""
    signal.signal(signal.SIGALRM, out_of_time)
    names = {"__name__": "__test__"}
    loaded = attempt(program, names, seconds)
    for test in tests:
        report(b"1" if loaded and attempt(test, names, seconds) else b"0")


def attempt(source, names, seconds):
    """Whether `source` runs to its end within `seconds` without raising."""
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            exec(compile(source, "<source>", "exec"), names)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except BaseException:
        return False
    return True
