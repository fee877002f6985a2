"""Single settings of a recipe to change for one run: a form's fields, with the recipe's limits.

`Overrides` is generated from `Recipe`, so that a setting is declared, described and bounded once.
Nothing in it is required and only what was set counts. What must hold between settings is
checked when the changes are in the recipe: :func:`flows.recipe.load_recipe`.
"""

from collections.abc import Callable
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from annotated_types import MinLen
from pydantic import (
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    create_model,
    model_serializer,
)
from pydantic.annotated_handlers import GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema

from flows.recipe import Recipe
from pipeline_data.settings import Settings

LABELS = ("name", "description")
"""What a recipe says of itself, which a form does not offer."""
UNCHANGED: JsonSchemaValue = {"type": "object", "title": "as in the recipe", "propertyNames": False}
"""What a form shows for a section nobody opened: the first choice, and empty.

Said by ``propertyNames``, so that of a wrong section the server reports what the other choice says.
"""
_HIDDEN: Any = SkipJsonSchema()  # type: ignore[type-arg]


class PartialSettings(Settings):
    """Settings of which any may be missing; one that is null is taken out of the recipe."""

    @model_serializer(mode="wrap")
    def _dump_what_is_set(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if name in self.model_fields_set}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        own = handler.resolve_ref_schema(schema)
        own["title"] = "change"
        return schema


def change_of(overrides: PartialSettings) -> dict[str, Any]:
    """What was set, as plain values to merge into a recipe."""
    return overrides.model_dump(mode="json")


def _make_partial(
    settings: type[Settings], name: str, doc: str | None, path: str = ""
) -> type[PartialSettings]:
    fields: dict[str, Any] = {}
    for position, (key, field) in enumerate(settings.model_fields.items()):
        annotation = _partial_type(field, f"{path}{key}") | None
        hidden = (_HIDDEN,) if f"{path}{key}" in LABELS else ()
        shape = _shape_for_form({"title": f"{path}{key}", "position": position}, field.annotation)
        value = Field(None, description=field.description, json_schema_extra=shape)
        fields[key] = (Annotated[(annotation, value, *hidden)], None)
    return create_model(name, __base__=PartialSettings, __doc__=doc, **fields)


def _partial_type(field: FieldInfo, key: str) -> Any:
    """The type of a change: sections are partial too, and mappings are merged key by key."""
    annotation: Any = field.annotation
    if _is_section(annotation):
        return _make_partial(annotation, annotation.__name__, annotation.__doc__, f"{key}.")
    limits = field.metadata
    if get_origin(annotation) is dict:
        value = get_args(annotation)[1]
        scalar = get_origin(value) is Annotated and get_args(value)[0] in (int, float)
        annotation = GenericAlias(dict, (str, value | None if scalar else JsonValue))
        limits = [limit for limit in limits if not isinstance(limit, MinLen)]
    return Annotated[(annotation, *limits)] if limits else annotation


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Settings)


def _shape_for_form(extra: JsonSchemaValue, annotation: Any) -> Callable[[JsonSchemaValue], None]:
    """Make a form show one plain input: no default, and null only where the recipe allows it."""
    nullable = type(None) in get_args(annotation)

    def shape(schema: JsonSchemaValue) -> None:
        del schema["default"]
        choices = [c for c in schema.pop("anyOf") if nullable or c != {"type": "null"}]
        if _is_section(annotation):
            schema["anyOf"] = [UNCHANGED, *choices]
        elif nullable:
            schema["anyOf"] = choices
        else:
            schema.update(choices[0])
        schema.update(extra)

    return shape


class _Collapsed:
    """Has a form show a section closed."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [UNCHANGED, handler(core_schema)]}


if TYPE_CHECKING:
    Overrides = PartialSettings
else:
    Overrides = Annotated[
        _make_partial(Recipe, "Overrides", "Only what is filled in changes."), _Collapsed
    ]

NO_OVERRIDES: Overrides = TypeAdapter(Overrides).validate_python({})
