"""SPEC section 1: one path."""

import subprocess
import sys

from stratum import ContractViolated, Reply, ScriptedClient, infer, using
from stratum.attempts import Ask, Settled, begin, judge
from stratum.redact import Secrets
from tests.support import clean_environment

NO_SECRETS = Secrets.of({}, ())


@infer(intent="Count", model="any/model", ensure=lambda n: n > 0, retries=1)
def count(text: str) -> int: ...


def first(text: str = "a") -> Ask:
    return begin(count.question, {"text": text}, model="any/model", secrets=NO_SECRETS)


def test_1_1_the_same_inputs_are_asked_in_the_same_words() -> None:
    one, other = first(), first()
    assert (one.key, one.prompt, one.attempt) == (other.key, other.prompt, other.attempt)
    assert one.key != first("b").key


def test_1_1_what_a_reply_means_depends_on_ask_and_reply() -> None:
    ask = first()
    for _ in range(2):
        again = judge(ask, Reply(-1))
        assert isinstance(again, Ask)
        assert (again.attempt, ask.attempt) == (1, 0)
        assert judge(ask, Reply(2)) == Settled(2)
        refused = judge(again, Reply("none"))
        assert isinstance(refused, Settled)
        assert isinstance(refused.error, ContractViolated)


def test_1_1_asking_and_judging_do_no_io() -> None:
    """An audit hook sees whatever opens, connects, starts or lists something."""
    program = """if True:
        import sys
        from stratum import Reply, infer
        from stratum.attempts import begin, judge
        from stratum.redact import Secrets

        @infer(intent="Count", model="any/model", ensure=sum, retries=1)
        def count(text: str) -> list[int]: ...

        def run():
            ask = begin(count.question, {"text": "a"}, model="m", secrets=secrets)
            again = judge(ask, Reply("none"))
            return again.request.key, judge(again, Reply([1]))

        secrets = Secrets.of({}, ())
        run()  # what is imported when it is first needed
        seen = []
        io = ("open", "socket.", "subprocess.", "os.", "sqlite3.", "urllib.", "tempfile.", "shutil")
        sys.addaudithook(lambda event, args: event.startswith(io) and seen.append(event))
        run()
        noticed = list(seen)
        open(sys.executable, "rb").close()
        print(noticed, seen)
    """
    done = subprocess.run(
        [sys.executable, "-c", program], env=clean_environment(), capture_output=True, text=True
    )
    assert done.stdout == "[] ['open']\n", done.stderr


def test_1_2_a_client_without_extras_answers() -> None:
    class Plain:
        live = False

        async def complete(self, request: object) -> Reply:
            return Reply(3)

        async def quote(self, request: object) -> object:
            raise AssertionError("no limit needs a quote")

    with using(client=Plain()):  # type: ignore[arg-type]
        assert count.run(text="abc") == 3


def test_1_2_settled_is_called_once_with_all_requests() -> None:
    class Told(ScriptedClient):
        ends: list[tuple[int, bool]] = []  # noqa: RUF012

        def settled(self, requests: list[object], ok: bool) -> None:
            self.ends.append((len(requests), ok))

    with using(client=Told([-1, 4])):
        count.run(text="abc")
    assert Told.ends == [(2, True)]
