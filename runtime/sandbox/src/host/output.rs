//! What a guest prints and logs, and what the host has to say of its call: kept within bounds, and
//! logged as one escaped field.

use crate::call::record::CallRecord;
use crate::guest_text::without;
use std::sync::{Mutex, PoisonError};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Kept of one call's stdout and stderr together. What is beyond is thrown away, not refused: a
/// provider that talks too much is no worse a provider.
const MAX_OUTPUT_BYTES: usize = 4 * 1024;

/// What one call printed.
#[derive(Default)]
pub(crate) struct GuestOutput(Mutex<Vec<u8>>);

impl GuestOutput {
    /// The text so far without the credential; `None` when nothing was printed. The log escapes it,
    /// once.
    pub(crate) fn text_without(&self, credential: &str) -> Option<String> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&bytes);
        let is_cut = bytes.len() == MAX_OUTPUT_BYTES;
        let text = if is_cut {
            without_beginning_of(credential, &text)
        } else {
            &text
        };
        let text = without(credential, text.trim_end());
        (!text.is_empty()).then_some(text)
    }

    fn print(&self, bytes: &[u8]) {
        keep(
            &mut self.0.lock().unwrap_or_else(PoisonError::into_inner),
            bytes,
        );
    }

    /// Adds a line of its own.
    pub(crate) fn note(&self, line: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.is_empty() && !kept.ends_with(b"\n") {
            keep(&mut kept, b"\n");
        }
        keep(&mut kept, line.as_bytes());
        keep(&mut kept, b"\n");
    }
}

/// The text, up to where it ends with a part of the credential: the rest may have been cut off.
fn without_beginning_of<'a>(credential: &str, text: &'a str) -> &'a str {
    let beginnings = credential
        .char_indices()
        .map(|(end, _)| &credential[..end])
        .skip(1);
    let longest = beginnings
        .filter(|beginning| text.ends_with(beginning))
        .last();
    longest.map_or(text, |beginning| &text[..text.len() - beginning.len()])
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = MAX_OUTPUT_BYTES.saturating_sub(kept.len()).min(bytes.len());
    kept.extend_from_slice(&bytes[..room]);
}

/// A guest's stdout and stderr.
#[derive(Clone)]
pub(crate) struct Printer(pub(crate) CallRecord);

impl IsTerminal for Printer {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printer {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only preview 3 asks for this, and the host does not link preview 3.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Printer {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.0.output().print(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_OUTPUT_BYTES)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Printer {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_is_cut_out_whole_escaped_or_cut_off() {
        let password = "canary\"pass\\word-8642é";
        let output = GuestOutput::default();
        output.print(format!("got {password}\n").as_bytes());
        assert_eq!(output.text_without(password).unwrap(), "got [credential]");

        let output = GuestOutput::default();
        let filler = "x".repeat(MAX_OUTPUT_BYTES - 10);
        output.print(format!("{filler}{password}").as_bytes());
        assert_eq!(output.text_without(password).unwrap(), filler);
    }
}
