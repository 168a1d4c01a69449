//! What people see: the branding, the sign-in page after a failure, and the state that is on the
//! page without its script.

use super::access::with_access;
use super::people::{gated, signed_in};
use portcullis_tests::{Browser, Home, SOON, eventually, get};

const PLAIN: &str = "http://agent.test";
const LOGO: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";

/// A gated dashboard with this branding, and a logo in its home.
fn branded(public_url: &str, branding: &str) -> Home {
    let home = gated(public_url, &format!("  branding: {branding}\n"));
    home.write("logo.svg", LOGO);
    home
}

#[test]
fn sign_in_page_names_the_dashboard_and_shows_its_logo_and_colour() {
    let home = branded(
        "http://agent.test/a",
        "{title: \"A<c>me\", logo: logo.svg, accent: \"#0A7D4F\"}",
    );
    let dashboard = home.dashboard();
    let page = get(&dashboard.url("/login"), &[]);
    for part in [
        "<title>Sign in · A&lt;c&gt;me</title>",
        "<h1>Sign in to A&lt;c&gt;me</h1>",
        "agent.test/a",
        "<img src=\"/a/auth/logo\" alt=\"\">",
        "<link rel=\"icon\" href=\"/a/auth/logo\">",
        ":root { --accent: #0a7d4f; --on-accent: #fff; }",
    ] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(
        policy.contains("img-src 'self'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let live = signed_in(&dashboard, "ada").get(&dashboard.url("/")).body;
    assert!(
        live.contains("<h1>A&lt;c&gt;me</h1>") && live.contains("· A&lt;c&gt;me</title>"),
        "{live}"
    );
}

#[test]
fn foot_links_to_what_the_reader_may_open() {
    let openapi = "href=\"/_portcullis/openapi.json\"";
    let home = Home::with_config("dashboard: {}");
    let dashboard = home.dashboard();
    let page = get(&dashboard.url("/"), &[]).body;
    for link in [openapi, "href=\"/metrics\" data-fetches=\"/metrics\""] {
        assert!(page.contains(link), "{link}: {page}");
    }
    let description = get(&dashboard.url("/_portcullis/openapi.json"), &[]);
    assert_eq!(description.status, 200, "{description:?}");

    let route = Home::with_config("dashboard: {token_routes: [{path: /metrics, scope: drain}]}");
    let page = get(&route.dashboard().url("/"), &[]).body;
    assert!(
        page.contains(openapi) && !page.contains(">Metrics<"),
        "{page}"
    );

    let roles = "  access: [{role: operator, users: [ada]}, {role: viewer, users: [grouped]}]\n";
    let home = gated(PLAIN, roles);
    let dashboard = home.dashboard();
    for (user, has_metrics) in [("ada", true), ("grouped", false)] {
        let page = signed_in(&dashboard, user).get(&dashboard.url("/")).body;
        let metrics = "<a href=\"/metrics\">Metrics</a>";
        assert!(page.contains(openapi), "{page}");
        assert_eq!(page.contains(metrics), has_metrics, "{user}: {page}");
    }
}

#[test]
fn logo_is_an_image_that_runs_nothing() {
    let home = branded(PLAIN, "{logo: logo.svg}");
    let dashboard = home.dashboard();
    let logo = get(&dashboard.url("/auth/logo"), &[]);
    assert_eq!((logo.status, logo.body.as_str()), (200, LOGO));
    assert_eq!(logo.header("content-type"), Some("image/svg+xml"));
    assert_eq!(logo.header("x-content-type-options"), Some("nosniff"));
    let policy = logo.header("content-security-policy").expect("a policy");
    assert!(
        policy.starts_with("default-src 'none'") && policy.ends_with("sandbox"),
        "{policy}"
    );
    assert!(!policy.contains("script-src"), "{policy}");
}

#[test]
fn changed_logo_and_title_are_taken_over_without_a_restart() {
    let home = branded(PLAIN, "{title: One, logo: logo.svg}");
    let dashboard = home.dashboard();
    home.write("logo.svg", "<svg id=\"two\"/>");
    eventually("the new logo", SOON, || {
        get(&dashboard.url("/auth/logo"), &[])
            .body
            .contains("two")
            .then_some(())
    });
    let text = std::fs::read_to_string(home.file("portcullis.yaml")).expect("a configuration");
    home.write("portcullis.yaml", &text.replace("title: One", "title: Two"));
    eventually("the new title", SOON, || {
        get(&dashboard.url("/login"), &[])
            .body
            .contains("Sign in to Two")
            .then_some(())
    });
    // What is no image keeps the logo that there was.
    home.write("logo.svg", "<html></html>");
    eventually("the refusal is logged", SOON, || {
        dashboard
            .log()
            .contains("is neither a PNG image nor an SVG document")
            .then_some(())
    });
    assert!(get(&dashboard.url("/auth/logo"), &[]).body.contains("two"));
}

#[test]
fn dashboard_without_branding_has_its_own_name_and_no_logo() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let page = get(&dashboard.url("/login"), &[]).body;
    assert!(
        page.contains("<h1>Sign in to Portcullis</h1>") && page.contains("agent.test"),
        "{page}"
    );
    assert!(
        !page.contains("/auth/logo") && !page.contains("<h2>"),
        "{page}"
    );
    assert_eq!(get(&dashboard.url("/auth/logo"), &[]).status, 404);
}

/// The tag of the element with this id.
fn tag<'a>(page: &'a str, id: &str) -> &'a str {
    let at = page.find(&format!("id=\"{id}\"")).expect(id);
    let start = page[..at].rfind('<').expect("its start");
    let length = page[start..].find('>').expect("its end");
    &page[start..=start + length]
}

