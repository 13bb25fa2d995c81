"""The file MLflow loads as code (no pickle) to serve `mlflow.pyfunc.load_model("models:/gpt@champion")`."""

from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class TextGenerator(PythonModel):
    """Returns each prompt with its continuation. `params` are those of GPT.sample, see `tracking.SAMPLING`."""

    def load_context(self, context: PythonModelContext) -> None:
        from gptcore.model.folder import load_export  # imports torch (2 s), which registering a model does not need

        self.model, self.tokenizer = load_export(Path(context.artifacts["export"]))

    def predict(
        self, context: PythonModelContext, model_input: list[str], params: dict[str, Any] | None = None
    ) -> list[str]:
        return [prompt + self._continue(prompt, params or {}) for prompt in model_input]

    def _continue(self, prompt: str, params: dict[str, Any]) -> str:
        ids = self.tokenizer.encode(prompt).tolist() or [self.tokenizer.eot_id]
        return str(self.tokenizer.decode(self.model.sample(ids, **params, stop_id=self.tokenizer.stop_id)))


set_model(TextGenerator())
