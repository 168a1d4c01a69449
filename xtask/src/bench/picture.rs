//! The run as pictures (SVG).

use super::load::Point;
use super::throughput::Row;
use anyhow::anyhow;
use plotters::prelude::*;
use std::path::Path;

const WIDE: (u32, u32) = (860, 40);
const BAR: u32 = 26;
const LABELS: i32 = 330;
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const OURS: RGBColor = RGBColor(0x1f, 0x6f, 0x8b);
const OTHERS: RGBColor = RGBColor(0xb0, 0xb8, 0xbf);

/// Draws a bar for each, by requests per second.
pub(super) fn bars(rows: &[Row], file: &Path) -> anyhow::Result<()> {
    let count = u32::try_from(rows.len())?;
    let area = SVGBackend::new(file, (WIDE.0, WIDE.1 + BAR * count)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
    let most = rows.iter().map(rate).fold(1.0, f64::max);
    let text = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let title = Text::new(
        "requests per second, 64 connections (and of a bare axum handler)",
        (8, 10),
        text(15),
    );
    area.draw(&title).map_err(|error| anyhow!("{error}"))?;

    for (row, top) in rows.iter().zip((34..).step_by(BAR as usize)) {
        let color = if row.name.starts_with("portcullis") {
            OURS
        } else {
            OTHERS
        };
        #[expect(clippy::cast_possible_truncation, reason = "pixels")]
        let end =
            LABELS + (rate(row) / most * f64::from(WIDE.0.cast_signed() - LABELS - 130)) as i32;
        let bar = Rectangle::new(
            [(LABELS, top), (end.max(LABELS + 1), top + 18)],
            color.filled(),
        );
        area.draw(&bar).map_err(|error| anyhow!("{error}"))?;
        let figure = format!("{:.0} ({:.2})", rate(row), row.of_bare);
        for (words, at) in [(row.name.clone(), 8), (figure, end + 8)] {
            area.draw(&Text::new(words, (at, top + 3), text(14)))
                .map_err(|error| anyhow!("{error}"))?;
        }
    }

    area.present().map_err(|error| anyhow!("{error}"))
}

fn rate(row: &Row) -> f64 {
    row.median(|outcome| outcome.requests_per_second)
}

/// Draws three small charts beside each other: requests per second, p99, memory.
pub(super) fn lines(points: &[Point], unit: &str, file: &Path) -> anyhow::Result<()> {
    let area = SVGBackend::new(file, (960, 260)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
    type Figure = fn(&Point) -> f64;
    let charts: [(&str, Figure); 3] = [
        ("requests per second", |point| point.requests_per_second),
        ("p99, ms", |point| point.p99_ms),
        ("memory, MiB", |point| point.memory_mib),
    ];

    for ((title, figure), part) in charts.into_iter().zip(area.split_evenly((1, 3))) {
        let last = points.iter().map(|point| point.at).fold(1.0, f64::max);
        let most = points.iter().map(figure).fold(0.0, f64::max) * 1.1;
        let mut chart = ChartBuilder::on(&part)
            .caption(title, ("sans-serif", 15))
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(62)
            .build_cartesian_2d(0.0..last, 0.0..most.max(1e-3))
            .map_err(|error| anyhow!("{error}"))?;
        chart
            .configure_mesh()
            .x_desc(unit)
            .x_labels(5)
            .y_labels(6)
            .draw()
            .map_err(|error| anyhow!("{error}"))?;
        let line = points.iter().map(|point| (point.at, figure(point)));
        chart
            .draw_series(LineSeries::new(line.clone(), &OURS))
            .map_err(|error| anyhow!("{error}"))?;
        if points.len() < 20 {
            let dots = line.map(|at| Circle::new(at, 3, OURS.filled()));
            chart
                .draw_series(dots)
                .map_err(|error| anyhow!("{error}"))?;
        }
    }

    area.present().map_err(|error| anyhow!("{error}"))
}
