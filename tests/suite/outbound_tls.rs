//! Requests of providers and of the drain client over TLS: which authorities are trusted, and what
//! a failure is called.

use portcullis_tests::{Finished, Home, Process, SOON, eventually, get};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A token whose key has to be looked for: `{"alg":"RS256","kid":"a"}`, no claims, no signature.
const TOKEN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.e30.AAAA";

/// A file of `tests/certificates`.
fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("certificates")
        .join(name)
}

/// What a server does with a request that it has read.
#[derive(Clone, Copy)]
enum Answer {
    /// An empty set of keys.
    Keys,
    /// A part of an answer, and then the end of the connection.
    Part,
    /// A part of an answer, and then nothing.
    PartAndWait,
    /// Nothing, until the client disconnects.
    Nothing,
    /// Two MiB.
    Flood,
    /// What is no HTTP.
    Noise,
}

/// A server with this certificate. Returns its port.
fn serve(name: &str, answer: Answer) -> u16 {
    let chain = CertificateDer::pem_file_iter(certificate(name)).expect("the certificate is there");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("it is PEM");
    let key = PrivateKeyDer::from_pem_file(certificate("server.key")).expect("the key is there");
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let config = Arc::new(config.expect("the key is the certificate's"));
    listen(move |stream| {
        let connection = ServerConnection::new(config.clone()).expect("a connection");
        respond(StreamOwned::new(connection, stream), answer);
    })
}

/// Accepts connections, each on a thread of its own. Returns the port.
fn listen(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

fn respond(stream: impl Read + Write, answer: Answer) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
    if !head.ends_with("\r\n\r\n") {
        return;
    }
    let flood = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n{}",
        " ".repeat(2_097_152)
    );
    let text = match answer {
        Answer::Keys => {
            "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\n{\"keys\":[]}"
        }
        Answer::Part | Answer::PartAndWait => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        Answer::Nothing => "",
        Answer::Flood => flood.as_str(),
        Answer::Noise => "SSH-2.0-none\r\n\r\n",
    };
    let _ = reader.get_mut().write_all(text.as_bytes());
    let _ = reader.get_mut().flush();
    if matches!(answer, Answer::Nothing | Answer::PartAndWait) {
        let _ = reader.read_to_end(&mut Vec::new());
    }
}

/// A home whose provider `corp` asks the origin for keys. `grant` is what stands in `grants.http`.
fn home(origin: &str, grant: &str) -> Home {
    Home::with_config(&format!(
        "dashboard:\n  providers:\n    - name: corp\n      component: builtin:jwt\n      \
         config: {{issuer: us, audience: us, jwks_url: '{origin}/jwks'}}\n      \
         limits: {{deadline_ms: 1500}}\n      \
         grants:\n        keyvalue: true\n        http: [{grant}]\n"
    ))
}

/// The grant of an origin with the authorities of a file of `tests/certificates`.
fn with_ca(origin: &str, ca: &str) -> String {
    format!(
        "{{origin: '{origin}', ca: {{file: '{}'}}}}",
        certificate(ca).display()
    )
}

fn call(home: &Home, variables: &[(&str, &str)]) -> Finished {
    Process::run(
        home,
        &["provider", "call", "corp", "--token", TOKEN],
        variables,
    )
}

fn assert_answered(called: &Finished) {
    assert!(
        called.stdout.contains("not recognized"),
        "{}{}",
        called.stdout,
        called.stderr
    );
    assert!(
        !called.stderr.contains("provider corp: "),
        "{}",
        called.stderr
    );
}

/// The provider says `said` of the address, and the operator reads `logged` of the origin.
fn assert_failed(called: &Finished, origin: &str, said: &str, logged: &str) {
    let said = format!("unavailable: {origin}/jwks: {said}");
    assert!(
        called.stdout.contains(&said),
        "{said}\n{}{}",
        called.stdout,
        called.stderr
    );
    let logged = format!("provider corp: {origin}: {logged}");
    assert_eq!(
        called.stderr.matches(&logged).count(),
        1,
        "{logged}\n{}",
        called.stderr
    );
    assert!(called.stderr.contains("WARN"), "{}", called.stderr);
}

#[test]
fn private_authority_is_trusted_for_the_origin_that_names_it() {
    let origin = format!("https://127.0.0.1:{}", serve("good.pem", Answer::Keys));
    assert_answered(&call(
        &home(&origin, &with_ca(&origin, "authority.pem")),
        &[],
    ));
    let unknown = call(&home(&origin, &format!("'{origin}'")), &[]);
    let logged =
        "the certificate is not signed by a known authority: give its PEM with grants.http[].ca";
    assert_failed(&unknown, &origin, "the certificate is not accepted", logged);
}

