"""Which work a published file is, and how sure that is.

What a file says of itself is only where to look first: anybody can write it. What counts is whether it is, to
the byte, the painted file or what a channel gets of it, or holds the same pixels, or at least looks the same,
as after a platform wrote it anew and threw away what it said. Renditions are not kept; they are always made the
same way, so they are made again.
"""

from __future__ import annotations

import hashlib
import io
import json
import stat
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from PIL import Image, ImageChops, ImageStat, UnidentifiedImageError
from sqlalchemy import ColumnElement, select

from artbot.domain.text import plain
from artbot.errors import DeliveryError, PictureChanged, StorageFailed, UsageError
from artbot.pictures import read_picture
from artbot.publishing.channels import outlets
from artbot.publishing.renditions import PictureLimits, rendition
from artbot.publishing.work import Picture, approved_work
from artbot.publishing.xmp import PNG_KEYWORD, is_name, name_in
from artbot.studio.provenance import pixel_sha256
from artbot.workplace import Workplace
from db.models import Candidate

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF")
MOST_BYTES = 100_000_000
MOST_PIXELS = 100_000_000
THUMB_PX = 8
MOST_ALIKE = 8.0
"""Root mean square of the difference of two thumbs, of 255. The same work after a platform's JPEG (quality 75
to 30, half or four times the size) differs by up to 6, of the smallest size by up to 12; two works of one
generator of the demo by 17 or more."""


class Certainty(StrEnum):
    """How sure it is that the file shows the work."""

    EXACT = "exact"  # it is this file, to the byte
    SAME_PIXELS = "same_pixels"  # written anew, and nothing lost
    ALIKE = "alike"  # looks the same: written anew with losses, or in another size
    UNCHECKED = "unchecked"  # says so itself; one of the two pictures cannot be read
    ANOTHER_PICTURE = "another_picture"  # says so itself, and shows something else


SHOWS_IT = (Certainty.EXACT, Certainty.SAME_PIXELS, Certainty.ALIKE)


@dataclass(frozen=True)
class Verdict:
    """What is known of a file."""

    sha256: str
    says: str | None
    """The work that it says it is."""
    candidate_id: int | None = None
    """The work that it shows, or at least says it is; None: none of this workplace."""
    certainty: Certainty | None = None
    channels: tuple[str, ...] = ()
    """Who gets this file, or these pixels, by the settings of now."""
    size_px: int | None = None
    """The longer side, if it is one of the sizes that those channels show besides what they get."""
    difference: float | None = None
    """Where it is only alike: by how much, of 255."""
    also: tuple[str, ...] = ()
    """Other works that it looks like, if there are any."""
    obstacle: str | None = None
    """Why what it says could not be checked."""

    @property
    def shows_it(self) -> bool:
        return self.certainty in SHOWS_IT


def verify(workplace: Workplace, path: Path) -> Verdict:
    """Raises UsageError for a file that is no picture; OSError if it cannot be read."""
    return _Verification(workplace, _read(path)).verdict()


@dataclass(frozen=True)
class _File:
    content: bytes
    image: Image.Image | None
    """RGB; None: it breaks off, or is damaged."""
    says: str | None
    obstacle: str | None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


