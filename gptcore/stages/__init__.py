"""The DVC stages: each takes sections of params.yaml and files, and produces files and metrics.

Each stage is a module, run as `python -m gptcore.stages.<stage>`, with a function of the same name whose arguments are
the sections it depends on. `run_stage.py` reads them, calls the function and maps errors to exit codes. Read
`train.py` first.
"""

import os

from gptcore.stages import neighbours

# Waiting threads spin this briefly, then sleep. By default they spin for milliseconds: alone, a training step is 11 to
# 14 % faster so, but two runs on one machine take each other's cores and are half as fast as with this, or slower. GNU
# OpenMP reads it when torch is imported. A worker with several runs at once sets it for all of them.
if neighbours.are_busy():
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# GPTCORE_DETERMINISTIC requires this; cuBLAS reads it when a GPU is first used.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
