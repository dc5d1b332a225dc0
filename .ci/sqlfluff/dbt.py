"""dbt's cross-database macros as they come out on PostgreSQL, so that the linter needs neither dbt nor a database."""


def dateadd(datepart: str, interval: object, from_date: str) -> str:
    return f"({from_date} + interval '1 {datepart}' * ({interval}))"


def datediff(first: str, second: str, datepart: str) -> str:
    return f"(cast({second} as date) - cast({first} as date))"


def date_trunc(datepart: str, date: str) -> str:
    return f"date_trunc('{datepart}', {date})"


def last_day(date: str, datepart: str) -> str:
    return f"cast({date_trunc(datepart, date)} + interval '1 {datepart}' - interval '1 day' as date)"
