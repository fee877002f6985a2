"""The pages of the practice site, each kind by its own function.

What a page is made of follows from the seed and the hash of its name, so that one page more or less
changes no other page's text.
"""

import json
import random
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_data.sources.package_files import read_members
from pipeline_data.sources.settings import SiteConfig
from pipeline_data.sources.sharding import hash_fraction
from pipeline_data.sources.site_template import Link, Section, link_items, render_page

DOCS = "http://docs.example"
MIRROR = "http://mirror.docs.example"
OLD_DOCS = "http://old.docs.example"
PEOPLE = "http://people.example"
DEALS = "http://deals.example"
RECIPES = "http://recipes.example"
HOME = "http://www.example"
_MAX_SOURCE_LISTINGS = 5
_WIKIS = {
    "en": "http://wiki.example",
    "fr": "http://fr.wiki.example",
    "es": "http://es.wiki.example",
}
_MENU = (("Home", f"{HOME}/"), ("Contents", "/"), ("Contact", f"{PEOPLE}/"), ("About", "/about"))


@dataclass(frozen=True)
class Page:
    """One page of the site; ``kind`` is the known answer about it."""

    url: str
    kind: str
    body: bytes
    title: str
    content_type: str | None = None


def docs_pages(archives: Sequence[Path], config: SiteConfig) -> list[Page]:
    """Real documentation as it is, and its exact and edited copies on other hosts."""
    salt = f"docs {config.seed}"
    found = {
        name.split("/doc/", 1)[1]: body
        for archive in archives
        for name, body in read_members(archive, "*/doc/*.html")
        if len(body) <= config.max_docs_page_bytes
    }
    listings = sorted(name for name in found if name.startswith("_modules/"))
    left_out = set(listings[_MAX_SOURCE_LISTINGS:])
    names = sorted(found.keys() - left_out, key=lambda name: hash_fraction(name, salt))
    pages = []
    for name in sorted(names[: config.max_docs_pages]):
        body = found[name]
        pages.append(Page(f"{DOCS}/{name}", "docs", body, name))
        place = hash_fraction(name, f"copies {config.seed}")
        if place < config.mirror_share:
            pages.append(Page(f"{MIRROR}/{name}", "mirror", body, name))
        elif place < config.mirror_share + config.near_share:
            edited = edit_page(body, random.Random(f"{config.seed} {name}"))
            pages.append(Page(f"{OLD_DOCS}/{name}", "near_duplicate", edited, name))
    return pages


def edit_page(body: bytes, rng: random.Random) -> bytes:
    """The page with a remark put into a few of its paragraphs."""
    parts = body.split(b"</p>")
    for index in rng.sample(range(len(parts) - 1), min(3, len(parts) - 1)):
        parts[index] += b" (Checked for this edition, number %d.)" % rng.randrange(1000)
    return b"</p>".join(parts) + b"<!-- old edition -->"


def encyclopedia_pages(
    archives: Sequence[Path], config: SiteConfig, language: str, share: float, locale: str
) -> list[Page]:
    """Entries of one topic at a time, several to a page, in the given language."""
    by_topic: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for key, entry in _records(archives, f"*/summaries_{locale}.json"):
        if hash_fraction(key) < share:
            by_topic[entry["topic"]].append(entry)
    return [
        page
        for topic, entries in sorted(by_topic.items())
        for page in _topic_pages(_WIKIS[language], topic, entries, config, language)
    ]


def _topic_pages(
    host: str,
    topic: str,
    entries: Sequence[Mapping[str, Any]],
    config: SiteConfig,
    language: str,
) -> Iterator[Page]:
    size = config.entries_per_page
    chunks = [entries[start : start + size] for start in range(0, len(entries), size)]
    urls = [f"{host}/{slug(topic)}/{number}.html" for number in range(1, len(chunks) + 1)]
    for index, (url, chunk) in enumerate(zip(urls, chunks, strict=True)):
        # Some foreign pages are in an old charset, and only their <meta> says so.
        is_old = language != "en" and index % 4 == 3
        charset = "windows-1252" if is_old else "utf-8"
        around = [i for i in (index - 1, index + 1) if 0 <= i < len(urls)]
        body = render_page(
            host.removeprefix("http://"),
            f"{topic} ({index + 1})",
            [Section(entry["title"], entry["extract"].split("\n")) for entry in chunk],
            _MENU,
            [(f"{topic} ({i + 1})", urls[i]) for i in around],
            language,
            charset,
        )
        kind = "encyclopedia" if language == "en" else f"language_{language}"
        yield Page(url, kind, body, f"{topic} ({index + 1})", "text/html" if is_old else None)


