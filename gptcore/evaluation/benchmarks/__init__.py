"""Benchmarks: takes a model and rows of multiple choice, cloze or text, returns accuracies and perplexities.

The rules and names are lm-eval's, and so are the numbers. `rows.py` reads a file or the hub, `schemas.py` knows the
published fields, `items.py` is what a row asks and how an answer is graded. `requests.py` makes token ids of it and
`likelihood.py` the model's answers. `metrics.py` sums them up with intervals, `paired.py` compares two models,
`suite.py` runs a benchmark, and `results.py` writes lm-eval's JSON. `chosen.py` and `ask.py` are for those of
params.yaml. Read `suite.py` first.
"""
