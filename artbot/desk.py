"""What lies before the person who chooses, and what they can do with it: the one door of every face that shows pictures.

A face lays out a `Sheet`, opens a `Card`, and says with every act what the person saw. It holds no state of its own:
whatever is decided elsewhere is there when it looks again, and who was overtaken is told (`Stale`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import case, func, or_, select
from sqlalchemy.orm import Session, joinedload

from artbot.domain.candidate import UNDECIDED, CandidateState
from artbot.domain.channel import ChannelState
from artbot.domain.delivery import WAITING, DeliveryState
from artbot.domain.likeness import Likeness, read_likeness
from artbot.domain.slots import Timetable, parse_when
from artbot.domain.text import check_title_and_alt
from artbot.errors import NotAllowed, PictureChanged, StorageFailed, UsageError
from artbot.publishing.queue import allot
from artbot.publishing.rehearsal import Count as Count
from artbot.publishing.rehearsal import rehearse
from artbot.publishing.work import approved_work
from artbot.review import decisions as acts
from artbot.review import reading
from artbot.review.decisions import Author, Seen, Words
from artbot.studio.family import children_of, method_of, parents_of
from artbot.telling import (
    due_words,
    history_of,
    kept_by,
    local_time,
    slot_words,
    state_words,
    zone_of,
)
from artbot.workplace import Workplace
from db.models import Batch, Candidate, ChannelStatus, Decision, Delivery

if TYPE_CHECKING:
    from artbot.publishing.channels import Outlet

MOST_TILES = 500
"""On one sheet; more than anybody looks at."""
MOST_BATCHES = 100
"""In the list of them, where so many have something undecided."""
NEWEST_BATCHES = 10
LAST_ALTS = 30
"""So many works back an alt text is looked for that is said again."""


class Show(StrEnum):
    """Which candidates lie on the sheet."""

    UNDECIDED = "undecided"  # pending and later: the day's work
    PENDING = "pending"
    LATER = "later"
    APPROVED = "approved"
    REJECTED = "rejected"
    ALL = "all"  # expired ones as well


_STATES: dict[Show, tuple[CandidateState, ...]] = {
    Show.UNDECIDED: UNDECIDED,
    Show.PENDING: (CandidateState.PENDING,),
    Show.LATER: (CandidateState.LATER,),
    Show.APPROVED: (CandidateState.APPROVED,),
    Show.REJECTED: (CandidateState.REJECTED,),
    Show.ALL: (
        *UNDECIDED,
        CandidateState.APPROVED,
        CandidateState.REJECTED,
        CandidateState.EXPIRED,
    ),
}


@dataclass(frozen=True)
class Tile:
    """One picture on the sheet."""

    id: int
    name: str
    batch: str
    place: int
    """From 1 within its batch."""
    state: CandidateState
    stars: int
    width_px: int
    height_px: int
    seen: Seen
    """What this person sees; to be given back with every act."""
    path: Path
    """Of the PNG. A face shows these very bytes: their sha256 is `seen.image_sha256`."""
    parent_ids: tuple[int, ...]
    method: str
    """How it came from its parents; empty where it has none."""


@dataclass(frozen=True)
class Stack:
    """Pictures so alike that they are looked at together; mostly one. The first lies on top."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class BatchLine:
    """A batch to choose from, for a list of them."""

    key: str
    num_undecided: int
    num_painted: int


@dataclass(frozen=True)
class Sheet:
    """What is laid out."""

    show: Show
    batch: str | None
    """The key of the one batch it is of; None: of all."""
    stacks: tuple[Stack, ...]
    counts: dict[Show, int]
    """How many there are of each, in that batch or in all."""
    batches: tuple[BatchLine, ...]
    """The newest first, those that have something undecided and the newest ten."""
    has_more: bool


@dataclass(frozen=True)
class Fit:
    """How a work fits a channel."""

    channel: str
    counts: tuple[Count, ...]
    """Of each of its texts; of several paragraphs the longest."""
    refusal: str | None
    """Why it could never go out there like this."""


class AltRemark(StrEnum):
    """What there is to say about an alt text before it is approved."""

    MISSING = "missing"
    DRAFT = "draft"  # as [texts] drafts it: it says nothing about this picture
    REPEATED = "repeated"  # the same as one of the last thirty approved


@dataclass(frozen=True)
class Checked:
    """How words would do."""

    alt: AltRemark | None
    alt_words: str
    """The remark, for the person; empty if there is none."""
    fits: tuple[Fit, ...]


