"""A home with one finished small run of the whole pipeline, made without Prefect."""

from pathlib import Path

from flows.graphs import whole
from flows.recipe import load_recipe
from flows.run_record import Tally, save_record
from flows.sql import CORPUS
from tasks.direct_run import DirectRun
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.verification.chain import record_chain
from tasks.store import Store

RUN = "20260101-000000-test"
CHANGES = (
    "curriculum.num_bytes=120000",
    "curriculum.num_demonstrations=96",
    "curriculum.num_preference_prompts=24",
    "curriculum.num_ppo_prompts=24",
    "curriculum.num_practice_prompts=16",
    "curriculum.num_validation_prompts=12",
    "curriculum.num_test_prompts=24",
    "tokenizer.vocab_size=400",
    "pretrain.steps=30",
    "pretrain.mixture={world: 60, web: 40}",
    "sft.steps=8",
    "ppo.iterations=2",
    "ppo.rollouts=8",
    "practice.steps=3",
    "practice.samples=2",
    "practice.anchors=6",
    "evaluate.max_documents=10",
    "evaluate.bootstrap=100",
)
OPTIONS = tuple(option for change in (*CHANGES, "compute.cores=1") for option in ("--set", change))
"""The same for a command; its one worker imports what the stages need once."""


def make_home(path: Path) -> None:
    """Run the smoke recipe at its smallest, and name and record what came of it."""
    path.mkdir(parents=True)
    (path / "HEADWATER").write_text("A home for tests.\n")
    recipe = load_recipe("smoke", CHANGES)
    store = Store(str(path / "store"), path / "cache")
    run = DirectRun(store)
    products = whole(run, recipe)
    made = {
        "run": RUN,
        "recipe": recipe.name,
        "recipe_digest": store.registry.save_recipe(recipe.model_dump(mode="json")),
    }
    catalogue = Catalogue.open(store)
    for name, artifact in {**products.models, CORPUS: products.corpus}.items():
        store.point(name, artifact, chain=record_chain(catalogue, artifact), **made)
    tally = Tally()
    for artifact in run.results:
        tally.executed(artifact.stage, artifact.shard, artifact)
    assistant = products.models["assistant"]
    save_record(path / "runs", tally.record(RUN, recipe.name, assistant.digest))
