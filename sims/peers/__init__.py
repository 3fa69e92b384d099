"""Public attack libraries on our victims: an adapter that counts what they ask, and their attacks beside ours.

Needs the extra [peers]; nothing outside this folder imports torch, and nothing in it does so before an attack is run.
"""
