"""An HTML page as a tree of elements and a stream of text blocks, in one pass over its tags.

The parser (lexbor, through resiliparse) repairs the page and writes it out again, well nested and
uniformly quoted; what is left to do in Python is to split that text at its tags. Depth and size
cost no recursion and no more than linear time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from resiliparse.parse.html import HTMLTree

_RAW = """
    script style svg noscript template iframe head select textarea object video audio xmp noembed
    noframes plaintext canvas math map datalist button nav footer
""".split()  # noqa: SIM905
"""Elements without main content; they are skipped with all they hold."""

_INLINE = """
    span b strong em i font u small big sub sup abbr cite q s strike ins del mark time code kbd
    samp var tt label acronym bdi bdo dfn data ruby rb rt rp img input wbr link meta source param
    area base col embed track nobr picture html body
""".split()  # noqa: SIM905
"""Elements that do not break a line of text."""

_COMMON_BLOCKS = """
    div p li ul ol td tr tbody table section article h1 h2 h3 h4 header h5 h6 aside main
    form figure figcaption blockquote pre dl dt dd thead th tfoot fieldset legend address center
    details summary
""".split()  # noqa: SIM905

_JOIN, _LINK, _END_LINK, _SKIP, _BREAK, _OPEN = range(1, 7)
_KINDS = (
    dict.fromkeys((f"/{name}" for name in _RAW), _JOIN)
    | dict.fromkeys(_RAW, _SKIP)
    | dict.fromkeys((slash + name for name in _INLINE for slash in ("", "/")), _JOIN)
    | {"a": _LINK, "/a": _END_LINK, "br": _BREAK, "hr": _BREAK}
    | {name: _OPEN + code for code, name in enumerate(_COMMON_BLOCKS)}
    | {f"/{name}": -_OPEN - code for code, name in enumerate(_COMMON_BLOCKS)}
)
"""What a tag does. An element that breaks a line has a code of its own from ``_OPEN`` on, and the
end of one the same code, negative."""
_PRE = _KINDS["pre"]


@dataclass(frozen=True, slots=True)
class BlockTree:
    """The block-level elements of a page that hold text, in document order, and its text blocks.

    Element 0 is the body. The blocks of element ``i`` are ``starts[i]`` to ``ends[i]``.
    """

    tags: list[str] = field(default_factory=lambda: ["body"])
    """Start tag of each element, as a page is written out: ``div class="a" id="b"``."""
    parents: list[int] = field(default_factory=lambda: [0])
    """The element around each; the body's is itself."""
    starts: list[int] = field(default_factory=lambda: [0])
    """First block of each element."""
    ends: list[int] = field(default_factory=lambda: [0])
    """One past its last block."""
    texts: list[str] = field(default_factory=list)
    """Text of each block: never empty, with single spaces, except in ``pre``."""
    num_link_chars: list[int] = field(default_factory=list)
    """Characters of each block inside links."""
    owners: list[int] = field(default_factory=list)
    """The innermost element around each block."""


