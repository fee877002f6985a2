"""Token shards."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from pipeline_data.artifact import Artifact, Counts
from pipeline_data.corpus.settings import TokenizeConfig, TokenizerConfig
from pipeline_data.corpus.tokenization import tokenize
from pipeline_data.corpus.tokenization.tokenizer import train_tokenizer
from pipeline_data.sources.sharding import hash_fraction
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.corpus.material import (
    as_artifact,
    documents_artifact,
    kept_artifact,
    make_documents,
    make_text,
)

ROWS = make_documents([*(make_text(seed) for seed in range(60)), "<|end|> 🙂 é 42"])

RunTokenize = Callable[..., tuple[list[dict[str, Any]], Counts]]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("tokenizer")
    config = TokenizerConfig(vocab_size=400)
    train_tokenizer(config, [row["text"] for row in ROWS]).save(str(folder / "tokenizer.json"))
    return as_artifact(folder)


@pytest.fixture
def run_tokenize(tmp_path: Path, tokenizer: Artifact) -> RunTokenize:
    def run(config: TokenizeConfig, threads: int = 1) -> tuple[list[dict[str, Any]], Counts]:
        inputs = Inputs(
            {
                "documents": documents_artifact(tmp_path / "documents", ROWS, "made-0"),
                "kept": kept_artifact(tmp_path / "kept", [r["doc_id"] for r in ROWS[1:]], "made-0"),
                "tokenizer": tokenizer,
            }
        )
        counts = tokenize.run(config, inputs, tmp_path / "out", Runtime(threads))
        return pq.read_table(tmp_path / "out/tokens.parquet").to_pylist(), counts

    return run


def test_tokens_decode_to_the_text(run_tokenize: RunTokenize, tokenizer: Artifact) -> None:
    rows, _ = run_tokenize(TokenizeConfig())
    decoder = Tokenizer.from_file(str(tokenizer.path("tokenizer.json")))
    for row, document in zip(rows, ROWS[1:], strict=True):
        assert decoder.decode(row["tokens"], skip_special_tokens=False) == document["text"]
        assert row["num_bytes"] == len(document["text"].encode())
        assert row["num_tokens"] == len(row["tokens"])
        assert {key: row[key] for key in ("doc_id", "url", "source")} == {
            key: document[key] for key in ("doc_id", "url", "source")
        }


def test_no_page_can_write_a_special_token(run_tokenize: RunTokenize) -> None:
    rows, _ = run_tokenize(TokenizeConfig())
    assert min(min(row["tokens"]) for row in rows) >= 5


def test_split_is_by_the_hash_of_the_id(run_tokenize: RunTokenize) -> None:
    rows, counts = run_tokenize(TokenizeConfig(heldout_fraction=0.2))
    heldout = {row["doc_id"] for row in rows if row["split"] == "heldout"}
    assert heldout == {row["doc_id"] for row in rows if hash_fraction(row["doc_id"]) >= 0.8}
    assert 0 < len(heldout) < len(rows) / 2
    assert counts["num_documents"] == 60
    assert counts["num_heldout_documents"] == len(heldout)
    tokens = {"train": 0, "heldout": 0}
    for row in rows:
        tokens[row["split"]] += len(row["tokens"])
    assert (counts["num_tokens"], counts["num_heldout_tokens"]) == tuple(tokens.values())


@pytest.mark.parametrize(("fraction", "split"), [(0.0, "train"), (1.0, "heldout")])
def test_all_or_nothing(run_tokenize: RunTokenize, fraction: float, split: str) -> None:
    rows, _ = run_tokenize(TokenizeConfig(heldout_fraction=fraction))
    assert {row["split"] for row in rows} == {split}


def test_neither_threads_nor_batches_change_a_byte(
    run_tokenize: RunTokenize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out/tokens.parquet"
    run_tokenize(TokenizeConfig())
    expected = path.read_bytes()
    monkeypatch.setattr(tokenize, "BATCH_CHARS", 1500)
    _, counts = run_tokenize(TokenizeConfig(), threads=2)
    assert path.read_bytes() == expected
    assert counts["encoder"] == "tiktoken"


def test_a_shard_is_plain_to_other_tools(run_tokenize: RunTokenize, tmp_path: Path) -> None:
    rows, _ = run_tokenize(TokenizeConfig())
    path = tmp_path / "out/tokens.parquet"
    query = f"SELECT doc_id, len(tokens), list_sum(tokens) FROM '{path}' ORDER BY url"
    expected = sorted(rows, key=lambda row: row["url"])
    assert duckdb.sql(query).fetchall() == [
        (row["doc_id"], row["num_tokens"], sum(row["tokens"])) for row in expected
    ]
    column = pq.ParquetFile(path).metadata.row_group(0).column(6)
    assert column.path_in_schema == "tokens.list.element"
    assert "BYTE_STREAM_SPLIT" in column.encodings
    assert not column.has_dictionary_page
