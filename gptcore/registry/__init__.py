"""The MLflow registry: runs, versions of the model `gpt`, and the aliases `champion` and `challenger`.

`tracking.py` is the MLflow client, `address.py` says where the registry is, `answers.py` what MLflow's errors mean,
`judge.py` which version is champion. `moves.py` moves an alias and writes it into `journal.py`'s lines, which
`history.py` shows; `rollback.py` is the way back. `pack.py` is what travels with a version: MLflow loads `pyfunc.py`,
which checks its parameters with `sampling.py`. `pages.py` is what MLflow's pages show, `moved.py` is for a checkout that
was moved.
Nothing else imports mlflow.
"""
