"""A run goes on as if nothing had happened, or says why it cannot."""

import errno
import logging
import os
import pickle
import re
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
from torch import nn

from figureground.bundle import read_tensors
from figureground.config import DataConfig, ModelConfig, to_yaml
from figureground.errors import FiguregroundError, UsageError
from figureground.models import MODELS
from figureground.preprocessing import Preprocessing
from figureground.runs import read_config
from figureground.training import resume, train
from figureground.training.history import Monitored, draw_history
from figureground.training.supervised import SegmentationModule


@pytest.fixture
def copied(tmp_path):
    """A run's folder to be changed."""
    return lambda run: shutil.copytree(run.folder, tmp_path / "copy")


def change_config(folder, **changes):
    (folder / "config.yaml").write_text(to_yaml(replace(read_config(folder), **changes)))


def require_same(run, other, rows_of):
    assert rows_of(run.folder) == rows_of(other.folder)
    expected, found = read_tensors(other.model), read_tensors(run.model)
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize(
    ("changes", "stop_after"),  # within the first epoch and within the second, of 8 batches each
    [
        ({}, 3),
        ({}, 11),
        ({"accumulate": 2}, 11),
        ({"schedule": "cosine"}, 11),
        ({"workers": 1}, 11),
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, interrupt, trained, strong, rows_of, changes, stop_after):
    config = replace(strong, **changes)
    whole = trained(config)
    interrupt(stop_after)
    assert train(config, tmp_path / "parts").interrupted
    parts = resume(tmp_path / "parts")
    assert not parts.interrupted
    require_same(parts, whole, rows_of)


@pytest.mark.parametrize("stop_after", [3, 8, 11])  # the eighth is the last of its epoch
def test_random_numbers_of_the_network_are_resumed(tmp_path, interrupt, dropping, rows_of, stop_after):
    whole = train(dropping, tmp_path / "whole")
    interrupt(stop_after)
    assert train(dropping, tmp_path / "parts").interrupted
    torch.manual_seed(1234)
    torch.rand(stop_after)
    require_same(resume(tmp_path / "parts"), whole, rows_of)


@pytest.mark.parametrize(
    ("number", "batch", "epoch"),  # Lightning itself ends a run behind a batch that is not the last, here 3
    [(signal.SIGINT, 0, 1), (signal.SIGTERM, 0, 0), (signal.SIGTERM, 3, 1)],  # the last of the two epochs is 1
)
def test_an_interruption_in_validation_is_resumed(
    tmp_path, monkeypatch, trained, strong, rows_of, number, batch, epoch
):
    config = replace(strong, data=DataConfig("synthetic:n=120,size=32", cache="off"), batch_size=3)
    whole = trained(config)
    original, before = SegmentationModule.validation_step, signal.getsignal(number)

    def interrupting(self, given, batch_index):
        if (self.current_epoch, batch_index) == (epoch, batch):
            signal.raise_signal(number)
            monkeypatch.setattr(SegmentationModule, "validation_step", original)
        original(self, given, batch_index)

    monkeypatch.setattr(SegmentationModule, "validation_step", interrupting)
    run = train(config, tmp_path / "run")
    assert run.interrupted
    assert len(run.rows) == epoch + 1
    assert signal.getsignal(number) == before
    resumed = resume(tmp_path / "run")
    assert not resumed.interrupted
    require_same(resumed, whole, rows_of)


@pytest.mark.parametrize("stop_after", [None, 11])
def test_the_curves_are_those_of_all_epochs(tmp_path, trained, interrupt, strong, stop_after):
    if stop_after is None:
        run = trained(strong)
    else:
        interrupt(stop_after)
        run = train(strong, tmp_path / "run")
    draw_history(tmp_path / "all.png", run.rows, Monitored(), "unet: run")
    with Image.open(run.folder / "history.png") as found, Image.open(tmp_path / "all.png") as expected:
        assert np.array_equal(np.asarray(found), np.asarray(expected))


def test_resuming_a_finished_run_changes_nothing(trained, tiny, copied, rows_of):
    run = trained(tiny)
    again = resume(copied(run))
    assert (again.rows, again.interrupted) == (run.rows, False)
    assert rows_of(again.folder) == rows_of(run.folder)


def test_a_run_that_stopped_early_stays_stopped(tmp_path, tiny, caplog):
    config = replace(tiny, learning_rate=1e-12, early_stopping=1, epochs=20)
    run = train(config, tmp_path / "run")
    assert len(run.rows) < 20
    assert run.rows[-1]["epoch"] - run.best["epoch"] == 1
    with caplog.at_level(logging.INFO, "figureground"):
        assert resume(tmp_path / "run").rows == run.rows
    assert "no better valid_dice for 1 epochs: stopping early" in caplog.messages


def test_the_average_goes_on_as_well(tmp_path, trained, strong, copied, interrupt):
    """Longer than it was to be: what has been reached is what the next epoch begins with."""
    interrupt(11)
    longer = train(replace(strong, schedule="constant", epochs=3), tmp_path / "three")
    assert longer.interrupted
    longer = resume(longer.folder)
    short = resume(copied(trained(replace(strong, schedule="constant"))), epochs=3)
    assert [row["train_loss"] for row in short.rows] == [row["train_loss"] for row in longer.rows]
    assert read_config(short.folder).epochs == 3


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_a_finished_run_is_trained_longer_on_a_schedule_that_is_laid_anew(trained, strong, copied, caplog, schedule):
    """Eight batches an epoch: in each epoch from the third on the rate is that of a run over four from the start."""
    two, four = (trained(replace(strong, schedule=schedule, epochs=epochs)) for epochs in (2, 4))
    with caplog.at_level(logging.INFO, "figureground"):
        run = resume(copied(two), epochs=4)
    assert run.rows[:2] == two.rows
    assert [row["learning_rate"] for row in run.rows[2:]] == pytest.approx(
        [row["learning_rate"] for row in four.rows[2:]]
    )
    assert any("epochs 2, now 4" in message for message in caplog.messages)
    assert read_config(run.folder).epochs == 4
    assert resume(run.folder).rows == run.rows


def test_epochs_may_be_changed_in_the_file_too(trained, strong, copied):
    folder = copied(trained(strong))
    change_config(folder, epochs=3)
    assert len(resume(folder).rows) == 3


def test_fewer_epochs_than_are_done_are_refused(trained, tiny, copied):
    with pytest.raises(UsageError, match=r"copy has 2 epochs behind it; expected more than that, not 1"):
        resume(copied(trained(tiny)), epochs=1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch_size": 8}, "batch_size 4, now 8"),
        ({"model": ModelConfig("unet", arguments={"base_width": 8})}, r"model.arguments {'base_width': 4}, now"),
        ({"preprocessing": Preprocessing((64, 64)), "seed": 1}, r"preprocessing.size .*; seed 0, now 1"),
    ],
)
def test_settings_that_cannot_change_are_named(trained, tiny, copied, change, said):
    folder = copied(trained(tiny))
    change_config(folder, **change)
    with pytest.raises(FiguregroundError, match=rf"config.yaml has changed since.* \({said}.*--start-from"):
        resume(folder)


