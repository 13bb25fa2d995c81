"""A GPT of gptcore for transformers: AutoModelForCausalLM.from_pretrained(FOLDER, trust_remote_code=True)."""

from types import SimpleNamespace
from typing import Any

import torch
from transformers import DynamicCache, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from gptcore.weights.exports.network import Network


class GPTCoreConfig(PreTrainedConfig):
    """`gpt` holds the fields of gptcore's ModelConfig."""

    model_type = "gptcore"

    def __init__(self, gpt: dict[str, Any] | None = None, vocab_size: int = 1, **values: Any) -> None:
        self.gpt = dict(gpt or {})
        self.vocab_size = vocab_size
        # names that transformers looks for; its `sliding_window` would make the cache forget what full blocks see
        self.num_hidden_layers = self.gpt.get("n_layer", 1)
        self.num_attention_heads = self.gpt.get("n_head", 1)
        self.hidden_size = self.gpt.get("n_embd", 1)
        self.max_position_embeddings = self.gpt.get("block_size", 1)
        super().__init__(**values)


class GPTCoreForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = GPTCoreConfig
    base_model_prefix = "network"
    _tied_weights_keys = {"network.lm_head.weight": "network.wte.weight"}  # noqa: RUF012  transformers reads it
    _supports_sdpa = True

    def __init__(self, config: GPTCoreConfig) -> None:
        super().__init__(config)
        self.network = Network(SimpleNamespace(**config.gpt), config.vocab_size)
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: Any) -> None:
        """The file has all weights."""

    def get_input_embeddings(self) -> Any:
        return self.network.wte

    def get_output_embeddings(self) -> Any:
        return self.network.lm_head

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values: Any = None,
        position_ids: torch.Tensor | None = None, previous_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None, use_cache: bool | None = None, logits_to_keep: int = 0, **_: Any,
    ) -> CausalLMOutputWithPast:  # fmt: skip
        """With a cache and a bigram table, `previous_ids` (batch, 1) are the ids before `input_ids`; `generate`
        gives them. Padding, where the attention mask is 0, is on the left.
        """
        if past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        past, new = past_key_values.get_seq_length(), input_ids.shape[1]
        if previous_ids is None:
            if past and self.network.wbe is not None:
                raise ValueError("this model reads pairs of ids: with a cache, give previous_ids, the ids before these")
            previous_ids = torch.zeros_like(input_ids[:, :1])
        real = None if attention_mask is None else attention_mask.bool()
        if real is not None:
            position_ids = (real.long().cumsum(-1) - 1).clamp(min=0)[:, -new:]
        elif position_ids is None:
            position_ids = torch.arange(past, past + new, device=input_ids.device)
        logits = self.network(
            input_ids, previous_ids, position_ids, past + new,
            lambda layer, keys, values: past_key_values.update(keys, values, layer), real,
        )[:, -logits_to_keep:]  # fmt: skip
        loss = None if labels is None else self.loss_function(logits, labels, self.config.vocab_size)
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=past_key_values if use_cache is not False else None
        )

    def prepare_inputs_for_generation(self, input_ids: torch.Tensor, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """`generate` looks for the name `kwargs`: it then asks `forward` which arguments there are."""
        parent: Any = super()
        inputs: dict[str, Any] = parent.prepare_inputs_for_generation(input_ids, *args, **kwargs)
        new = inputs["input_ids"].shape[1]
        if new < input_ids.shape[1]:
            inputs["previous_ids"] = input_ids[:, -new - 1 : -new]
        return inputs
