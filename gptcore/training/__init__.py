"""Training: takes a model config and token files, produces weights, a loss curve and samples.

`train.py` is the training loop, a generator of step reports that does no file I/O. `run.py` adds resume, evaluation,
samples and signal handling. `config.py` defines every field, `optim.py` the optimizers and schedules, `batches.py` the
data order, `checkpoint.py` the exact resume state, `sharding.py` spreads a model over ranks. Read `train.py` first.
"""
