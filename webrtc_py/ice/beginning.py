"""What a new generation begins with: credentials drawn at random, and a core as the options want it."""

from __future__ import annotations

import base64
import logging
import secrets

from ..states import ContinualGatheringPolicy
from .addresses import Filter
from .agent_options import AgentOptions
from .core import Core
from .events import BindingRequest, BindingRequestHandler
from .trace import Trace

logger = logging.getLogger(__name__)

# RFC 8445 section 5.3 asks for 24 and 128 bits of chance; these are 48 and 144.
_UFRAG_OCTETS = 6
_PWD_OCTETS = 18


def new_credentials() -> tuple[str, str]:
    """A user fragment and a password, drawn at random."""
    return _random_text(_UFRAG_OCTETS), _random_text(_PWD_OCTETS)


def _random_text(octets: int) -> str:
    """Base64 has ICE's alphabet, and no padding when ``octets`` is a multiple of three."""
    return base64.b64encode(secrets.token_bytes(octets)).decode()


def new_core(options: AgentOptions, ufrag: str, pwd: str, tie_breaker: int) -> Core:
    """The core of a new generation, with random credentials if ``ufrag`` is empty."""
    if not ufrag:
        ufrag, pwd = new_credentials()
    return Core(
        tie_breaker=tie_breaker,
        local_ufrag=ufrag,
        local_pwd=pwd,
        seed=secrets.token_bytes(32),
        timings=options.core_timings,
        max_pairs=options.max_pairs,
        remote_ip_filter=Filter(options.remote_ip_filter, "remote IP") if options.remote_ip_filter else None,
        lite=options.lite,
        renomination=options.renomination,
        keep_alternatives=options.continual_gathering is ContinualGatheringPolicy.CONTINUALLY,
        use_candidate_check_priority=options.use_candidate_check_priority,
        on_binding_request=_guarded(options.on_binding_request),
        trace=Trace(ufrag, options.logger),
    )


def _guarded(handler: BindingRequestHandler | None) -> BindingRequestHandler | None:
    """The application's handler, asked in the middle of the checks: what it raises means no, and is logged once.

    Not each time, since the peer decides how often it is asked.
    """
    if handler is None:
        return None
    has_raised = False

    def ask(request: BindingRequest) -> bool:
        nonlocal has_raised
        try:
            return bool(handler(request))
        except Exception:
            logger.log(logging.DEBUG if has_raised else logging.ERROR, "on_binding_request raised", exc_info=True)
            has_raised = True
            return False

    return ask
