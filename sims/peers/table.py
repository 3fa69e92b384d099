"""The table of public attacks beside ours, and whether their packages are here."""

from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec

from sims.peers import art_attacks, foolbox_attacks, torchattacks_attacks
from sims.peers.gradient_attacks import GradientPeer
from sims.peers.peer import Peer

PEERS: dict[str, Peer] = {
    peer.name: peer for peer in (*torchattacks_attacks.PEERS, *foolbox_attacks.PEERS, *art_attacks.PEERS)
}
PACKAGES = {
    "torchattacks": {"torch": "torch", "torchattacks": "torchattacks"},
    "foolbox": {"torch": "torch", "foolbox": "foolbox"},
    "pyautoattack": {"torch": "torch", "pyautoattack": "pyautoattack"},
    "art": {"art": "adversarial-robustness-toolbox"},
}  # what Python imports for each library, and the package it comes in


def find_peer(name: str) -> Peer:
    """The pair of that name; ValueError lists the known ones."""
    if name not in PEERS:
        raise ValueError(f"pairs must be of {', '.join(PEERS)}, got {name!r}")
    return PEERS[name]


def peer_versions(peers: Sequence[Peer | GradientPeer]) -> dict[str, str]:
    """Versions of the packages these peers need; ValueError names the extra when one is not installed."""
    needed = {module: package for peer in peers for module, package in PACKAGES[peer.library].items()}
    missing = sorted(package for module, package in needed.items() if find_spec(module) is None)
    if missing:
        raise ValueError(f"comparisons need the extra [peers], see `make test-peers`; missing: {', '.join(missing)}")
    return {package: version(package) for package in sorted(needed.values())}
