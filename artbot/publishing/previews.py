"""What each channel would get of a work, to the byte, without sending anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from artbot.domain.text import check_title_and_alt, plain
from artbot.errors import Rejected, Unavailable
from artbot.files import make_folder, write_atomically
from artbot.publishing.channels import Outlet, Post
from artbot.publishing.multipart import SUFFIXES

if TYPE_CHECKING:
    from artbot.publishing.work import Work


@dataclass(frozen=True)
class Preview:
    """One work on one channel."""

    channel: str
    work: str
    post: Post | None
    refusal: str | None
    """Why it could not be sent like this."""
    files: tuple[Path, ...] = ()
    """Where it was written to, to be looked at."""

    def facts(self) -> dict[str, object]:
        """For JSON."""
        post = self.post
        picture = post.picture if post else None
        return {
            "channel": self.channel,
            "work": self.work,
            "refusal": self.refusal,
            "text": post.text if post else None,
            "alt": post.alt if post else None,
            "also": dict(post.also) if post else None,
            "media_type": picture.media_type if picture else None,
            "width_px": picture.width_px if picture else None,
            "height_px": picture.height_px if picture else None,
            "bytes": len(picture.content) if picture else None,
            "sha256": picture.sha256 if picture else None,
            "url": picture.url if picture else None,
            "event_bytes": len(post.body) if post and post.body else None,
            "files": [str(file) for file in self.files],
        }

    def describe(self) -> str:
        """For a person: a few lines."""
        if self.post is None:
            return f"{self.channel}\n  cannot go out like this: {plain(self.refusal or '')}"
        lines = [self.channel]
        if self.post.text:
            lines += [f"  | {plain(line)}" for line in self.post.text.split("\n")]
        if self.post.alt:
            lines.append(f"  alt text: {plain(self.post.alt)}")
        lines += [f"  {name}: {plain(value)}" for name, value in self.post.also]
        if (picture := self.post.picture) is not None:
            lines.append(
                f"  picture: {picture.media_type}, {picture.width_px} x {picture.height_px} px, "
                f"{len(picture.content):,} bytes"
            )
            if picture.url is not None:
                lines.append(f"  to be fetched at: {picture.url}")
        if self.post.body:
            lines.append(f"  event: {len(self.post.body):,} bytes of JSON")
        lines += [f"  written to: {file}" for file in self.files]
        return "\n".join(lines)

    def written(self, folder: Path) -> Preview:
        """With its picture in the folder, `CHANNEL-WORK.png`, and the event of a webhook, `CHANNEL-WORK.json`.

        Raises StorageFailed.
        """
        contents = {}
        if self.post is not None and (picture := self.post.picture) is not None:
            contents[SUFFIXES[picture.media_type]] = picture.content
        if self.post is not None and self.post.body:
            contents["json"] = self.post.body
        if contents:
            make_folder(folder)
        files = []
        for suffix, content in contents.items():
            files.append(folder / f"{self.channel}-{self.work}.{suffix}")
            write_atomically(files[-1], content)
        return replace(self, files=tuple(files))


def preview(
    work: Work, outlets: Mapping[str, Outlet], channels: Sequence[str], is_approved: bool
) -> list[Preview]:
    """The work on each of these channels; what is not approved yet also as the approval would judge it."""
    found: list[Preview] = []
    if not is_approved:
        try:
            check_title_and_alt(work.title, work.alt)
        except ValueError as error:
            return [Preview(name, work.name, None, str(error)) for name in channels]
    for name in channels:
        try:
            post = outlets[name].compose(outlets[name].sign(work))
        except (Rejected, Unavailable) as error:
            found.append(Preview(name, work.name, None, str(error)))
        else:
            found.append(Preview(name, work.name, post, None))
    return found
