"""Stop strings against reading the text one character at a time."""

from hypothesis import given
from hypothesis import strategies as st

from gptcore.generation.stops import Stops

words = st.text("ab\n", min_size=1, max_size=4)


def naive(text: str, strings: list[str]) -> tuple[str, bool]:
    for end in range(1, len(text) + 1):
        if ended := [each for each in strings if text[:end].endswith(each)]:
            return text[: end - max(map(len, ended))], True
    return text, False


@given(pieces=st.lists(st.text("ab\n", max_size=3), max_size=12), strings=st.lists(words, max_size=3))
def test_the_text_up_to_a_stop_string_however_it_is_cut(pieces: list[str], strings: list[str]) -> None:
    text, stopped = naive("".join(pieces), strings)
    stops, given_out = Stops(strings), ""
    for piece in pieces:
        given_out += stops.push(piece)
        assert text.startswith(given_out)  # nothing of a stop string leaks
        if stops.stopped:
            break
    assert stops.stopped == stopped
    assert given_out + stops.end() == text


def test_a_failed_beginning_keeps_its_progress() -> None:
    stops = Stops(["aab"])
    assert "".join(map(stops.push, "aaab")) == "a" and stops.stopped
    stops = Stops(["\n\n"])
    assert [stops.push(each) for each in ("so\n", "be it", "\n")] == ["so", "\nbe it", ""]
    assert stops.end() == "\n"
