"""The kinds of faults, each of which strikes the world once and may heal a while later."""

import random
from collections.abc import Callable

from tests.chaos.faults import commands, endpoint, links, messages, processes, services
from tests.chaos.strike import Strike
from tests.chaos.world import World

KINDS: dict[str, Callable[[World, random.Random], Strike]] = {
    "worker killed": processes.worker_killed,
    "worker told to stop": processes.worker_told_to_stop,
    "worker told to stop without database": processes.worker_told_to_stop_without_database,
    "worker stopped and continued": processes.worker_stopped,
    "worker stopped with calls in flight": processes.worker_stopped_in_calls,
    "worker stopped while committing": processes.worker_stopped_while_committing,
    "worker stopped at a statement": processes.worker_stopped_at_a_statement,
    "commit longer than a lease": processes.slow_commit,
    "worker with a wrong clock": processes.worker_with_a_wrong_clock,
    "dispatcher killed": processes.dispatcher_killed,
    "dispatcher interrupted": processes.dispatcher_interrupted,
    "dispatcher stopped and continued": processes.dispatcher_stopped,
    "second dispatcher": processes.second_dispatcher,
    "redis killed": services.redis_killed,
    "redis flushed": services.redis_flushed,
    "redis restarted empty": services.redis_restarted_empty,
    "redis full": services.redis_full,
    "postgres restarted": services.postgres_restarted,
    "postgres gone longer than a lease": services.postgres_away,
    "database connections cut": services.connections_cut,
    "database clock jumps forward": services.clock_jumps_forward,
    "database clock jumps back": services.clock_jumps_back,
    "disk full": services.disk_full,
    "spool full": processes.spool_full,
    "pooler killed": services.pooler_killed,
    "database link cut": links.database_link_cut,
    "database link frozen": links.database_link_frozen,
    "database replies lost": links.database_replies_lost,
    "commit in doubt": links.commit_in_doubt,
    "bulk write broken off": links.bulk_write_broken_off,
    "redis link cut": links.redis_link_cut,
    "redis link frozen": links.redis_link_frozen,
    "messages doubled": messages.messages_doubled,
    "messages reordered": messages.messages_reordered,
    "endpoint drips": endpoint.endpoint_drips,
    "endpoint never ends": endpoint.endpoint_never_ends,
    "endpoint breaks off": endpoint.endpoint_breaks_off,
    "endpoint answers too late": endpoint.endpoint_too_late,
    "endpoint lies about usage": endpoint.endpoint_lies,
    "limits set": commands.limits_set,
    "retry": commands.retry,
    "paused and resumed": commands.paused_and_resumed,
    "second run begun and cancelled": commands.second_run_cancelled,
    "another configuration": commands.other_configuration,
}
# Where there is no run yet, one of these would begin it; for the other, the endpoint is refused.
OF_CREATED_RUNS = ("another configuration", "endpoint never ends")


def usable(world: World) -> list[str]:
    """Return the kinds that this machine can make, in the world as it is."""
    missing = set()
    if not world.has_small_disk:
        missing |= {"disk full", "spool full"}
    if not world.clock.can_jump:
        missing |= {"database clock jumps forward", "database clock jumps back"}
    if not world.is_pooled:
        missing.add("pooler killed")
    return [kind for kind in KINDS if kind not in missing]
