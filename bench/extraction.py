"""How good and how fast the fast extractor is, beside trafilatura and resiliparse.

    python bench/extraction.py --field-data FOLDER [--quick] [--json]

Scores are F1 of tokens on pages with full gold text (``aeb``) and F1 of strings on pages with
strings that must and must not be there (``trafilatura``). Speed is pages per CPU second of one
process, each page given to all extractors in turn. ``--quick`` takes every third page.

The fast extractor's weights were fitted on these pages: what they are worth on pages they have
not seen is said by ``bench/fit_main_content.py``, which also fits them.
"""

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.gold_pages import GoldPage, load_pages, score_strings, score_tokens
from bench.measure import (
    Report,
    Table,
    Target,
    interleave,
    measure,
    parse_arguments,
    print_report,
    ratio,
    say,
)
from pipeline_data.corpus.extraction.main_content import extract_main_content
from pipeline_data.errors import HeadwaterError

OURS, REFERENCE = "fast", "trafilatura, precision"
TOKEN_GOAL, STRING_GOAL, SPEED_GOAL = 0.965, 0.91, 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Extract all gold pages with all extractors and print what came out."""
    parser = argparse.ArgumentParser(description="quality and speed of extraction")
    parser.add_argument("--field-data", type=Path, required=True, help="folder of field data")
    options = parse_arguments(parser, arguments)
    try:
        pages = load_pages(options.field_data)
    except HeadwaterError as error:
        say(str(error))
        return 1
    print_report(compare(pages[::3] if options.quick else pages), as_json=options.json)
    return 0


def compare(pages: Sequence[GoldPage]) -> Report:
    """Scores and speed of each extractor on the same pages."""
    rivals = {
        name: functools.partial(measure, extract) for name, extract in make_extractors().items()
    }
    for call in rivals.values():
        call(pages[0].html)  # imports are not measured
    say(f"extracting {len(pages)} pages with {len(rivals)} extractors")
    rounds = list(interleave(rivals, [page.html for page in pages]))
    texts = {
        name: {page.key: turn[name][0] for page, turn in zip(pages, rounds, strict=True)}
        for name in rivals
    }
    seconds = {name: [turn[name][1].cpu_seconds for turn in rounds] for name in rivals}
    rows: list[tuple[str | float, ...]] = []
    for name in rivals:
        speed = len(pages) / sum(seconds[name])
        times = sum(seconds[REFERENCE]) / sum(seconds[name])
        for part, halves in (("", (0, 1)), (", half 0", (0,)), (", half 1", (1,))):
            chosen = [page for page in pages if page.half in halves]
            tokens, strings = score_tokens(chosen, texts[name]), score_strings(chosen, texts[name])
            numbers = [x for s in (tokens, strings) for x in (s.f1, s.precision, s.recall)]
            rows.append((name + part, *(f"{x:.4f}" for x in numbers), speed, f"{times:.2f}"))
    header = ("", "token F1", "prec.", "recall", "string F1", "prec.", "recall", "pages/s", "times")
    return Report(
        "extraction",
        [
            Target("token F1", score_tokens(pages, texts[OURS]).f1, TOKEN_GOAL),
            Target("string F1", score_strings(pages, texts[OURS]).f1, STRING_GOAL),
            Target("speed over trafilatura", _total(seconds, REFERENCE, OURS), SPEED_GOAL),
        ],
        [Table("Gold pages", header, rows)],
        ["The weights have seen these pages; see bench/fit_main_content.py for unseen ones."],
    )


def _total(seconds: dict[str, list[float]], numerator: str, denominator: str) -> float:
    return ratio([sum(seconds[numerator])], [sum(seconds[denominator])]).value


def make_extractors() -> dict[str, Callable[[str], str]]:
    """The extractors by name; all take the text of a page."""
    import trafilatura
    from resiliparse.extract.html2text import extract_plain_text

    stock = functools.partial(
        trafilatura.extract, fast=True, include_comments=False, deduplicate=False
    )
    return {
        OURS: extract_main_content,
        REFERENCE: lambda html: stock(html, favor_precision=True) or "",
        "trafilatura, balance": lambda html: stock(html) or "",
        "resiliparse": lambda html: extract_plain_text(
            html, main_content=True, alt_texts=False, list_bullets=False, preserve_formatting=True
        ),
    }


if __name__ == "__main__":
    sys.exit(main())
