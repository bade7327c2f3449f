"""The factors of the scale-matched arms, as `SCALES` in arms.py has them: python benchmarks/measure_scales.py.

Looks for the data where LOSSBENCH_DATA, or data/, has them.
"""

from lossbench.arms import scale_probes
from lossbench.config import Runtime
from lossbench.scales import mean_gradient_norm

if __name__ == "__main__":
    norms = {place: mean_gradient_norm(config) for place, config in scale_probes(Runtime(device="cpu")).items()}
    for (dataset, loss), norm in norms.items():
        up, down = norms[dataset, "lgl_inr"] / norm, norms[dataset, "sml"] / norm
        print(f"{dataset} {loss}: gradient norm {norm:.4g}, to LGL-INR's times {up:.3g}, to SML's times {down:.3g}")
