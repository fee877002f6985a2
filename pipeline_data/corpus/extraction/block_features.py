"""What can be seen of a text block that tells main content from boilerplate, as whole numbers.

Shallow text features and those of neighbours follow boilerpipe (Kohlschütter et al., WSDM 2010),
shares of text and links in the surrounding elements Readability and CETR (Weninger et al., WWW
2010), hints in class names trafilatura (Barbaresi, ACL 2021). All are integers, lengths on a
logarithmic scale by table: no rounding of a processor can change a page's text.
"""

import re
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline_data.corpus.extraction.html_blocks import BlockTree

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Group = tuple[npt.NDArray[Any], Integers | None]
"""Features that a block has through something else, such as the element around it: a table
(features, things) and the thing of each block. Without the latter the things are the blocks, or
there is but one, the page."""

_HINTS = {
    "text": "body text copy prose wysiwyg richtext articlebody articletext maintext bodytext"
    " storybody paragraph paragraphs",
    "article": "article* story* post posts entry* blog* news artikel* noticia* beitrag* single",
    "content": "content* main inhalt* contenido* contenu*",
    "body": "",  # two words of text, article and content in a row
    "nav": "nav* menu* breadcrumb* toolbar pagination pager toc skip* tabs tab",
    "foot": "foot footer* copyright* colophon legal disclaim* imprint impressum",
    "side": "side sidebar* aside rail widget* secondary tertiary sidecol* marginal complementary",
    "related": "relat* recommend* also popular* trending similar suggest* latest recirc* outbrain"
    " taboola promoted next prev previous more readmore mostread recent* verwandt* mehr lesen"
    " weitere",
    "share": "share* sharing social* follow* facebook twitter whatsapp addthis sns sharedaddy",
    "comment": "comment* disqus respond reply replies discussion* livefyre fyre kommentar*"
    " comentario* commento*",
    "ad": "ad ads adv advert* adslot adbox adunit sponsor* promo* banner* commercial dfp gpt"
    " werbung anzeige* publicid* pub teads",
    "signup": "newsletter* subscri* signup login register registration paywall donat* popup* modal"
    " cookie* consent gdpr overlay* toast alert form cta optin abo mailchimp",
    "meta": "byline* author* date* time* timestamp publish* meta info tag tags tagcloud categor*"
    " topic* kicker dateline posted label* keyword* eyebrow overline rubric* credit* updated"
    " postmeta",
    "caption": "caption* figure* legend figcaption bildunter* imagecaption photocaption bildtext",
    "media": "gallery galleries slide* carousel* image* img photo* media video* audio player*"
    " picture* embed* podcast* thumb* foto*",
    "header": "header* masthead logo* hero topbar head",
    "title": "title* headline* heading*",
    "hidden": "hidden hide visually sr screenreader offscreen invisible noprint printonly none",
    "person": "bio about* profile* vcard user* contributor*",
    "intro": "summary excerpt* lead lede intro* standfirst dek deck subtitle* subhead*"
    " subheadline abstract teaser* description* vorspann chapo sommaire",
    "quote": "pullquote quote* tweet* blockquote",
    "list": "card* grid* tile* list listing* item items feed* archive* loop stream* box* block"
    " blocks row",
}
"""Words in class, id, role and itemprop by what they hint at; ``*`` stands for any ending."""

_HINT_BITS = {hint: 1 << position for position, hint in enumerate(_HINTS)}


def _vocabulary() -> dict[str, int]:
    words: dict[str, int] = {}
    for hint, vocabulary in _HINTS.items():
        for word in vocabulary.split():
            words[word] = words.get(word, 0) | _HINT_BITS[hint]
    return words


_VOCABULARY = _vocabulary()
_STEMS = {word[:-1]: bits for word, bits in _VOCABULARY.items() if word[-1] == "*"}
_STEM_LENGTHS = sorted({len(stem) for stem in _STEMS}, reverse=True)
_SHORTEST_STEM = _STEM_LENGTHS[-1]
_STEM_STARTS = frozenset(stem[:_SHORTEST_STEM] for stem in _STEMS)
_BODY_HINTS = ("text", "article", "content", "body")
_BODY_MASK = (1 << len(_BODY_HINTS)) - 1
"""The bits of the body's hints, which are the first."""
_BODY_WORDS = _HINT_BITS["text"] | _HINT_BITS["article"] | _HINT_BITS["content"]
_NO_BODY = sum(_HINT_BITS[hint] for hint in ("header", "foot", "list", "side", "related", "meta"))
_NAME_KEYS = frozenset(
    f"{space}{key}=" for key in ("class", "id", "role", "itemprop") for space in ("", " ")
)
_HIDING = re.compile(r'(?:^|\s)(?:hidden="|aria-hidden="true"|style="[^"]*display: *none)')
_MAX_NAMES = 2000
"""Characters of a value that are looked at, so that what is remembered is bounded."""
_WORD = re.compile("[A-Z]?[a-z]+|[A-Z]+")

