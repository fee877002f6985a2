"""What can be seen of a text block that tells main content from boilerplate, as whole numbers.

Shallow text features and those of neighbours follow boilerpipe (Kohlschütter et al., WSDM 2010),
shares of text and links in the surrounding elements Readability and CETR (Weninger et al., WWW
2010), hints in class names trafilatura (Barbaresi, ACL 2021). All are integers, lengths on a
logarithmic scale by table: no rounding of a processor can change a page's text.
"""

import re
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pipeline_data.corpus.html_blocks import BlockTree

Integers = npt.NDArray[np.int64]

_HINTS = {
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
    "text": "body text copy prose wysiwyg richtext articlebody articletext maintext bodytext"
    " storybody paragraph paragraphs",
    "article": "article* story* post posts entry* blog* news artikel* noticia* beitrag* single",
    "content": "content* main inhalt* contenido* contenu*",
    "hidden": "hidden hide visually sr screenreader offscreen invisible noprint printonly none",
    "person": "bio about* profile* vcard user* contributor*",
    "intro": "summary excerpt* lead lede intro* standfirst dek deck subtitle* subhead*"
    " subheadline abstract teaser* description* vorspann chapo sommaire",
    "quote": "pullquote quote* tweet* blockquote",
    "list": "card* grid* tile* list listing* item items feed* archive* loop stream* box* block"
    " blocks row",
    "body": "",  # two words of text, article and content in a row
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
_STEM_LENGTHS = sorted({len(word) - 1 for word in _VOCABULARY if word[-1] == "*"}, reverse=True)
_BODY_HINTS = ("text", "article", "content", "body")
_BODY_WORDS = _HINT_BITS["text"] | _HINT_BITS["article"] | _HINT_BITS["content"]
_BODY_POSITIONS = np.array([[list(_HINTS).index(hint)] for hint in _BODY_HINTS])
_NO_BODY = sum(_HINT_BITS[hint] for hint in ("header", "foot", "list", "side", "related", "meta"))
_NAME_KEYS = frozenset(
    f"{space}{key}=" for key in ("class", "id", "role", "itemprop") for space in ("", " ")
)
_HIDING = re.compile(r'(?:^|\s)(?:hidden="|aria-hidden="true"|style="[^"]*display: *none)')
_WORD = re.compile("[A-Z]?[a-z]+|[A-Z]+")

_TAG_GROUPS = (
    *("aside", "nav menu", "footer", "header", "form fieldset", "figure figcaption", "table"),
    *("ul ol", "blockquote", "label button legend option", "dl", "article", "main", "section"),
    *("p", "td th", "details", "address", "h1 h2 h3 h4 h5 h6"),
)
_TAG_BITS = {name: 1 << i for i, group in enumerate(_TAG_GROUPS) for name in group.split()}
_BOILERPLATE_TAGS = (1 << 11) - 1
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
_NEIGHBOURS = (-2, -1, 1, 2)
_NUM_LEVELS = 5
_SENTENCE_ENDS = frozenset(".!?…。！？؟।")  # noqa: RUF001
_COLONS = frozenset(":：")  # noqa: RUF001
_CLOSING_QUOTES = frozenset("\"”»'’)“")  # noqa: RUF001
_LABEL = re.compile(r"[^.!?:]{2,40}:\s")

FEATURES = (
    "bias",
    *(f"length > {step}" for step in _LENGTH_STEPS),
    *("length", "links", "links > 0", "links > 50", "links > 95"),
    *("sentence", "colon", "commas", "copyright", "repeated"),
    *(f"leaf {group}" for group in [*_LEAF_GROUPS, "other"]),
    *(f"inside {group}" for group in _TAG_GROUPS),
    *(f"{near} {hint}" for near in ("above", "near") for hint in _HINTS),
    *(f"anywhere {hint}" for hint in _BODY_HINTS),
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
        for name in ("length", "links", "prose", "paragraph", "kinship")
    ),
    *("prose before", "prose after", "first", "last", "position", "page prose", "page share"),
    *("linked paragraph", "linked heading", "linked item", "labelled link"),
    *("between prose", "between kin prose", "title of prose", "item of prose", "between sentences"),
)


