//! What works at each identity provider that `docs/people` has a page for. The real binary signs in
//! with the very YAML of the page, at an issuer that does what the provider's documentation says.
//! `docs/people/matrix.md` is made of what was seen.

mod issuer;
pub(crate) mod keys;
mod presets;
pub(crate) mod server;

use issuer::{Issuer, SECRET};
use portcullis_tests::{Browser, Home, Process, Reply, SOON, eventually, get};
use presets::{PRESETS, Preset, Refresh};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The `public_url` of the pages.
const PUBLIC_URL: &str = "https://agent.example.com";

/// What the issuer has no part in.
const NOT_THERE: &str = "-";

/// What was seen to work at one issuer.
struct Row {
    preset: &'static Preset,
    sign_in: &'static str,
    claims: &'static str,
    groups: &'static str,
    refresh: &'static str,
    sign_out: &'static str,
    back_channel: &'static str,
}

/// A dashboard with the YAML of a page, and the issuer of it.
struct Trial {
    preset: &'static Preset,
    issuer: Arc<Issuer>,
    /// What the page calls the provider.
    provider: String,
    home: Home,
    dashboard: Process,
}

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/people")
        .join(name)
}

/// The block of a page that configures the dashboard.
fn yaml_of(page: &str) -> String {
    let text = fs::read_to_string(docs(&format!("{page}.md"))).expect("every preset has its page");
    let mut blocks = text
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    blocks
        .find(|block| block.starts_with("dashboard:"))
        .expect("the page configures the dashboard")
        .to_owned()
}

fn yes_or_no(is_seen: bool) -> &'static str {
    if is_seen { "yes" } else { "no" }
}

impl Trial {
    fn start(preset: &'static Preset) -> Self {
        let issuer = Issuer::start(preset);
        // The clocks are the same here, and a session is to end soon.
        let yaml = yaml_of(preset.page).replace(
            "      config:\n",
            "      config:\n        leeway_seconds: 0\n",
        );
        let name = yaml
            .lines()
            .find_map(|line| line.trim().strip_prefix("- name: "));
        let provider = name.expect("the provider has a name").to_owned();
        let home = Home::with_config(&issuer.local(&yaml));
        let dashboard = home.dashboard_with(&["--port", "0"], &[("OIDC_SECRET", SECRET)]);
        Self {
            preset,
            issuer,
            provider,
            home,
            dashboard,
        }
    }

    /// Goes to the issuer and comes back.
    fn sign_in(&self, browser: &mut Browser) -> bool {
        let begin = format!("/auth/login?provider={}&next=/", self.provider);
        let begun = browser.get(&self.dashboard.url(&begin));
        let Some(there) = begun.header("location").filter(|to| to.starts_with("http")) else {
            return false;
        };
        let answer = get(there, &[]);
        let back = answer
            .header("location")
            .and_then(|to| to.strip_prefix(PUBLIC_URL));
        let Some(back) = back else { return false };
        let done = browser.get(&self.dashboard.url(back));
        done.header("location") == Some("/") && self.me(browser).status == 200
    }

    fn me(&self, browser: &mut Browser) -> Reply {
        browser.get(&self.dashboard.url("/api/auth/me"))
    }

    fn row(&self) -> Row {
        let mut browser = Browser::default();
        let is_signed_in = self.sign_in(&mut browser);
        let mut row = Row {
            preset: self.preset,
            sign_in: yes_or_no(is_signed_in),
            claims: "no",
            groups: self.preset.group.map_or(NOT_THERE, |_| "no"),
            refresh: if self.preset.refresh == Refresh::Never {
                NOT_THERE
            } else {
                "no"
            },
            sign_out: self.preset.end_session.map_or(NOT_THERE, |_| "no"),
            back_channel: if self.preset.has_back_channel {
                "no"
            } else {
                NOT_THERE
            },
        };
        if !is_signed_in {
            return row;
        }
        row.claims = self.claims(&mut browser);
        row.groups = self
            .preset
            .group
            .map_or(NOT_THERE, |group| self.has_group(&mut browser, group));
        if self.preset.refresh != Refresh::Never {
            row.refresh = self.refresh(&mut browser);
        }
        if let Some(end_session) = self.preset.end_session {
            row.sign_out = self.sign_out(&mut browser, end_session);
        }
        if self.preset.has_back_channel {
            row.back_channel = self.back_channel();
        }
        row
    }

