"""Recipes: everything that decides a result, in one YAML file, checked strictly.

A recipe is composed of each component's own small config. It may extend one other recipe,
and the command line and the Prefect form may override single values; all three
are checked by the same code, and a mistake is one line that names file, key and what is allowed.
"""

import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, ValidationError, WithJsonSchema, field_validator, model_validator

from flows.blocklist import Blocklist
from flows.forget.forgotten import leave_out_forgotten
from flows.recipe_errors import explain_mistake
from flows.report.settings import Provider
from model_code.settings import (
    EvaluateConfig,
    PpoConfig,
    PracticeConfig,
    PretrainConfig,
    ResponsesConfig,
    RewardConfig,
    SftConfig,
)
from pipeline_data.corpus.settings import (
    CorpusReportConfig,
    DecontaminateConfig,
    DedupConfig,
    EvaluationSet,
    ExtractOptions,
    FilterConfig,
    SampleConfig,
    SignatureConfig,
    TokenizeConfig,
    TokenizerConfig,
)
from pipeline_data.curriculum.settings import CurriculumConfig
from pipeline_data.errors import RecipeError
from pipeline_data.preferences import PreferencesConfig
from pipeline_data.settings import Settings
from pipeline_data.sources.settings import Source
from tasks.limits import StageLimits
from tasks.stages import STAGES

SHIPPED = resources.files("flows") / "recipes"


class Compute(Settings):
    """Placement: never changes a result."""

    cores: int = Field(2, ge=1, le=4096)
    """Processor cores to use on this machine."""
    limits: dict[str, StageLimits] = Field(default_factory=dict)
    """What a run of a stage may use at most, by stage."""

    @field_validator("limits")
    @classmethod
    def _know_stages(cls, limits: dict[str, StageLimits]) -> dict[str, StageLimits]:
        for name in limits:
            if name not in STAGES:
                raise ValueError(f"no stage '{name}' (known: {', '.join(STAGES)})")
        return limits


class Recipe(Settings):
    """One complete pipeline, from sources to assistant."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Name of the recipe, for people."""
    description: str
    """What the recipe is for."""
    provider: Provider = Provider()
    """Who answers for the models; for their papers."""
    seed: int = Field(0, ge=0)
    """Seed of every stage that draws at random and names no seed of its own."""
    compute: Compute = Compute()
    """Placement: never changes a result."""
    sources: dict[str, Source] = Field(min_length=1)
    """Where pages come from; the first named keeps its copy of a duplicate."""
    filters: dict[str, FilterConfig] = Field(default_factory=dict)
    """Sets of rules that sources refer to by name."""
    blocklist: Blocklist = Blocklist()
    """Pages that must not enter the corpus; only shards that hold one are read again."""
    extract: ExtractOptions = ExtractOptions()
    """How HTML becomes text."""
    signature: SignatureConfig = SignatureConfig()
    """MinHash signatures."""
    dedup: DedupConfig = DedupConfig()
    """What counts as a duplicate."""
    evaluations: dict[str, EvaluationSet] = Field(default_factory=dict)
    """Evaluation sets by name; a training document that holds an item of one is left out."""
    decontaminate: DecontaminateConfig = DecontaminateConfig()
    """When a document is taken to hold an evaluation item."""
    sample: SampleConfig = SampleConfig()
    """The pinned sample that the tokenizer learns from."""
    tokenizer: TokenizerConfig
    """The vocabulary."""
    tokenizer_folder: str | None = None
    """A folder with the tokenizer.json of a tokenizer to use as it is, instead of learning one."""
    tokenize: TokenizeConfig = TokenizeConfig()
    """Token shards and held-out documents."""
    report: CorpusReportConfig = CorpusReportConfig()
    """How much the corpus report shows."""
    curriculum: CurriculumConfig
    """The generated world: documents, demonstrations, prompts."""
    pretrain: PretrainConfig
    """The base model."""
    sft: SftConfig
    """Supervised fine-tuning."""
    responses: ResponsesConfig
    """What the tuned model answers, to be ranked."""
    preferences: PreferencesConfig
    """How answers are ranked."""
    reward: RewardConfig
    """The reward model."""
    ppo: PpoConfig
    """Reinforcement learning against the reward model."""
    practice: PracticeConfig
    """Verifiable practice problems."""
    evaluate: EvaluateConfig
    """Held-out measures."""

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        for name, source in self.sources.items():
            if source.filter is not None and source.filter not in self.filters:
                known = ", ".join(self.filters) or "none"
                raise ValueError(
                    f"sources.{name}.filter: no filter '{source.filter}' (known: {known})"
                )
        return self

    def filter_of(self, source: str) -> FilterConfig:
        """The filter of a source, with what the recipe blocks everywhere."""
        name = self.sources[source].filter
        config = self.filters[name] if name else FilterConfig()
        return self.blocklist.block(config)


