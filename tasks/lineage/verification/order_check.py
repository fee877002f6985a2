"""Whether a training tells what each of its steps saw, all of it, and nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb

from pipeline_data.artifact import Artifact
from tasks.lineage.exposure import HEADING, ORDERS, Order, attribution, read_orders

EXPECTED: Mapping[str, Mapping[str, str | None]] = {
    "pretrain": {"tokens": "steps"},
    "sft": {"demonstrations": "steps"},
    "reward": {"responses": None},
    "ppo": {"prompts": "iterations", "tokens": None},
    "practice": {"practice": "steps", "control": "steps"},
}
"""The orders of each training stage, and the setting that says how many steps they have."""
TOKENIZE, TOKENS = "tokenize", "tokens.parquet"
"""The stage whose artefacts hold tokens, and their file."""


def order_flaws(artifact: Artifact, inputs: Sequence[Artifact]) -> Iterator[str]:
    """What is wrong with the orders of a training whose files are sound; nothing of others.

    Args:
        inputs: what it was trained on, files here and sound; none to leave that out.
    """
    if artifact.stage not in EXPECTED:
        return
    expected = dict(EXPECTED[artifact.stage])
    if artifact.stage == "ppo" and not artifact.config.get("pretraining_weight"):
        del expected["tokens"]
    orders = {order.order: order for order in read_orders(artifact)}
    for name, setting in expected.items():
        if name in orders:
            yield from _step_flaws(artifact, orders[name], setting)
        else:
            yield f"it has no training order '{name}' ({ORDERS}/{name}/{HEADING})"
    for share in attribution(artifact):
        if share.num_attributed != share.num_tokens:
            missed = share.num_tokens - share.num_attributed
            yield f"{missed:,} of {share.num_tokens:,} tokens of '{share.order}' have no document"
    shards = [made.directory / TOKENS for made in inputs if made.stage == TOKENIZE]
    for order in orders.values():
        num_foreign = _count_unnamed(order) if order.unit == "records" else 0
        if order.unit == "tokens" and shards:
            num_foreign = _count_foreign(order, shards)
        if num_foreign:
            yield f"{num_foreign:,} documents of '{order.order}' are in none of its inputs"


def _step_flaws(artifact: Artifact, order: Order, setting: str | None) -> Iterator[str]:
    wanted = artifact.config.get(setting or "", order.steps)
    if order.steps != wanted and not (artifact.stage == "practice" and order.steps == 0):
        yield f"training order '{order.order}' has {order.steps} steps, its config says {wanted}"
    path = f"{ORDERS}/{order.order}/rows.parquet"
    num_rows = next((file.rows for file in artifact.files if file.path == path), None)
    if num_rows != order.steps * order.batch_size:
        yield (
            f"training order '{order.order}' has {num_rows} rows, "
            f"not {order.steps} steps of {order.batch_size}"
        )


def _count_foreign(order: Order, shards: Sequence[Path]) -> int:
    """Documents of an order that no token shard has for training, with as many tokens.

    An order counts the token that begins a document, too.
    """
    query = f"""
        SELECT count(*) FROM (
            SELECT lpad(lower(to_hex(document)), 16, '0') AS doc_id, num_tokens - 1 AS num_tokens
            FROM {order.documents})
        ANTI JOIN (
            SELECT doc_id, num_tokens FROM read_parquet($shards) WHERE split = 'train')
        USING (doc_id, num_tokens)"""
    return _count(query, {"shards": [str(shard) for shard in shards]})


def _count_unnamed(order: Order) -> int:
    """Records of an order whose number is not the one that source and address give."""
    query = f"""
        SELECT count(*) FROM {order.documents}
        WHERE lpad(lower(to_hex(document)), 16, '0')
            <> substr(sha256(source || chr(10) || url), 1, 16)"""
    return _count(query, {})


def _count(query: str, values: Mapping[str, object]) -> int:
    with duckdb.connect() as database:
        ((number,),) = database.execute(query, dict(values)).fetchall()
        return int(number)
