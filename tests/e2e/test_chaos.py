import os

import pytest
from e2e.chaos import play


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_runs_lose_nothing_and_leave_nothing_behind() -> None:
    result = play(runs=30, seed=7, jobs=os.cpu_count() or 1)
    assert result.failures == []
    assert result.champion
    assert result.counts["killed"] >= 25, result.counts
