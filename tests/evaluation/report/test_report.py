import json
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from figureground.bundle import BundleInfo, DataSummary, write_bundle
from figureground.cli import app
from figureground.config import DataConfig, ModelConfig, OperatingPoint, TrainConfig, to_yaml
from figureground.data import Sample, open_dataset
from figureground.data.dataset import targets_of
from figureground.errors import FiguregroundError, UsageError
from figureground.evaluation import evaluate, read_record, score_run, slices_of, write_report
from figureground.evaluation.report.examples import ERROR_COLOURS, choose_cases, error_map, examples_of
from figureground.prediction import Member, Segmenter
from figureground.preprocessing import Preprocessing

from ...stubs import Brightness
from . import chromium

needs_chromium = pytest.mark.skipif(
    chromium.EXECUTABLE is None, reason=f"none of {', '.join(chromium.NAMES)} is installed: no page can be looked at"
)
METRICS_CSV = """epoch,train_loss,valid_loss,valid_dice,learning_rate,seconds
1,0.5,0.4,0.7,0.0001,10.0
2,0.4,0.3,0.81,0.0001,10.0
"""


class Squares:
    """36 photos of 60×48 of a bright square, whose truth is more and more to the right; the last has none."""

    name, split, foreground = "squares", "test", "foreground"
    names = tuple(f"<square> & {index}" for index in range(36))

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        image = np.full((60, 48, 3), 40 + index, np.uint8)
        mask = np.zeros((60, 48), bool)
        image[10:40, 5:25] = 220
        if index < 35:
            mask[10:40, 5 + index // 2 : 25 + index // 2] = True
        return Sample(self.names[index], image, targets_of(mask))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "metrics.csv").write_text(METRICS_CSV)
    (folder / "config.yaml").write_text("seed: 0 # <b>\n")
    return folder


@pytest.fixture(scope="module")
def page(run):
    segmenter = Segmenter(Member(BundleInfo(preprocessing=Preprocessing((32, 32))), Brightness(4), "runs/bright"))
    evaluation = evaluate(segmenter, Squares())
    record = read_record(run)
    path = run / "report.html"
    write_report(path, evaluation, segmenter, Squares(), slices=slices_of(evaluation), record=record)
    return path


