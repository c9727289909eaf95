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
    pipeline.fill(second, b"b")
    assert pipeline.take() is None
    assert pipeline.pending == 2
    assert pipeline.buffered_bytes == 1
    pipeline.fill(first, b"a")
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
    pipeline.fill(0, b"a")
    with pytest.raises(AssertionError, match="left"):
        pipeline.fill(0, b"a")
    pipeline.fill(2, b"c")
    with pytest.raises(AssertionError, match="second"):
        pipeline.fill(2, b"c")
    with pytest.raises(AssertionError, match="nobody"):
        pipeline.fill(3, b"d")


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
        pipeline.fill_run(first, [b"%d," % slot for slot in range(first, first + size)])
        if data.draw(st.booleans()):
            taken += pipeline.take() or b""
    taken += pipeline.take() or b""
    assert taken == b"".join(b"%d," % slot for slot in range(sum(sizes)))
    assert pipeline.pending == 0
