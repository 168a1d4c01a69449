//! Which of several applications owns a path.

use super::super::authority::Host;
use super::super::plain_target::is_plain_target;
use super::paths::{as_read, covers, covers_in_any_case, is_always_own, readings};
use super::settings::AppSettings;
use axum::http::Uri;
use std::cmp::Reverse;

/// An application with the host that its requests must name. Lists of these begin with the longest
/// path.
pub(super) type Place<'a> = (Option<&'a Host>, &'a AppSettings);

/// The application that owns a request, with its index: of those with its host, else of those
/// without one, the one with the longest path. `None`: the dashboard does.
pub(super) fn owner<'a>(
    places: &(impl Iterator<Item = Place<'a>> + Clone),
    host: Option<&Host>,
    path: &str,
) -> Option<(usize, &'a AppSettings)> {
    let path = as_read(path);
    if is_always_own(&path) {
        return None;
    }
    first(places, host, |app| covers(&app.path, &path))
}

/// Of the applications for which `is_it` holds: one with this host before one without a host, then
/// the one with the longest path.
fn first<'a>(
    places: &(impl Iterator<Item = Place<'a>> + Clone),
    host: Option<&Host>,
    is_it: impl Fn(&AppSettings) -> bool,
) -> Option<(usize, &'a AppSettings)> {
    let find = |host: Option<&Host>| {
        let mut places = places.clone().enumerate();
        let found = places.find(|(_, (of, app))| *of == host && is_it(app))?;
        let (index, (_, app)) = found;
        Some((index, app))
    };
    host.and_then(|host| find(Some(host)))
        .or_else(|| find(None))
}

/// Returns whether the upstream of an application may read a path that the application owns as a
/// path of another application that it serves, or of the dashboard. The gate decides for one
/// reading alone.
pub(super) fn is_ambiguous<'a>(
    places: &(impl Iterator<Item = Place<'a>> + Clone),
    owner: &AppSettings,
    host: Option<&Host>,
    path: &str,
) -> bool {
    // Many frameworks compare paths without regard to case. Two applications whose paths differ in
    // case alone stay apart.
    let is_other_path = |other: &AppSettings| !other.path.eq_ignore_ascii_case(&owner.path);
    let is_of_another = |reading: &str| {
        // An application of another upstream has no say: this upstream never sees its paths.
        let other = first(places, host, |app| {
            app.upstream == owner.upstream && covers_in_any_case(&app.path, reading)
        });
        is_always_own(reading) || other.is_some_and(|(_, other)| is_other_path(other))
    };

    // The path as it is written comes first: some routers decode segments only after they have
    // chosen a route.
    is_of_another(path) || readings(path).iter().any(|reading| is_of_another(reading))
}

/// The applications with their hosts, as [`Place`] wants them.
fn with_hosts<'a>(
    all: impl IntoIterator<Item = &'a AppSettings>,
) -> Vec<(Option<Host>, &'a AppSettings)> {
    let mut apps: Vec<_> = all
        .into_iter()
        .map(|app| (app.host.as_deref().map(Host::configured), app))
        .collect();
    apps.sort_by_key(|(_, app)| Reverse(app.path.len()));
    apps
}

/// Returns the application of `all` that owns this path at a host, or at hosts that no application
/// names. `None`: the dashboard does.
pub fn owner_of_path<'a>(
    path: &str,
    host: Option<&str>,
    all: &'a [AppSettings],
) -> Option<&'a AppSettings> {
    let apps = with_hosts(all);
    let places = apps.iter().map(|(host, app)| (host.as_ref(), *app));
    let host = host.map(Host::configured);
    let (index, _) = owner(&places, host.as_ref(), path)?;
    apps.get(index).map(|(_, app)| *app)
}

