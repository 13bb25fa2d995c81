"""What the pages show, read where it is kept; no Streamlit.

`prefect.py` asks Prefect over HTTP, `log.py` reads the progress of a stage from its log, `curves.py` finds loss curves,
`experiments.py` lists runs, `versions.py` asks MLflow, `gate.py` says what the gate says now, `served.py` asks servers
of models, and `snippets.py` writes such a request down. `form.py` makes fields of the sections of params.yaml,
`cost.py` says what a run takes. Read `prefect.py` first.
"""
