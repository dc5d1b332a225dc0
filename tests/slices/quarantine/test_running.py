"""A retry as a run of Airflow, and the night that builds what it loaded."""

from datetime import date, timedelta
from typing import Any

import pytest

from kkbc.core.errors import UserError
from kkbc.nights import night, plain
from kkbc.nights.night import Wishes
from kkbc.slices.quarantine import Deed, Selection, close_retry, open_retry, resolve, retry_branch
from kkbc.warehouse import connect
from tests.deliveries import deliver
from tests.slices.quarantine.scene import DAY, NEW, Office, Rules, accepted, query, retry_now

RUN = "retry__manual__2023-12-13"
DEED = Deed("channel JMO added", "airflow admin", RUN)


def run() -> tuple[Any, ...]:
    ((*values,),) = query(f"select as_of, outcome, finished_at is not null from ops.run where run_id = '{RUN}'")
    return tuple(values)


def test_a_run_of_its_own_from_rows_to_news(office: Office, rules: Rules) -> None:
    deliver(office.root, {"pendaftaran": [{}]}, branch_id="KC002")
    office.pull("KC002")
    office.sends({**NEW}, {"no_pendaftaran": "R-2", "nik": "1", **NEW})
    assert open_retry(RUN, Selection()) == ["KC001"]
    assert run() == (DAY, "running", False)
    rules.correct()
    assert retry_branch("KC001", Selection(), DEED)["accepted"] == 1
    # The task is tried again: there is nothing left to do, and what was done is news all the same.
    assert retry_branch("KC001", Selection(), DEED)["accepted"] == 0
    assert close_retry(RUN) == {
        "run_id": RUN,
        "as_of": "2023-12-11",
        "accepted": 1,
        "changed": 1,
        "beaten": 0,
        "news": True,
    }
    assert query("select distinct run_id, done_by from ops.quarantine_event") == [(RUN, "airflow admin")]
    # The build of the run covers the slice.
    build_id = night.open_build(RUN)
    assert query("select distinct build_id from ops.slice") == [(build_id,)]


def test_a_night_that_comes_in_between_moves_the_build_on(office: Office, rules: Rules) -> None:
    office.sends({**NEW})
    open_retry(RUN, Selection())
    night.open_run(Wishes(DAY + timedelta(days=1), office.root), mode="airflow", run_id="next")
    rules.correct()
    retry_branch("KC001", Selection(), DEED)
    assert close_retry(RUN)["as_of"] == "2023-12-12"


def test_nothing_to_retry_ends_the_run_at_once(office: Office, rules: Rules) -> None:
    office.sends({**NEW})
    assert open_retry(RUN, Selection(code="AGE_RANGE")) == []
    assert run() == (DAY, "nothing_new", True)
    assert close_retry(RUN)["news"] is False


def test_verdicts_that_stay_are_no_news(office: Office, rules: Rules) -> None:
    office.sends({**NEW})
    assert open_retry(RUN, Selection()) == ["KC001"]
    retry_branch("KC001", Selection(), DEED)
    assert close_retry(RUN)["news"] is False
    assert run() == (DAY, "nothing_new", True)


def test_slices_that_cannot_be_retried_fail_the_branch_when_the_others_are_done(office: Office, rules: Rules) -> None:
    deliver(office.root, {"pendaftaran": [{**NEW}]})
    deliver(office.root, {"pendaftaran": [{"no_pendaftaran": "R-2", **NEW}]}, day=DAY + timedelta(days=1))
    office.pull(as_of=DAY + timedelta(days=1))
    rules.correct()
    open_retry(RUN, Selection())
    query("update ops.slice set landed_uri = '/gone' where business_date = '2023-12-11' returning 1")
    with pytest.raises(UserError, match=r"1 slices of KC001 could not be retried: pendaftaran/KC001/2023-12-11/r1: "):
        retry_branch("KC001", Selection(), DEED)
    assert accepted() == [("R-2", 2)]
    assert close_retry(RUN)["news"] is True


def test_a_retry_before_the_first_night_is_a_mistake(office: Office) -> None:
    with pytest.raises(UserError, match="no night has run yet"):
        open_retry(RUN, Selection())


def test_a_run_that_nobody_opened_is_a_mistake(office: Office) -> None:
    with pytest.raises(UserError, match="is not known to the warehouse: open it first: the task open_retry does"):
        close_retry(RUN)


# ---------------------------------------------------------------------------------------------------------------------
# To the marts
# ---------------------------------------------------------------------------------------------------------------------
def run_night(office: Office, as_of: date = DAY) -> dict[str, Any]:
    return plain.run_night(Wishes(as_of, office.root, gate="fail"), lambda *_: None)


def marts() -> tuple[list[Any], list[Any], list[Any]]:
    return (
        query("select code, rows from bi.quarantine_reasons_daily order by code"),
        query(
            "select rows_sent, rows_accepted, rows_quarantined, valid_nik_rate, contactable_rate"
            " from bi.kpi_data_quality_daily where feed = 'pendaftaran' and branch_id = 'KC001'"
        ),
        query("select registrations, quarantined from bi.kpi_branch_daily where branch_id = 'KC001'"),
    )


@pytest.mark.e2e
def test_the_next_night_publishes_what_a_retry_loaded(office: Office, rules: Rules) -> None:
    """Through the gate, which wants every row to be of the slice's loads: its own, or that of a retry."""
    rows = [
        {},
        {"no_pendaftaran": "R-2", "nik": "1171011203909002", **NEW},
        {"no_pendaftaran": "R-3", "nik": "1", **NEW},
        {"no_pendaftaran": "R-4", "penghasilan": "0"},
        {"no_pendaftaran": "R-1", "diubah_pada": "2023-12-11 12:00", **NEW},
    ]
    deliver(office.root, {"pendaftaran": rows, "iuran": [], "kegiatan": []})
    assert run_night(office)["publication_id"] == 1
    assert marts() == (
        [("CODE_UNKNOWN", 3), ("INCOME_RANGE", 1), ("NIK_FORMAT", 1)],
        [(5, 1, 4, 0.8, 1.0)],
        [(1, 4)],
    )
    rules.correct()
    retry_now(Selection(code="CODE_UNKNOWN"))
    with connect("loader", autocommit=True) as conn:
        assert resolve(conn, Selection(code="INCOME_RANGE"), DEED) == 1
    assert run_night(office)["publication_id"] == 2
    assert marts() == (
        [("INCOME_RANGE", 1), ("KEY_DUPLICATE", 1), ("NIK_FORMAT", 1)],
        [(5, 2, 3, 0.8, 1.0)],
        [(2, 3)],
    )
    assert run_night(office)["publication_id"] is None