_TAG_GROUPS = (
    *("aside", "menu", "header", "form fieldset", "figure figcaption", "table"),
    *("ul ol", "blockquote", "label button legend option", "dl", "article", "main", "section"),
    *("p", "td th", "details", "address", "h1 h2 h3 h4 h5 h6"),
)
_TAG_BITS = {name: 1 << i for i, group in enumerate(_TAG_GROUPS) for name in group.split()}
_BOILERPLATE_TAGS = (1 << 10) - 1
"""The bits up to ``dl``: what they hint at is not to be trusted around most of a page's text."""

_LEAF_GROUPS = (
    *("p", "li", "h1", "h2", "h3", "h4 h5 h6", "td", "th"),
    *("div section article main header body", "blockquote", "pre", "dt dd", "figcaption"),
    "label button legend",
)
_LEAVES = {name: i for i, group in enumerate(_LEAF_GROUPS) for name in group.split()}
_OTHER_LEAF = len(_LEAF_GROUPS)

_SCALE = np.array(sorted({round(2 ** (step / 4)) for step in range(100)}))
"""Steps of a logarithmic scale, four to a doubling."""
_LENGTH_STEPS = (6, 11, 16, 21, 26, 31)
_LENGTH_STEPS_COLUMN = np.array(_LENGTH_STEPS)[:, None]
_NEIGHBOURS = (-2, -1, 1, 2)
_REACH = 2
_NUM_LEVELS = 5
_LAST_CHARS = dict.fromkeys(".!?…。！？؟।", 1) | dict.fromkeys(":：", 2)  # noqa: RUF001
_CLOSING_QUOTES = frozenset("\"”»'’)“")  # noqa: RUF001
_LABEL = re.compile(r"[^.!?:]{2,40}:\s")

FEATURES = (
    "bias",
    *(f"length > {step}" for step in _LENGTH_STEPS),
    *("length", "links", "links > 0", "links > 50", "links > 95"),
    *("sentence", "colon", "commas", "copyright", "repeated"),
    *("prose before", "prose after", "first", "last", "position"),
    *("linked paragraph", "linked heading", "linked item", "labelled link"),
    *("between prose", "between kin prose", "title of prose", "item of prose", "between sentences"),
    *(f"kinship of neighbour {offset:+}" for offset in _NEIGHBOURS),
    *("page prose", "page share"),
    *(f"inside {group}" for group in _TAG_GROUPS),
    *(f"above {hint}" for hint in _HINTS),
    *(f"anywhere {hint}" for hint in _BODY_HINTS),
    *(f"near {hint}" for hint in _HINTS),
    *(f"leaf {group}" for group in [*_LEAF_GROUPS, "other"]),
    *(
        f"{name} of ancestor {level}"
        for level in range(_NUM_LEVELS)
        for name in (
            *("prose", "share", "links", "blocks"),
            *("share > 10", "share > 50", "links > 25", "links > 60"),
        )
    ),
    *(
        f"{name} of neighbour {offset:+}"
        for offset in _NEIGHBOURS
        for name in ("length", "links", "prose", "paragraph")
    ),
)
_NUM_BLOCK_FEATURES = FEATURES.index("page prose")
_NUM_INHERITED = len(_TAG_GROUPS) + len(_HINTS) + len(_BODY_HINTS)
_ABOVE, _ANYWHERE = len(_TAG_GROUPS), len(_TAG_GROUPS) + len(_HINTS)
_MARK_BITS = np.r_[:_NUM_INHERITED, 64 : 64 + len(_HINTS) + _OTHER_LEAF + 1]


def block_features(tree: BlockTree) -> Integers:
    """Features of each block by itself and in its surroundings, one row each: (features, blocks).

    *Prose* is text outside links, in blocks of 60 characters or more that are mostly not links.
    """
    num_blocks = len(tree.texts)
    rows = [
        np.broadcast_to(table, (len(table), num_blocks)) if things is None else table[:, things]
        for table, things in _feature_groups(tree)
    ]
    return np.concatenate(rows, dtype=np.int64, casting="unsafe")


def weigh_blocks(tree: BlockTree, weights: Floats) -> Integers:
    """``weights @ block_features(tree)`` for whole numbers, without the matrix: (blocks).

    What blocks share is weighed once. The sums are far below 2**53, so none is ever rounded.
    """
    scores = np.zeros(len(tree.texts))
    first = 0
    for table, things in _feature_groups(tree):
        weighed = weights[first : first + len(table)] @ table
        scores += weighed if things is None else weighed[things]
        first += len(table)
    return scores.astype(np.int64)


