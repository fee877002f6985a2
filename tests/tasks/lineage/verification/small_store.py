"""A store made in milliseconds: a raw file, a crawl of two shards, their text, a model, a name."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_data.artifact import Artifact, Parent
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.verification.chain import record_chain
from tasks.lineage.verification.model_check import verify_models
from tasks.lineage.verification.verification import Verification
from tasks.store import Request, Store

CREATED = "2026-01-01T00:00:00+00:00"
NAME = "assistant"


@dataclass
class SmallStore:
    """The store and what it holds."""

    store: Store
    raw: Path
    file: Artifact
    crawl: Artifact
    texts: list[Artifact]
    model: Artifact

    def open(self) -> Catalogue:
        return Catalogue.open(self.store)

    def forget_catalogue(self) -> None:
        """As if the store were seen for the first time."""
        shutil.rmtree(self.store.cache / "lineage")

    def record_path(self, artifact: Artifact) -> Path:
        return Path(self.store.root, artifact.stage, artifact.key[:24], "artifact.json")

    def edit_record(self, artifact: Artifact, edit: Callable[[dict[str, Any]], None]) -> Path:
        return edit_json(self.record_path(artifact), edit)

    def edit_reference(self, edit: Callable[[dict[str, Any]], None]) -> Path:
        return edit_json(Path(self.store.root, "references", f"{NAME}.json"), edit)

    def verify(self, public_key: Path | None = None) -> Verification:
        return verify_models(self.open(), [NAME], public_key)


def make_store(folder: Path) -> SmallStore:
    """Make it below a folder."""
    store = Store(str(folder / "store"), folder / "cache")
    raw = folder / "raw" / "pages.jsonl"
    raw.parent.mkdir()
    raw.write_text('{"text": "a page of its owner"}\n')
    file = store.adopt(raw, "pages.jsonl")
    crawl = produce(
        store,
        "crawl",
        {
            "crawl-000/pages.jsonl": "first page\n",
            "crawl-000/provenance/fetch.jsonl": "10:00\n",
            "crawl-001/pages.jsonl": "second page\n",
        },
        sharded=True,
    )
    sources = [crawl.part("crawl-000"), crawl.part("crawl-001"), file]
    texts = [
        produce(store, "extract", {"text.txt": f"text {i}\n"}, [source], shard=f"web-00{i}")
        for i, source in enumerate(sources)
    ]
    weights = {"model/config.json": "{}", "model/weights.bin": "0123456789", "log.txt": "fine"}
    model = produce(store, "toy-training", weights, texts)
    small = SmallStore(store, raw, file, crawl, texts, model)
    store.point(
        NAME,
        model,
        run="run-1",
        recipe_digest=store.registry.save_recipe({"name": "toy"}),
        chain=record_chain(small.open(), model),
    )
    return small


def produce(
    store: Store,
    stage: str,
    files: Mapping[str, str],
    inputs: list[Artifact] | None = None,
    shard: str | None = None,
    sharded: bool = False,
    created: str = CREATED,
) -> Artifact:
    """An artefact of some small files."""

    def write(out: Path) -> dict[str, Any]:
        for name, text in files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_text(text)
        return {"num_files": len(files)}

    parents = [Parent("input", a.stage, a.key, a.digest, a.shard) for a in inputs or ()]
    request = Request(stage, 1, {"setting": 1}, parents, shard, sharded)
    return store.produce(request, write, {"created": created, "commit": "abc"})


def edit_json(path: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """Change a JSON file where it lies."""
    value = json.loads(path.read_bytes())
    edit(value)
    path.write_text(json.dumps(value))
    return path
