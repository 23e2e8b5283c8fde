//! The cookie that keeps a visitor on one instance.
//!
//! Its value is one opaque name per pool the visitor met, joined by dots, so that two sticky routes of one host do not
//! overwrite each other's choice.

use http::{HeaderMap, HeaderValue, header};

use crate::compiled::Compiled;

/// More names than this are not remembered.
const MOST: usize = 4;

/// The names a visitor's cookie holds.
pub(crate) fn read(headers: &HeaderMap) -> Vec<u64> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix("slipway="))
        .flat_map(|value| value.split('.'))
        .filter(|name| name.len() == 16)
        .filter_map(|name| u64::from_str_radix(name, 16).ok())
        .take(MOST)
        .collect()
}

/// The cookie for `chosen` of `pool`, keeping what the visitor holds for other pools that still exist.
pub(crate) fn write(held: &[u64], chosen: u64, pool: &str, table: &Compiled) -> Option<HeaderValue> {
    let others = held.iter().filter(|name| table.cookie_pool(**name).is_some_and(|other| other != pool)).take(MOST - 1);
    let names: Vec<String> = std::iter::once(&chosen).chain(others).map(|name| format!("{name:016x}")).collect();
    HeaderValue::try_from(format!("slipway={}; Path=/; HttpOnly; SameSite=Lax", names.join("."))).ok()
}
