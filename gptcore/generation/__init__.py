"""Generation: takes a model and token ids, gives the ids that follow, many requests at once.

Read `engine.py` first: requests join and leave between steps. `cached_model.py` is the model's forward pass with a
cache. A GPU's step is captured (`captured.py`, `one_query.py`), and a small model's on a CPU is traced (`traced.py`).
`choose.py` draws ids by the fields of `sampling.py`, `complete.py` goes from text to text. The bytes of a request do
not depend on those beside it: see the docstring of `engine.py`. `latency.py` times it for the gate.
"""
