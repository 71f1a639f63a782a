"""Signatures of webhooks: the secrets, their text form, and what they sign.

Standard Webhooks 1.0, "Signature scheme": `v1` is HMAC-SHA256 with a secret that both sides have (`whsec_`), `v1a` is
ed25519 with a key that only the sender has (`whsk_`) and its public half for the receiver (`whpk_`). A request
carries one signature of each secret: while the old and the new one are both there, either side may change first.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from artbot.errors import ConfigError, NoSecret
from artbot.files import make_folder, write_atomically

SHARED_PREFIX = "whsec_"
PRIVATE_PREFIX = "whsk_"
PUBLIC_PREFIX = "whpk_"
SHARED_BYTES = (24, 64)
"""Shortest and longest shared secret that the specification allows."""
SEED_BYTES = 32
"""An ed25519 private key (RFC 8032); some libraries write the public key behind it."""

Scheme = Literal["v1", "v1a"]


@dataclass(frozen=True)
class SharedSecret:
    """Signs `v1`; the receiver has the same."""

    key: bytes = field(repr=False)
    scheme: Scheme = "v1"

    def sign(self, content: bytes) -> bytes:
        return hmac.digest(self.key, content, hashlib.sha256)

    @property
    def fingerprint(self) -> str:
        """What either side may say aloud, to tell it from another; `sha256sum` of the line begins so."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:8]

    @property
    def text(self) -> str:
        """The secret itself, as it is written in a file."""
        return SHARED_PREFIX + base64.b64encode(self.key).decode()


@dataclass(frozen=True)
class PrivateKey:
    """Signs `v1a`; the receiver has the public key."""

    seed: bytes = field(repr=False)
    scheme: Scheme = "v1a"

    def sign(self, content: bytes) -> bytes:
        # Slow to import: only who signs so needs it.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(content)

    @property
    def public_bytes(self) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()

    @property
    def public_key(self) -> str:
        """`whpk_…`, for the receiver; no secret."""
        return PUBLIC_PREFIX + base64.b64encode(self.public_bytes).decode()

    @property
    def text(self) -> str:
        """The secret itself, as it is written in a file."""
        return PRIVATE_PREFIX + base64.b64encode(self.seed).decode()


Secret = SharedSecret | PrivateKey


def new_secret(scheme: Scheme = "v1") -> Secret:
    """From the system's random source."""
    random = secrets.token_bytes(32)
    return SharedSecret(random) if scheme == "v1" else PrivateKey(random)


def sign(secret: Secret, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature over the exact bytes sent; `timestamp` in Unix seconds."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return f"{secret.scheme},{base64.b64encode(secret.sign(signed)).decode()}"


def parse_secrets(text: str, place: str) -> tuple[Secret, ...]:
    """One to a line; empty lines and those that begin with # say nothing. `place`: where that stands.

    Raises ConfigError naming place and line; it never quotes it. NoSecret if all lines say nothing.
    """
    return tuple(secret for _, secret in numbered_secrets(text, place))


def numbered_secrets(text: str, place: str) -> list[tuple[int, Secret]]:
    """The same, each with the number of its line."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    found = [
        (number, _parse(line, f"line {number} of {place}"))
        for number, line in lines
        if line and not line.startswith("#")
    ]
    if not found:
        raise NoSecret(f"{place} holds no secret: all lines are comments")
    return found


def add_secret(path: Path, scheme: Scheme) -> None:
    """Make a secret and put it behind those in the file, which is made if need be; nobody else can read it.

    What stands there stays, comments too. Raises ConfigError (a line is no secret, or the file is somebody else's),
    OSError.
    """
    path = path.resolve()  # a link stays one
    before = ""
    if path.exists():
        if path.stat().st_uid != os.geteuid():
            raise ConfigError(f"{path} belongs to another user; say it as that one (sudo -u USER)")
        try:
            before = path.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} is not text; nothing was changed") from error
        try:
            parse_secrets(before, str(path))
        except NoSecret:
            pass
        except ConfigError as error:
            raise ConfigError(f"{error}; nothing was changed") from error
        if before and not before.endswith("\n"):
            before += "\n"
    else:
        make_folder(path.parent)
    write_atomically(path, f"{before}{new_secret(scheme).text}\n".encode(), mode=0o600)


def _parse(line: str, place: str) -> Secret:
    shortest, longest = SHARED_BYTES
    if line.startswith(SHARED_PREFIX):
        key = _decoded(line.removeprefix(SHARED_PREFIX))
        if shortest <= len(key) <= longest:
            return SharedSecret(key)
    elif line.startswith(PRIVATE_PREFIX):
        key = _decoded(line.removeprefix(PRIVATE_PREFIX))
        private = PrivateKey(key[:SEED_BYTES])
        if len(key) == SEED_BYTES:
            return private
        if len(key) == 2 * SEED_BYTES:
            if key[SEED_BYTES:] == private.public_bytes:
                return private
            raise ConfigError(
                f"{place} holds a private key and a public key that does not belong to it; "
                "mend that line or take it out"
            )
    raise ConfigError(
        f"{place} must be {SHARED_PREFIX} and the base64 of {shortest} to {longest} random "
        f"bytes, or {PRIVATE_PREFIX} and the base64 of an ed25519 key ({SEED_BYTES} bytes, or {2 * SEED_BYTES} with "
        "its public key); mend that line or take it out"
    )


def _decoded(encoded: str) -> bytes:
    """Nothing for what is no base64."""
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:  # not ASCII, or not base64
        return b""
