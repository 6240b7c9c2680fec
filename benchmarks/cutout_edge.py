"""How near the edge of a cut-out is to the truth, what it costs, and a picture of it at four times the size.

Truth is drawn: a furry outline whose alpha is known, filled with the fur of a cat and laid over three backgrounds. Its
alpha shrunk to 256 by 256 and enlarged again stands for a network's answer, once as it is and once two pixels too wide,
as networks draw it that learnt outlines with their border. Compared are the probability as alpha and ours (mean
absolute error around the edge), and the photo's colours and ours (mean error of the mixed pixels, 0 to 255, weighted
with alpha: what is seen on another background). Time is the median of repeats, memory what comes on top of the result.

    python benchmarks/cutout_edge.py --picture docs/cutout.png --json benchmarks/results/cutout_edge.json

``--data DIR --model MODEL`` adds real photographs: the error of a model's answer at the pixels that the trimaps of
Oxford-IIIT Pet decide, within ten network pixels of the undecided border; photos with a Dice below 0.9 do not count.
The picture is of photographs that come with scikit-image; the cat's rough outline is drawn by hand.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from machine import print_table, write_results
from PIL import Image, ImageDraw
from scipy import ndimage

from figureground.images import write_image
from figureground.prediction.pictures.cutout import backdrop, blended, cutout_bands
from figureground.prediction.pictures.matting import Grid, foreground_of, local_colours
from figureground.preprocessing import sigmoid

NETWORK = 256
SIZE = 1024
MAGENTA, WHITE = (255, 0, 255), (255, 255, 255)
CAT_OUTLINE = (
    *((0, 299), (0, 124), (28, 109), (27, 80), (29, 40), (36, 0), (402, 0), (385, 22), (381, 42), (369, 64)),
    *((362, 76), (361, 95), (367, 115), (368, 137), (361, 158), (354, 188), (338, 204), (322, 218), (317, 242)),
    *((314, 258), (304, 278), (298, 299)),
)
CROPS = ((85, 305), (15, 10))  # top and left in the cat's photo
CROP, ZOOM = 76, 4


def as_network(alpha: np.ndarray, height: int, width: int, too_wide: int = 0) -> np.ndarray:
    """An alpha as a network would answer: at its size, unsure, enlarged to height and width."""
    small = np.asarray(Image.fromarray(alpha).resize((NETWORK, NETWORK), Image.Resampling.BOX))
    small = ndimage.maximum_filter(small, 2 * too_wide + 1)
    logits = np.clip(np.log((small + 0.02) / (1.02 - small)), -4, 4).astype(np.float32)
    return sigmoid(np.asarray(Image.fromarray(logits).resize((width, height), Image.Resampling.BILINEAR)))


def cutout(image: np.ndarray, probability: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """The whole of a cut-out, (H, W, 4)."""
    return np.concatenate([rgba for _, rgba in cutout_bands(image, probability, threshold)])


def refine_alpha(image: np.ndarray, probability: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """The alpha (H, W) of a cut-out, 0 to 1."""
    return cutout(image, probability, threshold)[..., 3] / np.float32(255)


def estimate_foreground(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The figure's own colours, where alpha is known."""
    grid, everything = Grid.over(image), (slice(0, image.shape[0]), slice(0, image.shape[1]))
    means = local_colours(grid, grid.sample(image), grid.sample(alpha))
    return foreground_of(grid.enlarge(means, everything), image, alpha)


