"""The server that a channel speaks to, as on Mastodon and Matrix: its address, and reading its answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from artbot.errors import OutcomeUnknown
from artbot.publishing.address import PRIVATE, is_private_host, quoted, split_address
from artbot.publishing.posting import PostSettings

if TYPE_CHECKING:
    from artbot.publishing.http import Answer


class HomeserverSettings(PostSettings):
    """What the tables of such channels have in common."""

    no_keys: ClassVar[Mapping[str, str]] = {
        **PostSettings.no_keys,
        **dict.fromkeys(("server", "instance", "homeserver", "host"), "did you mean url?"),
    }
    url: str = Field(examples=["https://HOST"])
    """`https://HOST`, where its API is."""
    allow_private: bool = False
    """The server is on this machine or in the person's own network; then it may also be plain http."""

    @model_validator(mode="after")
    def _usable_url(self) -> Self:
        check_server("url", self.url, self.allow_private)
        return self

    @property
    def base(self) -> str:
        """The address without a slash at its end."""
        return self.url.rstrip("/")


class ApiSettings(PostSettings):
    """What the tables of channels on one platform have in common, where nobody chooses a server."""

    api: str
    """`https://HOST`: the platform's own, or what stands in for it."""
    allow_private: bool = False
    """It is on this machine or in the person's own network; then it may also be plain http."""

    @model_validator(mode="after")
    def _usable_api(self) -> Self:
        check_server("api", self.api, self.allow_private)
        return self

    @property
    def base(self) -> str:
        """The address without a slash at its end."""
        return self.api.rstrip("/")


def check_server(key: str, url: str, allow_private: bool) -> None:
    """Raises ValueError naming the key of the table if that is no address of a server a token may go to."""
    parts = split_address(url)
    if parts is not None and "@" in parts.netloc:
        raise ValueError(f"{key} holds a user name or password; the token alone is the secret")
    if parts is None:
        raise ValueError(f"{key}{quoted(url)} is no web address; write https://HOST")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            f"{key} {url!r} is more than a server's address; write {parts.scheme}://{parts.netloc}"
        )
    if not allow_private and is_private_host(parts.hostname or ""):
        raise ValueError(f"{key} {url!r} {PRIVATE}")
    if parts.scheme == "http" and not allow_private:
        raise ValueError(
            f"{key} {url!r} is not encrypted, and the token would be read on the way; use https, or say "
            "allow_private = true if the server is on this machine or in your own network"
        )


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
