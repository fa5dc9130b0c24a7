"""Handwritten digits with Flower and numpy: an ordinary app that knows nothing of ledgers."""
