//! `dashboard.tls.acme`: which certificate the dashboard orders, and where.

use super::providers::read_ca;
use super::section::{Reader, Section, values};
use crate::yaml::{Node, Position};
use portcullis_net::acme::{
    AcmeSettings, Challenge, DirectoryUrl, ExternalAccount, MAX_CONTACTS, MAX_DOMAINS,
    parse_contact, parse_domain,
};
use std::collections::BTreeSet;

/// Reads `acme` of `dashboard.tls`. `None`: it is absent, or there is a mistake in it.
pub(super) fn read_acme(tls: &mut Section, reader: &mut Reader<'_>) -> Option<AcmeSettings> {
    let node = take_map("acme", "`domains`", tls, reader);
    read_settings(&tls.full("acme"), node?, reader)
}

/// Takes a map out. One without a value is a mistake: it would count as absent. `needs`: what
/// stands in it.
fn take_map(
    key: &'static str,
    needs: &str,
    outer: &mut Section,
    reader: &mut Reader<'_>,
) -> Option<Node> {
    let place = outer.place_of(key);
    let node = outer.take(key);
    if let (Some(place), None) = (place, &node) {
        let text = format!(
            "`{}` has no value: give {needs}, or remove the key",
            outer.full(key)
        );
        reader.mistakes.add(place, text);
    }

    node
}

fn read_settings(name: &str, node: Node, reader: &mut Reader<'_>) -> Option<AcmeSettings> {
    let mut acme = Section::open(name, node, reader);
    let domains = read_domains(&mut acme, reader);

    let contact_place = acme.place_of("contact").unwrap_or(acme.place);
    let contact = values(acme.parsed_list("contact", reader, parse_contact));
    if contact.len() > MAX_CONTACTS {
        let text = format!(
            "`{}` has more than {MAX_CONTACTS} entries",
            acme.full("contact")
        );
        reader.mistakes.add(contact_place, text);
    }

    let directory = acme.parsed("directory", reader, DirectoryUrl::parse);
    let directory = directory.unwrap_or_else(DirectoryUrl::lets_encrypt);
    let challenge = acme
        .parsed("challenge", reader, Challenge::parse)
        .unwrap_or_default();
    let ca_name = acme.full("ca");
    let ca_node = acme.take("ca");
    let external_account = read_external_account(&mut acme, reader);
    acme.finish(reader);

    if let Some(node) = ca_node.as_ref().filter(|_| !directory.is_https()) {
        let text = format!("`{ca_name}` has no effect: the directory is not https");
        reader.mistakes.add(node.place, text);
    }
    let ca = ca_node.and_then(|node| read_ca(&ca_name, &node, reader));
    Some(AcmeSettings {
        domains,
        contact,
        directory,
        ca,
        challenge,
        external_account,
    })
}

/// `None`: it is absent, there is a mistake in it, or its key is left unread.
fn read_external_account(acme: &mut Section, reader: &mut Reader<'_>) -> Option<ExternalAccount> {
    let node = take_map("eab", "`kid` and `hmac`", acme, reader)?;
    let mut eab = Section::open(&acme.full("eab"), node, reader);
    let kid = eab.parsed("kid", reader, parse_kid);
    let kid = eab.require("kid", kid, reader);
    let name = eab.full("hmac");
    let node = eab.take_secret("hmac", reader);
    let node = eab.require("hmac", node, reader);
    eab.finish(reader);
    let node = node?;
    let key = reader.foreign_secret(&name, &node)?;
    reader.keep(&name, node.place, ExternalAccount::new(kid?, key.expose()))
}

fn parse_kid(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        Err("it is empty")
    } else {
        Ok(text.to_owned())
    }
}

fn read_domains(acme: &mut Section, reader: &mut Reader<'_>) -> Vec<String> {
    let name = acme.full("domains");
    let given = acme.given("domains");
    let domains = acme.parsed_list("domains", reader, parse_domain);
    let Some(given) = given else {
        acme.require::<()>("domains", None, reader);
        return Vec::new();
    };

    if domains.is_empty() && !reader.is_explained(&name, given) {
        reader.mistakes.add(
            given.place,
            format!("`{name}` is empty: name one domain at least"),
        );
    }
    if domains.len() > MAX_DOMAINS {
        let text = format!(
            "`{name}` has more than {MAX_DOMAINS} domains, which no directory signs as one"
        );
        reader.mistakes.add(given.place, text);
    }

    refuse_repetition(&name, &domains, reader);
    values(domains)
}

fn refuse_repetition(name: &str, domains: &[(Position, String)], reader: &mut Reader<'_>) {
    let mut seen = BTreeSet::new();
    for (place, domain) in domains {
        if !seen.insert(domain) {
            reader
                .mistakes
                .add(*place, format!("`{name}`: {domain} is listed twice"));
        }
    }
}