def recipe_pages(archives: Sequence[Path], config: SiteConfig) -> list[Page]:
    """One recipe a page."""
    pages = []
    for key, recipe in _records(archives, "*/recipes_en-us.json"):
        if hash_fraction(key) >= config.recipe_share:
            continue
        facts = [("Category", recipe["category"]), ("Serves", recipe["servings"])]
        facts += [("Time", recipe["time"])]
        sections = [
            Section(paragraphs=[f"{name}: {value}" for name, value in facts if value]),
            Section("Ingredients", items=recipe["ingredients"]),
            Section("Method", items=recipe["steps"], list_tag="ol"),
        ]
        title = recipe["title"]
        body = render_page("recipes.example", title, sections, _MENU)
        number = int(hash_fraction(key) * 1e9)
        pages.append(Page(f"{RECIPES}/{slug(title)}-{number}.html", "recipe", body, title))
    return pages


def spam_pages(config: SiteConfig) -> list[Page]:
    """Lists, repetition and boilerplate: what quality rules should drop."""
    pages = []
    for number in range(config.num_spam_pages):
        rng = random.Random(f"{config.seed} spam {number}")
        word = rng.choice(["shoes", "phones", "watches", "laptops", "lamps", "tyres"])
        lines = [
            [f"Buy cheap {word} {word} best {word} {rng.randrange(100)} % off" for _ in range(60)],
            [f"{word.title()} {rng.randrange(10**6)} ..." for _ in range(80)],
            ["Please enable javascript to see this page."] * 3 + ["Lorem ipsum dolor sit amet."],
            ["### $$$ >>> " + " ".join(rng.choices("#$%&*+=<>", k=30)) for _ in range(30)],
        ][number % 4]
        title = f"{word.title()} offers {number}"
        body = render_page("deals.example", title, [Section(items=lines)], _MENU)
        pages.append(Page(f"{DEALS}/{number}.html", "spam", body, title))
    return pages


def contact_pages(config: SiteConfig) -> list[Page]:
    """Prose with made-up e-mail addresses and IP addresses in it."""
    pages = []
    for number in range(config.num_contact_pages):
        rng = random.Random(f"{config.seed} contact {number}")
        name = rng.choice(_FIRST_NAMES)
        club = f"{rng.choice(_PLACES)} {rng.choice(_CLUBS)}"
        paragraphs = [
            template.format(
                name=name,
                club=club,
                day=rng.choice(_DAYS),
                hour=rng.randrange(2, 9),
                email=f"{name.lower()}.{rng.randrange(100)}@{slug(club)}.example",
                ip=".".join(str(rng.randrange(20, 100)) for _ in range(4)),
                count=rng.randrange(12, 90),
                year=rng.randrange(1950, 2015),
            )
            for template in rng.sample(_CLUB_NEWS, len(_CLUB_NEWS))
        ]
        title = f"The {club}"
        body = render_page("people.example", title, [Section(paragraphs=paragraphs)], _MENU)
        pages.append(Page(f"{PEOPLE}/{slug(club)}-{number}.html", "contact", body, title))
    return pages


def private_pages(config: SiteConfig) -> list[Page]:
    """Pages that robots.txt asks to be left alone."""
    sections = [Section(paragraphs=["This page is for members. A crawler has no business here."])]
    return [
        Page(
            f"{HOME}/private/{number}.html",
            "private",
            render_page("www.example", f"Members {number}", sections, _MENU),
            f"Members {number}",
        )
        for number in range(config.num_private_pages)
    ]


def index_page(url: str, title: str, links: Sequence[Link]) -> Page:
    """A page that is a list of links."""
    host = url.removeprefix("http://").split("/")[0]
    body = render_page(host, title, [Section(items=link_items(links))], _MENU)
    return Page(url, "index", body, title)


def slug(text: str) -> str:
    """Text as a part of a URL: ASCII letters, digits and dashes."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:60] or "page"


def _records(archives: Sequence[Path], pattern: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The records of JSON maps in the packages, in the order of the hashes of their keys."""
    for archive in archives:
        for _, data in read_members(archive, pattern):
            yield from sorted(json.loads(data).items(), key=lambda item: hash_fraction(item[0]))


_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_FIRST_NAMES = ("Ada", "Bruno", "Clara", "Dmitri", "Elena", "Farid", "Greta", "Hugo", "Ines")
_PLACES = ("Riverside", "Hill Street", "Old Harbour", "Northgate", "Mill Lane", "Station Road")
_CLUBS = ("reading circle", "chess club", "garden society", "choir", "cycling group")
_CLUB_NEWS = (
    "The {club} was founded in {year} by a handful of neighbours who wanted to spend their "
    "evenings together. It now has {count} members, and new ones are always welcome.",
    "We meet every {day} at {hour} in the evening. The room is on the first floor, and there is "
    "tea and cake for everyone who has come, because a long talk is better with a cup in hand.",
    "If you would like to join, write to {email} and say a few words about yourself. {name} "
    "answers within a week, and will tell you where to find the key and what you should bring.",
    "Our small server had trouble last month, and a member asked how to reach it while the name "
    "did not work. Until that is mended, you can use the address {ip} from your own computer.",
    "At the yearly meeting {name} was chosen again to look after the accounts. The members "
    "thanked those who had helped at the summer fair, which brought in more than ever before.",
    "There were {count} visitors at the last open day. Many of them asked about the history of "
    "the house, so we have begun to collect old photographs and the stories that belong to them.",
)
