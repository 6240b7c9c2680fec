"""Schedule, encoder and figures of a training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from figureground.bundle import read_info, read_tensors, write_bundle
from figureground.config import InitialWeights, Phase
from figureground.data import open_dataset
from figureground.data.dataset import Sample, targets_of
from figureground.errors import UsageError
from figureground.metrics import dice
from figureground.preprocessing import Preprocessing
from figureground.training import resume, train
from figureground.training.callbacks import moving_average
from figureground.training.figures import ImageDice
from figureground.training.loaders import loaders
from figureground.training.run import figure_share
from figureground.training.supervised import SegmentationModule


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.25, 0.5])
def test_schedules_of_few_steps(tiny, schedule, warmup):
    """A warm-up that ends with the first step, such as a quarter of four, has no length."""
    config = replace(tiny, schedule=schedule, warmup=warmup, learning_rate=0.1)
    for steps in range(1, 13):
        settings = SegmentationModule(config, steps).configure_optimizers()
        rates = []
        for _ in range(steps):
            rates.append(settings["optimizer"].param_groups[0]["lr"])
            settings["optimizer"].step()
            if len(rates) < steps:
                settings["lr_scheduler"]["scheduler"].step()
        assert all(0 < rate <= 0.1 for rate in rates[:-1]), (steps, rates)


def test_smaller_images_first(tiny):
    config = replace(tiny, epochs=3, preprocessing=Preprocessing((64, 64)), phases=(Phase(0.34, 32), Phase(0.67, 48)))
    data = open_dataset("synthetic:n=40,size=64", "train")
    loader, valid = loaders(config, data, data, on_gpu=False)
    sizes = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        sizes.append(next(iter(loader))["image"].shape[-1])
    assert (sizes, next(iter(valid))["image"].shape[-1]) == ([32, 48, 64], 64)


def test_the_moving_average_by_hand():
    """Of a network of weights 1 (and 5 steps seen), beside an average of weights 0 (and 3)."""

    def averaged_once(updates):
        now = torch.nn.BatchNorm2d(2)
        average = AveragedModel(now, multi_avg_fn=moving_average(0.9), use_buffers=True)
        for network, weight, seen in ((average.module, 0, 3), (now, 1, 5)):
            torch.nn.init.constant_(network.weight, weight)
            network.num_batches_tracked.fill_(seen)
        average.n_averaged.fill_(updates)
        average.update_parameters(now)
        return average.module.weight.tolist(), average.module.num_batches_tracked.item()

    early, late = 1 - 2 / 11, 1 - 0.9  # (1 + n) / (10 + n) of the average is kept, 0.9 at the most
    assert averaged_once(1) == (pytest.approx([early, early]), 5)
    assert averaged_once(1000) == (pytest.approx([late, late]), 5)


def test_the_dice_of_an_epoch_is_that_of_the_metrics():
    """Of images that are shown in several windows, which need not come together."""
    counts = np.random.default_rng(0).integers(0, 3, (3, 50))
    numbers = np.random.default_rng(1).integers(0, 7, 50)
    counts[:, numbers == 2] = 0  # of an image without a figure
    metric = ImageDice()
    for start in (0, 20, 41):
        stop = {0: 20, 20: 41, 41: 50}[start]
        metric.update(torch.from_numpy(numbers[start:stop]), *torch.from_numpy(counts[:, start:stop]))
    by_image = [dice(*counts[:, numbers == number].sum(1)) for number in range(7)]
    assert float(metric.compute()) == pytest.approx(np.mean(by_image), abs=1e-12)
    metric.reset()
    metric.update(torch.tensor([5]), *torch.tensor([[1], [1], [0]]))
    assert float(metric.compute()) == pytest.approx(2 / 3)


def encoder_of(run):
    return {name: tensor for name, tensor in read_tensors(run.model).items() if name.startswith("encoder.")}


@pytest.mark.parametrize("stop_after", [None, 3, 11])
def test_a_frozen_encoder_stands_still_for_its_epochs(tmp_path, dropping, interrupt, stop_after):
    """Its weights, and what its batch norms have seen; also where the run was interrupted meanwhile."""
    first = train(replace(dropping, epochs=1), tmp_path / "first")
    weights = InitialWeights(str(first.folder))
    frozen = train(replace(dropping, epochs=1, initial_weights=weights, freeze_epochs=1), tmp_path / "frozen")
    before = encoder_of(first)
    assert all(np.array_equal(tensor, before[name]) for name, tensor in encoder_of(frozen).items())
    assert not np.array_equal(read_tensors(frozen.model)["head.weight"], read_tensors(first.model)["head.weight"])
    interrupt(stop_after)
    thawed = train(replace(dropping, initial_weights=weights, freeze_epochs=1), tmp_path / "thawed")
    if stop_after:
        thawed = resume(thawed.folder)
    assert thawed.rows[0]["valid_dice"] == frozen.rows[0]["valid_dice"]
    last = torch.load(thawed.folder / "last.ckpt", weights_only=True)["state_dict"]
    assert not any(np.array_equal(last[f"network.{name}"], tensor) for name, tensor in before.items())


def test_an_encoder_learns_with_its_share_of_the_rate(tmp_path, dropping):
    config = replace(dropping, encoder_rate=0.1, schedule="one_cycle", optimizer="adamw", weight_decay=0.5)
    settings = SegmentationModule(config, 10).configure_optimizers()
    highest = {}
    for _ in range(9):
        for number, group in enumerate(settings["optimizer"].param_groups):
            highest[number] = max(highest.get(number, 0), group["lr"])
        settings["optimizer"].step()
        settings["lr_scheduler"]["scheduler"].step()
    decays = [group["weight_decay"] for group in settings["optimizer"].param_groups]
    assert (list(highest.values()), decays) == (pytest.approx([1e-3, 1e-3, 1e-4, 1e-4]), [0.5, 0, 0.5, 0])
    run = train(replace(config, epochs=1), tmp_path / "run")
    assert resume(run.folder, epochs=2).rows[1]["learning_rate"] < 1e-4  # at the end of the schedule, laid anew


@pytest.mark.parametrize("change", [{"encoder_rate": 0.5}, {"freeze_epochs": 1}])
def test_a_network_without_an_encoder_is_named(tmp_path, tiny, change):
    with pytest.raises(UsageError, match=r"model 'unet' has no encoder; leave out encoder_rate and freeze_epochs"):
        train(replace(tiny, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_new_head_begins_with_the_share_of_the_figure(tmp_path, tiny):
    """Which all drawn images together have; weights of a run begin with theirs."""
    data = open_dataset(tiny.data, "train")
    share = np.mean([data[index].mask.mean() for index in range(len(data))])
    still = replace(tiny, epochs=1, learning_rate=1e-12)
    run = train(still, tmp_path / "run")
    assert read_tensors(run.model)["head.bias"] == pytest.approx(np.log(share / (1 - share)), rel=1e-6)
    tensors = read_tensors(run.model) | {"head.bias": np.full(1, 0.25, np.float32)}
    write_bundle(tmp_path / "start.safetensors", tensors, read_info(run.model))
    weights = InitialWeights(str(tmp_path / "start.safetensors"))
    other = train(replace(still, initial_weights=weights), tmp_path / "other")
    assert read_tensors(other.model)["head.bias"] == 0.25


def border(kept):
    mask = np.zeros((4, 4), bool)
    mask[:2] = True
    return Sample("a", np.zeros((4, 4, 3), np.uint8), targets_of(mask, kept))


@pytest.mark.parametrize(
    ("rows_left_out", "share"),
    [((), 0.5), ((0,), 1 / 3), ((0, 1), 0.001), ((2, 3), 0.999), ((0, 1, 2, 3), 0.5)],
)
def test_the_share_of_the_figure_is_of_pixels_that_count(rows_left_out, share):
    kept = np.ones((4, 4), bool)
    kept[list(rows_left_out)] = False
    assert figure_share([border(kept)] * 3) == pytest.approx(share)
