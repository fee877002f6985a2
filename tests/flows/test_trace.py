"""``headwater trace`` as people use it, on a finished run."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.cli import main
from flows.forget.forgotten import Forgotten, add_forgotten
from tasks.store import Store

pytestmark = pytest.mark.xdist_group("lineage")


@pytest.fixture(autouse=True)
def home(finished_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADWATER_HOME", str(finished_home))
    return finished_home


@pytest.fixture
def page(home: Path) -> dict[str, Any]:
    """A crawled page that was trained on."""
    store = Store(str(home / "store"), home / "cache")
    for parent in store.named("base").parents:
        if parent.role == "tokens":
            for row in pq.read_table(store.parent(parent).path("tokens.parquet")).to_pylist():
                if row["source"] == "web" and row["split"] == "train":
                    return dict(row)
    raise AssertionError("no crawled page was kept")


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["trace", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def lines(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["trace", *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_page_is_followed_from_its_raw_record_to_the_assistant(
    page: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(capsys, "--url", page["url"])
    assert [d["doc_id"] for d in found["documents"]] == [page["doc_id"]]
    assert found["documents"][0]["events"][-1]["num_tokens"] == page["num_tokens"]
    assert found["forgotten"] == []
    shown = lines(capsys, "--url", page["url"])
    assert shown[0].startswith(f"{page['url']}  source web, document {page['doc_id']}")
    assert any(line.startswith("seen by pretrain") for line in shown)
    assert any("(assistant@1)  in use as assistant" in line for line in shown)
    assert answer(capsys, "--document", page["doc_id"])["trainings"] == found["trainings"]


def test_a_step_is_followed_to_its_pages(
    page: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(capsys, "--url", page["url"])
    (exposure,) = found["trainings"][0]["exposures"]
    for step in exposure["steps"][:3]:
        documents = answer(capsys, "base", "--step", str(step))["documents"]
        assert page["url"] in {d["url"] for d in documents}
    shown = lines(capsys, "base", "--step", str(exposure["steps"][0]), "--all")
    assert any(line.endswith(page["url"]) for line in shown)
    assert main(["trace", "base", "--step", "9999"]) == 1
    assert "it has 0 to 29" in capsys.readouterr().err


def test_a_record_of_the_exercises_is_followed(capsys: pytest.CaptureFixture[str]) -> None:
    url = answer(capsys, "sft", "--step", "0")["documents"][0]["url"]
    shown = lines(capsys, "--url", url)
    assert shown[0] == url
    assert any(line.startswith("  demonstrations: ") for line in shown)


def test_a_domain_shows_its_hosts_and_what_saw_them(capsys: pytest.CaptureFixture[str]) -> None:
    shown = lines(capsys, "--domain", "example")
    assert any(line.startswith("people.example ") for line in shown)
    assert any("tokens of" in line and "steps, from" in line for line in shown)


def test_what_is_not_there_is_said_with_what_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    shown = lines(capsys, "--url", "http://people.example/nowhere")
    assert shown[0] == "http://people.example/nowhere: no artefact of the store holds it"
    assert shown[1].startswith("of people.example it has ")
    assert len(lines(capsys, "--url", "http://elsewhere.test/")) == 1
    assert "holds a page of it" in lines(capsys, "--domain", "elsewhere.test")[0]


def test_what_was_forgotten_is_told(
    home: Path, page: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    entry = Forgotten("people.example", "domain", "they asked", "2026-01-02T03:04:05+00:00")
    add_forgotten(home, [entry])
    try:
        told = "people.example is forgotten since 2026-01-02: they asked"
        assert lines(capsys, "--domain", "people.example")[0] == told
        assert (lines(capsys, "--url", page["url"])[0] == told) == ("people.example" in page["url"])
        assert lines(capsys, "--domain", "deals.example")[0] != told
    finally:
        (home / "forgotten.jsonl").unlink()


def test_a_model_is_known_by_name_version_and_digest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tree = answer(capsys, "base@1")["tree"]
    assert tree["stage"] == "pretrain"
    assert answer(capsys, tree["digest"][:10])["tree"] == tree
    assert main(["trace", "base@7"]) == 1
    assert "'base' has no version 7 (it has 1)" in capsys.readouterr().err
    assert main(["trace", "abcdef01"]) == 1
    assert "no model named 'abcdef01'" in capsys.readouterr().err
    assert lines(capsys, "base", "--html", str(tmp_path / "page.html")) == [
        str(tmp_path / "page.html")
    ]
    assert tree["digest"][:12] in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert main(["trace", "base", "--html", str(tmp_path / "no" / "page.html")]) == 1
    assert "No such file or directory" in capsys.readouterr().err
