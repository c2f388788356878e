# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of generators, streams, events, and the allocator's memory."""

from torch_remote_conformance.protocol.commands import (
    allocate,
    elapsed_time,
    empty_cache,
    free,
    free_event,
    get_generator_state,
    get_memory_statistics,
    query_event,
    read,
    record_event,
    record_stream,
    reset_peak_memory,
    seed,
    set_generator_state,
    synchronize,
    synchronize_event,
    use_stream,
    wait_event,
    write,
)
from torch_remote_conformance.protocol.executor import Checks, Executor, computes, expect_refused
from torch_remote_conformance.protocol.replies import Failed
from torch_remote_conformance.protocol.wire import Code, expect

GENERATOR = Checks("generator")
STREAM = Checks("stream")
EVENT = Checks("event")
MEMORY = Checks("memory")

_STREAM_MAX = 64
_EVENTS_MAX = 65_536


@GENERATOR.case("states_are_answered")
def _states(executor: Executor) -> None:
    with executor.session() as client:
        for generator in (0, 1, (1 << 64) - 1):
            client.run(get_generator_state(1, generator))
            state = client.answer(1)
            expect(isinstance(state, bytes), f"{state!r}")
            assert isinstance(state, bytes)
            expect(bool(state) == executor.computes, f"a state of {len(state)} bytes")
            client.run(set_generator_state(generator, state))
        client.synchronize()
        expect(client.failures == [], f"{client.failures}")


@GENERATOR.case("seed_decides_the_state", applies=computes)
def _seed(executor: Executor) -> None:
    with executor.session() as client:
        for generator in (0, 7):
            states = []
            for token, number in enumerate((5, 6, 5, (1 << 64) - 1)):
                client.run(seed(generator, number), get_generator_state(token, generator))
                states.append(client.answer(token))
            expect(states[0] == states[2], "one seed, two states")
            expect(len({str(state) for state in states}) == 3, "other seeds, equal states")


@GENERATOR.case("state_comes_back", applies=computes)
def _restored(executor: Executor) -> None:
    with executor.session() as client:
        client.run(seed(1, 5), get_generator_state(1, 1))
        state = client.answer(1)
        assert isinstance(state, bytes)
        client.run(seed(1, 6), set_generator_state(1, state), get_generator_state(2, 1))
        expect(client.answer(2) == state, "another state than was set")
        client.run(set_generator_state(2, state), get_generator_state(3, 2))
        expect(client.answer(3) == state, "a generator's state is no other's")


@GENERATOR.case("wrong_state_fails", applies=computes)
def _wrong_state(executor: Executor) -> None:
    with executor.session() as client:
        client.run(seed(1, 5), get_generator_state(1, 1))
        before = client.answer(1)
        # Of 13 bytes: CUDA's generators take 8, a seed alone, and 16.
        client.run(set_generator_state(1, b"no such state"), get_generator_state(2, 1))
        expect(client.answer(2) == before, "the state was changed")
        expect(len(client.failures) == 1, f"{client.failures}")


@STREAM.case("commands_are_done_in_any_stream")
def _streams(executor: Executor) -> None:
    with executor.session() as client:
        for stream in (0, 1, 32, 33, _STREAM_MAX, 0):
            client.run(use_stream(stream), allocate(1, 4), write(1, b"%4d" % stream))
            executor.expect_bytes(client.read(1, 4), b"%4d" % stream)
            client.run(free(1))
        expect(client.failures == [], f"{client.failures}")


@STREAM.case("numbers_beyond_64_are_refused", each={"65": 65, "2^32 - 1": 0xFFFF_FFFF})
def _no_stream(executor: Executor, stream: int) -> None:
    for command in (use_stream(stream), record_stream(stream, 1)):
        with executor.undisturbed(), executor.session() as client:
            client.run(allocate(1, 1), command)
            expect_refused(client.refusal(), Code.MALFORMED)


@STREAM.case("record_stream_keeps_a_storage")
def _record_stream(executor: Executor) -> None:
    with executor.session() as client:
        client.run(use_stream(1), allocate(1, 4), write(1, b"data"), record_event(1))
        client.run(use_stream(2), wait_event(1), record_stream(2, 1), read(1, 1, 4), free(1))
        executor.expect_bytes(client.answer(1), b"data")
        client.synchronize()
        expect(client.failures == [], f"{client.failures}")


