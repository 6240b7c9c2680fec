"""All settings, as frozen dataclasses; from and to YAML.

A field says all there is to know of a setting: name, type, default, range and what it is. Help, error messages and
docs/settings.md are made of it (``figureground.settings``).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from figureground.errors import BadSettingsError
from figureground.files import read_text
from figureground.preprocessing import Preprocessing
from figureground.settings import REQUIRED, check, flat, merge, parse, plain, require, setting

__all__ = ["flat", "merge", "parse", "plain", "require"]  # which come with the settings
Foreground = Literal["foreground", "background", "ignore"]
FOREGROUNDS: tuple[Foreground, ...] = get_args(Foreground)
"""What the border of a trimap can count as; ``ignore``: it is left out."""


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how their masks are read."""

    source: str = setting(
        "synthetic",
        "A folder, a COCO file or a table (what it is is recognised), or synthetic[:n=...,size=...,seed=...].",
        flags=("--data",),
    )
    foreground: Foreground = setting(
        "foreground", "What the border of a trimap counts as: foreground, background, or ignore (left out)."
    )
    mask_threshold: int | None = setting(None, "Masks with more than two values: this value and above is figure.")
    figure_values: tuple[str, ...] = setting(
        (),
        "Masks of several classes: these values (3,4), or colours such as #ff0000, are figure, all else background.",
        flags=("--figure-value",),
    )
    category: tuple[str, ...] = setting(
        (), "COCO and labelme: what is of these categories is figure, all else background; none: of any."
    )
    ignore_value: int | None = setting(None, "Pixels of this value in a mask are left out of loss and score.")
    group: str | None = setting(
        None,
        "Images of one group stay in one split: folder, the folder that a name begins with, or a regular expression "
        "whose first group or whole match in the name it is.",
    )
    split: Literal["shares", "names"] = setting(
        "shares",
        "How a folder that is not divided is: shares, exactly 80/10/10 with near duplicates and groups together, or "
        "names, by the hash of each name, so that an image stays where it is when others are added.",
        flags=("--split-by",),
    )
    folds: int | None = setting(
        None,
        "Cross-validation: everything but an official test part in so many folds, each held out once.",
        at_least=2,
    )
    fold: int | None = setting(
        None, "Of the folds the one that is held out, as test, from 1; none: each in turn.", at_least=1
    )
    cache: str = setting("auto", "Decoded images: auto (in the user's cache folder), off, or a folder.")

    def __post_init__(self) -> None:
        check(self)
        among = self.fold is None or (self.folds is not None and self.fold <= self.folds)
        require(among, f"fold is {self.fold}, of {self.folds or 'no'} folds; expected one of 1 to their number")
        named = self.folds is not None and self.split == "names"
        require(not named, "folds are of equal size, and names divide by chance; leave out split (--split-by)")

    @property
    def cross_validates(self) -> bool:
        """Whether all folds are meant, each in turn, and not one of them."""
        return self.folds is not None and self.fold is None


@dataclass(frozen=True)
class ModelConfig:
    """Which network: the graph alone, not where its weights come from."""

    name: str = setting(
        "resnet34_unet",
        "Which network: unet, resnet34_unet, compact_fpn, or a decoder of an encoder.",
        flags=("--model",),
    )
    arguments: dict[str, Any] = setting(
        {}, "What the network is built with, such as {base_width: 32} of unet.", flags=("--arguments",)
    )
    encoder: str | None = setting(
        None, "What the decoder stands on: a network of timm, such as efficientnet_lite0.", flags=("--encoder",)
    )


@dataclass(frozen=True)
class InitialWeights:
    """Which weights a training starts from; none: random ones."""

    network: str | None = setting(
        None,
        "A run folder, .safetensors bundle or name whose weights the whole network starts from.",
        flags=("--start-from",),
    )
    encoder: str | None = setting(
        None,
        "Where the network's are not given, the encoder's weights: imagenet, or a file.",
        flags=("--encoder-weights",),
    )


