"""The bare fork loop, fair and careful: no isolation, one `os.fork()` per program.

The parent is a lean interpreter (`python -I -S -B`) that reads one row at a time, so that little is copied at a fork,
and that has compiled once: the first compile() of a process costs a millisecond and every child would pay for it. The
child compiles and runs the program, then each test, and writes a byte per test into a pipe; the parent reads them,
kills a child that no timer stops, and reaps it.

    bare_fork.py ROWS WARM WORKERS SECONDS      (see benchmarks/contenders/protocol.py)
"""

import os
import select
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import protocol
from guarded import judge


def judge_one(program, tests, seconds):
    """The bytes of one program: `1`, `0` per test, `-` for what was not reached."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            judge(program, tests, lambda byte: os.write(writer, byte), seconds)
        finally:
            os._exit(0)
    os.close(writer)
    results = b""
    while len(results) < len(tests):
        # Loading and one test may both take their whole time before a byte comes.
        if not select.select([reader], [], [], 2 * seconds + 1)[0]:
            os.kill(pid, signal.SIGKILL)
            break
        read = os.read(reader, 4096)
        if not read:
            break
        results += read
    os.close(reader)
    os.waitpid(pid, 0)
    return results.ljust(len(tests), b"-")


def main():
    protocol.quiet()
    compile("assert (lambda x: x)(1) == 1", "<warm>", "exec")
    protocol.serve(judge_one)


main()
