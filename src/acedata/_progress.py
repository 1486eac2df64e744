"""Shows a build on standard error: bars on a terminal, one line per stage elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ._directory import StageRecord
from ._stages import Stage

if TYPE_CHECKING:
    from ._build import Watcher

# What a bar counts.
WHAT = {"load": "rows", "ask": "answers", "judge": "programs", "view": "rows", "whole": "rows"}


def watcher(quiet: bool = False) -> Watcher:
    """The watcher that suits standard error."""
    if quiet:
        from ._build import Silence

        return Silence()
    return Bars() if sys.stderr.isatty() else Lines()


def summary(record: StageRecord) -> str:
    """A finished stage in a few words."""
    text = f"{record.rows_out:,} of {record.rows_in:,}"
    if record.rows != record.rows_out:
        text += f", {record.rows:,} rows"
    dropped = sum(record.dropped.values())
    if dropped:
        reason = max(record.dropped, key=lambda name: (record.dropped[name], name))
        others = len(record.dropped) - 1
        text += (
            f"; {dropped:,} dropped, {record.dropped[reason]:,} of them: {reason}"
            if others
            else (f"; {dropped:,} dropped: {reason}")
        )
    if record.incomplete:
        text += f"; {record.incomplete:,} without an answer"
    return text


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class Lines:
    """One line per stage that was made."""

    def __init__(self) -> None:
        self._cost = 0.0

    def skipped(self, stage: Stage, record: StageRecord) -> None:
        pass

    def begun(self, stage: Stage, why: str, total: int | None) -> None:
        self._cost = 0.0

    def advanced(self, count: int, cost: float) -> None:
        self._cost += cost

    def ended(self, stage: Stage, record: StageRecord, seconds: float) -> None:
        cost = f", ${self._cost:,.2f}" if self._cost else ""
        print(f"{stage.name}: {summary(record)} ({duration(seconds)}{cost})", file=sys.stderr, flush=True)


class Bars:
    """A bar for the running stage, with rate, time left and cost so far; a line for each finished one."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                speed = task.finished_speed or task.speed
                return Text(f"{speed:,.0f} {task.fields['what']}/s" if speed else "")

        class Cost(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(f"${task.fields['cost']:,.2f}" if task.fields["cost"] else "")

        self._console = Console(stderr=True)
        self._columns: list[Any] = [
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeRemainingColumn(),
            Cost(),
        ]
        self._kind = Progress
        self._escape = escape
        self._bar: Any = None
        self._task: Any = None
        self._cost = 0.0

    def skipped(self, stage: Stage, record: StageRecord) -> None:
        said = f"{stage.name}: up to date, {summary(record)}"
        self._console.print(said, style="dim", highlight=False, markup=False)

    def begun(self, stage: Stage, why: str, total: int | None) -> None:
        self.close()
        self._bar = self._kind(*self._columns, console=self._console, transient=True)
        self._task = self._bar.add_task(
            self._escape(f"{stage.name} ({why})"), total=total, what=WHAT[stage.kind], cost=0.0
        )
        self._cost = 0.0
        self._bar.start()

    def advanced(self, count: int, cost: float) -> None:
        self._cost += cost
        self._bar.update(self._task, advance=count, cost=self._cost)

    def ended(self, stage: Stage, record: StageRecord, seconds: float) -> None:
        self.close()
        cost = f", ${self._cost:,.2f}" if self._cost else ""
        said = f"{stage.name}: {summary(record)} ({duration(seconds)}{cost})"
        self._console.print(said, highlight=False, markup=False)

    def close(self) -> None:
        """Takes the bar off the terminal."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
