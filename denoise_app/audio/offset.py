"""The constant offset of a recording, which sound cards and bad cables add: found, and taken away block by block."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import maximum_filter1d
from scipy.signal import detrend

from denoise_app.audio.clip import Samples

Floats = npt.NDArray[np.float64]

CELL_SECONDS = 0.05  # what means are taken of first: speech at 80 Hz goes through four periods in it
REACH = 20  # cells on each side that a mean is taken over: 1 s, in which speech and hum come to nothing
SPACING = 10  # cells between two values of the offset
STEP_REACH = 4  # cells on each side of a step: 0.2 s
LEAST_STEP = 0.01  # of full scale; a smaller one is followed within a second
STEP_IN_SIGMAS = 0.25  # of what remains of the sound without its offset
OFFSET_IN_SIGMAS = 0.05  # softer by 26 dB than the sound itself an offset does nothing, and is no offset
SWAY = 2  # standard deviations of the cells' means: those of rumble and pink noise sway, an offset stands or drifts
CHANCE = 6  # standard errors that the mean of white noise stays below
JUMP_SECONDS = 0.01  # around the most likely place of a step, where a jump of its height is looked for


@dataclass(frozen=True, eq=False)
class Offset:
    """An offset along a sound: linear between its values, and constant beyond them.

    Attributes:
        positions: Of each channel, the samples where the values lie, rising. A step lies between two neighbours.
        values: Of each channel, amplitudes.
    """

    positions: tuple[npt.NDArray[np.int64], ...]
    values: tuple[Floats, ...]

    def at(self, start: int, frames: int) -> Samples:
        """The offset of samples `start` and on, (channels, frames)."""
        found = np.zeros((len(self.values), frames), np.float32)
        for row, positions, values in zip(found, self.positions, self.values, strict=True):
            first, last = np.searchsorted(positions, (start, start + frames))
            near = slice(max(first - 1, 0), last + 1)
            if values[near].any():
                row[:] = np.interp(np.arange(start, start + frames), positions[near], values[near])
        return found

    def later(self, frames: int) -> Offset:
        """The same offset of the sound from sample `frames` on."""
        return Offset(tuple(positions - frames for positions in self.positions), self.values)


class OffsetRemover:
    """Takes the offset from a sound that comes in blocks; the samples do not depend on how it is cut into blocks.

    The offset is the mean over a second on each side, which shifts no phase, and never over a step such as the seam of
    two recordings. It is taken away where it stands out of the sound itself; where it does not, and in sound shorter
    than 50 ms, the samples pass unchanged, bit by bit. What comes out is late by some seconds until `finish`.

    Args:
        channels: Count.
        sample_rate: Hz.
    """

    def __init__(self, channels: int, sample_rate: int) -> None:
        self._cell = max(1, round(CELL_SECONDS * sample_rate))
        self._jump = max(1, round(JUMP_SECONDS * sample_rate))
        self._waiting = np.zeros((channels, 0), np.float32)  # heard, and not given yet
        self._given = 0
        self._cells = np.zeros((2, channels, 0))  # mean and mean square of each cell, from cell `_dropped` on
        self._dropped = 0
        self._searched = STEP_REACH  # the next cell that may hold a step
        self._steps: list[list[int]] = [[] for _ in range(channels)]  # samples
        self._marks: list[list[tuple[int, float]]] = [[] for _ in range(channels)]  # position and value
        self._next_mark = 0  # cell

    def push(self, block: Samples) -> Samples:
        """(channels, n) float32, n >= 0 -> the samples (channels, m) without offset that are ready, m >= 0."""
        self._waiting = np.concatenate([self._waiting, block], axis=1)
        self._count()
        self._find_steps(self._end - 2 * STEP_REACH)
        while self._next_mark + REACH < self._searched:  # the last step may turn out to lie in the cell before
            self._mark(self._next_mark)
        ready = self._give(min((marks[-1][0] for marks in self._marks if marks), default=0))
        self._forget()
        return ready

    def finish(self) -> Samples:
        """The samples (channels, m) that are left; nothing may be pushed after it."""
        self._find_steps(self._end - STEP_REACH)
        while self._next_mark < self._end:
            self._mark(self._next_mark)
        self._mark_steps(self._end)
        return self._give(self._given + self._waiting.shape[1])

    def offset(self) -> Offset:
        """What was found up to the samples that were given."""
        return _offset(self._marks)

    @property
    def _end(self) -> int:
        """Cells that are complete."""
        return self._dropped + self._cells.shape[2]

    def _count(self) -> None:
        """Adds the cells that have become complete."""
        fresh = self._waiting[:, self._end * self._cell - self._given :]
        count = fresh.shape[1] // self._cell
        if not count:
            return
        cells = fresh[:, : count * self._cell].reshape(len(fresh), count, self._cell).astype(np.float64)
        both = np.stack([cells.mean(axis=2), np.square(cells).mean(axis=2)])
        self._cells = np.concatenate([self._cells, both], axis=2)

    def _find_steps(self, end: int) -> None:
        """Looks for steps in the cells before `end`: where the means on both sides differ by more than nearby."""
        if end <= self._searched:
            return
        first = max(STEP_REACH, self._searched - STEP_REACH)  # neighbours are looked at too
        last = min(self._end - STEP_REACH, end + STEP_REACH)
        near = self._cells[:, :, first - STEP_REACH - self._dropped : last + STEP_REACH - self._dropped]
        means = sliding_window_view(near, STEP_REACH, axis=2).mean(axis=3)  # of cells i to i + STEP_REACH - 1
        before, after = means[:, :, : last - first], means[:, :, STEP_REACH + 1 :]  # of the cell between them
        heights = after[0] - before[0]  # (C, cells)
        variance = (before[1] - before[0] ** 2 + after[1] - after[0] ** 2).clip(0) / 2
        sizes = np.abs(heights)
        highest = maximum_filter1d(sizes, 2 * STEP_REACH + 1, axis=1, mode="constant")
        around = np.pad(sizes, ((0, 0), (STEP_REACH, STEP_REACH)))
        around = np.maximum(around[:, : -2 * STEP_REACH], around[:, 2 * STEP_REACH :])  # as large along a slope
        least = np.maximum(LEAST_STEP, STEP_IN_SIGMAS * np.sqrt(variance))
        is_step = (sizes >= highest) & (sizes >= 2 * around) & (sizes >= least)
        for row, index in np.argwhere(is_step[:, : end - first]):
            if first + index >= self._searched:
                self._add_step(int(row), int(first + index), float(heights[row, index]))
        self._searched = end

    def _add_step(self, row: int, cell: int, height: float) -> None:
        """Places a step to the sample: by least squares, then at the jump nearby that is most like it, as a seam is."""
        begin = (cell - 1) * self._cell
        samples = self._waiting[row, begin - self._given :][: 3 * self._cell].astype(np.float64)
        below, above = self._mean(row, cell - STEP_REACH, cell), self._mean(row, cell + 1, cell + 1 + STEP_REACH)
        rising = (samples - (below + above) / 2) * np.sign(height)
        likely = int(np.argmin(np.cumsum(rising))) + 1
        slopes = np.diff(rising, prepend=0, append=0)  # slope i leads to sample i
        jumps = slopes[1:-1] - (slopes[:-2] + slopes[2:]) / 2  # what the slopes around do not explain
        first = max(1, likely - self._jump)
        step = begin + first + int(np.argmin(np.abs(jumps[first - 1 : likely + self._jump] - abs(height))))
        if not self._steps[row] or step - self._steps[row][-1] > self._cell:  # two cells may be equally high
            self._steps[row].append(step)

    def _mark(self, cell: int) -> None:
        """Notes the offset where a cell begins, after that at the steps before it."""
        self._mark_steps(cell)
        for row, marks in enumerate(self._marks):
            if all(step // self._cell != cell for step in self._steps[row]):
                marks.append((cell * self._cell, self._offset_around(row, cell)))
        self._next_mark += SPACING

    def _mark_steps(self, end: int) -> None:
        """Notes the offset before and after each step in the cells before `end`."""
        for row, marks in enumerate(self._marks):
            for step in self._steps[row]:
                cell = step // self._cell
                if cell < end and (not marks or marks[-1][0] < step):
                    marks.append((step - 1, self._offset_around(row, cell)))
                    marks.append((step, self._offset_around(row, cell + 1)))

    def _offset_around(self, row: int, cell: int) -> float:
        """The offset of a channel where a cell begins, by the cells within reach and between the steps around it."""
        steps = [step // self._cell for step in self._steps[row]]
        first = max([self._dropped, cell - REACH, *(step + 1 for step in steps if step < cell)])
        last = min([self._end, cell + REACH, *(step for step in steps if step >= cell)])
        if first >= last:
            return 0.0
        means, squares = self._cells[:, row, first - self._dropped : last - self._dropped]
        mean = float(means.mean())
        sigma = math.sqrt(max(0.0, float(squares.mean()) - mean * mean))
        by_chance = CHANCE * sigma / math.sqrt((last - first) * self._cell)
        least = max(OFFSET_IN_SIGMAS * sigma, SWAY * float(detrend(means).std()), by_chance)
        opening = 2 * (abs(mean) - least) / least if least else math.inf  # a gate that does not flutter
        return mean * min(max(opening, 0.0), 1.0) if mean else 0.0

    def _mean(self, row: int, first: int, last: int) -> float:
        """The mean of a channel over cells."""
        return float(self._cells[0, row, first - self._dropped : last - self._dropped].mean())

    def _give(self, end: int) -> Samples:
        """The samples up to `end`, without offset."""
        count = max(0, end - self._given)
        ready, self._waiting = self._waiting[:, :count], self._waiting[:, count:].copy()
        marks = [row[max(0, bisect_left(row, (self._given,)) - 1) :] for row in self._marks]
        offset = _offset(marks).at(self._given, count)
        self._given += count
        return ready - offset

    def _forget(self) -> None:
        """Drops cells that no mean will be taken of any more."""
        useless = min(self._next_mark - SPACING - REACH, self._searched - 2 * STEP_REACH) - self._dropped
        if useless > 0:
            self._cells = self._cells[:, :, useless:].copy()
            self._dropped += useless
            self._steps = [[step for step in row if step // self._cell >= self._dropped] for row in self._steps]


def _offset(marks: list[list[tuple[int, float]]]) -> Offset:
    """Positions and values of each channel as arrays; no offset where there are none."""
    rows = [np.array(row or [(0, 0.0)]).T for row in marks]
    return Offset(tuple(row[0].astype(np.int64) for row in rows), tuple(row[1] for row in rows))
