"""How long deduplication of a million documents takes, and how much memory.

    python bench/dedup.py [--quick] [--json] [--documents N] [--folder F]

The signatures are made up but true to the schema, in 100 shards: 300 shingles a document in the
mean; 2% exact copies; .5% repeated URLs; 8% near duplicates, a quarter of them in one cluster of
20,000 and the others in clusters whose sizes follow a power law, some below the threshold; and
50,000 pages of one template that share a band and half of their shingles but are not alike.
Each run is a process of its own. Time is wall time; the load says whether others were at work.
"""

import argparse
import sys
import tempfile
from argparse import RawTextHelpFormatter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs as a file, too

from bench.measure import (
    Report,
    Table,
    Target,
    Usage,
    open_process,
    parse_arguments,
    print_report,
    say,
)
from pipeline_data.artifact import Artifact, Counts, describe, part_digests
from pipeline_data.corpus.deduplication import dedup
from pipeline_data.corpus.deduplication.shared_keys import KEYS, open_database
from pipeline_data.corpus.deduplication.shingle_file import open_shingles
from pipeline_data.corpus.settings import DedupConfig, SignatureConfig
from pipeline_data.formats import SIGNATURES
from pipeline_data.stage_run import Inputs, Runtime

NUM_SHARDS = 100
NUM_BANDS = SignatureConfig().bands
ROWS_PER_BAND = SignatureConfig().rows_per_band
CROWDED_BAND = 3
MAX_SECONDS = 60.0
"""For a million documents."""
MAX_PEAK_MB = 2048.0

U64 = npt.NDArray[np.uint64]


def mix(values: U64, salt: int) -> U64:
    """Numbers that look random: splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    mixed = values + np.uint64(salt * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


@dataclass(frozen=True)
class Plan:
    """What every document is made of; all arrays have one entry a document."""

    origin: npt.NDArray[np.int64]
    """The document whose shingles it starts from, itself for an original."""
    share_changed: npt.NDArray[np.float64]
    """Of its origin's shingles."""
    length: npt.NDArray[np.int64]
    doc_id: npt.NDArray[np.int64]
    """The document whose id it has."""
    in_crowd: npt.NDArray[np.bool_]


def plan_documents(num_documents: int, seed: int = 0) -> Plan:
    """Choose copies, near duplicates, repeated URLs and the crowd, at random places."""
    rng = np.random.default_rng(seed)
    places = rng.permutation(num_documents)
    sizes = [int(share * num_documents) for share in (0.02, 0.06, 0.02, 0.05, 0.005)]
    copies, near, giant, crowd, repeated, originals = np.split(places, np.cumsum(sizes))
    origin = np.arange(num_documents)
    share_changed = np.zeros(num_documents)
    origin[copies] = rng.choice(originals, len(copies))
    # cluster sizes fall off like a power law, as they do on the web
    origin[near] = originals[(rng.pareto(1.2, len(near)) * len(near) / 20).astype(int) % len(near)]
    share_changed[near] = rng.uniform(0.002, 0.15, len(near))
    origin[giant] = giant[0]
    share_changed[giant[1:]] = rng.uniform(0.002, 0.06, len(giant) - 1)
    origin[crowd] = crowd[0]
    share_changed[crowd] = 0.5
    length = np.clip(rng.lognormal(np.log(250), 0.6, num_documents), 30, 3000).astype(int)
    doc_id = np.arange(num_documents)
    doc_id[repeated] = rng.choice(originals, len(repeated))
    in_crowd = np.zeros(num_documents, np.bool_)
    in_crowd[crowd] = True
    return Plan(origin, share_changed, length[origin], doc_id, in_crowd)


def write_shard(folder: Path, plan: Plan, first: int, last: int) -> None:
    """Write signatures.parquet and shingles.npy of the documents from ``first`` to ``last``."""
    own = np.arange(first, last, dtype=np.uint64)
    origin = plan.origin[first:last].astype(np.uint64)
    length = plan.length[first:last]
    num_changed = np.ceil(plan.share_changed[first:last] * length).astype(int)
    text = np.where(num_changed > 0, own, origin)
    table = pa.table(
        {
            "doc_id": _hex(mix(plan.doc_id[first:last].astype(np.uint64), 1)[:, None]),
            "text_sha256": _hex(np.stack([mix(text, salt) for salt in range(2, 6)], axis=1)),
            "bands": _make_bands(plan, first, last, num_changed),
            "num_shingles": pa.array(length, pa.int32()),
        },
        schema=SIGNATURES,
    )
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "signatures.parquet", compression="zstd")
    with open_shingles(folder / "shingles.npy") as append:
        for row in range(last - first):
            number = np.arange(length[row], dtype=np.uint64)
            maker = np.where(number < num_changed[row], own[row], origin[row])
            append(np.sort(mix(maker * np.uint64(4096) + number, 6)))


