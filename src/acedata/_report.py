"""The report of a build: one HTML file that needs no network, for people.

Who writes what into it: the frame is a Jinja template with escaping on; plots are SVG made by `_pictures`; the
questions are JSON in a `<script type="application/json">`, read and shown by templates/report.js through `textContent`
alone. The page's Content-Security-Policy names the hashes of our own script and style: even text that became markup by
some mistake of ours could neither run nor load anything.

Questions, tests, programs, messages and names of models are other people's text throughout.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from . import _pictures as pictures
from ._agreement import agreed
from ._browse import Judged, Question, draw, read
from ._card import TEMPLATES, environment
from ._directory import Directory, naming
from ._figures import Figures, OfModel, figures
from ._funnel import Step, check_funnel, final_questions, funnel
from ._matrix import exact, flat, lists, orders
from ._plots import ink_on
from ._recipe import Recipe
from ._table1 import table1
from ._views import Definition, hard_questions, pass_rates, preference_pairs, published

QUESTIONS = 100
MAX_TEXT = 20_000
"""Characters of one text (question, program, test) that are shown."""
MAX_MESSAGE = 1_000
MAX_BYTES = 24 << 20
"""Questions are left out once the page holds this much of them."""
MAX_PROGRAMS_FOR_RULES = 1_000_000
"""Up to here the report also counts what other rules would make of the matrices, which reads all programs again."""

LETTERS = {
    "passed": "✓",
    "failed": "✗",
    "error": "E",
    "syntax_error": "S",
    "missing_module": "M",
    "cpu_timeout": "C",
    "wall_timeout": "W",
    "memory_limit": "R",
    "output_limit": "O",
    "process_limit": "P",
    "killed": "K",
    "blocked_syscall": "B",
    "exited": "X",
    "not_run": "–",
}
"""A status is told by its letter, not by its colour alone."""


def report(
    directory: Directory | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    questions: int = QUESTIONS,
    rules: bool | None = None,
) -> Path:
    """Writes the report.

    Args:
        directory: the build; it need not be finished.
        out: the file; None: `report.html` in the build's telemetry, since it tells times and costs.
        questions: how many to show with their matrices, drawn by the recipe's seed where there are more.
        rules: whether to count what each rule changes; None: where there are at most a million programs.

    Returns:
        The file.

    Raises:
        BadInput: the build is damaged.
        FunnelBroken: its counts do not add up.
    """
    build = directory if isinstance(directory, Directory) else Directory(directory)
    check_funnel(build)
    build.check()
    page = render_report(build, questions=questions, rules=rules)
    place = build.path / "telemetry" / "report.html" if out is None else Path(out)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(place.name + ".tmp")
    try:
        with naming(partial):
            partial.write_text(page, encoding="utf-8")
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
    return place


def render_report(build: Directory, *, questions: int = QUESTIONS, rules: bool | None = None) -> str:
    """The page as text."""
    recipe, counted, steps = build.recipe, figures(build), funnel(build)
    costs = costs_of(build)
    browser = _browser(build, questions, recipe.seed)
    programs = sum(model.programs for model in counted.samples.values())
    if rules is None:
        rules = programs <= MAX_PROGRAMS_FOR_RULES
    style, script = (TEMPLATES / "report.css").read_text(), (TEMPLATES / "report.js").read_text()
    everyone = [*counted.references.values(), *counted.samples.values()]
    seen = {status for model in everyone for status, count in model.statuses.items() if count}
    passes = sum(model.statuses["passed"] for model in everyone)
    facts = {
        "style": Markup(style),
        "style_hash": _csp_hash(style),
        "script": Markup(script),
        "script_hash": _csp_hash(script),
        "recipe": recipe,
        "steps": steps,
        "incomplete": [step for step in steps if step.incomplete],
        "figures": counted,
        "tiles": _tiles(steps, counted, costs),
        "table1": table1(counted),
        "funnel_picture": Markup(pictures.funnel_picture(steps)),
        "tests_picture": Markup(pictures.tests_picture(counted)) if counted.tests_before else "",
        "rates": [
            (name, model, Markup(pictures.rates_picture(name, model)))
            for name, model in counted.samples.items()
            if any(model.rates)
        ],
        "margins_picture": Markup(pictures.pairs_picture(counted)) if counted.margins else "",
        "models": _titled(counted),
        "seen": [status for status in LETTERS if status in seen],
        "sealed_passes": sum(model.sealed_passed for model in everyone) / passes if passes else 0.0,
        "failures_picture": Markup(pictures.failures_picture(dict(_titled(counted))))
        if seen - {"passed"}
        else "",
        "vote_rows": votes_of(counted, recipe),
        "rules": rules_of(build) if rules else [],
        "costs": costs,
        "costs_total": _total(costs),
        "hosts": sorted({host for row in costs for host in row.hosts}),
        "environment": environment(),
        "drawn": len(browser.questions),
        "everyone": browser.everyone,
        "cut": browser.cut,
        "data": Markup(browser.json()),
    }
    return _jinja().get_template("report.html.j2").render(**facts)


def _jinja() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "count": lambda value: f"{value:,}",
        "share": lambda value: f"{value:.2%}",
        "duration": duration,
        "money": money,
    }
    return made


def _csp_hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def duration(seconds: float) -> str:
    """12 ms, 1.25 s, 3 min 20 s, 5 h 02 min."""
    if 0 < seconds < 0.1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def money(dollars: float) -> str:
    """Cents, or more places where there are few of them."""
    return f"{dollars:,.2f}" if dollars >= 0.1 or not dollars else f"{dollars:.4f}"


# ---- time and cost ----


@dataclass(slots=True)
class Cost:
    """What a stage took, all its runs together.

    Attributes:
        asks: whether it asks models.
        answered, found, failed: requests that were sent and answered, that the store had, that got no answer.
        cpu_seconds: of its tests, None where it runs none.
        hosts: that it ran on.
    """

    stage: str
    runs: int = 0
    seconds: float = 0.0
    asks: bool = False
    answered: int = 0
    found: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    cpu_seconds: float | None = None
    hosts: tuple[str, ...] = ()


def costs_of(build: Directory) -> list[Cost]:
    """Time and cost of each stage, as telemetry has them. What telemetry lacks is 0: it is no part of the data."""
    made = []
    for stage in build.manifest:
        row = Cost(stage)
        hosts = set()
        for run in build.telemetry(stage).get("runs", []):
            row.runs += 1
            row.seconds += _number(run, "seconds")
            row.dollars += _number(run, "dollars")
            hosts.add(str(run.get("host", "")))
            models = run.get("models")
            for asked in models.values() if isinstance(models, dict) else ():
                row.asks = True
                for name in ("answered", "found", "failed", "prompt_tokens", "completion_tokens"):
                    setattr(row, name, getattr(row, name) + int(_number(asked, name)))
        for batch in build.cpu(stage):
            spent = pc.sum(lists(batch.column("cpu_us"))[0]).as_py() or 0
            row.cpu_seconds = (row.cpu_seconds or 0.0) + spent / 1e6
        row.hosts = tuple(sorted(hosts - {""}))
        made.append(row)
    return made


def _number(facts: Any, name: str) -> float:
    value = facts.get(name, 0) if isinstance(facts, dict) else 0
    return value if isinstance(value, (int, float)) and math.isfinite(value) else 0


def _total(costs: Iterable[Cost]) -> Cost:
    made = Cost("all", cpu_seconds=0.0)
    for row in costs:
        made.asks |= row.asks
        made.cpu_seconds = (made.cpu_seconds or 0.0) + (row.cpu_seconds or 0.0)
        for name in (
            "runs",
            "seconds",
            "answered",
            "found",
            "failed",
            "prompt_tokens",
            "completion_tokens",
            "dollars",
        ):
            setattr(made, name, getattr(made, name) + getattr(row, name))
    return made


def _tiles(steps: Sequence[Step], counted: Figures, costs: Sequence[Cost]) -> list[tuple[str, str]]:
    total, spent = counted.total, _total(costs)
    first = steps[0] if steps else None
    results = sum(model.results for model in [*counted.references.values(), *counted.samples.values()])
    tiles = []
    if first is not None:
        tiles.append((f"{first.rows_in:,}", f"{first.unit} read"))
    tiles += [
        (f"{total.questions_before:,}", "questions"),
        (f"{total.questions_after:,}", "questions kept"),
        (f"{total.tests_after:,}", "tests kept"),
        (f"{results:,}", "results judged"),
        (f"{total.pairs:,}", "pairs"),
        (f"{counted.hard:,}", "hard subset"),
        (duration(spent.seconds), "building"),
    ]
    return [*tiles, (f"${money(spent.dollars)}", "model answers")] if spent.asks else tiles


def _titled(counted: Figures) -> list[tuple[str, OfModel]]:
    made = [(f"{name} (reference)", model) for name, model in counted.references.items() if model.programs]
    return made + [(name, model) for name, model in counted.samples.items() if model.programs]


# ---- agreement ----


def votes_of(counted: Figures, recipe: Recipe) -> list[tuple[int, int, int, bool]]:
    """Tests by votes, the most agreed on first: (passed by, of so many, tests, whether that is enough to be kept)."""
    if counted.agreement is None:
        return []
    share = exact(recipe.filter.agreement)
    votes = sorted(counted.agreement.votes.items(), key=lambda item: (-item[0][1], -item[0][0]))
    return [
        (passed, solvers, tests, bool(agreed(np.array([passed]), np.array([solvers]), share)[0]))
        for (passed, solvers), tests in votes
    ]


# ---- rules ----


@dataclass(frozen=True, slots=True)
class Rule:
    """What one set of rules makes of the build's matrices. `hard` None: the recipe has no hard subset."""

    name: str
    pairs: int
    paired: int
    hard: int | None


