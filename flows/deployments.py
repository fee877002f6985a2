"""What ``prefect.yaml`` says, brought to the server; what a person changed there stays.

``prefect deploy --all`` by itself would switch off each schedule that was switched on in the UI.
So the file is deployed when it or the flows have changed since the last time, or the server lacks
something; and with schedules, parameters and triggers as the server has them, unless they were
changed in the file.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import yaml

from flows.home import Home
from flows.recipe import recipe_names
from flows.servers import ServersError, server_logs

PROJECT = Path(__file__).resolve().parents[1]
FILE = PROJECT / "prefect.yaml"
SOURCES = ("flows", "tasks")
"""Folders whose code decides what the run forms look like."""
Entry = dict[str, Any]
_DEPLOY = (sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all")


@dataclass(frozen=True)
class Deploying:
    """A ``prefect deploy`` under way."""

    process: "subprocess.Popen[bytes]"
    log: Path
    record: Path
    deployed: Mapping[str, Any]

    def has_ended(self) -> bool:
        """Whether it is done; if so, what was deployed is written down.

        Raises:
            ServersError: it has failed.
        """
        status = self.process.poll()
        if status is None:
            return False
        if status != 0:
            raise ServersError(f"{FILE} cannot be deployed (log: {self.log})")
        temporary = self.record.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.deployed, indent=1), encoding="utf-8")
        temporary.replace(self.record)
        return True


def start_deploying(
    home: Home, client: httpx.Client, environment: Mapping[str, str]
) -> Deploying | None:
    """Start to deploy the project's file; none when the server has it all as it is.

    Args:
        client: speaks to the server's API.

    Raises:
        ServersError: the file cannot be read.
    """
    plan = read_file()
    entries = {_name(entry): entry for entry in plan["deployments"]}
    record = home.path / "deployments.json"
    before = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    there = {
        _name(d): d for d in client.post("deployments/filter", json={}).raise_for_status().json()
    }
    deployed = {"fingerprint": _fingerprint(), "entries": entries}
    if before.get("fingerprint") == deployed["fingerprint"] and entries.keys() <= there.keys():
        return None
    plan["deployments"] = [
        _keep_changes(client, entry, before.get("entries", {}).get(name, {}), there[name])
        if name in there
        else entry
        for name, entry in entries.items()
    ]
    file = home.path / "prefect.yaml"
    file.write_text(yaml.safe_dump(plan, sort_keys=False), encoding="utf-8")
    log = server_logs(home) / "deployments.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_DEPLOY, "--prefect-file", str(file)],
            cwd=PROJECT,  # where flow runs are to find their code
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Deploying(process, log, record, deployed)


def read_file() -> Entry:
    """The project's ``prefect.yaml``.

    Raises:
        ServersError: there is none, or it is not YAML.
    """
    try:
        plan: Entry = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ServersError(
            f"{FILE} is missing: run headwater from a checkout, installed with 'pip install -e'"
        ) from None
    except yaml.YAMLError as error:
        raise ServersError(f"{FILE}: {str(error).replace(chr(10), ' ')}") from None
    return plan


def _name(deployment: Mapping[str, Any]) -> str:
    return f"{deployment['entrypoint']} {deployment['name']}"


def _fingerprint() -> str:
    """Of all that the outcome of a deployment depends on."""
    digest = hashlib.sha256(f"{PROJECT} {version('prefect')} {recipe_names()}".encode())
    sources = [
        path
        for folder in SOURCES
        for path in sorted((PROJECT / folder).rglob("*"))
        if path.suffix in (".py", ".yaml")
    ]
    for path in [FILE, *sources]:
        digest.update(f"\n{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _keep_changes(client: httpx.Client, entry: Entry, before: Entry, there: Entry) -> Entry:
    """The file's entry with what was changed on the server, where the file itself was not."""
    kept = dict(entry)
    if entry.get("parameters") == before.get("parameters"):
        kept["parameters"] = there["parameters"]
    if entry.get("schedules") == before.get("schedules"):
        kept.pop("schedules", None)  # then Prefect leaves them alone
    elif "schedules" in entry:
        kept["schedules"] = merge_schedules(entry, before, there)
    if "triggers" in entry:
        found = client.get(f"automations/related-to/prefect.deployment.{there['id']}")
        enabled = {a["name"]: a["enabled"] for a in found.raise_for_status().json()}
        ours, old = entry["triggers"], before.get("triggers", [])
        kept["triggers"] = _switched(ours, old, "name", "enabled", enabled)
    return kept


def merge_schedules(entry: Entry, before: Entry, there: Entry) -> list[Entry]:
    """The file's schedules, switched on or off as they are, and those that people have added."""
    active = {schedule["slug"]: schedule["active"] for schedule in there["schedules"]}
    ours = _switched(entry["schedules"], before.get("schedules", []), "slug", "active", active)
    known = {schedule.get("slug") for schedule in [*ours, *before.get("schedules", [])]}
    added = [
        {**s["schedule"], "active": s["active"], "parameters": s["parameters"], "slug": s["slug"]}
        for s in there["schedules"]
        if s["slug"] is None or s["slug"] not in known
    ]
    return [*ours, *added]


def _switched(
    ours: Sequence[Entry], before: Sequence[Entry], name: str, flag: str, there: Mapping[str, bool]
) -> list[Entry]:
    """Schedules or triggers of the file, on or off as on the server but where the file changed."""
    old = {item.get(name): item.get(flag) for item in before}
    return [
        {**item, flag: there[item[name]]}
        if item.get(name) in there and old.get(item[name], item.get(flag)) == item.get(flag)
        else item
        for item in ours
    ]
