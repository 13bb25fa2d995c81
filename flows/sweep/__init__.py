"""The sweep: a grid of values comes in; ranked runs of train-gpt and a promoted best model go out.

`sweep_gpt.py` is the flow, `grid.py` chooses the members, `runs.py` starts and awaits their runs, `report.py` and
`plot.py` present the results. `python -m flows.sweep` is the command. Read `sweep_gpt.py` first.
"""
