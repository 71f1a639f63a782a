"""The newest works as Atom (RFC 4287) and JSON Feed 1.1 (jsonfeed.org).

An entry's id never changes, so that a reader shows a work once, whatever becomes of its words and of the site.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from artbot.publishing.gallery.pages import Look, paragraphs
from artbot.publishing.gallery.records import PictureFacts, Record

NUM_ENTRIES = 60
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, written out or not."""


def atom_feed(look: Look, works: Sequence[Record]) -> bytes:
    """`works`: the newest first."""
    updated = max((work.approved_at for work in works), default=datetime.fromtimestamp(0, UTC))
    author = f"<author><name>{_xml(look.author or look.title)}</name></author>"
    about = f"\n<subtitle>{_xml(look.about)}</subtitle>" if look.about else ""
    entries = "".join(_entry(look, work) for work in works)
    return f"""<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:media="http://search.yahoo.com/mrss/" xml:lang="{look.language}">
<id>{_xml(look.url)}/</id>
<title>{_xml(look.title)}</title>{about}
<updated>{_rfc3339(updated)}</updated>
{author}
<link rel="self" type="application/atom+xml" href="{_xml(look.url)}/feed.atom"/>
<link rel="alternate" type="text/html" href="{_xml(look.url)}/"/>
<generator>artbot</generator>
{entries}</feed>
""".encode()


def json_feed(look: Look, works: Sequence[Record]) -> bytes:
    """`works`: the newest first."""
    feed = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": look.title,
        "home_page_url": f"{look.url}/",
        "feed_url": f"{look.url}/feed.json",
        "language": look.language,
        "authors": [{"name": look.author or look.title}],
        "items": [_item(look, work) for work in works],
    }
    if look.about:
        feed["description"] = look.about
    return (json.dumps(feed, ensure_ascii=False, indent=1) + "\n").encode()


def _entry(look: Look, work: Record) -> str:
    at = _rfc3339(work.approved_at)
    tags = "".join(f'<category term="{_xml(tag)}"/>\n' for tag in work.hashtags)
    language = f' xml:lang="{_xml(work.language)}"' if work.language else ""
    picture = work.picture
    address = _xml(f"{look.url}/{picture.file}")
    shown = (
        ""
        if work.warning
        else f"""<link rel="enclosure" type="{picture.media_type}" length="{picture.bytes}" href="{address}"/>
<media:content url="{address}" type="{picture.media_type}" medium="image" width="{picture.width}" \
height="{picture.height}"><media:description type="plain">{_xml(work.alt)}</media:description></media:content>
"""
    )
    return f"""<entry{language}>
<id>{_xml(work.id)}</id>
<title>{_xml(work.title)}</title>
<published>{at}</published>
<updated>{at}</updated>
<link rel="alternate" type="text/html" href="{_xml(look.url)}/{work.page}"/>
{tags}{shown}<content type="html">{_xml(_content(look, work))}</content>
</entry>
"""


def _item(look: Look, work: Record) -> dict[str, object]:
    at = _rfc3339(work.approved_at)
    item: dict[str, object] = {
        "id": work.id,
        "url": f"{look.url}/{work.page}",
        "title": work.title,
        "content_html": _content(look, work),
        "date_published": at,
        "date_modified": at,
    }
    if work.hashtags:
        item["tags"] = list(work.hashtags)
    if work.language:
        item["language"] = work.language
    if not work.warning:
        item["image"] = f"{look.url}/{_shown(work).file}"
        item["attachments"] = [
            {
                "url": f"{look.url}/{work.picture.file}",
                "mime_type": work.picture.media_type,
                "size_in_bytes": work.picture.bytes,
            }
        ]
    return item


def _content(look: Look, work: Record) -> str:
    """For readers that show HTML. A picture that people should be warned of is only linked to."""
    parts = []
    page = escape(f"{look.url}/{work.page}")
    if work.warning:
        parts.append(f'<p><strong>{escape(work.warning)}</strong></p><p><a href="{page}">')
        parts.append(f"{escape(look.speech.show)}</a></p>")
    else:
        shown = _shown(work)
        parts.append(
            f'<p><a href="{page}"><img src="{escape(look.url)}/{shown.file}" width="{shown.width}" '
            f'height="{shown.height}" alt="{escape(work.alt)}"></a></p>'
        )
    parts.append(paragraphs(work.text))
    painter = look.speech.painter.format(dataset=work.generator.dataset)
    return "".join(parts) + f"<p><em>{escape(painter)}</em></p>"


def _shown(work: Record) -> PictureFacts:
    return work.sizes[-1] if work.sizes else work.picture


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _xml(text: str) -> str:
    return escape(_NO_XML.sub("\ufffd", text))
