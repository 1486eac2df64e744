"""Seeds: published columns, Python with a function or a class only, reasons of drops, hostile files."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acedata._errors import BadInput
from acedata._python import MAX_DEPTH, MAX_SOURCE, Refused, parse
from acedata._recipe import SeedsConfig, SourceConfig
from acedata._records import SEEDS, Drop
from acedata._rows import Place, iter_rows
from acedata._seeds import Seed, iter_seeds, without_prints

FUNCTION = "def f(x):\n    return x + 1"


def source(path: Path | str, name: str = "evol", kind: str = "files", **more: Any) -> SourceConfig:
    return SourceConfig.model_validate({"name": name, "from": kind, "path": str(path), **more})


def seeds_of(*sources: SourceConfig, **more: Any) -> list[Seed | Drop]:
    return list(iter_seeds(SeedsConfig(sources=list(sources), **more)))


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.name.endswith(".gz") else text)
    return path


def fenced(code: str, label: str = "python") -> str:
    return f"Sure.\n```{label}\n{code}\n```\nBye."


def one(tmp_path: Path, row: dict[str, Any], **more: Any) -> Seed | Drop:
    (found,) = seeds_of(source(lines(tmp_path / "rows.jsonl", [row]), **more))
    return found


def test_the_three_sources_by_their_published_columns(tmp_path: Path) -> None:
    evol = lines(tmp_path / "evol.jsonl.gz", [{"instruction": "Add.", "response": fenced(FUNCTION)}])
    oss = tmp_path / "oss.json"
    oss.write_text(json.dumps([{"instruction": "Add.", "response": fenced(FUNCTION), "lang": "python"}]))
    older = lines(
        tmp_path / "older.jsonl",
        [
            {"lang": "cpp", "index": 7, "problem": "Add.", "solution": fenced("int f();", "cpp")},
            {"lang": "python", "index": 9, "problem": "Add.", "solution": fenced(FUNCTION)},
        ],
    )
    stack = tmp_path / "stack.parquet"
    pq.write_table(pa.table({"content": [FUNCTION + "\n"], "id": [42]}), stack)
    found = seeds_of(
        source(evol), source(oss, "oss"), source(older, "older"), source(stack, "stack_python_fns")
    )
    assert found == [
        Seed("evol_0", "evol", 0, "Add.", FUNCTION),
        Seed("oss_0", "oss", 1, "Add.", FUNCTION),
        Drop("older_0", 2, "not Python", "cpp"),
        Seed("older_1", "older", 3, "Add.", FUNCTION),
        Seed("stack_python_fns_0", "stack_python_fns", 4, None, FUNCTION + "\n"),
    ]
    kept = [seed._asdict() for seed in found if isinstance(seed, Seed)]
    assert pa.RecordBatch.from_pylist(kept, schema=SEEDS).num_rows == 4


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "a", "response": fenced("class A {}", "java")}, "not Python"),
        ({"instruction": "a", "response": fenced(FUNCTION, "")}, "not Python"),
        ({"instruction": "a", "response": "Use a loop."}, "no code"),
        ({"instruction": "a", "response": ""}, "no code"),
        ({"instruction": "a", "response": None}, "no code"),
        ({"instruction": "a", "response": fenced("x = 1")}, "no function or class"),
        ({"instruction": "a", "response": fenced("def f(:")}, "not valid Python"),
        ({"content": "def f():\n    return 1\n}", "id": 1}, "not valid Python"),
        ({"content": "def f():\n    exec 'x'\n", "id": 1}, "not valid Python"),
        ({"content": "def f(): pass\0", "id": 1}, "not valid Python"),
        ({"content": "x = 'def f(): class'", "id": 1}, "no function or class"),
        ({"content": f"def f(): {'-' * 5000}1", "id": 1}, "nested too deeply"),
        ({"content": "def f(): return " + "+".join("1" * 3000), "id": 1}, "nested too deeply"),
        ({"content": f"def f(): return '{'x' * MAX_SOURCE}'", "id": 1}, "too long"),
        ({"content": f"def f(): return '{chr(0xD800)}'", "id": 1}, "not valid Unicode"),
        ({"instruction": "\ud800", "response": fenced(FUNCTION)}, "not valid Unicode"),
        ({"instruction": "x" * 200_000, "response": fenced(FUNCTION)}, "too long"),
        ({"lang": "rust", "instruction": "a", "response": fenced(FUNCTION)}, "not Python"),
    ],
)
def test_each_drop_has_its_reason(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    found = one(tmp_path, row)
    assert isinstance(found, Drop)
    assert (found.id, found.order, found.reason) == ("evol_0", 0, reason)
    found.detail.encode()


@pytest.mark.parametrize(
    "code", ["class A:\n    x = 1", "async def f():\n    pass", "if True:\n    def f(): pass"]
)
def test_functions_and_classes_of_any_kind_count(tmp_path: Path, code: str) -> None:
    assert isinstance(one(tmp_path, {"content": code}), Seed)


def test_the_first_block_with_a_function_is_the_program(tmp_path: Path) -> None:
    response = f"{fenced('import os')}\n{fenced(FUNCTION)}\n{fenced('def g(): pass')}"
    found = one(tmp_path, {"instruction": "a", "response": response})
    assert isinstance(found, Seed) and found.program == FUNCTION


def test_fences_in_bare_code_are_code(tmp_path: Path) -> None:
    code = 'def f():\n    """\n    ```python\n    def g(): pass\n    ```\n    """\n'
    found = one(tmp_path, {"content": code, "id": 1})
    assert isinstance(found, Seed) and found.program == code


def test_lines_that_print_are_taken_out_and_may_be_of_python_2(tmp_path: Path) -> None:
    code = "def f(x):\n    print 'x is', x\n    print(x)\n    print_all = printer(x)\n    return print_all\n"
    found = one(tmp_path, {"content": code, "id": 1})
    assert isinstance(found, Seed)
    assert found.program == "def f(x):\n    print_all = printer(x)\n    return print_all\n"
    kept = one(tmp_path, {"content": "def f():\n    print(1)\n", "id": 1}, drop_prints=False)
    assert isinstance(kept, Seed) and "print" in kept.program
    assert without_prints("print = 1\nf(print)\n  print(1)") == "print = 1\nf(print)"


def test_short_programs_are_dropped_where_the_recipe_says_so(tmp_path: Path) -> None:
    hundred = "def f():\n    return '" + "x" * 78 + "'"
    assert len(hundred) == 100
    assert isinstance(one(tmp_path, {"content": hundred + "\n"}, min_chars=101), Seed)
    found = one(tmp_path, {"content": hundred}, min_chars=101)
    assert isinstance(found, Drop) and found.reason == "too short"


def test_exact_duplicates_name_the_first_one(tmp_path: Path) -> None:
    rows = [{"content": FUNCTION}, {"content": f"{FUNCTION}\n"}, {"content": FUNCTION + " + 1"}]
    path = lines(tmp_path / "rows.jsonl", rows)
    found = seeds_of(source(path), source(path, "oss"), drop_duplicates=True)
    assert [getattr(each, "reason", None) for each in found] == [
        None,
        "exact duplicate",
        None,
        *["exact duplicate"] * 3,
    ]
    assert isinstance(found[3], Drop) and found[3].detail == "the program of evol_0"
    assert not any(isinstance(each, Drop) for each in seeds_of(source(path), source(path, "oss")))


def test_a_limit_counts_kept_seeds_of_each_source_and_ids_are_places_in_the_source(tmp_path: Path) -> None:
    rows = [{"content": "x = 1"}, *[{"content": f"def f(): return {number}"} for number in range(9)]]
    path = lines(tmp_path / "rows.jsonl", rows)
    found = seeds_of(source(path, limit=3), source(path, "oss"), limit=2)
    assert [each.id for each in found] == ["evol_0", "evol_1", "evol_2", "oss_0", "oss_1", "oss_2"]
    assert [each.order for each in found] == list(range(6))
    assert sum(isinstance(each, Seed) for each in found) == 4


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    row = {"task": "Add.", "code": FUNCTION, "language": "Python", "response": "no"}
    found = one(tmp_path, row, columns={"instruction": "task", "program": "code"})
    assert found == Seed("evol_0", "evol", 0, "Add.", FUNCTION)


def test_missing_and_wrong_columns_are_named_with_file_and_row(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"rows.jsonl line 1: no column 'code'; there are 'content'"):
        one(tmp_path, {"content": FUNCTION}, columns={"program": "code"})
    with pytest.raises(BadInput, match=r"line 1: no column 'response' or 'solution' or .*there are 'a'"):
        one(tmp_path, {"a": FUNCTION})
    with pytest.raises(BadInput, match="column 'content' holds list where text is expected"):
        one(tmp_path, {"content": ["a"]})


def test_hub_datasets_stream_through_datasets(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(
        pa.table({"content": [FUNCTION, "x = 1"], "id": [1, 2]}), tmp_path / "data" / "train-0.parquet"
    )
    found = seeds_of(source(tmp_path, "stack_python_fns", "hub"))
    assert [each.id for each in found] == ["stack_python_fns_0", "stack_python_fns_1"]
    assert isinstance(found[0], Seed) and isinstance(found[1], Drop)


def test_a_hub_dataset_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"on the hub cannot be read from row 0 on"):
        seeds_of(source(tmp_path / "nothing", kind="hub"))


# ---- files ----


def read(path: Path | str) -> list[dict[str, Any]]:
    return [row.values for row in iter_rows(Place(str(path)))]


ROWS = [{"a": 1, "b": "x\n{}[]", "c": [{"d": None}]}, {"a": 2, "b": '"\\', "c": []}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", "\n".join(map(json.dumps, ROWS))),
        ("a.jsonl", "\r\n\r\n".join(map(json.dumps, ROWS)) + "\n\n"),
        ("a.json", json.dumps(ROWS)),
        ("a.json", json.dumps(ROWS, indent=3) + "\n"),
        ("a.json", "\n".join(json.dumps(row, indent=1) for row in ROWS)),
        ("a.json", "".join(map(json.dumps, ROWS))),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_json_in_every_shape(tmp_path: Path, name: str, text: str, packed: bool) -> None:
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert read(path) == ROWS


def test_json_values_longer_than_a_chunk_are_read(tmp_path: Path) -> None:
    rows = [{"text": "é" * size} for size in (10, 3_000_000, 1 << 20, 0)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows, ensure_ascii=False))
    assert read(path) == rows


def test_folders_and_globs_are_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    lines(tmp_path / "b" / "2.jsonl", [{"n": 2}])
    lines(tmp_path / "b" / "1.jsonl.gz", [{"n": 1}])
    (tmp_path / "b" / "README.md").write_text("no rows")
    pq.write_table(pa.table({"n": [3, 4]}), tmp_path / "b" / "3.parquet")
    everything = [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]
    assert read(tmp_path / "b") == everything
    assert read(tmp_path / "**" / "[123].*") == everything
    assert [row.number for row in iter_rows(Place(str(tmp_path)))] == [0, 1, 2, 3]


def parquet(column: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"response": column}), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": }\n', "a.jsonl line 2: not JSON"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', "a.jsonl line 2: a row is an object with columns, not list"),
        ("a.jsonl", b'{"a": "\xff"}\n', "a.jsonl line 1: not JSON"),
        ("a.jsonl", b"[" * 100_000 + b"\n", "a.jsonl line 1: not JSON"),
        ("a.json", b'[{"a": 1}, {"a": ]', "a.json row 1: not JSON"),
        ("a.json", b'[{"a": 1}, ', "a.json row 1: the list does not end"),
        ("a.json", b'[{"a": "\xff"}]', "a.json row 0: not UTF-8"),
        ("a.json", b"[1]", "a.json row 0: a row is an object with columns, not int"),
        ("a.jsonl.gz", b"not gzip", "a.jsonl.gz: cannot be read"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 1000, mtime=0)[:-20], "a.jsonl.gz: cannot be read"),
        ("a.parquet", b"PAR1 not", "a.parquet: cannot be read from row 0 on"),
        ("a.txt", b"a,b", "a.txt: rows are read from files that end in .parquet"),
        ("a.csv", b"a,b\n1\n", "a.csv line 2: 1 values; the first line names 2 columns"),
        ("a.csv", b'a,b\n1,"2\n', "a.csv line 2: not CSV"),
        ("a.csv", b"a,a\n1,2\n", "a.csv line 1: two columns have the same name"),
        ("a.csv", b"a,b\n1,\xff\n", "not CSV in UTF-8"),
        (
            "a.parquet",
            parquet(pa.array([b"def f(): return '\xff'"]).view(pa.string())),
            "a.parquet: cannot be read from row 0 on",
        ),
        (
            "a.parquet",
            parquet(pa.array([3 * 10**18], pa.timestamp("us"))),
            "a.parquet: cannot be read from row 0 on",
        ),
    ],
)
def test_what_cannot_be_read_is_named_with_its_row(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput) as raised:
        read(tmp_path / name)
    assert message in str(raised.value)


def test_csv_is_read_as_spreadsheets_write_it(tmp_path: Path) -> None:
    text = 'id,response\r\n7,"def f():\r\n    return ""x"""\r\n8,\r\n'
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    rows = list(iter_rows(Place(str(tmp_path / "a.csv"))))
    assert [row.values for row in rows] == [
        {"id": "7", "response": 'def f():\r\n    return "x"'},
        {"id": "8", "response": None},
    ]
    assert rows[1].where.endswith("a.csv line 4")


