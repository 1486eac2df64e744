"""`multiprocessing.Process` per program, no isolation: what several public evaluators do."""

import multiprocessing
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import protocol
from guarded import judge

FORK = multiprocessing.get_context("fork")


def work(program, tests, seconds, connection):
    judge(program, tests, connection.send_bytes, seconds)


def judge_one(program, tests, seconds):
    reader, writer = FORK.Pipe(duplex=False)
    process = FORK.Process(target=work, args=(program, tests, seconds, writer))
    process.start()
    writer.close()
    results = b""
    try:
        while len(results) < len(tests) and reader.poll(2 * seconds + 1):
            results += reader.recv_bytes()
    except EOFError:
        pass
    if len(results) < len(tests):
        process.kill()
    process.join()
    process.close()
    reader.close()
    return results.ljust(len(tests), b"-")


if __name__ == "__main__":
    protocol.quiet()
    compile("assert (lambda x: x)(1) == 1", "<warm>", "exec")
    protocol.serve(judge_one)
