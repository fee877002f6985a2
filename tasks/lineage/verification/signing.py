"""Signatures of models, chains and exported folders: keys, signing, checking.

The format and the cryptography are those of model-signing, the library of the OpenSSF: the
SHA-256 of every file in an in-toto statement, in a DSSE envelope, in a Sigstore bundle
(https://github.com/sigstore/model-transparency). Its own command checks our signatures, and ours
its. Keys are elliptic (NIST P-256, P-384 or P-521) in PEM files; no network is asked.
"""

import os
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from hashlib import sha256
from pathlib import Path

from pipeline_data.errors import ArtifactError

OWNER_ONLY = 0o600
ID_CHARACTERS = 16
PRIVATE, LOCKED = b"PRIVATE KEY", b"ENCRYPTED"
PASSWORD = "HEADWATER_KEY_PASSWORD"
"""The environment variable with the password of a private key that has one."""


def create_key(path: Path) -> Path:
    """Make a private key that only its owner can read; returns the file of its public half.

    Raises:
        ArtifactError: there is a file of that name.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    public = path.with_suffix(f".pub{path.suffix}")
    for existing in (path, public):
        if existing.exists():
            raise ArtifactError(f"{existing} is there already: name another file for the key")
    key = ec.generate_private_key(ec.SECP256R1())
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return public


def key_id(path: Path) -> str:
    """The short name of a key pair, the same for both halves.

    Raises:
        ArtifactError: the file holds no elliptic key that can be read.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        data = path.read_bytes()
        key = (
            serialization.load_pem_private_key(data, _password_of(data)).public_key()
            if PRIVATE in data
            else serialization.load_pem_public_key(data)
        )
    except OSError as error:
        raise ArtifactError(f"no key at {path}: {error.strerror}") from None
    except TypeError:
        raise ArtifactError(f"{path} is locked: set {PASSWORD} in the environment") from None
    except ValueError:
        raise ArtifactError(
            f"{path} holds no key that can be read: it is no PEM file, or {PASSWORD} is another's"
        ) from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ArtifactError(
            f"{path} is no elliptic key: make one with 'headwater sign MODEL --new-key FILE'"
        )
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return sha256(pem).hexdigest()[:ID_CHARACTERS]


def _password_of(pem: bytes) -> bytes | None:
    """What unlocks a key, if it is locked and the environment tells."""
    password = os.environ.get(PASSWORD, "").encode()
    return password if password and LOCKED in pem else None


def sign_path(path: Path, signature: Path, private_key: Path, unsigned: Sequence[str] = ()) -> None:
    """Sign a file, or all files of a folder.

    Args:
        unsigned: files of the folder that the signature does not cover, such as itself.

    Raises:
        ArtifactError: the key cannot be used.
    """
    from model_signing import hashing, signing

    key_id(private_key)  # says what is wrong with a key
    password = _password_of(private_key.read_bytes())
    try:
        config = signing.Config().use_elliptic_key_signer(  # type: ignore[no-untyped-call]
            private_key=private_key,
            password=password,  # type: ignore[arg-type]  # bytes are what works
        )
    except ValueError as error:
        raise ArtifactError(f"{private_key} cannot sign: {error}") from None
    covered = hashing.Config().set_ignored_paths(  # type: ignore[no-untyped-call]
        paths=[Path(name) for name in unsigned], ignore_git_paths=False
    )
    config.set_hashing_config(covered).sign(path, signature)


def signature_flaw(path: Path, signature: Path, public_key: Path) -> str | None:
    """Why a signature is not this key's signature of a file or folder as it is; nothing if it is.

    Raises:
        ArtifactError: the key cannot be read, or is a private one.
    """
    from cryptography.exceptions import InvalidSignature
    from model_signing import hashing, verifying

    key_id(public_key)
    if PRIVATE in public_key.read_bytes():
        raise ArtifactError(
            f"{public_key} is a private key: a signature is checked with the public half"
        )
    if not signature.is_file():
        return "there is no signature"
    everything = hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)  # type: ignore[no-untyped-call]
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=public_key)  # type: ignore[no-untyped-call]
        with redirect_stdout(sys.stderr):  # it prints warnings
            config.set_hashing_config(everything).verify(path, signature)
    except InvalidSignature:
        return "the signature does not hold: it was edited"
    except Exception as error:  # of any kind, as the file may hold anything
        return _explain(str(error))
    return None


def _explain(error: str) -> str:
    """What the library said, in short: it prints digests as Python values."""
    if error.startswith("Key mismatch"):
        return "the signature was made with another key"
    if not error.startswith("Signature mismatch"):
        return f"the signature cannot be read ({' '.join(error.split())})"
    changed = re.findall(r"Hash mismatch for \\?'(.*?)\\?': Expected", error)
    moved = re.findall(r"((?:Extra|Missing) files)[^:]*: (.*?)['\"](?:, |\])", error)
    said = [f"changed files: {', '.join(changed)}"] * bool(changed)
    said += [f"{kind.lower()}: {names}" for kind, names in moved]
    return f"what was signed is not what is there ({'; '.join(said)})"