def _feature_groups(tree: BlockTree) -> list[Group]:
    """All features, in the order of ``FEATURES``."""
    lengths = np.array(list(map(len, tree.texts)))
    num_link_chars, owners = np.array(tree.num_link_chars), np.array(tree.owners)
    starts, ends, parents = np.array(tree.starts), np.array(tree.ends), np.array(tree.parents)
    prose = np.where((lengths >= 60) & (num_link_chars * 2 < lengths), lengths - num_link_chars, 0)
    sums = prefix_sums(np.array([prose, lengths, num_link_chars]))
    totals = sums[:, ends] - sums[:, starts]
    page_prose = max(int(sums[0, -1]), 1)

    marks = _element_marks(tree, (totals[0] * 2 > page_prose).tolist())[:, owners]
    mark_bits = np.unpackbits(marks.T.copy().view(np.uint8), axis=1, bitorder="little")
    mark_table = mark_bits.T[_MARK_BITS].astype(float)
    elements = _element_features(totals, ends - starts)
    ancestors: list[Group] = []
    element = owners
    for _ in range(_NUM_LEVELS):
        ancestors.append((elements, element))
        element = parents[element]

    leaves = mark_table[-_OTHER_LEAF - 1 :]
    num_blocks = len(lengths)
    near = np.zeros((4, num_blocks + 2 * _REACH))
    own = near[:, _REACH:-_REACH]
    own[0] = logarithm(lengths)
    own[1] = num_link_chars * 100 // lengths
    own[2] = logarithm(prose)
    own[3] = leaves[0]
    neighbours = [near[:, _REACH + o : _REACH + o + num_blocks] for o in _NEIGHBOURS]
    table = _block_table(tree.texts, own, leaves, neighbours, sums[0])
    _fill_kinship(table, owners, parents[owners])
    item = (leaves[1] > 0) & (elements[2, parents[owners]] < 25) & (own[1] < 25)
    table[_ROW["item of prose"]] = item
    table[_ROW["between kin prose"]] *= (table[-3] > 0) & (table[-2] > 0)
    page = [[logarithm(np.array(page_prose))], [page_prose * 100 // int(sums[1, -1])]]
    return [
        (table, None),
        (np.array(page, dtype=float), None),
        (mark_table, None),
        *ancestors,
        *((rows, None) for rows in neighbours),
    ]


_ROW = {name: row for row, name in enumerate(FEATURES[:_NUM_BLOCK_FEATURES])}


def _block_table(
    texts: list[str], own: Floats, leaves: Floats, neighbours: list[Floats], prose_sums: Integers
) -> Floats:
    """Features of each block by itself, up to those of the page; kinship is left out."""
    num_blocks = len(texts)
    log_lengths, links, log_prose = own[0], own[1], own[2]
    page_prose = max(int(prose_sums[-1]), 1)
    half = links > 50
    before, after = neighbours[1], neighbours[2]
    between = (before[2] > 0) & (after[2] > 0) & (log_prose == 0) & ~half
    heading = leaves[2:6].any(axis=0)
    labelled = np.zeros(num_blocks)
    for block in np.flatnonzero((links > 40) & (links <= 95)).tolist():
        labelled[block] = _LABEL.match(texts[block]) is not None
    table = np.empty((_NUM_BLOCK_FEATURES, num_blocks))
    table[0] = 1
    np.greater(log_lengths, _LENGTH_STEPS_COLUMN, out=table[1:7])
    table[7], table[8], table[9], table[10], table[11] = (
        *(log_lengths, links, links > 0, half, links > 95),
    )
    table[12:17] = _text_features(texts)
    table[17] = prose_sums[:-1] * 100 // page_prose
    table[18] = (page_prose - prose_sums[1:]) * 100 // page_prose
    table[19] = prose_sums[:-1] == 0
    table[20] = prose_sums[1:] >= page_prose
    table[21] = np.arange(num_blocks) * 100 // num_blocks
    table[22] = half & (leaves[0] > 0)
    table[23] = half & heading
    table[24] = half & (leaves[1] > 0)
    table[25] = labelled
    table[26] = table[27] = between
    table[28] = heading & (after[2] > 0) & ~half
    table[30] = between & (table[12] > 0)
    return table


def _fill_kinship(table: Floats, owners: Integers, parents: Integers) -> None:
    """Whether a neighbour lies in the same element or in a sibling."""
    kinship = table[-len(_NEIGHBOURS) :]
    kinship[:] = 0
    for distance in range(1, _REACH + 1):
        kin = (owners[distance:] == owners[:-distance]) | (
            parents[distance:] == parents[:-distance]
        )
        kinship[_NEIGHBOURS.index(-distance), distance:] = kin
        kinship[_NEIGHBOURS.index(distance), :-distance] = kin


def logarithm(values: Integers) -> Integers:
    """Four times the logarithm to base 2, by table; 0 for 0."""
    return np.searchsorted(_SCALE, values, side="right")


def prefix_sums(values: Integers) -> Integers:
    """Sums of the first 0, 1, ... values of each row."""
    sums = np.zeros((*values.shape[:-1], values.shape[-1] + 1), dtype=np.int64)
    np.cumsum(values, axis=-1, out=sums[..., 1:])
    return sums


def _text_features(texts: list[str]) -> Integers:
    """Sentence, colon, commas, copyright and repetition: (5, blocks)."""
    seen: set[str] = set()
    codes = bytearray()
    for text in texts:
        last = text[-1]
        if last in _CLOSING_QUOTES:
            last = text[-2:-1]
        code = _LAST_CHARS.get(last, 0)
        if "," in text:
            code |= min(3, text.count(",")) << 2
        if "©" in text:
            code |= 16
        if text in seen:
            code |= 32
        seen.add(text)
        codes.append(code)
    packed = np.frombuffer(codes, np.uint8)
    return np.array([packed & 1, packed >> 1 & 1, packed >> 2 & 3, packed >> 4 & 1, packed >> 5])


def _element_marks(tree: BlockTree, around_most: list[bool]) -> Integers:
    """Tags around and hints above or anywhere above; hints near and the tag itself: (2, elements).

    One bit for each. Around most of the page's prose, class names hint at the layout and not at
    boilerplate.
    """
    inherited, hints, own = [0], [0], [_tag_marks("body")[3]]
    for tag, parent, layout in zip(tree.tags[1:], tree.parents[1:], around_most[1:], strict=True):
        marks = _tag_marks(tag) if len(tag) < _MAX_NAMES else _tag_marks.__wrapped__(tag)
        hint = marks[2]
        inherited.append(inherited[parent] | marks[layout])
        own.append(hint | hints[parent] | marks[3])
        hints.append(hint)
    return np.array([inherited, own], dtype="<i8")


@lru_cache(1 << 13)
def _tag_marks(tag: str) -> tuple[int, int, int, int]:
    """What a start tag adds to the marks below it, in the same around most of the prose; its hints,
    and the mark of its name."""
    name, _, attributes = tag.partition(" ")
    hint = name_hints(attributes) if attributes else 0
    group = _TAG_BITS.get(name, 0)
    body = (hint & _BODY_MASK) << _ANYWHERE
    leaf = 1 << len(_HINTS) + _LEAVES.get(name, _OTHER_LEAF)
    return group | hint << _ABOVE | body, group & ~_BOILERPLATE_TAGS | body, hint, leaf


def _element_features(totals: Integers, num_blocks: Integers) -> Floats:
    """Prose, share of the page's prose, share of links and blocks of each element, and steps."""
    prose, num_chars, num_link_chars = totals
    shares = prose * 100 // max(int(prose[0]), 1)
    links = num_link_chars * 100 // np.maximum(num_chars, 1)
    table = np.empty((8, len(prose)))
    table[0], table[1], table[2], table[3] = logarithm(prose), shares, links, logarithm(num_blocks)
    table[4], table[5], table[6], table[7] = shares > 10, shares > 50, links > 25, links > 60
    return table


def name_hints(attributes: str) -> int:
    """The hints, as bits, in an element's attributes."""
    bits = 0
    pieces = attributes.split('"')
    for key, value in zip(pieces[::2], pieces[1::2], strict=False):
        if key in _NAME_KEYS:
            bits |= _value_hints(value[:_MAX_NAMES])
    if ("hidden" in attributes or "display" in attributes) and _HIDING.search(attributes):
        bits |= _HINT_BITS["hidden"]
    return bits


@lru_cache(1 << 13)
def _value_hints(value: str) -> int:
    bits = previous = in_a_row = 0
    for word in _WORD.findall(value):
        word_bits = _word_hints(word)
        bits |= word_bits
        word_bits &= _BODY_WORDS
        in_a_row |= word_bits and previous
        previous = word_bits
    if in_a_row and not bits & _NO_BODY:
        bits |= _HINT_BITS["body"]
    return bits


@lru_cache(1 << 13)
def _word_hints(word: str) -> int:
    word = word.lower()
    bits = _VOCABULARY.get(word, 0)
    if word[:_SHORTEST_STEM] in _STEM_STARTS:
        for length in _STEM_LENGTHS:
            stem = _STEMS.get(word[:length])
            if stem:
                return bits | stem
    return bits
