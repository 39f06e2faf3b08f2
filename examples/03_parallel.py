"""Calls that run together: all of them, or the first that answers.

stratum local-model            # in another shell, or set the key of a real provider
python examples/03_parallel.py
pytest examples/03_parallel.py --stratum-replay
"""

from typing import Literal

from stratum import Budget, StratumError, flow, infer, parallel, race


@infer(intent="Name the team that should answer this mail")
def team(mail: str) -> Literal["billing", "shipping", "technical"]: ...


@infer(intent="Say in what mood this mail was written")
def mood(mail: str) -> Literal["positive", "negative", "neutral"]: ...


@infer(intent="Sum this mail up in one sentence", ensure=lambda r: len(r) < 200)
def gist(mail: str) -> str: ...


@infer(intent="Give this mail a subject line", ensure=lambda r: len(r) < 200)
def subject(mail: str) -> str: ...


@flow(budget=Budget(ms=60_000, usd=0.02))  # one budget for what runs at the same time
async def triage(mail: str) -> str:
    who, how, what = await parallel(
        team(mail=mail), mood(mail=mail), gist(mail=mail), require="all"
    )
    return f"[{who}, {how}] {what}"


@flow(budget=Budget(ms=60_000, usd=0.02))
async def title(mail: str) -> str:
    return await race(subject(mail=mail), gist(mail=mail))  # the slower call is cancelled


def test_a_mail_is_read_in_three_ways_at_once(traces):
    assert triage.run(mail="The shipping was slow").startswith("[shipping, negative]")
    calls, together = traces[:3], traces[3]
    assert {record.function for record in calls} == {"team", "mood", "gist"}
    assert {record.parent for record in calls} == {together.id}


def test_the_first_title_is_taken(traces):
    assert "invoice" in title.run(mail="Where is my invoice?")
    assert sum(record.outcome == "ok" for record in traces if record.kind == "infer") == 1


if __name__ == "__main__":
    try:
        print(triage.run(mail="Thank you, the technical help was great"))
    except StratumError as error:
        raise SystemExit(f"{error}\n  Or replay: pytest {__file__} --stratum-replay") from None
