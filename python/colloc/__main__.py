"""``python -m colloc``: the command ``colloc``."""

from colloc.cli import main

raise SystemExit(main())
