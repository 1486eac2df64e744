"""Reads one evaluation out of a `report.json`, which may have been written by hand: every value is of its type, and no
two contradict each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from acedata._errors import BadInput

from ._benchmarks import SPECS
from ._finite import finite

if TYPE_CHECKING:
    from ._evaluate import Evaluation, Judged, Task

T = TypeVar("T")
_CALLED: dict[Any, str] = {str: "a text", list: "a list", dict: "an object"}


def evaluation_from(values: Mapping[str, Any]) -> Evaluation:
    """What `Evaluation.to_dict` made.

    Raises:
        BadInput: it is not that; the message names the place.
    """
    from ._evaluate import Evaluation

    benchmark = _member(values, "benchmark", str)
    if benchmark not in SPECS:
        raise BadInput(f"benchmark: there is no {benchmark!r}; there are {', '.join(SPECS)}")
    tasks = [_task(one, f"tasks[{number}]") for number, one in enumerate(_member(values, "tasks", list))]
    if not tasks:
        raise BadInput("tasks: there is none")
    modules = _member(values, "missing_modules", dict)
    generated = values.get("generated")
    return Evaluation(
        benchmark,
        tasks,
        {str(name): _texts(modules, name, "missing_modules.") for name in modules},
        _texts(values, "unattempted"),
        _texts(values, "notes"),
        None if generated is None else _member(values, "generated", dict),
        # Reports of earlier versions have none.
        _texts(values, "unscored") if "unscored" in values else [],
    )


def _task(given: object, where: str) -> Task:
    from ._evaluate import Task

    at = f"{where}."
    passed, statuses = _member(given, "passed", list, at), _texts(given, "statuses", at)
    if len(passed) != len(statuses):
        raise BadInput(f"{where} has {len(passed)} samples in 'passed' and {len(statuses)} in 'statuses'")
    samples = [
        _judged(one, status, f"{at}passed[{number}]")
        for number, (one, status) in enumerate(zip(passed, statuses, strict=True))
    ]
    greedy = None
    if _has(given, "greedy"):
        one = _member(given, "greedy", dict, at)
        greedy = _judged(one.get("passed"), _member(one, "status", str, f"{at}greedy."), f"{at}greedy.passed")
    scores: dict[str, list[float]] = {}
    by_name = _member(given, "scores", dict, at)
    for name in by_name:
        listed = _member(by_name, name, list, f"{at}scores.")
        if len(listed) != len(samples):
            raise BadInput(f"{at}scores.{name} has {len(listed)} scores for {len(samples)} samples")
        scores[name] = [finite(one, f"{at}scores.{name}[{n}]") for n, one in enumerate(listed)]
    return Task(_member(given, "task_id", str, at), samples, greedy, scores)


def _judged(passed: object, status: str, where: str) -> Judged:
    from ._evaluate import UNKNOWN, Judged

    if passed is not None and not isinstance(passed, bool):
        raise BadInput(f"{where} must be true, false or null, not {repr(passed)[:80]}")
    if passed is not (None if status in UNKNOWN else status == "passed"):
        raise BadInput(f"{where} does not go with the status {status!r}")
    return Judged(passed, status)


def _has(values: object, name: str) -> bool:
    return isinstance(values, dict) and values.get(name) is not None


def _member(values: object, name: str, kind: type[T], where: str = "") -> T:
    """A named value of this type. Raises BadInput."""
    if not isinstance(values, Mapping):
        raise BadInput(
            f"{where.rstrip('.') or 'an evaluation'} must be an object, not {type(values).__name__}"
        )
    if name not in values:
        raise BadInput(f"{where}{name} is not there")
    value = values[name]
    if not isinstance(value, kind):
        raise BadInput(f"{where}{name} must be {_CALLED[kind]}, not {repr(value)[:80]}")
    return value


def _texts(values: object, name: str, where: str = "") -> list[str]:
    listed = _member(values, name, list, where)
    for number, one in enumerate(listed):
        if not isinstance(one, str):
            raise BadInput(f"{where}{name}[{number}] must be a text, not {repr(one)[:80]}")
    return list(listed)
