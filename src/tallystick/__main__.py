"""`python -m tallystick`."""

from .cli import main

main()