def block_features(tree: BlockTree) -> Integers:
    """Features of each block by itself and in its surroundings, one row each: (features, blocks).

    *Prose* is text outside links, in blocks of 60 characters or more that are mostly not links.
    """
    texts = tree.texts
    lengths = np.array([len(text) for text in texts])
    num_link_chars = np.array(tree.num_link_chars)
    owners = np.array(tree.owners)
    prose = np.where((lengths >= 60) & (num_link_chars * 2 < lengths), lengths - num_link_chars, 0)
    starts, ends, parents = np.array(tree.starts), np.array(tree.ends), np.array(tree.parents)
    prose_sums = prefix_sums(prose)
    page_prose = max(int(prose_sums[-1]), 1)
    element_prose = prose_sums[ends] - prose_sums[starts]

    leaves = np.array([_LEAVES.get(name, _OTHER_LEAF) for name in tree.names])[owners]
    bits = _element_bits(tree, (element_prose * 2 > page_prose).tolist())[:, owners]
    links = num_link_chars * 100 // lengths
    log_lengths, log_prose = logarithm(lengths), logarithm(prose)
    own = np.stack([log_lengths, links, log_prose, leaves == 0])

    elements = _element_features(tree, element_prose, lengths, num_link_chars)
    ancestors, element = [], owners
    for _ in range(_NUM_LEVELS):
        ancestors.append(elements[:, element])
        element = parents[element]

    num_blocks = len(texts)
    total = int(lengths.sum())
    half = links > 50
    neighbours = _neighbour_features(own, owners, parents[owners])
    before, after = neighbours[1], neighbours[2]
    between = (before[2] > 0) & (after[2] > 0) & (log_prose == 0) & ~half
    kin = (before[4] > 0) & (after[4] > 0)
    text_rows = _text_features(texts)
    heading = (leaves >= 2) & (leaves <= 5)
    labelled = np.zeros(num_blocks, dtype=bool)
    for block in np.flatnonzero((links > 40) & ~(links > 95)).tolist():
        labelled[block] = _LABEL.match(texts[block]) is not None
    return np.concatenate(
        [
            np.ones((1, num_blocks), dtype=np.int64),
            log_lengths > np.array(_LENGTH_STEPS)[:, None],
            [log_lengths, links, links > 0, half, links > 95],
            text_rows,
            leaves == np.arange(_OTHER_LEAF + 1)[:, None],
            bits[0] >> np.arange(len(_TAG_GROUPS))[:, None] & 1,
            *(bits[row] >> np.arange(len(_HINTS))[:, None] & 1 for row in (1, 2)),
            bits[3] >> _BODY_POSITIONS & 1,
            *ancestors,
            *neighbours,
            [prose_sums[:-1] * 100 // page_prose],
            [(page_prose - prose_sums[1:]) * 100 // page_prose],
            [prose_sums[:-1] == 0, prose_sums[1:] >= page_prose],
            [np.arange(num_blocks) * 100 // num_blocks],
            np.full((1, num_blocks), int(logarithm(np.array([page_prose]))[0])),
            np.full((1, num_blocks), page_prose * 100 // total),
            [half & (leaves == 0), half & heading, half & (leaves == 1), labelled],
            [between, between & kin, heading & (after[2] > 0) & ~half],
            [(leaves == 1) & (elements[2, parents[owners]] < 25) & (links < 25)],
            [between & (text_rows[0] > 0)],
        ]
    )


def logarithm(values: Integers) -> Integers:
    """Four times the logarithm to base 2, by table; 0 for 0."""
    return np.searchsorted(_SCALE, values, side="right")


def prefix_sums(values: Integers) -> Integers:
    """Sums of the first 0, 1, ... values."""
    sums = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def _text_features(texts: list[str]) -> Integers:
    seen: set[str] = set()
    rows = []
    for text in texts:
        last = text[-1]
        if last in _CLOSING_QUOTES:
            last = text[-2:-1]
        rows.append(
            (
                last in _SENTENCE_ENDS,
                last in _COLONS,
                min(3, text.count(",")),
                "©" in text,
                text in seen,
            )
        )
        seen.add(text)
    return np.array(rows, dtype=np.int64).T


def _element_bits(tree: BlockTree, around_most: list[bool]) -> Integers:
    """Tags around; hints above, near and anywhere around each element, as bits: (4, elements).

    Around most of the page's prose, class names hint at the layout and not at boilerplate.
    """
    known = {"": 0}
    hints = []
    for attributes, start, end in zip(tree.attributes, tree.starts, tree.ends, strict=True):
        hint = known.get(attributes) if start < end else 0
        if hint is None:
            hint = known[attributes] = name_hints(attributes)
        hints.append(hint)
    tags, above, anywhere = [0], [0], [0]
    near = [0]
    for element in range(1, len(hints)):
        parent = tree.parents[element]
        tag = _TAG_BITS.get(tree.names[element], 0)
        hint = hints[element]
        if around_most[element]:
            tag &= ~_BOILERPLATE_TAGS
            above.append(above[parent])
        else:
            above.append(above[parent] | hint)
        tags.append(tags[parent] | tag)
        near.append(hint | hints[parent])
        anywhere.append(anywhere[parent] | hint)
    return np.array([tags, above, near, anywhere])


def _element_features(
    tree: BlockTree, element_prose: Integers, lengths: Integers, num_link_chars: Integers
) -> Integers:
    starts, ends = np.array(tree.starts), np.array(tree.ends)
    length_sums, link_sums = prefix_sums(lengths), prefix_sums(num_link_chars)
    num_chars = np.maximum(length_sums[ends] - length_sums[starts], 1)
    shares = element_prose * 100 // max(int(element_prose[0]), 1)
    links = (link_sums[ends] - link_sums[starts]) * 100 // num_chars
    return np.stack(
        [
            *(logarithm(element_prose), shares, links, logarithm(ends - starts)),
            *(shares > 10, shares > 50, links > 25, links > 60),
        ]
    )


def _neighbour_features(own: Integers, owners: Integers, parents: Integers) -> list[Integers]:
    num_blocks = own.shape[1]
    rows = []
    for offset in _NEIGHBOURS:
        shifted = np.zeros((5, num_blocks), dtype=np.int64)
        here = slice(max(0, -offset), max(0, num_blocks - max(0, offset)))
        there = slice(max(0, offset), max(0, num_blocks + min(0, offset)))
        shifted[:4, here] = own[:, there]
        shifted[4, here] = (owners[here] == owners[there]) | (parents[here] == parents[there])
        rows.append(shifted)
    return rows


def name_hints(attributes: str) -> int:
    """The hints, as bits, in an element's attributes."""
    bits = 0
    pieces = attributes.split('"')
    for key, value in zip(pieces[::2], pieces[1::2], strict=False):
        if key in _NAME_KEYS:
            bits |= _value_hints(value)
    if ("hidden" in attributes or "display" in attributes) and _HIDING.search(attributes):
        bits |= _HINT_BITS["hidden"]
    return bits


@lru_cache(1 << 14)
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


@lru_cache(1 << 14)
def _word_hints(word: str) -> int:
    word = word.lower()
    bits = _VOCABULARY.get(word, 0)
    for length in _STEM_LENGTHS:
        stem = _VOCABULARY.get(f"{word[:length]}*") if length <= len(word) else None
        if stem:
            return bits | stem
    return bits
