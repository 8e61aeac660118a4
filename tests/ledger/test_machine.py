"""The ledger against a model of it: tries that come, claim, die and come back, in any order."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_provider_telekom_sms.exceptions import CampaignBusyError
from airflow_provider_telekom_sms.ledger import planning, reporting, schema, sending
from airflow_provider_telekom_sms.ledger.planning import Owner, PlannedRow
from airflow_provider_telekom_sms.ledger.sending import Outcome
from airflow_provider_telekom_sms.ledger.store import Ledger, State

SLOTS = ("a", "b")
OUTCOMES = (State.ACCEPTED, State.ACCEPTED, State.REJECTED, State.IN_DOUBT, State.PLANNED)


@dataclass
class Try:
    owner: Owner
    alive: bool = True
    holds: dict[int, str] = field(default_factory=dict)
    plan_id: int | None = None
    ready: bool = False


@dataclass
class Message:
    """What the model knows of one row of the ledger."""

    plan_id: int
    key: int | None
    state: State
    owner: int | None = None
    handed: int = 0
    allowed: int = 1
    was_accepted: bool = False


class LedgerMachine(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger(f"sqlite:///{Path(self.folder.name) / 'ledger.db'}")
        with self.ledger.engine.connect() as connection:  # durability is shown elsewhere
            connection.connection.execute("PRAGMA synchronous=OFF")
        self.tries: list[Try] = []
        self.messages: dict[int, Message] = {}
        self.ready: set[int] = set()
        self.half: dict[int, int] = {}
        for slot in SLOTS:
            self.come_and_go("begin", slot)

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.folder.cleanup()

    # What happens to tries.

    @rule(
        how=st.sampled_from(["begin", "begin", "lease", "end"]),
        slot=st.sampled_from(SLOTS),
    )
    def come_and_go(self, how: str, slot: str) -> None:
        """A try begins (its forerunner was killed), begins when all leases ran out, or ends."""
        if how == "lease":
            with self.ledger.transaction() as connection:
                connection.execute(schema.owner.update().values(lease_until=1))
        for one in [one for one in self.tries if one.alive]:
            if how == "lease" or one.owner.slot == slot:
                self._bury(one)
                if how == "end":
                    planning.end(self.ledger, one.owner)
        if how != "end":
            self.tries.append(Try(planning.begin(self.ledger, "campaign", slot)))

    def _bury(self, one: Try) -> None:
        one.alive = False
        for message in self.messages.values():
            if message.state is State.CLAIMED and message.owner == one.owner.id:
                message.state = State.IN_DOUBT

    # What tries do.

    @precondition(lambda self: any(one.alive and one.plan_id is None for one in self.tries))
    @rule(data=st.data(), keys=st.lists(st.integers(1, 12), min_size=2, max_size=6), finish=st.booleans())
    def plan(self, data: st.DataObject, keys: list[int], finish: bool) -> None:
        one = data.draw(st.sampled_from([o for o in self.tries if o.alive and o.plan_id is None]))
        if any(o.alive and o.plan_id in self.half for o in self.tries):
            with pytest.raises(CampaignBusyError):
                planning.begin_plan(self.ledger, one.owner, "", "{}", fallback=False)
            self._forget_half_plans()
            return
        one.plan_id = planning.begin_plan(self.ledger, one.owner, "", "{}", fallback=False)
        self._forget_half_plans()
        self.half[one.plan_id] = one.owner.id
        rows = [
            PlannedRow(number, State.PLANNED, b"%016d" % key, None, "421903000000", f"Ahoj {key}", 1)
            for number, key in enumerate(keys)
        ]
        if rows:
            planning.add(self.ledger, one.owner, one.plan_id, rows)
        with self.ledger.reading() as connection:
            query = sa.select(schema.message.c.id).where(schema.message.c.plan_id == one.plan_id)
            ids = connection.scalars(query.order_by(schema.message.c.id)).all()
        taken = {message.key for message in self.messages.values()}
        for number, key in zip(ids, keys, strict=True):
            new = key not in taken
            state = State.PLANNED if new else State.DUPLICATE
            self.messages[number] = Message(one.plan_id, key if new else None, state)
            taken.add(key)
        if finish:
            self._finish(one)

    def _forget_half_plans(self) -> None:
        alive = {one.owner.id for one in self.tries if one.alive}
        for plan_id in [plan for plan, owner in self.half.items() if owner not in alive]:
            del self.half[plan_id]
            self.messages = {i: m for i, m in self.messages.items() if m.plan_id != plan_id}

    @precondition(lambda self: any(one.alive and one.plan_id in self.half for one in self.tries))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self._finish(
            data.draw(st.sampled_from([o for o in self.tries if o.alive and o.plan_id in self.half]))
        )

    def _finish(self, one: Try) -> None:
        assert one.plan_id is not None
        planning.finish_plan(self.ledger, one.owner, one.plan_id)
        self.ready.add(one.plan_id)
        del self.half[one.plan_id]

    @precondition(lambda self: any(one.alive for one in self.tries))
    @rule(data=st.data(), want=st.integers(0, 5), count=st.integers(0, 5))
    def work(self, data: st.DataObject, want: int, count: int) -> None:
        self._exchange(data, data.draw(st.sampled_from([o for o in self.tries if o.alive])), want, count)

    work_again = work

    @precondition(lambda self: any(one.holds and not one.alive for one in self.tries))
    @rule(data=st.data(), want=st.integers(0, 5), count=st.integers(1, 5))
    def a_zombie_comes_back(self, data: st.DataObject, want: int, count: int) -> None:
        zombies = [o for o in self.tries if o.holds and not o.alive]
        self._exchange(data, data.draw(st.sampled_from(zombies)), want, count)

    def _exchange(self, data: st.DataObject, one: Try, want: int, count: int) -> None:
        settled = list(one.holds)[:count]
        outcomes = [Outcome(i, data.draw(st.sampled_from(OUTCOMES)), f"id{i}") for i in settled]
        result = sending.exchange(self.ledger, one.owner, outcomes, want)
        for outcome in outcomes:
            self._settle(one, outcome)
            del one.holds[outcome.id]
        if not one.alive:
            assert result.claimed == []
            assert result.halted == "superseded"
        free = [i for i, m in self.messages.items() if m.state is State.PLANNED and m.plan_id in self.ready]
        expected = sorted(free, key=lambda i: (self.messages[i].plan_id, i))[:want] if one.alive else []
        assert [message.id for message in result.claimed] == expected
        for claimed in result.claimed:
            message = self.messages[claimed.id]
            message.state, message.owner = State.CLAIMED, one.owner.id
            message.handed += 1
            one.holds[claimed.id] = claimed.text

    def _settle(self, one: Try, outcome: Outcome) -> None:
        message = self.messages[outcome.id]
        if message.owner != one.owner.id or message.state in (State.ACCEPTED, State.REJECTED):
            return
        message.state = outcome.state
        if outcome.state is State.PLANNED:
            message.owner = None
            message.allowed += 1

    @precondition(lambda self: self.tries)
    @rule(data=st.data(), state=st.sampled_from([State.IN_DOUBT, State.REJECTED]))
    def resend(self, data: st.DataObject, state: State) -> None:
        one = data.draw(st.sampled_from(self.tries))
        at_work = {other.owner.id for other in self.tries if other.alive and other is not one}
        hit = [m for m in self.messages.values() if m.state is state and m.owner not in at_work]
        hit = hit if one.alive else []
        assert sending.requeue(self.ledger, one.owner, state) == len(hit)
        for message in hit:
            message.state = State.PLANNED
            message.allowed += 1

    # What must hold at all times.

    @invariant()
    def the_ledger_agrees(self) -> None:
        if not hasattr(self, "ledger"):
            return
        with self.ledger.reading() as connection:
            found = {row.id: row for row in connection.execute(sa.select(schema.message))}
        assert {i: row.state for i, row in found.items()} == {i: m.state for i, m in self.messages.items()}
        for number, message in self.messages.items():
            assert found[number].owner_id == message.owner
            assert message.handed <= message.allowed, "handed out twice, and nobody had asked for it"
            assert not (message.was_accepted and message.state is not State.ACCEPTED)
            message.was_accepted = message.state is State.ACCEPTED
        self._counts_add_up()

    def _counts_add_up(self) -> None:
        if not self.tries:
            return
        counted = reporting.counts(self.ledger, self.tries[0].owner.campaign_id)
        numbers = counted.as_dict()
        states = Counter(message.state for message in self.messages.values())
        assert {state: numbers[state] for state in State if numbers[state]} == dict(states)
        assert counted.total == len(self.messages)


LedgerMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    phases=[
        Phase.explicit,
        Phase.reuse,
        Phase.generate,
    ],  # to shrink takes minutes; the steps are few as it is
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestLedger = LedgerMachine.TestCase
