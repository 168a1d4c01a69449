//! Actions of the live page. Its script sends JSON; without scripts the page sends a form.

use super::apps::mount_of;
use super::body::BoundedBody;
use super::context::Context;
use super::{fields, respond};
use axum::body::Bytes;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde_json::{Map, Value};

/// Answers an action by `control`, which takes JSON: the body, or what `convert` makes of a form. A
/// form that succeeds sends the browser back to the page.
pub(super) async fn answer<F: Future<Output = Response>>(
    context: Context,
    (uri, headers, body): (Uri, HeaderMap, Bytes),
    convert: impl FnOnce(Map<String, Value>) -> Result<Value, String>,
    control: impl FnOnce(Context, BoundedBody) -> F,
) -> Response {
    let (is_form, body) = match fields::of_page(&headers, body, convert) {
        Ok(read) => read,
        Err(mistake) => return respond::bad_request(&mistake),
    };
    let home = context.site.path(&format!("{}/", mount_of(uri.path())));
    let answer = control(context, BoundedBody(body)).await;

    if is_form {
        respond::back_to(home, answer)
    } else {
        answer
    }
}
