"""Services: what has to be up for flows to run elsewhere than in a terminal.

`ui.py` starts Prefect, MLflow and workers on this machine (`make ui`), `deploy.py` puts pools, deployments and
automations onto a server (`make deploy`), `worker.py` takes runs from a pool (`make worker`).
"""
