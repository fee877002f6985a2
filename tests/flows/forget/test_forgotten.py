"""The list of what a home has forgotten is part of the blocklist of every recipe."""

from pathlib import Path

import pytest

from flows.blocklist import Blocklist
from flows.forget.forgotten import (
    FILE,
    Forgotten,
    add_forgotten,
    leave_out,
    note_erasure,
    read_forgotten,
)
from flows.recipe import load_recipe
from pipeline_data.corpus.settings import FilterConfig, UrlConfig
from pipeline_data.errors import RecipeError

PAGE = Forgotten("http://a.example/1", "url", "asked", "2026-01-02T03:04:05+00:00")
HOST = Forgotten("b.example", "domain", "spam", "2026-01-03T03:04:05+00:00")
RAW = Forgotten("own-a.jsonl", "file", "licence", "2026-01-04T03:04:05+00:00")


def test_a_target_is_on_the_list_once_with_its_first_reason(tmp_path: Path) -> None:
    add_forgotten(tmp_path, [PAGE, HOST])
    again = Forgotten(PAGE.target, "url", "another reason", "2027-01-01T00:00:00+00:00")
    add_forgotten(tmp_path, [again, RAW])
    assert read_forgotten(tmp_path) == [PAGE, HOST, RAW]
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_an_erasure_is_noted_with_its_first_date_and_where_the_page_is_left(tmp_path: Path) -> None:
    add_forgotten(tmp_path, [PAGE, HOST])
    for date, left_in in (("2026-02-01", ["own-a"]), ("2026-03-01", ["own-b", "own-a"])):
        note_erasure(tmp_path, [("url", PAGE.target)], date, left_in)
    page, host = read_forgotten(tmp_path)
    assert (page.erased, page.left_in) == ("2026-02-01", ("own-a", "own-b"))
    assert host == HOST


def test_every_recipe_of_the_home_leaves_it_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_HOME", str(tmp_path))
    clean = load_recipe("smoke")
    add_forgotten(tmp_path, [PAGE, HOST, RAW])
    note_erasure(tmp_path, [("domain", HOST.target), ("url", PAGE.target)], "2026-02-01", ["own-b"])
    blocklist = load_recipe("smoke").blocklist
    assert blocklist.urls == (*clean.blocklist.urls, PAGE.target)
    assert (blocklist.domains, blocklist.shards) == ((HOST.target,), (RAW.target,))
    assert blocklist.redactions == {"own-b": (HOST.target, PAGE.target)}
    assert leave_out(blocklist, read_forgotten(tmp_path)) == blocklist


def test_a_list_that_was_spoilt_is_told_by_its_line(tmp_path: Path) -> None:
    add_forgotten(tmp_path, [PAGE])
    with (tmp_path / FILE).open("a") as handle:
        handle.write('{"target": "x", "kind": "rumour", "reason": "", "date": "", "left_in": []}\n')
    with pytest.raises(RecipeError, match=r"forgotten\.jsonl, line 2: kind is"):
        read_forgotten(tmp_path)


def test_a_blocked_host_is_not_let_in_by_a_filter() -> None:
    allowing = FilterConfig(
        rules=("url",),
        url=UrlConfig(block_words=("mill",), allow_domains=("b.example", "x.b.example", "c.org")),
    )
    blocked = Blocklist(domains=("B.example",)).block(allowing)
    assert blocked.url.allow_domains == ("c.org",)
    assert blocked.url.block_domains == ("B.example",)
    with pytest.raises(RecipeError, match=r"c\.org would let in deep\.c\.org"):
        Blocklist(domains=("deep.c.org",)).block(allowing)
    assert Blocklist().block(allowing) == allowing
