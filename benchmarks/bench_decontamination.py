"""Does decontamination find a benchmark's problems, edited or not, and does it leave other problems alone?

Found: every problem of HumanEval, MBPP and BigCodeBench is edited by fixed recipes and looked for among all problems of
its benchmark. Only its question is shown; its tests, which alone would give many away, are not.

  exact                as published
  renamed              the function's name and its parameters' get other names, in code, examples and prose
  renamed, code only   the same, but prose keeps the old names
  reordered            the sentences of the description are shuffled
  constants            every number and every quoted string becomes another one
  all three            renamed, reordered and other constants
  prose only           the docstring without the function it belongs to (a question as a synthesizer would write it)
  a word in ten        every tenth word of the text becomes another one: beyond what is promised, to see how it ends
  tests only           another question, with the problem's own tests under another function name

False alarms: each benchmark's questions, with their tests, looked for in each of the other two; and those of ClassEval,
which had no part in choosing the threshold, in all three. The pairs that are taken for each other are named, so that
anybody can judge whether they are.

Time is CPU time of one edited question against its benchmark.
"""

from __future__ import annotations

import ast
import random
import re
import time
from collections.abc import Callable
from typing import Any

from acedata import Contamination, Problem
from benchmarks._run import Row, parser, publish, table
from tests import workloads

FILES = {
    "HumanEval": "humaneval_canonical",
    "MBPP": "mbpp_canonical",
    "BigCodeBench": "bigcodebench_canonical",
}
CLEAN = {"ClassEval": "classeval_canonical"}
# Names that no problem uses for a parameter.
NAMES = re.findall(
    r"\w+",
    "amber basil cedar dune ember fjord glade heron iris juniper kelp lotus maple nectar onyx pebble quartz raven sable"
    " thistle umber violet willow xenon yarrow zephyr",
)
OTHER_QUESTION = "Return whatever the examples below ask for."

Edited = tuple[str, list[str]]
Edit = Callable[[Row, str, list[str], random.Random], Edited]


def tests_of(row: Row) -> list[str]:
    """The asserts of a problem; BigCodeBench has test classes instead."""
    return [] if row["test_kind"] == "unittest" else list(row["tests"])


def own_names(row: Row) -> list[str]:
    """Names that the problem defines: its functions and their parameters."""
    names = {row["entry_point"]} if row["entry_point"] else set()
    try:
        tree = ast.parse(f"{row['prompt']}\n    pass\n")
    except SyntaxError:
        return sorted(names)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names |= {node.name, *(argument.arg for argument in node.args.args)}
    return sorted(names)


def renaming(row: Row) -> Callable[[str], str]:
    names = own_names(row)
    if not names:
        return lambda text: text
    new = {
        name: NAMES[place % len(NAMES)] + (f"_{NAMES[place * 7 % len(NAMES)]}" if place % 2 == 0 else "")
        for place, name in enumerate(names)
    }
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b")
    return lambda text: pattern.sub(lambda found: new[found[0]], text)


def exact(row: Row, text: str, tests: list[str], rng: random.Random) -> Edited:
    return text, tests


def renamed(row: Row, text: str, tests: list[str], rng: random.Random) -> Edited:
    new = renaming(row)
    return new(text), [new(test) for test in tests]


def renamed_in_code(row: Row, text: str, tests: list[str], rng: random.Random) -> Edited:
    new = renaming(row)
    lines = [new(line) if re.match(r"\s*(?:def |>>>)", line) else line for line in text.split("\n")]
    return "\n".join(lines), [new(test) for test in tests]


DOCSTRING = re.compile(r'("""|\'\'\')(.*?)\1', re.DOTALL)


def reordered(row: Row, text: str, tests: list[str], rng: random.Random) -> Edited:
    found = DOCSTRING.search(text)
    body = found[2] if found else text
    described, *examples = re.split(r"(?=\n\s*(?:>>>|Examples?:|For example))", body, maxsplit=1)
    sentences = [sentence for sentence in re.split(r"(?<=[.!?])\s+", described.strip()) if sentence]
    rng.shuffle(sentences)
    told = " ".join(sentences) + "".join(examples)
    return (text[: found.start(2)] + told + text[found.end(2) :] if found else told), tests


def other_constants(row: Row, text: str, tests: list[str], rng: random.Random) -> Edited:
    def change(part: str) -> str:
        part = re.sub(
            r"(?<![\w.])\d+(\.\d+)?", lambda found: str(int(float(found[0])) + rng.randint(3, 60)), part
        )
        return re.sub(
            r"'[^'\n]{1,30}'|\"[^\"\n]{1,30}\"",
            lambda found: found[0][0] + rng.choice(NAMES) + found[0][0],
            part,
        )

    # Not across the quotes of docstrings.
    return '"""'.join(change(part) for part in text.split('"""')), [change(test) for test in tests]


def all_three(row: Row, text: str, tests: list[str], rng: random.Random) -> Edited:
    for edit in (renamed, reordered, other_constants):
        text, tests = edit(row, text, tests, rng)
    return text, tests


