"""The design's directions between the rooms, held to by walking the imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import figureground

PACKAGE = Path(figureground.__file__).parent
LEAVES = {"cores", "errors", "version", "files", "image_files", "images"}
ALLOWED = {
    "errors": set(),
    "version": set(),
    "png": set(),
    "drawing": {"files"},
    "pages": {"files", "version"},
    "cores": set(),
    "precision": set(),
    "files": {"errors"},
    "image_files": {"errors"},
    "images": {"errors", "files", "image_files", "png"},
    "onnx_metadata": {"errors"},
    "settings": {"errors"},
    "config": {"errors", "files", "preprocessing", "settings"},
    "preprocessing": {"settings"},
    "metrics": set(),
    "losses": set(),
    "models": {"errors", "config"},
    "bundle": {"config", "errors", "files", "onnx_metadata", "preprocessing"},
    "runs": {"config", "errors", "files", "pretrained"},
    "data": {"config", "preprocessing", "metrics", "pages", "settings"} | LEAVES,
    "pretrained": set(),
    "prediction": {"preprocessing", "bundle", "runs", "config", "models", "pretrained", "png"} | LEAVES,
    "serving": {"prediction", "bundle", "config", "runs", "settings"} | LEAVES,
    "evaluation": {"prediction", "metrics", "data", "preprocessing", "bundle", "runs", "config", "drawing", "pages"}
    | LEAVES,
    "export": {"prediction", "evaluation", "data", "metrics", "models", "preprocessing", "bundle", "runs", "config"}
    | {"onnx_metadata", "settings"}
    | LEAVES,
    "training": {"data", "models", "losses", "metrics", "bundle", "runs", "config", "preprocessing", "prediction"}
    | {"drawing", "precision"}
    | LEAVES,
    "plan": {"data", "config", "models", "settings", "precision"} | LEAVES,
}
TOP = {"__init__", "__main__", "cli", "demo", "lab_report"}  # may import everything
TORCH_FREE = {
    "cores",
    "errors",
    "version",
    "png",
    "drawing",
    "pages",
    "files",
    "image_files",
    "images",
    "config",
    "settings",
    "preprocessing",
    "metrics",
    "bundle",
    "runs",
    "onnx_metadata",
    "prediction",
    "pretrained",
    "serving",
    "cli",
}
TORCH_ENGINE = "prediction/photos/engines/torch_engine.py"


def imported(path: Path) -> set[str]:
    """All modules that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    here = room(path)
    if here in TOP:
        return
    rooms = {name.split(".")[1] for name in imported(path) if name.startswith("figureground.")}
    forbidden = rooms - ALLOWED[here] - {here}
    assert not forbidden, f"{path.name} in {here} may not import {forbidden}"


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if room(p) in TORCH_FREE], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_torch_stays_in_the_torch_engine(path):
    if path.relative_to(PACKAGE).as_posix() != TORCH_ENGINE:
        assert not {name for name in imported(path) if name.split(".")[0] in {"torch", "lightning", "torchvision"}}


def test_albumentations_stays_in_one_module():
    users = [p.name for p in SOURCES if any(n.split(".")[0] == "albumentations" for n in imported(p))]
    assert users == ["augmentation.py"]
    users = [p.name for p in SOURCES if any(n.split(".")[0] == "albucore" for n in imported(p))]
    assert users == ["pixels.py"]  # its own library of pixel functions


def test_every_room_has_a_direction():
    assert {room(path) for path in SOURCES} - TOP == set(ALLOWED)


@pytest.mark.parametrize(
    "statement",
    ["import figureground", "import figureground.cli", "import figureground.prediction", "import figureground.metrics"],
)
def test_importing_does_not_load_what_is_slow(statement):
    slow = "{'torch', 'lightning', 'albumentations', 'matplotlib', 'jinja2', 'scipy', 'pandas', 'onnxruntime'}"
    code = f"import sys; {statement}; print(*({slow} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == ""


def test_public_names():
    assert sorted(figureground.__all__) == [
        "BundleInfo",
        "DataConfig",
        "Dataset",
        "Evaluation",
        "FiguregroundError",
        "MODELS",
        "ModelConfig",
        "Prediction",
        "Preprocessing",
        "ReadLimits",
        "Run",
        "Sample",
        "Segmenter",
        "TrainConfig",
        "Views",
        "__version__",
        "create_model",
        "dice_score",
        "evaluate",
        "load",
        "open_dataset",
        "resume",
        "show_prediction",
        "tensor_to_image",
        "train",
    ]
    for name in figureground.__all__:
        assert getattr(figureground, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'undice'"):
        _ = figureground.undice
