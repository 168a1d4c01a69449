//! A dashboard with an issuer whose every answer a test decides, and a person who is signed in all
//! the while.

use super::super::issuers::keys;
use super::super::issuers::server::{Answer, Asked, bind, parameters, serve};
use portcullis_tests::{Home, Process, Reply};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use ureq::Agent;

/// Where the dashboard is for people.
const PUBLIC_URL: &str = "http://agent.test";

/// What the issuers answer: by path, and by the code that a token request is for.
#[derive(Clone, Default)]
struct Stage(Arc<Mutex<Answers>>);

#[derive(Default)]
struct Answers {
    bodies: BTreeMap<String, String>,
    /// How often each path was asked for.
    asked: BTreeMap<String, usize>,
}

impl Stage {
    fn with<T>(&self, change: impl FnOnce(&mut Answers) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answer(&self, asked: &Asked) -> Answer {
        let code = asked.parameter("code");
        let name = if code.is_empty() {
            asked.path.clone()
        } else {
            code_name(code)
        };
        self.with(|answers| {
            *answers.asked.entry(asked.path.clone()).or_default() += 1;
            match answers.bodies.get(&name) {
                Some(body) => Answer::ok(body.as_str()),
                None => Answer::error(404, ""),
            }
        })
    }
}

fn code_name(code: &str) -> String {
    format!("code {code}")
}

pub(super) struct Scene {
    stage: Stage,
    /// The origin of all issuers.
    origin: String,
    dashboard: Process,
    /// How many providers there are.
    providers: usize,
    /// The cookie of Ada, who is signed in at the first provider.
    bystander: String,
    _home: Home,
}

/// One of those who sign in at once, at a provider of their own. Keeps its connections.
pub(super) struct Visitor<'a> {
    scene: &'a Scene,
    agent: Agent,
    pub(super) number: usize,
}

/// A sign-in under way.
pub(super) struct Begun {
    pub(super) nonce: String,
    state: String,
    cookie: String,
    address: String,
}

impl Scene {
    /// Starts a dashboard with this many providers, each with an issuer of its own.
    pub(super) fn start(providers: usize) -> Self {
        let stage = Stage::default();
        let (listener, origin) = bind();
        let answering = stage.clone();
        serve(listener, move |asked| answering.answer(asked));

        let entry = |number| {
            format!(
                "    - name: idp-{number}\n      component: builtin:oidc\n      \
                 config: {{issuer: '{origin}/idp-{number}', client_id: portcullis}}\n      \
                 grants: {{keyvalue: true, http: ['{origin}']}}\n      limits: {{deadline_ms: 5000}}\n"
            )
        };
        let entries: String = (0..providers).map(entry).collect();
        let home = Home::with_config(&format!(
            "dashboard:\n  public_url: {PUBLIC_URL}\n  trusted_proxies: [127.0.0.1]\n  providers:\n{entries}"
        ));
        let dashboard = home.dashboard();

        let mut scene = Self {
            stage,
            origin,
            dashboard,
            providers,
            bystander: String::new(),
            _home: home,
        };
        for number in 0..providers {
            scene.set_discovery(number, scene.discovery(number).to_string());
            scene.set(&format!("/idp-{number}/keys"), keys::key_set().to_string());
        }
        scene.bystander = scene.sign_ada_in();
        scene
    }

    fn sign_ada_in(&self) -> String {
        let visitor = self.visitor(0);
        let begun = visitor.begin(0);
        let claims = self.claims(0, &begun.nonce, "ada");
        let reply = visitor.come_back(&begun, &Value::from(keys::token(&keys::header(), &claims)));
        session_of(&reply).expect("an ordinary sign-in works")
    }

    pub(super) fn visitor(&self, number: usize) -> Visitor<'_> {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        Visitor {
            scene: self,
            agent,
            number,
        }
    }

    pub(super) fn issuer(&self, number: usize) -> String {
        format!("{}/idp-{number}", self.origin)
    }

    /// An ordinary discovery document.
    pub(super) fn discovery(&self, number: usize) -> Value {
        let issuer = self.issuer(number);
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"),
        })
    }

    /// The claims of an ordinary ID token.
    pub(super) fn claims(&self, number: usize, nonce: &str, subject: &str) -> Value {
        let now = jiff::Timestamp::now().as_second();
        json!({
            "iss": self.issuer(number),
            "aud": "portcullis",
            "sub": subject,
            "iat": now,
            "exp": now + 3600,
            "nonce": nonce,
            "name": "A Stranger",
            "email": "stranger@example.com",
        })
    }

    pub(super) fn set_discovery(&self, number: usize, document: String) {
        self.stage
            .with(|answers| answers.bodies.insert(discovery_path(number), document));
    }

    /// Sets what a path answers.
    pub(super) fn set(&self, path: &str, body: String) {
        self.stage
            .with(|answers| answers.bodies.insert(path.to_owned(), body));
    }

    /// How often the discovery document of an issuer was asked for.
    pub(super) fn discoveries(&self, number: usize) -> usize {
        self.asked(&discovery_path(number))
    }

    /// How often a path was asked for.
    pub(super) fn asked(&self, path: &str) -> usize {
        self.stage
            .with(|answers| answers.asked.get(path).copied().unwrap_or_default())
    }

    /// The bystander is signed in, every provider serves, and no call of one failed in another way
    /// than these.
    pub(super) fn assert_unharmed(&self, expected_faults: &[&str]) {
        let visitor = self.visitor(0);
        assert_eq!(
            visitor.me(&self.bystander)["user_id"],
            "ada",
            "the session of another person"
        );
        let metrics = visitor.ask("/metrics", &[("cookie", self.bystander.as_bytes())]);
        assert_eq!(metrics.status, 200, "{}", metrics.body);

        let of = |name: &'static str| {
            metrics
                .body
                .lines()
                .filter(move |line| line.starts_with(name))
        };
        let serves = |line: &&str| {
            line.contains("provider=\"idp-")
                && line.contains("state=\"serving\"")
                && line.ends_with(" 1")
        };
        let serving = of("portcullis_provider_state{").filter(serves).count();
        assert_eq!(serving, self.providers, "{}", metrics.body);
        assert!(
            of("# TYPE portcullis_provider_faults").next().is_some(),
            "faults are counted"
        );
        let is_expected = |line: &str| {
            expected_faults
                .iter()
                .any(|kind| line.contains(&format!("\"{kind}\"")))
        };
        let unexpected: Vec<_> = of("portcullis_provider_faults_total{")
            .filter(|line| !line.ends_with(" 0") && !is_expected(line))
            .collect();
        assert!(unexpected.is_empty(), "{unexpected:?}");
    }
}

