"""Settings in YAML, read strictly: what every recipe of the project shares.

`parse_settings` reads a text into a tree that remembers lines, lets pydantic check it against a class of settings, and
turns every mistake into one line for people: where, what was expected, the nearest valid name. Nothing is coerced: "16"
is not 16, and a setting that does not exist is an error rather than ignored.

`_recipe` holds the settings of a dataset; acetrain's recipes are read by the same functions.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from ._errors import RecipeError


class Settings(BaseModel):
    """Base of every group of settings: strict, frozen, no unknown names. A field's docstring is its documentation."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, populate_by_name=False, use_attribute_docstrings=True
    )


Root = TypeVar("Root", bound=Settings)


def find_settings(source: str | os.PathLike[str], shipped: Mapping[str, Path]) -> Path:
    """Where a recipe is: a file of that path, or the shipped one of that name.

    Raises:
        RecipeError: neither exists.
    """
    path = Path(source)
    with contextlib.suppress(OSError):  # a name too long for a file, a folder that may not be entered
        if path.is_file():
            return path
    if path.name == os.fspath(source) and path.name in shipped:
        return shipped[path.name]
    hint = nearest(path.stem, shipped)
    raise RecipeError(f"there is no recipe {os.fspath(source)!r}{hint}; shipped are {', '.join(shipped)}")


def read_text(path: Path) -> str:
    """The text of a recipe.

    Raises:
        RecipeError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from error


def parse_settings(text: str, path: Path, root: type[Root]) -> Root:
    """Reads a recipe's text into settings of the class `root`; `path` names it in messages.

    Raises:
        RecipeError: one line per mistake.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            what = {yaml.SequenceNode: "a list", yaml.ScalarNode: "a word"}.get(type(node), "nothing")
            raise RecipeError(f"{path}:1: a recipe is settings, `name: value` each; this is {what}")
        lines = _Lines(node, path)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}" if mark else f"{path}"
        raise RecipeError(f"{place}: not YAML: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise RecipeError(
            f"{path}:{line}: not YAML: the character {chr(error.character)!r} may not stand there"
        ) from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not YAML: {error}") from error
    except RecursionError as error:
        raise RecipeError(f"{path}: not a recipe: nested too deep") from error
    try:
        return root.model_validate(values)
    except ValidationError as invalid:
        raise RecipeError("\n".join(_explain(invalid, lines, root))) from None


def changed_text(settings: Settings, changes: Mapping[str, Any]) -> str:
    """YAML of the same settings with others in their place, by name as `data__path` is; a comment says which."""
    values = settings.model_dump(by_alias=True, exclude_unset=True)
    for name, value in changes.items():
        *outer, last = name.split("__")
        group = values
        for part in outer:
            group = group.setdefault(part, {})
        group[last] = value
    said = ", ".join(f"{name.replace('__', '.')}: {value}" for name, value in changes.items())
    return f"# changed: {said}\n" + yaml.safe_dump(values, sort_keys=False, width=110)


# Mistakes, for people.


