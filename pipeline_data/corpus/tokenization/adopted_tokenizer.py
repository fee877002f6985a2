"""Stage ``adopt-tokenizer``: a tokenizer made elsewhere, checked and taken as it is.

What comes after needs a byte-level BPE (no text is unknown or changed), ids of 16 bits, three
special tokens (one before each document, one after each answer, one that fills up batches) and a
chat template that marks what the assistant says.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from pipeline_data.artifact import Counts
from pipeline_data.corpus.settings import AdoptedTokenizerConfig
from pipeline_data.corpus.tokenization.encoder import byte_alphabet, load_encoder
from pipeline_data.errors import ArtifactError
from pipeline_data.stage_run import Inputs, Runtime

TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
FILES = (TOKENIZER, CONFIG, TEMPLATE)
ROLES = ("bos_token", "eos_token", "pad_token")
PROBE = "Cafe\u0301 \u212b \uff21\u3000\u200b\ufeff\r\n\t  \x00\x1c 007 \u00bd 'S's \U0001f642  "
"""Text that normalizing, stripping or lower-casing would change."""


def run(config: AdoptedTokenizerConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Copy the tokenizer in the files of ``files`` (many) when it is one that can be used.

    Needs tokenizer.json and tokenizer_config.json; the template may be in chat_template.jinja.

    Raises:
        ArtifactError: a file is missing, or the tokenizer lacks what later stages need.
    """
    paths = [a.directory / file.path for a in inputs.many("files") for file in a.files]
    found = {path.name: path for path in paths if path.name in FILES}
    for name in (TOKENIZER, CONFIG):
        if name not in found:
            raise ArtifactError(f"the tokenizer's folder has no {name}")
    encoder = load_encoder(found[TOKENIZER])
    spec, settings = json.loads(encoder.reference.to_str()), _read(found[CONFIG])
    template = settings.get("chat_template") or ""
    if TEMPLATE in found:
        template = found[TEMPLATE].read_text(encoding="utf-8")
    problem = (
        _fault_of_model(spec, encoder.reference)
        or _fault_of_roles(spec, settings)
        or _fault_of_template(template)
    )
    if problem:
        raise ArtifactError(f"{found[TOKENIZER].parent}: the tokenizer cannot be used: {problem}")
    out.mkdir(parents=True, exist_ok=True)
    for name, path in found.items():
        shutil.copyfile(path, out / name)
    return {"vocab_size": encoder.reference.get_vocab_size(), "encoder": encoder.name}


def _fault_of_model(spec: Mapping[str, Any], tokenizer: Tokenizer) -> str | None:
    """What keeps this from being a lossless byte-level BPE with ids from 0."""
    model = spec["model"]
    if model["type"] != "BPE" or not byte_alphabet().keys() <= model["vocab"].keys():
        return "it is not a byte-level BPE with a token for every byte"
    vocab = tokenizer.get_vocab()
    if sorted(vocab.values()) != list(range(len(vocab))):
        return f"its {len(vocab)} ids are not 0 to {len(vocab) - 1}"
    ids = tokenizer.encode(PROBE, add_special_tokens=False).ids
    if tokenizer.decode(ids, skip_special_tokens=False) != PROBE:
        return "text does not come back as it was: it must neither normalize nor add a space"
    return None


def _fault_of_roles(spec: Mapping[str, Any], settings: Mapping[str, Any]) -> str | None:
    special = {token["content"] for token in spec["added_tokens"] if token["special"]}
    for role in ROLES:
        token = settings.get(role)
        token = token["content"] if isinstance(token, dict) else token
        if token is None:
            return f"{CONFIG} names no {role}"
        if token not in special:
            return f"its {role} '{token}' is no special token of {TOKENIZER}"
    return None


def _fault_of_template(template: object) -> str | None:
    if not isinstance(template, str) or "{% generation %}" not in template:
        return (
            "it has no chat template with {% generation %} around what the assistant says: "
            f"write one to {TEMPLATE} beside it"
        )
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtifactError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ArtifactError(f"{path}: not a JSON object")
    return content
