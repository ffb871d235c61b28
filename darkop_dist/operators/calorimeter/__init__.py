"""The calorimeter operator: showers of single particles, generated instead of simulated.

Words:
    deposit: energy left at once, gamma distributed; a Poisson number of them makes the energy of a voxel (``levy``).
    memory: a running mean of the layers passed, which is all that a layer knows of them (``fields``).
    noise: all random numbers of a shower; drawn, or given as fields that can be rotated (``noise``).
    refinement: the same showers in finer voxels (``refinement``).

Input are files of simulated showers (``operators.showers``), output a checkpoint (``checkpoint``) and showers. Energies
are those of the files it was trained on, in MeV. Everything here loads torch.
"""
