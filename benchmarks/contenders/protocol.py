"""How a benchmark and a contender talk: command line, a file of rows, a file of results.

    CONTENDER ROWS WARM WORKERS SECONDS RESULTS

ROWS is a file of marshalled rows `(number, program, tests, extra)`, read one by one so that a contender stays lean. The
first WARM of them are judged before the clock starts. RESULTS receives one marshalled dictionary: `seconds` of wall
time from the first row after the warm-up to the last verdict, and `results` {number: bytes}, one per test:
`1` passed, `0` not, `t` out of time, `-` not reached.

With more than one worker, as many processes are forked before the clock starts; they pull row numbers from one pipe.
"""

import marshal
import os
import sys
import time


def quiet():
    """Programs print and read: neither may disturb a terminal or block."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)


def rows(path):
    """The rows of a file, one after the other."""
    with open(path, "rb") as file:
        while True:
            try:
                yield marshal.load(file)
            except EOFError:
                return


def arguments():
    path, warm, workers, seconds, out = sys.argv[1:6]
    return path, int(warm), int(workers), float(seconds), out


def write(out, results, seconds, **more):
    with open(out, "wb") as file:
        marshal.dump({"results": results, "seconds": seconds, **more}, file)


def serve(judge_one):
    """Judge every row with `judge_one(program, tests, seconds) -> bytes`, and write what came of it."""
    path, warm, workers, seconds, out = arguments()
    if workers == 1:
        results, begun = {}, time.perf_counter()
        for count, (number, program, tests, _) in enumerate(rows(path)):
            if count == warm:
                results, begun = {}, time.perf_counter()
            results[number] = judge_one(program, tests, seconds)
        write(out, results, time.perf_counter() - begun)
        return
    _serve_with_many(judge_one, path, warm, workers, seconds, out)


def _serve_with_many(judge_one, path, warm, workers, seconds, out):
    """As `serve`, with several processes. The turn is one byte in a pipe: whoever holds it takes the next row."""
    listed = list(rows(path))
    gate_reader, gate_writer = os.pipe()
    turn_reader, turn_writer = os.pipe()
    ready_reader, ready_writer = os.pipe()
    children = []
    for worker in range(workers):
        pid = os.fork()
        if pid == 0:
            for _, program, tests, _ in listed[worker:warm:workers]:
                judge_one(program, tests, seconds)
            os.write(ready_writer, b"r")
            os.read(gate_reader, 1)
            results = {}
            while True:
                at = int.from_bytes(os.read(turn_reader, 8), "little")
                os.write(turn_writer, (at + 1).to_bytes(8, "little"))
                if at >= len(listed):
                    break
                number, program, tests, _ = listed[at]
                results[number] = judge_one(program, tests, seconds)
            with open(f"{out}.{worker}", "wb") as file:
                marshal.dump(results, file)
            os._exit(0)
        children.append(pid)
    for _ in children:
        os.read(ready_reader, 1)
    begun = time.perf_counter()
    os.write(turn_writer, warm.to_bytes(8, "little"))
    os.write(gate_writer, b"g" * workers)
    for pid in children:
        os.waitpid(pid, 0)
    taken = time.perf_counter() - begun
    results = {}
    for worker in range(workers):
        with open(f"{out}.{worker}", "rb") as file:
            results.update(marshal.load(file))
        os.unlink(f"{out}.{worker}")
    write(out, results, taken)
