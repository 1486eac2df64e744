"""A dataset's statistics in the form of the paper's Table 1: before and after the filter, by source, then all.

Rows as there: examples and tests per example on both sides of the filter, then preference pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

from ._figures import Figures

TITLES = {"evol": "Evol", "oss": "OSS", "stack_python_fns": "Stack Python"}
"""The paper's names of its sources; others keep their own."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a heading without cells, or a name and a cell for each column."""

    name: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table1:
    """Ready to be set as text of any kind.

    Attributes:
        columns: heads of the columns after the first.
        rows: lines from the top.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def markdown(self) -> str:
        """As a Markdown table."""
        lines = [
            "| Subset | " + " | ".join(_plain(column) for column in self.columns) + " |",
            "|---|" + "---:|" * len(self.columns),
        ]
        for row in self.rows:
            cells = row.cells or ("",) * len(self.columns)
            name = row.name if row.cells else f"**{row.name}**"
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"


def table1(figures: Figures) -> Table1:
    """Sets the numbers."""
    columns = [(TITLES.get(name, name), source) for name, source in figures.sources.items()]
    columns.append(("Overall", figures.total))
    of = [source for _, source in columns]
    rows = [
        Row("Before filtering"),
        Row("# Examples", tuple(f"{one.questions_before:,}" for one in of)),
        Row("# Avg. test cases", tuple(_mean(one.tests_before, one.questions_before) for one in of)),
        Row("After filtering"),
        Row("# Examples", tuple(f"{one.questions_after:,}" for one in of)),
        Row("# Avg. test cases", tuple(_mean(one.tests_after, one.questions_after) for one in of)),
        Row("Preference pairs"),
        Row("# Pairs", tuple(f"{one.pairs:,}" for one in of)),
        Row("# Questions with pairs", tuple(f"{one.paired_questions:,}" for one in of)),
    ]
    return Table1(tuple(name for name, _ in columns), tuple(rows))


def _mean(total: int, count: int) -> str:
    return f"{total / count:.2f}" if count else "–"


def _plain(name: str) -> str:
    """A name as it may stand in a Markdown table: names of sources follow the recipe's rule, imported ones may not."""
    return "".join(char if char.isalnum() or char in " ._-" else "_" for char in name)
