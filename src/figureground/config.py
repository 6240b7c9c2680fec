"""Settings as frozen dataclasses, to and from YAML and JSON; checked once, when they are made.

A class says all there is to know of a setting: its name, type, default and meaning. Whatever is read from a file goes
through ``parse``, which refuses unknown keys and wrong types with the name of the setting.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from figureground.errors import FiguregroundError

T = TypeVar("T")
Foreground = Literal["foreground", "background", "ignore"]


def require(condition: bool, message: str) -> None:
    """Raise ``FiguregroundError(message)`` unless ``condition`` holds."""
    if not condition:
        raise FiguregroundError(message)


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how their masks are read."""

    source: str = "synthetic"
    """A folder (its layout is recognised), or ``synthetic[:n=...,size=...,seed=...]``."""
    foreground: Foreground = "foreground"
    """What the border of a trimap counts as: ``foreground``, ``background``, or ``ignore`` (left out)."""
    mask_threshold: int | None = None
    """Masks with more than two values: this value and above is figure."""
    cache: str = "auto"
    """``auto`` (in the user's cache folder), ``off``, or a folder."""


@dataclass(frozen=True)
class ModelConfig:
    """Which network."""

    name: str = "resnet34_unet"
    """One of ``figureground.MODELS``."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """What the network is built with, such as ``base_width`` of ``unet``."""


@dataclass(frozen=True)
class PreprocessingConfig:
    """What the network expects of its input."""

    size: tuple[int, int] = (256, 256)
    """Height and width that the network sees, in pixels."""
    resize: Literal["stretch"] = "stretch"
    """How a photo gets that size; ``stretch`` does not keep its aspect."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Of each channel, on the scale 0 to 1."""
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        require(min(self.size) >= 32, f"size is {self.size}; expected at least 32 pixels in both directions")
        require(min(self.std) > 0, f"std is {self.std}; expected values above 0")


@dataclass(frozen=True)
class OperatingPoint:
    """From logits to a mask."""

    threshold: float = 0.5
    """A pixel is figure above this probability."""
    temperature: float = 1.0
    """Logits are divided by it before the sigmoid."""
    fitted_on: str | None = None
    """The split they were fitted on; none: defaults."""

    def __post_init__(self) -> None:
        require(0 < self.threshold < 1, f"threshold is {self.threshold}; expected a probability between 0 and 1")
        require(self.temperature > 0, f"temperature is {self.temperature}; expected a number above 0")


@dataclass(frozen=True)
class PostProcessingConfig:
    """What is cleaned up in a mask, in this order."""

    min_area: float = 0.0
    """Parts smaller than this share of the photo, 0 to 1, are removed."""
    keep_largest: bool = False
    """Of the parts the largest alone is kept."""
    fill_holes: bool = False

    def __post_init__(self) -> None:
        require(0 <= self.min_area < 1, f"min_area is {self.min_area}; expected a share of the photo, 0 to 1")


@dataclass(frozen=True)
class QualityConfig:
    """From the features of a prediction to an estimate of its Dice (``prediction.quality``).

    A weighted sum of features is the score, and a curve of straight lines leads from the score to the Dice. The
    default believes ``expected_dice``.
    """

    weights: dict[str, float] = field(default_factory=lambda: {"expected_dice": 1.0})
    """By feature."""
    intercept: float = 0.0
    scores: tuple[float, ...] = (0.0, 1.0)
    """Where the curve has its points, rising."""
    dice: tuple[float, ...] = (0.0, 1.0)
    """How high they are."""
    review_below: float = 0.8
    """A prediction with a lower estimate should be looked at."""
    fitted_on: str | None = None
    """The split it was fitted on; none: defaults."""

    def __post_init__(self) -> None:
        rising = len(self.scores) > 0 and all(a < b for a, b in itertools.pairwise(self.scores))
        require(rising, f"scores are {self.scores}; expected rising numbers")
        counted = f"{len(self.dice)} dice for {len(self.scores)} scores; expected as many"
        require(len(self.dice) == len(self.scores), counted)
        require(0 <= self.review_below <= 1, f"review_below is {self.review_below}; expected a Dice, 0 to 1")


