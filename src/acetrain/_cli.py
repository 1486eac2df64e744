"""The commands: `acetrain rl | rm | evaluate | reward | reward-server | demo`.

Data goes to standard output, everything else to standard error. Exit codes: 0 the work was done; 1 it was done as far
as it could be, and there is something to look at (rows that could not be judged); 2 a usage or environment error.

Every command imports what it needs when it runs: `acetrain --help` loads neither torch nor a data library.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from acedata._call import call

from ._reward_model._commands import rm_app
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
app.add_typer(rm_app)
app.add_typer(demo_app)

Workers = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="programs judged at a time; default: one per core")
]
ModeName = Annotated[str, typer.Option(metavar="binary|pass_rate", help="what a completion is paid for")]
Shared = Annotated[
    bool | None,
    typer.Option("--shared/--own", help="use the node's one judge; default: what ACETRAIN_SHARED_JUDGE says"),
]
Bonus = Annotated[float, typer.Option(metavar="X", help="added when every test passes")]
FormReward = Annotated[
    float,
    typer.Option("--format", metavar="X", help="added for the form <think>…</think>, then a Python block"),
]
Unsealed = Annotated[
    str,
    typer.Option(
        metavar="count|zero|unknown",
        help="what becomes of a completion where a test could only be judged unsealed",
    ),
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="stop each program at its first test that fails")]
LimitValues = Annotated[
    list[str] | None,
    typer.Option(
        "--limit", metavar="NAME=VALUE", help="of the sandbox, cpu_s=0.1 for instance; may be repeated"
    ),
]


@app.callback()
def _all() -> None:
    pass


@app.command()
def rl(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="a file, or the name of a shipped one")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="a setting in the recipe's place; may be repeated"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="checkpoints, curve, model; default: runs/NAME")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the last whole checkpoint")] = False,
    show: Annotated[bool, typer.Option("--show", help="only print every setting of the recipe")] = False,
) -> int:
    """Train a policy by GRPO, RLOO or REINFORCE++, paid by tests or by a reward model.

    On several GPUs: accelerate launch --config_file FILE -m acetrain._cli rl RECIPE.
    """
    from ._rl._commands import rl as run_rl

    return run_rl(recipe, changes or [], out, resume, show)


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
    raters: Annotated[
        list[str] | None,
        typer.Option(
            "--rm",
            metavar="NAME=MODEL[,OPTION=VALUE]",
            help="a reward model to choose with: folder, hub name or address; may be repeated",
        ),
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
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="ask this model for the samples of benchmarks without a file"),
    ] = None,
    endpoint: Annotated[str | None, typer.Option(metavar="URL", help="OpenAI-compatible, up to /v1")] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="who asks: openai, openai-batch, vllm, transformers, replay; default: openai with --endpoint, "
            "replay with --answers",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=0, metavar="N", help="samples per problem")] = 0,
    ask_greedy: Annotated[
        bool, typer.Option("--ask-greedy/--no-ask-greedy", help="and one at temperature 0")
    ] = True,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="of the N samples")] = 0.8,
    top_p: Annotated[float, typer.Option(min=0, max=1, help="of the N samples; 1 is off")] = 1.0,
    max_tokens: Annotated[int, typer.Option(min=1, metavar="N", help="longest answer")] = 2048,
    prompt: Annotated[
        str, typer.Option(metavar="bench-1|eval-1", help="as the benchmarks ask, or in our own words")
    ] = "bench-1",
    store: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="where answers are kept; default: OUT/responses")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="all answers together; wants --price")
    ] = None,
    price: Annotated[str | None, typer.Option(metavar="IN,OUT", help="US dollars per million tokens")] = None,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="the variable with the endpoint's key")
    ] = None,
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="of the model, as it stands in the store's keys")
    ] = None,
    answers: Annotated[
        str | None, typer.Option(metavar="FILE", help="answers to replay instead of asking")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, metavar="N", help="requests in flight")] = 64,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="of one request")] = 600.0,
    engine_options: Annotated[
        list[str] | None,
        typer.Option(
            "--engine-option", metavar="NAME=VALUE", help="of vllm or transformers; may be repeated"
        ),
    ] = None,
) -> int:
    """Judge samples of benchmarks: greedy, average, oracle, best of N; a table, JSON and plots.

    Samples come from files, or from a model, whose answers are kept: the same command goes on where it was stopped.
    """
    from ._evaluate_command import run as run_evaluation
    from ._reward_scores import Named

    asked = None
    if model is not None:
        from ._generate import Asked

        asked = Asked(
            model,
            backend=backend,
            endpoint=endpoint,
            provider=provider,
            n=n,
            greedy=ask_greedy,
            temperature=temperature,
            top_p=top_p,
            max_tokens=max_tokens,
            prompt=prompt,
            price=_price(price),
            budget=budget,
            api_key_env=api_key_env,
            concurrency=concurrency,
            timeout_s=timeout,
            answers=answers,
            options=_options(engine_options or []),
        )
    elif endpoint or backend or answers or n:
        raise typer.BadParameter("is needed to ask for samples", param_hint="--model")
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
        asked=asked,
        store=store,
        raters=[Named.read(text) for text in raters or []],
    )


def _price(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        given, made = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter("must be two numbers, as 0.15,0.6", param_hint="--price") from None
    return given, made


def _options(texts: Sequence[str]) -> dict[str, bool | int | float | str]:
    """`NAME=VALUE`, a value being what JSON reads it as, or else a text."""
    found: dict[str, bool | int | float | str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--engine-option")
        try:
            read = json.loads(value)
        except ValueError:
            read = value
        found[name] = read if isinstance(read, (bool, int, float, str)) else value
    return found


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
    bonus: Bonus = 0.0,
    form: FormReward = 0.0,
    unsealed: Unsealed = "count",
    fail_fast: FailFast = False,
    limit: LimitValues = None,
    workers: Workers = None,
    shared: Shared = None,
) -> int:
    """Pay the completions of a file: one JSON line each with `reward` (null: could not be judged) and why.

    What RuleReward would pay in training; for looking at rewards before a run, and at what a run wrote.
    """
    from dataclasses import asdict

    from ._json_lines import json_lines
    from ._rewards import RuleReward
    from ._scoring import Score, Tally

    options = _reward_options(mode, bonus, form, unsealed, fail_fast, limit)
    payer = RuleReward(**options, skip_shown=skip_shown, workers=workers, shared=shared)
    all_scores: list[Score] = []
    known: list[Score] = []
    paid: list[float] = []
    try:
        for rows in _batches(json_lines(file, errors="surrogateescape"), BATCH):
            answers = [_field(row, completion, place) for place, row in rows]
            scores = payer.scores(answers, [_field(row, tests, place) for place, row in rows])
            all_scores += scores
            for (_, row), answer, score in zip(rows, answers, scores, strict=True):
                value = payer.reward(score, answer)
                if value is not None:
                    paid.append(value)
                    known.append(score)
                said = {name: row[name] for name in ("id", "task_id", "_identifier") if name in row}
                print(json.dumps({**said, "reward": value, **asdict(score)}))
    finally:
        payer.close()
    tally, rate = Tally.of(all_scores), Tally.of(known).pass_rate
    statuses = ", ".join(f"{count} {status}" for status, count in tally.statuses.most_common())
    mean = f"{sum(paid) / len(paid):.4f}" if paid else "none"
    _say(f"{tally.completions:,} completions: mean reward {mean}, pass rate {rate:.4f} ({statuses})")
    return FOUND if len(paid) < len(all_scores) else DONE


@app.command("reward-server")
def reward_server(
    unknown: Annotated[
        str,
        typer.Option(
            metavar="raise|zero", help="for what could not be judged: HTTP 500 (OpenRLHF swallows it), or 0.0"
        ),
    ],
    mode: ModeName = "binary",
    bonus: Bonus = 0.0,
    form: FormReward = 0.0,
    unsealed: Unsealed = "count",
    fail_fast: FailFast = False,
    limit: LimitValues = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="there is no authentication")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="0: any free one")] = 5000,
    workers: Workers = None,
) -> int:
    """Answer OpenRLHF's reward requests over HTTP, until interrupted."""
    from .openrlhf import serve

    if unknown not in ("raise", "zero"):
        raise typer.BadParameter('must be "raise" or "zero"', param_hint="--unknown")
    options = _reward_options(mode, bonus, form, unsealed, fail_fast, limit)
    with serve(host, port, unknown=unknown, workers=workers, shared=False, **options) as server:
        _say(f"http://{host}:{server.server_address[1]}/get_reward")
        server.serve_forever()
    return DONE


