"""The DVC stages: each takes sections of params.yaml and files, and produces files and metrics.

Each stage is a module, run as `python -m gptcore.stages.<stage>`, with a function of the same name whose arguments are
the sections it depends on. `run_stage.py` reads them, calls the function and maps errors to exit codes. Read
`train.py` first.
"""

import os

# Waiting threads spin this briefly, then sleep. By default they spin for milliseconds, and two training runs on one
# machine compete for the CPU: measured five times slower than sharing it. GNU OpenMP reads this when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# GPTCORE_DETERMINISTIC requires this; cuBLAS reads it when a GPU is first used.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
