"""Functions with stable=False: how many samples, and what can be done with them."""

import asyncio
import copy
import pickle
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from stratum import (
    ConfigurationError,
    DeclarationError,
    NotStable,
    Probabilistic,
    ProviderError,
    Refused,
    Reply,
    StratumError,
    VarianceIgnored,
    contract,
    infer,
)
from stratum.clocks import FixedClock
from stratum.scope import Root, now, process, rooted
from stratum.testing import stub
from tests.scripted import MODEL, answering, records


@contract
class Mood(BaseModel):
    label: Literal["good", "bad"]
    why: str = ""


@infer(intent="Say the mood", stable=False, samples=3, retries=0, model=MODEL)
def mood(text: str) -> Mood: ...


GOOD, BAD = {"label": "good"}, {"label": "bad"}
SUNNY = {"label": "good", "why": "sun"}


def sampled(*answers: Any) -> Probabilistic[Mood]:
    with answering(*answers):
        return mood.with_(samples=len(answers)).run(text="x")


def test_a_test_takes_the_declared_samples() -> None:
    with answering(GOOD, BAD, GOOD) as client:
        moods = mood.run(text="x")
    assert [each.label for each in moods.samples] == ["good", "bad", "good"]
    assert sorted(str(each.place) for each in client.requests) == ["0#0", "1#0", "2#0"]


def test_a_test_takes_five_unless_declared() -> None:
    @infer(intent="Say the mood", stable=False)
    def some_mood(text: str) -> Mood: ...

    with answering(*[GOOD] * 5):
        assert len(some_mood.run(text="x").samples) == 5


def test_production_takes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(GOOD):
        monkeypatch.setattr(process, "root", None)
        assert len(mood.run(text="x").samples) == 1


def test_production_takes_more_where_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(GOOD, BAD):
        monkeypatch.setattr(process, "root", None)
        assert len(mood.with_(samples=2).run(text="x").samples) == 2


def test_the_most_likely_is_the_first_of_the_largest_group() -> None:
    moods = sampled(BAD, {**GOOD, "why": "a"}, {**GOOD, "why": "b"})
    assert moods.most_likely("label").why == "a"


def test_of_groups_of_one_size_the_earlier_is_the_most_likely() -> None:
    assert sampled(BAD, GOOD).most_likely().label == "bad"


def test_agreement_is_the_share_of_the_largest_group() -> None:
    assert sampled(GOOD, BAD, GOOD, GOOD).agreement == 0.75


def test_groups_are_the_largest_first() -> None:
    groups = sampled(BAD, GOOD, SUNNY).groups("label")
    assert [(each.on, len(each.samples), round(each.share, 2)) for each in groups] == [
        ("good", 2, 0.67), ("bad", 1, 0.33)
    ]  # fmt: skip


def test_a_random_sample_is_the_same_on_every_replay() -> None:
    moods = Probabilistic(list(range(100)))

    def drawn() -> list[int]:
        with rooted(Root("test", clock=FixedClock(now()))):
            return [moods.sample() for _ in range(5)]

    assert drawn() == drawn()
    assert len(set(drawn())) > 1


def test_every_sample_is_taken_though_the_first_agree() -> None:
    assert len(sampled(*[GOOD] * 5).samples) == 5


def test_stable_samples_are_stable() -> None:
    sampled(GOOD, SUNNY, GOOD, GOOD, GOOD).assert_stable(0.8, on="label")


def test_unstable_samples_fail_a_test_with_their_groups() -> None:
    with pytest.raises(NotStable) as caught:
        sampled(GOOD, BAD, GOOD).assert_stable(on="label")
    assert isinstance(caught.value, AssertionError)
    assert str(caught.value) == (
        "mood: 2 of 3 samples agree on label (67%), and 80% should:\n"
        '  - 2 said "good"\n'
        '  - 1 said "bad"\n'
        "  Say in intent or context how to decide such cases, compare less (on=), or lower "
        "threshold."
    )


def test_samples_that_fail_count_against_stability() -> None:
    moods = sampled(GOOD, GOOD, Reply("I cannot help", outcome="refused"))
    assert (len(moods.samples), [type(each) for each in moods.failures]) == (2, [Refused])
    with pytest.raises(NotStable, match=r"2 of 3 samples agree \(67%\)") as caught:
        moods.assert_stable()
    assert "- 1 failed: Refused: mood: the model declined to answer: I cannot help" in str(
        caught.value
    )


