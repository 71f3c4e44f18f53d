//! How often somebody may call: counted at the edge by the Rate Limiting binding, by address and by visitor.
//! <https://developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit/>

use std::net::{IpAddr, Ipv6Addr};

use js_sys::{Object, Promise, Reflect, futures::JsFuture};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use worker::{Env, Request};

use crate::{
    error::Error,
    settings::{IP_RATE_LIMITER, VISITOR_RATE_LIMITER},
    visitor::Visitor,
};

/// The period of both limiters in `wrangler.toml`, in seconds: after it, a client may try again.
pub const RATE_LIMIT_PERIOD: u32 = 60;

/// The address that counts as one caller: Cloudflare's word for who has connected, and of IPv6 the /64, all of which
/// one subscriber has. No header that a client can set is believed.
pub fn client_address(request: &Request) -> Option<String> {
    request.headers().get("CF-Connecting-IP").ok().flatten().and_then(|address| network(&address))
}

fn network(address: &str) -> Option<String> {
    Some(match address.trim().parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{}/64", Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    })
}

/// Counts a request against its address.
pub async fn count_address(env: &Env, address: Option<&str>) -> Result<(), Error> {
    match address {
        Some(address) => count(env, IP_RATE_LIMITER, address.to_owned()).await,
        None => Ok(()),
    }
}

/// Counts a message against its visitor. Somebody who only names a user does not use up what that user may send.
pub async fn count_visitor(env: &Env, visitor: &Visitor) -> Result<(), Error> {
    let kind = if visitor.is_proven() { "proven" } else { "named" };
    count(env, VISITOR_RATE_LIMITER, format!("{kind} {}", visitor.phone_number())).await
}

#[wasm_bindgen]
extern "C" {
    // `worker::RateLimiter` brings a serializer for JavaScript's values, for one string and one Boolean.
    type Limiter;

    #[wasm_bindgen(method, catch)]
    fn limit(this: &Limiter, options: &JsValue) -> Result<Promise, JsValue>;
}

/// A limiter that is missing or broken stops nobody: the budgets of tokens hold all the same.
async fn count(env: &Env, binding: &str, key: String) -> Result<(), Error> {
    match is_within_limit(env, binding, key).await {
        Ok(false) => Err(Error::RateLimited),
        Ok(true) | Err(_) => Ok(()),
    }
}

async fn is_within_limit(env: &Env, binding: &str, key: String) -> Result<bool, JsValue> {
    let limiter = Reflect::get(env, &binding.into())?;
    if !limiter.is_object() {
        return Ok(true);
    }
    let options = Object::new();
    Reflect::set(&options, &"key".into(), &key.into())?;
    let outcome = JsFuture::from(limiter.unchecked_ref::<Limiter>().limit(&options)?).await?;
    Ok(Reflect::get(&outcome, &"success".into())?.is_truthy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_subscriber_is_one_address() {
        assert_eq!(network("203.0.113.7").unwrap(), "203.0.113.7");
        assert_eq!(network("::ffff:203.0.113.7").unwrap(), "203.0.113.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6").unwrap(), "2001:db8:1:2::/64");
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::"));
        assert_ne!(network("2001:db8:1:3::1"), network("2001:db8:1:2::1"));
        assert_eq!(network("203.0.113.7, 10.0.0.1"), None);
    }
}
