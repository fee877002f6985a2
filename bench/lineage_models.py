"""The models of the lineage benchmark's store: real training orders, made-up weights.

These stand in for the training stages (``bench/lineage_store.py``). Orders are written by the
project's own writer, from token shards that are read once a process.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model_code.data_order import DataOrder
from model_code.record_order import RecordOrder
from model_code.settings import PpoConfig, PracticeConfig, PretrainConfig, RewardConfig, SftConfig
from model_code.token_streams import SourceStream
from model_code.training_order import Record, write_record_order, write_token_order
from pipeline_data.artifact import PROVENANCE, Artifact, Counts
from pipeline_data.formats import write_jsonl
from pipeline_data.preferences import exercise_url
from pipeline_data.settings import Settings
from pipeline_data.stage_run import Inputs, Runtime

NUM_RECORDS = 200
RECORD_TOKENS = 20


def pretrain(config: PretrainConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Stands in for ``pretrain``."""
    order = _token_order(
        inputs, config.mixture, config.seed, config.batch_size, config.context, config.steps
    )
    write_token_order(out, "tokens", order)
    (out / "mixture.json").write_text(json.dumps(config.mixture), encoding="utf-8")
    _write_model(out, [shard.digest for shard in inputs.many("tokens")], config.seed, config.steps)
    num_tokens = config.steps * config.batch_size * config.context
    return {"loss": 2.5, "parameters": 1_000_000, "tokens": num_tokens}


def sft(config: SftConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Stands in for ``sft``."""
    _write_records(out, "demonstrations", "demonstrations.jsonl", config.batch_size, config.steps)
    _write_model(out, [inputs.one("base").digest], config.seed, config.steps)
    return {"loss": 1.5, "demonstrations": NUM_RECORDS, "steps": config.steps}


def respond(config: Settings, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Stands in for ``responses``."""
    write_jsonl(out / "responses.jsonl", [{"model": inputs.one("sft").digest}])
    return {"prompts": NUM_RECORDS, "responses": 4 * NUM_RECORDS}


def prefer(config: Settings, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Stands in for ``preferences``."""
    write_jsonl(out / "preferences.jsonl", [{"responses": inputs.one("responses").digest}])
    return {"pairs": 3 * NUM_RECORDS}


def reward(config: RewardConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Stands in for ``reward``."""
    _write_records(out, "responses", "prompts-preference.jsonl", config.batch_size, 25)
    _write_model(out, [inputs.one("sft").digest], config.seed, 25)
    return {"loss": 0.5, "prompts": NUM_RECORDS}


def ppo(config: PpoConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Stands in for ``ppo``."""
    file = "prompts-ppo.jsonl"
    _write_records(out, "prompts", file, config.rollouts, config.iterations, "iteration")
    steps = config.iterations * config.epochs * config.minibatches
    order = _token_order(
        inputs,
        config.pretraining_mixture,
        config.seed,
        config.pretraining_rows,
        config.pretraining_context,
        steps,
    )
    write_token_order(out, "tokens", order, step="update")
    _write_model(out, [inputs.one("sft").digest], config.seed, config.iterations)
    return {"iterations": config.iterations, "prompts": NUM_RECORDS}


def practise(config: PracticeConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Stands in for ``practice``."""
    for name in ("practice", "control"):
        _write_records(out, name, f"prompts-{name}.jsonl", config.batch_size, config.steps)
    _write_model(out, [inputs.one("ppo").digest], config.seed, config.steps)
    return {"problems": NUM_RECORDS}


def evaluate(config: Settings, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Stands in for every ``evaluate-...``."""
    subjects = sorted(a.digest for a in inputs.roles.values() if isinstance(a, Artifact))
    value = int("".join(subjects)[:4], 16) / 2**16
    bounds = {"low": value - 0.1, "high": value + 0.1, "baseline": 0.0, "better": "higher"}
    measures = [{"name": "facts recalled", "value": value, **bounds}]
    (out / "measures.json").write_text(json.dumps(measures), encoding="utf-8")
    return {"measures": 1}


def _write_model(out: Path, made_of: Sequence[str], seed: int, steps: int) -> None:
    """Other weights for another model."""
    folder = out / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    weights = hashlib.sha256(f"{seed} {made_of}".encode()).digest()
    (folder / "model.safetensors").write_bytes(weights)
    rows = [{"step": step, "loss": 3 - step / steps} for step in range(0, steps, steps // 10 or 1)]
    write_jsonl(out / PROVENANCE / "metrics.jsonl", rows)


def _write_records(
    out: Path, name: str, file: str, batch_size: int, steps: int, step: str = "step"
) -> None:
    records = [Record(exercise_url(file, row), RECORD_TOKENS) for row in range(NUM_RECORDS)]
    write_record_order(out, RecordOrder(name, NUM_RECORDS, batch_size, steps, 0), records, step)


def _token_order(
    inputs: Inputs,
    mixture: dict[str, float],
    seed: int,
    batch_size: int,
    context: int,
    steps: int,
) -> DataOrder:
    shards = inputs.many("tokens")
    found = [_stream(source, shards, seed) for source in sorted(mixture)]
    streams = [stream for stream in found if stream.num_tokens >= context]
    total = sum(mixture[stream.source] for stream in streams)
    weights = [mixture[stream.source] / total for stream in streams]
    return DataOrder(streams, weights, seed, batch_size, context, steps)


def _stream(source: str, shards: Sequence[Artifact], seed: int) -> SourceStream:
    """The training documents of a source in an order by seed, which is all that shows here."""
    tables = [table for shard in shards if (table := _documents(str(shard.path("tokens.parquet"))))]
    documents = pa.concat_tables(t for t in tables if t["source"][0].as_py() == source)
    order = np.random.default_rng(seed).permutation(documents.num_rows)
    ids = documents["doc_id"].combine_chunks().take(pa.array(order))
    ends = np.cumsum(documents["num_tokens"].to_numpy()[order] + 1)
    starts = np.concatenate([[0], ends[:-1]])
    return SourceStream(source, starts, ids, int(ends[-1]), [], starts, 0)


@cache
def _documents(path: str) -> pa.Table:
    columns = ["doc_id", "source", "num_tokens", "split"]
    return pq.read_table(path, columns=columns, filters=[("split", "=", "train")])
