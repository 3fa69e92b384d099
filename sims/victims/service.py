"""A victim behind HTTP: a URL that answers a batch of images with scores or labels.

The protocol, in full. The client sends `POST <url>` with

    Content-Type: application/x-npy
    Idempotency-Key: 64 hexadecimal digits that name the request

and as its body one array in NumPy's npy format: images (n, h, w, c) float32 in [0, 1]. The service answers with status
200 and one npy array as the body: scores (n, classes) of any float type, logits rather than probabilities, or labels
(n,) of any integer type. Anything that goes wrong for a moment is 429 or 5xx, with a Retry-After header if it likes;
the client waits and sends the very same request again, under the same key. Redirects are not followed.

A service that remembers its answers by their keys, and looks there first, evaluates and counts each request once,
whatever is lost on the way; a request that arrives while the first of its key is still being worked on has to wait for
that one. Where a service forgets, a lost answer is evaluated anew, and the attack still counts it once.

Python's http.server, numpy.load(..., allow_pickle=False) and a dictionary are enough for a server, see
`tests/sims/victims/reference_server.py`.
"""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import urllib3
from jaxtyping import Float
from urllib3.exceptions import HTTPError, LocationParseError, MaxRetryError
from urllib3.util import parse_url

from defenses.model import Model, hosted

TRY_AGAIN = (429, *range(500, 600))


class ServiceError(OSError):
    """A service that did not answer; the message names its URL, the last cause, and what to do."""


@dataclass(frozen=True)
class Service:
    """Where a victim listens, and how patient its client is."""

    url: str
    """http:// or https:// address that images are posted to."""
    timeout: float = 30.0
    """Seconds to wait for a connection, and for each part of an answer, > 0."""
    retries: int = 5
    """How often a request is sent again after a lost connection, a time-out, 429 or 5xx, >= 0."""
    backoff: float = 0.5
    """Seconds, >= 0: the first retry follows at once, the k-th after backoff · 2^(k-1), at most 120; a Retry-After of
    the service comes first."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        if not _is_address(self.url):
            raise ValueError(f"url must be http://host/path or https://host/path, got {self.url!r}")
        if not 0 < self.timeout < float("inf"):
            raise ValueError(f"timeout must be > 0 and finite, got {self.timeout}")
        if self.retries < 0:
            raise ValueError(f"retries must be >= 0, got {self.retries}")
        if not 0 <= self.backoff < float("inf"):
            raise ValueError(f"backoff must be >= 0 and finite, got {self.backoff}")


def service_victim(service: Service):
    """The service as the victim of a `HostOracle`: (images, request) -> scores or labels.

    The victim raises ServiceError when the retries are used up or the service refuses (any other status), and
    ValueError when the body is no npy array.
    """
    retries = urllib3.Retry(
        total=service.retries,
        allowed_methods=None,  # a POST too: its key makes it safe to repeat
        status_forcelist=TRY_AGAIN,
        backoff_factor=service.backoff,
    )
    pool = urllib3.PoolManager(retries=retries, timeout=urllib3.Timeout(service.timeout, service.timeout))

    def victim(images: Float[np.ndarray, "n h w c"], request: str) -> np.ndarray:
        headers = {"Content-Type": "application/x-npy", "Idempotency-Key": request}
        try:
            answer = pool.request("POST", service.url, body=npy(images), headers=headers, redirect=False)
        except HTTPError as error:
            cause = error.reason if isinstance(error, MaxRetryError) else error
            raise ServiceError(_complaint(service, f"did not answer: {cause}")) from error
        if answer.status != 200:
            raise ServiceError(_complaint(service, f"refused with {answer.status} {answer.reason}"))
        return _array(service, answer.data)

    return victim


def service_model(url: str, num_classes: int) -> Model:
    """The service at that address as a model, into which nobody can look; ValueError where it is no address."""
    return hosted(url, service_victim(Service(url)), num_classes)


def npy(array: np.ndarray) -> bytes:
    """The array in NumPy's npy format."""
    body = BytesIO()
    np.save(body, array, allow_pickle=False)
    return body.getvalue()


def _array(service: Service, body: bytes) -> Any:
    try:
        return np.lib.format.read_array(BytesIO(body), allow_pickle=False)
    except Exception as error:  # the header is parsed as Python, and fails in as many ways
        raise ValueError(f"{service.url} must answer with an npy array, got {body[:24]!r}: {error}") from error


def _complaint(service: Service, what: str) -> str:
    return f"{service.url} {what} ({service.retries} retries allowed); nothing is lost, the same command resumes"


def _is_address(url: str) -> bool:
    try:
        parts = parse_url(url)
    except LocationParseError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.host)
