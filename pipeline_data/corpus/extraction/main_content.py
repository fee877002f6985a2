"""The main text of an HTML page, by a linear score of its text blocks.

A page is read into blocks (``html_blocks``), each block is described in whole numbers
(``block_features``) and scored by a logistic model (``block_weights``, fitted by
``bench/fit_main_content.py``). The element with the largest sum of scores is the main part of the
page: maximum subsequence segmentation (Pasternack & Roth, WWW 2009) on a tree. What lies in it or
in the element around it is kept from a lower score on than what lies elsewhere.

Nothing is remembered from page to page and no clock is read: the same page gives the same text,
on any machine.
"""

import json
import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline_data.corpus.extraction.block_features import (
    FEATURES,
    Integers,
    prefix_sums,
    weigh_blocks,
)
from pipeline_data.corpus.extraction.block_weights import WEIGHTS
from pipeline_data.corpus.extraction.html_blocks import BlockTree, read_blocks

ONE = 1_000_000
"""Scores are log-odds in millionths."""
_LOWEST = -250_000
_LOWEST_ELSEWHERE = 1_500_000
_LIMIT = 3 * ONE
_MAX_LENGTH = 1000
"""Characters of one block that count when elements are compared."""
_FEW_CHARS = 250
"""With less text than this, text that only scripts show is looked for."""

_WEIGHT_VECTOR = np.array([float(WEIGHTS.get(name, 0)) for name in FEATURES])
_TEMPLATE = re.compile(
    r"<script[^>]*\stype=[\"']?text/(?:template|html|x-template)[\"']?[^>]*>(.*?)</script>",
    re.DOTALL | re.IGNORECASE,
)
_LINKED_DATA = re.compile(
    r"<script[^>]*\stype=[\"']?application/ld\+json[\"']?[^>]*>(.*?)</script>",
    re.DOTALL | re.IGNORECASE,
)


def extract_main_content(html: str) -> str:
    """The main text of a page, a line for each block; nothing if the page has no text.

    Cells of a table's row are joined by `` | ``. Of a page that shows its text by scripts, text in
    templates and the ``articleBody`` of its linked data (schema.org) are taken. A page without
    prose gives the blocks that are most like it.

    Raises:
        resiliparse.parse.html.HTMLParserException: the parser gave up.
    """
    text = _extract(html)
    if len(text) < _FEW_CHARS:
        if _TEMPLATE.search(html):
            text = max(text, _extract(_TEMPLATE.sub(r"<div>\1</div>", html)), key=len)
        if '"articleBody"' in html:
            text = max(text, _article_body(html), key=len)
    return text or _extract(html, likeliest=True)


def score_blocks(tree: BlockTree) -> Integers:
    """Log-odds of each block to be main content, in millionths."""
    return weigh_blocks(tree, _WEIGHT_VECTOR)


def select_blocks(tree: BlockTree, scores: Integers) -> npt.NDArray[np.bool_]:
    """Which blocks to keep."""
    positions = np.arange(len(scores))
    lengths = np.minimum([len(text) for text in tree.texts], _MAX_LENGTH)
    sums = prefix_sums(np.clip(scores, -_LIMIT, _LIMIT) * lengths)
    starts, ends = np.array(tree.starts), np.array(tree.ends)
    gains = sums[ends] - sums[starts]
    best = len(gains) - 1 - int(np.argmax(gains[::-1]))  # the innermost of equals
    around = tree.parents[best]
    inside = (positions >= starts[around]) & (positions < ends[around])
    return scores > np.where(inside, _LOWEST, _LOWEST_ELSEWHERE)


def _extract(html: str, likeliest: bool = False) -> str:
    """The text of a page's main blocks, or of its likeliest ones even if no block is likely."""
    tree = read_blocks(html)
    if not tree.texts:
        return ""
    scores = score_blocks(tree)
    if likeliest:
        scores += ONE - scores.max()
    return join_blocks(tree, select_blocks(tree, scores))


def join_blocks(tree: BlockTree, kept: npt.NDArray[np.bool_]) -> str:
    """The text of the kept blocks."""
    parts: list[str] = []
    last_row = 0
    for block in np.flatnonzero(kept).tolist():
        owner = tree.owners[block]
        row = tree.parents[owner] if tree.tags[owner].partition(" ")[0] in ("td", "th") else 0
        parts += (" | " if row and row == last_row else "\n", tree.texts[block])
        last_row = row
    return "".join(parts[1:])


def _article_body(html: str) -> str:
    """The longest ``articleBody`` in the page's linked data."""
    bodies = [""]
    for source in _LINKED_DATA.findall(html):
        try:
            data = json.loads(source, strict=False)
        except (ValueError, RecursionError):
            continue
        bodies += (value for value in _values(data, "articleBody") if isinstance(value, str))
    longest = max(bodies, key=len)
    if "<" in longest:
        return "\n".join(read_blocks(longest).texts)
    return "\n".join(" ".join(line.split()) for line in longest.splitlines() if line.strip())


def _values(data: object, key: str) -> Iterator[object]:
    """All values of a key, at any depth."""
    waiting = [data]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if key in item:
                yield item[key]
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
