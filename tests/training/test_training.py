import csv
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.optim.swa_utils import AveragedModel

from figureground.bundle import read_info, read_tensors
from figureground.config import (
    DataConfig,
    InitialWeights,
    ModelConfig,
    Phase,
    PreprocessingConfig,
    TrainConfig,
    parse,
    read_settings,
    to_yaml,
)
from figureground.data import open_dataset
from figureground.errors import FiguregroundError
from figureground.evaluation import evaluate, score_run
from figureground.prediction import load
from figureground.runs import free_folder
from figureground.training import callbacks as keeper_file
from figureground.training import resume, train
from figureground.training import run as run_file
from figureground.training import supervised as module_file
from figureground.training.callbacks import Interrupted, RunKeeper, averaging
from figureground.training.loaders import loaders

TINY = TrainConfig(
    data=DataConfig("synthetic:n=40,size=32", cache="off"),
    model=ModelConfig("unet", {"base_width": 4}),
    preprocessing=PreprocessingConfig((32, 32)),
    epochs=3,
    batch_size=4,
    learning_rate=1e-3,
    precision="float32",
)
STRONG = replace(
    TINY, optimizer="adamw", schedule="one_cycle", loss="bce_dice", augmentation="strong", ema_decay=0.9, clip=1.0
)


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A run that has learned something."""
    config = replace(TINY, model=ModelConfig("unet", {"base_width": 8}), epochs=4, learning_rate=3e-3)
    data = DataConfig("synthetic:n=120,size=32", cache="off")
    return train(replace(config, data=data), tmp_path_factory.mktemp("learned") / "run")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The run of a configuration, each made once."""
    runs = {}

    def make(config):
        if repr(config) not in runs:
            runs[repr(config)] = train(config, tmp_path_factory.mktemp("whole") / "run")
        return runs[repr(config)]

    return make


def interrupt(monkeypatch, step):
    """Ctrl-C in that training step, counted from 1 over all epochs."""
    steps = 0
    original = module_file.SegmentationModule.training_step

    def interrupting(self, batch, batch_index):
        nonlocal steps
        steps += 1
        if steps == step:
            signal.raise_signal(signal.SIGINT)
        return original(self, batch, batch_index)

    monkeypatch.setattr(module_file.SegmentationModule, "training_step", interrupting)


def without_seconds(folder):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows(folder)]


def test_a_run_leaves_what_the_design_says(tmp_path):
    run = train(TINY, tmp_path / "runs" / "a")
    assert {path.name.split(".")[0] for path in run.folder.iterdir()} >= {
        "config", "model", "last", "metrics", "history", "events"
    }  # fmt: skip
    assert [row["epoch"] for row in rows(run.folder)] == ["1", "2", "3"]
    assert (run.folder.parent / "latest").resolve() == run.folder.resolve()
    with Image.open(run.folder / "history.png") as curves:
        assert curves.size == (1080, 432)
    assert parse(TrainConfig, read_settings(run.folder / "config.yaml")) == TINY
    info = read_info(run.model)
    assert info.data.splits == {"train": 32, "valid": 4}
    assert info.scores["valid"]["epoch"] == run.best.epoch
    assert info.preprocessing == TINY.preprocessing
    assert not run.interrupted


@pytest.mark.parametrize(
    ("seconds", "stop_after", "drawn"),  # epochs of 8 batches
    [(0, None, [1, 2, 3]), (1e9, None, [1, 3]), (1e9, 19, [1, 2])],
)
def test_of_short_epochs_the_first_and_the_last_are_drawn(tmp_path, monkeypatch, seconds, stop_after, drawn):
    monkeypatch.setattr(keeper_file, "REDRAWN_AFTER", seconds)
    pictures = []
    monkeypatch.setattr(keeper_file, "draw_history", lambda path, rows, title: pictures.append(len(rows)))
    interrupt(monkeypatch, stop_after)
    train(TINY, tmp_path / "run")
    assert pictures == drawn


def test_the_same_configuration_gives_the_same_run(tmp_path):
    first = train(STRONG, tmp_path / "a")
    again = train(parse(TrainConfig, read_settings(first.folder / "config.yaml")), tmp_path / "b")
    assert without_seconds(first.folder) == without_seconds(again.folder)
    weights, same = read_tensors(first.model), read_tensors(again.model)
    assert all(np.array_equal(weights[name], same[name]) for name in weights)
    other = train(replace(STRONG, seed=1), tmp_path / "c")
    assert without_seconds(other.folder) != without_seconds(first.folder)


