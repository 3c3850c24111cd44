"""A Ray cluster of two nodes on this machine, for tests."""

from collections.abc import Iterator
from contextlib import contextmanager

from athanor.core.workers import Executor


@contextmanager
def two_nodes() -> Iterator[Executor]:
    """Two nodes of one core each, for as long as the block runs."""
    import ray
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 * 1024 * 1024}
    made = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    made.add_node(**small)
    try:
        yield Executor("ray", made.address)
    finally:
        ray.shutdown()
        made.shutdown()
