"""What do the views and the export of a dataset cost at the published size, in time and memory?

A build directory is made up (not timed): questions come from a file, the stages that need models or programs run are
filled with random rows (`acedata.adopt`), the others are left to the builder itself. Published size: 89,000 questions
with 16 kept tests and 80 programs of a kilobyte (five policies, 16 each), 114 million results; 124,000 questions before
filtering. About one program in five repeats an earlier one of its question, as models do.
Then each of these is run in a process of its own, on two cores:

  filtered, pass_rates, pairs, hard   a build of that stage, reading and writing Parquet
  export                              all forms

"peak MB" is the most resident memory of that process. "x per question" compares time per question with that of the
smallest size: 1 is linear. Programs' texts are lines drawn from a pool: they compress less well than code does.

  python -m benchmarks.bench_views                    a tenth of the published size
  python -m benchmarks.bench_views --full             a tenth, then the published size: half an hour, 40 GB of disk
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acedata import Directory, Recipe, adopt, build, export, load_recipe, plan
from benchmarks._run import HERE, parser, publish, table, talk

PUBLISHED = 89_000
BEFORE_FILTER = 124_000 / 89_000
POLICIES = ("codellama", "mistral", "llama", "qwen-7b", "qwen-32b")
SAMPLES = 16
WRITTEN, KEPT = 18, 16
PROGRAM_BYTES = 1024
STEPS = ("filtered", "pass_rates", "pairs", "hard", "export")
LIMIT_MB, LIMIT_S = 4096, 1200

_MODEL = (
    "  {name}: {{backend: openai, model: {name}, provider: made-up, temperature: 0.7, "
    "price: {{input: 0, output: 0}}}}"
)


def recipe_text() -> str:
    """The recipe of the build that is made up; nothing in it is ever asked."""
    models = "\n".join(_MODEL.format(name=name) for name in ("solver", *POLICIES))
    return f"""name: made-up
seeds:
  sources:
    - {{name: evol, from: start, path: questions.jsonl}}
models:
{models}
references: {{models: [solver]}}
filter: {{min_tests: 5}}
samples: {{models: [{", ".join(POLICIES)}], n: {SAMPLES}, imported: false}}
pairs: {{models: [qwen-7b]}}
hard: {{models: [qwen-7b]}}
export:
  forms: [acecode, pairs, extended, hard, trl, verl, openrlhf, llama-factory]
  validation: 0.02
