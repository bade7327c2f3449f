"""Measures the factors of the scale-matched conditions, `SCALES` in conditions.py: python tools/measure_scales.py.

The data are read from LOSSBENCH_DATA or data/.
"""

from lossbench.config.run import Runtime
from lossbench.studies.aaai20 import conditions
from lossbench.training.gradient_scale import mean_gradient_norm

NUM_BATCHES = {conditions.PLACES[0]: 100, conditions.PLACES[1]: 100, conditions.LARGE[0]: 20, conditions.LARGE[1]: 20}

if __name__ == "__main__":
    norms: dict[tuple[conditions.Place, str], float] = {}
    for (place, loss), config in conditions.scale_probes(Runtime(device="cpu")).items():
        norms[place, loss] = mean_gradient_norm(config, NUM_BATCHES[place])
    for (place, loss), norm in norms.items():
        up, down = norms[place, "lgl_inr"] / norm, norms[place, "sml"] / norm
        where = ", ".join(place.labels)
        print(f"{where}, {loss}: gradient norm {norm:.4g}, to LGL-INR's times {up:.3g}, to SML's times {down:.3g}")
