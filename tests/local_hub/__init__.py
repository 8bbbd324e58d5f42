"""A Hugging Face Hub on the loopback interface, for tests and demonstrations.

The real clients (huggingface_hub, transformers, peft, datasets, `hf`) run against it unchanged:

    with LocalHub() as hub:
        api = hub.api()
        api.create_repo("alice/model")
        with hub.fault(r"GET /storage/.*model\\.safetensors", faults.status(503), times=1):
            ...
        assert hub.bytes_sent(r"model\\.safetensors") < 1000

From the outside in: `hub` (LocalHub) → `server` (sockets, `log`, `faults`) → `routes` → `call` → the endpoints in
`api_*` → `site` (state and access) → `repos`, `blobs`, `accounts`. `facts` and `card` derive what the Hub tells about
a repo, `xet` is the second transfer dialect, `jobs` runs commands as processes of this machine.

It answers what these clients ask, as far as they can tell. Not covered: quotas and real rate limits, webhooks,
security scans, Xet deduplication by a server and faults on Xet transfers (clients write to a local folder instead),
container images (a test says what its jobs find instead: `jobs.Container`), LFS uploads in parts, roles inside
organisations, renaming, duplicating and copying between repos, conflicts of pull requests, resource groups, and most of
the real Hub's checks of model cards. Of a gated repo all files are withheld
here while its description and file list are open; this was not compared with the real one.
"""

from . import faults
from .exchange import Answer, Disconnect, Request, Response, reply
from .faults import Fault, Rule
from .hub import LocalHub
from .log import Entry

__all__ = [
    "Answer",
    "Disconnect",
    "Entry",
    "Fault",
    "LocalHub",
    "Request",
    "Response",
    "Rule",
    "faults",
    "reply",
]
