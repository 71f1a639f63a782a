"""Renditions signed with a person's own certificate, read back by the C2PA reader."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

from artbot.config import load_settings
from artbot.errors import ConfigError, Unavailable
from artbot.publishing import channels
from artbot.publishing.channels import (
    Parcel,
    Post,
    Receipt,
    Sender,
    open_channels,
    outlets,
    settings_models,
)
from artbot.publishing.outbox import deliver_due
from artbot.publishing.renditions import PictureLimits, rendition
from artbot.publishing.signing import Credentials, open_signer
from artbot.publishing.work import Work
from artbot.publishing.xmp import SOURCE_TYPE, name_in
from artbot.upkeep.doctor import examine
from artbot.workplace import Workplace
from tests.unit.service.kit import NOON, Desk, SetClock, deliveries
from tests.unit.service.test_renditions import a_painting

KEYS = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ps256": lambda: rsa.generate_private_key(65537, 2048),
}
MEDIA_TYPES = ("image/png", "image/webp", "image/jpeg")


def name(of: str) -> x509.Name:
    attributes = [(NameOID.COMMON_NAME, of), (NameOID.ORGANIZATION_NAME, "artbot's tests")]
    return x509.Name([x509.NameAttribute(*attribute) for attribute in attributes])


def pem_of(key: Any) -> str:
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return str(key.private_bytes(*encoding, serialization.NoEncryption()).decode())


def certificates(key: Any) -> str:
    """A chain of two, as C2PA wants it."""
    authority = ec.generate_private_key(ec.SECP256R1())
    uses = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    none = dict.fromkeys((*uses, "encipher_only", "decipher_only"), False)
    made = []
    for subject, public, is_authority in (
        ("an artist", key.public_key(), False),
        ("an authority", authority.public_key(), True),
    ):
        usage = x509.KeyUsage(
            digital_signature=not is_authority,
            key_cert_sign=is_authority,
            crl_sign=is_authority,
            **none,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("an authority"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOON - timedelta(days=365))
            .not_valid_after(NOON + timedelta(days=36_500))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()),
                critical=False,
            )
        )
        if not is_authority:
            use = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(use, critical=False)
        made.append(builder.sign(authority, hashes.SHA256()))
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in made)


CONFIG = """
[channels.studio]
type = "webhook"
url = "https://example.org/artbot"
secret_file = "webhook"
[provenance]
certificates = "chain.pem"
key_file = "key.pem"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workplace with a certificate."""
    key = KEYS["es256"]()
    (tmp_path / "artbot.toml").write_text(CONFIG)
    (tmp_path / "webhook").write_text("whsec_" + "A" * 44)
    (tmp_path / "chain.pem").write_text(certificates(key))
    (tmp_path / "key.pem").write_text(pem_of(key))
    for secret in ("webhook", "key.pem"):
        (tmp_path / secret).chmod(0o600)
    return tmp_path


def signer_in(place: Path) -> Credentials:
    found = open_signer(load_settings(place, settings_models()))
    assert found is not None
    return found


def a_signed_work(place: Path) -> Work:
    return replace(a_painting(), signer=signer_in(place))


def manifest(content: bytes, media_type: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(c2pa.Reader(media_type, io.BytesIO(content)).json())
    return read


def faults(content: bytes, media_type: str) -> set[str]:
    """But for the one that every certificate has that nobody paid for."""
    status = manifest(content, media_type).get("validation_status", [])
    return {fault["code"] for fault in status} - {"signingCredential.untrusted"}


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_every_rendition_is_signed_and_says_that_a_network_made_it(
    place: Path, media_type: str
) -> None:
    sent = rendition(a_signed_work(place), PictureLimits((media_type,)))
    read = manifest(sent.content, media_type)
    assert (read["validation_state"], faults(sent.content, media_type)) == ("Valid", set())
    [made] = read["manifests"].values()
    assert made["signature_info"]["common_name"] == "an artist"
    [action] = made["assertions"][0]["data"]["actions"]
    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", SOURCE_TYPE)
    assert "thumbnail" not in made


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_signing_changes_neither_the_pixels_nor_the_xmp(place: Path, media_type: str) -> None:
    work, limits = a_signed_work(place), PictureLimits((media_type,))
    signed, unsigned = rendition(work, limits), rendition(replace(work, signer=None), limits)
    with (
        Image.open(io.BytesIO(signed.content)) as one,
        Image.open(io.BytesIO(unsigned.content)) as two,
    ):
        assert one.tobytes() == two.tobytes()
        assert name_in(one.info["xmp"].decode()) == work.name
    assert 0 < len(signed.content) - len(unsigned.content) < 5_000


@pytest.mark.parametrize("algorithm", KEYS)
def test_it_signs_with_every_kind_of_key_that_c2pa_knows(place: Path, algorithm: str) -> None:
    key = KEYS[algorithm]()
    (place / "chain.pem").write_text(certificates(key))
    (place / "key.pem").write_text(pem_of(key))
    assert signer_in(place).algorithm == algorithm
    sent = rendition(a_signed_work(place), PictureLimits())
    assert not faults(sent.content, "image/png")


def test_a_changed_pixel_is_found_out(place: Path) -> None:
    content = bytearray(rendition(a_signed_work(place), PictureLimits(("image/jpeg",))).content)
    content[-100] ^= 1
    assert "assertion.dataHash.mismatch" in faults(bytes(content), "image/jpeg")


def test_it_is_the_same_bytes_every_time_though_signatures_are_not(place: Path) -> None:
    first = rendition(a_signed_work(place), PictureLimits())
    assert rendition(a_signed_work(place), PictureLimits()).content == first.content
    [kept] = (place / "works" / "signed").iterdir()
    assert kept.read_bytes() == first.content
    kept.unlink()
    assert rendition(a_signed_work(place), PictureLimits()).content != first.content


def test_of_two_who_sign_at_once_the_first_is_kept(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = signer_in(place)
    sign = Credentials._signed

    def slowly(self: Credentials, content: bytes, media_type: str) -> bytes:
        monkeypatch.setattr(Credentials, "_signed", sign)
        others.append(signer.sign(content, media_type))
        return sign(self, content, media_type)

    others: list[bytes] = []
    monkeypatch.setattr(Credentials, "_signed", slowly)
    content = a_painting().picture.content
    assert [signer.sign(content, "image/png")] == others
    assert len(list((place / "works" / "signed").iterdir())) == 1


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_the_signature_counts_for_the_channels_limit(place: Path, media_type: str) -> None:
    work = a_signed_work(place)
    for room in (40_000, 25_000, 18_000):
        sent = rendition(work, PictureLimits((media_type,), max_bytes=room))
        assert len(sent.content) <= room
        assert not faults(sent.content, media_type)


@dataclass
class Shelf(Sender):
    """A channel that puts posts down here."""

    posts: list[Post]

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        self.posts.append(parcel.post)
        return Receipt(None, "put down")


@pytest.fixture
def shelf(place: Path, monkeypatch: pytest.MonkeyPatch) -> list[Post]:
    """What `studio` was sent, which is now a shelf."""
    posts: list[Post] = []
    kind = replace(
        channels.channel_kinds()["webhook"],
        compose=lambda chosen, work: Post(picture=rendition(work, PictureLimits())),
        open=lambda chosen, root: Shelf(posts),
    )
    monkeypatch.setattr(channels, "channel_kinds", lambda: {"webhook": kind})
    return posts


def test_a_work_that_cannot_be_signed_waits_and_goes_out_signed_when_it_can(
    place: Path, shelf: list[Post], desk: Desk
) -> None:
    outlet = outlets(load_settings(place, channels.settings_models()))["studio"]
    outbox = replace(desk.outbox_to(Shelf(shelf)), outlets={"studio": outlet})
    desk.approve_one()
    key = (place / "key.pem").rename(place / "elsewhere")
    deliver_due(outbox, lambda _: None, lambda: False)
    [waiting] = deliveries(desk.database)
    assert (waiting.state, shelf) == ("retry_wait", [])
    assert "key_file" in (waiting.last_error or "")
    key.rename(place / "key.pem")
    desk.clock.advance(hours=1)
    deliver_due(outbox, lambda _: None, lambda: False)
    assert [d.state for d in deliveries(desk.database)] == ["delivered"]
    [post] = shelf
    assert post.picture is not None
    assert not faults(post.picture.content, "image/png")


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("chain.pem", None, r"provenance\.certificates: .*chain\.pem cannot be read: No such file"),
        ("chain.pem", "hello", "holds no certificates in PEM"),
        ("key.pem", None, r"provenance\.key_file .*key\.pem cannot be read: No such file"),
        ("key.pem", "hello", r"provenance\.key_file: it holds no private key in PEM"),
        ("key.pem", "", "is empty"),
        ("key.pem", pem_of(KEYS["es256"]()), "the key is not that of the first certificate"),
    ],
)
def test_what_is_wrong_with_the_certificate_is_told_before_anything_is_sent(
    place: Path, file: str, content: str | None, words: str
) -> None:
    if content is None:
        (place / file).unlink()
    else:
        (place / file).write_text(content)
    settings = load_settings(place, settings_models())
    with pytest.raises(ConfigError, match=words):
        open_channels(settings)
    with pytest.raises(Unavailable, match=f"not sent: .*{words}"):
        outlets(settings)["studio"].sign(a_painting())
    (told,) = signing_problems(place, NOON)
    assert re.search(words, told)


def signing_problems(place: Path, now: datetime) -> list[str]:
    """The doctor's."""
    workplace = Workplace(load_settings(place, settings_models()), SetClock(now))
    return next(f.problems for f in examine(workplace, is_quick=True) if f.title == "signing")


