"""Replies leave in the order of their requests."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.resp.pipeline import ReplyPipeline


def test_nothing_is_taken_before_the_first_reply_is_known() -> None:
    """A reply never overtakes."""
    pipeline = ReplyPipeline()
    first, second = pipeline.reserve(), pipeline.reserve()
    pipeline.fill_run(second, [b"b"])
    assert pipeline.take() is None
    assert pipeline.pending == 2
    assert pipeline.buffered_bytes == 1
    pipeline.fill_run(first, [b"a"])
    assert pipeline.pending == 0
    assert pipeline.buffered_bytes == 2
    assert pipeline.take() == b"ab"
    assert pipeline.take() is None
    assert pipeline.buffered_bytes == 0


def test_a_run_is_filled_in_one_piece_or_in_several() -> None:
    """A batch's replies come together, one may come later."""
    pipeline = ReplyPipeline()
    first = pipeline.reserve(4)
    pipeline.fill_run(first + 3, [b"d"])
    pipeline.fill_run(first, [b"a", b"b"])
    assert pipeline.take() == b"ab"
    pipeline.fill_run(first + 2, [b"c"])
    assert pipeline.take() == b"cd"


def test_an_empty_run_changes_nothing() -> None:
    """It must not hide the run that really begins there."""
    pipeline = ReplyPipeline()
    first = pipeline.reserve(2)
    pipeline.fill_run(first + 1, [])
    pipeline.fill_run(first + 1, [b"b"])
    pipeline.fill_run(first, [])
    pipeline.fill_run(first, [b"a"])
    assert pipeline.take() == b"ab"


def test_a_slot_gets_one_reply() -> None:
    """Two would shift every later one."""
    pipeline = ReplyPipeline()
    pipeline.reserve(3)
    pipeline.fill_run(0, [b"a"])
    with pytest.raises(AssertionError, match="left"):
        pipeline.fill_run(0, [b"a"])
    pipeline.fill_run(2, [b"c"])
    with pytest.raises(AssertionError, match="second"):
        pipeline.fill_run(2, [b"c"])
    with pytest.raises(AssertionError, match="nobody"):
        pipeline.fill_run(3, [b"d"])


@given(st.lists(st.integers(1, 4), min_size=1, max_size=30), st.randoms(use_true_random=False), st.data())
def test_whatever_order_replies_come_in_they_leave_in_order(
    sizes: list[int], random: Random, data: st.DataObject
) -> None:
    """Figure of the module: ready, open, waiting."""
    pipeline = ReplyPipeline()
    runs = [(pipeline.reserve(size), size) for size in sizes]
    random.shuffle(runs)
    taken = b""
    for first, size in runs:
        replies = [b"%d," % slot for slot in range(first, first + size)]
        if data.draw(st.booleans()) and pipeline.fill_past(first, size):
            taken += b"".join(replies)
            continue
        pipeline.fill_run(first, replies)
        if data.draw(st.booleans()):
            taken += pipeline.take() or b""
    taken += pipeline.take() or b""
    assert taken == b"".join(b"%d," % slot for slot in range(sum(sizes)))
    assert pipeline.pending == 0


def test_a_caller_sends_replies_past_it_only_if_they_are_all_that_is_owed() -> None:
    """Contract of `fill_past`: others before, behind, or not taken yet; then nothing is changed."""
    pipeline = ReplyPipeline()
    pipeline.reserve(3)
    assert not pipeline.fill_past(1, 2), "one is owed before"
    assert not pipeline.fill_past(0, 2), "one is owed behind"
    pipeline.fill_run(0, [b"a"])
    assert not pipeline.fill_past(1, 2), "one was not taken"
    assert pipeline.take() == b"a"
    assert pipeline.pending == 2
    assert pipeline.fill_past(1, 2)
    assert (pipeline.pending, pipeline.take(), pipeline.reserve()) == (0, None, 3)


def test_slots_are_skipped_only_while_nothing_is_owed() -> None:
    """Contract of `skip`: their replies would overtake."""
    pipeline = ReplyPipeline()
    pipeline.skip(2)
    assert (pipeline.pending, pipeline.next_slot) == (0, 2)
    pipeline.reserve()
    with pytest.raises(AssertionError, match="still to come"):
        pipeline.skip(1)
    pipeline.fill_run(2, [b"c"])
    with pytest.raises(AssertionError, match="another one"):
        pipeline.skip(1)
