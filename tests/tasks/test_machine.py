"""What is kept of code, libraries and machine."""

import hashlib
import re
from pathlib import Path

from tasks.machine import library_lock, machine_facts


def test_the_facts_of_this_machine() -> None:
    facts = machine_facts()
    assert re.fullmatch(r"[0-9a-f]{40}(\+dirty)?|unknown", facts["commit"])
    assert re.fullmatch(r"(requirements\.lock|installed) [0-9a-f]{64}", facts["lock"])
    assert facts["cpu"]
    assert facts["cores"] >= 1
    assert facts["memory_bytes"] > 2**28


def test_libraries_are_told_by_the_lock_file_or_by_what_is_installed(tmp_path: Path) -> None:
    installed = library_lock(tmp_path)
    assert installed == library_lock(tmp_path)
    assert installed.startswith("installed ")
    (tmp_path / "requirements.lock").write_bytes(b"numpy==2\n")
    digest = hashlib.sha256(b"numpy==2\n").hexdigest()
    assert library_lock(tmp_path) == f"requirements.lock {digest}"
