/// The widest a column gets, in characters: a formatter panics beyond 65,535, and no terminal shows
/// as much.
const MAX_WIDTH: usize = 1_000;

/// Columns side by side, each as wide as its widest cell, up to [`MAX_WIDTH`].
pub(super) fn render(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or_default().min(MAX_WIDTH))
        .collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };

    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
