"""What a recipe keeps out of the corpus: pages, hosts, whole raw files."""

import re
from pathlib import Path
from typing import Self

from pydantic import Field

from pipeline_data.corpus.settings import FilterConfig, UrlConfig
from pipeline_data.errors import RecipeError
from pipeline_data.settings import Settings, Strings


class Blocklist(Settings):
    """Pages that must not enter the corpus, whichever source brings them."""

    urls: Strings = ()
    """Addresses, exactly as they are spelt in the corpus."""
    domains: Strings = ()
    """Hosts, with all their subdomains."""
    file: str | None = None
    """A file with one address or host a line; what follows a # is a remark."""
    shards: Strings = ()
    """Raw files to leave out whole, by the name of their shard: source, dash, file."""
    redactions: dict[str, Strings] = Field(default_factory=dict)
    """By raw shard: addresses and hosts to cut out of a copy, before anything else reads it."""

    def read(self) -> Self:
        """The same with the entries of its file among its own, so that they are part of it.

        Raises:
            RecipeError: the file cannot be read.
        """
        if self.file is None:
            return self
        try:
            lines = Path(self.file).expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(
                f"blocklist.file: {self.file} cannot be read ({type(error).__name__}); "
                "give a UTF-8 text file with one address or host a line"
            ) from None
        entries = [entry for line in lines if (entry := re.sub(r"(^|\s)#.*", "", line).strip())]
        return self.add(
            urls=[entry for entry in entries if "://" in entry],
            domains=[entry for entry in entries if "://" not in entry],
        )

    def add(
        self,
        urls: list[str] | None = None,
        domains: list[str] | None = None,
        shards: list[str] | None = None,
    ) -> Self:
        """The same with more entries, each once, and no file."""
        more = {"urls": urls, "domains": domains, "shards": shards}
        lists = {
            name: tuple(dict.fromkeys((*getattr(self, name), *(entries or ()))))
            for name, entries in more.items()
        }
        return self.model_copy(update={"file": None, **lists})

    def block(self, config: FilterConfig) -> FilterConfig:
        """A source's filter with what is blocked everywhere.

        Raises:
            RecipeError: the filter lets in what is blocked here.
        """
        if not (self.urls or self.domains):
            return config
        url = config.url if "url" in config.rules else UrlConfig()
        blocked = {
            "block_urls": (*url.block_urls, *self.urls),
            "block_domains": (*url.block_domains, *self.domains),
            "allow_domains": tuple(host for host in url.allow_domains if self._may_allow(host)),
        }
        rules = config.rules if "url" in config.rules else ("url", *config.rules)
        return config.model_copy(update={"url": url.model_copy(update=blocked), "rules": rules})

    def _may_allow(self, host: str) -> bool:
        """Whether letting in a host still has a meaning beside the blocked ones."""
        for domain in self.domains:
            if _is_within(domain, host) and domain.lower() != host.lower():
                raise RecipeError(
                    f"allow_domains: {host} would let in {domain}, which the blocklist keeps out; "
                    "allow narrower hosts"
                )
        return not any(_is_within(host, domain) for domain in self.domains)


def _is_within(host: str, domain: str) -> bool:
    return f".{host.lower()}".endswith(f".{domain.lower()}")
