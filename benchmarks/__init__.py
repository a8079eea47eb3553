"""How fast and how frugal `trio_norman` is beside its peers: ``python -m benchmarks --help``, or ``make bench``.

One module answers one question. Peers are imported and started here and nowhere else in the project.
"""