    fn claims(&self, browser: &mut Browser) -> &'static str {
        let me = self.me(browser).json();
        let has_name = me["display_name"]
            .as_str()
            .is_some_and(|name| !name.is_empty());
        let has_email = me["email"] == "ada@example.com";
        match (has_name, has_email, self.issuer.userinfo_asked() > 0) {
            (true, true, false) => "yes",
            (true, true, true) => "yes, with userinfo",
            (true, false, _) => "the name alone",
            _ => "no",
        }
    }

    fn has_group(&self, browser: &mut Browser, group: &str) -> &'static str {
        let me = self.me(browser).json();
        let groups = me["groups"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        yes_or_no(groups.iter().any(|known| known == group))
    }

    /// Waits until the access token has ended, and comes again.
    fn refresh(&self, browser: &mut Browser) -> &'static str {
        let expires_at = self.me(browser).json()["expires_at"]
            .as_i64()
            .unwrap_or_default();
        eventually("the access token has ended", SOON, || {
            (jiff::Timestamp::now().as_second() > expires_at).then_some(())
        });
        let is_refreshed = || {
            self.home
                .audit()
                .iter()
                .any(|line| line["event"] == "refresh_success")
        };
        let status = self.me(browser).status;
        if status != 200 {
            return "no";
        }
        eventually("the refresh is audited", SOON, || {
            is_refreshed().then_some(())
        });
        "yes"
    }

    /// Signs out, and follows the browser to the issuer if that is where it is sent.
    fn sign_out(&self, browser: &mut Browser, end_session: &str) -> &'static str {
        let reply = browser.form(&self.dashboard.url("/auth/logout"), "");
        let there = self.issuer.local(end_session);
        if let Some(to) = reply.header("location").filter(|to| to.starts_with(&there)) {
            get(to, &[]);
        }
        yes_or_no(self.issuer.sign_outs() > 0 && self.me(browser).status == 401)
    }

    /// Signs in once more, and has the issuer say that the session is over.
    fn back_channel(&self) -> &'static str {
        let mut browser = Browser::default();
        if !self.sign_in(&mut browser) {
            return "no";
        }
        let url = self
            .dashboard
            .url(&format!("/auth/backchannel/{}", self.provider));
        // From the issuer's own server: without the browser's cookies.
        Browser::default().form(
            &url,
            &format!("logout_token={}", self.issuer.logout_token()),
        );
        yes_or_no(self.me(&mut browser).status == 401)
    }
}

fn rows() -> Vec<Row> {
    std::thread::scope(|scope| {
        let trials: Vec<_> = PRESETS
            .iter()
            .map(|preset| scope.spawn(move || Trial::start(preset).row()))
            .collect();
        trials
            .into_iter()
            .map(|trial| trial.join().expect("a trial comes to its end"))
            .collect()
    })
}

fn document(rows: &[Row]) -> String {
    let mut text = String::from(
        "# What works at which identity provider\n\nMade by `tests/suite/issuers`: the real binary signs in with the YAML of each \
         page, at an issuer that does what the\nprovider's documentation says. The suite fails when this page differs from what \
         it saw. `-`: the provider has no such\nthing. `no`: it was not seen to work.\n\n\
         | identity provider | sign-in | claims | groups | refresh | sign-out at the provider | back-channel sign-out |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for Row {
        preset,
        sign_in,
        claims,
        groups,
        refresh,
        sign_out,
        back_channel,
    } in rows
    {
        let Preset { name, page, .. } = preset;
        writeln!(
            text,
            "| [{name}]({page}.md) | {sign_in} | {claims} | {groups} | {refresh} | {sign_out} | {back_channel} |"
        )
        .expect("writing to a string");
    }
    text
}

#[test]
fn matrix_in_the_docs_is_what_was_seen_to_work() {
    let rows = rows();
    for row in &rows {
        assert_eq!(
            row.sign_in, "yes",
            "nobody signs in with the page of {}",
            row.preset.name
        );
    }
    let path = docs("matrix.md");
    let seen = document(&rows);
    if fs::read_to_string(&path).unwrap_or_default() == seen {
        return;
    }
    fs::write(&path, seen).expect("docs/people is there");
    panic!("docs/people/matrix.md is not what was seen to work; it is now: commit it");
}

#[test]
fn every_page_of_an_identity_provider_has_a_preset() {
    let names = fs::read_dir(docs("")).expect("docs/people is there");
    let names = names.filter_map(|page| page.ok()?.file_name().into_string().ok());
    let pages: Vec<_> = names
        .filter_map(|name| name.strip_suffix(".md").map(str::to_owned))
        .collect();
    let signs_in = |page: &String| {
        let text = fs::read_to_string(docs(&format!("{page}.md")));
        text.is_ok_and(|text| text.contains("component: builtin:oidc"))
    };
    let has_preset = |page: &String| PRESETS.iter().any(|preset| preset.page == page.as_str());
    let without: Vec<_> = pages
        .iter()
        .filter(|page| signs_in(page) && !has_preset(page))
        .collect();
    assert!(
        without.is_empty(),
        "pages without a preset in tests/suite/issuers: {without:?}"
    );
}