/// Returns why no request with this path ever reaches `app`, which is one of `all`, so that it
/// cannot be public.
pub fn why_unreachable(path: &str, app: &AppSettings, all: &[&AppSettings]) -> Option<String> {
    let is_plain = path
        .parse::<Uri>()
        .is_ok_and(|uri| uri.path() == path && is_plain_target(&uri));
    if !is_plain {
        return Some(format!(
            "{path:?} is refused before the gate: it has spaces, control characters, characters beyond ASCII, \
             backslashes, dot segments, encoded slashes or damaged escapes"
        ));
    }

    let read = as_read(path);
    if is_always_own(&read) {
        return Some(format!(
            "{path} is read as {read}, which is always the dashboard's"
        ));
    }

    let apps = with_hosts(all.iter().copied());
    let places = apps.iter().map(|(host, app)| (host.as_ref(), *app));
    let host = app.host.as_deref().map(Host::configured);

    let Some((_, owner)) = owner(&places, host.as_ref(), path) else {
        return Some(format!(
            "{path} is read as {read}, which no application has"
        ));
    };
    if !std::ptr::eq(owner, app) {
        return Some(format!(
            "{path} belongs to the application `{}`",
            owner.name
        ));
    }
    is_ambiguous(&places, app, host.as_ref(), path).then(|| {
        format!(
            "{path} is refused: the upstream may read it as a path of another application, or of the dashboard"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::settings::{AppLimits, Upstream};
    use super::*;
    use portcullis_auth::{Allow, Allowed};
    use std::collections::BTreeSet;

    fn app(name: &str, host: Option<&str>, path: &str) -> AppSettings {
        AppSettings {
            name: name.to_owned(),
            path: path.to_owned(),
            host: host.map(str::to_owned),
            upstream: Upstream::parse("http://127.0.0.1:1").unwrap(),
            allowed: Allowed::any_of(vec![Allow::People]),
            public_paths: BTreeSet::new(),
            headers: Vec::new(),
            limits: AppLimits::default(),
            preset: None,
        }
    }

    /// An application at `/` and one at `/tools`, of one upstream. Those at `/apart` and
    /// `/tools/far` are of another. Those with the longest path come first.
    fn of_two_upstreams() -> [AppSettings; 4] {
        let mut apart = app("apart", None, "/apart");
        apart.upstream = Upstream::parse("http://127.0.0.1:2").unwrap();
        let mut far = app("far", None, "/tools/far");
        far.upstream = apart.upstream.clone();
        let (root, tools) = (app("root", None, ""), app("tools", None, "/tools"));
        [far, tools, apart, root]
    }

    /// Whether the owner of a path may read it as another's.
    fn has_two_owners(path: &str) -> bool {
        let settings = of_two_upstreams();
        let places = settings.iter().map(|app| (None::<&Host>, app));
        owner(&places, None, path)
            .is_some_and(|(_, owner)| is_ambiguous(&places, owner, None, path))
    }

    #[test]
    fn path_with_two_readings_in_two_applications_of_one_upstream_has_two_owners() {
        for path in [
            "//tools",
            "/tools;v=1/x",
            "/;/tools",
            "/tools%3fx",
            "//%74ools",
            "/%3b%3f/tools",
        ] {
            assert!(has_two_owners(path), "{path}");
        }
    }

    #[test]
    fn path_as_it_is_written_is_a_reading_as_well() {
        for path in ["/%74ools", "/%74ools/x"] {
            assert!(has_two_owners(path), "{path}");
        }
    }

    #[test]
    fn path_of_another_application_in_another_case_has_two_owners() {
        for path in ["/TOOLS/x", "/%54ools"] {
            assert!(has_two_owners(path), "{path}");
        }
    }

    #[test]
    fn application_of_another_upstream_hides_no_ambiguity() {
        assert!(has_two_owners("/TOOLS/far/x"));
    }

    #[test]
    fn path_that_may_be_read_as_one_of_the_dashboard_has_two_owners() {
        assert!(has_two_owners("/%3ba%3f/login"));
    }

    #[test]
    fn path_of_one_application_in_every_reading_is_not_ambiguous() {
        for path in [
            "/tools//x",
            "/tools/x;v=1",
            "/tools/%74",
            "/caf%C3%A9",
            "/tools/far/x",
            "/x//tools",
            "//apart",
            "//login",
            "//x",
            "/",
        ] {
            assert!(!has_two_owners(path), "{path}");
        }
    }

    #[test]
    fn owner_of_a_path_depends_on_the_host() {
        let all = [
            app("tools", None, "/tools"),
            app("named", Some("named.example"), ""),
        ];
        for (path, host, expected) in [
            ("/tools/x", None, Some("tools")),
            ("/metrics", None, None),
            ("/metrics", Some("a.example"), None),
            ("/metrics", Some("Named.example"), Some("named")),
            ("/healthz", Some("named.example"), None),
        ] {
            let owner = owner_of_path(path, host, &all).map(|app| app.name.as_str());
            assert_eq!(owner, expected, "{path} {host:?}");
        }
    }

    #[test]
    fn path_that_no_request_can_have_is_named() {
        let root = app("root", None, "");
        let tools = app("tools", None, "/tools");
        let named = app("named", Some("named.example"), "/hooks");
        let all = [&root, &tools, &named];
        for path in [
            "/caf\u{e9}",
            "/a b",
            "/a\u{1}",
            "/a\\b",
            "/a/../b",
            "/a/%2e%2e/b",
            "/a%2fb",
            "/a%5Cb",
            "/a%00",
            "/a%zz",
            "/a/..;x/b",
            "//login",
            "/%6cogin",
            "/auth;x/y",
            "/_portcullis/x",
            "/tools/hook",
            "//tools/hook",
            "/TOOLS/hook",
        ] {
            assert!(why_unreachable(path, &root, &all).is_some(), "{path}");
        }
        for path in [
            "/",
            "/hook",
            "/hook/",
            "//hook",
            "/x%20y",
            "/q;v=1",
            "/UP",
            "/caf%C3%A9",
            "/hooks/deploy",
            "/toolsmith",
        ] {
            assert_eq!(why_unreachable(path, &root, &all), None, "{path}");
        }
        assert_eq!(why_unreachable("/tools/hook", &tools, &all), None);
        assert_eq!(why_unreachable("/hooks/deploy", &named, &all), None);
    }
}
