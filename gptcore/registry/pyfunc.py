"""The file MLflow loads as code (no pickle) to serve `mlflow.pyfunc.load_model("models:/gpt@champion")`.

The modules it imports travel with each version, see `pack.py`.
"""

import logging
import re
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from gptcore.errors import UserError
from gptcore.registry.sampling import SAMPLING, check_prompts, checked, unknown_names


class TextGenerator(PythonModel):
    """Returns each prompt with its continuation. `params` are those of GPT.sample, see `sampling.SAMPLING`."""

    def load_context(self, context: PythonModelContext) -> None:
        from gptcore.model.folder import load_export  # imports torch (2 s), which registering a model does not need

        self.model, self.tokenizer = load_export(Path(context.artifacts["export"]))

    def predict(
        self, context: PythonModelContext, model_input: list[str], params: dict[str, Any] | None = None
    ) -> list[str]:
        try:
            values = checked(params or {})
            check_prompts(model_input)
            return [prompt + self._continue(prompt, values) for prompt in model_input]
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None  # which a server answers as HTTP 400

    def _continue(self, prompt: str, params: dict[str, Any]) -> str:
        ids = self.tokenizer.encode(prompt).tolist() or [self.tokenizer.eot_id]
        return str(self.tokenizer.decode(self.model.sample(ids, **params, stop_id=self.tokenizer.stop_id)))


def _refuse_unknown_names(record: logging.LogRecord) -> bool:
    """MLflow drops a parameter of an unknown name before `predict` sees it, and says so in the log only."""
    said = re.match(r"Unrecognized params \[(.*)\] are ignored.* Supported params are: {(.*)}", record.getMessage())
    if said and set(_names(said[2])) == set(SAMPLING):
        raise MlflowException.invalid_parameter_value(unknown_names(_names(said[1])))
    return True


def _names(listed: str) -> list[str]:
    return [name.strip("'\" ") for name in listed.split(",")]


set_model(TextGenerator())
_enforcing = logging.getLogger("mlflow.models.utils")
if not any(getattr(each, "__name__", "") == _refuse_unknown_names.__name__ for each in _enforcing.filters):
    _enforcing.addFilter(_refuse_unknown_names)
