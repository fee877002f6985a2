"""Incremental = clean: after any change, the corpus is byte for byte what a clean build gives.

And no more is done than the change demands. What it demands is counted here from contents alone:
a stage runs for a shard if it was never given these contents under settings that concern them.
"""

import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flows.corpus import build_corpus
from flows.recipe import Recipe
from pipeline_data.settings import canonical_json
from tasks.store import Store
from tests.flows.recorded_run import Call, RecordedRun, corpus_recipe

SHARDS = ("a", "b", "c", "d")
SOURCES = ("first", "second")
TOPICS = ("bread", "clocks", "rivers", "boats", "wool")
WORDS = re.findall(
    r"\w+",
    "the mill turns slowly and people who have time walk along with us to see how it works "
    "before winter comes while children read of it in old books that be kept there",
)


def make_text(topic: str, length: int, variant: int) -> str:
    """A text that passes the rules when it is long; variants of one length are near duplicates."""
    words = [WORDS[(i * (7 + len(topic)) + i // 5) % len(WORDS)] for i in range(length)]
    words[length // 2] = f"{topic}{variant}"
    return " ".join([topic, *words]) + "."


def make_recipe(
    folder: Path, order: Sequence[str], min_doc_words: int, blocked: Sequence[str]
) -> Recipe:
    """A recipe on the shards below ``folder``."""
    source = {"kind": "jsonl", "url_column": "url", "filter": "rules"}
    sources = {
        name: source | {"paths": [f"{folder}/{name}/*.jsonl"]} for name in ("steady", *order)
    }
    rules = {
        "rules": ["gopher_quality"],
        "gopher_quality": {"min_doc_words": min_doc_words},
        "pii": ["email"],
    }
    return corpus_recipe(sources, filters={"rules": rules}, blocklist={"urls": list(blocked)})


rows = st.builds(
    lambda page, topic, length, variant: {
        "url": f"http://pages.example/{page}",
        "text": make_text(topic, length, variant),
    },
    page=st.integers(0, 9),
    topic=st.sampled_from(TOPICS),
    length=st.sampled_from((12, 40, 60, 90)),
    variant=st.integers(0, 2),
)
STEADY_ROWS = [
    {"url": f"http://steady.example/{topic}", "text": make_text(topic, 200, 0)} for topic in TOPICS
]
"""A source that nothing changes, so that the tokenizer always has a text."""

shard_rows = st.lists(rows, min_size=1, max_size=4)


class IncrementalBuild(RuleBasedStateMachine):
    """A corpus under changes, built in one store that lives on and in a fresh one each time."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="headwater-incremental-"))
        self.files: dict[tuple[str, str], list[dict[str, str]]] = {}
        self.order = SOURCES
        self.min_doc_words = 20
        self.blocked: frozenset[str] = frozenset()
        self.store = self.open_store("incremental")
        self.known: set[Call] = set()
        self.num_builds = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def open_store(self, name: str) -> Store:
        return Store(str(self.folder / name), self.folder / f"{name}-cache")

    @initialize(first=shard_rows, second=shard_rows)
    def begin(self, first: list[dict[str, str]], second: list[dict[str, str]]) -> None:
        self.write(("steady", "all"), STEADY_ROWS)
        del self.files["steady", "all"]
        self.write(("first", "a"), first)
        self.write(("second", "a"), second)

    @rule(source=st.sampled_from(SOURCES), shard=st.sampled_from(SHARDS), rows=shard_rows)
    def add_or_replace_a_shard(self, source: str, shard: str, rows: list[dict[str, str]]) -> None:
        self.write((source, shard), rows)

    @precondition(lambda self: self.removable())
    @rule(data=st.data())
    def remove_a_shard(self, data: st.DataObject) -> None:
        place = data.draw(st.sampled_from(self.removable()))
        del self.files[place]
        self.path(place).unlink()

    @rule(data=st.data(), row=rows)
    def edit_a_row(self, data: st.DataObject, row: dict[str, str]) -> None:
        place = data.draw(st.sampled_from(sorted(self.files)))
        index = data.draw(st.integers(0, len(self.files[place]) - 1))
        self.write(place, [*self.files[place][:index], row, *self.files[place][index + 1 :]])

    @rule()
    def swap_the_sources(self) -> None:
        self.order = tuple(reversed(self.order))

    @rule(number=st.sampled_from((20, 50, 70)))
    def change_a_threshold(self, number: int) -> None:
        self.min_doc_words = number

    @rule(page=st.integers(0, 12))
    def block_or_unblock_a_url(self, page: int) -> None:
        self.blocked ^= {f"http://pages.example/{page}"}

    @invariant()
    def incremental_equals_clean(self) -> None:
        if not self.files:
            return
        self.num_builds += 1
        recipe = make_recipe(self.folder, self.order, self.min_doc_words, sorted(self.blocked))
        incremental = RecordedRun(self.store)
        build_corpus(incremental, recipe)
        clean = RecordedRun(self.open_store(f"clean-{self.num_builds}"))
        build_corpus(clean, recipe)
        shutil.rmtree(self.folder / f"clean-{self.num_builds}")
        assert incremental.calls == clean.calls
        demanded = {self.concerning(call) for call in clean.calls} - self.known
        assert incremental.executed == Counter(call.stage for call in demanded)
        self.known |= demanded

    def concerning(self, call: Call) -> Call:
        """The call with no blocked URL in its config but those of its own shard's rows."""
        if call.stage != "filter":
            return call
        assert call.shard is not None
        source, _, name = call.shard.partition("-")
        rows = self.files.get((source, name.removesuffix(".jsonl")), STEADY_ROWS)
        own = {row["url"] for row in rows}
        config = json.loads(call.config)
        config |= {"url": sorted(own & self.blocked), "rules": ["gopher_quality"]}
        return replace(call, config=canonical_json(config))

    def removable(self) -> list[tuple[str, str]]:
        """Shards that are not the last of their source."""
        count = Counter(source for source, _ in self.files)
        return sorted(place for place in self.files if count[place[0]] > 1)

    def write(self, place: tuple[str, str], rows: list[dict[str, str]]) -> None:
        self.files[place] = rows
        self.path(place).parent.mkdir(exist_ok=True)
        self.path(place).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def path(self, place: tuple[str, str]) -> Path:
        return self.folder / place[0] / f"{place[1]}.jsonl"


BUDGET = settings(deadline=None, derandomize=True, phases=[Phase.generate])
TestIncrementalBuild = pytest.mark.xdist_group("chain")(IncrementalBuild.TestCase)  # no straggler
TestIncrementalBuild.settings = settings(BUDGET, max_examples=2, stateful_step_count=7)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_many_incremental_builds() -> None:
    run_state_machine_as_test(
        IncrementalBuild, settings=settings(BUDGET, max_examples=25, stateful_step_count=15)
    )
