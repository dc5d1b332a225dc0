"""The nightly platform of the campaign Kerja Keras Bebas Cemas.

Data flows one way: pull, land, read, validate, load, build, audit, publish. Each step is one module whose public verb
is called by the Airflow task and by the command line alike.
"""

__version__ = "0.1.0"
