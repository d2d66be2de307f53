"""Threads beside the main one: order, errors, and an end whatever happens."""

import threading

import pytest

from ntvep.prefetch import ahead, behind


def test_items_come_in_order():
    with ahead(range(100)) as items:
        assert list(items) == list(range(100))


def test_the_next_item_is_made_while_the_last_is_used():
    made = threading.Event()

    def items():
        yield 1
        made.set()
        yield 2

    with ahead(items()) as ready:
        assert next(ready) == 1
        assert made.wait(10)


def test_an_error_in_the_making_comes_where_its_item_would():
    def items():
        yield 1
        raise ValueError("no second")

    with pytest.raises(ValueError, match="no second"), ahead(items()) as ready:
        assert next(ready) == 1
        next(ready)


def test_items_that_nobody_takes_are_no_hindrance():
    with pytest.raises(KeyError), ahead(range(1000)) as items:
        next(items)
        raise KeyError
    assert not [thread for thread in threading.enumerate() if thread.name == "ntvep-ahead"]


def test_every_item_is_used_in_order_before_the_end():
    used = []
    with behind(used.append) as take:
        for item in range(100):
            take(item)
    assert used == list(range(100))


def test_what_was_taken_is_used_though_the_body_fails():
    """Scores that have been computed reach the cache when a run is interrupted."""
    used = []
    with pytest.raises(KeyError), behind(used.append) as take:
        take(1)
        raise KeyError
    assert used == [1]


def test_an_error_in_a_use_is_raised_and_ends_the_work():
    used = []

    def use(item):
        if item == 3:
            raise ValueError("not three")
        used.append(item)

    with pytest.raises(ValueError, match="not three"), behind(use) as take:
        for item in range(100):
            take(item)
    assert used == [0, 1, 2]
    with pytest.raises(ValueError, match="not three"), behind(use) as take:
        take(3)
