"""Masking of personal data: e-mail and IP addresses, IBANs, card and phone numbers.

E-mail and IP addresses are found and replaced as datatrove's ``PIIFormatter`` does, begun
anew for each document so that a text's masks do not depend on its neighbours: only public
addresses go. Of IPv6 that is the range that is given out (2000::/3). Numbers with a check digit
are masked only where it holds: IBAN by ISO 13616 (length per country) and ISO 7064 (remainder 1
of 97), cards by ISO/IEC 7812 (Luhn). Phone numbers need a country code or North American
grouping, so that plain figures stay. A version number of four parts is as good as an address.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import cycle

from pipeline_data.corpus.settings import PiiKind


@dataclass(frozen=True)
class _Detector:
    hint: re.Pattern[str]
    """Finds something, quickly, in whatever the pattern matches."""
    pattern: re.Pattern[str]
    is_valid: Callable[[str], bool]
    replacements: tuple[str, ...]


def mask_personal_data(text: str, kinds: Iterable[PiiKind]) -> tuple[str, dict[PiiKind, int]]:
    """Replace personal data of these kinds; returns the text and how many of each there were.

    The order of ``kinds`` does not matter.
    """
    wanted = set(kinds)
    counts: dict[PiiKind, int] = {}
    for kind, detector in _DETECTORS.items():
        if kind in wanted:
            text, counts[kind] = _mask(text, detector)
    return text, counts


def _mask(text: str, detector: _Detector) -> tuple[str, int]:
    if not detector.hint.search(text):
        return text, 0
    replacements = cycle(detector.replacements)
    num_masked = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal num_masked
        if not detector.is_valid(match[0]):
            return match[0]
        num_masked += 1
        return next(replacements)

    # no pattern reaches across the end of a line
    lines = text.split("\n")
    for place, line in enumerate(lines):
        if detector.hint.search(line):
            lines[place] = detector.pattern.sub(replace, line)
    return "\n".join(lines), num_masked


def _is_global_ip(candidate: str) -> bool:
    try:
        return ipaddress.ip_address(candidate).is_global
    except ValueError:
        return False


def _is_iban(candidate: str) -> bool:
    compact = candidate.replace(" ", "")
    rearranged = compact[4:] + compact[:4]
    return int("".join(str(int(char, 36)) for char in rearranged)) % 97 == 1


def _is_card(candidate: str) -> bool:
    digits = [int(char) for char in candidate if char.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


_IBAN_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 "
    "EE20 EG29 ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 "
    "IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 "
    "NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24 SM27 TN24 TR26 UA29 VA22 "
    "VG24 XK20"
)
_IBAN_PATTERN = "|".join(
    rf"{entry[:2]}[0-9]{{2}}(?: ?[A-Z0-9]){{{int(entry[2:]) - 4}}}"
    for entry in _IBAN_LENGTHS.split()
)

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)"
_EMAIL_PATTERN = (
    rf"\b{_ATOM}(?:\.{_ATOM})*@(?:(?:{_LABEL}\.)+{_LABEL}"
    rf"|\[(?:{_OCTET}\.){{3}}(?:{_OCTET}|[A-Za-z0-9-]*[A-Za-z0-9]:)])"
)
_IPV6_PATTERN = (
    r"(?<![\w:.])[23][0-9A-Fa-f]{3}(?:::?[0-9A-Fa-f]{1,4}){0,7}(?:::)?(?!\w|:\w|\.[0-9])"
)
_PHONE_PATTERN = (
    r"(?<![\w+.-])(?:"
    r"\+[1-9][0-9]{0,2}(?:[ -]?\(?[0-9]{1,4}\)?){2,5}"
    r"|\([2-9][0-9]{2}\) ?[2-9][0-9]{2}-[0-9]{4}"
    r"|[2-9][0-9]{2}-[2-9][0-9]{2}-[0-9]{4}"
    r")(?![\w-]|\.[0-9])"
)
_MIN_PHONE_DIGITS, _MAX_PHONE_DIGITS = 8, 15


def _is_phone(candidate: str) -> bool:
    return _MIN_PHONE_DIGITS <= sum(char.isdigit() for char in candidate) <= _MAX_PHONE_DIGITS


_DETECTORS: dict[PiiKind, _Detector] = {
    "email": _Detector(
        re.compile(r"@"),
        re.compile(_EMAIL_PATTERN),
        lambda _: True,
        ("email@example.com", "firstname.lastname@example.org"),
    ),
    "ip": _Detector(
        re.compile(r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"),
        re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}"),
        _is_global_ip,
        (
            "22.214.171.124",
            "126.96.36.199",
            "188.8.131.52",
            "184.108.40.206",
            "220.127.116.11",
            "18.104.22.168",
        ),
    ),
    "ipv6": _Detector(
        re.compile(r"[23][0-9A-Fa-f]{3}:"),
        re.compile(_IPV6_PATTERN),
        _is_global_ip,
        ("2001:db8::1",),
    ),
    "iban": _Detector(
        re.compile(r"[A-Z][A-Z][0-9][0-9]"),
        re.compile(rf"\b(?:{_IBAN_PATTERN})\b"),
        _is_iban,
        ("[IBAN]",),
    ),
    "card": _Detector(
        re.compile(r"[3-6](?:[ -]?[0-9]){12}"),
        re.compile(r"(?<![\w.-])[3-6](?:[ -]?[0-9]){12,18}(?![\w-])"),
        _is_card,
        ("[CARD]",),
    ),
    "phone": _Detector(
        re.compile(r"[+0-9](?:(?<=\+)[1-9]|[0-9]{2}-[0-9]{4})"),
        re.compile(_PHONE_PATTERN),
        _is_phone,
        ("[PHONE]",),
    ),
}