def prose_only(row: Row, text: str, tests: list[str], rng: random.Random) -> Edited:
    found = list(DOCSTRING.finditer(text))
    # A helper's docstring comes first where there is one.
    return (found[-1][2] if found else text), tests


def a_word_in_ten(row: Row, text: str, tests: list[str], rng: random.Random) -> Edited:
    count = iter(range(1, len(text)))
    return re.sub(
        r"[A-Za-z]{2,}", lambda found: rng.choice(NAMES) if next(count) % 10 == 0 else found[0], text
    ), tests


def tests_only(row: Row, text: str, tests: list[str], rng: random.Random) -> Edited:
    return OTHER_QUESTION, renamed(row, "", tests, rng)[1]


EDITS: dict[str, Edit] = {
    "exact": exact,
    "renamed": renamed,
    "renamed, code only": renamed_in_code,
    "reordered": reordered,
    "constants": other_constants,
    "all three": all_three,
    "prose only": prose_only,
    "a word in ten": a_word_in_ten,
    "tests only": tests_only,
}
PROMISED = ("exact", "renamed", "renamed, code only", "reordered", "constants", "all three")


def problems(name: str, rows: list[Row]) -> list[Problem]:
    return [Problem(name, row["task_id"], (row["prompt"],), tuple(tests_of(row))) for row in rows]


def found(index: Contamination, rows: list[Row], name: str) -> tuple[int, int, list[str]]:
    """(found, planted, ids of those that were not) of one edit of all problems."""
    missed = []
    planted = 0
    for row in rows:
        tests = tests_of(row)
        if name == "tests only" and not tests:
            continue
        planted += 1
        rng = random.Random(f"{name} {row['task_id']}")
        text, edited = EDITS[name](row, row["prompt"], tests, rng)
        if index.find(text, edited if name == "tests only" else ()) is None:
            missed.append(row["task_id"])
    return planted - len(missed), planted, missed


def alarms(index: Contamination, rows: list[Row]) -> list[dict[str, Any]]:
    """Questions of one benchmark that are taken for a problem of another."""
    taken = []
    for row in rows:
        match = index.find(row["prompt"], tests_of(row))
        if match is not None:
            taken.append(
                {"question": row["task_id"], "taken for": match.id, "by": match.level, "score": match.score}
            )
    return taken


def measure(step: int) -> dict[str, Any]:
    rows = {name: workloads.rows(file, step=step) for name, file in FILES.items()}
    indexes = {name: Contamination(problems(name, listed)) for name, listed in rows.items()}
    copies = {
        edit: {name: found(indexes[name], listed, edit) for name, listed in rows.items()} for edit in EDITS
    }
    asked = rows | {name: workloads.rows(file, step=step) for name, file in CLEAN.items()}
    false = {
        (name, other): alarms(indexes[other], listed)
        for name, listed in asked.items()
        for other in rows
        if other != name
    }
    texts = [
        (indexes[name], all_three(row, row["prompt"], [], random.Random(row["task_id"]))[0])
        for name, listed in rows.items()
        for row in listed
    ]
    begun = time.process_time()
    for index, text in texts:
        index.find(text)
    milliseconds = (time.process_time() - begun) * 1000 / len(texts)
    sizes = {name: len(listed) for name, listed in asked.items()}
    return {"sizes": sizes, "copies": copies, "alarms": false, "milliseconds": milliseconds}


def main() -> None:
    given = parser(__doc__).parse_args()
    measured = measure(20 if given.quick else 1)
    names = list(FILES)
    sizes = measured["sizes"]
    copies = [
        [edit, *(f"{by[name][0]:,} of {by[name][1]:,}" if by[name][1] else "-" for name in names)]
        for edit, by in measured["copies"].items()
    ]
    false = [
        [
            f"{name} against {other}",
            sizes[name],
            len(taken),
            f"{len(taken) / sizes[name]:.2%}",
            ", ".join(f"{one['question']} = {one['taken for']}" for one in taken) or "-",
        ]
        for (name, other), taken in measured["alarms"].items()
    ]
    text = "\n\n".join(
        [
            f"Copies found by their question (threshold {Contamination.THRESHOLD}, {Contamination.NGRAM} words):",
            table(["edit", *names], copies),
            "False alarms:",
            table(["questions", "asked", "taken for another's", "share", "which"], false),
            f"{measured['milliseconds']:.2f} ms per question.",
        ]
    )
    findings = {
        "copies": {
            edit: {
                name: {"found": n, "planted": of, "missed": missed} for name, (n, of, missed) in by.items()
            }
            for edit, by in measured["copies"].items()
        },
        "alarms": {f"{name} against {other}": taken for (name, other), taken in measured["alarms"].items()},
        "milliseconds": measured["milliseconds"],
    }
    publish("decontamination", findings, text, given.out)


if __name__ == "__main__":
    main()
