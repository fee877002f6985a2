"""Two models or runs side by side: which results differ, and why."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from model_code.statistics import Measure
from pipeline_data.artifact import Artifact
from pipeline_data.errors import ArtifactError
from tasks.decision import Decision
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.difference.difference import Difference, as_json, compare_sides, summarise
from tasks.lineage.difference.sides import open_side
from tasks.past_results import write_decisions
from tasks.store import Store
from tests.tasks.lineage.toy_chain import (
    compare,
    make,
    make_chain,
    make_evaluation,
    model_of,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"), tmp_path / "cache")


def origins(difference: Difference) -> list[tuple[str, str, Sequence[str], Sequence[str], bool]]:
    return [(o.stage, o.status, o.shards, o.reasons, o.inputs_equal) for o in difference.origins]


def test_a_model_is_equal_to_itself(store: Store) -> None:
    model = make_chain(store, "pages", 1, 0)
    difference = compare(store, model, model)
    assert (difference.is_same_model, difference.num_other) == (True, 0)
    assert difference.origins == []
    first, second = summarise(difference)
    assert "same model" in first and model.digest[:12] in first
    assert "all 3 results" in second


def test_a_setting_without_effect_is_told_and_is_no_cause(store: Store) -> None:
    """Two filters gave the same bytes, so what is below was made once, of the first."""
    first = make_chain(store, "pages", 1, 0, effect=False)
    catalogue = Catalogue.open(store)
    a = open_side(catalogue, store.cache, first.digest)
    crawl = next(x for x in a.artifacts if x.stage == "crawl")
    other = make(store, "filter", "web", {"raw": crawl}, text="pages", config={"limit": 2})
    kept = [x for x in a.artifacts if x.stage != "filter"]
    b = type(a)("b", "model", first, [*kept, other], [])
    difference = compare_sides(catalogue, a, b)
    assert difference.num_other == 0
    (change,) = difference.settings
    assert (change.setting, change.a, change.b) == ("limit", 1, 2)
    assert (change.num_results, change.num_changed) == (1, 0)


def test_what_differs_by_itself_is_told_from_its_consequences(store: Store) -> None:
    a, b = make_chain(store, "pages", 1, 0), make_chain(store, "pages", 2, 0)
    difference = compare(store, a, b)
    assert origins(difference) == [
        ("filter", "changed", ("web",), ("setting limit: 1 -> 2",), True),
    ]
    assert (difference.num_other, difference.num_consequences) == (2, 1)
    assert next(iter(summarise(difference))) == (
        "They part at filter (web): setting limit: 1 -> 2."
    )


def test_a_second_cause_on_top_of_the_first_comes_after_it(store: Store) -> None:
    a, b = make_chain(store, "pages", 1, 0), make_chain(store, "others", 1, 7)
    assert origins(compare(store, a, b)) == [
        ("crawl", "changed", ("web",), ("setting url: 'pages' -> 'others'",), True),
        ("pretrain", "changed", (), ("setting seed: 0 -> 7",), False),
    ]


def test_other_bytes_from_the_same_request_are_called_unexplained(store: Store) -> None:
    made = [
        make(store, "site", config={"n": 1}, text=text, facts={"commit": commit})
        for text, commit in (("one", "aaa"), ("one", "aaa"))
    ]
    store.discard(made[0])
    again = make(store, "site", config={"n": 1}, text="two", facts={"commit": "bbb+dirty"})
    catalogue = Catalogue.open(store)
    b = open_side(catalogue, store.cache, again.digest)
    a = type(b)("a", "model", made[0], [made[0]], [])
    difference = compare_sides(catalogue, a, b)
    (origin,) = difference.origins
    assert origin.reasons == ("other bytes from the same inputs, settings and stage version",)
    (change,) = difference.facts
    assert (change.fact, change.a, change.b) == ("commit", {"aaa": 1}, {"bbb+dirty": 1})
    assert difference.has_uncommitted_code


def test_another_version_of_a_stage_is_a_reason_and_a_difference_of_code(store: Store) -> None:
    a = make(store, "sft", text="a", version=1)
    b = make(store, "sft", text="b", version=2)
    difference = compare(store, a, b)
    assert origins(difference) == [("sft", "changed", (), ("stage version: 1 -> 2",), True)]
    assert [f.fact for f in difference.facts] == ["version of stage sft"]


def test_only_the_shards_within_that_changed_are_named(store: Store) -> None:
    def model(*second: str) -> Artifact:
        parts = {f"crawl-{i}": text for i, text in enumerate(("same", *second))}
        crawl = make(store, "crawl", "web", parts=parts, config={"shards": len(parts)})
        tokens = [
            make(store, "extract", f"web-{i}", {"raw": crawl.part(name)}, text=text)
            for i, (name, text) in enumerate(parts.items())
        ]
        return model_of(store, tokens)

    difference = compare(store, model("old"), model("new", "more"))
    assert [(s.stage, s.num_equal, s.changed, s.added) for s in difference.stages] == [
        ("crawl", 1, ("web crawl-1",), ("web crawl-2",)),
        ("extract", 1, ("web-1",), ("web-2",)),
        ("pretrain", 0, ("",), ()),
    ]
    (origin,) = difference.origins
    assert (origin.stage, origin.shards) == ("crawl", ("web crawl-1", "web crawl-2"))


def recrawl(store: Store, found: str) -> Artifact:
    """A model of a site, crawled anew: the crawl takes the place of the one before."""
    before = make(store, "crawl", "web", parts={"crawl-0": "same", "crawl-1": "old"})
    store.discard(before)
    crawl = make(store, "crawl", "web", parts={"crawl-0": "same", "crawl-1": found})
    tokens = [
        make(store, "extract", f"web-{i}", {"raw": crawl.part(f"crawl-{i}")}, text=text)
        for i, text in enumerate(("same", found))
    ]
    return model_of(store, tokens)


def test_a_crawl_whose_place_another_took_is_known_by_its_content(
    store: Store, tmp_path: Path
) -> None:
    models = [recrawl(store, found) for found in ("old", "new")]
    expected = [("crawl", "changed", ("web crawl-1",), ("the source gave other bytes",), True)]
    difference = compare(store, *models)
    assert origins(difference) == expected
    assert difference.num_consequences == 2  # one extraction and the model
    catalogue = Catalogue.open(store)
    for name, model in zip(("r1", "r2"), models, strict=True):
        made = [*catalogue.inputs(model), ("", model)]
        crawl = next(iter(catalogue.of_stage("crawl")))
        rows = [Decision(x.stage, x.shard, "run", "", key=x.key) for _, x in (("", crawl), *made)]
        write_decisions(tmp_path, name, "toy", rows)
    a, b = (open_side(catalogue, tmp_path, name) for name in ("r1", "r2"))
    assert origins(compare_sides(catalogue, a, b)) == expected


def test_a_version_whose_place_another_took_is_not_taken_for_it(store: Store) -> None:
    """Trained again as by --force, with other bytes: the same key, and another version."""
    for text in ("first", "second"):
        base = make(store, "pretrain", text=text, force=True)
        store.point("base", base)
        make_evaluation(store, "evaluate-base", {"base": base}, [Measure("m", 0.5, 0.4, 0.6)])
    catalogue = Catalogue.open(store)
    a, b = (open_side(catalogue, store.cache, name) for name in ("base@1", "base"))
    difference = compare_sides(catalogue, a, b)
    assert not difference.is_same_model
    (origin,) = difference.origins
    assert origin.reasons == ("other bytes from the same inputs, settings and stage version",)
    assert difference.verdicts == {"equal": 1}


def test_a_record_that_is_gone_without_a_successor_is_counted(store: Store) -> None:
    a, b = make_chain(store, "pages", 1, 0), make_chain(store, "others", 1, 0)
    lost = next(x for x in Catalogue.open(store).ancestry(a) if x.stage == "crawl")
    store.discard(lost)
    difference = compare(store, a, b)
    assert (difference.a.num_lost, difference.b.num_lost) == (1, 0)
    assert origins(difference) == [("crawl", "added", ("web",), (), True)]


def test_a_raw_file_that_came_is_where_they_part(store: Store, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(name)

    def model(*names: str) -> Artifact:
        raw = [store.adopt(tmp_path / f"{name}.jsonl", f"{name}.jsonl") for name in names]
        shards = [
            make(store, "extract", name, {"raw": file}, text=name)
            for name, file in zip(names, raw, strict=True)
        ]
        return model_of(store, shards)

    difference = compare(store, model("a"), model("a", "b"))
    assert origins(difference) == [("file", "added", ("b.jsonl",), (), True)]
    assert difference.num_consequences == 2
    back = compare(store, model("a", "b"), model("a"))
    assert origins(back) == [("file", "removed", ("b.jsonl",), (), True)]


def test_stages_that_one_model_lacks_start_at_its_first_own_stage(store: Store) -> None:
    base = make_chain(store, "pages", 1, 0)
    sft = make(store, "sft", None, {"base": base}, text="sft")
    ppo = make(store, "ppo", None, {"sft": sft}, text="ppo")
    difference = compare(store, base, ppo)
    assert origins(difference) == [("sft", "added", (), (), True)]
    assert difference.num_consequences == 1


def test_other_inputs_that_both_sides_have_are_a_cause(store: Store) -> None:
    """Both are trained on both shards in the end; the tokenizer learnt of another one."""
    shards = [make(store, "extract", name, text=name) for name in ("a", "b")]

    def model(sample: Artifact) -> Artifact:
        words = make(store, "tokenizer", None, {"samples": sample}, text=sample.digest)
        return make(store, "pretrain", None, {"t": words, "x": shards}, text=words.digest)

    difference = compare(store, model(shards[0]), model(shards[1]))
    (origin,) = difference.origins
    assert (origin.stage, origin.inputs_equal) == ("tokenizer", True)
    assert origin.reasons == ("input samples: 1 added (extract b), 1 gone (extract a)",)


def test_equal_ones_of_a_slot_are_paired_first(store: Store) -> None:
    """An older base under a later curriculum has two curricula, of which one is shared."""

    def model(*curricula: str) -> Artifact:
        made = [make(store, "curriculum", text=text, config={"t": text}) for text in curricula]
        return make(store, "sft", None, {"c": made}, text=f"on {curricula}")

    difference = compare(store, model("old"), model("old", "late"))
    assert [(p.stage, p.status) for p in difference.pairs] == [
        ("curriculum", "equal"),
        ("curriculum", "changed"),
        ("sft", "changed"),
    ]
    assert difference.origins[0].reasons == ("setting t: 'old' -> 'late'",)


def test_runs_are_compared_over_all_their_results(store: Store, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    models = [make_chain(store, "pages", limit, 0) for limit in (1, 2)]
    catalogue = Catalogue.open(store)
    for name, model in zip(("r1", "r2"), models, strict=True):
        rows = [
            Decision(x.stage, x.shard, "run", "", key=x.key)
            for x in catalogue.ancestry(model)
            if x.stage != "crawl"  # made before the run
        ]
        write_decisions(runs, name, "toy", rows)
    a, b = (open_side(catalogue, runs, name) for name in ("r1", "r2"))
    assert (a.kind, a.recipe, {x.stage for x in a.artifacts}) == (
        "run",
        "toy",
        {"crawl", "filter", "pretrain"},
    )
    difference = compare_sides(catalogue, a, b)
    assert [origin.stage for origin in difference.origins] == ["filter"]
    assert json.loads(json.dumps(as_json(difference)))["same_model"] is None
    with pytest.raises(ArtifactError, match="is a model and 'r1' a run"):
        compare_sides(catalogue, open_side(catalogue, runs, models[0].digest[:8]), a)


def test_a_name_that_nothing_has_is_answered_with_those_there_are(
    store: Store, tmp_path: Path
) -> None:
    store.point("base", make_chain(store, "pages", 1, 0))
    write_decisions(tmp_path, "r1", "toy", [])
    catalogue = Catalogue.open(store)
    with pytest.raises(ArtifactError, match=r"known: base\); last runs: r1$"):
        open_side(catalogue, tmp_path, "bases")
    with pytest.raises(ArtifactError, match="has no version 9"):
        open_side(catalogue, tmp_path, "base@9")
