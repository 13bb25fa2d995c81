"""The report's words."""

import pytest

from flows.report import whole_words


@pytest.mark.parametrize(
    ("sample", "shown"),
    [
        ("Alas, my lord is de", "Alas, my lord is …"),
        ("Alas, my lord is dead.", "Alas, my lord is dead."),
        ("ROMEO:\nO, what?\n\nJU", "ROMEO:\nO, what? …"),
        ("one word ", "one word …"),
        ("oneword", "oneword …"),
        ("Alas!\n", "Alas!\n"),
    ],
)
def test_a_sample_ends_with_a_word(sample: str, shown: str) -> None:
    assert whole_words(sample) == shown
