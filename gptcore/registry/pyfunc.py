"""The file MLflow loads as code (no pickle) to serve `mlflow.pyfunc.load_model("models:/gpt@champion")`.

The modules it imports travel with each version, see `pack.py`.
"""

import logging
import re
from pathlib import Path
from threading import Lock
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from gptcore.errors import UserError
from gptcore.registry.sampling import SAMPLING, check_prompts, checked, unknown_names

SLOTS = 8  # of every request, however many prompts it has: the same prompt gets the same text


class TextGenerator(PythonModel):
    """Returns each prompt with its continuation. `params` are those of `sampling.SAMPLING`."""

    def load_context(self, context: PythonModelContext) -> None:
        # imports torch (2 s), which registering a model does not need
        from gptcore.generation.complete import engine_for
        from gptcore.model.folder import load_export

        model, self.tokenizer = load_export(Path(context.artifacts["export"]))
        self.engine = engine_for(model, self.tokenizer, SLOTS)
        self.alone = Lock()

    def predict(
        self, context: PythonModelContext, model_input: list[str], params: dict[str, Any] | None = None
    ) -> list[str]:
        try:
            values = checked(params or {})
            check_prompts(model_input)
            return self._continue(model_input, **values)
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None  # which a server answers as HTTP 400

    def _continue(self, prompts: list[str], n_tokens: int, **fields: Any) -> list[str]:
        from gptcore.generation.complete import Wish, complete
        from gptcore.generation.sampling import Sampling
        from gptcore.generation.threads import one_thread

        wish = Wish(n_tokens, Sampling.of(**fields), slides=True)
        with self.alone, one_thread():
            done = complete(self.engine, self.tokenizer, prompts, wish)
        if any(each.finish == "error" for each in done):
            raise UserError("the model computes NaN or infinity; load another version")
        return [each.prompt + each.text for each in done]


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
