"""A professional account on Instagram (Instagram API with Instagram Login).

Source: developers.facebook.com, Instagram Platform: "Content Publishing", "IG User Media", "IG Container", "IG
User Content Publishing Limit", "Error Codes", "Refresh Access Token"; Graph API, "Handling Errors". Meta
fetches a JPEG from a public address into a container, which nobody sees, and publishes that. The container's
id is kept before, and says afterwards whether it was published: so after a lost answer the channel looks.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pydantic import Field

from artbot.config import PictureFrom
from artbot.domain.calendar import CLOCK_TOLERANCE
from artbot.domain.delivery import Protection
from artbot.errors import ConfigError, DeliveryError, OutcomeUnknown, Rejected, Unavailable
from artbot.publishing.channels import Channel, Parcel, Post, Receipt, Sender
from artbot.publishing.homeserver import ApiSettings, server_time, text_of
from artbot.publishing.posting import compose_post
from artbot.publishing.words import Limit, Unit

if TYPE_CHECKING:
    from artbot.publishing.http import Answer
    from artbot.publishing.work import Work

VERSION = "v25.0"
TEXT = (Limit(2200, Unit.UTF16),)
"""Meta says "characters"; what fits as UTF-16 fits however they are counted."""
ALT = (Limit(1000),)
MAX_MENTIONS = 20
MAX_BYTES = 8_000_000
MAX_SIDE_PX = 1440
"""Wider ones Instagram scales down ("Image Specifications")."""
RATIOS = (4 / 5, 1.91)
SHOWN_PX = 1080
WAITS_S = (1.0, 2.0, 3.0, 5.0, 8.0, 13.0)
"""Between looks at a container that Instagram is still working on."""
CONTAINER_LIVES = timedelta(hours=24)
LIMIT_WAIT_S = 3600.0
"""After a limit: all of them are of a moving window of an hour or a day."""
NUM_RECENT = 50
MAX_ANSWER_BYTES = 1024 * 1024
TOKEN_LIVES = timedelta(days=60)
TELL_BEFORE = timedelta(days=10)
TOKEN = re.compile(r"[A-Za-z0-9_.|-]+")
INVALID_TOKEN = {102, 190}
NO_PERMISSION = {10, *range(200, 300)}
LIMITED = {4, 9, 17, 32, 613, 80002}
NOBODY_KNOWS = {-2, -1, 1, 2}
"""Error codes of Meta's own trouble."""
UNREADABLE = (100, 33)
"""Code and subcode for an object that is not there, or not this token's; at times also for one that was just
made (github.com/gitroomhq/postiz-app, issue 1562)."""
RESTRICTED = 2207050
QUOTA_SPENT = 2207042
NOT_FETCHED = {2207003, 2207052}
NOT_READY = 2207027


class InstagramSettings(ApiSettings, PictureFrom):
    """[channels.NAME] with type = "instagram". The secret is a long-lived access token."""

    type: Literal["instagram"]
    picture_from: str = Field(examples=["gallery"])
    """The gallery, or the s3 channel with a `url`, beside whose pictures Instagram finds its own."""
    enlarge_to_px: int = Field(default=SHOWN_PX, ge=0, le=4096)
    """What Instagram shows; a smaller work it would enlarge itself, and blur."""
    max_hashtags: int = Field(default=5, ge=0, le=30)
    """In the caption."""
    api: str = "https://graph.instagram.com"


