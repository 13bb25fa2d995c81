"""The MLflow registry: runs, versions of the model `gpt`, and the aliases `champion` and `challenger`.

`tracking.py` is the MLflow client, `address.py` says where the registry is. MLflow loads `pyfunc.py` to serve a
version. Nothing else in the project imports mlflow.
"""
