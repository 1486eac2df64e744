"""Evaluation from Python: what `acetrain evaluate` is made of.

    from acetrain.evaluation import Samples, evaluate, open_benchmark, open_sandbox

    benchmark = open_benchmark("humaneval", "HumanEval.jsonl.gz")
    with open_sandbox(benchmark.spec) as sandbox:
        found = evaluate(benchmark, Samples("samples.jsonl", benchmark.spec.prefix), sandbox)
    print(found.headline(), found.reasons)

docs/evaluation.md says what the numbers mean.
"""

from ._benchmarks import SPECS, Benchmark, Problem, Spec, open_benchmark
from ._bootstrap import Interval
from ._evaluate import Evaluation, Numbers, Scorer, Task, evaluate, open_sandbox, score_by_tests
from ._generate import Asked, Generated, generate
from ._pass_at_k import best_of_k, pass_at_k
from ._samples import Sample, Samples
from ._table import Table, as_json, markdown, plot, table

__all__ = [
    "SPECS",
    "Asked",
    "Benchmark",
    "Evaluation",
    "Generated",
    "Interval",
    "Numbers",
    "Problem",
    "Sample",
    "Samples",
    "Scorer",
    "Spec",
    "Table",
    "Task",
    "as_json",
    "best_of_k",
    "evaluate",
    "generate",
    "markdown",
    "open_benchmark",
    "open_sandbox",
    "pass_at_k",
    "plot",
    "score_by_tests",
    "table",
]
