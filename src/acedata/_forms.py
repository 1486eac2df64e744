"""The published forms: their columns and types, and how rows of a build become rows of each.

| form | a row is | read by |
|---|---|---|
| `acecode`, `hard` | a question with its tests and judged programs, exactly the columns of AceCode-87K | `datasets` |
| `pairs` | a preference pair, exactly the columns of AceCodePair-300K | `datasets`, LLaMA-Factory |
| `extended` | the same pair and what the release lost | `datasets` |
| `trl` | preference: `prompt`, `chosen`, `rejected` as message lists and `margin`; RL: `prompt`, `test_cases` | TRL |
| `verl` | `data_source`, `prompt`, `ability`, `reward_model`, `extra_info` | verl |
| `openrlhf` | JSON lines: `prompt`, `chosen`, `rejected`, `margin`; RL: `prompt`, `label` | OpenRLHF |
| `llama-factory` | `dataset_info.json`, which points at the files of `pairs` and `extended` | LLaMA-Factory |

Texts are `string` here though they are `large_string` inside a build: the published types are part of the form
(`datasets` tells the two apart), and no row group comes near the 2 GiB at which they differ. For the same reason
nothing is marked as never null.

Tests travel as a JSON string wherever a trainer's own loader reads them: lists of different lengths inside structs are
merged or padded by some of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ._errors import BadInput
from ._formats import answer_text, render
from ._matrix import Bools, Ints, flat, lists, offsets_of, orders, rows_in

PAIR_FORMAT = "pair-1"
DATA_SOURCE = "acecode"
"""verl looks its reward function up by this name."""

_MESSAGE = pa.struct([("content", pa.string()), ("role", pa.string())])
_MESSAGES = pa.list_(_MESSAGE)
_INFERENCE = pa.struct(
    [
        ("completion", pa.string()),
        ("completion_id", pa.int64()),
        ("model_name", pa.string()),
        ("pass_rate", pa.float64()),
    ]
)

ACECODE = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("question", pa.string()),
        ("test_cases", pa.list_(pa.string())),
        ("inferences", pa.list_(_INFERENCE)),
        ("context_messages", _MESSAGES),
    ]
)
PAIR = pa.schema(
    [
        ("instruction", pa.string()),
        ("input", pa.string()),
        ("chosen", pa.string()),
        ("rejected", pa.string()),
        ("id", pa.int64()),
    ]
)
EXTENDED = pa.schema(
    [
        *PAIR,
        ("question_id", pa.string()),
        ("source", pa.string()),
        ("chosen_pass_rate", pa.float64()),
        ("rejected_pass_rate", pa.float64()),
        ("margin", pa.float64()),
        ("chosen_model", pa.string()),
        ("rejected_model", pa.string()),
        ("chosen_completion_id", pa.int64()),
        ("rejected_completion_id", pa.int64()),
        ("format", pa.string()),
        ("shown_tests", pa.int32()),
    ]
)
TRL_PREFERENCE = pa.schema(
    [
        ("prompt", _MESSAGES),
        ("chosen", _MESSAGES),
        ("rejected", _MESSAGES),
        ("margin", pa.float64()),
        ("question_id", pa.string()),
    ]
)
TRL_RL = pa.schema(
    [
        ("prompt", _MESSAGES),
        ("test_cases", pa.string()),
        ("id", pa.string()),
        ("source", pa.string()),
        ("entry_point", pa.string()),
        ("format", pa.string()),
        ("shown_tests", pa.int32()),
    ]
)
VERL = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", _MESSAGES),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        (
            "extra_info",
            pa.struct(
                [
                    ("split", pa.string()),
                    ("index", pa.int64()),
                    ("id", pa.string()),
                    ("source", pa.string()),
                    ("entry_point", pa.string()),
                    ("format", pa.string()),
                    ("shown_tests", pa.int32()),
                ]
            ),
        ),
    ]
)

ROWS_OF_PAIRS = 2048
"""Pairs made at a time."""


def in_validation(ids: Sequence[str], share: float) -> Bools:
    """Which questions belong to the validation split.

    Decided by SHA-256 of the question's id alone: a question stays on its side whatever else is built, in every form.

    Args:
        share: of the questions, from 0 to 1.
    """
    limit = share * 2.0**64
    return np.array(
        [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") < limit for name in ids], np.bool_
    )


class Prompts(NamedTuple):
    """A batch of questions as prompts.

    Attributes:
        format: the format's name.
        texts: the user message of each question.
        shown: how many of its tests each text shows.
    """

    format: str
    texts: list[str]
    shown: list[int]

    def chats(self) -> Any:
        """Each as a list of one user message."""
        return messages(pa.array(self.texts, pa.string()), "user")


def rl_format(signature: bool) -> str:
    """The format of `context_messages` and of RL prompts. `signature`: whether the recipe checked that tests call one
    function; then prompts name it."""
    return "rl-0-named" if signature else "rl-0"


def prompts(questions: Any, format: str) -> Prompts:
    """Renders a batch of FILTERED rows."""
    rendered = [
        render(format, *row)
        for row in zip(
            questions.column("question").to_pylist(),
            questions.column("tests").to_pylist(),
            questions.column("entry_point").to_pylist(),
            strict=True,
        )
    ]
    return Prompts(format, [one.user for one in rendered], [one.shown_tests for one in rendered])


def messages(texts: Any, role: str) -> Any:
    """Each text as a chat of one message."""
    structs = pa.StructArray.from_arrays(
        [texts, pa.repeat(pa.scalar(role, pa.string()), len(texts))], fields=list(_MESSAGE)
    )
    return pa.ListArray.from_arrays(pa.array(np.arange(len(texts) + 1, dtype=np.int32)), structs)


def acecode(questions: Any, programs: Any, rates: Any, asked: Prompts) -> Any:
    """Rows of ACECODE.

    Args:
        questions: FILTERED.
        programs: PROGRAMS of the same questions (order, model, completion_id, program); None: there are none.
        rates: PASS_RATES of the same programs, row for row; None where `programs` is.
        asked: the questions as prompts.

    Raises:
        BadInput: programs and rates are not of the same programs.
    """
    tests, lengths = lists(questions.column("tests"))
    inferences = _inferences(questions, programs, rates)
    return pa.record_batch(
        [
            flat(questions.column("id")),
            flat(questions.column("source")),
            flat(questions.column("question")).cast(pa.string()),
            pa.ListArray.from_arrays(pa.array(offsets_of(lengths).astype(np.int32)), tests.cast(pa.string())),
            inferences,
            asked.chats(),
        ],
        schema=ACECODE,
    )


def _inferences(questions: Any, programs: Any, rates: Any) -> Any:
    places = orders(questions)
    if programs is None or not programs.num_rows:
        return pa.array([[]] * len(places), pa.list_(_INFERENCE))
    _same_programs(programs, rates)
    whose = rows_in(places, orders(programs), "samples")
    structs = pa.StructArray.from_arrays(
        [
            pc.fill_null(flat(programs.column("program")).cast(pa.string()), ""),
            flat(programs.column("completion_id")),
            flat(programs.column("model")).cast(pa.string()),
            flat(rates.column("pass_rate")),
        ],
        fields=list(_INFERENCE),
    )
    counts = np.bincount(whose, minlength=len(places))
    return pa.ListArray.from_arrays(pa.array(offsets_of(counts).astype(np.int32)), structs)


def _same_programs(programs: Any, rates: Any) -> None:
    if rates is None or not programs.select(["order", "completion_id"]).equals(
        rates.select(["order", "completion_id"])
    ):
        raise BadInput("samples and pass rates do not hold the same programs")


class Pairs(NamedTuple):
    """Preference pairs with their texts.

    Attributes:
        rows: PAIRS.
        question: each pair's question, by its place in the batch of questions.
        instruction, chosen, rejected: texts.
        shown: how many tests each instruction shows.
    """

    rows: Any
    question: Ints
    instruction: Any
    chosen: Any
    rejected: Any
    shown: Any


def pairs(questions: Any, programs: Any, rows: Any, format: str = PAIR_FORMAT) -> Iterator[Pairs]:
    """Gives pairs their texts, some thousand at a time.

    Args:
        questions: FILTERED.
        programs: PROGRAMS of the same questions.
        rows: PAIRS of the same questions.

    Raises:
        BadInput: a pair names a program that is not there.
    """
    if rows is None or not rows.num_rows:
        return
    places = orders(questions)
    question = rows_in(places, orders(rows), "pairs")
    asked = prompts(questions, format)
    instructions = pa.array(asked.texts, pa.string())
    shown = pa.array(asked.shown, pa.int32())
    sides = [_places_of(questions, programs, rows, question, side) for side in ("chosen", "rejected")]
    used, where = np.unique(np.concatenate(sides), return_inverse=True)
    texts = flat(programs.column("program")).take(pa.array(used)).to_pylist()
    if None in texts:
        raise BadInput("a pair names an answer that holds no program")
    answers = pa.array([answer_text(format, text) for text in texts], pa.large_string())
    chosen, rejected = where[: len(question)], where[len(question) :]
    for start in range(0, rows.num_rows, ROWS_OF_PAIRS):
        cut = slice(start, start + ROWS_OF_PAIRS)
        of = question[cut]
        yield Pairs(
            rows.slice(start, ROWS_OF_PAIRS),
            of,
            instructions.take(pa.array(of)),
            answers.take(pa.array(chosen[cut])).cast(pa.string()),
            answers.take(pa.array(rejected[cut])).cast(pa.string()),
            shown.take(pa.array(of)),
        )


def _places_of(questions: Any, programs: Any, rows: Any, question: Ints, side: str) -> Ints:
    """For each pair, the row of its chosen (rejected) program."""
    if programs is None or not programs.num_rows:
        raise BadInput("pairs: there are no programs of their questions")
    whose = rows_in(orders(questions), orders(programs), "samples")
    ids = flat(programs.column("completion_id")).to_numpy()
    wanted = flat(rows.column(side)).to_numpy()
    width = int(max(ids.max(), wanted.max())) + 1
    keys = whose * width + ids
    by = np.argsort(keys, kind="stable")
    sought = question * width + wanted
    found = np.minimum(np.searchsorted(keys[by], sought), len(keys) - 1)
    wrong = np.flatnonzero(keys[by[found]] != sought)
    if len(wrong):
        row = int(wrong[0])
        name, program = flat(rows.column("id"))[row].as_py(), int(wanted[row])
        raise BadInput(f"pairs: question {name} has no program with completion id {program}")
    places: Ints = by[found]
    return places


def pair_rows(made: Pairs, first: int) -> Any:
    """Rows of PAIR, numbered from `first`."""
    count = made.rows.num_rows
    return pa.record_batch(
        [
            made.instruction,
            pa.repeat(pa.scalar("", pa.string()), count),
            made.chosen,
            made.rejected,
            pa.array(np.arange(first, first + count, dtype=np.int64)),
        ],
        schema=PAIR,
    )


def extended_rows(made: Pairs, numbered: Any, questions: Any, format: str = PAIR_FORMAT) -> Any:
    """Rows of EXTENDED. `numbered`: the same pairs as rows of PAIR."""
    rows = made.rows
    model = flat(rows.column("model")).cast(pa.string())
    return pa.record_batch(
        [
            *numbered.columns,
            flat(rows.column("id")),
            flat(questions.column("source")).take(pa.array(made.question)),
            flat(rows.column("chosen_pass_rate")),
            flat(rows.column("rejected_pass_rate")),
            flat(rows.column("margin")),
            model,
            model,  # both programs of a pair are one policy's
            flat(rows.column("chosen")),
            flat(rows.column("rejected")),
            pa.repeat(pa.scalar(format, pa.string()), rows.num_rows),
            made.shown,
        ],
        schema=EXTENDED,
    )


def preference_rows(made: Pairs) -> Any:
    """Rows of TRL_PREFERENCE."""
    return pa.record_batch(
        [
            messages(made.instruction, "user"),
            messages(made.chosen, "assistant"),
            messages(made.rejected, "assistant"),
            flat(made.rows.column("margin")),
            flat(made.rows.column("id")),
        ],
        schema=TRL_PREFERENCE,
    )


def preference_lines(rows: Any) -> bytes:
    """TRL_PREFERENCE rows as OpenRLHF's JSON lines (`--prompt_key prompt --apply_chat_template`)."""
    return _lines(rows.to_pylist())


