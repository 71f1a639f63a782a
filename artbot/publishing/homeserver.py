"""Channels on a server that the person chose, as on Mastodon and Matrix: its address, and reading its answers."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from pydantic import model_validator

from artbot.errors import OutcomeUnknown
from artbot.publishing.posting import PostSettings

if TYPE_CHECKING:
    from artbot.publishing.http import Answer


class HomeserverSettings(PostSettings):
    """What the tables of such channels have in common."""

    url: str
    """`https://HOST`, where its API is."""
    allow_private: bool = False
    """The server is on this machine or in the person's own network; then it may also be plain http."""

    @model_validator(mode="after")
    def _usable_url(self) -> Self:
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError:
            raise ValueError("url is no web address; write https://HOST") from None
        if "@" in parts.netloc:
            raise ValueError("url holds a user name or password; the token alone is the secret")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url {self.url!r} is no web address; write https://HOST")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(
                f"url {self.url!r} is more than a server's address; write {parts.scheme}://{parts.netloc}"
            )
        if parts.scheme == "http" and not self.allow_private:
            raise ValueError(
                f"url {self.url!r} is not encrypted, and the token would be read on the way; use https, or say "
                "allow_private = true if the server is on this machine or in your own network"
            )
        return self

    @property
    def base(self) -> str:
        """The address without a slash at its end."""
        return self.url.rstrip("/")


def text_of(answer: Answer, found: dict[str, Any], name: str) -> str:
    """A field that must be there. Raises OutcomeUnknown: the answer says nothing then."""
    value = found.get(name)
    if not isinstance(value, str) or not value:
        raise OutcomeUnknown(f"the answer has no {name}: {answer.said}", status=answer.status)
    return value


def server_time(answer: Answer, now: datetime) -> datetime:
    """When it was given: by its Date header, else by our clock."""
    try:
        said = parsedate_to_datetime(answer.headers.get("Date", ""))
    except (ValueError, TypeError):
        return now
    return said if said.tzinfo else said.replace(tzinfo=UTC)
