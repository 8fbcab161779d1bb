//! What a request is balanced or kept by, read from the question as the request path reads it from the wire.

use weir_config::model::{Balancer, HashKey, Service};
use weir_decide::balance::{hash_ip, hash_key};
use weir_decide::route;

use super::question::Question;
use crate::admin::types::Key;

/// What a service that is balanced by key hashes of this request: in words, and the hash.
pub(super) fn of(service: &Service, question: &Question) -> Option<(Key, Option<u64>)> {
    let Balancer::ConsistentHash(hash) = &service.load_balancer.balancer else {
        return None;
    };
    let (by, value) = match &hash.key {
        HashKey::SourceIp => ("client address".to_owned(), None),
        HashKey::Header(name) => (format!("header {name}"), header(question, name)),
        HashKey::Query(name) => {
            let query = question.query.as_deref();
            let value = query.and_then(|query| route::query_value(query, name));
            (
                format!("query {name}"),
                value.map(|value| value.to_string()),
            )
        }
        HashKey::Cookie { name, .. } => (format!("cookie {name}"), cookie(question, name)),
    };
    if hash.key != HashKey::SourceIp {
        let hashed = value.as_ref().map(|value| hash_key(value.as_bytes()));
        return Some((Key { by, value }, hashed));
    }
    let client = question.client.to_canonical();
    let value = Some(client.to_string());
    Some((Key { by, value }, Some(hash_ip(client))))
}

/// The first value of a header.
pub(super) fn header(question: &Question, name: &str) -> Option<String> {
    let mut headers = question.headers.iter();
    headers
        .find(|(field, _)| **field == *name)
        .map(|(_, value)| value.clone())
}

/// The value of a cookie.
pub(super) fn cookie(question: &Question, name: &str) -> Option<String> {
    let cookies = question
        .headers
        .iter()
        .filter(|(field, _)| field == "cookie");
    let pairs = cookies.flat_map(|(_, value)| value.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
    values
        .find(|value| !value.is_empty() && value.len() <= 256)
        .map(str::to_owned)
}
