"""The nightly platform of the campaign Kerja Keras Bebas Cemas.

Data flows one way: pull, land, read, validate, load, build, audit, publish. Each step is one module whose public verb
is called by the Airflow task and by the command line alike.
"""

import os

# Polars spreads each step over as many threads as there are cores, which costs more than it gains for the few thousand
# rows of a slice: several slices are taken in at once. Polars reads this when it is imported.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

__version__ = "0.1.0"
