# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What CUDA's generator draws, written from its definition and independent of the emulator's code.

Integers are those of 64 bits that torch has: a product of two numbers of 32 bits fits, if the sign is taken as a bit.
Elements are numbered in the order in which CUDA's kernels walk, which for a contiguous tensor is that of its memory.
All functions give tensors on CPU.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

_LOW = 0xFFFFFFFF
#: Multiprocessors, and how many threads each of them holds.
CARDS = {
    "T4": (40, 1024),
    "L4": (58, 1536),
    "A10G": (80, 1536),
    "A100-40GB": (108, 2048),
    "A100-80GB": (108, 2048),
    "L40S": (142, 1536),
    "H100": (132, 2048),
    "H200": (132, 2048),
    "B200": (148, 2048),
}


def block(key: int, draw: Tensor, thread: Tensor) -> list[Tensor]:
    """Philox4x32-10 of each counter (draw, thread): four numbers of 32 bits."""
    words = [draw & _LOW, (draw >> 32) & _LOW, thread & _LOW, (thread >> 32) & _LOW]
    keys = [key & _LOW, key >> 32 & _LOW]
    for _ in range(10):
        first, second = words[0] * 0xD2511F53, words[2] * 0xCD9E8D57
        words = [
            (second >> 32) & _LOW ^ words[1] ^ keys[0],
            second & _LOW,
            (first >> 32) & _LOW ^ words[3] ^ keys[1],
            first & _LOW,
        ]
        keys = [(keys[0] + 0x9E3779B9) & _LOW, (keys[1] + 0xBB67AE85) & _LOW]
    return words