# Scalars that YAML takes for something and Python then may not.
_FALLIBLE = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class _Lines:
    """Which line each setting stands on, by its path."""

    def __init__(self, node: yaml.MappingNode, path: Path) -> None:
        self._path = path
        self._known: dict[tuple[str | int, ...], int] = {}
        self._walk(node, ())

    def _walk(self, node: yaml.Node, at: tuple[str | int, ...]) -> None:
        line = node.start_mark.line + 1
        self._known.setdefault(at, line)
        if len(at) > 40:
            raise RecipeError(f"{self._path}:{line}: nested too deep, or an alias that contains itself")
        if isinstance(node, yaml.MappingNode):
            seen: dict[Any, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if key.tag == "tag:yaml.org,2002:merge":
                    for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                        self._walk(merged, at)
                    continue
                if not isinstance(key, yaml.ScalarNode):
                    raise RecipeError(
                        f"{self._path}:{line}: a setting's name is one word, not a group of things"
                    )
                if key.value in seen:
                    raise RecipeError(
                        f"{self._path}:{line}: {key.value} is given twice; first on line {seen[key.value]}"
                    )
                seen[key.value] = line
                self._known[(*at, key.value)] = line
                self._walk(value, (*at, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                self._walk(item, (*at, number))
        elif node.tag in _FALLIBLE:
            try:
                yaml.SafeLoader("").construct_object(node)
            except ValueError as error:  # a date that is none, a number of thousands of digits
                raise RecipeError(f"{self._path}:{line}: {_shown(node.value)} cannot be: {error}") from error

    def place(self, at: tuple[str | int, ...]) -> str:
        """`recipe.yaml:12` of a setting, or of the nearest one around it that the file has."""
        while at and at not in self._known:
            at = at[:-1]
        return f"{self._path}:{self._known.get(at, 1)}"


def _explain(invalid: ValidationError, lines: _Lines, root: type[Settings]) -> Iterator[str]:
    """One line per mistake. Of the alternatives of a union only the first is reported."""
    said = set()
    for error in invalid.errors(include_url=False):
        at = tuple(part for part in error["loc"] if not _is_alternative(part))
        if error["type"] == "contradiction":
            at = tuple(error["ctx"]["at"])
        if error["type"] == "invalid_key":
            at = (*at[:-1], str(at[-1]))
        if at not in said:
            said.add(at)
            yield f"{lines.place(at)}: {_name(at)}{_complaint(error, at, root)}"


def _is_alternative(part: str | int) -> bool:
    """Whether a part of pydantic's path names a union's alternative or a dictionary's key, not a setting."""
    return part in ("bool", "int", "float", "str", "[key]")


def _name(at: tuple[str | int, ...]) -> str:
    text = ""
    for part in at:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text.removeprefix(".") or "the recipe"


def _complaint(error: ErrorDetails, at: tuple[str | int, ...], root: type[Settings]) -> str:
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    shown = _shown(given)
    if kind == "contradiction":
        return f" {context['text']}"
    if kind == "extra_forbidden":
        owner = _owner(at, root)
        names = _setting_names(owner) if owner else []
        return f" is no setting{nearest(str(at[-1]), names) or '; there are ' + ', '.join(names)}"
    if kind == "invalid_key":
        owner = _owner(at, root)
        names = _setting_names(owner) if owner else []
        return " is no setting" + ("; there are " + ", ".join(names) if names else "; a name is a text")
    if kind == "missing":
        return " is missing"
    if kind == "literal_error":
        valid = re.findall(r"'([^']*)'", context["expected"])
        return f" is {shown}; expected {' or '.join(valid)}{nearest(str(given), valid)}"
    expected = {
        "string_type": "text",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "int_parsing_size": "a whole number that is not so long",
        "float_type": "a number",
        "bool_type": "true or false",
        "list_type": "a list",
        "dict_type": "settings, `name: value` each",
        "model_type": "settings, `name: value` each",
        "greater_than_equal": f"at least {context.get('ge')}",
        "greater_than": f"more than {context.get('gt')}",
        "less_than_equal": f"at most {context.get('le')}",
        "less_than": f"less than {context.get('lt')}",
        "finite_number": "a finite number",
        "string_too_short": "a text that is not empty",
        "too_short": f"at least {context.get('min_length')} of them",
        "string_pattern_mismatch": "a name of letters, digits, `.`, `_` and `-`",
        "string_too_long": f"at most {context.get('max_length')} characters",
    }.get(kind)
    if expected is None:
        return f" is {shown}: {error['msg']}"
    if kind.endswith("_type") and error["loc"]:
        # Of alternatives the first complained; this is what they are together.
        expected = {"int": "a number", "bool": "one word or number"}.get(str(error["loc"][-1]), expected)
    hint = ""
    if expected in ("a number", "a whole number") and isinstance(given, str) and _is_number(given):
        # YAML reads 1e-3 as text; people do not.
        hint = "; YAML takes this one for text: write it without quotes"
        hint += " and with a decimal point" if "e" in given.lower() else ""
    return f" is {shown}; expected {expected}{hint}"


def _shown(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a group of settings"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 1000:  # Python refuses to write it out
        return "a huge number"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


def _owner(at: tuple[str | int, ...], root: type[Settings]) -> type[Settings] | None:
    """The settings class that a path's last part is to be found in."""
    owner = root
    for part in at[:-1]:
        if isinstance(part, int):
            continue
        field = next((f for name, f in owner.model_fields.items() if (f.alias or name) == part), None)
        if field is None:  # a key of `models`
            continue
        inner = settings_in(field.annotation)
        if inner is None:
            return None
        owner = inner
    return owner


def settings_in(annotation: Any) -> type[Settings] | None:
    """The class of settings in a field's type; None where there is none."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    for part in get_args(annotation):
        found = settings_in(part)
        if found is not None:
            return found
    return None


def _setting_names(owner: type[Settings]) -> list[str]:
    return [field.alias or name for name, field in owner.model_fields.items()]


def nearest(given: str, names: Any) -> str:
    """`; did you mean NAME?`, or nothing where no name is near."""
    close = difflib.get_close_matches(given, list(names), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def contradiction(at: tuple[str | int, ...], text: str) -> PydanticCustomError:
    """A mistake in the setting at this path that a validator of the whole raises; `text` goes on from its name."""
    return PydanticCustomError("contradiction", "{text}", {"at": list(at), "text": text})
