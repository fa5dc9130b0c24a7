"""Flower's side: a client mod and a strategy that translate between messages and roles, and decide nothing.

    client = ClientApp(mods=[tallystick.flower.mod()])
    strategy = tallystick.flower.Verifiable(FedAvg())

The global model travels as its words (int32), so that a member can hash what it got against the ledger; the mod hands the
ClientApp its ordinary named arrays, and turns the arrays that come back into the update that is committed.
"""

from __future__ import annotations

from .client import mod
from .settings import ledger_at
from .strategy import Verifiable

__all__ = ["Verifiable", "ledger_at", "mod"]
