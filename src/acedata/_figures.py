"""The numbers that card, report and terminal view show, each counted once, in one pass over a build's rows.

Memory does not grow with the number of programs: only the place and source of each question are kept. Nothing is
estimated; what a build does not have (no policies yet, say) is left empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ._agreement import Agreement, agreement
from ._directory import Directory
from ._funnel import final_questions
from ._matrix import flat, lists, names_equal, orders

RATE_LABELS = ("0", "<.1", ".1", ".2", ".3", ".4", ".5", ".6", ".7", ".8", ".9", "1")
"""Histograms of pass rates: exactly 0, then a tenth each from its lower end, then exactly 1."""


@dataclass(slots=True)
class OfSource:
    """What one source of questions gave. "Before" and "after" are the filter's two sides, as in the paper's Table 1."""

    questions_before: int = 0
    tests_before: int = 0
    questions_after: int = 0
    tests_after: int = 0
    pairs: int = 0
    paired_questions: int = 0

    def add(self, other: OfSource) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(slots=True)
class OfModel:
    """What came of one model's programs.

    Attributes:
        programs: rows; `without_code`: those whose answer held no program.
        statuses: results (one per program and test) by status.
        sealed: results of tests that were run and that the program could not have forged; `sealed_passed`: of those,
            the passed ones.
        rates: programs by pass rate, as RATE_LABELS. Empty for reference programs, which have tests, not rates.
        rate_sum: sum of the pass rates.
    """

    programs: int = 0
    without_code: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    sealed: int = 0
    sealed_passed: int = 0
    rates: list[int] = field(default_factory=lambda: [0] * len(RATE_LABELS))
    rate_sum: float = 0.0

    @property
    def results(self) -> int:
        return self.statuses.total()

    @property
    def run(self) -> int:
        """Results of tests that were tried."""
        return self.results - self.statuses["not_run"]

    @property
    def mean_rate(self) -> float:
        rated = sum(self.rates)
        return self.rate_sum / rated if rated else 0.0


@dataclass(slots=True)
class Figures:
    """All of it. Models and sources stand in the order of the recipe, then of appearance.

    Attributes:
        tests_before, tests_after: questions by number of tests, on the filter's two sides.
        pairs_per_question: questions by number of pairs; those without any are not counted.
        margins: pairs by margin, in tenths from the lower end.
        hard_means, hard_deviations: smallest and largest of the hard subset; None where it is empty.
        agreement: what the reference models make of the same tests; None where there is one, or none.
    """

    sources: dict[str, OfSource] = field(default_factory=dict)
    tests_before: Counter[int] = field(default_factory=Counter)
    tests_after: Counter[int] = field(default_factory=Counter)
    references: dict[str, OfModel] = field(default_factory=dict)
    samples: dict[str, OfModel] = field(default_factory=dict)
    pairs_per_question: Counter[int] = field(default_factory=Counter)
    margins: Counter[int] = field(default_factory=Counter)
    hard: int = 0
    hard_means: tuple[float, float] | None = None
    hard_deviations: tuple[float, float] | None = None
    agreement: Agreement | None = None

    @property
    def total(self) -> OfSource:
        """All sources together."""
        made = OfSource()
        for source in self.sources.values():
            made.add(source)
        return made


def figures(directory: Directory) -> Figures:
    """Counts everything once.

    Raises:
        BadInput: a file of the build is damaged.
    """
    recipe = directory.recipe
    built = directory.manifest
    made = Figures(
        sources={source.name: OfSource() for source in recipe.seeds.sources},
        references={name: OfModel() for name in recipe.references.models},
        samples={name: OfModel() for name in recipe.samples.models},
    )
    if "checked" in built:
        for batch in directory.batches("checked", ["source", "tests"]):
            _count_questions(made, batch, lists(batch.column("tests"))[1], before=True)
    places: list[npt.NDArray[np.int64]] = []
    names: list[Any] = []
    if "filtered" in built:
        for batch in directory.batches(final_questions(directory), ["order", "source", "kept"]):
            _count_questions(made, batch, lists(batch.column("kept"))[1], before=False)
            places.append(orders(batch))
            names.append(flat(batch.column("source")))
    if "pairs" in built and places:
        sources = pa.concat_arrays(names).to_numpy(zero_copy_only=False)
        _count_pairs(made, directory.batches("pairs", ["order", "margin"]), np.concatenate(places), sources)
    for stage, models in (("reference_matrix", made.references), ("sample_matrix", made.samples)):
        if stage in built:
            for batch in directory.batches(stage, ["model", "statuses", "sealed"]):
                _count_results(models, batch)
    for stage, models in (("references", made.references), ("samples", made.samples)):
        if stage in built:
            for batch in directory.batches(stage, ["model", "ended", "program"]):
                _count_programs(models, batch)
    if "pass_rates" in built:
        for batch in directory.batches("pass_rates", ["model", "pass_rate"]):
            _count_rates(made.samples, batch)
    if "hard" in built:
        _count_hard(made, directory.batches("hard", ["mean", "deviation"]))
    if "reference_matrix" in built and len(recipe.references.models) > 1:
        made.agreement = agreement(directory.batches("reference_matrix", ["order", "model", "statuses"]))
    if recipe.starts:
        # Rows that name their source themselves leave the recipe's name for it without any.
        made.sources = {name: source for name, source in made.sources.items() if source.questions_before}
    return made


def _count_questions(made: Figures, batch: Any, tests: npt.NDArray[np.int64], *, before: bool) -> None:
    names, codes = _coded(batch.column("source"))
    questions = np.bincount(codes, minlength=len(names))
    sums = np.bincount(codes, weights=tests, minlength=len(names))
    for name, count, total in zip(names, questions, sums, strict=True):
        source = made.sources.setdefault(name, OfSource())
        if before:
            source.questions_before += int(count)
            source.tests_before += int(total)
        else:
            source.questions_after += int(count)
            source.tests_after += int(total)
    counted = made.tests_before if before else made.tests_after
    for length, count in zip(*np.unique(tests, return_counts=True), strict=True):
        counted[int(length)] += int(count)


def _count_pairs(
    made: Figures, batches: Iterable[Any], questions: npt.NDArray[np.int64], sources: npt.NDArray[Any]
) -> None:
    counts = np.zeros(len(questions), np.int64)
    for batch in batches:
        np.add.at(counts, np.searchsorted(questions, orders(batch)), 1)
        margins = flat(batch.column("margin")).to_numpy(zero_copy_only=False)
        tenths = np.minimum(np.floor(margins * 10).astype(np.int64), 9)
        for tenth, count in zip(*np.unique(tenths, return_counts=True), strict=True):
            made.margins[int(tenth)] += int(count)
    for name, count in zip(sources[counts > 0], counts[counts > 0], strict=True):
        source = made.sources.setdefault(str(name), OfSource())
        source.pairs += int(count)
        source.paired_questions += 1
        made.pairs_per_question[int(count)] += 1


def _count_results(models: dict[str, OfModel], batch: Any) -> None:
    names, codes = _coded(batch.column("model"))
    items, lengths = lists(batch.column("statuses"))
    if isinstance(items, pa.DictionaryArray):
        statuses, kinds = items.dictionary.to_pylist(), items.indices.to_numpy(zero_copy_only=False)
    else:
        statuses, kinds = _coded(items)
    # What was not run has nothing that could be forged, sealed or not.
    sealed = lists(batch.column("sealed"))[0].to_numpy(zero_copy_only=False) & ~names_equal(items, "not_run")
    passed = names_equal(items, "passed")
    whose = np.repeat(codes, lengths)
    width = max(1, len(statuses))
    table = np.bincount(whose * width + kinds, minlength=len(names) * width).reshape(len(names), -1)
    by_sealed = np.bincount(whose[sealed], minlength=len(names))
    by_both = np.bincount(whose[sealed & passed], minlength=len(names))
    for place, name in enumerate(names):
        model = models.setdefault(name, OfModel())
        model.sealed += int(by_sealed[place])
        model.sealed_passed += int(by_both[place])
        for status, count in zip(statuses, table[place], strict=True):
            if count:
                model.statuses[status] += int(count)


def _count_programs(models: dict[str, OfModel], batch: Any) -> None:
    names, codes = _coded(batch.column("model"))
    programs = np.bincount(codes, minlength=len(names))
    missing = pc.is_null(flat(batch.column("program"))).to_numpy(zero_copy_only=False)
    without = np.bincount(codes[missing], minlength=len(names))
    for place, name in enumerate(names):
        model = models.setdefault(name, OfModel())
        model.programs += int(programs[place])
        model.without_code += int(without[place])


def _count_rates(models: dict[str, OfModel], batch: Any) -> None:
    names, codes = _coded(batch.column("model"))
    rates = flat(batch.column("pass_rate")).to_numpy(zero_copy_only=False)
    bins = np.clip(np.floor(rates * 10).astype(np.int64), 0, 9) + 1
    bins[rates <= 0] = 0
    bins[rates >= 1] = len(RATE_LABELS) - 1
    width = len(RATE_LABELS)
    table = np.bincount(codes * width + bins, minlength=len(names) * width).reshape(len(names), -1)
    totals = np.bincount(codes, weights=rates, minlength=len(names))
    for place, name in enumerate(names):
        model = models.setdefault(name, OfModel())
        model.rates = [mine + int(more) for mine, more in zip(model.rates, table[place], strict=True)]
        model.rate_sum += float(totals[place])


def _count_hard(made: Figures, batches: Iterable[Any]) -> None:
    for batch in batches:
        if not batch.num_rows:
            continue
        made.hard += batch.num_rows
        made.hard_means = _widened(made.hard_means, batch.column("mean"))
        made.hard_deviations = _widened(made.hard_deviations, batch.column("deviation"))


def _widened(known: tuple[float, float] | None, column: Any) -> tuple[float, float]:
    least, most = pc.min_max(flat(column)).as_py().values()
    return (least, most) if known is None else (min(known[0], least), max(known[1], most))


def _coded(column: Any) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The distinct names of a column, and for each row which of them it is."""
    encoded = flat(column)
    if not isinstance(encoded, pa.DictionaryArray):
        encoded = encoded.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return encoded.dictionary.to_pylist(), codes
