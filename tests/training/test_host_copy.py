"""A copy in host memory holds the values of its moment, whatever happens to the tensors afterwards."""

import pytest
import torch

from gptcore.training.host_copy import HostCopy, finish_before_writing


@pytest.mark.parametrize("kind", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_copy_keeps_the_values_of_its_moment(kind: str) -> None:
    device, copy = torch.device(kind), HostCopy()
    tensors = {"weights": torch.zeros(1 << 22, device=device), "step": torch.tensor(3)}
    for moment in range(3):
        tensors["weights"].fill_(moment)
        copy.take(tensors)
        finish_before_writing()
        tensors["weights"].fill_(-1.0)
        copy.wait()
        assert torch.equal(copy.tensors["weights"], torch.full((1 << 22,), float(moment))), moment
        assert int(copy.tensors["step"]) == 3
