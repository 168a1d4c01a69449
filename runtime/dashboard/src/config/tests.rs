//! Whole configurations: what they mean, and every mistake in them.

use super::{ComponentRef, Config, Environment, load_text};
use std::time::Duration;

pub(super) fn read(text: &str) -> Result<Config, String> {
    load_text("/home".into(), None, text, Environment::default()).map_err(|error| error.to_string())
}

pub(super) fn mistakes(text: &str) -> Vec<String> {
    let text = read(text).expect_err(text);
    text.lines()
        .map(|line| line.replace("/home/portcullis.yaml:", ""))
        .collect()
}

#[test]
fn no_text_means_the_defaults() {
    for text in ["", "# nothing\n", "dashboard:\n", "---\n"] {
        let config = read(text).unwrap();
        assert_eq!(
            (config.dashboard.host.as_str(), config.dashboard.port),
            ("127.0.0.1", 9119)
        );
        assert_eq!(config.dashboard.max_marker_age, Duration::from_secs(3600));
        assert_eq!(config.dashboard.cookie_name, "hermes_session");
        assert_eq!(config.gateway.listen.port(), 8642);
        assert!(!config.dashboard.is_gated());
    }
}

#[test]
fn whole_example_of_the_contract_is_read() {
    let text = r#"
dashboard:
  host: 127.0.0.1
  port: 9119
  public_url: https://agent.example.com
  allowed_hosts: [agent.tailnet.example]
  trusted_proxies: [127.0.0.0/8, "::1"]
  session_key: ["9f3c1b7e2d8a4650c1e7b93f60d2a548", "tQ7mX2vK9sB4wE8rY1uI6oA3dF5gH0jL"]
  drain_auth: {scope: drain, min_secret_chars: 43}
  drain: {max_age_seconds: 0}
  providers:
    - name: service-keys
      component: providers/service-keys.wasm
      sha256: "9f2c00000000000000000000000000000000000000000000000000000000abcd"
      display_name: Service keys
      config:
        keys: [{sha256: "5e88", principal: ci-bot, scopes: [metrics.read], expires_at: "2027-01-01T00:00:00Z"}]
        plain: text
      grants: {scopes: [metrics.read], http: ["https://idp.example.com"], keyvalue: true}
      limits: {memory_mib: 32, deadline_ms: 500}
  token_routes:
    - {path: /metrics, scope: metrics.read}
gateway:
  listen: 127.0.0.1:8642
  command: [my-agent, --stdin]
  max_turns: 64
"#;
    let config = read(text).unwrap();
    assert_eq!(config.dashboard.session_keys.len(), 2);
    let provider = &config.dashboard.providers[0];
    assert_eq!(
        provider.component,
        ComponentRef::Path("/home/providers/service-keys.wasm".into())
    );
    assert_eq!(provider.settings["plain"], "text");
    assert!(
        provider.settings["keys"].starts_with(r#"[{"sha256":"5e88""#),
        "{}",
        provider.settings["keys"]
    );
    assert_eq!(provider.limits.memory_bytes, 32 << 20);
    assert!(provider.place.ends_with(":12:7"), "{}", provider.place);
    let place = &provider.key_places["config.keys[0].principal"];
    assert!(place.ends_with(":17:33"), "{place}");
    assert!(config.dashboard.is_gated());
    assert_eq!(config.gateway.command, ["my-agent", "--stdin"]);
}

#[test]
fn unknown_key_is_named_with_its_place_and_the_nearest() {
    let found = mistakes("dashboard:\n  prot: 1\n  drain_auth: {scop: x}\ngatway: {}\n");
    assert_eq!(
        found[0],
        "2:3: unknown key `prot` in `dashboard`; did you mean `port`?"
    );
    assert_eq!(
        found[1],
        "3:16: unknown key `scop` in `dashboard.drain_auth`; did you mean `scope`?"
    );
    assert_eq!(
        found[2],
        "4:1: unknown key `gatway`; did you mean `gateway`?"
    );
    let found = mistakes("dashboard: {basic_auth: {username: ada}}");
    assert!(
        found[0].contains("write an entry with `component: builtin:basic` into"),
        "{found:?}"
    );
}

#[test]
fn every_mistake_is_found_in_one_run() {
    for (text, complaint) in [
        (
            "dashboard: {port: http}",
            "`dashboard.port` must be an integer from 0 to 65535",
        ),
        ("dashboard: {port: 65536}", "`dashboard.port` must be"),
        (
            "dashboard: {host: [a]}",
            "`dashboard.host` must be a string, not a list",
        ),
        (
            "dashboard: {host: 'a b'}",
            "`dashboard.host`: \"a b\" is no host name",
        ),
        ("dashboard: [1]", "`dashboard` must be a map, not a list"),
        ("dashboard: {public_url: example.com}", "is no URL like"),
        (
            "dashboard: {public_url: 'https://u@h/'}",
            "must have no user",
        ),
        (
            "dashboard: {trusted_proxies: [10.0.0.0/33]}",
            "is no address or network",
        ),
        ("dashboard: {drain_auth: {scope: 'a b'}}", "is no scope"),
        (
            "dashboard: {drain_auth: {min_secret_chars: 0}}",
            "must be an integer from 1",
        ),
        (
            "dashboard: {drain: {max_age_seconds: -1}}",
            "must be an integer from 0",
        ),
        (
            "dashboard: {providers: {}}",
            "`dashboard.providers` must be a list",
        ),
        (
            "dashboard: {providers: [{component: x}]}",
            "`dashboard.providers[0].name` is missing",
        ),
        (
            "dashboard: {providers: [{name: a}]}",
            "`dashboard.providers[0].component` is missing",
        ),
        (
            "dashboard: {providers: [{name: A, component: x}]}",
            "is no provider name",
        ),
        (
            "dashboard: {providers: [{name: drain-secret, component: x}]}",
            "built-in drain provider",
        ),
        (
            "dashboard: {providers: [{name: a, component: 'builtin:x'}]}",
            "no builtin is named `x`",
        ),
        (
            "dashboard: {providers: [{name: a, component: 'bulitin:basic'}]}",
            "did you mean `builtin:basic`?",
        ),
        (
            "dashboard: {providers: [{name: a, component: 'builtin:basik'}]}",
            "did you mean `builtin:basic`?",
        ),
        (
            "dashboard: {providers: [{name: a, component: 'builtin:OIDC'}]}",
            "did you mean `builtin:oidc`?",
        ),
        (
            "dashboard: {providers: [{name: a, component: 'oci://ghcr.io/a/b:1'}]}",
            "not supported by this version",
        ),
        (
            "dashboard: {providers: [{name: a, component: x, shadow: true}]}",
            "`dashboard.providers[0].shadow` is not supported by this version",
        ),
        (
            "dashboard: {providers: [{name: a, component: x, signature: {}}]}",
            "`dashboard.providers[0].signature` is not supported by this version",
        ),
        (
            "dashboard: {state: {dir: x}}",
            "`dashboard.state` is not supported by this version",
        ),
        (
            "dashboard: {require_signatures: true}",
            "`dashboard.require_signatures` is not supported by this version",
        ),
        (
            "dashboard: {providers: [{name: a, component: 'builtin:service-keys', config: {keys: }}]}",
            "config.keys` has no value: give it one, or remove the key",
        ),
        (
            "dashboard: {providers: [{name: a, component: 'builtin:basic', config: {user_file: users.yaml}}]}",
            "unknown key `user_file` in `dashboard.providers[0].config`; did you mean `users_file`?",
        ),
        (
            "dashboard: {providers: [{name: a, component: 'builtin:oidc', config: {isuer: x}}]}",
            "unknown key `isuer` in `dashboard.providers[0].config`; did you mean `issuer`?",
        ),
        (
            "dashboard: {providers: [{name: a, component: 'builtin:jwt', config: {audiences: }}]}",
            "unknown key `audiences` in `dashboard.providers[0].config`; did you mean `audience`?",
        ),
        (
            "dashboard: {providers: [{name: a, component: 'builtin:service-keys', config: {key: []}}]}",
            "unknown key `key` in `dashboard.providers[0].config`; did you mean `keys`?",
        ),
        (
            "dashboard: {providers: [{name: a, component: 'builtin:nous', config: {url: x}}]}",
            "unknown key `url` in `dashboard.providers[0].config`; there is: portal_url, client_id",
        ),
        (
            "gateway: {port: 1}",
            "unknown key `port` in `gateway`; there is: ",
        ),
        (
            "dashboard: {providers: [{name: a, component: x}, {name: a, component: y}]}",
            "another provider",
        ),
        (
            "dashboard: {providers: [{name: a, component: x, sha256: 12}]}",
            "put it in quotes",
        ),
        (
            "dashboard: {providers: [{name: a, component: x, sha256: '12'}]}",
            "64 hex digits",
        ),
        (
            "dashboard: {providers: [{name: a, component: x, config: [1]}]}",
            "config` must be a map",
        ),
        (
            "dashboard: {providers: [{name: a, component: x, grants: {scopes: [drain]}}]}",
            "is the drain scope",
        ),
        (
            "dashboard: {providers: [{name: a, component: x, grants: {http: ['https://a/b']}}]}",
            "without a path",
        ),
        (
            "dashboard: {providers: [{name: a, component: x, grants: {http: [{networks: [10.0.0.0/8]}]}}]}",
            "`dashboard.providers[0].grants.http[0].origin` is missing",
        ),
        (
            "dashboard: {providers: [{name: a, component: x, grants: {http: [{origin: 'https://a', headers: {Host: b}}]}}]}",
            "sets itself",
        ),
        (
            "dashboard: {providers: [{name: a, component: x, grants: {http: [{origin: 'https://a', hedders: {}}]}}]}",
            "did you mean `headers`?",
        ),
        (
            "dashboard: {providers: [{name: a, component: x, grants: {keyvalue: 1}}]}",
            "must be true or false",
        ),
        (
            "dashboard: {providers: [{name: a, component: x, limits: {memory_mib: 0}}]}",
            "from 1 to 1024",
        ),
        (
            "dashboard: {token_routes: [{path: /nowhere, scope: s}]}",
            "no path that can be a token route",
        ),
        (
            "dashboard: {token_routes: [{path: /metrics}]}",
            "`dashboard.token_routes[0].scope` is missing",
        ),
        (
            "dashboard: {cookie_name: 'a b'}",
            "is no prefix of cookie names",
        ),
        (
            "dashboard: {cookie_name: 'a=b;'}",
            "is no prefix of cookie names",
        ),
        (
            "dashboard: {cookie_name: ''}",
            "is no prefix of cookie names",
        ),
        (
            "dashboard: {cookie_name: __Host-a}",
            "is no prefix of cookie names",
        ),
        ("dashboard: {session_key: short}", "at least 32 characters"),
        (
            "dashboard: {session_key: {env: PORTCULLIS_NO_SUCH}}",
            "PORTCULLIS_NO_SUCH is not set",
        ),
        (
            "dashboard: {session_key: {file: no-such}}",
            "cannot read /home/no-such",
        ),
        ("dashboard: {access: }", "`dashboard.access` has no value"),
        (
            "dashboard: {access: {role: operator}}",
            "`dashboard.access` must be a list, not a map",
        ),
        (
            "dashboard: {access: [{users: [ada]}]}",
            "`dashboard.access[0].role` is missing",
        ),
        (
            "dashboard: {access: [{role: admin}]}",
            "must be operator, viewer or none",
        ),
        (
            "dashboard: {access: [{role: none, user: [ada]}]}",
            "did you mean `users`?",
        ),
        (
            "dashboard: {access: [{role: operator, users: }]}",
            "`dashboard.access[0].users` is empty",
        ),
        (
            "dashboard: {access: [{role: operator, users: []}]}",
            "`dashboard.access[0].users` is empty",
        ),
        (
            "dashboard: {access: [{role: operator, users: [' ada']}]}",
            "without space around it",
        ),
        (
            "dashboard: {access: [{role: operator, groups: ops}]}",
            "`dashboard.access[0].groups` must be a list",
        ),
        (
            "dashboard: {access: [{role: none, provider: }]}",
            "`dashboard.access[0].provider` is empty",
        ),
        (
            "dashboard: {access: [{role: none, provider: corp}]}",
            "no provider is named `corp`",
        ),
        ("gateway: {listen: here}", "is no address and port"),
        (
            "gateway: {command: my-agent --stdin}",
            "must be a list, not a string: write [my-agent, --stdin]",
        ),
        (
            "dashboard: {trusted_proxies: 127.0.0.1}",
            "must be a list, not a string: write [127.0.0.1]",
        ),
        ("gateway: {max_turns: 0}", "must be an integer from 1"),
        (
            "gateway: {shutdown_grace_seconds: -1}",
            "must be an integer from 0 to 86400",
        ),
        (
            "gateway: {turn_timeout_seconds: 0}",
            "must be an integer from 1 to 86400",
        ),
        ("gateway: {api_key: short}", "at least 16 characters"),
        (
            "dashboard: {port: 1, port: 2}",
            "`port` is there twice (line 1, columns 13 and 22)",
        ),
        (
            "gateway: {}\ndashboard: {}\ngateway: {}",
            "`gateway` is there twice (lines 1 and 3)",
        ),
        ("hello", "the file must be a map, not a string"),
        ("dashboard: [", "1:12: a `[` or `{` is not closed"),
        (
            "dashboard: {}\n---\ngateway: {}\n",
            "a second document begins",
        ),
    ] {
        let found = mistakes(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(complaint), "{text}: {found:?}");
    }
}

#[test]
fn only_three_names_are_loopback() {
    for (host, gated) in [
        ("127.0.0.1", false),
        ("localhost", false),
        ("'::1'", false),
        ("LOCALHOST", true),
        ("localhost.", true),
        ("'0:0:0:0:0:0:0:1'", true),
        ("127.0.0.2", true),
        ("0.0.0.0", true),
        ("'::'", true),
        ("192.168.1.1", true),
        ("100.64.0.1", true),
        ("169.254.1.1", true),
        ("agent.local", true),
    ] {
        let config = read(&format!("dashboard: {{host: {host}}}")).unwrap();
        assert_eq!(config.dashboard.is_gated(), gated, "{host}");
    }
}

#[test]
fn another_name_that_the_dashboard_answers_to_puts_the_gate_on() {
    for (text, reason) in [
        (
            "allowed_hosts: [localhost, LOCALHOST, 127.0.0.1, '::1']",
            None,
        ),
        ("public_url: 'http://localhost:9119/x'", None),
        (
            "allowed_hosts: [localhost, agent.tailnet.example]",
            Some("allowed_hosts names agent.tailnet.example"),
        ),
        (
            "allowed_hosts: [127.0.0.2]",
            Some("allowed_hosts names 127.0.0.2"),
        ),
        (
            "allowed_hosts: [localhost.evil.example]",
            Some("allowed_hosts names localhost.evil.example"),
        ),
        (
            "public_url: 'https://agent.example.com'",
            Some("public_url names agent.example.com"),
        ),
        ("host: 0.0.0.0", Some("0.0.0.0 is not a loopback address")),
    ] {
        let config = read(&format!("dashboard: {{{text}}}")).unwrap();
        let found = config
            .dashboard
            .gate_reason()
            .map(|reason| reason.to_string());
        assert_eq!(found.is_some(), reason.is_some(), "{text}");
        assert!(
            found
                .unwrap_or_default()
                .contains(reason.unwrap_or_default()),
            "{text}"
        );
    }
}