fn discovery_path(number: usize) -> String {
    format!("/idp-{number}/.well-known/openid-configuration")
}

impl Visitor<'_> {
    /// Asks the dashboard.
    pub(super) fn ask(&self, path: &str, headers: &[(&str, &[u8])]) -> Reply {
        let url = self.scene.dashboard.url(path);
        let request = ureq::http::Request::get(url);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        let request = request.body(()).expect("headers that can be sent");
        let mut response = self.agent.run(request).expect("an answer");
        let header = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        };
        let headers = response.headers().iter().map(header).collect();
        let status = response.status().as_u16();
        let body = response.body_mut().read_to_string().expect("text");
        Reply {
            status,
            headers,
            body,
        }
    }

    /// Begins a sign-in. Each comes from an address of its own, since one address may begin few.
    pub(super) fn begin(&self, index: usize) -> Begun {
        let address = format!("10.{}.{}.{}", self.number, index / 256, index % 256);
        let path = format!("/auth/login?provider=idp-{}&next=/", self.number);
        let reply = self.ask(&path, &[("x-forwarded-for", address.as_bytes())]);
        let mut given = parameters_of(reply.header("location").unwrap_or_default());
        let mut take = |name: &str| given.remove(name).expect("a sign-in begins");
        let (state, nonce) = (take("state"), take("nonce"));
        let cookies: Vec<_> = reply
            .set_cookies()
            .into_iter()
            .filter_map(|line| line.split(';').next())
            .collect();
        Begun {
            nonce,
            state,
            cookie: cookies.join("; "),
            address,
        }
    }

    /// Comes back from the issuer, whose token endpoint sends this ID token.
    pub(super) fn come_back(&self, begun: &Begun, id_token: &Value) -> Reply {
        let tokens =
            json!({"access_token": "theirs", "token_type": "Bearer", "id_token": id_token});
        // The state is as good a code as any.
        let code = code_name(&begun.state);
        self.scene.set(&code, tokens.to_string());
        let issuer = self.scene.issuer(self.number);
        let path = format!(
            "/auth/callback?code={}&state={}&iss={issuer}",
            begun.state, begun.state
        );
        let sent = [
            ("x-forwarded-for", begun.address.as_bytes()),
            ("cookie", begun.cookie.as_bytes()),
        ];
        let reply = self.ask(&path, &sent);
        self.scene
            .stage
            .with(|answers| answers.bodies.remove(&code));
        reply
    }

    /// What the dashboard says of the person of this cookie.
    pub(super) fn me(&self, cookie: &str) -> Value {
        self.ask("/api/auth/me", &[("cookie", cookie.as_bytes())])
            .json()
    }
}

/// The cookie of the session that this answer opens.
pub(super) fn session_of(reply: &Reply) -> Option<String> {
    let mut opened = reply
        .set_cookies()
        .into_iter()
        .filter(|line| !line.contains("Max-Age=0"));
    let line =
        opened.find(|line| line.contains("_session_at=") || line.contains("_session_rt="))?;
    line.split(';').next().map(str::to_owned)
}

/// Why this answer to a callback opens no session, as the word in the address of the sign-in page.
pub(super) fn refusal_of(reply: &Reply) -> Option<&str> {
    let (page, word) = reply.header("location")?.split_once("&failed=")?;
    (reply.status == 302 && page.starts_with("/login?")).then_some(word)
}

/// Where the dashboard has an issuer send browsers back to.
pub(super) fn callback() -> String {
    format!("{PUBLIC_URL}/auth/callback")
}

/// The parameters of an address.
pub(super) fn parameters_of(url: &str) -> BTreeMap<String, String> {
    parameters(
        url.split_once('?')
            .map(|(_, query)| query)
            .unwrap_or_default(),
    )
}
