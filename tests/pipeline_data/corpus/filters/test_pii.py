"""Masking of personal data."""

import pytest
from datatrove.pipeline.formatters import PIIFormatter
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_data.corpus.filters.pii import _DETECTORS, mask_personal_data
from pipeline_data.corpus.settings import PiiKind

ALL: tuple[PiiKind, ...] = ("email", "ip", "ipv6", "iban", "card", "phone")

fragments = st.sampled_from(
    [
        "a.b+c@mail.example",
        "x@y",
        "me@[1.2.3.4]",
        "8.8.8.8",
        "10.0.0.1",
        "999.1.1.1",
        "1.1.1.1.1",
        "GB82 WEST 1234 5698 7654 32",
        "4111 1111 1111 1111",
        "+44 20 7946 0958",
        " ",
        ", ",
        "\n",
        "7",
        "word",
        "@",
        ".",
        "-",
    ]
)
messy_texts = st.lists(st.one_of(fragments, st.text(max_size=3)), max_size=25).map("".join)


@given(messy_texts)
def test_email_and_ip_are_masked_as_by_datatrove(text: str) -> None:
    assert mask_personal_data(text, ("ip", "email"))[0] == PIIFormatter().format(text)


PLANTED = (
    "bob@firm.org",
    "8.8.4.4",
    "GB82 WEST 1234 5698 7654 32",
    "4111 1111 1111 1111",
    "+44 20 7946 0958",
    "2606:4700:4700::1111",
)


@given(st.lists(st.sampled_from(PLANTED), max_size=25))
def test_nothing_planted_between_words_survives(found: list[str]) -> None:
    masked, counts = mask_personal_data(" and then ".join(found), ALL)
    assert not [value for value in PLANTED if value in masked]
    assert sum(counts.values()) == len(found)


@pytest.mark.parametrize(
    ("kind", "text", "masked"),
    [
        ("iban", "Pay GB82 WEST 1234 5698 7654 32 NOW please", "Pay [IBAN] NOW please"),
        ("iban", "DE89370400440532013000, thanks", "[IBAN], thanks"),
        ("card", "card 4111 1111 1111 1111.", "card [CARD]."),
        ("card", "card 3782-822463-10005", "card [CARD]"),
        ("phone", "Call +44 20 7946 0958 today", "Call [PHONE] today"),
        ("phone", "Call (415) 555-2671 or 415-555-2672.", "Call [PHONE] or [PHONE]."),
        ("phone", "+44 20 7946 0958 8.8.8.8", "[PHONE] 8.8.8.8"),
        ("email", "to a@b.example now", "to email@example.com now"),
        ("ip", "from 8.8.8.8", "from 22.214.171.124"),
        ("ipv6", "from 2606:4700:4700::1111: yes", "from 2001:db8::1: yes"),
        ("ipv6", "[2A00:1450:4001:81b:0:0:0:200e]:443", "[2001:db8::1]:443"),
        ("phone", "+49 (0)40 890 85-433", "[PHONE]"),
    ],
)
def test_masks_and_counts(kind: PiiKind, text: str, masked: str) -> None:
    result, counts = mask_personal_data(text, (kind,))
    assert result == masked
    assert counts == {kind: masked.count("[PHONE]") or 1}


@pytest.mark.parametrize(
    "text",
    [
        "GB83 WEST 1234 5698 7654 32",
        "ZZ82 WEST 1234 5698 7654 32",
        "4111 1111 1111 1112",
        "The sum 2021 2022 2023 2024 is of years",
        "version 3.11.4, 1000-2000 pages, 12-34-56, 2026-11-22 10:30",
        "ISBN 978-0-306-40615-7",
        "0.4111111111111111 and 123456789",
        "+1 and +22",
        "+1 2 3 4",
        "ISBN 0-306-40615-2",
        "at 2026-11-22T10:30:00.123 and 20:26:11:22",
        "2026:11:22, 3000::x, std::2fff:: and fe80::1, 2001:db8::2",
        "::1 and 3.11.4 of a library in version 10.2.0.7",
    ],
)
def test_leaves_other_numbers_alone(text: str) -> None:
    masked, counts = mask_personal_data(text, ALL)
    assert (masked, sum(counts.values())) == (text, 0)


characters = st.text(st.sampled_from("0123456789-+ ().:ADEGB@a\n"), max_size=60)


@settings(max_examples=200)
@given(st.one_of(characters, messy_texts, st.lists(st.sampled_from(PLANTED)).map("\n".join)))
def test_hints_and_lines_miss_nothing(text: str) -> None:
    """Searching the whole text with each pattern would mask as many."""
    for kind, detector in _DETECTORS.items():
        matches = (match[0] for match in detector.pattern.finditer(text))
        expected = sum(1 for match in matches if detector.is_valid(match))
        assert mask_personal_data(text, (kind,))[1] == {kind: expected}


def test_only_the_kinds_asked_for() -> None:
    text = "a@b.example 8.8.8.8"
    assert mask_personal_data(text, ()) == (text, {})
    assert mask_personal_data(text, ("ip",)) == ("a@b.example 22.214.171.124", {"ip": 1})