def rules_of(build: Directory) -> list[Rule]:
    """Counts pairs and hard questions under both definitions and under each of their differences alone.

    Only questions and programs of this build are counted: "upstream" would also have sampled for questions with one
    test fewer, which a "paper" build has no programs of.
    """
    recipe = build.recipe
    if recipe.pairs is None or not build.has("sample_matrix") or build.has("telling"):
        return []
    variants: list[tuple[str, Definition, Definition]] = [
        ("paper: more than, kept tests", "paper", "paper"),
        ("at least instead of more than, ASCII questions only", "upstream", "paper"),
        ("pass rate over the tests before filtering", "paper", "upstream"),
        ("upstream: all of these", "upstream", "upstream"),
    ]
    return [_rule(build, recipe, *variant) for variant in variants]


def _rule(build: Directory, recipe: Recipe, name: str, compare: Definition, divide: Definition) -> Rule:
    assert recipe.pairs is not None
    stage = final_questions(build)
    samples = ["order", "completion_id", "program"]

    def questions() -> Iterable[Any]:
        return build.batches(stage)

    def rates() -> Iterable[Any]:
        matrix = build.batches("sample_matrix", ["id", "order", "model", "completion_id", "statuses"])
        return (view.rows for view in pass_rates(questions(), matrix, definition=divide))

    pairs = 0
    paired: set[int] = set()
    views = preference_pairs(
        questions(),
        build.batches("samples", samples),
        rates(),
        models=recipe.pairs.models,
        definition=compare,
        margin=recipe.pairs.margin,
        chosen_above=recipe.pairs.chosen_above,
        rejected_above=recipe.pairs.rejected_above,
    )
    for view in views:
        pairs += view.rows.num_rows
        paired.update(np.unique(flat(view.rows.column("order")).to_numpy()).tolist())
    hard = None
    if recipe.hard is not None:
        least = recipe.filter.min_tests
        places = [orders(batch) for batch in published(questions(), least)]
        public = pa.array(np.concatenate(places) if places else np.zeros(0, np.int64))
        theirs = (batch.filter(pc.is_in(batch.column("order"), public)) for batch in rates())
        views = hard_questions(published(questions(), least), theirs, models=recipe.hard.models)
        hard = sum(view.rows.num_rows for view in views)
    return Rule(name, pairs, len(paired), hard)


