//! Requests that do not come straight from this machine, on a dashboard without sign-in.
//!
//! There the page at `/` carries this process's token, which opens the whole API. A proxy, a tunnel
//! or a port forward on the machine connects from loopback as well, so a request is searched for
//! what such programs write into it.
//!
//! **Invariant:** a request with any sign of a proxy gets no token, and the token that it presents
//! opens nothing.

use super::client::peer_of;
use super::page::{self, PageFrame, respond_with};
use super::respond;
use axum::extract::Request;
use axum::http::{HeaderName, StatusCode, Version};
use axum::response::Response;
use maud::html;
use std::fmt;
use std::net::IpAddr;

/// How a request shows that it came from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outside {
    /// A header that proxies, tunnels and load balancers write.
    Header(HeaderName),
    /// HTTP/1.0: the default of nginx for its upstreams before version 1.29, and of no browser.
    OldVersion,
    /// The other end of the connection.
    Peer(Option<IpAddr>),
    /// A `Host` that is none of the dashboard's.
    Host,
}

/// Headers that browsers and programs do not send by themselves, each by its whole name.
const NAMES: &[&str] = &[
    "ar-real-ip",
    "chrome-proxy",
    "cip",
    "client-cert",
    "client-cert-chain",
    "client-ip",
    "coming-from",
    "comming-from",
    "ct-remote-user",
    "cuda_cliip",
    "disguised-host",
    "do-connecting-ip",
    "early-data",
    "eo-connecting-ip",
    "front-end-https",
    "http-client-ip",
    "max-forwards",
    "ns-client-ip",
    "pc-remote-addr",
    "real-ip",
    "rlnclientipaddr",
    "source-ip",
    "sozu-id",
    "surrogate-capability",
    "total-route-time",
    "true-client-ip",
    "useragent-via",
    "via",
    "was-default-hostname",
    "wl-proxy-client-ip",
    "x-anonymous-consumer",
    "x-appservice-proto",
    "x-auth-audience",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-roles",
    "x-auth-subject",
    "x-auth-user",
    "x-auth-userid",
    "x-auth-username",
    "x-backend-host",
    "x-cdn",
    "x-cluster-client-ip",
    "x-coming-from",
    "x-country-code",
    "x-credential-identifier",
    "x-credential-username",
    "x-edge-ip",
    "x-edge-location",
    "x-endpoint-api-userinfo",
    "x-from",
    "x-from-where",
    "x-gateway",
    "x-global-transaction-id",
    "x-hops",
    "x-host",
    "x-http-host-override",
    "x-https",
    "x-imforwards",
    "x-ingress-path",
    "x-ip",
    "x-jwt-assertion",
    "x-loop-control",
    "x-pull",
    "x-queue-start",
    "x-rewrite-url",
    "x-scheme",
    "x-script-name",
    "x-site-deployment-id",
    "x-source-ip",
    "x-sourceip",
    "x-ssl",
    "x-trusted-proxy",
    "x-url-scheme",
    "x-user-ip",
    "x-userinfo",
    "x-varnish",
    "xproxy-connection",
    "xroxy-connection",
    "z-forwarded-for",
    "zen-host",
];

/// The same by the start of the name.
const PREFIXES: &[&str] = &[
    "akamai-",
    "ali-cdn-",
    "cdn-",
    "cf-",
    "cloudfront-",
    "eagleeye-",
    "fastly-",
    "fly-",
    "forwarded",
    "heroku-",
    "incap-",
    "iv-",
    "l5d-",
    "ngrok-",
    "oam-",
    "oam_",
    "oidc-",
    "oidc_",
    "osso-",
    "pinpoint-proxy",
    "proxy-",
    "remote-",
    "section-io-",
    "shib-",
    "sm-",
    "sm_",
    "ssl-client-",
    "ssl_client_",
    "tailscale-",
    "teleport-",
    "x-3scale-",
    "x-accel-",
    "x-akamai-",
    "x-alb-",
    "x-alicdn-",
    "x-amz-apigw-",
    "x-amz-cf-",
    "x-amzn-",
    "x-apigateway-",
    "x-apigee-",
    "x-apisix-",
    "x-appengine-",
    "x-appgw-",
    "x-arr-",
    "x-ats-",
    "x-auth-request-",
    "x-authelia-",
    "x-authenticated-",
    "x-authentik-",
    "x-azure-",
    "x-barracuda-",
    "x-bfe-",
    "x-bluecoat-",
    "x-caddy-",
    "x-cdn-",
    "x-cf-",
    "x-citrix-",
    "x-client-",
    "x-cloud-trace-",
    "x-cloudflare-",
    "x-coder-",
    "x-codespaces-",
    "x-consumer-",
    "x-datapower-",
    "x-ddos-guard",
    "x-ec-",
    "x-edgewrap-",
    "x-envoy-",
    "x-exedev-",
    "x-expose-",
    "x-f5-",
    "x-fd-",
    "x-fly-",
    "x-forti",
    "x-forward",
    "x-geoip-",
    "x-gitpod-",
    "x-goog-",
    "x-gravitee-",
    "x-haproxy-",
    "x-hassio-",
    "x-heroku-",
    "x-iboss-",
    "x-inlets-",
    "x-istio-",
    "x-keycloak-",
    "x-kong-",
    "x-koyeb-",
    "x-lb-",
    "x-menlo-",
    "x-middleware-",
    "x-ms-client-principal",
    "x-ms-forward",
    "x-ms-proxy",
    "x-netbird-",
    "x-netlify-",
    "x-netskope-",
    "x-nf-",
    "x-nginx-",
    "x-ngrok-",
    "x-nokia-",
    "x-nws-",
    "x-openshift-",
    "x-operamini-",
    "x-orig-",
    "x-original",
    "x-originating",
    "x-pagekite-",
    "x-pangolin-",
    "x-pantheon-",
    "x-pomerium-",
    "x-proxy",
    "x-qrator-",
    "x-railway-",
    "x-rapidapi-",
    "x-real-",
    "x-remote-",
    "x-render-",
    "x-replaced-",
    "x-replit-",
    "x-request-start",
    "x-sandstorm-",
    "x-serverless-",
    "x-sigsci-",
    "x-squid-",
    "x-ssl-",
    "x-stgw-",
    "x-sucuri-",
    "x-tailscale-",
    "x-teleport-",
    "x-tencent-",
    "x-tls-",
    "x-token-subject",
    "x-token-user-",
    "x-traefik-",
    "x-true-client-",
    "x-tunnel-",
    "x-twingate-",
    "x-tyk-",
    "x-umbrella-",
    "x-upstream-",
    "x-vcap-",
    "x-vercel-",
    "x-vouch-",
    "x-waws-",
    "x-webauth-",
    "x-websense-",
    "x-workos-gateway-",
    "x-wso2-",
    "x-ziti-",
    "x-zrok-",
    "x-zscaler-",
];

