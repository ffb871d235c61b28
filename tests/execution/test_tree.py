"""The shape of the merge tree is the plan's alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkop_dist.execution.tree import MergeJob, MergeTree, Ref


def merged(leaves: int, order: list[int], failed: set[int], fan_in: int) -> tuple[Ref | None, dict[str, str]]:
    """Run the tree with results that arrive in some order; each result is written as the text of what it is made of."""
    tree, texts, waiting = MergeTree(leaves, fan_in), {}, []
    for leaf in order:
        ref = None if leaf in failed else Ref(f"leaf {leaf}", leaf=True)
        if ref:
            texts[ref.key] = str(leaf)
        waiting.append(tree.complete(0, leaf, ref))
        while waiting:
            job: MergeJob | None = waiting.pop()
            if job is not None:
                texts[job.key] = "(" + " ".join(texts[child.key] for child in job.children) + ")"
                waiting.append(tree.complete(job.level, job.group, Ref(job.key, leaf=False)))
    assert tree.finished
    return tree.root, texts


@given(st.integers(1, 60), st.integers(2, 5), st.data())
def test_the_order_of_arrival_does_not_matter(leaves: int, fan_in: int, data: st.DataObject) -> None:
    failed = set(data.draw(st.lists(st.integers(0, leaves - 1), max_size=leaves)))
    root, texts = merged(leaves, list(range(leaves)), failed, fan_in)
    other, other_texts = merged(leaves, data.draw(st.permutations(range(leaves))), failed, fan_in)
    assert root == other
    if root is None:
        assert len(failed) == leaves
        return
    assert texts[root.key] == other_texts[other.key]
    assert sorted(map(int, texts[root.key].replace("(", "").replace(")", "").split())) == sorted(
        set(range(leaves)) - failed
    )


def test_the_shape() -> None:
    root, texts = merged(7, list(range(7)), {4}, 3)
    assert texts[root.key] == "((0 1 2) (3 5) 6)"
    assert merged(3, [2, 0, 1], {0, 1}, 2)[1] == {"leaf 2": "2"}


def test_a_group_of_failed_chunks_gives_nothing_and_stops_nothing() -> None:
    root, texts = merged(9, list(range(9)), {3, 4, 5}, 3)
    assert texts[root.key] == "((0 1 2) (6 7 8))"


def test_what_is_merged_by_now_can_be_read() -> None:
    tree = MergeTree(5, 2)
    job = [tree.complete(0, leaf, Ref(str(leaf), leaf=True)) for leaf in (1, 0, 2)][1]
    tree.complete(job.level, job.group, Ref("both", leaf=False))
    assert [ref.key for ref in tree.partial()] == ["both", "2"]


@pytest.mark.parametrize("leaves", [0, 1])
def test_smallest_trees(leaves: int) -> None:
    tree = MergeTree(leaves)
    assert tree.finished == (leaves == 0)
    if leaves:
        assert tree.complete(0, 0, Ref("a", leaf=True)) is None
        assert (tree.finished, tree.root.key) == (True, "a")
