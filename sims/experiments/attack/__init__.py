"""The experiment attack: its configuration, run, report and recheck."""