impl Outside {
    /// Looks for a sign that a request came from elsewhere.
    pub(super) fn of(request: &Request, is_host_known: bool) -> Option<Self> {
        let peer = peer_of(request);
        if !peer.is_some_and(|peer| peer.is_loopback()) {
            return Some(Self::Peer(peer));
        }
        if let Some(name) = request.headers().keys().find(|name| is_sign(name.as_str())) {
            return Some(Self::Header(name.clone()));
        }
        if request.version() < Version::HTTP_11 {
            return Some(Self::OldVersion);
        }
        (!is_host_known).then_some(Self::Host)
    }

    /// The answer to a request that presents this process's token.
    pub(super) fn refusal(&self) -> Response {
        let detail =
            format!("This process's token works on this machine alone, and {self}. {WHAT_TO_SET}");
        respond::error(StatusCode::FORBIDDEN, "not_local", &detail)
    }

    /// What stands at `/` instead of the page with the token.
    pub(super) fn page(&self) -> Response {
        let message =
            format!("This dashboard has no sign-in, so it is for this machine alone, and {self}.");
        let body = page::alone(
            &page::mark(),
            "Portcullis",
            &message,
            &html! { p { (WHAT_TO_SET) } },
        );
        respond_with(StatusCode::OK, &PageFrame::plain("Portcullis"), &body)
    }
}

/// One sentence for the page and for programs.
const WHAT_TO_SET: &str = "To use it through a proxy, set dashboard.public_url (or dashboard.allowed_hosts) to the name that \
                           people use and add a provider that signs people in; or open it on the machine itself.";

