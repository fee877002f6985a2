"""The seal of a record: a digest over all of it, so that an edit by hand shows.

An artefact's digest speaks of its files and its key of what was asked for; counts and facts are in
neither. Whoever edits a record can seal it anew, so what a seal was is also kept elsewhere:
in the chain of every version of a name (``tasks/lineage/chain.py``) and in signatures.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "seal"


def seal_of(record: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over a record as JSON values, keys sorted, without its own seal.

    Not :func:`pipeline_data.settings.fingerprint`, as counts may hold what that refuses: a NaN.
    """
    values = {name: value for name, value in record.items() if name != SEAL}
    text = json.dumps(
        values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str
    )
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its seal."""
    return {**record, SEAL: seal_of(record)}
