"""The commands: `acetrain evaluate | reward | reward-server | demo`.

Data goes to standard output, everything else to standard error. Exit codes: 0 the work was done; 1 it was done as far
as it could be, and there is something to look at (rows that could not be judged); 2 a usage or environment error.

Every command imports what it needs when it runs: `acetrain --help` loads neither torch nor a data library.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .demos._commands import demo_app

DONE, FOUND, TROUBLE = 0, 1, 2
BATCH = 2048

app = typer.Typer(
    name="acetrain",
    help="Rewards, reward models, evaluation and reinforcement learning on sandboxed verdicts.",
    epilog="exit codes: 0 done; 1 done as far as possible, and there is something to look at; "
    "2 usage or environment error",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(demo_app)

Workers = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="programs judged at a time; default: one per core")
]
ModeName = Annotated[str, typer.Option(metavar="binary|pass_rate", help="what a completion is paid for")]
Shared = Annotated[bool, typer.Option("--shared", help="use the node's one judge")]


class Trouble(Exception):
    """A file that cannot be used; `str()` of it says where and why."""


@app.callback()
def _all() -> None:
    pass


@app.command()
def evaluate(
    benchmarks: Annotated[
        list[str] | None,
        typer.Option("--benchmark", "-b", metavar="NAME[=PATH]", help="a benchmark; may be repeated"),
    ] = None,
    samples: Annotated[
        list[str] | None, typer.Option(metavar="[NAME=]FILE", help="samples to judge; may be repeated")
    ] = None,
    greedy: Annotated[
        list[str] | None, typer.Option(metavar="[NAME=]FILE", help="greedy samples; may be repeated")
    ] = None,
    scores: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME:]SCORE=FILE", help="scores of the samples; may be repeated"),
    ] = None,
    synthetic: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]FILE", help="synthetic tests to vote with; may be repeated"),
    ] = None,
    joined: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="REPORT", help="report.json of another run, joins the table"),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="report.json, table.md, plots")] = None,
    python: Annotated[
        str | None, typer.Option(metavar="PATH", help="the interpreter of the programs, with its packages")
    ] = None,
    workers: Workers = None,
) -> int:
    """Judge samples of benchmarks: greedy, average, oracle, best of N; a table, JSON and plots."""
    from ._evaluate_command import run as run_evaluation

    return run_evaluation(
        benchmarks or [],
        samples=samples or [],
        greedy=greedy or [],
        scores=scores or [],
        synthetic=synthetic or [],
        joined=joined or [],
        out=out,
        python=python,
        workers=workers,
    )


@app.command()
def reward(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON lines; - is standard input", show_default=False)
    ],
    mode: ModeName = "binary",
    completion: Annotated[
        str, typer.Option(metavar="NAME", help="field with the answer, a text or a list of messages")
    ] = "completion",
    tests: Annotated[
        str, typer.Option(metavar="NAME", help="field with the tests, a list or one as JSON")
    ] = "test_cases",
    skip_shown: Annotated[
        int, typer.Option(min=0, metavar="N", help="the first N tests were shown and do not count")
    ] = 0,
    bonus: Annotated[float, typer.Option(metavar="X", help="added when every test passes")] = 0.0,
    workers: Workers = None,
    shared: Shared = False,
) -> int:
    """Pay the completions of a file: one JSON line each with `reward` (null: could not be judged) and why.

    What RuleReward would pay in training; for looking at rewards before a run, and at what a run wrote.
    """
    from dataclasses import asdict

    from ._rewards import RuleReward
    from ._scoring import Tally

    payer = RuleReward(_mode(mode), bonus=bonus, skip_shown=skip_shown, workers=workers, shared=shared)
    all_scores = []
    paid: list[float] = []
    try:
        for rows in _batches(_rows(file), BATCH):
            answers = [_field(row, completion, place) for place, row in rows]
            scores = payer.scores(answers, [_field(row, tests, place) for place, row in rows])
            all_scores += scores
            for (_, row), answer, score in zip(rows, answers, scores, strict=True):
                value = payer.reward(score, answer)
                if value is not None:
                    paid.append(value)
                said = {name: row[name] for name in ("id", "task_id", "_identifier") if name in row}
                print(json.dumps({**said, "reward": value, **asdict(score)}))
    finally:
        payer.close()
    tally = Tally.of(all_scores)
    statuses = ", ".join(f"{count} {status}" for status, count in tally.statuses.most_common())
    mean = f"{sum(paid) / len(paid):.4f}" if paid else "none"
    _say(
        f"{tally.completions:,} completions: mean reward {mean}, pass rate {tally.pass_rate:.4f} ({statuses})"
    )
    return FOUND if tally.unknown else DONE


@app.command("reward-server")
def reward_server(
    unknown: Annotated[
        str, typer.Option(metavar="raise|zero", help="what a completion gets that could not be judged")
    ],
    mode: ModeName = "binary",
    bonus: Annotated[float, typer.Option(metavar="X", help="added when every test passes")] = 0.0,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="there is no authentication")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="0: any free one")] = 5000,
    workers: Workers = None,
) -> int:
    """Answer OpenRLHF's reward requests over HTTP, until interrupted."""
    from .openrlhf import serve

    if unknown not in ("raise", "zero"):
        raise typer.BadParameter('must be "raise" or "zero"', param_hint="--unknown")
    options = {"mode": _mode(mode), "bonus": bonus, "workers": workers, "shared": False}
    with serve(host, port, unknown=unknown, **options) as server:
        _say(f"http://{host}:{server.server_address[1]}/get_reward")
        server.serve_forever()
    return DONE


def _mode(mode: str) -> Any:
    if mode not in ("binary", "pass_rate"):
        raise typer.BadParameter('must be "binary" or "pass_rate"', param_hint="--mode")
    return mode


def _rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with sys.stdin if str(file) == "-" else open(file, encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            place = f"{file}:{number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise Trouble(f"{place}: no JSON: {error}") from None
            if not isinstance(row, dict):
                raise Trouble(f"{place}: must be an object, not {type(row).__name__}")
            yield place, row


def _batches(rows: Iterator[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _field(row: dict[str, Any], name: str, place: str) -> Any:
    if name not in row:
        raise Trouble(f"{place}: no field {name!r}; there are {', '.join(sorted(row)) or 'none'}")
    return row[name]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    try:
        code = app(args=None if arguments is None else list(arguments), standalone_mode=False)
    except KeyboardInterrupt:
        _say("acetrain: interrupted")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # A closed pipe (`acetrain reward … | head`) ends us as it ends any filter.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (Trouble, OSError) as error:
        _say(f"acetrain: {error}")
        return TROUBLE
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # typer's parser, whichever click it uses
            show: Callable[[], None] = error.show
            show()
        elif type(error).__name__ == "Abort":
            return 128 + signal.SIGINT
        elif type(error).__module__.partition(".")[0] in ("acesandbox", "acedata"):
            _say(f"acetrain: {error}")
        else:
            raise
        return TROUBLE
    return code if isinstance(code, int) else DONE


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run() -> None:
    """Entry point of the command line."""
    sys.exit(main())


if __name__ == "__main__":
    run()
