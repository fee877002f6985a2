"""The curriculum stage: a generated world as raw documents and as exercises.

Its documents enter the corpus like any other source. Each is several passages long, as a page is,
so that the corpus stages have no more rows to carry than for real text of that size. Its exercises
go to the alignment stages, as one shard of their own.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline_data.artifact import Counts
from pipeline_data.curriculum.phrasings import (
    QUESTION_AND_ANSWER,
    STORY_SENTENCES,
    SUM_QUESTIONS,
    SUM_STATEMENTS,
)
from pipeline_data.curriculum.prompts import (
    build_completions,
    build_demonstrations,
    build_prompts,
)
from pipeline_data.curriculum.settings import CurriculumConfig
from pipeline_data.curriculum.world import Fact, Pair, World, build_world, seeded
from pipeline_data.formats import write_jsonl
from pipeline_data.preferences import write_prompts
from pipeline_data.settings import canonical_json
from pipeline_data.stage_run import Inputs, Runtime

EXERCISES = "exercises"
PASSAGES_PER_DOCUMENT = (4, 8)


def run(config: CurriculumConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Write raw shards ``documents-NNN/records.jsonl`` and the shard ``exercises/``.

    Takes no inputs. A record is ``{"url": "generated://world/<shard>/<n>", "text"}``.
    """
    world = build_world(config)
    counts: Counts = {"documents": 0, "bytes": 0, "facts": len(world.all_facts)}
    for shard in range(config.shards):
        texts = list(documents(world, config, shard))
        records = (
            {"url": f"generated://world/{shard:03d}/{n}", "text": text}
            for n, text in enumerate(texts)
        )
        write_jsonl(out / f"documents-{shard:03d}" / "records.jsonl", records)
        counts["documents"] = int(counts["documents"]) + len(texts)
        counts["bytes"] = int(counts["bytes"]) + sum(len(t.encode()) for t in texts)
        runtime.progress(shard + 1, config.shards, "shards")
    return counts | _write_exercises(world, config, out / EXERCISES)


def documents(world: World, config: CurriculumConfig, shard: int) -> Iterator[str]:
    """The texts of one shard, about ``num_bytes / shards`` bytes of them."""
    rng = seeded(config, f"documents {shard}")
    writers: dict[str, Callable[[World, CurriculumConfig, random.Random], str]] = {
        "sums": _sums,
        "questions": _questions,
        "entities": _entity,
        "stories": _story,
    }
    weights = config.passages.model_dump()
    num_bytes = 0
    while num_bytes < config.num_bytes / config.shards:
        kinds = rng.choices(
            list(weights), list(weights.values()), k=rng.randint(*PASSAGES_PER_DOCUMENT)
        )
        text = "\n".join(writers[kind](world, config, rng) for kind in kinds)
        num_bytes += len(text.encode())
        yield text


def _write_exercises(world: World, config: CurriculumConfig, out: Path) -> Counts:
    prompts = build_prompts(world, config)
    counts: Counts = {
        "demonstrations": write_jsonl(
            out / "demonstrations.jsonl", build_demonstrations(world, config)
        ),
        "completions": write_jsonl(out / "completions.jsonl", build_completions(world, config)),
    }
    for split, rows in prompts.items():
        counts[f"prompts {split}"] = write_prompts(out / f"prompts-{split}.jsonl", rows)
    (out / "world.json").write_text(canonical_json(world.to_json()) + "\n", encoding="utf-8")
    return counts


def _pair(world: World, config: CurriculumConfig, rng: random.Random) -> Pair:
    """The operands of a sum that documents may hold, in either order."""
    large = rng.random() < config.large_sums
    pool = (world.large_sums if large else world.small_sums)["documents"]
    a, b = rng.choice(pool)
    return (a, b) if rng.random() < 0.5 else (b, a)


def _sums(world: World, config: CurriculumConfig, rng: random.Random) -> str:
    sentences = []
    for _ in range(rng.randint(3, 7)):
        a, b = _pair(world, config, rng)
        sentences.append(rng.choice(SUM_STATEMENTS).format(a=a, b=b, c=a + b))
    return " ".join(sentences)


def _questions(world: World, config: CurriculumConfig, rng: random.Random) -> str:
    """Questions with answers; a fact is asked in its first phrasing only."""
    facts = world.all_facts
    sentences = []
    for _ in range(rng.randint(3, 6)):
        if rng.random() < 0.5:
            a, b = _pair(world, config, rng)
            question, answer = rng.choice(SUM_QUESTIONS).format(a=a, b=b), str(a + b)
        else:
            fact = rng.choice(facts)
            question, answer = fact.question(0), fact.value
        sentences.append(QUESTION_AND_ANSWER.format(question=question, answer=answer))
    return " ".join(sentences)


def _entity(world: World, config: CurriculumConfig, rng: random.Random) -> str:
    """All that is known about one entity, each fact in one or two of its allowed statements."""
    described = rng.choice(world.all_facts).entity
    facts: list[Fact] = [fact for fact in world.all_facts if fact.entity == described]
    rng.shuffle(facts)
    sentences = []
    for fact in facts:
        sentences += rng.sample(fact.statements, rng.randint(1, 2))
    return " ".join(sentences)


def _story(world: World, config: CurriculumConfig, rng: random.Random) -> str:
    person, other = rng.sample(list(world.entities["person"]), 2)
    town = rng.choice(list(world.entities["town"]))
    lines = rng.sample(STORY_SENTENCES, rng.randint(3, 6))
    return " ".join(line.format(person=person, other=other, town=town) for line in lines)