@dataclass(frozen=True)
class OperatingPoint:
    """From logits to a mask."""

    threshold: float = setting(0.5, "A pixel is figure above this probability.", above=0, below=1)
    temperature: float = setting(1.0, "Logits are divided by it before the sigmoid.", at_least=1e-3, at_most=1e3)
    fitted_on: str | None = setting(None, "The split they were fitted on; none: defaults.")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class PostProcessingConfig:
    """What is cleaned up in a mask, in this order."""

    min_area: float = setting(
        0.0, "Parts smaller than this share of the photo, 0 to 1, are removed.", at_least=0, below=1
    )
    keep_largest: bool = setting(False, "Of the parts the largest alone is kept.", flags=("--keep-largest/--keep-all",))
    fill_holes: bool = setting(False, "Holes in the figure are filled.", flags=("--fill-holes/--keep-holes",))

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class QualityConfig:
    """From the features of a prediction to an estimate of its Dice (``prediction.quality``).

    A weighted sum of features is the score, and a curve of straight lines leads from the score to the Dice. The
    default believes ``expected_dice``.
    """

    weights: dict[str, float] = setting({"expected_dice": 1.0}, "By feature.")
    intercept: float = setting(0.0, "Added to the weighted sum.")
    scores: tuple[float, ...] = setting((0.0, 1.0), "Where the curve has its points, rising.")
    dice: tuple[float, ...] = setting((0.0, 1.0), "How high they are.")
    review_below: float = setting(0.8, "A prediction with a lower estimate should be looked at.", at_least=0, at_most=1)
    fitted_on: str | None = setting(None, "The split it was fitted on; none: defaults.")

    def __post_init__(self) -> None:
        check(self)
        rising = len(self.scores) > 0 and all(a < b for a, b in itertools.pairwise(self.scores))
        require(rising, f"scores are {self.scores}; expected rising numbers")
        counted = f"{len(self.dice)} dice for {len(self.scores)} scores; expected as many"
        require(len(self.dice) == len(self.scores), counted)


