"""The benchmarks of the paper, in their published file forms, as streams of problems.

    benchmark = open_benchmark("humaneval+", "HumanEvalPlus-OriginFmt.jsonl.gz")
    for problem in benchmark: ...

`_problem` says what a problem is; `_evalplus`, `_bigcodebench` and `_livecodebench` make them from rows; rows come from
`acedata._rows`, which reads JSON Lines, JSON, Parquet (plain or in a folder) and the hub, and names the place of every
fault. `_pickled_text` opens what LiveCodeBench pickled without running it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from pathlib import Path

from acedata._errors import BadInput
from acedata._rows import Place, Row, is_local, iter_rows

from ._bigcodebench import LIMITS, bigcodebench
from ._evalplus import humaneval, mbpp
from ._livecodebench import PRELOAD, livecodebench
from ._problem import Benchmark, Problem, Spec, key_of

_MBPP_SIZES = (974, 500, 427, 257, 399, 378)
_LITE_V4 = ("test.jsonl", "test2.jsonl", "test3.jsonl", "test4.jsonl")
_COMPLETE, _INSTRUCT = "BigCodeBench-Complete", "BigCodeBench-Instruct"
_FULL, _HARD = "bigcode/bigcodebench", "bigcode/bigcodebench-hard"


def _bigcodebench(name: str, title: str, variant: str, hub: str, size: int) -> Spec:
    prefix = "BigCodeBench"
    return Spec(name, title, variant, hub, "v0.1.4", (size,), prefix, bigcodebench, wide=True, limits=LIMITS)


SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        Spec(
            "humaneval", "HumanEval", "-", "openai/openai_humaneval", "test", (164,), "HumanEval", humaneval
        ),
        Spec(
            "humaneval+",
            "HumanEval",
            "Plus",
            "evalplus/humanevalplus",
            "test",
            (164,),
            "HumanEval",
            humaneval,
        ),
        Spec("mbpp", "MBPP", "-", "evalplus/mbppplus", "test", _MBPP_SIZES, "Mbpp", mbpp),
        Spec("mbpp+", "MBPP", "Plus", "evalplus/mbppplus", "test", (378, 399), "Mbpp", mbpp),
        _bigcodebench("bigcodebench-complete", _COMPLETE, "Full", _FULL, 1140),
        _bigcodebench("bigcodebench-complete-hard", _COMPLETE, "Hard", _HARD, 148),
        _bigcodebench("bigcodebench-instruct", _INSTRUCT, "Full", _FULL, 1140),
        _bigcodebench("bigcodebench-instruct-hard", _INSTRUCT, "Hard", _HARD, 148),
        Spec(
            "livecodebench-v4",
            "LiveCodeBench",
            "V4",
            "livecodebench/code_generation_lite",
            "test",
            (713,),
            "",
            livecodebench,
            hub_files=_LITE_V4,
            preload=PRELOAD,
        ),
    )
}
"""All benchmarks, in the paper's column order."""

_ALIASES = {
    "humanevalplus": "humaneval+",
    "mbppplus": "mbpp+",
    "livecodebench": "livecodebench-v4",
    "bigcodebench": "bigcodebench-complete",
    "bigcodebench-hard": "bigcodebench-complete-hard",
}


def canonical(name: str) -> str:
    """The name in `SPECS` that a name means, or the name itself in small letters: `HumanEvalPlus` is `humaneval+`."""
    return _ALIASES.get(name.lower(), name.lower())


def open_benchmark(
    name: str,
    path: str | Path | None = None,
    *,
    split: str | None = None,
    config: str | None = None,
    revision: str | None = None,
) -> Benchmark:
    """A benchmark by name, from a file, a folder, a glob, or a data set on the hub. Nothing is read yet.

    Args:
        name: see `SPECS`.
        path: where it is; None: its published place on the hub.
        split, config, revision: of a data set on the hub; None: as published.

    Raises:
        BadInput: there is no benchmark of that name. What is wrong with its rows is raised while it is iterated.
    """
    spec = SPECS.get(canonical(name))
    if spec is None:
        near = difflib.get_close_matches(name.lower(), [*SPECS, *_ALIASES], 1)
        hint = f"; did you mean {near[0]}? There" if near else "; there"
        raise BadInput(f"there is no benchmark {name!r}{hint} are {', '.join(SPECS)}")
    where = str(path) if path is not None else spec.hub
    if path is not None and is_local(where):
        place = Place(where, files=_release_files(spec, Path(where)))
        return Benchmark(spec, lambda: iter_rows(place, hint=""), where)
    if spec.hub_files:
        return Benchmark(spec, _from_hub_files(spec, where, revision), where)
    place = Place(where, hub=True, split=split or spec.split, config=config, revision=revision)
    return Benchmark(spec, lambda: iter_rows(place), where)


def _release_files(spec: Spec, path: Path) -> tuple[Path, ...] | None:
    """The files of a release in a folder that may hold later ones too; None where that says nothing."""
    if not spec.hub_files or not path.is_dir():
        return None
    missing = [name for name in spec.hub_files if not (path / name).is_file()]
    if missing:
        raise BadInput(
            f"{path}: {spec.name} is {', '.join(spec.hub_files)}; {', '.join(missing)} is not there"
        )
    return tuple(path / name for name in spec.hub_files)


def _from_hub_files(spec: Spec, hub: str, revision: str | None) -> Callable[[], Iterator[Row]]:
    """Rows of the release's files, each fetched to the hub's cache when it is its turn, as `datasets` refuses the data
    set's own loading script."""

    def rows() -> Iterator[Row]:
        from huggingface_hub import hf_hub_download

        number = 0
        for name in spec.hub_files:
            try:
                path = hf_hub_download(hub, name, repo_type="dataset", revision=revision)
            except Exception as error:  # network, permissions, names: what may come here is listed nowhere
                raise BadInput(
                    f"{name} of the data set {hub} cannot be fetched: {type(error).__name__}: {error}"
                ) from error
            for row in iter_rows(Place(path, files=(Path(path),))):
                yield row._replace(number=number)
                number += 1

    return rows


__all__ = ["SPECS", "Benchmark", "Problem", "Spec", "canonical", "key_of", "open_benchmark"]