def test_half_a_character_is_a_drop_wherever_it_stands(tmp_path: Path) -> None:
    found = one(tmp_path, {"response": "def f(): pass", "lang": "\ud800"})
    assert isinstance(found, Drop) and found.reason == "not Python"
    found.detail.encode()


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no file"):
        read(tmp_path / "missing.jsonl")
    with pytest.raises(BadInput, match="holds no file that ends in"):
        read(tmp_path)


def test_a_long_file_is_never_whole_in_memory(tmp_path: Path) -> None:
    def rows() -> Iterator[bytes]:
        for number in range(4000):
            yield json.dumps({"content": f"def f(): return '{number}{'x' * 4000}'"}).encode() + b"\n"

    for name in ("rows.jsonl.gz", "rows.json"):
        with (
            gzip.open(tmp_path / name, "wb", 1)
            if name.endswith("gz")
            else (tmp_path / name).open("wb") as file
        ):
            file.writelines(rows())
        tracemalloc.start()
        kept = sum(
            isinstance(found, Seed)
            for found in iter_seeds(SeedsConfig(sources=[source(tmp_path / name)], drop_duplicates=True))
        )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert kept == 4000
        assert peak < 14 << 20, peak


# ---- hostile source ----


@pytest.mark.parametrize(
    "source_of",
    [
        lambda n: "-" * n + "1",
        lambda n: "a" + ".a" * n,
        lambda n: "1" + "+1" * n,
        lambda n: "2" + "**2" * n,
        lambda n: "lambda:" * n + "1",
        lambda n: "if a: pass\n" + "elif a: pass\n" * n,
        lambda n: "(" * n,
        lambda n: "f" + "()" * n,
        lambda n: "f'{" * n,
        lambda n: "\0" * n,
        lambda n: "\ud800" * n,
        lambda n: "1" * n,
        lambda n: "'\\d'" * n,
        lambda n: "x=" * n + "1",
        lambda n: "\\\n" * n,
    ],
)
def test_hostile_source_is_parsed_or_refused_and_nothing_else(source_of: Callable[[int], str]) -> None:
    for count in (10, 1000, 30_000):
        found = parse(source_of(count))
        assert isinstance(found, Refused) or found.body is not None


def test_the_depth_that_is_taken_does_not_depend_on_the_callers_stack() -> None:
    deepest = "-" * (MAX_DEPTH - 4) + "1"

    def from_below(depth: int) -> object:
        return from_below(depth - 1) if depth else parse(deepest)

    assert not isinstance(parse(deepest), Refused)
    assert not isinstance(from_below(500), Refused)
    assert parse("-" * MAX_DEPTH + "1") == Refused("nested too deeply", f"more than {MAX_DEPTH} levels")
