"""The page of a run: takes what its stages have left in data/, writes data/evaluation/report.html, whole in itself.

`page.py` puts it together, `charts.py` draws curves and `lineage.py` the picture of what a version is made of, both as
SVG by hand: a run whose results are cached takes 2 s, and a library for plots would add one. Read `page.py` first.
"""
