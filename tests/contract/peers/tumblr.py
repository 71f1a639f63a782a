"""Tumblr's API, as github.com/tumblr/docs describes it: posts in the Neue Post Format, requests signed by OAuth 1.

A draft that is published gets another id, under which alone it is found from then on; the owner is told which
draft it was. An edit takes JSON and no upload (issue 87).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from artbot.publishing.channels import Post
from tests.contract.peers import Peer, Seen
from tests.contract.peers.proxy import Request
from tests.contract.peers.serving import Response, as_json, form, serving

KEYS = {
    "consumer_key": "Ck0123456789abcdefghijABCDEFGHIJ0123456789abcdefgh",
    "consumer_secret": "Cs0123456789abcdefghijABCDEFGHIJ0123456789abcdefgh",
    "token": "Tk0123456789abcdefghijABCDEFGHIJ0123456789abcdefgh",
    "token_secret": "Ts0123456789abcdefghijABCDEFGHIJ0123456789abcdefgh",
}
BLOG = "paintings"
PARAMETERS = {"content", "layout", "state", "tags", "slug", "source_url"}
MAX_BLOCK_CHARS = 4096


def said(status: int, response: object = None, code: int | None = None, **headers: str) -> Response:
    body: dict[str, object] = {"meta": {"status": status, "msg": "…"}, "response": response or []}
    if code is not None:
        body["errors"] = [{"title": "no", "code": code}]
    return as_json(status, body, **headers)


@dataclass
class Tumblr:
    url: str = ""
    posts_by_id: dict[str, dict[str, Any]] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)
    """The oldest first."""
    media: dict[str, bytes] = field(default_factory=dict)
    nonces: set[str] = field(default_factory=set)
    blogs: list[str] = field(default_factory=lambda: ["sketches", BLOG])
    """That the keys may post to."""
    tells_genesis: bool = True
    keeps_slugs: bool = True
    page: int = 20
    refusal: Response | None = None
    """What every edit and every new post gets."""

    def answer(self, request: Request) -> Response:
        answer = self._answer(request)
        date = format_datetime(datetime.now(UTC), usegmt=True)
        return Response(answer.status, answer.content, {**answer.headers, "Date": date})

    def _answer(self, request: Request) -> Response:
        if not self._is_signed(request):
            return said(401)
        where = urlsplit(request.path)
        query = dict(parse_qsl(where.query))
        match request.method, where.path.strip("/").split("/"):
            case "GET", ["v2", "user", "info"]:
                blogs = [{"name": b, "url": f"https://{b}.tumblr.com/"} for b in self.blogs]
                return said(200, {"user": {"name": "painter", "blogs": blogs}})
            case _, ["v2", "blog", blog, *_] if blog not in self.blogs:
                return said(404)
            case "GET", ["v2", "blog", _, "posts"]:
                return said(200, {"posts": self._listed(query)})
            case "GET", ["v2", "blog", _, "posts", "draft"]:
                drafts = [self._told(post) for post in self.drafts()]
                return said(200, {"posts": drafts[::-1][: self.page]})
            case "GET", ["v2", "blog", _, "posts", number]:
                post = self.posts_by_id.get(number)
                return said(404) if post is None else said(200, self._told(post))
            case "POST", ["v2", "blog", _, "posts"]:
                return self.refusal or self._create(request)
            case "PUT", ["v2", "blog", _, "posts", number]:
                return self.refusal or self._edit(number, request)
        return said(404)

    def drafts(self) -> list[dict[str, Any]]:
        return [post for post in self.posts_by_id.values() if post["state"] == "draft"]

    def table(self, url: str, workplace: Path) -> dict[str, Any]:
        (workplace / "secret").write_text("".join(f'{k} = "{v}"\n' for k, v in KEYS.items()))
        (workplace / "secret").chmod(0o600)
        return {
            "type": "tumblr",
            "blog": BLOG,
            "api": url,
            "secret_file": "secret",
            "allow_private": True,
        }

    def posts(self) -> list[Seen]:
        return [self._seen(post["content"]) for post in self.published]

    def _seen(self, content: list[dict[str, Any]]) -> Seen:
        (image,) = [block for block in content if block["type"] == "image"]
        texts = [block["text"] for block in content if block["type"] == "text"]
        return Seen("\n\n".join(texts), image["alt_text"], self.media[image["media"][0]["url"]])

    def _listed(self, query: dict[str, str]) -> list[dict[str, Any]]:
        before = float(query.get("before", "inf"))
        older = [post for post in self.published if post["timestamp"] < before]
        return [self._told(post) for post in reversed(older)][: min(self.page, int(query["limit"]))]

    def _told(self, post: dict[str, Any]) -> dict[str, Any]:
        told = {**post, "post_url": f"https://{BLOG}.tumblr.com/post/{post['id']}/{post['slug']}"}
        if not self.tells_genesis:
            told.pop("genesis_post_id", None)
        if not self.keeps_slugs:
            told["slug"] = "after-the-rain"
        return told

    def _create(self, request: Request) -> Response:
        fields = form(request)
        made = json.loads(fields["json"].content)
        if fields["json"].media_type != "application/json" or next(iter(fields)) != "json":
            return said(400, code=8001)
        for block in made["content"]:
            if block["type"] == "image":
                (medium,) = block["media"]
                part = fields[medium.pop("identifier")]
                if part.media_type != medium["type"] or not part.file_name:
                    return said(400, code=8005)
                medium["url"] = f"https://64.media.tumblr.com/{len(self.media)}.png"
                self.media[medium["url"]] = part.content
        if _is_wrong(made):
            return said(400, code=8001)
        number = str(700_000_000_000_000_000 + len(self.posts_by_id))
        self._save(number, made)
        return said(201, {"id": number, "state": made["state"]})

    def _edit(self, number: str, request: Request) -> Response:
        if request.headers.get("Content-Type") != "application/json":
            return said(400, code=5002)
        post = self.posts_by_id.get(number)
        if post is None:
            return said(404)
        edited = json.loads(request.body)
        if _is_wrong(edited):
            return said(400, code=8001)
        if post["state"] == "draft" and edited["state"] == "published":
            del self.posts_by_id[number]
            edited["genesis_post_id"] = number
            number = str(800_000_000_000_000_000 + len(self.published))
        self._save(number, edited)
        return said(200, {"id": number})

    def _save(self, number: str, post: dict[str, Any]) -> None:
        now = datetime.now(UTC).timestamp()
        post = {**post, "id": int(number), "id_string": number, "timestamp": int(now)}
        self.posts_by_id[number] = post
        if post["state"] == "published":
            self.published.append(post)

    def _is_signed(self, request: Request) -> bool:
        """RFC 5849, section 3.4: HMAC-SHA1 over method, address and parameters. A nonce serves once."""
        header = request.headers.get("Authorization", "")
        given = {k: unquote(v) for k, v in re.findall(r'(\w+)="([^"]*)"', header)}
        signature = given.pop("oauth_signature", "")
        known = (given.get("oauth_consumer_key"), given.get("oauth_token"))
        nonce = given.get("oauth_nonce", "")
        if known != (KEYS["consumer_key"], KEYS["token"]) or nonce in self.nonces:
            return False
        self.nonces.add(nonce)
        where = urlsplit(request.path)
        pairs = [*given.items(), *parse_qsl(where.query, keep_blank_values=True)]
        joined = "&".join(sorted(f"{_escaped(k)}={_escaped(v)}" for k, v in pairs))
        address = f"http://{request.headers['Host'].lower()}{where.path}"
        base = "&".join((request.method, _escaped(address), _escaped(joined)))
        key = f"{KEYS['consumer_secret']}&{KEYS['token_secret']}"
        digest = hmac.digest(key.encode(), base.encode(), hashlib.sha1)
        return hmac.compare_digest(base64.b64encode(digest).decode(), signature)


def _escaped(text: str) -> str:
    return quote(text, safe="-._~")


def _is_wrong(post: dict[str, Any]) -> bool:
    content = post.get("content")
    if set(post) - PARAMETERS or not isinstance(content, list) or not content:
        return True
    if not isinstance(post.get("tags", ""), str) or post.get("state") not in ("draft", "published"):
        return True
    return any(
        len(block["text"]) > MAX_BLOCK_CHARS
        if block["type"] == "text"
        else "url" not in block["media"][0] or len(block["alt_text"]) > MAX_BLOCK_CHARS
        for block in content
    )


@contextmanager
def run(folder: Path) -> Iterator[Tumblr]:
    tumblr = Tumblr()
    with serving(tumblr.answer) as tumblr.url:
        yield tumblr


def sees(post: Post) -> Seen:
    assert post.picture is not None
    return Seen(post.text, post.alt, post.picture.content)


PEER = Peer("tumblr", run, is_commit=lambda method, path: method == "PUT", sees=sees)