def test_training_learns(learned):
    assert learned.rows[-1].train_loss < 0.8 * learned.rows[0].train_loss
    assert learned.best.valid_dice > 0.6


@pytest.mark.parametrize(
    ("config", "stop_after"),  # within the first epoch and within the second, of 8 batches each
    [
        (TINY, 3),
        (STRONG, 3),
        (STRONG, 11),
        (replace(STRONG, accumulate=2), 11),
        (replace(STRONG, schedule="cosine"), 11),
        (replace(STRONG, workers=1), 11),
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, monkeypatch, uninterrupted, config, stop_after):
    whole = uninterrupted(config)
    interrupt(monkeypatch, stop_after)
    assert train(config, tmp_path / "parts").interrupted
    parts = resume(tmp_path / "parts")
    assert not parts.interrupted
    assert without_seconds(parts.folder) == without_seconds(whole.folder)
    expected, found = read_tensors(whole.model), read_tensors(parts.model)
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize(
    ("number", "batch", "epoch"),  # Lightning itself ends a run behind a batch that is not the last, here 3
    [(signal.SIGINT, 0, 1), (signal.SIGTERM, 0, 1), (signal.SIGTERM, 3, 2)],  # the last of three epochs is 2
)
def test_an_interruption_in_validation_is_resumed(tmp_path, monkeypatch, uninterrupted, number, batch, epoch):
    config = replace(STRONG, data=DataConfig("synthetic:n=160,size=32", cache="off"), epochs=3)
    whole = uninterrupted(config)
    original, before = module_file.SegmentationModule.validation_step, signal.getsignal(number)

    def interrupting(self, given, batch_index):
        if (self.current_epoch, batch_index) == (epoch, batch):
            signal.raise_signal(number)
            monkeypatch.setattr(module_file.SegmentationModule, "validation_step", original)
        original(self, given, batch_index)

    monkeypatch.setattr(module_file.SegmentationModule, "validation_step", interrupting)
    run = train(config, tmp_path / "run")
    assert run.interrupted
    assert len(run.rows) == epoch + 1
    assert signal.getsignal(number) == before
    resumed = resume(tmp_path / "run")
    assert not resumed.interrupted
    assert without_seconds(resumed.folder) == without_seconds(whole.folder)


def test_a_loss_that_is_not_a_number_stops_with_a_message_and_gives_the_signals_back(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(FiguregroundError, match=r"the loss is (nan|inf) in epoch \d+, batch \d+.*--learning-rate"):
        train(replace(TINY, learning_rate=1e30), tmp_path / "run")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_run_that_stopped_early_stays_stopped(tmp_path):
    config = replace(TINY, learning_rate=1e-12, early_stopping=1, epochs=20)
    run = train(config, tmp_path / "run")
    assert len(run.rows) < 20
    assert run.rows[-1].epoch - run.best.epoch == 1
    assert resume(tmp_path / "run").rows == run.rows


def test_latest_is_followed_when_a_run_is_resumed(tmp_path):
    train(replace(TINY, epochs=1), tmp_path / "a")
    assert (tmp_path / "latest").resolve() == (tmp_path / "a").resolve()
    assert resume(tmp_path / "latest").folder == tmp_path / "a"
    train(replace(TINY, epochs=1), tmp_path / "b")
    assert (tmp_path / "latest").resolve() == (tmp_path / "b").resolve()
    assert train(replace(TINY, epochs=1), tmp_path / "latest", overwrite=True).folder == tmp_path / "b"
    assert (tmp_path / "latest").resolve() == (tmp_path / "b").resolve()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "latest"]


def test_two_runs_that_start_together_do_not_share_a_folder(tmp_path, monkeypatch):
    """The second comes while the first reads its data."""
    opened = run_file._open_datasets

    def slow(config, progress):
        assert free_folder(tmp_path, "a") == tmp_path / "a-2"
        return opened(config, progress)

    monkeypatch.setattr(run_file, "_open_datasets", slow)
    train(replace(TINY, epochs=1), tmp_path / "a")


def test_two_runs_of_one_name_that_start_together(tmp_path, monkeypatch):
    opened = run_file._open_datasets

    def late(config, progress):
        monkeypatch.setattr(run_file, "_open_datasets", opened)
        train(replace(TINY, epochs=1), tmp_path / "a")
        return opened(config, progress)

    monkeypatch.setattr(run_file, "_open_datasets", late)
    with pytest.raises(FiguregroundError, match=r"a exists; choose another --name"):
        train(replace(TINY, epochs=2), tmp_path / "a")
    assert len(rows(tmp_path / "a")) == 1


def test_a_folder_that_was_made_for_nothing_is_gone_again(tmp_path):
    with pytest.raises(FiguregroundError, match="no such folder"):
        train(replace(TINY, data=DataConfig(str(tmp_path / "nothing"))), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_only_runs_are_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"dear")
    with pytest.raises(FiguregroundError, match="photos is no run"):
        train(TINY, tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "a.jpg").read_bytes() == b"dear"


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    run = train(TINY, tmp_path / "a")
    before = without_seconds(run.folder)
    again = resume(run.folder)
    assert (without_seconds(run.folder), len(again.rows), again.interrupted) == (before, 3, False)


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.25, 0.5])
def test_schedules_of_few_steps(schedule, warmup):
    """A warm-up that ends with the first step, such as a quarter of four, has no length."""
    config = replace(TINY, schedule=schedule, warmup=warmup, learning_rate=0.1)
    for steps in range(1, 13):
        settings = module_file.SegmentationModule(config, steps).configure_optimizers()
        rates = []
        for _ in range(steps):
            rates.append(settings["optimizer"].param_groups[0]["lr"])
            settings["optimizer"].step()
            if len(rates) < steps:
                settings["lr_scheduler"]["scheduler"].step()
        assert all(0 < rate <= 0.1 for rate in rates[:-1]), (steps, rates)