def load_recipe(name: str, overrides: Mapping[str, Any] | Sequence[str] = ()) -> Recipe:
    """Load a recipe by name or path, with single settings changed.

    A name is that of a shipped recipe, or of a file in the folder ``recipes`` of the home.
    Overrides are a nested mapping of changes, or strings such as ``key.path=value``.

    Raises:
        RecipeError: no such recipe, or something in it is not allowed.
    """
    changes = overrides if isinstance(overrides, Mapping) else parse_overrides(overrides)
    path = _locate(name)
    values = _read(path)
    parent = values.pop("extends", None)
    if parent is not None:
        base = _read(_locate(parent, beside=path))
        if "extends" in base:
            raise RecipeError(f"{path}: extends: '{parent}' extends another; one step is allowed")
        values = _merge(base, values)
    recipe = check_recipe(_merge(values, changes), str(path), changes)
    return recipe.model_copy(update={"blocklist": leave_out_forgotten(recipe.blocklist)})


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """The changes that strings such as ``key.path=value`` ask for, as one nested mapping.

    Raises:
        RecipeError: a string is not of this form, or its value is not YAML.
    """
    changes: dict[str, Any] = {}
    for override in overrides:
        changes = _combine(changes, _parse_override(override))
    return changes


def check_recipe(
    values: Mapping[str, Any], where: str, changes: Mapping[str, Any] | None = None
) -> Recipe:
    """A recipe made of plain values, in which some were changed.

    Raises:
        RecipeError: naming place, key, what is wrong and what is allowed.
    """
    try:
        recipe = Recipe.model_validate(_with_seed(values))
    except ValidationError as error:
        raise RecipeError(explain_mistake(error, Recipe, where, changes or {})) from None
    return recipe.model_copy(update={"blocklist": recipe.blocklist.read()})


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return _names_in(Path(str(SHIPPED)))


def recipe_names() -> list[str]:
    """Names of all recipes: the shipped ones, and those in the folder ``recipes`` of the home."""
    return sorted({*shipped_recipes(), *_names_in(_own_recipes())})


def _own_recipes() -> Path:
    return Path(os.environ.get("HEADWATER_HOME", ".headwater"), "recipes")


def _names_in(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _locate(name: str, beside: Path | None = None) -> Path:
    """The file of a recipe, or of what the one at ``beside`` extends, which is another."""
    file_name = f"{name}.yaml"
    candidates = [Path(name), _own_recipes() / file_name, Path(str(SHIPPED)) / file_name]
    if beside:
        candidates.insert(0, beside.parent / name)
    for candidate in candidates:
        is_yaml = candidate.suffix in {".yaml", ".yml"} and candidate.is_file()
        if is_yaml and not (beside and candidate.samefile(beside)):
            return candidate
    known = ", ".join(recipe_names())
    raise RecipeError(f"no recipe '{name}': give a YAML file or one of {known}")


RecipeName = Annotated[
    str,
    WithJsonSchema(
        {
            "anyOf": [
                {"title": "by name", "type": "string", "enum": recipe_names()},
                {"title": "by file", "type": "string"},
            ]
        }
    ),
]
"""A flow's parameter; a form offers the recipes there are when its deployment is made."""


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a mapping that names a key twice, which YAML forbids and PyYAML lets pass."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key}' is there twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def _parse_yaml(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        line = " ".join(str(error).split())
        raise RecipeError(f"{where}: not valid YAML: {line}") from None


def _read(path: Path) -> dict[str, Any]:
    values = _parse_yaml(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys to values")
    return values


def _parse_override(override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise RecipeError(f"override '{override}': write it as key.path=value")
    value = _parse_yaml(text, f"override '{override}'")
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _combine(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Changes after which others are made; a null is kept, as it takes something out."""
    combined = dict(first)
    for key, value in second.items():
        earlier = combined.get(key)
        if isinstance(earlier, Mapping) and isinstance(value, Mapping):
            combined[key] = _combine(earlier, value)
        else:
            combined[key] = value
    return combined


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged key by key; anything else is replaced; null takes a key out."""
    merged = dict(base)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _with_seed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's seed, given to each section that can hold one and names none."""
    complete = dict(values)
    for name, field in Recipe.model_fields.items():
        section = field.annotation
        if not (isinstance(section, type) and issubclass(section, Settings)):
            continue
        if "seed" in values and "seed" in section.model_fields:
            own = complete.get(name) or {}
            if isinstance(own, Mapping):
                complete[name] = {"seed": values["seed"], **own}
    return complete
