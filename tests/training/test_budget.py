import dataclasses

import pytest

from figureground.config import Phase, TrainConfig
from figureground.training.budget import MOST_EPOCHS, Pace, epochs_for

CONFIG = TrainConfig(minutes=10, batch_size=8)


def seconds(config, pace, windows):
    """What a training takes, by its settings."""
    steps = config.epochs * config.epoch_images // config.batch_size
    return steps * pace.step + config.epochs * windows * pace.shown


@pytest.mark.parametrize(
    ("given", "step", "shown", "windows", "epochs"),
    [
        (500, 0.5, 0.01, 40, MOST_EPOCHS),  # 20 seconds of validation in all: little enough
        (500, 0.5, 0.1, 100, 6),  # 10 seconds each: six take an eighth of the time
        (30, 1.0, 0.1, 100, 1),
        (5, 2.0, 0.01, 1, 2),  # no more epochs than steps
    ],
)
def test_as_many_epochs_as_fit(given, step, shown, windows, epochs):
    pace = Pace(step, shown)
    found = epochs_for(CONFIG, given, pace, windows)
    assert found.epochs == epochs
    assert given - found.epochs * step <= seconds(found, pace, windows) + 1e-9 <= given + step
    assert found.epoch_images % CONFIG.batch_size == 0


def test_smaller_images_first_take_less():
    phases = (Phase(0.5, 128),)
    pace = Pace(1.0, 0.001)
    plain, faster = (epochs_for(dataclasses.replace(CONFIG, phases=p), 400, pace, 1) for p in ((), phases))
    assert faster.epoch_images == pytest.approx(plain.epoch_images / 0.625, rel=0.05)  # (1/4 + 1) / 2
