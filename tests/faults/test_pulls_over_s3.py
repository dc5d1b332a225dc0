"""Several workers that share a bucket as landing: what they leave is what one worker leaves in a folder, once."""

import hashlib
import random
import time
from collections.abc import Iterator
from typing import Any

import boto3
import psycopg
import pytest

from tests.servers import landing_bucket

from .conftest import NewHome
from .stage import BRANCHES, PULLED, Home, Trap, Victims, assert_killed, spooled, tables, trap
from .test_pulls_at_once import COUNTERS, loads

HEAD_OFFICE, FIRST, SECOND = BRANCHES
COPY = "kkbc.slices.rows:copy_frame"
PUT = "kkbc.intake.landing:Landing.put"

POINTS: dict[str, tuple[Trap, ...]] = {
    "fetched, nothing in the bucket": (trap(PUT, "before", 1, FIRST),),
    "landed, no rows kept": (trap(PUT, "after", 1, FIRST),),
    "half the rows are in the bucket": (trap(PUT, "after", 3, FIRST),),
    "rows kept, not loaded": (trap("kkbc.intake.landing:Landing.keep", "after", 1),),
    "in a COPY into raw": (trap(COPY, "before", 1, "raw"), trap("psycopg:Copy.write", "half")),
    "all done, not committed": (trap("kkbc.slices.loading:copy_quarantine", "after", 1),),
    "just committed": (
        trap("kkbc.slices.loading:copy_quarantine", "after", 1),
        trap("psycopg:Transaction.__exit__", "after"),
    ),
    "a revision is out, the next not in": (trap("kkbc.slices.loading:replace_in_force", "after"),),
}


@pytest.fixture
def bucket() -> Iterator[dict[str, str]]:
    """The environment in which s3://landing is an empty bucket."""
    with landing_bucket() as environment:
        yield environment


@pytest.fixture
def shared(new_home: NewHome, bucket: dict[str, str]) -> Home:
    """An installation that lands in the bucket, and counts what is loaded."""
    home = new_home(KKBC_LANDING_URI="s3://landing", **bucket)
    with psycopg.connect(home.database) as conn:
        conn.execute(COUNTERS)  # type: ignore[arg-type]
    return home


def left_by(home: Home) -> dict[str, Any]:
    """What `Home.pulled` says, of a home whose landing is the bucket."""
    return {**tables(home.database, PULLED), "landing": objects(home), "spool": spooled(home.folder)}


def objects(home: Home) -> dict[str, str]:
    """Every object of the bucket, with the hash of its content."""
    client = boto3.client(
        "s3",
        endpoint_url=home.more["AWS_ENDPOINT_URL"],
        region_name=home.more["AWS_DEFAULT_REGION"],
        aws_access_key_id=home.more["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=home.more["AWS_SECRET_ACCESS_KEY"],
    )
    found = client.list_objects_v2(Bucket="landing").get("Contents", [])
    assert len(found) < 1000, "there are more pages"
    contents = {item["Key"]: client.get_object(Bucket="landing", Key=item["Key"])["Body"].read() for item in found}
    return {key: hashlib.sha256(content).hexdigest()[:16] for key, content in contents.items()}


def assert_once(home: Home, undisturbed: dict[str, Any]) -> None:
    """The same rows, objects and records as of one worker with a folder, and no slice loaded twice."""
    assert left_by(home) == undisturbed
    counted = loads(home)[0]
    assert {count for *_, count in counted} == {1}
    assert len(counted) == len(home.query("select from ops.slice where status <> 'rejected'"))


def start(victims: Victims, home: Home, *branches: str, traps: tuple[Trap, ...] = ()) -> int:
    """A worker that pulls these branches, in this order."""
    return victims.start(home, "pull", *home.pull_arguments(branches), traps=traps)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_same_branches_at_the_same_time(
    workers: int, victims: Victims, shared: Home, undisturbed: dict[str, Any]
) -> None:
    pids = [start(victims, shared, *BRANCHES) for _ in range(workers)]
    assert [victims.wait(pid) for pid in pids] == [0] * workers, shared.log.read_text()
    assert_once(shared, undisturbed)


def test_each_its_own_branch(victims: Victims, shared: Home, undisturbed: dict[str, Any]) -> None:
    pids = [start(victims, shared, branch) for branch in BRANCHES]
    assert [victims.wait(pid) for pid in pids] == [0] * len(BRANCHES), shared.log.read_text()
    assert_once(shared, undisturbed)


@pytest.mark.parametrize("point", POINTS)
def test_one_is_killed_while_others_pull(
    point: str, victims: Victims, shared: Home, undisturbed: dict[str, Any]
) -> None:
    """The others do the rest; whoever visits the branch next takes over what the dead worker left in the bucket."""
    killed = start(victims, shared, FIRST, SECOND, HEAD_OFFICE, traps=POINTS[point])
    others = [start(victims, shared, SECOND, HEAD_OFFICE), start(victims, shared, HEAD_OFFICE, SECOND)]
    assert_killed(victims.wait(killed))
    others.append(start(victims, shared, FIRST))
    assert [victims.wait(pid) for pid in others] == [0, 0, 0], shared.log.read_text()
    assert_once(shared, undisturbed)


@pytest.mark.parametrize("seed", [*range(2), *(pytest.param(n, marks=pytest.mark.faults) for n in range(2, 20))])
def test_killed_at_random_over_s3(seed: int, victims: Victims, shared: Home, undisturbed: dict[str, Any]) -> None:
    """Three workers on the same branches, of which two are killed at any moment, over and over, until one ends."""
    rng = random.Random(seed)
    orders = [rng.sample(BRANCHES, len(BRANCHES)) for _ in range(3)]
    kills = 0
    for round_ in range(4):
        pids = [start(victims, shared, *order) for order in orders]
        for pid in rng.sample(pids, 2):
            time.sleep(rng.uniform(0.05, 0.4 + 0.3 * round_))
            victims.kill(pid)
        ended = [victims.wait(pid) for pid in pids]
        assert set(ended) <= {0, -9}, shared.log.read_text()
        kills += ended.count(-9)
    assert kills, "nobody was killed"
    assert victims.wait(start(victims, shared, *BRANCHES)) == 0, shared.log.read_text()
    assert_once(shared, undisturbed)
