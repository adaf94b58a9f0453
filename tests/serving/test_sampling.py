import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.serving.sampling import is_sampled


@settings(deadline=None, max_examples=100)
@given(request_id=st.text() | st.just("\ud800"), share=st.floats(0, 1))
def test_a_sampled_request_is_in_every_larger_sample_too(request_id: str, share: float) -> None:
    assert is_sampled(request_id, 1.0, "a")
    assert not is_sampled(request_id, 0.0, "a")
    assert is_sampled(request_id, (1 + share) / 2, "a") >= is_sampled(request_id, share, "a")


def test_a_sample_has_about_its_share_and_never_changes() -> None:
    assert [number for number in range(20) if is_sampled(str(number), 0.3, "a")] == [1, 5, 8, 9, 10, 12, 13, 14]
    assert sum(is_sampled(str(number), 0.3, "a") for number in range(10_000)) == pytest.approx(3_000, abs=150)


def test_samples_for_two_purposes_are_independent() -> None:
    both = sum(is_sampled(str(n), 0.5, "a") and is_sampled(str(n), 0.5, "b") for n in range(10_000))
    assert both == pytest.approx(2_500, abs=150)
