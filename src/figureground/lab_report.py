"""The lab report's four commands: its flags, defaults and file names on top of the package.

The scripts in ``src/`` parse their flags and call one function here. ``ROOT`` is the folder above ``src/``, where the
report keeps ``dataset/`` and ``saved_models/``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from figureground.bundle import read_info
from figureground.config import TrainConfig, merge, parse, read_settings
from figureground.data import Split, open_dataset
from figureground.data.dataset import as_seen
from figureground.drawing import has_screen
from figureground.errors import FiguregroundError
from figureground.evaluation import Evaluation, Example, draw_examples, show_prediction
from figureground.evaluation import evaluate as score
from figureground.files import replacing
from figureground.metrics import counts, dice
from figureground.prediction import load_state_dict
from figureground.runs import free_folder
from figureground.training import Run
from figureground.training import resume as resume_run
from figureground.training import train as train_run

MODEL_NAMES = {"unet": "unet", "resnet": "resnet34_unet"}
"""The report's names of the networks, and ours."""
ROOT = Path(__file__).resolve().parents[2]
DATASET = ROOT / "dataset"
SAVED_MODELS = ROOT / "saved_models"


def saved_model(model: str) -> Path:
    """Where the best weights of one of the report's networks are kept."""
    return SAVED_MODELS / f"best_{model}.pth"


def train(
    model: str,
    data_path: Path,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    resume: Path | None = None,
    runs: Path = ROOT / "runs",
) -> Run:
    """Train with the report's recipe, or go on with the run ``resume``.

    When all epochs are done, the best weights go into ``saved_models/best_unet.pth`` or ``best_resnet.pth``.

    Raises:
        FiguregroundError: the data cannot be read, the loss diverges, the disk is full.
    """
    changes = {
        "data": {"source": str(data_path)},
        "model": {"name": MODEL_NAMES[model]},
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
    }
    progress = sys.stderr.isatty()
    if resume is None:
        config = parse(TrainConfig, merge(read_settings("report"), changes))
        run = train_run(config, free_folder(runs, f"report-{model}"), progress=progress)
    else:
        run = resume_run(resume, progress=progress)
        trained = read_info(run.model).model.name if run.model.is_file() else None
        model = next((ours for ours, name in MODEL_NAMES.items() if name == trained), model)
    if run.model.is_file() and not run.interrupted:
        write_state_dict(run.model, saved_model(model))
    return run


def write_state_dict(bundle: Path, target: Path) -> None:
    """The weights of a bundle as a bare torch state dict."""
    import torch
    from safetensors.torch import load_file

    with replacing(target) as partial, partial.open("wb") as file:  # a file of ours: a full disk is an OSError
        torch.save(load_file(bundle), file)


def evaluate(data_path: Path, model_path: Path, model_type: str, mode: Split, batch_size: int) -> Evaluation:
    """The mean Dice of saved weights on a split.

    Raises:
        FiguregroundError: the data or the weights cannot be read.
    """
    dataset = open_dataset(data_path, mode)
    segmenter = load_state_dict(model_path, MODEL_NAMES[model_type])
    return score(segmenter, dataset, batch_size=batch_size, progress=sys.stderr.isatty())


def inference(
    model: Path, model_type: str, data_path: Path, mode: Split, num_samples: int, save_dir: Path, show: bool
) -> list[Path]:
    """Masks of the first samples of a split as ``NAME_mask.png``, beside each the photo with the mask laid over it.

    ``show`` also opens a window for each, where there is a screen.

    Returns:
        The files written.

    Raises:
        FiguregroundError: the data or the weights cannot be read, or the folder cannot be written to.
    """
    dataset = open_dataset(data_path, mode)
    segmenter = load_state_dict(model, MODEL_NAMES[model_type])
    written = []
    for index in range(min(num_samples, len(dataset))):
        sample = dataset[index]
        prediction = segmenter.predict(sample.image)
        mask, overlay = (save_dir / f"{sample.name}_{kind}.png" for kind in ("mask", "overlay"))
        prediction.save(mask)
        show_prediction(sample.image, prediction.mask, overlay, title=sample.name)
        if show and has_screen():
            show_prediction(sample.image, prediction.mask, title=sample.name)
        written += [mask, overlay]
    return written


def show_test_image(model: str, image_index: int, data_path: Path, save_dir: Path) -> tuple[float, Path | None]:
    """The photo, the predicted mask with its Dice, and the true mask of one test image.

    Returns:
        The Dice at the network's size, and the file the picture was written to, where there is no screen.

    Raises:
        FiguregroundError: there is no such image, or the data or the weights cannot be read.
    """
    dataset = open_dataset(data_path, "test")
    if not 0 <= image_index < len(dataset):
        raise FiguregroundError(f"there is no test image {image_index}; expected 0 to {len(dataset) - 1}")
    segmenter = load_state_dict(saved_model(model), MODEL_NAMES[model])
    sample = dataset[image_index]
    seen = as_seen(segmenter.preprocessing, sample)
    value = float(dice(*counts(segmenter.predict(seen.image).mask, *seen.truth)))
    prediction = segmenter.predict(sample.image)
    example = Example(sample.name, sample.image, sample.mask, prediction.mask, value)
    return value, draw_examples([example], fallback=save_dir / f"{model}-test-{image_index}.png")
