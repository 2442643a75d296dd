"""What only POSIX systems have is not needed to load any part of the package."""

from __future__ import annotations

import subprocess
import sys

WITHOUT_POSIX = """
import importlib, os, pkgutil, signal, sys
import torch, torch.utils.tensorboard, torch.distributed, pydantic, rich.console, tokenizers, uvicorn, fastapi, filelock
import huggingface_hub, tyro, transformers, sacrebleu, matplotlib.pyplot, redis.asyncio, llguidance, gguf
import starlette.testclient
for name in ("fcntl", "grp", "pwd", "readline", "resource", "termios", "tty"):
    sys.modules[name] = None
for place, names in ((os, ("sched_getaffinity", "fork", "getuid", "setsid")), (signal, ("SIGHUP", "SIGKILL"))):
    for name in names:
        delattr(place, name)
import rxt
for found in pkgutil.walk_packages(rxt.__path__, "rxt."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
        print(found.name)
"""


def test_every_module_loads_without_what_windows_has_not() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_POSIX], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.split()) > 200