def test_settings_that_may_change_are_said(trained, tiny, copied, caplog):
    folder = copied(trained(tiny))
    change_config(folder, workers=0, early_stopping=5)
    with caplog.at_level(logging.INFO, "figureground"):
        resume(folder)
    assert "going on with other settings: early_stopping None, now 5; workers None, now 0" in caplog.messages


def draw_dataset(folder, n):
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for index in range(n):
        mask = np.zeros((32, 32), np.uint8)
        mask[8:20, 8 : 12 + index % 8] = 255
        Image.fromarray(mask).convert("RGB").save(folder / "images" / f"{index}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{index}.png")
    return DataConfig(str(folder), cache="off")


def test_data_that_moved_are_taken_and_others_refused(tmp_path, tiny, caplog):
    data = draw_dataset(tmp_path / "data", 40)
    run = train(replace(tiny, data=data, epochs=1), tmp_path / "run")
    shutil.move(tmp_path / "data", tmp_path / "moved")
    change_config(run.folder, data=replace(data, source=str(tmp_path / "moved")))
    with caplog.at_level(logging.INFO, "figureground"):
        assert len(resume(run.folder, epochs=2).rows) == 2
    assert any(re.search(r"train images were moved or changed since .*run was saved", each) for each in caplog.messages)
    for kind in ("images", "masks"):
        (tmp_path / "moved" / kind / "39.png").unlink()
        (tmp_path / "moved" / kind / "38.png").unlink()
    with pytest.raises(FiguregroundError, match=r"the \w+ images are others .*\(\d+ then, \d+ now\)"):
        resume(run.folder)


