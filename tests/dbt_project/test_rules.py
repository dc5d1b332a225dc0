"""Which tests prove each KPI rule, so that none is left without, and that they are there."""

import re

import pytest

from kkbc.core.settings import PROJECT_ROOT
from tests.dbt_project.properties import MODELS, PUBLISHED, described
from tests.dbt_project.recompute import seed

# dbt's unit tests by name, next to the models; a unit test says at the head of its description which rules it is of.
UNIT_TESTS: dict[int, list[str]] = {
    1: [
        "a_day_is_a_day_in_jakarta",
        "a_registration_counts_on_its_jakarta_day",
        "a_payment_counts_on_its_jakarta_day_unless_it_is_voided",
        "events_by_their_day_and_deliveries_by_theirs",
    ],
    2: [
        "coverage_to_come_is_no_fact_yet",
        "acquisitions_are_credited",
        "a_branch_counts_from_the_first_day_to_as_of",
        "every_branch_has_every_day_and_is_expected_while_active",
        "an_occupation_opens_with_the_stock_of_before",
        "deliveries_after_as_of_do_not_count_yet",
        "slices_after_as_of_are_not_judged_yet",
    ],
    3: [
        "slices_are_judged",
        "a_feed_is_missing_from_the_day_that_it_is_owed",
        "every_branch_has_every_day_and_is_expected_while_active",
        "a_slice_is_judged_by_its_earliest_valid_revision",
        "slices_after_as_of_are_not_judged_yet",
    ],
    4: [
        "slices_are_judged",
        "rates_of_a_slice_are_over_what_they_are_of",
    ],
    5: [
        "months_run_date_to_date_and_are_clipped",
        "coverage_merges_and_returns",
        "statuses_follow_coverage",
        "three_months_are_clipped_to_the_month_end",
        "coverage_of_any_shape_becomes_merged_intervals",
        "a_status_changes_on_e_and_three_months_later",
    ],
    6: [
        "registrations_and_acquisitions_are_counted",
        "a_return_belongs_to_the_branch_of_its_day",
    ],
    7: [
        "participants_count_for_the_branch_of_their_latest_registration",
        "acquisitions_are_credited",
        "latest_registrations_tie_by_code_points",
        "coverage_knows_the_payments_that_began_it",
        "credit_ties_go_to_the_greatest_by_code_points",
    ],
    8: [
        "repeat_first_and_latest_registrations",
        "registrations_and_acquisitions_are_counted",
        "registrations_at_one_instant_are_no_repeat",
        "a_branch_is_due_30_days_after_first_registrations",
        "rates_over_nothing_are_null",
        "a_channel_counts_those_due_30_days_later",
        "the_nation_sums_what_is_expected_and_what_came",
    ],
    9: [
        "registrations_and_acquisitions_are_counted",
        "a_payment_counts_on_its_jakarta_day_unless_it_is_voided",
    ],
    10: [
        "acquisitions_are_credited",
        "activation_takes_whole_jakarta_days",
        "a_channel_counts_those_due_30_days_later",
        "a_channel_has_a_row_when_any_measure_is_not_0",
    ],
    11: [
        "the_latest_delivered_target_is_in_force",
        "of_one_day_the_higher_revision_of_a_target_is_in_force",
        "a_target_holds_for_every_day_of_its_month",
        "rates_over_nothing_are_null",
        "the_nation_leaves_out_branches_without_a_target",
    ],
    12: [
        "equal_attainments_share_a_rank",
        "a_month_that_is_over_is_not_projected",
    ],
    13: [
        "a_voided_activity_is_none",
        "a_spot_is_compared_with_usual_days",
        "spots_that_overlap_are_each_compared",
    ],
    14: [
        "registrations_and_acquisitions_are_counted",
        "coverage_is_tested_n_months_after_activation",
        "retention_waits_for_the_whole_cohort",
        "a_cohort_is_due_on_the_clipped_day_of_its_last_activation",
        "a_cohort_is_not_due_a_day_before",
    ],
    15: [
        "registrations_and_acquisitions_are_counted",
        "a_voided_activity_is_none",
        "activities_without_contacts_registrations_or_cost",
        "only_activities_in_force_have_a_row",
    ],
    16: [
        "new_provinces_of_papua_fold_into_their_parents",
        "a_province_is_that_of_before_the_split",
        "a_province_has_a_row_at_every_past_month_end",
    ],
    17: [
        "repeat_first_and_latest_registrations",
        "an_occupation_outside_the_list_is_unknown_and_kept",
        "an_occupation_opens_with_the_stock_of_before",
        "the_running_month_of_an_occupation_stands_at_as_of",
    ],
    18: [
        "rates_of_a_slice_are_over_what_they_are_of",
        "a_row_counts_once_under_each_of_its_codes",
        "rows_that_were_loaded_since_are_quarantined_no_more",
    ],
    19: [
        "events_by_their_day_and_deliveries_by_theirs",
        "every_branch_has_every_day_and_is_expected_while_active",
        "a_new_office_is_where_its_line_says",
        "the_head_office_is_no_branch",
        "the_nation_sums_what_is_expected_and_what_came",
    ],
    20: [
        "rates_of_a_slice_are_over_what_they_are_of",
    ],
    22: [
        "an_acquisition_tells_whom_it_is_credited_to",
    ],
}

