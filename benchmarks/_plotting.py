"""One picture a case: bars of medians with their spread."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ._report import Panel, Report

_OURS, _OTHERS = "#c2410c", "#64748b"


def can_plot() -> bool:
    """Tell whether what draws is installed."""
    return find_spec("matplotlib") is not None


def rows_of(report: Report) -> list[tuple[str, Sequence[Panel]]]:
    """Return what is drawn: for the report or each of its parts, a name and the panels that stand side by side."""
    parts = [report, *report.parts]
    return [(part.case, part.panels) for part in parts if part.panels]


def draw(report: Report, file: Path) -> bool:
    """Draw a report's panels as SVG; False if it has none."""
    import matplotlib as mpl  # type: ignore[import-not-found, unused-ignore]  # most runs draw nothing
    from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]

    rows = rows_of(report)
    if not rows:
        return False
    heights = [max(len(panel.bars) for panel in panels) for _, panels in rows]
    columns = max(len(panels) for _, panels in rows)
    with mpl.rc_context({"svg.hashsalt": "trio_norman", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(3 + 2.7 * columns, 0.6 * len(rows) + 0.24 * sum(heights)), layout="constrained")
        grid = figure.add_gridspec(len(rows), columns, height_ratios=heights)
        for row, (name, panels) in enumerate(rows):
            for column, panel in enumerate(panels):
                axes = figure.add_subplot(grid[row, column])
                _draw_bars(axes, panel, has_labels=column == 0)
                axes.set_title(f"{name}: {panel.title}" if column == 0 else panel.title, fontsize=9)
        figure.savefig(file, format="svg", metadata={"Date": None})
    return True


def _draw_bars(axes: object, panel: Panel, *, has_labels: bool) -> None:
    from matplotlib.axes import Axes  # type: ignore[import-not-found, unused-ignore]

    assert isinstance(axes, Axes)
    labels, spreads = list(panel.bars), list(panel.bars.values())
    medians = [spread.median for spread in spreads]
    around = [
        [spread.median - spread.least for spread in spreads],
        [spread.most - spread.median for spread in spreads],
    ]
    colours = [_OURS if label.startswith("trio") else _OTHERS for label in labels]
    axes.barh(range(len(labels)), medians, xerr=around, color=colours, error_kw={"linewidth": 0.8, "capsize": 2})
    axes.set_yticks(range(len(labels)), labels if has_labels else [""] * len(labels))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