#[test]
fn self_signed_certificate_is_trusted_unless_it_is_an_authoritys() {
    let origin = format!(
        "https://127.0.0.1:{}",
        serve("self-signed.pem", Answer::Keys)
    );
    assert_answered(&call(
        &home(&origin, &with_ca(&origin, "self-signed.pem")),
        &[],
    ));
    let origin = format!(
        "https://127.0.0.1:{}",
        serve("self-signed-authority.pem", Answer::Keys)
    );
    let called = call(
        &home(&origin, &with_ca(&origin, "self-signed-authority.pem")),
        &[],
    );
    let logged = "the server's certificate is an authority's (CA:TRUE)";
    assert_failed(&called, &origin, "the certificate is not accepted", logged);
}

#[test]
fn authorities_of_an_origin_take_the_place_of_the_systems() {
    let origin = format!("https://127.0.0.1:{}", serve("good.pem", Answer::Keys));
    let authority = certificate("authority.pem").display().to_string();
    let system = [("SSL_CERT_FILE", authority.as_str())];
    assert_answered(&call(&home(&origin, &format!("'{origin}'")), &system));
    let other = call(
        &home(&origin, &with_ca(&origin, "other-authority.pem")),
        &system,
    );
    let logged = "the certificate is not signed by an authority in the file of grants.http[].ca";
    assert_failed(&other, &origin, "the certificate is not accepted", logged);
}

#[test]
fn folders_of_the_system_are_read_and_damaged_files_are_left_out_with_one_warning() {
    let origin = format!("https://127.0.0.1:{}", serve("good.pem", Answer::Keys));
    let home = home(&origin, &format!("'{origin}'"));
    let folder = home.file("authorities");
    fs::create_dir(&folder).expect("a folder in the home");
    fs::copy(certificate("authority.pem"), folder.join("ours.pem")).expect("a file in the home");
    for name in ["a.pem", "b.pem"] {
        let damaged = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        fs::write(folder.join(name), damaged).expect("a file in the home");
    }
    let called = call(&home, &[("SSL_CERT_DIR", &folder.display().to_string())]);
    assert_answered(&called);
    let warnings = called
        .stderr
        .matches("certificate authorities cannot be read")
        .count();
    assert_eq!(warnings, 1, "{}", called.stderr);
    assert!(called.stderr.contains("left_out=2"), "{}", called.stderr);
}

#[test]
fn what_is_wrong_with_a_certificate_is_named() {
    for (name, logged) in [
        (
            "expired.pem",
            "the certificate expired at 2011-01-01T00:00:00Z",
        ),
        (
            "wrong-name.pem",
            "the certificate is for other names than this one (other.test)",
        ),
    ] {
        let origin = format!("https://127.0.0.1:{}", serve(name, Answer::Keys));
        let called = call(&home(&origin, &with_ca(&origin, "authority.pem")), &[]);
        assert_failed(&called, &origin, "the certificate is not accepted", logged);
    }
}

#[test]
fn answers_that_break_off_are_named() {
    for (answer, said, logged) in [
        (
            Answer::Part,
            "the answer broke off",
            "the connection was cut off before the answer was complete",
        ),
        (
            Answer::Flood,
            "the answer broke off",
            "the answer is larger than 1048576 bytes",
        ),
        (
            Answer::Noise,
            "the answer is not HTTP that is understood",
            "the answer is not HTTP/1.1",
        ),
    ] {
        let origin = format!("https://127.0.0.1:{}", serve("good.pem", answer));
        let called = call(&home(&origin, &with_ca(&origin, "authority.pem")), &[]);
        assert_failed(&called, &origin, said, logged);
    }
}