class _Verification:
    def __init__(self, workplace: Workplace, file: _File) -> None:
        self._workplace = workplace
        self._file = file
        self._thumbs = list(self._own_thumbs())

    def verdict(self) -> Verdict:
        said = self._named(self._file.says) if self._file.says else None
        if found := self._recorded():
            return found
        if self._file.image is None:
            return self._told(said, Certainty.UNCHECKED, obstacle=self._file.obstacle)
        if said is not None:
            verdict = self._compared(said)
            if verdict.certainty != Certainty.ANOTHER_PICTURE:
                return verdict
        if found := self._looked_for():
            return found
        return self._told(said, Certainty.ANOTHER_PICTURE)

    def _recorded(self) -> Verdict | None:
        """By what the database knows of every painted picture."""
        if found := self._one(Candidate.image_sha256 == self._file.sha256):
            return self._told(found, Certainty.EXACT)
        if self._file.image is None:
            return None
        painted = Candidate.pixel_sha256 == _pixel_sha256(self._file.image)
        # A generator may paint one picture twice.
        found = self._one(painted & (Candidate.name == self._file.says)) or self._one(painted)
        if found is None:
            return None
        return self._made_again(found) or self._told(found, Certainty.SAME_PIXELS)

    def _compared(self, candidate: Candidate) -> Verdict:
        """With the one work that it says it is."""
        try:
            difference = self._difference(candidate)
        except (PictureChanged, StorageFailed) as error:
            return self._told(candidate, Certainty.UNCHECKED, obstacle=str(error))
        if difference > MOST_ALIKE:
            return self._told(candidate, Certainty.ANOTHER_PICTURE)
        return self._made_again(candidate) or self._told(
            candidate, Certainty.ALIKE, difference=difference
        )

    def _looked_for(self) -> Verdict | None:
        """Among all works that were approved: nothing else can have been published."""
        with self._workplace.database.read() as session:
            approved = session.scalars(
                select(Candidate).where(Candidate.approved_at.is_not(None)).order_by(Candidate.id)
            ).all()
        alike: list[tuple[float, Candidate]] = []
        for candidate in approved:
            try:
                difference = self._difference(candidate)
            except (PictureChanged, StorageFailed):
                continue
            if difference <= MOST_ALIKE:
                alike.append((difference, candidate))
        if not alike:
            return None
        (difference, nearest), *others = sorted(alike, key=lambda found: found[0])
        return self._made_again(nearest) or self._told(
            nearest,
            Certainty.ALIKE,
            difference=difference,
            also=tuple(candidate.name for _, candidate in others),
        )

    def _made_again(self, candidate: Candidate) -> Verdict | None:
        """As what a channel that is configured now gets of it."""
        exact: list[tuple[str, int | None]] = []
        same_pixels: list[tuple[str, int | None]] = []
        for channel, picture, size_px in self._renditions(candidate.id):
            if picture.sha256 == self._file.sha256:
                exact.append((channel, size_px))
            elif not exact and self._has_pixels_of(picture):
                same_pixels.append((channel, size_px))
        if not (found := exact or same_pixels):
            return None
        sizes = {size_px for _, size_px in found}
        return self._told(
            candidate,
            Certainty.EXACT if exact else Certainty.SAME_PIXELS,
            channels=tuple(channel for channel, _ in found if channel),
            size_px=None if None in sizes else sizes.pop(),
        )

    def _renditions(self, candidate_id: int) -> Iterator[tuple[str, Picture, int | None]]:
        """By channel, with its longer side if the channel shows it besides what it gets; also, under an empty
        name, what any gets that takes the work as it was painted."""
        settings = self._workplace.settings
        with self._workplace.database.read() as session:
            candidate = session.get_one(Candidate, candidate_id)
            if candidate.approved_at is None:
                return
            try:
                work = approved_work(candidate, settings.works)
            except (PictureChanged, StorageFailed):
                return
        for channel, outlet in outlets(settings).items():
            # A channel that takes no such work never got it.
            with suppress(DeliveryError):
                signed = outlet.sign(work)
                if picture := outlet.compose(signed).picture:
                    yield channel, picture, None
                for picture in outlet.shows_besides(signed):
                    yield channel, picture, max(picture.width_px, picture.height_px)
        with suppress(DeliveryError):
            named = replace(work, creator=settings.provenance.creator)
            yield "", rendition(named, PictureLimits(("image/png",))), None

    def _has_pixels_of(self, picture: Picture) -> bool:
        assert self._file.image is not None
        if (picture.width_px, picture.height_px) != self._file.image.size:
            return False
        with Image.open(io.BytesIO(picture.content)) as opened:
            return opened.convert("RGB").tobytes() == self._file.image.tobytes()

    def _difference(self, candidate: Candidate) -> float:
        """From its painted picture. Raises PictureChanged, StorageFailed."""
        if candidate.path is None:
            raise PictureChanged(f"{candidate.name} has no picture: it is {candidate.state}")
        content = read_picture(self._workplace.settings.works, candidate)
        try:
            with Image.open(io.BytesIO(content), formats=("PNG",)) as opened:
                painted = opened.convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise PictureChanged(f"the file of {candidate.name} is no picture: {error}") from error
        thumb, shape = _thumb(painted), painted.width / painted.height
        differences = [
            _rms(own, thumb) for own, own_shape in self._thumbs if abs(own_shape / shape - 1) < 0.02
        ]
        return min(differences, default=255.0)

    def _own_thumbs(self) -> Iterator[tuple[Image.Image, float]]:
        """With their shapes: of the file, and of what is within the matte that a channel has now."""
        image = self._file.image
        if image is None:
            return
        settings = self._workplace.settings.channels.values()
        for percent in {0.0, *(getattr(channel, "matte_percent", 0.0) for channel in settings)}:
            edge = round(max(image.size) * percent / (100 + 2 * percent))
            within = (edge, edge, image.width - edge, image.height - edge)
            if within[0] < within[2] and within[1] < within[3]:
                picture = image.crop(within)
                yield _thumb(picture), picture.width / picture.height

    def _named(self, name: str) -> Candidate | None:
        return self._one(Candidate.name == name)

    def _one(self, condition: ColumnElement[bool]) -> Candidate | None:
        with self._workplace.database.read() as session:
            return session.scalar(
                select(Candidate).where(condition).order_by(Candidate.id).limit(1)
            )

    def _told(
        self,
        candidate: Candidate | None,
        certainty: Certainty,
        *,
        channels: tuple[str, ...] = (),
        size_px: int | None = None,
        difference: float | None = None,
        also: tuple[str, ...] = (),
        obstacle: str | None = None,
    ) -> Verdict:
        return Verdict(
            sha256=self._file.sha256,
            says=self._file.says,
            candidate_id=candidate.id if candidate else None,
            certainty=certainty if candidate else None,
            channels=channels,
            size_px=size_px,
            difference=None if difference is None else round(difference, 1),
            also=also,
            obstacle=obstacle,
        )


