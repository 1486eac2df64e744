"""A finished build as a dataset folder: Parquet that `datasets.load_dataset(folder)` opens, a card, files for trainers.

    OUT/
    ├── README.md                         the card; its front matter names the configurations
    ├── data/train-00000-of-….parquet     `acecode`
    ├── hard/train-….parquet              `hard`: the same columns
    ├── pairs/                            a dataset folder of its own (README.md), as the pairs were released
    │   ├── data/train-….parquet          `pairs`
    │   └── extended/<split>/….parquet    `extended`
    ├── trl/, verl/, openrlhf/            ready for trainers; `rl` is all questions, `hard` the hard subset
    ├── llama-factory/dataset_info.json   points at pairs/
    ├── plots/*.svg, recipe.yaml
    └── export.json                       what was written: forms, rows, SHA-256 of every file

Everything streams: a few hundred questions with their programs at a time, row groups of at most a thousand questions.
The bytes depend on the build's data and on the versions of this package and of Arrow, nothing else.

The folder appears whole or not at all: it is written beside its place and renamed. An existing folder is replaced only
if it is an earlier export.

`datasets` cannot open a Parquet file without rows. A split or form that would be empty is therefore not written; the
card and `Exported.rows` say 0.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from . import _forms as forms_of
from ._backends._secrets import Secrets
from ._card import Config, write_card
from ._directory import Directory
from ._errors import AceDataError, BadInput
from ._figures import figures
from ._funnel import check_funnel, final_questions
from ._matrix import Beside, Ints, chunks, orders
from ._recipe import ExportConfig, Recipe
from ._records import PAIRS
from ._views import published

FORMAT = 1
ALL_FORMS: tuple[str, ...] = get_args(get_args(ExportConfig.model_fields["forms"].annotation)[0])
GROUP_ROWS = 1000
"""Questions in a row group, as large as the builder's own shards."""
GROUP_BYTES = 128 << 20
FILE_BYTES = 512 << 20
"""Before compression: the size at which `datasets` cuts files too."""
QUESTIONS_AT_A_TIME = 128
"""With 80 programs of a kilobyte each: 10 MB. With 80 of 100 kB, still under the 2 GiB that a `string` column takes."""

_NEEDS = {
    "acecode": "filtered",
    "hard": "hard",
    "pairs": "pairs",
    "extended": "pairs",
    "llama-factory": "pairs",
}


class PushFailed(AceDataError):
    """The hub did not take the folder. What was exported lies on disk."""