#[test]
fn server_without_tls_is_named() {
    let port = listen(|mut stream| {
        let _ = stream.read_exact(&mut [0; 5]);
        let _ = stream.write_all(b"SSH-2.0-none\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let origin = format!("https://127.0.0.1:{port}");
    let called = call(&home(&origin, &format!("'{origin}'")), &[]);
    assert_failed(
        &called,
        &origin,
        "TLS failed",
        "no TLS that is accepted is spoken there",
    );
}

#[test]
fn origins_that_cannot_be_reached_are_named() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let refused = format!("https://{}", closed.local_addr().expect("an address"));
    drop(closed);
    let called = call(&home(&refused, &format!("'{refused}'")), &[]);
    assert_failed(
        &called,
        &refused,
        "the connection is refused",
        "the connection is refused: nothing listens",
    );

    // Longer than a label may be, so that no name server has to be asked.
    let nameless = format!("http://{}.invalid", "a".repeat(64));
    let called = call(&home(&nameless, &format!("'{nameless}'")), &[]);
    assert_failed(
        &called,
        &nameless,
        "the name is not found",
        "the name is not found (",
    );
}

#[test]
fn origin_that_is_not_granted_is_named_with_the_setting() {
    let origin = format!("https://127.0.0.1:{}", serve("good.pem", Answer::Keys));
    let called = call(&home(&origin, "'https://127.0.0.1:1'"), &[]);
    let logged = "the origin is not granted: add it to the provider's grants.http";
    assert_failed(&called, &origin, "the origin is not granted", logged);
}

#[test]
fn server_that_is_too_slow_is_named_once_for_many_calls() {
    for (answer, why) in [
        (Answer::Nothing, "no answer in "),
        (Answer::PartAndWait, "the answer was not complete "),
    ] {
        let origin = format!("https://127.0.0.1:{}", serve("good.pem", answer));
        let home = home(&origin, &with_ca(&origin, "authority.pem"));
        let dashboard = home.dashboard();
        let bearer = format!("Bearer {TOKEN}");
        for _ in 0..2 {
            let who = get(
                &dashboard.url("/api/auth/whoami"),
                &[("authorization", &bearer)],
            );
            assert_eq!(who.status, 503, "{}", who.body);
        }
        let logged = format!("provider corp: {origin}: too slow: {why}");
        eventually("the slow server is named", SOON, || {
            dashboard.log().contains(&logged).then_some(())
        });
        assert_eq!(
            dashboard.log().matches(&logged).count(),
            1,
            "{}",
            dashboard.log()
        );
    }
}

#[test]
fn changed_file_of_authorities_is_taken_over() {
    let origin = format!("https://127.0.0.1:{}", serve("good.pem", Answer::Keys));
    let home = home(
        &origin,
        &format!("{{origin: '{origin}', ca: {{file: ca.pem}}}}"),
    );
    let put = |name: &str| {
        fs::copy(certificate(name), home.file("ca.pem")).expect("a file in the home");
    };
    put("other-authority.pem");
    let dashboard = home.dashboard();
    let bearer = format!("Bearer {TOKEN}");
    let status = || {
        get(
            &dashboard.url("/api/auth/whoami"),
            &[("authorization", &bearer)],
        )
        .status
    };
    assert_eq!(status(), 503);
    put("authority.pem");
    eventually("the new authority is trusted", SOON, || {
        (status() == 401).then_some(())
    });
}

#[test]
fn mistakes_in_a_file_of_authorities_are_named_with_their_place() {
    let home = home(
        "https://idp.test",
        "\n          \
         {origin: 'https://missing.test', ca: {file: missing.pem}},\n          \
         {origin: 'https://text.test', ca: {file: text.pem}},\n          \
         {origin: 'https://key.test', ca: {file: key.pem}},\n          \
         {origin: 'https://inline.test', ca: 'PEM'},\n          \
         {origin: 'http://plain.test', ca: {file: both.pem}}",
    );
    home.write("text.pem", "not a certificate\n");
    let key = fs::read_to_string(certificate("server.key")).expect("the key is there");
    home.write("key.pem", &key);
    let authority =
        fs::read_to_string(certificate("authority.pem")).expect("the certificate is there");
    home.write("both.pem", &format!("{authority}{key}"));
    let checked = Process::run(&home, &["config", "check"], &[]);
    assert_eq!(checked.code, Some(64), "{}", checked.stderr);
    for (line, mistake) in [
        (10, "missing.pem cannot be read: No such file"),
        (11, "text.pem is not PEM: "),
        (12, "key.pem holds no certificate"),
        (13, "must be `{file: PATH}`"),
        (14, "has no effect on http://plain.test, which is not https"),
    ] {
        let found = checked.stderr.lines().any(|text| {
            text.contains(&format!("portcullis.yaml:{line}:")) && text.contains(mistake)
        });
        assert!(found, "{line}: {mistake}\n{}", checked.stderr);
    }
    assert!(
        checked.stderr.contains("the file has a private key in it"),
        "{}",
        checked.stderr
    );
    let secret = key.lines().nth(1).expect("a key of some lines");
    assert!(!checked.stderr.contains(secret), "a key is never shown");
}

#[test]
fn drain_client_trusts_the_file_of_its_flag_and_the_systems() {
    let url = format!("https://127.0.0.1:{}", serve("good.pem", Answer::Keys));
    let path = |name: &str| certificate(name).display().to_string();
    let status = |cacert: &[&str], variables: &[(&str, &str)]| {
        let arguments = [&["drain", "status", "--url", url.as_str()], cacert].concat();
        Process::run(&Home::new(), &arguments, variables).stderr
    };
    // What the client says of the empty set of keys, once it trusts the server.
    let answered = "the answer has no `gateway_state`";
    let authority = path("authority.pem");
    for said in [
        status(&["--cacert", &authority], &[]),
        status(&[], &[("SSL_CERT_FILE", &authority)]),
    ] {
        assert!(said.contains(answered), "{said}");
    }
    for said in [
        status(&["--cacert", &path("other-authority.pem")], &[]),
        status(&[], &[]),
    ] {
        assert!(!said.contains(answered), "{said}");
    }
    let said = status(&["--cacert", &path("server.key")], &[]);
    assert!(said.contains("server.key holds no certificate"), "{said}");
}
