"""A change of the key of the tokens: in the warehouse, in its files, or in an Airflow connection."""

import functools
import hashlib
import hmac
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kkbc.core import tokens
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.core.tokens import Key
from kkbc.exchange.slices import Slice
from kkbc.marts import models
from kkbc.nights import RunRequest, open_run, slice_loader
from kkbc.publishing import publish as publishing
from kkbc.slices import AuditNote, holding, rereading
from kkbc.upkeep.keys import foresee, rotate
from kkbc.warehouse import connect, kept
from tests.faults.stage import DAYS, KEY, Home, registration
from tests.faults.victim import pull
from tests.publishing.conftest import change, contents, publish, undo

from .conftest import key_of, token, wrong_tokens

WHO = {"why": "a test", "who": "a tester"}
RUNBOOKS = Path(__file__).parents[3] / "docs" / "runbooks"
NOTE = AuditNote("a test", "a tester")


def check() -> None:
    """The keys are those of the warehouse."""
    with connect("loader") as conn:
        kept.check_key(conn)


def settings_of(home: Home) -> dict[str, str]:
    return dict(home.query("select name, value from ops.setting where name like '%key%'"))


def test_every_token_is_the_next_keys(installation: Home) -> None:
    home = installation
    first = settings_of(home)
    assert first["pii_key_version"] == "01"
    assert wrong_tokens(home, "01", bytes.fromhex(KEY)) == []
    done = rotate(**WHO)
    assert done is not None
    version, key = key_of(home)
    assert (done.version, version, done.cut) == (2, "02", 0)
    assert key != bytes.fromhex(KEY)
    assert wrong_tokens(home, version, key) == []
    niks = home.query("select distinct nik from vault.registrations")
    assert sorted(home.query("select participant_token from bi_detail.dim_p")) == sorted(
        (token(nik, version, key),) for (nik,) in niks
    )
    assert done.persons == len(
        home.query("select nik from vault.registrations union select nik from vault.contributions")
    )
    last = settings_of(home)
    changed = {name for name in first if first[name] != last[name]}
    assert changed == {"pii_key_fingerprint", "pii_key_version"}
    check()
    assert (home.folder / "keys" / "pii.01.key").read_text().strip() == KEY


