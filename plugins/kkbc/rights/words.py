"""Words of the report to a person, in Indonesian: what states and columns mean."""

STATES = {
    "loaded": "berlaku",
    "superseded": "digantikan revisi yang lebih baru",
    "held": "ditahan gerbang audit",
    "rejected": "ditolak seluruhnya",
    None: "tidak tercatat",
}

KINDS = {
    "in_force": "tersimpan di gudang data",
    "accepted": "diterima",
    "quarantined": "dikarantina",
    "sent": "hanya dalam berkas kiriman",
}

CLOSED = {
    None: "masih terbuka",
    "accepted": "kemudian diterima",
    "resolved": "ditutup tanpa dimuat",
    "superseded": "digantikan revisi yang lebih baru",
}