def draw_fur(hairs: int = 5000, oversampling: int = 2) -> np.ndarray:
    """The alpha of a furry outline, (SIZE, SIZE) float32."""
    generator, side = np.random.default_rng(0), SIZE * oversampling
    picture = Image.new("L", (side, side))
    pen = ImageDraw.Draw(picture)

    def edge(angle: Any, share: Any = 1) -> np.ndarray:
        radius = side * 0.3 * (1 + 0.12 * np.sin(3 * angle) + 0.06 * np.sin(5 * angle + 1)) * share
        return np.stack([side / 2 + radius * np.cos(angle), side / 2 + radius * np.sin(angle)], axis=-1)

    pen.polygon([tuple(point) for point in edge(np.linspace(0, 2 * np.pi, 400))], fill=255)
    for _ in range(hairs):
        angle = generator.uniform(0, 2 * np.pi)
        lean = angle + generator.normal(0, 0.5)
        root = edge(angle, generator.uniform(0.97, 1))
        tip = root + side * generator.uniform(0.005, 0.03) * np.array([np.cos(lean), np.sin(lean)])
        half = oversampling * generator.uniform(0.5, 1.6) * np.array([-np.sin(lean), np.cos(lean)])
        pen.polygon([tuple(root - half), tuple(root + half), tuple(tip)], fill=255)
    return np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BOX), np.float32) / 255


def filled(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32)


def drawn_scenes(alpha: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The figure's colours, and its image over each background."""
    figure = filled(skimage.data.chelsea()[30:230, 70:300])
    backgrounds = {
        "plain green": np.full((8, 8, 3), (60, 160, 70), np.uint8),
        "astronaut": skimage.data.astronaut(),
        "coffee": skimage.data.coffee(),
    }
    share = alpha[..., None]
    blended = {name: share * figure + (1 - share) * filled(behind) for name, behind in backgrounds.items()}
    return figure, {name: np.round(image).astype(np.uint8) for name, image in blended.items()}


def measure_drawn() -> list[dict[str, Any]]:
    alpha = draw_fur()
    figure, images = drawn_scenes(alpha)
    edge = ndimage.binary_dilation(alpha > 0.5) ^ (alpha > 0.5)
    band = ndimage.distance_transform_edt(~edge) < 40
    mixed = (alpha > 0.02) & (alpha < 0.98)
    results = []
    for name, image in images.items():
        estimated = estimate_foreground(image, alpha)
        colour = {
            key: float((np.abs(pixels - figure).mean(axis=-1) * alpha)[mixed].mean())
            for key, pixels in {"photo": image, "ours": estimated}.items()
        }
        for too_wide in (0, 2):
            probability = as_network(alpha, SIZE, SIZE, too_wide)
            answers = {"probability": probability, "ours": refine_alpha(image, probability)}
            errors = {key: float(np.abs(answer - alpha)[band].mean()) for key, answer in answers.items()}
            results.append({"background": name, "too_wide": too_wide, "alpha_error": errors, "colour_error": colour})
    return results


def measure_photographs(data: Path, model: str, longest: int = 700, least_dice: float = 0.9) -> dict[str, Any]:
    """Mean error of alpha at the decided pixels near the border of real photographs."""
    import figureground
    from figureground.images import read_indices

    segmenter, errors = figureground.load(model), []
    for path in sorted((data / "images").glob("*.jpg"))[::5]:
        trimap = read_indices(data / "annotations/trimaps" / f"{path.stem}.png")  # 1 figure, 2 background, 3 undecided
        if max(trimap.shape) > longest:
            continue
        prediction = segmenter.predict(path)
        truth = trimap != 2
        if 2 * (prediction.mask & truth).sum() < least_dice * (prediction.mask.sum() + truth.sum()):
            continue
        near = ndimage.distance_transform_edt(trimap != 3) < 10 * max(trimap.shape) / NETWORK
        decided = near & (trimap != 3)
        answers = (prediction.probability, refine_alpha(prediction.image, prediction.probability, prediction.threshold))
        errors.append([float(np.abs(answer - (trimap == 1))[decided].mean()) for answer in answers])
    probability, ours = np.mean(errors, axis=0)
    return {"photographs": len(errors), "probability": float(probability), "ours": float(ours)}


def measure_cost(shape: tuple[int, int], repeats: int) -> dict[str, Any]:
    """Seconds of ``cutout``, and the memory that it needs beyond its result."""
    height, width = shape
    image = np.asarray(Image.fromarray(skimage.data.chelsea()).resize((width, height)))
    probability = as_network(outline(), height, width)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        cutout(image, probability)
        seconds.append(time.perf_counter() - start)
    tracemalloc.start()
    rgba = cutout(image, probability)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    extra = (peak - rgba.nbytes) / 2**20
    return {"megapixels": height * width / 1e6, "seconds": statistics.median(seconds), "extra_mib": extra}


def outline() -> np.ndarray:
    """The cat's rough outline, drawn by hand."""
    picture = Image.new("L", (451, 300))
    ImageDraw.Draw(picture).polygon(CAT_OUTLINE, fill=255)
    return np.asarray(picture, np.float32) / 255


def draw_picture(path: Path) -> None:
    """Edges of a cat, and of drawn fur, at four times their size: photo, mask, probability, ours twice."""
    cat = skimage.data.chelsea()
    scenes = [(cat, as_network(outline(), *cat.shape[:2]), *crop) for crop in CROPS]
    alpha = draw_fur()
    scenes.append((drawn_scenes(alpha)[1]["coffee"], as_network(alpha, SIZE, SIZE), 470, 805))
    rows = [row(*scene) for scene in scenes]
    header = Image.new("RGB", (rows[0].shape[1], 24), WHITE)
    pen = ImageDraw.Draw(header)
    for column, text in enumerate(("photo", "mask", "probability as alpha", "cut-out", "cut-out on white")):
        pen.text((column * CROP * ZOOM + 6, 6), text, fill=(0, 0, 0))
    write_image(path, np.concatenate([np.asarray(header), *rows]))


def row(image: np.ndarray, probability: np.ndarray, top: int, left: int) -> np.ndarray:
    mask = (probability > 0.5).astype(np.float32)
    ours = cutout(image, probability)
    panels = [
        image,
        *(blended(with_alpha(image, alpha), backdrop(MAGENTA, *mask.shape)) for alpha in (mask, probability)),
        *(blended(ours, backdrop(colour, *mask.shape)) for colour in (MAGENTA, WHITE)),
    ]
    crops = [panel[top : top + CROP, left : left + CROP] for panel in panels]
    return np.concatenate(crops, axis=1).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)