@dataclass(frozen=True)
class ChannelLine:
    """A channel that the work could go to."""

    name: str
    kind: str
    goes_out: str
    """When it would go out there if it were approved now: `tomorrow 18:30 (Europe/Berlin)`."""
    trouble: str | None
    """Why nothing goes out there at the moment: it is paused, or rests."""


@dataclass(frozen=True)
class DeliveryLine:
    """Where an approved work stands on a channel."""

    id: int
    channel: str
    words: str
    """`goes out tomorrow 18:30 (Europe/Berlin)`, `delivered 14:32`."""
    url: str | None


@dataclass(frozen=True)
class Relative:
    """A parent or a child."""

    id: int
    name: str
    state: str
    method: str
    image_sha256: str | None
    """None: it is not painted yet."""


@dataclass(frozen=True)
class Card:
    """One picture with all that belongs to it."""

    tile: Tile
    facts: tuple[tuple[str, str], ...]
    """Seed, generator, batch, size, when it was painted."""
    words: Words
    """As approved, or as they would be: nothing in it is None."""
    checked: Checked
    channels: tuple[ChannelLine, ...]
    deliveries: tuple[DeliveryLine, ...]
    history: tuple[str, ...]
    """What was decided, the oldest first: `14:32  approved, by anna (web)`."""
    parents: tuple[Relative, ...]
    children: tuple[Relative, ...]
    can_have_children: bool


@dataclass(frozen=True)
class Summary:
    """What there is to say when nothing is left to choose."""

    num_approved: int
    num_rejected: int
    num_later: int
    num_being_painted: int
    """Children that were asked for and are not painted yet."""
    queued_until: datetime | None
    """When the last of what waits goes out; None: nothing waits."""
    troubles: tuple[str, ...]
    """Deliveries and channels that need a person, each with the command that helps."""
    next_batch: str | None
    """`tomorrow 07:00`; None: no schedule."""


class AltTextWanted(NotAllowed):
    """Nobody has written an alt text for this picture yet, and nobody has said that the draft will do."""


