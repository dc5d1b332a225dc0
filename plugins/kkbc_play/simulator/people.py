"""Invented people: common given names joined at random, NIK serials 9000-9999, which are not issued."""

from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from kkbc_play.simulator.calendar import add_months
from kkbc_play.simulator.reference import Branch, Reference

_MEN = [
    "Agus",
    "Budi",
    "Joko",
    "Eko",
    "Dwi",
    "Tri",
    "Slamet",
    "Bambang",
    "Hendra",
    "Rudi",
    "Andi",
    "Yusuf",
    "Ahmad",
    "Muhammad",
    "Abdul",
    "Rizki",
    "Fajar",
    "Bayu",
    "Dimas",
    "Arif",
    "Iwan",
    "Dedi",
    "Asep",
    "Ujang",
    "Cecep",
    "Wayan",
    "Made",
    "Nyoman",
    "Ketut",
    "Yohanes",
    "Petrus",
    "Markus",
    "Daniel",
    "Samuel",
    "Johan",
    "Hasan",
    "Umar",
    "Ali",
    "Ma'ruf",
    "Syamsul",
    "Zainal",
    "Imam",
    "Nur",
    "Taufik",
    "Heru",
    "Sigit",
    "Wawan",
    "Yanto",
    "Suryo",
    "Teguh",
    "Rahmat",
    "Gunawan",
    "Surya",
    "Adi",
    "Putra",
    "René",
    "Nan",
]
_WOMEN = [
    "Siti",
    "Sri",
    "Dewi",
    "Ani",
    "Rina",
    "Wati",
    "Yuni",
    "Lestari",
    "Nurul",
    "Fitri",
    "Indah",
    "Ratna",
    "Endang",
    "Sulastri",
    "Kartini",
    "Maria",
    "Kristina",
    "Yuliana",
    "Putu",
    "Kadek",
    "Komang",
    "Ayu",
    "Aisyah",
    "Fatimah",
    "Khadijah",
    "Rahmawati",
    "Susanti",
    "Handayani",
    "Puspita",
    "Melati",
    "Mawar",
    "Eka",
    "Dian",
    "Tuti",
    "Neneng",
    "Euis",
    "Yanti",
    "Lilis",
    "Nining",
    "Mega",
    "Intan",
    "Permata",
    "Wulan",
    "Bunga",
    "Cahya",
    "Hapsari",
    "Ningsih",
    "Utami",
    "Anggraini",
    "Désirée",
]
_PAYMENT_CHANNELS = ("KACAB", "BRI", "BNI", "BCA", "MANDIRI", "POS", "JMO", "TOKOPEDIA", "GOJEK", "RETAIL")
_PAYMENT_WEIGHTS = (30, 16, 8, 6, 8, 6, 14, 4, 4, 4)
_MONTHS = (1, 2, 3, 6, 12)
_MONTHS_WEIGHTS = (62, 8, 18, 8, 4)


@dataclass(slots=True)
class Person:
    """A person as the branches know them: who they are, their last registration, their last payment, what they plan.

    `odd_nik`: the NIK names a regency or district that is not (or no longer) in the tables. `due` is the day on which
    they mean to pay next, None when they do not. `registration_no` and `payment_id` are empty before the first.
    """

    nik: str
    odd_nik: bool
    name: str
    woman: bool
    birth: date
    district: str
    phone: str | None
    email: str | None
    occupation: str
    segment: str | None
    jht: bool
    tier: int
    income: int
    kpj: str
    home: str
    pays_by: str
    usual_months: int
    due: date | None = None
    covered_to: date | None = None
    registration_no: str = ""
    registered_by: str = ""
    registered_at: int = 0
    registered_months: int = 1
    channel: str = ""
    activity: str | None = None
    registration_void: bool = False
    payment_id: str = ""
    paid_to: str = ""
    paid_at: int = 0
    paid_from: date | None = None
    paid_months: int = 0
    payment_void: bool = False


