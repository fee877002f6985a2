"""How fast text becomes token shards and token shards a training order, and in how many bytes.

    python bench/tokens.py [--quick] [--json] [--texts FOLDER] [--folder F]

- Encoding: our encoder against the ``tokenizers`` library, on the same texts in turn, by a
  tokenizer of 32,000 tokens trained on them; ids must be equal.
- Layout: a token shard in each way that Parquet offers; written and read by pyarrow, read by
  DuckDB. ``headwater`` is how shards are written.
- Order: the training order of made-up shards, and what memory is held when all of it was read
  from a mapped file, for two sizes of corpus.

Texts are the files of FOLDER, or else the sources of Python's standard library. Speeds are of CPU
seconds on one thread.
"""

import argparse
import hashlib
import sys
import sysconfig
import tempfile
from argparse import RawTextHelpFormatter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs as a file, too

from bench.measure import (
    Cell,
    Report,
    Table,
    Target,
    interleave,
    measure,
    open_process,
    parse_arguments,
    print_report,
    ratio,
    say,
)
from model_code.data_order import build_data_order
from pipeline_data.artifact import Artifact
from pipeline_data.corpus.settings import TokenizerConfig
from pipeline_data.corpus.tokenization.encoder import load_encoder
from pipeline_data.corpus.tokenization.tokenizer import train_tokenizer
from pipeline_data.formats import TOKENS, TOKENS_LAYOUT, open_table

MIN_SPEEDUP = 3.0
MAX_BYTES_OF_DEFAULT = 0.9
MAX_GROWTH_MB = 64.0
VOCAB_SIZE = 32_000
ROUNDS = 5
CHUNK_CHARS = 4_000
SHORT = ["source", "split"]
LAYOUTS: Mapping[str, Mapping[str, Any]] = {
    "headwater": TOKENS_LAYOUT,
    "Parquet's defaults": {},
    "no dictionary": {"use_dictionary": SHORT},
    "delta": {
        "use_dictionary": SHORT,
        "column_encoding": {"tokens.list.element": "DELTA_BINARY_PACKED"},
    },
    "headwater, lz4": {**TOKENS_LAYOUT, "compression": "lz4"},
    "no dictionary, uncompressed": {"use_dictionary": SHORT, "compression": "none"},
}
CONTEXT, BATCH_SIZE = 1024, 64


def read_texts(folder: Path, num_bytes: int) -> list[str]:
    """Texts of about 4,000 characters from the files of a folder, up to ``num_bytes``."""
    texts, total = [], 0
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".txt", ".json", ".py", ".md")):
        text = path.read_text(encoding="utf-8", errors="replace")
        for start in range(0, len(text), CHUNK_CHARS):
            texts.append(text[start : start + CHUNK_CHARS])
            total += len(texts[-1].encode())
            if total >= num_bytes:
                return texts
    return texts


def encode(path: Path, texts: Sequence[str]) -> list[np.ndarray]:
    """Ids by our encoder."""
    return list(load_encoder(path).encode_batch(texts))


def encode_with_tokenizers(path: Path, texts: Sequence[str]) -> list[np.ndarray]:
    """Ids by the library that trained the tokenizer."""
    reference = load_encoder(path).reference
    encodings = reference.encode_batch_fast(list(texts), add_special_tokens=False)
    return [np.array(encoding.ids, np.uint16) for encoding in encodings]


