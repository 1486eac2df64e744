"""How near to the ideal do model requests run, and what CPU time does one cost us?

2,000 requests that a server on loopback answers after 2 s each, 256 in flight: 128 a second would be ideal, 15.6 s in
all. (No asker can reach it: seven full rounds and one of 208 take 16 s.) Timed from the first request to the last
answer handed out, each contender in a fresh process beside a server in another:

  acedata            `ask_all` with the `openai` back-end: looked up, sent, counted, and on the disk before it is given
  acedata, warm      the same again: every answer is in the store
  SDK, one client    the official SDK as its README shows it, 256 tasks at a time; nothing is kept

CPU time is the asking process's own, user and system, the imports not included.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks._run import median, parser, publish, spread, table, talk
from tests.data.loopback import Loopback

CONTENDERS = ("acedata", "acedata, warm", "SDK, one client")
QUESTION = "Write a function that returns the sum of the even numbers of a list. " * 12


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--requests", type=int, default=2000)
    made.add_argument("--seconds", type=float, default=2.0, help="that the server takes for each")
    made.add_argument("--concurrency", type=int, default=256)
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--worker", nargs=2, metavar=("NAME", "URL"), help="(one contender, in this process)")
    made.add_argument("--store", help="(its folder)")
    given = made.parse_args()
    if given.worker:
        print(
            json.dumps(work(given.worker[0], given.worker[1], given.requests, given.concurrency, given.store))
        )
        return
    rounds, count, seconds = (1, 512, 0.5) if given.quick else (given.rounds, given.requests, given.seconds)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for turn in range(rounds):
        with tempfile.TemporaryDirectory(prefix="ace-bench-") as store:
            for name in CONTENDERS:
                with Loopback(latency_s=seconds, mean_log=5.0, sigma_log=0.5) as server:
                    words = [sys.executable, "-m", "benchmarks.bench_requests", "--worker", name, server.url]
                    words += [
                        "--requests",
                        str(count),
                        "--concurrency",
                        str(given.concurrency),
                        "--store",
                        store,
                    ]
                    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
                    taken = {**json.loads(done.stdout), "most_in_flight": server.stats()["most_in_flight"]}
                talk(
                    f"round {turn + 1}/{rounds}, {name}: {taken['wall']:.2f} s, {taken['cpu']:.2f} s of CPU time"
                )
                found[name].append(taken)

    ideal = given.concurrency / seconds
    lines = []
    for name, runs in found.items():
        rates = [count / run["wall"] for run in runs]
        cpu = [1000 * run["cpu"] / count for run in runs]
        share = None if name == "acedata, warm" else median(rates) / ideal
        lines.append([name, median(rates), spread(rates), share, median(cpu), spread(cpu)])
    text = f"{count:,} requests of {seconds:g} s, {given.concurrency} in flight: ideal {ideal:g} a second\n\n"
    text += table(["asker", "a second", "range", "of ideal", "CPU ms each", "range"], lines)
    publish("requests", {"ideal": ideal, "runs": found}, text, given.out)


def work(name: str, url: str, count: int, concurrency: int, store: str) -> dict[str, float]:
    """One contender's run: wall and CPU seconds."""
    run = sdk(url, count, concurrency) if name.startswith("SDK") else asker(url, count, concurrency, store)
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def asker(url: str, count: int, concurrency: int, store: str) -> Callable[[], None]:
    from acedata import Answer, OpenAIBackend, Request, ResponseStore, Sampling, ask_all

    requests = [
        Request(
            "here",
            "m",
            ({"role": "user", "content": f"{number}: {QUESTION}"},),
            Sampling(),
            1024,
            row=str(number),
        )
        for number in range(count)
    ]
    backend = OpenAIBackend(base_url=url, api_key_env=None, concurrency=concurrency)

    def run() -> None:
        with ResponseStore(Path(store)) as answers:
            for _, outcome in ask_all(requests, backend, answers, close=True):
                assert isinstance(outcome, Answer), outcome

    return run


def sdk(url: str, count: int, concurrency: int) -> Callable[[], None]:
    from openai import AsyncOpenAI

    async def gather() -> None:
        client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=600.0)
        places = asyncio.Semaphore(concurrency)

        async def one(number: int) -> None:
            async with places:
                made = await client.chat.completions.create(
                    model="m",
                    messages=[{"role": "user", "content": f"{number}: {QUESTION}"}],
                    temperature=0.0,
                    max_tokens=1024,
                )
            assert made.choices[0].message.content

        await asyncio.gather(*(one(number) for number in range(count)))
        await client.close()

    def run() -> None:
        asyncio.run(gather())

    return run


if __name__ == "__main__":
    main()
