"""Rules about addresses, and the part of a list that concerns a shard."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_data.artifact import Artifact, content_digest, describe
from pipeline_data.corpus.filters import filter as filter_stage
from pipeline_data.corpus.filters.page import Drop
from pipeline_data.corpus.filters.quality import apply_rules, make_rules
from pipeline_data.corpus.settings import FilterConfig, UrlConfig
from pipeline_data.formats import document_id
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.corpus.material import documents_artifact

URL_CONFIG = UrlConfig(
    block_urls=("https://news.example/secret", "https://good.bad.example/exact"),
    block_domains=("bad.example", "EVIL.example", "bücher.example", "very.bad.example", ""),
    block_words=("casino", "Wet", "two-words"),
    allow_domains=("good.bad.example", "xn--gte-hoa.example"),
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://news.example/secret", Drop("blocked_url")),
        ("https://good.bad.example/exact", Drop("blocked_url")),
        ("https://news.example/secret/2", None),
        ("https://news.example/Secret", None),
        ("https://bad.example/", Drop("blocked_domain", "bad.example")),
        ("https://BAD.example./", Drop("blocked_domain", "bad.example")),
        ("https://me:pw@www.bad.example:8080/a", Drop("blocked_domain", "bad.example")),
        ("https://a.very.bad.example/", Drop("blocked_domain", "very.bad.example")),
        ("https://www.Evil.example/a", Drop("blocked_domain", "evil.example")),
        ("https://www.bücher.example/a", Drop("blocked_domain", "xn--bcher-kva.example")),
        ("https://xn--bcher-kva.example/a", Drop("blocked_domain", "xn--bcher-kva.example")),
        ("https://notbad.example/", None),
        ("https://bad.example.net/", None),
        ("https://a.example/?u=bad.example", None),
        ("https://good.bad.example/casino", None),
        ("https://güte.example/casino", None),
        ("https://news.example/best-Casino_online", Drop("blocked_word", "casino")),
        ("https://news.example/wet-casino", Drop("blocked_word", "casino")),
        ("https://news.example/wetlands", None),
        ("https://news.example/two-words", None),
        ("https://news.example/c%61sino", None),
        ("https://news.example/a?q=wet", Drop("blocked_word", "wet")),
        ("package:file#casinos", None),
        ("http://[broken", None),
        ("http://[broken/casino", Drop("blocked_word", "casino")),
        ("", None),
    ],
)
def test_url_rule(url: str, expected: Drop | None) -> None:
    rules = make_rules(FilterConfig(rules=("url",), url=URL_CONFIG))
    assert apply_rules(rules, url, "text") == (("url", expected) if expected else "text")


HOSTS = ("a.example", "b.a.example", "c.b.a.example", "B.A.example", "d.example", "ü.example")
TERMS = ("casino", "wet", "Wet", "x")
hosts, words = st.sampled_from(HOSTS), st.sampled_from(TERMS)
urls = st.builds("https://{}/{}-{}".format, hosts, words, words)
url_configs = st.builds(
    UrlConfig,
    block_urls=st.lists(urls, max_size=3).map(tuple),
    block_domains=st.lists(hosts, max_size=3).map(tuple),
    block_words=st.lists(words, max_size=2).map(tuple),
    allow_domains=st.lists(hosts, max_size=2).map(tuple),
)


def make_shard(folder: Path, shard_urls: list[str]) -> Artifact:
    rows = [
        {"doc_id": document_id("made", url), "url": url, "source": "made", "text": f"of {url}"}
        for url in shard_urls
    ]
    return documents_artifact(folder, rows, "made-0")


def digest_of(config: FilterConfig, documents: Artifact, out: Path) -> str:
    filter_stage.run(config, Inputs({"documents": documents}), out, Runtime())
    return content_digest(describe(out))


def scope(config: FilterConfig, documents: Artifact) -> FilterConfig:
    return filter_stage.scope_config(config, {"documents": documents}.__getitem__)


@settings(max_examples=60, deadline=None)
@given(url_configs, st.lists(urls, max_size=5, unique=True))
def test_a_scoped_config_gives_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, lists: UrlConfig, shard_urls: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("scope")
    documents = make_shard(folder / "in", shard_urls)
    config = FilterConfig(rules=("url",), url=lists)
    scoped = scope(config, documents)
    assert digest_of(scoped, documents, folder / "scoped") == digest_of(
        config, documents, folder / "full"
    )
    assert scope(scoped, documents) == scoped
    assert sum(len(entries) for _, entries in scoped.url) <= sum(len(e) for _, e in lists)


@settings(max_examples=60, deadline=None)
@given(url_configs, st.lists(urls, max_size=5, unique=True))
def test_entries_that_match_nothing_leave_no_trace(
    tmp_path_factory: pytest.TempPathFactory, lists: UrlConfig, shard_urls: list[str]
) -> None:
    documents = make_shard(tmp_path_factory.mktemp("scope"), shard_urls)
    longer = UrlConfig(
        block_urls=("https://else.example/", *lists.block_urls[::-1]),
        block_domains=("else.example", *lists.block_domains[::-1]),
        block_words=("else", *lists.block_words[::-1]),
        allow_domains=("else.example", *lists.allow_domains[::-1]),
    )
    first, second = (
        scope(FilterConfig(rules=("url",), url=url), documents) for url in (lists, longer)
    )
    assert first == second


def test_scope_keeps_what_decides(tmp_path: Path) -> None:
    shard_urls = ["https://bad.example/", "https://good.bad.example/a", "https://c.example/casino"]
    documents = make_shard(tmp_path, shard_urls)
    config = FilterConfig(rules=("url",), url=URL_CONFIG)
    assert scope(config, documents).url == UrlConfig(
        block_domains=("bad.example",),
        block_words=("casino",),
        allow_domains=("good.bad.example",),
    )
    allowed_only = make_shard(tmp_path / "allowed", shard_urls[1:2])
    assert scope(config, allowed_only).url == UrlConfig()


def test_without_lists_or_the_rule_no_file_is_read(tmp_path: Path) -> None:
    nowhere = Artifact("test", 1, "", "", tmp_path)
    for config in (
        FilterConfig(rules=("url",), url=UrlConfig(allow_domains=("a.example",))),
        FilterConfig(rules=("c4_quality",), url=URL_CONFIG),
    ):
        rules = tuple(rule for rule in config.rules if rule != "url")
        expected = config.model_copy(update={"url": UrlConfig(), "rules": rules})
        assert scope(config, nowhere) == expected


def test_long_lists_are_looked_up_not_searched() -> None:
    domains = tuple(f"site{number}.example" for number in range(100_000))
    rules = make_rules(FilterConfig(rules=("url",), url=UrlConfig(block_domains=domains)))
    for number in range(2000):  # minutes, were each domain tried
        url = f"https://a.b.site{number}.example/"
        drop = Drop("blocked_domain", f"site{number}.example")
        assert apply_rules(rules, url, "text") == ("url", drop)