def test_when_all_samples_fail_the_first_error_is_raised() -> None:
    with answering(lambda request: Reply("no", outcome="refused")), pytest.raises(Refused):
        mood.run(text="x")


def test_an_error_that_says_nothing_of_the_model_is_raised() -> None:
    with answering(GOOD, ProviderError("down"), GOOD), pytest.raises(ProviderError, match="down"):
        mood.run(text="x")


def test_one_sample_says_nothing_about_stability() -> None:
    with pytest.raises(ConfigurationError, match=r"\.with_\(samples=5\)"):
        sampled(GOOD).assert_stable()


@pytest.mark.parametrize("threshold", [0, 1.5, True, -1])
def test_a_threshold_is_a_share(threshold: Any) -> None:
    with pytest.raises(ConfigurationError, match="a share above 0, up to 1"):
        sampled(GOOD, GOOD).assert_stable(threshold)


def test_a_misspelt_field_is_named() -> None:
    with pytest.raises(DeclarationError, match=r"on='lable', but Mood has no lable \(did you"):
        sampled(GOOD, GOOD).assert_stable(on="lable")


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda m: m.label, r"has no label.\n.*\.most_likely\(\)\.label"),
        (lambda m: bool(m), r"neither true nor false.\n.*\.most_likely\(\)"),
        (lambda m: m == Mood(label="good"), "not equal to any answer"),
        (lambda m: list(m), "cannot be iterated over"),
        (lambda m: len(m), "has no length"),
        (lambda m: m["label"], "has no items"),
        (lambda m: "good" in m, "cannot be searched"),
        (lambda m: f"{m}", "is no text"),
    ],
    ids=["attribute", "truth", "equality", "loop", "length", "item", "search", "text"],
)
def test_it_is_no_answer(use: Any, said: str) -> None:
    with pytest.raises(VarianceIgnored, match=rf"mood gives a Probabilistic of 2 .*.*{said}"):
        use(sampled(GOOD, BAD))


def test_it_has_no_attribute_of_an_answer_for_hasattr() -> None:
    assert not hasattr(sampled(GOOD, BAD), "label")
    assert issubclass(VarianceIgnored, (StratumError, AttributeError))


def test_it_is_a_value() -> None:
    moods = Probabilistic(["good", "bad"])
    assert moods == Probabilistic(["good", "bad"]) != Probabilistic(["bad", "good"])
    assert copy.deepcopy(moods) == copy.copy(moods) == pickle.loads(pickle.dumps(moods)) == moods
    assert repr(moods) == "Probabilistic(['good', 'bad'])"
    with pytest.raises(AttributeError, match="cannot be changed"):
        moods.samples = ("good",)  # type: ignore[misc]


def test_it_is_compared_with_other_things_as_any_value() -> None:
    assert Probabilistic(["good"]) != 3


def test_its_record_has_the_samples_and_how_far_they_agree() -> None:
    sampled(GOOD, BAD)
    *samples, whole = records()
    assert (whole.kind, whole.details) == ("samples", {"samples": 2, "agreement": 0.5})
    assert [each["label"] for each in whole.output["samples"]] == ["good", "bad"]
    assert [(each.kind, each.parent) for each in samples] == [("infer", whole.id)] * 2


def test_samples_that_never_began_leave_their_record() -> None:
    with pytest.raises(ValueError, match="over"):
        asyncio.run(mood(text="x").take()(ValueError("over")))
    assert [(each.kind, each.outcome) for each in records()] == [("samples", "error")]


def test_a_stub_is_the_only_sample() -> None:
    with stub(mood, GOOD):
        assert mood.run(text="x").most_likely().label == "good"


def test_a_cache_would_make_all_samples_the_same() -> None:
    with pytest.raises(DeclarationError, match="samples from a cache are all the same"):
        infer(intent="Say", stable=False, cache="session")(mood.__wrapped__)  # type: ignore
    with pytest.raises(DeclarationError, match="samples from a cache are all the same"):
        mood.with_(cache="session")


@pytest.mark.parametrize("samples", [0, True, "3"])
def test_samples_are_a_number(samples: Any) -> None:
    with pytest.raises(DeclarationError, match="it takes a whole number from 1 up"):
        mood.with_(samples=samples)


def test_only_unstable_functions_take_samples() -> None:
    @infer(intent="Say the mood")
    def stable_mood(text: str) -> Mood: ...

    with pytest.raises(DeclarationError, match="is for functions with stable=False"):
        stable_mood.with_(samples=3)
