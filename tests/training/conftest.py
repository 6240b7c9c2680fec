"""Small settings and their runs, each trained once for all tests; a test that changes a run copies its folder."""

import csv
import signal
from dataclasses import replace

import pytest
from torch import nn

from figureground.config import DataConfig, ModelConfig, TrainConfig
from figureground.models import MODELS
from figureground.preprocessing import Preprocessing
from figureground.training import train
from figureground.training.supervised import SegmentationModule

TINY = TrainConfig(
    data=DataConfig("synthetic:n=40,size=32", cache="off"),  # 32 to train on, 4 to validate
    model=ModelConfig("unet", arguments={"base_width": 4}),
    preprocessing=Preprocessing((32, 32)).settled(),
    epochs=2,
    batch_size=4,
    learning_rate=1e-3,
    precision="float32",
)


@pytest.fixture(scope="session")
def tiny():
    """Two epochs of eight batches."""
    return TINY


@pytest.fixture(scope="session")
def strong():
    """The same with all that has a state: schedule, moving average, augmentation."""
    return replace(
        TINY, optimizer="adamw", schedule="one_cycle", loss="bce_dice", augmentation="strong", ema_decay=0.9, clip=1.0
    )


class Dropping(nn.Module):
    """Forgets half of its channels in training, with random numbers of torch."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout2d(0.5))
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, images):
        return {"figure": self.head(self.encoder(images))}


@pytest.fixture
def dropping(monkeypatch, tiny):
    """To train such a network."""
    monkeypatch.setitem(MODELS, "dropping", Dropping)
    return replace(tiny, model=ModelConfig("dropping"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The run of a configuration, made once; to be left as it is."""
    runs = {}

    def make(config):
        if repr(config) not in runs:
            runs[repr(config)] = train(config, tmp_path_factory.mktemp("trained") / "run")
        return runs[repr(config)]

    return make


@pytest.fixture
def interrupt(monkeypatch):
    """Ctrl-C in that training step, counted from 1 over all epochs."""

    def arm(step, module=SegmentationModule):
        steps = 0
        original = module.training_step

        def interrupting(self, batch, batch_index):
            nonlocal steps
            steps += 1
            if steps == step:
                signal.raise_signal(signal.SIGINT)
            return original(self, batch, batch_index)

        monkeypatch.setattr(module, "training_step", interrupting)

    return arm


@pytest.fixture(scope="session")
def rows_of():
    """The rows of a run's metrics.csv without the seconds, which differ."""

    def read(folder):
        with (folder / "metrics.csv").open() as file:
            return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]

    return read