@dataclass(slots=True)
class Exported:
    """What was written.

    Attributes:
        path: the folder.
        rows: rows of each file set by its name, such as `acecode`, `extended/validation` or `trl/rl/train`. Those with
            0 rows have no file.
        files: SHA-256 of every file but `export.json`, by its path within the folder.
    """

    path: Path
    rows: dict[str, int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def export(
    directory: Directory | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    forms: Sequence[str] | None = None,
    validation: float | None = None,
) -> Exported:
    """Writes the dataset folder of a build.

    Args:
        directory: the build.
        out: the folder to make; an earlier export there is replaced.
        forms: which of `ALL_FORMS`; None: what the recipe says.
        validation: share of the questions in the validation splits of `extended` and of the trainers' files; None: what
            the recipe says.

    Raises:
        BadInput: the build lacks the stage of a form that was asked for, is damaged, or `out` holds something else.
        FunnelBroken: the build's counts do not add up.
    """
    build = directory if isinstance(directory, Directory) else Directory(directory)
    recipe = build.recipe
    wanted = _wanted(build, recipe.export.forms if forms is None else forms)
    share = recipe.export.validation if validation is None else validation
    if not 0 <= share < 1:
        raise BadInput(f"validation={share!r} must be a share of the questions, from 0 to less than 1")
    check_funnel(build)
    build.check()
    place = Path(out)
    _check_place(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    _clear_away(place)
    partial = place.with_name(f".{place.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        made = _write(build, recipe, partial, wanted, share)
        _swap(partial, place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    made.path = place
    return made


def push(
    folder: str | os.PathLike[str],
    repo: str,
    *,
    public: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Uploads an exported folder to the Hugging Face hub as one commit; files of an earlier export are replaced.

    Args:
        repo: `owner/name` of a dataset; made where it does not exist.
        public: whether a repository that is made here can be seen by everybody.
        token: None: the one that `hf auth login` or HF_TOKEN left.
        endpoint: another hub than the public one.

    Returns:
        The commit's address.

    Raises:
        BadInput: the folder is no export.
        PushFailed: the hub refused, or could not be reached.
    """
    path = Path(folder)
    if _marker(path) is None:
        raise BadInput(f"{path}: is no exported dataset; `acedata export DIR --out {path}` makes one")
    # Takes a second to import, and only an upload needs it.
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    hub = HfApi(endpoint=endpoint, token=token)
    try:
        hub.create_repo(repo, repo_type="dataset", private=not public, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=repo,
            repo_type="dataset",
            folder_path=path,
            commit_message="acedata export",
            # What an earlier export put there and this one does not have: configurations must not mix.
            delete_patterns=["*.parquet", "*.jsonl", "plots/*.svg", "**/README.md", "**/dataset_info.json"],
        )
    except HFValidationError as error:
        raise BadInput(f"{repo!r} is no name of a dataset on the hub: {error}") from error
    except (HfHubHTTPError, OSError) as error:
        raise PushFailed(f"{repo}: the hub did not take it: {error}") from error
    except Exception as error:
        # No connection, a time-out, a torn answer: whichever HTTP library the client uses, its errors are of no base
        # that is known here, and some carry the request with its token.
        hidden = Secrets([token or "", get_token() or ""])
        raise PushFailed(
            f"{repo}: the hub could not be reached: {hidden.line(f'{type(error).__name__}: {error}')}; what was "
            f"exported lies in {path}"
        ) from None
    return str(commit.commit_url)


def _wanted(build: Directory, asked: Iterable[str]) -> list[str]:
    given = set(asked)
    unknown = sorted(given - set(ALL_FORMS))
    if unknown:
        raise BadInput(f"there is no form {unknown[0]!r}; there are {', '.join(ALL_FORMS)}")
    if not given:
        raise BadInput(f"no form to export; there are {', '.join(ALL_FORMS)}")
    if "llama-factory" in given:
        given |= {"pairs"}  # its one file points there
    built = build.manifest
    for form in sorted(given):
        stage = _NEEDS.get(form, "filtered")
        if stage not in built:
            raise BadInput(
                f"{build.path}: the form {form!r} needs the stage {stage!r}, which this build does not have"
                + (f"; finished are {', '.join(built)}" if built else "; no stage is finished")
            )
    return [form for form in ALL_FORMS if form in given]


def _marker(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((path / "export.json").read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "forms" in found else None


def _check_place(place: Path) -> None:
    if not os.path.lexists(place):
        return
    if not place.is_dir():
        raise BadInput(f"{place}: is a file; an export needs a folder")
    if any(place.iterdir()) and _marker(place) is None:
        raise BadInput(f"{place}: holds other files and is no earlier export; give a new folder")
    known = (_marker(place) or {}).get("files", {})
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if path.is_dir() or name == "export.json":
            continue
        # Whoever publishes adds to the card; data is not read again for this.
        if name not in known or (path.name == "README.md" and _digest(path) != known[name]):
            raise BadInput(
                f"{path}: is not as an earlier export wrote it, and would be lost with it; move it away, or give a new "
                "folder"
            )


def _clear_away(place: Path) -> None:
    """Removes what an export that was killed left beside its place."""
    for path in place.parent.glob(f".{glob.escape(place.name)}.partial-*"):
        number = path.name.rpartition("-")[2]
        if number.isdecimal() and not Path("/proc", number).exists():
            shutil.rmtree(path, ignore_errors=True)


def _swap(partial: Path, place: Path) -> None:
    aside = place.with_name(f".{place.name}.old-{os.getpid()}")
    if place.exists():
        place.rename(aside)
    partial.rename(place)
    shutil.rmtree(aside, ignore_errors=True)


# ---- writing ----


class _Set:
    """One set of Parquet files: row groups are collected, files cut by size, names given when their number is known."""

    def __init__(self, folder: Path, schema: pa.Schema, stem: str, *, cut: bool) -> None:
        self.rows = 0
        self._folder, self._schema, self._stem, self._cut = folder, schema, stem, cut
        self._held: list[Any] = []
        self._held_rows = self._held_bytes = self._file_bytes = 0
        self._writer: Any = None
        self._files: list[Path] = []

    def add(self, batch: Any) -> None:
        while batch.num_rows:
            part = batch.slice(0, GROUP_ROWS - self._held_rows)
            batch = batch.slice(part.num_rows)
            self._held.append(part)
            self._held_rows += part.num_rows
            self._held_bytes += part.nbytes
            self.rows += part.num_rows
            if self._held_rows >= GROUP_ROWS or self._held_bytes >= GROUP_BYTES:
                self._flush()

    def _flush(self) -> None:
        if not self._held_rows:
            return
        if self._writer is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._files.append(self._folder / f".{self._stem}-{len(self._files):05d}")
            self._writer = pq.ParquetWriter(self._files[-1], self._schema, compression="zstd")
            self._file_bytes = 0
        # In one piece: how the rows came in must not show in the bytes.
        whole = pa.Table.from_batches(self._held, self._schema).combine_chunks()
        self._writer.write_table(whole, self._held_rows)
        self._file_bytes += self._held_bytes
        self._held, self._held_rows, self._held_bytes = [], 0, 0
        if self._cut and self._file_bytes >= FILE_BYTES:
            self.stop()

    def stop(self) -> None:
        """Closes the open file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def finish(self) -> None:
        """Writes what is left and names the files."""
        self._flush()
        self.stop()
        for number, file in enumerate(self._files):
            of = f"-{number:05d}-of-{len(self._files):05d}" if self._cut else ""
            file.rename(self._folder / f"{self._stem}{of}.parquet")


class _Lines:
    """One file of JSON lines; there is none while nothing was written."""

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._path = path
        self._file: Any = None

    def add(self, lines: bytes, rows: int) -> None:
        if rows:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("wb")
            self._file.write(lines)
            self.rows += rows

    def finish(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    stop = finish


class _Sink:
    """All files of an export, by name, and the number of pairs given out so far."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.sets: dict[str, _Set | _Lines] = {}
        self.pairs = 0
        self._folder, self._stack = folder, stack

    def declare(self, name: str, path: str, schema: pa.Schema | None, *, cut: bool = False) -> None:
        """`path`: of the files, without what follows the stem; `schema` None: JSON lines."""
        at = self._folder / path
        made: _Set | _Lines
        made = _Lines(at) if schema is None else _Set(at.parent, schema, at.name, cut=cut)
        self.sets[name] = made
        self._stack.callback(made.stop)

    def batch(self, name: str, batch: Any) -> None:
        files = self.sets[name]
        assert isinstance(files, _Set)
        files.add(batch)

    def lines(self, name: str, lines: bytes, rows: int) -> None:
        files = self.sets[name]
        assert isinstance(files, _Lines)
        files.add(lines, rows)


def _write(build: Directory, recipe: Recipe, out: Path, wanted: list[str], share: float) -> Exported:
    splits = ("train", "validation") if share else ("train",)
    subsets = ("rl", "hard") if build.has("hard") else ("rl",)
    with ExitStack() as stack:
        sink = _Sink(out, stack)
        _declare(sink, wanted, splits, subsets, build.has("pairs"))
        for chunk in _read(build, recipe):
            _questions(sink, wanted, chunk, recipe, share, subsets)
            _pairs(sink, wanted, chunk, share)
        for files in sink.sets.values():
            files.finish()
        rows = {name: files.rows for name, files in sink.sets.items()}
    if "llama-factory" in wanted and rows.get("pairs"):
        there = [split for split in splits if rows.get(f"extended/{split}")]
        _write_json(out / "llama-factory" / "dataset_info.json", forms_of.llama_factory_info(there))
    (out / "recipe.yaml").write_text(recipe.text, encoding="utf-8")
    made = Exported(out, rows)
    write_card(build, figures(build), out, _configs(wanted, rows), rows, share)
    made.files = {
        path.relative_to(out).as_posix(): _digest(path) for path in sorted(out.rglob("*")) if path.is_file()
    }
    content = {stage: record.content for stage, record in build.manifest.items()}
    _write_json(
        out / "export.json",
        {"format": FORMAT, "forms": wanted, "rows": rows, "stages": content, "files": made.files},
    )
    return made


def _declare(
    sink: _Sink, wanted: list[str], splits: tuple[str, ...], subsets: tuple[str, ...], paired: bool
) -> None:
    if "acecode" in wanted:
        sink.declare("acecode", "data/train", forms_of.ACECODE, cut=True)
    if "hard" in wanted:
        sink.declare("hard", "hard/train", forms_of.ACECODE, cut=True)
    if "pairs" in wanted:
        sink.declare("pairs", "pairs/data/train", forms_of.PAIR, cut=True)
    for split in splits:
        if "extended" in wanted:
            sink.declare(f"extended/{split}", f"pairs/extended/{split}/{split}", forms_of.EXTENDED, cut=True)
        if "trl" in wanted and paired:
            sink.declare(f"trl/preference/{split}", f"trl/preference/{split}", forms_of.TRL_PREFERENCE)
        if "openrlhf" in wanted and paired:
            sink.declare(f"openrlhf/preference/{split}", f"openrlhf/preference/{split}.jsonl", None)
        for subset in subsets:
            if "trl" in wanted:
                sink.declare(f"trl/{subset}/{split}", f"trl/{subset}/{split}", forms_of.TRL_RL)
            if "verl" in wanted:
                sink.declare(f"verl/{subset}/{split}", f"verl/{subset}/{split}", forms_of.VERL)
            if "openrlhf" in wanted:
                sink.declare(f"openrlhf/{subset}/{split}", f"openrlhf/{subset}/{split}.jsonl", None)


@dataclass(slots=True)
class _Chunk:
    """Some hundred published questions, and everything of theirs. `questions` of pairs may be more ("upstream")."""

    questions: Any
    published: Any
    programs: Any
    rates: Any
    pairs: Any
    hard: Any


def _read(build: Directory, recipe: Recipe) -> Iterator[_Chunk]:
    def beside(stage: str, columns: list[str]) -> Beside | None:
        return Beside(build.batches(stage, columns), stage) if build.has(stage) else None

    names = ["order", "model", "completion_id"]
    others = {
        "samples": beside("samples", [*names, "program"]),
        "pass_rates": beside("pass_rates", ["order", "completion_id", "pass_rate"]),
        "pairs": beside("pairs", PAIRS.names),
        "hard": beside("hard", ["order"]),
    }
    least = recipe.filter.min_tests
    for questions in chunks(build.batches(final_questions(build)), QUESTIONS_AT_A_TIME):
        last = int(orders(questions)[-1])
        read = {name: None if one is None else one.through(last) for name, one in others.items()}
        public = next(published([questions], least))
        yield _Chunk(questions, public, read["samples"], read["pass_rates"], read["pairs"], read["hard"])
    for one in others.values():
        if one is not None:
            one.finish()


def _questions(
    sink: _Sink, wanted: list[str], chunk: _Chunk, recipe: Recipe, share: float, subsets: tuple[str, ...]
) -> None:
    questions = chunk.published
    if not questions.num_rows:
        return
    places = orders(questions)
    hard = np.isin(places, orders(chunk.hard)) if chunk.hard is not None else np.zeros(len(places), np.bool_)
    asked = forms_of.prompts(questions, forms_of.rl_format(recipe.checks.signature))
    if "acecode" in wanted or "hard" in wanted:
        rows = forms_of.acecode(questions, _of(places, chunk.programs), _of(places, chunk.rates), asked)
        if "acecode" in wanted:
            sink.batch("acecode", rows)
        if "hard" in wanted:
            sink.batch("hard", rows.filter(pa.array(hard)))
    if not {"trl", "verl", "openrlhf"} & set(wanted):
        return
    held_out = forms_of.in_validation(questions.column("id").to_pylist(), share)
    for subset, member in (("rl", np.ones(len(places), np.bool_)), ("hard", hard)):
        for split, side in (("train", ~held_out), ("validation", held_out)):
            where = np.flatnonzero(member & side)
            if subset not in subsets or not len(where):
                continue
            some = questions.take(pa.array(where))
            prompts = forms_of.Prompts(
                asked.format, [asked.texts[place] for place in where], [asked.shown[place] for place in where]
            )
            tests = forms_of.tests_as_json(some)
            if "trl" in wanted:
                sink.batch(f"trl/{subset}/{split}", forms_of.trl_rl_rows(some, prompts, tests))
            if "verl" in wanted:
                name = f"verl/{subset}/{split}"
                sink.batch(name, forms_of.verl_rows(some, prompts, tests, split, sink.sets[name].rows))
            if "openrlhf" in wanted:
                lines = forms_of.openrlhf_rl_lines(some, prompts, tests)
                sink.lines(f"openrlhf/{subset}/{split}", lines, len(where))


def _pairs(sink: _Sink, wanted: list[str], chunk: _Chunk, share: float) -> None:
    if not {"pairs", "extended", "trl", "openrlhf"} & set(wanted):
        return
    ids = chunk.questions.column("id").to_pylist()
    held_out = forms_of.in_validation(ids, share)
    for made in forms_of.pairs(chunk.questions, chunk.programs, chunk.pairs):
        numbered = forms_of.pair_rows(made, sink.pairs)
        sink.pairs += numbered.num_rows
        if "pairs" in wanted:
            sink.batch("pairs", numbered)
        sides = held_out[made.question]
        extended = forms_of.extended_rows(made, numbered, chunk.questions) if "extended" in wanted else None
        preference = forms_of.preference_rows(made) if {"trl", "openrlhf"} & set(wanted) else None
        for split, side in (("train", ~sides), ("validation", sides)):
            if not side.any():
                continue
            if extended is not None:
                sink.batch(f"extended/{split}", extended.filter(pa.array(side)))
            if preference is not None:
                some = preference.filter(pa.array(side))
                if "trl" in wanted:
                    sink.batch(f"trl/preference/{split}", some)
                if "openrlhf" in wanted:
                    lines = forms_of.preference_lines(some)
                    sink.lines(f"openrlhf/preference/{split}", lines, some.num_rows)


def _of(places: Ints, rows: Any) -> Any:
    """Rows of some of the questions only."""
    if rows is None or not rows.num_rows:
        return rows
    theirs = np.isin(orders(rows), places)
    return rows if theirs.all() else rows.filter(pa.array(theirs))


def _configs(wanted: list[str], rows: dict[str, int]) -> list[Config]:
    """The configurations of the folder, the default one first. OpenRLHF's files are for its own loader: `datasets`
    reads one kind of file per folder."""
    made = []
    if "acecode" in wanted:
        made.append(Config("default", {"train": "data/train-*"}, ("acecode",)))
    if "hard" in wanted:
        made.append(Config("hard", {"train": "hard/train-*"}, ("hard",)))
    if "pairs" in wanted:
        name = "pairs" if "acecode" in wanted else "default"
        made.append(Config(name, {"train": "pairs/data/train-*"}, ("pairs",), of_pairs=True))
    sets = {
        "extended": ("extended", "pairs/extended/{}/*"),
        "trl-preference": ("trl/preference", "trl/preference/{}.parquet"),
    }
    for form in ("trl", "verl"):
        for subset in ("rl", "hard"):
            sets[f"{form}-{subset}"] = (f"{form}/{subset}", f"{form}/{subset}/{{}}.parquet")
    for name, (files, path) in sets.items():
        splits = {
            split: path.format(split) for split in ("train", "validation") if rows.get(f"{files}/{split}")
        }
        made.append(
            Config(name, splits, tuple(f"{files}/{split}" for split in splits), of_pairs=name == "extended")
        )
    kept = [config for config in made if config.sets and all(rows.get(name) for name in config.sets)]
    if kept and all(config.name != "default" for config in kept):
        kept[0] = replace(kept[0], default=True)
    return kept


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
