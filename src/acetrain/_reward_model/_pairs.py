"""Preference pairs of an AceCodePair export, split by question, and the tokens TRL trains on.

Read are the folder that `acedata export` writes (its `extended` pairs where it has them, since they know the pass
rates; else `pairs`), that folder's `pairs` folder, any Parquet or JSON Lines with the published columns `instruction`,
`input`, `chosen`, `rejected`, and such a dataset on the hub.

Held out are questions, never pairs: all pairs of a question are on one side, whatever their ids. An export's own
validation split is taken as it is, and training pairs of its questions are left out; otherwise SHA-256 of the question
decides, so that a question stays on its side when data is added.

Nothing is dropped in silence: `Counts` says what became of every pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from acedata._errors import BadInput
from acedata._formats import pair_question
from acedata._rows import Place, Row, is_local, iter_rows

from ._forms import (
    HALF_A_CHARACTER,
    Form,
    cut,
    is_text,
    messages,
    question_text,
    token_ids,
    whole_text,
)

AT_A_TIME = 512
_TOO_LONG = {"truncate": "cut", "drop": "dropped"}


@dataclass(frozen=True, slots=True)
class Pair:
    """One preference.

    Attributes:
        key: what makes two pairs of one question: the question's text, without the test that is shown.
        question, chosen, rejected: texts in the recipe's format.
        margin: difference of the pass rates; None where it is not known.
        where: file and row.
    """

    key: str
    question: str
    chosen: str
    rejected: str
    margin: float | None
    where: str


@dataclass(slots=True)
class Counts:
    """What became of the pairs.

    Attributes:
        read: pairs of the source.
        same: chosen and rejected are the same text; dropped.
        shared: of the training split, but their question is in the export's validation split; dropped.
        held_out, train: pairs on each side, before lengths are looked at.
        questions, held_out_questions: different questions on each side.
        too_long: pairs of both sides with a text over `max_length`; what happened to them is `too_long_are`.
        alike: pairs whose texts were the same once cut; dropped.
        longest: tokens of the longest text.
    """

    read: int = 0
    same: int = 0
    shared: int = 0
    train: int = 0
    held_out: int = 0
    questions: int = 0
    held_out_questions: int = 0
    too_long: int = 0
    too_long_are: str = ""
    alike: int = 0
    longest: int = 0
    used: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """For people, before the training."""
        said = [
            f"{self.read:,} pairs: {self.train:,} of {self.questions:,} questions to train on, "
            f"{self.held_out:,} of {self.held_out_questions:,} questions held out"
        ]
        if self.same:
            said.append(f"{self.same:,} dropped: chosen and rejected are the same text")
        if self.shared:
            said.append(f"{self.shared:,} dropped: their question is in the validation split")
        what = _TOO_LONG[self.too_long_are]
        share = self.too_long / max(self.train + self.held_out, 1)
        said.append(f"{self.too_long:,} ({share:.2%}) with a text over the limit were {what}; the longest has "
                    f"{self.longest:,} tokens")  # fmt: skip
        if self.alike:
            said.append(f"{self.alike:,} dropped: the same text once cut")
        said.append(", ".join(f"{name}: {count:,} pairs" for name, count in self.used.items()))
        return said


@dataclass(slots=True)
class Tokens:
    """Pairs as TRL takes them, and what the report needs of each."""

    chosen: list[list[int]] = field(default_factory=list)
    rejected: list[list[int]] = field(default_factory=list)
    margin: list[float | None] = field(default_factory=list)
    key: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.chosen)


def read_pairs(
    source: str,
    form: Form,
    held_out: float,
    counts: Counts,
    *,
    split: str = "train",
    revision: str | None = None,
    limit: int | None = None,
) -> tuple[list[Pair], list[Pair]]:
    """The pairs to train on, and those that are held out.

    Args:
        source: see above.
        held_out: share of the questions; an export's own validation split goes before it.
        counts: gets what is counted here.

    Raises:
        BadInput: there are no pairs there, or a row is not one: file, row and column.
    """
    places = _places(source, split, revision)
    sides: dict[str, list[Pair]] = {}
    for side, place in places.items():
        sides[side] = []
        for row in iter_rows(place, hint=""):
            if limit is not None and len(sides[side]) >= limit:
                break
            pair = _pair(row, form)
            counts.read += 1
            if pair.chosen == pair.rejected:
                counts.same += 1
            else:
                sides[side].append(pair)
    train = sides["train"]
    if "validation" in sides:
        kept = sides["validation"]
        keys = {pair.key for pair in kept}
        shared = [pair for pair in train if pair.key in keys]
        counts.shared = len(shared)
        train = [pair for pair in train if pair.key not in keys]
    else:
        train, kept = _split(train, held_out)
    if not train:
        raise BadInput(f"{source}: there is no pair to train on")
    counts.train, counts.held_out = len(train), len(kept)
    counts.questions = len({pair.key for pair in train})
    counts.held_out_questions = len({pair.key for pair in kept})
    return train, kept


def _places(source: str, split: str, revision: str | None) -> dict[str, Place]:
    if not is_local(source):
        return {"train": Place(source, hub=True, split=split, revision=revision)}
    at = Path(source)
    if not at.is_dir():
        return {"train": Place(source)}
    pairs = at / "pairs" if (at / "pairs").is_dir() else at
    extended = pairs / "extended"
    if (extended / "train").is_dir():
        sides = {"train": Place(str(extended / "train"))}
        if (extended / "validation").is_dir():
            sides["validation"] = Place(str(extended / "validation"))
        return sides
    if (pairs / "data").is_dir():
        return {"train": Place(str(pairs / "data"))}
    if (at / "export.json").is_file():
        raise BadInput(
            f"{source}: this export has no pairs; `acedata export --form pairs --form extended` writes them"
        )
    return {"train": Place(source)}


def _pair(row: Row, form: Form) -> Pair:
    texts = {name: _text(row, name) for name in ("instruction", "chosen", "rejected")}
    said = row.values.get("format")
    if said is not None and said != "pair-1":
        raise BadInput(f"{row.where}: the pair's format is {said!r}; only pair-1 is read")
    instruction = texts["instruction"]
    more = row.values.get("input")
    if more is not None and not (isinstance(more, str) and not more.strip()):
        instruction = f"{instruction}\n{_text(row, 'input')}"
    found = pair_question(instruction)
    question, chosen = form.of_pair(instruction, texts["chosen"], f"{row.where}, chosen")
    _, rejected = form.of_pair(instruction, texts["rejected"], f"{row.where}, rejected")
    margin = row.values.get("margin")
    if margin is not None and not (isinstance(margin, (int, float)) and -1 <= margin <= 1):
        raise BadInput(f"{row.where}: margin is {margin!r}; expected a difference of pass rates")
    return Pair(found[0] if found else instruction, question, chosen, rejected, margin, row.where)


def _text(row: Row, name: str) -> str:
    value = row.values.get(name)
    if not isinstance(value, str) or not value.strip():
        there = ", ".join(sorted(row.values)) or "none"
        what = "is missing" if name not in row.values else f"is {value!r:.40}; expected text"
        raise BadInput(f"{row.where}: {name} {what} (columns: {there})")
    if not is_text(value):
        raise BadInput(f"{row.where}: {name} {HALF_A_CHARACTER}")
    return value


def _split(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    from acedata._forms import in_validation

    keys = list(dict.fromkeys(pair.key for pair in pairs))
    kept = {key for key, inside in zip(keys, in_validation(keys, share), strict=True) if inside}
    return [pair for pair in pairs if pair.key not in kept], [pair for pair in pairs if pair.key in kept]


def tokenize(
    pairs: Sequence[Pair],
    tokenizer: Any,
    form: Form,
    max_length: int,
    too_long: str,
    counts: Counts,
    name: str,
) -> Tokens:
    """Token ids of pairs; what is over `max_length` is cut or dropped, and counted.

    Raises:
        BadInput: a text ends with the padding token, which TRL's trainer cannot tell from padding.
    """
    made = Tokens()
    counts.too_long_are = too_long
    for chunk in _chunks(pairs, AT_A_TIME):
        template = form.template
        asked = token_ids(tokenizer, [question_text(tokenizer, template, pair.question) for pair in chunk])
        sides = []
        for answers in ([pair.chosen for pair in chunk], [pair.rejected for pair in chunk]):
            chats = [messages(pair.question, answer) for pair, answer in zip(chunk, answers, strict=True)]
            sides.append(token_ids(tokenizer, [whole_text(tokenizer, template, chat) for chat in chats]))
        for pair, question, chosen, rejected in zip(chunk, asked, *sides, strict=True):
            counts.longest = max(counts.longest, len(chosen), len(rejected))
            if max(len(chosen), len(rejected)) > max_length:
                counts.too_long += 1
                if too_long == "drop":
                    continue
                chosen, rejected = (
                    cut(ids, _common(question, ids), max_length) for ids in (chosen, rejected)
                )
            if chosen == rejected:
                counts.alike += 1
                continue
            for ids in (chosen, rejected):
                if ids[-1] == tokenizer.pad_token_id:
                    raise BadInput(
                        f"{pair.where}: the text ends with the padding token {tokenizer.pad_token!r}, so the last "
                        "token would be taken for padding; give the tokenizer a padding token that ends no text"
                    )
            made.chosen.append(chosen)
            made.rejected.append(rejected)
            made.margin.append(pair.margin)
            made.key.append(pair.key)
    counts.used[name] = len(made)
    return made


def _common(question: Sequence[int], ids: Sequence[int]) -> int:
    """How many tokens of a text are the question's: tokens may merge across the border."""
    same = 0
    for one, other in zip(question, ids, strict=False):
        if one != other:
            break
        same += 1
    return same


def none_left(counts: Counts, limit: int) -> str:
    """Why no pair has tokens."""
    what = _TOO_LONG[counts.too_long_are]
    return (
        f"no pair is left: {counts.too_long:,} with a text of over {limit:,} tokens were {what}, "
        f"{counts.alike:,} dropped as the same tokens"
    )


def _chunks(items: Sequence[Pair], size: int) -> Iterator[Sequence[Pair]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