# What dbt's unit tests cannot see: what loading counts, and which schema and role a mart is for.
PYTESTS: dict[int, list[str]] = {
    4: [
        "tests/intake/validation/test_codes.py::test_kpi_rule_4_valid_niks_are_counted_over_all_rows",
        "tests/intake/validation/test_codes.py::test_kpi_rule_4_a_misshapen_row_has_no_valid_nik",
        "tests/intake/validation/test_codes.py::test_kpi_rule_4_feeds_without_nik_have_no_rate",
    ],
    12: ["tests/dbt_project/test_all_marts.py::test_mart_is_what_the_rules_say"],
    16: ["tests/dbt_project/test_rules.py::test_kpi_rule_16_the_provinces_are_those_of_before_the_split"],
    18: ["tests/intake/test_process.py::test_however_small_the_parts_the_rows_are_the_same"],
    20: ["tests/intake/test_process.py::test_however_small_the_parts_the_rows_are_the_same"],
    21: [
        "tests/dbt_project/test_rules.py::test_kpi_rule_21_persons_stand_in_bi_detail_only",
        "tests/dbt_project/test_project.py::test_no_person_reaches_the_dashboards",
        "tests/publishing/test_publish.py::test_the_role_of_dashboards_sees_no_facts",
    ],
    22: ["tests/dbt_project/test_rules.py::test_kpi_rule_22_an_acquisition_is_one_row_a_participant"],
}

# Of what happens between builds, of exchange rules, of restrictions, or of a mart that the rules do not know.
OF_NO_KPI_RULE = {
    "the_latest_state_of_a_key_is_in_force",
    "a_void_stays_known",
    "the_latest_state_of_a_registration_is_in_force",
    "the_latest_state_of_an_activity_is_in_force",
    "a_void_is_no_payment",
    "payments_of_the_restricted_stay_known",
    "payments_of_the_restricted_are_none",
    "registrations_of_the_restricted_are_none",
    "stock_changes_by_status_and_branch",
    "cells_change_by_what_the_touched_participants_count_for",
    "cells_follow_the_touched_participants",
    "touched_days_go_on_from_the_day_before",
    "branches_stand_where_their_last_whole_day_is",
}

CITATION = re.compile(r"KPI rules? (\d+(?:(?:, | and )\d+)*)\. ")


def cited(description: str) -> list[int]:
    """The KPI rules at the head of a description."""
    head = CITATION.match(description)
    return [int(number) for number in re.findall(r"\d+", head[1])] if head else []


UNIT_TESTS_FOUND = {test["name"]: cited(test["description"]) for _, test in described("unit_tests")}


def rules() -> list[int]:
    """The numbers of the KPI rules in the specification."""
    text = (PROJECT_ROOT / "docs" / "specification" / "rules.md").read_text(encoding="utf-8")
    return [int(number) for number in re.findall(r"^(\d+)\. ", text.partition("## KPI rules")[2], re.M)]


@pytest.mark.parametrize("rule", rules())
def test_every_rule_is_proved(rule: int) -> None:
    assert UNIT_TESTS.get(rule) or PYTESTS.get(rule)
    assert sorted(UNIT_TESTS.get(rule, [])) == sorted(name for name, of in UNIT_TESTS_FOUND.items() if rule in of)


def test_no_rule_is_made_up() -> None:
    assert UNIT_TESTS.keys() | PYTESTS.keys() == set(rules())


def test_unit_tests_say_which_rule_they_are_of() -> None:
    """All but those listed above, and those of marts that the specification does not know, which say so themselves."""
    of_no_rule = {name for name, of in UNIT_TESTS_FOUND.items() if not of}
    beyond = {
        test["name"]
        for _, test in described("unit_tests")
        if test.get("config", {}).get("meta", {}).get("kpi_rule") == "none"
    }
    assert of_no_rule <= OF_NO_KPI_RULE | beyond
    specification = (PROJECT_ROOT / "docs" / "specification" / "kpis.md").read_text(encoding="utf-8")
    models = {test["model"] for _, test in described("unit_tests") if test["name"] in beyond}
    assert [model for model in models if f"`{model}`" in specification] == []


@pytest.mark.parametrize("name", sorted({name for names in PYTESTS.values() for name in names}))
def test_named_tests_exist(name: str) -> None:
    path, _, function = name.partition("::")
    assert f"\ndef {function}(" in (PROJECT_ROOT / path).read_text(encoding="utf-8")


def test_kpi_rule_16_the_provinces_are_those_of_before_the_split() -> None:
    """34, the new ones of Papua folded into their parents, each with a figure of 2022."""
    folded = {row["province_code"]: row["province_code_2021"] for row in seed("province_history")}
    assert folded == {"93": "91", "94": "91", "95": "91", "96": "92"}
    former = {folded.get(row["code"], row["code"]) for row in seed("provinces")}
    assert len(former) == 34
    assert {row["province_code"] for row in seed("informal_workers_by_province") if row["year"] == "2022"} == former


def test_kpi_rule_21_persons_stand_in_bi_detail_only() -> None:
    """Facts and what tells of a person are for analysts alone, other dimensions for all, the rest for dashboards."""
    persons = {"participant_token", "registration_no", "payment_id", "officer_code"}
    for name, model in PUBLISHED.items():
        of_persons = name.startswith("fct_") or not persons.isdisjoint(column["name"] for column in model["columns"])
        wanted = {"bi_detail"} if of_persons else {"bi", "bi_detail"} if name.startswith("dim_") else {"bi"}
        assert set(model["config"]["meta"]["publish"]) == wanted, name
    assert {"dim_participant", "fct_acquisition", "dim_branch", "kpi_branch_daily"} <= PUBLISHED.keys()


def test_kpi_rule_22_an_acquisition_is_one_row_a_participant() -> None:
    acquisition = MODELS["fct_acquisition"]
    assert acquisition["config"]["meta"]["primary_key"] == ["participant_token"]
    columns = {column["name"] for column in acquisition["columns"]}
    assert columns >= {"officer_code", "activity_code", "occupation_code", "segment_code"}
