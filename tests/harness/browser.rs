use super::{Reply, request};
use std::collections::BTreeMap;

/// Keeps cookies from answer to answer, as a browser does.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    /// By name.
    pub cookies: BTreeMap<String, String>,
}

impl Browser {
    /// `GET`.
    pub fn get(&mut self, url: &str) -> Reply {
        self.request("GET", url, &[], "")
    }

    /// `POST` with JSON.
    pub fn post(&mut self, url: &str, body: &str) -> Reply {
        self.request("POST", url, &[("content-type", "application/json")], body)
    }

    /// `POST` of a form.
    pub fn form(&mut self, url: &str, body: &str) -> Reply {
        self.request(
            "POST",
            url,
            &[("content-type", "application/x-www-form-urlencoded")],
            body,
        )
    }

    /// Any request.
    pub fn request(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let line: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let line = line.join("; ");
        let cookies = Some(("cookie", line.as_str())).filter(|(_, line)| !line.is_empty());
        let headers: Vec<_> = headers.iter().copied().chain(cookies).collect();
        let reply = request(method, url, &headers, body);
        for cookie in reply.set_cookies() {
            let (name, rest) = cookie.split_once('=').unwrap_or((cookie, ""));
            let value = rest.split(';').next().unwrap_or_default();
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        reply
    }
}

impl Reply {
    /// Every `Set-Cookie`.
    pub fn set_cookies(&self) -> Vec<&str> {
        let cookies = self.headers.iter().filter(|(name, _)| name == "set-cookie");
        cookies.map(|(_, value)| value.as_str()).collect()
    }
}
