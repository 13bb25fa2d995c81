"""The MLflow registry: runs, versions of the model `gpt`, and the aliases `champion` and `challenger`.

`tracking.py` is the client, `address.py` says where the registry is, `answers.py` what errors mean, `judge.py` which
version is champion, `lineage.py` what it is made of. `moves.py` moves an alias and writes it into `journal.py`, which
`history.py` shows; `rollback.py` is the way back. `pack.py` is what travels with a version: MLflow loads `pyfunc.py`,
which checks parameters with `sampling.py`. `pages.py` is what MLflow's pages show, `moved.py` is for a moved checkout.
Nothing else imports mlflow.
"""
