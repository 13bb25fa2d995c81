"""`python -I -S served.py SITE_PACKAGES DATABASE REQUESTS`: what `models:/gpt@champion` does where gptcore is not.

Loads it, asks it for each of the requests (a JSON list), in this process and through MLflow's scoring server, and
prints what came of them as JSON.
"""

import json
import sys


def main(database: str, requests: str) -> None:
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc.scoring_server import init
    from starlette.testclient import TestClient

    mlflow.set_tracking_uri(f"sqlite:///{database}")
    model = mlflow.pyfunc.load_model("models:/gpt@champion")
    client = TestClient(init(model))
    answers = []
    for prompt, params in json.loads(requests):
        try:
            said = model.predict([prompt], params=params)[0]
        except MlflowException as error:
            said = f"{error.error_code}: {error.message}"
        body = json.dumps({"inputs": [prompt], "params": params})
        served = client.post("/invocations", content=body, headers={"Content-Type": "application/json"})
        answers.append((said, served.status_code, served.json()))
    ours = sorted(name for name in sys.modules if name.split(".")[0] in ("gptcore", "prefect", "dvc"))
    print(json.dumps({"answers": answers, "modules": ours, "code": sys.modules["gptcore"].__file__}))


if __name__ == "__main__":
    sys.path.append(sys.argv[1])  # not as a site folder, whose .pth files may lead to gptcore
    main(*sys.argv[2:])
