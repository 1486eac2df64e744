"""Loaders: published forms are read as they are, both packings of private tests alike; hostile files are refused."""

from __future__ import annotations

import base64
import json
import os
import pickle
import random
import zlib
from pathlib import Path
from typing import Any

import pytest

from acedata._errors import BadInput
from acesandbox import Asserts, CheckScript, Functional, Stdio, UnitTests
from acetrain._benchmarks import SPECS, open_benchmark
from acetrain._benchmarks._livecodebench import PREAMBLE
from acetrain._benchmarks._pickled_text import Refused, pickled_text, unpacked_text
from tests.train import published

ADD = {
    "task_id": "HumanEval/0",
    "prompt": "import math\ndef add(a, b):\n",
    "entry_point": "add",
    "canonical_solution": "    return a + b\n",
    "test": "import numpy as np\ndef check(candidate):\n    assert candidate(1, 2) == 3\n",
}
MBPP = {
    "task_id": 2,
    "text": "Add two numbers.",
    "code": "def add(a, b):\n    return a + b",
    "test_list": ["assert add(1, 2) == 3"],
    "test_imports": ["import math"],
    "test": "assert add(1, 2) == 3",
}
BIG = {
    "task_id": "BigCodeBench/7",
    "complete_prompt": 'import os\ndef task_func():\n    """Do."""\n',
    "instruct_prompt": "Do.",
    "code_prompt": "import os\ndef task_func():",
    "canonical_solution": "    return os.sep",
    "test": "import unittest\nclass TestCases(unittest.TestCase):\n    def test(self): pass\n",
    "entry_point": "task_func",
    "libs": "['os', 'pandas', 'sklearn.svm']",
}


def one(name: str, path: Path, row: dict[str, Any]) -> Any:
    return next(iter(open_benchmark(name, published.write(path / f"{len(os.listdir(path))}.jsonl", [row]))))


def test_humaneval_is_read(tmp_path: Path) -> None:
    problem = one("humaneval", tmp_path, ADD)
    assert problem.tests == CheckScript(ADD["test"], "add", prompt=ADD["prompt"])
    assert problem.prompt == problem.question == ADD["prompt"] and problem.ask == "code"
    assert problem.modules == {"numpy"} and problem.reference == ADD["prompt"] + ADD["canonical_solution"]
    assert problem.where.endswith("0.jsonl line 1")


def test_mbpp_is_judged_by_its_list_and_mbpp_plus_by_its_script(tmp_path: Path) -> None:
    base, plus = one("mbpp", tmp_path, MBPP), one("mbpp+", tmp_path, MBPP)
    assert base.task_id == plus.task_id == "Mbpp/2"
    assert base.tests == Asserts(MBPP["test_list"], entry_point="add")
    assert base.judged("x = 1").endswith("x = 1\nimport math\n")
    assert plus.tests == CheckScript("assert add(1, 2) == 3", "add")
    assert "assert add(1, 2) == 3" in base.question and base.ask == "text"


def test_bigcodebench_is_calibrated(tmp_path: Path) -> None:
    complete = one("bigcodebench-complete", tmp_path, BIG)
    instruct = one("bigcodebench-instruct-hard", tmp_path, BIG)
    assert complete.judged("P") == "import os\ndef task_func():\n    pass\nP"
    assert complete.prompt == instruct.prompt == BIG["complete_prompt"]
    assert (complete.question, instruct.question) == (BIG["complete_prompt"], "Do.")
    assert isinstance(complete.tests, UnitTests)
    assert complete.modules == {"pandas", "sklearn"}


@pytest.mark.parametrize("libs", ["[", "{'a': 1}", [1], "__import__('os')"])
def test_bad_libs_are_refused_with_their_place(tmp_path: Path, libs: Any) -> None:
    with pytest.raises(BadInput, match=r"0\.jsonl line 1: column 'libs'"):
        one("bigcodebench", tmp_path, {**BIG, "libs": libs})


def test_both_packings_of_private_tests_give_the_same_problem(tmp_path: Path) -> None:
    random_ = random.Random(3)
    for number in range(20):
        text = "".join(random_.choice("a\n\"'\\\u00e9\u4e2d\U0001f600 \x00[{") for _ in range(200))
        tests = [(text, text[::-1]), ("1\n", "2\n"), ("", text)]
        plain = one("livecodebench-v4", tmp_path, published.livecodebench(f"q{number}", tests, pack=False))
        packed = one("livecodebench-v4", tmp_path, published.livecodebench(f"q{number}", tests, pack=True))
        assert plain.tests == packed.tests == Stdio(tests, compare="decimal_lines")
        calls = [(json.dumps([text, 1.5]) + "\n" + json.dumps(text), json.dumps({"a": [text]}))] * 2
        row = published.livecodebench(f"q{number}", calls, function="go", pack=bool(number % 2))
        wanted = Functional([([[text, 1.5], text], {"a": [text]})] * 2, "go")
        assert one("livecodebench-v4", tmp_path, row).tests == wanted


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol_of_a_text_is_read(protocol: int) -> None:
    for text in ("", "x" * 300, "\u00e9\n\\u0041", "\U0001f600" * 70_000):
        assert pickled_text(pickle.dumps(text, protocol)) == text


class Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.parts = function, arguments

    def __reduce__(self) -> Any:
        return self.parts


def hostile(made: str) -> list[tuple[str, bytes]]:
    """Pickles that are more than a text. Whoever runs one of the first five makes the file of this name."""
    code, command = f"open({made!r}, 'w').close()", f"S'touch {made}'\n".encode()
    return [
        ("a call by global", pickle.dumps(Calls(eval, code), 0)),
        ("a call by stack global", pickle.dumps(Calls(eval, code), 4)),
        ("os.system", b"cos\nsystem\n(" + command + b"tR."),
        ("an instance", b"(" + command + b"ios\nsystem\n."),
        ("an object", b"(cos\nsystem\n" + command + b"o."),
        ("a harmless global", pickle.dumps(len)),
        ("an extension", b"\x80\x02\x82\x01."),
        ("a persistent id", b"Pid\n."),
        ("a call after the text", b"\x80\x04\x8c\x02[]0cos\nsystem\n(S'id'\ntR."),
        ("a list", pickle.dumps([{"input": "", "output": "", "testtype": "stdin"}])),
        ("bytes", pickle.dumps(b"[]")),
        ("an old string", b"S'[]'\n."),
        ("two texts", b"\x8c\x01a\x8c\x01b."),
        ("a memo of four gigabytes", b"\x80\x02" + b"r\xff\xff\xff\xff" + b"h\xff."),
        ("a text that is not there", b"\x8d" + (1 << 40).to_bytes(8, "little") + b"x."),
        ("more behind the end", pickle.dumps("[]") + b"cos\nsystem\n"),
        ("no end", pickle.dumps("[]")[:-1]),
        ("nothing", b""),
        ("noise", bytes(range(256))),
    ]


@pytest.mark.parametrize("what", [what for what, _ in hostile("")])
def test_a_pickle_that_is_more_than_a_text_is_refused(what: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    data = dict(hostile(str(made)))[what]
    with pytest.raises(Refused):
        pickled_text(data)
    row = published.livecodebench("q", [("1", "1")])
    row["private_test_cases"] = base64.b64encode(zlib.compress(data)).decode()
    with pytest.raises(BadInput, match=r"0\.jsonl line 1: private_test_cases"):
        one("livecodebench-v4", tmp_path, row)
    assert not made.exists()


def test_cut_and_altered_pickles_never_become_something_else() -> None:
    data = pickle.dumps(json.dumps([{"input": "1", "output": "2", "testtype": "stdin"}]))
    random_ = random.Random(5)
    for _ in range(3000):
        altered = bytearray(data)
        for _ in range(random_.randint(1, 3)):
            altered[random_.randrange(len(altered))] = random_.randrange(256)
        altered = altered[: random_.randint(0, len(altered))] if random_.random() < 0.3 else altered
        try:
            assert isinstance(pickled_text(bytes(altered)), str)
        except Refused:
            pass


def test_a_compression_bomb_is_refused() -> None:
    bomb = base64.b64encode(zlib.compress(b"\0" * 50_000_000)).decode()
    with pytest.raises(Refused, match="more than 1,000 bytes"):
        unpacked_text(bomb, max_bytes=1000)
    whole = zlib.compress(pickle.dumps("[]"))
    for data in (whole[:-3], whole + b"x"):
        with pytest.raises(Refused, match="cut off"):
            unpacked_text(base64.b64encode(data).decode())
    for text in ("not base64!", base64.b64encode(b"not zlib").decode()):
        with pytest.raises(Refused):
            unpacked_text(text)


def test_the_preamble_brings_the_names_that_the_harness_brings() -> None:
    space: dict[str, Any] = {}
    exec(PREAMBLE, space)
    for name in ("List", "defaultdict", "heappush", "bisect_left", "gcd", "inf", "lru_cache", "permutations"):
        assert name in space, name
    assert space["pow"] is pow and space["math"].__name__ == "math" and space["open"] is open


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("humaneval", {**ADD, "test": None}, "no column 'test'"),
        ("humaneval", {**ADD, "prompt": 5}, "column 'prompt' holds int"),
        ("humaneval", {**ADD, "test": "  "}, "script is empty"),
        ("humaneval", {"task_id": "HumanEval/0", "plus_input": [], "base_input": []}, "OriginFmt"),
        ("mbpp", {**MBPP, "test_list": []}, "no column 'test_list'"),
        ("mbpp", {**MBPP, "test_list": "assert 1"}, "list of texts"),
        ("mbpp", {**MBPP, "task_id": None}, "names the problem"),
        ("livecodebench-v4", {**published.livecodebench("a", [("1", "1")]), "metadata": "{"}, "broken JSON"),
        (
            "livecodebench-v4",
            {**published.livecodebench("a", [("1", "1")]), "public_test_cases": "[1]"},
            r"public_test_cases\[0\]",
        ),
        (
            "livecodebench-v4",
            {**published.livecodebench("a", [("1", "1")], function="f"), "metadata": "{}"},
            "no 'func_name'",
        ),
    ],
)
def test_faults_are_named_with_file_and_line(tmp_path: Path, name: str, row: Any, said: str) -> None:
    good: dict[str, Any] = {"humaneval": ADD, "mbpp": MBPP}.get(name) or published.livecodebench(
        "z", [("1", "1")]
    )
    path = published.write(tmp_path / "b.jsonl", [{**good, "task_id": 99, "question_id": "z"}, row])
    with pytest.raises(BadInput, match=rf"b\.jsonl line 2: .*{said}"):
        list(open_benchmark(name, path))


