"""The lab report's evaluation: ``python evaluate.py --data_path D --model_path M --model_type unet --mode test``."""

import argparse
from pathlib import Path

from figureground import lab_report
from figureground.cli import reporting_errors
from figureground.data import SPLITS

parser = argparse.ArgumentParser(description="The mean Dice of saved weights on a split.")
parser.add_argument("--data_path", type=Path, default=lab_report.DATASET, help="default: dataset/ beside src/")
parser.add_argument("--model_path", type=Path, required=True, help="a state dict (.pth)")
parser.add_argument("--model_type", choices=list(lab_report.MODEL_NAMES), default="unet")
parser.add_argument("--mode", choices=SPLITS, default="test")
parser.add_argument("--batch_size", "-b", type=int, default=1)

if __name__ == "__main__":
    with reporting_errors() as say:
        say(lab_report.evaluate(**vars(parser.parse_args())).summary())
