"""A blog on Tumblr, in its Neue Post Format.

Source: github.com/tumblr/docs, api.md and npf-spec.md; its issue 87 (an edit takes no upload). A post is made as
a draft, which only the blog's owner sees, and is public once it is edited to be. It gets another id then, and
Tumblr says which draft it was (`genesis_post_id`); the draft is gone. So a draft, whose id is kept, can be
published once, and after a lost answer the channel looks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote, urlencode, urlsplit

from pydantic import AfterValidator, Field, field_validator

from artbot.domain.calendar import CLOCK_TOLERANCE
from artbot.domain.delivery import Protection
from artbot.errors import ConfigError, DeliveryError, OutcomeUnknown, Rejected, Unavailable
from artbot.publishing.buckets import public_url
from artbot.publishing.channels import Channel, Parcel, Post, Receipt, Sender
from artbot.publishing.homeserver import ApiSettings, server_time, text_of
from artbot.publishing.posting import compose_post
from artbot.publishing.words import Limit, check, check_template
from artbot.redaction import register_secret

if TYPE_CHECKING:
    from artbot.publishing.http import Answer
    from artbot.publishing.work import Work

PARAGRAPH = (Limit(4096),)
"""Of one text block, in code points (npf-spec.md, "Text Block Length")."""
MAX_PARAGRAPHS = 999
"""A thousand blocks, and one is the picture ("Total Content Blocks Limit")."""
ALT = (Limit(4096),)
MAX_BYTES = 10_000_000
"""Of a picture ("limit 10MB")."""
PAGE = 20
"""The most that Tumblr lists at once."""
MAX_PAGES = 50
MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Twenty posts of up to 1 MB could be more; twenty of ours are far less."""
MAX_SLUG_CHARS = 40
TRY_AGAIN_TODAY = {8004, 8022, 8023}
"""Error subcodes that come with 403 and mean: not so many today."""
GLITCH = 0
"""Error subcode of "Measly little error. Try again." (issue 88)."""
WAIT_S = 3600.0
"""After a daily limit that names no end."""
BLOG = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
NAMES = ("consumer_key", "consumer_secret", "token", "token_secret")
_NAMED = re.compile(r"""(?:oauth_)?(\w+)["']?\s*[:=]\s*["']?([A-Za-z0-9]+)["']?""")


class TumblrSettings(ApiSettings):
    """[channels.NAME] with type = "tumblr". The secret are the four keys of OAuth 1, as Tumblr's API console
    shows them."""

    type: Literal["tumblr"]
    blog: str = Field(examples=["paintings"])
    """Its name, `paintings`, or its host, `art.example.org`."""
    text: Annotated[str, AfterValidator(check_template)] = "{title}\n\n{caption}"
    """Hashtags go where Tumblr has them, among the tags."""
    source_url: Annotated[str, AfterValidator(public_url)] | None = None
    """Named as the source of every post."""
    api: str = "https://api.tumblr.com"

    @field_validator("blog")
    @classmethod
    def _is_a_name(cls, blog: str) -> str:
        if not BLOG.fullmatch(blog):
            raise ValueError(
                f'{blog!r} is no name of a blog; write "paintings" for paintings.tumblr.com'
            )
        return blog.removesuffix(".tumblr.com")


@dataclass(frozen=True)
class Keys:
    """Of an application, and of the account that lets it in. They do not expire."""

    consumer_key: str
    consumer_secret: str
    token: str
    token_secret: str


