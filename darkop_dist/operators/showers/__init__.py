"""Calorimeter showers: their files, their features, and how well generated ones agree with simulated ones.

Words:
    shower: the energy that one particle leaves in the voxels of a calorimeter, in MeV (`Showers`).
    incident energy: the energy of that particle, in MeV.
    voxel: one cell in depth, azimuth and radius around the particle's direction (`VoxelGeometry`).
    separation power, AUC, JSD, FPD, KPD: the scores of the CaloChallenge (arXiv:2410.21611).
    floor: the same scores between two samples of the simulator; no generator can be told to be better.

Input are HDF5 files in the layout of the CaloChallenge (``files``); output is a `ShowerEvaluation` (``evaluation``) and
its table (``tables``). ``resolution`` goes between coarse and fine voxels. The names here load no torch.
"""

from darkop_dist.operators.showers.files import read_showers, shower_parts, write_showers
from darkop_dist.operators.showers.sample import Showers, VoxelGeometry, coarsen

__all__ = ["Showers", "VoxelGeometry", "coarsen", "read_showers", "shower_parts", "write_showers"]
