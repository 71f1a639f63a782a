"""What stands beside a picture, above and below: text alone, from a tile and its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.table import Table
from rich.text import Text

from artbot.desk import AltRemark, Card, Checked, Summary, Tile
from artbot.domain.candidate import MOST_STARS, UNDECIDED, CandidateState
from artbot.domain.keys import ACTIONS
from artbot.review.decisions import Words
from artbot.tui.graphics import Chosen, Graphics

_SIGNS = {
    CandidateState.PENDING: ("·", ""),
    CandidateState.LATER: ("…", "cyan"),
    CandidateState.APPROVED: ("✓", "green"),
    CandidateState.REJECTED: ("✗", "red"),
}
_REMARKS = {
    AltRemark.MISSING: "none yet: say what is to be seen",
    AltRemark.DRAFT: "the draft: write about this picture",
    AltRemark.REPEATED: "another work says the same",
}


@dataclass(frozen=True)
class Draft:
    """What the person wrote and chose for a picture, and has not approved yet."""

    words: Words = field(default_factory=Words)
    channels: tuple[str, ...] | None = None
    when: str = "next"


def sign(state: CandidateState) -> Text:
    mark, style = _SIGNS.get(state, ("?", ""))
    return Text(mark, style)


def stars(number: int) -> str:
    return "★" * number + "☆" * (MOST_STARS - number) if number else ""


def key_of(keys: Mapping[str, str], action: str) -> str:
    """The key to press for it, as a person reads it; empty if it has none."""
    for key, name in keys.items():
        if name == action:
            return {"left": "←", "right": "→", "up": "↑", "down": "↓"}.get(key, key)
    return ""


def tile_line(tile: Tile, is_marked: bool, alike: tuple[int, int] | None) -> Text:
    """`3 ✓ approved ★★★★☆`."""
    line = Text.assemble((str(tile.id), "bold"), "  ", sign(tile.state), f" {tile.state}")
    if tile.stars:
        line.append(f"  {stars(tile.stars)}", "yellow")
    if is_marked:
        line.append("  marked", "magenta")
    if alike:
        line.append(f"  {alike[0]} of {alike[1]} alike", "dim")
    return line


def beside(
    tile: Tile,
    card: Card | None,
    draft: Draft,
    keys: Mapping[str, str],
    is_marked: bool,
    alike: tuple[int, int] | None,
) -> Text:
    """What would go out with the picture, and where to."""
    text = tile_line(tile, is_marked, alike)
    text.append(f"\n{tile.name}", "dim")
    if tile.method:
        of = " and ".join(map(str, tile.parent_ids))
        text.append(f"\n{tile.method}, of {of}", "dim")
    if card is None:
        return text
    words, written = card.words, draft.words
    alt = written.alt if written.alt is not None else words.alt
    _head(text, "Alt text", key_of(keys, "words"))
    text.append(f"\n{alt or '(none)'}")
    if card.checked.alt and written.alt is None and tile.state in UNDECIDED:
        text.append(f"\n! {_REMARKS[card.checked.alt]}", "yellow")
    for name in ("title", "caption", "hashtags", "warning"):
        value = getattr(written, name)
        value = getattr(words, name) if value is None else value
        if value:
            text.append(f"\n{name.capitalize()}  ", "dim").append(value)
    _add_channels(text, card, draft, keys)
    for refusal in [fit for fit in card.checked.fits if fit.refusal]:
        text.append(f"\n! {refusal.channel}: {refusal.refusal}", "yellow")
    return text


def _add_channels(text: Text, card: Card, draft: Draft, keys: Mapping[str, str]) -> None:
    if card.deliveries:
        _head(text, "Deliveries")
        for delivery in card.deliveries:
            text.append(f"\n{delivery.channel}  ").append(delivery.words, "dim")
            if delivery.url:
                text.append(f"\n{delivery.url}", "dim")
        return
    if card.tile.state not in UNDECIDED:
        return  # it goes nowhere
    _head(text, "Goes to", key_of(keys, "channels"))
    if not card.channels:
        text.append("\nno channel yet: add one to artbot.toml", "dim")
    for channel in card.channels:
        if draft.channels is not None and channel.name not in draft.channels:
            text.append(f"\n{channel.name}  not this one", "dim strike")
            continue
        when = channel.goes_out if draft.when == "next" else draft.when
        text.append(f"\n{channel.name}  ").append(when, "dim")
        if channel.trouble:
            text.append(f"\n! {channel.trouble}", "yellow")


def facts(tile: Tile, card: Card | None, is_marked: bool, alike: tuple[int, int] | None) -> Text:
    """Where it comes from, what came of it, and what was decided."""
    text = tile_line(tile, is_marked, alike)
    if card is None:
        return text
    text.append("\n")
    for name, value in card.facts:
        text.append(f"\n{name}  ", "dim").append(value)
    if card.parents:
        _head(text, "From")
        for parent in card.parents:
            text.append(f"\n{parent.id}  {parent.name}  ").append(parent.state, "dim")
    if card.children:
        _head(text, "Children")
        for child in card.children:
            text.append(f"\n{child.id}  {child.method}  ").append(child.state, "dim")
    if not card.can_have_children:
        text.append("\n\nIts line ends here: vary one that came before it.", "dim")
    _head(text, "Decided")
    for line in card.history or ("nothing yet",):
        text.append(f"\n{line}")
    return text


def checked_lines(checked: Checked) -> Text:
    """How words would do: the counters, and what is against them."""
    text = Text()
    if checked.alt_words:
        text.append(f"! {checked.alt_words}\n", "yellow")
    # What does not fit first: the window may end before the last.
    for fit in sorted(checked.fits, key=lambda fit: fit.refusal is None):
        if not (fit.counts or fit.refusal):
            continue
        text.append(fit.channel)
        for count in fit.counts:
            style = "bold red" if count.has > count.most else "dim"
            text.append(f"  {count.what} {count.has:,} of {count.most:,} {count.unit}", style)
        if fit.refusal:
            text.append(f"\n! {fit.refusal}", "yellow")
        text.append("\n")
    return text


def preview_words(chosen: Chosen, shown_px: tuple[int, int], size_px: tuple[int, int]) -> str:
    """How little of a picture half-blocks show; empty where they show it as it is."""
    share = shown_px[0] * shown_px[1] / (size_px[0] * size_px[1])
    if chosen.graphics != Graphics.BLOCKS or share >= 1:
        return ""
    return f"preview: {max(1, round(100 * share))} % of its pixels"


def footer(keys: Mapping[str, str], is_sheet: bool, width: int) -> Text:
    """The keys that matter here, on two lines."""
    first = ["approve", "reject", "later", "undo", "words", "channels", "stars", "mark"]
    where = "loupe" if is_sheet else "sheet"
    second = [where, "compare", "zoom", "facts", "vary-subtle", "breed", "full", "reject-rest"]
    if is_sheet:
        second.remove("zoom")
    short = {"vary-subtle": "vary", "reject-rest": "rest", "zoom": "1:1", "channels": "where"}
    text = Text(no_wrap=True, overflow="ellipsis")
    for line, last in ((first, []), (second, ["help", "quit"])):
        entries = [(n, _key_words(keys, n), short.get(n, n)) for n in [*line, *last]]
        entries = [entry for entry in entries if entry[1]]
        while entries and sum(len(k) + len(w) + 3 for _, k, w in entries) - 2 > width:
            spare = [entry for entry in entries if entry[0] not in last]
            entries.remove(spare[-1] if spare else entries[-1])
        for index, (_, key, words) in enumerate(entries):
            text.append("  " if index else "").append(key, "bold").append(f" {words}", "dim")
        text.append("" if last else "\n")
    return text


def _key_words(keys: Mapping[str, str], action: str) -> str:
    if action == "stars":
        first, final = key_of(keys, "star0"), key_of(keys, f"star{MOST_STARS}")
        return f"{first}-{final}" if first and final else ""
    return key_of(keys, action)


def help_table(keys: Mapping[str, str], chosen: Chosen) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column()
    for name, action in ACTIONS.items():
        if name == "star0":
            table.add_row(_key_words(keys, "stars"), "stars")
        elif not name.startswith("star"):
            pressed = [key for key, of in keys.items() if of == name]
            table.add_row(" ".join(pressed) or "(no key)", action.words)
    table.add_row("tab", "others: pending, later, approved, rejected, all")
    table.add_row("pageup", "scroll what stands beside the picture; pagedown")
    table.add_row("ctrl+c", "leave, wherever you are")
    table.add_row("", "")
    table.add_row("", Text(f"Pictures: {chosen.graphics} ({chosen.why}). See --graphics.", "dim"))
    table.add_row(
        "", Text("Every key is written down as it is pressed. [keys] changes them.", "dim")
    )
    return table


def end_card(summary: Summary, num_later: int, queued_until: str, keys: Mapping[str, str]) -> Text:
    """When nothing is left to choose."""
    text = Text.assemble(("Nothing is left to choose here.\n", "bold"))
    text.append(
        f"\nToday   {summary.num_approved} approved · {summary.num_rejected} rejected · "
        f"{summary.num_later} put off until later"
    )
    if num_later:
        text.append(f"\nLater   {num_later} here, for another look")
    if summary.num_being_painted:
        text.append(f"\nSoon    {summary.num_being_painted} children are being painted")
    text.append(f"\nQueue   {queued_until}")
    if summary.next_batch:
        text.append(f"\nNext    a new batch: {summary.next_batch}")
    for trouble in summary.troubles:
        text.append(f"\n! {trouble}", "yellow")
    undo, leave = key_of(keys, "undo"), key_of(keys, "quit")
    text.append(
        f"\n\n{undo} takes back the last one · {leave} leaves · any other key: look again", "dim"
    )
    return text


def _head(text: Text, words: str, key: str = "") -> None:
    text.append(f"\n\n{words}", "bold")
    if key:
        text.append(f"  {key}", "dim")
