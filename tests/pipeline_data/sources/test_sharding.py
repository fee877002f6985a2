from hypothesis import given
from hypothesis import strategies as st

from pipeline_data.sources.sharding import group_by_shard, hash_fraction, shard_index, shard_name

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def test_place_of_a_url_is_fixed_for_ever() -> None:
    assert shard_index("http://a.example/", 4) == 3
    assert shard_name("crawl", 7) == "crawl-007"
    assert hash_fraction("Entry") == 0.1495647735079143


@given(st.sets(TEXTS), st.integers(1, 9))
def test_every_row_is_in_the_shard_of_its_url_in_order(urls: set[str], num_shards: int) -> None:
    groups = group_by_shard([{"url": url} for url in urls], num_shards)
    assert [shard_index(row["url"], num_shards) for group in groups for row in group] == [
        index for index, group in enumerate(groups) for _ in group
    ]
    assert sorted(row["url"] for group in groups for row in group) == sorted(urls)
    assert all([r["url"] for r in group] == sorted(r["url"] for r in group) for group in groups)


@given(TEXTS, TEXTS)
def test_fractions_lie_in_the_unit_interval(key: str, salt: str) -> None:
    assert 0.0 <= hash_fraction(key, salt) < 1.0


def test_fractions_are_even_and_salts_independent() -> None:
    plain = [hash_fraction(str(n)) for n in range(4000)]
    salted = [hash_fraction(str(n), "salt") for n in range(4000)]
    assert abs(sum(f < 0.3 for f in plain) / 4000 - 0.3) < 0.03
    both = sum(a < 0.5 and b < 0.5 for a, b in zip(plain, salted, strict=True))
    assert abs(both / 4000 - 0.25) < 0.03
