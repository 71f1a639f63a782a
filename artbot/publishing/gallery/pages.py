"""The pages, as HTML without scripts: the wall, the years, and a page for each work.

Links are relative, so that the site is whole at any address and from a disk too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from artbot.publishing.gallery.records import Record
from artbot.publishing.gallery.speech import SPEECHES, Language, Speech

ON_THE_WALL = "(min-width: 72rem) 18rem, (min-width: 40rem) 42vw, 88vw"
LARGE = "(min-width: 72rem) 36rem, 88vw"
ALONE = "(min-width: 72rem) 44rem, 92vw"
ON_A_SHELF = "9rem"


@dataclass(frozen=True)
class Look:
    """What a person decided about their site."""

    url: str
    """Where the public finds it, without / at the end."""
    title: str
    about: str
    author: str
    language: Language

    @property
    def speech(self) -> Speech:
        return SPEECHES[self.language]


def wall_page(
    look: Look,
    name: str,
    works: Sequence[Record],
    years: Sequence[int],
    newer: str | None,
    older: str | None,
) -> bytes:
    """One page of the wall, the newest work first; `newer` and `older`: the pages before and after it."""
    speech = look.speech
    is_first = name == "index.html"
    about = f'<p class="about">{escape(look.about)}</p>' if look.about and is_first else ""
    hung = "".join(
        _hung(work, look, LARGE if is_first and at == 0 else ON_THE_WALL, is_eager=at < 4)
        for at, work in enumerate(works)
    )
    wall = f'<ul class="wall{" first" if is_first else ""}">{hung}</ul>' if works else ""
    body = (
        f'{_header(look, "", is_home=is_first)}<main id="works">{about}'
        f'<h2 class="unseen">{escape(speech.newest if is_first else speech.older)}</h2>'
        f"{wall or f'<p>{escape(speech.no_works)}</p>'}{_turning(speech, newer, older)}</main>"
    )
    return _page(look, "", name, look.title, look.about, body, years, works[0] if works else None)


def year_page(look: Look, year: int, works: Sequence[Record], years: Sequence[int]) -> bytes:
    """All of one year's works by month, the newest first."""
    speech = look.speech
    months = []
    for month, of_month in groupby(works, key=lambda work: work.date.month):
        shelf = "".join(_on_shelf(work, look) for work in of_month)
        heading = escape(speech.months[month - 1])
        months.append(f'<section><h3>{heading}</h3><ul class="shelf">{shelf}</ul></section>')
    body = (
        f'{_header(look, "")}<main id="works"><h2>{year}</h2>'
        f'<p class="count">{escape(speech.num_works(len(works)))}</p>{"".join(months)}</main>'
    )
    title = f"{year} · {look.title}"
    return _page(look, "", f"year-{year}.html", title, look.about, body, years, None)


def work_page(
    look: Look, work: Record, newer: Record | None, older: Record | None, years: Sequence[int]
) -> bytes:
    """One work with its label."""
    speech = look.speech
    text = paragraphs(work.text)
    text = f'<div class="text"{_of(work, look)}>{text}</div>' if text else ""
    facts = [
        (speech.painted, f'<time datetime="{work.date}">{speech.date_of(work.date)}</time>'),
        (speech.data_set, escape(work.generator.dataset)),
        (speech.shows, escape(work.class_name or "")),
        (speech.generator, escape(work.generator.name)),
        (speech.seed, str(work.seed)),
        (speech.batch, escape(work.batch)),
        (speech.weights, f"<code>{work.generator.sha256}</code>"),
        (speech.as_painted, f"<code>{work.painted_sha256}</code>"),
    ]
    label = "".join(f"<div><dt>{term}</dt><dd>{said}</dd></div>" for term, said in facts if said)
    original = speech.original.format(width=work.picture.width, height=work.picture.height)
    picture = f'<div class="mat">{_image(work, look, "../", ALONE, is_eager=True)}</div>'
    if work.warning:
        picture = (
            f'<details class="warned"><summary{_of(work, look)}><span class="mat"><span>'
            f"<strong>{escape(work.warning)}</strong>"
            f'<span class="show" lang="{look.language}">{speech.show}</span></span></span></summary>'
            f"{picture}</details>"
        )
    body = f"""{_header(look, "../")}<main id="works" class="room"><article>
<div class="picture">{picture}</div>
<div class="label"><h2{_of(work, look)}>{escape(work.title)}</h2>
<p class="maker">{escape(speech.painter.format(dataset=work.generator.dataset))}</p>
{text}
<details class="words"><summary>{speech.in_words}</summary><p{_of(work, look)}>{escape(work.alt)}</p></details>
<dl>{label}</dl>
<ul class="files"><li><a href="../{work.picture.file}">{original}</a></li>
<li><a href="../{work.file}">{speech.facts}</a></li></ul></div></article>
{_neighbours(look, newer, older)}</main>"""
    return _page(
        look, "../", work.page, f"{work.title} · {look.title}", work.alt, body, years, work
    )


