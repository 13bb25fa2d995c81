"""DVC: whether a stage must run, where its results are, and how they are recorded. The only importers of dvc.

`probe.py` asks for DVC's verdict, `restore.py` brings back what was made before, `record.py` commits what a stage has
made, `remote.py` pushes and fetches, `experiments.py` lists earlier runs. Read `probe.py` first.
"""
