"""The MLflow registry: runs, versions of the model `gpt`, and the aliases `champion` and `challenger`.

`tracking.py` talks to MLflow. `pyfunc.py` is the file that MLflow loads to serve a version. Nothing else in the
project imports mlflow.
"""
