"""Configuration: `params.yaml` defines what to compute, `GPTCORE_*` variables how to run it.

`params.py` is the only reader of params.yaml, `presets.py` composes it of conf/ and `overrides.py`, `settings.py` reads
the environment, `environment.py` knows all of its names, `paths.py` defines the file layout of a workspace, and
`workspaces.py` manages the clones in which flows run.
"""