class InstagramSender(Sender):
    def __init__(
        self,
        token: str,
        settings: InstagramSettings,
        token_since: datetime | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._token = token
        self._settings = settings
        self._token_since = token_since
        """When the secret's file was last changed, if it is one."""
        self._sleep = sleep
        self._account = ""
        """Its id, once it is prepared."""
        self._shown: Receipt | None = None
        """If it turns out to be public already."""

    def prepare(self, parcel: Parcel, now: datetime) -> None:
        """Have Instagram fetch the picture; or use the container that an earlier attempt made."""
        self._account = self._me(now)[0]
        parcel.alive()
        status = self._standing_container(parcel, now)
        if status == "PUBLISHED":
            self._shown = self._published(parcel, now)
            return
        is_of_these_words = parcel.handles.get("made_of") == parcel.post.sha256
        if is_of_these_words and status not in (None, "ERROR", "EXPIRED"):
            self._wait(parcel, now)
            return
        self._check_quota(now)
        parcel.alive()
        self._show_picture(parcel, now)
        parcel.alive()
        self._make_container(parcel, now)
        parcel.alive()
        self._wait(parcel, now)

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        if self._shown is not None:
            return self._shown
        answer = self._ask(
            "POST",
            f"{self._account}/media_publish",
            now,
            {"creation_id": parcel.handles.get("container")},
            judge=_judge_publishing,
            is_too_late=parcel.is_too_late,
        )
        media = text_of(answer, answer.object(), "id")
        try:
            parcel.alive()
            said = self._ask("GET", f"{quote(media)}?fields=permalink", now).object()
            url = said.get("permalink")
        except DeliveryError:  # it is public; only its address is not known
            url = None
        return Receipt(answer.status, f"media {media}", url if isinstance(url, str) else None)

    def reconcile(self, parcel: Parcel, now: datetime) -> Receipt | None:
        container = parcel.handles.get("container")
        if not container:  # it is kept before the public act
            return None
        status = self._status(container, now)
        parcel.alive()
        if status == "FINISHED":
            return None
        if status not in ("PUBLISHED", "ERROR", "EXPIRED"):
            raise OutcomeUnknown(
                f"Instagram does not say whether the container {container} is published ({status}): is the "
                "token still the same account's?"
            )
        self._account = self._me(now)[0]
        parcel.alive()
        if status == "PUBLISHED":
            return self._published(parcel, now)
        # There were posts whose publishing was answered with an error.
        if self._recent(parcel, now):
            raise OutcomeUnknown(
                f"the container {container} is {status}, but the account shows a post with its words: look there"
            )
        return None

    def check(self, now: datetime) -> str:
        self._account, name = self._me(now)
        used, most = self._quota(now)
        return f"posts as @{name}, {used} of {most} posts of the last 24 hours are used"

    def remarks(self, now: datetime) -> list[str]:
        if self._token_since is None or now - self._token_since < TOKEN_LIVES - TELL_BEFORE:
            return []
        return [
            f"the token's file (secret_file) is {(now - self._token_since).days} days old, and a token lives for "
            f"{TOKEN_LIVES.days}: renew it"
        ]

    def _standing_container(self, parcel: Parcel, now: datetime) -> str | None:
        """The status of the one that an earlier attempt made; None: there is none that could be used."""
        container, since = parcel.handles.get("container"), parcel.handles.get("since")
        if not container or not since:
            return None
        status = self._status(container, now)
        parcel.alive()
        if status is None and now - datetime.fromisoformat(since) < CONTAINER_LIVES:
            raise Unavailable(f"Instagram does not say how the container {container} stands")
        return status

    def _show_picture(self, parcel: Parcel, now: datetime) -> None:
        """Where Instagram will fetch it from. Raises Unavailable, whatever is wrong there: it says nothing of
        Instagram."""
        from artbot.publishing.http import Door
        from artbot.publishing.shown import make_public

        picture = parcel.post.picture
        assert picture is not None
        make_public(self.put_public, picture, Door(self._settings.allow_private), now, parcel.alive)

    def _make_container(self, parcel: Parcel, now: datetime) -> None:
        picture = parcel.post.picture
        assert picture is not None
        asked = {"image_url": picture.url, "caption": parcel.post.text, "alt_text": parcel.post.alt}
        answer = self._ask("POST", f"{self._account}/media", now, asked)
        container = text_of(answer, answer.object(), "id")
        parcel.handles.keep(
            container=container,
            made_of=parcel.post.sha256,
            since=server_time(answer, now).isoformat(),
        )

    def _wait(self, parcel: Parcel, now: datetime) -> None:
        """Until the container can be published. Raises Unavailable."""
        container = parcel.handles.get("container")
        assert container
        for wait_s in (*WAITS_S, None):
            status = self._status(container, now)
            if status == "FINISHED":
                return
            if status in ("ERROR", "EXPIRED"):  # the next attempt makes another
                raise Unavailable(f"Instagram could not use the picture: its container is {status}")
            if wait_s is not None:
                parcel.alive()
                self._sleep(wait_s)
                parcel.alive()
        raise Unavailable("Instagram is still processing the picture", retry_after_s=60)

    def _status(self, container: str, now: datetime) -> str | None:
        """None: Instagram does not say."""
        try:
            answer = self._ask("GET", f"{quote(container)}?fields=status_code", now)
        except Rejected as rejected:
            if rejected.status != 404:
                raise
            return None
        return text_of(answer, answer.object(), "status_code")

    def _published(self, parcel: Parcel, now: datetime) -> Receipt:
        """Instagram does not say which post a container became: the address is that of the only one with its
        words since, if there is only one."""
        try:
            found = self._recent(parcel, now)
        except DeliveryError:
            found = []
        url = found[0].get("permalink") if len(found) == 1 else None
        return Receipt(
            200,
            f"container {parcel.handles.get('container')} is published",
            url if isinstance(url, str) else None,
        )

    def _recent(self, parcel: Parcel, now: datetime) -> list[dict[str, Any]]:
        """The account's newest posts that have the same words, and are not older than the container."""
        path = f"{self._account}/media?fields=caption,permalink,timestamp&limit={NUM_RECENT}"
        began = datetime.fromisoformat(parcel.handles.get("since") or "") - CLOCK_TOLERANCE
        return [
            post
            for post in _data(self._ask("GET", path, now))
            if str(post.get("caption") or "").strip() == parcel.post.text.strip()
            and _time(post) >= began
        ]

    def _check_quota(self, now: datetime) -> None:
        used, most = self._quota(now)
        if used >= most:
            raise Unavailable(
                f"not sent: all {most} posts of the last 24 hours are used",
                retry_after_s=LIMIT_WAIT_S,
            )

    def _quota(self, now: datetime) -> tuple[int, int]:
        """(used, at most) of the last 24 hours."""
        path = f"{self._account}/content_publishing_limit?fields=quota_usage,config"
        answer = self._ask("GET", path, now)
        try:
            (said,) = _data(answer)
            return int(said["quota_usage"]), int(said["config"]["quota_total"])
        except (LookupError, TypeError, ValueError) as error:
            raise OutcomeUnknown(
                f"Instagram does not say how much is used: {answer.said}"
            ) from error

    def _me(self, now: datetime) -> tuple[str, str]:
        """(id, name) of the account that the token is for."""
        answer = self._ask("GET", "me?fields=user_id,username", now)
        said = answer.object()
        if isinstance(
            said.get("data"), list
        ):  # the documentation shows it so, servers answer plainly
            said = next(iter(_data(answer)), {})
        return text_of(answer, said, "user_id"), text_of(answer, said, "username")

    def _ask(
        self,
        method: str,
        path: str,
        now: datetime,
        asked: dict[str, Any] | None = None,
        judge: Callable[[Answer, datetime], None] | None = None,
        is_too_late: Callable[[], bool] = lambda: False,
    ) -> Answer:
        from artbot.publishing.http import Door

        headers = {"Authorization": f"Bearer {self._token}"}
        if asked is not None:
            headers["Content-Type"] = "application/json"
        return Door(self._settings.allow_private).request(
            method,
            f"{self._settings.base}/{VERSION}/{path}",
            None if asked is None else json.dumps(asked).encode(),
            headers,
            now,
            judge=judge or _judge,
            is_too_late=is_too_late,
            max_answer_bytes=MAX_ANSWER_BYTES,
        )


def compose(settings: InstagramSettings, work: Work) -> Post:
    from artbot.publishing.renditions import PictureLimits

    limits = PictureLimits(
        ("image/jpeg",),
        max_bytes=MAX_BYTES,
        max_side_px=MAX_SIDE_PX,
        min_ratio=RATIOS[0],
        max_ratio=RATIOS[1],
    )
    post = compose_post(settings, work, text=TEXT, alt=ALT, picture=limits)
    for what, found, most, remedy in (
        ("hashtags", re.findall(r"#\w+", post.text), settings.max_hashtags, "; see max_hashtags"),
        ("mentions", re.findall(r"(?<!\w)@\w+", post.text), MAX_MENTIONS, ""),
    ):
        if len(found) > most:
            raise Rejected(f"the text has {len(found)} {what}, and {most} it may have{remedy}")
    assert post.picture is not None
    beside = work.public_picture
    assert beside is not None
    assert beside.url is not None
    url = f"{beside.url.rpartition('/')[0]}/{post.picture.sha256}.jpg"
    return replace(post, picture=replace(post.picture, url=url))


def _judge(answer: Answer, now: datetime) -> None:
    from artbot.publishing.http import judge

    code, subcode, is_transient = _error(answer)
    if code is None:
        judge(answer, now)
        return
    said = f"answered {answer.said}"
    if code in INVALID_TOKEN:
        raise Rejected(f"{said}: the token is not valid any more; make a new one", status=401)
    if code in NO_PERMISSION or subcode == RESTRICTED:
        raise Rejected(f"{said}: look at the account, and at what the token may do", status=403)
    if (code, subcode) == UNREADABLE:
        raise Rejected(said, status=404)
    if code in LIMITED:
        raise Unavailable(said, retry_after_s=LIMIT_WAIT_S)
    if subcode in NOT_FETCHED:
        raise Unavailable(said, retry_after_s=300)
    if subcode == NOT_READY:
        raise Unavailable(said, retry_after_s=60)
    if is_transient or code in NOBODY_KNOWS:
        raise OutcomeUnknown(said, status=answer.status)
    raise Rejected(said, status=400)


def _judge_publishing(answer: Answer, now: datetime) -> None:
    """An error need not mean that nothing was published: with 2207051, a suspicion of spam, posts were public
    (github.com/gitroomhq/postiz-app, pull request 1681). What certainly was not is named here."""
    try:
        _judge(answer, now)
    except (Rejected, Unavailable) as error:
        code, subcode, _ = _error(answer)
        is_certain = subcode in (QUOTA_SPENT, NOT_READY, RESTRICTED) or (
            code is None or code in INVALID_TOKEN or code in NO_PERMISSION
        )
        if is_certain:
            raise
        raise OutcomeUnknown(
            str(error), status=answer.status, retry_after_s=error.retry_after_s
        ) from error


def _error(answer: Answer) -> tuple[int | None, int | None, bool]:
    """(code, subcode, whether it is to pass), as Meta says it; None: it says nothing."""
    try:
        error = json.loads(answer.content)["error"]
        code, subcode = error["code"], error.get("error_subcode")
    except (ValueError, LookupError, TypeError, AttributeError):
        return None, None, False
    if not isinstance(code, int):
        return None, None, False
    return code, subcode if isinstance(subcode, int) else None, error.get("is_transient") is True


def _data(answer: Answer) -> list[dict[str, Any]]:
    """Raises OutcomeUnknown."""
    found = answer.object().get("data")
    rows = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else None
    if rows is None:
        raise OutcomeUnknown(f"the answer has no data: {answer.said}", status=answer.status)
    return rows


def _time(post: dict[str, Any]) -> datetime:
    """Raises OutcomeUnknown."""
    try:
        found = datetime.fromisoformat(post["timestamp"])
    except (LookupError, TypeError, ValueError) as error:
        raise OutcomeUnknown(f"what Instagram lists has no time: {post}") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _open(settings: InstagramSettings, workplace: Path) -> InstagramSender:
    token = settings.read_secret(workplace)
    if not TOKEN.fullmatch(token):
        raise ConfigError("the secret must be the account's access token, IG…, on one line")
    since = None
    if settings.secret_file is not None:
        changed_s = (workplace / settings.secret_file.expanduser()).stat().st_mtime
        since = datetime.fromtimestamp(changed_s, UTC)
    return InstagramSender(token, settings, since)


CHANNEL = Channel(
    name="instagram",
    settings_model=InstagramSettings,
    compose=compose,
    open=_open,
    protection=Protection(looks=True),
)
