"""Training: a model config and token files come in; weights, a loss curve and samples go out.

`train.py` is the loop, a generator of step reports that touches no file. `run.py` puts resume, evaluation, samples and
signals around it. `optim.py` holds the recipe's arithmetic, `batches.py` the data order, `checkpoint.py`
the exact resume state, `distributed.py` and `sharding.py` the ranks. Read `train.py` first.
"""