class TumblrSender(Sender):
    def __init__(self, keys: Keys, settings: TumblrSettings) -> None:
        self._keys = keys
        self._settings = settings
        self._draft: dict[str, Any] = {}
        """As Tumblr holds it, once it is prepared."""
        self._shown: Receipt | None = None
        """If it turns out to be public already."""

    def prepare(self, parcel: Parcel, now: datetime) -> None:
        """Make the draft, or find the one that an earlier attempt made."""
        handles = parcel.handles
        draft = handles.get("draft") if handles.get("blog") == self._settings.blog else None
        is_of_these_words = handles.get("made_of") == parcel.post.sha256
        if draft:
            if not self._take(draft, now):  # it was published, by a person perhaps, or deleted
                parcel.alive()
                self._shown = self._find(parcel, now)
                if self._shown is not None:
                    return
            elif is_of_these_words:
                return
            parcel.alive()
            draft = None
        elif is_of_these_words:  # one was asked for, and the answer was lost
            draft = self._adopt(parcel, now)
            parcel.alive()
        if not draft:
            draft = self._make_draft(parcel, now)
            parcel.alive()
        if not self._take(draft, now):
            raise Unavailable(f"the draft {draft} is not there yet")

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        """Edit the draft to be published, with the blocks that Tumblr made of what was uploaded."""
        if self._shown is not None:
            return self._shown
        draft = parcel.handles.get("draft")
        edited = {
            **self._facts(parcel),
            "content": self._draft["content"],
            "layout": self._draft.get("layout") or [],
            "state": "published",
        }
        answer = self._ask(
            "PUT",
            f"posts/{draft}",
            now,
            body=json.dumps(edited).encode(),
            content_type="application/json",
            judge=_judge_edit,
            is_too_late=parcel.is_too_late,
        )
        number = text_of(answer, _response(answer), "id")
        try:
            parcel.alive()
            found = self._look(parcel, now, max_pages=1)
        except DeliveryError:  # it is public; only its address is not known
            found = None
        return found or Receipt(answer.status, f"post {number}")

    def reconcile(self, parcel: Parcel, now: datetime) -> Receipt | None:
        draft = parcel.handles.get("draft")
        if not draft:  # it is kept before the public act
            return None
        blog = parcel.handles.get("blog")
        if blog != self._settings.blog:
            raise OutcomeUnknown(
                f"the work may have been posted to {blog}, and the channel's blog is {self._settings.blog} "
                "now: put that one back, or look there"
            )
        if self._read_draft(draft, now) is not None:
            return None
        parcel.alive()
        return self._find(parcel, now)

    def check(self, now: datetime) -> str:
        user, blog = self._account(now)
        if blog is None:
            raise Rejected(
                f"the keys are {user}'s, who may not post to {self._settings.blog}", status=403
            )
        return f"posts as {user} to {blog.get('url') or self._settings.blog}"

    def _make_draft(self, parcel: Parcel, now: datetime) -> str:
        from artbot.publishing.multipart import encode, file_name

        post = parcel.post
        assert post.picture is not None
        parcel.handles.keep(draft="", made_of=post.sha256)
        made = {
            **self._facts(parcel),
            "content": _blocks(post, parcel.work),
            "state": "draft",
        }
        body, content_type = encode(
            {"json": json.dumps(made)},
            {"picture": (file_name(parcel.work.name, post.picture), post.picture)},
            json_field="json",
        )
        answer = self._ask(
            "POST", "posts", now, body=body, content_type=content_type, judge=_judge_new
        )
        draft = text_of(answer, _response(answer), "id")
        self._keep(parcel, draft, answer, now)
        return draft

    def _adopt(self, parcel: Parcel, now: datetime) -> str | None:
        """The draft of an attempt that never heard of it, so that there is not a second one; only the newest
        twenty drafts are looked at."""
        answer = self._ask("GET", "posts/draft", now, query={"npf": "true"})
        for draft in _posts(answer):
            if draft.get("slug") == _slug(parcel):
                self._keep(parcel, _id(draft), answer, now)
                return _id(draft)
        return None

    def _keep(self, parcel: Parcel, draft: str, answer: Answer, now: datetime) -> None:
        """What the look needs."""
        since = server_time(answer, now).isoformat()
        parcel.handles.keep(draft=draft, blog=self._settings.blog, since=since)

    def _take(self, draft: str, now: datetime) -> bool:
        """Read what it holds; False if it is no draft any more."""
        found = self._read_draft(draft, now)
        self._draft = found or {}
        return found is not None

    def _read_draft(self, draft: str, now: datetime) -> dict[str, Any] | None:
        """None: Tumblr knows no draft of this id, or it is none any more."""
        try:
            answer = self._ask("GET", f"posts/{quote(draft)}", now, query={"post_format": "npf"})
        except Rejected as rejected:
            if rejected.status != 404:
                raise
            return None
        found = _response(answer)
        if found.get("state") in ("published", "private"):
            return None
        if not isinstance(found.get("content"), list):
            raise OutcomeUnknown(f"the draft has no content: {answer.said}", status=answer.status)
        return found

    def _find(self, parcel: Parcel, now: datetime) -> Receipt | None:
        """The published post that was this delivery's draft; None: there certainly is none now.

        Raises OutcomeUnknown if that cannot be said.
        """
        user, blog = self._account(now)
        if blog is None:  # only the owner is told which draft a post was
            raise OutcomeUnknown(
                f"the keys are {user}'s now, who may not post to {self._settings.blog}: put the others back, or "
                "look at the blog"
            )
        parcel.alive()
        return self._look(parcel, now, MAX_PAGES)

    def _look(self, parcel: Parcel, now: datetime, max_pages: int) -> Receipt | None:
        """Back to when the draft was made, by Tumblr's own clock."""
        handles = parcel.handles
        began = datetime.fromisoformat(handles.get("since") or "") - CLOCK_TOLERANCE
        seen: set[str] = set()
        query = {"limit": str(PAGE), "npf": "true"}
        for number in range(max_pages):
            if number:
                parcel.alive()
            answer = self._ask("GET", "posts", now, query=query)
            page = _posts(answer)
            for post in page:
                is_ours = post.get("genesis_post_id") == handles.get("draft")
                if is_ours or post.get("slug") == _slug(parcel):
                    url = post.get("post_url")
                    detail = f"post {_id(post)}, which was draft {handles.get('draft')}"
                    return Receipt(200, detail, url if isinstance(url, str) else None)
            new = {_id(post) for post in page} - seen
            # The newest of a page: one that is pinned comes first, however old.
            if not page or max(_time(answer, post) for post in page) < began:
                return None
            if not new:
                raise OutcomeUnknown("Tumblr lists the same posts again, not older ones")
            seen |= new
            # With those of the same second again: who pages by number misses some when others are deleted.
            query["before"] = str(int(_time(answer, page[-1]).timestamp()) + 1)
        raise OutcomeUnknown(
            f"none of the blog's last {len(seen)} posts is it, and older ones were not looked at"
        )

    def _account(self, now: datetime) -> tuple[str, dict[str, Any] | None]:
        """(whose keys they are, the channel's blog among theirs; None: it is not among them)."""
        answer = self._send("GET", f"{self._settings.base}/v2/user/info", now)
        user = _response(answer).get("user")
        if not isinstance(user, dict) or not isinstance(user.get("blogs"), list):
            raise OutcomeUnknown(f"Tumblr does not say whose keys they are: {answer.said}")
        mine = self._settings.blog.casefold()
        for blog in user["blogs"]:
            if not isinstance(blog, dict):
                continue
            host = urlsplit(str(blog.get("url"))).hostname
            if mine in (str(blog.get("name")).casefold(), host):
                return str(user.get("name")), blog
        return str(user.get("name")), None

    def _facts(self, parcel: Parcel) -> dict[str, str]:
        facts = {"tags": ",".join(parcel.work.hashtags), "slug": _slug(parcel)}
        if self._settings.source_url:
            facts["source_url"] = self._settings.source_url
        return facts

    def _ask(
        self,
        method: str,
        path: str,
        now: datetime,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str | None = None,
        judge: Callable[[Answer, datetime], None] | None = None,
        is_too_late: Callable[[], bool] = lambda: False,
    ) -> Answer:
        url = f"{self._settings.base}/v2/blog/{self._settings.blog}/{path}"
        url += f"?{urlencode(query)}" if query else ""
        return self._send(method, url, now, body, content_type, judge, is_too_late)

    def _send(
        self,
        method: str,
        url: str,
        now: datetime,
        body: bytes | None = None,
        content_type: str | None = None,
        judge: Callable[[Answer, datetime], None] | None = None,
        is_too_late: Callable[[], bool] = lambda: False,
    ) -> Answer:
        from artbot.publishing.http import Door

        headers = {"Authorization": _authorization(self._keys, method, url, now)}
        if content_type:
            headers["Content-Type"] = content_type
        return Door(self._settings.allow_private).request(
            method,
            url,
            body,
            headers,
            now,
            judge=judge or _judge,
            is_too_late=is_too_late,
            max_answer_bytes=MAX_ANSWER_BYTES,
        )


