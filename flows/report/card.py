"""The model card: Markdown with the metadata that the Hugging Face hub reads.

Format: https://huggingface.co/docs/hub/model-cards and `huggingface_hub.ModelCardData`; results go
into its ``model-index``.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from flows.report.record import ModelRecord
from flows.report.sources import Source, total_dropped
from flows.report.training import Measure, Training
from flows.report.wording import clean, code, join, render, show_count, show_number
from pipeline_data.artifact import Artifact

ARCHITECTURE = "Llama, decoder-only"
TASKS = {"reward": "text-classification"}
"""The hub's name of what a model does; the others continue text."""
GENERATION = "text-generation"
HUB_LICENCES = re.compile(r"[a-z0-9][a-z0-9.+-]*")
LANGUAGE = re.compile(r"[a-z]{2,3}")


def render_card(record: ModelRecord) -> str:
    """The model card of a model."""
    return f"---\n{_metadata(record)}---\n\n{_body(record)}"


def languages_of(record: ModelRecord) -> list[str]:
    """The languages identified in the text it was trained on, most documents first."""
    total: dict[str, int] = {}
    for languages in record.corpus.languages.values():
        for language, number in languages.items():
            if language:
                total[language] = total.get(language, 0) + number
    return sorted(total, key=lambda language: (-total[language], language))


def num_unidentified(record: ModelRecord) -> int:
    """Documents that the filters kept without identifying their language."""
    return sum(languages.get("", 0) for languages in record.corpus.languages.values())


def command_name(record: ModelRecord) -> str:
    """What to call the model on the command line."""
    return str(record.names[-1]) if record.names else record.artifact.digest[:12]


def _metadata(record: ModelRecord) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    task = TASKS.get(record.artifact.stage, GENERATION)
    measured = record.trainings[-1]
    results = [
        EvalResult(
            task_type=task,
            dataset_type="held-out",
            dataset_name=f"held-out documents and prompts of {measured.evaluation.stage}",
            dataset_revision=measured.evaluation.digest,
            metric_type=re.sub(r"[^a-z0-9]+", "_", measure.name.lower()).strip("_"),
            metric_name=measure.name,
            metric_value=measure.value,
            metric_args={
                "baseline": measure.baseline,
                "confidence_interval_95": [measure.low, measure.high],
            },
        )
        for measure in measured.measures
        if measured.evaluation
    ]
    licence = (record.provider.model_licence or "unknown").lower()
    is_known = HUB_LICENCES.fullmatch(licence) is not None
    data = ModelCardData(
        language=[name for name in languages_of(record) if LANGUAGE.fullmatch(name)] or None,
        license=licence if is_known else "other",
        license_name=None if is_known else clean(record.provider.model_licence),
        library_name="transformers",
        pipeline_tag=task,
        tags=["headwater", f"headwater-digest:{record.artifact.digest[:12]}"],
        datasets=_hub_datasets(record) or None,
        model_name=f"{record.title}-{record.artifact.digest[:12]}",
        eval_results=results or None,
    )
    return f"{data.to_yaml()}\n"


def _hub_datasets(record: ModelRecord) -> list[str]:
    origins = (origin for source in record.sources for origin in source.origins)
    return sorted({o.name for o in origins if o.kind == "dataset" and o.version})


def _body(record: ModelRecord) -> str:
    tokenizer = record.ancestry.parent(record.base.artifact, "tokenizer")
    current = record.names[-1].version if record.names else None
    return render(
        "card.md.jinja",
        record=record,
        superseded=[n for n in record.names if n.version.superseded_by],
        run=current.run if current else record.artifact.facts.get("run"),
        recipe_line=_recipe_line(record),
        architecture=_architecture(record),
        shape=record.base.artifact.config["model"],
        vocabulary=int(tokenizer[1].counts["vocab_size"]) if tokenizer else 0,
        languages=languages_of(record),
        unidentified=num_unidentified(record),
        compute=_compute(record),
        stages=[_stage_row(training) for training in record.trainings],
        train=record.amount(),
        heldout=record.amount("heldout"),
        seen_total=int(record.base.artifact.counts["tokens"]),
        sources=[_source_row(record, source) for source in record.sources],
        dropped=list(total_dropped(record.sources)),
        masked=masked_line(record),
        unmasked=unmasked(record),
        limits=list(_limits(record)),
        interval=_interval,
        command_name=Markup(command_name(record)),
    )