@dataclass
class Philox:
    """A generator of one of CARDS: every draw moves its offset as CUDA's does."""

    card: str
    seed: int = 0
    offset: int = 0
    #: Threads of the largest grid.
    threads_max: int = field(init=False)

    def __post_init__(self) -> None:
        multiprocessors, threads = CARDS[self.card]
        self.threads_max = multiprocessors * (threads // 256) * 256

    def reserve(self, increment: int) -> int:
        """The first draw of a kernel that takes so many numbers of each thread."""
        first = self.offset // 4
        self.offset += (increment + 3) // 4 * 4
        return first

    def state(self) -> bytes:
        """What get_rng_state() gives."""
        return self.seed.to_bytes(8, "little") + self.offset.to_bytes(8, "little")

    # ---- numbers by element ----

    def _words(self, count: int, per_draw: int) -> Tensor:
        """One row for each element: the four numbers of its draw, and the element's place among them."""
        threads = min((count + 255) // 256 * 256, self.threads_max)
        rounds = (count - 1) // (threads * per_draw) + 1
        first = self.reserve(rounds * 4)
        element = torch.arange(count)
        draw = element // (threads * per_draw)
        place = element % (threads * per_draw) // threads
        return torch.stack([*block(self.seed, draw + first, element % threads), place])

    def bits32(self, count: int) -> Tensor:
        """32 random bits for each element."""
        words = self._words(count, 4)
        return words[:4].gather(0, words[4:])[0]

    def bits64(self, count: int) -> Tensor:
        """64 random bits for each element, of two numbers in a row; the sign is a bit."""
        high, low = self._halves(count)
        return high << 32 | low

    def _halves(self, count: int) -> tuple[Tensor, Tensor]:
        words = self._words(count, 2)
        place = words[4:] * 2
        return words[:4].gather(0, place)[0], words[:4].gather(0, place + 1)[0]

    def uniform(self, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """(0, 1], in float, or in double for doubles."""
        if dtype != torch.float64:
            return _unit(self.bits32(count))
        low, high = self._halves(count)
        return (low ^ high << 21).double() * 2.0**-53 + 2.0**-54

    # ---- operators ----

    def rand(self, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """torch.rand: what rounds to 1 becomes 0."""
        drawn = self.uniform(count, dtype).to(dtype)
        return torch.where(drawn == 1, torch.zeros_like(drawn), drawn)

    def randint(self, low: int, high: int, count: int, dtype: torch.dtype = torch.int64) -> Tensor:
        """torch.randint of fewer than 2**62 numbers."""
        span = high - low
        if span < 1 << 28:
            return (self.bits32(count) % span + low).to(dtype)
        bits = self.bits64(count)
        # The remainder of an unsigned number, of which the upper 63 bits are a positive one.
        rest = (bits >> 1 & (1 << 63) - 1) % span * 2 + (bits & 1)
        return (rest % span + low).to(dtype)

    def bernoulli(self, p: float, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Tensor.bernoulli_ with a number."""
        drawn = self.uniform(count, dtype)
        return (drawn < torch.tensor(p, dtype=drawn.dtype)).to(dtype)

    def bernoulli_of(self, chances: Tensor) -> Tensor:
        """torch.bernoulli: four elements in a row for each thread."""
        first = self.reserve(10)
        element = torch.arange(chances.numel())
        words = torch.stack(block(self.seed, torch.full_like(element, first), element // 4))
        drawn = _unit(words.gather(0, (element % 4)[None])[0])
        wanted = chances.double() if chances.dtype == torch.float64 else chances.float()
        return (drawn <= wanted).to(chances.dtype)

    def dropout_mask(self, p: float, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """torch.native_dropout's mask of a new contiguous tensor: as many in a row as 16 bytes hold."""
        size = 16 // dtype.itemsize
        while count % size:
            size //= 2
        keep = torch.tensor(1 - p, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
        if size == 1:
            return self.uniform(count) < keep
        threads = min((count + 255) // 256 * 256, self.threads_max)
        first = self.reserve(((count - 1) // (threads * 4) + 1) * 4)
        element = torch.arange(count)
        thread, turn = element // size % threads, element // (size * threads)
        draw = first + turn * max(1, size // 4) + element % size // 4
        words = torch.stack(block(self.seed, draw, thread))
        return _unit(words.gather(0, (element % size % 4)[None])[0]) < keep

    def normal(self, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """torch.randn, before it is rounded to the dtype, but for the last places of the GPU's sine."""
        words = self._words(count, 2 if dtype == torch.float64 else 4)
        is_second = words[4] % 2
        if dtype == torch.float64:
            unit = (words[0] ^ words[1] << 21).double() * 2.0**-53 + 2.0**-54
            turns = (words[2] ^ words[3] << 21).double() * 2.0**-53 + 2.0**-54
        else:
            pair = words[4:] // 2 * 2
            unit = _unit(words[:4].gather(0, pair)[0]).double()
            turns = _gpu_turns(words[:4].gather(0, pair + 1)[0], is_second)
        angle = turns * 2 * math.pi
        return (-2 * unit.log()).sqrt() * torch.where(is_second == 0, angle.sin(), angle.cos())

    def exponential(self, rate: float, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Tensor.exponential_, before it is rounded: no result is 0."""
        drawn = self.uniform(count, dtype)
        half_step = torch.finfo(drawn.dtype).eps / 2
        log = torch.where(drawn >= 1 - half_step, torch.full_like(drawn, -half_step), drawn.log())
        return -log.double() / rate

    def randperm(self, count: int) -> Tensor:
        """torch.randperm: a stable order of random keys, where equal ones are shuffled."""
        bits = math.ceil(math.log2(count - (6 * count**2 + 1) / (12 * math.log(0.9))))
        width = 32 if bits <= 32 else 64
        span = (1 << width) - 1
        keys = [
            ((int(drawn) % (1 << 64)) % span - (1 << width - 1)) % (1 << width)
            for drawn in self.bits64(count)
        ]
        if bits == width:
            keys = [key ^ 1 << width - 1 for key in keys]
        keys = [key % (1 << bits) for key in keys]
        order = sorted(range(count), key=keys.__getitem__)
        first = self.reserve(count)
        for begin, end in _islands([keys[place] for place in order]):
            numbers = self.numbers(begin, first)
            for last in range(end - begin - 1, 0, -1):
                other = next(numbers) % (last + 1)
                order[begin + last], order[begin + other] = (
                    order[begin + other],
                    order[begin + last],
                )
        return torch.tensor(order)

    def numbers(self, thread: int, first_draw: int) -> Iterator[int]:
        """What a thread draws, one after the other."""
        draw = first_draw
        while True:
            yield from (
                int(word) for word in block(self.seed, torch.tensor(draw), torch.tensor(thread))
            )
            draw += 1


def _unit(bits: Tensor) -> Tensor:
    """(0, 1]: the integer is rounded to a float's 24 bits before half a step is added."""
    return bits.float() * 2.0**-32 + 2.0**-33


def _gpu_turns(bits: Tensor, is_cosine: Tensor) -> Tensor:
    """The angle of which a GPU has the sine or the cosine, in turns.

    It cuts the angle's product off to a float, and that to 25 bits; in quarters where the function falls it counts
    backwards from the last step.
    """
    turn = torch.tensor(2 * math.pi).double()
    angle = ((bits.float().double() + 0.5) * (turn * 2.0**-32)).float().double()
    product = angle * torch.tensor(1 / (2 * math.pi)).double()
    cut_off = (product.view(torch.int64) & ~((1 << 29) - 1)).view(torch.float64)
    steps = (cut_off * 2.0**25).long()
    falls = (steps >> 23) + is_cosine & 1
    return (steps + falls).double() * 2.0**-25


def _islands(keys: list[int]) -> Iterator[tuple[int, int]]:
    begin = 0
    for end in range(1, len(keys) + 1):
        if end == len(keys) or keys[end] != keys[begin]:
            if end - begin > 1:
                yield begin, end
            begin = end


def card_of(description: dict[str, str]) -> str | None:
    """Which GPU's numbers an executor says that it draws."""
    kind, _, card = description.get("random_numbers", "").partition(", ")
    return card if kind == "philox" else None
