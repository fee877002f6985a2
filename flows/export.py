"""``headwater export``: a model as a folder that carries its lineage with it."""

import argparse
import json
from pathlib import Path
from typing import Any

from flows.commands import add_command
from flows.home import open_home
from flows.lineage import open_catalogue


def add_export(commands: Any) -> None:
    """The subcommand."""
    export = add_command(
        commands, "export", export_folder, "write a model folder that carries its lineage"
    )
    export.add_argument("model", help="a model's name, name@version, or the start of its digest")
    export.add_argument("folder", type=Path, help="a folder that is empty or not there")
    export.add_argument("--sign", type=Path, metavar="KEY.pem", help="private key to sign with")


def export_folder(options: argparse.Namespace) -> int:
    """``headwater export``."""
    from flows.report.card import render_card
    from flows.report.record import read_record
    from tasks.lineage.export import export_model
    from tasks.lineage.page.page import render_lineage

    catalogue = open_catalogue(open_home().open_store())
    model = catalogue.named(options.model)
    documents = {
        "README.md": render_card(read_record(catalogue, model)),
        "lineage/lineage.html": render_lineage(catalogue, model),
    }
    written = export_model(catalogue, model, options.folder, documents, options.sign)
    answer = {
        "folder": str(options.folder),
        "model": options.model,
        "digest": model.digest,
        "records": written.num_records,
        "bytes": written.num_bytes,
        "chain": written.chain,
        "signed": options.sign is not None,
    }
    if options.json:
        print(json.dumps(answer))
        return 0
    print(
        f"{options.folder}: {model.label}, {written.num_bytes / 1e6:,.1f} MB, "
        f"{written.num_records} records, chain {written.chain[:12]}"
    )
    print(f"next: headwater verify {options.folder}")
    return 0
