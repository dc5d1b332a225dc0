"""The charts of a report: figures in, SVG out. What a chart shows is said in its alternative text too."""
