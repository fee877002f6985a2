import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline_data.artifact import content_digest, describe
from pipeline_data.curriculum import curriculum
from pipeline_data.curriculum.phrasings import PHRASINGS, VALUES
from pipeline_data.curriculum.prompts import (
    build_completions,
    build_demonstrations,
    build_prompts,
    respond,
)
from pipeline_data.curriculum.settings import CurriculumConfig, PassageMixture
from pipeline_data.curriculum.world import build_world
from pipeline_data.formats import read_jsonl
from pipeline_data.preferences import Prompt, grade
from pipeline_data.stage_run import Inputs, Runtime

SMALL = {
    "num_towns": 5,
    "num_people": 6,
    "num_animals": 5,
    "max_operand": 12,
    "max_large_operand": 18,
    "num_bytes": 40_000,
    "shards": 2,
    "num_demonstrations": 200,
    "num_preference_prompts": 60,
    "num_ppo_prompts": 60,
    "num_practice_prompts": 40,
    "num_validation_prompts": 30,
    "num_test_prompts": 60,
}
SUM = re.compile(r"(\d+)(?: \+ | plus | to | and )(\d+)")


def sums_in(texts: list[str]) -> set[tuple[int, int]]:
    found = (sorted(map(int, pair)) for text in texts for pair in SUM.findall(text))
    return {(a, b) for a, b in found}


def pairs_of(prompts: list[Prompt]) -> set[tuple[int, int]]:
    return sums_in([prompt.prompt for prompt in prompts if prompt.kind == "sum"])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10_000))
def test_no_split_leaks_into_what_is_trained_on(seed: int) -> None:
    config = CurriculumConfig(seed=seed, **SMALL)
    world = build_world(config)
    documents = [
        t for shard in range(config.shards) for t in curriculum.documents(world, config, shard)
    ]
    demonstrations = list(build_demonstrations(world, config))
    prompts = build_prompts(world, config)
    taught = sums_in(documents) | sums_in([row["prompt"] for row in demonstrations])

    stages = [taught, *(pairs_of(prompts[s]) for s in ("preference", "ppo", "practice"))]
    held_out = [pairs_of(prompts[split]) for split in ("validation", "test")]
    for i, pairs in enumerate([*stages, *held_out]):
        assert pairs, i
        for other in [*stages, *held_out][i + 1 :]:
            assert not pairs & other
    assert pairs_of(prompts["control"]) <= set(map(tuple, world.large_sums["documents"]))

    asked = {row["prompt"] for row in demonstrations}
    asked |= {p.prompt for s in ("preference", "ppo") for p in prompts[s]}
    for split in ("validation", "test"):
        for fact in world.facts[split]:
            assert not asked & {fact.question(0), fact.question(1)}
    corpus = "\n".join(documents)
    for fact in world.all_facts:
        assert fact.held_out_prefix + f" {fact.value}." not in corpus
        assert fact.question(1) not in corpus

    names = {split: set(names) for split, names in world.unknown_names.items()}
    known = {name for entities in world.entities.values() for name in entities}
    assert len(set().union(*names.values()) | known) == sum(map(len, [*names.values(), known]))
    for name in set().union(*names.values()):
        assert name not in corpus
    for split in names.keys() & prompts.keys():
        for prompt in prompts[split]:
            if prompt.kind == "unknown":
                assert any(name in prompt.prompt for name in names[split])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_every_fact_and_pair_is_in_exactly_one_split(seed: int) -> None:
    world = build_world(CurriculumConfig(seed=seed, **SMALL))
    assert len({(f.entity, f.attribute) for f in world.all_facts}) == 3 * 16 == len(world.all_facts)
    pairs = [
        p for splits in (world.small_sums, world.large_sums) for s in splits.values() for p in s
    ]
    assert sorted(pairs) == sorted((a, b) for b in range(19) for a in range(b + 1))
    assert all(b <= 12 for split in world.small_sums.values() for _, b in split)
    assert all(b > 12 for split in world.large_sums.values() for _, b in split)


