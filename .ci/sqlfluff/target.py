"""dbt's target, as far as models ask for it: the linter reads SQL of PostgreSQL."""

type = "postgres"