def _read(path: Path) -> _File:
    status, file = path.stat(), plain(str(path))
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{file} is no plain file.")
    if status.st_size > MOST_BYTES:
        raise UsageError(
            f"{file} has {status.st_size:,} bytes; artbot looks at pictures of up to {MOST_BYTES:,}."
        )
    content = path.read_bytes()
    says: str | None = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata and of large pictures: decided here
            with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise UsageError(
                        f"{file} has {opened.width} x {opened.height} px; artbot looks at pictures of up to "
                        f"{MOST_PIXELS:,} pixels."
                    )
                says = _says(opened)
                opened.load()
                says = says or _says(opened)  # a PNG may say it behind the pixels
                return _File(content, _flat(opened), says, None)
    except UsageError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever the damage leads them to
        if says is None:
            # What it could not identify Pillow names by an address in memory.
            why = "" if isinstance(error, UnidentifiedImageError) else f" ({plain(str(error))})"
            raise UsageError(
                f"{file} is no picture that can be read{why}. artbot knows {', '.join(FORMATS)}."
            ) from error
        return _File(content, None, says, f"{file} is damaged: {plain(str(error))}")


def _flat(opened: Image.Image) -> Image.Image:
    """RGB, on white."""
    if not opened.has_transparency_data:
        return opened.convert("RGB")
    above = opened.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", above.size, "white"), above).convert("RGB")


def _says(opened: Image.Image) -> str | None:
    """The name of the work, from the XMP of a rendition or the text of a painted file."""
    for key in ("xmp", PNG_KEYWORD):
        written = opened.info.get(key, "")
        text = written.decode("utf-8", "replace") if isinstance(written, bytes) else str(written)
        if name := name_in(text):
            return name
    try:
        origin = json.loads(opened.info.get("artbot", ""))
    except (ValueError, TypeError, RecursionError):
        return None
    name = origin.get("candidate") if isinstance(origin, dict) else None
    return name if isinstance(name, str) and is_name(name) else None


def _pixel_sha256(image: Image.Image) -> str:
    import numpy as np

    return pixel_sha256(np.asarray(image))


def _thumb(image: Image.Image) -> Image.Image:
    return image.resize((THUMB_PX, THUMB_PX), Image.Resampling.BOX)


def _rms(one: Image.Image, other: Image.Image) -> float:
    each = ImageStat.Stat(ImageChops.difference(one, other)).rms
    return float((sum(rms**2 for rms in each) / len(each)) ** 0.5)
