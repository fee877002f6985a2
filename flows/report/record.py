"""Everything that the papers of a model say, read from the store's records and shards once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.report.ancestry import Ancestry
from flows.report.corpus import TRAIN, Amount, Corpus, Listing, measure_corpus
from flows.report.settings import Provider
from flows.report.sources import Source, read_sources
from flows.report.training import Exercise, Training, read_exercises, read_trainings
from pipeline_data.artifact import Artifact
from pipeline_data.errors import ArtifactError
from tasks.lineage.catalogue import Catalogue
from tasks.names import Version
from tasks.store import Tombstone

LISTED_SHARE = 0.1
"""The share of crawled domains that a provider must list."""
LISTED_SHARE_OF_SME = 0.05
LISTED_BY_SME = 1_000
"""A small or medium-sized provider: a twentieth, at most a thousand."""


@dataclass(frozen=True)
class NamedVersion:
    """A name that a model has or had."""

    name: str
    version: Version

    def __str__(self) -> str:
        return f"{self.name}@{self.version.version}"


@dataclass(frozen=True)
class ModelRecord:
    """What is on record of one model.

    Attributes:
        names: the names whose version the model is.
        earlier: the versions that these names had before, first to last.
        recipe: all settings of the run that named it; nothing where none is on record.
        sources: of its corpus, in the order of their names.
        corpus: that corpus, as far as its files are there.
        trainings: the stages of training, first to last.
        exercises: what was generated for alignment.
        erased: ancestors whose files are gone, with the reason.
    """

    title: str
    artifact: Artifact
    ancestry: Ancestry
    names: Sequence[NamedVersion]
    earlier: Sequence[NamedVersion]
    recipe: Mapping[str, Any] | None
    provider: Provider
    sources: Sequence[Source]
    corpus: Corpus
    trainings: Sequence[Training]
    exercises: Sequence[Exercise]
    erased: Sequence[tuple[Artifact, Tombstone]]

    @property
    def base(self) -> Training:
        """The pretraining at its root."""
        return self.trainings[0]

    @property
    def created(self) -> str:
        """When the model was finished (ISO 8601)."""
        return str(self.artifact.facts.get("created", ""))

    @property
    def as_of(self) -> str:
        """The time of the latest thing on record about the model (ISO 8601)."""
        times = [str(n.version.date) for n in self.names]
        times += [
            str(t.evaluation.facts.get("created", "")) for t in self.trainings if t.evaluation
        ]
        return max([self.created, *times, *(tombstone.date for _, tombstone in self.erased)])

    def erasure(self, artifact: Artifact) -> Tombstone | None:
        """Why the files of an ancestor are gone, if they are."""
        found = (t for erased, t in self.erased if erased.key == artifact.key)
        return next(found, None)

    @property
    def trained_on(self) -> list[Source]:
        """The sources that training drew from; the mixture may leave out others of the corpus."""
        return [source for source in self.sources if self.seen_tokens(source.name) is not None]

    def seen_tokens(self, source: str) -> int | None:
        """Tokens of a source that pretraining saw, repeats included; nothing if it saw none."""
        seen = self.base.artifact.counts.get(f"tokens {source}")
        return None if seen is None else int(seen)

    def amount(self, split: str = TRAIN) -> Amount:
        """The text of all sources that training drew from."""
        return sum((self.corpus.amount(s.name, split) for s in self.trained_on), Amount())

    def in_category(self, *categories: str | None) -> list[Source]:
        """The sources come by in one of these ways."""
        return [source for source in self.sources if source.category in categories]

    def latest_acquisition(self) -> str | None:
        """When the last of its texts was fetched or obtained (ISO 8601), as far as is known."""
        ends = [end for _, end in self.corpus.periods.values()]
        obtained = [o.obtained for s in self.sources for o in s.origins if o.obtained]
        return max([*ends, *obtained], default=None)


def read_record(catalogue: Catalogue, artifact: Artifact) -> ModelRecord:
    """Read what is on record of a model.

    Raises:
        ArtifactError: it is no model, or a record of its ancestry is gone.
    """
    ancestry = Ancestry.read(catalogue, artifact)
    trainings = read_trainings(catalogue, ancestry)
    if not trainings or trainings[-1].artifact.key != artifact.key:
        known = ", ".join(n for n in catalogue.store.names() if n != "corpus") or "none yet"
        raise ArtifactError(f"{artifact.label} is no model (models with a name: {known})")
    names = list(_names_of(catalogue, artifact))
    recipes = _recipes(catalogue, trainings, names)
    provider = _read_provider(recipes[0] if recipes else {})
    sources = read_sources(ancestry, recipes)
    erased = [(a, t) for a in ancestry.artifacts if (t := catalogue.erasure(a))]
    return ModelRecord(
        title=names[-1].name if names else artifact.stage,
        artifact=artifact,
        ancestry=ancestry,
        names=names,
        earlier=list(_earlier(catalogue, names)),
        recipe=recipes[0] if recipes else None,
        provider=provider,
        sources=sources,
        corpus=_measure(catalogue, ancestry, sources, provider, {a.key for a, _ in erased}),
        trainings=trainings,
        exercises=read_exercises(ancestry),
        erased=erased,
    )


def _read_provider(recipe: Mapping[str, Any]) -> Provider:
    """What a recipe says of the provider; it was checked when it was loaded, by its own rules."""
    section = recipe.get("provider") or {}
    return Provider.model_construct(
        **{n: v for n, v in section.items() if n in Provider.model_fields}
    )


def _names_of(catalogue: Catalogue, artifact: Artifact) -> Iterator[NamedVersion]:
    """Every version of every name that this content is."""
    for name in catalogue.store.names():
        for version in catalogue.store.registry.versions(name):
            if (version.stage, version.digest) == (artifact.stage, artifact.digest):
                yield NamedVersion(name, version)


def _earlier(catalogue: Catalogue, names: Sequence[NamedVersion]) -> Iterator[NamedVersion]:
    """The versions before those of ``names``, by the same names."""
    first = {named.name: named.version.version for named in reversed(names)}
    for name, number in first.items():
        for version in catalogue.store.registry.versions(name):
            if version.version < number:
                yield NamedVersion(name, version)


def _recipes(
    catalogue: Catalogue, trainings: Sequence[Training], names: Sequence[NamedVersion]
) -> list[dict[str, Any]]:
    """The recipes on record: the model's own first, then those of the models it was made of.

    A run of alignment alone may name other sources than the run that made the base.
    """
    of_ancestors = [n for t in reversed(trainings) for n in _names_of(catalogue, t.artifact)]
    digests = [n.version.recipe_digest for n in [*reversed(names), *of_ancestors]]
    wanted = dict.fromkeys(digest for digest in digests if digest)
    return [catalogue.store.registry.load_recipe(digest) for digest in wanted]


def _measure(
    catalogue: Catalogue,
    ancestry: Ancestry,
    sources: Sequence[Source],
    provider: Provider,
    erased: set[str],
) -> Corpus:
    def local(stage: str) -> list[Artifact]:
        found = [a for a in ancestry.of_stage(stage) if a.key not in erased]
        return [catalogue.store.fetch(artifact) for artifact in found]

    crawled = [source.name for source in sources if source.category == "crawl"]
    listing = (
        Listing(crawled, LISTED_SHARE_OF_SME, LISTED_BY_SME)
        if provider.is_sme
        else Listing(crawled, LISTED_SHARE)
    )
    return measure_corpus(local("tokenize"), local("filter"), local("extract"), listing)
