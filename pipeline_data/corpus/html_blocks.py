"""An HTML page as a tree of elements and a stream of text blocks, in one pass over its tags.

The parser (lexbor, through resiliparse) repairs the page and writes it out again, well nested and
uniformly quoted; what is left to do in Python is to split that text at its tags. Depth and size
cost no recursion and no more than linear time.
"""

from dataclasses import dataclass, field

from resiliparse.parse.html import HTMLTree

_RAW = """
    script style svg noscript template iframe head select textarea object video audio xmp noembed
    noframes plaintext canvas math map datalist nav footer button
""".split()  # noqa: SIM905
"""Elements without main content; they are skipped with all they hold."""

_INLINE = """
    span b strong em i font u small big sub sup abbr cite q s strike ins del mark time code kbd
    samp var tt label acronym bdi bdo dfn data ruby rb rt rp img input wbr link meta source param
    area base col embed track nobr picture html body
""".split()  # noqa: SIM905
"""Elements that do not break a line of text."""

_JOIN, _LINK, _END_LINK, _SKIP, _BREAK, _OPEN, _CLOSE = range(7)

_COMMON_BLOCKS = "div p li ul ol td tr tbody table section article h1 h2 h3 h4 header footer nav"
_KINDS = (
    dict.fromkeys((f"/{name}" for name in _RAW), _JOIN)
    | dict.fromkeys(_RAW, _SKIP)
    | dict.fromkeys((slash + name for name in _INLINE for slash in ("", "/")), _JOIN)
    | {"a": _LINK, "/a": _END_LINK, "br": _BREAK, "hr": _BREAK}
    | dict.fromkeys(_COMMON_BLOCKS.split(), _OPEN)
    | {f"/{name}": _CLOSE for name in _COMMON_BLOCKS.split()}
)
"""What a tag does; any other opens or closes an element that breaks a line."""


@dataclass(frozen=True, slots=True)
class BlockTree:
    """The block-level elements of a page in document order, and its blocks of text.

    Element 0 is the body. The blocks of element ``i`` are ``starts[i]`` to ``ends[i]``.
    """

    names: list[str] = field(default_factory=lambda: ["body"])
    """Tag of each element."""
    attributes: list[str] = field(default_factory=lambda: [""])
    """Its attributes, as a page is written out: ``class="a" id="b"``."""
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

    One long loop, as a call for each tag would take half as long again.
    """
    body = HTMLTree.parse(html).body
    source = body.html if body is not None else ""
    tree = BlockTree()
    names, parents, ends, texts = tree.names, tree.parents, tree.ends, tree.texts
    kinds = _KINDS
    buffer: list[str] = []
    num_link_chars = current = pre = 0
    in_link = False
    skipped_to = ""  # the end of what we are in: a raw element, a comment or a value
    for chunk in source.split("<")[1:]:
        tag, end, text = chunk.partition(">")
        kind = kinds.get(tag)
        attributes = ""
        if skipped_to:
            if skipped_to == "-->":
                _, end, text = chunk.partition("-->")
            elif skipped_to == '"':
                end, text = _split_value(chunk, quoted=True)
            elif tag != skipped_to:
                continue
            if not end:
                continue
            kind, skipped_to = _JOIN, ""
        elif kind is None:
            if tag[:1] == "/":
                kind = _CLOSE
            elif tag[:1] == "!":
                _, end, text = chunk.partition("-->" if tag[:3] == "!--" else ">")
                kind, skipped_to = _JOIN, "" if end else "-->"
            else:
                tag, _, attributes = tag.partition(" ")
                kind = kinds.get(tag, _OPEN)
                if attributes.count('"') % 2:
                    end, text = _split_value(chunk, len(tag))
                    skipped_to = "" if end else '"'
        if kind >= _SKIP:
            if kind == _SKIP:
                skipped_to = f"/{tag}"
                continue
            if buffer:
                _add_block(tree, buffer, num_link_chars, current, pre > 0)
                buffer = []
                num_link_chars = 0
            if kind == _OPEN:
                parents.append(current)
                current = len(names)
                names.append(tag)
                tree.attributes.append(attributes)
                tree.starts.append(len(texts))
                ends.append(-1)
                pre += tag == "pre"
            elif kind == _CLOSE and names[current] == tag[1:] and current:
                ends[current] = len(texts)
                current = parents[current]
                pre -= tag == "/pre"
        elif kind == _LINK:
            in_link = True
        elif kind == _END_LINK:
            in_link = False
        if text:
            if pre or not text.isspace():
                buffer.append(text)
                if in_link:
                    num_link_chars += len(text)
            elif buffer:
                buffer.append(" ")
    _add_block(tree, buffer, num_link_chars, current, pre > 0)
    while current:
        ends[current] = len(texts)
        current = parents[current]
    ends[0] = len(texts)
    return tree


def _add_block(
    tree: BlockTree, pieces: list[str], num_link_chars: int, owner: int, keep_lines: bool
) -> None:
    text = "".join(pieces)
    if "&" in text:
        text = text.replace("&nbsp;", " ").replace("&lt;", "<").replace("&gt;", ">")
        text = text.replace("&amp;", "&")
    if keep_lines:
        text = "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")
    else:
        text = " ".join(text.split())
    if text:
        tree.texts.append(text)
        tree.num_link_chars.append(min(num_link_chars, len(text)))
        tree.owners.append(owner)


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