class Code:
    def __reduce__(self):
        return print, ("this ran",)


def test_a_checkpoint_that_cannot_be_resumed(trained, tiny, copied, capsys):
    """Damaged, of an earlier version, or holding code: one line each, and the code does not run."""
    path = copied(trained(tiny)) / "last.ckpt"
    content = path.read_bytes()
    for broken in (b"", b"text", content[: len(content) // 2], pickle.dumps(Code(), 2), pickle.dumps([1], 2)):
        path.write_bytes(broken)
        with pytest.raises(FiguregroundError, match=r"last\.ckpt is damaged, or no checkpoint of a run; start anew"):
            resume(path.parent)
    torch.save({"state_dict": {"a": Code()}}, path)
    with pytest.raises(FiguregroundError, match=r"last\.ckpt is damaged, or no checkpoint"):
        resume(path.parent)
    torch.save({"state_dict": {"a": torch.zeros(1)}}, path)
    with pytest.raises(FiguregroundError, match=r"last\.ckpt is of an earlier version.*; start anew"):
        resume(path.parent)
    assert "this ran" not in capsys.readouterr().out


def test_a_network_that_has_changed_since_is_named(tmp_path, dropping, monkeypatch):
    run = train(replace(dropping, epochs=1), tmp_path / "run")

    class Other(MODELS["dropping"]):
        def __init__(self):
            super().__init__()
            self.head = nn.Conv2d(8, 1, 3, padding=1)

    monkeypatch.setitem(MODELS, "dropping", Other)
    with pytest.raises(FiguregroundError, match=r"last\.ckpt is of another network than config.yaml: .*1 have another"):
        resume(run.folder)


def test_resume_needs_a_run(tmp_path):
    with pytest.raises(FiguregroundError, match=r"holds no config.yaml"):
        resume(tmp_path)


def test_a_full_disk_ends_with_a_message_and_keeps_what_was_there(trained, tiny, copied, monkeypatch):
    folder = copied(trained(tiny))
    before = (folder / "last.ckpt").read_bytes()

    def full(content, target, *arguments, **settings):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(FiguregroundError, match=r"last.ckpt could not be written \(No space left on device\)"):
        resume(folder, epochs=3)
    assert (folder / "last.ckpt").read_bytes() == before
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as on POSIX")
def test_the_command_is_terminated_and_resumed(in_process, tmp_path, rows_of):
    command = [sys.executable, "-m", "figureground", "train"]
    settings = ["--data", "synthetic:n=300,size=32", "--model", "unet", "--base-width", "4", "--size", "32", "-e", "3"]
    place = ["--cache", str(tmp_path / "cache"), "--output", str(tmp_path), "--name", "a"]
    process = subprocess.Popen([*command, *settings, *place], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "a" / "metrics.csv").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 130, messages
    assert f"figureground train --resume {tmp_path / 'a'}" in messages
    assert "Traceback" not in messages
    status, _, errors = in_process("train", "--resume", tmp_path / "a")
    assert status == 0, errors
    assert (tmp_path / "a" / "test.json").is_file()
    assert [row["epoch"] for row in rows_of(tmp_path / "a")] == ["1", "2", "3"]
