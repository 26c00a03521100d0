"""Webhooks: nothing is lost, and the official client accepts what comes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import sqlalchemy as sa

from tests.webhook_receiver import Receiver, running
from textgen.errors import InvalidOption
from worker.errors import NotFound
from worker.jobs.jobs import Jobs
from worker.jobs.states import Kind
from worker.storage.database import Database
from worker.webhooks.deliverer import GIVE_UP_SECONDS, THREADS, Deliverer, delay_after
from worker.webhooks.destinations import (
    Allowed,
)
from worker.webhooks.endpoints import Endpoint, Endpoints
from worker.webhooks.events import EVENT_TYPES
from worker.webhooks.sender import Sender
from worker.webhooks.tables import webhook_deliveries

LOOPBACK = Allowed.parse("127.0.0.0/8")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running(Receiver()) as server:
        yield server


@pytest.fixture
def sender() -> Sender:
    return Sender(LOOPBACK, total_seconds=1.0)


@pytest.fixture
def endpoints(database: Database, sender: Sender) -> Endpoints:
    return Endpoints(database, sender)


@pytest.fixture
def deliverer(database: Database, sender: Sender) -> Deliverer:
    return Deliverer(database, sender, hold_seconds=60.0)


def subscribe(endpoints: Endpoints, receiver: Receiver, tenant: str = "acme") -> Endpoint:
    return endpoints.create(tenant, "hook", receiver.url, EVENT_TYPES)


def end(jobs: Jobs, kind: Kind = "training", tenant: str = "acme") -> str:
    return jobs.request_cancel(tenant, jobs.submit(tenant, kind, {}).id).id


def make_due(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.update(webhook_deliveries).values(due_at=0.0, held_until=0.0))


def unwrap(received: tuple[dict[str, str], bytes], secret: str) -> Any:
    client = openai.OpenAI(api_key="x", base_url="http://127.0.0.1:1", webhook_secret=secret)
    return client.webhooks.unwrap(received[1].decode(), received[0])


class TestDelivery:
    def test_the_official_client_accepts_what_is_sent(
        self, jobs: Jobs, endpoints: Endpoints, deliverer: Deliverer, receiver: Receiver
    ) -> None:
        endpoint = subscribe(endpoints, receiver)
        job_id = end(jobs)
        end(jobs, "scoring")  # there is no event of it
        end(jobs, tenant="globex")  # nobody has asked

        assert deliverer.deliver_one()
        assert not deliverer.deliver_one()

        event = unwrap(receiver.received[0], endpoint.secret)
        assert (event.type, event.data.id) == ("fine_tuning.job.cancelled", job_id)
        with pytest.raises(openai.InvalidWebhookSignatureError):
            unwrap(receiver.received[0], "whsec_" + "A" * 44)
        (logged,) = endpoints.deliveries("acme", endpoint.id).items
        assert (logged.state, logged.attempts, logged.last_status) == ("delivered", 1, 200)

    @pytest.mark.parametrize(
        ("kind", "how", "event_type"),
        [
            ("training", "succeed", "fine_tuning.job.succeeded"),
            ("training", "fail", "fine_tuning.job.failed"),
            ("batch", "succeed", "batch.completed"),
            ("batch", "fail", "batch.failed"),
            ("batch", "expire", "batch.expired"),
            ("batch", "cancel", "batch.cancelled"),
            ("evaluation", "succeed", "eval.run.succeeded"),
            ("evaluation", "cancel", "eval.run.canceled"),
        ],
    )
    def test_every_end_has_its_event(
        self,
        jobs: Jobs,
        endpoints: Endpoints,
        receiver: Receiver,
        kind: Kind,
        how: str,
        event_type: str,
    ) -> None:
        endpoint = subscribe(endpoints, receiver)
        deadline = 0.0 if how == "expire" else None
        job = jobs.submit("acme", kind, {}, deadline_seconds=deadline)
        if how == "cancel":
            jobs.request_cancel("acme", job.id)
        elif how == "expire":
            jobs.fail_overdue()
        else:
            held = jobs.claim(job.queue, "w")
            assert held is not None
            if how == "succeed":
                jobs.succeed(held, {})
            else:
                jobs.fail(held, {"code": "x", "message": "", "param": None})

        (found,) = endpoints.deliveries("acme", endpoint.id).items
        assert (found.event_type, json.loads(found.body)["data"]["id"]) == (event_type, job.id)

    def test_an_event_that_is_not_taken_comes_again_under_the_same_id(
        self,
        jobs: Jobs,
        endpoints: Endpoints,
        deliverer: Deliverer,
        receiver: Receiver,
        database: Database,
    ) -> None:
        endpoint = subscribe(endpoints, receiver)
        end(jobs)
        receiver.statuses = [500, 301, 503]

        for _ in range(4):
            assert deliverer.deliver_one()
            assert not deliverer.deliver_one()  # it waits
            make_due(database)

        (logged,) = endpoints.deliveries("acme", endpoint.id).items
        assert (logged.state, logged.attempts) == ("delivered", 4)
        assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
        unwrap(receiver.received[-1], endpoint.secret)

    def test_after_three_days_it_is_given_up_and_may_be_asked_for_again(
        self,
        jobs: Jobs,
        endpoints: Endpoints,
        deliverer: Deliverer,
        receiver: Receiver,
        database: Database,
    ) -> None:
        endpoint = subscribe(endpoints, receiver)
        end(jobs)
        with database.write() as connection:
            connection.execute(
                sa.update(webhook_deliveries).values(created_at=time.time() - GIVE_UP_SECONDS)
            )
        receiver.statuses = [500]

        deliverer.deliver_one()

        (logged,) = endpoints.deliveries("acme", endpoint.id).items
        assert (logged.state, logged.last_error) == ("failed", "status 500")
        assert not deliverer.deliver_one()
        with pytest.raises(NotFound):
            endpoints.send_again("globex", endpoint.id, logged.id)
        endpoints.send_again("acme", endpoint.id, logged.id)
        assert deliverer.deliver_one()
        assert endpoints.deliveries("acme", endpoint.id).items[0].state == "delivered"

    def test_a_deliverer_that_dies_loses_none(
        self, jobs: Jobs, endpoints: Endpoints, receiver: Receiver, database: Database
    ) -> None:
        class Dying(Sender):
            def post(self, *_: Any) -> int:
                raise KeyboardInterrupt  # as if killed while it sends

        subscribe(endpoints, receiver)
        ids = {end(jobs) for _ in range(3)}
        with pytest.raises(KeyboardInterrupt):
            Deliverer(database, Dying(LOOPBACK), hold_seconds=60.0).deliver_one()
        other = Deliverer(database, Sender(LOOPBACK), hold_seconds=60.0)

        assert not other.deliver_one()  # it is held still, and no other of its endpoint goes
        with database.write() as connection:  # as if a minute had passed
            held = webhook_deliveries.c.held_until
            connection.execute(sa.update(webhook_deliveries).values(held_until=held - 60.0))
        while other.deliver_one():
            pass

        sent = [json.loads(body)["data"]["id"] for _, body in receiver.received]
        assert sorted(sent) == sorted(ids)

    def test_many_deliverers_send_each_once(
        self, jobs: Jobs, endpoints: Endpoints, receiver: Receiver, database_url: str
    ) -> None:
        subscribe(endpoints, receiver)
        ids = [end(jobs) for _ in range(12)]
        stop = threading.Event()
        several = [Database(database_url) for _ in range(2)]
        threads = [
            threading.Thread(
                target=Deliverer(each, Sender(LOOPBACK), hold_seconds=60.0).run, args=(stop,)
            )
            for each in several
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(receiver.received) < len(ids) and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join()
        for each in several:
            each.dispose()

        sent = [json.loads(body)["data"]["id"] for _, body in receiver.received]
        assert sorted(sent) == sorted(ids)

    def test_slow_receivers_of_one_tenant_hold_up_no_other(
        self, jobs: Jobs, endpoints: Endpoints, receiver: Receiver, database: Database
    ) -> None:
        go_on, sent = threading.Event(), []

        class Slow(Sender):
            def post(self, url: str, *_: Any) -> int:
                sent.append(url)
                return 200 if url == receiver.url or go_on.wait(60) else 500

        for number in range(THREADS + 2):
            endpoints.create("acme", "slow", f"{receiver.url}&slow={number}", EVENT_TYPES)
        for _ in range(3):
            end(jobs)
        subscribe(endpoints, receiver, "globex")
        ids = [end(jobs, tenant="globex") for _ in range(3)]  # due after all of the other tenant's
        stop = threading.Event()
        deliverer = Deliverer(database, Slow(LOOPBACK), hold_seconds=60.0)
        thread = threading.Thread(target=deliverer.run, args=(stop,))
        thread.start()
        try:
            deadline = time.monotonic() + 20
            while sent.count(receiver.url) < len(ids) and time.monotonic() < deadline:
                time.sleep(0.05)
            reached = sent.count(receiver.url)
        finally:
            stop.set()
            go_on.set()
            thread.join()

        assert reached == len(ids)

    def test_an_endpoint_is_sent_one_at_a_time_whoever_claims(
        self, jobs: Jobs, endpoints: Endpoints, receiver: Receiver, database_url: str
    ) -> None:
        lock, under_way, most, sent = threading.Lock(), [0], [0], []

        class Counting(Sender):
            def post(self, *_: Any) -> int:
                with lock:
                    under_way[0] += 1
                    most[0] = max(most[0], under_way[0])
                time.sleep(0.02)
                with lock:
                    under_way[0] -= 1
                    sent.append(1)
                return 200

        subscribe(endpoints, receiver)
        ids = [end(jobs) for _ in range(30)]
        several = [Database(database_url) for _ in range(2)]
        ready = threading.Barrier(2 * THREADS)

        def send(database: Database) -> None:
            deliverer = Deliverer(database, Counting(LOOPBACK), hold_seconds=60.0)
            ready.wait()
            deadline = time.monotonic() + 60
            while len(sent) < len(ids) and time.monotonic() < deadline:
                if not deliverer.deliver_one():
                    time.sleep(0.001)

        threads = [
            threading.Thread(target=send, args=(several[number % 2],))
            for number in range(2 * THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for each in several:
            each.dispose()

        assert len(sent) == len(ids)
        assert most == [1]

    def test_both_secrets_sign_while_one_replaces_the_other(
        self, jobs: Jobs, endpoints: Endpoints, deliverer: Deliverer, receiver: Receiver
    ) -> None:
        old = subscribe(endpoints, receiver)
        new = endpoints.rotate_secret("acme", old.id, keep_old=True)
        end(jobs)
        deliverer.deliver_one()
        newest = endpoints.rotate_secret("acme", old.id)
        end(jobs)
        deliverer.deliver_one()

        for secret in (old.secret, new.secret):
            unwrap(receiver.received[0], secret)
        unwrap(receiver.received[1], newest.secret)
        with pytest.raises(openai.InvalidWebhookSignatureError):
            unwrap(receiver.received[1], new.secret)

    def test_what_was_for_a_deleted_endpoint_is_not_sent(
        self, jobs: Jobs, endpoints: Endpoints, deliverer: Deliverer, receiver: Receiver
    ) -> None:
        endpoint = subscribe(endpoints, receiver)
        end(jobs)

        with pytest.raises(NotFound):
            endpoints.delete("globex", endpoint.id)
        endpoints.delete("acme", endpoint.id)

        assert not deliverer.deliver_one()

    def test_unknown_events(self, endpoints: Endpoints, receiver: Receiver) -> None:
        with pytest.raises(InvalidOption):
            endpoints.create("acme", "x", receiver.url, ["batch.done"])


def test_the_delays_grow_to_half_a_day_and_span_three() -> None:
    delays = [delay_after(attempt) for attempt in range(1, 20)]

    assert 4 <= delays[0] <= 6 and 12 <= delays[1] <= 18
    assert all(delay <= 12 * 3600 * 1.2 for delay in delays)
    assert sum(delays) > GIVE_UP_SECONDS  # whatever the jitter of each