def test_smaller_images_first(tmp_path):
    config = replace(TINY, preprocessing=PreprocessingConfig((64, 64)), phases=(Phase(0.34, 32), Phase(0.67, 48)))
    data = open_dataset("synthetic:n=40,size=64", "train")
    loader, valid = loaders(config, data, data, on_gpu=False)
    sizes = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        sizes.append(next(iter(loader))["image"].shape[-1])
    assert (sizes, next(iter(valid))["image"].shape[-1]) == ([32, 48, 64], 64)


def test_batches_do_not_depend_on_workers():
    data = open_dataset("synthetic:n=40,size=32", "train")
    alone, _ = loaders(STRONG, data, data, on_gpu=False)
    helped, _ = loaders(replace(STRONG, workers=1), data, data, on_gpu=False)
    workers = []
    for epoch in range(2):
        for loader in (alone, helped):
            loader.sampler.set_epoch(epoch)
        for batch, same in zip(alone, helped, strict=True):
            assert set(batch) == set(same) == {"image", "figure"}
            for name, tensor in batch.items():
                assert torch.equal(tensor, same[name])
            assert batch["image"].is_contiguous(memory_format=torch.channels_last)
        workers.append(helped._iterator._workers[0].pid)
    assert workers[0] == workers[1]


def test_a_run_that_exists_is_not_overwritten(tmp_path):
    run = train(replace(TINY, epochs=1), tmp_path / "a")
    with pytest.raises(FiguregroundError, match=r"a exists.*--resume.*--overwrite"):
        train(TINY, run.folder)
    assert len(rows(run.folder)) == 1
    train(replace(TINY, epochs=2), run.folder, overwrite=True)
    assert len(rows(run.folder)) == 2
    assert free_folder(tmp_path, "a") == tmp_path / "a-2"


class Code:
    def __reduce__(self):
        return print, ("this ran",)


