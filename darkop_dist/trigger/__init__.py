"""Trigger: an anomaly score at the collision rate of the LHC: its inputs, its firmware, what it costs.

Words:
    crossing: two bunches that meet, with a Poisson number of collisions.
    zero bias: events read out at random bunch crossings, whatever happened in them; here simulated in strata of the
        hardest collision (``crossings``), through a trigger of few numbers (``detector``).
    rate: accepted events per second, in Hz.
    pure rate: of those that no seed of a menu accepts (``seeds``).
    colliding bunches: pairs of bunches that meet at the experiment in one turn of the ring.
    teacher, student: a full operator, and a fixed-point network that learns its order of events (``distil``).
    circuit: adders, shifts, multiplexers and tables that compute a student (``logic``); ``build`` makes firmware of it.

Inputs are samples (``sample``) and checkpoints; outputs are students in a Pareto set (``pareto``), builds, rates.
"""

from darkop_dist.trigger.rates import Rate, trigger_rate

__all__ = ["Rate", "trigger_rate"]