def _birth(rng: Random, day: date) -> tuple[date, bool]:
    """A birth date valid for a registration on `day`, and whether it is that of a pupil on placement."""
    draw = rng.random()
    if draw < 0.965:
        return day - timedelta(days=rng.randint(19 * 366, 64 * 365)), False
    if draw < 0.985:
        return day - timedelta(days=rng.randint(15 * 366, 18 * 365 - 40)), True
    if draw < 0.99:  # the fifteenth or eighteenth birthday itself
        pupil = rng.random() < 0.5
        return add_months(day, -12 * (15 if pupil else 18)), pupil
    return add_months(day, -12 * 66) + timedelta(days=1), False  # the last day at which one is 65


def odd_region(rng: Random, reference: Reference, district: str) -> str:
    """Six digits of a region that the tables do not know, in the province of `district`."""
    if rng.random() < 0.5:
        regencies = [f"{district[:2]}{n}" for n in range(80, 99) if f"{district[:2]}{n}" not in reference.regencies]
        return rng.choice(regencies) + district[4:]
    return next(
        district[:4] + str(n)
        for n in range(rng.randint(60, 98), 200)
        if district[:4] + str(n) not in reference.districts
    )


def make_nik(rng: Random, region: str, birth: date, woman: bool) -> str:
    """Sixteen digits: region, day (+ 40 for women), month, year, serial 9000-9999."""
    return f"{region}{birth.day + 40 * woman:02d}{birth.month:02d}{birth.year % 100:02d}{rng.randint(9000, 9999)}"


def invent(rng: Random, reference: Reference, branch: Branch, day: date) -> Person:
    """A person near `branch` who may validly register on `day`."""
    birth, pupil = _birth(rng, day)
    woman = rng.random() < 0.45
    district = rng.choice(branch.districts)
    odd_nik = rng.random() < 0.004
    names = _WOMEN if woman else _MEN
    name = " ".join(rng.choice(names) for _ in range(rng.choice((1, 2, 2, 2, 3))))
    tier = min(int(rng.expovariate(0.45)), len(reference.tiers) - 1)
    low, high = reference.tiers[tier].income_low, reference.tiers[tier].income_high
    return Person(
        nik=make_nik(rng, odd_region(rng, reference, district) if odd_nik else district, birth, woman),
        odd_nik=odd_nik,
        name=name,
        woman=woman,
        birth=birth,
        district=district,
        phone=None if rng.random() < 0.12 else f"8{rng.randint(11, 59)}{rng.randint(10**6, 10**9 - 1)}",
        email=f"{name.split()[0].lower().replace(chr(39), '')}{rng.randint(1, 9999)}@contoh.id".encode(
            "ascii", "ignore"
        ).decode()
        if rng.random() < 0.3
        else None,
        occupation="SISWA_MAGANG" if pupil else rng.choice(reference.occupations),
        segment="PKL" if pupil else rng.choices(("MANDIRI", "PEKERJA_RENTAN", None), (85, 6, 9))[0],
        jht=rng.random() < 0.13,
        tier=tier,
        income=rng.randint(max(low, 300_000) // 50_000, high // 50_000) * 50_000
        if low
        else rng.randint(8, 20) * 50_000,
        kpj=f"{rng.randint(10**10, 10**11 - 1)}",
        home=branch.branch_id,
        pays_by=rng.choices(_PAYMENT_CHANNELS, _PAYMENT_WEIGHTS)[0],
        usual_months=rng.choices(_MONTHS, _MONTHS_WEIGHTS)[0],
    )


def plan_next(rng: Random, person: Person) -> None:
    """Decide when the person pays again: cash payers at the counter lapse far more, and about half of those return."""
    assert person.covered_to is not None
    lapse = 0.66 if person.pays_by == "KACAB" else 0.12 if person.pays_by in {"POS", "RETAIL"} else 0.04
    if rng.random() >= lapse:
        person.due = person.covered_to - timedelta(days=rng.randint(0, 10))
    elif rng.random() < 0.5:
        months = rng.choice((1, 2, 3, 3, 3, 4, 5, 6))
        person.due = add_months(person.covered_to, months) + timedelta(
            days=rng.choice((-1, 0, 0, 1, rng.randint(0, 20)))
        )
    else:
        person.due = None
