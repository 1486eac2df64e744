"""The commands: `acedata build | import | estimate | show | report | export | recipes | store`.

Data goes to standard output, everything else to standard error. Exit codes: 0 the work was done; 1 it was done as far
as it could be, and there is something to look at (rows without an answer, a full budget, a stop); 2 a usage or
environment error.

Every command imports what it needs when it runs: `acedata --help` loads none of Arrow, Ray or the models' libraries.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ._call import call
from ._errors import AceDataError, BadInput, BudgetReached, Stopped

if TYPE_CHECKING:
    from ._build import Built, Step, Watcher
    from ._directory import StageRecord
    from ._recipe import Recipe

DONE, FOUND, TROUBLE = 0, 1, 2

app = typer.Typer(
    name="acedata",
    help="Build AceCode-89K and AceCodePair-300K, or datasets like them, from a recipe.",
    epilog="exit codes: 0 done; 1 done as far as possible, and there is something to look at; "
    "2 usage or environment error",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="a YAML file, or the name of a recipe that is shipped", show_default=False
    ),
]
DirectoryArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="a build directory", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="the result as JSON on standard output")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress")]
Workers = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="programs judged at a time; default: one per core")
]
EngineName = Annotated[
    str | None, typer.Option("--engine", metavar="local|ray", help="instead of the recipe's")
]
Money = Annotated[
    float | None, typer.Option("--budget", min=0, metavar="USD", help="instead of the recipe's budget_usd")
]
Limit = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="only the first N seeds of each source: a trial")
]
Store = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="where model answers are kept, instead of the recipe's")
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    try:
        code = call(app, "acedata", arguments)
    except (BudgetReached, Stopped) as stopped:
        _say(f"acedata: {stopped}")
        return FOUND
    except AceDataError as error:
        _say(f"acedata: {error}")
        return TROUBLE
    except KeyboardInterrupt:
        _say("acedata: interrupted; the same command goes on from here")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # A closed pipe (`acedata show … | head`) ends us as it ends any filter.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:  # a full disk, a folder that may not be written
        _say(f"acedata: {error}")
        return TROUBLE
    except Exception as error:
        if not _is_usage(error):
            if type(error).__module__.partition(".")[0] != "acesandbox":
                raise
            _say(f"acedata: {error}")
            return TROUBLE
        show: Callable[[], None] = error.show  # type: ignore[attr-defined]
        show()
        return TROUBLE
    return code if isinstance(code, int) else DONE


def _is_usage(error: Exception) -> bool:
    """Whether typer's command-line parser complains. It brings its own copy of click, or uses the installed one."""
    return hasattr(error, "show") and hasattr(error, "exit_code")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


def _version(wanted: bool) -> None:
    if wanted:
        from . import __version__

        print(f"acedata {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="say the version and end")
    ] = False,
) -> None:
    pass


# Building.


