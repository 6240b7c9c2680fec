import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from figureground.errors import FiguregroundError
from figureground.prediction.ahead import Ahead, Budget, batched


@pytest.mark.parametrize(
    ("pixels", "budget", "at_the_start", "meanwhile"),
    [  # how many are under way before the first is asked for, and with it while it is used
        ([1] * 9, Budget(3, 100), 3, 3),
        ([1] * 9, Budget(100, 4), 4, 4),
        ([9] * 9, Budget(100, 4), 1, 1),
        ([9] * 9, Budget(100, 4, least=2), 2, 2),
        ([3, 3, 1, 1, 1, 1, 1, 1, 1], Budget(100, 4), 1, 1),
        ([0] * 9, Budget(100, 4), 9, 9),
    ],
)
def test_as_many_are_made_as_the_budget_allows(pixels, budget, at_the_start, meanwhile):
    made = []
    with ThreadPoolExecutor(1) as pool:
        ahead = Ahead(pool, ((partial(made.append, number), size) for number, size in enumerate(pixels)), budget)
        pool.submit(int).result()  # one thread: all before are made
        assert len(made) == at_the_start
        results = iter(ahead)
        next(results)
        pool.submit(int).result()
        assert len(made) == meanwhile
        assert len(list(results)) == len(pixels) - 1
    assert made == list(range(len(pixels)))


def test_results_come_in_order_and_an_error_in_its_place():
    first = threading.Event()

    def slow():
        first.wait(10)
        return "slow"

    def fast():
        first.set()
        return "fast"

    with ThreadPoolExecutor(2) as pool:
        results = iter(Ahead(pool, [(slow, 1), (fast, 1), (partial(int, "x"), 1)], Budget(9, 9)))
        assert [next(results), next(results)] == ["slow", "fast"]
        with pytest.raises(ValueError, match="invalid literal"):
            next(results)


@pytest.mark.parametrize(
    ("items", "budget", "batches"),
    [
        ([], Budget(2, 9), []),
        ([1, 1, 1], Budget(2, 9), [[1, 1], [1]]),
        ([5, 5, 5, 1], Budget(9, 9), [[5, 5], [5, 1]]),
        ([20, 1, 20], Budget(9, 9), [[20], [1, 20]]),
    ],
)
def test_batches(items, budget, batches):
    assert list(batched(items, int, budget)) == batches


def test_what_came_before_an_error_is_a_batch():
    def items():
        yield 1
        raise FiguregroundError("broken")

    batches = batched(items(), int, Budget(9, 9))
    assert next(batches) == [1]
    with pytest.raises(FiguregroundError, match="broken"):
        next(batches)
