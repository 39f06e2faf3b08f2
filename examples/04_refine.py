"""Ask again until a condition holds, with what the last output lacks.

stratum local-model            # in another shell, or set the key of a real provider
python examples/04_refine.py
pytest examples/04_refine.py --stratum-replay
"""

from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from stratum import Budget, ConvergenceFailure, StratumError, contract, infer, refine


@contract
class Summary(BaseModel):
    text: str
    score: Annotated[float, Field(ge=0, le=1, description="How well it covers the report")]


@refine(
    until=lambda s: s.score > 0.9,
    feedback=lambda s: f"Name what is still missing in: {s.text}",
)
@infer(
    intent="Summarise the incident report, and score how well the summary covers it",
    budget=Budget(ms=60_000, usd=0.05),  # for all turns together
)
def summarise(report: str) -> Summary: ...


@refine(until=lambda s: s.score > 0.99, max_iterations=2)
@infer(intent="Summarise the incident report for a judge, and score how well it covers it")
def summarise_for_a_judge(report: str) -> Summary: ...


def test_a_weak_summary_is_improved(traces):
    assert summarise.run(report="The pump stopped at nine").score > 0.9
    assert [record.kind for record in traces] == ["infer", "infer", "refine"]


def test_what_is_never_good_enough_ends_with_its_history():
    with pytest.raises(ConvergenceFailure, match=r"s\.score > 0\.99") as failure:
        summarise_for_a_judge.run(report="The pump stopped at nine")
    assert [output.score for output, _ in failure.value.history] == [0.55, 0.95]


if __name__ == "__main__":
    try:
        print(summarise.run(report="The valve leaked, and nobody saw it").text)
    except StratumError as error:
        raise SystemExit(f"{error}\n  Or replay: pytest {__file__} --stratum-replay") from None
