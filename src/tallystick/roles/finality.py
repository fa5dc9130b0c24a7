"""Finality: which proposals wait for it, and making them final once their windows have passed."""

from __future__ import annotations

from ..ledger import Ledger, Receipt, Signer
from ..protocol import Finalise, Phase, Round


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
    """Finalise every proposal whose window has passed; waits for nothing."""
    now = ledger.now()
    due = []
    for number, proposal in unfinished(ledger, task):
        if proposal.final_at > now:
            break
        due.append(Finalise(task, number))
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
