"""Configuration: `params.yaml` is what to compute, `GPTCORE_*` variables say how to run it.

`params.py` is the only reader of params.yaml, `presets.py` composes conf/ into it, `settings.py` reads the environment,
`paths.py` says where a workspace keeps its files, and `workspaces.py` manages the clones that flow runs work in.
"""
