"""The rule ``url``: which addresses may enter, and which entries of a list concern a shard.

An address is compared with blocked addresses as it is spelt in the corpus, character for
character. Hosts are compared by their labels, in lower case, without port, user, or a final dot,
and an international name means the same in Unicode and in its ASCII form (``xn--``, RFC 3490).
Words are runs of letters and digits of the address in lower case; percent-encoded ones count as
they are spelt.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from pipeline_data.corpus.filters.page import Drop, Page, Rule
from pipeline_data.corpus.settings import UrlConfig

_WORD = re.compile(r"[^\W_]+")


def url_rule(config: UrlConfig) -> Rule:
    """Drop a page by its address: exact, by host and its subdomains, or by a word in it."""
    lists = _compile(config)

    def apply(page: Page) -> str | Drop:
        found = lists.find(page.url)
        if found is None or found.allowed_by:
            return page.text
        return Drop(found.reason, "" if found.reason == "blocked_url" else found.entry)

    return apply


def names_any(targets: Iterable[str]) -> Callable[[str], bool]:
    """Whether an address is one of these, or on one of these hosts or below it.

    An address has a colon, a host has none.
    """
    entries = list(targets)
    config = UrlConfig(
        block_urls=tuple(entry for entry in entries if ":" in entry),
        block_domains=tuple(entry for entry in entries if ":" not in entry),
    )
    find = _compile(config).find
    return lambda url: find(url) is not None


def has_blocks(config: UrlConfig) -> bool:
    """Whether any address can be blocked."""
    return bool(config.block_urls or config.block_domains or config.block_words)


def scope_url_config(config: UrlConfig, urls: Iterable[str]) -> UrlConfig:
    """The entries that decide about at least one of these addresses, sorted, each once.

    The rule answers the same with them for each of the addresses. An entry that decides nothing
    leaves no trace, so a longer list is no reason to judge these addresses again.
    """
    lists = _compile(config)
    decisive: dict[str, set[str]] = defaultdict(set)
    allowed: list[tuple[str, str]] = []
    for url in urls:
        found = lists.find(url)
        if found is None:
            continue
        if found.allowed_by:
            allowed.append((url, found.allowed_by))
        else:
            decisive[found.reason].add(found.entry)
    scoped = UrlConfig(
        block_urls=tuple(sorted(decisive["blocked_url"])),
        block_domains=tuple(sorted(decisive["blocked_domain"])),
        block_words=tuple(sorted(decisive["blocked_word"])),
    )
    find = _compile(scoped).find
    allow_domains = {domain for url, domain in allowed if find(url) is not None}
    return scoped.model_copy(update={"allow_domains": tuple(sorted(allow_domains))})


@dataclass(frozen=True)
class _Finding:
    """Why an address is blocked, by which entry, and the host that lets it in after all if any."""

    reason: str
    entry: str
    allowed_by: str = ""


@dataclass(frozen=True)
class _Lists:
    """The entries of a config in one spelling, to be looked up by what an address holds."""

    urls: frozenset[str]
    domains: frozenset[str]
    words: frozenset[str]
    allowed: frozenset[str]

    def find(self, url: str) -> _Finding | None:
        """What blocks an address; of several domains the narrowest, of words the first."""
        if url in self.urls:
            return _Finding("blocked_url", url)
        host = _normalise(_host(url)) if self.domains or self.allowed else ""
        if domain := _find_domain(host, self.domains):
            return _Finding("blocked_domain", domain, _find_domain(host, self.allowed))
        if self.words and (words := self.words.intersection(_WORD.findall(url.lower()))):
            return _Finding("blocked_word", min(words), _find_domain(host, self.allowed))
        return None


@lru_cache(maxsize=8)
def _compile(config: UrlConfig) -> _Lists:
    return _Lists(
        frozenset(config.block_urls),
        frozenset(map(_normalise, config.block_domains)),
        frozenset(word.lower() for word in config.block_words),
        frozenset(map(_normalise, config.allow_domains)),
    )


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _normalise(host: str) -> str:
    host = host.lower().removesuffix(".")
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:  # no name that could be looked up
        return host


def _find_domain(host: str, domains: frozenset[str]) -> str:
    """The narrowest of ``domains`` that is the host or a parent of it, or nothing."""
    while host and domains:
        if host in domains:
            return host
        host = host.partition(".")[2]
    return ""
