"""Federated learning with receipts."""

__version__ = "0.1.0"
