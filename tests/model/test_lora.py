"""LoRA and its four-bit base: what is trained, and that the merged model computes the same."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptcore.errors import UserError
from gptcore.model.lora import adapt, merged, trained
from gptcore.model.lora_config import LoraConfig
from gptcore.model.nf4 import (
    BLOCK,
    LEVELS,
    NF4Linear,
    _FrozenLinear,
    bitsandbytes_kernel,
    dequantized,
    quantized,
    rounded,
)
from tests.support.adapters import adapted, lora_config
from tests.support.engine import GPT2, MODERN
from tests.support.weights import random_model

IDS = torch.arange(16)[None] % 60
TARGETS = ("q", "k", "v", "proj", "mlp")


configs = st.builds(
    lora_config,
    rank=st.integers(1, 32),
    targets=st.lists(st.sampled_from(TARGETS), min_size=1, unique=True).map(tuple),
    base=st.sampled_from(["float32", "nf4"]),
    dropout=st.sampled_from([0.0, 0.5]),
)


@given(given=configs, architecture=st.sampled_from([GPT2, MODERN]))
@settings(max_examples=25)
def test_the_merged_model_computes_what_the_adapted_one_does(
    given: LoraConfig, architecture: dict[str, object]
) -> None:
    model = adapted(random_model(architecture, 60), given)
    plain = merged(model)
    assert type(plain.h[0].attn.c_attn) is type(random_model(architecture).h[0].attn.c_attn)  # type: ignore[union-attr]
    torch.testing.assert_close(plain(IDS), model(IDS), rtol=0, atol=1e-5)
    assert (plain.lm_head.weight is plain.wte.weight) == architecture["tied_head"]
    unlike = random_model(architecture, 60)(IDS)
    assert (plain(IDS) - unlike).any(), "the adapter does nothing"


@given(given=configs, architecture=st.sampled_from([GPT2, MODERN]))
@settings(max_examples=10)
def test_only_the_adapter_has_gradients_and_a_fresh_one_changes_nothing(
    given: LoraConfig, architecture: dict[str, object]
) -> None:
    base, model = random_model(architecture, 60), random_model(architecture, 60)
    adapt(model, given, seed=1)
    if given.base == "float32":
        assert torch.equal(model(IDS), base(IDS))
    model.train()
    model(IDS, IDS).backward()
    with_gradient = {name for name, each in model.named_parameters() if each.grad is not None}
    assert with_gradient == {*trained(model)} and all(name.endswith(("lora_A", "lora_B")) for name in with_gradient)


def test_query_key_and_value_are_adapted_apart() -> None:
    for target, part in (("q", 0), ("k", 1), ("v", 2)):
        before, after = random_model(GPT2, 60), merged(adapted(random_model(GPT2, 60), lora_config(targets=(target,))))
        name = "h.1.attn.c_attn.weight"
        moved = (before.state_dict()[name] != after.state_dict()[name]).view(3, 32, 32).any(-1).all(-1)
        assert moved.tolist() == [number == part for number in range(3)]


def test_a_rank_above_the_width_is_refused() -> None:
    with pytest.raises(UserError, match=r"lora.rank 33 is above model.n_embd 32.*lower it") as error:
        adapt(random_model(GPT2, 60), lora_config(rank=33), seed=1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "said"), [({"targets": ("q", "q")}, "once"), ({"rank": 0, "base": "nf4"}, "set a rank")]
)
def test_what_contradicts_itself_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        lora_config(**wrong)


@given(rows=st.integers(1, 20), columns=st.integers(1, 20), scale=st.floats(1e-6, 1e6))
@settings(max_examples=20)
def test_four_bits_take_the_nearest_level_of_each_block(rows: int, columns: int, scale: float) -> None:
    weight = scale * torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows * columns))
    codes, scales = quantized(weight)
    assert len(codes) == -(-rows * columns // BLOCK) * BLOCK // 2
    found = dequantized(codes, scales, weight.shape)
    largest = scales.repeat_interleave(BLOCK)[: rows * columns].view(rows, columns)
    levels = torch.tensor(LEVELS)[:, None, None] * largest
    nearest = (weight - levels).abs().amin(0)
    torch.testing.assert_close((weight - found).abs(), nearest, rtol=1e-5, atol=1e-6 * scale)
    assert torch.equal(rounded(found), found), "rounding twice is rounding once"


def test_zeros_stay_zeros() -> None:
    assert not rounded(torch.zeros(3, 50)).any()


def test_a_frozen_matrix_keeps_its_four_bits_alone_for_the_backward_pass() -> None:
    kept: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    model = random_model(GPT2, 60)
    linear = NF4Linear(model.h[0].mlp.c_fc)  # type: ignore[union-attr,arg-type]
    x = torch.randn(2, 32, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = linear(x)
    assert sum(each.nbytes for each in kept) == 32 * 128 * 9 // 16
    y.sum().backward()
    torch.testing.assert_close(x.grad, linear.weight.sum(0).expand(2, -1))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_bitsandbytes_kernel_gives_the_same_weights_and_gradients(device: str) -> None:
    """Its extra is not among the packages of CI: `pip install bitsandbytes` first."""
    pytest.importorskip("bitsandbytes")
    kernel, weight = bitsandbytes_kernel(), torch.randn(96, 77, device=device)
    codes, scales = quantized(weight)
    assert torch.equal(dequantized(codes, scales, weight.shape, kernel), dequantized(codes, scales, weight.shape))
    found = []
    for each in (None, kernel):
        x = torch.linspace(-1, 1, 5 * 77, device=device).view(5, 77).requires_grad_()
        y = _FrozenLinear.apply(x, codes, scales, 96, None, each)  # type: ignore[no-untyped-call]
        y.square().sum().backward()
        found.append((y.detach(), x.grad))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
