"""The extractor: which text of an answer is the program, and that hostile answers cost no more than their length."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acedata._extract import blocks, extract_code, python_blocks, without_thinking

CODE = "def f(x):\n    return x + 1"
OTHER = "print(f(1))"


def fenced(code: str, label: str = "python") -> str:
    return f"```{label}\n{code}\n```"


def test_the_last_complete_python_block_is_the_program() -> None:
    assert extract_code(f"First:\n{fenced(OTHER)}\nBetter:\n{fenced(CODE)}\nBye.") == CODE


@pytest.mark.parametrize(
    "label", ["python", "Python", "py", "python3", " python ", "{.python}", "python:f.py", 'python title="f"']
)
def test_labels_of_python(label: str) -> None:
    assert extract_code(f"{fenced(CODE, label)}\n{fenced('1', 'text')}") == CODE


@pytest.mark.parametrize("label", ["", "java", "python-repl", "pythonic", "bash"])
def test_a_python_block_comes_before_later_blocks_of_other_labels(label: str) -> None:
    assert extract_code(f"{fenced(CODE)}\n{fenced(OTHER, label)}") == CODE


def test_without_a_python_block_the_last_complete_one_of_any_label() -> None:
    assert extract_code(f"{fenced(OTHER, 'text')}\n{fenced(CODE, '')}\nBye.") == CODE


def test_a_python_block_that_the_answer_ends_in_comes_before_complete_ones_of_other_labels() -> None:
    assert extract_code(f"{fenced('in: 1', '')}\n```python\n{CODE}") == CODE


def test_a_complete_python_block_comes_before_one_that_was_cut() -> None:
    assert extract_code(f"{fenced(CODE)}\nor\n```python\ndef g(") == CODE


def test_text_without_a_fence_is_the_program() -> None:
    assert extract_code(f"\n\n{CODE}\n\n") == CODE


@pytest.mark.parametrize("answer", ["", "  \n\t\n", "```python\n```", "```python\n\n   \n```\n"])
def test_where_there_is_no_code_there_is_no_program(answer: str) -> None:
    assert extract_code(answer) is None
    assert extract_code(answer, prefilled=True) is None


def test_a_fence_in_an_indented_docstring_does_not_end_the_block() -> None:
    code = 'def f():\n    """Says:\n    ```\n    f()\n    ```\n    """\n    return 1'
    assert extract_code(fenced(code)) == code
    assert extract_code(f"\n{code}\n```\nDone.", prefilled=True) == code


def test_a_longer_fence_holds_shorter_ones() -> None:
    code = 's = """\n```\n"""'
    assert extract_code(f"````python\n{code}\n````") == code


def test_a_block_in_a_list_loses_the_indentation_of_its_fence() -> None:
    answer = f"1. Do:\n   ```python\n{''.join('   ' + line + chr(10) for line in CODE.splitlines())}   ```\n2. Bye."
    assert extract_code(answer) == CODE


def test_a_wrapper_of_markdown_is_looked_into() -> None:
    assert extract_code(f"```markdown\n{fenced(CODE)}\n```") == CODE


def test_a_forgotten_closing_fence_does_not_swallow_the_next_block() -> None:
    assert extract_code(f"```python\n{OTHER}\n\nAgain:\n{fenced(CODE)}") == CODE


def test_an_opening_fence_after_prose_and_a_glued_closing_one() -> None:
    assert extract_code(f"Here it is: ```python\n{CODE}\n```") == CODE
    assert extract_code(f"```python\n{CODE}```") == CODE
    assert extract_code(f"{CODE}```\nThis works.", prefilled=True) == CODE


def test_windows_line_ends() -> None:
    assert extract_code("```python\r\nx = 1\r\ny = 2\r\n```\r\n") == "x = 1\r\ny = 2"


def test_a_prefilled_answer_ends_at_the_first_fence() -> None:
    assert extract_code(f"\n{CODE}\n```\nExplanation\n{fenced(OTHER)}", prefilled=True) == CODE
    assert extract_code(f"\n{CODE}", prefilled=True) == CODE


def test_a_prefilled_answer_that_opens_a_block_of_its_own_is_read_as_any_other() -> None:
    assert extract_code(f"\n{fenced(CODE)}\nBye.", prefilled=True) == CODE
    assert extract_code(f"\n```\nSorry, again:\n{fenced(CODE)}", prefilled=True) == CODE