def read_blocks(html: str) -> BlockTree:
    """The blocks of a page. Raises resiliparse's HTMLParserException if lexbor gives up.

    One long loop, as a call for each tag would take half as long again. An element is entered in
    the tree with its first block; until then its tag waits.
    """
    body = HTMLTree.parse(html).body
    chunks = iter(body.html.split("<") if body is not None else ())
    next(chunks, None)
    tree = BlockTree()
    parents, ends, texts = tree.parents, tree.ends, tree.texts
    kinds = _KINDS.copy()  # and of this page's tags with their attributes, as they repeat
    stack = [0]
    waiting: list[str] = []
    buffer: list[str] = []
    num_link_chars = current = pre = 0
    in_link = False
    for chunk in chunks:
        tag, _, text = chunk.partition(">")
        kind = kinds.get(tag)
        if kind is None:
            name, _, attributes = tag.partition(" ")
            kind = kinds.get(name)
            if kind is None and name[:1] == "!":
                kind, text = _JOIN, _skip_comment(chunk, chunks)
            else:
                kind = kind or _add_kind(kinds, name)
                if attributes.count('"') % 2 and tag[:1] != "/":
                    text = _skip_values(chunk, len(name), chunks)
                elif kind != _LINK:
                    kinds[tag] = kind
        if kind >= _OPEN or kind < _JOIN:
            if buffer:
                current = _add_block(tree, buffer, num_link_chars, current, waiting, pre > 0)
                buffer = []
                num_link_chars = 0
            if kind > 0:
                stack.append(kind)
                waiting.append(tag)
                if kind == _PRE:
                    pre += 1
            elif stack[-1] == -kind:
                stack.pop()
                if waiting:
                    waiting.pop()
                else:
                    ends[current] = len(texts)
                    current = parents[current]
                if kind == -_PRE:
                    pre -= 1
        elif kind == _LINK:
            in_link = True
        elif kind == _END_LINK:
            in_link = False
        elif kind == _SKIP:
            text = _skip_element(f"/{tag.partition(' ')[0]}>", chunks)
        elif kind == _BREAK and buffer:
            current = _add_block(tree, buffer, num_link_chars, current, waiting, pre > 0)
            buffer = []
            num_link_chars = 0
        if text:
            if pre or not text.isspace():
                buffer.append(text)
                if in_link:
                    num_link_chars += len(text)
            elif buffer:
                buffer.append(" ")
    current = _add_block(tree, buffer, num_link_chars, current, waiting, pre > 0)
    while current:
        ends[current] = len(texts)
        current = parents[current]
    ends[0] = len(texts)
    return tree


def _add_kind(kinds: dict[str, int], name: str) -> int:
    """Give an element that is not known a code of its own."""
    element = name.removeprefix("/")
    kinds[element] = code = _OPEN + len(kinds)
    kinds[f"/{element}"] = -code
    return kinds[name]


def _add_block(
    tree: BlockTree,
    pieces: list[str],
    num_link_chars: int,
    owner: int,
    waiting: list[str],
    keep_lines: bool,
) -> int:
    """Add a block, and elements around it that wait for their first; return the innermost."""
    text = "".join(pieces)
    if "&" in text:
        text = text.replace("&nbsp;", " ").replace("&lt;", "<").replace("&gt;", ">")
        text = text.replace("&amp;", "&")
    if keep_lines:
        text = "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")
    elif text.isprintable() and "  " not in text:  # no white space but single spaces
        text = text.strip()
    else:
        text = " ".join(text.split())
    if not text:
        return owner
    for tag in waiting:
        tree.parents.append(owner)
        owner = len(tree.tags)
        tree.tags.append(tag)
        tree.starts.append(len(tree.texts))
        tree.ends.append(-1)
    waiting.clear()
    tree.texts.append(text)
    tree.num_link_chars.append(min(num_link_chars, len(text)))
    tree.owners.append(owner)
    return owner


def _skip_element(end: str, chunks: Iterator[str]) -> str:
    """Pass over chunks up to an end tag; the text after it."""
    for chunk in chunks:
        if chunk.startswith(end):
            return chunk[len(end) :]
    return ""


def _skip_comment(chunk: str, chunks: Iterator[str]) -> str:
    """Pass over a comment; the text after it."""
    _, end, text = chunk.partition("-->" if chunk[:3] == "!--" else ">")
    while not end:
        _, end, text = next(chunks, "-->").partition("-->")
    return text


def _skip_values(chunk: str, start: int, chunks: Iterator[str]) -> str:
    """Pass over the rest of a start tag with ``<`` or ``>`` in a value; the text after it."""
    end, text = _split_value(chunk, start)
    while not end:
        end, text = _split_value(next(chunks, '">'), quoted=True)
    return text


def _split_value(chunk: str, start: int = 0, quoted: bool = False) -> tuple[str, str]:
    """Find the ``>`` that ends a tag, and the text after it; both empty if it is not there.

    A quotation mark opens a value only after ``=``, as names of attributes may hold some too.
    """
    while True:
        if quoted:
            start = chunk.find('"', start) + 1
            if not start:
                return "", ""
        value = chunk.find('="', start)
        end = chunk.find(">", start, value if value >= 0 else len(chunk))
        if end >= 0:
            return ">", chunk[end + 1 :]
        if value < 0:
            return "", ""
        start, quoted = value + 2, True
