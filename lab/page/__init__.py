"""The pages, one module each: `launch.py`, `run.py`, `compare.py`, `playground.py`, `registry.py`.

They share `parts.py` (errors, empty pages, links) and `charts.py`; `pieces.py` belongs to the page of a run,
`origins.py` to the registry's. They keep what they have read for some seconds, and nothing else. Read `run.py` first.
"""
