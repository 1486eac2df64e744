"""Writes the files of the embedded example: `python -m acedata._demo.make` (a test holds that they are up to date).

    evol.jsonl, oss.jsonl, stack_python_fns.jsonl    seeds, in the columns that their hubs publish
    answers.jsonl                                    what a synthesizer, a reference model and two policies said, and
                                                     a second reference model, which the recipe does not ask

The faults are those of real models: hallucinated tests, broken JSON, two functions at once, a refusal; programs that
are wrong at the edges, cut short, in no code block, under another name, that hang, crash, print, read input, or try to pass
by forging. Everything is drawn from one seed.
"""

from __future__ import annotations

import json
import random
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .problems import PROBLEMS, Problem

HERE = Path(__file__).parent
SOURCES = ("evol", "oss", "stack_python_fns")
POLICIES = {"policy_a": 0.75, "policy_b": 1.35}
"""Factor on each problem's share of wrong programs."""
SAMPLES = 16

Row = dict[str, Any]


def files() -> dict[str, str]:
    """Every file's text by its name."""
    draw, other_draw = random.Random(20250203), random.Random(20250204)
    seeds: dict[str, list[Row]] = {source: [] for source in SOURCES}
    answers: list[Row] = []
    for problem in PROBLEMS:
        rows = seeds[problem.source]
        row_id = f"{problem.source}_{len(rows)}"
        rows.append(_seed(problem, len(rows)))
        answers.append(_answer("synthesizer", row_id, _synthesized(problem, draw)))
        answers.append(_answer("reference", row_id, _told(_reference(problem), draw), prefilled=False))
        answers.append(_answer("second", row_id, _second(problem, other_draw), prefilled=False))
        for policy, factor in POLICIES.items():
            for sample in range(SAMPLES):
                answers.append(_sampled(problem, policy, row_id, sample, factor, draw))
    for source, row, said in _spoiled():
        row_id = f"{source}_{len(seeds[source])}"
        seeds[source].append(row)
        for sample, text in enumerate(said):
            ended = {"ended": "refused"} if text == _REFUSAL else {}
            answers.append(_answer("synthesizer", row_id, text, sample, **ended))
        if said and said[0].endswith("}"):  # it parses, so the reference model is asked
            answers.append(_answer("reference", row_id, _told(_ECHO, draw), prefilled=False))
            answers.append(_answer("second", row_id, _told(_ECHO, other_draw), prefilled=False))
    written = {f"{source}.jsonl": _lines(rows) for source, rows in seeds.items()}
    return {**written, "answers.jsonl": _lines(answers)}


