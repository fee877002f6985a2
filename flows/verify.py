"""``headwater verify`` and ``headwater sign``: is a lineage what it was, and who says so."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.commands import add_command
from flows.home import Home, open_home
from flows.lineage import open_catalogue
from pipeline_data.errors import ArtifactError

if TYPE_CHECKING:
    from tasks.lineage.catalogue import Catalogue
    from tasks.lineage.verification.finding import Findings
    from tasks.lineage.verification.verification import Verification

Answer = dict[str, Any]
NUM_SHOWN = 100
QUIET_SECONDS = 2.0
SHOW_SECONDS = 0.5
PROBE_SECONDS = 5.0


def add_verify(commands: Any) -> None:
    """The subcommands."""
    verify = add_command(
        commands, "verify", show_verification, "check every byte and record of a lineage"
    )
    model = "a model's name, name@version, the start of its digest, or an exported folder"
    verify.add_argument("model", nargs="?", default="assistant", help=f"{model} (assistant)")
    verify.add_argument("--all", action="store_true", help="every version of every name")
    verify.add_argument(
        "--key", type=Path, metavar="PUB.pem", help="require a signature that this key checks"
    )
    verify.add_argument(
        "--no-mlflow", dest="mlflow", action="store_false", help="leave MLflow's record alone"
    )
    sign = add_command(commands, "sign", sign_model, "verify a model's lineage, then sign it")
    sign.add_argument("model", nargs="?", default="assistant", help="a model's name (assistant)")
    sign.add_argument("--key", type=Path, required=True, metavar="KEY.pem", help="private key")
    sign.add_argument("--new-key", action="store_true", help="make the key first")


def show_verification(options: argparse.Namespace) -> int:
    """``headwater verify``."""
    from tasks.lineage.exported_folder import is_exported
    from tasks.lineage.verification.model_check import all_versions, verify_models

    if os.sep in options.model or is_exported(Path(options.model)):
        return _show_folder(options)
    home = open_home()
    catalogue = open_catalogue(home.open_store())
    models = all_versions(catalogue) if options.all else [options.model]
    result = verify_models(catalogue, models, options.key, progress_of_bytes())
    if options.mlflow:
        result.extend(compare_mlflow(home, catalogue, result))
    num_artifacts = len(result.artifacts)
    answer = {"artifacts": num_artifacts, "bytes": result.num_bytes, "seconds": result.seconds}
    _show(options, f"{num_artifacts} artefacts", answer, result)
    return 1 if result.problems else 0


def _show_folder(options: argparse.Namespace) -> int:
    from tasks.lineage.exported_folder import verify_folder

    result = verify_folder(Path(options.model), options.key, progress_of_bytes())
    if result.is_signed and not options.key:
        result.notes.append("it is signed; --key checks by whom")
    answer = {
        "artifacts": result.num_records,
        "bytes": result.num_bytes,
        "seconds": result.seconds,
        "model": dict(result.model),
        "chain": result.chain,
    }
    _show(options, f"{result.num_records} records, chain {result.chain[:12]}", answer, result)
    return 1 if result.problems else 0


def _show(
    options: argparse.Namespace, what: str, answer: dict[str, Any], found: "Findings"
) -> None:
    """Print what was found; ``answer``: bytes and seconds, and more for programs."""
    if options.json:
        lines = {"problems": [str(p) for p in found.problems], "notes": found.notes}
        print(json.dumps(answer | lines | {"findings": [asdict(p) for p in found.problems]}))
        return
    for problem in found.problems[:NUM_SHOWN]:
        print(problem)
    if len(found.problems) > NUM_SHOWN:
        print(f"and {len(found.problems) - NUM_SHOWN} more: --json lists all")
    for note in found.notes[:NUM_SHOWN]:
        print(f"note: {note}")
    num_problems = len(found.problems)
    state = f"{num_problems} problem{'s' * (num_problems > 1)}" if num_problems else "all sound"
    megabytes, seconds = answer["bytes"] / 1e6, answer["seconds"]
    rate = f"{megabytes / max(seconds, 1e-9):,.0f} MB/s"
    print(f"{what}, {megabytes:,.1f} MB: {state} ({seconds:.1f} s, {rate})")


def compare_mlflow(home: Home, catalogue: "Catalogue", result: "Verification") -> "Findings":
    """Where MLflow's record of models and all they were made of differs from the store's.

    An MLflow that is not there is noted; it is no record, but a mirror of the store.
    """
    from tasks.lineage.verification.finding import Finding, Findings

    found = Findings()
    uri = home.tracking_uri
    database = uri.removeprefix("sqlite:///")
    if database != uri and not Path(database).exists():
        found.notes.append(f"MLflow has no record yet ({uri}): not compared")
        return found
    try:
        if uri.startswith("http"):
            import httpx

            httpx.get(f"{uri}/health", timeout=PROBE_SECONDS).raise_for_status()
        from tasks.tracking.check import disagreements
        from tasks.tracking.entry import is_model

        models = [m for m in result.models.values() if is_model(m) and not catalogue.erasure(m)]
        lines = [line for model in models for line in disagreements(catalogue, model, uri)]
        for line in dict.fromkeys(lines):  # models share most of what they were made of
            what, _, mend = line.rpartition(": ")
            subject, _, what = what.rpartition(": ")
            found.problems.append(Finding("mlflow", subject or "MLflow", what, uri, mend))
    except Exception as error:  # any backend's
        reason = str(error).partition("\n")[0]
        found.notes.append(f"MLflow cannot be asked ({reason}): not compared")
    return found


def sign_model(options: argparse.Namespace) -> int:
    """``headwater sign``."""
    from tasks.lineage.verification.chain_signature import sign_chain
    from tasks.lineage.verification.model_check import verify_models
    from tasks.lineage.verification.signing import create_key, key_id

    if options.new_key:
        public = create_key(options.key)
        print(f"made {options.key}, and {public} to give to others", file=sys.stderr)
    signer = key_id(options.key)
    catalogue = open_catalogue(open_home().open_store())
    result = verify_models(catalogue, [options.model], None, progress_of_bytes())
    if result.problems:
        num_more = len(result.problems) - 1
        more = f" (and {num_more} more: headwater verify {options.model})" if num_more else ""
        raise ArtifactError(f"not signed: {result.problems[0]}{more}")
    place = sign_chain(catalogue, result.models[options.model], options.key)
    if options.json:
        print(json.dumps({"model": options.model, "key": signer, "signature": place}))
    else:
        print(f"{len(result.artifacts)} records signed with key {signer}: {place}")
    return 0


def progress_of_bytes() -> Callable[[int, int], None]:
    """Shows on standard error how much was read, and how fast, once that takes two seconds."""
    started = time.monotonic()
    shown = started + QUIET_SECONDS - SHOW_SECONDS

    def show(done: int, total: int) -> None:
        nonlocal shown
        moment = time.monotonic()
        if moment - shown < SHOW_SECONDS and not (
            done == total and shown > started + QUIET_SECONDS
        ):
            return
        shown = moment
        rate = done / (moment - started)
        text = f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB read, {rate / 1e6:,.0f} MB/s"
        print(text, end="\n" if done == total else "\r", file=sys.stderr, flush=True)

    return show
