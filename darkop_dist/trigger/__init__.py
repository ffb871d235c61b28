"""Trigger: what a selection would cost at the LHC's collision rate.

Words:
    zero bias: events read out at random bunch crossings, whatever happened in them.
    rate: accepted events per second, in Hz.
    colliding bunches: pairs of bunches that meet at the experiment in one turn of the ring.

Input is counts of zero-bias events; output is a `Rate`.
"""

from darkop_dist.trigger.rates import Rate, trigger_rate

__all__ = ["Rate", "trigger_rate"]
