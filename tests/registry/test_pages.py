"""Tags as MLflow keeps them."""

from gptcore.registry.pages import packed, unpacked

TAGS = {"bits_per_byte": "2", "data.data/raw": "a", "data.data/model/curve.csv": "b", "stage_key.train": "c"}


def test_groups_of_tags_are_one_tag_each() -> None:
    assert packed(TAGS) == {
        "bits_per_byte": "2", "outputs_md5": '{"data/raw": "a", "data/model/curve.csv": "b"}',
        "stage_keys": '{"train": "c"}',
    }  # fmt: skip
    assert unpacked(packed(TAGS)) == TAGS
    assert unpacked(TAGS) == TAGS  # of a version from before there were groups
    assert packed({"promotion": "won"}) == {"promotion": "won"}
