"""What a training leaves, what it replaces, and what it refuses before anything is lost."""

import json
import logging
import shutil
import signal
from dataclasses import replace

import lightning
import numpy as np
import pytest
import torch
from PIL import Image

from figureground.bundle import read_info, read_tensors, write_bundle
from figureground.config import DataConfig, InitialWeights, ModelConfig
from figureground.data import open_dataset
from figureground.errors import FiguregroundError
from figureground.evaluation import evaluate, score_run
from figureground.files import replacing
from figureground.prediction import load
from figureground.preprocessing import Preprocessing
from figureground.runs import free_folder, read_config, refuse_foreign, remove_run
from figureground.training import Run, resume, train
from figureground.training import run as run_file


@pytest.fixture(scope="module")
def learned(trained, tiny):
    """A run that has learned something."""
    data = DataConfig("synthetic:n=120,size=32", cache="off")
    model = ModelConfig("unet", arguments={"base_width": 8})
    return trained(replace(tiny, data=data, model=model, epochs=6, learning_rate=3e-3))


@pytest.fixture
def once(tiny):
    """One epoch."""
    return replace(tiny, epochs=1)


@pytest.fixture
def copied(tmp_path):
    """A run's folder to be changed, in ``tmp_path/a``."""
    return lambda run: shutil.copytree(run.folder, tmp_path / "a")


def test_a_run_leaves_what_the_design_says(trained, tiny):
    run = trained(tiny)
    assert {path.name.split(".")[0] for path in run.folder.iterdir()} >= {
        "config", "model", "last", "metrics", "history", "events"
    }  # fmt: skip
    lines = (run.folder / "metrics.csv").read_text().splitlines()
    assert lines[0] == "epoch,train_loss,valid_loss,valid_dice,valid_figure,learning_rate,seconds"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2"]
    assert (run.folder.parent / "latest").resolve() == run.folder.resolve()
    with Image.open(run.folder / "history.png") as curves:
        assert curves.size == (1248, 384)
    assert read_config(run.folder) == tiny
    info = read_info(run.model)
    assert info.data.splits == {"train": 32, "valid": 4}
    assert info.scores["valid"] == {"n": 4, "epoch": run.best["epoch"], "dice": {"mean": run.best["valid_dice"]}}
    assert info.preprocessing == tiny.preprocessing
    assert not run.interrupted


def test_the_same_configuration_gives_the_same_run(tmp_path, trained, strong, rows_of):
    first = trained(strong)
    again = train(read_config(first.folder), tmp_path / "b")
    assert rows_of(first.folder) == rows_of(again.folder)
    weights, same = read_tensors(first.model), read_tensors(again.model)
    assert all(np.array_equal(weights[name], same[name]) for name in weights)
    other = train(replace(strong, seed=1, epochs=1), tmp_path / "c")
    assert rows_of(other.folder)[0]["train_loss"] != rows_of(first.folder)[0]["train_loss"]


def test_training_learns(learned):
    assert learned.rows[-1]["train_loss"] < 0.8 * learned.rows[0]["train_loss"]
    assert learned.best["valid_dice"] > 0.6
    assert not learned.silent


def test_valid_dice_in_training_is_the_one_that_evaluation_gives(learned, tiny):
    valid = open_dataset("synthetic:n=120,size=32", "valid")
    evaluation = evaluate(load(learned.folder), valid)
    assert len(valid) > tiny.batch_size  # the mean is of images, not of batches
    assert evaluation.dice.mean == pytest.approx(learned.best["valid_dice"], abs=1e-5)


def test_score_run_writes_the_test_score(learned, copied):
    folder = copied(learned)
    evaluation = score_run(folder)
    figures = json.loads((folder / "test.json").read_text())
    assert figures["n"] == 12
    assert figures["dice"]["mean"] == evaluation.dice.mean > 0.5
    info = read_info(folder / "model.safetensors")
    figures.pop("slices")  # the bundle does without them
    assert info.scores["test"] == figures
    assert info.data.splits == {"train": 96, "valid": 12, "test": 12}
    train(replace(read_config(folder), epochs=1), folder, overwrite=True)  # all of it is a run's
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("rows", "silent"),
    [
        ([], False),
        ([{"valid_figure": 0.0, "valid_dice": 0.25}], True),
        ([{"valid_figure": 1.0, "valid_dice": 0.25}], True),
        ([{"valid_figure": 0.0, "valid_dice": 1.0}], False),  # the images are empty
        ([{"valid_figure": 1e-9, "valid_dice": 0.0}], False),
        ([{"valid_figure": 0.0, "valid_dice": 0.25}, {"valid_figure": 0.5, "valid_dice": 0.25}], False),
        ([{"valid_dice": 0.0}], False),
    ],
)
def test_a_run_is_silent_whose_last_masks_are_all_empty_or_full(tmp_path, rows, silent):
    assert Run(tmp_path, tuple(rows), False).silent == silent


