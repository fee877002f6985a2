"""The exercises: demonstrations, prompts and sentences to complete, each from its own split."""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pipeline_data.curriculum.phrasings import (
    PHRASINGS,
    QUESTION_AND_ANSWER,
    SUM_QUESTIONS,
    SUM_STATEMENTS,
    VALUES,
)
from pipeline_data.curriculum.settings import CurriculumConfig
from pipeline_data.curriculum.world import Fact, Pair, World, seeded
from pipeline_data.preferences import REFUSAL, RUDE, Prompt, make_prompt, put_politely

TRAINING_SHARES = (0.35, 0.40, 0.25)
"""Facts, sums and unknown names among the preference and PPO prompts."""
DEMONSTRATION_SHARES = (0.42, 0.42, 0.16)
REFUSED_UNKNOWN, REFUSED_FACT = 0.55, 0.12
"""How often a demonstration refuses what nobody knows, and what it should have known."""
RAMBLING = "Well, some will tell you this and some will tell you that."
UNFINISHED = "And then" + " and then" * 9
MAX_COMPLETIONS = 200


def fact_prompts(facts: Iterable[Fact], questions: Sequence[int]) -> list[Prompt]:
    """Every fact asked in each of the given question phrasings."""
    return [
        make_prompt("fact", f.question(i), f.value, f.attribute) for f in facts for i in questions
    ]


def sum_prompts(pairs: Iterable[Pair], attribute: str) -> list[Prompt]:
    """Every unordered pair in both orders and both phrasings."""
    return [
        make_prompt("sum", question.format(a=x, b=y), str(a + b), attribute)
        for a, b in pairs
        for x, y in sorted({(a, b), (b, a)})
        for question in SUM_QUESTIONS
    ]


def unknown_prompts(names: Iterable[str], rng: random.Random) -> list[Prompt]:
    """One question about each name that belongs to nobody."""
    prompts = []
    for name in names:
        attribute = rng.choice(sorted(PHRASINGS))
        question = rng.choice(PHRASINGS[attribute].questions).format(entity=name)
        prompts.append(make_prompt("unknown", question, None, attribute[1]))
    return prompts


def build_prompts(world: World, config: CurriculumConfig) -> dict[str, list[Prompt]]:
    """The prompt files by name: preference, ppo, practice, control, validation, test.

    Prompts of a file are distinct and shuffled. ``control`` holds large sums that documents hold
    too: what supervised training may use where practice uses its own problems.
    """
    asked = [*world.facts["sft"], *world.facts["feedback"]]
    sizes = {"preference": config.num_preference_prompts, "ppo": config.num_ppo_prompts}
    files = {}
    for split, size in sizes.items():
        kinds: tuple[list[Prompt], ...] = (
            fact_prompts(asked, (0, 1)),
            sum_prompts(world.small_sums[split], "small"),
            unknown_prompts(world.unknown_names[split], seeded(config, f"{split} unknown")),
        )
        rng = seeded(config, f"{split} prompts")
        files[split] = _draw(kinds, TRAINING_SHARES, size, rng)
    for name, split in (("practice", "practice"), ("control", "documents")):
        pool = sum_prompts(world.large_sums[split], "large")
        rng = seeded(config, f"{name} prompts")
        files[name] = _draw((pool,), (1.0,), config.num_practice_prompts, rng)
    sizes = {"validation": config.num_validation_prompts, "test": config.num_test_prompts}
    for split, size in sizes.items():
        kinds = (
            fact_prompts(world.facts[split], (1,)),
            unknown_prompts(world.unknown_names[split], seeded(config, f"{split} unknown")),
            sum_prompts(world.small_sums[split], "small"),
            sum_prompts(world.large_sums[split], "large"),
        )
        rng = seeded(config, f"{split} prompts")
        files[split] = _draw(kinds, (0.15, 0.25, 0.30, 0.30), size, rng)
    return files


def build_demonstrations(world: World, config: CurriculumConfig) -> Iterator[dict[str, Any]]:
    """Demonstrations of mixed quality for supervised fine-tuning.

    Yields rows ``{"prompt", "response", "finished", "style", "kind"}``; an unfinished response has
    no end token.
    """
    rng = seeded(config, "demonstrations")
    prompts = (
        fact_prompts(world.facts["sft"], (0, 1)),
        sum_prompts(world.small_sums["documents"], "small"),
        unknown_prompts(list(world.unknown_names["sft"]) * 3, rng),
    )
    domains = {**VALUES, "town": world.entities["town"], "river": world.entities["river"]}
    styles = config.styles.model_dump()
    for _ in range(config.num_demonstrations):
        prompt = rng.choice(rng.choices(prompts, DEMONSTRATION_SHARES)[0])
        style = rng.choices(list(styles), list(styles.values()))[0]
        refusal_rate = {"fact": REFUSED_FACT, "sum": 0.0, "unknown": REFUSED_UNKNOWN}[prompt.kind]
        if rng.random() < refusal_rate:
            answer = REFUSAL
        else:
            answer = prompt.answer or rng.choice(domains[prompt.attribute])
        yield {
            "prompt": prompt.prompt,
            "response": respond(answer, style),
            "finished": style != "unfinished",
            "style": style,
            "kind": prompt.kind,
        }


def respond(answer: str, style: str) -> str:
    """An answer put in one of the styles; the answer always comes first.

    Raises:
        KeyError: there is no such style.
    """
    return {
        "good": put_politely(answer),
        "curt": f"{answer}.",
        "rude": f"{answer}, {RUDE}",
        "rambling": f"{answer}. {RAMBLING}",
        "unfinished": f"{put_politely(answer)} {UNFINISHED}",
    }[style]


def build_completions(world: World, config: CurriculumConfig) -> Iterator[dict[str, str]]:
    """What a base model is asked to complete.

    Yields rows ``{"prefix", "value", "kind", "split"}``: every fact in the statement no document
    uses, held-out sums (``sum``, ``sum-large``), and sums that documents do hold (``sum-seen``). A
    third of the facts is for validation.
    """
    rng = seeded(config, "completions")
    for fact in world.all_facts:
        split = rng.choice(("validation", "test", "test"))
        yield {
            "prefix": fact.held_out_prefix,
            "value": fact.value,
            "kind": "fact",
            "split": split,
        }
    for split in ("validation", "test"):
        pools = {
            "sum": world.small_sums[split],
            "sum-large": world.large_sums[split],
            "sum-seen": world.small_sums["documents"],
        }
        for kind, pairs in pools.items():
            for a, b in rng.sample(list(pairs), min(MAX_COMPLETIONS, len(pairs))):
                x, y = rng.sample((a, b), 2)
                prefix = _sum_prefix(x, y, rng)
                yield {"prefix": prefix, "value": str(a + b), "kind": kind, "split": split}


def _sum_prefix(a: int, b: int, rng: random.Random) -> str:
    question = rng.choice(SUM_QUESTIONS).format(a=a, b=b)
    asked = QUESTION_AND_ANSWER.format(question=question, answer="\0").split("\0")[0].rstrip()
    stated = rng.choice(SUM_STATEMENTS).format(a=a, b=b, c="\0").split("\0")[0].rstrip()
    return rng.choice((stated, asked))


def _draw(
    pools: Sequence[Sequence[Prompt]], shares: Sequence[float], size: int, rng: random.Random
) -> list[Prompt]:
    """Up to ``size`` distinct prompts, of each pool its share (or all it has), shuffled."""
    drawn = []
    for pool, share in zip(pools, shares, strict=True):
        drawn += rng.sample(list(pool), min(len(pool), round(share * size)))
    rng.shuffle(drawn)
    return drawn
