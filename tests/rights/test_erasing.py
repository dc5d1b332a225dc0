"""Ten of a thousand people are erased after two nights: nothing of them is found, and no figure changes.

The home has a server of its own, so that the bytes of its files are searched too.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kkbc.marts.verify import verify_against_rebuild
from kkbc.warehouse import connect
from tests.deliveries import deliver

from .scene import (
    DAYS,
    ERASED,
    PEOPLE,
    Scene,
    contribution,
    figures,
    kkbc,
    name,
    nik,
    of_branch,
    phone,
    registration,
    rows,
    scene,
    unbalanced,
)

WHY = ("--why", "requested")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """After two nights, with all figures as they were published, and an erasure that was done."""
    with scene(tmp_path_factory.mktemp("erasing")) as made:
        made.night(DAYS[0])
        restrict_and_look(made)
        # What was looked at or restricted before is of those who leave, too.
        for command in ("subject-report", "restrict", "restrict --release"):
            status, printed = kkbc(*command.split(), "--file", str(made.persons_file(ERASED[:2])), *WHY)
            assert status == 0, printed
        assert rows("select count(*) from vault.seen") != rows("select 0")
        assert rows("select count(*) from vault.restricted") == [(3,)]
        assert sorted(rows("select nik from vault.person")) == sorted((nik(number),) for number in ERASED[:2])
        made.night(DAYS[1])
        made.figures = {"bi": figures(), "bi_detail": figures("bi_detail")}
        made.figures["raw"] = rows("select count(*), count(distinct participant_token) from raw.registrations")
        file = made.persons_file((*ERASED, PEOPLE + 1))
        status, printed = kkbc("erase", "--file", str(file), "--request", "req-1", *WHY)
        assert status == 0, printed
        made.figures["printed"] = printed
        yield made


def restrict_and_look(made: Scene) -> None:
    """One of them was restricted for a while and looked at, and all tables were analyzed, as maintenance does it.

    Their token stands in tables besides those of slices, and in statistics that are of no partition.
    """
    file = made.persons_file(ERASED[1:2])
    for arguments in ((), ("--release",)):
        status, printed = kkbc("restrict", *arguments, "--file", str(file), *WHY)
        assert status == 0, printed
    with connect("pii") as conn:
        found = conn.execute("select full_name from vault.read_registrations('a test', nik => %s)", [nik(ERASED[1])])
        assert {text for (text,) in found.fetchall()} == {name(ERASED[1])}
    with connect(autocommit=True) as conn:
        conn.execute("analyze")
    assert rows("select count(*) from vault.seen") == rows("select count(*) from vault.restricted") == [(1,)]


def verified(place: Scene) -> tuple[int, dict[str, object]]:
    """The outcome of a search for all that these people are known by."""
    file = place.persons_file(ERASED, with_values=True)
    status, printed = kkbc("erase", "--verify", "--file", str(file), "--json", *WHY)
    return status, json.loads(printed[printed.index("{") :])


def test_no_published_figure_changes_and_no_row_of_a_fact_is_lost(place: Scene) -> None:
    assert figures() == place.figures["bi"]
    assert figures("bi_detail") == place.figures["bi_detail"]
    assert rows("select count(*), count(distinct participant_token) from raw.registrations") == place.figures["raw"]
    assert unbalanced() == []


def test_the_vault_and_the_landed_files_know_nothing_of_them(place: Scene) -> None:
    gone = [nik(number) for number in ERASED]
    assert rows("select count(*) from vault.registrations where nik = any(%s)", gone) == [(0,)]
    assert rows("select count(*) from vault.contributions where nik = any(%s)", gone) == [(0,)]
    assert rows("select count(*) from vault.person") == [(0,)]
    for path in (place.home / "landing").rglob("sent/*"):
        text = path.read_text()
        assert not any(value in text for number in ERASED for value in (nik(number), name(number), phone(number)))


def test_every_byte_is_read_and_nothing_is_found(place: Scene) -> None:
    status, found = verified(place)
    assert (status, found["places"]) == (0, [])
    assert found["not_read"] == []
    assert min(int(str(found[what])) for what in ("files", "tables", "server_files")) > 50
    assert int(str(found["server_bytes"])) > 10_000_000


def test_the_proof_tells_what_was_done_and_names_nobody(place: Scene) -> None:
    path = place.home / "erasures" / "req-1.json"
    assert path.stat().st_mode & 0o077 == 0
    text = path.read_text()
    proof = json.loads(text)
    assert (proof["persons"], proof["steps"]["verified"]["places"]) == (len(ERASED) + 1, [])
    assert proof["rewritten_files"]
    assert all(file["old_sha256"] != file["new_sha256"] for file in proof["rewritten_files"])
    assert not any(value in text for number in ERASED for value in (nik(number), name(number)))
    assert rows("select outcome, persons from ops.erasure") == [("done", len(ERASED) + 1)]
    assert not (place.home / "requests" / "erase" / "req-1.json").exists()
    # The last line is of a person of whom nothing came.
    assert f"lines {len(ERASED) + 1}:" in place.figures["printed"]
    assert rows("select count(*) from vault.suppressed") == [(len(ERASED) + 1,)]
    assert rows("select action, cardinality(subjects) from ops.access where action = 'erase'") == [
        ("erase", len(ERASED) + 1)
    ]


def test_asked_for_again_it_says_that_it_is_done(place: Scene) -> None:
    file = place.persons_file((*ERASED, PEOPLE + 1))
    status, printed = kkbc("erase", "--file", str(file), "--request", "req-1", *WHY)
    assert (status, "is done" in printed) == (0, True)
    status, printed = kkbc("erase", "--file", str(place.persons_file(ERASED)), "--request", "req-1", *WHY)
    assert (status, "made for other persons" in printed) == (2, True)


def test_what_is_left_somewhere_is_found_by_its_place(place: Scene) -> None:
    left = place.home / "run" / "left.log"
    left.parent.mkdir(exist_ok=True)
    left.write_text(f"somebody wrote {nik(ERASED[0])}")
    with connect() as conn:
        conn.execute("create table ops.left_over as select %s as note", [name(ERASED[1])])
    try:
        status, found = verified(place)
        places = {str(found_at["place"]) for found_at in found["places"]}  # type: ignore[attr-defined, index]
        assert status == 1
        assert {str(left), "warehouse: ops.left_over.note"} <= places
        assert not any(name(ERASED[1]) in place_ for place_ in places)
    finally:
        left.unlink()
        with connect(autocommit=True) as conn:
            conn.execute("drop table ops.left_over")
            conn.execute("checkpoint")
            conn.execute("select pg_switch_wal()")
            conn.execute("checkpoint")


def test_an_erasure_that_found_something_cleans_again_when_it_is_asked_for_again(place: Scene) -> None:
    with connect() as conn:
        conn.execute("create table ops.left_over as select %s as note", [nik(PEOPLE + 2)])
    file = place.persons_file((PEOPLE + 2,))
    status, printed = kkbc("erase", "--file", str(file), "--request", "req-2", *WHY)
    assert (status, "ops.left_over.note" in printed) == (1, True), printed
    with connect(autocommit=True) as conn:
        conn.execute("drop table ops.left_over")
    # What the log of the server holds of that table goes with the steps that are taken again.
    status, printed = kkbc("erase", "--file", str(file), "--request", "req-2", *WHY)
    assert status == 0, printed


def test_the_marts_are_those_of_a_rebuild_and_every_publication_comes_back(place: Scene) -> None:
    assert all(compared.equal for compared in verify_against_rebuild())
    newest = rows("select max(publication_id) from ops.publication")[0][0]
    status, printed = kkbc("rollback", "--to", "1", *WHY)
    assert status == 0, printed
    status, printed = kkbc("rollback", "--to", str(newest), *WHY)
    assert status == 0, printed
    assert figures() == place.figures["bi"]


def test_later_nights_and_backfills_do_not_bring_them_back(place: Scene) -> None:
    """A revision that has them again, and both days read again from landing."""
    people = of_branch("KC002")
    deliver(
        place.root,
        {"pendaftaran": [registration(n) for n in people], "iuran": [contribution(n) for n in people[:300]]},
        branch_id="KC002",
        day=DAYS[0],
        revision=2,
    )
    place.night(DAYS[1])
    assert unbalanced() == []
    again = [number for number in ERASED if number in people]
    quarantined = rows(
        "select count(*) from ops.quarantine where 'ERASED' = any(errors) and feed = 'pendaftaran'"
        " and branch_id = 'KC002' and revision = 2 and closed_as = 'erased'"
    )
    assert quarantined == [(len(again),)]
    since, until = map(str, DAYS)
    status, printed = kkbc("backfill", "--from", since, "--to", until, "--gate", "warn", *WHY)
    assert status == 0, printed
    assert unbalanced() == []
    gone = [f"{letter}-{n:04d}" if letter == "R" else f"{letter}-{n}" for n in ERASED for letter in "RS"]
    assert rows("select count(*) from raw.registrations where registration_no = any(%s)", gone) == [(0,)]
    assert all(compared.equal for compared in verify_against_rebuild())
    status, found = verified(place)
    assert (status, found["places"]) == (0, [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("117101120390900\n", "line 1 of"),
        (f"{nik(1)}\n\nBudi\n", "line 3 of"),
        ("", "names nobody"),
        (f"{nik(1)};x\n", "fewer than 5 characters"),
    ],
)
def test_a_mistake_is_told_by_its_line_and_never_shown(
    place: Scene, tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "niks"
    file.write_text(content)
    status, printed = kkbc("erase", "--file", str(file), *WHY)
    assert (status, "chmod 600" in printed) == (2, True)
    os.chmod(file, 0o600)  # noqa: PTH101
    status, printed = kkbc("erase", "--file", str(file), *WHY)
    assert (status, message in printed) == (2, True), printed
    assert "1171011" not in printed
    assert "Budi" not in printed
