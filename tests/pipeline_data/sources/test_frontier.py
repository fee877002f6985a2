import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_data.sources.frontier import Frontier, Target, resolve_link
from pipeline_data.sources.settings import CrawlConfig

START = "http://a.example/"


def frontier_of(**changes: object) -> Frontier:
    return Frontier(CrawlConfig.model_validate({"start_urls": (START,), **changes}))


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("b.html", "http://a.example/x/b.html"),
        ("/b#part", "http://a.example/b"),
        ("../é ü", "http://a.example/%C3%A9%20%C3%BC"),
        ("HTTP://B.Example:80", "http://b.example/"),
        ("https://b.example:8443/?q=1&a=2", "https://b.example:8443/?q=1&a=2"),
        ("//b.example./", "http://b.example/"),
        (" \n c ", "http://a.example/x/c"),
        ("mailto:someone@b.example", None),
        ("javascript:void(0)", None),
        ("http://[broken/", None),
        ("http://b.example:port/", None),
    ],
)
def test_links_have_one_spelling(link: str, url: str | None) -> None:
    assert resolve_link("http://a.example/x/", link) == url


@given(st.text())
def test_any_link_resolves_to_a_url_that_resolves_to_itself(link: str) -> None:
    url = resolve_link(START, link)
    if url is not None:
        assert resolve_link(START, url) == url
        assert url.startswith(("http://", "https://"))
        assert "#" not in url


def test_redirect_keeps_the_depth_and_a_link_adds_one() -> None:
    frontier = frontier_of(max_depth=1)
    (start,) = frontier.next_round()
    frontier.add_redirect(start, "/moved")
    frontier.add_links(start, ["one"])
    moved, one = frontier.next_round()
    assert (one.depth, moved.depth) == (1, 0)
    frontier.add_links(moved, ["one", "two"])
    frontier.add_links(one, ["three", "one"])
    assert frontier.next_round() == [Target("http://a.example/two", 1)]
    assert [row["reason"] for row in frontier.refused()] == ["depth"]


def test_base_of_a_page_decides_where_its_links_lead() -> None:
    frontier = frontier_of()
    (start,) = frontier.next_round()
    frontier.add_links(start, ["page.html"], base="/deep/er/")
    assert [t.url for t in frontier.next_round()] == ["http://a.example/deep/er/page.html"]


def test_without_domains_only_the_hosts_of_the_start_are_in_scope() -> None:
    frontier = frontier_of()
    (start,) = frontier.next_round()
    frontier.add_links(start, ["http://sub.a.example/", "http://b.example/"])
    assert frontier.next_round() == []
    assert {row["reason"] for row in frontier.refused()} == {"scope"}


def test_domains_cover_their_subdomains_and_nothing_that_only_looks_like_one() -> None:
    frontier = frontier_of(allowed_domains=("a.example",))
    (start,) = frontier.next_round()
    frontier.add_links(start, ["http://sub.a.example/", "http://nota.example/"])
    assert [t.url for t in frontier.next_round()] == ["http://sub.a.example/"]


def test_start_that_is_no_url_is_refused() -> None:
    frontier = Frontier(CrawlConfig(start_urls=("ftp://a.example/",)))
    assert frontier.next_round() == []
    assert frontier.refused()[0]["reason"] == "scope"


GRAPHS = st.dictionaries(
    st.integers(0, 12), st.lists(st.integers(0, 12), max_size=5), min_size=1, max_size=12
)


@given(GRAPHS, st.integers(1, 12), st.integers(0, 4), st.randoms(use_true_random=False))
def test_what_is_asked_for_never_depends_on_the_order_of_answers(
    graph: dict[int, list[int]], max_pages: int, max_depth: int, shuffler: random.Random
) -> None:
    def explore(shuffle: bool) -> tuple[list[Target], list[dict[str, str]]]:
        frontier = frontier_of(max_pages=max_pages, max_depth=max_depth)
        asked: list[Target] = []
        while targets := frontier.next_round():
            asked += targets
            answers = shuffler.sample(targets, len(targets)) if shuffle else targets
            for target in answers:
                number = int(target.url.rsplit("/", 1)[1] or 0)
                frontier.add_links(target, [f"/{n}" for n in graph.get(number, ())])
        refused = [row | {"detail": ""} for row in frontier.refused()]
        return asked, refused

    asked, refused = explore(shuffle=False)
    assert explore(shuffle=True) == (asked, refused)
    assert len(asked) == len({target.url for target in asked}) <= max_pages
    assert not {t.url for t in asked} & {row["url"] for row in refused}