def compose(settings: TumblrSettings, work: Work) -> Post:
    from artbot.publishing.renditions import PictureLimits

    limits = PictureLimits(("image/png", "image/jpeg"), max_bytes=MAX_BYTES)
    post = compose_post(settings, work, text=(), alt=ALT, picture=limits, also=("hashtags",))
    paragraphs = _paragraphs(post.text)
    for paragraph in paragraphs:
        check("paragraph of the text", paragraph, PARAGRAPH)
    if len(paragraphs) > MAX_PARAGRAPHS:
        raise Rejected(
            f"the text has {len(paragraphs):,} paragraphs, and {MAX_PARAGRAPHS} it may have"
        )
    return post


def _blocks(post: Post, work: Work) -> list[dict[str, object]]:
    """What people should know before they see it, the picture, what is said with it."""
    assert post.picture is not None
    said = post.text
    before = ""
    if work.warning:
        before, said = work.warning, said.removeprefix(work.warning)
    image: dict[str, object] = {
        "type": "image",
        "media": [
            {
                "type": post.picture.media_type,
                "identifier": "picture",
                "width": post.picture.width_px,
                "height": post.picture.height_px,
            }
        ],
        "alt_text": post.alt,
    }
    return [*_text_blocks(before), image, *_text_blocks(said)]


def _text_blocks(text: str) -> list[dict[str, object]]:
    return [{"type": "text", "text": paragraph} for paragraph in _paragraphs(text)]


def _paragraphs(text: str) -> list[str]:
    return [paragraph for paragraph in text.split("\n\n") if paragraph]


