"""The play: who registers, pays, lapses, returns and corrects on a day, as clean rows by branch and feed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random

from kkbc_play.simulator.calendar import DAY, add_months, age_on, is_holiday, jakarta_day, midnight
from kkbc_play.simulator.people import Person, invent, make_nik, plan_next
from kkbc_play.simulator.reference import Branch, Reference
from kkbc_play.simulator.rows import BRANCH_FEEDS, IURAN, KEGIATAN, PENDAFTARAN, Row
from kkbc_play.simulator.scale import Scale

Events = dict[str, dict[str, list[Row]]]

_CHANNELS = ("KANTOR", "KUNJUNGAN", "PASAR", "KOMUNITAS", "RADIO", "PERISAI", "JMO", "MITRA")
_CHANNEL_WEIGHTS = (22, 9, 14, 13, 4, 20, 12, 6)
_ACTIVITIES = ("PASAR", "KOMUNITAS", "KUNJUNGAN", "RADIO", "LAINNYA")
_PLACES = ("Pasar Induk", "Pelabuhan Rakyat", "Balai Desa", "Terminal Kota", "Sentra Kerajinan", "Pangkalan Ojek")
_STATIONS = ("Suara Nusantara FM", "Radio Bahari", "Gema Pasar 98,4", "Swara Tani")
_STREETS = ("Jl. Merdeka", "Jl. Melati", "Gg. Kenanga", "Dusun Krajan", "Kp. Baru", "Perum Griya Asri")
_OPENING_DAYS = 420
_FAR_AHEAD = timedelta(days=900)
_REMEMBERED_ACTIVITIES = 8
_FRESH = 14 * DAY


@dataclass
class Office:
    """What a branch remembers from night to night: its people, its last numbers, its latest activities."""

    people: list[Person] = field(default_factory=list)
    registrations: int = 0
    payments: int = 0
    activities: int = 0
    latest: list[Row] = field(default_factory=list)
    last_spot: date | None = None


class Play:
    """The nation's branches. `opening` and `day` move it on and return the rows that the branches record."""

    def __init__(self, reference: Reference, scale: Scale, seed: int) -> None:
        self.reference = reference
        self.scale = scale
        self.seed = seed
        self.offices: dict[str, Office] = {branch_id: Office() for branch_id in reference.branches}

    def opening(self, last: date) -> Events:
        """The stock: people registered over the fourteen months up to `last`, with their payments."""
        events = self._nothing()
        for branch in self.reference.branches.values():
            rng = Random(f"{self.seed}/opening/{branch.branch_id}")
            for back in sorted(rng.sample(range(1, 120), 6), reverse=True):
                self._hold_activity(rng, branch, last - timedelta(days=back), events, radio=back % 3 == 0)
            for _ in range(_about(rng, self.scale.opening * branch.share)):
                self._past_of_someone(rng, branch, last, events)
        return events

    def day(self, day: date) -> Events:
        """The events that branches record on `day`; few of them happened some days before."""
        events = self._nothing()
        for branch in self.reference.branches.values():
            rng = Random(f"{self.seed}/{day}/{branch.branch_id}")
            office = self.offices[branch.branch_id]
            quiet = 0.1 if is_holiday(day) else 0.25 if day.weekday() == 6 else 1.15
            if rng.random() < 0.55 * min(quiet, 1):
                spot = office.last_spot is None or (day - office.last_spot).days > rng.randint(4, 12)
                self._hold_activity(rng, branch, day, events, radio=spot and rng.random() < 0.5)
            lively = 1.15 if events[branch.branch_id][KEGIATAN] else 0.5
            heard = 1.4 if office.last_spot is not None and (day - office.last_spot).days <= 2 else 1.0
            self._register(rng, branch, day, self.scale.registrations * branch.share * quiet * lively * heard, events)
            self._collect(rng, branch, day, self.scale.contributions * branch.share * quiet, events)
            self._correct(rng, branch, day, events)
        return events

    def _nothing(self) -> Events:
        return {branch_id: {feed: [] for feed in BRANCH_FEEDS} for branch_id in self.reference.branches}

    def _register(self, rng: Random, branch: Branch, day: date, expected: float, events: Events) -> None:
        people = self.offices[branch.branch_id].people
        for _ in range(_about(rng, expected)):
            person = rng.choice(people) if people and rng.random() < 0.05 else None
            if person is None or not _may_register(person, day):
                person = invent(rng, self.reference, branch, day)
                people.append(person)
                person.due = _first_payment(rng, day)
            elsewhere = bool(person.registration_no) and rng.random() < 0.4
            at_branch = self.reference.branches[rng.choice(self.reference.ids)] if elsewhere else branch
            moment = _moment(rng, day, at_branch.utc_hours)
            if elsewhere and rng.random() < 0.1:  # the same instant at two branches
                moment = person.registered_at
            if not _may_register(person, jakarta_day(moment)):
                moment = midnight(day) + DAY // 2
            events[at_branch.branch_id][PENDAFTARAN].append(self._registration(rng, person, at_branch, moment))

    def _collect(self, rng: Random, branch: Branch, day: date, expected: float, events: Events) -> None:
        people = self.offices[branch.branch_id].people
        wanted = _about(rng, expected)
        paying = [person for person in people if person.due is not None and person.due <= day]
        for _ in range(3 * max(0, wanted - len(paying))):
            if len(paying) >= wanted:
                break
            if not people or rng.random() < 0.002:  # someone who never registered
                unregistered = invent(rng, self.reference, branch, day)
                people.append(unregistered)
                paying.append(unregistered)
                continue
            person = rng.choice(people)
            if person.covered_to is not None and day <= person.covered_to < day + _FAR_AHEAD:
                paying.append(person)
        for person in paying:
            start = _coverage_start(rng, person, day)
            moment = _moment(rng, day, branch.utc_hours)
            at_branch = rng.choice(self.reference.ids) if rng.random() < 0.03 else branch.branch_id
            events[at_branch][IURAN].append(self._payment(rng, person, at_branch, moment, start))
            plan_next(rng, person)

    def _past_of_someone(self, rng: Random, branch: Branch, last: date, events: Events) -> None:
        registered = last - timedelta(days=int(_OPENING_DAYS * rng.random() ** 1.3))
        person = invent(rng, self.reference, branch, registered)
        self.offices[branch.branch_id].people.append(person)
        moment = _moment(rng, registered, branch.utc_hours, backdated=False)
        events[branch.branch_id][PENDAFTARAN].append(self._registration(rng, person, branch, moment))
        person.due = _first_payment(rng, registered)
        while person.due is not None and person.due <= last:
            day = person.due
            start = _coverage_start(rng, person, day)
            moment = _moment(rng, day, branch.utc_hours, backdated=False)
            events[branch.branch_id][IURAN].append(self._payment(rng, person, branch.branch_id, moment, start))
            plan_next(rng, person)

    def _registration(self, rng: Random, person: Person, branch: Branch, moment: int) -> Row:
        office = self.offices[branch.branch_id]
        office.registrations += 1
        person.registration_no = _number(branch.branch_id, "pd-", "PD/", office.registrations)
        person.registered_by, person.registered_at, person.registration_void = branch.branch_id, moment, False
        person.channel, person.activity = rng.choices(_CHANNELS, _CHANNEL_WEIGHTS)[0], None
        recent = [activity for activity in office.latest if abs(moment - activity.number("mulai")) < _FRESH]
        if recent and rng.random() < 0.45:
            activity = rng.choice(recent[-3:])
            person.channel = kind if (kind := activity.text("jenis")) in _CHANNELS else "KUNJUNGAN"
            person.activity = activity.text("kode_kegiatan")
        elif rng.random() < 0.005:
            person.activity = "KG-TIDAK-ADA"
        person.registered_months = person.usual_months
        return self._registration_row(rng, person, "BARU", moment + rng.randint(0, 900))

    def _registration_row(self, rng: Random, person: Person, status: str, updated: int) -> Row:
        start = rng.randint(4, 10)
        address = f"{rng.choice(_STREETS)} No. {rng.randint(1, 250)}"
        if rng.random() < 0.08:
            address += rng.choice(("\nRT 02/RW 05", '; blok "C"', ", lantai 2 | kios 7", " – dekat café"))
        row = Row(
            {
                "no_pendaftaran": person.registration_no,
                "kode_kantor": person.registered_by,
                "tgl_pendaftaran": person.registered_at,
                "nik": person.nik,
                "kpj": person.kpj if person.payment_id else None,
                "nama_lengkap": person.name,
                "tempat_lahir": self.reference.branches[person.home].name,
                "tgl_lahir": person.birth,
                "jenis_kelamin": "P" if person.woman else "L",
                "no_hp": person.phone,
                "email": person.email,
                "alamat": address,
                "kode_pos": str(rng.randint(10110, 99974)),
                "kode_wilayah": person.district if rng.random() < 0.9 else None,
                "kode_pekerjaan": person.occupation,
                "lokasi_pekerjaan": rng.choice(_PLACES),
                "jam_awal": f"{start:02d}:00",
                "jam_akhir": f"{start + 8:02d}:30",
                "penghasilan": person.income,
                "kode_program": "JKK_JKM_JHT" if person.jht else "JKK_JKM",
                "jml_bulan": person.registered_months,
                "kanal": person.channel,
                "kode_kegiatan": person.activity,
                "kode_petugas": f"PRS{rng.randint(1, 40):03d}" if person.channel == "PERISAI" else None,
                "segmen": person.segment,
                "status_data": status,
                "diubah_pada": updated,
            }
        )
        if person.odd_nik:
            row.warnings.add("NIK_REGION")
        return row

    def _payment(self, rng: Random, person: Person, branch_id: str, moment: int, start: date) -> Row:
        office = self.offices[branch_id]
        office.payments += 1
        person.payment_id = _number(branch_id, "byr-", "BYR/", office.payments)
        person.paid_to, person.paid_at, person.paid_from, person.payment_void = branch_id, moment, start, False
        person.paid_months = person.usual_months if rng.random() < 0.9 else rng.choice((1, 2, 3, 6, 12))
        end = add_months(start, person.paid_months)
        person.covered_to = end if person.covered_to is None else max(person.covered_to, end)
        return self._payment_row(person, "BARU", moment + rng.randint(0, 300))

    def _payment_row(self, person: Person, status: str, updated: int) -> Row:
        tier, months = self.reference.tiers[person.tier], person.paid_months
        jkk, jkm, jht = tier.jkk * months, 6_800 * months, tier.jht * months * person.jht
        row = Row(
            {
                "id_bayar": person.payment_id,
                "kode_kantor": person.paid_to,
                "nik": person.nik,
                "tgl_bayar": person.paid_at,
                "kanal_bayar": person.pays_by,
                "periode_mulai": person.paid_from,
                "jml_bulan": months,
                "kode_program": "JKK_JKM_JHT" if person.jht else "JKK_JKM",
                "iuran_jkk": jkk,
                "iuran_jkm": jkm,
                "iuran_jht": jht,
                "total": jkk + jkm + jht,
                "status_data": status,
                "diubah_pada": updated,
            }
        )
        if person.odd_nik:
            row.warnings.add("NIK_REGION")
        return row

    def _hold_activity(self, rng: Random, branch: Branch, day: date, events: Events, *, radio: bool) -> None:
        office = self.offices[branch.branch_id]
        for kind in ("RADIO",) if radio else rng.sample(_ACTIVITIES[:3] + _ACTIVITIES[4:], rng.choice((1, 1, 1, 2))):
            office.activities += 1
            began = _moment(rng, day, branch.utc_hours, backdated=False)
            place = rng.choice(_PLACES)
            row = Row(
                {
                    "kode_kegiatan": _number(branch.branch_id, "kg-", "KG/", office.activities),
                    "kode_kantor": branch.branch_id,
                    "jenis": kind,
                    "nama": "Nan" if rng.random() < 0.01 else f"KKBC {kind.title()} {place}",
                    "mulai": began,
                    "selesai": began + rng.choice((0, 1800, 7200, 14_400, 2 * DAY)),
                    "lokasi": place,
                    "kode_wilayah": rng.choice(branch.districts),
                    "sasaran_pekerjaan": rng.choice((None, *self.reference.occupations)),
                    "jumlah_kontak": 0
                    if rng.random() < 0.04
                    else rng.randint(1000, 60_000)
                    if radio
                    else rng.randint(8, 240),
                    "biaya": None if rng.random() < 0.04 else rng.randint(0, 90) * 50_000,
                    "stasiun_radio": rng.choice(_STATIONS) if radio else None,
                    "durasi_menit": rng.choice((15, 30, 60)) if radio else None,
                    "status_data": "BARU",
                    "diubah_pada": began + 3600,
                }
            )
            events[branch.branch_id][KEGIATAN].append(row)
            office.latest = [*office.latest, row][-_REMEMBERED_ACTIVITIES:]
        if radio:
            office.last_spot = day

    def _correct(self, rng: Random, branch: Branch, day: date, events: Events) -> None:
        """KOREKSI, BATAL and revival of what the branch's people last registered and paid, and of its activities."""
        for person in self._some_people(rng, branch, self.scale.registrations * branch.share * self.scale.corrections):
            if person.registration_no:
                rows = events[person.registered_by][PENDAFTARAN]
                rows.append(self._corrected_registration(rng, person, _evening(rng, day)))
        for person in self._some_people(rng, branch, self.scale.contributions * branch.share * self.scale.corrections):
            if person.payment_id:
                rows = events[person.paid_to][IURAN]
                rows.append(self._corrected_payment(rng, person, _evening(rng, day)))
        latest = self.offices[branch.branch_id].latest
        if latest and rng.random() < 0.08:
            known = rng.randrange(len(latest))
            status = rng.choice(("KOREKSI", "KOREKSI", "BATAL"))
            contacts = rng.randint(1, 300)
            latest[known] = latest[known].copy(
                status_data=status, diubah_pada=_evening(rng, day), jumlah_kontak=contacts
            )
            events[branch.branch_id][KEGIATAN].append(latest[known])

    def _some_people(self, rng: Random, branch: Branch, expected: float) -> Iterator[Person]:
        people = self.offices[branch.branch_id].people
        for _ in range(_about(rng, expected)):
            if people:
                yield people[-1 - int(len(people) * rng.random() ** 3)]

    def _corrected_registration(self, rng: Random, person: Person, updated: int) -> Row:
        draw = rng.random()
        if person.registration_void and draw < 0.6:  # revived after BATAL
            person.registration_void = False
        elif draw < 0.3:
            person.registration_void = True
            return self._registration_row(rng, person, "BATAL", updated)
        elif draw < 0.34:  # a key that head office has never seen
            status = rng.choice(("BATAL", "KOREKSI"))
            row = self._registration_row(rng, person, status, updated)
            return row.copy(no_pendaftaran=f"{person.registration_no}-X{rng.randint(1, 99)}")
        elif draw < 0.40 and not person.odd_nik:  # the NIK was another one
            person.nik = make_nik(rng, person.district, person.birth, person.woman)
        elif draw < 0.55:
            person.occupation = rng.choice(self.reference.occupations)
        elif draw < 0.65:
            person.channel = rng.choice(_CHANNELS)
        elif draw < 0.8:
            moment = person.registered_at - rng.randint(1, 5 * DAY)
            if _may_register(person, jakarta_day(moment)):
                person.registered_at = moment
        elif draw < 0.85:  # an old state that arrives late
            return self._registration_row(rng, person, "KOREKSI", person.registered_at - 60)
        return self._registration_row(rng, person, rng.choice(("KOREKSI", "KOREKSI", "KOREKSI", "BARU")), updated)

    def _corrected_payment(self, rng: Random, person: Person, updated: int) -> Row:
        assert person.paid_from is not None
        draw = rng.random()
        if person.payment_void and draw < 0.6:
            person.payment_void = False
        elif draw < 0.25:
            person.payment_void = True
            return self._payment_row(person, "BATAL", updated)
        elif draw < 0.29:
            row = self._payment_row(person, rng.choice(("BATAL", "KOREKSI")), updated)
            return row.copy(id_bayar=f"{person.payment_id}-X{rng.randint(1, 99)}")
        elif draw < 0.55:
            person.paid_from += timedelta(days=rng.choice((-31, -3, -1, 1, 2, 30)))
        elif draw < 0.8:
            person.paid_months = rng.choice((1, 2, 3, 6))
        elif draw < 0.85:
            return self._payment_row(person, "KOREKSI", person.paid_at - 60)
        return self._payment_row(person, "KOREKSI", updated)