def measure_encoding(
    folder: Path, texts: Sequence[str]
) -> tuple[Target, Table, list[list[np.ndarray]]]:
    """The speed of both, and the ids of the texts in ``ROUNDS`` parts."""
    path = folder / "tokenizer.json"
    say(f"training a tokenizer on {len(texts)} texts")
    train_tokenizer(TokenizerConfig(vocab_size=VOCAB_SIZE), texts).save(str(path))
    parts = [texts[number::ROUNDS] for number in range(ROUNDS)]
    with open_process() as ours, open_process() as theirs:
        ours(encode, path, ["warm"])
        theirs(encode_with_tokenizers, path, ["warm"])
        rivals = {
            "headwater": lambda part: ours(encode, path, part),
            "tokenizers": lambda part: theirs(encode_with_tokenizers, path, part),
        }
        rounds = list(interleave(rivals, parts))
    for found in rounds:
        pairs = zip(found["headwater"][0], found["tokenizers"][0], strict=True)
        if not all(np.array_equal(mine, other) for mine, other in pairs):
            raise AssertionError("the ids differ")
    seconds = {name: [r[name][1].cpu_seconds for r in rounds] for name in rivals}
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    speedup = ratio(seconds["tokenizers"], seconds["headwater"])
    rows = [(name, megabytes / sum(values)) for name, values in seconds.items()]
    table = Table(f"Encoding, {megabytes:.0f} MB; ratio {speedup}", ("encoder", "MB/s"), rows)
    target = Target("encoding speed over tokenizers, same ids", speedup.value, MIN_SPEEDUP)
    return target, table, [found["headwater"][0] for found in rounds]


def token_table(ids: Sequence[np.ndarray]) -> pa.Table:
    """A token shard of these documents."""
    names = [hashlib.sha256(str(number).encode()).hexdigest()[:16] for number in range(len(ids))]
    sizes = [len(tokens) for tokens in ids]
    columns = {
        "doc_id": names,
        "url": [f"https://www.example/{name[:3]}/{name}" for name in names],
        "source": ["web"] * len(ids),
        "split": ["train"] * len(ids),
        "num_bytes": [4 * size for size in sizes],
        "num_tokens": sizes,
        "tokens": pa.array(ids, TOKENS.field("tokens").type),
    }
    return pa.table(columns, schema=TOKENS)


def measure_layouts(folder: Path, table: pa.Table) -> tuple[Target, Table]:
    """Bytes a token and speeds of each layout."""
    num_tokens = int(np.sum(table["num_tokens"].to_numpy()))
    pa.set_cpu_count(1)
    database = duckdb.connect(config={"threads": 1})
    query = "SELECT sum(len(tokens)), sum(list_sum(tokens)) FROM '{}'"

    def try_layout(name: str) -> tuple[float, ...]:
        path = folder / "layout.parquet"
        options = {"compression": "zstd", **LAYOUTS[name]}
        _, write = measure(lambda: pq.write_table(table, path, **options))
        read, by_arrow = measure(
            lambda: pq.read_table(path, columns=["tokens"], use_threads=False)["tokens"]
        )
        if read != table["tokens"]:
            raise AssertionError(f"{name}: other tokens came back")
        _, by_duckdb = measure(lambda: database.execute(query.format(path)).fetchall())
        seconds = (usage.cpu_seconds for usage in (write, by_arrow, by_duckdb))
        return (path.stat().st_size / num_tokens, *seconds)

    rivals = {name: lambda _, name=name: try_layout(name) for name in LAYOUTS}
    rounds = list(interleave(rivals, range(ROUNDS)))
    best = {
        name: [min(found[name][column] for found in rounds) for column in range(4)]
        for name in LAYOUTS
    }
    rows: list[list[Cell]] = [
        [name, size, *(num_tokens / seconds / 1e6 for seconds in rest)]
        for name, (size, *rest) in best.items()
    ]
    header = ("layout", "bytes/token", "write Mtok/s", "pyarrow Mtok/s", "DuckDB Mtok/s")
    size = best["headwater"][0] / best["Parquet's defaults"][0]
    return (
        Target("bytes over those of Parquet's defaults", size, MAX_BYTES_OF_DEFAULT, "lower"),
        Table(f"Layout, {num_tokens / 1e6:.0f} M tokens", header, rows),
    )


