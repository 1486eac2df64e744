"""Several strong solvers instead of one: how sure a test is, and on which tests solvers disagree.

The paper trusts one reference program per question: what it fails is taken for a wrong test. A wrong test that this
program happens to pass stays, a right one that it fails goes. With k programs a test's confidence is the share that
passes it, and the recipe's `filter.agreement` is the least share that keeps it: 1.0 keeps what nobody fails (fewer,
surer tests), 0.5 what half of them pass (more tests, and questions that one solver alone could not save).

`_views` filters by `agreed`; `agreement` counts who stands with whom, for the report, the card and the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ._matrix import PASSED, Bools, Ints, flat, lists, names_equal, offsets_of, orders, sums, within


def agreed(passed: Ints, solvers: Ints, share: Fraction) -> Bools:
    """Which tests enough solvers pass: compared in whole numbers, so 2 of 3 is not less than two thirds.

    Args:
        passed, solvers: of each test, how many programs pass it, and how many there are. Nobody agrees on nothing.
    """
    enough: Bools = (passed * share.denominator >= solvers * share.numerator) & (solvers > 0)
    return enough


@dataclass(slots=True)
class Agreement:
    """What several solvers make of the same tests.

    Attributes:
        programs: of each solver.
        passed: tests that it passes.
        tests: tests that it was asked.
        votes: (solvers that pass, solvers there are) to the number of such tests.
        alone: of each solver, tests that it passes and everybody else fails.
        against: of each solver, tests that it fails and everybody else passes.
    """

    programs: dict[str, int] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)
    tests: dict[str, int] = field(default_factory=dict)
    votes: dict[tuple[int, int], int] = field(default_factory=dict)
    alone: dict[str, int] = field(default_factory=dict)
    against: dict[str, int] = field(default_factory=dict)

    @property
    def judged(self) -> int:
        """Tests that some solver was asked."""
        return sum(self.votes.values())

    @property
    def disputed(self) -> int:
        """Tests that some solvers pass and others fail."""
        return sum(count for (passed, solvers), count in self.votes.items() if 0 < passed < solvers)


def agreement(matrix: Iterable[Any]) -> Agreement:
    """Counts votes over a matrix of reference programs; rows of one question are neighbours."""
    found = Agreement()
    held: Any = None
    for batch in matrix:
        if not batch.num_rows:
            continue
        table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
        table = table.select(["order", "model", "statuses"])
        held = table if held is None else pa.concat_tables([held, table])
        cut = int(np.searchsorted(orders(held), orders(held)[-1], side="left"))
        _count(found, held.slice(0, cut))
        held = held.slice(cut)
    if held is not None:
        _count(found, held)
    return found


def _count(found: Agreement, rows: Any) -> None:
    """Whole questions."""
    if not rows.num_rows:
        return
    statuses, lengths = lists(rows.column("statuses"))
    passed = names_equal(statuses, PASSED)
    _, question = np.unique(orders(rows), return_inverse=True)
    counts = np.zeros(int(question[-1]) + 1, np.int64)
    np.maximum.at(counts, question, lengths)
    starts = offsets_of(counts)
    test = np.repeat(starts[question], lengths) + within(lengths)
    solvers = np.bincount(test, minlength=int(starts[-1]))
    votes = np.bincount(test[passed], minlength=int(starts[-1]))
    pairs, numbers = np.unique(np.stack([votes, solvers]), axis=1, return_counts=True)
    for (vote, of), number in zip(pairs.T.tolist(), numbers.tolist(), strict=True):
        found.votes[vote, of] = found.votes.get((vote, of), 0) + number

    models = pc.dictionary_encode(flat(rows.column("model")))
    codes = models.indices.to_numpy(zero_copy_only=False)
    own = offsets_of(lengths)
    several = solvers[test] > 1
    alone = sums(passed & several & (votes[test] == 1), own)
    against = sums(~passed & several & (votes[test] == solvers[test] - 1), own)
    won = sums(passed, own)
    for code, name in enumerate(models.dictionary.to_pylist()):
        mine = codes == code
        for counted, amount in (
            (found.programs, int(mine.sum())),
            (found.tests, int(lengths[mine].sum())),
            (found.passed, int(won[mine].sum())),
            (found.alone, int(alone[mine].sum())),
            (found.against, int(against[mine].sum())),
        ):
            counted[name] = counted.get(name, 0) + amount