fn is_sign(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(
                f,
                "the request came through a proxy (it has the header {name})"
            ),
            Self::OldVersion => f.write_str("the request came through a proxy (it is HTTP/1.0)"),
            Self::Peer(Some(peer)) => write!(f, "the request came from {peer}"),
            Self::Peer(None) => f.write_str("it is not known where the request came from"),
            Self::Host => f.write_str("the request has a Host that this dashboard does not know"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use portcullis_net::listen::Peer;

    fn request(peer: &str, header: Option<&str>) -> Request {
        let mut request = Request::new(Body::empty());
        request
            .extensions_mut()
            .insert(Peer(Some(peer.parse().unwrap())));
        if let Some(header) = header {
            request.headers_mut().insert(
                HeaderName::from_bytes(header.as_bytes()).unwrap(),
                "x".parse().unwrap(),
            );
        }
        request
    }

    #[test]
    fn every_sign_of_a_proxy_is_seen() {
        for header in [
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "X-Forwarded-Prefix",
            "X-Forwarded",
            "Forwarded",
            "Via",
            "X-Real-IP",
            "CF-Connecting-IP",
            "CF-Ray",
            "True-Client-IP",
            "X-Client-IP",
            "X-Cluster-Client-IP",
            "Fly-Client-IP",
            "Fastly-Client-IP",
            "X-Original-URI",
            "X-Original-Forwarded-For",
            "X-Originating-IP",
            "Tailscale-User-Login",
            "X-Envoy-External-Address",
            "X-Amzn-Trace-Id",
            "X-Azure-ClientIP",
            "X-AppEngine-User-IP",
            "X-Remote-User",
            "Remote-User",
            "Proxy-Connection",
            "X-Request-Start",
            "X-Queue-Start",
            "X-BlueCoat-Via",
            "X-Bluecoat-Authorization",
            "X-Teleport-Cluster",
            "Teleport-Jwt-Assertion",
            "X-HAProxy-Server-State",
            "CDN-Loop",
            "CDN-Src-IP",
            "CDN-RequestCountryCode",
            "Ali-CDN-Real-IP",
            "EagleEye-TraceId",
            "EO-Connecting-IP",
            "X-Sucuri-ClientIP",
            "Incap-Client-IP",
            "X-CDN",
            "Zen-Host",
            "X-Country-Code",
            "X-Edge-Location",
            "X-EC-Client-IP",
            "Section-IO-ID",
            "DO-Connecting-IP",
            "X-CF-ApplicationID",
            "X-VCAP-Request-Id",
            "X-Appgw-Trace-Id",
            "X-AppService-Proto",
            "WAS-Default-Hostname",
            "Max-Forwards",
            "Early-Data",
            "Client-Cert",
            "Client-Cert-Chain",
            "X-SSL",
            "X-TLS-Cipher",
            "SSL_Client_S_DN",
            "Remote-Role",
            "X-Consumer-Username",
            "X-Kong-Request-Id",
            "X-Tyk-Request-ID",
            "X-RapidAPI-Proxy-Secret",
            "X-Apigateway-Api-Userinfo",
            "X-Endpoint-API-UserInfo",
            "X-Userinfo",
            "X-Authenticated-User",
            "X-Authelia-URL",
            "X-Vouch-User",
            "X-Token-User-Email",
            "OIDC_CLAIM_sub",
            "OIDC-Claim-Email",
            "Shib-Session-ID",
            "SM_USER",
            "IV-User",
            "OAM_REMOTE_USER",
            "X-Twingate-User",
            "X-WorkOS-Gateway-Assertion",
            "X-EdgeWrap-Country",
            "X-ExeDev-Email",
            "X-Replit-User-Id",
            "X-Sandstorm-User-Id",
            "X-Hassio-Ingress",
            "X-Ingress-Path",
            "X-PageKite-Port",
            "X-Inlets-Id",
            "X-Expose-Request-ID",
            "X-From-Where",
            "l5d-client-id",
            "X-Istio-Attributes",
            "X-Replaced-Path",
            "X-Script-Name",
            "Pinpoint-ProxyNginx",
            "Z-Forwarded-For",
            "X-Netskope-User",
            "X-IMForwards",
            "Xroxy-Connection",
            "NS-Client-IP",
            "X-Source-IP",
            "X-Accel-Internal",
            "X-Qrator-IP-Source",
        ] {
            let found = Outside::of(&request("127.0.0.1:4", Some(header)), true);
            assert!(matches!(found, Some(Outside::Header(_))), "{header}");
        }
    }

    #[test]
    fn headers_of_browsers_programs_and_the_dashboard_are_no_signs() {
        for header in [
            "Accept",
            "Accept-Language",
            "Alt-Used",
            "Authorization",
            "Cache-Control",
            "Connection",
            "Cookie",
            "DNT",
            "Expect",
            "HTTP2-Settings",
            "If-None-Match",
            "Keep-Alive",
            "Last-Event-ID",
            "Origin",
            "Pragma",
            "Priority",
            "Purpose",
            "Range",
            "Referer",
            "Save-Data",
            "Sec-CH-UA",
            "Sec-Fetch-Site",
            "Sec-GPC",
            "Sec-WebSocket-Key",
            "Service-Worker",
            "TE",
            "Traceparent",
            "Tracestate",
            "Upgrade",
            "Upgrade-Insecure-Requests",
            "User-Agent",
            "Want-Content-Digest",
            "X-CSRF-Token",
            "X-DNS-Prefetch-Control",
            "X-Edge-Shopping-Flag",
            "X-Hermes-Session-Token",
            "X-Idempotency-Key",
            "X-Moz",
            "X-Purpose",
            "X-Request-ID",
            "X-Requested-With",
            "X-Wap-Profile",
            "X-XSRF-Token",
        ] {
            assert_eq!(
                Outside::of(&request("127.0.0.1:4", Some(header)), true),
                None,
                "{header}"
            );
        }
    }

    #[test]
    fn peers_beyond_loopback_old_versions_and_unknown_hosts_are_outside() {
        assert_eq!(Outside::of(&request("127.0.0.1:4", None), true), None);
        assert_eq!(Outside::of(&request("[::1]:4", None), true), None);
        assert_eq!(
            Outside::of(&request("127.0.0.1:4", Some("accept-language")), true),
            None
        );
        assert_eq!(
            Outside::of(&request("127.0.0.1:4", None), false),
            Some(Outside::Host)
        );
        assert!(matches!(
            Outside::of(&request("192.0.2.1:4", None), true),
            Some(Outside::Peer(Some(_)))
        ));
        let mut old = request("127.0.0.1:4", None);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(Outside::of(&old, true), Some(Outside::OldVersion));
    }
}
