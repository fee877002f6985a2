"""What forgetting a page, a host or a raw file touches: shards, documents, tokens and models.

Read from the index of documents and the training orders alone, so it costs as much as what is
touched and not as much as the store holds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline_data.artifact import Artifact
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.documents import HOST, DocumentIndex
from tasks.lineage.exposure import Coverage, steps_of_all
from tasks.lineage.query import ask, ask_table
from tasks.lineage.reach import is_model, name_artifacts

HOLDERS = ("extract", "tokenize")
"""The stages whose results hold documents by address."""


@dataclass(frozen=True)
class TouchedShard:
    """A shard and what of the target its last result that holds any has."""

    shard: str
    num_documents: int
    num_tokens: int


@dataclass(frozen=True)
class TouchedModel:
    """A trained model that saw the target, or was made of one that did.

    Attributes:
        versions: names and numbers it goes by, such as ``assistant@2``.
        names: those of them that mean it now.
        coverage: its own steps that saw the target; only looked up where a name needs it.
    """

    artifact: Artifact
    versions: Sequence[str]
    names: Sequence[str]
    coverage: Sequence[Coverage]


@dataclass(frozen=True)
class Impact:
    """All that a target touches.

    Attributes:
        holders: the results of extraction and tokenization that hold its documents.
    """

    holders: Sequence[Artifact] = ()
    shards: Sequence[TouchedShard] = ()
    models: Sequence[TouchedModel] = ()

    @property
    def num_documents(self) -> int:
        """Documents of the target."""
        return sum(shard.num_documents for shard in self.shards)

    @property
    def num_tokens(self) -> int:
        """Tokens in token shards that come of it."""
        return sum(shard.num_tokens for shard in self.shards)

    @property
    def names(self) -> list[str]:
        """The names that mean a model which it is in."""
        return sorted({name for model in self.models for name in model.names})


@dataclass
class _Held:
    """What one artefact holds of a target; its documents only where the index names them."""

    artifact: Artifact
    num_documents: int = 0
    num_tokens: int = 0
    documents: list[int] = field(default_factory=list)


def assess_url(index: DocumentIndex, url: str) -> Impact:
    """What a page touches, by its address as it is spelt in the corpus."""
    held: dict[tuple[str, str], _Held] = {}
    for place in index.find_url(url):
        found = held.setdefault(_key(place.artifact), _Held(place.artifact))
        found.num_documents += 1
        found.num_tokens += place.num_tokens or 0
        found.documents.append(int(place.doc_id, 16))
    return _assess(index.catalogue, held.values(), lambda holders: _named(held, holders))


def assess_domain(index: DocumentIndex, domain: str) -> Impact:
    """What a host with all its subdomains touches."""
    held: dict[tuple[str, str], _Held] = {}
    for place in index.find_domain(domain):
        found = held.setdefault(_key(place.artifact), _Held(place.artifact))
        found.num_documents += place.num_documents
        found.num_tokens += place.num_tokens
    return _assess(
        index.catalogue, held.values(), lambda holders: index.find_domain_documents(domain)
    )


def assess_shard(catalogue: Catalogue, shard: str) -> Impact:
    """What a whole raw file touches, by the name of its shard."""
    held = [
        _Held(a, int(a.counts.get("num_documents", 0)), int(a.counts.get("num_tokens", 0)))
        for stage in HOLDERS
        for a in catalogue.of_stage(stage)
        if a.shard == shard and catalogue.erasure(a) is None
    ]
    return _assess(catalogue, held, lambda holders: _read_documents(catalogue, holders))


def list_urls(catalogue: Catalogue, holders: Iterable[Artifact], domain: str = "") -> list[str]:
    """The addresses of all pages that these artefacts kept or dropped; on one host if named."""
    extracted = [holder for holder in holders if holder.stage == "extract"]
    files = _files_of(catalogue, extracted, "documents.parquet", "dropped.parquet")
    if not files:
        return []
    host = domain.lower().strip(".")
    query = f"SELECT DISTINCT url FROM read_parquet($files) WHERE {_WITHIN} ORDER BY url"
    return [url for (url,) in ask(query, {"files": files, "domain": host})]


_Find = Callable[[Sequence[Artifact]], pa.Array]
"""The numbers of the target's documents in token shards."""
_WITHIN = f"ends_with('.' || {HOST}, '.' || $domain) OR $domain = ''"


