"""The base of every component's config: strict, immutable, with a stable fingerprint."""

import hashlib
import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """A small typed config. Unknown keys, wrong types and NaN are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


Strings = Annotated[tuple[str, ...], Field(strict=False)]
"""A list of strings in YAML, an immutable tuple in Python."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


def canonical_json(value: Any) -> str:
    """JSON with one spelling: sorted keys, no spaces, NaN and unknown types refused.

    Raises:
        TypeError, ValueError: the value has no stable spelling (a set, a path, NaN).
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )


def fingerprint(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
