import dataclasses

import pytest

from figureground.config import Phase, TrainConfig
from figureground.runs import read_config
from figureground.training import budget, train
from figureground.training.budget import MOST_EPOCHS, Pace, epochs_for
from figureground.training.supervised import SegmentationModule

CONFIG = TrainConfig(minutes=10, batch_size=8)


def seconds(config, pace, windows):
    """What a training takes, by its settings."""
    steps = config.epochs * config.epoch_images // config.batch_size
    step = sum(pace.steps[config.size_at(epoch)] for epoch in range(config.epochs)) / config.epochs
    return steps * step + config.epochs * windows * pace.shown


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
    pace = Pace({(256, 256): step}, shown, shown)
    found = epochs_for(CONFIG, given, pace, windows)
    assert found.epochs == epochs
    assert given - found.epochs * step <= seconds(found, pace, windows) + 1e-9 <= given + step
    assert found.epoch_images % CONFIG.batch_size == 0


def test_smaller_images_first_take_less():
    phases = (Phase(0.5, 128),)
    pace = Pace({(256, 256): 1.0, (128, 128): 0.25}, 0.001, 0.001)
    plain, faster = (epochs_for(dataclasses.replace(CONFIG, phases=p), 400, pace, 1) for p in ((), phases))
    assert faster.epoch_images == pytest.approx(plain.epoch_images / 0.625, rel=0.05)  # (1/4 + 1) / 2


@pytest.mark.parametrize(("slower", "epochs"), [(1.0, 8), (2.0, 4), (0.5, 16)])
def test_epochs_are_others_where_steps_are_slower_than_measured(tmp_path, tiny, monkeypatch, caplog, slower, epochs):
    """A second an epoch was measured, and eight of them were planned; ``slower`` is what one takes."""
    clock = [0.0]

    def step(self, batch, number):
        clock[0] += slower / 4
        return training_step(self, batch, number)

    training_step = SegmentationModule.training_step
    monkeypatch.setattr(SegmentationModule, "training_step", step)
    monkeypatch.setattr(budget.time, "monotonic", lambda: clock[0])
    planned = dataclasses.replace(tiny, epochs=8, epoch_images=32, batch_size=8)
    deadline = budget.Deadline(8.0, 0.4, Pace({(32, 32): 0.25}, 0.0, 0.0), 4)
    monkeypatch.setattr("figureground.training.run.within_minutes", lambda *given: (planned, deadline))
    run = train(dataclasses.replace(planned, minutes=1.0), tmp_path / "a")
    assert len(run.rows) == read_config(run.folder).epochs == epochs
    assert clock[0] == pytest.approx(8, abs=0.5)