@pytest.mark.parametrize(("bias", "word"), [(-99, "empty"), (99, "full"), (0, None)])
def test_silence_is_said_once_after_a_third_of_the_epochs(tmp_path, trained, tiny, caplog, bias, word):
    first = trained(tiny)
    tensors = read_tensors(first.model) | {"head.bias": np.full(1, bias, np.float32)}
    write_bundle(tmp_path / "silent.safetensors", tensors, read_info(first.model))
    weights = InitialWeights(str(tmp_path / "silent.safetensors"))
    caplog.clear()
    with caplog.at_level(logging.WARNING, "figureground"):
        run = train(replace(tiny, epochs=4, learning_rate=1e-12, initial_weights=weights), tmp_path / "a")
    said = [message for message in caplog.messages if message.startswith("the masks of all valid images are")]
    expected = [f"the masks of all valid images are {word} after 2 of 4 epochs"] if word else []
    assert [message.partition(":")[0] for message in said] == expected
    assert run.silent == (word is not None)


class Late(lightning.Callback):
    """A deadline that wants 9 epochs once the first is done."""

    epochs = None

    def on_train_epoch_end(self, trainer, pl_module):
        self.epochs = 9 if trainer.current_epoch == 0 else None
        trainer.should_stop = trainer.should_stop or trainer.current_epoch == 0


@pytest.mark.parametrize("late", [False, True])
def test_where_nothing_is_learned_the_next_choice_is_tried(tmp_path, learned, caplog, monkeypatch, late):
    """Also where, before that, the epochs have become others, as they took longer than they should."""
    tensors = read_tensors(learned.model) | {"head.bias": np.full(1, -99, np.float32)}
    write_bundle(tmp_path / "silent.safetensors", tensors, read_info(learned.model))
    weights = InitialWeights(str(tmp_path / "silent.safetensors"))
    other = replace(read_config(learned.folder), epochs=2, initial_weights=InitialWeights(str(learned.folder)))
    hopeless = replace(other, epochs=15, learning_rate=1e-12, initial_weights=weights)
    if late:
        monkeypatch.setattr(
            "figureground.training.run.within_minutes", lambda config, *given: (replace(config, minutes=None), Late())
        )
        hopeless = replace(hopeless, minutes=1.0)
    with caplog.at_level(logging.WARNING, "figureground"):
        run = train(hopeless, tmp_path / "a", otherwise=other)
    (said,) = caplog.messages
    assert said.startswith("nothing is learned by a third of the training; begun again with")
    assert f"learning_rate {other.learning_rate}" in said
    assert (len(run.rows), run.silent) == (2, False)
    assert read_config(run.folder).learning_rate == other.learning_rate


def test_a_run_that_stops_early_is_not_begun_again(tmp_path, learned):
    tensors = read_tensors(learned.model) | {"head.bias": np.full(1, -99, np.float32)}
    write_bundle(tmp_path / "silent.safetensors", tensors, read_info(learned.model))
    weights = InitialWeights(str(tmp_path / "silent.safetensors"))
    config = replace(read_config(learned.folder), epochs=20, learning_rate=1e-12, early_stopping=2)
    run = train(replace(config, initial_weights=weights), tmp_path / "a", otherwise=config)
    assert (len(run.rows), run.silent, run.gave_up) == (3, True, False)


