"""The command `acetrain evaluate`: benchmarks and samples in, tables, a JSON report and plots out.

    acetrain evaluate -b humaneval=HumanEval.jsonl.gz -b humaneval+=HumanEvalPlus-OriginFmt.jsonl.gz \\
        --samples humaneval.jsonl --out results
    acetrain evaluate -b humaneval -b mbpp --model NAME --endpoint http://HOST:8000/v1 -n 16 --out results

    benchmarks ─┬─ samples files, or a model's answers (_generate) ─┬─ scores (_samples, _reward_scores, _synthetic)
                └─ _evaluate: judged ◀──────────────────────────────┘   then _table and _results: what people read

Everything that can be found wrong is found before a model is asked or a program is judged: names and files
(`_named_files`), the folder of the results, reports that join, every row of the samples and of the benchmarks.

Several benchmarks that judge the same answers (HumanEval and HumanEval+) may share one `--samples`; otherwise each
`--samples` names its benchmark, `humaneval=FILE`. Reports of other runs join the table by `--with report.json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from acedata._errors import BadInput

from ._benchmarks import Benchmark, open_benchmark
from ._evaluate import Evaluation, Scorer, evaluate, open_sandbox, refuse_unknown
from ._generate import Asked, Generated, generate
from ._named_files import ScoreFile, files_by_benchmark, refuse_reserved, refuse_same, score_files
from ._progress import Asking, Counting
from ._results import prepare, show, write
from ._reward_scores import Named, Rater, scores_file
from ._samples import Samples
from ._synthetic import by_tests, read_tests
from ._table import table

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
    """Evaluates, writes `report.json`, `table.md` and plots, and prints the table to standard output.

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
    if len(set(names)) < len(names):
        raise BadInput(f"a benchmark was named twice: {', '.join(names)}")
    sampled = files_by_benchmark(samples, names, "samples")
    greedily = files_by_benchmark(greedy, names, "greedy")
    tested = files_by_benchmark(synthetic, names, "synthetic")
    scored = score_files(scores, names)
    _check_score_names(names, scored, raters, tested, scorers or {})
    done = [one for path in joined for one in _read(path)]
    _refuse_twice([*names, *(one.benchmark for one in done)])
    unsampled = [one for one in opened if one.name not in {**sampled, **greedily}]
    _check_asked(unsampled, asked, raters, out)
    if out is not None:
        prepare(out)
    # What lies in files is read first, so that nothing is paid for beside a file that cannot be used.
    given_to: dict[str, Samples] = {}
    for benchmark in opened:
        if benchmark.name in {**sampled, **greedily}:
            given_to[benchmark.name] = _samples(
                benchmark, sampled.get(benchmark.name), greedily.get(benchmark.name), scored
            )
    tests = {one.name: read_tests(tested[one.name], one) for one in opened if one.name in tested}
    generated = _generated(unsampled, asked, store, out, say)
    for benchmark in unsampled:
        given_to[benchmark.name] = _samples(benchmark, str(generated[benchmark.name].path), None, scored)
    _rate(opened, given_to, raters, out, say)
    for benchmark in opened:
        made_here = generated.get(benchmark.name)
        given = given_to[benchmark.name]
        used = dict(scorers or {})
        voted = None
        if benchmark.name in tests:
            voted = by_tests(benchmark, given, tests[benchmark.name], python=python, workers=workers)
            used.update(voted.scorers)
        say(f"{benchmark.name}: judging {given.count:,} samples")
        with open_sandbox(benchmark.spec, python=python, workers=workers) as sandbox:
            with Counting(benchmark.name, "samples judged") as watching:

                def judged(tasks: int, done: int, total: int = given.count, on: Counting = watching) -> None:
                    on.told(done, total)

                found = evaluate(benchmark, given, sandbox, scorers=used, on_progress=judged)
        if made_here is not None:
            found.generated = made_here.figures
            found.notes += made_here.notes
        if voted is not None:
            found.unscored = voted.unjudged
            found.notes += voted.notes
        done.append(found)
    made = table(done)
    drawn = True
    if out is not None:
        try:
            drawn = write(out, made, done, say)
        except OSError as error:  # a disk that filled up meanwhile: what was judged is at least printed
            show(made, None, say)
            raise BadInput(f"--out {out}: {error}; the table was printed, the report is not there") from error
        say(f"written to {out}")
    show(made, out, say)
    whole = made.complete and not any(one.uneven for one in done)
    return COMPLETE if whole and drawn else INCOMPLETE


