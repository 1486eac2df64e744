"""The build directory: what is on disk, who may write it, and how it survives a crash at any instant.

Readers (report, show, export, views) open a `Directory`, at any time, without a lock. The one process that builds holds
`lock` (flock: the kernel lets go of it when the process dies, however it dies) and writes through `Building`.

How a stage's files come to be, each step durable before the next:

    1. every shard is written to work/<stage>-<fingerprint>/ under a temporary name, fsynced, renamed; then its note
       (part-00007.json: counts, hashes) in the same way. A shard without a note does not exist.
    2. all shards there: work/<stage>.intent.json holds the stage's manifest entry.
    3. data/<stage> is moved aside, work/<stage>-<fingerprint> becomes data/<stage>.
    4. the manifest is replaced; what was moved aside and the intent are removed.

A crash before 2 leaves shards that the next run finds and keeps; a crash after 2 is finished by `_settle` when the next
run takes the lock. Readers see a stage only through the manifest.

Shards are cut by `order` (shard k: orders k x shard_rows up to, not including, (k + 1) x shard_rows), in every stage
alike, so shard k of a stage reads shard k of the stages before it, and a row that is mended touches one shard. A shard
has a key: a hash of its stage's settings and of its input files. When a stage runs again, shards whose key is that of a
finished one are linked, not made anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ._errors import BadInput, BuildInUse
from ._recipe import Recipe, parse_recipe
from ._records import CPU, DROPS, Drop

FORMAT = 1
BATCH_ROWS = 4096
# Bounds a reader's memory: 80 programs of 1 kB for each of 200 questions.
ROW_GROUP_ROWS = 16384
# What lies in a build directory.
OURS = ("recipe.yaml", "manifest.json", "manifest.json.tmp", "data", "work", "store", "telemetry", "lock")


@dataclass(slots=True)
class Counts:
    """What went in, came out and was left out. `rows_in == rows_out + sum(dropped.values())`, always.

    Attributes:
        rows_in: rows taken in, counted in the stage's own unit (`_stages`: questions, programs, ...).
        rows_out: of those, the ones that are still there.
        rows: rows in the files; differs from `rows_out` where one of these becomes several (pairs of a question).
        dropped: whole rows left out, by reason.
        dropped_items: parts of rows left out (tests of a question), by reason.
        incomplete: rows left out or cut short for a reason that a later run may mend.
    """

    rows_in: int = 0
    rows_out: int = 0
    rows: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    dropped_items: dict[str, int] = field(default_factory=dict)
    incomplete: int = 0

    def add(self, other: Counts) -> None:
        self.rows_in += other.rows_in
        self.rows_out += other.rows_out
        self.rows += other.rows
        self.incomplete += other.incomplete
        for mine, theirs in ((self.dropped, other.dropped), (self.dropped_items, other.dropped_items)):
            for reason, count in theirs.items():
                mine[reason] = mine.get(reason, 0) + count

    def sort(self) -> None:
        """The same counts give the same bytes, whatever order they came in."""
        self.dropped = dict(sorted(self.dropped.items()))
        self.dropped_items = dict(sorted(self.dropped_items.items()))


@dataclass(slots=True)
class ShardNote(Counts):
    """A finished shard.

    Attributes:
        key: hash of its stage's settings and of its input files.
        files: SHA-256 of each of its files.
    """

    key: str = ""
    files: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class StageRecord(Counts):
    """A finished stage, as the manifest has it.

    Attributes:
        fingerprint: hash of the settings it read, its rules' version and its inputs' content.
        content: hash of the files with its rows: what the stages after it depend on. Why rows were dropped is nothing
            to them.
        settings, inputs: what the fingerprint was made of, to say what changed.
        shards: the notes of its shards, by number.
    """

    fingerprint: str = ""
    content: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    shards: dict[str, ShardNote] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of each file in data/<stage>, in order."""
        return {name: digest for note in self.shards.values() for name, digest in note.files.items()}


