"""The public summary of training content that the EU AI Act asks for.

Structure: "Explanatory Notice and Template for the Public Summary of Training Content for
general-purpose AI models required by Article 53(1)(d) of Regulation (EU) 2024/1689", European
Commission, C(2025) 5235, 24 July 2025. Section titles are the template's; the answers are ours.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from flows.report.card import languages_of, masked_line, unmasked
from flows.report.corpus import Amount
from flows.report.record import ModelRecord
from flows.report.sources import Crawl, Origin, Source, total_dropped
from flows.report.wording import code, escape, join, link, render, show_count, show_month

LARGE = 0.03
"""A public dataset over this share of all of them is a large one, to be named by itself."""
SIZES = ((10**9, "less than 1 billion tokens"), (10**13, "1 billion to 10 trillion tokens"))
LARGEST_SIZE = "more than 10 trillion tokens"
INLINE = 100
"""Rows of a list in the text; longer ones go to a file."""
SHOWN_ORIGINS = 10
SECTIONS = {
    "public-dataset": "2.1",
    "licensed-dataset": "2.2.1",
    "private-dataset": "2.2.2",
    "crawl": "2.3",
    "user-data": "2.4",
    "synthetic": "2.5",
    "other": "2.6",
    None: "2.6",
}
"""Where the template wants a source, by how it was come by."""
REFUSALS = {
    "robots": "robots.txt",
    "status": "error of the server",
    "scope": "outside the hosts allowed",
    "redirect": "redirected",
    "size": "too large",
    "type": "no HTML",
    "network": "not reached",
    "limit": "over max_pages",
}
"""What the crawler's reasons mean."""
ORIGINS = {
    "ingest": "package of a registry",
    "dataset": "dataset of the Hugging Face hub",
    "fetch": "file at",
    "file": "local file",
    "crawl": "crawl from",
    "curriculum": "program:",
}


def render_summary(record: ModelRecord) -> str:
    """The summary of training content of a model, in Markdown."""
    return render(
        "summary.md.jinja",
        record=record,
        **_general(record),
        **_sources(record),
        **_processing(record),
        origins=_origin_list,
        origin_line=_origin_line,
    )


def _general(record: ModelRecord) -> dict[str, Any]:
    """What section 1 says."""
    provider = record.provider
    signed = provider.signed_code_of_practice
    described = (source.documented.get("description") for source in record.trained_on)
    return {
        "provider_line": join(x for x in (provider.name, provider.contact) if x),
        "signed": None if signed is None else "yes" if signed else "no",
        "train": record.amount(),
        "heldout": record.amount("heldout"),
        "size_range": _size_range(record.amount().num_tokens),
        "seen_total": int(record.base.artifact.counts["tokens"]),
        "content_types": join((text for text in described if text), "; "),
        "language_line": _language_line(record),
        "tokenizer_is_adopted": bool(record.ancestry.of_stage("adopt-tokenizer")),
    }


def _sources(record: ModelRecord) -> dict[str, Any]:
    """What section 2 says."""
    rows = {category: _rows(record, category) for category in SECTIONS}
    return {
        "sources": [row for category in SECTIONS for row in rows[category]],
        "public": rows["public-dataset"],
        "licensed": rows["licensed-dataset"],
        "private": rows["private-dataset"],
        "crawled": rows["crawl"],
        "users": rows["user-data"],
        "generated": rows["synthetic"],
        "other": rows["other"],
        "uncategorised": rows[None],
        "practice_packages": _practice_packages(record.sources),
        "by_models": [exercise for exercise in record.exercises if exercise.maker],
        "by_programs": [exercise for exercise in record.exercises if not exercise.maker],
        "listed": _listed(record),
        "behaviour": _behaviour,
        "refusals": _refusals,
        "starts": lambda crawl: join(link(url) for url in crawl.config["start_urls"]),
    }


def _processing(record: ModelRecord) -> dict[str, Any]:
    """What section 3 says."""
    return {
        "illegal": _illegal_content(record),
        "total": _Funnel(record.sources),
        "dropped": list(total_dropped(record.sources)),
        "masked": masked_line(record),
        "unmasked": unmasked(record),
        **_blocked(record),
    }


def render_domains(record: ModelRecord) -> str:
    """The crawled hosts that must be listed, as comma-separated values with a heading."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["host", "documents", "tokens", "bytes", "share"])
    for domain in record.corpus.crawled.domains:
        amount = domain.amount
        numbers = [amount.num_documents, amount.num_tokens, amount.num_bytes]
        writer.writerow([_harmless(domain.name), *numbers, f"{domain.share:.6f}"])
    return text.getvalue()


def _harmless(name: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{name}" if name[:1] in "=+-@\t\r" else name


class _Funnel:
    """Documents of all sources after each stage."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.num_records = sum(source.num_records for source in sources)
        self.num_extracted = sum(source.num_extracted for source in sources)
        self.num_filtered = sum(source.num_filtered for source in sources)
        self.num_deduplicated = sum(source.num_deduplicated for source in sources)
        self.num_kept = sum(source.num_kept for source in sources)


def _rows(record: ModelRecord, category: str | None) -> list[dict[str, Any]]:
    """The sources of one category as the template shows them."""
    sources = record.in_category(category)
    of_all = sum((record.corpus.amount(s.name) for s in record.sources), Amount()).num_bytes
    of_these = sum((record.corpus.amount(s.name) for s in sources), Amount()).num_bytes
    return [_row(record, source, of_all, of_these) for source in sources]


