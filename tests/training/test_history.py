import csv

import pytest

from figureground.training.history import Monitored, best_of, line_of, write_csv


def row(epoch, **figures):
    return {"epoch": epoch, "train_loss": 1.0, **figures, "learning_rate": 0.1, "seconds": 1.25}


@pytest.mark.parametrize(
    ("values", "direction", "epoch"),
    [([0.5, 0.7, 0.7], "max", 2), ([0.5, 0.3, 0.3], "min", 2), ([0.2], "min", 1), ([1, 2, 3], "max", 3)],
)
def test_the_first_of_equal_epochs_is_the_best(values, direction, epoch):
    rows = [row(number + 1, valid_x=value) for number, value in enumerate(values)]
    assert best_of(rows, Monitored("valid_x", direction))["epoch"] == epoch


def test_of_no_epochs_none_is_the_best():
    assert best_of([], Monitored()) is None


def test_a_line_shows_losses_and_what_is_monitored():
    found = line_of(row(3, valid_loss=0.5, valid_dice=0.75, valid_figure=0.2), 12, Monitored(), True)
    assert found == "epoch  3/12  train loss 1.0000  valid loss 0.5000  valid Dice 0.7500  1.2 s  best so far"


def test_the_table_has_a_column_for_each_figure(tmp_path):
    write_csv(tmp_path / "metrics.csv", [row(1, valid_error=3.0), row(2, valid_error=2.0)])
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "train_loss", "valid_error", "learning_rate", "seconds"]
    assert [each["valid_error"] for each in rows] == ["3.0", "2.0"]
