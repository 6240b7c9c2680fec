"""The lab report's training: ``python train.py --model unet --epochs 30 --batch_size 8 --learning-rate 1e-4``."""

import argparse
import sys
from pathlib import Path

from figureground import lab_report
from figureground.cli import reporting_errors
from figureground.config import TrainConfig

parser = argparse.ArgumentParser(description="Train U-Net or ResNet34-U-Net with the lab report's recipe.")
parser.add_argument("--model", choices=list(lab_report.MODEL_NAMES), default="unet")
parser.add_argument("--data_path", type=Path, default=lab_report.DATASET, help="default: dataset/ beside src/")
parser.add_argument("--epochs", "-e", type=int, default=TrainConfig.epochs)
parser.add_argument("--batch_size", "-b", type=int, default=TrainConfig.batch_size)
parser.add_argument("--resume", type=Path, help="go on with this run, with its own settings")
parser.add_argument("--learning-rate", "-lr", dest="learning_rate", type=float, default=TrainConfig.learning_rate)

if __name__ == "__main__":
    with reporting_errors() as say:
        run = lab_report.train(**vars(parser.parse_args()))
        if run.interrupted:
            say(f"interrupted and saved; go on with: python train.py --resume {run.folder}")
            sys.exit(130)
