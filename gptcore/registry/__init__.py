"""The MLflow registry: runs, versions of the model `gpt`, and the aliases `champion` and `challenger`.

`tracking.py` is the client, `address.py` says where the registry is, `answers.py` what errors mean, `judge.py` which
version is champion. `moves.py` moves an alias and writes it into `journal.py`, see `history.py` and `rollback.py`;
`lineage.py` and `verify.py` look at a version. `pack.py` is what travels with it: MLflow loads `pyfunc.py`, which has
the parameters of `sampling.py`. `pages.py` is what MLflow's pages show, `moved.py` is for a checkout that was moved.
Besides the tracker of a training, nothing else imports mlflow.
"""