def _benchmark(text: str) -> Benchmark:
    name, equals, path = text.partition("=")
    if equals and not path:
        raise BadInput(f"--benchmark {text}: there is no file named; expected NAME or NAME=PATH")
    return open_benchmark(name, path or None)


def _check_score_names(
    benchmarks: Sequence[str],
    files: Sequence[ScoreFile],
    raters: Sequence[Named],
    tested: Mapping[str, str],
    scorers: Mapping[str, Scorer],
) -> None:
    """Raises BadInput where two scores of a benchmark would have one row of the table, or a score that of another."""
    for named in raters:
        refuse_reserved(f"--rm {named.name}", named.name)
    for benchmark in benchmarks:
        names = [one.name for one in files if one.benchmark in (None, benchmark)]
        names += [named.name for named in raters]
        names += ["tests", "consensus"] if benchmark in tested else []
        refuse_same([*names, *scorers], benchmark)


def _check_asked(
    unsampled: Sequence[Benchmark], asked: Asked | None, raters: Sequence[Named], out: Path | None
) -> None:
    """Raises BadInput where it is not clear where samples come from, or where what costs something is kept."""
    if unsampled and asked is None:
        listed = ", ".join(benchmark.name for benchmark in unsampled)
        raise BadInput(f"there are no samples of {listed}: give --samples, --greedy or --model")
    if not unsampled and asked is not None:
        raise BadInput("every benchmark has a samples file; there is nothing to ask a model for")
    if asked is not None and out is None:
        raise BadInput("a model's samples are kept: name a folder with --out")
    if raters and out is None:
        raise BadInput("a reward model's scores are kept: name a folder with --out")


def _refuse_twice(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"two evaluations of {', '.join(twice)}; a table has one column for each benchmark")


def _samples(
    benchmark: Benchmark, path: str | None, greedy: str | None, scores: Sequence[ScoreFile]
) -> Samples:
    """All samples of a benchmark with the scores that lie in files; each is of one of its tasks.

    Args:
        path, greedy: files of samples; one of them is there.
    """
    prefix = benchmark.spec.prefix
    found = Samples(path, prefix) if path is not None else Samples(str(greedy), prefix, greedy=True)
    if path is not None and greedy is not None:
        found.add(greedy, greedy=True)
    for one in scores:
        if one.benchmark in (None, benchmark.name):
            found.add_scores(one.name, one.path)
    found.score_names()
    refuse_unknown(found, benchmark)
    return found


def _generated(
    benchmarks: Sequence[Benchmark],
    asked: Asked | None,
    store: Path | None,
    out: Path | None,
    say: Callable[[str], None],
) -> dict[str, Generated]:
    if not benchmarks or asked is None or out is None:
        return {}
    listed = ", ".join(benchmark.name for benchmark in benchmarks)
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
    for named in raters:
        rater: list[Rater] = []
        model = named.identity()

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
                        benchmark,
                        given,
                        named,
                        out or Path(),
                        opened=opened,
                        model=model,
                        on_progress=watching.told,
                    )
                given.add_scores(named.name, path)
        finally:
            for one in rater:
                one.close()


def _read(path: Path) -> list[Evaluation]:
    """The evaluations of a report. Raises BadInput where it is none, with the place of what is wrong."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: is no report of an evaluation: {error}") from None
    listed = values.get("evaluations") if isinstance(values, dict) else None
    if not isinstance(listed, list):
        raise BadInput(f"{path}: is no report of an evaluation: it has no list 'evaluations'")
    found = []
    for number, one in enumerate(listed):
        try:
            found.append(Evaluation.from_dict(one))
        except BadInput as error:
            raise BadInput(f"{path}: evaluations[{number}]: {error}") from None
    return found
