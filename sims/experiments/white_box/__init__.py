"""The experiment white-box: its run, report and recheck."""