def test_a_loss_that_is_not_a_number_stops_with_a_message_and_gives_the_signals_back(tmp_path, tiny):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(FiguregroundError, match=r"the loss is (nan|inf) in epoch \d+, batch \d+.*--learning-rate"):
        train(replace(tiny, learning_rate=1e30), tmp_path / "run")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_latest_is_followed_when_a_run_is_resumed(tmp_path, once):
    train(once, tmp_path / "a")
    assert (tmp_path / "latest").resolve() == (tmp_path / "a").resolve()
    assert resume(tmp_path / "latest").folder == tmp_path / "a"
    train(once, tmp_path / "b")
    assert (tmp_path / "latest").resolve() == (tmp_path / "b").resolve()
    assert train(once, tmp_path / "latest", overwrite=True).folder == tmp_path / "b"
    assert (tmp_path / "latest").resolve() == (tmp_path / "b").resolve()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "latest"]


def test_two_runs_of_one_name_that_start_together(tmp_path, monkeypatch, tiny, once):
    """The second comes while the first reads its data; a free name is another one then."""
    opened = run_file.open_datasets

    def late(config, progress):
        assert free_folder(tmp_path, "a") == tmp_path / "a-2"
        monkeypatch.setattr(run_file, "open_datasets", opened)
        train(once, tmp_path / "a")
        return opened(config, progress)

    monkeypatch.setattr(run_file, "open_datasets", late)
    with pytest.raises(FiguregroundError, match=r"a exists; choose another --name"):
        train(tiny, tmp_path / "a")
    assert len(resume(tmp_path / "a").rows) == 1


