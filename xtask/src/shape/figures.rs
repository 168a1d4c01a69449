//! What is counted, and what is printed of it.

/// Lines from which a function is long.
pub(super) const LONG_FUNCTION_LINES: usize = 15;

/// The heads of [`Figures::cells`].
pub(super) const COLUMNS: [&str; 7] = [
    "functions",
    "tokens per line",
    "tokens per function, median",
    "90th percentile",
    "lines that are `//` comments",
    "long functions",
    "without a blank line",
];

/// The counts of one or several sources.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// Tokens; doc comments are none.
    pub(super) tokens: usize,
    /// Lines with at least a part of a token.
    pub(super) code_lines: usize,
    /// Lines that hold a `//` comment and nothing else. Doc comments are not counted.
    pub(super) comment_lines: usize,
    /// Lines of code, of comments or of doc comments.
    pub(super) written_lines: usize,
    /// The functions that have a body, in no order.
    pub(super) functions: Vec<Function>,
}

/// The counts of one function.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// Tokens of its body, the braces included: a signature is as long as its types ask for.
    pub(super) tokens: usize,
    /// Lines from its signature to the end of its body. Attributes and comments above it are not
    /// counted.
    pub(super) lines: usize,
    /// Whether one of these lines is blank.
    pub(super) has_blank_line: bool,
}

impl Figures {
    /// Adds what was counted elsewhere.
    pub(super) fn add(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.code_lines += other.code_lines;
        self.comment_lines += other.comment_lines;
        self.written_lines += other.written_lines;
        self.functions.extend(other.functions);
    }

    /// Returns what is printed, in the order of [`COLUMNS`]. A figure of nothing is `-`.
    pub(super) fn cells(&self) -> [String; 7] {
        let long = self
            .functions
            .iter()
            .filter(|function| function.lines >= LONG_FUNCTION_LINES);
        let unbroken = long
            .clone()
            .filter(|function| !function.has_blank_line)
            .count();
        let long = long.count();

        [
            self.functions.len().to_string(),
            ratio(self.tokens, self.code_lines).map_or_else(unknown, |ratio| format!("{ratio:.1}")),
            self.tokens_per_function(50)
                .map_or_else(unknown, |tokens| tokens.to_string()),
            self.tokens_per_function(90)
                .map_or_else(unknown, |tokens| tokens.to_string()),
            ratio(self.comment_lines, self.written_lines).map_or_else(unknown, percent),
            long.to_string(),
            ratio(unbroken, long).map_or_else(unknown, percent),
        ]
    }

    /// Returns the least number of tokens that at least `percent` per cent of the functions do not
    /// exceed.
    fn tokens_per_function(&self, percent: usize) -> Option<usize> {
        let mut tokens: Vec<usize> = self
            .functions
            .iter()
            .map(|function| function.tokens)
            .collect();
        tokens.sort_unstable();
        let rank = (tokens.len() * percent).div_ceil(100);
        tokens.get(rank.checked_sub(1)?).copied()
    }
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn percent(ratio: f64) -> String {
    format!("{:.1} %", 100.0 * ratio)
}

fn unknown() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(tokens: usize, lines: usize, has_blank_line: bool) -> Function {
        Function {
            tokens,
            lines,
            has_blank_line,
        }
    }

    #[test]
    fn percentiles_are_of_the_functions_of_all_sources() {
        let mut all = Figures::default();
        for tokens in [70, 10, 100, 30, 50, 90, 20, 60, 40, 80] {
            all.add(Figures {
                functions: vec![function(tokens, 1, false)],
                ..Figures::default()
            });
        }
        assert_eq!(
            (all.tokens_per_function(50), all.tokens_per_function(90)),
            (Some(50), Some(90))
        );
    }

    #[test]
    fn only_long_functions_need_a_blank_line() {
        let figures = Figures {
            tokens: 30,
            code_lines: 8,
            comment_lines: 1,
            written_lines: 10,
            functions: vec![
                function(5, 14, false),
                function(5, 15, false),
                function(5, 16, true),
            ],
        };
        assert_eq!(
            figures.cells(),
            ["3", "3.8", "5", "5", "10.0 %", "2", "50.0 %"]
        );
    }

    #[test]
    fn figures_of_nothing_are_unknown() {
        assert_eq!(
            Figures::default().cells(),
            ["0", "-", "-", "-", "-", "0", "-"]
        );
    }
}
