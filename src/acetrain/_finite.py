"""Numbers that come from outside: files, endpoints, functions, reports."""

from __future__ import annotations

import math

from acedata._errors import BadInput


def finite(value: object, what: str) -> float:
    """A value as a number to compute with.

    Args:
        what: where it stands, for the message: a file with its line, a model, a task.

    Raises:
        BadInput: it is no number, or is infinite or NaN, or too large to be held (`1e999`, a whole number of 400
            digits). Truth values are no numbers.
    """
    try:
        if isinstance(value, (bool, str, bytes)):
            raise TypeError
        number = float(value)  # type: ignore[arg-type]  # numpy's and torch's numbers count
    except OverflowError:
        raise BadInput(f"{what} must be a finite number, not one beyond 1.8e308") from None
    except (TypeError, ValueError, RuntimeError):
        raise BadInput(f"{what} must be a number, not {repr(value)[:80]}") from None
    if not math.isfinite(number):
        raise BadInput(f"{what} must be a finite number, not {number}")
    return number
