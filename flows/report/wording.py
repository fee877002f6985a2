"""How numbers and foreign text stand in the papers: each number in one form, no text as markup.

What a template is given is escaped unless a filter here made it: an address, a name or a model's
answer may hold Markdown or HTML that somebody put there on purpose.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
HIDDEN = {"Cc", "Cf", "Co", "Cs", "Cn"}
"""Unicode categories that show nothing, or turn what stands beside them around."""
MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!$&])")
PLAIN_URL = re.compile(
    r"https?://[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9._~/%+=:@,-]*)?(\?[A-Za-z0-9._~/%+=:@,-]*)?"
)
NOT_ON_RECORD = "not on record"


def clean(value: object) -> str:
    """Text on one line, with a replacement for every character that does not show."""
    line = " ".join(str(value).split())
    return "".join(REPLACEMENT if unicodedata.category(c) in HIDDEN else c for c in line)


def escape(value: object) -> Markup:
    """Text as Markdown that shows just this text."""
    return Markup(MARKUP.sub(r"\\\1", clean(value)))


def code(value: object) -> Markup:
    """Text as a code span, also within a table; nothing in it is markup or a link."""
    text = clean(value)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return Markup(f"{fence}{pad}{text}{pad}{fence}".replace("|", "\\|"))


def is_plain_url(text: str) -> bool:
    """Whether a text is a web address with none but ordinary characters."""
    return PLAIN_URL.fullmatch(text) is not None


def link(value: object) -> Markup:
    """A link to a plain web address; anything else as code."""
    text = str(value)
    return Markup(f"<{text}>") if is_plain_url(text) else code(text)


def show_count(value: int) -> Markup:
    """A whole number with its thousands set apart."""
    return Markup(f"{value:,}")


def show_share(value: float) -> Markup:
    """A share in per cent with one digit after the point."""
    return Markup(f"{value:.1%}")


def show_number(value: float | None) -> Markup:
    """A measured number with three digits after the point."""
    return Markup("" if value is None else f"{value:.3f}")


def show_day(value: str | None) -> Markup:
    """The day of an ISO 8601 time."""
    return Markup(escape(value[:10]) if value else NOT_ON_RECORD)


def show_month(value: str | None) -> Markup:
    """The month of an ISO 8601 time, as the Commission's template has it: MM/YYYY."""
    found = re.match(r"(\d{4})-(\d{2})", value or "")
    return Markup(f"{found[2]}/{found[1]}" if found else NOT_ON_RECORD)


def or_unknown(value: object, how: str = "") -> Markup:
    """A value, or that it is not on record and how it can be."""
    if value not in (None, ""):
        return value if isinstance(value, Markup) else escape(value)
    return Markup(f"*{NOT_ON_RECORD}*{f' ({how})' if how else ''}")


def join(values: Iterable[object], between: str = ", ") -> Markup:
    """Values with commas between, each escaped."""
    return Markup(between).join(v if isinstance(v, Markup) else escape(v) for v in values)


FILTERS: Mapping[str, Callable[..., Any]] = {
    "code": code,
    "count": show_count,
    "day": show_day,
    "digits": show_number,
    "link": link,
    "listed": join,
    "month": show_month,
    "or_unknown": or_unknown,
    "share": show_share,
}


def render(template: str, **values: Any) -> str:
    """A Markdown template of this package, filled."""
    environment = Environment(
        loader=PackageLoader("flows.report", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: value if isinstance(value, Markup) else escape(value),
    )
    environment.filters.update(FILTERS)
    return environment.get_template(template).render(**values)