@dataclass(frozen=True)
class ImportConfig:
    """What is said of somebody else's network, whose file does not say it."""

    preprocessing: Preprocessing = Preprocessing()
    output_index: int = setting(0, "Which of the network's outputs shows the figure.", at_least=0)
    activation: Literal["none", "sigmoid", "minmax", "sigmoid-minmax"] = setting(
        "none",
        "What the output is: none, logits; sigmoid, probabilities; minmax, a map that is stretched from its least to "
        "its greatest value; sigmoid-minmax, logits whose sigmoid is stretched.",
    )
    brightest: bool = setting(
        False, "Pixels are divided by the brightest of the photo instead of by 255.", flags=("--brightest/--by-255",)
    )
    licence: str = setting("", "Of the weights, such as Apache-2.0.")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Phase:
    """A part of the training with an image size of its own (progressive resolution)."""

    until: float = setting(REQUIRED, "Where the phase ends, as a share of all epochs.", above=0, at_most=1)
    size: int = setting(REQUIRED, "Height and width in pixels.", at_least=32)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class TrainConfig:
    """All of a training run; recipes are files of these."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    preprocessing: Preprocessing = Preprocessing()
    initial_weights: InitialWeights = InitialWeights()
    minutes: float | None = setting(
        None, "What the training may take, start and test included; epochs follow from it.", above=0
    )
    epochs: int = setting(
        10,
        "How often every training image is seen; with epoch_images, how many epochs.",
        at_least=1,
        flags=("--epochs", "-e"),
    )
    epoch_images: int | None = setting(
        None, "Images, or crops of them, that an epoch shows; none: every image once.", at_least=1
    )
    batch_size: int = setting(4, "Images for a step.", at_least=1, flags=("--batch-size", "-b"))
    learning_rate: float = setting(1e-4, "The highest, where a schedule varies it.", above=0)
    encoder_rate: float = setting(
        1.0, "Share of the learning rate for the encoder, where it has learned before.", above=0, at_most=1
    )
    freeze_epochs: int = setting(0, "Epochs at the start in which the encoder stands still.", at_least=0)
    optimizer: Literal["adam", "adamw"] = setting("adam", "How weights follow the gradient.")
    weight_decay: float = setting(0.0, "What adamw takes of the weights in each step.", at_least=0)
    schedule: Literal["constant", "one_cycle", "cosine"] = setting(
        "constant", "The learning rate over time; one_cycle and cosine step with every batch and end near zero."
    )
    warmup: float = setting(
        0.0, "Share of all steps in which the learning rate rises (one_cycle and cosine).", at_least=0, below=1
    )
    loss: Literal["bce", "bce_dice"] = setting("bce", "What is made small.")
    teachers: tuple[str, ...] = setting(
        (),
        "A model (run folder, bundle, exported file, name) to learn from besides the masks; of several the mean.",
        flags=("--teacher",),
    )
    teacher_share: float = setting(
        0.4,
        "How much teachers' probabilities count, the rest being the mask: below one half the mask decides.",
        at_least=0,
        at_most=1,
    )
    augmentation: Literal["none", "report", "strong", "heavy"] = setting("report", "How images are varied.")
    upright: bool = setting(
        True, "Up and down matter; otherwise images are also turned by quarters.", flags=("--upright/--turned",)
    )
    figure_crops: float = setting(
        0.0, "Of crops: the share that lies around a pixel of the figure, the rest anywhere.", at_least=0, at_most=1
    )
    copy_paste: float = setting(
        0.0, "Share of the training images onto which the figure of another one is pasted.", at_least=0, at_most=1
    )
    negatives: float = setting(
        0.0,
        "Share of the training images whose place a picture without a figure takes, made of backgrounds.",
        at_least=0,
        at_most=1,
    )
    ema_decay: float | None = setting(
        None,
        "Decay per step of the exponential moving average of the weights, which is then what is scored and kept.",
        above=0,
        below=1,
    )
    phases: tuple[Phase, ...] = setting(
        (),
        "Smaller images first, [{until: 0.5, size: 128}]; the rest of the epochs, and all scores, have the full size.",
    )
    accumulate: int = setting(1, "Batches whose gradients are added up before a step.", at_least=1)
    clip: float | None = setting(None, "Highest norm of the gradient.", above=0)
    early_stopping: int | None = setting(None, "Stop after so many epochs without a better valid Dice.", at_least=1)
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto", "Of the arithmetic; auto: bfloat16 where the processor multiplies it fast, float32 otherwise."
    )
    device: Literal["auto", "cpu", "gpu"] = setting("auto", "Where the network is trained.")
    workers: int | None = setting(
        None,
        "Processes that prepare batches; none: 0 on a CPU, which the network keeps busy, up to 8 with a GPU.",
        at_least=0,
    )
    seed: int = setting(0, "Of all random numbers.", at_least=0)

    def __post_init__(self) -> None:
        check(self)
        ends = [phase.until for phase in self.phases]
        require(ends == sorted(ends), f"phases end at {ends}; expected rising shares of the epochs")

    def size_at(self, epoch: int) -> tuple[int, int]:
        """Height and width of the training images in ``epoch`` (from 0)."""
        for phase in self.phases:
            end = round(phase.until * self.epochs)
            if epoch < (end if phase.until == 1 else min(end, self.epochs - 1)):  # the last one has the full size
                return (phase.size, phase.size)
        return self.preprocessing.size


@dataclass(frozen=True)
class ServeConfig:
    """What ``figureground serve`` may use: everything that a client can make larger has a bound."""

    host: str = setting("127.0.0.1", "The address to listen at; 0.0.0.0: all of this machine's.")
    port: int = setting(8000, "The port to listen at; 0: one that is free.", at_least=0, at_most=65535)
    workers: int = setting(1, "Processes, each with models and a queue of its own.", at_least=1)
    concurrency: int | None = setting(
        None, "Photos that a process works on at once; none: one more than it has cores.", at_least=1
    )
    queue: int = setting(32, "Requests that may wait for their turn; one more is answered with 429.", at_least=0)
    longest_wait: float = setting(30.0, "Seconds a request may wait before it is answered with 503.", above=0)
    longest_run: float = setting(60.0, "Seconds a request may be worked on before it is answered with 503.", above=0)
    longest_upload: float = setting(30.0, "Seconds in which a request has to arrive.", above=0)
    max_bytes: float = setting(32e6, "Of one request, at the most.", at_least=1)
    max_pixels: float = setting(50e6, "Of one photo, at the most.", at_least=1)
    held_bytes: float = setting(512e6, "Of all requests that are held at once; beyond it, 429.", at_least=1)

    def __post_init__(self) -> None:
        check(self)


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    folder = resources.files("figureground").joinpath("recipes")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read_settings(source: str | Path) -> dict[str, Any]:
    """The settings in a YAML file, or in the recipe of that name, as nested dicts.

    Raises:
        BadSettingsError: no such file or recipe, or it is not YAML.
    """
    import yaml

    name = str(source)
    if name in recipe_names():
        text = resources.files("figureground").joinpath("recipes", f"{name}.yaml").read_text()
    else:
        path = Path(source)
        if not path.exists() or path.is_dir():
            raise BadSettingsError(
                f"{source}: no such file, and no recipe of that name; recipes are: {', '.join(recipe_names())}"
            )
        text = read_text(path)
    try:
        settings = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # the latter two of numbers and nests without end
        raise BadSettingsError(f"{source} is not readable as YAML: {error}") from error
    require(isinstance(settings, dict), f"{source}: expected settings by name, found {type(settings).__name__}")
    return _translated(settings)


def _translated(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What version 0.1 wrote (``start_from``, and ``pretrained`` among the model's arguments) under today's names."""
    given = dict(settings)
    weights: dict[str, Any] = {}
    if "start_from" in given:
        weights["network"] = given.pop("start_from")
    model = given.get("model")
    arguments = model.get("arguments") if isinstance(model, Mapping) else None
    if isinstance(model, Mapping) and isinstance(arguments, Mapping) and "pretrained" in arguments:
        arguments = dict(arguments)
        weights["encoder"] = "imagenet" if arguments.pop("pretrained") else None
        given["model"] = {**model, "arguments": arguments}
    return merge(given, {"initial_weights": weights}) if weights else given


def to_yaml(config: TrainConfig) -> str:
    """All settings as YAML, in the order in which they are declared."""
    import yaml

    return str(yaml.safe_dump(plain(config), sort_keys=False))