@app.command(
    epilog="""A build goes on where an earlier one stopped, however it stopped; a build that is done does nothing.

Rows without an answer (the model's endpoint failed) are asked again by the next build.
Ctrl-C lets what is in flight come home; a second one stops at once."""
)
def build(
    recipe: RecipeArgument,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="the build directory [default: the recipe's name]"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would run and why, and do nothing")
    ] = False,
    workers: Workers = None,
    engine: EngineName = None,
    budget: Money = None,
    limit: Limit = None,
    store: Store = None,
    until: Annotated[
        str | None, typer.Option(metavar="STAGE", help="the last stage to make; the next build goes on")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Build a recipe: make every stage that is not done."""
    from ._build import plan
    from ._recipe import load_recipe

    loaded = _changed(load_recipe(recipe), workers, engine, budget, limit, store)
    path = Path(loaded.name) if directory is None else directory
    if dry_run:
        _show_plan(plan(loaded, path), as_json)
        return DONE
    return _build(loaded, path, as_json, quiet, until)


def _changed(
    recipe: Recipe,
    workers: int | None,
    engine: str | None,
    budget: float | None,
    limit: int | None,
    store: Path | None,
) -> Recipe:
    given = {
        "workers": workers,
        "engine": engine,
        "budget_usd": budget,
        "seeds__limit": limit,
        "store": None if store is None else str(store.absolute()),
    }
    changes = {name: value for name, value in given.items() if value is not None}
    return recipe.changed(**changes) if changes else recipe


def _build(recipe: Recipe, path: Path, as_json: bool, quiet: bool, until: str | None = None) -> int:
    from ._build import build
    from ._progress import duration

    with _watched(quiet) as (seen, stop):
        built = build(recipe, path, watcher=seen, stop=stop, until=until)
    if as_json:
        _print_json(_built(built))
    elif not quiet:
        did = f"built {len(built.ran)} of {len(built.stages)} stages" if built.ran else "nothing to do"
        cost = f", ${built.dollars:,.2f} (${built.spent:,.2f} in all)" if built.spent else ""
        _say(f"{path}: {did} in {duration(built.seconds)}{cost}")
    if built.incomplete:
        _say(
            f"acedata: {built.incomplete:,} rows got no answer ({path}/telemetry/*/failures.jsonl says why); "
            "the same command asks again"
        )
        return FOUND
    return DONE


@contextlib.contextmanager
def _watched(quiet: bool) -> Iterator[tuple[Watcher, Callable[[], bool]]]:
    """A watcher that suits standard error, and a wish to stop."""
    from ._progress import Bars, watcher

    seen = watcher(quiet)
    try:
        with _Stop() as stop:
            yield seen, stop
    finally:
        if isinstance(seen, Bars):
            seen.close()


class _Stop:
    """Turns the first Ctrl-C or SIGTERM into a wish to stop, and the second into a stop."""

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        return self._wanted.is_set()

    def __enter__(self) -> _Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _heard(self, number: int, frame: object) -> None:
        if self._wanted.is_set():
            raise KeyboardInterrupt
        self._wanted.set()
        _say("acedata: stopping when what is in flight has come home; once more to stop at once")


def _built(built: Built) -> dict[str, Any]:
    return {
        "directory": str(built.path),
        "ran": built.ran,
        "stages": {name: _counts(record) for name, record in built.stages.items()},
        "dollars": built.dollars,
        "spent": built.spent,
        "seconds": round(built.seconds, 3),
        "incomplete": built.incomplete,
    }


def _counts(record: StageRecord) -> dict[str, Any]:
    names = ("rows_in", "rows_out", "rows", "dropped", "dropped_items", "incomplete")
    return {name: getattr(record, name) for name in names}


def _show_plan(steps: list[Step], as_json: bool) -> None:
    if as_json:
        _print_json([{"stage": step.stage.name, "state": step.state, "why": step.why} for step in steps])
        return
    words = {"done": "done", "run": "runs", "mend": "mends", "wait": "may run"}
    width = max(len(step.stage.name) for step in steps)
    for step in steps:
        print(f"{step.stage.name:{width}}  {words[step.state]:7}  {step.why}")


@app.command(
    epilog="""The figures are what is still to come, with low and high ends that hold in about 99 of 100 cases where
they were measured. The sample's answers are kept: the build finds them in its store."""
)
def estimate(
    recipe: RecipeArgument,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="the build directory [default: the recipe's name]"),
    ] = None,
    sample: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="rows to measure, which costs money; 0: assume, ask nobody"),
    ] = 50,
    workers: Workers = None,
    engine: EngineName = None,
    budget: Money = None,
    limit: Limit = None,
    store: Store = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Say what a build will take: requests, tokens, dollars, hours."""
    from ._estimate import estimate, lines
    from ._recipe import load_recipe

    loaded = _changed(load_recipe(recipe), workers, engine, budget, limit, store)
    path = Path(loaded.name) if directory is None else directory
    with _watched(quiet) as (seen, stop):
        found = estimate(loaded, path, sample=sample, watcher=seen, stop=stop)
    if as_json:
        _print_json(found.to_dict())
    else:
        print("\n".join(lines(found)))
    return DONE


# Starting from what exists.


@app.command(
    "import",
    epilog="""SOURCE is a dataset on the hub (TIGER-Lab/AceCode-87K, TIGER-Lab/AceCodePair-300K, ...), or a Parquet,
