"""Events go out after they are committed: to files and webhooks, signed, in order, at least once, and nobody waits."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nbmlops import clock
from nbmlops.announcements import Announcements, sinks
from nbmlops.errors import InvalidValue
from nbmlops.store import ledger, schema
from nbmlops.workspace import Workspace

SECRET = "a secret that must not be kept"


class Receiver(ThreadingHTTPServer):
    """A webhook's server: keeps what it gets, and answers what it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_given: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def tell(store, *kinds: str) -> None:
    for kind in kinds:
        with store.write() as db:
            ledger.append(db, type=kind, subject="model:m@1", user="ada", data={"reason": "x"})


def desk(store, *given: str) -> Announcements:
    Path("nbmlops.toml").write_text("".join(f"[[announce]]\n{text}\n" for text in given))
    return Announcements(store, sinks.read())


def test_a_file_gets_every_event_once_in_order(store):
    tell(store, "model.promoted", "policy.set")
    here = desk(store, 'to = "file:out/events.jsonl"', 'to = "file:models.jsonl"\ntypes = ["model.*"]')
    assert here.deliver() == {"sent": 3, "dead": 0, "waiting": 0}
    tell(store, "model.approved")
    assert here.deliver()["sent"] == 2
    assert here.deliver()["sent"] == 0
    lines = [json.loads(line) for line in Path("out/events.jsonl").read_text().splitlines()]
    assert [line["seq"] for line in lines] == ["1", "2", "3"]
    assert [json.loads(line)["type"] for line in Path("models.jsonl").read_text().splitlines()] == [
        "org.nbmlops.model.promoted",
        "org.nbmlops.model.approved",
    ]


def test_events_are_cloudevents(store):
    tell(store, "model.promoted")
    desk(store, 'to = "file:e.jsonl"').deliver()
    event = json.loads(Path("e.jsonl").read_text())
    for name in ("specversion", "id", "source", "type"):  # what the specification requires
        assert isinstance(event[name], str)
        assert event[name]
    assert event["specversion"] == "1.0"
    assert event["source"].startswith("urn:nbmlops:store:")
    assert event["time"].endswith("+00:00")
    assert all(name.isalnum() and name.islower() for name in event)
    assert event["data"] == {"reason": "x", "user": "ada"}


def test_a_webhook_is_signed_and_its_secret_is_nowhere(store, receiver, monkeypatch, tmp_path):
    monkeypatch.setenv("HOOK", SECRET)
    tell(store, "model.promoted")
    assert desk(store, f'to = "{receiver.url}"\nsecret = "env:HOOK"').deliver()["sent"] == 1
    ((headers, body),) = receiver.got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["content-type"] == "application/cloudevents+json"
    assert not any(SECRET.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_what_fails_is_tried_again_in_order_and_what_is_refused_is_dead(store, receiver, monkeypatch):
    tell(store, "a", "b", "c")
    here = desk(store, f'to = "{receiver.url}"')
    receiver.answers = [503, 200, 410]
    now = clock.now()
    assert here.deliver() == {"sent": 0, "dead": 0, "waiting": 1}
    assert here.deliver() == {"sent": 0, "dead": 0, "waiting": 0}  # it is not due yet, and nothing overtakes it
    monkeypatch.setattr(clock, "now", lambda: now + 5)
    assert here.deliver() == {"sent": 2, "dead": 1, "waiting": 0}
    assert [json.loads(body)["seq"] for _, body in receiver.got] == ["1", "1", "2", "3"]
    (dead,) = here.list(dead=True)
    assert (dead["event"], dead["error"]) == (2, "it answers 410")
    assert here.retry() == 1
    assert here.deliver()["sent"] == 1


def test_after_the_last_attempt_it_is_dead(store, monkeypatch):
    tell(store, "a")
    here = desk(store, 'to = "http://127.0.0.1:9/"')
    time = clock.now()
    told = []
    for number in range(12):
        monkeypatch.setattr(clock, "now", lambda n=number: time + 1_000 * n)
        told.append(here.deliver())
    assert [t["waiting"] for t in told] == [1] * 9 + [0] * 3
    assert told[9]["dead"] == 1


def test_no_redirect_is_followed(store, receiver):
    tell(store, "a")
    receiver.answers = [307]
    assert desk(store, f'to = "{receiver.url}"').deliver()["dead"] == 1
    assert len(receiver.got) == 1


def test_two_that_deliver_at_once_send_everything_once(store, receiver):
    tell(store, *["a"] * 20)
    here = desk(store, f'to = "{receiver.url}"')
    threads = [threading.Thread(target=Announcements(store, here.sinks).deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    here.deliver()
    assert sorted(int(json.loads(body)["seq"]) for _, body in receiver.got) == list(range(1, 21))


def test_a_delivery_that_was_never_ended_is_taken_over(store, receiver, monkeypatch):
    tell(store, "a")
    here = desk(store, f'to = "{receiver.url}"')
    assert here._claim(here.sinks[0]) is not None  # its process was killed
    assert here.deliver()["sent"] == 0
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 61)
    assert here.deliver()["sent"] == 1


def test_an_act_announces_by_itself_and_does_not_wait(store, receiver):
    desk(store, f'to = "{receiver.url}"')
    Workspace(store)
    tell(store, "model.promoted")
    assert_soon(lambda: len(receiver.got) == 1)
    with pytest.raises(RuntimeError), store.write() as db:
        ledger.append(db, type="never", subject="s", user="u", data={})
        raise RuntimeError
    tell(store, "model.approved")
    assert_soon(lambda: len(receiver.got) == 2)
    assert "never" not in str(receiver.got)
    with store.read() as db:
        assert {row.sink for row in db.execute(schema.announcements.select())} == {receiver.url}


def assert_soon(true) -> None:
    until = threading.Event()
    for _ in range(500):
        if true():
            return
        until.wait(0.01)
    raise AssertionError


def test_a_wrong_file_stops_no_act_and_is_told_to_who_asks(store):
    Path("nbmlops.toml").write_text("[[announce]]\nto = 3\n")
    Workspace(store)
    tell(store, "model.promoted")
    with pytest.raises(InvalidValue) as caught:
        desk(
            store,
            'to = "ftp://x"\nwhom = 1',
            'to = "file:/etc/passwd"',
            'to = "file:../x"',
            'to = "http://example.org/"',
            'to = "https://x"\nsecret = "hunter2"\ntypes = "a"\nafter = true',
        )
    told = "\n".join(caught.value.faults)
    for part in (
        "ftp://x",
        "whom is not known",
        "'file:/etc/passwd'",
        "'file:../x'",
        "https is needed",
        "secret: env:NAME",
        "types: a list",
        "after: the number",
    ):
        assert part in told
    assert "hunter2" not in told