def test_a_certificate_that_is_about_to_end_is_told_before_works_wait_for_another(
    place: Path,
) -> None:
    ends_at = signer_in(place).expires_at
    assert signing_problems(place, ends_at - timedelta(days=15)) == []
    (told,) = signing_problems(place, ends_at - timedelta(days=13))
    assert told == f"provenance.certificates: chain.pem is good until {ends_at:%Y-%m-%d}"


def test_what_a_gallery_shows_on_its_pages_is_signed_too(place: Path) -> None:
    """Each size last, so that its name is that of the signed file."""
    with (place / "artbot.toml").open("a") as toml:
        toml.write(
            '[channels.wall]\ntype = "gallery"\nurl = "https://art.example.org"\npath = "site"\n'
        )
    outlet = outlets(load_settings(place, settings_models()))["wall"]
    work = outlet.sign(a_painting())
    for _ in range(2):  # whoever hangs it again writes the same
        parcel = Parcel("key", work, outlet.compose(work))
        wall = outlet.open()
        wall.prepare(parcel, NOON)
        wall.commit(parcel, NOON)
    hung = sorted((place / "site" / "pictures").iterdir())
    assert sorted(path.suffix for path in hung) == [".png", ".webp", ".webp"]
    for path in hung:
        content, media_type = path.read_bytes(), f"image/{path.suffix[1:]}"
        assert path.stem == hashlib.sha256(content).hexdigest()
        assert manifest(content, media_type)["validation_state"] == "Valid"
        assert not faults(content, media_type)


