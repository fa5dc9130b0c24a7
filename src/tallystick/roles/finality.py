"""Finality: which proposals wait for it, and making them final once their windows have passed."""

from __future__ import annotations

from ..errors import DemandsOpen
from ..ledger import Ledger, Receipt, Signer
from ..protocol import (
    Ballot,
    Call,
    Finalise,
    Lapse,
    Phase,
    Release,
    Round,
    Settlement,
    compute_settled,
)


def unfinished(ledger: Ledger, task: bytes) -> list[tuple[int, Round]]:
    """Proposed rounds that are not final, oldest first."""
    found: list[tuple[int, Round]] = []
    number = ledger.task(task).head
    while number > 0:
        state = ledger.round(task, number)
        if state.phase == Phase.FINAL:
            break
        if state.phase == Phase.PROPOSED:
            found.append((number, state))
        number = state.parent
    return found[::-1]


def finalise_due(ledger: Ledger, signer: Signer, task: bytes) -> list[Receipt]:
    """Finalise every proposal that is settled, and free the bonds of those that were so early; waits for nothing.

    A proposal that lacks votes or proof at its window's end lapses, with all that builds on it.
    """
    now = ledger.now()
    p = ledger.task(task).parameters
    plain = p.settlement == Settlement.WINDOW
    receipts = [] if plain else _release(ledger, signer, task, now)
    due: list[Call] = []
    for number, proposal in unfinished(ledger, task):
        if plain and proposal.final_at > now:
            break
        ballot = Ballot() if plain else ledger.ballot(task, number)
        if compute_settled(p, ballot, proposal.final_at, now) and not ballot.demands:
            due.append(Finalise(task, number))
            continue
        if proposal.final_at <= now and not ballot.demands:
            due.append(Lapse(task, number))
        break
    try:
        return receipts + (ledger.send(signer, *due) if due else [])
    except DemandsOpen:
        return receipts


def _release(ledger: Ledger, signer: Signer, task: bytes, now: int) -> list[Receipt]:
    """Free the bonds of early final rounds whose windows have passed meanwhile."""
    due: list[Call] = []
    number = ledger.task(task).head
    while number > 0:
        current = ledger.round(task, number)
        if current.phase == Phase.FINAL:
            ballot = ledger.ballot(task, number)
            if not ballot.bonded:
                break
            if current.final_at <= now and not ballot.demands:
                due.append(Release(task, number))
        number = current.parent
    return ledger.send(signer, *due) if due else []


def settle(ledger: Ledger, signer: Signer, task: bytes, last: int | None = None) -> list[Receipt]:
    """Wait for the windows of all rounds up to `last` (default: all) and finalise them; stops at one refuted meanwhile."""
    receipts = []
    for number, proposal in unfinished(ledger, task):
        if last is None or number <= last:
            ledger.wait(proposal.final_at)
            if ledger.round(task, number).attempt != proposal.attempt:
                break
            receipts += ledger.send(signer, Finalise(task, number))
    return receipts