def _lines(rows: list[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _answer(model: str, row: str, text: str, sample: int = 0, **more: object) -> Row:
    tokens = {"prompt_tokens": 420, "completion_tokens": max(1, len(text) // 4)}
    return {"model": model, "row": row, "sample": sample, "text": text, **tokens, **more}


# ---- seeds ----


def _seed(problem: Problem, number: int) -> Row:
    # A seed's program is a hint only and often rough: the second wrong one, with a trace of debugging.
    rough = problem.wrong[-1] + f"\n\nprint({problem.name}.__name__)"
    if problem.source == "evol":
        return {
            "instruction": problem.ask,
            "response": f"Here is one way to do it:\n\n```python\n{rough}\n```\n",
        }
    if problem.source == "oss":
        return {"instruction": problem.ask, "response": f"```python\n{rough}\n```", "lang": "python"}
    head, _, body = problem.wrong[-1].rpartition("def " + problem.name)
    first, _, rest = body.partition("\n")
    content = f'{head}def {problem.name}{first}\n    """{problem.ask}\n\n    Taken from a larger module.\n    """\n{rest}\n'
    return {"content": content, "id": str(number)}


_REFUSAL = "I am sorry, but I cannot help with turning this snippet into an exercise."
_KEYS = "def watch(keys):\n    return [key for key in keys if key.isprintable()]"
_ECHO = "def echo(text):\n    '''Give back what came in, for the tests of the pipe.'''\n    return text"


def _spoiled() -> Iterator[tuple[str, Row, list[str]]]:
    """(source, seed, the synthesizer's answers) of rows that do not survive, each for another reason."""
    yield (
        "oss",
        {
            "instruction": "Add two numbers.",
            "response": "```java\nint add(int a, int b) { return a + b; }\n```",
            "lang": "java",
        },
        [],
    )
    yield "evol", {"instruction": "Say hello to the user.", "response": "```python\nprint('hello')\n```"}, []
    yield "stack_python_fns", {"content": "def one():\n    return 1\n", "id": "900"}, []
    first = _seed(next(p for p in PROBLEMS if p.source == "evol"), 0)
    yield "evol", first, []
    yield (
        "oss",
        {
            "instruction": "Read the keys that a user types.",
            "response": f"```python\n{_KEYS}\n```",
            "lang": "python",
        },
        [_REFUSAL] * 3,
    )
    cut = '{"question": "Write `echo(text)` that returns its argument unchanged.", "tests": ["assert echo(\'a\') == '
    yield "evol", {"instruction": "Write an echo.", "response": f"```python\n{_ECHO}\n```"}, [cut] * 3
    few = json.dumps(
        {
            "question": "Write `echo(text)` that returns its argument unchanged.",
            "tests": ["assert echo('') == ''", "assert echo('a') == 'a'", "assert echo('b') == 'a'"],
        }
    )
    content = "def echo_twice(text):\n    '''Give back what came in, once more, with a blank between the two copies of it.'''\n    return text + ' ' + text\n"
    yield "stack_python_fns", {"content": content, "id": "901"}, [few]


# ---- the synthesizer ----


def _synthesized(problem: Problem, draw: random.Random) -> str:
    tests = [
        f"assert {problem.name}({call}) == {_value(problem.right, problem.name, call)}"
        for call in problem.calls
    ]
    made_up = list(draw.sample(range(len(tests)), draw.choice([0, 1, 2, 3, 4])))
    for number in made_up:  # the model works a case out in its head, and gets it wrong
        call = problem.calls[number]
        value = _value(draw.choice(problem.wrong), problem.name, call)
        if value is not None and f"== {value}" not in tests[number]:
            tests[number] = f"assert {problem.name}({call}) == {value}"
    if problem.name == "roman":  # two functions at once: the second is asked for nowhere
        tests += ["assert from_roman('IV') == 4", "assert from_roman('XL') == 40"]
    if problem.name == "caesar":  # not an assert at all
        tests.append("print(caesar('abc', 1))")
    if problem.name == "flatten":
        tests.append("assert flatten([1, [2, [3]]) == [1, 2, 3]")
    text = json.dumps({"question": problem.question, "tests": tests}, ensure_ascii=False)
    wrapped = {
        "spiral": f"```json\n{text}\n```",
        "to_base": f"Sure! Here is the exercise:\n\n{text}",
        "bill_split": text[:-2] + ",]}",
    }
    return wrapped.get(problem.name, text)


def _value(program: str, name: str, call: str) -> str | None:
    names: dict[str, Any] = {}
    try:
        exec(program, names)  # our own programs, from `problems`
        return repr(eval(f"{name}({call})", names))
    except Exception:
        return None


# ---- programs ----


def _reference(problem: Problem) -> str:
    # The strong model misses one problem, as strong models do: its tests go, and the question with them.
    return problem.wrong[0] if problem.name == "spiral" else problem.right


def _second(problem: Problem, draw: random.Random) -> str:
    """The second reference model: right where the first is wrong, wrong at two other problems, and once without code."""
    if problem.name == "weekday_shift":
        return "Number the days from 0, add, take the rest of the division by 7, and look the name up again."
    missed = problem.name in ("is_balanced", "second_largest")
    program = problem.wrong[0] if missed else problem.right if problem.name == "spiral" else problem.other
    return _told(program, draw)


def _told(program: str, draw: random.Random) -> str:
    before = draw.choice(["Here is a self-contained solution:\n\n", "", "You can solve this as follows.\n\n"])
    after = draw.choice(["\n\nIt runs in linear time.", "", "\n\nLet me know if you need more tests."])
    return f"{before}```python\n{program}\n```{after}"


def _sampled(problem: Problem, policy: str, row: str, sample: int, factor: float, draw: random.Random) -> Row:
    wrong_share = min(0.9, problem.hard * factor)
    roll = draw.random()
    ended = "stop"
    if roll >= wrong_share:
        program = _varied(draw.choice((problem.right, problem.right, problem.other)), problem, draw)
    elif roll < wrong_share * 0.72:
        program = _varied(draw.choice(problem.wrong), problem, draw)
    else:
        kind = draw.choice(_FAULTS)
        program = kind(problem, draw)
        if kind is _cut:
            ended = "length"
    if ended == "length":
        return _answer(policy, row, "\n" + program, sample, ended=ended, max_tokens=1024)
    # The prompt's frame is prefilled up to the opening fence, so an answer goes on with code and closes the fence.
    after = draw.choice(
        [
            "",
            "",
            "\nThe function walks through its input once.\n",
            "\nExample:\n\n```python\nprint('see above')\n```\n",
        ]
    )
    return _answer(policy, row, f"\n{program}\n```{after}", sample)


def _varied(program: str, problem: Problem, draw: random.Random) -> str:
    head, sep, body = program.rpartition(f"def {problem.name}(")
    line, _, rest = body.partition("\n")
    if sep and draw.random() < 0.4:
        doc = draw.choice([problem.ask, problem.question.split(". ")[0], "See the task above."])
        doc = textwrap.shorten(doc, 90, placeholder=" ...").replace('"', "'").replace("\\", "/")
        program = f'{head}{sep}{line}\n    """{doc}"""\n{rest}'
    if draw.random() < 0.3:
        comment = draw.choice(
            ["# Solution", "# straightforward version", "# handles the edge cases", "# one pass"]
        )
        program = f"{comment}\n{program}"
    if draw.random() < 0.2:
        call = draw.choice(problem.calls)
        program += f"\n\nif __name__ == '__main__':\n    print({problem.name}({call}))"
    return program


def _hangs(problem: Problem, draw: random.Random) -> str:
    return f"def {problem.name}(*args):\n    i = 0\n    while i < 10:\n        i = i * 2  # never gets anywhere\n    return i"


def _crashes(problem: Problem, draw: random.Random) -> str:
    return f"def {problem.name}(*args):\n    return {problem.name}(*args)"


def _breaks_off(problem: Problem, draw: random.Random) -> str:
    return problem.right[: len(problem.right) * 2 // 3] + "\n    return ("


def _cut(problem: Problem, draw: random.Random) -> str:
    return problem.other[: len(problem.other) // 2]


def _renamed(problem: Problem, draw: random.Random) -> str:
    return problem.right.replace(problem.name, "solution")


def _asks_for_input(problem: Problem, draw: random.Random) -> str:
    return f"value = input('value: ')\n{problem.right}"


def _prints(problem: Problem, draw: random.Random) -> str:
    return problem.right.replace("return ", "print(1) or ", 1)


def _equals_everything(problem: Problem, draw: random.Random) -> str:
    return (
        "class Answer:\n    def __eq__(self, other):\n        return True\n    def __hash__(self):\n        return 0\n\n"
        f"def {problem.name}(*args):\n    return Answer()"
    )


def _leaves_early(problem: Problem, draw: random.Random) -> str:
    return f"import os\n\ndef {problem.name}(*args):\n    print('all tests passed')\n    os._exit(0)"


def _patches_asserts(problem: Problem, draw: random.Random) -> str:
    return (
        "import builtins\n\nclass Never(Exception):\n    pass\n\nbuiltins.AssertionError = Never\n\n"
        f"def {problem.name}(*args):\n    return None"
    )


_FAULTS = (
    _hangs,
    _crashes,
    _breaks_off,
    _cut,
    _renamed,
    _asks_for_input,
    _prints,
    _equals_everything,
    _leaves_early,
    _patches_asserts,
)


def main() -> None:
    for name, text in files().items():
        (HERE / name).write_text(text, encoding="utf-8")
        print(HERE / name)


if __name__ == "__main__":
    main()
