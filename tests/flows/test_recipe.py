from pathlib import Path

import pytest
import yaml

from flows.recipe import load_recipe, parse_overrides, recipe_names, shipped_recipes
from pipeline_data.errors import RecipeError


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_are_complete(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert set(recipe.pretrain.mixture) <= set(recipe.sources)


def test_an_override_is_one_setting() -> None:
    plain, changed = load_recipe("smoke"), load_recipe("smoke", ["pretrain.steps=7"])
    assert changed.pretrain.steps == 7
    assert changed.model_copy(update={"pretrain": plain.pretrain}) == plain


def test_the_seed_reaches_every_stage_that_names_none() -> None:
    recipe = load_recipe("smoke", ["seed=5"])
    assert (recipe.pretrain.seed, recipe.sft.seed, recipe.ppo.seed) == (5, 5, 5)
    assert recipe.curriculum.seed == 7


MISTAKES = {
    "pretrain.stepz=3": r"pretrain\.stepz: unknown key \(allowed: model, optimizer, .*steps",
    "pretrain.steps=0": r"pretrain\.steps: Input should be greater than or equal to 1, not 0",
    "pretrain.steps=many": r"pretrain\.steps: Input should be a valid integer, not 'many'",
    "pretrain.steps=1.5": r"pretrain\.steps: Input should be a valid integer",
    "sources.world.kind=ftp": r"sources\.world: Input tag 'ftp' found .*'crawl', 'warc', 'jsonl'",
    "sources.web.max_pagez=3": r"sources\.web\.max_pagez: unknown key \(allowed: .*max_pages",
    "filters.web.gopher_quality.x=1": r"gopher_quality\.x: unknown key \(allowed: min_doc_words",
    "sources.web.filter=none": r"sources\.web\.filter: no filter 'none' \(known: web\)",
    "tokenizer=null": r"tokenizer: Field required",
    "name=Über": r"name: String should match pattern",
    "pretrain": r"write it as key\.path=value",
    "pretrain..steps=1": r"write it as key\.path=value",
    "sft.learning_rate=.nan": r"sft\.learning_rate: Input should be",
    "extra=1": r"extra: unknown key \(allowed: name, description",
    "pretrain={steps: [}": r"not valid YAML",
}


@pytest.mark.parametrize("override", MISTAKES)
def test_a_mistake_is_one_line_with_its_key(override: str) -> None:
    with pytest.raises(RecipeError, match=MISTAKES[override]) as caught:
        load_recipe("smoke", [override])
    assert "\n" not in str(caught.value)
    assert override in str(caught.value)


def test_a_mapping_of_changes_is_checked_like_the_strings_of_the_command_line() -> None:
    strings = ["pretrain.steps=7", "sources.web.max_pages=9", "sft={steps: 3, batch_size: 2}"]
    strings += ["pretrain.max_epochs=null", "pretrain.mixture.web=null", "sft.steps=4"]
    changes = parse_overrides(strings)
    assert changes == {
        "pretrain": {"steps": 7, "max_epochs": None, "mixture": {"web": None}},
        "sources": {"web": {"max_pages": 9}},
        "sft": {"steps": 4, "batch_size": 2},
    }
    recipe = load_recipe("smoke", changes)
    assert recipe == load_recipe("smoke", strings)
    assert dict(recipe.pretrain.mixture) == {"world": 95}
    refused = "with sft.steps=0 ppo.clip=-1: sft.steps: Input should .* not 0 .and 1 more"
    with pytest.raises(RecipeError, match=refused):
        load_recipe("smoke", {"sft": {"steps": 0}, "ppo": {"clip": -1}})


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_a_file_may_extend_one_other(tmp_path: Path) -> None:
    child = write(tmp_path / "mine.yaml", "extends: smoke\nname: mine\nsft: {steps: 3}\n")
    recipe = load_recipe(child)
    assert (recipe.name, recipe.sft.steps) == ("mine", 3)
    assert recipe.pretrain == load_recipe("smoke").pretrain
    write(tmp_path / "grandchild.yaml", "extends: mine.yaml\n")
    with pytest.raises(RecipeError, match="one step is allowed"):
        load_recipe(str(tmp_path / "grandchild.yaml"))


def test_recipes_of_the_home_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_HOME", str(tmp_path))
    assert recipe_names() == shipped_recipes()
    (tmp_path / "recipes").mkdir()
    write(tmp_path / "recipes" / "mine.yaml", "extends: smoke\nname: mine\n")
    assert load_recipe("mine").name == "mine"
    write(tmp_path / "recipes" / "smoke.yaml", "extends: smoke\nsft: {steps: 3}\n")
    assert recipe_names() == sorted([*shipped_recipes(), "mine"])
    assert load_recipe("smoke").sft.steps == 3  # the home's own, which extends the shipped one


def test_what_is_no_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"no recipe 'nonsense'.*commoncrawl, default, llama, smoke"
    ):
        load_recipe("nonsense")
    with pytest.raises(RecipeError, match="not valid YAML"):
        load_recipe(write(tmp_path / "broken.yaml", "name: [\n"))
    with pytest.raises(RecipeError, match="mapping"):
        load_recipe(write(tmp_path / "list.yaml", "- a\n"))
    with pytest.raises(RecipeError, match="'steps' is there twice"):
        load_recipe(write(tmp_path / "twice.yaml", "sft: {steps: 1, steps: 2}\n"))


def test_null_takes_a_key_of_the_parent_out(tmp_path: Path) -> None:
    values = {"extends": "smoke", "name": "small", "sources": {"web": None}}
    recipe = load_recipe(write(tmp_path / "small.yaml", yaml.safe_dump(values)))
    assert list(recipe.sources) == ["world"]