def tests_as_json(questions: Any) -> list[str]:
    """Each question's tests as a JSON list in a string."""
    return [json.dumps(tests, ensure_ascii=False) for tests in questions.column("tests").to_pylist()]


def trl_rl_rows(questions: Any, asked: Prompts, tests: Sequence[str]) -> Any:
    """Rows of TRL_RL."""
    return pa.record_batch(
        [
            asked.chats(),
            pa.array(tests, pa.string()),
            flat(questions.column("id")),
            flat(questions.column("source")),
            flat(questions.column("entry_point")),
            pa.repeat(pa.scalar(asked.format, pa.string()), questions.num_rows),
            pa.array(asked.shown, pa.int32()),
        ],
        schema=TRL_RL,
    )


def verl_rows(questions: Any, asked: Prompts, tests: Sequence[str], split: str, first: int) -> Any:
    """Rows of VERL, with indices from `first`."""
    count = questions.num_rows
    constant = {name: pa.repeat(pa.scalar(name, pa.string()), count) for name in ("rule", "code", split)}
    ground = VERL.field("reward_model").type
    extra = VERL.field("extra_info").type
    return pa.record_batch(
        [
            pa.repeat(pa.scalar(DATA_SOURCE, pa.string()), count),
            asked.chats(),
            constant["code"],
            pa.StructArray.from_arrays([constant["rule"], pa.array(tests, pa.string())], fields=list(ground)),
            pa.StructArray.from_arrays(
                [
                    constant[split],
                    pa.array(np.arange(first, first + count, dtype=np.int64)),
                    flat(questions.column("id")),
                    flat(questions.column("source")),
                    flat(questions.column("entry_point")),
                    pa.repeat(pa.scalar(asked.format, pa.string()), count),
                    pa.array(asked.shown, pa.int32()),
                ],
                fields=list(extra),
            ),
        ],
        schema=VERL,
    )


def openrlhf_rl_lines(questions: Any, asked: Prompts, tests: Sequence[str]) -> bytes:
    """JSON lines for OpenRLHF (`--input_key prompt --label_key label --apply_chat_template`)."""
    return _lines(
        {
            "prompt": [{"role": "user", "content": text}],
            "label": label,
            "datasource": DATA_SOURCE,
            "id": name,
            "format": asked.format,
            "shown_tests": shown,
        }
        for text, label, name, shown in zip(
            asked.texts, tests, questions.column("id").to_pylist(), asked.shown, strict=True
        )
    )


def llama_factory_info(splits: Sequence[str]) -> dict[str, Any]:
    """What `dataset_info.json` says: `ranking` data in the alpaca form, in folders beside its own.

    Args:
        splits: those of `extended`, which has one folder each.
    """
    columns = {"prompt": "instruction", "query": "input", "chosen": "chosen", "rejected": "rejected"}
    folders = {"acecode_pairs": "../pairs/data"}
    folders |= {f"acecode_pairs_{split}": f"../pairs/extended/{split}" for split in splits}
    return {
        name: {"file_name": folder, "formatting": "alpaca", "ranking": True, "columns": columns}
        for name, folder in folders.items()
    }


def _lines(rows: Any) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
