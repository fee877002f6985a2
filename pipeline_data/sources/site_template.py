"""The look of the practice site: a page's text amid what every page of a host repeats."""

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment
from markupsafe import Markup

_PAGE = """<!DOCTYPE html>
<html lang="{{ language }}">
<head>
<meta charset="{{ charset }}">
<title>{{ title }} | {{ host }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/style.css">
</head>
<body>
<div class="cookie-notice" role="dialog"><p>We use cookies to count visits.</p>
<button>Accept all</button> <button>Only necessary</button></div>
<header class="site-header"><a class="logo" href="/">{{ host }}</a>
<form action="/search"><input type="search" name="q"><button>Search</button></form></header>
<nav class="main-menu"><ul>
{%- for text, url in menu %}
<li><a href="{{ url }}">{{ text }}</a></li>
{%- endfor %}
</ul></nav>
<main><article>
<h1>{{ title }}</h1>
{{ body }}
</article></main>
<aside class="related"><h3>More from this site</h3><ul>
{%- for text, url in related %}
<li><a href="{{ url }}">{{ text }}</a></li>
{%- endfor %}
</ul></aside>
<footer class="site-footer"><p>All rights reserved by their holders. Texts under the licences named
on the about page.</p><ul><li><a href="http://www.example/">Home</a></li>
<li><a href="/privacy">Privacy</a></li><li><a href="/imprint">Imprint</a></li></ul></footer>
</body>
</html>
"""
_BODY = """
{%- for section in sections %}
{%- if section.heading %}
<h2>{{ section.heading }}</h2>
{%- endif %}
{%- for paragraph in section.paragraphs %}
<p>{{ paragraph }}</p>
{%- endfor %}
{%- if section.items %}
<{{ section.list_tag }}>
{%- for item in section.items %}
<li>{{ item }}</li>
{%- endfor %}
</{{ section.list_tag }}>
{%- endif %}
{%- endfor %}"""
_ENVIRONMENT = Environment(autoescape=True)
_PAGE_TEMPLATE = _ENVIRONMENT.from_string(_PAGE)
_BODY_TEMPLATE = _ENVIRONMENT.from_string(_BODY)

Link = tuple[str, str]
"""Text and URL."""


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs and a list; each may be absent."""

    heading: str = ""
    paragraphs: Sequence[str] = ()
    items: Sequence[str] = ()
    list_tag: str = "ul"


def render_page(
    host: str,
    title: str,
    sections: Sequence[Section],
    menu: Sequence[Link] = (),
    related: Sequence[Link] = (),
    language: str = "en",
    charset: str = "utf-8",
) -> bytes:
    """A whole HTML page in the given charset."""
    page = _PAGE_TEMPLATE.render(
        host=host,
        title=title,
        body=Markup(_BODY_TEMPLATE.render(sections=sections)),
        menu=menu,
        related=related,
        language=language,
        charset=charset,
    )
    return page.encode(charset, "xmlcharrefreplace")


def link_items(links: Sequence[Link]) -> list[Markup]:
    """Links as the items of a section's list."""
    return [Markup('<a href="{}">{}</a>').format(url, text) for text, url in links]