def _slug(parcel: Parcel) -> str:
    """The end of the post's address, which also says whose it is."""
    return f"{parcel.work.name[:MAX_SLUG_CHARS].lower()}-{parcel.delivery_key[-8:].lower()}"


def _authorization(keys: Keys, method: str, url: str, now: datetime) -> str:
    """OAuth 1.0a, by HMAC-SHA1, which is the only method that Tumblr takes. A body that is no form is not
    signed (RFC 5849, section 3.4.1.3.1)."""
    from oauthlib.oauth1 import SIGNATURE_HMAC_SHA1, Client

    client = Client(
        keys.consumer_key,
        client_secret=keys.consumer_secret,
        resource_owner_key=keys.token,
        resource_owner_secret=keys.token_secret,
        signature_method=SIGNATURE_HMAC_SHA1,
        timestamp=str(int(now.timestamp())),
    )
    _, headers, _ = client.sign(url, method)
    return str(headers["Authorization"])


def _response(answer: Answer) -> dict[str, Any]:
    """What is in the envelope. Raises OutcomeUnknown."""
    found = answer.object().get("response")
    if not isinstance(found, dict):
        raise OutcomeUnknown(f"the answer has no response: {answer.said}", status=answer.status)
    return found


def _posts(answer: Answer) -> list[dict[str, Any]]:
    """Raises OutcomeUnknown."""
    found = _response(answer).get("posts")
    if not isinstance(found, list) or not all(isinstance(post, dict) for post in found):
        raise OutcomeUnknown(f"the answer lists no posts: {answer.said}", status=answer.status)
    return found


def _id(post: dict[str, Any]) -> str:
    return str(post.get("id_string") or post.get("id"))


def _time(answer: Answer, post: dict[str, Any]) -> datetime:
    """Raises OutcomeUnknown."""
    try:
        return datetime.fromtimestamp(float(post["timestamp"]), UTC)
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise OutcomeUnknown(f"what Tumblr lists has no time: {answer.said}") from error


def _judge(answer: Answer, now: datetime) -> None:
    from artbot.publishing.http import judge

    code = _subcode(answer)
    if answer.status == 429:
        raise Unavailable(
            f"answered {answer.said}", status=429, retry_after_s=_until_reset_s(answer)
        )
    if answer.status == 403 and code in TRY_AGAIN_TODAY:
        # Without the status: it is no refusal of who we are.
        raise Unavailable(f"answered {answer.said}", retry_after_s=WAIT_S)
    if answer.status == 400 and code == GLITCH:
        raise OutcomeUnknown(f"answered {answer.said}", status=400)
    if answer.status == 401:
        raise Rejected(
            f"answered {answer.said}: are all four keys right, and this machine's clock?",
            status=401,
        )
    judge(answer, now)


def _judge_new(answer: Answer, now: datetime) -> None:
    if answer.status == 404:  # every other work would meet it as well
        raise Rejected(f"answered {answer.said}: is the blog right?", status=403)
    _judge(answer, now)


def _judge_edit(answer: Answer, now: datetime) -> None:
    if answer.status == 404:
        raise OutcomeUnknown(
            f"answered {answer.said}: the draft is published already, or deleted", status=404
        )
    _judge(answer, now)


def _subcode(answer: Answer) -> object:
    try:
        return json.loads(answer.content)["errors"][0]["code"]
    except (ValueError, LookupError, TypeError):
        return None


def _until_reset_s(answer: Answer) -> float | None:
    """Of the limits that are used up, the one that lasts longest."""
    waits = []
    for limit in ("Perhour", "Perday"):
        if answer.headers.get(f"X-Ratelimit-{limit}-Remaining") == "0":
            try:
                waits.append(float(answer.headers.get(f"X-Ratelimit-{limit}-Reset", "")))
            except ValueError:
                waits.append(WAIT_S)
    return max(waits, default=None)


def parse_keys(secret: str) -> Keys:
    """The four keys, each after its name, as TOML, YAML or JavaScript write that. Raises ConfigError, which
    never quotes them."""
    found = dict(_NAMED.findall(secret))
    missing = [name for name in NAMES if name not in found]
    if missing:
        raise ConfigError(
            f'the secret lacks {", ".join(missing)}; it must hold four lines, consumer_key = "…", '
            'consumer_secret = "…", token = "…" and token_secret = "…"'
        )
    for name in NAMES:
        register_secret(found[name])
    return Keys(**{name: found[name] for name in NAMES})


def _open(settings: TumblrSettings, workplace: Path) -> TumblrSender:
    return TumblrSender(parse_keys(settings.read_secret(workplace)), settings)


CHANNEL = Channel(
    name="tumblr",
    settings_model=TumblrSettings,
    compose=compose,
    open=_open,
    protection=Protection(looks=True),
)