#[test]
fn failed_sign_in_keeps_the_user_name_and_goes_on_at_the_password() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let first = get(&dashboard.url("/login"), &[]).body;
    assert!(
        tag(&first, "people-username").contains("autofocus"),
        "{first}"
    );
    assert!(
        !tag(&first, "people-password").contains("autofocus"),
        "{first}"
    );
    let failed = Browser::default().form(
        &dashboard.url("/auth/password-login"),
        "provider=people&username=a%22da&password=wrong",
    );
    assert_eq!(failed.status, 401, "{failed:?}");
    assert!(
        tag(&failed.body, "people-username").contains("value=\"a&quot;da\""),
        "{failed:?}"
    );
    assert!(
        !tag(&failed.body, "people-username").contains("autofocus"),
        "{failed:?}"
    );
    assert!(
        tag(&failed.body, "people-password").contains("autofocus"),
        "{failed:?}"
    );
    assert!(
        !failed.body.contains("wrong") && failed.body.contains("role=\"alert\""),
        "{failed:?}"
    );
}

#[test]
fn drain_begun_without_the_script_has_its_reason_and_its_end_on_the_page() {
    let home = with_access(&["{role: viewer, users: [vi]}", "{role: operator}"]);
    let dashboard = home.dashboard();
    let (mut ada, mut vi) = (signed_in(&dashboard, "ada"), signed_in(&dashboard, "vi"));
    let before = ada.get(&dashboard.url("/")).body;
    assert!(tag(&before, "drain-notice").contains("hidden"), "{before}");
    assert!(tag(&before, "end-dialog").contains("hidden"), "{before}");

    let form = "action=drain&reason=swap+%3Cthe%3E+disk&ttl_seconds=900";
    let begun = ada.form(&dashboard.url("/api/drain"), form);
    assert_eq!(
        (begun.status, begun.header("location")),
        (303, Some("/")),
        "{begun:?}"
    );
    let page = ada.get(&dashboard.url("/")).body;
    assert!(!tag(&page, "drain-notice").contains("hidden"), "{page}");
    assert!(page.contains("swap &lt;the&gt; disk"), "{page}");
    assert!(
        ["in 14 min", "in 15 min"]
            .iter()
            .any(|end| page.contains(end)),
        "{page}"
    );
    assert!(
        page.contains("A drain is on, and the gateway is stopped"),
        "{page}"
    );
    assert!(
        tag(&page, "end-mine").contains("hidden"),
        "no other owner drains: {page}"
    );
    assert!(
        tag(&page, "restart").contains("disabled"),
        "no gateway runs: {page}"
    );

    let seen = vi.get(&dashboard.url("/")).body;
    assert!(
        !tag(&seen, "drain-notice").contains("hidden") && !seen.contains("swap"),
        "{seen}"
    );
    assert!(
        !seen.contains("id=\"end-dialog\"") && !seen.contains("data-opens=\""),
        "{seen}"
    );

    let ended = ada.form(&dashboard.url("/api/drain"), "action=cancel&force=true");
    assert_eq!(ended.status, 303, "{ended:?}");
    assert_eq!(
        get(&dashboard.url("/api/status"), &[]).json()["drain"]["active"],
        false
    );
}

#[test]
fn provider_that_was_refused_is_on_the_page_with_the_reason() {
    let home = Home::with_config("dashboard:\n  providers: [{name: gone, component: none.wasm}]\n");
    let dashboard = home.dashboard();
    let page = eventually("it is refused", SOON, || {
        let page = get(&dashboard.url("/"), &[]).body;
        page.contains("#shape-cross\"/></svg><span>refused</span>")
            .then_some(page)
    });
    assert!(
        page.contains(">gone</h3>") && page.contains("none.wasm"),
        "{page}"
    );
    assert!(page.contains("portcullis.yaml:2"), "with its place: {page}");
}

#[test]
fn live_page_lists_the_sessions_that_its_reader_may_see() {
    let home = with_access(&["{role: viewer, users: [vi]}", "{role: operator}"]);
    let dashboard = home.dashboard();
    let (mut ada, mut vi) = (signed_in(&dashboard, "ada"), signed_in(&dashboard, "vi"));
    let of_operator = ada.get(&dashboard.url("/")).body;
    assert!(
        of_operator.contains("2 sessions") && of_operator.contains("this browser"),
        "{of_operator}"
    );
    let of_viewer = vi.get(&dashboard.url("/")).body;
    assert!(
        of_viewer.contains("1 session<") && of_viewer.contains(">vi</b>"),
        "{of_viewer}"
    );
    assert!(!of_viewer.contains(">ada</b>"), "{of_viewer}");
}

#[test]
fn metrics_are_linked_where_a_session_opens_them() {
    let linked = |more: &str| {
        let home = gated(PLAIN, more);
        let dashboard = home.dashboard();
        signed_in(&dashboard, "ada")
            .get(&dashboard.url("/"))
            .body
            .contains("href=\"/metrics\"")
    };
    assert!(linked(""));
    assert!(!linked(
        "  token_routes: [{path: /metrics, scope: metrics.read}]\n"
    ));
}