class Directory:
    """A build directory, for reading.

    Raises:
        BadInput: it is no build directory, or of a newer version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._known: tuple[tuple[int, ...], dict[str, StageRecord]] | None = None
        if not (self.path / "manifest.json").is_file():
            what = (
                "is no build directory: it has no manifest.json" if self.path.exists() else "does not exist"
            )
            raise BadInput(f"{self.path}: {what}; `acedata build RECIPE --dir {self.path}` makes one")

    @property
    def manifest(self) -> dict[str, StageRecord]:
        """The finished stages, in the order of the build. Not to be changed by the caller."""
        try:
            stat = (self.path / "manifest.json").stat()
        except OSError as error:
            raise BadInput(f"{self.path / 'manifest.json'}: cannot be read: {error.strerror}") from error
        version = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if self._known is None or self._known[0] != version:
            self._known = version, _read_manifest(self.path)
        return self._known[1]

    @property
    def recipe(self) -> Recipe:
        """The recipe of the last build. Its relative paths no longer lead anywhere."""
        path = self.path / "recipe.yaml"
        try:
            return parse_recipe(path.read_text(encoding="utf-8"), path)
        except OSError as error:
            raise BadInput(f"{path}: cannot be read: {error.strerror}") from error

    def record(self, stage: str) -> StageRecord:
        """What the manifest says of a stage.

        Raises:
            BadInput: it is not finished.
        """
        try:
            return self.manifest[stage]
        except KeyError:
            raise BadInput(f"{self.path}: the stage {stage!r} is not built") from None

    def has(self, stage: str) -> bool:
        """Whether a stage is finished."""
        return stage in self.manifest

    def files(self, stage: str) -> list[Path]:
        """The stage's data files, in order."""
        return [self.path / "data" / stage / name for name in self.record(stage).files if _is_part(name)]

    def schema(self, stage: str) -> pa.Schema:
        """Columns of a stage's rows; an empty schema where it has no files."""
        files = self.files(stage)
        return pq.read_schema(files[0]) if files else pa.schema([])

    def batches(self, stage: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of a stage, sorted by `order`, a few thousand at a time.

        Raises:
            BadInput: the stage is not finished, or a file is not what the manifest says.
        """
        for path in self.files(stage):
            yield from _batches(path, columns)

    def shard(
        self, stage: str, number: int, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows of one shard of a stage; none where the stage has no such shard."""
        for name in self.record(stage).shards.get(f"{number:05d}", ShardNote()).files:
            if _is_part(name):
                yield from _batches(self.path / "data" / stage / name, columns)

    def drops(self, stage: str) -> Iterator[pa.RecordBatch]:
        """What a stage left out: `DROPS`."""
        for name in self.record(stage).files:
            if not _is_part(name):
                yield from _batches(self.path / "data" / stage / name, None)

    def cpu(self, stage: str) -> Iterator[pa.RecordBatch]:
        """CPU times of a judged stage, row for row with its matrix: `CPU`."""
        for path in sorted((self.path / "telemetry" / stage).glob("cpu-*.parquet")):
            yield from _batches(path, None)

    def telemetry(self, stage: str) -> dict[str, Any]:
        """Times, costs and hosts: {"runs": [...]}, one entry per build that worked on the stage."""
        path = self.path / "telemetry" / stage / "runs.json"
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {"runs": []}
        except (OSError, ValueError) as error:
            raise BadInput(f"{path}: cannot be read: {error}") from error
        runs = found.get("runs") if isinstance(found, dict) else None
        return {"runs": [run for run in runs if isinstance(run, dict)] if isinstance(runs, list) else []}

    def check(self) -> None:
        """Reads every file.

        Raises:
            BadInput: one is not what the manifest says; the message says how to mend it.
        """
        damage = self.damage()
        if damage:
            more = f" (and {len(damage) - 1} more)" if len(damage) > 1 else ""
            raise BadInput(
                f"{damage[0]}{more}; delete it, and the next `acedata build` of the same recipe makes it again"
            )

    def damage(self) -> list[str]:
        """Compares every file with the manifest; what differs, one sentence each."""
        found = []
        for stage, record in self.manifest.items():
            for name, digest in record.files.items():
                path = self.path / "data" / stage / name
                if not path.is_file():
                    found.append(f"{path} is missing")
                elif _digest(path) != digest:
                    found.append(f"{path} is not the file that was built")
        return found


class Building(Directory):
    """A build directory, for the one process that builds. A context manager: holds the lock inside.

    Raises:
        BuildInUse: another process holds it; the message says which.
        BadInput: the path is no directory, or one with other things in it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._known = None
        self._lock: int | None = None

    def __enter__(self) -> Building:
        if os.path.lexists(self.path) and not self.path.is_dir():
            raise BadInput(f"{self.path}: is a file; the build needs a directory")
        if not (self.path / "manifest.json").exists() and _has_strangers(self.path):
            raise BadInput(f"{self.path}: holds other files and is no build directory; give a new one")
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = _take_lock(self.path / "lock")
        try:
            for name in ("data", "work", "telemetry"):
                (self.path / name).mkdir(exist_ok=True)
            if not (self.path / "manifest.json").exists():
                self._write_manifest({})
            self._settle()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def keep_recipe(self, recipe: Recipe) -> None:
        """Notes the recipe of this build, for reading.

        Raises:
            BadInput: it would take the place of the very file that the recipe was read from, and differs from it.
        """
        place, text = self.path / "recipe.yaml", recipe.text.encode()
        if place.exists() and recipe.is_file(place) and place.read_bytes() != text:
            raise BadInput(
                f"{place}: is the recipe itself, and what this build changes in it would be written over it; change "
                "the file, or keep it outside of the build directory"
            )
        _write_durably(place, text)

    def forget(self, stages: Iterable[str]) -> None:
        """Takes stages out of the manifest and off the disk: the recipe no longer has them."""
        manifest = dict(self.manifest)
        gone = [stage for stage in stages if manifest.pop(stage, None) is not None]
        if gone:
            self._write_manifest(manifest)
        for stage in gone:
            shutil.rmtree(self.path / "data" / stage, ignore_errors=True)

    def clear_work(self) -> None:
        """Removes shards that no stage wants any more."""
        for path in (self.path / "work").iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def stage(self, name: str, fingerprint: str) -> StageFiles:
        """The files of a stage that is about to be made, or goes on being made."""
        return StageFiles(self, name, fingerprint)

    def note_failures(self, stage: str, failures: Sequence[Mapping[str, Any]]) -> None:
        """Keeps the requests of a stage's last run that got no answer, one JSON object a line."""
        path = self.path / "telemetry" / stage / "failures.jsonl"
        if failures:
            _write_durably(path, b"".join(json.dumps(dict(one)).encode() + b"\n" for one in failures))
        else:
            path.unlink(missing_ok=True)

    def note_run(self, stage: str, facts: Mapping[str, Any]) -> None:
        """Adds one run's times and costs to a stage's telemetry."""
        folder = self.path / "telemetry" / stage
        folder.mkdir(parents=True, exist_ok=True)
        try:
            runs = self.telemetry(stage)["runs"]
        except (BadInput, KeyError):  # telemetry never stops a build
            runs = []
        _write_durably(folder / "runs.json", _json({"runs": [*runs, dict(facts)]}))

    def _publish(self, stage: str, record: StageRecord, order: Sequence[str]) -> None:
        """Steps 2 to 4 of the file's head."""
        intent = {"stage": stage, "record": asdict(record), "order": list(order)}
        _write_durably(self.path / "work" / f"{stage}.intent.json", _json(intent))
        self._settle()

    def _settle(self) -> None:
        """Finishes what a crash interrupted between the intent and the manifest. Every step may find itself done."""
        work = self.path / "work"
        for path in sorted(work.glob("*.intent.json")):
            try:
                intent = json.loads(path.read_bytes())
                stage, record, order = intent["stage"], _record(intent["record"]), list(intent["order"])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BadInput(
                    f"{path}: is damaged ({error}); delete it, and the build makes that stage again"
                ) from None
            made = work / _work_name(stage, record.fingerprint)
            data, aside = self.path / "data" / stage, work / f"{stage}.old"
            if made.is_dir():
                # Notes belong to work/; the files they name go on.
                for note in made.glob("*.json"):
                    note.unlink()
                if data.exists():
                    shutil.rmtree(aside, ignore_errors=True)
                    data.rename(aside)
                made.rename(data)
                _sync(data.parent)
                _sync(work)
            manifest = dict(self.manifest)
            manifest[stage] = record
            known = [name for name in order if name in manifest]
            self._write_manifest({name: manifest[name] for name in [*known, *(set(manifest) - set(known))]})
            shutil.rmtree(aside, ignore_errors=True)
            path.unlink()

    def _write_manifest(self, manifest: Mapping[str, StageRecord]) -> None:
        stages = {stage: asdict(record) for stage, record in manifest.items()}
        _write_durably(self.path / "manifest.json", _json({"format": FORMAT, "stages": stages}))


class StageFiles:
    """The files of one stage while it is made. `write` may be called from one other thread."""

    def __init__(self, building: Building, stage: str, fingerprint: str) -> None:
        self._building = building
        self._stage = stage
        self._fingerprint = fingerprint
        self._folder = building.path / "work" / _work_name(stage, fingerprint)
        self._cpu = building.path / "telemetry" / stage
        self._folder.mkdir(parents=True, exist_ok=True)
        self._cpu.mkdir(parents=True, exist_ok=True)
        self._notes: dict[int, ShardNote] = {}
        for path in self._folder.glob("part-*.json"):
            try:
                note = ShardNote(**json.loads(path.read_bytes()))
            except (ValueError, TypeError):  # no note, no shard: it is made again
                continue
            if all((self._folder / name).is_file() for name in note.files):
                self._notes[_number(path)] = note

    def has(self, shard: int, key: str) -> bool:
        """Whether a shard is there already: made before a crash, or finished under the same key by an earlier build.

        A shard with rows that this run may mend never counts as there.
        """
        note = self._notes.get(shard)
        if note is None:
            note = self._adopt(shard, key)
        return note is not None and note.key == key and not note.incomplete

    def write(
        self,
        shard: int,
        key: str,
        table: pa.Table,
        counts: Counts,
        drops: pa.Table | None = None,
        cpu: pa.Table | None = None,
    ) -> None:
        """Makes one shard durable.

        Args:
            shard, key: its number, and the hash of what it was made from.
            table: its rows, of the stage's schema.
            counts: without what follows from the table and the drops: `rows`, `dropped`, `dropped_items`.
            drops: `DROPS`.
            cpu: `CPU`, of judged stages.
        """
        folder = self._folder
        files: dict[str, str] = {}
        name = f"part-{shard:05d}"
        with contextlib.suppress(FileNotFoundError):
            (folder / f"{name}.json").unlink()
        files[f"{name}.parquet"] = _write_parquet(folder / f"{name}.parquet", table)
        dropped = folder / f"dropped-{shard:05d}.parquet"
        if drops is not None and drops.num_rows:
            files[dropped.name] = _write_parquet(dropped, drops)
        else:
            dropped.unlink(missing_ok=True)
        if cpu is not None:
            _write_parquet(self._cpu / f"cpu-{shard:05d}.parquet", cpu.cast(CPU))
        note = ShardNote(**asdict(counts), key=key, files=files)
        note.rows = table.num_rows
        if drops is not None:
            whole = pc.is_null(drops.column("item"))
            note.dropped = _count(drops.filter(whole).column("reason"))
            note.dropped_items = _count(drops.filter(pc.invert(whole)).column("reason"))
        note.sort()
        self._keep_note(shard, note)

    def finish(
        self,
        shards: Mapping[int, str],
        order: Sequence[str],
        settings: Mapping[str, Any] | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> StageRecord:
        """All shards (number to key) are there: makes them the stage.

        Args:
            shards: which shards the stage consists of; what else lies in `work` is removed.
            order: names of all stages, for the manifest.
            settings, inputs: what the fingerprint was made of.
        """
        record = StageRecord(
            fingerprint=self._fingerprint, settings=dict(settings or {}), inputs=dict(inputs or {})
        )
        wanted = set()
        for shard in sorted(shards):
            note = self._notes[shard]
            if note.key != shards[shard]:
                raise AssertionError(f"{self._stage}: shard {shard} was made from other inputs")
            record.add(note)
            record.shards[f"{shard:05d}"] = note
            wanted |= {*note.files, f"part-{shard:05d}.json"}
        record.sort()
        if record.rows_in != record.rows_out + sum(record.dropped.values()):
            raise AssertionError(
                f"{self._stage}: {record.rows_in} rows in, but {record.rows_out} out and "
                f"{sum(record.dropped.values())} dropped"
            )
        record.content = fingerprint_of(rows_of(record))
        for path in self._folder.iterdir():
            if path.name not in wanted:
                path.unlink()
        for path in self._cpu.glob("cpu-*.parquet"):
            if _number(path) not in shards:
                path.unlink()
        self._building._publish(self._stage, record, order)
        return record

    def _adopt(self, shard: int, key: str) -> ShardNote | None:
        """Links a shard of the finished stage that has the same key."""
        record = self._building.manifest.get(self._stage)
        note = record.shards.get(f"{shard:05d}") if record is not None else None
        if note is None or note.key != key or note.incomplete:
            return None
        data = self._building.path / "data" / self._stage
        for name, digest in note.files.items():
            if not (data / name).is_file() or _digest(data / name) != digest:
                return None
        for name in note.files:
            (self._folder / name).unlink(missing_ok=True)
            _link(data / name, self._folder / name)
        self._keep_note(shard, note)
        return note

    def _keep_note(self, shard: int, note: ShardNote) -> None:
        _write_durably(self._folder / f"part-{shard:05d}.json", _json(asdict(note)))
        self._notes[shard] = note


def fingerprint_of(facts: Any) -> str:
    """SHA-256 of anything that JSON can say, in hex; the order of keys does not matter."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _count(reasons: Any) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(reasons).to_pylist()}


def drops_table(drops: Iterable[Drop]) -> pa.Table:
    """Drops as `DROPS`."""
    listed = list(drops)
    return pa.table(
        {
            name: pa.array([getattr(drop, name) for drop in listed], DROPS.field(name).type)
            for name in DROPS.names
        },
        schema=DROPS,
    )


# Files.


def _write_parquet(path: Path, table: pa.Table) -> str:
    """Writes a file that is there as a whole or not at all; returns its SHA-256.

    The same rows give the same bytes: one chunk per column (pages follow chunks), settings fixed, nothing of the day.
    """
    whole = table.combine_chunks()
    sink = path.with_name(path.name + ".tmp")
    with naming(sink):
        pq.write_table(
            whole,
            sink,
            row_group_size=ROW_GROUP_ROWS,
            compression="zstd",
            compression_level=3,
            version="2.6",
            data_page_version="1.0",
            data_page_size=1 << 20,
            use_dictionary=True,
            write_statistics=True,
            store_schema=True,
        )
    digest = _digest(sink)
    _rename_durably(sink, path)
    return digest


def _write_durably(path: Path, content: bytes) -> None:
    sink = path.with_name(path.name + ".tmp")
    with naming(sink):
        sink.write_bytes(content)
    _rename_durably(sink, path)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the disk say which file they are about: that of a full one, met while writing, does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def _rename_durably(sink: Path, path: Path) -> None:
    _sync(sink)
    sink.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link(path: Path, to: Path) -> None:
    try:
        os.link(path, to)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, to)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def _batches(path: Path, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            if columns is not None:
                missing = [name for name in columns if name not in file.schema_arrow.names]
                if missing:
                    raise BadInput(f"{path}: has no column {missing[0]!r}")
            wanted = None if columns is None else list(columns)
            for group in range(
                file.num_row_groups
            ):  # a batch over two groups cannot hold lists of dictionaries
                yield from file.iter_batches(BATCH_ROWS, row_groups=[group], columns=wanted)
    except FileNotFoundError:
        raise BadInput(f"{path}: is missing, though the manifest names it") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(f"{path}: is not the file that was built: {error}") from error


def _read_manifest(path: Path) -> dict[str, StageRecord]:
    file = path / "manifest.json"
    try:
        found = json.loads(file.read_bytes())
        if found["format"] != FORMAT:
            raise BadInput(f"{file}: is of format {found['format']}; this version reads format {FORMAT}")
        return {stage: _record(facts) for stage, facts in found["stages"].items()}
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{file}: is damaged: {error!r}") from error


def _record(facts: dict[str, Any]) -> StageRecord:
    shards = {number: ShardNote(**note) for number, note in facts["shards"].items()}
    return StageRecord(**{**facts, "shards": shards})


def rows_of(record: StageRecord | ShardNote) -> dict[str, str]:
    """SHA-256 of the files that hold rows, not drops."""
    return {name: digest for name, digest in record.files.items() if _is_part(name)}


def _is_part(name: str) -> bool:
    return name.startswith("part-")


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _work_name(stage: str, fingerprint: str) -> str:
    return f"{stage}-{fingerprint[:16]}"


def _has_strangers(path: Path) -> bool:
    """Whether a directory holds anything that a build interrupted in its first moments would not have left."""
    return path.is_dir() and any(entry.name not in OURS for entry in path.iterdir())


def _take_lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 1000, 0).decode(errors="replace").strip() or "an unknown process"
        os.close(descriptor)
        raise BuildInUse(f"{path.parent}: is being built by {holder}; wait for it, or stop it") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return descriptor