def _recipe_line(record: ModelRecord) -> Markup | None:
    version = record.names[-1].version if record.names else None
    if version is None or version.recipe is None:
        return None
    digest = f" {version.recipe_digest[:12]}" if version.recipe_digest else ""
    return join([f"{version.recipe}{digest}"])


def _architecture(record: ModelRecord) -> str:
    shape = record.base.artifact.config["model"]
    parts = {"layers": "num_layers", "width": "hidden_size", "attention heads": "num_heads"}
    return ", ".join([ARCHITECTURE, *(f"{name} {shape[key]}" for name, key in parts.items())])


def _compute(record: ModelRecord) -> str:
    """How long training took, and on what."""
    seconds = sum(float(t.artifact.facts.get("seconds", 0.0)) for t in record.trainings)
    facts = [t.artifact.facts for t in record.trainings]
    machines = sorted(
        {f"{f['cores']} cores, {f.get('cpu', f['machine'])}" for f in facts if "cores" in f}
    )
    return f"{seconds:,.1f} s of training on {' and '.join(machines) or 'a machine not on record'}"


def _stage_row(training: Training) -> dict[str, Any]:
    artifact = training.artifact
    return {
        "stage": artifact.stage,
        "digest": artifact.digest,
        "what": list(_work(artifact)),
        "created": artifact.facts.get("created"),
        "seconds": artifact.facts.get("seconds"),
    }


def _work(artifact: Artifact) -> Iterator[str]:
    """What a stage of training did, as whole numbers of its record."""
    names = ("steps", "batch_size", "context", "iterations", "rollouts")
    for name in names:
        if name in artifact.config:
            yield f"{name.replace('_', ' ')} {show_count(artifact.config[name])}"
    for name, value in artifact.counts.items():
        if isinstance(value, int) and name not in names and " " not in name:
            yield f"{name} {show_count(value)}"


def _source_row(record: ModelRecord, source: Source) -> dict[str, Any]:
    counts: Mapping[str, Any] = record.base.artifact.counts
    return {
        "name": source.name,
        "category": source.category,
        "licence": source.licence,
        "description": source.documented.get("description"),
        "homepage": source.documented.get("homepage"),
        "train": record.corpus.amount(source.name),
        "share": counts.get(f"share {source.name}"),
        "epochs": counts.get(f"epochs {source.name}"),
    }


def masked_line(record: ModelRecord) -> Markup | None:
    """How often each kind of personal data was masked; nothing if no filter was asked to."""
    asked = sorted({kind for source in record.sources for kind in source.asked_to_mask})
    total = {kind: sum(source.masked[kind] for source in record.sources) for kind in asked}
    return join(f"{kind} {show_count(number)}" for kind, number in total.items()) or None


def unmasked(record: ModelRecord) -> list[Markup]:
    """The sources of which nothing was masked, or `none`."""
    found = [code(source.name) for source in record.sources if not source.asked_to_mask]
    return found or [Markup("no source")]


def _interval(measure: Measure) -> Markup:
    if measure.low is None or measure.high is None:
        return Markup("")
    return Markup(f"{show_number(measure.low)} to {show_number(measure.high)}")


def _limits(record: ModelRecord) -> Iterator[str]:
    """What the record itself shows to be weak."""
    this = record.trainings[-1]
    weak = [m for m in this.measures if m.verdict in ("worse", "not told apart")]
    if this.measures:
        yield (
            f"Of {show_count(len(this.measures))} measures of this model, {show_count(len(weak))} "
            "are not better than their baseline."
        )
    unknown = [source.name for source in record.sources if source.licence is None]
    if unknown:
        yield f"The licence of {', '.join(unknown)} is not on record."
    if any(exercise.what == "rankings" for exercise in record.exercises):
        yield "Its preferences are those of a stated rule, not of people."
    if not any(source.asked_to_mask for source in record.sources):
        yield "No personal data was masked."
    if unidentified := num_unidentified(record):
        yield f"The language of {show_count(unidentified)} documents was not identified."
    yield "No test for bias, toxicity or memorised text is on record."
