"""``python -m trio_norman.cli`` is ``trio-norman``."""

from . import main

if __name__ == "__main__":
    main()
