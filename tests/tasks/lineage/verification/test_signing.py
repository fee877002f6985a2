"""Signatures: of files and folders, of the chains of a store, with keys of every condition."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from pipeline_data.errors import ArtifactError
from tasks.lineage.verification.chain_signature import sign_chain
from tasks.lineage.verification.signing import create_key, key_id, sign_path, signature_flaw
from tests.tasks.lineage.verification.small_store import SmallStore, make_store, produce
from tests.tasks.lineage.verification.tampering import flip, sealed, set_to


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "own.pem"
    create_key(path)
    return path


@pytest.fixture(scope="module")
def public(private: Path) -> Path:
    return private.with_name("own.pub.pem")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create_key(tmp_path_factory.mktemp("keys") / "foreign.pem")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "lineage").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"0123")
    (folder / "lineage" / "chain.json").write_text("{}")
    return folder


@pytest.fixture
def small(tmp_path: Path) -> SmallStore:
    return make_store(tmp_path)


def test_a_new_key_is_its_owners_alone(private: Path, public: Path) -> None:
    assert private.stat().st_mode & 0o777 == 0o600
    assert key_id(private) == key_id(public)
    assert b"PRIVATE" not in public.read_bytes()
    with pytest.raises(ArtifactError, match="there already"):
        create_key(private)


def test_a_folder_is_signed_as_it_is(folder: Path, private: Path, public: Path) -> None:
    signature = folder / "lineage" / "model.sig"
    sign_path(folder, signature, private, unsigned=["lineage/model.sig"])
    assert signature_flaw(folder, signature, public) is None
    assert b"PRIVATE" not in signature.read_bytes()
    for name in ("weights.bin", ".gitattributes"):
        (folder / name).write_bytes(b"4567")
        flaw = signature_flaw(folder, signature, public)
        assert flaw is not None
        assert f"files: {name}" in flaw
        (folder / name).unlink()
    flaw = signature_flaw(folder, signature, public)
    assert flaw is not None
    assert "missing files: weights.bin" in flaw


def test_the_librarys_own_command_agrees(folder: Path, private: Path, public: Path) -> None:
    signature = folder.with_name("model.sig")
    sign_path(folder, signature, private)
    command = [
        sys.executable, "-m", "model_signing", "verify", "key", str(folder),
        "--signature", str(signature), "--public_key", str(public),
    ]  # fmt: skip
    assert subprocess.run(command, capture_output=True).returncode == 0
    flip(folder / "weights.bin")
    assert subprocess.run(command, capture_output=True).returncode != 0


def test_a_signature_of_another_key_or_none_does_not_do(
    folder: Path, private: Path, public: Path, foreign: Path
) -> None:
    signature = folder.with_name("model.sig")
    assert signature_flaw(folder, signature, public) == "there is no signature"
    sign_path(folder, signature, private)
    assert signature_flaw(folder, signature, foreign) == "the signature was made with another key"
    bundle = json.loads(signature.read_bytes())
    bundle["verificationMaterial"]["publicKey"]["hint"] = foreign_hint(foreign)
    signature.write_text(json.dumps(bundle))
    flaw = signature_flaw(folder, signature, foreign)
    assert flaw == "the signature does not hold: it was edited"
    signature.write_text("{}")
    flaw = signature_flaw(folder, signature, public)
    assert flaw is not None
    assert flaw.startswith("the signature cannot be read")


def foreign_hint(public_key: Path) -> str:
    from hashlib import sha256

    return sha256(public_key.read_bytes()).hexdigest()


def write_key(path: Path, curve: str, password: bytes | None = None) -> Path:
    key = (
        ed25519.Ed25519PrivateKey.generate()
        if curve == "ed25519"
        else ec.generate_private_key({"P-384": ec.SECP384R1, "k1": ec.SECP256K1}[curve]())
    )
    protection = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    )
    return path


def test_keys_that_cannot_sign_are_refused_in_a_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.pem").write_text("no key at all")
    keys = {
        tmp_path / "gone.pem": "no key at",
        tmp_path / "text.pem": "holds no key that can be read",
        write_key(tmp_path / "ed.pem", "ed25519"): "is no elliptic key",
        write_key(tmp_path / "k1.pem", "k1"): "cannot sign: Unsupported key",
        write_key(
            tmp_path / "locked.pem", "P-384", b"secret"
        ): "is locked: set HEADWATER_KEY_PASSWORD",
    }
    for key, said in keys.items():
        with pytest.raises(ArtifactError, match=said):
            sign_path(folder, tmp_path / "model.sig", key)
    assert not (tmp_path / "model.sig").exists()
    monkeypatch.setenv("HEADWATER_KEY_PASSWORD", "guess")
    with pytest.raises(ArtifactError, match="is another's"):
        sign_path(folder, tmp_path / "model.sig", tmp_path / "locked.pem")
    monkeypatch.setenv("HEADWATER_KEY_PASSWORD", "secret")
    for key in (tmp_path / "locked.pem", write_key(tmp_path / "open.pem", "P-384")):
        sign_path(folder, tmp_path / "model.sig", key)


def test_a_private_key_is_not_asked_for_to_check(
    folder: Path, private: Path, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match="is a private key"):
        signature_flaw(folder, tmp_path / "model.sig", private)


def test_a_signed_lineage_holds_for_its_key_alone(
    small: SmallStore, private: Path, public: Path, foreign: Path
) -> None:
    (problem,) = small.verify(public).problems
    assert f"is not signed with the key {key_id(public)}" in problem.what
    place = sign_chain(small.open(), small.model, private)
    assert Path(place).is_file()
    assert small.verify(public).problems == []
    (problem,) = small.verify(foreign).problems
    assert f"is not signed with the key {key_id(foreign)}" in problem.what


@pytest.mark.parametrize("edited", ["counts", "facts"])
def test_an_edit_that_was_sealed_anew_breaks_the_signature(
    small: SmallStore, private: Path, public: Path, edited: str
) -> None:
    """Whoever edits a record and makes all else in the store agree has no key to sign it with."""
    from tasks.lineage.verification.chain import record_chain

    sign_chain(small.open(), small.model, private)
    path = small.edit_record(small.texts[1], sealed(set_to(edited, "num_files", value=9)))
    chain = record_chain(small.open(), small.model)
    small.edit_reference(set_to("versions", 0, "chain", value=chain))
    assert small.verify().problems == []
    (problem,) = small.verify(public).problems
    assert (problem.kind, problem.place) == ("signature", str(path))


def test_an_edited_signed_chain_or_signature_is_named(
    small: SmallStore, private: Path, public: Path
) -> None:
    signature = Path(sign_chain(small.open(), small.model, private))
    chain = signature.with_name(f"{signature.name.split('.')[0]}.json")
    for path in (chain, signature):
        before = path.read_bytes()
        path.write_bytes(before.replace(b"a", b"b", 5))
        assert str(path) in {problem.place for problem in small.verify(public).problems}
        path.write_bytes(before)
    assert small.verify(public).problems == []


def test_a_parent_that_was_not_signed_is_named(
    small: SmallStore, private: Path, public: Path
) -> None:
    """A longer lineage than the one signed, as of another artefact of the same content."""
    sign_chain(small.open(), small.model, private)
    site = produce(small.store, "site", {"index.html": "other"})
    text = produce(
        small.store, "extract", {"text.txt": "text 0\n"}, [site], shard="web-000",
        created="2026-01-02T00:00:00+00:00",
    )  # fmt: skip
    model = small.edit_record(small.model, sealed(set_to("facts", "created", value="2026-01-03")))
    small.forget_catalogue()
    places = {problem.place for problem in small.verify(public).problems}
    assert {str(small.record_path(text)), str(small.record_path(site)), str(model)} <= places