def _reward_options(
    mode: str, bonus: float, form: float, unsealed: str, fail_fast: bool, limits: list[str] | None
) -> dict[str, Any]:
    """Arguments of RuleReward, checked one by one so that a mistake is told with its option."""
    if mode not in ("binary", "pass_rate"):
        raise typer.BadParameter('must be "binary" or "pass_rate"', param_hint="--mode")
    if unsealed not in ("count", "zero", "unknown"):
        raise typer.BadParameter('must be "count", "zero" or "unknown"', param_hint="--unsealed")
    if fail_fast and mode != "binary":
        raise typer.BadParameter(
            "leaves tests out, so it goes with --mode binary only", param_hint="--fail-fast"
        )
    for option, value in (("--bonus", bonus), ("--format", form)):
        if not math.isfinite(value):
            raise typer.BadParameter(f"must be a number, not {value}", param_hint=option)
    return {
        "mode": mode,
        "bonus": bonus,
        "format_reward": form,
        "unsealed": unsealed,
        "fail_fast": fail_fast,
        "limits": _limits(limits or []),
    }


def _limits(changes: list[str]) -> Any:
    """The rule reward's limits with some of them changed, an `acesandbox.Limits`."""
    from acesandbox import BadInput

    from ._rewards import LIMITS

    found: dict[str, Any] = {}
    for text in changes:
        name, _, value = text.partition("=")
        if name not in LIMITS.__slots__:
            known = ", ".join(LIMITS.__slots__)
            raise typer.BadParameter(f"{text!r} names no limit; there are {known}", param_hint="--limit")
        try:
            found[name] = type(getattr(LIMITS, name))(value)
        except ValueError:
            raise typer.BadParameter(f"{text!r}: {value!r} is no number", param_hint="--limit") from None
    try:
        return LIMITS.replace(**found)
    except BadInput as error:
        raise typer.BadParameter(str(error), param_hint="--limit") from None


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
        from acedata import BadInput

        raise BadInput(f"{place}: no field {name!r}; there are {', '.join(sorted(row)) or 'none'}")
    return row[name]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    try:
        code = call(app, "acetrain", arguments)
    except KeyboardInterrupt:
        _say("acetrain: interrupted")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # A closed pipe (`acetrain reward … | head`) ends us as it ends any filter.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        _say(f"acetrain: {error}")
        return TROUBLE
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # typer's parser, whichever click it uses
            show: Callable[[], None] = error.show
            show()
        elif type(error).__module__.partition(".")[0] in ("acesandbox", "acedata"):
            _say(f"acetrain: {error}")
            if type(error).__name__ == "BudgetReached":
                return FOUND
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
