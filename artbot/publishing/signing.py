"""Content Credentials (C2PA): a rendition signed with a person's own certificate, after all else is done to it.

The signature covers every byte, so a file that was changed is found out, and one that a platform wrote anew
has none any more. Signing uses random numbers, and a post must be the same whenever it is composed: what was
signed is kept in works/signed/, and only what is not there is signed. No thumbnail is added, which would weigh
more than the picture.
"""

from __future__ import annotations

import hashlib
import io
import os
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artbot.config import Settings
from artbot.errors import ConfigError, Unavailable
from artbot.files import make_folder, write_atomically
from artbot.publishing.xmp import SOURCE_TYPE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

FOLDER = "signed"
"""Below works/."""
ROOM_BYTES = 4096
"""More than the manifest takes besides the certificates: 2 kB (c2pa-python 0.38)."""
_MANIFEST = {
    "claim_generator_info": [{"name": "artbot"}],
    "assertions": [
        {
            "label": "c2pa.actions",
            "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}]},
        }
    ],
}
_SETTINGS = {"builder": {"thumbnail": {"enabled": False}}}


@dataclass(frozen=True)
class Credentials:
    """A certificate chain and its key. Made by `open_signer`."""

    certificates: bytes
    """PEM, the signer's own first."""
    key: str
    """PEM, PKCS #8."""
    algorithm: str
    kept: Path
    """The folder with what was signed."""
    expires_at: datetime
    """When the signer's own certificate ends: from then on nothing can be signed."""

    @property
    def room_bytes(self) -> int:
        """No signature makes a file larger by more."""
        return ROOM_BYTES + 2 * len(self.certificates)

    def sign(self, content: bytes, media_type: str) -> bytes:
        """The file with its manifest, the same every time. Raises Unavailable: what is wrong with
        certificates is mended in a file."""
        of = hashlib.sha256(self.certificates + b"\0" + content).hexdigest()
        path = self.kept / of
        try:
            if not path.exists():
                self._keep(path, self._signed(content, media_type))
            return path.read_bytes()
        except OSError as error:
            raise Unavailable(f"not signed: {path}: {error.strerror}") from error

    def _signed(self, content: bytes, media_type: str) -> bytes:
        import c2pa

        signed = io.BytesIO()
        try:
            signer = c2pa.Signer.from_info(
                c2pa.C2paSignerInfo(self.algorithm, self.certificates, self.key.encode(), None)
            )
            with c2pa.Context(settings=c2pa.Settings.from_dict(_SETTINGS)) as context:
                builder = c2pa.Builder({**_MANIFEST, "format": media_type}, context=context)
                builder.sign(signer, media_type, io.BytesIO(content), signed)
        except c2pa.C2paError as error:
            raise Unavailable(f"not signed: the certificates of [provenance]: {error}") from error
        return signed.getvalue()

    def _keep(self, path: Path, signed: bytes) -> None:
        """Of two who sign at once the first is kept."""
        make_folder(path.parent)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
        write_atomically(temporary, signed)
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # a file system that knows no links
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def open_signer(settings: Settings) -> Credentials | None:
    """What renditions are signed with, if artbot.toml says so. Raises ConfigError naming the key."""
    provenance = settings.provenance
    if provenance.certificates is None:
        return None
    try:
        import c2pa  # noqa: F401
        from cryptography import x509
    except ImportError as error:
        raise ConfigError(
            f"provenance.certificates: signing needs c2pa-python ({error.name} is missing). Install "
            "'artbot[c2pa]', or take the keys of [provenance] out"
        ) from error
    path = settings.path(provenance.certificates)
    try:
        certificates = path.read_bytes()
        first = x509.load_pem_x509_certificates(certificates)[0]
    except OSError as error:
        raise ConfigError(
            f"provenance.certificates: {path} cannot be read: {error.strerror}"
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"provenance.certificates: {path} holds no certificates in PEM, the signer's own first"
        ) from error
    key_text = provenance.read_key(settings.root)
    key = _key(key_text)
    if _public(key) != _public(first):
        raise ConfigError(
            f"provenance.key_file: the key is not that of the first certificate in {path}"
        )
    return Credentials(
        certificates,
        key_text,
        _algorithm(key),
        settings.works / FOLDER,
        first.not_valid_after_utc,
    )


def _key(pem: str) -> PrivateKeyTypes:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            "provenance.key_file: it holds no private key in PEM (PKCS #8) without a password"
        ) from error


def _public(holder: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public: bytes = holder.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return public


def _algorithm(key: PrivateKeyTypes) -> str:
    """C2PA's name for what such a key signs with."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    by_curve = {256: "es256", 384: "es384", 521: "es512"}
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size in by_curve:
        return by_curve[key.curve.key_size]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    raise ConfigError(
        "provenance.key_file: C2PA signs with P-256, P-384, P-521, Ed25519 and RSA keys"
    )