@dataclass(frozen=True)
class Desk:
    """A workplace, and who sits at it."""

    workplace: Workplace
    author: Author

    # Looking

    def lay_out(self, show: Show = Show.UNDECIDED, batch: str | None = None) -> Sheet:
        """Undecided ones as artbot.review.reading lists them, others the newest batch first; children beside their
        parent, and of each batch those that look alike together. Raises UsageError for a batch that is none."""
        database = self.workplace.database
        if batch is not None and not reading.has_batch(database, batch):
            raise UsageError(
                f"there is no batch {batch!r}. `artbot review --all` shows their names."
            )
        found = reading.list_candidates(database, _STATES[show], batch, MOST_TILES + 1)
        shown = found[:MOST_TILES]
        with database.read() as session:
            places = _places(session, shown)
            counts = _counts(session, batch)
            batches = _batch_lines(session)
        # What was put off comes last, so that a batch may come twice.
        runs = groupby(shown, key=lambda c: (show == Show.UNDECIDED and c.state, c.batch_id))
        return Sheet(
            show=show,
            batch=batch,
            stacks=tuple(
                Stack(tuple(map(self._tile, stack)))
                for _, run in runs
                for stack in _stacked(sorted(run, key=lambda c: places[c.id]))
            ),
            counts=counts,
            batches=batches,
            has_more=len(found) > MOST_TILES,
        )

    def tile(self, candidate_id: int) -> Tile:
        """As it is now. Raises UsageError, NotAllowed."""
        return self._tile(self._get(candidate_id))

    def open(self, candidate_id: int) -> Card:
        """Raises UsageError (no such candidate), NotAllowed (it has no picture)."""
        candidate = self._get(candidate_id)
        tile, now = self._tile(candidate), self.workplace.clock()
        as_approved = acts.as_approved(self.workplace.review, candidate_id)
        with self.workplace.database.read() as session:
            parents = session.scalars(
                select(Candidate).where(Candidate.id.in_(tile.parent_ids)).order_by(Candidate.id)
            ).all()
            children = children_of(session, [candidate_id])
            channels = self._channel_lines(session, candidate, now)
        return Card(
            tile=tile,
            facts=_facts(candidate, now),
            words=Words(**{name: getattr(as_approved, name) or "" for name in vars(Words())}),
            checked=self._checked(as_approved),
            channels=channels,
            deliveries=self._delivery_lines(candidate, now),
            history=tuple(f"{at}  {what}" for at, what in history_of(candidate.decisions, now)),
            parents=_relatives(sorted(parents, key=lambda one: tile.parent_ids.index(one.id))),
            children=_relatives(children),
            can_have_children=_can_have_children(candidate),
        )

    def check(self, candidate_id: int, words: Words) -> Checked:
        """What there is to say about these words, on every channel. Quick: for every change of a letter.

        Raises UsageError (no such candidate, words that are no text)."""
        return self._checked(acts.as_approved(self.workplace.review, candidate_id, words))

    def summary(self) -> Summary:
        """Of today, by this machine's clock, and of what waits."""
        from artbot.studio.planning import next_due_at
        from artbot.upkeep.needs import channels_and_deliveries

        workplace, now = self.workplace, self.workplace.clock()
        midnight = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        decided_today = (
            select(Candidate.state, func.count(Candidate.id.distinct()))
            .join(Candidate.decisions)
            .where(
                Decision.at >= midnight,
                Decision.now == Candidate.state,
                Decision.now != Decision.was,
            )
            .group_by(Candidate.state)
        )
        being_painted = select(func.count(Candidate.id)).where(
            Candidate.state == CandidateState.PLANNED, Candidate.parent_id.is_not(None)
        )
        last_out = select(func.max(Delivery.next_at)).where(
            Delivery.state.in_(WAITING),
            Delivery.on_hold.is_(False),
            Delivery.channel.in_(workplace.settings.channels),
        )
        with workplace.database.read() as session:
            today = dict(session.execute(decided_today).all())
            num_being_painted = session.scalar(being_painted) or 0
            queued_until = session.scalar(last_out)
        due = [
            next_due_at(workplace.database, name, schedule, now)
            for name, schedule in workplace.settings.schedules.items()
        ]
        return Summary(
            num_approved=today.get(CandidateState.APPROVED, 0),
            num_rejected=today.get(CandidateState.REJECTED, 0),
            num_later=today.get(CandidateState.LATER, 0),
            num_being_painted=num_being_painted,
            queued_until=queued_until,
            troubles=tuple(
                f"{trouble.what}: {trouble.remedy}"
                for trouble in channels_and_deliveries(workplace)
            ),
            next_batch=due_words(min(due), now) if due else None,
        )

    # Deciding

    def approve(
        self,
        candidate_id: int,
        seen: Seen,
        words: Words | None = None,
        channels: Sequence[str] | None = None,
        when: str = "next",
        is_draft_fine: bool = False,
    ) -> Tile:
        """`when`: as people write it (artbot.domain.slots.parse_when).

        Raises AltTextWanted unless `is_draft_fine` (without any alt text, always), and what
        artbot.review.decisions.approve raises."""
        review, written = self.workplace.review, words or Words()
        try:
            wanted = parse_when(when)
        except ValueError as error:
            raise UsageError(str(error)) from error
        as_approved = acts.as_approved(review, candidate_id, written)
        if as_approved.state in UNDECIDED:
            acts.check_seen(review, candidate_id, seen)  # who was overtaken need not write anything
            alt, alt_words = self._alt_remark(as_approved)
            if alt is AltRemark.MISSING or (alt and not is_draft_fine):
                raise AltTextWanted(alt_words)
        acts.approve(review, candidate_id, self.author, written, channels, wanted, seen)
        return self.tile(candidate_id)

    def reject(self, candidate_id: int, seen: Seen) -> Tile:
        """Raises as artbot.review.decisions.reject."""
        acts.reject(self.workplace.review, candidate_id, self.author, seen)
        return self.tile(candidate_id)

    def put_off(self, candidate_id: int, seen: Seen) -> Tile:
        """Leave it for later. Raises as artbot.review.decisions.put_off."""
        acts.put_off(self.workplace.review, candidate_id, self.author, seen)
        return self.tile(candidate_id)

    def give_stars(self, candidate_id: int, stars: int, seen: Seen) -> Tile:
        """Raises as artbot.review.decisions.give_stars."""
        acts.give_stars(self.workplace.review, candidate_id, stars, self.author, seen)
        return self.tile(candidate_id)

    def undo(self, candidate_id: int | None = None, seen: Seen | None = None) -> Tile:
        """The last decision of all, or on one. The tile is the one it was about.

        Raises as artbot.review.decisions.undo."""
        return self.tile(acts.undo(self.workplace.review, candidate_id, self.author, seen).id)

    def redo(self, candidate_id: int | None = None, seen: Seen | None = None) -> Tile:
        """Raises as artbot.review.decisions.redo."""
        return self.tile(acts.redo(self.workplace.review, candidate_id, self.author, seen).id)

    def reject_rest(self, saw: Mapping[int, Seen]) -> list[Tile]:
        """Reject, in one transaction, all of these that are pending still, and leave those that somebody else decided
        about meanwhile. The tiles are of those that it rejected. Raises UsageError."""
        rejected = acts.reject_each(self.workplace.review, saw, self.author)
        return self._tiles(candidate.id for candidate in rejected)

    def undo_each(self, candidate_ids: Sequence[int]) -> list[Tile]:
        """Take back, in one transaction, the rejection of each of these that is rejected still: what `reject_rest`
        did. The tiles are of those that are undecided again. Raises UsageError."""
        undone = acts.undo_each(self.workplace.review, candidate_ids, self.author)
        return self._tiles(candidate.id for candidate in undone)

    # More like this

    def vary(self, candidate_id: int, strength: str, count: int = 4) -> list[int]:
        """Plan children; the daemon paints them. `strength`: subtle, strong. Their numbers.

        Raises as artbot.studio.children.vary; UsageError for another strength."""
        from artbot.studio.children import Strength, vary

        if strength not in list(Strength):
            raise UsageError(f"there is no strength {strength!r}: it is {' or '.join(Strength)}.")
        children = vary(self.workplace.studio, candidate_id, Strength(strength), count)
        return [child.id for child in children]

    def breed(self, one_id: int, other_id: int) -> list[int]:
        """Likewise, of two. Raises as artbot.studio.children.breed."""
        from artbot.studio.children import breed

        return [child.id for child in breed(self.workplace.studio, one_id, other_id)]

    # How it is put together

    def _get(self, candidate_id: int) -> Candidate:
        candidate = reading.get_candidate(self.workplace.database, candidate_id)
        if candidate.state in acts.WITHOUT_PICTURE:
            raise acts.not_now(candidate)
        return candidate

    def _tiles(self, candidate_ids: Iterable[int]) -> list[Tile]:
        """In that order."""
        ids = list(candidate_ids)
        with self.workplace.database.read() as session:
            wanted = (
                select(Candidate).where(Candidate.id.in_(ids)).options(joinedload(Candidate.batch))
            )
            found = {candidate.id: candidate for candidate in session.scalars(wanted)}
        return [self._tile(found[number]) for number in ids]

    def _tile(self, candidate: Candidate) -> Tile:
        assert candidate.path is not None
        assert candidate.image_sha256 is not None
        return Tile(
            id=candidate.id,
            name=candidate.name,
            batch=candidate.batch.key,
            place=candidate.index,
            state=CandidateState(candidate.state),
            stars=candidate.stars,
            width_px=candidate.width or 0,
            height_px=candidate.height or 0,
            seen=Seen(candidate.image_sha256, candidate.row_version),
            path=self.workplace.settings.works / candidate.path,
            parent_ids=parents_of(candidate),
            method=method_of(candidate),
        )

    def _checked(self, candidate: Candidate) -> Checked:
        """`candidate`: with the words that it would be approved with."""
        alt, alt_words = self._alt_remark(candidate)
        return Checked(alt, alt_words, tuple(self._fits(candidate)))

    def _fits(self, candidate: Candidate) -> Iterator[Fit]:
        """As at an approval (Review.refusals), but that no picture is made."""
        refusal = None
        try:
            check_title_and_alt(candidate.title or "", candidate.alt or "")
        except ValueError as error:
            refusal = str(error)
        try:
            work = approved_work(candidate, self.workplace.settings.works)
        except (PictureChanged, StorageFailed) as error:
            yield from (Fit(name, (), str(error)) for name in self.workplace.review.channels)
            return
        for name, outlet in self._outlets.items():
            tried = rehearse(outlet, work)
            longest: dict[tuple[str, str], Count] = {}
            for count in tried.counts:
                before = longest.setdefault((count.what, count.unit), count)
                longest[count.what, count.unit] = max(before, count, key=lambda c: c.has)
            yield Fit(name, tuple(longest.values()), refusal or tried.refusal)

    @cached_property
    def _outlets(self) -> dict[str, Outlet]:
        from artbot.publishing.channels import outlets

        return outlets(self.workplace.settings)

    def _alt_remark(self, candidate: Candidate) -> tuple[AltRemark | None, str]:
        said = _folded(candidate.alt or "")
        if not said:
            return AltRemark.MISSING, (
                "Who cannot see the picture has only these words. Say in a sentence what is to be seen: what it "
                "could be, its shapes, its colours."
            )
        if said == _folded(acts.draft_words(self.workplace.settings.texts, candidate)["alt"]):
            return AltRemark.DRAFT, (
                "This is the draft, and would do for any picture. A sentence about this one helps who cannot see it: "
                "what it could be, its shapes, its colours."
            )
        # Those that were taken back since, and brought back, are more decisions than works.
        approvals = (
            select(Decision.candidate_id)
            .where(Decision.now == CandidateState.APPROVED, Decision.was != Decision.now)
            .order_by(Decision.id.desc())
            .limit(3 * LAST_ALTS)
        )
        with self.workplace.database.read() as session:
            newest = dict.fromkeys(session.scalars(approvals))
            still = select(Candidate.id, Candidate.name, Candidate.alt).where(
                Candidate.id.in_(newest), Candidate.state == CandidateState.APPROVED
            )
            there = {number: (name, alt) for number, name, alt in session.execute(still)}
        for number in [number for number in newest if number in there][:LAST_ALTS]:
            name, alt = there[number]
            if number != candidate.id and _folded(alt or "") == said:
                return AltRemark.REPEATED, (
                    f"{number} ({name}) has the same alt text. Say what is to be seen in this one, and not in "
                    "that."
                )
        return None, ""

    def _channel_lines(
        self, session: Session, candidate: Candidate, now: datetime
    ) -> tuple[ChannelLine, ...]:
        from artbot.publishing.channels import timetables

        settings, review = self.workplace.settings, self.workplace.review
        slots, doubtful = timetables(settings), acts.doubtful_channels(session, review, candidate)
        standings = {status.name: status for status in session.scalars(select(ChannelStatus))}
        return tuple(
            ChannelLine(
                name=name,
                kind=settings.channels[name].type,
                goes_out=_next_slot(session, slots, name, now + review.undo_time, now),
                trouble=_trouble(name, standings.get(name), now)
                or (_MAY_BE_OUT if name in doubtful else None),
            )
            for name in review.channels
        )

    def _delivery_lines(self, candidate: Candidate, now: datetime) -> tuple[DeliveryLine, ...]:
        if candidate.state != CandidateState.APPROVED:
            return ()  # what was queued once was cancelled with the approval
        keeper, zone = kept_by(self.workplace), zone_of(self.workplace)

        def words(delivery: Delivery) -> str:
            if delivery.state in WAITING:
                waits_for = keeper(delivery)
                goes_out = slot_words(delivery.next_at, now, zone(delivery))
                return f"waits: {waits_for}" if waits_for else f"goes out {goes_out}"
            if delivery.state == DeliveryState.DELIVERED and delivery.delivered_at:
                return f"delivered {local_time(delivery.delivered_at, now)}"
            why = f": {delivery.last_error}" if delivery.last_error else ""
            return f"{state_words(delivery)}{why}"

        return tuple(
            DeliveryLine(delivery.id, delivery.channel, words(delivery), delivery.remote_url)
            for delivery in candidate.deliveries
        )


