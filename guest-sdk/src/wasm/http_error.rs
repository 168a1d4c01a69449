//! Errors of `wasi:http` in words for people. None has a quote in it, so no log has to escape one.

use wasip2::http::types::{ErrorCode, http_error_code};
use wasip2::io::error::Error as StreamFailure;

/// Why a request failed.
pub(super) fn words(code: &ErrorCode) -> String {
    let words = match code {
        ErrorCode::DnsTimeout | ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => {
            "the name is not found"
        }
        ErrorCode::DestinationUnavailable | ErrorCode::DestinationIpUnroutable => {
            "it cannot be reached"
        }
        ErrorCode::DestinationIpProhibited => "its address is not public, and not granted",
        ErrorCode::ConnectionRefused => "the connection is refused",
        ErrorCode::ConnectionTerminated => "the connection was cut off",
        ErrorCode::ConnectionTimeout => "no connection in time",
        ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => "no answer in time",
        ErrorCode::ConnectionWriteTimeout => "the request was not read in time",
        ErrorCode::ConnectionLimitReached => "too many requests in one call",
        ErrorCode::TlsProtocolError => "TLS failed",
        ErrorCode::TlsCertificateError => "the certificate is not accepted",
        ErrorCode::TlsAlertReceived(alert) => {
            let alert = alert.alert_message.as_deref().unwrap_or("without a reason");
            return format!("the server refuses TLS ({alert})");
        }
        ErrorCode::HttpRequestDenied => "the origin is not granted",
        ErrorCode::HttpRequestBodySize(_)
        | ErrorCode::HttpRequestUriTooLong
        | ErrorCode::HttpRequestHeaderSectionSize(_)
        | ErrorCode::HttpRequestHeaderSize(_)
        | ErrorCode::HttpRequestTrailerSectionSize(_)
        | ErrorCode::HttpRequestTrailerSize(_) => "the request is too large",
        ErrorCode::HttpRequestLengthRequired
        | ErrorCode::HttpRequestMethodInvalid
        | ErrorCode::HttpRequestUriInvalid => "the request is not valid",
        ErrorCode::HttpResponseIncomplete => "the answer broke off",
        ErrorCode::HttpResponseHeaderSectionSize(_)
        | ErrorCode::HttpResponseHeaderSize(_)
        | ErrorCode::HttpResponseBodySize(_)
        | ErrorCode::HttpResponseTrailerSectionSize(_)
        | ErrorCode::HttpResponseTrailerSize(_) => "the answer is too large",
        ErrorCode::HttpResponseTransferCoding(_)
        | ErrorCode::HttpResponseContentCoding(_)
        | ErrorCode::HttpUpgradeFailed
        | ErrorCode::HttpProtocolError => "the answer is not HTTP that is understood",
        ErrorCode::LoopDetected => "the request goes in a circle",
        ErrorCode::ConfigurationError => "the host is not set up for it",
        ErrorCode::InternalError(why) => why.as_deref().unwrap_or("the host failed"),
    };

    words.to_owned()
}

/// Why the body of an answer broke off.
pub(super) fn words_of_stream(failure: &StreamFailure) -> String {
    if let Some(code) = http_error_code(failure) {
        return words(&code);
    }
    let text = failure.to_debug_string();
    format!(
        "the answer broke off ({})",
        text.lines().next().unwrap_or_default()
    )
}
