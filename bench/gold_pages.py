"""Web pages with gold main text, and how an extractor's text is scored against it.

The folder of field data holds ``extraction/aeb``, pages with their full text (article-extraction-
benchmark of scrapinghub), and ``extraction/trafilatura``, pages with strings that must and must
not be in their text (evaluation data of trafilatura).
"""

import gzip
import hashlib
import json
import re
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from pipeline_data.errors import SourceError
from pipeline_data.sources.raw.html import decode_html

_TOKEN = re.compile(r"\w+")


@dataclass(frozen=True)
class GoldPage:
    """A page with its full text, or else with strings that tell good text from bad."""

    key: str
    html: str
    text: str | None = None
    wanted: Sequence[str] = ()
    unwanted: Sequence[str] = ()

    @property
    def digest(self) -> bytes:
        """Hash of the key, by which pages are divided."""
        return hashlib.sha256(self.key.encode()).digest()

    @property
    def half(self) -> int:
        """0 or 1."""
        return self.digest[0] % 2


@dataclass(frozen=True)
class Score:
    """Precision and recall; :attr:`f1` is their harmonic mean."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def load_pages(field_data: Path) -> list[GoldPage]:
    """All gold pages of a folder of field data, in a fixed order."""
    folder = field_data / "extraction"
    try:
        return _load_articles(folder / "aeb") + _load_strings(folder / "trafilatura")
    except OSError as error:
        reason = f"no gold pages ({error.strerror}); name another folder of field data"
        raise SourceError(f"{folder}: {reason}") from error


def score_tokens(pages: Sequence[GoldPage], texts: Mapping[str, str]) -> Score:
    """Mean precision and mean recall of the tokens of pages with full text, as multisets."""
    precisions, recalls = [], []
    for page in pages:
        if page.text is None:
            continue
        gold = Counter(_TOKEN.findall(page.text))
        found = Counter(_TOKEN.findall(texts[page.key]))
        num_right = (gold & found).total()
        precisions.append(num_right / max(1, found.total()))
        recalls.append(num_right / max(1, gold.total()))
    return Score(mean(precisions), mean(recalls))


def score_strings(pages: Sequence[GoldPage], texts: Mapping[str, str]) -> Score:
    """Precision and recall over all strings of all pages that have some."""
    num_found = sum(text in texts[page.key] for page in pages for text in page.wanted)
    num_wrong = sum(text in texts[page.key] for page in pages for text in page.unwanted)
    num_wanted = sum(len(page.wanted) for page in pages)
    return Score(num_found / max(1, num_found + num_wrong), num_found / max(1, num_wanted))


def _load_articles(folder: Path) -> list[GoldPage]:
    gold = json.loads((folder / "ground-truth.json").read_text("utf-8"))
    return [
        GoldPage(
            key,
            decode_html(gzip.decompress((folder / "html" / f"{key}.html.gz").read_bytes()), ""),
            text=gold[key]["articleBody"],
        )
        for key in sorted(gold)
    ]


def _load_strings(folder: Path) -> list[GoldPage]:
    gold = json.loads((folder / "evaldata.json").read_text("utf-8"))
    pages = {}
    with tarfile.open(folder / "html.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                pages[Path(member.name).name] = file.read()
    return [
        GoldPage(
            key,
            decode_html(pages[Path(item["file"]).name], ""),
            wanted=item["with"],
            unwanted=item["without"],
        )
        for key, item in sorted(gold.items())
    ]
