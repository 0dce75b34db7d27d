"""Steps with what kept their threads from the cores, to what they would have taken by themselves."""

from collections.abc import Sequence

from perftune.records.trial import Measurement, Slice

LEAST_SHARE = 0.1
"""Of the wall time of a slice, that is left of it however long its threads waited."""


def undisturbed_seconds(part: Slice, step_seconds: Sequence[float]) -> float:
    """What a slice would have taken if its threads had never waited for a core: ``wall (1 - waited / (n wall)) ** n``.

    The threads of a step meet at barriers after every operator, which is shorter than a time slice of the kernel: while
    one of them has no core, the others stand still or spin. So the work goes on only while none waits, and waits that
    come independently leave the product of the shares in which each thread has its core: with few of them about
    ``wall - waited``.

    Measured on two cores with two threads, 40 rounds of half a second, a burst load of one or two busy processes, 1 to
    8 s on and off, and lesser work beside (probes/workloads/minilm_classifier.py, global batch 8): the rounds of two
    equal contenders differ with a spread (standard deviation of the log ratio) of 0.114; by wall time of 0.408, less
    ``waited / n`` 0.242, less the longest wait of a thread 0.236, less that of the main thread 0.231, by CPU time
    0.235, less 0.75 of all waits 0.135. The most disturbed third of the slices comes out at 1.02 of the least disturbed
    (by wall time at 2.13, less ``waited / n`` at 1.45). Micro-batch 2 took 1.56 times as long as 8 (1.52 to 1.66, a
    bootstrap interval of the median), by wall time 1.64 (1.49 to 1.76). With more threads it was not measured. Whatever
    was waited, a tenth of the wall time remains: beyond, a slice tells nothing.

    Args:
        part: the slice, with what disturbed it.
        step_seconds: of its steps.
    """
    wall = sum(step_seconds)
    if not part.run_queue_seconds or not part.num_threads or not wall:
        return wall
    share = min(1.0, part.run_queue_seconds / (part.num_threads * wall))
    return wall * max(LEAST_SHARE, (1.0 - share) ** part.num_threads)


def undisturbed_steps(parts: Sequence[Slice], step_seconds: Sequence[float]) -> list[float]:
    """Seconds of steps, each less what its slice was disturbed by; a step that is in none stays as it is."""
    found = list(step_seconds)
    for part in parts:
        steps = slice(part.first_step, part.first_step + part.num_steps)
        share = undisturbed_seconds(part, step_seconds[steps]) / (sum(step_seconds[steps]) or 1.0)
        found[steps] = [seconds * share for seconds in step_seconds[steps]]
    return found


def undisturbed(measurement: Measurement) -> Measurement:
    """The measurement as it would have been if the threads of its steps had never waited for a core."""
    parts, steps = (*measurement.slices, *measurement.stretches), measurement.steps
    shares = [
        quiet / (busy or 1.0)
        for quiet, busy in zip(undisturbed_steps(parts, steps.step_seconds), steps.step_seconds, strict=True)
    ]
    times = [name for name in type(steps).model_fields if name.endswith("_seconds")]
    quiet_times = {
        name: tuple(s * share for s, share in zip(getattr(steps, name), shares, strict=True)) for name in times
    }
    return measurement.model_copy(update={"steps": steps.model_copy(update=quiet_times)})
