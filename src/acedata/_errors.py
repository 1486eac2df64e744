"""What can go wrong while a dataset is built, and whose fault it is.

    AceDataError
    ├── RecipeError        a recipe says something that cannot be: line, what was expected, the nearest valid name
    ├── BadInput           a file or directory of the user's is not what it should be: file, row, column
    ├── BuildInUse         another process builds in this directory now
    ├── StoreError         the response store is damaged in the middle, or belongs to a newer version
    ├── BackendError       a model back-end cannot work at all: no key, unknown model, wrong address
    │   └── MissingAnswer  `replay` holds no answer to a request; none is ever invented
    ├── BudgetReached      the next request could exceed the budget; everything so far is kept
    ├── Stopped            a person asked the build to stop; the same command goes on
    └── JudgingFailed      the sandbox failed, twice, to judge a program; that says nothing about the program

One row that a model spoils is none of these: it becomes a drop with a reason (`Drop` in `_records`).
"""

from __future__ import annotations


class AceDataError(Exception):
    """Base of all errors of this package. `str()` of it is one sentence for people, with the place and the remedy."""


class RecipeError(AceDataError):
    """The recipe cannot be built."""


class BadInput(AceDataError):
    """A file or directory given by the user cannot be used."""


class BuildInUse(AceDataError):
    """Another live process holds the build directory."""


class StoreError(AceDataError):
    """The response store cannot be read."""


class BackendError(AceDataError):
    """A model back-end cannot work at all."""


class MissingAnswer(BackendError):
    """The replay back-end has no answer to a request."""


class BudgetReached(AceDataError):
    """The budget does not cover the next request. Answers so far are kept; a larger budget goes on."""


class JudgingFailed(AceDataError):
    """The sandbox could not judge a program, and could not when asked again. What was judged before is kept."""


class Stopped(AceDataError):
    """A person asked the build to stop. What was in flight has come home, and everything so far is kept."""
