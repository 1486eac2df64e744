"""A build in the terminal: its stages and funnel, Table 1, what became of programs; or one question with its matrix.

Texts of models are printed as text: no markup of `rich` and no control sequence of a terminal in them is obeyed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

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
        _show_build(build, out)
    else:
        _show_question(build, next(read(build, [find(build, question)])), program, out)


def safe(text: object) -> str:
    """Any text without control characters, which a terminal would obey."""
    return _CONTROL.sub("\ufffd", str(text).replace("\r\n", "\n"))


def _show_build(build: Directory, out: Console) -> None:
    recipe = build.recipe
    out.print(Text(f"{recipe.name}", "bold"), Text(f"({recipe.definition}) in {build.path}"))
    costs = {cost.stage: cost for cost in costs_of(build)}
    table = Table("stage", "counts", title="Funnel", title_justify="left")
    for head in ("in", "out", "rows"):
        table.add_column(head, justify="right")
    table.add_column("dropped")
    for head in ("time", "dollars"):
        table.add_column(head, justify="right")
    for step in funnel(build):
        lost = [f"{number(count)} {safe(reason)}" for reason, count in step.dropped]
        lost += [f"{number(count)} parts: {safe(reason)}" for reason, count in step.dropped_items]
        if step.incomplete:
            lost.append(f"{number(step.incomplete)} another run may mend")
        cost = costs.get(step.stage, Cost(step.stage))
        table.add_row(
            step.stage,
            step.unit,
            number(step.rows_in),
            number(step.rows_out),
            number(step.rows),
            Text("\n".join(lost)),
            duration(cost.seconds),
            money(cost.dollars) if cost.asks else "",
        )
    out.print(table)
    counted = figures(build)
    _show_table1(counted, out)
    _show_models(counted, out)


def _show_table1(counted: Figures, out: Console) -> None:
    made = table1(counted)
    table = Table("Subset", title="Table 1", title_justify="left")
    for column in made.columns:
        table.add_column(Text(safe(column)), justify="right")
    for row in made.rows:
        if row.cells:
            table.add_row(row.name, *row.cells)
        else:
            table.add_section()
            table.add_row(Text(row.name, "bold"))
    out.print(table)


def _show_models(counted: Figures, out: Console) -> None:
    everyone = [(f"{name} (reference)", model) for name, model in counted.references.items()]
    everyone += list(counted.samples.items())
    everyone = [(name, model) for name, model in everyone if model.programs]
    if not everyone:
        return
    table = Table("model", title="Programs", title_justify="left")
    for head in ("programs", "no code", "mean rate", "rate 1", "rate 0", "passed", "sealed"):
        table.add_column(head, justify="right")
    table.add_column("not passed")
    for name, model in everyone:
        missed = [
            f"{status} {count:,}"
            for status, count in sorted(model.statuses.items(), key=lambda item: (-item[1], item[0]))
            if status != "passed" and count
        ]
        rated = any(model.rates)
        table.add_row(
            Text(safe(name)),
            number(model.programs),
            number(model.without_code),
            f"{model.mean_rate:.3f}" if rated else "",
            number(model.rates[-1]) if rated else "",
            number(model.rates[0]) if rated else "",
            f"{model.statuses['passed'] / model.results:.1%}" if model.results else "",
            f"{model.sealed / model.run:.1%}" if model.run else "",
            Text(", ".join(missed)),
        )
    out.print(table)


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
    table.add_column(
        Text("".join(f"{place + 1:>3}" for place in range(len(question.tests)))), overflow="fold"
    )
    for one in question.programs:
        rate = "no code" if one.program is None else _rate(one)
        name = f"{safe(one.model)} #{one.completion_id}" + (" (reference)" if one.reference else "")
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
    return f"{one.passed} passed" if one.rate is None else f"{one.rate:.2f}"


def _results(one: Judged) -> Iterable[tuple[str | None, bool]]:
    """Status and seal of each test; what was not run has no seal to lack."""
    return [
        (status, sealed or status == "not_run")
        for status, sealed in zip(one.statuses, one.sealed, strict=True)
    ]


def _cell(result: tuple[str | None, bool]) -> Text:
    status, sealed = result
    if status is None:
        return Text("   ")
    return Text(f" {LETTERS[status]}" + (" " if sealed else "*"), _STYLES.get(status, _OTHER))


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
