"""A build in the terminal: its stages and funnel, Table 1, what became of programs; or one question with its matrix.

Texts of models are printed as text: no markup of `rich` and no control sequence of a terminal in them is obeyed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ._agreement import Agreement
from ._browse import Judged, Question, find, read
from ._directory import Directory
from ._errors import BadInput
from ._figures import Figures, figures
from ._funnel import check_funnel, funnel
from ._plots import number
from ._report import LETTERS, Cost, costs_of, duration, money
from ._table1 import table1

_STYLES = {
    "passed": "black on green",
    "failed": "white on red",
    "error": "black on yellow",
    "not_run": "black on bright_black",
}
_OTHER = "white on magenta"
# Everything that moves the cursor, changes colours or rings; line breaks and tabs stay.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def show(
    directory: Directory | str | os.PathLike[str],
    *,
    question: str | None = None,
    program: int | None = None,
    console: Console | None = None,
) -> None:
    """Prints a build.

    Args:
        directory: the build; it need not be finished.
        question: id of the one question to show with its matrix; None: the whole build.
        program: completion id of one of its programs, whose text and messages are printed too.
        console: where to; None: standard output.

    Raises:
        BadInput: there is no such question or program, or the build is damaged.
        FunnelBroken: the build's counts do not add up.
    """
    build = directory if isinstance(directory, Directory) else Directory(directory)
    out = console or Console(highlight=False)
    if question is None:
        if program is not None:
            raise BadInput("a program is one of a question's: say which question")
        check_funnel(build)
        build.check()
        _show_build(build, out)
    else:
        _show_question(build, next(read(build, [find(build, question)])), program, out)


def safe(text: object) -> str:
    """Any text without control characters, which a terminal would obey."""
    return _CONTROL.sub("\ufffd", str(text).replace("\r\n", "\n"))


def _show_build(build: Directory, out: Console) -> None:
    recipe = build.recipe
    out.print(Text(recipe.name, "bold"), Text(f"({recipe.definition}) in {build.path}"))
    out.print()
    costs = {cost.stage: cost for cost in costs_of(build)}
    rows, notes = [], []
    for step in funnel(build):
        cost = costs.get(step.stage, Cost(step.stage))
        spent = f"${money(cost.dollars)}" if cost.asks else ""
        numbers = [number(count) for count in (step.rows_in, step.rows_out, step.rows)]
        rows.append([step.stage, *numbers, step.unit, duration(cost.seconds), spent])
        lost = [f"dropped: {_counts(step.dropped)}"] if step.dropped else []
        lost += [f"parts dropped: {_counts(step.dropped_items)}"] if step.dropped_items else []
        if step.incomplete:
            lost.append(f"incomplete: {step.incomplete:,}, which another run may mend")
        notes.append(lost)
    _table(out, "Funnel", ["stage", "in", "out", "rows", "of", "time", "dollars"], rows, notes, left=(0, 4))
    counted = figures(build)
    made = table1(counted)
    _table(
        out,
        "Table 1",
        ["", *made.columns],
        [[row.name, *row.cells] for row in made.rows],
        [[] for _ in made.rows],
    )
    _show_models(counted, out)
    if counted.agreement is not None:
        _show_agreement(counted.agreement, recipe.filter.agreement, out)


def _show_models(counted: Figures, out: Console) -> None:
    everyone = [(f"{name} (reference)", model) for name, model in counted.references.items()]
    everyone += list(counted.samples.items())
    rows, notes = [], []
    for name, model in everyone:
        if not model.programs:
            continue
        rated = any(model.rates)
        rows.append(
            [
                name,
                number(model.programs),
                f"{model.statuses['passed'] / model.results:.1%}" if model.results else "",
                f"{model.sealed / model.run:.1%}" if model.run else "",
                f"{model.mean_rate:.3f}" if rated else "",
                number(model.rates[-1]) if rated else "",
                number(model.rates[0]) if rated else "",
            ]
        )
        missed = [(status, count) for status, count in model.statuses.items() if status != "passed" and count]
        missed.sort(key=lambda item: (-item[1], item[0]))
        notes.append([f"not passed: {_counts(missed)}"] if missed else [])
        if model.without_code:
            notes[-1].append(f"answers without code: {model.without_code:,}")
    if rows:
        heads = ["model", "programs", "passed", "sealed", "mean rate", "rate 1", "rate 0"]
        _table(out, "Programs", heads, rows, notes)


def _show_agreement(votes: Agreement, share: float, out: Console) -> None:
    rows = [
        [
            name,
            *(number(counts[name]) for counts in (votes.programs, votes.passed, votes.alone, votes.against)),
        ]
        for name in votes.programs
    ]
    rows.append(["tests", number(votes.judged), "", "", ""])
    notes: list[list[str]] = [[] for _ in votes.programs]
    notes.append([f"disputed: {votes.disputed:,}; kept where a share of {share:g} of the programs pass"])
    heads = ["reference model", "programs", "passed", "passed alone", "failed alone"]
    _table(out, "Agreement", heads, rows, notes)


def _counts(items: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in items)


def _table(
    out: Console,
    title: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[Sequence[str]],
    left: Sequence[int] = (0,),
) -> None:
    """Columns as wide as they must be, and under each row its notes: these may be long, and would crush a column."""
    cells = [[safe(cell) for cell in row] + [""] * (len(heads) - len(row)) for row in (heads, *rows)]
    widths = [max(cell_len(row[place]) for row in cells) for place in range(len(heads))]
    out.print(Text(title, "bold"))
    for place, row in enumerate(cells):
        line = Text("  ")
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            gap = " " * (width - cell_len(cell))
            line.append(cell + gap if column in left else gap + cell)
            line.append("  ")
        line.rstrip()
        if place == 0 or not any(row[1:]):
            line.stylize("bold" if place else "bright_black")
        out.print(line)
        for note in notes[place - 1] if place else ():
            out.print(Padding(Text(safe(note), "bright_black"), (0, 0, 0, 6)))
    out.print()


def _show_question(build: Directory, question: Question, program: int | None, out: Console) -> None:
    kept = sum(test.lost is None for test in question.tests)
    facts = [question.source, f"{kept} of {len(question.tests)} tests kept"]
    facts.append("kept" if question.lost is None else f"dropped at {question.lost}")
    if question.hard is not None:
        facts.append(f"hard (mean {question.hard[0]:.3f}, deviation {question.hard[1]:.3f})")
    if question.pairs:
        facts.append(f"{question.pairs} pairs")
    title = Text(f" {safe(question.id)} ", "bold")
    out.print(Panel(Text(safe(question.text)), title=title, subtitle=Text(safe(", ".join(facts)))))
    for place, test in enumerate(question.tests):
        line = Text(f"{place + 1:>3}  ", "bright_black").append(
            safe(test.text), "bright_black" if test.lost else ""
        )
        if test.lost:
            line.append(f"   dropped: {safe(test.lost)}", "red")
        out.print(line)
    if question.programs:
        out.print()
        _show_matrix(question, out)
    if program is not None:
        _show_program(question, program, out)


def _show_matrix(question: Question, out: Console) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("program")
    table.add_column("rate", justify="right")
    # One column for all tests: where there are too many for the terminal, it goes on in the next line.
    numbers = "".join(f"{place or 1:<{10 if place else 8}}" for place in range(0, len(question.tests) + 1, 5))
    table.add_column(Text(numbers[: 2 * len(question.tests)]), overflow="fold")
    for one in question.programs:
        rate = "no code" if one.program is None else _rate(one)
        name = f"{safe(one.model)} #{one.completion_id}" + (" (ref.)" if one.reference else "")
        table.add_row(Text(name), rate, Text.assemble(*map(_cell, _results(one))))
    out.print(table)
    seen = {status for one in question.programs for status in one.statuses if status}
    legend = Text()
    for status, letter in LETTERS.items():
        if status in seen:
            legend.append(f" {letter} ", _STYLES.get(status, _OTHER)).append(f" {status}   ")
    if any(status and not sealed for one in question.programs for status, sealed in _results(one)):
        legend.append("* not sealed")
    out.print(legend)


def _rate(one: Judged) -> str:
    return f"{one.passed}/{len(one.statuses)}" if one.rate is None else f"{one.rate:.2f}"


def _results(one: Judged) -> Iterable[tuple[str | None, bool]]:
    """Status and seal of each test; what was not run has no seal to lack."""
    return [
        (status, sealed or status == "not_run")
        for status, sealed in zip(one.statuses, one.sealed, strict=True)
    ]


def _cell(result: tuple[str | None, bool]) -> Text:
    status, sealed = result
    if status is None:
        return Text("  ")
    return Text(LETTERS[status] + (" " if sealed else "*"), _STYLES.get(status, _OTHER))


def _show_program(question: Question, number: int, out: Console) -> None:
    chosen = [one for one in question.programs if one.completion_id == number and not one.reference]
    chosen = chosen or [one for one in question.programs if one.completion_id == number]
    if not chosen:
        known = ", ".join(str(one.completion_id) for one in question.programs) or "none"
        raise BadInput(f"{question.id} has no program {number}; there are {known}")
    one = chosen[0]
    title = Text(f" {safe(one.model)} #{one.completion_id} ", "bold")
    out.print(
        Panel(Text("The answer held no program." if one.program is None else safe(one.program)), title=title)
    )
    said: dict[tuple[str, str], list[str]] = {}
    for place, message in enumerate(one.messages):
        if message:
            said.setdefault((str(one.statuses[place]), message), []).append(str(place + 1))
    for (status, message), places in said.items():
        line = Text(f"{'test' if len(places) == 1 else 'tests'} {', '.join(places)}  ", "bright_black")
        out.print(line.append(f"{status}: ", "bold").append(safe(message)))
