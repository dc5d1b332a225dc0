"""The marts: built by dbt, what is built on record, the models there are, verification, lineage, the semantic layer."""
