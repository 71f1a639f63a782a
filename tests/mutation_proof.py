"""Does a test notice when a protection is missing? `make mutation-proof`.

Takes one protection at a time out of a copy of the tree and runs the tests that are named beside it: they
must turn red, and must have been green before. A replacement whose text is no longer found is an error:
then this list has to be brought up to date, or the protection is gone already.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
WANTED = ("artbot", "db", "trainers", "tests", "deploy", "docs", "pyproject.toml", "README.md")
FAULTS = "tests/faults"
UNIT = "tests/unit/service"
CONTRACT = "tests/contract"


@dataclass(frozen=True)
class Mutation:
    """One protection, how it is taken away, and who must notice."""

    protection: str
    path: str
    text: str
    instead: str
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "the lock: one worker per host",
        "artbot/worker.py",
        "            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n            return True",
        "            return True",
        (f"{UNIT}/test_worker.py::test_a_second_worker_is_refused_and_told_who_the_first_one_is",),
    ),
    Mutation(
        "fencing: an old worker's writes are refused",
        "db/engine.py",
        "if current != self.epoch:",
        "if False:",
        (
            f"{UNIT}/test_worker.py::test_what_a_worker_writes_after_another_took_over_is_not_kept",
            f"{UNIT}/test_worker.py::"
            "test_a_worker_fenced_while_sending_records_nothing_and_its_successor_repeats_under_the_key",
        ),
    ),
    Mutation(
        "the epoch rises with every worker",
        "artbot/worker.py",
        "        row.epoch += 1\n",
        "",
        (f"{UNIT}/test_worker.py::test_every_worker_has_an_epoch_of_its_own_and_says_who_it_is",),
    ),
    Mutation(
        "fsync of a picture",
        "artbot/studio/render_child.py",
        "        os.fsync(file.fileno())\n",
        "",
        (f"{FAULTS}/test_power_cut.py::test_a_real_batch_survives_a_power_cut",),
    ),
    Mutation(
        "fsync of the folder a picture is moved into",
        "artbot/files.py",
        "    temporary.replace(path)\n    fsync_folder(path.parent)\n",
        "    temporary.replace(path)\n",
        (f"{FAULTS}/test_power_cut.py::test_what_is_said_to_be_kept_survives_a_power_cut[batch]",),
    ),
    Mutation(
        "fsync of the mark",
        "artbot/mark.py",
        "        os.fsync(file.fileno())\n",
        "",
        (
            f"{FAULTS}/test_power_cut.py::test_what_is_said_to_be_kept_survives_a_power_cut[deliver]",
        ),
    ),
    Mutation(
        "fsync of a backup",
        "artbot/upkeep/backup.py",
        '            with open(building, "rb") as file:\n                os.fsync(file.fileno())\n'
        "            building.rename(path)\n",
        "            building.rename(path)\n",
        (f"{FAULTS}/test_power_cut.py::test_what_is_said_to_be_kept_survives_a_power_cut[backup]",),
    ),
    Mutation(
        "fsync of the folder a backup is put into",
        "artbot/upkeep/backup.py",
        "            fsync_folder(backups)\n",
        "",
        (f"{FAULTS}/test_power_cut.py::test_what_is_said_to_be_kept_survives_a_power_cut[backup]",),
    ),
    Mutation(
        "a commit's journal is gone for good",
        "db/engine.py",
        '"synchronous=EXTRA"',
        '"synchronous=FULL"',
        (
            f"{FAULTS}/test_power_cut.py::test_what_is_said_to_be_kept_survives_a_power_cut[approve]",
            f"{UNIT}/test_db.py::test_every_connection_is_prepared",
        ),
    ),
    Mutation(
        "the unique key of batches",
        "db/migrations/versions/0001_first_tables.py",
        '        sa.UniqueConstraint("key", name=op.f("uq_batches_key")),\n'
        "        sa.UniqueConstraint(\n"
        '            "schedule",\n            "local_date",\n            "number",\n'
        '            name=op.f("uq_batches_schedule_local_date_number"),\n        ),\n',
        "",
        (f"{UNIT}/test_db.py::test_a_schedule_has_one_batch_of_its_own_per_day",),
    ),
    Mutation(
        "a journal of another file is moved away before a restore",
        "artbot/upkeep/backup.py",
        '("-journal", "-wal", "-shm")',
        "()",
        (
            f"{UNIT}/test_backup.py::"
            "test_a_journal_of_the_file_that_is_gone_is_not_played_into_the_restored_one",
        ),
    ),
    Mutation(
        "the unique key of a work and a channel",
        "db/migrations/versions/0001_first_tables.py",
        "        sa.UniqueConstraint(\n"
        '            "candidate_id", "channel", name=op.f("uq_deliveries_candidate_id_channel")\n'
        "        ),\n",
        "",
        (f"{UNIT}/test_db.py::test_a_work_has_one_delivery_per_channel_and_each_its_key",),
    ),
    Mutation(
        "the unique key that receivers know a delivery by",
        "db/migrations/versions/0001_first_tables.py",
        '        sa.UniqueConstraint("delivery_key", name=op.f("uq_deliveries_delivery_key")),\n',
        "",
        (f"{UNIT}/test_db.py::test_a_work_has_one_delivery_per_channel_and_each_its_key",),
    ),
    Mutation(
        "the attempt is committed before the socket opens",
        "artbot/publishing/outbox.py",
        "    claim = _claim(outbox, delivery, post.sha256)\n",
        "    early = Parcel(delivery.delivery_key, work, post)\n"
        "    outlet.open().commit(early, outbox.clock())\n"
        "    claim = _claim(outbox, delivery, post.sha256)\n",
        (
            f"{UNIT}/test_outbox.py::"
            "test_the_attempt_is_in_the_database_before_the_request_reaches_the_receiver",
            f"{FAULTS}/test_failpoints.py::"
            "test_killed_at_a_failpoint_all_is_whole_and_the_next_run_makes_it_good[delivery.sent-sqlite]",
        ),
    ),
    Mutation(
        "the trigger that refuses illegal moves",
        "db/migrations/versions/0002_what_the_database_refuses.py",
        '        create(table, "move", "UPDATE", moved, message)\n',
        "",
        (
            f"{UNIT}/test_machine.py::"
            "test_a_statement_typed_by_hand_makes_the_moves_of_the_machine_and_no_other",
        ),
    ),
    Mutation(
        "the mark: an old database is noticed",
        "artbot/mark.py",
        "        return self.epoch < than.epoch or self.attempt != than.attempt\n",
        "        return False\n",
        (f"{FAULTS}/test_matrix.py::test_a_database_put_back_by_hand_posts_nothing_twice",),
    ),
    Mutation(
        "the claim compares before it swaps",
        "artbot/publishing/outbox.py",
        "                Delivery.state == read.state,\n"
        "                Delivery.num_attempts == read.num_attempts,\n"
        "                # Taken back and approved again, perhaps with other words, it looks as before but for this.\n"
        "                Delivery.next_at == read.next_at,\n",
        "",
        (
            f"{UNIT}/test_outbox.py::test_a_work_taken_back_in_the_last_moment_is_not_sent",
            f"{UNIT}/test_outbox.py::"
            "test_a_work_taken_back_and_approved_with_other_words_goes_out_with_those",
        ),
    ),
    Mutation(
        "an unknown outcome is not repeated blindly",
        "artbot/publishing/outbox.py",
        "    return not may_be_out or protection.looks or _is_recognised(may_be_out, protection, at)\n",
        "    return True\n",
        (
            f"{UNIT}/test_outbox.py::test_what_it_may_have_posted_is_never_sent_again_by_itself",
            f"{FAULTS}/test_failpoints.py::"
            "test_a_recovery_that_is_itself_killed_twenty_times_comes_to_the_same[sqlite-deliver-unrecognised]",
        ),
    ),
    Mutation(
        "that the public act begins is committed before it does",
        "artbot/publishing/outbox.py",
        "        _ours(session, attempt_id).committing_at = now\n",
        "        _ours(session, attempt_id)\n",
        (
            f"{UNIT}/test_outbox_steps.py::"
            "test_killed_while_committing_a_person_is_asked_where_nobody_can_look",
        ),
    ),
    Mutation(
        "what is not there is not sent again while an earlier attempt may come late",
        "artbot/publishing/outbox.py",
        "    if wait > timedelta() and not claim.is_recognised:\n",
        "    if False:\n",
        (
            f"{UNIT}/test_outbox_steps.py::"
            "test_what_is_not_there_is_shown_again_only_when_no_earlier_attempt_can_come_late",
        ),
    ),
    Mutation(
        "handles: what the receiver calls things is committed before the public act",
        "artbot/publishing/outbox.py",
        "        attempt.delivery.handles = {**handles, _OF: post_sha256}\n",
        "        assert attempt\n",
        (
            f"{UNIT}/test_outbox_steps.py::test_killed_while_preparing_it_showed_nothing_either",
            f"{UNIT}/test_outbox_steps.py::"
            "test_where_the_channel_can_look_it_looks_and_finds_what_was_shown",
        ),
    ),
    Mutation(
        "handles: what was prepared for other words is not used",
        "artbot/publishing/outbox.py",
        "kept if may_be_out or kept.get(_OF) == post_sha256 else {}",
        "kept",
        (f"{UNIT}/test_outbox_steps.py::test_what_was_prepared_for_other_words_is_not_used",),
    ),
    Mutation(
        "channel bluesky: a key that follows from the work",
        "artbot/publishing/channels/bluesky.py",
        "            rkey=record_key(parcel.delivery_key, parcel.work.local_date),\n",
        "            rkey=record_key(now.isoformat(), parcel.work.local_date),\n",
        (
            f"{CONTRACT}/test_bluesky.py::"
            "test_a_post_is_written_under_the_works_own_key_and_only_where_nothing_lies",
        ),
    ),
    Mutation(
        "channel bluesky: nothing is written over",
        "artbot/publishing/channels/bluesky.py",
        '            "swapRecord": None,\n',
        "",
        (
            f"{CONTRACT}/test_bluesky.py::"
            "test_a_post_is_written_under_the_works_own_key_and_only_where_nothing_lies",
        ),
    ),
    Mutation(
        "channel mastodon: the account's statuses are looked through",
        "artbot/publishing/channels/mastodon.py",
        "                if status.shows & uploaded:\n",
        "                if False:\n",
        (
            f"{CONTRACT}/test_mastodon.py::TestAttached::"
            "test_refused_because_it_is_attached_means_look",
            f"{CONTRACT}/test_mastodon.py::TestAttached::"
            "test_it_is_not_uploaded_again_when_it_turns_out_to_be_posted",
        ),
    ),
    Mutation(
        "channel gallery: what comes too late is not hung",
        "artbot/publishing/channels/gallery.py",
        "record.to_json(), parcel.is_too_late)",
        "record.to_json())",
        (f"{CONTRACT}/test_gallery.py::test_what_comes_too_late_is_not_hung",),
    ),
    Mutation(
        "channel gallery: another workplace's work is not written over",
        "artbot/publishing/gallery/records.py",
        "    if standing.painted_sha256 != record.painted_sha256:\n",
        "    if False:\n",
        (f"{CONTRACT}/test_gallery.py::test_two_workplaces_do_not_write_over_each_other",),
    ),
    Mutation(
        "channel tumblr: a draft that nobody heard of is looked for",
        "artbot/publishing/channels/tumblr.py",
        '            if draft.get("slug") == _slug(parcel):\n',
        "            if False:\n",
        (f"{CONTRACT}/test_tumblr.py::test_a_draft_whose_answer_was_lost_is_taken_up_again",),
    ),
    Mutation(
        "channel instagram: a container that is published is not published again",
        "artbot/publishing/channels/instagram.py",
        '        if status == "PUBLISHED":\n            self._shown',
        "        if False:\n            self._shown",
        (
            f"{CONTRACT}/test_instagram.py::"
            "test_a_container_that_is_published_is_not_published_again",
        ),
    ),
    Mutation(
        "who decides about a picture is told if it is not what they saw any more",
        "artbot/review/decisions.py",
        "    if candidate.row_version != seen.row_version and candidate.decisions:\n",
        "    if False:\n",
        (
            f"{UNIT}/test_review.py::test_who_was_overtaken_is_told_by_whom_and_nothing_is_overwritten",
            f"{UNIT}/test_review.py::"
            "test_of_two_faces_that_show_the_same_exactly_one_decides_and_the_other_is_told",
        ),
    ),
    Mutation(
        "a redo only while nothing else was decided",
        "artbot/review/decisions.py",
        "    if since is None:\n        return last\n",
        "    return last\n",
        (f"{UNIT}/test_review.py::test_after_something_else_was_decided_there_is_nothing_to_redo",),
    ),
)


def main() -> int:
    """0 if every missing protection was noticed."""
    wanted = sys.argv[1:]
    chosen = [m for m in MUTATIONS if not wanted or any(w in m.protection for w in wanted)]
    with tempfile.TemporaryDirectory(prefix="artbot-mutation-") as folder:
        tree = Path(folder)
        for name in WANTED:
            source = CHECKOUT / name
            if source.is_dir():
                shutil.copytree(
                    source, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
                )
            else:
                shutil.copy(source, tree / name)
        every = sorted({test for mutation in chosen for test in mutation.tests})
        print(f"the {len(every)} tests as they are …", flush=True)
        red = failing(tree, every)
        for test in sorted(red):
            print(f"  red already: {test}")
        unnoticed = len(red)
        for mutation in chosen:
            began = time.monotonic()
            found = prove(tree, mutation)
            told = [t for t in mutation.tests if t in found]
            unnoticed += len(told) < len(mutation.tests)
            verdict = "noticed" if len(told) == len(mutation.tests) else "NOT NOTICED"
            print(
                f"{verdict:12} {mutation.protection:52} {len(told)} of {len(mutation.tests)} tests red, "
                f"{time.monotonic() - began:.0f} s",
                flush=True,
            )
    return 1 if unnoticed else 0


def prove(tree: Path, mutation: Mutation) -> set[str]:
    """The named tests that are red without the protection."""
    path = tree / mutation.path
    before = path.read_text("utf-8")
    assert before.count(mutation.text) == 1, (
        f"{mutation.protection}: its text stands {before.count(mutation.text)} times in {mutation.path}"
    )
    path.write_text(before.replace(mutation.text, mutation.instead), "utf-8")
    try:
        return failing(tree, mutation.tests)
    finally:
        path.write_text(before, "utf-8")


def failing(tree: Path, tests: list[str] | tuple[str, ...]) -> set[str]:
    """Which of the tests are red in the tree; one that is several by its parameters, if one of them is."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=no", "-rfE"),
            *("-p", "no:cacheprovider", "-W", "ignore", "-k", "not postgresql", *tests),
        ],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    lines = [
        line.split(" ")[1] for line in run.stdout.splitlines() if line[:6] in ("FAILED", "ERROR ")
    ]
    return {test for test in tests for line in lines if line.startswith(test)}


if __name__ == "__main__":
    raise SystemExit(main())
