"""The commands `acetrain rm train | score | convert | report`; what they run is imported when they run."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from .._json_lines import Line

DONE, FOUND = 0, 1
AT_A_TIME = 1024

rm_app = typer.Typer(
    name="rm",
    help="Reward models: train on preference pairs, score answers, convert, report.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Dtype = Annotated[str, typer.Option(metavar="NAME", help="of the weights: float32, bfloat16, float16")]
Device = Annotated[
    str | None, typer.Option(metavar="NAME", help="cpu, cuda:N, or auto for all GPUs; default: a GPU if any")
]
Format = Annotated[
    str | None,
    typer.Option(metavar="pair-1|raw", help="of question and answer; default: what the model's config says"),
]
Template = Annotated[
    str | None, typer.Option(metavar="chat|plain", help="around both; default: what the model's config says")
]


@rm_app.command("train")
def train(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="a file, or rm-7b, rm-32b, rm-7b-lora, rm-32b-lora, rm-tiny"),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="everything that comes of it")],
    pairs: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="instead of the recipe's: an export, a file, or a name on the hub"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="instead of the recipe's: a folder, or a name on the hub"),
    ] = None,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="count the pairs, write accelerate.yaml, and stop")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the last checkpoint")] = False,
) -> int:
    """Train a reward model on preference pairs (Bradley-Terry), and report on held-out questions."""
    from ._recipe import load_recipe

    read = load_recipe(recipe, data__path=_absolute(pairs), model__path=_absolute(model))
    from ._report import terminal
    from ._train import train as run

    report = run(read, out, prepare=prepare, resume=resume, say=_say)
    if report is not None:
        _print(terminal(report))
    if os.environ.get("RANK", "0") == "0":
        _say(f"written to {out}")
    return DONE


@rm_app.command("score")
def score(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="a folder, or a name on the hub")],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="JSON lines: `messages`, or `text`, or `question`, `program` and `tests`; - is standard input",
        ),
    ],
    format: Format = None,
    template: Template = None,
    max_length: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="longer texts lose the end")
    ] = None,
    batch_tokens: Annotated[int, typer.Option(min=1, metavar="N", help="of one forward pass")] = 16_384,
    dtype: Dtype = "float32",
    device: Device = None,
) -> int:
    """Score answers: a JSON line each, with the row's names and `score`, null where that is no finite number."""
    from .._json_lines import json_lines
    from .._quiet import quiet
    from ._model import RewardModel

    quiet()
    rows = json_lines(file)
    first = next(rows, None)  # a file that cannot be read is found before a model is loaded
    loaded = RewardModel.load(
        model,
        dtype=dtype,
        device=device,
        format=format,
        template=template,
        max_length=max_length,
        batch_tokens=batch_tokens,
    )
    _say(f"{model}: format {loaded.form.format}, template {loaded.form.template}, bias {loaded.bias:.6g}")
    count = unknown = 0
    while first is not None:
        batch = [first]
        for line in rows:
            batch.append(line)
            if len(batch) == AT_A_TIME:
                break
        for (_, row), value in zip(batch, _scores(loaded, batch), strict=True):
            said = {name: row[name] for name in ("id", "task_id", "index", "_identifier") if name in row}
            print(json.dumps({**said, "score": value if math.isfinite(value) else None}))
            unknown += not math.isfinite(value)
        count += len(batch)
        first = next(rows, None)
    _say(
        f"{count:,} scored" + (f", {loaded.cut:,} cut to {loaded.max_length:,} tokens" if loaded.cut else "")
    )
    if unknown:
        _say(
            f"{model}: {unknown:,} of {count:,} scores are no finite numbers (null): its weights are damaged"
        )
    return FOUND if unknown else DONE


@rm_app.command("convert")
def convert(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="a folder, or a name on the hub")],
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="to make")],
    to: Annotated[
        str, typer.Option(metavar="classification|published", help="an adapter is merged into a classifier")
    ],
    lm_head: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="whose lm_head a published form gets; scores do not need one"),
    ] = None,
    format: Format = None,
    template: Template = None,
) -> int:
    """Write a reward model in another form: the published one, or transformers' classifier."""
    if to not in ("classification", "published"):
        raise typer.BadParameter('must be "classification" or "published"', param_hint="--to")
    from .._quiet import quiet
    from ._model import convert_model

    quiet()
    kind: Any = to
    for note in convert_model(model, out, kind, lm_head=lm_head, format=format, template=template):
        _say(note)
    _say(f"written to {out}")
    return DONE