def test_a_prefilled_answer_may_repeat_the_label() -> None:
    assert extract_code(f"python\n{CODE}\n```", prefilled=True) == CODE


def test_the_first_lines_indentation_is_part_of_the_program() -> None:
    assert extract_code("\n\n    return x\n```", prefilled=True) == "    return x"


def test_thinking_is_no_part_of_the_answer() -> None:
    trial = fenced("wrong = 1")
    assert extract_code(f"<think>\n{trial}\n</think>\n{CODE}") == CODE
    assert extract_code(f"hm\n{trial}\n</think>\n{CODE}") == CODE
    assert extract_code(f"<think>a</think> <think>b</think>{fenced(CODE)}") == CODE
    assert extract_code(f"<think>\n{trial}") is None


def test_a_program_about_thinking_keeps_its_words() -> None:
    code = 'def strip(s):\n    return s.split("<think>")[0] + s.split("</think>")[1]'
    assert extract_code(fenced(code)) == code
    assert extract_code(f"\n{code}\n```", prefilled=True) == code
    assert without_thinking("x = '</think>'", opened_by_prompt=False) == "x = '</think>'"


@pytest.mark.parametrize(
    ("end", "line"),
    [
        ("assert", "assert f(1) == 2"),
        ("if __name__", "if __name__ == '__main__':"),
        ("import unittest", "import unittest"),
        ("from unittest", "from unittest import mock"),
    ],
)
def test_the_upstream_cut_ends_a_program_at_its_tests(end: str, line: str) -> None:
    answer = fenced(f"{CODE}\n\n{line}\n    pass")
    assert extract_code(answer, cut="upstream") == CODE
    assert end in (extract_code(answer) or "")


def test_the_upstream_cut_ignores_a_word_at_the_very_beginning_and_ends_at_any_other() -> None:
    assert extract_code(fenced("assert True\nx = 1\nif __name__"), cut="upstream") == "assert True\nx = 1"
    assert extract_code(fenced("x = 'reassert'"), cut="upstream") == "x = 're"


def test_all_python_blocks_in_order() -> None:
    answer = f"{fenced(CODE)}\n{fenced('1', '')}\n{fenced(OTHER, 'py')}\n{fenced('')}\n```python\nopen"
    assert python_blocks(answer) == [CODE, OTHER]


LINES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="`\n\r"), max_size=20), min_size=1, max_size=8
).map("\n".join)


@given(LINES.filter(lambda code: code.strip() and not code.lstrip().startswith("<think>")))
def test_any_program_in_a_block_comes_out_as_it_went_in(code: str) -> None:
    trimmed = code.rstrip()
    while trimmed.split("\n")[0].strip() == "":
        trimmed = trimmed.split("\n", 1)[1]
    assert extract_code(f"Here:\n{fenced(code)}\nBye.") == trimmed
    if code.split("\n")[0].strip().lower() not in ("python", "py", "python3"):
        assert extract_code(f"\n{code}\n```\nBye.", prefilled=True) == trimmed


@given(st.text(st.sampled_from("`pyton \n<>/hikasert~_"), max_size=200), st.booleans())
def test_any_text_at_all_is_read(answer: str, prefilled: bool) -> None:
    for cut in ("none", "upstream"):
        code = extract_code(answer, prefilled, cut)  # type: ignore[arg-type]
        assert code is None or code.strip()
    for block in blocks(answer):
        assert isinstance(block.text, str)


@pytest.mark.parametrize("prefilled", [False, True])
@pytest.mark.parametrize(
    "piece",
    [
        "`",
        "```\n",
        "```python\n",
        "x```\n",
        "a```a```\n",
        "    ```\n",
        "````\n```\n",
        "<think></think>",
        "<think>",
        "</think>",
        " ",
        "\n",
        "\t```py\n",
        "``` ```python\n",
        "```markdown\n",
        "assert\n",
        "{.",
        "```{.{.\n",
    ],
)
def test_half_a_megabyte_of_anything_takes_linear_time(piece: str, prefilled: bool) -> None:
    text = piece * (500_000 // len(piece))
    start = time.process_time()
    extract_code(text, prefilled, "upstream")
    # Quadratic time would be minutes; linear time is a fraction of a second.
    assert time.process_time() - start < 3
