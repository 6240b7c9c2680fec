"""The lab report's look at one test image: the photo, the predicted mask with its Dice, the true mask."""

import argparse
from pathlib import Path

from figureground import lab_report
from figureground.cli import reporting_errors

parser = argparse.ArgumentParser(description="Show what saved_models/best_MODEL.pth makes of one test image.")
parser.add_argument("--model", choices=list(lab_report.MODEL_NAMES), default="unet")
parser.add_argument("--image_index", type=int, default=0)
parser.add_argument("--data_path", type=Path, default=lab_report.DATASET, help="default: dataset/ beside src/")
parser.add_argument("--save_dir", type=Path, default=Path(), help="for the picture, where there is no screen")

if __name__ == "__main__":
    with reporting_errors() as say:
        value, picture = lab_report.show_test_image(**vars(parser.parse_args()))
        say(f"Dice {value:.4f}" + (f", picture: {picture}" if picture else ""))
