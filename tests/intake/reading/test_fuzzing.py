"""A short part of `make fuzz`, the same every time: damaged files of every format."""

from collections import Counter

from .fuzzing import corpus, examine, fuzz

SEEDS = range(2023, 2023 + 400)


def test_good_files_are_good(tmp_path, home) -> None:  # type: ignore[no-untyped-def]
    assert {examine(sample, tmp_path)[0] for sample in corpus()} == {"rows"}


def test_damage_ends_in_rows_or_a_rejection() -> None:
    findings = list(fuzz(SEEDS))
    failed = [f"seed {finding.seed}: {finding.outcome}, {finding.detail}" for finding in findings if finding.failed]
    assert not failed
    outcomes = Counter(finding.outcome for finding in findings)
    assert len(findings) == len(SEEDS)
    # The mutations are neither so mild nor so wild that they test one path alone.
    assert outcomes["rows"] > 50
    assert outcomes["UNREADABLE"] > 50
    assert outcomes["HEADER"] > 10