def test_the_next_publication_compares_no_more_than_what_came(
    installation: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    take_noted = publishing.take_noted
    monkeypatch.setattr(publishing, "take_noted", lambda *given: seen.append(take_noted(*given)) or seen[-1])
    publish()
    change(
        "update next.dim_p set birth_year = 1901"
        " where participant_token = (select min(participant_token) from next.dim_p)"
    )
    rotate(**WHO)
    with connect("publisher") as conn:
        before = conn.execute("select count(*) from bi_kept.changed_key").fetchall()
    done = publish()
    assert set(seen[-1]) == {("bi_detail", "dim_p"), ("bi_detail", "fct_p"), ("bi", "publication_slice")}
    assert before == [(2,)]
    assert done.tables == {
        "bi.publication_slice": {"deleted": 0, "inserted": 0},
        "bi_detail.dim_p": {"deleted": 1, "inserted": 1},
        "bi_detail.fct_p": {"deleted": 0, "inserted": 0},
    }
    assert home_differs() == []


def home_differs() -> list[str]:
    with connect() as conn:
        return [
            model.table
            for model in models.published_models()
            if conn.execute(f"table next.{model.name} except table {model.table} limit 1").fetchone()  # type: ignore[arg-type]
        ]


def test_publications_of_before_can_be_restored(installation: Home) -> None:
    states = [contents()]
    for statements in (
        (
            "delete from next.fct_p where total_amount > 16800",
            "update next.fct_p set total_amount = 1 where payment_id < 'KC001 2023-12-11 P-0020'",
        ),
        (
            "alter table next.dim_p add column sex text",
            "delete from next.dim_p where participant_token < '0140'",
        ),
        (
            "update next.dim_p set sex = 'P'",
            "insert into next.dim_p select repeat('01', 15) || n, 2000 from generate_series(10, 19) n",
        ),
    ):
        change(*statements)
        publish()
        states.append(contents())
    rotate(**WHO)
    rotate(**WHO)
    for target in (1, 3, 2, 4, 1):
        undo(target)
        found = contents()
        for table, (columns, rows, _) in states[target - 1].items():
            assert found[table][:2] == (columns, rows), (target, table)
    with connect() as conn:
        told = conn.execute("select * from ops.publication_digests() order by 1, 2, 3").fetchall()
        recorded = conn.execute(
            "select publication_id, table_schema, table_name, digest from ops.publication_table"
            " where table_schema = 'bi_detail' order by 1, 2, 3"
        ).fetchall()
    assert told == recorded


def test_persons_whom_the_vault_no_longer_has_stop_it_or_are_cut(installation: Home) -> None:
    home = installation
    ((nik, old),) = home.query("select nik, participant_token from vault.registrations order by nik limit 1")
    with psycopg.connect(home.database) as conn:
        for table in ("registrations", "contributions"):
            conn.execute(f"delete from vault.{table} where nik = %s", [nik])  # type: ignore[arg-type]
    # One that is in no row of raw any more is of an earlier publication alone, and stops nothing.
    change("insert into next.dim_p select repeat('01', 16), 1990")
    assert foresee().unknown == 1
    with pytest.raises(UserError, match=r"1 tokens are of persons whom the vault no longer has.*--cut-unknown"):
        rotate(**WHO)
    assert home.query(f"select 1 from bi_detail.dim_p where participant_token = '{old}'")
    done = rotate(**WHO, cut_unknown=True)
    assert done is not None
    assert done.cut == 2
    assert home.query("select count(*) from next.dim_p where participant_token like '00%'") == [(2,)]
    cut = home.query("select participant_token from bi_detail.dim_p where participant_token like '00%'")
    assert len(cut) == 1
    assert cut == home.query(
        "select distinct participant_token from raw.registrations where participant_token like '00%'"
    )
    # It stays what it is: no key gives it, so none takes it away.
    done = rotate(**WHO)
    assert done is not None
    assert (done.cut, foresee().unknown) == (0, 0)
    assert cut == home.query("select participant_token from bi_detail.dim_p where participant_token like '00%'")


def test_a_restriction_of_somebody_the_vault_does_not_have_is_not_lost_unasked(installation: Home) -> None:
    with connect() as conn:
        conn.execute(
            "insert into vault.restricted (participant_token, restricted_by, why) values"
            " (repeat('01', 16), 'sari', 'x'), (repeat('012', 10) || '01', 'sari', 'y')"
        )
        conn.execute(
            "update vault.restricted set released_at = now(), released_by = 'sari', release_why = 'z' where why = 'y'"
        )
    assert foresee().unknown == 1
    with pytest.raises(UserError, match="1 tokens are of persons whom the vault no longer has"):
        rotate(**WHO)
    assert rotate(**WHO, cut_unknown=True) is not None


@pytest.mark.parametrize("content", [None, "cd" * 32])
def test_a_lost_key_is_refused_and_can_be_done_without(installation: Home, content: str | None) -> None:
    home = installation
    path = home.folder / "keys" / "pii.key"
    path.unlink()
    if content:
        path.write_text(content)
        path.chmod(0o600)
    request = RunRequest(DAYS[-1], home.root, first_business_date=DAYS[0])
    for refused in (check, lambda: open_run(request, mode="plain", run_id="refused"), foresee, lambda: rotate(**WHO)):
        with pytest.raises(UserError, match=r"does not exist|not the one that this warehouse was loaded with"):
            refused()
    assert home.query("select 1 from ops.run where run_id = 'refused'") == []
    with pytest.raises(UserError, match="--lost"):
        rotate(**WHO)
    done = rotate(**WHO, lost=True)
    assert done is not None
    check()
    assert wrong_tokens(home, *key_of(home)) == []
    open_run(request, mode="plain", run_id="after")


@pytest.mark.parametrize("file", ["marks.key", "suppression.key"])
def test_other_keys_are_refused_too(installation: Home, file: str) -> None:
    check()
    path = installation.folder / "keys" / file
    path.write_text("ef" * 32)
    with pytest.raises(UserError, match=f"not the one that this warehouse was loaded with: restore .*{file}"):
        check()


def test_a_lost_key_of_the_marks_is_replaced_as_the_runbook_says(installation: Home) -> None:
    (installation.folder / "keys" / "marks.key").write_text("ef" * 32)
    (statement,) = re.findall(r"`(delete from ops\.setting[^`]*)`", (RUNBOOKS / "a-key-is-lost.md").read_text())
    with psycopg.connect(installation.database) as conn:
        conn.execute(statement)
    check()
    pull(*installation.pull_arguments())
    check()


def test_slices_that_come_back_from_landing_have_the_tokens_of_today(installation: Home) -> None:
    home = installation
    slices = [
        Slice(*row)
        for row in home.query(
            "select feed, branch_id, business_date, revision from ops.slice"
            " where status = 'loaded' and feed = 'pendaftaran' and branch_id = 'KC001'"
        )
    ]
    with psycopg.connect(home.database) as conn:
        conn.execute("update ops.slice set build_id = (select max(build_id) from ops.build)")
    with connect("loader", autocommit=True) as conn:
        held = holding.hold(conn, build_of(home), "KC001", {str(slices[0]): ["a test"]})
        assert set(slices) <= set(held)
        rotate(**WHO)
        for slice_ in held:
            holding.release(conn, slice_, NOTE)
        assert wrong_tokens(home, *key_of(home)) == []
        rotate(**WHO)
        report = rereading.reread(conn, "KC001", DAYS[0], DAYS[-1], NOTE)
    assert report.failed == {}
    assert wrong_tokens(home, *key_of(home)) == []


def build_of(home: Home) -> int:
    ((number,),) = home.query("select max(build_id) from ops.build")
    return int(number)


def test_a_visit_that_began_before_loads_the_tokens_of_today(
    installation: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = installation
    old = tokens.load_key()
    rotate(**WHO)
    with psycopg.connect(home.database) as conn:
        conn.execute("delete from ops.slice")
        conn.execute("delete from ops.manifest")
        for table in (
            "ops.quarantine",
            *(f"{s}.{t}" for s in ("vault", "raw") for t in ("registrations", "contributions")),
        ):
            conn.execute(f"delete from {table}")  # type: ignore[arg-type]
    take_in = slice_loader.take_in

    def with_the_old_key(*given: Any, **more: Any) -> Any:
        assert isinstance(given[-1], Key)
        return take_in(*given[:-1], old, **more)

    monkeypatch.setattr(slice_loader, "take_in", with_the_old_key)
    pull(*home.pull_arguments())
    assert home.query("select 1 from raw.registrations limit 1"), home.query(
        "select status, reason, detail from ops.slice limit 3"
    )
    assert wrong_tokens(home, *key_of(home)) == []


def test_the_suppression_list_goes_one_key_further(installation: Home) -> None:
    home = installation
    nik = registration(1)["nik"]
    place = home.folder / "keys" / "suppression.key"

    def expected() -> str:
        layers = [bytes.fromhex(line) for line in place.read_text().split()]
        return functools.reduce(
            lambda text, key: hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:32], layers, nik
        )

    with psycopg.connect(home.database) as conn:
        conn.execute("create table if not exists vault.suppressed (token text primary key, erasure_id bigint)")
        conn.execute("insert into vault.suppressed (token, erasure_id) values (%s, 1)", [expected()])
    for layers in (2, 3):
        done = rotate(**WHO)
        assert done is not None
        assert done.suppressed == 1
        assert len(place.read_text().split()) == layers
        assert home.query("select token from vault.suppressed") == [(expected(),)]
        check()
    assert not list((home.folder / "keys").glob("*.next.key"))


def test_a_connection_gives_the_next_key_and_is_changed_after(
    installation: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = installation
    monkeypatch.setenv("KKBC_PII_KEY_CONNECTION", "token_key")
    get_settings.cache_clear()
    keys = home.folder / "keys"
    marks, suppression = ((keys / name).read_text().strip() for name in ("marks.key", "suppression.key"))

    def give(password: str, **extra: str) -> None:
        path = keys / "connections.json"
        path.write_text(json.dumps({"token_key": {"conn_type": "generic", "password": password, "extra": extra}}))
        path.chmod(0o600)

    give(KEY, suppression=suppression)
    with pytest.raises(UserError, match="has no key of marks of its own"):
        rotate(**WHO)
    give(KEY, suppression=suppression, marks=marks)
    with pytest.raises(UserError, match="has no next key: add 64 random hex digits"):
        rotate(**WHO)
    new = "12" * 32
    give(KEY, suppression=suppression, marks=marks, next=new)
    rotate(**WHO)
    assert wrong_tokens(home, "02", bytes.fromhex(new)) == []
    for password, extra in ((KEY, {"next": new}), (new, {})):
        give(password, suppression=suppression, marks=marks, **extra)
        check()
        with connect("loader") as conn:
            assert kept.token_key(conn) == Key(2, bytes.fromhex(new))
    give(KEY, suppression=suppression, marks=marks)
    with pytest.raises(UserError, match="participant tokens is not the one"):
        check()


def test_a_reason_is_asked_for(installation: Home) -> None:
    with pytest.raises(UserError, match="needs a reason"):
        rotate(why=" ", who="a tester")


def test_before_anything_is_loaded_there_is_nothing_to_change(warehouse: str) -> None:
    with pytest.raises(UserError, match="nothing is loaded yet"):
        rotate(**WHO)


def test_a_key_that_cannot_be_had_changes_nothing(installation: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents()
    with suppress(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr("kkbc.slices.replacing_tokens.replace_all", _interrupt)
        rotate(**WHO)
    assert contents() == before
    assert foresee().next_version == 2


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