def made_up_rows(shard: int, num_tokens: int) -> Iterator[dict[str, Any]]:
    """Documents of 600 tokens in the mean."""
    generator = np.random.default_rng(shard)
    done = number = 0
    while done < num_tokens:
        tokens = generator.integers(5, VOCAB_SIZE, generator.integers(1, 1200), dtype=np.uint16)
        done, number = done + len(tokens), number + 1
        yield {
            "doc_id": hashlib.sha256(f"{shard}/{number}".encode()).hexdigest()[:16],
            "url": f"https://www.example/{shard}/{number}",
            "source": "web" if shard % 4 else "code",
            "split": "train",
            "num_bytes": 4 * len(tokens),
            "num_tokens": len(tokens),
            "tokens": tokens,
        }


def make_shards(folder: Path, num_shards: int, tokens_per_shard: int) -> list[Artifact]:
    """Token shards on disk."""
    shards = []
    for shard in range(num_shards):
        path = folder / f"{shard:03d}"
        with open_table(path / "tokens.parquet", TOKENS) as write:
            for row in made_up_rows(shard, tokens_per_shard):
                write(row)
        shards.append(Artifact("tokenize", 1, str(shard), str(shard), path))
    return shards


def read_order(shards: Sequence[Artifact], scratch: Path) -> dict[str, float]:
    """Seconds to plan and to join a training of one epoch, and private memory after all of it."""
    steps = sum(pq.read_table(s.path("tokens.parquet"), columns=["num_tokens"])["num_tokens"]
                .to_numpy().sum() for s in shards) // CONTEXT // BATCH_SIZE  # fmt: skip

    def plan() -> Any:
        order = build_data_order(
            shards,
            {"web": 3.0, "code": 1.0},
            0,
            seed=1,
            batch_size=BATCH_SIZE,
            context=CONTEXT,
            steps=int(steps),
            scratch=scratch,
        )
        order.documents(0)
        return order

    order, planning = measure(plan)
    _, joining = measure(order.rows, 0)
    _, reading = measure(lambda: sum(order.rows(step).size for step in range(order.steps)))
    seconds = {"plan": planning, "join": joining, "rows": reading}
    return {n: u.cpu_seconds for n, u in seconds.items()} | {"MB": private_bytes() / 1e6}


def private_bytes() -> int:
    """Memory of this process that no file backs (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon:")).split()[1]) * 1024


def measure_order(
    folder: Path, sizes: Iterable[int], tokens_per_shard: int
) -> tuple[Target, Table]:
    """Time and memory for corpora of so many shards."""
    rows: list[list[Cell]] = []
    memory = []
    for num_shards in sizes:
        say(f"making {num_shards} shards of {tokens_per_shard} tokens")
        shards = make_shards(folder / str(num_shards), num_shards, tokens_per_shard)
        with open_process() as call:
            found, _ = call(read_order, shards, folder)
        rows.append([f"{num_shards * tokens_per_shard / 1e6:.0f} M tokens", *found.values()])
        memory.append(found["MB"])
    growth = memory[-1] - memory[0]
    name = f"MB of private memory that {rows[-1][0]} need over {rows[0][0]}"
    header = ("corpus", "plan, s", "join, s", "read all rows, s", "private MB")
    return Target(name, growth, MAX_GROWTH_MB, "lower"), Table("Training order", header, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
    parser.add_argument("--texts", type=Path, help="a folder of texts (Python's standard library)")
    parser.add_argument("--folder", type=Path, help="where 2 GB of files can lie for a while")
    options = parse_arguments(parser, arguments)
    texts = read_texts(
        options.texts or Path(sysconfig.get_path("stdlib")),
        8_000_000 if options.quick else 30_000_000,
    )
    with tempfile.TemporaryDirectory(prefix="bench-tokens-", dir=options.folder) as name:
        folder = Path(name)
        encoding, encoders, ids = measure_encoding(folder, texts)
        size, layouts = measure_layouts(folder, token_table([t for part in ids for t in part]))
        sizes = (4, 12) if options.quick else (20, 60)
        growth, orders = measure_order(folder, sizes, 5_000_000)
    print_report(
        Report("tokens", targets=[encoding, size, growth], tables=[encoders, layouts, orders]),
        options.json,
    )


if __name__ == "__main__":
    main()
