"""Operators are seen in order with what they allocate, and frees when they happen."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch._subclasses.fake_tensor import FakeTensorMode

from perftune.tracing.recorder import Recorder


def test_an_allocation_is_freed_when_its_last_view_goes() -> None:
    recorder = Recorder()
    with FakeTensorMode(), recorder:
        x = torch.ones(10)
        view = x[2:]
        y = x * 2
        del x
        recorder.mark("view_is_there")
        del view
        recorder.mark("gone")
        del y
    tape = recorder.cut()
    assert tape.sizes == (40, 40)
    assert tape.events == (1, 2, -1, -2)
    assert (tape.marks["view_is_there"], tape.marks["gone"]) == (2, 3)


def test_what_was_there_before_is_no_allocation_and_its_end_no_free() -> None:
    recorder = Recorder()
    with FakeTensorMode():
        held = torch.ones(10)
        recorder.hold(held)
        with recorder:
            held.add_(1)
            made = held + 1
            assert recorder.allocation(made) == 0
            assert recorder.allocation(held) is None
            recorder.cut()
            assert recorder.allocation(made) is None
            del made, held
    assert recorder.cut().events == ()


def test_a_batch_comes_as_allocations_of_no_operator() -> None:
    recorder = Recorder()
    dataset = torch.zeros(100, 4)
    batch = {"input_ids": torch.zeros(3, 5, dtype=torch.long), "pixels": dataset[:2], "names": ["a"]}
    with recorder:
        torch.ones(1)
        recorder.arrive(batch)
        recorder.arrive(batch)
        batch["input_ids"].view(15)
    tape = recorder.cut()
    assert tape.sizes == (4, 120, 32)
    assert tape.op == (0, -1, -1)


def test_work_is_counted_once_a_kernel() -> None:
    recorder = Recorder()
    with FakeTensorMode(), recorder:
        x = torch.empty(4, 8)
        w = torch.empty(8, 16)
        x @ w
        x.expand(3, 4, 8) + 1
    ops = recorder.cut().ops
    assert [ops.names[number] for number in ops.name] == ["aten::mm", "aten::add.Tensor"]
    assert ops.flops == (2 * 4 * 8 * 16, 0)
    assert ops.num_bytes == (4 * (4 * 8 + 8 * 16 + 4 * 16), 4 * (4 * 8 + 3 * 4 * 8))


def test_workspaces_of_cuda_come_and_go() -> None:
    for is_cuda, sizes in ((True, (40, 40)), (False, (40,))):
        recorder = Recorder(is_cuda=is_cuda)
        with FakeTensorMode():
            x = torch.empty(10)
            recorder.hold(x)
            with recorder:
                kept = torch.ops.aten._softmax_backward_data(x, x, -1, torch.float32)
        tape = recorder.cut()
        assert tape.sizes == sizes
        assert tape.events[:3] == ((1, 2, -2) if is_cuda else (1,))
        del kept


def test_gradients_are_added_in_place_where_the_engine_would() -> None:
    """The engine asks real tensors whether they are held by others, and makes a third of fake ones."""

    def embedded(x: torch.Tensor) -> torch.Tensor:
        ids = torch.zeros(4, dtype=torch.long)
        return F.embedding(ids, x) * 2 + F.embedding(ids, x) * 3 + F.embedding(ids, x) * 5

    def tied(x: torch.Tensor) -> torch.Tensor:
        return F.linear(F.embedding(torch.zeros(4, dtype=torch.long), x), x)

    def residual(x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        return y + y.tanh()

    for function, num_gradients in ((embedded, 3), (tied, 3), (residual, 3)):
        with FakeTensorMode(allow_non_fake_inputs=True):
            x = torch.empty(5000, 8, requires_grad=True)
        recorder = Recorder(is_cuda=False)
        recorder.hold(x)
        with recorder:
            out = function(x).sum()
            recorder.mark("backward")
            out.backward()
        events, sizes = recorder.cut(), 4 * 5000 * 8
        after = [event for event in events.events[events.marks["backward"] :] if event > 0]
        assert sum(events.sizes[event - 1] == sizes for event in after) == num_gradients
        real = torch.rand(5000, 8, requires_grad=True)
        out = function(real).sum()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
            out.backward()
        assert profiler.profiler is not None
        memory = [event.nbytes() for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
        assert memory.count(sizes) == num_gradients


def test_nothing_is_counted_in_quiet() -> None:
    recorder = Recorder()
    with FakeTensorMode(), recorder, recorder.quiet():
        torch.ones(10)
        recorder.note("attention", torch.float32, 1, 1)
    assert recorder.cut().ops.name == ()
