"""``headwater verify``, ``sign`` and ``export`` as people use them, on a finished run."""

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows import verify
from flows.export import add_export
from flows.verify import add_verify, progress_of_bytes
from pipeline_data.artifact import Artifact, describe
from pipeline_data.errors import ArtifactError
from tasks.store import Store
from tests.conftest import free_port
from tests.tasks.lineage.verification.small_store import edit_json
from tests.tasks.lineage.verification.tampering import flip

pytestmark = pytest.mark.xdist_group("lineage")


@pytest.fixture
def home(finished_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run that may be changed."""
    home = tmp_path / "home"
    shutil.copytree(finished_home, home)
    monkeypatch.setenv("HEADWATER_HOME", str(home))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'mlflow.db'}")
    return home


@pytest.fixture
def store(home: Path) -> Store:
    return Store(str(home / "store"), home / "cache")


def headwater(*words: str) -> int:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    add_verify(commands)
    add_export(commands)
    options = parser.parse_args(words)
    return int(options.run_command(options))


def answer(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert headwater(*words, "--json") == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_finished_run_is_sound(home: Path, store: Store, capsys: Any) -> None:
    found = answer(capsys, 0, "verify")
    lineage = list(store.ancestry(store.named("assistant")))
    assert found["problems"] == found["findings"] == []
    assert found["artifacts"] == len(lineage)
    assert found["bytes"] == sum(file.bytes for a in lineage for file in a.files)
    assert any("MLflow has no record yet" in note for note in found["notes"])
    everything = answer(capsys, 0, "verify", "--all")
    assert everything["artifacts"] > found["artifacts"]  # the report on the corpus
    assert headwater("verify", "base", "--no-mlflow") == 0
    assert ": all sound (" in capsys.readouterr().out


def test_damage_is_told_with_path_and_remedy(home: Path, store: Store, capsys: Any) -> None:
    victims = [
        store.named("base").path("model/model.safetensors"),
        next(a for a in store.ancestry(store.named("base")) if a.stage == "extract").path(
            "documents.parquet"
        ),
    ]
    for victim in victims:
        flip(victim)
    found = answer(capsys, 1, "verify")
    assert {finding["place"] for finding in found["findings"]} == set(map(str, victims))
    assert headwater("verify", "--no-mlflow") == 1
    lines = capsys.readouterr().out.splitlines()
    for victim in victims:
        assert any(str(victim) in line and "headwater run" in line for line in lines)
    assert "2 problems" in lines[-1]


def rerecord(artifact: Artifact) -> None:
    """Make a record agree with files that were changed, as a careful forger would."""

    def edit(record: dict[str, Any]) -> None:
        record["files"] = [asdict(file) for file in describe(artifact.directory)]
        record.pop("seal", None)

    edit_json(artifact.directory.with_name("artifact.json"), edit)


def drop_order(folder: Path) -> str:
    shutil.rmtree(folder)
    return "has no training order 'tokens'"


def change_steps(folder: Path) -> str:
    edit_json(folder / "order.json", lambda order: order.update(steps=29))
    return "has 29 steps, its config says 30"


def drop_rows(folder: Path) -> str:
    table = pq.read_table(folder / "rows.parquet")
    pq.write_table(table.slice(1), folder / "rows.parquet")
    return f"has {len(table) - 1} rows, not 30 steps of"


def drop_document(folder: Path) -> str:
    table = pq.read_table(folder / "documents.parquet")
    pq.write_table(table.slice(1), folder / "documents.parquet")
    return "tokens of 'tokens' have no document"


def name_another_document(folder: Path) -> str:
    table = pq.read_table(folder / "documents.parquet")
    number = table["document"].to_pylist()
    column = pa.array([number[0] + 1, *number[1:]], table.schema.field("document").type)
    pq.write_table(table.set_column(0, "document", column), folder / "documents.parquet")
    return "1 documents of 'tokens' are in none of its inputs"


@pytest.mark.parametrize(
    "damage", [drop_order, change_steps, drop_rows, drop_document, name_another_document]
)
def test_a_training_must_tell_all_it_saw(
    home: Path, store: Store, capsys: Any, damage: Callable[[Path], str]
) -> None:
    base = store.named("base")
    said = damage(base.directory / "provenance" / "orders" / "tokens")
    rerecord(base)
    found = answer(capsys, 1, "verify", "base", "--no-mlflow")
    assert any(said in problem for problem in found["problems"])


def test_a_record_is_named_by_its_address(home: Path, store: Store, capsys: Any) -> None:
    sft = store.named("sft")
    path = sft.directory / "provenance" / "orders" / "demonstrations" / "documents.parquet"
    table = pq.read_table(path)
    urls = table["url"].to_pylist()
    column = pa.array(["generated://exercises/demonstrations/999", *urls[1:]])
    index = table.schema.get_field_index("url")
    pq.write_table(table.set_column(index, "url", column), path)
    rerecord(sft)
    problems = answer(capsys, 1, "verify", "sft", "--no-mlflow")["problems"]
    said = "1 documents of 'demonstrations' are in none of its inputs"
    assert any(said in problem for problem in problems)


def test_an_exported_model_works_and_proves_its_lineage(
    home: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path / "assistant"
    written = answer(capsys, 0, "export", "assistant", str(folder))
    shutil.rmtree(home)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEADWATER_HOME")
    found = answer(capsys, 0, "verify", "assistant")
    assert not (tmp_path / ".headwater").exists()
    assert (found["artifacts"], found["chain"]) == (written["records"], written["chain"])
    assert found["model"]["digest"] == written["digest"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokens = tokenizer("What is 2 + 3?", return_tensors="pt")
    with torch.no_grad():
        assert model(**tokens).logits.isfinite().all()
    assert (folder / "README.md").read_text().startswith("---\n")
    assert "<html" in (folder / "lineage" / "lineage.html").read_text()
    flip(folder / "model.safetensors")
    found = answer(capsys, 1, "verify", str(folder))
    assert "model.safetensors does not match its SHA-256" in found["problems"][0]


def test_a_signature_is_required_and_checked(
    home: Path, store: Store, tmp_path: Path, capsys: Any
) -> None:
    key, folder = tmp_path / "own.pem", tmp_path / "model"
    public, foreign = tmp_path / "own.pub.pem", tmp_path / "foreign.pub.pem"
    signed = answer(capsys, 0, "sign", "assistant", "--key", str(key), "--new-key")
    assert Path(signed["signature"]).is_file()
    answer(capsys, 0, "verify", "--key", str(public), "--no-mlflow")
    answer(capsys, 0, "export", "assistant", str(folder), "--sign", str(key))
    answer(capsys, 0, "verify", str(folder), "--key", str(public))
    answer(capsys, 0, "sign", "sft", "--key", str(tmp_path / "foreign.pem"), "--new-key")
    answer(capsys, 1, "verify", "--key", str(foreign), "--no-mlflow")
    answer(capsys, 1, "verify", str(folder), "--key", str(foreign))
    noted = answer(capsys, 0, "verify", str(folder))["notes"]
    assert noted == ["it is signed; --key checks by whom"]
    flip(store.named("assistant").path("model/model.safetensors"))
    with pytest.raises(ArtifactError, match=r"not signed: .*does not match its SHA-256"):
        headwater("sign", "assistant", "--key", str(key))
    private = b"".join(line for line in key.read_bytes().splitlines() if b"-----" not in line)
    for path in [*home.rglob("*"), *folder.rglob("*")]:
        assert path.is_dir() or private[:40] not in path.read_bytes()


def test_an_mlflow_that_is_away_is_noted(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    notes = answer(capsys, 0, "verify", "base")["notes"]
    assert any(note.startswith("MLflow cannot be asked (") for note in notes)


def test_what_cannot_be_verified_is_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no model named 'nobody'"):
        headwater("verify", "nobody")
    with pytest.raises(ArtifactError, match="carries no lineage"):
        headwater("verify", str(tmp_path))
    with pytest.raises(ArtifactError, match="no key at"):
        headwater("verify", "base", "--key", str(tmp_path / "gone.pem"))


def test_how_fast_it_goes_is_told_after_two_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([0.0, 1.0, 2.5, 2.6, 4.0])
    monkeypatch.setattr(verify.time, "monotonic", lambda: next(times))
    told = progress_of_bytes()
    for done in (1, 5, 6, 8):
        told(done * 10**9, 8 * 10**9)
    assert capsys.readouterr().err == (
        "5,000 of 8,000 MB read, 2,000 MB/s\r8,000 of 8,000 MB read, 2,000 MB/s\n"
    )
