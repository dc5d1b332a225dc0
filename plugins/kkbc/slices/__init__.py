"""The life of a slice in the warehouse: loaded, rejected, held, released, read again, its quarantine worked off."""
