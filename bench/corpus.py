"""The corpus against the stock datatrove pipeline: speed, agreement, scaling, memory, reuse.

    python bench/corpus.py [--quick] [--json] [--warcs FOLDER] [--field-data FOLDER]

What is compared: raw WARCs to token shards, the same steps with the same settings on both sides.
``stock_pipeline.py`` says what the peer is, ``own_pipeline.py`` what we are, ``corpus_pages.py``
where the pages come from. Why it is fair:

- Both sides run in this same invocation on the same files, each in a process with one thread
  that has imported everything and read a few pages: a shard at a time, in turn, and CPU seconds
  are counted.
- Where the stock pipeline's defaults are slower than they need be, it is given the faster way.
- The two must agree: on every page that both decode to the same characters, the extracted text,
  the rule that drops it, the final text, the MinHash signature and the token ids are compared, and
  the number of differences is a target. What the two dedups *keep* may differ and is reported:
  ours verifies each candidate pair, datatrove's does not.
- 'Quality rules' are our whole filter stage, files and all, with nothing but the rules in it,
  against the time spent inside datatrove's four blocks alone, on the same documents.

Then the whole pipeline on all cores by each side's own executor (wall time; how busy others kept
the machine meanwhile is said), the memory of each stage on one WARC and on one four times as
large, what is done again when a shard is added to a hundred, and the dedup of a million signatures.
"""

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs as a file, too

from bench import own_pipeline as own
from bench.corpus_limits import measure_dedup, measure_memory, measure_reuse
from bench.corpus_pages import Page, make_shards, write_warc
from bench.corpus_speed import FAST, OURS, measure_cores, measure_speed
from bench.measure import (
    Report,
    default_cache,
    num_cores,
    open_process,
    parse_arguments,
    print_report,
    say,
)
from bench.own_pipeline import Build
from pipeline_data.errors import HeadwaterError
from pipeline_data.sources.raw.reader import RawRecord, read_raw

PARTS = ("speed", "cores", "memory", "shards", "dedup")
NUM_PAGES, NUM_QUICK_PAGES = 3000, 500
MEMORY_MB, QUICK_MEMORY_MB = 400, 60
MAX_COPIED_PAGES = 1500
"""Of which the large WARC and the small shards are made."""
WARM_PAGES = 8
"""Read by every process before it is measured."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for and print what they found; 1 if one could not run."""
    options = _parse(arguments)
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as scratch:
        try:
            parts = _prepare(options, Path(scratch))
        except HeadwaterError as error:
            say(str(error))
            return 1
        reports = []
        failures = []
        for name in options.parts:
            say(f"measuring {name}")
            try:
                reports.append(parts[name]())
            except HeadwaterError as error:
                failures.append(f"{name} could not be measured: {error}")
    report = Report(
        "corpus",
        targets=[target for report in reports for target in report.targets],
        tables=[table for report in reports for table in report.tables],
        notes=[*failures, *(note for report in reports for note in report.notes)],
    )
    print_report(report, as_json=options.json)
    return 1 if failures else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench/corpus.py", description="the corpus against datatrove")
    parser.add_argument("--warcs", type=Path, help="measure on the WARC files of this folder")
    parser.add_argument(
        "--field-data",
        type=Path,
        default=os.environ.get("HEADWATER_FIELD_DATA"),
        help="add the news pages of this folder (default: $HEADWATER_FIELD_DATA)",
    )
    parser.add_argument(
        "--pages", type=int, help=f"pages to make ({NUM_PAGES}; quick: {NUM_QUICK_PAGES})"
    )
    parser.add_argument("--memory-mb", type=int, help="HTML in the large WARC of part memory")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="keeps made pages")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    return parse_arguments(parser, arguments)


def _prepare(options: argparse.Namespace, scratch: Path) -> dict[str, Callable[[], Report]]:
    """What every part needs: WARCs, some of their pages, a tokenizer. Returns the parts."""
    warcs = _find_warcs(options)
    pages = list(itertools.islice(_read_pages(warcs), MAX_COPIED_PAGES))
    warm = scratch / "warm" / "warm.warc.gz"
    write_warc(warm, pages[:WARM_PAGES])
    builds = _name_rivals(warcs, scratch)
    with open_process() as process:
        process(own.train_tokenizer, builds[OURS])
    num_rounds = 1 if options.quick else 2
    megabytes = options.memory_mb or (QUICK_MEMORY_MB if options.quick else MEMORY_MB)
    return {
        "speed": lambda: measure_speed(builds, warm, scratch),
        "cores": lambda: measure_cores(builds, warm, scratch, num_cores(), num_rounds),
        "memory": lambda: measure_memory(builds, pages, megabytes, scratch),
        "shards": lambda: measure_reuse(pages, scratch),
        "dedup": lambda: measure_dedup(scratch),
    }


def _find_warcs(options: argparse.Namespace) -> tuple[Path, ...]:
    folder = options.warcs
    if folder is None:
        num_pages = options.pages or (NUM_QUICK_PAGES if options.quick else NUM_PAGES)
        num_shards = max(8, 4 * num_cores())
        folder = make_shards(options.cache, num_pages, num_shards, options.field_data)
    warcs = tuple(sorted(folder.glob("*.warc*")))
    if not warcs:
        raise HeadwaterError(f"{folder} holds no file named *.warc*; give another with --warcs")
    return warcs


def _read_pages(warcs: Sequence[Path]) -> "itertools.chain[Page]":
    reader = own.load_settings().extract.reader
    return itertools.chain.from_iterable(
        (
            (record.url, record.payload)
            for record in read_raw(own.raw_artifact(warc, 0), reader)
            if isinstance(record, RawRecord) and record.payload
        )
        for warc in warcs
    )


def _name_rivals(warcs: tuple[Path, ...], scratch: Path) -> dict[str, Build]:
    """Our settings with each extractor there is, by the name of the row."""
    tokenizer = scratch / "tokenizer"
    extractors = {OURS: "trafilatura", FAST: "fast"}
    return {
        name: Build(own.load_settings(extractor), warcs, scratch / name, tokenizer)
        for name, extractor in extractors.items()
        if extractor in own.known_extractors()
    }


if __name__ == "__main__":
    sys.exit(main())
