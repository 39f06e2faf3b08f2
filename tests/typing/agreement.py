"""`quorum`, `stable=False` and `@refine`."""

from typing import Literal, assert_type

from stratum import Probabilistic, SampleGroup, contract, infer, refine


@contract
class Mood:
    label: Literal["good", "bad"]


@infer(intent="Name the mood", quorum=5, agree_on="label", threshold=3)
def agreed(text: str) -> Mood: ...


@infer(intent="Name the mood", stable=False, samples=5)
def varied(text: str) -> Mood: ...


@infer(intent="Name the mood", stable=False)
async def varied_later(text: str) -> Mood: ...


@refine(until=lambda mood: mood.label == "good", feedback=lambda mood: mood.label, max_iterations=4)
@infer(intent="Name the mood")
def refined(text: str) -> Mood: ...


class Desk:
    @infer(intent="Name the mood", stable=False)
    def mood(self, text: str) -> Mood: ...

    @refine(until=[lambda mood: mood.label, ("why", lambda mood: True)])
    @infer(intent="Name the mood")
    def good(self, text: str) -> Mood: ...


async def a_quorum_gives_the_answer() -> None:
    assert_type(await agreed(text="fine"), Mood)
    assert_type(agreed.run(text="fine"), Mood)
    infer(intent="x", quorum="five")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    infer(intent="x", quorum=3, stable=False)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


async def what_varies_says_so(desk: Desk) -> None:
    moods = await varied(text="fine")
    assert_type(moods, Probabilistic[Mood])
    assert_type(await varied_later(text="fine"), Probabilistic[Mood])
    assert_type(desk.mood.run(text="fine"), Probabilistic[Mood])
    assert_type(moods.most_likely(), Mood)
    assert_type(moods.sample().label, Literal["good", "bad"])
    assert_type(moods.samples, tuple[Mood, ...])
    assert_type(moods.groups(on="label"), tuple[SampleGroup[Mood], ...])
    assert_type(moods.groups(on=lambda mood: mood.label)[0].share, float)
    moods.assert_stable(0.8, on=["label"])
    moods.label  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    list(moods)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    moods[0]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    wrong: Mood = varied.run(text="a")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    assert_type(wrong, Mood)


async def refining_keeps_the_type(desk: Desk) -> None:
    assert_type(await refined(text="fine"), Mood)
    assert_type(refined.with_(retries=0).run("fine"), Mood)
    assert_type(desk.good.run(text="fine"), Mood)
    refined.run(4)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    refine(until=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    refine(max_iterations=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
