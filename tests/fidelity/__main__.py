"""Compares every row of every file and prints the tables of docs/fidelity.md: `python -m tests.fidelity [FILE ...]`.

With --write they are put into that page as well, between its two markers.
"""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

from benchmarks._run import put_into_page
from tests import workloads
from tests.fidelity.agreement import Agreement, compare, labelled
from tests.fidelity.test_agreement import FILES

MODES = ("plan", "proxy", "shared", "broken")


def main(names: list[str]) -> None:
    found = []
    for name in names or [*FILES, "bigcodebench_canonical", "classeval_canonical"]:
        rows = workloads.rows(name)
        if name == "bigcodebench_canonical":
            rows = [
                row
                for row in rows
                if all(n.partition(".")[0] in sys.stdlib_module_names for n in row["needs"])
            ]
        found.append(compare(name, rows))
        print(f"{name}: {100 * found[-1].share:.3f} %", file=sys.stderr, flush=True)
    print("## Agreement with a plain interpreter\n")
    print("| workload | programs | tests | set aside | agree | differ | unexplained | ours did not repeat |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for one in found:
        differing = sum(map(len, one.differences.values()))
        print(
            f"| {one.name} | {one.programs:,} | {one.tests:,} | {one.aside:,} | {100 * one.share:.3f} % "
            f"| {differing} | {len(one.unexplained)} | {len(one.wrong_once)} |"
        )
    print("\n## How tests were judged\n")
    print(f"| workload | sealed | {' | '.join(MODES)} | more than the entry point from the program |")
    print("|---|--:|" + "--:|" * (len(MODES) + 1))
    for one in found:
        modes = " | ".join(f"{100 * one.modes[mode] / one.tests:.2f} %" for mode in MODES)
        print(f"| {one.name} | {100 * one.sealed_share:.2f} % | {modes} | {one.by_program_oracle:,} |")
    reasons(found)
    classes(found)
    if names and "ldb_humaneval_multimodel" not in names:
        return
    count, differing = labelled(workloads.rows("ldb_humaneval_multimodel"))
    print(
        f"\n## Publisher's labels\n\nldb_humaneval_multimodel: {count - len(differing):,} of {count:,} rows agree."
    )
    for row, verdict in differing:
        print(f"- {row['task_id']} of {row['model']}: label {row['expected']}, verdict {verdict}")


def reasons(found: list[Agreement]) -> None:
    print("\n## Why tests were not sealed\n")
    for one in found:
        for why, count in one.unsealed_because.most_common(12):
            print(f"- {one.name}: {count:,} x {why}")


def classes(found: list[Agreement]) -> None:
    print("\n## Differences, by class\n")
    for one in found:
        for name, listed in sorted(one.differences.items()):
            print(f"\n### {one.name}: {name} ({len(listed)})\n")
            for difference in listed[:20]:
                print(f"- {difference.in_short}")


if __name__ == "__main__":
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        main([word for word in sys.argv[1:] if word != "--write"])
    print(text.getvalue())
    if "--write" in sys.argv[1:]:
        put_into_page(Path(__file__).parents[2] / "docs" / "fidelity.md", text.getvalue())
