"""Which tests can only run in the program's own process, by their shape alone.

The list is closed and each entry has a reason that people see beside `sealed=False`. A test is looked at before any
program is loaded: nothing that a program does can open the seal.
"""

from __future__ import annotations

import ast
from typing import Optional, Set


def why_shared(tree: ast.Module, wanted: Set[str], kind: str) -> Optional[str]:
    """The reason why this test cannot be sealed; None if it can."""
    return None