def _places(session: Session, candidates: Sequence[Candidate]) -> dict[int, tuple[int, ...]]:
    """Where each belongs within its batch: a child after its (first) parent, wherever that is shown."""
    of_children = {c.batch_id for c in candidates if c.parent_id is not None}
    kin = select(Candidate.id, Candidate.index, Candidate.parent_id).where(
        Candidate.batch_id.in_(of_children)
    )
    rows = session.execute(kin).all() if of_children else ()
    known = {number: (index, parent_id) for number, index, parent_id in rows}

    def place(number: int) -> tuple[int, ...]:
        index, parent_id = known[number]
        # A parent of another batch cannot be (artbot.studio.children); then it is as if it had none.
        return (*(place(parent_id) if parent_id in known else ()), index)

    return {c.id: place(c.id) if c.batch_id in of_children else (c.index,) for c in candidates}


def _stacked(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Those that look like the first of them together, where that is. What says nothing of how it looks stands
    alone, and so does what only looks like another that does."""
    tops: list[tuple[Likeness, list[Candidate]]] = []
    stacks = []
    for candidate in candidates:
        looks = read_likeness(candidate.likeness) if candidate.likeness else None
        stack = next((there for top, there in tops if looks and looks.is_like(top)), None)
        if stack is not None:
            stack.append(candidate)
            continue
        stacks.append([candidate])
        if looks:
            tops.append((looks, stacks[-1]))
    return stacks


def _counts(session: Session, batch: str | None) -> dict[Show, int]:
    query = select(Candidate.state, func.count()).group_by(Candidate.state)
    if batch is not None:
        query = query.join(Candidate.batch).where(Batch.key == batch)
    by_state = dict(session.execute(query).all())
    return {show: sum(by_state.get(state, 0) for state in _STATES[show]) for show in Show}


def _batch_lines(session: Session) -> tuple[BatchLine, ...]:
    newest_first = (Batch.due_at.desc(), Batch.id.desc())
    begun = select(Batch.id).where(Batch.checkpoint_sha256.is_not(None))
    newest = begun.order_by(*newest_first).limit(NEWEST_BATCHES).subquery()
    is_undecided = Candidate.state.in_(UNDECIDED)
    keys = dict(
        session.execute(
            select(Batch.id, Batch.key)
            .where(
                or_(
                    Batch.id.in_(select(Candidate.batch_id).where(is_undecided)),
                    Batch.id.in_(select(newest.c.id)),
                )
            )
            .order_by(*newest_first)
            .limit(MOST_BATCHES)
        ).all()
    )
    counts = session.execute(
        select(
            Candidate.batch_id,
            func.sum(case((is_undecided, 1), else_=0)),
            func.count(Candidate.path),
        )
        .where(Candidate.batch_id.in_(keys))
        .group_by(Candidate.batch_id)
    )
    by_batch = {number: (undecided, painted) for number, undecided, painted in counts}
    return tuple(BatchLine(key, *by_batch.get(number, (0, 0))) for number, key in keys.items())


def _facts(candidate: Candidate, now: datetime) -> tuple[tuple[str, str], ...]:
    recipe = ", ".join(
        f"{name} {value}" for name, value in candidate.recipe.items() if name != "latent"
    )
    painted = [("painted", local_time(candidate.rendered_at, now))] if candidate.rendered_at else []
    environment = ", ".join(f"{k} {v}" for k, v in (candidate.environment or {}).items())
    return (
        ("seed", str(candidate.seed)),
        ("generator", f"{candidate.checkpoint.name} (sha256 {candidate.checkpoint_sha256[:16]}…)"),
        ("recipe", recipe),
        ("batch", f"{candidate.batch.key}, no. {candidate.index}"),
        ("size", f"{candidate.width} x {candidate.height} px"),
        *painted,
        *([("with", environment)] if environment else []),
        ("sha256", candidate.image_sha256 or ""),
    )


def _relatives(candidates: Sequence[Candidate]) -> tuple[Relative, ...]:
    return tuple(Relative(c.id, c.name, c.state, method_of(c), c.image_sha256) for c in candidates)


def _can_have_children(candidate: Candidate) -> bool:
    """As far as its recipe says; whether its generator can be used now is found when they are planned."""
    from artbot.studio.children import is_of_last_generation

    return not is_of_last_generation(candidate)


def _next_slot(
    session: Session,
    slots: Mapping[str, Timetable],
    channel: str,
    not_before: datetime,
    now: datetime,
) -> str:
    """When a work that may go out from then on would; nothing is taken by asking."""
    zone = slots[channel].zone if channel in slots else None
    try:
        return slot_words(allot(slots, session, channel, not_before), now, zone)
    except NotAllowed:
        return "never: every slot is taken for ten years"


def _trouble(name: str, standing: ChannelStatus | None, now: datetime) -> str | None:
    if standing is None:
        return None
    if standing.state != ChannelState.ACTIVE:
        return f"{standing.state}: {standing.reason} (artbot channels resume {name})"
    if standing.rests_until is not None and standing.rests_until > now:
        return f"it rests until {local_time(standing.rests_until, now)}, after failures"
    return None


_MAY_BE_OUT = (
    "it may have been posted there before an old database was restored: once approved it waits until you "
    "have looked (artbot deliveries resolve)"
)


def _folded(words: str) -> str:
    """But for case and spaces."""
    return " ".join(words.split()).casefold()