def test_answers_of_prompts_and_completions_are_right() -> None:
    config = CurriculumConfig(**SMALL)
    world = build_world(config)
    for prompts in build_prompts(world, config).values():
        assert len({p.prompt_id for p in prompts}) == len(prompts)
        for prompt in prompts:
            if prompt.kind == "sum":
                assert prompt.answer == str(sum(map(int, SUM.search(prompt.prompt).groups())))
            assert (prompt.answer is None) == (prompt.kind == "unknown")
    values = {(f.held_out_prefix, f.value) for f in world.all_facts}
    completions = list(build_completions(world, config))
    assert {(c["prefix"], c["value"]) for c in completions if c["kind"] == "fact"} == values
    for completion in completions:
        if completion["kind"] != "fact":
            operands = SUM.search(completion["prefix"]).groups()
            assert completion["value"] == str(sum(map(int, operands)))
    assert {c["split"] for c in completions} == {"validation", "test"}


def test_each_style_is_what_the_annotator_takes_it_for() -> None:
    prompt = Prompt("0", "sum", "What is 1 + 2?", "3", "small")
    grades = {
        style: grade(prompt, respond("3", style), style != "unfinished", 12)
        for style in ("good", "curt", "rude", "rambling", "unfinished")
    }
    assert all(g.correct for g in grades.values())
    assert [s for s, g in grades.items() if g.polite] == ["good", "unfinished"]
    assert [s for s, g in grades.items() if g.rude] == ["rude"]
    assert max(grades, key=lambda style: grades[style].utility) == "good"


def test_every_attribute_can_hold_out_a_statement() -> None:
    for (_, attribute), phrasing in PHRASINGS.items():
        assert len(phrasing.value_last) >= 2
        assert not any(s.startswith("{entity}") for s in phrasing.statements)
        assert attribute in VALUES or attribute in ("town", "river")


def test_run_writes_shards_and_exercises_the_same_each_time(tmp_path: Path) -> None:
    config = CurriculumConfig(**SMALL)
    seen: list[int] = []
    runtime = Runtime(progress=lambda done, total, unit, metrics=None: seen.append(done))
    counts = curriculum.run(config, Inputs({}), tmp_path / "a", runtime)
    curriculum.run(config, Inputs({}), tmp_path / "b", Runtime())
    assert content_digest(describe(tmp_path / "a")) == content_digest(describe(tmp_path / "b"))
    assert seen == [1, 2]
    records = [
        record
        for shard in ("documents-000", "documents-001")
        for record in read_jsonl(tmp_path / "a" / shard / "records.jsonl")
    ]
    assert len({r["url"] for r in records}) == len(records) == counts["documents"]
    assert all(r["url"].startswith("generated://world/") for r in records)
    num_bytes = sum(len(r["text"].encode()) for r in records)
    assert 40_000 <= num_bytes < 44_000 and num_bytes == counts["bytes"]
    world = json.loads((tmp_path / "a/exercises/world.json").read_text())
    assert len(world["facts"]) == counts["facts"]
    for split in ("preference", "ppo", "practice", "control", "validation", "test"):
        rows = list(read_jsonl(tmp_path / f"a/exercises/prompts-{split}.jsonl"))
        assert len(rows) == counts[f"prompts {split}"]
        assert set(rows[0]) == {"prompt_id", "kind", "prompt", "answer", "attribute"}


def test_output_changes_only_with_the_version(tmp_path: Path) -> None:
    """Red: the curriculum's content changed. Raise the stage's version, then this digest."""
    curriculum.run(CurriculumConfig(**SMALL), Inputs({}), tmp_path, Runtime())
    assert content_digest(describe(tmp_path))[:16] == GOLDEN


GOLDEN = "34c46c170a0ffc52"


def test_another_seed_is_another_world() -> None:
    worlds = [build_world(CurriculumConfig(seed=seed, **SMALL)) for seed in (1, 2)]
    assert worlds[0].entities != worlds[1].entities


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_operand": 20, "max_large_operand": 20},
        {"passages": PassageMixture(sums=0, questions=0, entities=0, stories=0)},
        {"num_bytes": -1},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CurriculumConfig(**wrong)
