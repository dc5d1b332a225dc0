"""What keeps an installation well: maintenance, documents, exports, logins of BI, doctor, search for personal data."""