def test_a_task_twice_an_empty_file_and_an_unknown_name_are_refused(tmp_path: Path) -> None:
    path = published.write(tmp_path / "b.jsonl", [MBPP, {**MBPP, "task_id": "Mbpp/2"}])
    with pytest.raises(BadInput, match=r"line 2: Mbpp/2 was there before, at .*line 1"):
        list(open_benchmark("mbpp", path))
    with pytest.raises(BadInput, match="no problem"):
        list(open_benchmark("mbpp", published.write(tmp_path / "e.jsonl", [])))
    with pytest.raises(BadInput, match="did you mean humaneval"):
        open_benchmark("humaneva")


def test_release_v4_is_its_first_four_files(tmp_path: Path) -> None:
    for number in range(1, 7):
        name = f"test{number if number > 1 else ''}.jsonl"
        published.write(tmp_path / name, [published.livecodebench(f"q{number}", [("1", "1")])])
    benchmark = open_benchmark("livecodebench-v4", tmp_path)
    assert [problem.task_id for problem in benchmark] == ["q1", "q2", "q3", "q4"]
    (tmp_path / "test3.jsonl").unlink()
    with pytest.raises(BadInput, match=r"test3\.jsonl is not there"):
        open_benchmark("livecodebench-v4", tmp_path)


def test_large_files_are_streamed(tmp_path: Path) -> None:
    import tracemalloc

    line = json.dumps(published.livecodebench("q", [("x" * 3_000_000, "1")] * 2, pack=False))
    with (tmp_path / "test.jsonl").open("w") as file:
        for number in range(30):
            file.write(line.replace('"question_id": "q"', f'"question_id": "q{number}"') + "\n")
    benchmark = open_benchmark("livecodebench-v4", tmp_path / "test.jsonl")
    tracemalloc.start()
    assert sum(1 for _ in benchmark) == 30
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6 < (tmp_path / "test.jsonl").stat().st_size


def test_columns_are_in_the_order_of_the_paper() -> None:
    assert [(spec.title, spec.variant) for spec in SPECS.values()] == [
        ("HumanEval", "-"),
        ("HumanEval", "Plus"),
        ("MBPP", "-"),
        ("MBPP", "Plus"),
        ("BigCodeBench-Complete", "Full"),
        ("BigCodeBench-Complete", "Hard"),
        ("BigCodeBench-Instruct", "Full"),
        ("BigCodeBench-Instruct", "Hard"),
        ("LiveCodeBench", "V4"),
    ]


@pytest.mark.workloads
def test_whole_published_files_load(tmp_path: Path) -> None:
    for name, workload, form in (
        ("humaneval", "humaneval_canonical", published.humaneval),
        ("humaneval+", "humanevalplus_canonical", published.humaneval),
        ("mbpp", "mbpp_canonical", published.mbpp),
        ("bigcodebench-complete", "bigcodebench_canonical", published.bigcodebench),
    ):
        rows = published.rows(workload)
        path = published.write(tmp_path / f"{workload}.jsonl.gz", map(form, rows))
        problems = list(open_benchmark(name, path))
        assert len(problems) == len(rows)
        others = [
            (row["entry_point"], problem.entry_point)
            for row, problem in zip(rows, problems, strict=True)
            if problem.entry_point != row["entry_point"]
        ]
        # The workload's own guess is the class that one problem's tests make their arguments with.
        assert others in ([], [("Pair", "max_chain_length")]), name
