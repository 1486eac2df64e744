"""The rows of every stage: their columns, types and order. Everything in `data/` has one of these schemas.

Rows of every file are sorted by `order`, the row's place among the seeds (sources in the recipe's order, then in their
own); `id` is the published name (`evol_12`, `oss_1`, `stack_python_fns_7`). Text columns are `large_string`: a shard of
80 programs for each of a thousand questions passes 2 GiB. Nothing here holds a time, a cost or a host: those are in
`telemetry/`.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

TEXT = pa.large_string()
TEXTS = pa.list_(pa.field("item", TEXT, nullable=False))


def _schema(**columns: pa.DataType | tuple[pa.DataType]) -> pa.Schema:
    """A tuple of one marks a column that may be null."""
    return pa.schema(
        [
            pa.field(name, kind[0] if isinstance(kind, tuple) else kind, nullable=isinstance(kind, tuple))
            for name, kind in columns.items()
        ]
    )


_ROW = {"id": pa.string(), "source": pa.string(), "order": pa.int64()}

# What a seed is: `instruction` is null where the source has none.
SEEDS = _schema(**_ROW, instruction=(TEXT,), program=TEXT)

# A synthesized question with its imagined tests. `sample`: which draw was used (0 unless earlier ones did not parse).
QUESTIONS = _schema(
    **_ROW, question=TEXT, tests=TEXTS, model=pa.string(), format=pa.string(), sample=pa.int32()
)

# Programs, of reference models and of policies alike. `answer` is the model's text, `program` what was extracted of it
# (null where there is no code: such a row counts as a program that fails every test). `completion_id` counts on across
# models within a question, as published. `shown_tests`: how many tests its prompt showed.
PROGRAMS = _schema(
    id=pa.string(),
    order=pa.int64(),
    model=pa.string(),
    completion_id=pa.int64(),
    sample=pa.int32(),
    format=pa.string(),
    shown_tests=pa.int32(),
    ended=pa.string(),
    answer=TEXT,
    program=(TEXT,),
)

# The execution matrix: one row per program, one list item per test of the question's list (of the `questions` stage
# for reference programs, of `filtered` for samples). `statuses` holds the names of `acesandbox.Status`; `modes` the
# judging mode; `messages` is null for passed tests and has no addresses in it. CPU times, which no two runs share, lie
# in `telemetry/<stage>/` under CPU, row for row. A program that is null was not run: all "not_run".
_NAMES = pa.list_(pa.field("item", pa.dictionary(pa.int8(), pa.string()), nullable=False))
MATRIX = _schema(
    id=pa.string(),
    order=pa.int64(),
    model=pa.string(),
    completion_id=pa.int64(),
    statuses=_NAMES,
    sealed=pa.list_(pa.field("item", pa.bool_(), nullable=False)),
    modes=_NAMES,
    messages=pa.list_(pa.field("item", TEXT)),
)
CPU = _schema(
    order=pa.int64(), completion_id=pa.int64(), cpu_us=pa.list_(pa.field("item", pa.uint32(), nullable=False))
)

# Questions with the tests that are left. `kept`: their places in the question's own list. `confidence`: for each kept
# test the share of reference models that pass it (1.0 under the paper's single model).
FILTERED = _schema(
    **_ROW,
    question=TEXT,
    tests=TEXTS,
    kept=pa.list_(pa.field("item", pa.int32(), nullable=False)),
    tests_before=pa.int32(),
    entry_point=(pa.string(),),
    confidence=pa.list_(pa.field("item", pa.float64(), nullable=False)),
)

# Filtered questions whose tests were tried on mutants of the reference programs: how many mutants there were, how many
# the kept tests found, and the share (null where there were none). Everything that reads FILTERED reads this.
STRENGTH = pa.schema(
    [
        *FILTERED,
        pa.field("mutants", pa.int32(), nullable=False),
        pa.field("killed", pa.int32(), nullable=False),
        pa.field("score", pa.float64()),
    ]
)

# Pass rates of samples (the view that pairs, hard subset and export read).
PASS_RATES = _schema(
    id=pa.string(),
    order=pa.int64(),
    model=pa.string(),
    completion_id=pa.int64(),
    passed=pa.int32(),
    tests=pa.int32(),
    pass_rate=pa.float64(),
)

# Preference pairs: pointers, not copies; the texts are rendered at export.
PAIRS = _schema(
    id=pa.string(),
    order=pa.int64(),
    model=pa.string(),
    chosen=pa.int64(),
    rejected=pa.int64(),
    chosen_pass_rate=pa.float64(),
    rejected_pass_rate=pa.float64(),
    margin=pa.float64(),
)

# The subset for RL, with the two figures that chose it.
HARD = _schema(id=pa.string(), order=pa.int64(), mean=pa.float64(), deviation=pa.float64())

# Every stage's `dropped` files. `item`: which part of the row was dropped (a test's number), null for the whole row.
DROPS = _schema(id=pa.string(), order=pa.int64(), item=(pa.int32(),), reason=pa.string(), detail=TEXT)


@dataclass(frozen=True, slots=True)
class Drop:
    """What a stage left out and why.

    Attributes:
        id, order: the row.
        reason: short and countable, such as "fewer than 5 tests".
        detail: what a person wants to know then; no addresses, times or hosts in it.
        item: number of the part that was dropped; None: the whole row.
    """

    id: str
    order: int
    reason: str
    detail: str = ""
    item: int | None = None
