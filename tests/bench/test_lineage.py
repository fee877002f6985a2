"""The lineage benchmark: its store is a real one, and small runs of it come out right."""

import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bench import lineage_growth, lineage_pages
from bench.lineage import Timing, measure_lineage, run_command
from bench.lineage_growth import measure_growth
from bench.lineage_store import SOURCES, STAND_INS, Scale, change_shard, make_store
from bench.measure import Usage
from pipeline_data import formats
from pipeline_data.errors import HeadwaterError
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.documents import DocumentIndex
from tasks.lineage.exposure import attribution, steps_of
from tasks.stages import STAGES
from tasks.store import Store
from tasks.worker import import_name

TINY = Scale(
    num_shards=8, num_documents=60, num_models=3, num_hosts=9, shards_per_model=2, share_seen=1.0
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lineage") / "home"
    make_store(path, TINY)
    return path


@pytest.fixture(scope="module")
def store(home: Path) -> Store:
    return Store(str(home / "store"), home / "cache")


def test_every_stand_in_is_of_a_stage_and_there() -> None:
    assert STAND_INS.keys() <= STAGES.keys()
    assert all(callable(import_name(function)) for function in STAND_INS.values())


def test_the_store_is_sound_and_of_the_scale(store: Store) -> None:
    catalogue = Catalogue.open(store)
    assistant = store.named("assistant")
    ancestry = catalogue.ancestry(assistant)
    assert [flaw for artifact in ancestry for flaw in store.damage(artifact)] == []
    extracted = [artifact for artifact in ancestry if artifact.stage == "extract"]
    assert [artifact.counts["num_documents"] for artifact in extracted] == [60] * 8
    assert {str(artifact.shard).partition("-")[0] for artifact in extracted} == set(SOURCES)
    assert len(store.registry.versions("assistant")) == 3
    assert len({artifact.digest for artifact in catalogue.of_stage("sft")}) == 3


@pytest.mark.parametrize(
    ("stage", "file", "schema"),
    [
        ("extract", "documents.parquet", formats.DOCUMENTS),
        ("extract", "dropped.parquet", formats.DROPPED),
        ("extract", "provenance/provenance.parquet", formats.PROVENANCE),
        ("filter", "documents.parquet", formats.FILTERED),
        ("signature", "signatures.parquet", formats.SIGNATURES),
        ("decontaminate", "kept.parquet", formats.KEPT),
        ("tokenize", "tokens.parquet", formats.TOKENS),
    ],
)
def test_tables_are_those_of_the_stages(
    store: Store, stage: str, file: str, schema: object
) -> None:
    artifact = Catalogue.open(store).of_stage(stage)[0]
    assert pq.read_schema(artifact.path(file)).equals(schema)
    assert pq.read_metadata(artifact.path(file)).num_rows > 0


def test_every_token_of_a_model_has_a_document(store: Store) -> None:
    for name in ("base", "base@1", "sft"):
        found = attribution(store.named(name))
        assert found and all(a.num_tokens == a.num_attributed > 0 for a in found)


def test_a_page_is_found_up_to_the_steps(store: Store) -> None:
    base = store.named("base")
    tokens = Catalogue.open(store).of_stage("tokenize")[0]
    rows = pq.read_table(tokens.path("tokens.parquet"), columns=["url", "split"]).to_pylist()
    urls = [row["url"] for row in rows if row["split"] == "train"]
    index = DocumentIndex.open(Catalogue.open(store))
    seen = [steps_of(base, [place.doc_id for place in index.find_url(url)]) for url in urls[:10]]
    assert sum(bool(exposures) for exposures in seen) >= 5


def test_hosts_have_shares_by_rank_and_pages_repeat() -> None:
    urls = lineage_pages.page_urls(5, 2000, 50, [4])
    before = lineage_pages.page_urls(4, 2000, 50, [])
    counts = [
        sum(f"//{lineage_pages.host_name(rank)}/" in url for url in urls) for rank in (0, 1, 9)
    ]
    assert counts[0] > counts[1] > counts[2] > 0
    assert 0.5 < len(set(urls) & set(before)) / (lineage_pages.REPEATED * 2000) < 1.5


def test_other_models_are_added_and_taken_away(
    home: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage_growth, "NUM_OTHERS", (0, 1, 20))
    tokens = Catalogue.open(store).of_stage("tokenize")[-1]
    url = pq.read_table(tokens.path("tokens.parquet"))["url"][0].as_py()
    growth = measure_growth(home, url, 1)
    records = list(growth.num_records.values())
    assert records == sorted(records)
    assert records[-1] > records[0]
    assert growth.ratio == growth.seconds[20] / growth.seconds[0]


def test_a_changed_shard_is_caught_up_with(home: Path, store: Store) -> None:
    before = len(Catalogue.open(store).of_stage("tokenize"))
    change_shard(home, TINY)
    assert len(Catalogue.open(store).of_stage("tokenize")) == before + 1


def test_timings_are_summed_up() -> None:
    timing = Timing("x", [Usage(3, 2, 10**9), Usage(1, 1.5, 2 * 10**9), Usage(2, 1, 0)])
    assert (timing.seconds, timing.cpu_seconds, timing.gigabytes) == (2, 1, 2)


def test_a_failing_command_is_told(tmp_path: Path) -> None:
    with pytest.raises(HeadwaterError, match="it broke"):
        run_command([sys.executable, "-c", "raise SystemExit('it broke')"], tmp_path)


@pytest.mark.long
def test_a_small_run_agrees_with_a_scan(tmp_path: Path) -> None:
    targets = {t.name: t for t in measure_lineage(tmp_path / "home", TINY, 1).targets}
    assert targets["answers unlike a scan's"].met
    assert targets["memory of a question, GB"].met
