"""Training knows no task: any module with figures, batches and a folder will do."""

import signal
from dataclasses import replace

import lightning
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from figureground.errors import FiguregroundError
from figureground.training.callbacks import Finite
from figureground.training.figures import mean
from figureground.training.fit import fit
from figureground.training.history import Monitored
from figureground.training.loaders import ResumableLoader, Shuffled
from figureground.training.trainer import make_trainer, without_advice

X = torch.linspace(-1, 1, 24)[:, None]


class Line(lightning.LightningModule):
    """Learns a slope of 3, which is neither an image nor scored by a Dice."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Linear(1, 1)
        self.figures = nn.ModuleDict({"train_loss": mean(), "valid_error": mean()})

    def training_step(self, batch, batch_index):
        noise = torch.randn_like(batch)  # of the generator that a resumption continues
        loss = (self.slope(batch) - 3 * batch + 0.1 * noise).square().mean()
        self.figures["train_loss"].update(loss.detach(), len(batch))
        return loss

    def validation_step(self, batch, batch_index):
        self.figures["valid_error"].update((self.slope(batch) - 3 * batch).abs())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Points(torch.utils.data.Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, key):
        return X[key[2]]


def fitted(folder, config, checkpoint=None):
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    module, kept = Line(), []
    batches = ResumableLoader(Points(), Shuffled(len(X), 0), torch.stack, batch_size=4), DataLoader(X, batch_size=8)
    run = fit(
        module, batches, folder, config, monitored=Monitored("valid_error", "min"), keep=kept.append, facts={},
        checkpoint=checkpoint,
    )  # fmt: skip
    return run, kept, module


def test_any_module_is_trained_by_its_own_figures(tmp_path, tiny):
    run, kept, module = fitted(tmp_path / "line", replace(tiny, epochs=4))
    assert list(run.rows[0]) == ["epoch", "train_loss", "valid_error", "learning_rate", "seconds"]
    errors = [row["valid_error"] for row in run.rows]
    assert errors[-1] < errors[0] / 2
    assert run.best["valid_error"] == min(errors)
    assert [row["epoch"] for row in kept] == [n for n in (1, 2, 3, 4) if errors[n - 1] == min(errors[:n])]
    weight, bias = module.slope.weight.item(), module.slope.bias.item()
    assert errors[-1] == pytest.approx(((weight - 3) * X + bias).abs().mean().item(), abs=1e-6)
    assert {path.name.split(".")[0] for path in run.folder.iterdir()} >= {"metrics", "history", "last", "events"}


@pytest.mark.parametrize("stop_after", [2, 6, 9])  # of six batches an epoch
def test_it_is_resumed_exactly(tmp_path, tiny, interrupt, stop_after):
    config = replace(tiny, epochs=3)
    whole, _, expected = fitted(tmp_path / "whole", config)
    interrupt(stop_after, Line)
    assert fitted(tmp_path / "parts", config)[0].interrupted
    run, _, module = fitted(tmp_path / "parts", config, tmp_path / "parts" / "last.ckpt")
    for row, other in zip(run.rows, whole.rows, strict=True):
        assert {**row, "seconds": 0} == {**other, "seconds": 0}
    assert torch.equal(module.slope.weight, expected.slope.weight)


@pytest.mark.parametrize("steps", [1, 4, 100])  # between two looks at the losses, of six an epoch
def test_a_loss_that_is_no_number_is_named_by_its_batch_whenever_it_is_seen(tiny, steps, monkeypatch):
    original = Line.training_step

    def diverging(self, batch, batch_index):
        return original(self, batch, batch_index) * (float("nan") if batch_index >= 2 else 1)

    monkeypatch.setattr(Line, "training_step", diverging)
    trainer = make_trainer(tiny, False, [Finite(steps)], epochs=3)
    loader = DataLoader(X, batch_size=4)
    with (
        pytest.raises(FiguregroundError, match=r"the loss is nan in epoch 1, batch 3.*\(now 0.1\)"),
        without_advice(),
    ):
        trainer.fit(Line(), loader, loader)


def test_what_diverged_is_not_saved_when_it_is_interrupted(tmp_path, tiny, monkeypatch):
    def diverging(self, batch, batch_index):
        signal.raise_signal(signal.SIGINT)
        return self.slope(batch).mean() * float("inf")

    monkeypatch.setattr(Line, "training_step", diverging)
    with pytest.raises(FiguregroundError, match="batch 1: training has diverged"):
        fitted(tmp_path / "line", tiny)
    assert not (tmp_path / "line" / "last.ckpt").exists()
