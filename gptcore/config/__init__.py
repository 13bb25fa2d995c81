"""Configuration: `params.yaml` defines what to compute, `GPTCORE_*` variables how to run it.

`params.py` is the only reader of params.yaml, `presets.py` composes conf/ into it, `settings.py` reads the environment,
`paths.py` defines the file layout of a workspace, and `workspaces.py` manages the clones in which flows run.
"""