def _make_bands(
    plan: Plan, first: int, last: int, num_changed: npt.NDArray[np.int64]
) -> pa.ListArray:
    """Bands equal to the origin's as often as MinHash would make them so."""
    length = plan.length[first:last]
    similarity = (length - num_changed) / (length + num_changed)
    rng = np.random.default_rng(first)
    same = rng.random((last - first, NUM_BANDS)) < similarity[:, None] ** ROWS_PER_BAND
    same &= ~plan.in_crowd[first:last, None]
    maker = np.where(same, plan.origin[first:last, None], np.arange(first, last)[:, None])
    number = np.arange(NUM_BANDS, dtype=np.uint64)
    bands = mix(maker.astype(np.uint64) * np.uint64(NUM_BANDS) + number, 7)
    bands[plan.in_crowd[first:last], CROWDED_BAND] = 1
    offsets = np.arange(last - first + 1, dtype=np.int32) * NUM_BANDS
    return pa.ListArray.from_arrays(offsets, bands.ravel())


def _hex(numbers: U64) -> list[str]:
    """A row of numbers as one string of hexadecimal digits."""
    width = numbers.shape[1] * 16
    digits = numbers.astype(">u8").tobytes().hex()
    return [digits[start : start + width] for start in range(0, len(digits), width)]


def write_shards(folder: Path, num_documents: int) -> list[Path]:
    """Write shards of that many documents, and one shard more; their folders."""
    per_shard = num_documents // NUM_SHARDS
    plan = plan_documents(per_shard * (NUM_SHARDS + 1))
    shards = []
    for index in range(NUM_SHARDS + 1):
        shards.append(folder / f"{index:03d}")
        write_shard(shards[-1], plan, index * per_shard, (index + 1) * per_shard)
    return shards


def run_dedup(shards: Sequence[Path], out: Path, threads: int, memory_mb: int) -> Counts:
    """The stage, as the pipeline calls it."""
    artifacts = [Artifact("signature", 1, "", "", path, shard=path.name) for path in shards]
    runtime = Runtime(threads=threads, memory_mb=memory_mb)
    return dedup.run(DedupConfig(), Inputs({"signatures": artifacts}), out, runtime)


def read_keys(shards: Sequence[Path], out: Path, threads: int, memory_mb: int) -> Counts:
    """No more than reading what has to be looked at of every document: ids, texts and bands."""
    out.mkdir()
    with open_database(out, Runtime(threads=threads, memory_mb=memory_mb)) as database:
        files = [str(path / "signatures.parquet") for path in shards]
        for key in KEYS.values():
            keys = database.read_parquet(files).project(f"{key} AS key")
            keys.aggregate("bit_xor(hash(key))").fetchall()
    return {}


def measure_dedup(folder: Path, num_documents: int) -> Report:
    """Write signatures below ``folder``, deduplicate them in several ways, and say what it took."""
    say(f"writing signatures of {num_documents:,} documents")
    shards = write_shards(folder / "signatures", num_documents)
    old = shards[:-1]
    runs = {
        "2 threads": (run_dedup, old, 2, 1024),
        "1 thread": (run_dedup, old, 1, 1024),
        "1 thread, 200 MB for joins": (run_dedup, old, 1, 200),
        "2 threads, one shard more": (run_dedup, shards, 2, 1024),
        "2 threads, reading keys only": (read_keys, shards, 2, 1024),
    }
    usages, counts, parts = {}, {}, {}
    for index, (name, (work, inputs, threads, memory_mb)) in enumerate(runs.items()):
        say(name)
        out = folder / f"out-{index}" / "dedup"
        out.parent.mkdir()
        with open_process() as call:
            counts[name], usages[name] = call(work, inputs, out, threads, memory_mb)
        parts[name] = part_digests(describe(out))
    return make_report(shards, usages, counts, parts)


def make_report(
    shards: Sequence[Path],
    usages: Mapping[str, Usage],
    counts: Mapping[str, Counts],
    parts: Mapping[str, Mapping[str, str]],
) -> Report:
    """The targets and tables; every run must have given the first 100 shards the same bytes."""
    first, *others = (parts[name] for name in parts if counts[name])
    num_changed = sum(other[shard] != first[shard] for other in others for shard in first)
    usage = usages["2 threads"]
    num_documents = int(counts["2 threads"]["num_documents"])
    peak = max(usage.peak_bytes for usage in usages.values())
    sizes = [
        (file, sum((shard / file).stat().st_size for shard in shards) / 1e6)
        for file in ("signatures.parquet", "shingles.npy")
    ]
    return Report(
        "dedup",
        targets=[
            Target(
                f"seconds for {num_documents:,} documents on 2 threads",
                usage.wall_seconds,
                MAX_SECONDS * num_documents / 1e6,
                "lower",
            ),
            Target("peak memory, MB", peak / 1e6, MAX_PEAK_MB, "lower"),
            Target("shards that another run changed", num_changed, 0, "lower"),
        ],
        tables=[
            Table(
                "Runs",
                ("run", "seconds", "CPU seconds", "peak MB"),
                [(n, u.wall_seconds, u.cpu_seconds, u.peak_bytes / 1e6) for n, u in usages.items()],
            ),
            Table("Input of all shards", ("file", "MB"), sizes),
            Table(
                "What became of the documents", ("", "number"), list(counts["2 threads"].items())
            ),
        ],
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000, help="how many (a million)")
    parser.add_argument("--folder", type=Path, help="where 4 GB of files can lie for a while")
    options = parse_arguments(parser, arguments)
    num_documents = min(options.documents, 200_000) if options.quick else options.documents
    with tempfile.TemporaryDirectory(prefix="bench-dedup-", dir=options.folder) as folder:
        print_report(measure_dedup(Path(folder), num_documents), options.json)


if __name__ == "__main__":
    main()