def _page(
    look: Look,
    up: str,
    name: str,
    title: str,
    description: str,
    body: str,
    years: Sequence[int],
    shown: Record | None,
) -> bytes:
    address = f"{look.url}/" if name == "index.html" else f"{look.url}/{name}"
    about = f'<meta name="description" content="{escape(description)}">\n' if description else ""
    feeds = "".join(
        f'<link rel="alternate" type="{kind}" title="{escape(look.title)}" href="{up}{file}">\n'
        for kind, file in (
            ("application/atom+xml", "feed.atom"),
            ("application/feed+json", "feed.json"),
        )
    )
    return f"""<!doctype html>
<html lang="{look.language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
{about}<link rel="canonical" href="{escape(address)}">
<link rel="icon" type="image/svg+xml" href="{up}icon.svg">
<link rel="stylesheet" href="{up}style.css">
{feeds}<meta property="og:site_name" content="{escape(look.title)}">
<meta property="og:title" content="{escape(title)}">
<meta property="og:url" content="{escape(address)}">
{_preview(look, shown)}</head>
<body>
<a class="skip" href="#works">{look.speech.skip}</a>
{body}
{_footer(look, up, years)}
</body>
</html>
""".encode()


def _preview(look: Look, shown: Record | None) -> str:
    """What other sites show of a link here; nothing that people should be warned of."""
    if shown is None or shown.warning:
        return ""
    picture = shown.pictures[-2] if shown.sizes else shown.picture
    return f"""<meta property="og:image" content="{escape(look.url)}/{picture.file}">
<meta property="og:image:width" content="{picture.width}">
<meta property="og:image:height" content="{picture.height}">
<meta property="og:image:alt" content="{escape(shown.alt)}">
<meta name="twitter:card" content="summary_large_image">
"""


def _header(look: Look, up: str, *, is_home: bool = False) -> str:
    by = f"<p>{escape(look.speech.by.format(author=look.author))}</p>" if look.author else ""
    here = ' aria-current="page"' if is_home else ""
    return f'<header><h1><a href="{up}index.html"{here}>{escape(look.title)}</a></h1>{by}</header>'


def _footer(look: Look, up: str, years: Sequence[int]) -> str:
    speech = look.speech
    archive = "".join(f'<li><a href="{up}year-{year}.html">{year}</a></li>' for year in years)
    archive = (
        f'<nav aria-label="{speech.archive}"><ul><li>{speech.archive}</li>{archive}</ul></nav>'
        if years
        else ""
    )
    return f"""<footer><p>{escape(speech.provenance)}</p>
{archive}<nav aria-label="{speech.follow}"><ul><li>{speech.follow}</li><li><a href="{up}feed.atom">Atom</a></li>\
<li><a href="{up}feed.json">JSON Feed</a></li></ul></nav></footer>"""


def _hung(work: Record, look: Look, sizes: str, *, is_eager: bool) -> str:
    if work.warning:
        shown = f"<strong{_of(work, look)}>{escape(work.warning)}</strong>"
        shown = f'<span class="mat veiled"><span>{shown}</span></span>'
    else:
        shown = f'<span class="mat">{_image(work, look, "", sizes, is_eager=is_eager)}</span>'
    return (
        f'<li><a href="{work.page}">{shown}<span class="caption"><span class="title"{_of(work, look)}>'
        f'{escape(work.title)}</span> <time datetime="{work.date}">{look.speech.date_of(work.date)}</time>'
        "</span></a></li>\n"
    )


def _on_shelf(work: Record, look: Look) -> str:
    if work.warning:
        shown = f'<span class="mat veiled"><span>{look.speech.warned}</span></span>'
    else:
        shown = f'<span class="mat">{_image(work, look, "", ON_A_SHELF, is_eager=False)}</span>'
    title = f'<span class="title"{_of(work, look)}>{escape(work.title)}</span>'
    return f'<li><a href="{work.page}">{shown}{title}</a></li>\n'


def _image(work: Record, look: Look, up: str, sizes: str, *, is_eager: bool) -> str:
    small = work.pictures[0]
    choice = ", ".join(f"{up}{size.file} {size.width}w" for size in work.sizes)
    choice = f' srcset="{choice}" sizes="{sizes}"' if choice else ""
    loading = "" if is_eager else ' loading="lazy"'
    return (
        f'<img src="{up}{small.file}"{choice} width="{small.width}" height="{small.height}" '
        f'alt="{escape(work.alt)}"{_of(work, look)}{loading} decoding="async">'
    )


def _turning(speech: Speech, newer: str | None, older: str | None) -> str:
    if newer is None and older is None:
        return ""
    back = f'<a rel="prev" href="{newer}">{speech.newer}</a>' if newer else "<span></span>"
    on = f'<a rel="next" href="{older}">{speech.older}</a>' if older else "<span></span>"
    return f'<nav class="turning" aria-label="{speech.pages}">{back}{on}</nav>'


def _neighbours(look: Look, newer: Record | None, older: Record | None) -> str:
    speech = look.speech
    links = "".join(
        f'<a rel="{rel}" href="{work.name}.html">{what} <span{_of(work, look)}>{escape(work.title)}'
        "</span></a>"
        if work
        else "<span></span>"
        for rel, what, work in (
            ("prev", speech.previous, older),
            ("next", speech.following, newer),
        )
    )
    return f'<nav class="turning" aria-label="{speech.pages}">{links}</nav>'


def _of(work: Record, look: Look) -> str:
    """Attributes of an element with words of the work: they are in its language, and run as that does."""
    is_own = work.language and work.language != look.language
    return f' lang="{escape(work.language)}" dir="auto"' if is_own else ' dir="auto"'


def paragraphs(text: str) -> str:
    parts = (part for part in text.split("\n\n") if part)
    return "".join(f"<p>{'<br>'.join(escape(part).splitlines())}</p>" for part in parts)
