"""The order of the pictures: every one once, in an order nobody can guess, and repeatable."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.data.order import PictureOrder


@given(
    num_pictures=st.integers(1, 60),
    batches=st.lists(st.integers(1, 70), min_size=1, max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_every_picture_comes_once_per_pass_whatever_the_batches(
    num_pictures: int, batches: list[int]
) -> None:
    order = PictureOrder(num_pictures, seed=3)
    drawn = torch.cat([order.next(batch) for batch in batches])
    assert len(drawn) == sum(batches)
    assert drawn.dtype == torch.int64
    for begin in range(0, len(drawn) - num_pictures + 1, num_pictures):
        one_pass = drawn[begin : begin + num_pictures]
        assert sorted(one_pass.tolist()) == list(range(num_pictures))


@given(num_pictures=st.integers(1, 60), before=st.integers(1, 150), after=st.integers(1, 150))
@settings(max_examples=60, deadline=None)
def test_a_saved_order_goes_on_where_it_stopped(num_pictures: int, before: int, after: int) -> None:
    order = PictureOrder(num_pictures, seed=3)
    order.next(before)
    resumed = PictureOrder(num_pictures, seed=99)
    resumed.restore(order.state())
    assert torch.equal(resumed.next(after), order.next(after))


def test_a_batch_may_be_larger_than_the_whole_set() -> None:
    counts = PictureOrder(5, seed=0).next(12).bincount(minlength=5)
    assert sorted(counts.tolist()) == [2, 2, 2, 3, 3]


def test_each_pass_has_an_order_of_its_own() -> None:
    order = PictureOrder(50, seed=0)
    assert not torch.equal(order.next(50), order.next(50))


def test_the_seed_decides_the_order() -> None:
    assert torch.equal(PictureOrder(50, seed=1).next(80), PictureOrder(50, seed=1).next(80))
    assert not torch.equal(PictureOrder(50, seed=1).next(50), PictureOrder(50, seed=2).next(50))


def test_over_another_number_of_pictures_a_saved_order_begins_a_new_pass() -> None:
    order = PictureOrder(20, seed=0)
    order.next(13)
    grown = PictureOrder(25, seed=0)
    grown.restore(order.state())
    one_pass = grown.next(25)
    assert sorted(one_pass.tolist()) == list(range(25))
    assert not torch.equal(one_pass, PictureOrder(25, seed=0).next(25)), "no order is repeated"
