"""The run form's overrides: the same settings, limits and descriptions as the recipe's."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import ValidationError, validate
from pydantic import TypeAdapter

from flows.overrides import NO_OVERRIDES, Overrides, change_of
from flows.pipeline import corpus, pipeline
from flows.recipe import Recipe, load_recipe, shipped_recipes

FORM = parameter_schema(pipeline).model_dump_for_openapi()
LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "pattern", "enum", "type")


def read_change(values: dict[str, Any]) -> dict[str, Any]:
    return change_of(TypeAdapter(Overrides).validate_python(values))


def options(schema: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """What may stand in a place, looked up and without null."""
    found = schema.get("anyOf", [schema])
    looked_up = [definitions[o["$ref"].rpartition("/")[2]] if "$ref" in o else o for o in found]
    return [option for option in looked_up if option.get("type") != "null"]


def settings(
    schema: dict[str, Any], definitions: dict[str, Any], path: str = ""
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, description and limits of every single setting below a schema."""
    for name, value in schema["properties"].items():
        *_, last = options(value, definitions)
        if "properties" in last:
            yield from settings(last, definitions, f"{path}{name}.")
        else:
            limits = {key: last[key] for key in LIMITS if key in last}
            yield f"{path}{name}", value["description"], limits


def test_the_form_has_every_setting_of_a_recipe_with_its_description_and_limits() -> None:
    of_recipe = Recipe.model_json_schema()
    wanted = [
        setting
        for setting in settings(of_recipe, of_recipe["$defs"])
        if setting[0] not in {"name", "description"}
    ]
    assert len(wanted) > 100
    form = FORM["definitions"]["Overrides"]
    assert list(settings(form, FORM["definitions"])) == wanted


def test_a_field_is_labelled_with_the_key_that_the_command_line_takes() -> None:
    steps = FORM["definitions"]["PretrainConfig"]["properties"]["steps"]
    assert steps["title"] == "pretrain.steps"
    assert "default" not in steps


def test_a_form_left_alone_shows_and_changes_nothing() -> None:
    closed, opened = FORM["properties"]["overrides"]["anyOf"]
    assert (closed["title"], opened["$ref"]) == ("as in the recipe", "#/definitions/Overrides")
    assert FORM["properties"]["overrides"]["default"] == {}
    assert change_of(NO_OVERRIDES) == {}


def test_only_what_was_set_is_a_change() -> None:
    values = {"pretrain": {"steps": 3, "max_epochs": None}, "sources": {"web": {"max_pages": 9}}}
    assert read_change(values) == values


@pytest.mark.parametrize("name", shipped_recipes())
def test_everything_a_recipe_says_can_be_said_in_the_form(name: str) -> None:
    recipe = load_recipe(name)
    values = recipe.model_dump(mode="json", exclude={"name", "description"})
    validate({"recipe": name, "overrides": values}, FORM, raise_on_error=True)
    assert load_recipe(name, read_change(values)) == recipe


@pytest.mark.parametrize(
    "field, value, reason",
    [
        ("pretrain.steps", 0, "0 is less than the minimum of 1"),
        ("pretrain.steps", "many", "'many' is not valid"),
        ("pretrain.model.hidden_size", 4, "4 is less than the minimum of 8"),
        ("pretrain.mixture.world", -1, "-1 is less than the minimum of 0"),
        ("pretrain.precision", "int4", "'int4' is not one of"),
        ("compute.cores", 5000, "5000 is greater than the maximum of 4096"),
    ],
)
def test_the_server_refuses_what_no_recipe_allows(field: str, value: object, reason: str) -> None:
    change: Any = value
    for part in reversed(field.split(".")):
        change = {part: change}
    refusal = rf"field 'overrides\.{re.escape(field)}'. Failure reason: {reason}"
    with pytest.raises(ValidationError, match=refusal):
        validate({"overrides": change}, FORM, raise_on_error=True)
    with pytest.raises(ValueError, match=re.escape(field)):
        read_change(change)


@pytest.mark.parametrize(
    "change, section, key",
    [
        ({"sftt": {}}, "overrides", "sftt"),
        ({"sft": {"stepz": 1}}, "overrides.sft", "stepz"),
        ({"name": "mine"}, "overrides", "name"),
    ],
)
def test_the_server_names_a_key_that_is_not_there(
    change: dict[str, Any], section: str, key: str
) -> None:
    refusal = rf"field '{re.escape(section)}'\. .*\('{key}' was unexpected\)"
    with pytest.raises(ValidationError, match=refusal):
        validate({"overrides": change}, FORM, raise_on_error=True)


def test_the_schema_is_small_and_the_same_for_every_flow() -> None:
    assert len(json.dumps(FORM)) < 48_000
    own = parameter_schema(corpus).model_dump_for_openapi()
    assert own["properties"] == FORM["properties"]
    assert all(value["description"] for value in own["properties"].values())
