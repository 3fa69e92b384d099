"""Query attacks: the ask/tell record, the table, one file per attack."""