def _about(rng: Random, expected: float) -> int:
    """A whole number whose mean is `expected`."""
    return int(expected) + (rng.random() < expected % 1)


def _number(branch_id: str, even: str, odd: str, n: int) -> str:
    """A document number in one of three fashions, so that numbers of branches differ in how they sort.

    One of nothing but digits is too short for a mobile number, as which it would be masked (Exchange rule 39).
    """
    office = int(branch_id[2:])
    if office % 3 == 0:
        return f"{office}{n:06d}"
    return f"{even if office % 3 == 1 else odd}{n:06d}"


def _moment(rng: Random, day: date, utc_hours: int, *, backdated: bool = True) -> int:
    """An instant of `day` in Jakarta: mostly by daylight at the branch, some near midnight, some of earlier days."""
    draw = rng.random()
    start = midnight(day)
    if draw < 0.015:
        return start + rng.choice((0, rng.randint(1, 1800), DAY - rng.randint(1, 1800), DAY - 1))
    if draw < 0.02:  # midnight at the branch, which a date alone can say
        return start + (7 - utc_hours) * 3600 % DAY
    if backdated and draw < 0.035:
        start -= rng.randint(1, 25) * DAY
    seconds = (7 - utc_hours) * 3600 + rng.randint(7 * 3600 + 1800, 20 * 3600)
    return start + (seconds if draw < 0.5 else seconds // 60 * 60)


def _evening(rng: Random, day: date) -> int:
    return midnight(day) + rng.randint(16 * 3600, 19 * 3600)


def _may_register(person: Person, day: date) -> bool:
    return (15 if person.segment == "PKL" else 18) <= age_on(person.birth, day) <= 65


def _first_payment(rng: Random, day: date) -> date | None:
    draw = rng.random()
    if draw < 0.62:
        return day
    if draw < 0.86:
        return day + timedelta(days=rng.choice((rng.randint(1, 20), rng.randint(1, 45), 30, 31)))
    return None


def _coverage_start(rng: Random, person: Person, day: date) -> date:
    """Where the period paid on `day` begins: on, shortly before or after the end of the last, or about today."""
    end = person.covered_to
    draw = rng.random()
    if end is not None and (day <= end or (draw < 0.5 and (day - end).days <= 10)):
        return end + timedelta(days=-3 if draw < 0.02 else 1 if draw > 0.98 else 0)
    if draw < 0.86:
        return day
    if draw < 0.93:
        return add_months(day.replace(day=1), 1)
    return day + timedelta(days=rng.randint(-9, 3))
