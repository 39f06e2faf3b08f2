"""A typed LLM call, a plain step beside it, and a flow around both.

stratum local-model            # in another shell, or set the key of a real provider
python examples/01_sentiment.py
pytest examples/01_sentiment.py --stratum-replay
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from stratum import Budget, StratumError, compute, contract, flow, infer


@contract
class Sentiment(BaseModel):
    label: Literal["positive", "negative", "neutral"]
    confidence: Annotated[float, Field(ge=0, le=1)]
    reasoning: str


@infer(
    intent="Classify the emotional tone of customer feedback",
    context="Sarcasm is negative. When in doubt, answer neutral.",
    ensure=lambda r: r.confidence > 0.7,
    budget=Budget(ms=20_000, usd=0.01),
    retries=3,
)
def classify(text: str) -> Sentiment: ...


@compute
async def urgency(sentiment: Sentiment) -> Literal["today", "this week"]:
    return "today" if sentiment.label == "negative" else "this week"


@flow(budget=Budget(ms=60_000, usd=0.02))
async def triage(text: str) -> str:
    sentiment = await classify(text=text)
    return f"{sentiment.label}: answer {await urgency(sentiment=sentiment)}"


def test_a_complaint_is_answered_today():
    assert triage.run(text="I hate this app, it is broken again") == "negative: answer today"


def test_a_doubtful_answer_is_asked_for_again(traces):
    assert classify.run(text="The parcel is here").confidence > 0.7
    assert traces[0].retry_reasons == ("ensure: r.confidence > 0.7 (actual: 0.55)",)


def test_triage_goes_the_recorded_way(golden_flow):
    golden_flow.run(triage, text="Wonderful support, thank you")


if __name__ == "__main__":
    try:
        print(triage.run(text="I love the new dashboard"))
    except StratumError as error:
        raise SystemExit(f"{error}\n  Or replay: pytest {__file__} --stratum-replay") from None