"""


# ---- making a build up ----


def make_up(place: Path, questions: int) -> None:
    """Fills the stages before `filtered`: questions from a file, programs and results from nowhere."""
    made = MadeUp(round(questions * BEFORE_FILTER), questions)
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / "questions.jsonl").open("w") as file:
        for order in range(made.asked):
            file.write(json.dumps(made.question(order)) + "\n")
    path = place.parent / "recipe.yaml"
    path.write_text(recipe_text())
    recipe = load_recipe(path)
    build(recipe, place, until="checked")
    for stage in ("references", "reference_matrix"):
        adopt(recipe, place, stage, made.before(stage, schema_of(recipe, place, stage)))


def continue_making_up(place: Path) -> None:
    """The stages behind `filtered`: programs of the policies, and what came of them."""
    recipe = load_recipe(place.parent / "recipe.yaml")
    for stage in ("samples", "sample_matrix"):
        adopt(recipe, place, stage, MadeUp.behind(Directory(place), stage, schema_of(recipe, place, stage)))


def schema_of(recipe: Recipe, place: Path, stage: str) -> Any:
    """The columns of a stage."""
    return next(step.stage.schema for step in plan(recipe, place) if step.stage.name == stage)


class MadeUp:
    """Rows of the stages that are not timed; the same on every run.

    Args:
        asked: questions before filtering.
        kept: how many of them the reference program leaves enough tests of.
    """

    AT_A_TIME = 1000

    def __init__(self, asked: int, kept: int) -> None:
        self.asked, self.kept = asked, kept

    @staticmethod
    def question(order: int) -> dict[str, Any]:
        tests = [f"assert solve({n}, {order}) == {n * order}  # the case number {n}" for n in range(WRITTEN)]
        return {"id": f"evol_{order}", "source": "evol", "question": _question(order), "test_cases": tests}

    def before(self, stage: str, schema: Any) -> Iterator[Any]:
        import numpy as np
        import pyarrow as pa

        for start in range(0, self.asked, self.AT_A_TIME):
            orders = np.arange(start, min(start + self.AT_A_TIME, self.asked))
            chance = np.random.default_rng([1, start])
            ids = pa.array([f"evol_{order}" for order in orders])
            if stage == "references":
                yield _programs(ids, orders, ["solver"], 1, _texts(chance, len(orders)), schema)
                continue
            # The same share everywhere, so that exactly `kept` questions are left.
            stays = (orders * self.kept // self.asked) != ((orders + 1) * self.kept // self.asked)
            passed = np.ones((len(orders), WRITTEN), np.bool_)
            passed[:, :2] = False
            passed[~stays, :-3] = False
            yield _matrix(ids, orders, ["solver"], 1, passed, chance, schema)

    @classmethod
    def behind(cls, directory: Directory, stage: str, schema: Any) -> Iterator[Any]:
        import numpy as np
        import pyarrow as pa

        count = len(POLICIES) * SAMPLES
        questions = pa.Table.from_batches(list(directory.batches("filtered", ["id", "order"])))
        for start in range(0, questions.num_rows, cls.AT_A_TIME):
            part = questions.slice(start, cls.AT_A_TIME).combine_chunks()
            orders, ids = part.column("order").to_numpy(), part.column("id").combine_chunks()
            chance = np.random.default_rng([2, start])
            # Which program of its question each one repeats; most repeat none.
            same = np.arange(count) * np.ones((len(orders), 1), np.int64)
            copies = chance.random(same.shape) < 0.2
            same[copies] = (chance.random(same.shape) * np.arange(count)).astype(np.int64)[copies]
            same = np.take_along_axis(same, same, axis=1).ravel() + np.repeat(
                np.arange(len(orders)) * count, count
            )
            if stage == "samples":
                texts = _texts(chance, len(same)).take(pa.array(same))
                yield _programs(ids, orders, POLICIES, SAMPLES, texts, schema)
                continue
            # A quarter of the questions everybody solves, a quarter nobody; of the others a third of the programs each
            # passes all tests, none, or some.
            kind = chance.choice(4, (len(orders), 1), p=(0.25, 0.25, 0.25, 0.25))
            share = np.where(
                kind == 0, 1.0, np.where(kind == 1, 0.0, chance.choice((1.0, 0.0, 0.5), (len(orders), count)))
            )
            partial = chance.random((len(orders), count))
            share = np.where(share == 0.5, partial, share).ravel()
            passed = (chance.random((len(share), KEPT)) < share[:, None])[same]
            yield _matrix(ids, orders, POLICIES, SAMPLES, passed, chance, schema)


def _question(order: int) -> str:
    return (
        f"Number {order}. Write a function `solve(n, k)` that returns the product of both numbers. The numbers are not "
        "negative. Take care of the case in which one of them is zero, and do not use more memory than you need.\n"
    ) * 3


def _texts(chance: Any, count: int) -> Any:
    """Programs of exactly `PROGRAM_BYTES` characters: lines of a pool."""
    import numpy as np
    import pyarrow as pa

    width = 64
    letters = np.frombuffer(b"abcdefghijklmnoprstu_ =+()[]:,.  ", np.uint8)
    pool = letters[np.random.default_rng(0).integers(0, len(letters), (1 << 16, width))]
    pool[:, :4], pool[:, -1] = ord(" "), ord("\n")
    lines = chance.integers(0, len(pool), (count, PROGRAM_BYTES // width))
    text = pool[lines].reshape(-1)
    offsets = np.arange(0, (count + 1) * PROGRAM_BYTES, PROGRAM_BYTES, dtype=np.int64)
    return pa.LargeStringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


def _lists(schema: Any, name: str, lengths: Any, items: Any) -> Any:
    import numpy as np
    import pyarrow as pa

    kind = schema.field(name).type
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), items.cast(kind.value_type), type=kind)


def _keys(ids: Any, orders: Any, models: Any, each: int) -> list[Any]:
    import numpy as np
    import pyarrow as pa

    count = len(models) * each
    rows = pa.array(np.repeat(np.arange(len(orders)), count))
    names = pa.array(list(models)).take(
        pa.array(np.tile(np.repeat(np.arange(len(models)), each), len(orders)))
    )
    return [
        ids.take(rows),
        pa.array(np.repeat(orders, count)),
        names,
        pa.array(np.tile(np.arange(count), len(orders))),
    ]


def _programs(ids: Any, orders: Any, models: Any, each: int, texts: Any, schema: Any) -> Any:
    import numpy as np
    import pyarrow as pa

    rows = len(texts)
    columns = [
        *_keys(ids, orders, models, each),
        pa.array(np.tile(np.arange(each, dtype=np.int32), rows // each)),
        pa.repeat("sample-2", rows),
        pa.array(np.full(rows, 2, np.int32)),
        pa.repeat("stop", rows),
        pa.repeat(pa.scalar("", pa.large_string()), rows),
        texts,
    ]
    return pa.table(columns, schema=schema)


def _matrix(ids: Any, orders: Any, models: Any, each: int, passed: Any, chance: Any, schema: Any) -> Any:
    import numpy as np
    import pyarrow as pa

    rows, tests = passed.shape
    lengths = np.full(rows, tests)
    names = pa.array(["passed", "failed", "error", "cpu_timeout", "not_run"])
    codes = np.where(passed.ravel(), 0, chance.choice(4, passed.size, p=(0.7, 0.25, 0.03, 0.02)) + 1)
    statuses = pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int8)), names)
    modes = pa.DictionaryArray.from_arrays(pa.array(np.zeros(passed.size, np.int8)), pa.array(["plan"]))
    said = pa.array(["returned 0", "TypeError: unsupported operand", "returned [1, 2, 3]"], pa.large_string())
    messages = said.take(pa.array(chance.integers(0, 3, passed.size), mask=passed.ravel()))
    columns = [
        *_keys(ids, orders, models, each),
        _lists(schema, "statuses", lengths, statuses),
        _lists(schema, "sealed", lengths, pa.array(np.ones(passed.size, np.bool_))),
        _lists(schema, "modes", lengths, modes),
        _lists(schema, "messages", lengths, messages),
    ]
    return pa.table(columns, schema=schema)


# ---- one step, in a process of its own ----


def step(name: str, place: Path) -> dict[str, Any]:
    """Runs one stage of the builder, or the export, and says what it took."""
    import pyarrow as pa

    two = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, two)
    pa.set_cpu_count(len(two))
    begun, cpu = time.perf_counter(), time.process_time()
    rows = _export(place) if name == "export" else _stage(name, place)
    return {
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "rows": rows,
    }


def _stage(name: str, place: Path) -> int:
    built = build(load_recipe(place.parent / "recipe.yaml"), place, until=name)
    assert built.ran == [name], built.ran
    return built.stages[name].rows


def _export(place: Path) -> int:
    exported = export(place, place.parent / "exported")
    shutil.rmtree(exported.path)
    return sum(exported.rows.values())


# ---- the measurement ----


def main() -> None:
    made = parser(__doc__)
    made.add_argument(
        "--questions", type=int, action="append", help=f"default: {PUBLISHED // 10}; may be repeated"
    )
    made.add_argument("--full", action="store_true", help=f"{PUBLISHED // 10}, then {PUBLISHED}")
    made.add_argument(
        "--folder", metavar="DIR", help="where the builds lie meanwhile (default: a temporary folder)"
    )
    made.add_argument(
        "--step", nargs=2, metavar=("STEP", "DIR"), help="used by itself: one step of one build"
    )
    given = made.parse_args()
    if given.step:
        name, place = given.step[0], Path(given.step[1])
        if name == "make-up":
            make_up(place, (given.questions or [PUBLISHED])[0])
        elif name == "continue":
            continue_making_up(place)
        else:
            print(json.dumps(step(name, place)))
        return
    sizes = given.questions or ([PUBLISHED // 10, PUBLISHED] if given.full else [PUBLISHED // 10])
    if given.quick:
        sizes = [200, 400]
    findings = {}
    for questions in sizes:
        with tempfile.TemporaryDirectory(prefix="ace-views-", dir=given.folder) as folder:
            findings[questions] = dict(measure(Path(folder) / "build", questions))
    text = "\n\n".join(report(questions, findings) for questions in sizes)
    publish("views", {"sizes": {str(size): found for size, found in findings.items()}}, text, given.out)


def measure(place: Path, questions: int) -> Iterator[tuple[str, dict[str, Any]]]:
    talk(f"{questions:,} questions: making a build up")
    _child("make-up", place, questions)
    for name in STEPS:
        if name == "pass_rates":
            _child("continue", place, questions)
        found = json.loads(_child(name, place, questions))
        talk(f"{questions:,} questions: {name}: {found['seconds']:.1f} s, {found['peak_mb']:,.0f} MB")
        yield name, found


def _child(name: str, place: Path, questions: int) -> str:
    words = [sys.executable, "-m", "benchmarks.bench_views", "--step", name, str(place)]
    words += ["--questions", str(questions)]
    done = subprocess.run(words, cwd=HERE.parent, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"the step {name} ended with exit status {done.returncode}")
    return done.stdout


def report(questions: int, findings: dict[int, dict[str, dict[str, Any]]]) -> str:
    smallest = min(findings)
    base, found = findings[smallest], findings[questions]
    lines = []
    for name, took in found.items():
        linear = (took["seconds"] / questions) / (base[name]["seconds"] / smallest)
        lines.append([name, took["rows"], took["seconds"], took["cpu_seconds"], took["peak_mb"], linear])
    total = sum(took["seconds"] for took in found.values())
    peak = max(took["peak_mb"] for took in found.values())
    linear = (total / questions) / (sum(took["seconds"] for took in base.values()) / smallest)
    lines.append(["all", None, total, sum(took["cpu_seconds"] for took in found.values()), peak, linear])
    programs = questions * len(POLICIES) * SAMPLES
    held = "" if questions < PUBLISHED else (
        f"; bar: {LIMIT_MB:,} MB and {LIMIT_S:,} s, "
        f"{'held' if peak < LIMIT_MB and total < LIMIT_S else 'NOT held'}"
    )  # fmt: skip
    return f"{questions:,} questions, {programs:,} programs, {programs * KEPT:,} results{held}\n\n" + table(
        ["step", "rows", "s", "CPU s", "peak MB", "x per question"], lines
    )


if __name__ == "__main__":
    main()
