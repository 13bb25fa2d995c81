"""DVC: whether a stage must run, where its results are, and how they are recorded. The only importers of dvc.

`probe.py` gets DVC's verdict, `restore.py` restores cached outputs, `record.py` commits new ones, `remote.py` pushes
and fetches, `experiments.py` lists earlier runs, `verify.py` says what is damaged or missing. Read `probe.py` first.
"""
