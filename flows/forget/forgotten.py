"""The pages, hosts and raw files that a home has forgotten: part of the blocklist of every recipe.

    <home>/forgotten.jsonl     {"target", "kind", "reason", "date", "erased", "left_in", "part_of"}

The file says by whom nothing of this home may be learnt from any more, since when and why. It is
written in one piece, so whatever stops it leaves the old list or the new one.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pipeline_data.errors import RecipeError

if TYPE_CHECKING:  # a recipe's parts take time to import, and only recipes need them
    from flows.blocklist import Blocklist

FILE = "forgotten.jsonl"
Kind = Literal["url", "domain", "file"]


@dataclass(frozen=True)
class Forgotten:
    """One entry of the list.

    Attributes:
        target: an address, a host (with its subdomains), or the name of a raw file's shard.
        date: when it was forgotten (ISO 8601); ``erased``: when its bytes were, if they were.
        left_in: shards of raw files outside the store, which are not ours to change; since then
            they are read without these pages.
        part_of: the raw shard that was named, where this is one of its pages.
    """

    target: str
    kind: Kind
    reason: str
    date: str
    erased: str | None = None
    left_in: tuple[str, ...] = ()
    part_of: str | None = None

    def concerns(self, urls: Iterable[str]) -> bool:
        """Whether one of these addresses is what was forgotten, or lies within it."""
        if self.kind == "url":
            return self.target in urls
        hosts = (urlsplit(url).hostname or "" for url in urls)
        return self.kind == "domain" and any(
            f".{host}".endswith(f".{self.target.lower()}") for host in hosts
        )


def read_forgotten(home: Path) -> list[Forgotten]:
    """The list of a home, first to last.

    Raises:
        RecipeError: a line is none of the list's.
    """
    path = home / FILE
    if not path.is_file():
        return []
    entries = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            values = json.loads(line)
            entry = Forgotten(**values | {"left_in": tuple(values["left_in"])})
        except (ValueError, TypeError, KeyError) as error:
            raise RecipeError(f"{path}, line {number}: no entry of the list ({error})") from None
        if entry.kind not in ("url", "domain", "file"):
            raise RecipeError(f"{path}, line {number}: kind is url, domain or file")
        entries.append(entry)
    return entries


def add_forgotten(home: Path, entries: Iterable[Forgotten]) -> None:
    """Put entries on the list; those whose target stands there already stay as they are."""
    known = {(entry.kind, entry.target): entry for entry in read_forgotten(home)}
    for entry in entries:
        known.setdefault((entry.kind, entry.target), entry)
    _write(home, known.values())


def note_erasure(
    home: Path, targets: Iterable[tuple[Kind, str]], date: str, left_in: Sequence[str]
) -> None:
    """Note when the bytes of entries were erased, and which files outside still hold them."""
    wanted = set(targets)
    _write(
        home,
        [
            replace(e, erased=e.erased or date, left_in=tuple(sorted({*e.left_in, *left_in})))
            if (e.kind, e.target) in wanted
            else e
            for e in read_forgotten(home)
        ],
    )


def leave_out_forgotten(blocklist: "Blocklist") -> "Blocklist":
    """A recipe's blocklist with what its home has forgotten.

    Raises:
        RecipeError: the home's list cannot be read.
    """
    home = Path(os.environ.get("HEADWATER_HOME", ".headwater"))
    return leave_out(blocklist, read_forgotten(home))


def leave_out(blocklist: "Blocklist", entries: Sequence[Forgotten]) -> "Blocklist":
    """A recipe's blocklist with these entries."""
    if not entries:
        return blocklist
    complete = blocklist.add(
        urls=[entry.target for entry in entries if entry.kind == "url"],
        domains=[entry.target for entry in entries if entry.kind == "domain"],
        shards=[entry.target for entry in entries if entry.kind == "file"],
    )
    redactions = {shard: list(targets) for shard, targets in blocklist.redactions.items()}
    for entry in entries:
        for shard in entry.left_in:
            redactions.setdefault(shard, []).append(entry.target)
    unique = {shard: tuple(sorted(set(targets))) for shard, targets in redactions.items()}
    return complete.model_copy(update={"redactions": unique})


def _write(home: Path, entries: Iterable[Forgotten]) -> None:
    lines = [json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in entries]
    temporary = home / f".{FILE}.{os.getpid()}"
    with temporary.open("w", encoding="utf-8") as handle:
        handle.writelines(lines)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(home / FILE)