JSON Lines or CSV file, or a folder of them, with a question and tests, and programs if it has them.

Programs that came along are judged again; pass rates, pairs and the hard subset are made of what comes out. The recipe
that does all this is left in DIR/recipe.yaml: a starting point for one of your own.""",
)
def import_(
    source: Annotated[str, typer.Argument(metavar="SOURCE", show_default=False)],
    directory: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="the build directory", show_default=False)
    ],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="of the source, where rows do not say theirs")
    ] = "imported",
    split: Annotated[str, typer.Option(help="of a dataset on the hub")] = "train",
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model", metavar="MODEL", help="whose programs are paired; default: all; may be repeated"
        ),
    ] = None,
    min_tests: Annotated[int, typer.Option(min=0, help="questions with fewer tests are dropped")] = 5,
    definition: Annotated[str, typer.Option(metavar="paper|upstream", help="rules of the views")] = "paper",
    limit: Limit = None,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Start a build from questions that exist already, and judge the programs that came with them."""
    from ._directory import Directory
    from ._starting import compare_published, recipe_for

    recipe = recipe_for(
        source,
        directory / "recipe.yaml",
        name=name,
        split=split,
        models=models,
        min_tests=min_tests,
        definition=definition,
        limit=limit,
    )
    recipe = _changed(recipe, workers, None, None, None, None)
    code = _build(recipe, directory, as_json, quiet)
    found = compare_published(recipe, Directory(directory))
    if found is not None:
        path = directory / "telemetry" / "published-pass-rates.json"
        names = ("id", "completion_id", "model", "published", "ours", "reason")
        facts = {
            "equal": found.equal,
            "higher": found.higher,
            "lower": found.lower,
            "unknown": found.unknown,
            "reasons": dict(found.reasons.most_common()),
            "differences": [dict(zip(names, row, strict=True)) for row in found.rows],
        }
        path.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        _say(
            f"pass rates beside the published ones: {found.equal:,} equal, {found.higher:,} higher, "
            f"{found.lower:,} lower; {path} lists the differences with their reasons"
        )
        for reason, count in found.reasons.most_common(5):
            _say(f"  {count:,}: {reason}")
    return code


@app.command()
def recipes(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="print this one, to start one of your own", show_default=False),
    ] = None,
    as_json: Json = False,
) -> int:
    """List the recipes that are shipped, or print one."""
    from ._recipe import find_recipe, load_recipe, shipped_recipes

    if name is not None:
        path = find_recipe(name)
        # Files that are shipped with a recipe are found from wherever the copy lies.
        shipped = json.dumps(str(path.resolve().parents[1] / "_demo"))[1:-1]
        sys.stdout.write(re.sub(r"\.\./_demo/([\w.]+)", rf'"{shipped}/\1"', path.read_text(encoding="utf-8")))
        return DONE
    known = {shipped: _first_comment(load_recipe(shipped)) for shipped in shipped_recipes()}
    if as_json:
        _print_json(known)
    else:
        width = max(map(len, known))
        for shipped, about in known.items():
            print(f"{shipped:{width}}  {about}")
    return DONE


def _first_comment(recipe: Recipe) -> str:
    return recipe.text.partition("\n")[0].lstrip("# ")


# Looking and publishing.


@app.command()
def show(
    directory: DirectoryArgument,
    question: Annotated[
        str | None, typer.Option(metavar="ID", help="one question with its test x program matrix")
    ] = None,
    program: Annotated[
        int | None, typer.Option(metavar="N", help="with --question: one program's text and messages")
    ] = None,
    as_json: Json = False,
) -> int:
    """Show a build in the terminal: funnel, statistics, one question's matrix."""
    from ._browse import find, read
    from ._directory import Directory
    from ._show import show

    if as_json and question is None and program is None:
        manifest = Directory(directory).manifest
        _print_json({name: _counts(record) for name, record in manifest.items()})
        return DONE
    if as_json and question is not None:
        build = Directory(directory)
        found = asdict(next(read(build, [find(build, question)])))
        if program is not None:
            found["programs"] = [one for one in found["programs"] if one["completion_id"] == program]
            if not found["programs"]:
                raise BadInput(f"{question} has no program {program}")
        _print_json(found)
        return DONE
    show(directory, question=question, program=program)
    return DONE


