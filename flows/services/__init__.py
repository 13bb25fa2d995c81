"""The services that flows need to run outside a terminal.

`ui.py` starts Prefect (`server.py`, on PostgreSQL by `database.py`), MLflow and workers on this machine (`make ui`),
`embedded.py` is the Prefect of a run where none is up; `sqlite.py` is about both.
`deploy.py` creates pools, deployments and automations on a server (`make deploy`), `worker.py` runs flows from a pool
(`make worker`).
"""
