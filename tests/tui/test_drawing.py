"""What the panes draw, from columns to lines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style

from analyzer.checks.wording import duration
from analyzer.migration.settings import Settings
from analyzer.tui.area_chart import sparkline, stacked_chart
from analyzer.tui.arrival_plot import arrival_plot, braille_plot
from analyzer.tui.binning import Bins, spread
from analyzer.tui.columns import Column, cell_text, fit
from analyzer.tui.document import Document
from analyzer.tui.hex_lines import bytes_per_line, hex_line
from analyzer.tui.palette import DEFAULT, palette_of
from analyzer.tui.quantities import clock_time
from analyzer.tui.reassembly import MapLayout, Reassembly, map_line
from analyzer.tui.time_axis import TimeWindow, axis_line
from analyzer.tui.time_panes import lane_thickness
from tests.shipped import capture


def text(segments: list) -> str:  # type: ignore[type-arg]
    return "".join(segment.text for segment in segments)


def drawn(state: Reassembly, width: int, height: int, cursor: int = -1) -> list[str]:
    layout = MapLayout(state.total, width, height)
    return [text(map_line(state, layout, line, cursor, DEFAULT)) for line in range(layout.lines)]


# -- reassembly map ---------------------------------------------------------------------------


def test_three_indexes_have_numbers() -> None:
    state = Reassembly([(0, False), (2, True), (1, False)])
    assert drawn(state, 40, 3) == ["   0■    1▲    2C "]
    assert state.counts() == {0: 1, 1: 1, 2: 1, 3: 0, 4: 0, 5: 0}


def test_missing_and_duplicate() -> None:
    state = Reassembly([(0, False), (0, False), (3, True)])
    assert drawn(state, 40, 1) == ["   02    1✗    2✗    3C "]
    assert state.counts()[4] == 2


@pytest.mark.parametrize("total", [1, 3, 40, 799, 5000, 100_000])
@pytest.mark.parametrize(("width", "height"), [(20, 3), (76, 6), (230, 40)])
def test_map_fits_and_shows_a_hole_at_any_scale(total: int, width: int, height: int) -> None:
    arrived = list(range(total))
    hole = total // 2
    if total > 2:
        arrived.remove(hole)
    flags = [index == total - 1 for index in arrived]
    lines = drawn(Reassembly(list(zip(arrived, flags, strict=True))), width, height)
    assert len(lines) <= height
    assert all(len(line.rstrip()) <= width for line in lines)
    assert "".join(lines).count("✗") == (total > 2)


def test_cells_of_one_state_are_drawn_as_one_piece() -> None:
    state = Reassembly([(index, False) for index in range(100_000)])
    layout = MapLayout(state.total, 130, 15)
    assert [len(map_line(state, layout, line, 0, DEFAULT)) for line in range(2)] == [2, 1]


def test_a_hostile_index_costs_nothing() -> None:
    state = Reassembly([(0, False), (0xFFFFFFFE, False), (5, False)])
    assert state.total == 0xFFFFFFFF
    lines = drawn(state, 70, 5)
    assert len(lines) == 5
    assert state.counts()[4] == 0xFFFFFFFC


def test_nothing_arrived() -> None:
    state = Reassembly([])
    assert (state.total, drawn(state, 10, 2)) == (0, [])


# -- plots and charts -------------------------------------------------------------------------


def test_arrival_in_order_is_a_rising_line() -> None:
    assert braille_plot(list(range(8)), 4, 2) == ["⠀⠀⡠⠊", "⡠⠊⠀⠀"]
    assert braille_plot([], 3, 1) == ["⠀⠀⠀"]
    assert braille_plot([5], 2, 1)[0] != "⠀⠀"


def test_stacks_fill_from_the_bottom() -> None:
    ram, device = Style(color="blue"), Style(color="green")
    lines = stacked_chart([([8.0, 0.0, 4.0], ram), ([8.0, 16.0, 0.0], device)], 2, 16.0)
    assert [text(line) for line in lines] == ["██ ", "██▄"]
    assert lines[1][0].style == ram
    assert lines[0][0].style == device


def test_the_smallest_value_still_shows() -> None:
    lines = stacked_chart([([0.001, 0.0], Style())], 1, 100.0)
    assert text(lines[0]) == "▁ "
    assert text(sparkline([0.0, 1.0, 100.0], 100.0, Style())) == " ▁█"


def test_spread_keeps_the_sum() -> None:
    start, end = np.array([0, 5, 90]), np.array([0, 25, 99])
    found = spread(start, end, np.array([1.0, 30.0, 7.0]), (0, 100), 10)
    assert found.sum() == pytest.approx(38.0)
    assert found[:4].tolist() == pytest.approx([8.5, 15.0, 7.5, 0.0])
    assert found[9] == pytest.approx(7.0)


def test_packets_that_follow_each_other_make_no_peaks() -> None:
    """Where one ends and the next begins has a share of both, not as much as each of them."""
    start = np.arange(0, 1000, 25)
    found = spread(start, start + 25, np.full(40, 50.0), (0, 1000), 100)
    assert found.tolist() == pytest.approx([20.0] * 100)


@given(
    st.lists(
        st.tuples(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 1 << 32)),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 400),
)
def test_all_bins_together_are_all_bytes(packets: list[tuple[int, int, int]], columns: int) -> None:
    start = np.array([min(a, b) for a, b, _ in packets])
    end = np.array([max(a, b) for a, b, _ in packets])
    sizes = np.array([size for _, _, size in packets])
    window = int(start.min()), max(int(end.max()), int(start.min()) + 1)
    found = spread(start, end, sizes, window, columns)
    assert found.min() >= 0
    assert round(float(found.sum())) == sizes.sum()


@pytest.mark.parametrize(
    "name", ["10.0.13-vfio-truncated-no-returnpath-2ch", "10.0.13-vfio-3dev-4ch"]
)
def test_bins_hold_all_bytes_of_a_capture(name: str) -> None:
    document = Document(str(capture(name)), Settings())
    document.load(lambda: False)
    (migration,) = document.migrations()
    channels = migration.multifd
    window = TimeWindow(document.start, document.end)
    bins = Bins(window, 108, [channel.stream for channel in channels])
    bins.fill(document.table, migration.number)
    syncs = sum(channel.sync_packets * 1344 for channel in channels)
    assert round(bins.ram.sum()) == sum(channel.ram_bytes for channel in channels) - syncs
    assert round(bins.device.sum()) == sum(channel.device_bytes for channel in channels)
    assert round(bins.lane_sync.sum()) == sum(channel.sync_packets for channel in channels)
    lanes = bins.lane_ram.sum() + bins.lane_zero.sum()
    assert round(lanes) == round(bins.ram.sum())
    for lane, channel in enumerate(channels):
        assert round(bins.lane_device[lane].sum()) == channel.device_bytes
    whole = Bins(TimeWindow(0, 2 * document.end), 2, []).fill(document.table, migration.number)
    assert round(whole.device.sum()) == round(bins.device.sum())


def test_spread_of_times_that_are_years_apart() -> None:
    year = 365 * 86_400 * 10**9
    start, end = np.array([0, -100 * year, 50 * year]), np.array([0, 100 * year, 50 * year + 10])
    found = spread(start, end, np.array([1.0, 200.0, 7.0]), (0, 100 * year), 1000)
    assert found[0] == pytest.approx(1.1, abs=1e-3)
    assert found[500] == pytest.approx(7.1, abs=1e-3)
    assert found.sum() == pytest.approx(108, abs=0.2)
    near = spread(start, end, np.array([1.0, 200.0, 7.0]), (0, 100), 10)
    assert near.sum() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("years", [0, 1, 100])
def test_bins_of_the_same_window_stay_as_they_are(years: int) -> None:
    end = 10**9 + years * 365 * 86_400 * 10**9
    window = TimeWindow(0, end)
    bins = Bins(window, 200, [])
    bins.ram = np.arange(200.0)
    assert bins.resampled(window).ram == pytest.approx(bins.ram)


# -- time -------------------------------------------------------------------------------------


def test_windows_zoom_around_a_point_and_stay_inside() -> None:
    whole = TimeWindow(1000, 1_001_000)
    closer = whole.zoomed(True, 251_000)
    assert (closer.start, closer.span) == (126_000, 500_000)
    assert closer.zoomed(False, 251_000).whole
    assert closer.moved(-9).start == whole.first
    assert closer.moved(9).end == whole.last
    assert closer.column(251_000, 100) == whole.column(251_000, 100)


def test_axis_has_ticks() -> None:
    line = text(axis_line(TimeWindow(0, 1_000_000_000), 60, DEFAULT))
    assert line.startswith("╵0")
    assert "╵500.0 ms" in line


def test_times_beyond_reason() -> None:
    assert clock_time(1 << 62).count(":") in (0, 2)
    assert duration(-1500.0) == "-1.5 µs"


def test_minutes_have_sixty_seconds() -> None:
    assert duration(119_700_000_000) == "2 min 0 s"
    assert duration(-100_400_000_000) == "-1 min 40 s"


def test_few_buffers_are_plotted_as_glyphs() -> None:
    assert arrival_plot([0, 2, 1], 9, 3) == ["    ■    ", "        ▲", "■        "]
    assert arrival_plot([0], 9, 2) == [" " * 9, "■        "]


@given(st.lists(st.integers(0, 1 << 40), max_size=60), st.integers(0, 40), st.integers(0, 20))
def test_plots_fill_their_pane(order: list[int], width: int, height: int) -> None:
    lines = arrival_plot(order, width, height)
    assert [len(line) for line in lines] == [width] * height


def test_lanes_are_as_thick_as_there_is_room() -> None:
    assert [lane_thickness(5, room) for room in (0, 5, 9, 10, 15, 90)] == [1, 1, 1, 2, 3, 3]


# -- lists and bytes --------------------------------------------------------------------------


def test_columns_go_when_there_is_no_room() -> None:
    columns = (Column("a", 5), Column("b", 5, optional=1), Column("c", 5, grow=1, optional=2))
    assert fit(columns, 20) == [(0, 5), (1, 5), (2, 8)]
    assert fit(columns, 12) == [(0, 5), (1, 5)]
    assert fit(columns, 6) == [(0, 5)]
    assert fit(columns, 1) == [(0, 5)]


def test_a_column_that_does_not_fit_leaves_its_room_to_others() -> None:
    columns = (Column("a", 5), Column("b", 9, optional=1), Column("c", 3, optional=2))
    assert fit(columns, 12) == [(0, 5), (2, 3)]


def test_what_a_full_column_does_not_take_goes_to_others() -> None:
    columns = (Column("a", 5, grow=3, most=8), Column("b", 5, grow=1), Column("c", 5, grow=1))
    assert fit(columns, 22) == [(0, 8), (1, 6), (2, 6)]
    assert fit(columns, 57) == [(0, 8), (1, 23), (2, 24)]


@given(
    st.lists(
        st.builds(
            Column,
            st.just("x"),
            st.integers(1, 9),
            grow=st.integers(0, 3),
            most=st.sampled_from((0, 9, 12)),
            optional=st.integers(0, 3),
        ),
        max_size=8,
    ),
    st.integers(0, 90),
)
def test_columns_fill_the_room_and_no_more(columns: list[Column], width: int) -> None:
    found = fit(columns, width)
    used = sum(size + 1 for _, size in found) - 1
    assert all(columns[at].width <= size <= (columns[at].most or size) for at, size in found)
    assert [at for at, _ in found] == sorted({at for at, _ in found})
    if any(columns[at].optional for at, _ in found):
        assert used <= width
    if any(columns[at].grow and not columns[at].most for at, _ in found):
        assert used >= width - (len(found) < len(columns))


def test_cells_are_exactly_as_wide() -> None:
    from rich.cells import cell_len

    for content in ("", "short", "much too long for it", "日本語のとても長い", "é" * 9):
        for right in (False, True):
            assert cell_len(cell_text(content, 8, right)) == 8


def test_hex_line_marks_field_and_byte() -> None:
    data = bytes(range(0x30, 0x50))
    segments = hex_line(data, 16, 16, (18, 4), 19, DEFAULT, missing=((20, 20),))
    line = text(segments)
    assert line.startswith("00000010  40 41 42 43 -- 45 46 47  48 ")
    assert line.endswith("@ABC?EFGHIJKLMNO")
    marked = [s.text for s in segments if s.style == DEFAULT.byte]
    assert marked == ["43", "C"]
    assert [bytes_per_line(width) for width in (30, 50, 79, 160)] == [4, 8, 16, 32]


def test_palettes_of_sixteen_colours() -> None:
    palette = palette_of({"background": "ansi_default"}, dark=True, ansi=True)
    assert palette.error.color is not None
    assert palette.error.color.name in ("red", "color(1)")
    assert palette.cursor.reverse