@dataclass(frozen=True)
class Phase:
    """A part of the training with an image size of its own (progressive resolution)."""

    until: float
    """Where the phase ends, as a share of all epochs."""
    size: int
    """Height and width in pixels."""

    def __post_init__(self) -> None:
        require(0 < self.until <= 1, f"until is {self.until}; expected a share of the epochs, 0 to 1")
        require(self.size >= 32, f"size is {self.size}; expected at least 32 pixels")


@dataclass(frozen=True)
class TrainConfig:
    """All of a training run; recipes are files of these."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    start_from: str | None = None
    """A run folder, bundle, exported file or name whose weights the network starts from; none: random ones."""
    epochs: int = 10
    batch_size: int = 4
    learning_rate: float = 1e-4
    """The highest, where a schedule varies it."""
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 0.0
    schedule: Literal["constant", "one_cycle", "cosine"] = "constant"
    """``one_cycle`` and ``cosine`` step with every batch and end near zero."""
    warmup: float = 0.0
    """Share of all steps in which the learning rate rises (``one_cycle`` and ``cosine``)."""
    loss: Literal["bce", "bce_dice"] = "bce"
    teachers: tuple[str, ...] = ()
    """Models (run folders, bundles, exported files, names) to learn from besides the masks; of several the mean."""
    teacher_share: float = 0.4
    """How much the teachers' probabilities count, the rest being the mask: below one half the mask decides."""
    augmentation: Literal["none", "report", "strong", "heavy"] = "report"
    copy_paste: float = 0.0
    """Share of the training images onto which the figure of another one is pasted."""
    negatives: float = 0.0
    """Share of the training images whose place a picture without a figure takes, made of backgrounds."""
    ema_decay: float | None = None
    """Decay per step of the exponential moving average of the weights, which is then what is scored and kept."""
    phases: tuple[Phase, ...] = ()
    """Smaller images first; the rest of the epochs, and all scores, have the full size."""
    accumulate: int = 1
    """Batches whose gradients are added up before a step."""
    clip: float | None = None
    """Highest norm of the gradient."""
    early_stopping: int | None = None
    """Stop after so many epochs without a better valid Dice."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """``auto``: bfloat16 where the processor multiplies it fast, float32 otherwise."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    workers: int | None = None
    """Processes that prepare batches; none: 0 on a CPU, which the network keeps busy, up to 8 with a GPU."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "early_stopping"):
            least = getattr(self, name)
            require(least is None or least >= 1, f"{name} is {least}; expected at least 1")
        for name in ("workers", "seed"):
            require((getattr(self, name) or 0) >= 0, f"{name} is {getattr(self, name)}; expected 0 or above")
        rate = self.learning_rate
        require(0 < rate < math.inf, f"learning_rate is {rate}; expected a number above 0")
        require(self.clip is None or self.clip > 0, f"clip is {self.clip}; expected a number above 0")
        require(self.weight_decay >= 0, f"weight_decay is {self.weight_decay}; expected 0 or above")
        require(0 <= self.warmup < 1, f"warmup is {self.warmup}; expected a share of the steps, 0 to 1")
        for name, whole in (("copy_paste", "images"), ("negatives", "images"), ("teacher_share", "truth")):
            share = getattr(self, name)
            require(0 <= share <= 1, f"{name} is {share}; expected a share of the {whole}, 0 to 1")
        if self.ema_decay is not None:
            require(0 < self.ema_decay < 1, f"ema_decay is {self.ema_decay}; expected a number between 0 and 1")
        ends = [phase.until for phase in self.phases]
        require(ends == sorted(ends), f"phases end at {ends}; expected rising shares of the epochs")

    def size_at(self, epoch: int) -> tuple[int, int]:
        """Height and width of the training images in ``epoch`` (from 0)."""
        for phase in self.phases:
            if epoch < round(phase.until * self.epochs):
                return (phase.size, phase.size)
        return self.preprocessing.size


def parse(cls: type[T], given: Any, where: str = "") -> T:
    """A ``cls`` (a dataclass of this module) from nested dicts and lists, as YAML and JSON give them.

    Raises:
        FiguregroundError: an unknown key, a wrong type or a value out of range; ``where`` names the file.
    """
    where = where or cls.__name__
    require(isinstance(given, Mapping), f"{where}: expected settings by name, found {given!r}")
    hints = get_type_hints(cls)
    for key in given:
        if key not in hints:
            close = difflib.get_close_matches(str(key), hints, n=1)
            advice = f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(hints)}"
            raise FiguregroundError(f"{where}: unknown setting {key!r}; {advice}")
    values = {key: _convert(hints[key], value, f"{where}: {key}") for key, value in given.items()}
    try:
        return cls(**values)
    except FiguregroundError as error:
        raise FiguregroundError(f"{where}: {error}") from None
    except TypeError as error:  # a setting without a default is missing
        raise FiguregroundError(f"{where}: {error}") from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    """``value`` as the type ``hint``, or an error that names the setting."""
    origin, options = get_origin(hint), get_args(hint)
    if origin is Literal:
        require(value in options, f"{where} is {value!r}; expected one of: {', '.join(map(str, options))}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in options:
            return None
        (inner,) = (option for option in options if option is not type(None))
        return _convert(inner, value, where)
    if dataclasses.is_dataclass(hint):
        return parse(hint, value, where) if isinstance(hint, type) else value
    if origin is tuple:
        require(isinstance(value, (list, tuple)), f"{where} is {value!r}; expected a list")
        inner_types = [options[0]] * len(value) if options[-1] is Ellipsis else list(options)
        require(len(value) == len(inner_types), f"{where} is {value!r}; expected {len(inner_types)} values")
        return tuple(_convert(inner, item, where) for inner, item in zip(inner_types, value, strict=True))
    if origin is dict:
        require(isinstance(value, Mapping), f"{where} is {value!r}; expected settings by name")
        return {key: _convert(options[1], inner, f"{where}: {key}") for key, inner in value.items()}
    if hint is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:  # YAML 1.1 reads 1e-4 as text
            return float(value)
        except ValueError:
            raise FiguregroundError(f"{where} is {value!r}; expected a number") from None
    if hint is not Any:
        right = isinstance(value, hint) and not (hint is not bool and isinstance(value, bool))
        require(right, f"{where} is {value!r}; expected {hint.__name__}")
    return value


def plain(settings: Any) -> Any:
    """Dataclasses and tuples as dicts and lists, ready for YAML and JSON; ``parse`` reads them back."""
    if dataclasses.is_dataclass(settings):
        return {f.name: plain(getattr(settings, f.name)) for f in dataclasses.fields(settings)}
    if isinstance(settings, (list, tuple)):
        return [plain(item) for item in settings]
    if isinstance(settings, dict):
        return {key: plain(item) for key, item in settings.items()}
    return settings


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` laid over it; nested settings are merged too, but not a model's arguments."""
    merged = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping) and key != "arguments"
        merged[key] = merge(merged[key], value) if nested else value
    return merged


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    folder = resources.files("figureground").joinpath("recipes")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read_settings(source: str | Path) -> dict[str, Any]:
    """The settings in a YAML file, or in the recipe of that name, as nested dicts.

    Raises:
        FiguregroundError: no such file or recipe, or it is not YAML.
    """
    import yaml

    name = str(source)
    if name in recipe_names():
        text = resources.files("figureground").joinpath("recipes", f"{name}.yaml").read_text()
    else:
        path = Path(source)
        if not path.is_file():
            raise FiguregroundError(
                f"{source}: no such file, and no recipe of that name; recipes are: {', '.join(recipe_names())}"
            )
        text = path.read_text(errors="replace")
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FiguregroundError(f"{source} is not readable as YAML: {error}") from error
    require(isinstance(settings, dict), f"{source}: expected settings by name, found {type(settings).__name__}")
    return dict(settings)


def to_yaml(config: TrainConfig) -> str:
    """All settings as YAML, in the order in which they are declared."""
    import yaml

    return str(yaml.safe_dump(plain(config), sort_keys=False))
