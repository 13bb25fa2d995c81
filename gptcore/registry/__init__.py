"""The MLflow registry: runs, versions of the model `gpt`, and the aliases `champion` and `challenger`.

`tracking.py` is the client, `address.py` says where the registry is, `answers.py` what errors mean; `champion.py`
crowns what `judge.py` lets win. `moves.py` moves an alias and writes it into `journal.py`: `history.py`, `rollback.py`;
`lineage.py` and `verify.py` look at a version. `pack.py` is what travels with it: MLflow loads `pyfunc.py`, which has
the parameters of `sampling.py`. `pages.py` is what MLflow's pages show, `moved.py` is for a checkout that was moved.
`evaluations.py` keeps figures of checkpoints. Besides the tracker of a training, nothing else imports mlflow.
"""