def _row(record: ModelRecord, source: Source, of_all: int, of_these: int) -> dict[str, Any]:
    train = record.corpus.amount(source.name)
    public_share = train.num_bytes / of_these if of_these else 0.0
    first, last = record.corpus.periods.get(source.name, (None, None))
    return {
        "name": source.name,
        "section": SECTIONS[source.category],
        "licence": source.licence,
        "description": source.documented.get("description"),
        "homepage": source.documented.get("homepage"),
        "train": train,
        "seen": record.seen_tokens(source.name),
        "share": train.num_bytes / of_all if of_all else 0.0,
        "public_share": public_share,
        "is_large": public_share > LARGE,
        "period": Markup(f"{show_month(first)} to {show_month(last)}") if first else None,
        "origins": source.origins,
        "crawls": source.crawls,
        "is_practice": source.is_practice,
    }


def _size_range(num_tokens: int) -> str:
    return next((name for limit, name in SIZES if num_tokens < limit), LARGEST_SIZE)


def _language_line(record: ModelRecord) -> Markup:
    """Documents by language, as the filters left them."""
    total: dict[str, int] = {}
    for languages in record.corpus.languages.values():
        for language, number in languages.items():
            total[language] = total.get(language, 0) + number
    known = [f"{name}: {show_count(total[name])} documents" for name in languages_of(record)]
    if "" in total:
        known.append(f"not identified: {show_count(total[''])} documents")
    return join(known) + Markup("; counted after filtering, before duplicates were taken out")


def _listed(record: ModelRecord) -> dict[str, Any]:
    ranking = record.corpus.crawled
    rule = "the largest twentieth, at most a thousand, as of a small or medium-sized provider"
    return {
        "wanted": show_count(len(ranking.domains)),
        "rule": rule if record.provider.is_sme else "the largest tenth, rounded up",
        "domains": ranking.domains[:INLINE],
        "is_cut": len(ranking.domains) > INLINE,
    }


def _practice_packages(sources: Sequence[Source]) -> list[Origin]:
    found = (p for source in sources for crawl in source.crawls for p in crawl.packages)
    return list(dict.fromkeys(found))


def _blocked(record: ModelRecord) -> dict[str, int]:
    """How much the recipe blocks, and how many documents went because of it."""
    blocklist = (record.recipe or {}).get("blocklist") or {}
    return {
        "num_blocked_urls": len(blocklist.get("urls") or ()),
        "num_blocked_domains": len(blocklist.get("domains") or ()),
        "num_blocked_files": len(blocklist.get("shards") or ()),
        "num_blocked": sum(source.dropped["filter", "url"] for source in record.sources),
    }


def _illegal_content(record: ModelRecord) -> str:
    """What was done to keep illegal content out, as far as the record tells."""
    filters = record.ancestry.of_stage("filter")
    words = {word for shard in filters for word in shard.config["url"]["block_words"]}
    measure = (
        f"Addresses that hold one of {show_count(len(words))} words were left out."
        if words
        else "No measure made for illegal content is on record."
    )
    return (
        f"{measure} No classifier of illegal content and no list of known illegal material was "
        "used. Rules of quality and language took out what 3.3 lists; what was blocked stands "
        "under 3.1."
    )


def _behaviour(crawl: Crawl) -> Markup:
    config = crawl.config
    most = {name: show_count(config[name]) for name in ("max_pages", "max_depth", "max_page_bytes")}
    robots = "obeys robots.txt (RFC 9309)" if config["obey_robots"] else "does NOT obey robots.txt"
    return Markup(
        f"{robots}; waits {config['delay_seconds']:g} s between two requests to a host; keeps no "
        "cookies, fills in no forms and runs no scripts, so that it passes no log-in, paywall or "
        f"captcha; asks for at most {most['max_pages']} addresses, at most {most['max_depth']} "
        f"links deep, of at most {most['max_page_bytes']} bytes each"
    )


def _refusals(crawl: Crawl) -> Markup | None:
    reasons = sorted(crawl.refused.items(), key=lambda item: (-item[1], item[0]))
    return join(f"{REFUSALS.get(why, why)} {show_count(number)}" for why, number in reasons) or None


def _origin_list(row: dict[str, Any]) -> Markup:
    """A list item each, those beyond the first few only counted."""
    return Markup("\n").join(_origin_items(row["origins"]))


def _origin_items(origins: Sequence[Origin]) -> Iterator[Markup]:
    for origin in origins[:SHOWN_ORIGINS]:
        yield Markup("    - ") + _origin_line(origin)
    if len(origins) > SHOWN_ORIGINS:
        more = len(origins) - SHOWN_ORIGINS
        yield Markup(f"    - and {show_count(more)} more; `headwater trace` names each")


def _origin_line(origin: Origin) -> Markup:
    parts = [Markup(f"{ORIGINS[origin.kind]} ") + code(origin.name)]
    if origin.version:
        parts.append(Markup("version ") + code(origin.version))
    if origin.sha256:
        parts.append(Markup("SHA-256 ") + code(origin.sha256))
    if origin.obtained:
        parts.append(escape(f"obtained {origin.obtained[:10]}"))
    return join(parts)