def test_a_checkpoint_that_cannot_be_resumed(tmp_path, capsys):
    """Damaged, of another network, or holding code: one line each, and the code does not run."""
    run = train(replace(TINY, epochs=1), tmp_path / "a")
    path = run.folder / "last.ckpt"
    content = path.read_bytes()
    (run.folder / "config.yaml").write_text(to_yaml(replace(TINY, model=ModelConfig("unet", {"base_width": 8}))))
    other = r"last\.ckpt is of another network than config\.yaml beside it: .*117 have another shape.*; start"
    with pytest.raises(FiguregroundError, match=other):
        resume(run.folder)
    for broken in (b"", b"text", content[: len(content) // 2], pickle.dumps(Code(), 2), pickle.dumps([1], 2)):
        path.write_bytes(broken)
        with pytest.raises(FiguregroundError, match=r"last\.ckpt is damaged, or no checkpoint of a run; start anew"):
            resume(run.folder)
    torch.save({"state_dict": {"a": Code()}}, path)
    with pytest.raises(FiguregroundError, match=r"last\.ckpt is damaged, or no checkpoint"):
        resume(run.folder)
    assert "this ran" not in capsys.readouterr().out


def test_a_broken_image_in_a_worker_process_is_one_line(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for index in range(40):
        mask = np.zeros((32, 32), np.uint8)
        mask[8:20, 8:20] = 255
        Image.fromarray(mask).convert("RGB").save(tmp_path / "images" / f"{index}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{index}.png")
    data = DataConfig(str(tmp_path), cache="off")
    broken = open_dataset(data, "train").names[3]
    (tmp_path / "images" / f"{broken}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(FiguregroundError) as caught:
        train(replace(TINY, data=data, workers=1), tmp_path / "run")
    assert str(caught.value).startswith(str(tmp_path / "images" / f"{broken}.png"))
    assert "Traceback" not in str(caught.value)


def test_a_last_batch_that_batch_norm_cannot_take_is_explained(tmp_path):
    data = DataConfig("synthetic:n=101,size=32", cache="off")
    with pytest.raises(FiguregroundError, match=r"last batch holds a single image.*choose another --batch-size"):
        train(replace(TINY, data=data, model=ModelConfig("compact_fpn"), batch_size=16), tmp_path / "a")


def test_resume_needs_a_run(tmp_path):
    with pytest.raises(FiguregroundError, match=r"holds no config.yaml"):
        resume(tmp_path)


def test_a_full_disk_ends_with_a_message_and_keeps_what_was_there(tmp_path, monkeypatch):
    import errno

    run = train(replace(TINY, epochs=2), tmp_path / "a")
    before = (run.folder / "last.ckpt").read_bytes()
    (run.folder / "config.yaml").write_text(to_yaml(replace(TINY, epochs=3)))

    def full(content, target, *arguments, **settings):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(FiguregroundError, match=r"last.ckpt could not be written \(No space left on device\)"):
        resume(run.folder)
    assert (run.folder / "last.ckpt").read_bytes() == before
    assert [path.name for path in run.folder.iterdir() if path.name.startswith(".")] == []


def test_valid_dice_in_training_is_the_one_that_evaluation_gives(learned):
    valid = open_dataset("synthetic:n=120,size=32", "valid")
    evaluation = evaluate(load(learned.folder), valid)
    assert len(valid) > TINY.batch_size  # the mean is of images, not of batches
    assert evaluation.dice.mean == pytest.approx(learned.best.valid_dice, abs=1e-5)


def test_score_run_writes_the_test_score(learned, tmp_path):
    folder = shutil.copytree(learned.folder, tmp_path / "a")
    evaluation = score_run(folder)
    figures = json.loads((folder / "test.json").read_text())
    assert figures["n"] == 12
    assert figures["dice"]["mean"] == evaluation.dice.mean > 0.5
    info = read_info(folder / "model.safetensors")
    figures.pop("slices")  # the bundle does without them
    assert info.scores["test"] == figures
    assert info.data.splits == {"train": 96, "valid": 12, "test": 12}


def test_the_first_of_equal_epochs_is_the_best():
    keeper = RunKeeper.__new__(RunKeeper)
    from figureground.training.history import EpochRow

    keeper.rows = [EpochRow(n, 1, 1, dice, 1e-4, 1) for n, dice in ((1, 0.5), (2, 0.7), (3, 0.7))]
    assert keeper.best.epoch == 2
    assert not issubclass(Interrupted, KeyboardInterrupt)


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as on POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_is_interrupted_in_its_first_epoch_and_resumed(tmp_path, number):
    command = [sys.executable, "-m", "figureground.cli", "train"]
    settings = ["--data", "synthetic:n=300,size=64", "--model", "unet", "--base-width", "4", "--size", "64", "-e", "2"]
    place = ["--cache", str(tmp_path / "cache"), "--output", str(tmp_path), "--name", "a"]
    process = subprocess.Popen([*command, *settings, *place], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "a").glob("events*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 130, messages
    assert f"figureground train --resume {tmp_path / 'a'}" in messages
    assert "Traceback" not in messages
    if number == signal.SIGINT:
        resume(tmp_path / "a")
    else:
        done = subprocess.run([*command, "--resume", str(tmp_path / "a")], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "a" / "test.json").is_file()
    assert [row["epoch"] for row in rows(tmp_path / "a")] == ["1", "2"]


def test_the_moving_average_by_hand():
    """Of a network of weights 1 (and 5 steps seen), beside an average of weights 0 (and 3)."""

    def averaged_once(updates):
        now = torch.nn.BatchNorm2d(2)
        average = AveragedModel(now, **averaging(0.9)._kwargs, use_buffers=True)
        for network, weight, seen in ((average.module, 0, 3), (now, 1, 5)):
            torch.nn.init.constant_(network.weight, weight)
            network.num_batches_tracked.fill_(seen)
        average.n_averaged.fill_(updates)
        average.update_parameters(now)
        return average.module.weight.tolist(), average.module.num_batches_tracked.item()

    early, late = 1 - 2 / 11, 1 - 0.9  # (1 + n) / (10 + n) of the average is kept, 0.9 at the most
    assert averaged_once(1) == (pytest.approx([early, early]), 5)
    assert averaged_once(1000) == (pytest.approx([late, late]), 5)


def test_gradients_are_clipped_in_bfloat16(tmp_path):
    config = replace(STRONG, epochs=1, precision="bfloat16", ema_decay=None)
    changes = {"still": {"learning_rate": 1e-12}, "free": {"clip": None}, "tight": {"clip": 1e-12}}
    start, moved, held = (
        read_tensors(train(replace(config, **change), tmp_path / name).model)["head.weight"]
        for name, change in changes.items()
    )
    assert np.abs(moved - start).max() > 1e-4
    assert np.abs(held - start).max() < np.abs(moved - start).max() / 10  # Adam's epsilon is far above the gradient


def test_links_to_runs_are_settled_when_a_run_begins(tmp_path):
    first = train(replace(TINY, epochs=1), tmp_path / "a")
    data = replace(TINY.data, cache=str(tmp_path / "cache"))
    latest = str(tmp_path / "latest")
    config = replace(TINY, data=data, epochs=1, initial_weights=InitialWeights(latest), teachers=(latest,))
    second = train(config, tmp_path / "b")
    written = parse(TrainConfig, read_settings(second.folder / "config.yaml"))
    assert (written.initial_weights.network, written.teachers) == (str(first.folder), (str(first.folder),))
    assert len(resume(second.folder).rows) == 1
    for teacher in (latest, f"{latest}/model.safetensors"):
        with pytest.raises(FiguregroundError, match=r"b is the teacher and would be replaced; choose another --name"):
            train(replace(TINY, data=data, teachers=(teacher,)), tmp_path / "b", overwrite=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": ModelConfig("unet", {"base_width": 4, "depth": 3})}, "unet"),
        ({"teachers": ("nowhere.onnx",)}, "nowhere.onnx: no such model"),
        ({"model": ModelConfig("vnet")}, "there is no model 'vnet'"),
        ({"model": ModelConfig("unet", {"base_width": -1})}, "base_width is -1"),
        ({"device": "gpu"}, "there is no GPU"),
    ],
)
def test_a_run_is_replaced_only_by_one_that_can_begin(tmp_path, monkeypatch, change, message):
    first = train(replace(TINY, epochs=1), tmp_path / "a")
    before = first.model.read_bytes()
    if message == "there is no GPU" and torch.cuda.is_available():
        pytest.skip("there is one")
    monkeypatch.setattr(run_file, "_open_datasets", lambda *_: pytest.fail("the data were read"))
    with pytest.raises(FiguregroundError, match=message):
        train(replace(TINY, **change), tmp_path / "a", overwrite=True)
    assert first.model.read_bytes() == before
    with pytest.raises(FiguregroundError, match=message):
        train(replace(TINY, **change), tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert (tmp_path / "latest").resolve() == first.folder.resolve()
