use http::HeaderMap;
use http::header::ACCEPT;

/// Returns the quality under which `Accept` names a media type (RFC 9110, section 12.5.1): from 0
/// to 1, and 0 if it does not. Ranges such as `*/*` name no type.
pub fn accept_quality(headers: &HeaderMap, media_type: &str) -> f32 {
    let mut highest = 0.0_f32;
    for value in headers.get_all(ACCEPT) {
        for range in String::from_utf8_lossy(value.as_bytes()).split(',') {
            let mut parts = range.split(';').map(str::trim);
            let is_named = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case(media_type));
            if is_named {
                highest = highest.max(quality_of(parts));
            }
        }
    }

    highest
}

/// A weight that is no number from 0 to 1 counts as 0.
fn quality_of<'a>(mut parameters: impl Iterator<Item = &'a str>) -> f32 {
    let weight =
        parameters.find_map(|one| one.strip_prefix("q=").or_else(|| one.strip_prefix("Q=")));
    weight.map_or(1.0, |weight| {
        let weight = weight.trim().parse().ok();
        weight
            .filter(|weight| (0.0..=1.0).contains(weight))
            .unwrap_or(0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn type_is_accepted_by_its_name_in_any_case_unless_its_weight_is_zero() {
        let of = |accept: &[&'static str]| {
            let values = accept.iter().map(|value| HeaderValue::from_static(value));
            let headers: HeaderMap = values.map(|value| (ACCEPT, value)).collect();
            accept_quality(&headers, "text/html")
        };
        for (accept, expected) in [
            (&["text/html"][..], 1.0),
            (&["Text/HTML;level=1;Q=0.5"], 0.5),
            (&["*/*", "text/plain, text/html ; q=0.25"], 0.25),
            (&["text/html;q=0.1, text/html;q=0.9"], 0.9),
            (&[], 0.0),
            (&["*/*", "text/*"], 0.0),
            (&["text/html;q=0"], 0.0),
            (&["text/html;q=x"], 0.0),
            (&["text/html;q=7"], 0.0),
            (&["text/html;q=NaN"], 0.0),
            (&["text/htmlx", "xtext/html"], 0.0),
        ] {
            assert!((of(accept) - expected).abs() < f32::EPSILON, "{accept:?}");
        }
    }
}
