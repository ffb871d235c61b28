"""The pool: the server of scores as a Ray Serve application, on this machine or on a Ray cluster.

Words:
    pool: replicas of one deployment behind Ray Serve's proxies (HTTP, gRPC) and handles (clients on the cluster).
    replica: a process that holds an engine with the models (``pool.deployment``); Serve starts and ends them.
    head: the Ray of a pool that has no cluster of its own; it listens on the loopback interface alone (``pool.head``).
    store: where the cluster keeps the checkpoints, so that replicas need no shared file system (``pool.store``).
    update: new checkpoints under served names, taken up in place: no request is lost (``pool.launch``).

Inputs are checkpoints and ``PoolSettings``; nothing is written but Ray's own session directory. The names here load
neither ray nor torch; the modules beside them load ray, and replicas load torch.
"""

from darkop_dist.scoring.pool.settings import PoolSettings, Replicas

__all__ = ["PoolSettings", "Replicas"]
