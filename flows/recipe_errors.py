"""What is wrong with a recipe, in one line that names place, key and what is allowed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import ValidationError

from pipeline_data.settings import Settings


def explain_mistake(
    error: ValidationError, recipe: type[Settings], where: str, changes: Mapping[str, Any]
) -> str:
    """The first mistake of a recipe in one line, and how many more there are."""
    first = error.errors(include_url=False)[0]
    tags = {"crawl", "warc", "jsonl", "parquet", "text", "pypi", "dataset", "generated"}
    path = [str(p) for i, p in enumerate(first["loc"]) if not (i == 2 and p in tags)]
    key = ".".join(path)
    text = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        text = f"unknown key (allowed: {', '.join(_allowed(recipe, first['loc']))})"
    elif first["type"] != "missing" and not isinstance(first["input"], dict):
        text = f"{text}, not {first['input']!r}"
    more = error.error_count() - 1
    suffix = f" (and {more} more)" if more else ""
    changed = " ".join(_spell(changes))
    with_changes = f" with {changed}" if changed else ""
    return f"{where}{with_changes}: {key + ': ' if key else ''}{text}{suffix}"


def _spell(changes: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Changes as the strings that ask for them."""
    for key, value in changes.items():
        if isinstance(value, Mapping) and value:
            yield from _spell(value, f"{prefix}{key}.")
        else:
            text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
            yield f"{prefix}{key}={text.removesuffix('...' + chr(10)).strip()}"


def _allowed(recipe: type[Settings], location: Sequence[int | str]) -> list[str]:
    """The keys allowed where an unknown one stood."""
    section: Any = recipe
    for part in location[:-1]:
        section = _step(section, part)
    return list(getattr(section, "model_fields", ()))


def _step(section: Any, part: int | str) -> Any:
    """The type below ``part`` of a location, as pydantic names it."""
    if isinstance(section, type) and issubclass(section, Settings):
        field = section.model_fields.get(str(part))
        return field.annotation if field else None
    if get_origin(section) in (dict, tuple):
        return get_args(section)[-1 if get_origin(section) is dict else 0]
    if get_origin(section) is Annotated:
        return _step(get_args(section)[0], part)
    for option in get_args(section):  # a union, told apart by ``kind``
        kind = getattr(option, "model_fields", {}).get("kind")
        if kind and kind.default == part:
            return option
    return None
