"""The command `acetrain evaluate`: benchmarks and samples in, tables, a JSON report and plots out.

    acetrain evaluate -b humaneval=HumanEval.jsonl.gz -b humaneval+=HumanEvalPlus-OriginFmt.jsonl.gz \\
        --samples humaneval.jsonl --out results
    acetrain evaluate -b humaneval -b mbpp --model NAME --endpoint http://HOST:8000/v1 -n 16 --out results

    benchmarks ─┬─ samples files, or a model's answers (_generate) ─┬─ scores (_samples, synthetic tests)
                └─ _evaluate: judged ◀──────────────────────────────┘   then _table: what people read

Several benchmarks that judge the same answers (HumanEval and HumanEval+) may share one `--samples`; otherwise each
`--samples` names its benchmark, `humaneval=FILE`. Reports of other runs join the table by `--with report.json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from acedata._errors import BadInput
from acedata._rows import Place, iter_rows

from ._benchmarks import Benchmark, key_of, open_benchmark
from ._evaluate import Evaluation, Scorer, evaluate, open_sandbox, score_by_tests
from ._generate import Asked, Generated, generate
from ._progress import Asking, Counting
from ._reward_scores import Named, Rater, scores_file
from ._samples import Samples
from ._table import as_json, markdown, plot, table, terminal

COMPLETE, INCOMPLETE = 0, 1


def run(
    benchmarks: Sequence[str],
    *,
    samples: Sequence[str] = (),
    greedy: Sequence[str] = (),
    scores: Sequence[str] = (),
    synthetic: Sequence[str] = (),
    joined: Sequence[Path] = (),
    out: Path | None = None,
    python: str | None = None,
    workers: int | None = None,
    asked: Asked | None = None,
    store: Path | None = None,
    raters: Sequence[Named] = (),
    scorers: Mapping[str, Scorer] | None = None,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
) -> int:
    """Evaluates, prints the table to standard output, and writes `report.json`, `table.md` and plots.

    Args:
        benchmarks: `NAME` or `NAME=PATH` each; PATH a file, folder, glob or hub name.
        samples, greedy: samples files, `FILE` for every benchmark or `NAME=FILE` for one.
        scores: files of scores, `SCORE=FILE`, or `NAME:SCORE=FILE` for one benchmark.
        synthetic: files of synthetic tests, `{"task_id", "tests": […]}` per line, `FILE` or `NAME=FILE`.
        joined: `report.json` of other runs, whose benchmarks join the table.
        out: folder of the results; None: nothing is written.
        python: interpreter of the programs, with its packages.
        workers: programs judged at a time.
        asked: the model that is asked for the samples of the benchmarks that have no samples file.
        store: folder in which its answers are kept; None: `responses` in `out`.
        raters: reward models; their scores are kept in `out`.
        scorers: functions that score, by name.

    Returns:
        0 when every benchmark has its numbers; 1 when something is missing, which is then listed.

    Raises:
        BadInput: with file and line, what cannot be read or does not fit together.
        BackendError: the model cannot be asked.
        BudgetReached: the next answer could exceed the budget; those so far are kept.
    """
    if not benchmarks and not joined:
        raise BadInput("there is no benchmark to evaluate")
    opened = [_benchmark(text) for text in benchmarks]
    names = [benchmark.name for benchmark in opened]
    for texts, what in ((samples, "samples"), (greedy, "greedy"), (synthetic, "synthetic")):
        _check_names(texts, names, what)
    _check_names([text.split("=")[0].rpartition(":")[0] + "=" for text in scores], [*names, ""], "scores")
    if len(set(names)) < len(names):
        raise BadInput(f"a benchmark was named twice: {', '.join(names)}")
    done = [one for path in joined for one in _read(path)]
    _refuse_twice([*names, *(one.benchmark for one in done)])
    unsampled = [one for one in opened if not (_one(samples, one.name) or _one(greedy, one.name))]
    generated = _generated(unsampled, asked, store, out, say)
    given_to = {one.name: _samples(one, samples, greedy, scores, generated.get(one.name)) for one in opened}
    _rate(opened, given_to, raters, out, say)
    for benchmark in opened:
        made_here = generated.get(benchmark.name)
        given = given_to[benchmark.name]
        used = dict(scorers or {})
        tests_file = _one(synthetic, benchmark.name)
        if tests_file is not None:
            used.update(_by_tests(benchmark, given, tests_file, python, workers))
        say(f"{benchmark.name}: judging {given.count:,} samples")
        with open_sandbox(benchmark.spec, python=python, workers=workers) as sandbox:
            with Counting(benchmark.name, "samples judged") as watching:

                def judged(tasks: int, done: int, total: int = given.count, on: Counting = watching) -> None:
                    on.told(done, total)

                found = evaluate(benchmark, given, sandbox, scorers=used, on_progress=judged)
        if made_here is not None:
            found.generated = made_here.figures
            found.notes += made_here.notes
        done.append(found)
    made = table(done)
    _print(made)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").write_text(as_json(made, done), encoding="utf-8")
        (out / "table.md").write_text(markdown(made), encoding="utf-8")
        for one in done:
            drawn = plot(one)
            if drawn is not None:
                (out / f"{one.benchmark}.svg").write_text(drawn, encoding="utf-8")
        say(f"written to {out}")
    return COMPLETE if not any(one.reasons for one in done) else INCOMPLETE


def _print(made: Any) -> None:
    from rich.console import Console

    console = Console()
    console.print(terminal(made))
    for note in made.footnotes:
        console.print(note, markup=False, highlight=False)


def _benchmark(text: str) -> Benchmark:
    name, _, path = text.partition("=")
    return open_benchmark(name, path or None)


def _one(texts: Sequence[str], name: str) -> str | None:
    """The file for a benchmark: its own before the one for all."""
    own = [text.partition("=")[2] for text in texts if text.startswith(f"{name}=")]
    for_all = [text for text in texts if "=" not in text]
    chosen = own or for_all
    if len(chosen) > 1:
        raise BadInput(f"several files for {name}: {', '.join(chosen)}")
    return chosen[0] if chosen else None


def _check_names(texts: Sequence[str], names: Sequence[str], what: str) -> None:
    for text in texts:
        name, equals, _ = text.partition("=")
        if equals and name not in names:
            listed = ", ".join(name for name in names if name)
            raise BadInput(f"--{what} {text}: {name!r} is none of the benchmarks given ({listed})")


def _refuse_twice(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"two evaluations of {', '.join(twice)}; a table has one column for each benchmark")


def _samples(
    benchmark: Benchmark,
    samples: Sequence[str],
    greedy: Sequence[str],
    scores: Sequence[str],
    generated: Generated | None,
) -> Samples:
    prefix = benchmark.spec.prefix
    path, greedy_path = _one(samples, benchmark.name), _one(greedy, benchmark.name)
    if generated is not None:
        path = str(generated.path)
    found = Samples(path, prefix) if path is not None else Samples(str(greedy_path), prefix, greedy=True)
    if path is not None and greedy_path is not None:
        found.add(greedy_path, greedy=True)
    for text in scores:
        name, _, file = text.partition("=")
        of, _, score = name.rpartition(":")
        if of in ("", benchmark.name):
            found.add_scores(score, file)
    return found


def _generated(
    benchmarks: Sequence[Benchmark],
    asked: Asked | None,
    store: Path | None,
    out: Path | None,
    say: Callable[[str], None],
) -> dict[str, Generated]:
    if not benchmarks:
        if asked is not None:
            raise BadInput("every benchmark has a samples file; there is nothing to ask a model for")
        return {}
    listed = ", ".join(benchmark.name for benchmark in benchmarks)
    if asked is None:
        raise BadInput(f"there are no samples of {listed}: give --samples, --greedy or --model")
    if out is None:
        raise BadInput("a model's samples are kept: name a folder with --out")
    say(f"{listed}: asking {asked.model}, {asked.n + asked.greedy} answers per problem")
    with Asking() as watching:
        found = generate(benchmarks, asked, out, store or out / "responses", on_progress=watching.told)
    say(watching.summary())
    return found


def _rate(
    benchmarks: Sequence[Benchmark],
    samples: Mapping[str, Samples],
    raters: Sequence[Named],
    out: Path | None,
    say: Callable[[str], None],
) -> None:
    """Adds the scores of each reward model, one model in memory at a time."""
    if raters and out is None:
        raise BadInput("a reward model's scores are kept: name a folder with --out")
    if len({named.name for named in raters}) < len(raters):
        raise BadInput("two reward models have the same name")
    for named in raters:
        rater: list[Rater] = []

        def opened(named: Named = named, rater: list[Rater] = rater) -> Rater:
            if not rater:
                say(f"{named.name}: opening {named.shown}")
                rater.append(named.open())
            return rater[0]

        try:
            for benchmark in benchmarks:
                given = samples[benchmark.name]
                if not any(task.samples for task in given.tasks.values()):
                    continue
                with Counting(f"{benchmark.name}: {named.name}", "samples scored") as watching:
                    path = scores_file(
                        benchmark, given, named, out or Path(), opened=opened, on_progress=watching.told
                    )
                given.add_scores(named.name, path)
        finally:
            for one in rater:
                one.close()


def _by_tests(
    benchmark: Benchmark, samples: Samples, path: str, python: str | None, workers: int | None
) -> dict[str, Scorer]:
    prefix = benchmark.spec.prefix
    tests: dict[str, list[str]] = {}
    for row in iter_rows(Place(path)):
        task_id, listed = row.values.get("task_id"), row.values.get("tests")
        if not isinstance(task_id, (str, int)) or not isinstance(listed, list):
            raise BadInput(f"{row.where}: a row of synthetic tests has 'task_id' and a list 'tests'")
        if not all(isinstance(test, str) for test in listed):
            raise BadInput(f"{row.where}: 'tests' must be a list of texts")
        tests[key_of(task_id, prefix)] = listed
    with open_sandbox(benchmark.spec, python=python, workers=workers, fail_fast=False) as sandbox:
        scored = score_by_tests(benchmark, samples, tests, sandbox)

    def scorer(by_task: dict[str, list[float]]) -> Scorer:
        return lambda problem, programs: by_task.get(key_of(problem.task_id, prefix), [0.0] * len(programs))

    return {name: scorer(by_task) for name, by_task in scored.items()}


def _read(path: Path) -> list[Evaluation]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return [Evaluation.from_dict(one) for one in values["evaluations"]]
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: is no report of an evaluation: {error}") from None
