"""Texts made of records by Jinja templates, which come from a recipe and are not trusted."""

from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pipeline_data.errors import RecipeError


class NoTextError(Exception):
    """A record gives no text: the rule and the reason."""


def compile_template(source: str, name: str) -> Template:
    """A sandboxed Jinja template in which an unknown field is an error.

    Raises:
        RecipeError: the template has a mistake.
    """
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    try:
        return environment.from_string(source)
    except TemplateError as error:
        raise RecipeError(f"{name}: {error}; correct the source's {name}") from error


def render(template: Template, key: str, record: Any) -> str:
    """The text of a record; its fields, ``key`` and ``record`` are what a template knows.

    Raises:
        NoTextError: the template fails on it, or gives nothing.
    """
    fields = record if isinstance(record, dict) else {}
    try:
        text = template.render({**fields, "key": key, "record": record}).strip()
        text.encode()  # a lone surrogate, which JSON allows, is no text
    except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
        raise NoTextError("template", str(error)) from error
    if not text:
        raise NoTextError("empty", "the template gives no text")
    return text
