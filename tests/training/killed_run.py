"""A run for a test to kill: ``python killed_run.py OUT``. It says when it begins to train."""

import sys
from pathlib import Path

import torch
from micro import RUN, quiet

from rxt.training.pipeline import train

torch.set_num_threads(1)
print("training", flush=True)
train(RUN, Path(sys.argv[1]), quiet())