def test_a_key_that_others_can_read_is_refused(place: Path) -> None:
    (place / "key.pem").chmod(0o644)
    with pytest.raises(ConfigError, match=r"key_file .* can be read by others. Run: chmod 600"):
        signer_in(place)


def test_a_certificate_without_its_key_is_no_setting(place: Path) -> None:
    (place / "artbot.toml").write_text('[provenance]\ncertificates = "chain.pem"\n')
    with pytest.raises(ConfigError, match="provenance: give certificates and key_file, or neither"):
        load_settings(place, settings_models())


def test_a_certificate_that_c2pa_refuses_is_tried_again_when_it_is_mended(place: Path) -> None:
    key = KEYS["es256"]()
    lone = (
        x509.CertificateBuilder()
        .subject_name(name("nobody"))
        .issuer_name(name("nobody"))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOON - timedelta(days=2))
        .not_valid_after(NOON - timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (place / "chain.pem").write_bytes(lone.public_bytes(serialization.Encoding.PEM))
    (place / "key.pem").write_text(pem_of(key))
    with pytest.raises(Unavailable, match=r"not signed: the certificates of \[provenance\]: "):
        rendition(a_signed_work(place), PictureLimits())


def test_works_that_cannot_be_written_to_are_tried_again(place: Path) -> None:
    (place / "works").write_text("in the way")
    with pytest.raises(Unavailable, match="not signed: "):
        rendition(a_signed_work(place), PictureLimits())


def test_without_c2pa_python_it_is_told_what_to_install(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(ConfigError, match=r"needs c2pa-python .*'artbot\[c2pa\]'"):
        signer_in(place)
