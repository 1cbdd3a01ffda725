"""What those notice who are in, of those who are not let in and of those who have had enough: latency of good
clients beside a flood of bad tokens, and of a quiet tenant beside one that is at its quota."""

import base64
import contextlib
import hashlib
import hmac
import json
import sys
import tempfile
import time
from pathlib import Path

from generator import fanout
from impostors import PROGRAM
from model import Spread, chapter
from process import BEFORE, HOST, ORDINARY, UNLIMITED, Failed, beside, ringroom, run, total

SECRET = "what the server and whoever signs its tokens know"
BAD_TOKENS = 5_000
# What the busy tenant may send in a second, and how many times that it tries to.
QUOTA, TIMES = 2_000, 4
# All of a tenant's clients come from one address and are of one user: it is the tenant's quota that is to bind.
NO_OTHER_LIMITS = (UNLIMITED, "admission.bad_credentials_per_minute=0", "rate.messages_per_second=0",
                   "users.messages_per_second=0", "addresses.messages_per_second=0", "limits.connections_per_user=0",
                   "limits.room_creations_per_minute=0")


def _token(tenant):
    """A token for the whole of this run."""
    def encoded(raw):
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    claims = {"sub": "someone", "tenant": tenant, "exp": int(time.time()) + 3600}
    signed = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{encoded(hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest())}"


def _shows(tenant):
    return "--header", f"Authorization: Bearer {_token(tenant)}"


@contextlib.contextmanager
def _guarded():
    """A server that believes tokens, with a tenant that may do what it likes and one that may not."""
    with tempfile.TemporaryDirectory() as folder:
        secret, file = Path(folder) / "secret", Path(folder) / "ringroom.toml"
        secret.write_text(SECRET)

        def listeners(port):
            file.write_text(f'listen = ["{HOST}:{port}"]\n[auth.jwt]\nsecret_file = "{secret}"\n[tenants.quiet]\n'
                            f'[tenants.busy]\nmessages_per_second = {QUOTA}\n')
            return file

        with ringroom(listeners=listeners, settings=NO_OTHER_LIMITS, first=ORDINARY) as server:
            yield server


def _quiet(server, seconds):
    """Latencies of good clients, as a generator that goes before all else sees them."""
    return fanout(server, 100, 3, "--rate", 2, "--seconds", seconds, "--warmup", 1, *_shows("quiet"),
                  first=BEFORE)["latency"]


def _compared(section, server, scale, harm):
    """Latencies alone and beside `harm`, in turn; the ratios of p99, the harm done each time, and a table."""
    alone, among, done = [], [], []
    for _ in range(max(2, min(3, scale.rounds))):
        alone.append(_quiet(server, scale.short + 2))
        doing = beside(harm, scale.short + 6)
        time.sleep(1.5)
        among.append(_quiet(server, scale.short + 2))
        done.append(doing())
    rows = [(name, *(f"{Spread.of([each[key] for each in taken]).median:,.0f}" for key in ("p50", "p90", "p99")))
            for name, taken in (("alone", alone), ("beside", among))]
    section.table(("good clients, median of the rounds", "p50, µs", "p90, µs", "p99, µs"), rows)
    return Spread.ratio([each["p99"] for each in among], [max(1, each["p99"]) for each in alone]), done


def _flood(server, seconds):
    done = run([*ORDINARY, "taskset", "-c", "1", sys.executable, PROGRAM, "--port", server.port, "--rate", BAD_TOKENS,
                "--seconds", seconds])
    with contextlib.suppress(ValueError):
        return json.loads(done.stdout)
    raise Failed(f"impostors: {done.stderr[-500:]}")


@chapter("impostors", "Bad tokens", f"Good clients beside {BAD_TOKENS:,} handshakes a second that show a "
         "token with a wrong signature, each another one, from addresses that are not shut out for it. "
         "The impostors share the generator's CPU, and the generator goes before them.")
def impostors(section, scale):
    with _guarded() as server:
        ratio, floods = _compared(section, server, scale, lambda seconds: _flood(server, seconds))
        refused = total(server, "ringroom_credentials_refused_total")
    rates = Spread.of([flood["refused"] / flood["seconds"] for flood in floods])
    section.note(f"{rates.median:,.0f} refused a second (of {BAD_TOKENS:,}), {refused:,.0f} in all; "
                 f"{sum(flood['other'] for flood in floods)} were answered otherwise")
    section.claim("bad tokens, a second", rates, BAD_TOKENS * 0.95, least=True)
    section.claim("bad tokens, good clients' p99 beside them, times alone", ratio, 1.2)


@chapter("quota", "A tenant at its quota", f"Clients of a quiet tenant beside those of another that may "
         f"send {QUOTA:,} messages a second and tries to send {TIMES} times as many.")
def quota(section, scale):

    def harm(server, seconds):
        return fanout(server, 10, 20, "--publishers", 10, "--rate", QUOTA * TIMES / 100, "--seconds", seconds,
                      *_shows("busy"), first=ORDINARY, quiet_doubts=True)

    with _guarded() as server:
        ratio, phases = _compared(section, server, scale, lambda seconds: harm(server, seconds))
    passed = Spread.of([phase["measured"]["received"] / 20 / max(phase["seconds"], 1e-9) for phase in phases])
    section.note(f"{passed.median:,.0f} of its messages passed a second")
    section.claim("quota, quiet tenant's p99 beside one at it, times alone", ratio, 3.0)
