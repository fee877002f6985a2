"""``headwater report``: a model's papers, made from the store's record alone.

Each format is a module of its own over one :class:`flows.report.record.ModelRecord`, and the same
record gives the same bytes. What the record does not hold is said to be missing, with how to
record it.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.commands import add_command
from flows.home import Home, open_home
from flows.lineage import open_catalogue
from pipeline_data.errors import HeadwaterError

if TYPE_CHECKING:
    from flows.report.record import ModelRecord
    from pipeline_data.artifact import Artifact
    from tasks.lineage.catalogue import Catalogue

FILES = {
    "card": "model-card.md",
    "summary": "training-content-summary.md",
    "domains": "domains.csv",
    "bom": "ml-bom.cdx.json",
    "croissant": "croissant.json",
    "openlineage": "openlineage.jsonl",
}
"""The papers by the name of their format, and the file each is written to."""


def add_report(commands: Any) -> None:
    """The parser of ``headwater report``."""
    report = add_command(
        commands,
        "report",
        report_model,
        "a model's papers: card, EU training-content summary, ML-BOM, Croissant, OpenLineage",
    )
    report.add_argument("model", nargs="?", default="assistant", help="a name, or digest's start")
    report.add_argument("--to", type=Path, metavar="FOLDER", help="where to write (<home>/reports)")
    report.add_argument("--format", choices=FILES, help="print this one instead")
    report.add_argument("--openlineage", metavar="URL", help="send the events to this receiver")


def report_model(options: argparse.Namespace) -> int:
    """``headwater report``."""
    home = open_home()
    if options.format and (options.to or options.json or options.openlineage):
        raise HeadwaterError(
            "report: --format prints one paper: leave out --to, --json and --openlineage"
        )
    if options.openlineage and options.to:
        raise HeadwaterError("report: --openlineage writes no files: leave out --to")
    record = _read(home, options.model)
    if options.format:
        sys.stdout.write(_renderers()[options.format](record))
        return 0
    report: dict[str, Any] = {"model": options.model, "digest": record.artifact.digest}
    if options.openlineage:
        from flows.report.events import send_events

        report |= {"events": send_events(record, options.openlineage), "to": options.openlineage}
    else:
        folder = options.to or _default_folder(home, record)
        report |= {"folder": str(folder), "files": write_papers(record, folder)}
    print(json.dumps(report) if options.json else "\n".join(_lines(report)))
    return 0


def render_card(catalogue: "Catalogue", artifact: "Artifact") -> str:
    """The model card of a model, for whoever has a catalogue open.

    Raises:
        ArtifactError: it is no model, or a record of its ancestry is gone.
    """
    from flows.report.card import render_card as render
    from flows.report.record import read_record

    return render(read_record(catalogue, artifact))


def write_papers(record: "ModelRecord", folder: Path) -> dict[str, str]:
    """Write every paper of a model into a folder; returns the file of each.

    Raises:
        HeadwaterError: the folder cannot be written to.
    """
    papers = {name: render(record) for name, render in _renderers().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in papers.items():
            (folder / FILES[name]).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise HeadwaterError(
            f"report: {folder} cannot be written to ({error.strerror}): name another by --to"
        ) from None
    return {name: str(folder / FILES[name]) for name in papers}


def _read(home: Home, model: str) -> "ModelRecord":
    from flows.report.record import read_record

    catalogue = open_catalogue(home.open_store())
    return read_record(catalogue, catalogue.named(model))


def _renderers() -> Mapping[str, Callable[["ModelRecord"], str]]:
    from flows.report import bom, card, croissant, events, summary

    return {
        "card": card.render_card,
        "summary": summary.render_summary,
        "domains": summary.render_domains,
        "bom": bom.render_bom,
        "croissant": croissant.render_croissant,
        "openlineage": events.render_events,
    }


def _default_folder(home: Home, record: "ModelRecord") -> Path:
    return home.path / "reports" / f"{record.title}-{record.artifact.digest[:12]}"


def _lines(report: Mapping[str, Any]) -> list[str]:
    if "events" in report:
        return [f"{report['events']} events of {report['model']} sent to {report['to']}"]
    return [f"{name:<12} {path}" for name, path in report["files"].items()]
