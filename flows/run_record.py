"""What a pipeline run did: kept as one JSON file a run, shown by ``headwater status``."""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline_data.artifact import Artifact
from pipeline_data.errors import HeadwaterError
from pipeline_data.formats import read_jsonl
from tasks.observer import Observer
from tasks.stages import STAGES

Record = dict[str, Any]


class Tally(Observer):
    """Observes a run and counts what was executed and what was reused, stage by stage."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self.artifacts: dict[str, dict[str | None, Artifact]] = {name: {} for name in STAGES}
        self.num_executed: dict[str, int] = dict.fromkeys(STAGES, 0)
        self.notes: list[str] = []
        self.corpus_report: str | None = None

    def reused(self, stage: str, shard: str | None, artifact: Artifact) -> None:
        """Count a cached result."""
        with self._lock:
            self.artifacts[stage].setdefault(shard, artifact)

    def executed(self, stage: str, shard: str | None, artifact: Artifact) -> None:
        """Count a new result."""
        with self._lock:
            self.artifacts[stage][shard] = artifact
            self.num_executed[stage] += 1

    def skipped(self, what: str, why: str) -> None:
        """Keep the note."""
        with self._lock:
            self.notes.append(f"{what}: {why}")

    def in_order(self) -> dict[str, list[Artifact]]:
        """Artefacts by stage in the order of the pipeline, shards by name."""
        return {
            stage: [shards[name] for name in sorted(shards, key=lambda n: n or "")]
            for stage, shards in self.artifacts.items()
            if shards
        }

    def record(self, run: str, recipe: str, model_digest: str | None) -> Record:
        """The record of the run, in the shape of ``headwater status --json``."""
        measures = stage_measures(self.in_order())
        stages = []
        for stage, artifacts in self.in_order().items():
            num_executed = self.num_executed[stage]
            stages.append(
                {
                    "name": stage,
                    "shards": len(artifacts),
                    "executed": num_executed,
                    "cached": len(artifacts) - num_executed,
                    "seconds": round(sum(a.facts.get("seconds", 0.0) for a in artifacts), 1),
                    "measures": measures.get(stage, []),
                }
            )
        return {
            "run": run,
            "recipe": recipe,
            "model_digest": model_digest,
            "corpus_report": self.corpus_report,
            "executed": sum(s["executed"] for s in stages),
            "cached": sum(s["cached"] for s in stages),
            "seconds": round(time.monotonic() - self._started, 1),
            "stages": stages,
            "notes": [*self.notes, *damage_notes(self.in_order().get("extract", []))],
            "samples": model_answers(self.in_order()),
        }


def damage_notes(extracted: Sequence[Artifact]) -> Iterator[str]:
    """One line for each raw shard of which something could not be read."""
    for artifact in extracted:
        num_damaged = artifact.counts.get("num_dropped_damaged", 0)
        if num_damaged:
            lost = int(artifact.counts["num_lost_bytes"])
            yield (
                f"{artifact.shard}: {num_damaged} damaged records, {lost:,} bytes passed over; "
                "headwater sql \"SELECT * FROM dropped WHERE rule = 'damaged'\""
            )


def stage_measures(artifacts: Mapping[str, list[Artifact]]) -> dict[str, list[dict[str, Any]]]:
    """The held-out measures by the stage whose result they are about."""
    measures: dict[str, list[dict[str, Any]]] = {}
    for stage, found in artifacts.items():
        subject = STAGES[stage].measures
        if subject:
            for artifact in found:
                text = artifact.path("measures.json").read_text(encoding="utf-8")
                measures.setdefault(subject, []).extend(json.loads(text))
    return measures


def model_answers(artifacts: Mapping[str, list[Artifact]]) -> list[dict[str, Any]]:
    """The same few test prompts, each with what every model answers."""
    answers: dict[str, dict[str, str]] = {}
    for stage, found in artifacts.items():
        for artifact in found if STAGES[stage].measures else ():
            path = artifact.directory / "samples.jsonl"
            for row in read_jsonl(path) if path.is_file() else ():
                answers.setdefault(row["prompt"], {})[row["model"]] = row["answer"]
    return [{"prompt": prompt, "answers": texts} for prompt, texts in answers.items()]


def save_record(folder: Path, record: Record) -> Path:
    """Write the record under the run's name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['run']}.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
    temporary.replace(path)
    return path


def read_record(folder: Path, run: str) -> Record:
    """The record of a run that has finished."""
    record: Record = json.loads((folder / f"{run}.json").read_text(encoding="utf-8"))
    return record


def last_record(folder: Path) -> Record:
    """The record of the last run that finished.

    Raises:
        HeadwaterError: there is none.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise HeadwaterError("no run has finished here yet: start one with 'headwater run'")
    return read_record(folder, paths[-1].stem)