def with_alpha(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.dstack([image, np.round(alpha * 255).astype(np.uint8)])


def print_results(results: dict[str, Any]) -> None:
    rows = [
        (
            f"{case['background']}, {case['too_wide']} px too wide",
            *(f"{case['alpha_error'][key]:.4f}" for key in ("probability", "ours")),
            *(f"{case['colour_error'][key]:.1f}" for key in ("photo", "ours")),
        )
        for case in results["drawn"]
    ]
    print_table(("drawn fur", "alpha: probability", "ours", "colour: photo", "ours"), rows)
    if "photographs" in results:
        case = results["photographs"]
        print_table(
            ("photographs", "probability", "ours"),
            [(str(case["photographs"]), f"{case['probability']:.4f}", f"{case['ours']:.4f}")],
        )
    cost = [(f"{c['megapixels']:.1f}", f"{c['seconds']:.3f}", f"{c['extra_mib']:.0f}") for c in results["cost"]]
    print_table(("megapixels", "seconds", "extra MiB"), cost)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="Oxford-IIIT Pet with the photographs at their own size")
    parser.add_argument("--model", help="a run folder or a bundle; needed with --data")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--picture", type=Path, help="draw the edges here (PNG)")
    parser.add_argument("--json", type=Path, help="write the results here")
    given = parser.parse_args()
    if (given.data is None) != (given.model is None):
        parser.error("--data and --model belong together")
    return given


def main() -> None:
    given = arguments()
    cost = [measure_cost(shape, given.repeats) for shape in ((1024, 1024), (3000, 4000), (9000, 12000))]
    results: dict[str, Any] = {"drawn": measure_drawn(), "cost": cost}
    if given.data is not None:
        results["photographs"] = measure_photographs(given.data, given.model)
    print_results(results)
    if given.picture is not None:
        draw_picture(given.picture)
    write_results(given.json, "cutout_edge", {"repeats": given.repeats}, results)


if __name__ == "__main__":
    main()