@app.command()
def report(
    directory: DirectoryArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="[default: DIR/telemetry/report.html]")
    ] = None,
    questions: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="most questions to show with their matrices")
    ] = None,
) -> int:
    """Write one self-contained HTML page about a build."""
    from ._report import QUESTIONS, report

    print(report(directory, out, questions=QUESTIONS if questions is None else questions))
    return DONE


@app.command()
def export(
    directory: DirectoryArgument,
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="the dataset folder", show_default=False)
    ],
    forms: Annotated[
        list[str] | None,
        typer.Option("--form", metavar="FORM", help="instead of the recipe's export.forms; may be repeated"),
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="SHARE", help="instead of the recipe's export.validation"),
    ] = None,
    push: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="upload the folder to this dataset on the hub")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="a dataset made by --push is public")] = False,
    as_json: Json = False,
) -> int:
    """Write the dataset folder: Parquet, card, files for trainers."""
    from ._export import export
    from ._export import push as upload

    made = export(directory, out, forms=forms, validation=validation)
    address = None if push is None else upload(out, push, public=public)
    if as_json:
        _print_json({**asdict(made), "path": str(made.path), "pushed": address})
    else:
        for part, rows in made.rows.items():
            _say(f"{part}: {rows:,} rows")
        print(address or made.path)
    return DONE


# The answers.

stores = typer.Typer(help="Look at, copy and mend stores of model answers.", no_args_is_help=True)
app.add_typer(stores, name="store")

StoreArgument = Annotated[
    Path, typer.Argument(metavar="STORE", help="a store's folder, such as DIR/store", show_default=False)
]


@stores.command("info")
def store_info(store: StoreArgument, as_json: Json = False) -> int:
    """Say what a store holds."""
    from ._store_tools import info

    found = info(store)
    models = {f"{provider}/{model}": count for (provider, model), count in found.models.most_common()}
    if as_json:
        _print_json(
            {
                "answers": found.answers,
                "bytes": found.bytes,
                "models": models,
                "ended": dict(found.ended),
                "prompt_tokens": found.prompt_tokens,
                "completion_tokens": found.completion_tokens,
            }
        )
        return DONE
    print(f"{found.answers:,} answers in {found.bytes / 2**20:,.1f} MiB")
    print(f"{found.prompt_tokens:,} prompt tokens, {found.completion_tokens:,} answer tokens")
    for name, count in {**models, **found.ended}.items():
        print(f"{count:12,}  {name}")
    return DONE


@stores.command("dump")
def store_dump(
    store: StoreArgument,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="only this model's answers")] = None,
) -> int:
    """Print every answer as JSON Lines: what `backend: replay` reads."""
    from ._store_tools import write_dump

    write_dump(store, sys.stdout, model)
    return DONE


@stores.command("merge")
def store_merge(
    into: Annotated[Path, typer.Argument(metavar="INTO", help="made if there is none", show_default=False)],
    sources: Annotated[list[Path], typer.Argument(metavar="STORE...", show_default=False)],
) -> int:
    """Put the answers of several stores into one."""
    from ._store_tools import merge

    _say(f"{into}: {merge(into, sources):,} answers are new")
    return DONE


@stores.command("repair")
def store_repair(store: StoreArgument) -> int:
    """Make a damaged store readable again; answers that cannot be read are asked for again by the next build."""
    from ._store_tools import repair

    done = repair(store)
    for damage in done.damage:
        _say(str(damage))
    if not done.damage:
        _say(f"{store}: no damage")
        return DONE
    kept = ", ".join(map(str, done.aside))
    _say(
        f"{store}: {done.kept:,} answers found whole in damaged places, {done.lost_bytes:,} bytes lost; {kept}"
    )
    return FOUND


def run() -> NoReturn:
    """The `acedata` command."""
    sys.exit(main())


if __name__ == "__main__":
    run()
