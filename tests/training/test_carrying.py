import pickle

import pytest
from torch.utils.data import Dataset

from figureground.errors import FiguregroundError, UsageError
from figureground.training.carrying import CarryingLoader


class Numbers(Dataset):
    def __init__(self, errors):
        self._errors = errors

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if index in self._errors:
            raise self._errors[index]
        return index


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("error", [UsageError("what: it was"), FiguregroundError("line one\nUsageError: two")])
def test_errors_for_the_user_arrive_as_they_were_raised(workers, error):
    arrived = []
    with pytest.raises(FiguregroundError) as caught:
        arrived.extend(CarryingLoader(Numbers({3: error}), list, batch_size=2, num_workers=workers))
    assert (type(caught.value), str(caught.value)) == (type(error), str(error))
    assert arrived == [[0, 1]]


def test_other_errors_keep_the_traceback_of_their_worker():
    with pytest.raises(ValueError, match=r"(?s)Caught ValueError in DataLoader worker.*__getitem__.*a mistake of ours"):
        list(CarryingLoader(Numbers({0: ValueError("a mistake of ours")}), list, num_workers=1))


def test_without_errors_batches_are_those_of_torch():
    loader = pickle.loads(pickle.dumps(CarryingLoader(Numbers({}), list, batch_size=4)))  # as to a spawned process
    assert list(loader) == [[0, 1, 2, 3], [4, 5]]
