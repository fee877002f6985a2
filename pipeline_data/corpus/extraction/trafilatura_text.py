"""The main text of a page by trafilatura (Barbaresi, ACL 2021), in less than its own time.

Half of that time goes into XPath expressions that ask the id and class of every element through
``re:test``, each time a call to Python. Nearly all ask for nothing but an element's own name and
attributes, and a site gives the same few to all its pages. So what trafilatura's own expression
says of a name with attributes is remembered. The text is that of ``trafilatura.extract``.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import repeat
from typing import Any

from lxml import etree

Key = tuple[str, tuple[tuple[str, str], ...]]
"""Name and attributes of an element, in their order, as far as an expression asks for them."""

MAX_KEYS = 50_000
"""What is remembered for one expression at most, before all of it is forgotten."""

_LISTS = (
    "BODY_XPATH",
    "OVERALL_DISCARD_XPATH",
    "PRECISION_DISCARD_XPATH",
    "RAW_TREE_PRUNE_XPATH",
    "REMOVE_COMMENTS_AND_LISTS_XPATH",
    "REMOVE_COMMENTS_XPATH",
)
_FIRST = re.compile(r"\((.*)\)\[1]|(.*])\[1]", re.DOTALL)
"""A path of which trafilatura takes the first element."""
_LITERAL = re.compile(r"'[^']*'")
_OWN_CONDITION = re.compile(
    r"""\.//\*(?:\[(?P<tags>self::\w+(?:\ or\ self::\w+)*)](?=\[))?
    (?:[][()|=,\s]|@[\w-]+|\b(?:self::\w+|or|and|not|contains|starts-with|translate|re:test)\b)+""",
    re.VERBOSE,
)
"""A path that asks for an element's own name and attributes alone, without its literals."""


def extract_by_trafilatura(html: str, **options: Any) -> str:
    """The text by ``trafilatura.extract`` with these options and ``fast``; empty if there is none.

    Anything that trafilatura raises is passed on.
    """
    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    with _remembering():
        return trafilatura.extract(html, fast=True, **options) or ""


@contextmanager
def _remembering() -> Iterator[None]:
    """Let trafilatura's lists hold paths that remember."""
    paths = load_paths()
    for paths_of_list, _, remembered in paths:
        paths_of_list[:] = remembered
    try:
        yield
    finally:
        for paths_of_list, original, _ in paths:
            paths_of_list[:] = original


@cache
def load_paths() -> list[tuple[list[Any], list[Any], list[Any]]]:
    """Each of trafilatura's lists of paths, what it holds, and the same of paths that remember."""
    from trafilatura import xpaths

    lists = [getattr(xpaths, name) for name in _LISTS]
    return [(paths, list(paths), list(map(_make_path, paths))) for paths in lists]


def _make_path(path: etree.XPath) -> Any:
    """A path that finds the same and remembers, if this one allows it and is slow by itself."""
    text = path.path.strip()
    is_first = _FIRST.fullmatch(text)
    if is_first:
        text = is_first[1] or is_first[2]
    plain = _LITERAL.sub("", text).strip()
    condition = _OWN_CONDITION.fullmatch(plain)
    if "re:test" not in plain or not condition or ("self::" in plain and not condition["tags"]):
        return path
    return RememberedPath(text.strip(), condition["tags"] or "", bool(is_first))


class RememberedPath:
    """A path that asks of each element below another for its own name and attributes.

    ``only_first`` leaves out all but the first element found.
    """

    def __init__(self, text: str, tags: str, only_first: bool) -> None:
        from trafilatura.xpaths import REGEXP_NS

        self._path = etree.XPath(text, namespaces={"re": REGEXP_NS})
        self._tags = re.findall(r"self::(\w+)", tags)
        self._attributes = frozenset(re.findall(r"@([\w-]+)", text))
        self._only_first = only_first
        self._answers: dict[Key, bool] = {}

    def __call__(self, tree: Any) -> list[Any]:
        """The elements that match, in the order of the document."""
        elements = list(tree.iterdescendants(*self._tags or "*"))
        keys = self._find_keys(elements)
        if len(self._answers) > MAX_KEYS:
            self._answers.clear()
        try:
            self._ask(set(keys).difference(self._answers))
        except ValueError:  # a character in an attribute that HTML may hold and lxml not write
            found = list(self._path(tree))
        else:
            answers = map(self._answers.__getitem__, keys)
            found = [element for element, answer in zip(elements, answers, strict=True) if answer]
        return found[:1] if self._only_first else found

    def _find_keys(self, elements: Sequence[Any]) -> list[Key]:
        wanted = self._attributes
        names = [element.tag for element in elements] if self._tags else repeat("")
        return [
            (name, tuple([pair for pair in element.items() if pair[0] in wanted]))
            for name, element in zip(names, elements, strict=False)
        ]

    def _ask(self, keys: Iterable[Key]) -> None:
        """Have the path judge an element of each key."""
        root = etree.Element("root")
        asked = {}
        for key in keys:
            element = etree.SubElement(root, key[0] or "any")
            for name, value in key[1]:
                element.set(name, value)
            asked[element] = key
        matching = set(self._path(root)) if asked else set()
        self._answers.update((key, element in matching) for element, key in asked.items())
