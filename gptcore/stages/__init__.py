"""The DVC stages: sections of params.yaml and files come in; files and metrics go out.

One module per stage, run as `python -m gptcore.stages.<stage>`, with one function of the same name whose arguments are
the sections that it depends on. `run_stage.py` reads those, calls it and turns errors into exit codes. Read `train.py`
first.
"""

import os

# Threads that wait for each other spin this briefly, then sleep. By default they spin on for milliseconds, and two
# trainings on one machine take the processor from each other: five times slower than sharing it, by measurement.
# GNU OpenMP reads it when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# What cuBLAS needs for GPTCORE_DETERMINISTIC; it reads it when a GPU is first used.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
