"""The Croissant description: valid by MLCommons' own checker, and readable by its library."""

import json
import shutil
from collections import Counter
from hashlib import sha256
from pathlib import Path

import mlcroissant
import pytest

from flows.report.croissant import render_croissant
from flows.report.record import ModelRecord
from tests.flows.report.truth import read_truth

pytestmark = pytest.mark.xdist_group("lineage")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own calls of rdflib and pandas
def test_mlcroissant_finds_no_error_and_reads_every_document(
    record: ModelRecord, report_home: Path, tmp_path: Path
) -> None:
    text = render_croissant(record)
    assert render_croissant(record) == text
    shutil.copytree(report_home / "store/tokenize", tmp_path / "tokenize")
    (tmp_path / "croissant.json").write_text(text)
    dataset = mlcroissant.Dataset(tmp_path / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    seen: Counter[tuple[str, str]] = Counter()
    tokens: Counter[tuple[str, str]] = Counter()
    for row in dataset.records("documents"):
        group = (row["documents/source"].decode(), row["documents/split"].decode())
        seen[group] += 1
        tokens[group] += row["documents/num_tokens"]
        assert len(row["documents/tokens"]) == row["documents/num_tokens"]
    truth = read_truth(report_home)
    assert (seen, tokens) == (truth.documents, truth.tokens)


def test_shards_are_named_with_their_hashes_and_licences_by_address(
    record: ModelRecord, report_home: Path
) -> None:
    described = json.loads(render_croissant(record))
    files = [d for d in described["distribution"] if d["@type"] == "cr:FileObject"]
    for file in files:
        path = report_home / "store" / file["contentUrl"]
        assert sha256(path.read_bytes()).hexdigest() == file["sha256"]
        assert file["contentSize"] == f"{path.stat().st_size} B"
    assert len(files) == len(list((report_home / "store/tokenize").iterdir()))
    assert described["license"] == "https://spdx.org/licenses/Apache-2.0.html"