# ---- questions ----


class _Browser:
    """Collects questions as the page's script reads them, until the page is full."""

    def __init__(self, everyone: int) -> None:
        self.everyone = everyone
        self.cut = 0
        self.questions: list[dict[str, Any]] = []
        self._programs: list[str] = []
        self._known: dict[str, int] = {}
        self._bytes = 0
        self._statuses = {status: number for number, status in enumerate(LETTERS)}

    @property
    def full(self) -> bool:
        return self._bytes >= MAX_BYTES

    def add(self, question: Question) -> None:
        self.questions.append(
            {
                "id": question.id,
                "source": question.source,
                "text": self._text(question.text),
                "entry": question.entry_point,
                "lost": question.lost,
                "hard": question.hard,
                "pairs": question.pairs,
                "tests": [{"text": self._text(test.text), "lost": test.lost} for test in question.tests],
                "programs": [self._judged(program) for program in question.programs],
            }
        )

    def _judged(self, one: Judged) -> dict[str, Any]:
        self._bytes += 4 * len(one.statuses)
        return {
            "model": one.model,
            "id": one.completion_id,
            "reference": one.reference,
            "program": None if one.program is None else self._program(one.program),
            "statuses": [None if status is None else self._statuses[status] for status in one.statuses],
            "sealed": [int(sealed) for sealed in one.sealed],
            "messages": {
                place: self._text(message, MAX_MESSAGE)
                for place, message in enumerate(one.messages)
                if message
            },
            "passed": one.passed,
            "rate": one.rate,
        }

    def _program(self, program: str) -> int:
        """Equal programs are kept once."""
        if program not in self._known:
            self._known[program] = len(self._programs)
            self._programs.append(self._text(program))
        return self._known[program]

    def _text(self, text: str, most: int | None = None) -> str:
        most = MAX_TEXT if most is None else most
        if len(text) > most:
            self.cut += 1
            text = text[:most] + f"\n… [{len(text) - most:,} characters more]"
        self._bytes += len(text)
        return text

    def json(self) -> str:
        """As it may stand in a script element: nothing in it can end the element or begin another."""
        content = {
            "statuses": [
                {
                    "name": status,
                    "letter": letter,
                    "colour": pictures.STATUS_COLOURS[status],
                    "ink": ink_on(pictures.STATUS_COLOURS[status]),
                }
                for status, letter in LETTERS.items()
            ],
            "sources": sorted({question["source"] for question in self.questions}),
            "programs": self._programs,
            "questions": self.questions,
        }
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        for char in "<>&\u2028\u2029":
            text = text.replace(char, f"\\u{ord(char):04x}")
        return text


def _browser(build: Directory, count: int, seed: int) -> _Browser:
    if not build.has("checked"):
        return _Browser(0)
    chosen, everyone = draw(build, count, seed)
    made = _Browser(everyone)
    # A few at a time: what does not fit is not read.
    for start in range(0, len(chosen), 10):
        for question in read(build, chosen[start : start + 10]):
            if made.full:
                return made
            made.add(question)
    return made
