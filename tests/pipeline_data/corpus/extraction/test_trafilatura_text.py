"""The text of trafilatura's own ``extract``, and what its paths find, on pages of all shapes."""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trafilatura
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from lxml import html as lxml_html

from pipeline_data.corpus.extraction import trafilatura_text
from pipeline_data.corpus.extraction.trafilatura_text import (
    RememberedPath,
    extract_by_trafilatura,
    load_paths,
)
from tests.pipeline_data.corpus.material import make_text

FIELD_DATA = os.environ.get("HEADWATER_FIELD_DATA", "")
FOCUSES: list[dict[str, Any]] = [{}, {"favor_precision": True}, {"favor_recall": True}]
PATHS = [
    (original, remembered)
    for _, originals, paths in load_paths()
    for original, remembered in zip(originals, paths, strict=True)
    if isinstance(remembered, RememberedPath)
]

TAGS = """
div section span p article main item list details ol ul li aside h1 header table td a
"""
VALUES = """
sidebar post article-body entry-content content Content main-content comment-list comments
commentary disqus_thread share- social nav navbar Related footer ad-1 x-ad- hide hidden
cookie cookies-consent bottom link border display:none teaser caption fulltext story-body
pagemain reply-1 infinite-scroll é
"""
tags = st.sampled_from(TAGS.split())
characters = st.characters(codec="utf-8", exclude_characters='"<>&')
values = st.sampled_from(VALUES.split()) | st.text(characters, max_size=4)
names = st.sampled_from(["class", "id", "role", "style", "itemprop", "aria-hidden", "data-x"])
attributes = st.lists(st.tuples(names, st.lists(values, max_size=2).map(" ".join)), max_size=3)
sentences = st.integers(0, 99).map(lambda seed: make_text(seed, 2))


def render(tag: str, pairs: list[tuple[str, str]], children: list[str]) -> str:
    written = "".join(f' {name}="{value}"' for name, value in pairs)
    return f"<{tag}{written}>{''.join(children)}</{tag}>"


bodies = st.recursive(
    sentences | st.sampled_from(["", "<br>", "</div>", "<p>", "&#1;", "<!-- c -->", "<svg:x>"]),
    lambda inner: st.builds(render, tags, attributes, st.lists(inner, max_size=5)),
    max_leaves=25,
)
pages = bodies.map(lambda body: f"<html><head><title>T</title></head><body>{body}</body></html>")


def extract_by_library(html: str, **options: Any) -> str:
    return trafilatura.extract(html, fast=True, **options) or ""


def test_the_slow_paths_of_this_version_are_remembered() -> None:
    assert len(PATHS) == 8


@settings(max_examples=150, deadline=None)
@given(pages)
def test_paths_find_the_same(html: str) -> None:
    tree = lxml_html.document_fromstring(html)
    for original, remembered in PATHS:
        found = original(tree)
        is_first = "[1]" in original.path
        assert remembered(tree) == (found[:1] if is_first else found), original.path


@settings(max_examples=60, deadline=None)
@given(pages, st.sampled_from(FOCUSES))
def test_text_is_that_of_the_library(html: str, focus: dict[str, Any]) -> None:
    options = {"include_comments": False, "deduplicate": False} | focus
    assert extract_by_trafilatura(html, **options) == extract_by_library(html, **options)


@pytest.mark.parametrize("character", ["\x01", "\x0b", "\ufffe"])
def test_an_attribute_that_cannot_be_copied(character: str) -> None:
    body = f'<div id="sidebar" class="a{character}b"><p>{make_text(1)}</p></div>'
    tree = lxml_html.document_fromstring(f"<html><body>{body}<p>Text.</p></body></html>")
    for original, remembered in PATHS:
        assert remembered(tree) == original(tree)


def test_memory_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trafilatura_text, "MAX_KEYS", 3)
    original = next(path for path, _ in PATHS if "sidebar" in path.path)
    remembered = trafilatura_text._make_path(original)
    for number in range(20):
        body = f'<div class="c{number}"></div><div class="sidebar"></div><div class="c0"></div>'
        tree = lxml_html.document_fromstring(f"<html><body>{body}</body></html>")
        assert [element.get("class") for element in remembered(tree)] == ["sidebar"]
        assert len(remembered._answers) <= 6


@pytest.mark.parametrize(
    "path",
    [
        ".//*[re:test(@id, 'a')][.//h1]",
        ".//*[re:test(@id, 'a') and position() = 1]",
        ".//*[re:test(., 'a')]",
        ".//*[re:test(@id, 'a')]/p",
        ".//*[re:test(@id, 'a')][2]",
        ".//*[re:test(@id, 'a') or self::p]",
        ".//*[contains(@id, 'a')]",
        "//div[re:test(@id, 'a')]",
    ],
)
def test_other_paths_are_left_alone(path: str) -> None:
    other = etree.XPath(path, namespaces={"re": "http://exslt.org/regular-expressions"})
    assert trafilatura_text._make_path(other) is other


def test_the_library_is_as_it_was_afterwards() -> None:
    with pytest.raises(TypeError):
        extract_by_trafilatura("<html></html>", unknown=True)
    extract_by_trafilatura("<html><body><p>Text.</p></body></html>")
    assert all(paths == originals for paths, originals, _ in load_paths())


def field_pages() -> Iterator[str]:
    folder = Path(FIELD_DATA, "extraction")
    with tarfile.open(folder / "trafilatura" / "html.tar.gz") as archive:
        for member in sorted(filter(lambda m: m.isfile(), archive), key=lambda m: m.name)[::12]:
            file = archive.extractfile(member)
            assert file
            yield file.read().decode("utf-8", "replace")


@pytest.mark.skipif(not FIELD_DATA, reason="HEADWATER_FIELD_DATA names no folder of field data")
def test_real_pages() -> None:
    texts = [extract_by_trafilatura(page, favor_precision=True) for page in field_pages()]
    assert texts == [extract_by_library(page, favor_precision=True) for page in field_pages()]
    assert sum(map(bool, texts)) > 20
