"""The fast extractor: what it keeps of typical pages, and that nothing but the page decides."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_data.corpus.extraction.block_features import FEATURES, block_features, name_hints
from pipeline_data.corpus.extraction.block_weights import WEIGHTS
from pipeline_data.corpus.extraction.html_blocks import read_blocks
from pipeline_data.corpus.extraction.main_content import extract_main_content, score_blocks

PROSE = (
    "The river rises in the hills above the town, and for the first ten miles it is no wider than"
    " a cart. People who live along it say that nobody has ever drowned there.",
    "In the spring, when the snow melts, it carries away whatever was left on the banks: ladders,"
    " boats, once a piano. The council has promised a wall, as it did in 1911.",
    "Engineers measured the flow for three years before they agreed on a number, and the number,"
    " when it came, was the one that the miller had written on his door.",
)


def page(main: str) -> str:
    """A page as many are: menu, teasers and small print around the main part."""
    menu = "".join(f'<li><a href="/{word}">{word}</a></li>' for word in ("Home", "News", "Sport"))
    teasers = "".join(
        f'<li class="teaser"><a href="/{n}">Ten things about subject {n} you will like</a></li>'
        for n in range(8)
    )
    return (
        "<html><head><title>A river</title><script>var a = '<p>not text</p>';</script></head><body>"
        f'<div class="menu"><ul>{menu}</ul></div><div class="article-body">{main}</div>'
        f'<div class="sidebar related"><h3>More stories</h3><ul>{teasers}</ul></div>'
        '<div class="footer"><p>© A newspaper. <a href="/terms">Terms of use</a></p></div>'
        "</body></html>"
    )


def paragraphs(*texts: str) -> str:
    return "".join(f"<p>{text}</p>" for text in texts)


def test_keeps_the_article_and_nothing_around_it() -> None:
    assert extract_main_content(page(paragraphs(*PROSE))) == "\n".join(PROSE)


def test_weights_are_those_of_the_features() -> None:
    assert tuple(WEIGHTS) == FEATURES


def test_scores_are_the_weighed_features() -> None:
    tree = read_blocks(page(paragraphs(*PROSE)))
    expected = np.array(list(WEIGHTS.values())) @ block_features(tree)
    assert score_blocks(tree).tolist() == expected.tolist()


def test_a_page_without_prose_gives_its_likeliest_text() -> None:
    assert extract_main_content('<div class="menu"><a href="/">Home</a></div>') == "Home"


def test_navigation_and_footers_are_no_blocks() -> None:
    html = "<nav><p>Home</p></nav><p>One</p><footer><p>Terms</p></footer>"
    assert read_blocks(html).texts == ["One"]


def test_inline_elements_join_without_spaces_and_breaks_are_lines() -> None:
    text = (
        "<b>In</b>undation <a href='/x'>is</a><i>,</i> they say,<br>a&nbsp;matter of &lt;time&gt;"
    )
    lines = read_blocks(f"<p>{text}<!-- no > text --> &amp; luck</p>").texts
    assert lines == ["Inundation is, they say,", "a matter of <time> & luck"]


def test_preformatted_text_keeps_its_lines() -> None:
    code = "def flow(level):\n    if level &gt; 3:\n        return 'flood'\n"
    text = extract_main_content(
        page(paragraphs(*PROSE) + f"<pre>{code}</pre>" + paragraphs(PROSE[0]))
    )
    assert "def flow(level):\n    if level > 3:\n        return 'flood'\n" in text


def test_lists_are_lines_and_cells_of_a_row_are_joined() -> None:
    items = "".join(f"<li>{text}</li>" for text in PROSE)
    cells = "".join(f"<tr><td>{a}</td><td>{b}</td></tr>" for a, b in (PROSE[:2], PROSE[1:]))
    text = extract_main_content(page(f"<ul>{items}</ul><table>{cells}</table>"))
    assert "\n".join(PROSE) in text
    assert f"{PROSE[0]} | {PROSE[1]}\n{PROSE[1]} | {PROSE[2]}" in text


@pytest.mark.parametrize(
    "sentence",
    [
        "Река берёт начало в холмах над городом, и первые десять миль она не шире телеги. ",
        "河は町の上の丘に源を発し、最初の十マイルは荷車ほどの幅しかない。人々はそう言う。",
        "ينبع النهر من التلال فوق المدينة، ولا يزيد عرضه في الأميال الأولى عن عربة واحدة. ",
    ],
)
def test_scripts_other_than_latin(sentence: str) -> None:
    texts = [(sentence * (2 + n)).strip() for n in range(3)]
    assert extract_main_content(page(paragraphs(*texts))) == "\n".join(texts)


def test_values_of_attributes_may_hold_tags_and_quotes() -> None:
    html = (
        '<p title="a > b <br> c">One</p><p data-x=\'{"a": "<p>"}\'>Two</p><p a"b="c">Three</p>'
        '<p title="<!-- ">Four</p><div data-y="<script>">Five</div>'
    )
    assert read_blocks(html).texts == ["One", "Two", "Three", "Four", "Five"]


def test_text_that_scripts_would_show() -> None:
    template = f"<script type='text/template'>{paragraphs(*PROSE)}</script>"
    assert extract_main_content(page(template)) == "\n".join(PROSE)
    data = {"@graph": [{"@type": "Article", "articleBody": "\n\n".join(PROSE)}]}
    linked = f'<script type="application/ld+json">{json.dumps(data)}</script>'
    assert extract_main_content(f"<html><head>{linked}</head><body></body></html>") == (
        "\n".join(PROSE)
    )
    broken = '<script type="application/ld+json">{"articleBody": </script><p>x</p>'
    assert extract_main_content(broken) == extract_main_content("<p>x</p>")


def test_hints_in_names() -> None:
    assert name_hints('class="c-ArticleBody"') != name_hints('class="c-article"')
    assert name_hints('id="sidebarLeft"') == name_hints('class="side-bar sidebar"')
    assert name_hints('data-class="sidebar" title="id=nav"') == 0
    assert name_hints('class="x" style="color: red; display: none"') == name_hints('hidden=""')


@pytest.mark.parametrize(
    "html",
    [
        "",
        "\0\0",
        "<",
        "<!--",
        "<p>a\0b",
        "<plaintext>a<p>b",
        "<frameset><frame></frameset>",
        "<div>" * 100_000 + "deep",
        "<b><p>" * 2_000 + "mis-nested",
        "<ul><li>" * 20_000 + "list",
        f'<p class="{"x-y " * 500_000}">wide</p>',
        f'<p title="{"<" * 300_000}">pointed</p>',
        f'<p title="{"&quot;>" * 300_000}">quoted</p>',
        "<a href=x>link " * 20_000,
        "<p>]]></p></div></span></body></html><p>after",
        '<script type="application/ld+json">' + "[" * 100_000 + '"articleBody"</script>',
    ],
    ids=range(16),
)
def test_odd_pages_end_in_text_or_nothing(html: str) -> None:
    tree = read_blocks(html)
    assert all(0 <= start <= end for start, end in zip(tree.starts, tree.ends, strict=True))
    assert extract_main_content(html) == extract_main_content(html)


MARKUP = st.recursive(
    st.sampled_from([*PROSE, "Home", "Read more: all of it", "©", "a < b & c", "\n \t", '"', "="]),
    lambda inner: st.builds(
        lambda tag, name, parts: f'<{tag} class="{name}">{"".join(parts)}</{tag}>',
        st.sampled_from(["p", "div", "ul", "li", "a", "td", "h2", "nav", "pre", "article", "b"]),
        st.sampled_from(["", "article-body", "sidebar", "comment", "post", "<p>", "a > b"]),
        st.lists(inner, max_size=4),
    ),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(MARKUP, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_a_page_gives_the_same_text_whatever_came_before(pages, random) -> None:  # type: ignore[no-untyped-def]
    expected = [extract_main_content(html) for html in pages]
    order = list(range(len(pages)))
    random.shuffle(order)
    assert {i: extract_main_content(pages[i]) for i in order} == dict(enumerate(expected))


@settings(max_examples=100, deadline=None)
@given(MARKUP)
def test_blocks_nest_and_no_text_is_made_up(html: str) -> None:
    tree = read_blocks(html)
    assert tree.ends[0] == len(tree.texts) == len(tree.owners)
    for element, parent in enumerate(tree.parents):
        assert tree.starts[parent] <= tree.starts[element]
        assert tree.ends[element] <= tree.ends[parent]
    for block, owner in enumerate(tree.owners):
        assert tree.starts[owner] <= block < tree.ends[owner]
        assert 0 <= tree.num_link_chars[block] <= len(tree.texts[block])
    if tree.texts:
        assert block_features(tree).shape == (len(FEATURES), len(tree.texts))
    kept = extract_main_content(html).replace(" | ", "\n").split("\n")
    assert set(kept) <= {line for text in tree.texts for line in text.split("\n")} | {""}


def test_another_process_and_hash_seed_give_the_same_text() -> None:
    html = page(paragraphs(*PROSE))
    code = (
        "import sys; from pipeline_data.corpus.extraction.main_content import extract_main_content;"
        "sys.stdout.buffer.write(extract_main_content(sys.stdin.buffer.read().decode()).encode())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        input=html.encode(),
        env=os.environ | {"PYTHONHASHSEED": "7"},
        cwd=Path(__file__).parents[4],
        capture_output=True,
        check=True,
    )
    assert result.stdout.decode() == extract_main_content(html)


@pytest.mark.skipif("HEADWATER_FIELD_DATA" not in os.environ, reason="no HEADWATER_FIELD_DATA")
def test_gold_pages() -> None:
    from bench.gold_pages import load_pages, score_strings, score_tokens

    pages = load_pages(Path(os.environ["HEADWATER_FIELD_DATA"]))[::4]
    texts = {page.key: extract_main_content(page.html) for page in pages}
    assert score_tokens(pages, texts).f1 > 0.95
    assert score_strings(pages, texts).f1 > 0.89
