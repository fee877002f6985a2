"""Fit the weights of the fast extractor on gold pages, and say what they are worth elsewhere.

    python bench/fit_main_content.py --field-data FOLDER [--pages FOLDER] [--write]

Each block of a gold page is main content or not: by its tokens in the gold text, or by the
strings that must and must not be there. Other blocks of pages with strings count a little, where
trafilatura's strict and lax settings agree about them; so do all blocks of ``--pages``, HTML files
of kinds that the gold pages lack (the weights of the library: 28 pages of the documentation of
SQLAlchemy 2.0.36 and pygame-ce 2.5.8). A ridge logistic regression (scikit-learn)
learns from them. Scores are printed for pages the weights have not seen: each half of the pages is
judged by weights fitted on the other half, and each quarter by those of the other three. With
``--write`` the weights of all pages together replace ``extraction/block_weights.py``.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import numpy.typing as npt

from bench.gold_pages import GoldPage, load_pages, score_strings, score_tokens
from bench.measure import Table, format_table, say
from pipeline_data.corpus.extraction import main_content
from pipeline_data.corpus.extraction.block_features import FEATURES, Integers, block_features
from pipeline_data.corpus.extraction.html_blocks import BlockTree, read_blocks
from pipeline_data.sources.raw.html import decode_html

WEIGHTS_FILE = Path(main_content.__file__).with_name("block_weights.py")
STRENGTH = 0.003
"""Inverse strength of the ridge penalty (scikit-learn's ``C``)."""
STRING_WEIGHT, AGREED_WEIGHT, OTHER_WEIGHT = 6.0, 0.3, 0.03
"""Weight of a block that holds a gold string, and of one the two settings agree about, on a page
with gold strings and on another."""
_TOKEN = re.compile(r"\w+")
_UNKNOWN = -1

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Example:
    """A page's blocks: features (features, blocks), labels 0 or 1, and how much each counts."""

    page: GoldPage
    tree: BlockTree
    features: Integers
    labels: Integers
    weights: Floats


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, print the scores on unseen pages, and write the weights if asked to."""
    parser = argparse.ArgumentParser(description="fit the fast extractor")
    parser.add_argument("--field-data", type=Path, required=True, help="folder of field data")
    parser.add_argument("--pages", type=Path, help="folder of HTML files without gold")
    parser.add_argument("--write", action="store_true", help="replace the weights of the library")
    options = parser.parse_args(arguments)
    say("labelling the blocks")
    pages = load_pages(options.field_data)
    for path in sorted(options.pages.glob("*.html")) if options.pages else ():
        pages.append(GoldPage(path.name, decode_html(path.read_bytes(), "")))
    examples = [make_example(page) for page in pages]
    examples = [example for example in examples if example.tree.texts]
    rows = []
    for num_folds in (2, 4):
        texts = cross_validate(examples, num_folds)
        rows += score_rows(f"{num_folds} folds", [example.page for example in examples], texts)
    weights = fit(examples)
    texts = {example.page.key: _extract(example, weights) for example in examples}
    rows += score_rows("seen", [example.page for example in examples], texts)
    header = ("pages", "token F1", "precision", "recall", "string F1", "precision", "recall")
    print(format_table(Table("Weights on pages they have not seen", header, rows)))
    if options.write:
        write_weights(weights)
    return 0


def make_example(page: GoldPage) -> Example:
    """Label the blocks of a page."""
    tree = read_blocks(page.html)
    if not tree.texts:
        return Example(page, tree, np.zeros((len(FEATURES), 0), int), *np.zeros((2, 0)))
    lengths = np.minimum([len(text) for text in tree.texts], 600)
    if page.text is not None:
        labels = match_blocks(tree.texts, page.text)
        weights = (lengths / 100) ** 0.75 * (labels != _UNKNOWN)
    else:
        strict, lax = (match_blocks(tree.texts, _reference(page.html, r)) for r in (False, True))
        labels = np.where(strict == 1, 1, np.where(lax == 0, 0, _UNKNOWN))
        agreed = AGREED_WEIGHT if page.wanted or page.unwanted else OTHER_WEIGHT
        weights = agreed * (lengths / 100) ** 0.75 * (labels != _UNKNOWN)
        for label, strings in ((1, page.wanted), (0, page.unwanted)):
            for block, text in enumerate(tree.texts):
                if any(s in text or (len(text) >= 25 and text in s) for s in strings):
                    labels[block], weights[block] = label, STRING_WEIGHT
    return Example(page, tree, block_features(tree), np.maximum(labels, 0), weights)


def match_blocks(texts: Sequence[str], gold: str) -> Integers:
    """1 for each block whose tokens are in the gold text, 0 if not, -1 if that is unclear.

    Long blocks may differ a little (trigrams); very short ones count only between blocks that are
    in the gold text, as a word or two may be there by chance.
    """
    tokens = _TOKEN.findall(gold)
    joined = f" {' '.join(tokens)} "
    trigrams = set(zip(tokens, tokens[1:], tokens[2:], strict=False))
    labels: list[int | None] = []
    for text in texts:
        own = _TOKEN.findall(text)
        is_part = f" {' '.join(own)} " in joined
        if len(own) < 4:
            labels.append(None if own and is_part else 0 if own else _UNKNOWN)
        elif is_part or len(own) < 8:
            labels.append(int(is_part))
        else:
            found = [t in trigrams for t in zip(own, own[1:], own[2:], strict=False)]
            share = sum(found) / len(found)
            labels.append(1 if share >= 0.6 else 0 if share < 0.3 else _UNKNOWN)
    return np.array(
        [_by_neighbours(labels, i) if label is None else label for i, label in enumerate(labels)]
    )


def _by_neighbours(labels: Sequence[int | None], block: int) -> int:
    before = next((x for x in reversed(labels[max(0, block - 3) : block]) if x in (0, 1)), 0)
    after = next((x for x in labels[block + 1 : block + 4] if x in (0, 1)), 0)
    return before if before == after and before is not None else _UNKNOWN


def _reference(html: str, lax: bool) -> str:
    import trafilatura

    text = trafilatura.extract(
        html, fast=True, include_comments=False, favor_recall=lax, favor_precision=not lax
    )
    return text or ""


def fit(examples: Sequence[Example]) -> Integers:
    """Weights of the features, in millionths of log-odds."""
    from sklearn.linear_model import LogisticRegression

    features = np.concatenate([example.features for example in examples], axis=1).T.astype(float)
    labels = np.concatenate([example.labels for example in examples])
    totals = np.array([max(example.weights.sum(), 1e-3) for example in examples])
    scales = (np.median(totals) / totals) ** 0.5  # a long page counts more, but not in proportion
    weights = np.concatenate([e.weights * s for e, s in zip(examples, scales, strict=True)])
    weights *= len(weights) / weights.sum()
    spread = features.std(axis=0)
    usable = spread > 0
    mean, spread = features.mean(axis=0), np.where(usable, spread, 1.0)
    model = LogisticRegression(C=STRENGTH, max_iter=400)
    model.fit((features - mean) / spread, labels, sample_weight=weights)
    slopes = np.where(usable, model.coef_[0] / spread, 0.0)
    slopes[FEATURES.index("bias")] = model.intercept_[0] - slopes @ mean
    weights_found: Integers = np.rint(slopes * main_content.ONE).astype(np.int64)
    return weights_found


def cross_validate(examples: Sequence[Example], num_folds: int) -> dict[str, str]:
    """The text of each page, by weights fitted on the other folds."""
    texts = {}
    for fold in range(num_folds):
        say(f"fold {fold + 1} of {num_folds}")
        weights = fit([e for e in examples if _fold(e.page, num_folds) != fold])
        for example in examples:
            if _fold(example.page, num_folds) == fold:
                texts[example.page.key] = _extract(example, weights)
    return texts


def _fold(page: GoldPage, num_folds: int) -> int:
    return (page.half + 2 * (page.digest[1] % 2)) % num_folds


def _extract(example: Example, weights: Integers) -> str:
    kept = main_content.select_blocks(example.tree, weights @ example.features)
    return main_content.join_blocks(example.tree, kept)


def score_rows(
    name: str, pages: Sequence[GoldPage], texts: dict[str, str]
) -> list[tuple[str | float, ...]]:
    """Scores of all pages, and of each half."""
    rows: list[tuple[str | float, ...]] = []
    for part, halves in (("all", (0, 1)), ("half 0", (0,)), ("half 1", (1,))):
        chosen = [page for page in pages if page.half in halves]
        tokens, strings = score_tokens(chosen, texts), score_strings(chosen, texts)
        numbers = [x for s in (tokens, strings) for x in (s.f1, s.precision, s.recall)]
        rows.append((f"{name}, {part}", *(f"{number:.4f}" for number in numbers)))
    return rows


def write_weights(weights: Integers) -> None:
    """Replace the module of weights."""
    lines = "".join(
        f'    "{name}": {int(weight)},\n' for name, weight in zip(FEATURES, weights, strict=True)
    )
    WEIGHTS_FILE.write_text(
        '"""Weights of the block features, in millionths of log-odds.\n\n'
        "Written by ``bench/fit_main_content.py``: a ridge logistic regression on gold pages.\n"
        f'"""\n\nWEIGHTS = {{\n{lines}}}\n',
        encoding="utf-8",
    )
    say(f"wrote {WEIGHTS_FILE}")


if __name__ == "__main__":
    sys.exit(main())