def _assess(catalogue: Catalogue, held: Iterable[_Held], find: _Find) -> Impact:
    found = [h for h in held if h.artifact.stage in HOLDERS]
    tokenized = [h.artifact for h in found if h.artifact.stage == "tokenize" and h.num_documents]
    return Impact(
        [h.artifact for h in found],
        _last_of_each_shard(catalogue, found),
        _touched_models(catalogue, tokenized, find),
    )


def _last_of_each_shard(catalogue: Catalogue, held: Sequence[_Held]) -> list[TouchedShard]:
    last = {
        (h.artifact.shard or "", h.artifact.stage): h
        for h in sorted(held, key=lambda h: catalogue.created(h.artifact))
    }
    touched = []
    for shard in sorted({shard for shard, _ in last}):
        found = [h for stage in HOLDERS if (h := last.get((shard, stage)))]
        touched.append(
            TouchedShard(
                shard,
                max(h.num_documents for h in found),
                max(h.num_tokens for h in found),
            )
        )
    return touched


def _touched_models(
    catalogue: Catalogue, tokenized: Sequence[Artifact], find: _Find
) -> list[TouchedModel]:
    """The models below token shards, nearest first."""
    trained = {_key(a): a for a in catalogue.descendants(tokenized) if is_model(a)}
    if not trained:
        return []
    names, in_use = name_artifacts(catalogue)
    needed = _needed(trained, [key for key, a in trained.items() if a.key in in_use])
    inputs = {parent.digest for key in needed for parent in trained[key].parents}
    documents = find([a for a in tokenized if a.digest in inputs]) if needed else None
    return [
        TouchedModel(
            artifact,
            names.get(artifact.key, ()),
            in_use.get(artifact.key, ()),
            steps_of_all(catalogue.store.fetch(artifact), documents) if key in needed else (),
        )
        for key, artifact in trained.items()
    ]


def _needed(
    trained: Mapping[tuple[str, str], Artifact], used: Sequence[tuple[str, str]]
) -> set[tuple[str, str]]:
    """The models in use, and those of the others that they were made of."""
    by_content = {(a.stage, a.digest): key for key, a in trained.items()}
    needed: set[tuple[str, str]] = set()
    queue = list(used)
    while queue:
        key = queue.pop()
        if key not in needed:
            needed.add(key)
            parents = trained[key].parents
            queue += [k for p in parents if (k := by_content.get((p.stage, p.digest)))]
    return needed


def _named(held: Mapping[tuple[str, str], _Held], holders: Sequence[Artifact]) -> pa.Array:
    numbers = {number for holder in holders for number in held[_key(holder)].documents}
    return pa.array(sorted(numbers), pa.uint64())


def _read_documents(catalogue: Catalogue, holders: Sequence[Artifact]) -> pa.Array:
    files = _files_of(catalogue, holders, "tokens.parquet")
    query = "SELECT DISTINCT ('0x' || doc_id)::UBIGINT AS document FROM read_parquet($files)"
    return ask_table(query, {"files": files})["document"].combine_chunks() if files else []


def _files_of(catalogue: Catalogue, holders: Iterable[Artifact], *names: str) -> list[str]:
    local = [catalogue.store.fetch(holder) for holder in holders]
    return [str(holder.path(name)) for holder in local for name in names]


def _key(artifact: Artifact) -> tuple[str, str]:
    return (artifact.stage, artifact.key)
