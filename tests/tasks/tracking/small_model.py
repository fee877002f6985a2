"""A model of two token shards with its evaluation, made in no time."""

import json
from collections.abc import Callable
from pathlib import Path

from pipeline_data.artifact import Artifact, Counts, Parent
from pipeline_data.formats import TOKENS, document_id, write_table
from tasks.store import Request, Store


def make_small_model(store: Store) -> dict[str, list[Artifact]]:
    """All artefacts by stage; the model is that of ``pretrain``, and its name is 'base'."""
    shards = [
        _make(store, "tokenize", [], _write_tokens(name), shard=name) for name in ("a-000", "b-000")
    ]
    inputs = [("tokens", shard) for shard in shards]
    model = _make(store, "pretrain", inputs, _write_model)
    store.point("base", model)
    evaluation = _make(store, "evaluate-base", [("base", model), *inputs], _write_measures)
    return {"tokenize": shards, "pretrain": [model], "evaluate-base": [evaluation]}


def _make(
    store: Store,
    stage: str,
    inputs: list[tuple[str, Artifact]],
    write: Callable[[Path], Counts],
    shard: str | None = None,
) -> Artifact:
    parents = tuple(Parent(role, a.stage, a.key, a.digest, a.shard) for role, a in inputs)
    return store.produce(Request(stage, 1, {"seed": 7}, parents, shard), write, {"cpu": "toy"})


def _write_tokens(shard: str) -> Callable[[Path], Counts]:
    def write(out: Path) -> Counts:
        url = f"http://www.example/{shard}.html"
        name = {"doc_id": document_id("web", url), "url": url, "source": "web"}
        row = {"split": "train", "num_bytes": 5, "num_tokens": 2, "tokens": [1, 2]}
        write_table(out / "tokens.parquet", TOKENS, [name | row])
        return {"num_documents": 1, "num_tokens": 2}

    return write


def _write_model(out: Path) -> Counts:
    (out / "model").mkdir()
    (out / "model" / "config.json").write_text("{}")
    return {"tokens": 4}


def _write_measures(out: Path) -> Counts:
    measure = {"name": "bits per byte, web", "value": 2.5, "low": 2.0, "high": 3.0}
    (out / "measures.json").write_text(json.dumps([measure | {"baseline": 3.5, "better": "lower"}]))
    return {"measures": 1}
