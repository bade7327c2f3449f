"""Profiling training steps: a trace for Perfetto or TensorBoard, and a table of the costliest operations."""

from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from lossbench.config.run import Config, run_id
from lossbench.data.load import plan_epoch
from lossbench.system.machine import keep_freed_memory, use_device
from lossbench.training.fit import check, process_settings, start_state, step_for

WARM_UP_STEPS, STEPS = 5, 20
NUM_OPERATIONS = 10


def profile_run(config: Config) -> Path:
    """Profile some training steps of a run, from its initial weights; only the profile is written.

    Returns:
        The folder `<output_dir>/profile/<run_id>` with `trace.json` and `operations.md`.
    """
    device = check(config)
    use_device(device)
    keep_freed_memory()
    folder = Path(config.runtime.output_dir) / "profile" / run_id(config)
    folder.mkdir(parents=True, exist_ok=True)
    on_gpu, size = device.type == "cuda", config.schedule.batch_size
    with process_settings(config.runtime.num_threads or 1, config.schedule.precision, config.runtime.deterministic):
        state = start_state(config, device)
        step, plan = step_for(state, config), plan_epoch(state.data, config.seed, epoch=1)
        state.model.train()
        batches = [plan[:, start : start + size] for start in range(0, plan.shape[1] - size + 1, size)]
        for index in range(WARM_UP_STEPS):
            step(batches[index % len(batches)])
        activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if on_gpu else [])
        with profile(activities=activities, acc_events=True) as profiler:  # its end waits for the device
            for index in range(STEPS):
                step(batches[index % len(batches)])
    profiler.export_chrome_trace(str(folder / "trace.json"))
    found = [
        (average.key, average.count, average.self_device_time_total if on_gpu else average.self_cpu_time_total)
        for average in profiler.key_averages()
    ]
    total = max(sum(time for *_, time in found), 1e-9)
    costliest = sorted(found, key=lambda each: -each[2])[:NUM_OPERATIONS]
    lines = [
        f"{run_id(config)}: {STEPS} steps on {device}, {total / STEPS / 1e3:.2f} ms a step in all operations",
        "",
        "| operation | calls a step | ms a step | share |",
        "| --- | --- | --- | --- |",
        *(
            f"| {key} | {count / STEPS:g} | {time / STEPS / 1e3:.3f} | {100 * time / total:.1f} % |"
            for key, count, time in costliest
        ),
    ]
    (folder / "operations.md").write_text("\n".join(lines) + "\n")
    return folder
