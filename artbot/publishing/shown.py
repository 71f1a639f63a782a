"""A picture at an address that another channel has (`picture_from`): put there, and seen to be there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime

from artbot.errors import ConfigError, DeliveryError, Unavailable
from artbot.publishing.http import Door
from artbot.publishing.work import Picture


def make_public(
    sender_put: Callable[[Picture, datetime, Callable[[], None]], None] | None,
    picture: Picture,
    door: Door,
    now: datetime,
    alive: Callable[[], None],
) -> None:
    """Have the other channel put it there (`Sender.put_public`), then fetch it and compare.

    Raises Unavailable: what is wrong there may be right later.
    """
    assert picture.url is not None
    try:
        if sender_put is not None:
            sender_put(picture, now, alive)
    except (DeliveryError, ConfigError) as error:
        # Not with its status, here and below: that is the store's, and says nothing of the receiver.
        raise Unavailable(
            f"not sent: the picture could not be put where {picture.url} shows it: {error}"
        ) from error
    alive()
    num_bytes = len(picture.content)
    try:
        answer = door.request("GET", picture.url, None, {}, now, max_answer_bytes=num_bytes + 1)
    except DeliveryError as error:
        raise Unavailable(f"not sent: the picture is not at {picture.url} yet: {error}") from error
    if hashlib.sha256(answer.content).hexdigest() != picture.sha256:
        raise Unavailable(
            f"not sent: what is at {picture.url} is not the picture ({num_bytes:,} bytes): something on the way "
            "changes pictures"
        )
