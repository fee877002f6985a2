"""What the lineage benchmark runs in a fresh process of its own: one question, or one build.

    python -m bench.lineage_questions NAME [ARGUMENT]...

The home is that of the environment. Prints one JSON object.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.measure import measure
from flows.home import Home, open_home
from tasks.lineage.catalogue import Catalogue

Answer = dict[str, Any]


def build_catalogue(home: Home) -> Answer:
    """Read every record."""
    catalogue = Catalogue.open(home.open_store())
    ((num_records,),) = catalogue.database.execute("SELECT count(*) FROM artifact")
    return {"num_records": num_records}


def build_index(home: Home) -> Answer:
    """Open catalogue and index of documents, reading what they lack."""
    from tasks.lineage.documents import DocumentIndex

    started = time.perf_counter()
    catalogue = Catalogue.open(home.open_store())
    opened = time.perf_counter()
    DocumentIndex.open(catalogue)
    return {"catalogue": opened - started, "index": time.perf_counter() - opened}


def assess(home: Home, domain: str) -> Answer:
    """What forgetting a domain touches."""
    from tasks.lineage.documents import DocumentIndex
    from tasks.lineage.impact import assess_domain

    impact = assess_domain(DocumentIndex.open(Catalogue.open(home.open_store())), domain)
    return {
        "num_documents": impact.num_documents,
        "num_shards": len(impact.shards),
        "num_models": len(impact.models),
    }


def find(home: Home, *urls: str) -> Answer:
    """Places and trainings of URLs by the index, and how long the search took."""
    from tasks.lineage.documents import DocumentIndex

    index = DocumentIndex.open(Catalogue.open(home.open_store()))
    return answer_by_index(index, urls)


def answer_by_index(index: Any, urls: tuple[str, ...]) -> Answer:
    """Where documents of URLs are and which trainings saw them, as sorted names of both."""
    from tasks.lineage.exposure import steps_of
    from tasks.lineage.reach import find_trainings

    started = time.perf_counter()
    answers = {}
    for url in urls:
        places = index.find_url(url)
        doc_ids = sorted({place.doc_id for place in places})
        seen = [
            [training.key, exposure.doc_id]
            for training in find_trainings(index.catalogue, places)
            for exposure in steps_of(training, doc_ids)
        ]
        answers[url] = {
            "places": sorted([p.artifact.key, p.doc_id] for p in places),
            "seen": sorted(seen),
        }
    return {"answers": answers, "seconds": time.perf_counter() - started}


def scan(home: Home, *urls: str) -> Answer:
    """The same by reading every shard and every training order, with no index."""
    from tasks.lineage.query import ask

    store = Path(home.open_store().root)
    started = time.perf_counter()
    answers: dict[str, Answer] = {url: {"places": [], "seen": []} for url in urls}
    held = [*store.glob("extract/*/*/d*.parquet"), *store.glob("tokenize/*/*/tokens.parquet")]
    rows = ask(
        "SELECT url, doc_id, filename FROM read_parquet($files, filename = true, "
        "union_by_name = true) WHERE url IN $urls",
        {"files": [str(path) for path in held], "urls": list(urls)},
    )
    url_of = {doc_id: url for url, doc_id, _ in rows}
    for url, doc_id, path in rows:
        answers[url]["places"].append([_key_of(store, path), doc_id])
    orders = store.glob("*/*/*/provenance/orders/*/documents.parquet")
    seen = ask(
        "SELECT DISTINCT document, filename FROM read_parquet($files, filename = true, "
        "union_by_name = true) WHERE document IN $documents",
        {"files": [str(path) for path in orders], "documents": [int(d, 16) for d in url_of]},
    )
    for document, path in seen:
        answers[url_of[f"{document:016x}"]]["seen"].append(
            [_key_of(store, path), f"{document:016x}"]
        )
    for answer in answers.values():
        answer["places"].sort()
        answer["seen"].sort()
    return {"answers": answers, "seconds": time.perf_counter() - started}


def _key_of(store: Path, path: str) -> str:
    """The key of the artefact that a file below the store belongs to."""
    stage, folder = Path(path).relative_to(store).parts[:2]
    record = json.loads((store / stage / folder / "artifact.json").read_text(encoding="utf-8"))
    return str(record["key"])


def mirror(home: Home) -> Answer:
    """Log the stage result that reads most shards to an MLflow database that is there."""
    from tasks.tracking.mirror import Mirror

    catalogue = Catalogue.open(home.open_store())
    evaluated = max(catalogue.of_stage("evaluate-base"), key=lambda a: len(a.parents))
    uri = f"sqlite:///{home.path / 'mlflow.db'}"
    mirror = Mirror(catalogue, uri, home.mlflow_artifacts)
    mirror.record("before", {}, {"curriculum": catalogue.of_stage("curriculum")}, {})
    _, usage = measure(mirror.record, "bench", {}, {evaluated.stage: [evaluated]}, {})
    return {"cpu_seconds": usage.cpu_seconds, "num_inputs": len(evaluated.parents)}


QUESTIONS: dict[str, Callable[..., Answer]] = {
    question.__name__: question
    for question in (build_catalogue, build_index, assess, find, scan, mirror)
}

if __name__ == "__main__":
    print(json.dumps(QUESTIONS[sys.argv[1]](open_home(), *sys.argv[2:])))
