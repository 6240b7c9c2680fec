"""``python -m figureground.cli``."""

from figureground.cli import main

main()