class Reader(HTMLParser):
    """All tags with their attributes, and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def words(self):
        """The text, wherever its lines are broken."""
        return " ".join(self.text.split())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def read(page):
    return Reader(page.read_text())


def test_pictures_have_words_and_lie_in_the_page(read):
    images = read.all("img")
    assert len(images) == 3 * 6 * 4
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in images)
    assert images[0]["alt"].endswith(": the photograph")
    assert len(read.all("svg")) == 7  # two curves, histogram, threshold, reliability, estimates, slices
    assert all(svg["role"] == "img" and len(svg["aria-label"]) > 5 and "viewbox" in svg for svg in read.all("svg"))


def test_the_estimates_have_a_part(page, read):
    assert "Quality without a mask" in read.text
    assert "marked for review" in read.text
    assert (page.parent / "report" / "risk_coverage.png").is_file()
    assert "Fitted threshold" not in read.text  # the bundle holds defaults


def test_what_was_fitted_stands_beside_the_headline(tmp_path):
    info = BundleInfo(preprocessing=Preprocessing((32, 32)), operating_point=OperatingPoint(0.4, 1.25))
    segmenter = Segmenter(Member(info, Brightness(4), "bright"))
    evaluation = evaluate(segmenter, Squares(), native=False)
    write_report(tmp_path / "a.html", evaluation, segmenter, Squares(), slices=[])
    text = " ".join(Reader((tmp_path / "a.html").read_text()).text.split())
    assert "threshold 0.4, temperature 1.25" in text
    assert f"Dice of these images is {evaluation.fitted.scores.means['dice'].mean:.4f}, 95% interval" in text


def test_nothing_is_loaded_from_elsewhere(page, read):
    assert "http" not in page.read_text()
    assert not read.all("script")
    sources = [
        value for _, given in read.tags for name, value in given.items() if name in ("src", "href", "xlink:href")
    ]
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "viewport" in [meta.get("name") for meta in read.all("meta")]


def test_size(page):
    assert page.stat().st_size < 1_000_000


def test_names_cannot_break_the_page(read):
    assert "<square> & 35, Dice 0.0000" in read.text
    assert "seed: 0 # <b>" in read.text
    assert not read.all("square")


def test_what_it_says(read):
    for words in (
        "How well bright finds the figure",
        "95% interval",
        "mean of 36 images of the split “test” at 32×32",
        "epoch 2 of 2, the best on “valid”: Dice 0.8100",
        "In 1 of 36 images the true mask is empty",
        "Tested on 36 images of squares, and on nothing else",
        "With fewer than 100 images intervals are too narrow",
        "at the photos' own size",
    ):
        assert words in read.words(), words
    assert "which the training has seen" not in read.text


def test_the_plots_are_there_as_files(page):
    names = sorted(path.stem for path in page.with_suffix("").iterdir())
    assert names == [
        "histogram",
        "losses",
        "reliability",
        "risk_coverage",
        "slices_properties",
        "threshold",
        "valid_dice",
    ]
    with Image.open(page.with_suffix("") / "histogram.png") as picture:
        assert picture.width > 500


def test_a_page_of_few_images(tmp_path, page):
    class Two(Squares):
        names = ("a", "b")
        split = "valid"

    segmenter = Segmenter(Member(BundleInfo(preprocessing=Preprocessing((32, 32))), Brightness(4), "bright"))
    evaluation = evaluate(segmenter, Two(), native=False)
    slices = slices_of(evaluation)
    write_report(tmp_path / "two.html", evaluation, segmenter, Two(), slices=slices, record=read_record("none"))
    read = Reader((tmp_path / "two.html").read_text())
    assert "There are too few images to compare groups of them." in read.text
    assert "which the training has seen" in read.text
    assert len(read.all("img")) == 2 * 4


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, {"worst": [0], "median": [], "best": []}),
        (2, {"worst": [0], "median": [], "best": [1]}),
        (5, {"worst": [0], "median": [2], "best": [4]}),
        (30, {"worst": [0, 1, 2, 3, 4, 5], "median": [12, 13, 14, 15, 16, 17], "best": [29, 28, 27, 26, 25, 24]}),
    ],
)
def test_which_cases_are_shown(n, expected):
    assert choose_cases(np.arange(n) / n) == expected


def test_an_error_map():
    mask, truth = np.array([[True, False, True, False, True]]), np.array([[True, True, False, False, False]])
    kept = np.array([[True, True, True, True, False]])
    assert [tuple(pixel) for pixel in error_map(mask, truth, kept)[0]] == list(ERROR_COLOURS.values())
    assert tuple(error_map(mask, truth)[0, 4]) == ERROR_COLOURS["too much"]


@needs_chromium
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_in_a_browser(page, tmp_path, width, dark):
    with chromium.browsing(tmp_path) as tab:
        tab.open(page, width, dark=dark)
        assert tab.run("[...document.images].filter(i => i.complete && i.naturalWidth > 0).length") == 72
        requests = [event["request"]["url"] for event in tab.of("Network.requestWillBeSent")]
        assert [url for url in requests if not url.startswith("data:")] == [page.resolve().as_uri()]
        complaints = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Network.loadingFailed")
        assert [event for kind in complaints for event in tab.of(kind)] == []
        assert tab.run("document.documentElement.scrollWidth") <= width  # tables scroll, the page does not
        ground = tab.run("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
        ink = tab.run("getComputedStyle(document.querySelector('svg text')).fill")
        assert ink == tab.run("getComputedStyle(document.body).color")


@needs_chromium
def test_in_print(page, tmp_path):
    with chromium.browsing(tmp_path) as tab:
        tab.open(page, dark=True)
        tab.print(tmp_path / "report.pdf")
        tab.call("Emulation.setEmulatedMedia", media="print")
        assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert tab.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


DRAWN = "synthetic:n=160,size=32"


@pytest.fixture
def bundle(tmp_path):
    from figureground.models import create_model

    settings = TrainConfig(
        data=DataConfig(DRAWN),
        model=ModelConfig("unet", {"base_width": 4}),
        preprocessing=Preprocessing((32, 32)),
    )
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(to_yaml(settings))
    (folder / "metrics.csv").write_text(METRICS_CSV)
    weights = create_model("unet", {"base_width": 4}).state_dict()
    tensors = {name: value.numpy() for name, value in weights.items()}
    told = DataSummary(reading=DataConfig(""))
    write_bundle(folder / "model.safetensors", tensors, BundleInfo(settings.model, settings.preprocessing, data=told))
    return folder


def test_a_run_gets_its_report(bundle):
    evaluation = score_run(bundle)
    read = Reader((bundle / "report.html").read_text())
    assert "Training" in read.text
    assert f"Dice {evaluation.dice.mean:.4f}" in read.text
    assert "base_width: 4" in read.text  # config.yaml
    assert (bundle / "report" / "losses.png").is_file()
    assert "slices" in json.loads((bundle / "test.json").read_text())


def test_the_commands(bundle, tmp_path):
    table, page, figures = tmp_path / "table.csv", tmp_path / "page.html", tmp_path / "figures.json"
    names = open_dataset(DRAWN, "train").names
    sides = [f"{name},{'left' if index % 2 else 'right'}" for index, name in enumerate(names)]
    table.write_text("\n".join(["name,side", *sides]))
    given = [str(bundle), "--data", DRAWN, "--split", "train", "--metadata", str(table)]
    result = CliRunner().invoke(app, ["evaluate", *given, "--html", str(page), "--json", str(figures)])
    assert result.exit_code == 0, result.output
    assert f"written: {page}" in result.output
    assert "side: left" in Reader(page.read_text()).text
    labels = [found["label"] for found in json.loads(figures.read_text())["slices"]]
    assert labels[-2:] == ["left", "right"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes((bundle / "model.safetensors").read_bytes())
    result = CliRunner().invoke(app, ["compare", str(other), *given])
    assert result.exit_code == 0, result.output
    assert f"  0 of {len(labels)} slices differ, {other} minus {bundle}:" in result.output


def test_cases_show_the_mask_that_the_headline_scores():
    """The fitted threshold takes nearly everything away; the picture and its Dice are of 0.5."""
    fitted = OperatingPoint(threshold=0.999, temperature=2.0, fitted_on="valid")
    info = BundleInfo(preprocessing=Preprocessing((32, 32)), operating_point=fitted)
    segmenter, dataset = Segmenter(Member(info, Brightness(4), "bright")), Squares()
    evaluation = evaluate(segmenter, dataset, native=False)
    (example,) = examples_of(segmenter, dataset, evaluation.dice_per_image, [0])
    assert example.dice > 0.9
    shown, true = example.prediction, example.mask
    assert 2 * (shown & true).sum() / (shown.sum() + true.sum()) == pytest.approx(example.dice, abs=0.03)


def test_figures_are_written_before_the_report(bundle, tmp_path):
    page, figures = tmp_path / "page.html", tmp_path / "a.json"
    given = ["evaluate", str(bundle), "--data", DRAWN, "--json", str(figures), "--html"]
    refused = CliRunner().invoke(app, [*given, str(tmp_path / "page")])
    assert isinstance(refused.exception, UsageError)
    assert "is the name of its folder of plots; expected one such as" in str(refused.exception)
    (tmp_path / "page").write_text("in the way of the plots")
    refused = CliRunner().invoke(app, [*given, str(page)])
    assert "page exists; choose another name or replace it with --overwrite" in str(refused.exception)
    assert not figures.exists()
    failed = CliRunner().invoke(app, [*given, str(page), "--overwrite"])
    assert isinstance(failed.exception, FiguregroundError)
    assert json.loads(figures.read_text())["n"] > 0
    assert "test Dice" in failed.output