@rm_app.command("report")
def report(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="a folder, or a name on the hub")],
    recipe: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="whose pairs and split; default: recipe.yaml beside MODEL"),
    ] = None,
    pairs: Annotated[
        str | None, typer.Option(metavar="PATH", help="other pairs: all of them are scored")
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(min=16, metavar="N", help="with --pairs: longer texts are cut; default: 2048"),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="report.json, .md and .svg")] = None,
    dtype: Dtype = "float32",
    device: Device = None,
) -> int:
    """Accuracy on the pairs that training held out: by margin, by length, beside what length alone would reach."""
    from acedata._errors import BadInput

    from .._quiet import quiet
    from ._model import RewardModel
    from ._pairs import Counts, none_left, read_pairs, tokenize
    from ._recipe import load_recipe
    from ._report import HELD_OUT, make_report, terminal, write_report

    quiet()
    data = None
    if pairs is None:
        if max_length is not None:
            raise typer.BadParameter("goes with --pairs; a recipe has its own", param_hint="--max-length")
        file = recipe or Path(model).parent / "recipe.yaml"
        if not file.is_file():
            raise BadInput(f"{file}: there is no such recipe; name it with --recipe, or pairs with --pairs")
        data = load_recipe(file)
    elif recipe is not None:
        raise typer.BadParameter("means nothing with --pairs, all of which are scored", param_hint="--recipe")
    loaded = RewardModel.load(model, dtype=dtype, device=device)
    counts = Counts()
    if data is None:
        everything, held = read_pairs(str(pairs), loaded.form, 0.0, counts)
        held, too_long, of = [*everything, *held], "truncate", f"all pairs of {pairs}"
        limit = max_length or 2048
    else:
        found = data.data
        _, held = read_pairs(
            data.resolve(found.path),
            loaded.form,
            found.held_out,
            counts,
            split=found.split,
            revision=found.revision,
            limit=found.limit,
        )
        limit, too_long, of = found.max_length, found.too_long, HELD_OUT
    if not held:
        raise BadInput(f"{pairs}: there is no pair" if pairs else "no pair is held out")
    tokens = tokenize(held, loaded.tokenizer, loaded.form, limit, too_long, counts, "scored")
    if not len(tokens):
        raise BadInput(f"{of}: {none_left(counts, limit)}")
    for line in counts.lines():
        _say(line)
    made = make_report(loaded, tokens, counts, of=of)
    _print(terminal(made))
    if out is not None:
        write_report(made, out)
        _say(f"written to {out}")
    return DONE


def _absolute(path: str | None) -> str | None:
    """A path of the command line means the folder the command is run in; what is not there may be on the hub."""
    return str(Path(path).absolute()) if path is not None and Path(path).exists() else path


def _scores(model: Any, lines: Sequence[Line]) -> list[float]:
    """A score each. Raises BadInput with the place of a line that has none."""
    from acedata._errors import BadInput

    from ._forms import HALF_A_CHARACTER, is_text, token_ids, whole_text

    texts = []
    for place, row in lines:
        conversation = _conversation(model, place, row)
        try:
            texts.append(whole_text(model.tokenizer, model.form.template, conversation))
        except BadInput as error:
            raise BadInput(f"{place}: {error}") from error
        if not is_text(texts[-1]):
            raise BadInput(f"{place}: {HALF_A_CHARACTER}")
    ids = token_ids(model.tokenizer, texts)
    for (place, _), tokens in zip(lines, ids, strict=True):
        if not tokens:
            raise BadInput(f"{place}: the text is empty: there is no token to score")
    scores: list[float] = model.score_ids(ids)
    return scores


def _conversation(model: Any, place: str, row: dict[str, Any]) -> Any:
    from acedata._errors import BadInput

    from ._forms import messages

    if isinstance(row.get("text"), str):
        return row["text"]
    chat = row.get("messages")
    if isinstance(chat, list) and chat:
        if all(
            isinstance(one, dict) and isinstance(one.get("content"), str) and "role" in one for one in chat
        ):
            return chat
        raise BadInput(f"{place}: messages must be objects with `role` and a text `content`")
    question, program, tests = row.get("question"), row.get("program"), row.get("tests", [])
    if isinstance(question, str) and isinstance(program, str):
        if not (isinstance(tests, list) and all(isinstance(test, str) for test in tests)):
            raise BadInput(f"{place}: tests must be a list of texts")
        return messages(*model.form.of_program(question, program, tests))
    raise BadInput(
        f"{place}: needs `messages`, or `text`, or `question` and `program`; "
        f"there are {', '.join(sorted(row)) or 'none'}"
    )


def _print(table: Any) -> None:
    from rich.console import Console

    Console().print(table)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
