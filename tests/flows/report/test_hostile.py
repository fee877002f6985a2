"""Papers of a corpus whose addresses, names and remarks were made to break or to mislead them."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from markdown_it.token import Token

from flows.report.bom import render_bom
from flows.report.card import render_card
from flows.report.croissant import render_croissant
from flows.report.events import render_events
from flows.report.record import ModelRecord, read_record
from flows.report.summary import render_domains, render_summary
from tests.flows.report.homes import (
    copy_home,
    open_catalogue,
    read_recipe,
    read_table,
    write_recipe,
)

pytestmark = pytest.mark.xdist_group("lineage")

SCRIPT = (
    "<script>alert(1)</script> [x](javascript:y) ![i](http://evil.example/i.png) | `a` |\n# H\n"
)
HOSTS = ["=cmd|calc", "a`b|c", "<img src=x>", "x\u202emoc.live", "**b**", "-1+1"]


@pytest.fixture(scope="module")
def hostile(report_home: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelRecord:
    home = copy_home(report_home, tmp_path_factory.mktemp("hostile"))
    recipe = read_recipe(home)
    web = {
        "description": SCRIPT,
        "licence": "MIT | <b>x</b>\n",
        "homepage": "https://evil.example/`x`|{y}[z](q)",
    }
    sources = recipe["sources"] | {"web": recipe["sources"]["web"] | web}
    provider = {"name": SCRIPT, "intended_use": SCRIPT, "model_licence": "my: own\nlicence"}
    told = {"description": SCRIPT, "sources": sources, "provider": provider}
    write_recipe(home, recipe | told)
    for path in (home / "store").glob("tokenize/*/*/tokens.parquet"):
        table = pq.read_table(path)
        if table.num_rows and table["source"][0].as_py() == "web":
            names = [HOSTS[i % len(HOSTS)] for i in range(table.num_rows)]
            urls = pa.array([f"http://{name}/{i}" for i, name in enumerate(names)])
            index = table.column_names.index("url")
            pq.write_table(table.set_column(index, "url", urls), path)
    catalogue = open_catalogue(home)
    return read_record(catalogue, catalogue.named("assistant"))


def tokens(markdown: str) -> Iterator[Token]:
    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown):
        yield token
        yield from token.children or []


@pytest.mark.parametrize("paper", ["card", "summary"])
def test_nothing_foreign_becomes_markup(paper: str, hostile: ModelRecord) -> None:
    text = ModelCard(render_card(hostile)).text if paper == "card" else render_summary(hostile)
    found = list(tokens(text))
    assert not [t for t in found if t.type in ("html_inline", "html_block", "image")]
    links = [str(t.attrs["href"]) for t in found if t.type == "link_open"]
    assert set(links) <= {"#what-is-gone", "http://www.example/"}
    assert "H" not in [t.content for t in found if t.type == "inline"]
    shown = "".join(t.content for t in found if t.type in ("text", "text_special", "code_inline"))
    assert "<script>alert(1)</script>" in shown
    assert "\u202e" not in text


def test_hostile_hosts_stand_in_the_tables_as_they_are(hostile: ModelRecord) -> None:
    names = {domain.name for domain in hostile.corpus.largest.domains}
    shown = {row[0] for row in read_table(ModelCard(render_card(hostile)).text, "host ")}
    assert shown == {name.replace("\u202e", "\ufffd") for name in names}
    assert names <= {host.lower() for host in HOSTS}


def test_no_cell_of_the_list_of_hosts_is_a_formula(hostile: ModelRecord) -> None:
    rows = list(csv.reader(io.StringIO(render_domains(hostile))))[1:]
    assert rows
    assert not [row for row in rows if row[0][0] in "=+-@"]


def test_the_formats_for_machines_stay_valid(hostile: ModelRecord) -> None:
    bom = render_bom(hostile)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bom) is None
    assert "my: own licence" in bom
    assert "\u202e" not in json.loads(render_croissant(hostile))["description"]
    for line in render_events(hostile).splitlines():
        json.loads(line)
    data = ModelCard(render_card(hostile)).data
    assert (data.license, data.license_name) == ("other", "my: own licence")
