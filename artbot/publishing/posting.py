"""A post of the usual kind: a text, a picture and its alt text, within what a platform takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from artbot.config import SecretReference, Section
from artbot.errors import Rejected
from artbot.publishing.channels import Post
from artbot.publishing.words import Limit, check, check_template, fill_in

if TYPE_CHECKING:
    from artbot.publishing.renditions import PictureLimits, Presentation
    from artbot.publishing.work import Work

Also = Literal["title", "hashtags", "warning", "language"]
RECORDED: tuple[Also, ...] = ("title", "hashtags", "warning", "language")
"""What the record of a work holds besides its text (artbot.publishing.gallery.records)."""
DEFAULT_TEXT = "{title}\n\n{caption}\n\n{hashtags}"


class PictureSettings(Section):
    """How the works are shown on a channel: as painted, unless something else is asked for."""

    enlarge_to_px: int = Field(default=0, ge=0, le=4096)
    """Longer side that the picture has at least, for works that are small on a large screen; 0: as painted."""
    enlarge_by: Literal["pixels", "lanczos"] = "pixels"
    """`pixels`: by a whole number, edges stay hard; `lanczos`: smooth."""
    matte_percent: float = Field(default=0, ge=0, le=50)
    """Width of a passe-partout around the picture, of its longer side; 0: none."""
    matte_colour: str = Field(
        default="#f4f1ea",
        pattern=r"^#[0-9a-fA-F]{6}$",
        description="a colour is # and six hexadecimal digits, two each for red, green and blue",
    )

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> Self:
        if "enlarge_by" in self.model_fields_set and not self.enlarge_to_px:
            raise ValueError("enlarge_by has no effect without enlarge_to_px")
        if "matte_colour" in self.model_fields_set and not self.matte_percent:
            raise ValueError("matte_colour has no effect without matte_percent")
        return self

    @property
    def presentation(self) -> Presentation:
        from artbot.publishing.renditions import Presentation

        return Presentation(
            enlarge_to_px=self.enlarge_to_px,
            enlarge_by=self.enlarge_by,
            matte_percent=self.matte_percent,
            matte_colour=self.matte_colour,
        )


class PostSettings(SecretReference, PictureSettings):
    """What the tables of all channels with posts have in common."""

    text: Annotated[str, AfterValidator(check_template)] = DEFAULT_TEXT
    """The post's text; artbot.publishing.words.FIELDS in braces."""


def compose_post(
    settings: PostSettings,
    work: Work,
    *,
    text: Sequence[Limit],
    alt: Sequence[Limit],
    picture: PictureLimits,
    also: Sequence[Also] = (),
) -> Post:
    """The post within these limits. `also`: what the platform shows in places of its own; without "warning"
    the text begins with it.

    Raises Rejected: too long, no alt text, or a picture that cannot be made to fit.
    """
    from artbot.publishing.renditions import rendition  # Pillow: only who makes posts needs it

    said = fill_in(settings.text, work)
    if work.warning and "warning" not in also:
        said = f"{work.warning}\n\n{said}"
    check("text", said, text)
    check("alt text", work.alt, alt)
    if not work.alt.strip():
        raise Rejected("the alt text is missing, which people need who do not see the picture")
    has = {
        "title": work.title,
        "hashtags": " ".join(work.hashtags),
        "warning": work.warning,
        "language": work.language,
    }
    return Post(
        said,
        work.alt,
        rendition(work, picture, settings.presentation),
        also=tuple((name, has[name]) for name in also if has[name]),
    )
