"""The lab report's inference: masks, and photos with the mask laid over, of the first images of a split."""

import argparse
from pathlib import Path

from figureground import lab_report
from figureground.cli import reporting_errors
from figureground.data import SPLITS

parser = argparse.ArgumentParser(description="Save the masks of the first images of a split.")
parser.add_argument("--model", type=Path, required=True, help="a state dict (.pth)")
parser.add_argument("--model_type", choices=list(lab_report.MODEL_NAMES), default="unet")
parser.add_argument("--data_path", type=Path, default=lab_report.DATASET, help="default: dataset/ beside src/")
parser.add_argument("--mode", choices=SPLITS, default="test")
parser.add_argument("--num_samples", type=int, default=5)
parser.add_argument("--save_dir", type=Path, default=Path("predictions"))
parser.add_argument("--no_show", dest="show", action="store_false", help="save only")

if __name__ == "__main__":
    with reporting_errors() as say:
        for path in lab_report.inference(**vars(parser.parse_args())):
            say(path)