@STREAM.case("synchronize_waits_for_all")
def _synchronize(executor: Executor) -> None:
    with executor.session() as client:
        for stream in range(4):
            client.run(use_stream(stream), record_event(stream))
        client.synchronize()
        for stream in range(4):
            client.run(query_event(1, stream))
            expect(client.answer(1) == [True], f"stream {stream} goes on")


@EVENT.case("recorded_ones_come")
def _events(executor: Executor) -> None:
    with executor.session() as client:
        for event in (0, 1, (1 << 64) - 1):
            client.run(record_event(event), wait_event(event), synchronize_event(1, event))
            expect(client.answer(1) is None, "not answered as usual")
            client.run(query_event(2, event))
            expect(client.answer(2) == [True], "synchronized, but not done")
            client.run(record_event(event), free_event(event), free_event(event))
        client.synchronize()
        expect(client.failures == [], f"{client.failures}")


@EVENT.case("query_tells_a_boolean")
def _query(executor: Executor) -> None:
    with executor.session() as client:
        client.run(record_event(1), query_event(1, 1))
        expect(client.answer(1) in ([True], [False]), "no boolean")


@EVENT.case("elapsed_time_is_told_in_milliseconds")
def _elapsed(executor: Executor) -> None:
    with executor.session() as client:
        client.run(record_event(1, with_time=True))
        client.synchronize()
        client.run(record_event(2, with_time=True), synchronize_event(1, 2), elapsed_time(2, 1, 2))
        expect(client.answer(1) is None, "not answered as usual")
        answer = client.answer(2)
        assert isinstance(answer, list), answer
        (elapsed,) = answer
        assert isinstance(elapsed, float), elapsed
        expect(0 <= elapsed < 600_000, f"{elapsed} ms")


@EVENT.case("elapsed_time_without_time_fails")
def _without_time(executor: Executor) -> None:
    with executor.session() as client:
        client.run(record_event(1, with_time=True), record_event(2), synchronize(1))
        client.answer(1)
        client.run(elapsed_time(2, 1, 2))
        expect(isinstance(client.answer(2), Failed), "a time was told")


@EVENT.case("unknown_ones_fail")
def _unknown(executor: Executor) -> None:
    with executor.session() as client:
        client.run(query_event(1, 9), synchronize_event(2, 9), elapsed_time(3, 9, 9))
        for token in (1, 2, 3):
            expect(isinstance(client.answer(token), Failed), f"token {token} was answered")
        expect(client.failures == [], f"{client.failures}")
        client.run(wait_event(9), free_event(9))  # the first without a token, the other no error
        client.synchronize()
        expect(len(client.failures) == 1, f"{client.failures}")


@EVENT.case("65536_are_alive_at_most")
def _most(executor: Executor) -> None:
    with executor.session() as client:
        client.run(*(record_event(event) for event in range(_EVENTS_MAX)))
        client.run(record_event(0))  # again is none more
        client.synchronize()
        expect(client.failures == [], f"{client.failures}")
        client.run(record_event(_EVENTS_MAX))
        client.synchronize()
        expect(len(client.failures) == 1, f"{client.failures}")
        client.run(free_event(1), record_event(_EVENTS_MAX))
        client.synchronize()
        expect(len(client.failures) == 1, f"{client.failures}")


@MEMORY.case("statistics_are_numbers")
def _statistics(executor: Executor) -> None:
    has_allocator = "allocator" in executor.welcome.description
    with executor.session() as client:
        client.run(allocate(1, 1 << 20), get_memory_statistics(1))
        numbers = client.answer(1)
        assert isinstance(numbers, dict), numbers
        if numbers and not has_allocator:  # it tells what storages the session has
            counts = [numbers[f"{group}.all.current"] for group in ("allocation", "active")]
            expect(counts == [1, 1], f"{numbers}")
            sizes = [numbers[f"{group}_bytes.all.current"] for group in ("allocated", "active")]
            expect(sizes == [1 << 20, 1 << 20], f"{numbers}")
        elif has_allocator:
            expect(0 <= numbers["free_bytes"] <= numbers["total_bytes"], f"{numbers}")
            expect(numbers["allocated_bytes.all.peak"] >= 1 << 20, f"{numbers}")
        expect(all(value >= 0 for value in numbers.values()), f"{numbers}")


@MEMORY.case("reset_and_empty_cache_change_no_storage")
def _cache(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 4), write(1, b"kept"), allocate(2, 1 << 20), free(2))
        client.run(reset_peak_memory(), empty_cache())
        executor.expect_bytes(client.read(1, 4), b"kept")
        expect(client.failures == [], f"{client.failures}")