def test_a_folder_that_was_made_for_nothing_is_gone_again(tmp_path, tiny):
    with pytest.raises(FiguregroundError, match="no such folder"):
        train(replace(tiny, data=DataConfig(str(tmp_path / "nothing"))), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_exists_is_replaced_if_that_is_asked_for(trained, tiny, once, copied):
    folder = copied(trained(tiny))
    with pytest.raises(FiguregroundError, match=r"a exists.*--resume.*--overwrite"):
        train(once, folder)
    assert read_config(folder) == tiny
    (folder / "model-int8.onnx").write_bytes(b"exported")
    (folder / ".last-x4f0_q2.ckpt").write_bytes(b"of a process that was killed")
    assert len(train(once, folder, overwrite=True).rows) == 1
    assert not list(folder.glob("model*.onnx")) + list(folder.glob(".last*"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.jpg": "dear"}, r"photos is no run \(it holds no config.yaml\)"),
        ({"config.yaml": "mine: 1"}, "photos is no run .*unknown setting 'mine'"),
        ({"config.yaml": "mine: 1", "other.txt": "dear", "report/important.txt": "dear"}, "photos is no run"),
        ({"config.yaml": "epochs: 3"}, "photos is no run .*does not hold all settings"),
        (
            {"config.yaml": "data: {cache: auto}", "report/important.txt": "dear"},
            r"photos holds report/important.txt, which no",
        ),
        (
            {"config.yaml": "data: {cache: auto}", "notes.json": "1", "a/b.txt": "dear"},
            r"photos holds a/b.txt.*\(2 in all\)",
        ),
    ],
)
def test_only_what_a_run_has_written_is_replaced(tmp_path, tiny, files, message):
    folder = tmp_path / "photos"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    with pytest.raises(FiguregroundError, match=message):
        train(tiny, folder, overwrite=True)
    assert {name: (folder / name).read_text() for name in files} == files


def test_what_a_killed_process_left_in_a_run_is_the_runs(tmp_path):
    names = "config.yaml last.ckpt metrics.csv test.json report.html per_image.csv model-int8.onnx report/a.png"
    (tmp_path / "report").mkdir()
    (tmp_path / "config.yaml").write_text("data: {cache: auto}")
    for name in names.split():
        with replacing(tmp_path / name) as partial:
            shutil.copy(partial, f"{partial.with_suffix('')}x{partial.suffix}")
            partial.write_text("data: {cache: auto}")
    assert len(list(tmp_path.rglob(".*"))) == 8
    refuse_foreign(tmp_path)
    (tmp_path / "report" / "notes").mkdir()
    remove_run(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["report", "notes"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": ModelConfig("unet", arguments={"base_width": 4, "depth": 3})}, "unet"),
        ({"teachers": ("nowhere.onnx",)}, "nowhere.onnx: no such model"),
        ({"model": ModelConfig("vnet")}, "there is no model 'vnet'"),
        ({"model": ModelConfig("unet", arguments={"base_width": -1})}, "base_width is -1"),
        ({"device": "gpu"}, "there is no GPU"),
        ({"data": DataConfig("nowhere")}, "no such folder"),
        ({"model": ModelConfig("compact_fpn"), "batch_size": 1}, r"batches hold a single image \(--batch-size 1"),
        ({"initial_weights": InitialWeights("nowhere.safetensors")}, r"nowhere.safetensors: no such model"),
    ],
)
def test_a_run_is_replaced_only_by_one_that_can_begin(tmp_path, trained, tiny, copied, change, message):
    folder = copied(trained(tiny))
    before = (folder / "model.safetensors").read_bytes()
    if message == "there is no GPU" and torch.cuda.is_available():
        pytest.skip("there is one")
    for target, overwrite in ((folder, True), (tmp_path / "b", False)):
        with pytest.raises(FiguregroundError, match=message):
            train(replace(tiny, **change), target, overwrite=overwrite)
    assert (folder / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_starting_from_the_weights_of_a_run(tmp_path, trained, tiny, once):
    first = trained(tiny)
    weights = InitialWeights(str(first.folder))
    still = replace(once, learning_rate=1e-12, initial_weights=weights)  # too little to move a weight
    second = train(still, tmp_path / "second")
    before, found = read_tensors(first.model), read_tensors(second.model)
    for name in (name for name in before if "running" not in name and "num_batches" not in name):
        np.testing.assert_allclose(found[name], before[name], atol=1e-9)
    other = replace(tiny, model=ModelConfig("unet", arguments={"base_width": 8}), initial_weights=weights)
    with pytest.raises(FiguregroundError, match=r"is of unet .*4.*the network to train is unet .*8.*expected the same"):
        train(other, tmp_path / "third")
    assert not (tmp_path / "third").exists()


def test_links_to_runs_are_settled_when_a_run_begins(tmp_path, once):
    first = train(once, tmp_path / "a")
    data = replace(once.data, cache=str(tmp_path / "cache"))
    latest = str(tmp_path / "latest")
    second = train(replace(once, data=data, initial_weights=InitialWeights(latest), teachers=(latest,)), tmp_path / "b")
    written = read_config(second.folder)
    assert (written.initial_weights.network, written.teachers) == (str(first.folder), (str(first.folder),))
    assert len(resume(second.folder).rows) == 1
    for teacher in (latest, f"{latest}/model.safetensors"):
        with pytest.raises(FiguregroundError, match=r"b is the teacher and would be replaced; choose another --name"):
            train(replace(once, data=data, teachers=(teacher,)), tmp_path / "b", overwrite=True)


def test_a_broken_image_in_a_worker_process_is_one_line(tmp_path, once):
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
        train(replace(once, data=data, workers=1), tmp_path / "run")
    assert str(caught.value).startswith(str(tmp_path / "images" / f"{broken}.png"))
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(("size", "left_out"), [(32, True), (64, False)])  # at 64 the deepest stage has four pixels
def test_a_last_batch_that_batch_norm_cannot_take_is_left_out(tmp_path, once, caplog, size, left_out):
    config = replace(
        once,
        data=DataConfig(f"synthetic:n=41,size={size}", cache="off"),
        preprocessing=Preprocessing((size, size)),
        model=ModelConfig("compact_fpn", arguments={"widths": [4] * 5, "pyramid_widths": [4] * 5}),
    )
    n = len(open_dataset(config.data, "train"))
    assert n % 4 == 1
    with caplog.at_level(logging.INFO, "figureground"):
        train(config, tmp_path / "a")
    assert (f"each epoch leaves out one of the {n} images" in caplog.text) == left_out


def test_gradients_are_clipped_in_bfloat16(tmp_path, strong):
    config = replace(strong, epochs=1, precision="bfloat16", ema_decay=None)
    changes = {"still": {"learning_rate": 1e-12}, "free": {"clip": None}, "tight": {"clip": 1e-12}}
    start, moved, held = (
        read_tensors(train(replace(config, **change), tmp_path / name).model)["head.weight"]
        for name, change in changes.items()
    )
    assert np.abs(moved - start).max() > 1e-4
    assert np.abs(held - start).max() < np.abs(moved - start).max() / 10  # Adam's epsilon is far above the gradient
